/* Tests of wire/chap.c: messages of draft-ietf-aft-socks-chap-01, whole, chopped and glued. */
#include "wire/chap.h"

#include "chop.h"
#include "suite.h"

static const struct row {
	const char *what;
	const char *bytes;
	size_t len;
	enum decode result;
	enum socks_fault fault;
	size_t certain, used;
	bool hmac_md5;
	const char *user;
	size_t user_len;
	const char *response;
	size_t response_len;
} rows[] = {
    {"algorithms", BYTES("\1\1\x11\1\x85"), DECODE_OK, FAULT_NONE, 5, 5, true, BYTES(""),
     BYTES("")},
    {"algorithms and user", BYTES("\1\2\x11\2\5\x85\2\3ann"), DECODE_OK, FAULT_NONE, 11, 11, true,
     BYTES("ann"), BYTES("")},
    {"user first", BYTES("\1\2\2\3ann\x11\1\x85"), DECODE_OK, FAULT_NONE, 10, 10, true,
     BYTES("ann"), BYTES("")},
    {"another algorithm", BYTES("\1\1\x11\1\5"), DECODE_OK, FAULT_NONE, 5, 5, false, BYTES(""),
     BYTES("")},
    {"response", BYTES("\1\1\4\3\0\1\2"), DECODE_OK, FAULT_NONE, 7, 7, false, BYTES(""),
     BYTES("\0\1\2")},
    {"response and user", BYTES("\1\2\4\1x\2\1a"), DECODE_OK, FAULT_NONE, 8, 8, false, BYTES("a"),
     BYTES("x")},
    {"passed over", BYTES("\1\4\1\2hi\5\0\x7f\1z\3\2cc"), DECODE_OK, FAULT_NONE, 15, 15, false,
     BYTES(""), BYTES("")},
    {"twice what is passed over", BYTES("\1\2\1\0\1\0"), DECODE_OK, FAULT_NONE, 6, 6, false,
     BYTES(""), BYTES("")},
    {"version 0", BYTES("\0\1\x11\1\x85"), DECODE_BAD, FAULT_VERSION, 1, 0, false, BYTES(""),
     BYTES("")},
    {"version 5", BYTES("\5\1\0"), DECODE_BAD, FAULT_VERSION, 1, 0, false, BYTES(""), BYTES("")},
    {"no attribute", BYTES("\1\0\x11\1\x85"), DECODE_BAD, FAULT_LENGTH, 2, 0, false, BYTES(""),
     BYTES("")},
    {"empty user", BYTES("\1\2\2\0\x11\1\x85"), DECODE_BAD, FAULT_LENGTH, 4, 0, false, BYTES(""),
     BYTES("")},
    {"empty algorithms", BYTES("\1\1\x11\0"), DECODE_BAD, FAULT_LENGTH, 4, 0, false, BYTES(""),
     BYTES("")},
    {"empty response", BYTES("\1\1\4\0"), DECODE_BAD, FAULT_LENGTH, 4, 0, false, BYTES(""),
     BYTES("")},
    {"two users", BYTES("\1\2\2\1a\2\1b"), DECODE_BAD, FAULT_METHODS, 7, 0, false, BYTES("a"),
     BYTES("")},
    {"two responses", BYTES("\1\2\4\1a\4\1b"), DECODE_BAD, FAULT_METHODS, 7, 0, false, BYTES(""),
     BYTES("a")},
    {"two lists", BYTES("\1\2\x11\1\5\x11\1\x85"), DECODE_BAD, FAULT_METHODS, 7, 0, false,
     BYTES(""), BYTES("")},
};

static void
check(const struct row *row, const void *bytes, size_t len)
{
	uint8_t *exact = exact_copy(bytes, len);
	struct chap_message m;
	enum socks_fault fault;
	enum decode result;
	size_t used = 999;

	memset(&m, 0xa5, sizeof m);
	result = chap_decode(exact, len, &m, &fault, &used);
	free(exact);
	if (len < row->certain) {
		CHECK_ROW(result == DECODE_MORE && fault == FAULT_NONE && used == 0, row->what);
		return;
	}
	CHECK_ROW(result == row->result && fault == row->fault && used == row->used, row->what);
	CHECK_ROW(m.hmac_md5 == row->hmac_md5, row->what);
	CHECK_ROW(m.user_len == row->user_len && m.response_len == row->response_len, row->what);
	CHECK_ROW(memcmp(m.user, row->user, row->user_len) == 0, row->what);
	CHECK_ROW(memcmp(m.response, row->response, row->response_len) == 0, row->what);
}

static void
test_chopped(void)
{
	CHECK_CHOPPED(rows, check);
}

static void
test_glued(void)
{
	CHECK_GLUED(rows, check);
}

/* Text of so many bytes behind user and response of 255: what still fits, and what cannot. */
static void
test_longest(void)
{
	uint8_t buf[CHAP_MAX + 255] = {1, 3, CHAP_ATTR_USER, 255};
	size_t at = 4 + 255, used;
	struct chap_message m;
	enum socks_fault fault;

	buf[at++] = CHAP_ATTR_RESPONSE;
	buf[at++] = 255;
	at += 255;
	buf[at++] = CHAP_ATTR_TEXT;
	buf[at] = (uint8_t)(CHAP_MAX - at - 1);
	for (size_t len = 0; len < CHAP_MAX; len++)
		CU_ASSERT_EQUAL(chap_decode(buf, len, &m, &fault, &used), DECODE_MORE);
	CU_ASSERT_EQUAL(chap_decode(buf, CHAP_MAX, &m, &fault, &used), DECODE_OK);
	CU_ASSERT(used == CHAP_MAX && m.user_len == 255 && m.response_len == 255);
	buf[at]++;
	CU_ASSERT_EQUAL(chap_decode(buf, at, &m, &fault, &used), DECODE_MORE);
	CU_ASSERT_EQUAL(chap_decode(buf, at + 1, &m, &fault, &used), DECODE_BAD);
	CU_ASSERT_EQUAL(fault, FAULT_LONG);
}

/* 255 empty attributes are half a kilobyte; no more can be announced. */
static void
test_many(void)
{
	uint8_t buf[2 + 255 * 2] = {1, 255};
	struct chap_message m;
	enum socks_fault fault;
	size_t used;

	for (size_t i = 0; i < 255; i++)
		buf[2 + 2 * i] = CHAP_ATTR_CHARSET;
	CU_ASSERT_EQUAL(chap_decode(buf, sizeof buf - 1, &m, &fault, &used), DECODE_MORE);
	CU_ASSERT_EQUAL(chap_decode(buf, sizeof buf, &m, &fault, &used), DECODE_OK);
	CU_ASSERT_EQUAL(used, sizeof buf);
}

static void
test_written(void)
{
	uint8_t out[CHAP_OFFER_MAX], challenge[CHAP_CHALLENGE_MAX];

	memset(challenge, 'c', sizeof challenge);
	CU_ASSERT_EQUAL(chap_offer(out, challenge, 3), 10);
	CU_ASSERT_EQUAL(memcmp(out, "\1\2\x11\1\x85\3\3ccc", 10), 0);
	CU_ASSERT_EQUAL(chap_offer(out, challenge, 255), sizeof out);
	CU_ASSERT(out[6] == 255 && out[sizeof out - 1] == 'c');
	chap_verdict(out, 0);
	CU_ASSERT_EQUAL(memcmp(out, "\1\1\0\1\0", CHAP_VERDICT), 0);
	chap_verdict(out, 1);
	CU_ASSERT_EQUAL(memcmp(out, "\1\1\0\1\1", CHAP_VERDICT), 0);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"chopped at each byte", test_chopped},
	    {"glued", test_glued},
	    {"longest", test_longest},
	    {"many attributes", test_many},
	    {"written", test_written},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("chap", tests);
}
