/*
 * settings/value.h - one value by its row of the table. Private to this room.
 */
#ifndef SETTINGS_VALUE_H
#define SETTINGS_VALUE_H

#include <limits.h>

#include "settings/table.h"

struct value_sink {
	struct problems *problems;
	char dir[PATH_MAX]; /* absolute, where relative paths start */
};

/* Checks the value n of a setting and stores it below base (struct settings, or a listener). */
void value_read(const struct value_sink *to, const struct setting *row, unsigned char *base,
		const struct node *n);
/* The same for the row's default, if it has one. */
void value_default(const struct value_sink *to, const struct setting *row, unsigned char *base);

#endif
