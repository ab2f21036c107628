/*
 * wire/journal.c - see wire/journal.h. Pure.
 */
#include "wire/journal.h"

#include <endian.h>
#include <string.h>

static const struct {
	const char *name;
	enum field field;
} told[] = {
    {"SALLYPORT_SEQ", FIELD_SEQ},
    {"SALLYPORT_TIME", FIELD_TIME},
    {"SALLYPORT_EVENT", FIELD_ACTION},
    {"SALLYPORT_OUTCOME", FIELD_OUTCOME},
    {"SALLYPORT_REASON", FIELD_REASON},
    {"SALLYPORT_SESSION", FIELD_SESSION},
    {"SALLYPORT_USER", FIELD_USER},
    {"SALLYPORT_SOURCE", FIELD_SOURCE_IP},
    {"SALLYPORT_SOURCE_PORT", FIELD_SOURCE_PORT},
    {"SALLYPORT_DOMAIN", FIELD_DOMAIN},
    {"SALLYPORT_DESTINATION", FIELD_DESTINATION_IP},
    {"SALLYPORT_DESTINATION_PORT", FIELD_DESTINATION_PORT},
    {"SALLYPORT_RULE", FIELD_RULE},
};

static void
put_field(struct text *t, const char *name, const char *value, size_t len)
{
	uint64_t told_len = htole64(len);

	text_put(t, name);
	if (memchr(value, '\n', len) == NULL) {
		text_put_char(t, '=');
	} else {
		text_put_char(t, '\n');
		text_put_bytes(t, &told_len, sizeof told_len);
	}
	text_put_bytes(t, value, len);
	text_put_char(t, '\n');
}

/* ---- the sentence ------------------------------------------------------------------------- */

/* For the eye: the bytes themselves stand in the fields. */
static void
say(struct text *t, struct field_value v)
{
	char bytes[FIELDS_LINE];
	size_t n = field_bytes(v, bytes, sizeof bytes);

	for (size_t i = 0; i < n; i++)
		text_put_char(t, bytes[i] >= 0x20 && bytes[i] <= 0x7e ? bytes[i] : '?');
}

static void
say_end(struct text *t, struct field_value host, struct field_value port)
{
	bool six = host.p != NULL && memchr(host.p, ':', host.len) != NULL;

	text_put(t, six ? "[" : "");
	say(t, host);
	text_put(t, six ? "]" : "");
	if (port.p != NULL) {
		text_put_char(t, ':');
		say(t, port);
	}
}

static void
say_if(struct text *t, const char *before, struct field_value v)
{
	if (v.p == NULL || v.len == 0)
		return;
	text_put(t, before);
	say(t, v);
}

static void
say_record(struct text *t, const struct fields *f)
{
	const struct field_value *v = f->of;
	struct field_value to =
	    v[FIELD_DOMAIN].p != NULL ? v[FIELD_DOMAIN] : v[FIELD_DESTINATION_IP];

	say(t, v[FIELD_ACTION]);
	if (v[FIELD_SOURCE_IP].p != NULL) {
		text_put(t, " from ");
		say_end(t, v[FIELD_SOURCE_IP], v[FIELD_SOURCE_PORT]);
	}
	say_if(t, v[FIELD_SOURCE_IP].p != NULL ? " user " : " by ", v[FIELD_USER]);
	if (to.p != NULL) {
		text_put(t, " to ");
		say_end(t, to, v[FIELD_DESTINATION_PORT]);
	}
	say_if(t, " by rule ", v[FIELD_RULE]);
	say_if(t, ": ", v[FIELD_MESSAGE].p != NULL ? v[FIELD_MESSAGE] : v[FIELD_REASON]);
}

static void
put_message(struct text *t, const struct fields *f)
{
	char sentence[FIELDS_LINE];
	struct text s;

	text_init(&s, sentence, sizeof sentence);
	if (f->of[FIELD_ACTION].p != NULL)
		say_record(&s, f);
	else
		text_put(&s, "a line of the ledger that is no record");
	put_field(t, "MESSAGE", s.p, s.len);
}

/* ---- the entry ---------------------------------------------------------------------------- */

static void
put_number(struct text *t, const char *name, unsigned n)
{
	text_putf(t, "%s=%u\n", name, n);
}

bool
journal_put(struct text *t, const char *identifier, unsigned facility, const struct fields *f,
	    const char *line, size_t len)
{
	char bytes[FIELDS_LINE];

	put_message(t, f);
	put_number(t, "PRIORITY", (unsigned)fields_severity(f));
	put_number(t, "SYSLOG_FACILITY", facility);
	put_field(t, "SYSLOG_IDENTIFIER", identifier, strlen(identifier));
	for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
		if (f->of[told[i].field].p != NULL)
			put_field(t, told[i].name, bytes,
				  field_bytes(f->of[told[i].field], bytes, sizeof bytes));
	put_field(t, "SALLYPORT_RECORD", line, len);
	return !t->cut;
}
