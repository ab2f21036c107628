/*
 * wire/fields.c - see wire/fields.h. Pure.
 *
 * Two levels of the record are looked at, which is where all that is told stands; what lies deeper
 * is passed over by counting brackets.
 */
#include "wire/fields.h"

#include <string.h>

#include "base/text.h"

#define NONE FIELD_COUNT

struct cursor {
	const char *p, *end;
};

/* Of which object it is a member; "": of the record itself. */
static const struct known {
	const char *object, *member;
	enum field field;
} known[] = {
    {"", "@timestamp", FIELD_TIME},
    {"", "message", FIELD_MESSAGE},
    {"event", "action", FIELD_ACTION},
    {"event", "outcome", FIELD_OUTCOME},
    {"event", "reason", FIELD_REASON},
    {"user", "name", FIELD_USER},
    {"source", "ip", FIELD_SOURCE_IP},
    {"source", "port", FIELD_SOURCE_PORT},
    {"destination", "domain", FIELD_DOMAIN},
    {"destination", "ip", FIELD_DESTINATION_IP},
    {"destination", "port", FIELD_DESTINATION_PORT},
    {"observer", "hostname", FIELD_HOSTNAME},
    {"rule", "id", FIELD_RULE},
    {"socks", "session", FIELD_SESSION},
    {"audit", "seq", FIELD_SEQ},
};

bool
field_is(struct field_value v, const char *word)
{
	return v.p != NULL && strlen(word) == v.len && memcmp(v.p, word, v.len) == 0;
}

static enum field
field_of(const char *object, struct field_value member)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(known[i].object, object) == 0 && field_is(member, known[i].member))
			return known[i].field;
	return NONE;
}

/* NULL: nothing in it is told. */
static const char *
object_of(struct field_value member)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (field_is(member, known[i].object))
			return known[i].object;
	return NULL;
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool
is_printable(char c)
{
	return c >= 0x20 && c <= 0x7e;
}

bool
fields_line_fit(const char *line, size_t len)
{
	if (len == 0 || len >= FIELDS_LINE)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!is_printable(line[i]))
			return false;
	return true;
}

static bool
take(struct cursor *c, char want)
{
	if (c->p == c->end || *c->p != want)
		return false;
	c->p++;
	return true;
}

static bool
take_string(struct cursor *c, struct field_value *out)
{
	if (!take(c, '"'))
		return false;
	out->p = c->p;
	while (c->p < c->end && *c->p != '"') {
		if (!is_printable(*c->p))
			return false;
		if (*c->p == '\\' && c->p + 1 < c->end)
			c->p++; /* what is escaped ends nothing */
		c->p++;
	}
	if (c->p == c->end)
		return false;
	out->len = (size_t)(c->p - out->p);
	c->p++;
	return true;
}

static bool
is_of_number(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' || c == '+' ||
	       c == '.' || c == 'E';
}

/* A number, true, false or null. */
static bool
take_word(struct cursor *c, struct field_value *out)
{
	out->p = c->p;
	while (c->p < c->end && is_of_number(*c->p))
		c->p++;
	out->len = (size_t)(c->p - out->p);
	return out->len > 0;
}

/* An object or array, whatever stands in it. */
static bool
pass_nested(struct cursor *c)
{
	struct field_value passed;
	size_t depth = 0;

	do {
		if (c->p == c->end || !is_printable(*c->p))
			return false;
		if (*c->p == '"') {
			if (!take_string(c, &passed))
				return false;
			continue;
		}
		depth += *c->p == '{' || *c->p == '[';
		depth -= *c->p == '}' || *c->p == ']';
		c->p++;
	} while (depth > 0);
	return true;
}

static bool
take_value(struct cursor *c, struct field_value *out)
{
	*out = (struct field_value){NULL, 0};
	if (c->p == c->end)
		return false;
	if (*c->p == '"')
		return take_string(c, out);
	if (*c->p == '{' || *c->p == '[')
		return pass_nested(c);
	return take_word(c, out);
}

static bool
take_key(struct cursor *c, struct field_value *key)
{
	return take_string(c, key) && take(c, ':');
}

static void
keep(struct fields *out, enum field f, struct field_value v)
{
	if (f != NONE && out->of[f].p == NULL)
		out->of[f] = v;
}

/* The members of an object of the record. */
static bool
take_object(struct cursor *c, const char *object, struct fields *out)
{
	struct field_value key, value;

	if (!take(c, '{'))
		return false;
	if (take(c, '}'))
		return true;
	do {
		if (!take_key(c, &key) || !take_value(c, &value))
			return false;
		keep(out, field_of(object, key), value);
	} while (take(c, ','));
	return take(c, '}');
}

static bool
take_member(struct cursor *c, struct fields *out)
{
	struct field_value key, value;
	const char *object;

	if (!take_key(c, &key))
		return false;
	object = object_of(key);
	if (object != NULL && c->p < c->end && *c->p == '{')
		return take_object(c, object, out);
	if (!take_value(c, &value))
		return false;
	keep(out, field_of("", key), value);
	return true;
}

bool
fields_read(const char *line, size_t len, struct fields *out)
{
	struct cursor c = {line, line + len};
	bool good = take(&c, '{');

	memset(out, 0, sizeof *out);
	while (good && take_member(&c, out) && take(&c, ','))
		;
	if (good && take(&c, '}') && c.p == c.end && out->of[FIELD_ACTION].p != NULL)
		return true;
	memset(out, 0, sizeof *out);
	return false;
}

/* ---- what they say ------------------------------------------------------------------------ */

/* Behind a backslash: the byte, and how many more characters told it; -1: none that a record has.
 */
static int
escaped(const char *p, const char *end, size_t *used)
{
	int high, low;

	*used = 1;
	if (p < end && (*p == '"' || *p == '\\' || *p == '/'))
		return (unsigned char)*p;
	if (end - p < 5 || memcmp(p, "u00", 3) != 0 || (high = text_hex_digit(p[3])) == -1 ||
	    (low = text_hex_digit(p[4])) == -1)
		return -1;
	*used = 5;
	return high << 4 | low;
}

size_t
field_bytes(struct field_value v, char *to, size_t cap)
{
	const char *p = v.p, *end;
	size_t n = 0, used;
	int byte;

	if (p == NULL)
		return 0;
	for (end = p + v.len; p < end && n < cap;) {
		if (*p == '\\' && (byte = escaped(p + 1, end, &used)) != -1) {
			to[n++] = (char)byte;
			p += 1 + used;
		} else
			to[n++] = *p++;
	}
	return n;
}

static bool
number_at(struct field_value v, size_t at, size_t len, uint64_t *out)
{
	*out = 0;
	for (size_t i = at; i < at + len; i++) {
		if (v.p[i] < '0' || v.p[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(v.p[i] - '0');
	}
	return true;
}

/* Since 1970 to a date, by eras of 400 years that begin in March. */
static int64_t
days_to(uint64_t year, uint64_t month, uint64_t day)
{
	uint64_t y = month <= 2 ? year - 1 : year, of_era = y % 400,
		 of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return (int64_t)(y / 400 * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year) -
	       719468;
}

/* "2026-11-24T09:14:07.482913Z" */
int64_t
fields_time(const struct fields *f)
{
	static const struct {
		size_t at, len;
		uint64_t least, most;
	} parts[] = {{0, 4, 1970, 2262}, {5, 2, 1, 12},  {8, 2, 1, 31},     {11, 2, 0, 23},
		     {14, 2, 0, 59},     {17, 2, 0, 60}, {20, 6, 0, 999999}};
	struct field_value v = f->of[FIELD_TIME];
	uint64_t n[7];

	if (v.p == NULL || v.len != 27 || v.p[26] != 'Z')
		return 0;
	for (size_t i = 0; i < 7; i++)
		if (!number_at(v, parts[i].at, parts[i].len, &n[i]) || n[i] < parts[i].least ||
		    n[i] > parts[i].most)
			return 0;
	if (n[0] == 2262) /* where nanoseconds end */
		return 0;
	return ((days_to(n[0], n[1], n[2]) * 24 + (int64_t)n[3]) * 3600 + (int64_t)n[4] * 60 +
		(int64_t)n[5]) *
		   1000000000 +
	       (int64_t)n[6] * 1000;
}

uint64_t
fields_seq(const struct fields *f)
{
	struct field_value v = f->of[FIELD_SEQ];
	uint64_t n;

	return v.p != NULL && text_parse_u64(v.p, v.len, INT64_MAX, &n) ? n : 0;
}

/* ---- how grave it is ---------------------------------------------------------------------- */

/* Where it is not simply: a failure is a warning, all else is information. */
static const struct {
	const char *action;
	enum severity success, failure;
} severities[] = {
    {"audit-suspend", SEVERITY_CRITICAL, SEVERITY_CRITICAL},
    {"worker-crash", SEVERITY_ERROR, SEVERITY_ERROR},
    {"lockout", SEVERITY_ERROR, SEVERITY_ERROR},
    {"audit-start", SEVERITY_NOTICE, SEVERITY_WARNING},
    {"audit-stop", SEVERITY_NOTICE, SEVERITY_WARNING},
    {"audit-resume", SEVERITY_NOTICE, SEVERITY_WARNING},
    {"policy-load", SEVERITY_NOTICE, SEVERITY_WARNING},
    {"admin-action", SEVERITY_NOTICE, SEVERITY_WARNING},
    {"clock-step", SEVERITY_NOTICE, SEVERITY_WARNING},
};

enum severity
fields_severity(const struct fields *f)
{
	bool failure = field_is(f->of[FIELD_OUTCOME], "failure");

	for (size_t i = 0; i < sizeof severities / sizeof severities[0]; i++)
		if (field_is(f->of[FIELD_ACTION], severities[i].action))
			return failure ? severities[i].failure : severities[i].success;
	if (f->of[FIELD_ACTION].p == NULL) /* no record */
		return SEVERITY_NOTICE;
	return failure ? SEVERITY_WARNING : SEVERITY_INFO;
}
