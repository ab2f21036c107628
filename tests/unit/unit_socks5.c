/* Tests of wire/socks5.c: greetings and requests, whole, chopped and glued; replies. */
#include "wire/socks.h"

#include "chop.h"
#include "suite.h"

/* --- greetings --- */

struct greeting {
	const char *what;
	const char *bytes;
	size_t len;
	enum decode result;
	enum socks_fault fault;
	size_t certain, used;
	const char *methods; /* offered, in ascending order */
	size_t method_count;
};

static const struct greeting greetings[] = {
    {"none", BYTES("\5\1\0"), DECODE_OK, FAULT_NONE, 3, 3, BYTES("\0")},
    {"several", BYTES("\5\4\2\0\3\1"), DECODE_OK, FAULT_NONE, 6, 6, BYTES("\0\1\2\3")},
    {"repeated", BYTES("\5\3\2\2\2"), DECODE_OK, FAULT_NONE, 5, 5, BYTES("\2")},
    {"odd ones", BYTES("\5\4\377\200\77\100"), DECODE_OK, FAULT_NONE, 6, 6,
     BYTES("\77\100\200\377")},
    {"no methods", BYTES("\5\0\0"), DECODE_BAD, FAULT_METHODS, 2, 2, BYTES("")},
    {"version 4", BYTES("\4\1\0\120\1\2\3\4\0"), DECODE_BAD, FAULT_VERSION, 1, 0, BYTES("")},
    {"version 6", BYTES("\6\1\0"), DECODE_BAD, FAULT_VERSION, 1, 0, BYTES("")},
};

static void
check_greeting(const struct greeting *g, const void *bytes, size_t len)
{
	uint8_t *exact = exact_copy(bytes, len);
	struct socks5_methods m;
	enum socks_fault fault;
	enum decode result;
	size_t used = 999, at = 0;

	memset(&m, 0xa5, sizeof m);
	result = socks5_greeting_decode(exact, len, &m, &fault, &used);
	free(exact);
	if (len < g->certain) {
		CHECK_ROW(result == DECODE_MORE && fault == FAULT_NONE && used == 0, g->what);
		return;
	}
	CHECK_ROW(result == g->result && fault == g->fault && used == g->used, g->what);
	for (unsigned method = 0; method < 256; method++) {
		bool want = at < g->method_count && (uint8_t)g->methods[at] == method;

		CHECK_ROW(socks5_offers(&m, (uint8_t)method) == want, g->what);
		at += want;
	}
}

static void
test_greetings(void)
{
	for (size_t i = 0; i < sizeof greetings / sizeof *greetings; i++) {
		uint8_t both[64];

		for (size_t len = 0; len <= greetings[i].len; len++)
			check_greeting(&greetings[i], greetings[i].bytes, len);
		memcpy(both, greetings[i].bytes, greetings[i].len);
		memcpy(both + greetings[i].len, "\5\1\0\1\1\2\3\4\0\120", 10);
		check_greeting(&greetings[i], both, greetings[i].len + 10);
	}
}

static void
test_longest_greeting(void)
{
	uint8_t buf[SOCKS5_GREETING_MAX] = {5, 255};
	struct socks5_methods m;
	enum socks_fault fault;
	size_t used;

	for (unsigned i = 0; i < 255; i++)
		buf[2 + i] = (uint8_t)(i + 1);
	for (size_t len = 0; len < sizeof buf; len++)
		CU_ASSERT_EQUAL(socks5_greeting_decode(buf, len, &m, &fault, &used), DECODE_MORE);
	CU_ASSERT_EQUAL(socks5_greeting_decode(buf, sizeof buf, &m, &fault, &used), DECODE_OK);
	CU_ASSERT_EQUAL(used, sizeof buf);
	CU_ASSERT_FALSE(socks5_offers(&m, 0));
	for (unsigned i = 1; i < 256; i++)
		CU_ASSERT(socks5_offers(&m, (uint8_t)i));
}

/* --- requests --- */

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
	enum name_kind kind;
	const char *where; /* address in text or name */
};

#define WHOLE(n) (n), (n)

static const struct row rows[] = {
    {"connect IPv4", BYTES("\5\1\0\1\12\11\10\7\0\120"), DECODE_OK, FAULT_NONE, WHOLE(10), 1, 80,
     NAME_ADDRESS, "10.9.8.7"},
    {"bind to any", BYTES("\5\2\0\1\0\0\0\0\0\0"), DECODE_OK, FAULT_NONE, WHOLE(10), 2, 0,
     NAME_ADDRESS, "0.0.0.0"},
    {"udp IPv6", BYTES("\5\3\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\377\377"), DECODE_OK,
     FAULT_NONE, WHOLE(22), 3, 65535, NAME_ADDRESS, "2001:db8::1"},
    {"mapped is IPv4", BYTES("\5\1\0\4\0\0\0\0\0\0\0\0\0\0\377\377\177\0\0\1\0\120"), DECODE_OK,
     FAULT_NONE, WHOLE(22), 1, 80, NAME_ADDRESS, "127.0.0.1"},
    {"name", BYTES("\5\1\0\3\14Www.Example.\1\273"), DECODE_OK, FAULT_NONE, WHOLE(19), 1, 443,
     NAME_HOST, "www.example"},
    {"name of one byte", BYTES("\5\1\0\3\1x\0\1"), DECODE_OK, FAULT_NONE, WHOLE(8), 1, 1, NAME_HOST,
     "x"},
    {"name that is IPv4",
     BYTES("\5\1\0\3\10"
	   "10.0.0.1\0\1"),
     DECODE_OK, FAULT_NONE, WHOLE(15), 1, 1, NAME_ADDRESS, "10.0.0.1"},
    {"name that is IPv6", BYTES("\5\1\0\3\3::1\0\1"), DECODE_OK, FAULT_NONE, WHOLE(10), 1, 1,
     NAME_ADDRESS, "::1"},
    {"name that is mapped", BYTES("\5\1\0\3\20::FFFF:127.0.0.1\0\1"), DECODE_OK, FAULT_NONE,
     WHOLE(23), 1, 1, NAME_ADDRESS, "127.0.0.1"},
    {"version 4", BYTES("\4\1\0\1"), DECODE_BAD, FAULT_VERSION, 1, 0, 0, 0, NAME_BAD, NULL},
    {"version 1", BYTES("\1\1\0\1"), DECODE_BAD, FAULT_VERSION, 1, 0, 0, 0, NAME_BAD, NULL},
    {"ATYP 0", BYTES("\5\1\0\0\1\2\3\4\0\1"), DECODE_BAD, FAULT_ATYP, 4, 0, 1, 0, NAME_BAD, NULL},
    {"ATYP 2", BYTES("\5\1\0\2"), DECODE_BAD, FAULT_ATYP, 4, 0, 1, 0, NAME_BAD, NULL},
    {"ATYP 5", BYTES("\5\1\0\5"), DECODE_BAD, FAULT_ATYP, 4, 0, 1, 0, NAME_BAD, NULL},
    {"ATYP 255, command 9", BYTES("\5\11\0\377"), DECODE_BAD, FAULT_ATYP, 4, 0, 9, 0, NAME_BAD,
     NULL},
    {"RSV before ATYP", BYTES("\5\1\1\2"), DECODE_BAD, FAULT_RSV, 4, 0, 1, 0, NAME_BAD, NULL},
    {"RSV", BYTES("\5\1\1\1\12\11\10\7\0\120"), DECODE_BAD, FAULT_RSV, WHOLE(10), 1, 80,
     NAME_ADDRESS, "10.9.8.7"},
    {"RSV before command", BYTES("\5\11\377\1\12\11\10\7\0\120"), DECODE_BAD, FAULT_RSV, WHOLE(10),
     9, 80, NAME_ADDRESS, "10.9.8.7"},
    {"RSV before name", BYTES("\5\1\1\3\2a \0\120"), DECODE_BAD, FAULT_RSV, WHOLE(9), 1, 80,
     NAME_BAD, NULL},
    {"command 0", BYTES("\5\0\0\1\12\11\10\7\0\120"), DECODE_BAD, FAULT_COMMAND, WHOLE(10), 0, 80,
     NAME_ADDRESS, "10.9.8.7"},
    {"command 4", BYTES("\5\4\0\3\1a\0\120"), DECODE_BAD, FAULT_COMMAND, WHOLE(8), 4, 80, NAME_HOST,
     "a"},
    {"command before name", BYTES("\5\360\0\3\2a \0\120"), DECODE_BAD, FAULT_COMMAND, WHOLE(9), 240,
     80, NAME_BAD, NULL},
    {"empty name", BYTES("\5\1\0\3\0\0\120"), DECODE_BAD, FAULT_NAME, WHOLE(7), 1, 80, NAME_BAD,
     NULL},
    {"a bad name of UDP ASSOCIATE is none", BYTES("\5\3\0\3\1\060\0\120"), DECODE_OK, FAULT_NONE,
     WHOLE(8), 3, 80, NAME_BAD, NULL},
    {"NUL in name", BYTES("\5\1\0\3\24localhost\0.evil.test\0\120"), DECODE_BAD, FAULT_NAME,
     WHOLE(27), 1, 80, NAME_BAD, NULL},
    {"blank in name", BYTES("\5\1\0\3\3a b\0\120"), DECODE_BAD, FAULT_NAME, WHOLE(10), 1, 80,
     NAME_BAD, NULL},
    {"high byte in name", BYTES("\5\1\0\3\2\303\244\0\120"), DECODE_BAD, FAULT_NAME, WHOLE(9), 1,
     80, NAME_BAD, NULL},
    {"name of a number",
     BYTES("\5\1\0\3\12"
	   "0x7f000001\0\120"),
     DECODE_BAD, FAULT_NAME, WHOLE(17), 1, 80, NAME_BAD, NULL},
    {"name is a dot", BYTES("\5\1\0\3\1.\0\120"), DECODE_BAD, FAULT_NAME, WHOLE(8), 1, 80, NAME_BAD,
     NULL},
};

static void
compare(const struct row *row, const struct socks_request *r)
{
	char text[ADDR_TEXT];

	CHECK_ROW(r->version == 5 && !r->is_4a && r->userid_len == 0, row->what);
	CHECK_ROW(r->fault == row->fault, row->what);
	CHECK_ROW(r->command == row->command && r->port == row->port, row->what);
	CHECK_ROW(r->kind == row->kind, row->what);
	if (r->kind != row->kind)
		return;
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
	result = socks5_request_decode(exact, len, r, used);
	free(exact);
	return result;
}

static void
test_chopped(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct socks_request r;
		size_t used;

		CHECK_ROW(rows[i].certain <= rows[i].len, rows[i].what);
		for (size_t len = 0; len < rows[i].certain; len++) {
			CHECK_ROW(decode_exact(rows[i].bytes, len, &r, &used) == DECODE_MORE,
				  rows[i].what);
			CHECK_ROW(used == 0 && r.fault == FAULT_NONE, rows[i].what);
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
			size_t used, len = rows[i].len + rows[j].len;

			memcpy(both, rows[i].bytes, rows[i].len);
			memcpy(both + rows[i].len, rows[j].bytes, rows[j].len);
			CHECK_ROW(decode_exact(both, len, &r, &used) == rows[i].result,
				  rows[i].what);
			CHECK_ROW(used == rows[i].used, rows[i].what);
			compare(&rows[i], &r);
			if (used == 0)
				continue;
			CHECK_ROW(decode_exact(both + used, len - used, &r, &used) ==
				      rows[j].result,
				  rows[j].what);
			compare(&rows[j], &r);
		}
}

static void
test_longest(void)
{
	uint8_t buf[SOCKS5_REQUEST_MAX] = {5, 1, 0, 3, 255};
	struct socks_request r;
	size_t used;

	memset(buf + 5, 'N', 255);
	CU_ASSERT_EQUAL(decode_exact(buf, sizeof buf - 1, &r, &used), DECODE_MORE);
	CU_ASSERT_EQUAL(decode_exact(buf, sizeof buf, &r, &used), DECODE_OK);
	CU_ASSERT(used == sizeof buf && r.name_len == 255 && strlen(r.name) == 255 &&
		  r.name[254] == 'n');
	CU_ASSERT(r.sent_len == 255 && strlen(r.sent) == 255 && r.sent[254] == 'N');
}

static void
test_sent(void)
{
	struct socks_request r;
	size_t used;

	CU_ASSERT_EQUAL(decode_exact(BYTES("\5\1\0\3\5A\0b\n.\0\1"), &r, &used), DECODE_BAD);
	CU_ASSERT_EQUAL(r.sent_len, 5);
	CU_ASSERT_EQUAL(memcmp(r.sent, "A\0b\n.", 6), 0);
	CU_ASSERT(r.name_len == 0 && r.name[0] == '\0');
}

/* --- replies --- */

static void
test_replies(void)
{
	struct endpoint e = {addr_from_v4(0x0a090807), 0x1234};
	uint8_t out[SOCKS5_REPLY_MAX];

	memset(out, 0xee, sizeof out);
	CU_ASSERT_EQUAL(socks5_reply(out, 0, &e), 10);
	CU_ASSERT_EQUAL(memcmp(out, "\5\0\0\1\12\11\10\7\x12\x34", 10), 0);
	CU_ASSERT_EQUAL(socks5_reply(out, 2, NULL), 10);
	CU_ASSERT_EQUAL(memcmp(out, "\5\2\0\1\0\0\0\0\0\0", 10), 0);
	e.addr = addr_loopback6;
	CU_ASSERT_EQUAL(socks5_reply(out, 0, &e), 22);
	CU_ASSERT_EQUAL(memcmp(out, "\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\x12\x34", 22), 0);
	socks5_method_reply(out, METHOD_UNACCEPTABLE);
	CU_ASSERT_EQUAL(memcmp(out, "\5\377", 2), 0);
}

static void
test_fault_replies(void)
{
	CU_ASSERT_EQUAL(socks5_fault_reply(FAULT_RSV), 1);
	CU_ASSERT_EQUAL(socks5_fault_reply(FAULT_COMMAND), 7);
	CU_ASSERT_EQUAL(socks5_fault_reply(FAULT_ATYP), 8);
	CU_ASSERT_EQUAL(socks5_fault_reply(FAULT_NAME), 1);
	CU_ASSERT_EQUAL(socks5_fault_reply(FAULT_VERSION), 1);
	CU_ASSERT_EQUAL(socks5_fault_reply(FAULT_LENGTH), 1);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"greetings", test_greetings},
	    {"longest greeting", test_longest_greeting},
	    {"requests chopped", test_chopped},
	    {"requests glued", test_glued},
	    {"longest request", test_longest},
	    {"name as sent", test_sent},
	    {"replies", test_replies},
	    {"replies to faults", test_fault_replies},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("socks5", tests);
}
