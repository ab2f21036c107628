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

/*
 * Over tables of messages, whose rows have `bytes` and `len`: check(row, bytes, len) for each message
 * cut at each byte.
 */
#define CHECK_CHOPPED(rows, check)                                                                 \
	do {                                                                                       \
		for (size_t i_ = 0; i_ < sizeof(rows) / sizeof *(rows); i_++)                      \
			for (size_t len_ = 0; len_ <= (rows)[i_].len; len_++)                      \
				check(&(rows)[i_], (rows)[i_].bytes, len_);                        \
	} while (0)

/* For each message with each behind it; and for that one, where the first was good (`used`). */
#define CHECK_GLUED(rows, check)                                                                   \
	do {                                                                                       \
		for (size_t i_ = 0; i_ < sizeof(rows) / sizeof *(rows); i_++)                      \
			for (size_t j_ = 0; j_ < sizeof(rows) / sizeof *(rows); j_++) {            \
				size_t first_ = (rows)[i_].len, second_ = (rows)[j_].len;          \
				uint8_t both_[128];                                                \
                                                                                                   \
				CU_ASSERT_FATAL(first_ + second_ <= sizeof both_);                 \
				memcpy(both_, (rows)[i_].bytes, first_);                           \
				memcpy(both_ + first_, (rows)[j_].bytes, second_);                 \
				check(&(rows)[i_], both_, first_ + second_);                       \
				if ((rows)[i_].used > 0)                                           \
					check(&(rows)[j_], both_ + (rows)[i_].used, second_);      \
			}                                                                          \
	} while (0)

#endif
