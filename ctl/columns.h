/*
 * columns.h - tables of text: columns as wide as they must be, up to a bound; a longer word pushes
 * the rest of its line.
 */
#ifndef CTL_COLUMNS_H
#define CTL_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

#define COLUMNS_MAX 8

struct columns {
	const char *heads[COLUMNS_MAX + 1]; /* NULL behind the last */
	bool right[COLUMNS_MAX];	    /* these stand at the right edge */
	size_t width[COLUMNS_MAX];
};

/* Makes them as wide as these cells need, one a column. */
void columns_fit(struct columns *c, const char *const *cells);
/* A line of cells, without its end. */
void columns_put(const struct columns *c, const char *const *cells, struct buffer *out);

#endif
