/*
 * tests/fuzz/fuzz_copy.c - lines of the ledger on their way to syslog and to the journal: whatever
 * a line is, what is made of it has the form of its protocol, and the line comes out of it as it
 * went in.
 */
#include "wire/fields.h"

#include <endian.h>

#include "fuzz.h"
#include "wire/journal.h"
#include "wire/syslog.h"

static void
check_fields(const struct fields *f, const char *line, size_t len, bool good)
{
	char bytes[FUZZ_MAX];

	for (int i = 0; i < FIELD_COUNT; i++) {
		struct field_value v = f->of[i];

		FUZZ_CHECK(good || v.p == NULL);
		if (v.p == NULL)
			continue;
		FUZZ_CHECK(v.p >= line && v.p + v.len <= line + len);
		FUZZ_CHECK(field_bytes(v, bytes, sizeof bytes) <= v.len);
	}
	FUZZ_CHECK(fields_time(f) >= 0);
	FUZZ_CHECK(fields_severity(f) >= SEVERITY_CRITICAL && fields_severity(f) <= SEVERITY_INFO);
}

/* "<PRI>1 " and six words without a control byte, then the line. */
static void
check_syslog(const struct fields *f, const char *line, size_t len)
{
	static char out[SYSLOG_MAX + 64];
	const struct syslog_form form = {16, SYSLOG_COUNTED, "sallyportd", 4711};
	struct text t;
	char *message;
	size_t count;

	text_init(&t, out, sizeof out);
	FUZZ_CHECK(syslog_put(&t, &form, f, line, len));
	FUZZ_CHECK(t.len <= SYSLOG_HEAD + len);
	count = strtoul(out, &message, 10);
	FUZZ_CHECK(*message == ' ' && (size_t)(out + t.len - ++message) == count);
	FUZZ_CHECK(memcmp(message, "<13", 3) == 0 && memcmp(message + 4, ">1 ", 3) == 0);
	FUZZ_CHECK(count > len && memcmp(message + count - len, line, len) == 0);
	for (size_t i = 0; i < count - len; i++)
		FUZZ_CHECK(message[i] >= 0x20 && message[i] <= 0x7e);
}

/* Each field as the protocol has it, and the last one is the line. */
static void
check_journal(const struct fields *f, const char *line, size_t len)
{
	static char out[JOURNAL_MAX];
	const char *p = out, *end, *value = NULL;
	uint64_t size = 0;
	struct text t;

	text_init(&t, out, sizeof out);
	FUZZ_CHECK(journal_put(&t, "sallyport-audit", 16, f, line, len));
	for (end = out + t.len; p < end; p = value + size + 1) {
		const char *newline = memchr(p, '\n', (size_t)(end - p)), *equals;

		FUZZ_CHECK(newline != NULL && *p >= 'A' && *p <= 'Z');
		equals = memchr(p, '=', (size_t)(newline - p));
		value = equals != NULL ? equals + 1 : newline + 1 + sizeof size;
		size = (uint64_t)(newline - value);
		if (equals == NULL) {
			memcpy(&size, newline + 1, sizeof size);
			size = le64toh(size);
		}
		FUZZ_CHECK(size < (uint64_t)(end - value) && value[size] == '\n');
	}
	FUZZ_CHECK(p == end && size == len && memcmp(value, line, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *line;
	struct fields f;
	bool good;

	if (size > FUZZ_MAX)
		return 0;
	line = (const char *)fuzz_at_end(data, size);
	good = fields_read(line, size, &f);
	check_fields(&f, line, size, good);
	if (!fields_line_fit(line, size))
		return 0;
	check_syslog(&f, line, size);
	check_journal(&f, line, size);
	return 0;
}
