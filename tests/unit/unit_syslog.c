/* Tests of wire/syslog.c: the form of RFC 5424, the framing of RFC 6587, and that the record comes
 * through. */
#include "wire/syslog.h"

#include "chop.h"
#include "suite.h"

#define LINE                                                                                       \
	"{\"@timestamp\":\"2026-11-24T09:14:07.482913Z\",\"event\":{\"action\":\"session-deny\","  \
	"\"outcome\":\"failure\"},\"observer\":{\"hostname\":\"px1\"},\"audit\":{\"seq\":184497}}"
#define HEAD                                                                                       \
	"<132>1 2026-11-24T09:14:07.482913Z px1 sallyportd 4711 session-deny "                     \
	"[meta sequenceId=\"184497\"] "

static char out[4 * SYSLOG_MAX];
static struct text t;

static bool
put(const struct syslog_form *s, const char *line)
{
	struct fields f;

	fields_read(line, strlen(line), &f);
	return syslog_put(&t, s, &f, line, strlen(line));
}

static const char *
message(const struct syslog_form *s, const char *line)
{
	text_init(&t, out, sizeof out);
	return put(s, line) ? out : "none";
}

static void
test_forms(void)
{
	struct syslog_form s = {16, SYSLOG_ALONE, "sallyportd", 4711};
	char counted[1024];

	CU_ASSERT_STRING_EQUAL(message(&s, LINE), HEAD LINE);
	s.framing = SYSLOG_LINES;
	CU_ASSERT_STRING_EQUAL(message(&s, LINE), HEAD LINE "\n");
	s.framing = SYSLOG_COUNTED;
	snprintf(counted, sizeof counted, "%zu " HEAD LINE, strlen(HEAD LINE));
	CU_ASSERT_STRING_EQUAL(message(&s, LINE), counted);
	s.framing = SYSLOG_ALONE;
	s.procid = 0;
	s.facility = 23;
	CU_ASSERT_STRING_EQUAL(message(&s, "torn"), "<189>1 - - sallyportd - - - torn");
}

/* What is not PRINTUSASCII, or too long for its place. */
static void
test_words(void)
{
	static const struct syslog_form s = {0, SYSLOG_ALONE, "sallyportd", 0};
	char host[400], line[800], action[64], want[400];

	CU_ASSERT_STRING_EQUAL(
	    message(&s, "{\"event\":{\"action\":\"a "
			"b\\u00e9\\u000ac\"},\"observer\":{\"hostname\":\"p x\"}}"),
	    "<6>1 - p?x sallyportd - a?b??c - "
	    "{\"event\":{\"action\":\"a b\\u00e9\\u000ac\"},\"observer\":{\"hostname\":\"p x\"}}");
	memset(host, 'h', sizeof host);
	host[300] = '\0';
	memset(action, 'a', sizeof action);
	action[40] = '\0';
	snprintf(line, sizeof line,
		 "{\"event\":{\"action\":\"%s\"},\"observer\":{\"hostname\":\"%s\"}}", action,
		 host);
	snprintf(want, sizeof want, "<6>1 - %.255s sallyportd - %.32s - {", host, action);
	CU_ASSERT(strncmp(message(&s, line), want, strlen(want)) == 0);
	CU_ASSERT(t.len < SYSLOG_HEAD + strlen(line));
}

/* RFC 5424, 7.3.1: 1 to 2147483647, then from 1 again. */
static void
test_sequence(void)
{
	static const struct {
		const char *seq, *id;
	} rows[] = {{"1", "\"1\""},
		    {"2147483647", "\"2147483647\""},
		    {"2147483648", "\"1\""},
		    {"9223372036854775807", "\"1\""}};
	static const struct syslog_form s = {16, SYSLOG_ALONE, "x", 0};
	char line[128], want[64];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(line, sizeof line, "{\"event\":{\"action\":\"a\"},\"audit\":{\"seq\":%s}}",
			 rows[i].seq);
		snprintf(want, sizeof want, "[meta sequenceId=%s]", rows[i].id);
		CHECK_ROW(strstr(message(&s, line), want) != NULL, rows[i].seq);
	}
	CU_ASSERT(strstr(message(&s, "{\"event\":{\"action\":\"a\"},\"audit\":{\"seq\":0}}"),
			 " - {") != NULL);
}

/* All or nothing; what stood before stays. */
static void
test_room(void)
{
	static const struct syslog_form forms[] = {{16, SYSLOG_ALONE, "sallyportd", 1},
						   {16, SYSLOG_LINES, "sallyportd", 1},
						   {16, SYSLOG_COUNTED, "sallyportd", 1}};

	for (int i = 0; i < 3; i++) {
		size_t all = strlen(message(&forms[i], LINE));

		for (size_t cap = 4; cap <= all + 8; cap++) {
			char *exact = malloc(cap);
			bool fits = cap > all + 3;

			text_init(&t, exact, cap);
			text_put(&t, "abc");
			CU_ASSERT_EQUAL(put(&forms[i], LINE), fits);
			CU_ASSERT_EQUAL(t.len, fits ? all + 3 : 3);
			CU_ASSERT_FALSE(t.cut);
			CU_ASSERT(memcmp(exact, "abc", 3) == 0);
			free(exact);
		}
	}
}

/* The longest line that a record may have, several glued: taken apart again by their counts. */
static void
test_stream(void)
{
	static const struct syslog_form s = {16, SYSLOG_COUNTED, "sallyportd", 1};
	static char line[FIELDS_LINE];
	const char *at = out;

	memset(line, 'x', sizeof line - 1);
	text_init(&t, out, sizeof out);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_TRUE_FATAL(put(&s, i == 1 ? LINE : line));
	for (int i = 0; i < 3; i++) {
		const char *want = i == 1 ? LINE : line;
		char *end;
		size_t n = strtoul(at, &end, 10);

		CU_ASSERT_FATAL(*end == ' ' && n > strlen(want));
		CU_ASSERT(end[1] == '<');
		CU_ASSERT(memcmp(end + 1 + n - strlen(want), want, strlen(want)) == 0);
		at = end + 1 + n;
	}
	CU_ASSERT_PTR_EQUAL(at, out + t.len);
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"forms", test_forms},       {"words", test_words},
				      {"sequence", test_sequence}, {"room", test_room},
				      {"a stream", test_stream},   CU_TEST_INFO_NULL};

	return suite_run("syslog", tests);
}
