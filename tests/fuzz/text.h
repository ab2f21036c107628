/*
 * tests/fuzz/text.h - what the fuzzers of text files share. replay_text.c runs one without libFuzzer
 * in every `make check`: over the files of some folders, each whole, cut short, and with single bytes
 * changed.
 */
#ifndef TESTS_FUZZ_TEXT_H
#define TESTS_FUZZ_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void
demand(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

/* What is to be replayed; each fuzzer has one. */
struct replay_text {
	const char *const *folders; /* NULL at the end */
	const char *but;	    /* files whose names end so are left out; NULL: none */
	const char *changes;	    /* bytes that are put into a file */
	size_t change_count;
	size_t cuts; /* a file is cut, and changed, at so many places at most */
};
extern const struct replay_text replay_text;

#endif
