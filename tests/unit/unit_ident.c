/* Tests of wire/ident.c: answers of RFC 1413, good and hostile, whole, chopped and glued. */
#include "wire/ident.h"

#include <stdbool.h>

#include "chop.h"
#include "suite.h"

static const struct row {
	const char *what;
	const char *bytes;
	size_t len;
	enum ident_result result;
	const char *user;
	size_t user_len;
} rows[] = {
    {"as in the RFC", BYTES("6193, 23 : USERID : UNIX :stjohns\r\n"), IDENT_USER, BYTES("stjohns")},
    {"no blanks", BYTES("6193,23:USERID:UNIX:stjohns\r\n"), IDENT_USER, BYTES("stjohns")},
    {"blanks and tabs", BYTES(" \t6193\t, 23 :\tUSERID : UNIX \t: stjohns\r\n"), IDENT_USER,
     BYTES("stjohns")},
    {"a bare line feed", BYTES("6193,23:USERID:UNIX:ann\n"), IDENT_USER, BYTES("ann")},
    {"a charset", BYTES("6193 , 23 : USERID : UNIX , US-ASCII : ann\r\n"), IDENT_USER,
     BYTES("ann")},
    {"another system", BYTES("6193,23:USERID:WIN32:ann\r\n"), IDENT_USER, BYTES("ann")},
    {"colons in the user", BYTES("6193,23:USERID:UNIX:a:b,c\r\n"), IDENT_USER, BYTES("a:b,c")},
    {"a blank behind the user", BYTES("6193,23:USERID:UNIX:ann \r\n"), IDENT_USER, BYTES("ann ")},
    {"a second line", BYTES("6193,23:USERID:UNIX:ann\r\n6193,23:USERID:UNIX:root\r\n"), IDENT_USER,
     BYTES("ann")},
    {"OTHER", BYTES("6193,23:USERID:OTHER:x9fLq==\r\n"), IDENT_OPAQUE, BYTES("x9fLq==")},
    {"OTHER with a charset", BYTES("6193,23:USERID:OTHER, UTF-8:ann\r\n"), IDENT_OPAQUE,
     BYTES("ann")},
    {"a user in UTF-8", BYTES("6193,23:USERID:UNIX:J\xc3\xb6rg\r\n"), IDENT_OPAQUE,
     BYTES("J\xc3\xb6rg")},
    {"an escape in the user", BYTES("6193,23:USERID:UNIX:a\033[2J\r\n"), IDENT_OPAQUE,
     BYTES("a\033[2J")},
    {"NO-USER", BYTES("6195, 23 : ERROR : NO-USER\r\n"), IDENT_BAD, BYTES("")},
    {"NO-USER of our ports", BYTES("6193, 23 : ERROR : NO-USER\r\n"), IDENT_NOBODY, BYTES("")},
    {"HIDDEN-USER", BYTES("6193,23:ERROR:HIDDEN-USER \r\n"), IDENT_NOBODY, BYTES("")},
    {"an error of its own", BYTES("6193,23:ERROR:X-BUSY\r\n"), IDENT_NOBODY, BYTES("")},
    {"an error and more", BYTES("6193,23:ERROR:NO-USER:ann\r\n"), IDENT_BAD, BYTES("")},
    {"an error without a word", BYTES("6193,23:ERROR:\r\n"), IDENT_BAD, BYTES("")},
    {"wrong client port", BYTES("6194,23:USERID:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"wrong server port", BYTES("6193,24:USERID:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"ports the other way round", BYTES("23,6193:USERID:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"a port that overflows", BYTES("4294973489,23:USERID:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"a negative port", BYTES("-6193,23:USERID:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"no ports", BYTES(",:USERID:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"no system", BYTES("6193,23:USERID::ann\r\n"), IDENT_BAD, BYTES("")},
    {"no user", BYTES("6193,23:USERID:UNIX:\r\n"), IDENT_BAD, BYTES("")},
    {"a blank user", BYTES("6193,23:USERID:UNIX: \t\r\n"), IDENT_BAD, BYTES("")},
    {"no third colon", BYTES("6193,23:USERID:UNIX\r\n"), IDENT_BAD, BYTES("")},
    {"an empty charset", BYTES("6193,23:USERID:UNIX,:ann\r\n"), IDENT_BAD, BYTES("")},
    {"lower case", BYTES("6193,23:userid:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"another word", BYTES("6193,23:USERIDS:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"a blank in a word", BYTES("6193,23:USER ID:UNIX:ann\r\n"), IDENT_BAD, BYTES("")},
    {"NUL in the user", BYTES("6193,23:USERID:UNIX:an\0n\r\n"), IDENT_BAD, BYTES("")},
    {"CR in the user", BYTES("6193,23:USERID:UNIX:an\rn\r\n"), IDENT_BAD, BYTES("")},
    {"garbage", BYTES("\377\376\r\n"), IDENT_BAD, BYTES("")},
    {"an empty line", BYTES("\r\n"), IDENT_BAD, BYTES("")},
    {"a line feed", BYTES("\n"), IDENT_BAD, BYTES("")},
};

static void
check(const struct row *row, const char *bytes, size_t len)
{
	char *exact = (char *)exact_copy(bytes, len);
	bool line = len > 0 && memchr(exact, '\n', len) != NULL;
	struct ident_answer a;

	memset(&a, 0xa5, sizeof a);
	ident_decode(exact, len, 6193, 23, &a);
	free(exact);
	if (!line) {
		CHECK_ROW(a.result == IDENT_MORE && a.user_len == 0 && a.user[0] == 0, row->what);
		return;
	}
	CHECK_ROW(a.result == row->result, row->what);
	CHECK_ROW(a.user_len == row->user_len, row->what);
	CHECK_ROW(memcmp(a.user, row->user, row->user_len + 1) == 0, row->what);
}

static void
test_chopped(void)
{
	CHECK_CHOPPED(rows, check);
}

static void
test_glued(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
			char both[256];

			memcpy(both, rows[i].bytes, rows[i].len);
			memcpy(both + rows[i].len, rows[j].bytes, rows[j].len);
			check(&rows[i], both, rows[i].len + rows[j].len);
		}
}

static size_t
long_answer(char *out, size_t user)
{
	static const char head[] = "6193,23:USERID:UNIX:";

	memcpy(out, head, sizeof head - 1);
	memset(out + sizeof head - 1, 'u', user);
	memcpy(out + sizeof head - 1 + user, "\r\n", 2);
	return sizeof head - 1 + user + 2;
}

static void
test_lengths(void)
{
	static const struct {
		size_t user;
		enum ident_result result;
		size_t told;
	} of[] = {{1, IDENT_USER, 1},       {255, IDENT_USER, 255}, {256, IDENT_OPAQUE, 255},
		  {512, IDENT_OPAQUE, 255}, {513, IDENT_BAD, 0},    {900, IDENT_BAD, 0}};
	char buf[IDENT_ANSWER_MAX];
	struct ident_answer a;

	for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
		ident_decode(buf, long_answer(buf, of[i].user), 6193, 23, &a);
		CU_ASSERT_EQUAL(a.result, of[i].result);
		CU_ASSERT_EQUAL(a.user_len, of[i].told);
		CU_ASSERT_EQUAL(strlen(a.user), of[i].told);
	}
	memset(buf, ' ', sizeof buf);
	ident_decode(buf, sizeof buf, 6193, 23, &a);
	CU_ASSERT_EQUAL(a.result, IDENT_MORE);
}

static void
test_query(void)
{
	char out[IDENT_QUERY_MAX];
	size_t len = ident_query(out, 6193, 23);

	CU_ASSERT(len == 11 && memcmp(out, "6193 , 23\r\n", len) == 0);
	len = ident_query(out, 65535, 65535);
	CU_ASSERT(len == 15 && memcmp(out, "65535 , 65535\r\n", len) == 0);
	len = ident_query(out, 1, 10);
	CU_ASSERT(len == 8 && memcmp(out, "1 , 10\r\n", len) == 0);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"chopped at each byte", test_chopped},
	    {"glued", test_glued},
	    {"lengths", test_lengths},
	    {"query", test_query},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("ident", tests);
}
