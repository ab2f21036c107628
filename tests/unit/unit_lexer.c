/*
 * tests/unit/unit_lexer.c - words, their places, and what is refused; each text also
 * cut at every byte, which may end in problems but never outside the text.
 */
#include "settings/lexer.h"
#include "suite.h"
#include "unit_settings_files.h"

/* Kinds as letters, in the order of enum token_kind. */
static const char letters[] = ".n=silfb@;,{}()[]?";

static const char *
words_of(const char *text, size_t len, struct problems *p)
{
	static char out[512];
	struct sources sources;
	struct lexer lx;
	size_t n = 0;

	sources_init(&sources);
	lexer_open(&lx, source_text(&sources, "t", NULL, text, len), p);
	for (;;) {
		struct token t = lexer_next(&lx);

		if (t.kind == TOKEN_END || n == sizeof(out) - 1)
			break;
		CU_ASSERT(t.from < t.to && t.to <= len);
		CU_ASSERT(t.column >= 1 && t.column <= t.from + 1);
		out[n++] = letters[t.kind];
	}
	out[n] = '\0';
	sources_free(&sources);
	return out;
}

static const struct {
	const char *text, *words, *code;
} rows[] = {
    {"", "", ""},
    {"a = 1;", "n=i;", ""},
    {"a-b_c : \"x\", }", "n=s,}", ""},
    {"( [ { } ] )", "([{}])", ""},
    {"true FALSE tRuE truex", "bbbn", ""},
    {"1 -1 +1 0x1F 0Xff 1L -1LL 0x1L", "iiiiilll", ""},
    {"1.5 .5 5. 1e5 -1.5E-3 +.5e+1", "ffffff", ""},
    {"2147483647 -2147483648 0x7fffffff", "iii", ""},
    {"2147483648", "i", "E115"},
    {"-2147483649", "i", "E115"},
    {"4294967296", "i", "E115"},
    {"0x80000000", "i", "E115"},
    {"0x8000000000000000L", "l", "E115"},
    {"9223372036854775807L", "l", ""},
    {"9223372036854775808L", "l", "E115"},
    {"1e999", "f", "E115"},
    {".", "?", "E116"},
    {"-", "?", "E116"},
    {"1.2.3.4", "?", "E116"},
    {"30s", "?", "E116"},
    {"0x", "?", "E116"},
    {"1l", "?", "E116"},
    {"-0x1", "?", "E116"},
    {"1e", "?", "E116"},
    {"# c\n// c\n/* c\nc */ a", "n", ""},
    {"/**/ /***/ /*/ */ a", "n", ""},
    {"a /* b", "n", "E111"},
    {"a /* b *", "n", "E111"},
    {"\"a", "s", "E112"},
    {"\"a\nb", "sn", "E112"},
    {"\"a\\", "s", "E112"},
    {"\"a\\\"", "s", "E112"},
    {"\"a\\\nb", "sn", "E112"},
    {"\"/* # // \\\\\" a", "sn", ""},
    {"\"\\n\\r\\t\\f\\\\\\\"\\x41\\X7f\\.\\1\"", "s", ""},
    {"\"\\a\"", "s", "E114"},
    {"\"\\x4\"", "s", "E114"},
    {"\"\\x00\"", "s", "E114"},
    {"\"\\x80\"", "s", "E114"},
    {"@include \"x\"", "@s", ""},
    {"@includ", "?n", ""},
    {"! $ / *", "????", ""},
    {"\xc3\xbc", "?", "E109"},
    {"\"\xc3\xbc\" # \xc3\xbc", "s", ""},
};

static void
test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct problems p;

		problems_init(&p);
		CHECK_ROW(strcmp(words_of(rows[i].text, strlen(rows[i].text), &p), rows[i].words) ==
			      0,
			  rows[i].text);
		CHECK_ROW(p.count == (rows[i].code[0] != '\0'), rows[i].text);
		CHECK_ROW(p.count == 0 || strcmp(p.list[0].code, rows[i].code) == 0, rows[i].text);
		problems_free(&p);
	}
}

static void
test_chopped(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t len = 0; len < strlen(rows[i].text); len++) {
			struct problems p;

			problems_init(&p);
			words_of(rows[i].text, len, &p);
			problems_free(&p);
		}
	}
}

static void
test_places(void)
{
	static const char text[] = "a = 1;\n\tbc: [ \"x\\ty\",\r\n 12 ] /* \n */ d";
	static const struct {
		unsigned line, column, width;
		bool first;
	} want[] = {{1, 1, 1, true},   {1, 3, 1, false}, {1, 5, 1, false}, {1, 6, 1, false},
		    {2, 2, 2, true},   {2, 4, 1, false}, {2, 6, 1, false}, {2, 8, 6, false},
		    {2, 14, 1, false}, {3, 2, 2, true},  {3, 5, 1, false}, {4, 5, 1, true}};
	struct sources sources;
	struct problems p;
	struct lexer lx;

	sources_init(&sources);
	problems_init(&p);
	lexer_open(&lx, source_text(&sources, "t", NULL, text, strlen(text)), &p);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		struct token t = lexer_next(&lx);
		struct place at = lexer_place(&lx, &t);

		CU_ASSERT_EQUAL(at.line, want[i].line);
		CU_ASSERT_EQUAL(at.column, want[i].column);
		CU_ASSERT_EQUAL(at.width, want[i].width);
		CU_ASSERT_EQUAL(t.first, want[i].first);
	}
	CU_ASSERT_EQUAL(lexer_next(&lx).kind, TOKEN_END);
	CU_ASSERT_EQUAL(lexer_next(&lx).kind, TOKEN_END);
	problems_free(&p);
	sources_free(&sources);
}

static void
test_values(void)
{
	static const char text[] = "-7 0x1F 5000000000L -1.5e3 TRUE \"a\\n\\\"\\\\\\x41\\.z\"";
	struct sources sources;
	struct problems p;
	struct lexer lx;
	struct token t;
	char out[64];
	size_t len;

	sources_init(&sources);
	problems_init(&p);
	lexer_open(&lx, source_text(&sources, "t", NULL, text, strlen(text)), &p);
	CU_ASSERT_EQUAL(lexer_next(&lx).integer, -7);
	CU_ASSERT_EQUAL(lexer_next(&lx).integer, 31);
	CU_ASSERT_EQUAL(lexer_next(&lx).integer, 5000000000);
	CU_ASSERT_DOUBLE_EQUAL(lexer_next(&lx).real, -1500.0, 0);
	CU_ASSERT_TRUE(lexer_next(&lx).boolean);
	t = lexer_next(&lx);
	len = lexer_string(&lx, &t, out);
	CU_ASSERT_EQUAL(len, 8);
	CU_ASSERT_NSTRING_EQUAL(out, "a\n\"\\A\\.z", 8);
	CU_ASSERT_EQUAL(p.count, 0);
	problems_free(&p);
	sources_free(&sources);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"words and what is refused", test_rows},
			       {"cut at every byte", test_chopped},
			       {"places", test_places},
			       {"values", test_values},
			       CU_TEST_INFO_NULL};

	return suite_run("lexer", tests);
}
