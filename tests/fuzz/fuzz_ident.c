/*
 * tests/fuzz/fuzz_ident.c - answers of RFC 1413: any chopping gives the same result, nothing is
 * read beyond the bytes, and a user that could be one of ours is printable and of the length told.
 */
#include "wire/ident.h"

#include <stdbool.h>

#include "fuzz.h"

#define CLIENT_PORT 6193
#define OUR_PORT 23

static void
decode(const uint8_t *data, size_t len, struct ident_answer *a)
{
	bool user;

	ident_decode((const char *)fuzz_at_end(data, len), len, CLIENT_PORT, OUR_PORT, a);
	user = a->result == IDENT_USER || a->result == IDENT_OPAQUE;
	FUZZ_CHECK(user == (a->user_len > 0) && a->user[a->user_len] == 0);
	FUZZ_CHECK(!user || strlen(a->user) == a->user_len);
	for (size_t i = 0; i < a->user_len; i++)
		FUZZ_CHECK(a->result == IDENT_OPAQUE || (a->user[i] >= ' ' && a->user[i] <= '~'));
	FUZZ_CHECK((a->result == IDENT_MORE) == (len == 0 || memchr(data, '\n', len) == NULL));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ident_answer whole, part;

	if (size > FUZZ_MAX)
		size = FUZZ_MAX;
	decode(data, size, &whole);
	for (size_t len = 0; len < size; len++) {
		decode(data, len, &part);
		if (part.result != IDENT_MORE)
			FUZZ_CHECK(memcmp(&part, &whole, sizeof part) == 0);
	}
	return 0;
}
