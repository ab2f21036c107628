/*
 * tests/fuzz/fuzz_userpass.c - RFC 1929 messages: any chopping gives the same result,
 * nothing is read beyond the bytes, what was taken can be written again, and no part
 * of a password is kept of a message that is not whole.
 */
#include "wire/socks.h"

#include "fuzz.h"

static size_t
write_again(const struct userpass *up, uint8_t *out)
{
	uint8_t *p = out;

	*p++ = 1;
	*p++ = up->user_len;
	memcpy(p, up->user, up->user_len);
	p += up->user_len;
	*p++ = up->pass_len;
	memcpy(p, up->pass, up->pass_len);
	return (size_t)(p + up->pass_len - out);
}

static enum decode
decode(const uint8_t *data, size_t len, struct userpass *up, enum socks_fault *fault, size_t *used)
{
	enum decode result;

	memset(up, 0, sizeof *up);
	result = userpass_decode(fuzz_at_end(data, len), len, up, fault, used);
	FUZZ_CHECK(*used <= len && *used <= USERPASS_MAX);
	FUZZ_CHECK((result == DECODE_BAD) == (*fault != FAULT_NONE));
	FUZZ_CHECK(result == DECODE_OK ? up->user_len > 0 && up->pass_len > 0 : *used == 0);
	if (result != DECODE_OK) {
		static const struct userpass nothing;

		FUZZ_CHECK(memcmp(up, &nothing, sizeof nothing) == 0);
	}
	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct userpass whole, part;
	enum socks_fault fault, part_fault;
	uint8_t again[USERPASS_MAX];
	size_t used, part_used;
	enum decode result;

	if (size > FUZZ_MAX)
		size = FUZZ_MAX;
	result = decode(data, size, &whole, &fault, &used);
	FUZZ_CHECK(result != DECODE_MORE || size < USERPASS_MAX);
	for (size_t len = 0; len < size; len++) {
		enum decode now = decode(data, len, &part, &part_fault, &part_used);

		FUZZ_CHECK(now == result || now == DECODE_MORE);
		FUZZ_CHECK(now != DECODE_MORE || used == 0 || len < used);
		if (now == DECODE_MORE)
			continue;
		FUZZ_CHECK(part_fault == fault && part_used == used);
		FUZZ_CHECK(memcmp(&part, &whole, sizeof part) == 0);
	}
	if (result == DECODE_OK)
		FUZZ_CHECK(write_again(&whole, again) == used && memcmp(again, data, used) == 0);
	return 0;
}
