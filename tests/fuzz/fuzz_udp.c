/*
 * tests/fuzz/fuzz_udp.c - headers of UDP datagrams: nothing is read beyond the bytes, data behind
 * changes nothing, less than a header is never fine, and an address can be written again.
 */
#include "wire/udp.h"

#include "fuzz.h"

static enum udp_fault
decode(const uint8_t *data, size_t len, struct udp_header *h)
{
	const uint8_t *at = fuzz_at_end(data, len);
	enum udp_fault fault = udp_decode(at, len, h);

	if (fault != UDP_FINE)
		return fault;
	FUZZ_CHECK(h->len >= 4 + 1 + 1 + 2 && h->len <= len);
	FUZZ_CHECK(h->kind == NAME_HOST || h->kind == NAME_ADDRESS);
	FUZZ_CHECK(h->kind != NAME_HOST || strlen(h->name) == h->name_len);
	FUZZ_CHECK(h->sent == NULL || (h->sent == at + 5 && h->sent_len == h->len - 7));
	return fault;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct udp_header whole, part;
	uint8_t again[UDP_HEADER_MOST];
	enum udp_fault fault;
	size_t len;

	if (size > FUZZ_MAX)
		size = FUZZ_MAX;
	fault = decode(data, size, &whole);
	for (len = 0; len < size; len++) {
		enum udp_fault now = decode(data, len, &part);

		if (fault != UDP_FINE) {
			FUZZ_CHECK(now == fault || now == UDP_SHORT);
			continue;
		}
		FUZZ_CHECK(now == (len < whole.len ? UDP_SHORT : UDP_FINE));
		if (now == UDP_FINE)
			FUZZ_CHECK(part.len == whole.len && part.kind == whole.kind &&
				   part.port == whole.port);
	}
	if (fault == UDP_FINE && whole.kind == NAME_ADDRESS) {
		struct endpoint e = {whole.addr, whole.port};

		len = udp_encode(again, &e);
		FUZZ_CHECK(udp_decode(again, len, &part) == UDP_FINE && part.len == len);
		FUZZ_CHECK(addr_equal(&part.addr, &e.addr) && part.port == e.port);
	}
	return 0;
}
