/* Tests of wire/control.c: requests that are taken, those that are not and why, and both ways. */
#include "wire/control.h"

#include "suite.h"

static enum control_verdict
parse(const char *line, struct control_request *r)
{
	return control_parse(line, strlen(line), r);
}

static void
test_good(void)
{
	struct control_request r;

	CU_ASSERT_EQUAL(parse("{\"command\":\"status\"}", &r), CONTROL_OK);
	CU_ASSERT_EQUAL(r.command, CONTROL_STATUS);
	CU_ASSERT_EQUAL(r.given, 0);
	CU_ASSERT_EQUAL(
	    parse(" { \"older\" : 90 ,\t\"command\":\"sessions\", \"user\":\"ann\" } \r", &r),
	    CONTROL_OK);
	CU_ASSERT_EQUAL(r.command, CONTROL_SESSIONS);
	CU_ASSERT_EQUAL(r.given, 1u << CONTROL_OLDER | 1u << CONTROL_USER);
	CU_ASSERT_EQUAL(r.value[CONTROL_OLDER].number, 90);
	CU_ASSERT_STRING_EQUAL(r.value[CONTROL_USER].string, "ann");
	CU_ASSERT_EQUAL(parse("{\"command\":\"reload\",\"preview\":true}", &r), CONTROL_OK);
	CU_ASSERT(r.value[CONTROL_PREVIEW].yes);
	CU_ASSERT_EQUAL(parse("{\"command\":\"reload\",\"preview\":false}", &r), CONTROL_OK);
	CU_ASSERT_FALSE(r.value[CONTROL_PREVIEW].yes);
	CU_ASSERT_EQUAL(
	    parse("{\"command\":\"kill\",\"user\":\"\\u00e9\\\"\\\\\\/\\n\\t\xc3\xa9\"}", &r),
	    CONTROL_OK);
	CU_ASSERT_STRING_EQUAL(r.value[CONTROL_USER].string, "\xe9\"\\/\n\t\xc3\xa9");
}

static const struct {
	const char *line;
	enum control_verdict verdict;
} bad[] = {
    {"", CONTROL_MALFORMED},
    {"status", CONTROL_MALFORMED},
    {"[]", CONTROL_MALFORMED},
    {"{", CONTROL_MALFORMED},
    {"{}", CONTROL_NO_COMMAND},
    {"{\"command\":\"status\"", CONTROL_MALFORMED},
    {"{\"command\":\"status\"}x", CONTROL_MALFORMED},
    {"{\"command\":\"status\",}", CONTROL_MALFORMED},
    {"{\"command\":\"status\" \"user\":\"a\"}", CONTROL_MALFORMED},
    {"{\"command\":\"status\",\"command\":\"status\"}", CONTROL_MALFORMED},
    {"{\"command\":\"kill\",\"id\":\"A\",\"id\":\"B\"}", CONTROL_MALFORMED},
    {"{command:\"status\"}", CONTROL_MALFORMED},
    {"{\"command\":\"halt\"}", CONTROL_UNKNOWN_COMMAND},
    {"{\"command\":\"\"}", CONTROL_UNKNOWN_COMMAND},
    {"{\"command\":1}", CONTROL_MALFORMED},
    {"{\"command\":{\"a\":1}}", CONTROL_MALFORMED},
    {"{\"command\":\"status\",\"user\":\"a\"}", CONTROL_UNKNOWN_KEY},
    {"{\"command\":\"kill\",\"users\":\"a\"}", CONTROL_UNKNOWN_KEY},
    {"{\"command\":\"kill\",\"user\":[\"a\"]}", CONTROL_MALFORMED},
    {"{\"command\":\"kill\",\"user\":\"a\\u0000b\"}", CONTROL_BAD_VALUE},
    {"{\"command\":\"kill\",\"user\":\"\\u0100\"}", CONTROL_MALFORMED},
    {"{\"command\":\"kill\",\"user\":\"\\x41\"}", CONTROL_MALFORMED},
    {"{\"command\":\"kill\",\"user\":\"\\u00", CONTROL_MALFORMED},
    {"{\"command\":\"kill\",\"user\":\"a\nb\"}", CONTROL_MALFORMED},
    {"{\"command\":\"sessions\",\"older\":-1}", CONTROL_BAD_VALUE},
    {"{\"command\":\"sessions\",\"older\":007}", CONTROL_BAD_VALUE},
    {"{\"command\":\"sessions\",\"older\":9223372036854775808}", CONTROL_BAD_VALUE},
    {"{\"command\":\"sessions\",\"older\":\"90\"}", CONTROL_BAD_VALUE},
    {"{\"command\":\"reload\",\"preview\":1}", CONTROL_BAD_VALUE},
};

static void
test_bad(void)
{
	struct control_request r;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_ROW(parse(bad[i].line, &r) == bad[i].verdict, bad[i].line);
}

static void
test_lengths(void)
{
	static char line[2 * CONTROL_REQUEST];
	struct control_request r;
	char name[CONTROL_VALUE + 1];

	for (size_t n = CONTROL_VALUE - 2; n <= CONTROL_VALUE; n++) {
		memset(name, 'a', n);
		name[n] = '\0';
		snprintf(line, sizeof line, "{\"command\":\"kill\",\"user\":\"%s\"}", name);
		CU_ASSERT_EQUAL(parse(line, &r),
				n < CONTROL_VALUE ? CONTROL_OK : CONTROL_BAD_VALUE);
	}
	memset(line, ' ', sizeof line);
	memcpy(line, "{\"command\":\"status\"}", 20);
	CU_ASSERT_EQUAL(control_parse(line, CONTROL_REQUEST - 1, &r), CONTROL_OK);
	CU_ASSERT_EQUAL(control_parse(line, CONTROL_REQUEST, &r), CONTROL_TOO_LONG);
}

/* Every command with every key that it may have. */
static void
test_both_ways(void)
{
	static char line[CONTROL_REQUEST + 1];
	static struct control_request r, back;
	struct text t;

	for (int c = 0; c < CONTROL_COMMANDS; c++) {
		memset(&r, 0, sizeof r);
		r.command = (enum control_command)c;
		for (int f = 0; f < CONTROL_FIELDS; f++) {
			if (!(control_commands[c].fields >> f & 1))
				continue;
			if (f <= CONTROL_SORT) {
				CU_ASSERT(
				    control_set_string(&r, (enum control_field)f, "x\x01\xff\"y"));
			} else if (f >= CONTROL_PREVIEW)
				control_set(&r, (enum control_field)f);
			else
				control_set_number(&r, (enum control_field)f, 4711);
		}
		text_init(&t, line, sizeof line);
		control_format(&r, &t);
		CU_ASSERT_FALSE(t.cut);
		CU_ASSERT_EQUAL(line[t.len - 1], '\n');
		CU_ASSERT_EQUAL(control_parse(line, t.len - 1, &back), CONTROL_OK);
		CU_ASSERT_EQUAL(back.command, r.command);
		CU_ASSERT_EQUAL(back.given, r.given);
		CU_ASSERT_EQUAL(memcmp(back.value, r.value, sizeof r.value), 0);
	}
	memset(&r, 0, sizeof r);
	memset(line, 'a', CONTROL_VALUE);
	line[CONTROL_VALUE] = '\0';
	CU_ASSERT_FALSE(control_set_string(&r, CONTROL_USER, line));
	line[CONTROL_VALUE - 1] = '\0';
	CU_ASSERT(control_set_string(&r, CONTROL_USER, line));
}

/* Who may only look changes nothing. */
static void
test_roles(void)
{
	static const char *const look[] = {"status", "sessions", "rules", "hits", "metrics", "top"};

	for (int c = 0; c < CONTROL_COMMANDS; c++) {
		bool looks = false;

		for (size_t i = 0; i < sizeof look / sizeof look[0]; i++)
			looks |= strcmp(control_commands[c].word, look[i]) == 0;
		CHECK_ROW(control_commands[c].operator== !looks, control_commands[c].word);
	}
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"good", test_good},           {"bad", test_bad},     {"lengths", test_lengths},
	    {"both ways", test_both_ways}, {"roles", test_roles}, CU_TEST_INFO_NULL,
	};

	return suite_run("control", tests);
}
