/* Tests of wire/socks4.c: SOCKS4 and 4A requests, whole, chopped and glued; replies. */
#include "wire/socks.h"

#include "chop.h"
#include "suite.h"

struct row {
	const char *what;
	const char *bytes;
	size_t len;
	enum decode result;
	enum socks_fault fault;
	size_t certain; /* bytes after which the result stands */
	size_t used;
	uint8_t command;
	uint16_t port;
	bool is_4a;
	enum name_kind kind;
	const char *where; /* address in text or name */
	const char *userid;
};

#define WHOLE(n) (n), (n)

static const struct row rows[] = {
    {"connect", BYTES("\4\1\0\120\12\11\10\7alice\0"), DECODE_OK, FAULT_NONE, WHOLE(14), 1, 80,
     false, NAME_ADDRESS, "10.9.8.7", "alice"},
    {"bind, nobody", BYTES("\4\2\x30\x39\1\2\3\4\0"), DECODE_OK, FAULT_NONE, WHOLE(9), 2, 12345,
     false, NAME_ADDRESS, "1.2.3.4", ""},
    {"0.0.0.0 is an address", BYTES("\4\2\0\0\0\0\0\0u\0"), DECODE_OK, FAULT_NONE, WHOLE(10), 2, 0,
     false, NAME_ADDRESS, "0.0.0.0", "u"},
    {"0.0.1.0 is an address", BYTES("\4\1\0\1\0\0\1\0\0"), DECODE_OK, FAULT_NONE, WHOLE(9), 1, 1,
     false, NAME_ADDRESS, "0.0.1.0", ""},
    {"0.1.0.1 is an address", BYTES("\4\1\0\1\0\1\0\1\0"), DECODE_OK, FAULT_NONE, WHOLE(9), 1, 1,
     false, NAME_ADDRESS, "0.1.0.1", ""},
    {"userid of any bytes", BYTES("\4\1\377\377\377\377\377\377\1\377 \n\0"), DECODE_OK, FAULT_NONE,
     WHOLE(13), 1, 65535, false, NAME_ADDRESS, "255.255.255.255", "\1\377 \n"},
    {"4a", BYTES("\4\1\1\273\0\0\0\1bob\0Erp.Corp.example.\0"), DECODE_OK, FAULT_NONE, WHOLE(30), 1,
     443, true, NAME_HOST, "erp.corp.example", "bob"},
    {"4a with 0.0.0.255", BYTES("\4\2\0\25\0\0\0\377\0x\0"), DECODE_OK, FAULT_NONE, WHOLE(11), 2,
     21, true, NAME_HOST, "x", ""},
    {"4a name that is an address",
     BYTES("\4\1\0\120\0\0\0\7\0"
	   "127.0.0.1.\0"),
     DECODE_OK, FAULT_NONE, WHOLE(20), 1, 80, true, NAME_ADDRESS, "127.0.0.1", ""},
    {"4a name that is IPv6", BYTES("\4\1\0\120\0\0\0\7\0::1\0"), DECODE_OK, FAULT_NONE, WHOLE(13),
     1, 80, true, NAME_ADDRESS, "::1", ""},
    {"4a name that is mapped", BYTES("\4\1\0\120\0\0\0\7\0::ffff:10.0.0.1\0"), DECODE_OK,
     FAULT_NONE, WHOLE(25), 1, 80, true, NAME_ADDRESS, "10.0.0.1", ""},
    {"version 5", BYTES("\5\1\0"), DECODE_BAD, FAULT_VERSION, 1, 0, 0, 0, false, NAME_BAD, NULL,
     ""},
    {"version 0", BYTES("\0"), DECODE_BAD, FAULT_VERSION, 1, 0, 0, 0, false, NAME_BAD, NULL, ""},
    {"UDP is unknown here", BYTES("\4\3\0\120\12\0\0\1u\0"), DECODE_BAD, FAULT_COMMAND, WHOLE(10),
     3, 80, false, NAME_ADDRESS, "10.0.0.1", "u"},
    {"command 0", BYTES("\4\0\0\120\12\0\0\1u\0"), DECODE_BAD, FAULT_COMMAND, WHOLE(10), 0, 80,
     false, NAME_ADDRESS, "10.0.0.1", "u"},
    {"command 255 and 4a", BYTES("\4\377\0\120\0\0\0\1u\0host\0"), DECODE_BAD, FAULT_COMMAND,
     WHOLE(15), 255, 80, true, NAME_HOST, "host", "u"},
    {"command before name", BYTES("\4\11\0\120\0\0\0\1u\0a b\0"), DECODE_BAD, FAULT_COMMAND,
     WHOLE(14), 9, 80, true, NAME_BAD, NULL, "u"},
    {"empty 4a name", BYTES("\4\1\0\120\0\0\0\1u\0\0"), DECODE_BAD, FAULT_NAME, WHOLE(11), 1, 80,
     true, NAME_BAD, NULL, "u"},
    {"4a name with a blank", BYTES("\4\1\0\120\0\0\0\1\0a b\0"), DECODE_BAD, FAULT_NAME, WHOLE(13),
     1, 80, true, NAME_BAD, NULL, ""},
    {"4a name with a high byte", BYTES("\4\1\0\120\0\0\0\1\0\303\244\0"), DECODE_BAD, FAULT_NAME,
     WHOLE(12), 1, 80, true, NAME_BAD, NULL, ""},
    {"4a name of a number",
     BYTES("\4\1\0\120\0\0\0\1\0"
	   "127.1\0"),
     DECODE_BAD, FAULT_NAME, WHOLE(15), 1, 80, true, NAME_BAD, NULL, ""},
};

static void
compare(const struct row *row, const struct socks_request *r)
{
	char text[ADDR_TEXT];

	CHECK_ROW(r->version == 4, row->what);
	CHECK_ROW(r->fault == row->fault, row->what);
	CHECK_ROW(r->command == row->command && r->port == row->port, row->what);
	CHECK_ROW(r->is_4a == row->is_4a && r->kind == row->kind, row->what);
	if (r->kind != row->kind)
		return;
	CHECK_ROW(r->userid_len == strlen(row->userid), row->what);
	CHECK_ROW(strcmp(r->userid, row->userid) == 0, row->what);
	if (r->kind == NAME_HOST) {
		CHECK_ROW(strcmp(r->name, row->where) == 0, row->what);
		CHECK_ROW(r->name_len == strlen(row->where), row->what);
	} else if (r->kind == NAME_ADDRESS) {
		addr_format(&r->addr, text);
		CHECK_ROW(strcmp(text, row->where) == 0, row->what);
	}
}

static enum decode
decode_exact(const void *bytes, size_t len, struct socks_request *r, size_t *used)
{
	uint8_t *exact = exact_copy(bytes, len);
	enum decode result;

	memset(r, 0xa5, sizeof *r);
	*used = 999;
	result = socks4_decode(exact, len, r, used);
	free(exact);
	return result;
}

static void
test_table(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct socks_request r;
		size_t used;

		CHECK_ROW(decode_exact(rows[i].bytes, rows[i].len, &r, &used) == rows[i].result,
			  rows[i].what);
		CHECK_ROW(used == rows[i].used, rows[i].what);
		compare(&rows[i], &r);
	}
}

static void
test_chopped(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct socks_request r;
		size_t used;

		for (size_t len = 0; len < rows[i].certain; len++) {
			CHECK_ROW(decode_exact(rows[i].bytes, len, &r, &used) == DECODE_MORE,
				  rows[i].what);
			CHECK_ROW(used == 0, rows[i].what);
		}
		for (size_t len = rows[i].certain; len <= rows[i].len; len++) {
			CHECK_ROW(decode_exact(rows[i].bytes, len, &r, &used) == rows[i].result,
				  rows[i].what);
			CHECK_ROW(used == rows[i].used, rows[i].what);
			compare(&rows[i], &r);
		}
	}
}

static void
test_glued(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
			uint8_t both[128];
			struct socks_request r;
			size_t used;

			memcpy(both, rows[i].bytes, rows[i].len);
			memcpy(both + rows[i].len, rows[j].bytes, rows[j].len);
			CHECK_ROW(decode_exact(both, rows[i].len + rows[j].len, &r, &used) ==
				      rows[i].result,
				  rows[i].what);
			CHECK_ROW(used == rows[i].used, rows[i].what);
			compare(&rows[i], &r);
			if (rows[i].used == 0)
				continue;
			CHECK_ROW(decode_exact(both + used, rows[i].len + rows[j].len - used, &r,
					       &used) == rows[j].result,
				  rows[j].what);
			compare(&rows[j], &r);
		}
}

/* A request with so many bytes of userid and of name. */
static size_t
build(uint8_t *buf, size_t userid, size_t name)
{
	static const uint8_t head[8] = {4, 1, 0, 80, 0, 0, 0, 9};
	uint8_t *p = buf;

	memcpy(p, head, 8);
	p += 8;
	memset(p, 'u', userid);
	p += userid;
	*p++ = 0;
	memset(p, 'n', name);
	p += name;
	*p++ = 0;
	return (size_t)(p - buf);
}

static void
test_longest(void)
{
	uint8_t buf[SOCKS4_MAX + 16];
	struct socks_request r;
	size_t used, len = build(buf, 255, 255);

	CU_ASSERT_EQUAL(len, SOCKS4_MAX);
	CU_ASSERT_EQUAL(decode_exact(buf, len - 1, &r, &used), DECODE_MORE);
	CU_ASSERT_EQUAL(decode_exact(buf, len, &r, &used), DECODE_OK);
	CU_ASSERT(used == len && r.userid_len == 255 && r.name_len == 255 && r.sent_len == 255);
	CU_ASSERT(strlen(r.userid) == 255 && strlen(r.name) == 255);
}

static void
test_overlong(void)
{
	uint8_t buf[SOCKS4_MAX + 16];
	struct socks_request r;
	size_t used, len = build(buf, 256, 3);

	for (size_t n = 0; n <= len; n++) {
		enum decode want = n < 8 + 256 ? DECODE_MORE : DECODE_BAD;

		CU_ASSERT_EQUAL(decode_exact(buf, n, &r, &used), want);
		CU_ASSERT_EQUAL(r.fault, want == DECODE_BAD ? FAULT_LONG : FAULT_NONE);
		CU_ASSERT_EQUAL(used, 0);
	}
	CU_ASSERT(r.command == 1 && r.port == 80 && r.is_4a);
	len = build(buf, 2, 256);
	for (size_t n = 0; n <= len; n++) {
		enum decode want = n < 8 + 3 + 256 ? DECODE_MORE : DECODE_BAD;

		CU_ASSERT_EQUAL(decode_exact(buf, n, &r, &used), want);
		CU_ASSERT_EQUAL(r.fault, want == DECODE_BAD ? FAULT_LONG : FAULT_NONE);
	}
	CU_ASSERT_STRING_EQUAL(r.userid, "uu");
	CU_ASSERT_EQUAL(r.kind, NAME_BAD);
}

static void
test_sent(void)
{
	struct socks_request r;
	size_t used;

	CU_ASSERT_EQUAL(decode_exact(BYTES("\4\1\0\120\0\0\0\1\0WWW.Example.\0"), &r, &used),
			DECODE_OK);
	CU_ASSERT_STRING_EQUAL(r.sent, "WWW.Example.");
	CU_ASSERT_EQUAL(r.sent_len, 12);
	CU_ASSERT_STRING_EQUAL(r.name, "www.example");
	CU_ASSERT_EQUAL(decode_exact(BYTES("\4\1\0\120\0\0\0\1\0a\nb\0"), &r, &used), DECODE_BAD);
	CU_ASSERT_STRING_EQUAL(r.sent, "a\nb");
	CU_ASSERT_EQUAL(r.sent_len, 3);
	CU_ASSERT_EQUAL(decode_exact(BYTES("\4\1\0\120\1\2\3\4\0"), &r, &used), DECODE_OK);
	CU_ASSERT(r.sent_len == 0 && r.sent[0] == '\0');
}

static void
test_reply(void)
{
	struct endpoint e = {addr_from_v4(0x0a090807), 0x1234};
	uint8_t out[SOCKS4_REPLY];

	memset(out, 0xee, sizeof out);
	socks4_reply(out, 90, &e);
	CU_ASSERT_EQUAL(memcmp(out, "\0\132\x12\x34\12\11\10\7", 8), 0);
	socks4_reply(out, 91, NULL);
	CU_ASSERT_EQUAL(memcmp(out, "\0\133\0\0\0\0\0\0", 8), 0);
	e.addr = addr_loopback6;
	socks4_reply(out, 90, &e);
	CU_ASSERT_EQUAL(memcmp(out, "\0\132\x12\x34\0\0\0\0", 8), 0);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"table of requests", test_table},
	    {"chopped at each byte", test_chopped},
	    {"glued", test_glued},
	    {"longest", test_longest},
	    {"overlong", test_overlong},
	    {"name as sent", test_sent},
	    {"reply", test_reply},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("socks4", tests);
}
