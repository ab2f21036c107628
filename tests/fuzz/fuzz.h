/*
 * tests/fuzz/fuzz.h - what the fuzzers of byte formats share. Each is one function,
 * run by libFuzzer (./dev fuzz) and over a corpus and mutations of it (replay.c).
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,          \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define FUZZ_MAX 1024 /* no message of these formats is longer */

/* A copy that ends where a block of memory ends, so that a sanitizer sees a read
 * behind it; good until the next call. */
static inline const uint8_t *
fuzz_at_end(const uint8_t *data, size_t size)
{
	static uint8_t *block;

	FUZZ_CHECK(size <= FUZZ_MAX);
	if (block == NULL)
		block = malloc(FUZZ_MAX);
	FUZZ_CHECK(block != NULL);
	if (size > 0)
		memcpy(block + FUZZ_MAX - size, data, size);
	return block + FUZZ_MAX - size;
}

#endif
