/*
 * tests/fuzz/fuzz_name.c - all that base makes of text from outside: names, addresses,
 * endpoints, prefixes, numbers, distances, quoting. What was parsed is formatted and
 * parsed again; addresses are compared with what the C library says.
 */
#include <arpa/inet.h>
#include <stdbool.h>

#include "base/addr.h"
#include "base/name.h"
#include "base/text.h"
#include "fuzz.h"

static void
check_address(const char *s, size_t len)
{
	char text[ADDR_TEXT], libc[INET6_ADDRSTRLEN], whole[FUZZ_MAX + 1];
	uint8_t want[16];
	struct addr a, again;
	bool six = memchr(s, ':', len) != NULL, is = addr_parse(s, len, &a), libc_is;

	memcpy(whole, s, len);
	whole[len] = '\0';
	libc_is =
	    memchr(s, '\0', len) == NULL && inet_pton(six ? AF_INET6 : AF_INET, whole, want) == 1;
	FUZZ_CHECK(is == libc_is);
	if (!is)
		return;
	FUZZ_CHECK(memcmp(six ? a.b : a.b + 12, want, six ? 16 : 4) == 0);
	FUZZ_CHECK(addr_format(&a, text) == strlen(text) && strlen(text) < ADDR_TEXT);
	FUZZ_CHECK(addr_parse(text, strlen(text), &again) && addr_equal(&a, &again));
	/* the C library writes dotted ends to some IPv6 addresses, we to none */
	if (six && !addr_is4(&a) && inet_ntop(AF_INET6, want, libc, sizeof libc) != NULL &&
	    strchr(libc, '.') == NULL)
		FUZZ_CHECK(strcmp(text, libc) == 0);
}

static void
check_endpoint(const char *s, size_t len)
{
	char text[ENDPOINT_TEXT];
	struct endpoint e, again;

	if (!endpoint_parse(s, len, &e))
		return;
	FUZZ_CHECK(endpoint_format(&e, text) == strlen(text) && strlen(text) < ENDPOINT_TEXT);
	FUZZ_CHECK(endpoint_parse(text, strlen(text), &again));
	FUZZ_CHECK(addr_equal(&e.addr, &again.addr) && e.port == again.port);
}

static void
check_prefix(const char *s, size_t len)
{
	char text[PREFIX_TEXT];
	struct prefix p, again;
	struct addr first, last, low[2], high[2];
	enum prefix_error error = prefix_parse(s, len, &p);
	unsigned ranges;

	FUZZ_CHECK(error <= PREFIX_MAPPED);
	if (error != PREFIX_OK && error != PREFIX_HOST_BITS)
		return;
	first = prefix_first(&p);
	last = prefix_last(&p);
	FUZZ_CHECK(p.len <= 128 && addr_equal(&first, &p.addr));
	FUZZ_CHECK(addr_compare(&first, &last) <= 0);
	FUZZ_CHECK(prefix_contains(&p, &first) && prefix_contains(&p, &last));
	ranges = prefix_ranges(&p, low, high);
	FUZZ_CHECK(addr_equal(&low[0], &first) && addr_equal(&high[ranges - 1], &last));
	FUZZ_CHECK(prefix_format(&p, text) == strlen(text) && strlen(text) < PREFIX_TEXT);
	FUZZ_CHECK(prefix_parse(text, strlen(text), &again) == PREFIX_OK);
	FUZZ_CHECK(again.len == p.len && addr_equal(&again.addr, &p.addr));
}

static void
check_name(const char *s, size_t len)
{
	char out[NAME_MAX_LEN + 1], again[NAME_MAX_LEN + 1];
	size_t out_len, again_len;
	struct addr a, b;
	enum name_kind kind = name_canonical(s, len, out, &out_len, &a);

	FUZZ_CHECK(strlen(out) == out_len && out_len <= len);
	if (name_is_identifier(s, len))
		FUZZ_CHECK(kind == NAME_HOST && len <= 64);
	if (kind == NAME_BAD) {
		FUZZ_CHECK(out_len == 0);
		return;
	}
	FUZZ_CHECK(len <= NAME_MAX_LEN && out_len + 1 >= len && out_len > 0);
	for (size_t i = 0; i < out_len; i++)
		FUZZ_CHECK(out[i] > 0x20 && out[i] < 0x7f && (out[i] < 'A' || out[i] > 'Z'));
	FUZZ_CHECK(name_canonical(out, out_len, again, &again_len, &b) == kind);
	FUZZ_CHECK(again_len == out_len && strcmp(out, again) == 0);
	FUZZ_CHECK((kind == NAME_ADDRESS) == addr_parse(out, out_len, &b));
	FUZZ_CHECK(kind != NAME_ADDRESS || addr_equal(&a, &b));
	/* what a resolver might take for an address is one to us, or bad */
	FUZZ_CHECK(kind != NAME_HOST || inet_addr(out) == INADDR_NONE);
}

static void
check_quoted(const struct text *t, char mark)
{
	FUZZ_CHECK(!t->cut && t->len == strlen(t->p) && t->len >= 2);
	FUZZ_CHECK(t->p[0] == mark && t->p[t->len - 1] == mark);
	for (size_t i = 1; i < t->len - 1; i++) {
		FUZZ_CHECK(t->p[i] >= 0x20 && t->p[i] <= 0x7e && t->p[i] != mark);
		if (t->p[i] == '\\')
			i++;
	}
}

static void
check_quoting(const char *s, size_t len)
{
	static char room[6 * FUZZ_MAX + 8];
	struct buffer b = {0};
	struct text t;

	text_init(&t, room, sizeof room);
	text_put_quoted(&t, s, len, len);
	check_quoted(&t, '\'');
	text_init(&t, room, sizeof room);
	text_put_json(&t, s, len, len);
	check_quoted(&t, '"');
	buffer_put_json(&b, s, len);
	FUZZ_CHECK(b.len == t.len && memcmp(b.p, room, t.len) == 0);
	/* in less room: the beginning of the same */
	text_init(&t, room, 1 + len / 2);
	text_put_json(&t, s, len, len);
	FUZZ_CHECK(t.cut && t.len == len / 2 && memcmp(room, b.p, t.len) == 0 &&
		   room[t.len] == '\0');
	buffer_free(&b);
}

static void
check_distance(const char *s, size_t len)
{
	char a[FUZZ_MAX + 1], b[FUZZ_MAX + 1];
	const char *const words[] = {b, a, NULL};
	size_t half = len / 2;
	unsigned d;

	memcpy(a, s, half);
	a[half] = '\0';
	memcpy(b, s + half, len - half);
	b[len - half] = '\0';
	d = text_distance(a, b, 20);
	FUZZ_CHECK(d <= 21 && d == text_distance(b, a, 20));
	FUZZ_CHECK(d > 20 || text_distance(a, b, d) == d);
	FUZZ_CHECK(d == 0 || text_distance(a, b, d - 1) == d);
	if (strlen(a) < 256)
		FUZZ_CHECK(text_distance(a, a, 0) == 0 &&
			   text_distance(a, text_nearest(a, words), 0) == 0);
}

static void
check_number(const char *s, size_t len)
{
	char text[24];
	struct text t;
	uint64_t v;

	if (!text_parse_u64(s, len, UINT64_MAX, &v))
		return;
	text_init(&t, text, sizeof text);
	text_put_u64(&t, v);
	FUZZ_CHECK(t.len == len && memcmp(text, s, len) == 0);
	FUZZ_CHECK(v == 0 || !text_parse_u64(s, len, v - 1, &v));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s;

	if (size > FUZZ_MAX)
		size = FUZZ_MAX;
	s = (const char *)fuzz_at_end(data, size);
	check_address(s, size);
	check_endpoint(s, size);
	check_prefix(s, size);
	check_name(s, size);
	check_quoting(s, size);
	check_distance(s, size);
	check_number(s, size);
	return 0;
}
