/*
 * tests/fuzz/fuzz_socks4.c - SOCKS4 and 4A requests: any chopping gives the same
 * result, nothing is read beyond the bytes, what was taken can be written again.
 */
#include "wire/socks.h"

#include "fuzz.h"

static void
check_fields(const struct socks_request *r, enum decode result, size_t used)
{
	FUZZ_CHECK(r->version == 4);
	FUZZ_CHECK((result == DECODE_BAD) == (r->fault != FAULT_NONE));
	FUZZ_CHECK(used <= SOCKS4_MAX);
	FUZZ_CHECK(result != DECODE_MORE || used == 0);
	FUZZ_CHECK(strlen(r->userid) == r->userid_len);
	FUZZ_CHECK(r->sent[r->sent_len] == '\0');
	if (result != DECODE_OK)
		return;
	FUZZ_CHECK(used >= 9);
	FUZZ_CHECK(r->command == SOCKS_CONNECT || r->command == SOCKS_BIND);
	FUZZ_CHECK(r->kind == NAME_ADDRESS || (r->kind == NAME_HOST && r->is_4a));
	FUZZ_CHECK(r->kind != NAME_HOST || (r->name_len > 0 && strlen(r->name) == r->name_len));
	for (size_t i = 0; i < r->sent_len; i++)
		FUZZ_CHECK(r->sent[i] > 0x20 && r->sent[i] < 0x7f);
}

static size_t
write_again(const struct socks_request *r, const uint8_t *data, uint8_t *out)
{
	uint8_t *p = out;

	*p++ = r->version;
	*p++ = r->command;
	*p++ = (uint8_t)(r->port >> 8);
	*p++ = (uint8_t)r->port;
	memcpy(p, r->is_4a ? data + 4 : r->addr.b + 12, 4);
	p += 4;
	memcpy(p, r->userid, r->userid_len + 1u);
	p += r->userid_len + 1u;
	if (r->is_4a) {
		memcpy(p, r->sent, r->sent_len + 1u);
		p += r->sent_len + 1u;
	}
	return (size_t)(p - out);
}

static void
check_replies(const struct socks_request *r)
{
	struct endpoint e = {r->addr, r->port};
	uint8_t reply[SOCKS4_REPLY];

	socks4_reply(reply, 90, &e);
	FUZZ_CHECK(reply[0] == 0 && reply[1] == 90);
	FUZZ_CHECK((reply[2] << 8 | reply[3]) == r->port);
	if (addr_is4(&r->addr))
		FUZZ_CHECK(memcmp(reply + 4, r->addr.b + 12, 4) == 0);
	else
		FUZZ_CHECK(memcmp(reply + 4, "\0\0\0\0", 4) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct socks_request whole, part;
	uint8_t again[SOCKS4_MAX];
	enum decode result, now;
	size_t used, part_used;
	bool decided = false;

	if (size > FUZZ_MAX)
		size = FUZZ_MAX;
	result = socks4_decode(fuzz_at_end(data, size), size, &whole, &used);
	FUZZ_CHECK(used <= size);
	FUZZ_CHECK(result != DECODE_MORE || size < SOCKS4_MAX);
	check_fields(&whole, result, used);
	for (size_t len = 0; len < size; len++) {
		now = socks4_decode(fuzz_at_end(data, len), len, &part, &part_used);
		check_fields(&part, now, part_used);
		FUZZ_CHECK(!decided || now != DECODE_MORE);
		FUZZ_CHECK(part_used <= len);
		if (now == DECODE_MORE)
			continue;
		decided = true;
		FUZZ_CHECK(now == result && part_used == used);
		FUZZ_CHECK(memcmp(&part, &whole, sizeof part) == 0);
	}
	if (result != DECODE_OK)
		return 0;
	FUZZ_CHECK(write_again(&whole, data, again) == used);
	FUZZ_CHECK(memcmp(again, data, used) == 0);
	check_replies(&whole);
	return 0;
}
