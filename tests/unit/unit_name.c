/* Tests of base/name.c: what a client may call a host, and what we call our objects. */
#include "base/name.h"

#include <stdlib.h>
#include <string.h>

#include "suite.h"

static const struct {
	const char *in;
	enum name_kind kind;
	const char *out; /* the name, or the address in RFC 5952 form */
} rows[] = {
    {"example.com", NAME_HOST, "example.com"},
    {"EXAMPLE.Com", NAME_HOST, "example.com"},
    {"example.com.", NAME_HOST, "example.com"},
    {"intranet", NAME_HOST, "intranet"},
    {"intranet.", NAME_HOST, "intranet"},
    {"a", NAME_HOST, "a"},
    {"_srv._tcp.a-b.example", NAME_HOST, "_srv._tcp.a-b.example"},
    {"xn--bcher-kva.example", NAME_HOST, "xn--bcher-kva.example"},
    {"1.2.3.4.example", NAME_HOST, "1.2.3.4.example"},
    {"3com", NAME_HOST, "3com"},
    {"127.1a", NAME_HOST, "127.1a"},
    {"0xg", NAME_HOST, "0xg"},
    {"beef", NAME_HOST, "beef"},
    {"a.0x1.b", NAME_HOST, "a.0x1.b"},
    {"what?!*", NAME_HOST, "what?!*"},
    {"1.2.3.4", NAME_ADDRESS, "1.2.3.4"},
    {"1.2.3.4.", NAME_ADDRESS, "1.2.3.4"},
    {"::1", NAME_ADDRESS, "::1"},
    {"::1.", NAME_ADDRESS, "::1"},
    {"2001:DB8::00A", NAME_ADDRESS, "2001:db8::a"},
    {"::FFFF:127.0.0.1", NAME_ADDRESS, "127.0.0.1"},
    {"", NAME_BAD, NULL},
    {".", NAME_BAD, NULL},
    {"..", NAME_BAD, NULL},
    {".a", NAME_BAD, NULL},
    {"a..", NAME_BAD, NULL},
    {"a..b", NAME_BAD, NULL},
    {"1.2.3.4..", NAME_BAD, NULL},
    {"127.1", NAME_BAD, NULL},
    {"127.1.", NAME_BAD, NULL},
    {"2130706433", NAME_BAD, NULL},
    {"0x7f000001", NAME_BAD, NULL},
    {"0X7F000001", NAME_BAD, NULL},
    {"0x7f.0.0.0x1", NAME_BAD, NULL},
    {"0x", NAME_BAD, NULL},
    {"017700000001", NAME_BAD, NULL},
    {"010.0.0.1", NAME_BAD, NULL},
    {"1.2.3.4.5", NAME_BAD, NULL},
    {"1.2.3.256", NAME_BAD, NULL},
    {"example.123", NAME_BAD, NULL},
    {"example.0xff.", NAME_BAD, NULL},
    {"fe80::1%eth0", NAME_BAD, NULL},
    {"::1%lo", NAME_BAD, NULL},
    {"[::1]", NAME_BAD, NULL},
    {"host:80", NAME_BAD, NULL},
    {":::", NAME_BAD, NULL},
    {"a b", NAME_BAD, NULL},
    {" a", NAME_BAD, NULL},
    {"a\t", NAME_BAD, NULL},
    {"a\n", NAME_BAD, NULL},
    {"a\x7f", NAME_BAD, NULL},
    {"b\xc3\xbc"
     "cher",
     NAME_BAD, NULL},
};

static void
test_table(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t len = strlen(rows[i].in), out_len = 999;
		char *exact = malloc(len > 0 ? len : 1), out[NAME_MAX_LEN + 1], text[ADDR_TEXT];
		struct addr a;
		enum name_kind kind;

		memcpy(exact, rows[i].in, len);
		kind = name_canonical(exact, len, out, &out_len, &a);
		free(exact);
		CHECK_ROW(kind == rows[i].kind, rows[i].in);
		CHECK_ROW(out_len == strlen(out), rows[i].in);
		if (kind == NAME_HOST && rows[i].kind == NAME_HOST)
			CHECK_ROW(strcmp(out, rows[i].out) == 0, rows[i].in);
		if (kind == NAME_ADDRESS && rows[i].kind == NAME_ADDRESS) {
			addr_format(&a, text);
			CHECK_ROW(strcmp(text, rows[i].out) == 0, rows[i].in);
		}
		if (kind == NAME_BAD)
			CHECK_ROW(out_len == 0, rows[i].in);
	}
}

static void
test_bytes(void)
{
	char out[NAME_MAX_LEN + 1];
	struct addr a;
	size_t out_len;

	for (int c = 0; c < 256; c++) {
		char in[] = {'a', (char)c, 'z'};
		bool visible = c >= 0x21 && c <= 0x7e && c != ':';
		char row[16];

		snprintf(row, sizeof row, "%d", c);
		CHECK_ROW((name_canonical(in, 3, out, &out_len, &a) == NAME_HOST) == visible, row);
	}
	CU_ASSERT_EQUAL(name_canonical("localhost\0.evil.test", 20, out, &out_len, &a), NAME_BAD);
	CU_ASSERT_EQUAL(name_canonical("a\0", 2, out, &out_len, &a), NAME_BAD);
}

static void
test_lengths(void)
{
	char in[300], out[NAME_MAX_LEN + 1];
	struct addr a;
	size_t out_len;

	memset(in, 'A', sizeof in);
	CU_ASSERT_EQUAL(name_canonical(in, 255, out, &out_len, &a), NAME_HOST);
	CU_ASSERT(out_len == 255 && strlen(out) == 255 && out[254] == 'a');
	CU_ASSERT_EQUAL(name_canonical(in, 256, out, &out_len, &a), NAME_BAD);
	in[254] = '.';
	CU_ASSERT_EQUAL(name_canonical(in, 255, out, &out_len, &a), NAME_HOST);
	CU_ASSERT(out_len == 254 && strlen(out) == 254);
	in[255] = '.';
	CU_ASSERT_EQUAL(name_canonical(in, 256, out, &out_len, &a), NAME_BAD);
}

/* What came out goes in again and comes out the same. */
static void
test_idempotent(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[NAME_MAX_LEN + 1], again[NAME_MAX_LEN + 1];
		size_t len, again_len;
		struct addr a, b;
		enum name_kind kind = name_canonical(rows[i].in, strlen(rows[i].in), out, &len, &a);

		if (kind == NAME_BAD)
			continue;
		CHECK_ROW(name_canonical(out, len, again, &again_len, &b) == kind, rows[i].in);
		CHECK_ROW(strcmp(out, again) == 0 && len == again_len, rows[i].in);
	}
}

static void
test_identifier(void)
{
	static const char *const fine[] = {"a", "Z", "fin-erp", "a_1", "x-", "tls1-3"};
	static const char *const wrong[] = {"",    "1a", "-a",       "_a", "a.b",
					    "a b", "a/", "\xc3\xa4", "@a", "a:"};
	char lengthy[65];

	for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
		CHECK_ROW(name_is_identifier(fine[i], strlen(fine[i])), fine[i]);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CHECK_ROW(!name_is_identifier(wrong[i], strlen(wrong[i])), wrong[i]);
	memset(lengthy, 'a', sizeof lengthy);
	CU_ASSERT(name_is_identifier(lengthy, 64));
	CU_ASSERT_FALSE(name_is_identifier(lengthy, 65));
	CU_ASSERT_FALSE(name_is_identifier("a\0b", 3));
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"table of names", test_table},   {"each byte", test_bytes},
	    {"lengths", test_lengths},        {"canonical stays canonical", test_idempotent},
	    {"identifiers", test_identifier}, CU_TEST_INFO_NULL,
	};

	return suite_run("name", tests);
}
