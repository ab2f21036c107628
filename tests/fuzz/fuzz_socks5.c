/*
 * tests/fuzz/fuzz_socks5.c - SOCKS5 greetings and requests, each on the bytes from their
 * start and the request also behind a greeting: any chopping gives the same result,
 * nothing is read beyond the bytes, replies carry what they were given.
 */
#include "wire/socks.h"

#include "fuzz.h"

static size_t
greeting(const uint8_t *data, size_t size)
{
	struct socks5_methods whole, part;
	enum socks_fault fault, part_fault;
	size_t used, part_used;
	enum decode result =
	    socks5_greeting_decode(fuzz_at_end(data, size), size, &whole, &fault, &used);

	FUZZ_CHECK(used <= size && used <= SOCKS5_GREETING_MAX);
	FUZZ_CHECK((result == DECODE_BAD) == (fault != FAULT_NONE));
	FUZZ_CHECK(result != DECODE_MORE || (used == 0 && size < SOCKS5_GREETING_MAX));
	for (size_t len = 0; len < size; len++) {
		enum decode now = socks5_greeting_decode(fuzz_at_end(data, len), len, &part,
							 &part_fault, &part_used);

		FUZZ_CHECK(now == result || now == DECODE_MORE);
		FUZZ_CHECK(now != DECODE_MORE || used == 0 || len < used);
		if (now == DECODE_MORE)
			continue;
		FUZZ_CHECK(part_fault == fault && part_used == used);
		FUZZ_CHECK(memcmp(&part, &whole, sizeof part) == 0);
	}
	if (result != DECODE_OK)
		return 0;
	FUZZ_CHECK(used == 2u + data[1]);
	for (unsigned method = 0; method < 256; method++)
		FUZZ_CHECK(socks5_offers(&whole, (uint8_t)method) ==
			   (memchr(data + 2, (int)method, used - 2) != NULL));
	return used;
}

static void
check_fields(const struct socks_request *r, enum decode result, size_t used)
{
	FUZZ_CHECK(r->version == 5 && !r->is_4a && r->userid_len == 0);
	FUZZ_CHECK((result == DECODE_BAD) == (r->fault != FAULT_NONE));
	FUZZ_CHECK(used <= SOCKS5_REQUEST_MAX);
	FUZZ_CHECK(result != DECODE_MORE || used == 0);
	FUZZ_CHECK(r->sent[r->sent_len] == '\0');
	if (result != DECODE_OK)
		return;
	FUZZ_CHECK(used >= 8 || (used == 7 && r->kind == NAME_BAD));
	FUZZ_CHECK(r->command >= SOCKS_CONNECT && r->command <= SOCKS_UDP);
	FUZZ_CHECK(r->kind != NAME_BAD || r->command == SOCKS_UDP);
	FUZZ_CHECK(r->kind != NAME_HOST || (r->name_len > 0 && strlen(r->name) == r->name_len));
	for (size_t i = 0; i < r->sent_len && r->kind != NAME_BAD; i++)
		FUZZ_CHECK(r->sent[i] > 0x20 && r->sent[i] < 0x7f);
}

/* A reply has the form of a request: what it tells is read back by the decoder. */
static void
check_reply(const struct socks_request *r)
{
	struct endpoint e = {r->addr, r->port};
	struct socks_request back;
	uint8_t reply[SOCKS5_REPLY_MAX];
	size_t used, len = socks5_reply(reply, SOCKS_CONNECT, &e);

	FUZZ_CHECK(len == (addr_is4(&r->addr) ? 10 : 22));
	FUZZ_CHECK(socks5_request_decode(reply, len, &back, &used) == DECODE_OK && used == len);
	FUZZ_CHECK(addr_equal(&back.addr, &r->addr) && back.port == r->port);
}

static void
request(const uint8_t *data, size_t size)
{
	struct socks_request whole, part;
	size_t used, part_used;
	enum decode result = socks5_request_decode(fuzz_at_end(data, size), size, &whole, &used);

	FUZZ_CHECK(used <= size);
	FUZZ_CHECK(result != DECODE_MORE || size < SOCKS5_REQUEST_MAX);
	check_fields(&whole, result, used);
	for (size_t len = 0; len < size; len++) {
		enum decode now =
		    socks5_request_decode(fuzz_at_end(data, len), len, &part, &part_used);

		check_fields(&part, now, part_used);
		FUZZ_CHECK(now == result || now == DECODE_MORE);
		FUZZ_CHECK(now != DECODE_MORE || used == 0 || len < used);
		if (now == DECODE_MORE)
			continue;
		FUZZ_CHECK(part_used == used);
		FUZZ_CHECK(memcmp(&part, &whole, sizeof part) == 0);
	}
	if (result == DECODE_BAD)
		FUZZ_CHECK(socks5_fault_reply(whole.fault) != 0);
	if (result == DECODE_OK && whole.kind == NAME_ADDRESS)
		check_reply(&whole);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t behind;

	if (size > FUZZ_MAX)
		size = FUZZ_MAX;
	behind = greeting(data, size);
	request(data, size);
	if (behind > 0)
		request(data + behind, size - behind);
	return 0;
}
