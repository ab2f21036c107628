/*
 * rules/hosts.c - host patterns: exact, *.below, .both, and regex: compiled once here with PCRE2
 * to see that it is one. Pure but for the model's memory.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "rules/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define HOST_MAX 253
#define LABEL_MAX 63
#define REGEX_MAX 1000

static bool
tell(struct reader *r, struct place at, const char *s, const char *help)
{
	problem_help(problems_add(r->p, "E210", at, "\"%s\" is no host pattern", s), "%s", help);
	return false;
}

static bool
host_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

static bool
number_label(const char *s, size_t len)
{
	bool hex = len > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
	size_t i;

	for (i = hex ? 2 : 0; i < len; i++)
		if (!((s[i] >= '0' && s[i] <= '9') ||
		      (hex && ((s[i] >= 'a' && s[i] <= 'f') || (s[i] >= 'A' && s[i] <= 'F')))))
			return false;
	return true;
}

/* NULL, or what is wrong with the labels (without "*." or "."). */
static const char *
labels_wrong(const char *s, size_t len)
{
	size_t i, start = 0;
	unsigned char c;

	if (len == 0)
		return "nothing stands behind the dot";
	if (s[len - 1] == '.')
		return "leave the dot at the end off";
	if (strstr(s, "://"))
		return "leave the scheme off; write the name alone";
	for (i = 0; i <= len; i++) {
		c = i < len ? (unsigned char)s[i] : '.';
		if (c == '.') {
			if (i == start)
				return "a label is empty; write one dot between two labels";
			if (i - start > LABEL_MAX)
				return "a label has 63 bytes at most";
			if (i == len && number_label(s + start, i - start))
				return "a name whose last label is a number is no name; addresses "
				       "stand in "
				       "networks: { }";
			start = i + 1;
		} else if (c == '*') {
			return "a star stands only at the beginning, as \"*.a.example\"; for more "
			       "write "
			       "\"regex:...\"";
		} else if (c >= 0x80) {
			return "write international names in their ASCII form, xn--...";
		} else if (!host_byte((char)c)) {
			return c == ':'   ? "leave the port off: ports stand in \"service\""
			       : c == '/' ? "a host has no scheme, path or prefix length; write "
					    "the name alone"
					  : "labels are letters, digits, - and _";
		}
	}
	return len > HOST_MAX ? "a name has 253 bytes at most" : NULL;
}

/* ---- regex: -------------------------------------------------------------------- */

/* (*VERBS) change how a match runs, and with that what the limits mean. */
static bool
has_verb(const char *s)
{
	bool class = false;

	for (; *s; s++) {
		if (*s == '\\' && s[1] == 'Q') {
			const char *e = strstr(s + 2, "\\E");

			if (!e)
				return false;
			s = e + 1;
		} else if (*s == '\\' && s[1]) {
			s++;
		} else if (class) {
			class = *s != ']';
		} else if (*s == '[') {
			class = true;
			s += s[1] == '^';
			s += s[1] == ']'; /* a ] that stands first is itself */
		} else if (*s == '(' && s[1] == '*') {
			return true;
		}
	}
	return false;
}

static int
one_callout(pcre2_callout_enumerate_block *block, void *data)
{
	(void)block;
	*(bool *)data = true;
	return 1;
}

static const char *
regex_wrong(pcre2_code *code)
{
	bool callouts = false;

	pcre2_callout_enumerate(code, one_callout, &callouts);
	return callouts ? "callouts, (?C...), are not allowed" : NULL;
}

static bool
regex_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at)
{
	const char *pattern = s + 6, *wrong = NULL;
	struct host_pattern *h;
	PCRE2_UCHAR message[128];
	pcre2_code *code;
	PCRE2_SIZE offset;
	int error;

	len -= 6;
	if (len == 0)
		wrong = "\"regex:\" has no pattern behind it";
	else if (len > REGEX_MAX)
		wrong = "a pattern has 1000 bytes at most";
	else if (has_verb(pattern))
		wrong = "(*VERBS) are not allowed";
	if (wrong) {
		problem_help(problems_add(r->p, "E211", at, "%s", wrong),
			     "a pattern must match the whole name");
		return false;
	}
	code = pcre2_compile((PCRE2_SPTR)pattern, len,
			     PCRE2_CASELESS | PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_UTF |
				 PCRE2_NEVER_UCP,
			     &error, &offset, NULL);
	if (!code) {
		pcre2_get_error_message(error, message, sizeof(message));
		problem_help(problems_add(r->p, "E211", at,
					  "the pattern is wrong at its byte %zu: %s", offset + 1,
					  (char *)message),
			     "a pattern is a Perl-compatible regular expression that must match "
			     "the whole name");
		return false;
	}
	wrong = regex_wrong(code);
	pcre2_code_free(code);
	if (wrong) {
		problem_help(problems_add(r->p, "E211", at, "%s", wrong),
			     "a pattern must match the whole name");
		return false;
	}
	h = vec_add(&b->hosts, sizeof(*h));
	h->kind = HOST_REGEX;
	h->text = model_string(r->m, pattern, len);
	h->len = len;
	h->place = at;
	return true;
}

/* ---- values -------------------------------------------------------------------- */

bool
host_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at)
{
	const char *name = s, *wrong;
	enum host_kind kind = HOST_EXACT;
	struct host_pattern *h;
	struct addr a;
	char *lower;
	size_t i;

	if (len >= 6 && !memcmp(s, "regex:", 6))
		return regex_literal(r, b, s, len, at);
	if (s[0] == '*' && s[1] == '.')
		kind = HOST_BELOW, name = s + 2;
	else if (s[0] == '.')
		kind = HOST_BOTH, name = s + 1;
	len -= (size_t)(name - s);
	if (addr_parse(name, len, &a))
		return tell(r, at, s, "addresses stand in networks: { }, and in rules in \"to\"");
	wrong = labels_wrong(name, len);
	if (wrong)
		return tell(r, at, s, wrong);
	union {
		const char *text;
		char *out;
	} copy = {model_string(r->m, name, len)};

	lower = copy.out;
	for (i = 0; i < len; i++)
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] + 32);
	h = vec_add(&b->hosts, sizeof(*h));
	h->kind = kind;
	h->text = lower;
	h->len = len;
	h->place = at;
	return true;
}

static int
host_order(const void *a, const void *b)
{
	const struct host_pattern *x = a, *y = b;
	int d = strcmp(x->text, y->text);

	return d ? d : (x->kind > y->kind) - (x->kind < y->kind);
}

size_t
hosts_settle(struct vec *hosts)
{
	struct host_pattern *list = hosts->p;
	size_t i, kept = 0, before = hosts->count;

	if (before < 2)
		return 0;
	qsort(list, before, sizeof(*list), host_order);
	for (i = 1; i < before; i++)
		if (host_order(&list[kept], &list[i]))
			list[++kept] = list[i];
	hosts->count = kept + 1;
	return before - hosts->count;
}
