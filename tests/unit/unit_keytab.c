/* Tests of wire/keytab.c: records, holes, both forms of a key's version, and damage at each byte.
 */
#include "wire/keytab.h"

#include "chop.h"
#include "suite.h"

/* rcmd/h@R, kvno 3 (as 8 bits, or as 32), cipher 18, key "KEY" */
#define START "\5\2"
#define ENTRY(length, end)                                                                         \
	"\0\0\0" length "\0\2\0\1R\0\4rcmd\0\1h\0\0\0\1\0\0\0\7\3\0\22\0\3KEY" end
#define SHORT ENTRY("\36", "")
#define LONG ENTRY("\42", "\0\0\1\0")
#define HOLE "\377\377\377\375abc"

static const struct row {
	const char *what, *bytes;
	size_t len;
	enum keytab_got last;
	unsigned entries;
} rows[] = {
    {"none", BYTES(START), KEYTAB_END, 0},
    {"one", BYTES(START SHORT), KEYTAB_END, 1},
    {"two", BYTES(START SHORT LONG), KEYTAB_END, 2},
    {"a hole", BYTES(START SHORT HOLE LONG), KEYTAB_END, 2},
    {"never written", BYTES(START SHORT "\0\0\0\0\0\0\0\0"), KEYTAB_END, 1},
    {"nothing", BYTES(""), KEYTAB_BAD, 0},
    {"version 1", BYTES("\5\1" SHORT), KEYTAB_BAD, 0},
    {"text", BYTES("hello"), KEYTAB_BAD, 0},
    {"cut", BYTES(START "\0\0\0\36\0\2\0\1R"), KEYTAB_BAD, 0},
    {"cut length", BYTES(START SHORT "\0\0"), KEYTAB_BAD, 1},
    {"no component", BYTES(START "\0\0\0\2\0\0"), KEYTAB_BAD, 0},
    {"too many", BYTES(START "\0\0\0\2\0\21"), KEYTAB_BAD, 0},
    {"part too long", BYTES(START "\0\0\0\5\0\1\0\5R"), KEYTAB_BAD, 0},
    {"the lowest number", BYTES(START "\200\0\0\0"), KEYTAB_BAD, 0},
};

static enum keytab_got
walk(const char *bytes, size_t len, unsigned *entries)
{
	uint8_t *exact = exact_copy(bytes, len);
	struct keytab_entry e;
	enum keytab_got got;
	size_t at = 0;

	*entries = 0;
	while ((got = keytab_next(exact, len, &at, &e)) == KEYTAB_ENTRY) {
		CU_ASSERT(at <= len);
		CU_ASSERT(e.component_count == 2 && e.key.len == 3 && e.cipher == 18);
		CU_ASSERT_EQUAL(memcmp(e.components[0].at, "rcmd", 4), 0);
		CU_ASSERT(e.version == 3 || e.version == 256);
		++*entries;
	}
	free(exact);
	return got;
}

static void
test_rows(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned entries;

		CHECK_ROW(walk(rows[i].bytes, rows[i].len, &entries) == rows[i].last, rows[i].what);
		CHECK_ROW(entries == rows[i].entries, rows[i].what);
	}
}

static void
test_cut(void)
{
	static const char whole[] = START SHORT HOLE LONG;

	for (size_t len = 0; len < sizeof whole - 1; len++) {
		unsigned entries;
		enum keytab_got got = walk(whole, len, &entries);
		bool between = len == 2 || len == 2 + 4 + 30 || len == 2 + 4 + 30 + sizeof HOLE - 1;

		CU_ASSERT_EQUAL(got, between ? KEYTAB_END : KEYTAB_BAD);
		CU_ASSERT_EQUAL(entries, len >= 2 + 4 + 30);
	}
}

/* Whatever stands there: it ends, and nothing is read that is not there. */
static void
test_damaged(void)
{
	static const char whole[] = START SHORT HOLE LONG;

	for (size_t i = 0; i < sizeof whole - 1; i++)
		for (unsigned value = 0; value < 256; value++) {
			uint8_t *bytes = exact_copy(whole, sizeof whole - 1);
			struct keytab_entry e;
			size_t at = 0, before = 0;

			bytes[i] = (uint8_t)value;
			while (keytab_next(bytes, sizeof whole - 1, &at, &e) == KEYTAB_ENTRY) {
				CU_ASSERT_FATAL(at > before && at <= sizeof whole - 1);
				before = at;
			}
			free(bytes);
		}
}

static void
test_fault(void)
{
	CU_ASSERT_PTR_NULL(keytab_fault(BYTES(START SHORT), "rcmd"));
	CU_ASSERT_PTR_NOT_NULL(keytab_fault(BYTES(START SHORT), "rcm"));
	CU_ASSERT_PTR_NOT_NULL(keytab_fault(BYTES(START SHORT), "rcmdx"));
	CU_ASSERT_PTR_NOT_NULL(keytab_fault(BYTES(START SHORT), "h"));
	CU_ASSERT_PTR_NOT_NULL(keytab_fault(BYTES(START), "rcmd"));
	CU_ASSERT_PTR_NOT_NULL(keytab_fault(BYTES(START SHORT "x"), "rcmd"));
	CU_ASSERT_PTR_NOT_NULL(keytab_fault(BYTES(""), "rcmd"));
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"records", test_rows},
	    {"cut at each byte", test_cut},
	    {"damaged at each byte", test_damaged},
	    {"fault", test_fault},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("keytab", tests);
}
