/*
 * columns.c - see columns.h.
 */
#include "ctl/columns.h"

#include <string.h>

#define WIDEST 40

void
columns_fit(struct columns *c, const char *const *cells)
{
	for (int i = 0; c->heads[i] != NULL; i++) {
		size_t len = strlen(cells[i]);

		if (len > c->width[i])
			c->width[i] = len < WIDEST ? len : WIDEST;
	}
}

void
columns_put(const struct columns *c, const char *const *cells, struct buffer *out)
{
	for (int i = 0; c->heads[i] != NULL; i++) {
		size_t len = strlen(cells[i]), pad = len < c->width[i] ? c->width[i] - len : 0;

		if (c->right[i])
			buffer_putf(out, "%*s", (int)pad, "");
		buffer_puts(out, cells[i]);
		if (c->heads[i + 1] != NULL)
			buffer_putf(out, "%*s  ", c->right[i] ? 0 : (int)pad, "");
	}
}
