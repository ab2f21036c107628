/* Tests of wire/gss.c: frames of RFC 1961, whole, chopped and glued. */
#include "wire/gss.h"

#include "chop.h"
#include "suite.h"

static const struct row {
	const char *what;
	enum gss_type expected;
	const char *bytes;
	size_t len;
	enum decode result;
	enum socks_fault fault;
	size_t certain, used; /* certain: of so many bytes it is known */
	const char *token;
	size_t token_len;
} rows[] = {
    {"token", GSS_FRAME_TOKEN, BYTES("\1\1\0\3abc"), DECODE_OK, FAULT_NONE, 7, 7, BYTES("abc")},
    {"level", GSS_FRAME_LEVEL, BYTES("\1\2\0\1\0"), DECODE_OK, FAULT_NONE, 5, 5, BYTES("\0")},
    {"data", GSS_FRAME_DATA, BYTES("\1\3\0\2\1\3"), DECODE_OK, FAULT_NONE, 6, 6, BYTES("\1\3")},
    {"abort", GSS_FRAME_TOKEN, BYTES("\1\377"), DECODE_OK, FAULT_NONE, 2, 2, BYTES("")},
    {"abort for data", GSS_FRAME_DATA, BYTES("\1\377"), DECODE_OK, FAULT_NONE, 2, 2, BYTES("")},
    {"version 0", GSS_FRAME_TOKEN, BYTES("\0\1\0\1x"), DECODE_BAD, FAULT_VERSION, 1, 0, BYTES("")},
    {"version 5", GSS_FRAME_DATA, BYTES("\5\1\0"), DECODE_BAD, FAULT_VERSION, 1, 0, BYTES("")},
    {"type 0", GSS_FRAME_TOKEN, BYTES("\1\0\0\1x"), DECODE_BAD, FAULT_COMMAND, 2, 0, BYTES("")},
    {"type 4", GSS_FRAME_DATA, BYTES("\1\4\0\1x"), DECODE_BAD, FAULT_COMMAND, 2, 0, BYTES("")},
    {"level too early", GSS_FRAME_TOKEN, BYTES("\1\2\0\1x"), DECODE_BAD, FAULT_COMMAND, 2, 0,
     BYTES("")},
    {"data too early", GSS_FRAME_LEVEL, BYTES("\1\3\0\1x"), DECODE_BAD, FAULT_COMMAND, 2, 0,
     BYTES("")},
    {"token too late", GSS_FRAME_DATA, BYTES("\1\1\0\1x"), DECODE_BAD, FAULT_COMMAND, 2, 0,
     BYTES("")},
    {"empty token", GSS_FRAME_TOKEN, BYTES("\1\1\0\0"), DECODE_BAD, FAULT_LENGTH, 4, 0, BYTES("")},
    {"empty level", GSS_FRAME_LEVEL, BYTES("\1\2\0\0"), DECODE_BAD, FAULT_LENGTH, 4, 0, BYTES("")},
    {"empty data", GSS_FRAME_DATA, BYTES("\1\3\0\0"), DECODE_BAD, FAULT_LENGTH, 4, 0, BYTES("")},
};

/* What is known of the whole length after so many bytes. */
static size_t
needed(const struct row *row, size_t len)
{
	if (len < 2 || row->used == 2)
		return 2;
	return len < 4 ? 4 : row->len;
}

static void
check(const struct row *row, const void *bytes, size_t len)
{
	uint8_t *exact = exact_copy(bytes, len);
	struct gss_frame f;
	enum socks_fault fault;
	enum decode result;
	size_t need = 999;

	memset(&f, 0xa5, sizeof f);
	result = gss_decode(exact, len, row->expected, &f, &fault, &need);
	if (len < row->certain) {
		CHECK_ROW(result == DECODE_MORE && fault == FAULT_NONE, row->what);
		CHECK_ROW(need == needed(row, len) && need > len, row->what);
		CHECK_ROW(f.type == 0 && f.len == 0 && f.token == NULL, row->what);
		free(exact);
		return;
	}
	CHECK_ROW(result == row->result && fault == row->fault && need == row->used, row->what);
	if (result == DECODE_OK) {
		CHECK_ROW(f.type == exact[1] && f.len == row->token_len, row->what);
		CHECK_ROW(f.len == 0 || memcmp(f.token, row->token, f.len) == 0, row->what);
	}
	free(exact);
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
	static uint8_t buf[GSS_FRAME_MOST + 1];
	struct gss_frame f;
	enum socks_fault fault;
	size_t need;

	gss_head(buf, GSS_FRAME_DATA, GSS_TOKEN_MOST);
	for (size_t len = GSS_HEAD; len < GSS_FRAME_MOST; len++) {
		CU_ASSERT_EQUAL_FATAL(gss_decode(buf, len, GSS_FRAME_DATA, &f, &fault, &need),
				      DECODE_MORE);
		CU_ASSERT_EQUAL_FATAL(need, GSS_FRAME_MOST);
	}
	for (size_t len = GSS_FRAME_MOST; len <= sizeof buf; len++) {
		CU_ASSERT_EQUAL(gss_decode(buf, len, GSS_FRAME_DATA, &f, &fault, &need), DECODE_OK);
		CU_ASSERT(need == GSS_FRAME_MOST && f.len == GSS_TOKEN_MOST &&
			  f.token == buf + GSS_HEAD);
	}
}

static void
test_written(void)
{
	uint8_t out[GSS_HEAD];

	gss_head(out, GSS_FRAME_LEVEL, 0x1234);
	CU_ASSERT_EQUAL(memcmp(out, "\1\2\x12\x34", GSS_HEAD), 0);
	gss_head(out, GSS_FRAME_TOKEN, 0);
	CU_ASSERT_EQUAL(memcmp(out, "\1\1\0\0", GSS_HEAD), 0);
	gss_abort(out);
	CU_ASSERT_EQUAL(memcmp(out, "\1\377", GSS_ABORT), 0);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"chopped at each byte", test_chopped},
	    {"glued", test_glued},
	    {"longest", test_longest},
	    {"written", test_written},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("gss", tests);
}
