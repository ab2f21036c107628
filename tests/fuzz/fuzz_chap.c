/*
 * tests/fuzz/fuzz_chap.c - messages of SOCKS5's method 3: any chopping gives the same result,
 * nothing is read beyond the bytes, and what is not whole is certain to grow no longer than
 * allowed.
 */
#include "wire/chap.h"

#include "fuzz.h"

static enum decode
decode(const uint8_t *data, size_t len, struct chap_message *m, enum socks_fault *fault,
       size_t *used)
{
	enum decode result = chap_decode(fuzz_at_end(data, len), len, m, fault, used);

	FUZZ_CHECK(*used <= len && *used <= CHAP_MAX);
	FUZZ_CHECK((result == DECODE_BAD) == (*fault != FAULT_NONE));
	FUZZ_CHECK((result == DECODE_OK) == (*used > 0));
	FUZZ_CHECK(result != DECODE_MORE || len < CHAP_MAX);
	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct chap_message whole, part;
	enum socks_fault fault, part_fault;
	size_t used, part_used;
	enum decode result;

	if (size > FUZZ_MAX)
		size = FUZZ_MAX;
	result = decode(data, size, &whole, &fault, &used);
	for (size_t len = 0; len < size; len++) {
		enum decode now = decode(data, len, &part, &part_fault, &part_used);

		FUZZ_CHECK(now == result || now == DECODE_MORE);
		FUZZ_CHECK(now != DECODE_MORE || used == 0 || len < used);
		if (now == DECODE_MORE)
			continue;
		FUZZ_CHECK(part_fault == fault && part_used == used);
		FUZZ_CHECK(memcmp(&part, &whole, sizeof part) == 0);
	}
	return 0;
}
