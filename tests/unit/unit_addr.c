/* Tests of base/addr.c: text both ways, order, prefixes and what is wrong with them. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static struct addr
parsed(const char *text)
{
	struct addr a;

	memset(&a, 0xee, sizeof a);
	CHECK_ROW(addr_parse(text, strlen(text), &a), text);
	return a;
}

static const struct {
	const char *in, *out;
} good[] = {
    {"0.0.0.0", "0.0.0.0"},
    {"1.2.3.4", "1.2.3.4"},
    {"255.255.255.255", "255.255.255.255"},
    {"10.0.200.99", "10.0.200.99"},
    {"::", "::"},
    {"::1", "::1"},
    {"1::", "1::"},
    {"2001:DB8::A", "2001:db8::a"},
    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
    {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
    {"0:0:3:4:5:6:0:0", "::3:4:5:6:0:0"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"00ab:0001::0000", "ab:1::"},
    {"::ffff:1.2.3.4", "1.2.3.4"},
    {"::FFFF:102:304", "1.2.3.4"},
    {"0:0:0:0:0:ffff:10.0.0.1", "10.0.0.1"},
    {"::1.2.3.4", "::102:304"},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
    {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
    {"fe80::200:5aee:feaa:20a2", "fe80::200:5aee:feaa:20a2"},
};

static const char *const bad[] = {
    "",
    ".",
    ":",
    "1",
    "1.2.3",
    "1.2.3.",
    ".1.2.3",
    "1.2.3.4.",
    "1.2.3.4.5",
    "1..2.3",
    "1.2.3.256",
    "1.2.3.999999999999999999999",
    "01.2.3.4",
    "1.2.3.00",
    "0x7f.0.0.1",
    "127.1",
    " 1.2.3.4",
    "1.2.3.4 ",
    "+1.2.3.4",
    "-1.2.3.4",
    "1.2.3.4/8",
    "1,2,3,4",
    ":::",
    "1:::2",
    "::1::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    "1:2:3:4::5:6:7:8",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "12345::",
    "00001::",
    "g::",
    "[::1]",
    "fe80::1%eth0",
    "::1.2.3",
    "::1.2.3.4.5",
    "::01.2.3.4",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "1:2:3:4:5:6:7:1.2.3.4",
    "::ffff:1.2.3.256",
    "::-1",
    ": :1",
};

static void
test_text_good(void)
{
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char text[ADDR_TEXT], back[ADDR_TEXT];
		struct addr a = parsed(good[i].in), again;
		size_t len = addr_format(&a, text);

		CHECK_ROW(strcmp(text, good[i].out) == 0, good[i].in);
		CHECK_ROW(len == strlen(text), good[i].in);
		again = parsed(text);
		CHECK_ROW(addr_equal(&a, &again), good[i].in);
		addr_format(&again, back);
		CU_ASSERT_STRING_EQUAL(text, back);
	}
}

static void
test_text_bad(void)
{
	struct addr a;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_ROW(!addr_parse(bad[i], strlen(bad[i]), &a), bad[i]);
	CU_ASSERT_FALSE(addr_parse("1.2.3.4\0", 8, &a));
	CU_ASSERT_FALSE(addr_parse("::1\0", 4, &a));
}

/* Every prefix of a text in a block of exactly its size: a sanitizer sees a read behind the end. */
static void
test_text_unterminated(void)
{
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		for (size_t len = 0; len <= strlen(good[i].in); len++) {
			char *exact = malloc(len > 0 ? len : 1), whole[64];
			struct addr a, b;
			struct prefix p, q;

			memcpy(exact, good[i].in, len);
			memcpy(whole, good[i].in, len);
			memcpy(whole + len, "9:9.9/9", 8);
			CHECK_ROW(addr_parse(exact, len, &a) == addr_parse(whole, len, &b), whole);
			CHECK_ROW(prefix_parse(exact, len, &p) == prefix_parse(whole, len, &q),
				  whole);
			free(exact);
		}
	}
}

/* The C library agrees on everything that can be made of the letters of addresses. */
static void
test_text_oracle(void)
{
	static const char letters[] = "0123456789abcdefA:::::::....";
	uint64_t seed = 88172645463325252u;
	unsigned taken = 0;

	for (int round = 0; round < 200000; round++) {
		char text[24];
		size_t len;
		uint8_t want[16];
		struct addr a;
		bool six, is;

		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		len = seed % 20;
		for (size_t i = 0; i < len; i++) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			/* few digits, many colons and dots */
			text[i] = (seed >> 40) % 3 == 0
				      ? letters[(seed >> 8) % (sizeof letters - 1)]
				      : "1:.f"[(seed >> 8) % 4];
		}
		text[len] = '\0';
		six = strchr(text, ':') != NULL;
		is = inet_pton(six ? AF_INET6 : AF_INET, text, want) == 1;
		CHECK_ROW(addr_parse(text, len, &a) == is, text);
		if (!is)
			continue;
		taken++;
		CHECK_ROW(memcmp(six ? a.b : a.b + 12, want, six ? 16 : 4) == 0, text);
	}
	CU_ASSERT(taken > 1000);
}

static void
test_kinds(void)
{
	const uint8_t four[4] = {127, 0, 0, 1};
	const uint8_t six[16] = {[15] = 1};
	struct addr a = parsed("::ffff:127.0.0.1"), b = addr_from_bytes4(four);
	struct addr c = addr_from_v4(0x7f000001), d = addr_from_bytes16(six);

	CU_ASSERT(addr_is4(&a));
	CU_ASSERT_EQUAL(addr_v4(&a), 0x7f000001);
	CU_ASSERT(addr_equal(&a, &b) && addr_equal(&a, &c) && addr_equal(&a, &addr_loopback4));
	CU_ASSERT(addr_equal(&d, &addr_loopback6));
	CU_ASSERT_FALSE(addr_is4(&addr_any6));
	CU_ASSERT_FALSE(addr_is4(&addr_loopback6));
	a = parsed("::1.2.3.4");
	CU_ASSERT_FALSE(addr_is4(&a));
	a = parsed("1::ffff:1.2.3.4");
	CU_ASSERT_FALSE(addr_is4(&a));
	CU_ASSERT(addr_is_unspecified(&addr_any4) && addr_is_unspecified(&addr_any6));
	CU_ASSERT_FALSE(addr_is_unspecified(&addr_loopback6));
	a = parsed("0.0.0.1");
	CU_ASSERT_FALSE(addr_is_unspecified(&a));
	a = parsed("127.255.0.9");
	CU_ASSERT(addr_is_loopback(&a) && addr_is_loopback(&addr_loopback6));
	a = parsed("128.0.0.1");
	CU_ASSERT_FALSE(addr_is_loopback(&a));
	a = parsed("::2");
	CU_ASSERT_FALSE(addr_is_loopback(&a));
	CU_ASSERT_FALSE(addr_is_loopback(&addr_any6));
}

static void
test_order(void)
{
	static const char *const rising[] = {
	    "::",
	    "::1",
	    "::1.2.3.4",
	    "0.0.0.0",
	    "0.0.0.1",
	    "9.255.255.255",
	    "10.0.0.0",
	    "255.255.255.255",
	    "::1:0:0:0",
	    "0:0:0:1::",
	    "64:ff9b::",
	    "2001:db8::",
	    "2001:db8::ffff:ffff:ffff:ffff",
	    "2001:db8:0:1::",
	    "ff02::1",
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	};
	int count = sizeof rising / sizeof *rising;

	for (int i = 0; i < count; i++)
		for (int j = 0; j < count; j++) {
			struct addr a = parsed(rising[i]), b = parsed(rising[j]);
			int order = addr_compare(&a, &b);

			CHECK_ROW((order > 0) - (order < 0) == (i > j) - (i < j), rising[i]);
			CHECK_ROW(addr_equal(&a, &b) == (i == j), rising[i]);
		}
}

static void
test_endpoints(void)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
	    {"1.2.3.4:80", "1.2.3.4:80"},
	    {"0.0.0.0:0", "0.0.0.0:0"},
	    {"1.2.3.4:65535", "1.2.3.4:65535"},
	    {"[::1]:80", "[::1]:80"},
	    {"[::]:1080", "[::]:1080"},
	    {"[::ffff:1.2.3.4]:5", "1.2.3.4:5"},
	    {"[2001:DB8:0:0::1]:443", "[2001:db8::1]:443"},
	};
	static const char *const wrong[] = {
	    "",
	    ":",
	    ":80",
	    "1.2.3.4",
	    "1.2.3.4:",
	    "1.2.3.4:65536",
	    "1.2.3.4:-1",
	    "1.2.3.4:+1",
	    "1.2.3.4:080",
	    "1.2.3.4:8 ",
	    "::1:80",
	    "[::1]",
	    "[::1]80",
	    "[::1:80",
	    "::1]:80",
	    "[]:80",
	    "[1.2.3.4]:80",
	    "[[::1]]:80",
	    "[::1%lo]:80",
	    "localhost:80",
	    "1.2.3.4:http",
	    "[:80",
	    "[::1]::80",
	};
	struct endpoint e;
	char text[ENDPOINT_TEXT];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CHECK_ROW(endpoint_parse(rows[i].in, strlen(rows[i].in), &e), rows[i].in);
		CHECK_ROW(endpoint_format(&e, text) == strlen(rows[i].out), rows[i].in);
		CHECK_ROW(strcmp(text, rows[i].out) == 0, rows[i].in);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CHECK_ROW(!endpoint_parse(wrong[i], strlen(wrong[i]), &e), wrong[i]);
	/* the longest there is fits */
	memset(&e, 0xff, sizeof e);
	e.port = 65535;
	CU_ASSERT_EQUAL(endpoint_format(&e, text),
			strlen("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"));
	CU_ASSERT(endpoint_parse(text, strlen(text), &e));
}

static void
test_embedded(void)
{
	static const struct {
		const char *outer, *inner;
	} rows[] = {
	    {"64:ff9b::192.0.2.33", "192.0.2.33"},
	    {"64:ff9b::7f00:1", "127.0.0.1"},
	    {"2002:c000:221::1", "192.0.2.33"},
	    {"2002:a9fe:a9fe:1:2:3:4:5", "169.254.169.254"},
	    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"},
	    {"64:ff9b:1::1.2.3.4", NULL},
	    {"64:ff9b::1:0:0", NULL},
	    {"2001:db8::1", NULL},
	    {"2001:1::1", NULL},
	    {"2003::", NULL},
	    {"1.2.3.4", NULL},
	    {"::1.2.3.4", NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr outer = parsed(rows[i].outer), inner, want;
		bool is = addr_embedded(&outer, &inner);

		CHECK_ROW(is == (rows[i].inner != NULL), rows[i].outer);
		if (!is || rows[i].inner == NULL)
			continue;
		want = parsed(rows[i].inner);
		CHECK_ROW(addr_equal(&inner, &want), rows[i].outer);
	}
}

static const struct {
	const char *in;
	enum prefix_error error;
	const char *out; /* of OK and HOST_BITS */
} prefixes[] = {
    {"10.0.0.0/8", PREFIX_OK, "10.0.0.0/8"},
    {"0.0.0.0/0", PREFIX_OK, "0.0.0.0/0"},
    {"1.2.3.4", PREFIX_OK, "1.2.3.4/32"},
    {"1.2.3.4/32", PREFIX_OK, "1.2.3.4/32"},
    {"192.168.1.128/25", PREFIX_OK, "192.168.1.128/25"},
    {"2001:DB8::/32", PREFIX_OK, "2001:db8::/32"},
    {"::/0", PREFIX_OK, "::/0"},
    {"::1", PREFIX_OK, "::1/128"},
    {"fe80::/10", PREFIX_OK, "fe80::/10"},
    {"2001:db8:0:0:8000::/65", PREFIX_OK, "2001:db8:0:0:8000::/65"},
    {"10.1.2.3/8", PREFIX_HOST_BITS, "10.0.0.0/8"},
    {"1.2.3.4/0", PREFIX_HOST_BITS, "0.0.0.0/0"},
    {"1.2.3.5/31", PREFIX_HOST_BITS, "1.2.3.4/31"},
    {"2001:db8::1/64", PREFIX_HOST_BITS, "2001:db8::/64"},
    {"::1/0", PREFIX_HOST_BITS, "::/0"},
    {"", PREFIX_BAD_ADDRESS, NULL},
    {"/8", PREFIX_BAD_ADDRESS, NULL},
    {"10/8", PREFIX_BAD_ADDRESS, NULL},
    {"10.0.0/24", PREFIX_BAD_ADDRESS, NULL},
    {"branches", PREFIX_BAD_ADDRESS, NULL},
    {"1.2.3.300", PREFIX_BAD_ADDRESS, NULL},
    {"fe80::1%eth0/64", PREFIX_BAD_ADDRESS, NULL},
    {"[::1]/128", PREFIX_BAD_ADDRESS, NULL},
    {"a-b", PREFIX_BAD_ADDRESS, NULL},
    {" 10.0.0.0/8", PREFIX_BAD_ADDRESS, NULL},
    {"10.0.0.0/", PREFIX_BAD_LENGTH, NULL},
    {"10.0.0.0/33", PREFIX_BAD_LENGTH, NULL},
    {"10.0.0.0/129", PREFIX_BAD_LENGTH, NULL},
    {"10.0.0.0/99999999999999999999", PREFIX_BAD_LENGTH, NULL},
    {"10.0.0.0/x", PREFIX_BAD_LENGTH, NULL},
    {"10.0.0.0/8 ", PREFIX_BAD_LENGTH, NULL},
    {"10.0.0.0/+8", PREFIX_BAD_LENGTH, NULL},
    {"10.0.0.0/8/8", PREFIX_BAD_LENGTH, NULL},
    {"2001:db8::/129", PREFIX_BAD_LENGTH, NULL},
    {"2001:db8::/", PREFIX_BAD_LENGTH, NULL},
    {"010.0.0.0/8", PREFIX_OCTAL, NULL},
    {"10.0.0.01", PREFIX_OCTAL, NULL},
    {"10.00.0.0/16", PREFIX_OCTAL, NULL},
    {"0177.0.0.1", PREFIX_OCTAL, NULL},
    {"10.0.0.0/08", PREFIX_OCTAL, NULL},
    {"2001:db8::/032", PREFIX_OCTAL, NULL},
    {"64:ff9b::010.0.0.1", PREFIX_OCTAL, NULL},
    {"10.0.0.0/255.0.0.0", PREFIX_NETMASK, NULL},
    {"10.0.0.0/0.255.255.255", PREFIX_NETMASK, NULL},
    {"10.0.0.1-10.0.0.9", PREFIX_RANGE, NULL},
    {"10.0.0.1 - 10.0.0.9", PREFIX_RANGE, NULL},
    {"10.0.0.1-9", PREFIX_RANGE, NULL},
    {"2001:db8::1-2001:db8::9", PREFIX_RANGE, NULL},
    {"10.0.0.0/24-10.0.9.0/24", PREFIX_RANGE, NULL},
    {"::ffff:10.0.0.0/104", PREFIX_MAPPED, NULL},
    {"::ffff:10.0.0.1", PREFIX_MAPPED, NULL},
    {"::ffff:0:0/96", PREFIX_MAPPED, NULL},
    {"0:0:0:0:0:ffff:102:304/8", PREFIX_MAPPED, NULL},
};

static void
test_prefix_text(void)
{
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		const char *in = prefixes[i].in;
		char text[PREFIX_TEXT];
		struct prefix p, again;
		enum prefix_error error = prefix_parse(in, strlen(in), &p);

		CHECK_ROW(error == prefixes[i].error, in);
		if (prefixes[i].out == NULL || error != prefixes[i].error)
			continue;
		CHECK_ROW(prefix_format(&p, text) == strlen(text), in);
		CHECK_ROW(strcmp(text, prefixes[i].out) == 0, in);
		CHECK_ROW(prefix_parse(text, strlen(text), &again) == PREFIX_OK, in);
		CHECK_ROW(again.len == p.len && addr_equal(&again.addr, &p.addr), in);
	}
}

static void
test_prefix_contains(void)
{
	static const struct {
		const char *prefix, *in, *out;
	} rows[] = {
	    {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
	    {"10.0.0.0/8", "10.0.0.0", "9.255.255.255"},
	    {"0.0.0.0/0", "255.1.2.3", "::"},
	    {"0.0.0.0/0", "0.0.0.0", "ffff::"},
	    {"1.2.3.4", "1.2.3.4", "1.2.3.5"},
	    {"1.2.3.4/31", "1.2.3.5", "1.2.3.6"},
	    {"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
	    {"::/0", "::1", "1.2.3.4"},
	    {"::/0", "ffff::", "10.0.0.1"},
	    {"::/80", "::1", "0.0.0.0"},
	    {"::1", "::1", "::"},
	    {"8000::/1", "ffff::", "7fff::"},
	    {"2001:db8:0:0:8000::/65", "2001:db8::ffff:0:0:1", "2001:db8::7fff:0:0:1"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr in = parsed(rows[i].in), out = parsed(rows[i].out);
		struct addr low[2], high[2];
		struct prefix p;
		unsigned n;
		bool in_range = false, out_range = false;

		CHECK_ROW(prefix_parse(rows[i].prefix, strlen(rows[i].prefix), &p) == PREFIX_OK,
			  rows[i].prefix);
		CHECK_ROW(prefix_contains(&p, &in), rows[i].in);
		CHECK_ROW(!prefix_contains(&p, &out), rows[i].out);
		n = prefix_ranges(&p, low, high);
		for (unsigned j = 0; j < n; j++) {
			in_range |=
			    addr_compare(&low[j], &in) <= 0 && addr_compare(&in, &high[j]) <= 0;
			out_range |=
			    addr_compare(&low[j], &out) <= 0 && addr_compare(&out, &high[j]) <= 0;
		}
		CHECK_ROW(in_range && !out_range, rows[i].prefix);
	}
}

static void
test_prefix_ends(void)
{
	static const struct {
		const char *prefix, *first, *last;
	} rows[] = {
	    {"10.0.0.0/8", "10.0.0.0", "10.255.255.255"},
	    {"0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
	    {"1.2.3.4", "1.2.3.4", "1.2.3.4"},
	    {"2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
	    {"2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"},
	    {"2001:db8::/63", "2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:ffff"},
	    {"2001:db8::/65", "2001:db8::", "2001:db8::7fff:ffff:ffff:ffff"},
	    {"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};
	struct addr low[2], high[2], below, above;
	struct prefix p;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct addr first = parsed(rows[i].first), last = parsed(rows[i].last), got;

		CU_ASSERT_EQUAL(prefix_parse(rows[i].prefix, strlen(rows[i].prefix), &p),
				PREFIX_OK);
		got = prefix_first(&p);
		CHECK_ROW(addr_equal(&got, &first), rows[i].prefix);
		got = prefix_last(&p);
		CHECK_ROW(addr_equal(&got, &last), rows[i].prefix);
		got = addr_mask(&last, p.len);
		CHECK_ROW(addr_equal(&got, &first), rows[i].prefix);
	}
	/* the IPv4 block is cut out of an IPv6 prefix, and nothing else */
	CU_ASSERT_EQUAL(prefix_ranges(&p, low, high), 2);
	below = parsed("::fffe:ffff:ffff");
	above = parsed("0:0:0:0:1::");
	CU_ASSERT(addr_equal(&low[0], &addr_any6) && addr_equal(&high[0], &below));
	CU_ASSERT(addr_equal(&low[1], &above));
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"good text", test_text_good},
	    {"bad text", test_text_bad},
	    {"text without an end", test_text_unterminated},
	    {"text as the C library sees it", test_text_oracle},
	    {"kinds", test_kinds},
	    {"order", test_order},
	    {"endpoints", test_endpoints},
	    {"addresses inside addresses", test_embedded},
	    {"prefix text", test_prefix_text},
	    {"prefix contains", test_prefix_contains},
	    {"prefix ends", test_prefix_ends},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("addr", tests);
}
