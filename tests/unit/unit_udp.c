/* Tests of wire/udp.c: headers of UDP datagrams, whole, cut at each byte, with data behind. */
#include "wire/udp.h"

#include "chop.h"
#include "suite.h"

static const struct row {
	const char *what;
	const char *bytes;
	size_t len;
	enum udp_fault fault;
	enum name_kind kind;
	const char *address; /* or the canonical name */
	uint16_t port;
} rows[] = {
    {"IPv4", BYTES("\0\0\0\1\300\0\2\1\0\65"), UDP_FINE, NAME_ADDRESS, "192.0.2.1", 53},
    {"IPv6", BYTES("\0\0\0\4\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1\1\273"), UDP_FINE, NAME_ADDRESS,
     "2001:db8::1", 443},
    {"IPv4 in IPv6 is IPv4", BYTES("\0\0\0\4\0\0\0\0\0\0\0\0\0\0\377\377\12\1\2\3\0\65"), UDP_FINE,
     NAME_ADDRESS, "10.1.2.3", 53},
    {"a name", BYTES("\0\0\0\3\16Ns.Example.ORG\0\65"), UDP_FINE, NAME_HOST, "ns.example.org", 53},
    {"a trailing dot", BYTES("\0\0\0\3\2a.\1\0"), UDP_FINE, NAME_HOST, "a", 256},
    {"a name that is IPv4", BYTES("\0\0\0\3\7\061.2.3.4\0\1"), UDP_FINE, NAME_ADDRESS, "1.2.3.4",
     1},
    {"a name that is IPv6", BYTES("\0\0\0\3\3::1\0\1"), UDP_FINE, NAME_ADDRESS, "::1", 1},
    {"port 0", BYTES("\0\0\0\1\1\2\3\4\0\0"), UDP_FINE, NAME_ADDRESS, "1.2.3.4", 0},
    {"RSV", BYTES("\1\0\0\1\1\2\3\4\0\1"), UDP_RSV, NAME_BAD, NULL, 0},
    {"RSV low", BYTES("\0\1\0\1\1\2\3\4\0\1"), UDP_RSV, NAME_BAD, NULL, 0},
    {"a fragment", BYTES("\0\0\1\1\1\2\3\4\0\1"), UDP_FRAG, NAME_BAD, NULL, 0},
    {"the last fragment", BYTES("\0\0\201\1\1\2\3\4\0\1"), UDP_FRAG, NAME_BAD, NULL, 0},
    {"RSV before FRAG", BYTES("\0\1\1\11"), UDP_RSV, NAME_BAD, NULL, 0},
    {"FRAG before ATYP", BYTES("\0\0\1\11"), UDP_FRAG, NAME_BAD, NULL, 0},
    {"ATYP 0", BYTES("\0\0\0\0\1\2\3\4\0\1"), UDP_ATYP, NAME_BAD, NULL, 0},
    {"ATYP 2", BYTES("\0\0\0\2\1\2\3\4\0\1"), UDP_ATYP, NAME_BAD, NULL, 0},
    {"no name", BYTES("\0\0\0\3\0\0\65"), UDP_NAME, NAME_BAD, NULL, 0},
    {"NUL in a name", BYTES("\0\0\0\3\17localhost\0.evil\0\65"), UDP_NAME, NAME_BAD, NULL, 0},
    {"a number that is no address", BYTES("\0\0\0\3\005\061\062\067.1\0\65"), UDP_NAME, NAME_BAD,
     NULL, 0},
};

/* Of a bad header the fault may be certain before its end: then from there on. */
static size_t
certain(const struct row *row)
{
	switch (row->fault) {
	case UDP_RSV:
	case UDP_FRAG:
	case UDP_ATYP:
		return 4;
	default:
		return row->len;
	}
}

static void
check(const struct row *row, size_t len, size_t behind)
{
	uint8_t whole[64] = {0}, *exact;
	struct udp_header h;
	enum udp_fault fault;

	memcpy(whole, row->bytes, len);
	exact = exact_copy(whole, len + behind);
	fault = udp_decode(exact, len + behind, &h);
	if (len < certain(row)) {
		CHECK_ROW(fault == UDP_SHORT, row->what);
	} else {
		CHECK_ROW(fault == row->fault, row->what);
	}
	if (fault == UDP_FINE) {
		char text[ADDR_TEXT];

		CHECK_ROW(h.len == row->len && h.kind == row->kind && h.port == row->port,
			  row->what);
		CHECK_ROW((h.sent != NULL) == (exact[3] == 3), row->what);
		addr_format(&h.addr, text);
		CHECK_ROW(strcmp(h.kind == NAME_HOST ? h.name : text, row->address) == 0,
			  row->what);
	}
	free(exact);
}

static void
test_cut(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t len = 0; len <= rows[i].len; len++)
			check(&rows[i], len, 0);
}

static void
test_data_behind(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t behind = 0; behind < 30; behind++)
			check(&rows[i], rows[i].len, behind);
}

static void
test_longest_name(void)
{
	uint8_t buf[4 + 1 + 255 + 2] = {0, 0, 0, 3, 255};
	struct udp_header h;

	memset(buf + 5, 'a', 255);
	for (size_t i = 63; i < 255; i += 64)
		buf[5 + i] = '.';
	buf[260] = 0x12;
	buf[261] = 0x34;
	for (size_t len = 0; len < sizeof buf; len++)
		CU_ASSERT_EQUAL(udp_decode(buf, len, &h), UDP_SHORT);
	CU_ASSERT_EQUAL(udp_decode(buf, sizeof buf, &h), UDP_FINE);
	CU_ASSERT(h.len == sizeof buf && h.sent == buf + 5 && h.sent_len == 255);
	CU_ASSERT(h.name_len == 255 && h.name[255] == '\0' && h.port == 0x1234);
}

static void
test_encode(void)
{
	static const struct {
		const char *at, *bytes;
		size_t len;
	} list[] = {
	    {"192.0.2.1:53", BYTES("\0\0\0\1\300\0\2\1\0\65")},
	    {"[2001:db8::1]:443", BYTES("\0\0\0\4\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1\1\273")},
	};

	for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
		uint8_t out[UDP_HEADER_MOST];
		struct udp_header h;
		struct endpoint e;

		CU_ASSERT_TRUE(endpoint_parse(list[i].at, strlen(list[i].at), &e));
		CHECK_ROW(udp_encode(out, &e) == list[i].len, list[i].at);
		CHECK_ROW(memcmp(out, list[i].bytes, list[i].len) == 0, list[i].at);
		CHECK_ROW(udp_decode(out, list[i].len, &h) == UDP_FINE, list[i].at);
		CHECK_ROW(addr_equal(&h.addr, &e.addr) && h.port == e.port, list[i].at);
	}
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"cut at each byte", test_cut},
	    {"data behind", test_data_behind},
	    {"longest name", test_longest_name},
	    {"written", test_encode},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("udp", tests);
}
