/* Tests of wire/journal.c: an entry taken apart as journald does it. */
#include "wire/journal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static char entry[JOURNAL_MAX];
static struct text t;

static bool
put(const char *line)
{
	struct fields f;

	fields_read(line, strlen(line), &f);
	text_init(&t, entry, sizeof entry);
	return journal_put(&t, "sallyport-audit", 16, &f, line, strlen(line));
}

/* The value of a field as the protocol's own rules find it; NULL: it is not there. *count: fields
 * in all, -1: broken. */
static const char *
find(const char *name, size_t *len, int *count)
{
	const char *p = t.p, *end = t.p + t.len, *found = NULL;

	for (*count = 0; p < end; ++*count) {
		const char *newline = memchr(p, '\n', (size_t)(end - p)), *equals, *value;
		uint64_t size;

		if (newline == NULL)
			break;
		equals = memchr(p, '=', (size_t)(newline - p));
		if (equals != NULL) {
			value = equals + 1;
			size = (uint64_t)(newline - value);
		} else {
			if (end - newline < 10)
				break;
			memcpy(&size, newline + 1, sizeof size);
			size = le64toh(size);
			value = newline + 1 + sizeof size;
			if (size >= (uint64_t)(end - value) || value[size] != '\n')
				break;
			equals = newline;
		}
		if ((size_t)(equals - p) == strlen(name) && memcmp(p, name, strlen(name)) == 0) {
			found = value;
			*len = (size_t)size;
		}
		p = value + size + 1;
	}
	if (p != end)
		*count = -1;
	return found;
}

static bool
has(const char *name, const char *value)
{
	size_t len = 0;
	int count;
	const char *found = find(name, &len, &count);

	if (value == NULL)
		return count > 0 && found == NULL;
	return count > 0 && found != NULL && len == strlen(value) && memcmp(found, value, len) == 0;
}

#define SESSION                                                                                    \
	"{\"@timestamp\":\"2026-11-24T09:14:07.482913Z\",\"event\":{\"action\":\"session-deny\","  \
	"\"outcome\":\"failure\",\"reason\":\"denied\"},\"user\":{\"name\":\"%s\"},\"source\":{"   \
	"\"ip\":\"10.20.3.4\",\"port\":52114},\"destination\":{\"domain\":\"erp.corp.example\","   \
	"\"ip\":\"2001:db8::7\",\"port\":443},\"rule\":{\"id\":\"fin-erp\"},\"socks\":{"           \
	"\"session\":"                                                                             \
	"\"01JDF3T7N8Q2W5\"},\"audit\":{\"seq\":12}}"

static void
test_a_session(void)
{
	char line[1024];

	snprintf(line, sizeof line, SESSION, "ann");
	CU_ASSERT(put(line));
	CU_ASSERT(has("MESSAGE",
		      "session-deny from 10.20.3.4:52114 user ann to erp.corp.example:443 by rule "
		      "fin-erp: denied"));
	CU_ASSERT(has("PRIORITY", "4"));
	CU_ASSERT(has("SYSLOG_FACILITY", "16"));
	CU_ASSERT(has("SYSLOG_IDENTIFIER", "sallyport-audit"));
	CU_ASSERT(has("SALLYPORT_SEQ", "12"));
	CU_ASSERT(has("SALLYPORT_TIME", "2026-11-24T09:14:07.482913Z"));
	CU_ASSERT(has("SALLYPORT_EVENT", "session-deny"));
	CU_ASSERT(has("SALLYPORT_OUTCOME", "failure"));
	CU_ASSERT(has("SALLYPORT_REASON", "denied"));
	CU_ASSERT(has("SALLYPORT_SESSION", "01JDF3T7N8Q2W5"));
	CU_ASSERT(has("SALLYPORT_USER", "ann"));
	CU_ASSERT(has("SALLYPORT_SOURCE", "10.20.3.4"));
	CU_ASSERT(has("SALLYPORT_SOURCE_PORT", "52114"));
	CU_ASSERT(has("SALLYPORT_DOMAIN", "erp.corp.example"));
	CU_ASSERT(has("SALLYPORT_DESTINATION", "2001:db8::7"));
	CU_ASSERT(has("SALLYPORT_DESTINATION_PORT", "443"));
	CU_ASSERT(has("SALLYPORT_RULE", "fin-erp"));
	CU_ASSERT(has("SALLYPORT_RECORD", line));
	CU_ASSERT(has("SALLYPORT_MESSAGE", NULL));
}

/* Bytes from outside are told as they are, a newline by its length; the sentence is for the eye. */
static void
test_foreign_bytes(void)
{
	static const struct {
		const char *escaped, *bytes, *said;
	} rows[] = {
	    {"a\\u000aMESSAGE=b", "a\nMESSAGE=b", " user a?MESSAGE=b to "},
	    {"\\u000a", "\n", " user ? to "},
	    {"\\u00c3\\u00a9\\u001b[31m", "\xc3\xa9\x1b[31m", " user ???[31m to "},
	    {"\\\"\\\\=", "\"\\=", " user \"\\= to "},
	};
	char line[1024];
	size_t len;
	int count;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *said;

		snprintf(line, sizeof line, SESSION, rows[i].escaped);
		CHECK_ROW(put(line), rows[i].escaped);
		CHECK_ROW(has("SALLYPORT_USER", rows[i].bytes), rows[i].escaped);
		CHECK_ROW(has("SALLYPORT_RECORD", line), rows[i].escaped);
		said = find("MESSAGE", &len, &count);
		CHECK_ROW(said != NULL &&
			      memmem(said, len, rows[i].said, strlen(rows[i].said)) != NULL,
			  rows[i].escaped);
		CHECK_ROW(count == 18, rows[i].escaped);
	}
}

static void
test_sentences(void)
{
	static const struct {
		const char *line, *message, *priority;
	} rows[] = {
	    {"{\"event\":{\"action\":\"audit-start\",\"outcome\":\"success\"}}", "audit-start",
	     "5"},
	    {"{\"event\":{\"action\":\"admin-action\",\"outcome\":\"failure\"},\"message\":"
	     "\"reload: refused\","
	     "\"user\":{\"name\":\"ann\",\"id\":\"7\"}}",
	     "admin-action by ann: reload: refused", "4"},
	    {"{\"event\":{\"action\":\"session-end\",\"outcome\":\"success\"},\"source\":{\"ip\":"
	     "\"::1\",\"port\":1},"
	     "\"destination\":{\"ip\":\"::2\",\"port\":2}}",
	     "session-end from [::1]:1 to [::2]:2", "6"},
	    {"torn", "a line of the ledger that is no record", "5"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK_ROW(put(rows[i].line), rows[i].line);
		CHECK_ROW(has("MESSAGE", rows[i].message), rows[i].line);
		CHECK_ROW(has("PRIORITY", rows[i].priority), rows[i].line);
		CHECK_ROW(has("SALLYPORT_RECORD", rows[i].line), rows[i].line);
	}
}

/* The longest record there can be fits, also if all of it is told twice. */
static void
test_room(void)
{
	static char line[FIELDS_LINE];
	size_t len = strlen("{\"event\":{\"action\":\"");

	memset(line, 'a', sizeof line - 1);
	memcpy(line, "{\"event\":{\"action\":\"", len);
	memcpy(line + sizeof line - 4, "\"}}", 4);
	CU_ASSERT(put(line));
	CU_ASSERT(has("SALLYPORT_RECORD", line));
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"a session", test_a_session},
				      {"foreign bytes", test_foreign_bytes},
				      {"sentences", test_sentences},
				      {"room", test_room},
				      CU_TEST_INFO_NULL};

	return suite_run("journal", tests);
}
