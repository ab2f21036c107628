/* Tests of wire/fields.c: what is found in a record, what is none, times, escapes, how grave it is.
 */
#include "wire/fields.h"

#include "base/text.h"

#include "chop.h"
#include "suite.h"

static const char record[] =
    "{\"@timestamp\":\"2026-11-24T09:14:07.482913Z\",\"ecs\":{\"version\":\"8.11.0\"},\"event\":{"
    "\"kind\":"
    "\"event\",\"category\":[\"network\",\"session\"],\"type\":[\"connection\",\"denied\"],"
    "\"action\":"
    "\"session-deny\",\"outcome\":\"failure\",\"id\":\"01JDF3T7N8Q2W5-1\",\"reason\":\"denied\"},"
    "\"user\":{"
    "\"name\":\"a\\\"l\\\\i\\u00e9\\u000a}\"},\"source\":{\"ip\":\"10.20.3.4\",\"port\":52114,"
    "\"nat\":{\"ip\":"
    "\"192.0.2.17\",\"port\":40112}},\"destination\":{\"domain\":\"erp.corp.example\",\"ip\":\"10."
    "9.8.7\","
    "\"port\":443},\"network\":{\"transport\":\"tcp\"},\"observer\":{\"hostname\":\"px1\","
    "\"ingress\":{"
    "\"interface\":{\"name\":\"inside\"}}},\"rule\":{\"id\":\"fin-erp\"},\"socks\":{\"session\":"
    "\"01JDF3T7N8Q2W5\",\"ms\":{\"auth\":1.5}},\"audit\":{\"seq\":184497,\"prev\":"
    "\"4291bf89e43862be\"}}";

static bool
is(const struct fields *f, enum field which, const char *text)
{
	return field_is(f->of[which], text);
}

static void
test_a_record(void)
{
	char bytes[64];
	struct fields f;
	size_t n;

	CU_ASSERT_TRUE_FATAL(fields_read(record, strlen(record), &f));
	CU_ASSERT(is(&f, FIELD_TIME, "2026-11-24T09:14:07.482913Z"));
	CU_ASSERT(is(&f, FIELD_ACTION, "session-deny"));
	CU_ASSERT(is(&f, FIELD_OUTCOME, "failure"));
	CU_ASSERT(is(&f, FIELD_REASON, "denied"));
	CU_ASSERT_PTR_NULL(f.of[FIELD_MESSAGE].p);
	CU_ASSERT(is(&f, FIELD_SOURCE_IP, "10.20.3.4"));
	CU_ASSERT(is(&f, FIELD_SOURCE_PORT, "52114")); /* not the one of nat */
	CU_ASSERT(is(&f, FIELD_DOMAIN, "erp.corp.example"));
	CU_ASSERT(is(&f, FIELD_DESTINATION_IP, "10.9.8.7"));
	CU_ASSERT(is(&f, FIELD_DESTINATION_PORT, "443"));
	CU_ASSERT(is(&f, FIELD_HOSTNAME, "px1"));
	CU_ASSERT(is(&f, FIELD_RULE, "fin-erp"));
	CU_ASSERT(is(&f, FIELD_SESSION, "01JDF3T7N8Q2W5"));
	CU_ASSERT_EQUAL(fields_seq(&f), 184497);
	n = field_bytes(f.of[FIELD_USER], bytes, sizeof bytes);
	CU_ASSERT_EQUAL(n, 8);
	CU_ASSERT(memcmp(bytes, "a\"l\\i\xe9\n}", 8) == 0);
	CU_ASSERT_EQUAL(field_bytes(f.of[FIELD_USER], bytes, 2), 2);
	CU_ASSERT_EQUAL(fields_time(&f), INT64_C(1795511647482913000));
}

/* No part of a record is one, nor with something glued on. */
static void
test_chopped(void)
{
	char glued[sizeof record + 1];
	struct fields f;

	for (size_t len = 0; len < strlen(record); len++) {
		char *part = (char *)exact_copy(record, len);

		CU_ASSERT_FALSE(fields_read(part, len, &f));
		for (int i = 0; i < FIELD_COUNT; i++)
			CU_ASSERT_PTR_NULL(f.of[i].p);
		free(part);
	}
	memcpy(glued, record, sizeof record);
	for (const char *more = "{}, \"x"; *more != '\0'; more++) {
		glued[sizeof record - 1] = *more;
		CU_ASSERT_FALSE(fields_read(glued, sizeof record, &f));
	}
}

static void
test_no_records(void)
{
	static const char *const rows[] = {"",
					   "{",
					   "{}",
					   "[]",
					   "x",
					   "\"event\"",
					   "{\"event\":{}}",
					   "{\"event\":{\"action\":\"a\"}",
					   "{\"event\":{\"action\":\"a\"}},",
					   "{\"event\" :{\"action\":\"a\"}}",
					   "{\"event\":{\"action\":\"a\\\"}}",
					   "{\"event\":{\"action\":\"a\n\"}}",
					   "{\"event\":{\"action\":\"\x7f\"}}",
					   "{\"event\":{\"action\":}}",
					   "{\"event\":{\"action\":\"a\",}}",
					   "{\"x\":[[[\"]\",{\"event\":{\"action\":\"a\"}}]}",
					   "{\"event\":[{\"action\":\"a\"}]}",
					   "{\"x\":{\"event\":{\"action\":\"a\"}}}"};
	struct fields f;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK_ROW(!fields_read(rows[i], strlen(rows[i]), &f), rows[i]);
}

static int64_t
time_of(const char *text)
{
	struct fields f = {0};

	f.of[FIELD_TIME] = (struct field_value){text, strlen(text)};
	return fields_time(&f);
}

static void
test_times(void)
{
	static const char *const bad[] = {"",
					  "2026-11-24T09:14:07.482913",
					  "2026-11-24T09:14:07.482913z",
					  "2026-13-24T09:14:07.482913Z",
					  "2026-00-24T09:14:07.482913Z",
					  "2026-11-32T09:14:07.482913Z",
					  "2026-11-24T24:14:07.482913Z",
					  "2026-11-24T09:60:07.482913Z",
					  "2026-11-24T09:14:07.48291xZ",
					  "1969-11-24T09:14:07.482913Z",
					  "9999-11-24T09:14:07.482913Z"};
	static const int64_t days[] = {1, 59, 60, 11016, 11017, 20000, 47540, 100000};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_ROW(time_of(bad[i]) == 0, bad[i]);
	CU_ASSERT_EQUAL(time_of("2000-02-29T23:59:59.999999Z"), INT64_C(951868799999999000));
	CU_ASSERT_EQUAL(time_of("1970-01-01T00:00:00.000001Z"), 1000);
	for (size_t i = 0; i < sizeof days / sizeof days[0]; i++) { /* both ways */
		int64_t ns = days[i] * INT64_C(86400000000000) + 123456000;
		char text[TEXT_TIME];
		struct text t;

		text_init(&t, text, sizeof text);
		text_put_time(&t, ns);
		CHECK_ROW(time_of(text) == ns, text);
	}
}

static void
test_escapes(void)
{
	static const struct {
		const char *text, *bytes;
		size_t len;
	} rows[] = {
	    {"plain", BYTES("plain")},
	    {"", BYTES("")},
	    {"\\u0000\\u00ff", BYTES("\0\xff")},
	    {"\\\\\\\"\\/", BYTES("\\\"/")},
	    {"\\u00", BYTES("\\u00")},
	    {"\\u0141", BYTES("\\u0141")},
	    {"\\", BYTES("\\")},
	    {"\\u00zz", BYTES("\\u00zz")},
	    {"\\u00E9", BYTES("\xe9")},
	};
	char bytes[32];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct field_value v = {rows[i].text, strlen(rows[i].text)};
		size_t n = field_bytes(v, bytes, sizeof bytes);

		CHECK_ROW(n == rows[i].len && memcmp(bytes, rows[i].bytes, n) == 0, rows[i].text);
	}
	CU_ASSERT_EQUAL(field_bytes((struct field_value){NULL, 0}, bytes, 4), 0);
}

static void
test_severities(void)
{
	static const struct {
		const char *action, *outcome;
		enum severity severity;
	} rows[] = {
	    {"session-start", "success", SEVERITY_INFO},
	    {"session-end", "success", SEVERITY_INFO},
	    {"session-deny", "failure", SEVERITY_WARNING},
	    {"session-fail", "failure", SEVERITY_WARNING},
	    {"auth-success", "success", SEVERITY_INFO},
	    {"auth-failure", "failure", SEVERITY_WARNING},
	    {"lockout", "failure", SEVERITY_ERROR},
	    {"udp-destination", "failure", SEVERITY_WARNING},
	    {"udp-destination", "success", SEVERITY_INFO},
	    {"policy-load", "success", SEVERITY_NOTICE},
	    {"policy-refused", "failure", SEVERITY_WARNING},
	    {"admin-action", "success", SEVERITY_NOTICE},
	    {"admin-action", "failure", SEVERITY_WARNING},
	    {"worker-crash", "failure", SEVERITY_ERROR},
	    {"audit-suspend", "failure", SEVERITY_CRITICAL},
	    {"audit-resume", "success", SEVERITY_NOTICE},
	    {"audit-start", "success", SEVERITY_NOTICE},
	    {"checkpoint", "success", SEVERITY_INFO},
	    {"clock-step", "success", SEVERITY_NOTICE},
	    {"something-new", "success", SEVERITY_INFO},
	    {"something-new", "failure", SEVERITY_WARNING},
	};
	struct fields f = {0};

	CU_ASSERT_EQUAL(fields_severity(&f), SEVERITY_NOTICE);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		f.of[FIELD_ACTION] = (struct field_value){rows[i].action, strlen(rows[i].action)};
		f.of[FIELD_OUTCOME] =
		    (struct field_value){rows[i].outcome, strlen(rows[i].outcome)};
		CHECK_ROW(fields_severity(&f) == rows[i].severity, rows[i].action);
	}
}

static void
test_fit(void)
{
	static char line[FIELDS_LINE + 1];

	memset(line, 'x', sizeof line);
	CU_ASSERT_FALSE(fields_line_fit(line, 0));
	CU_ASSERT(fields_line_fit(line, 1));
	CU_ASSERT(fields_line_fit(line, FIELDS_LINE - 1));
	CU_ASSERT_FALSE(fields_line_fit(line, FIELDS_LINE));
	for (int c = 0; c < 256; c++) {
		line[7] = (char)c;
		CU_ASSERT_EQUAL(fields_line_fit(line, 9), c >= 0x20 && c <= 0x7e);
	}
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"a record", test_a_record},         {"chopped and glued", test_chopped},
	    {"no records", test_no_records},     {"times", test_times},
	    {"escapes", test_escapes},           {"severities", test_severities},
	    {"lines that are copied", test_fit}, CU_TEST_INFO_NULL};

	return suite_run("fields", tests);
}
