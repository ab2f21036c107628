/* Tests of wire/userpass.c: RFC 1929 messages, whole, chopped and glued. */
#include "wire/socks.h"

#include "chop.h"
#include "suite.h"

static const struct row {
	const char *what;
	const char *bytes;
	size_t len;
	enum decode result;
	enum socks_fault fault;
	size_t certain, used;
	const char *user;
	size_t user_len;
	const char *pass;
	size_t pass_len;
} rows[] = {
    {"plain", BYTES("\1\5alice\6secret"), DECODE_OK, FAULT_NONE, 14, 14, BYTES("alice"),
     BYTES("secret")},
    {"one byte each", BYTES("\1\1a\1b"), DECODE_OK, FAULT_NONE, 5, 5, BYTES("a"), BYTES("b")},
    {"NUL inside", BYTES("\1\3a\0b\4\0x\0y"), DECODE_OK, FAULT_NONE, 10, 10, BYTES("a\0b"),
     BYTES("\0x\0y")},
    {"any bytes", BYTES("\1\2\377\n\3\1\2\377"), DECODE_OK, FAULT_NONE, 8, 8, BYTES("\377\n"),
     BYTES("\1\2\377")},
    {"version 5", BYTES("\5\1\0"), DECODE_BAD, FAULT_VERSION, 1, 0, BYTES(""), BYTES("")},
    {"version 0", BYTES("\0\1a\1b"), DECODE_BAD, FAULT_VERSION, 1, 0, BYTES(""), BYTES("")},
    {"no user", BYTES("\1\0\6secret"), DECODE_BAD, FAULT_LENGTH, 2, 0, BYTES(""), BYTES("")},
    {"no password", BYTES("\1\5alice\0"), DECODE_BAD, FAULT_LENGTH, 8, 0, BYTES(""), BYTES("")},
};

static void
check(const struct row *row, const void *bytes, size_t len)
{
	uint8_t *exact = exact_copy(bytes, len);
	struct userpass up;
	enum socks_fault fault;
	enum decode result;
	size_t used = 999;

	memset(&up, 0xa5, sizeof up);
	result = userpass_decode(exact, len, &up, &fault, &used);
	free(exact);
	if (len < row->certain) {
		CHECK_ROW(result == DECODE_MORE && fault == FAULT_NONE && used == 0, row->what);
		CHECK_ROW(up.user_len == 0 && up.pass_len == 0 && up.pass[0] == 0xa5, row->what);
		return;
	}
	CHECK_ROW(result == row->result && fault == row->fault && used == row->used, row->what);
	CHECK_ROW(up.user_len == row->user_len && up.pass_len == row->pass_len, row->what);
	CHECK_ROW(memcmp(up.user, row->user, row->user_len) == 0, row->what);
	CHECK_ROW(memcmp(up.pass, row->pass, row->pass_len) == 0, row->what);
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

static void
test_longest(void)
{
	uint8_t buf[USERPASS_MAX] = {1, 255};
	struct userpass up;
	enum socks_fault fault;
	size_t used;

	memset(buf + 2, 'u', 255);
	buf[257] = 255;
	memset(buf + 258, 'p', 255);
	for (size_t len = 0; len < sizeof buf; len++)
		CU_ASSERT_EQUAL(userpass_decode(buf, len, &up, &fault, &used), DECODE_MORE);
	CU_ASSERT_EQUAL(userpass_decode(buf, sizeof buf, &up, &fault, &used), DECODE_OK);
	CU_ASSERT(used == sizeof buf && up.user_len == 255 && up.pass_len == 255);
	CU_ASSERT(up.user[254] == 'u' && up.pass[0] == 'p' && up.pass[254] == 'p');
}

static void
test_reply(void)
{
	uint8_t out[USERPASS_REPLY];

	userpass_reply(out, 0);
	CU_ASSERT_EQUAL(memcmp(out, "\1\0", 2), 0);
	userpass_reply(out, 255);
	CU_ASSERT_EQUAL(memcmp(out, "\1\377", 2), 0);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"chopped at each byte", test_chopped},
	    {"glued", test_glued},
	    {"longest", test_longest},
	    {"reply", test_reply},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("userpass", tests);
}
