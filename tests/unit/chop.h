/*
 * tests/unit/chop.h - messages chopped at each byte, each part in a block of its own
 * size so that a sanitizer sees a read behind the end.
 */
#ifndef TESTS_UNIT_CHOP_H
#define TESTS_UNIT_CHOP_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A copy of len bytes that ends where its block ends. Freed by the caller. */
static inline uint8_t *
exact_copy(const void *bytes, size_t len)
{
	uint8_t *p = malloc(len > 0 ? len : 1);

	if (p == NULL)
		abort();
	memcpy(p, bytes, len);
	return p;
}

/* A string literal and its length without the NUL: may hold any byte. */
#define BYTES(literal) (literal), sizeof(literal) - 1

#endif
