/*
 * wire/control.c - see wire/control.h: requests of the control socket from bytes and back. Pure.
 */
#include "wire/control.h"

#include <string.h>

#include "base/text.h"

#define F(f) (1u << CONTROL_##f)
#define WHICH (F(ID) | F(USER) | F(RULE))

const struct control_row control_commands[CONTROL_COMMANDS] = {
    [CONTROL_STATUS] = {"status", false, 0},
    [CONTROL_SESSIONS] = {"sessions", false,
			  WHICH | F(SOURCE) | F(DESTINATION) | F(OLDER) | F(YOUNGER) | F(DESTINATIONS)},
    [CONTROL_RULES] = {"rules", false, 0},
    [CONTROL_KILL] = {"kill", true, WHICH},
    [CONTROL_RELOAD] = {"reload", true, F(PREVIEW) | F(JSON)},
    [CONTROL_DRAIN] = {"drain", true, 0},
    [CONTROL_REOPEN] = {"reopen", true, 0},
    [CONTROL_METRICS] = {"metrics", false, F(OPENMETRICS)},
    [CONTROL_TOP] = {"top", false, F(SORT) | F(LIMIT)},
    [CONTROL_RESTART] = {"restart", true, 0},
};

enum kind { STRING, NUMBER, SWITCH };

static const struct {
	const char *word;
	enum kind kind;
} fields[CONTROL_FIELDS] = {
    [CONTROL_ID] = {"id", STRING},
    [CONTROL_USER] = {"user", STRING},
    [CONTROL_RULE] = {"rule", STRING},
    [CONTROL_SOURCE] = {"source", STRING},
    [CONTROL_DESTINATION] = {"destination", STRING},
    [CONTROL_SORT] = {"sort", STRING},
    [CONTROL_LIMIT] = {"limit", NUMBER},
    [CONTROL_DESTINATIONS] = {"destinations", SWITCH},
    [CONTROL_JSON] = {"json", SWITCH},
    [CONTROL_OLDER] = {"older", NUMBER},
    [CONTROL_YOUNGER] = {"younger", NUMBER},
    [CONTROL_PREVIEW] = {"preview", SWITCH},
    [CONTROL_OPENMETRICS] = {"openmetrics", SWITCH},
};

const char *
control_field_word(enum control_field f)
{
	return fields[f].word;
}

const char *
control_verdict_word(enum control_verdict v)
{
	static const char *const words[] = {
	    [CONTROL_OK] = "good",
	    [CONTROL_MALFORMED] = "the request is no flat JSON object",
	    [CONTROL_NO_COMMAND] = "the request has no command",
	    [CONTROL_UNKNOWN_COMMAND] = "no such command",
	    [CONTROL_UNKNOWN_KEY] = "the request has a key that this command does not know",
	    [CONTROL_BAD_VALUE] = "the request has a value of the wrong kind or length",
	    [CONTROL_TOO_LONG] = "the request is too long",
	};

	return words[v];
}

/* ---- decoding ------------------------------------------------------------------------------ */

struct cursor {
	const char *p, *end;
};

static void
skip_blanks(struct cursor *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r'))
		c->p++;
}

static bool
take_char(struct cursor *c, char want)
{
	skip_blanks(c);
	if (c->p == c->end || *c->p != want)
		return false;
	c->p++;
	return true;
}

/* Behind a backslash. -1: none that we take. */
static int
take_escape(struct cursor *c)
{
	static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *at;
	int value = 0;

	if (c->p == c->end || *c->p == '\0')
		return -1;
	if ((at = strchr(letters, *c->p)) != NULL) {
		c->p++;
		return (unsigned char)bytes[at - letters];
	}
	if (*c->p++ != 'u' || c->end - c->p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = text_hex_digit(*c->p++);

		if (digit == -1)
			return -1;
		value = value * 16 + digit;
	}
	return value <= 0xff ? value : -1;
}

/* A string of less than cap bytes, NUL put behind it. */
static enum control_verdict
take_string(struct cursor *c, char *out, size_t cap)
{
	size_t n = 0;

	if (!take_char(c, '"'))
		return CONTROL_MALFORMED;
	while (c->p < c->end && *c->p != '"') {
		int byte = (unsigned char)*c->p++;

		if (byte < 0x20)
			return CONTROL_MALFORMED;
		if (byte == '\\' && (byte = take_escape(c)) == -1)
			return CONTROL_MALFORMED;
		if (byte == 0 || n + 1 >= cap)
			return CONTROL_BAD_VALUE;
		out[n++] = (char)byte;
	}
	if (c->p == c->end)
		return CONTROL_MALFORMED;
	c->p++;
	out[n] = '\0';
	return CONTROL_OK;
}

static enum control_verdict
take_number(struct cursor *c, uint64_t *out)
{
	const char *start;

	skip_blanks(c);
	start = c->p;
	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
		c->p++;
	return text_parse_u64(start, (size_t)(c->p - start), INT64_MAX, out) ? CONTROL_OK
									     : CONTROL_BAD_VALUE;
}

static bool
take_word(struct cursor *c, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(c->end - c->p) < len || memcmp(c->p, word, len) != 0)
		return false;
	c->p += len;
	return true;
}

static enum control_verdict
take_switch(struct cursor *c, bool *out)
{
	skip_blanks(c);
	*out = take_word(c, "true");
	return *out || take_word(c, "false") ? CONTROL_OK : CONTROL_BAD_VALUE;
}

static enum control_verdict
take_command(struct cursor *c, struct control_request *out)
{
	char word[CONTROL_VALUE];
	enum control_verdict v = take_string(c, word, sizeof word);

	for (int i = 0; v == CONTROL_OK && i < CONTROL_COMMANDS; i++)
		if (strcmp(word, control_commands[i].word) == 0) {
			out->command = (enum control_command)i;
			return CONTROL_OK;
		}
	return v == CONTROL_OK ? CONTROL_UNKNOWN_COMMAND : v;
}

static enum control_verdict
take_field(struct cursor *c, enum control_field f, struct control_request *out)
{
	if (control_given(out, f))
		return CONTROL_MALFORMED;
	out->given |= 1u << f;
	switch (fields[f].kind) {
	case STRING:
		return take_string(c, out->value[f].string, CONTROL_VALUE);
	case NUMBER:
		return take_number(c, &out->value[f].number);
	case SWITCH:
		return take_switch(c, &out->value[f].yes);
	}
	return CONTROL_MALFORMED;
}

static enum control_verdict
take_member(struct cursor *c, bool *command, struct control_request *out)
{
	char key[32];
	enum control_verdict v = take_string(c, key, sizeof key);

	if (v != CONTROL_OK)
		return v == CONTROL_BAD_VALUE ? CONTROL_UNKNOWN_KEY : v;
	if (!take_char(c, ':'))
		return CONTROL_MALFORMED;
	if (strcmp(key, "command") == 0) {
		if (*command)
			return CONTROL_MALFORMED;
		*command = true;
		return take_command(c, out);
	}
	for (int f = 0; f < CONTROL_FIELDS; f++)
		if (strcmp(key, fields[f].word) == 0)
			return take_field(c, (enum control_field)f, out);
	return CONTROL_UNKNOWN_KEY;
}

enum control_verdict
control_parse(const char *line, size_t len, struct control_request *out)
{
	struct cursor c = {line, line + len};
	enum control_verdict v;
	bool command = false;

	memset(out, 0, sizeof *out);
	if (len >= CONTROL_REQUEST)
		return CONTROL_TOO_LONG;
	if (!take_char(&c, '{'))
		return CONTROL_MALFORMED;
	if (!take_char(&c, '}')) {
		do {
			if ((v = take_member(&c, &command, out)) != CONTROL_OK)
				return v;
		} while (take_char(&c, ','));
		if (!take_char(&c, '}'))
			return CONTROL_MALFORMED;
	}
	skip_blanks(&c);
	if (c.p != c.end)
		return CONTROL_MALFORMED;
	if (!command)
		return CONTROL_NO_COMMAND;
	return (out->given & ~control_commands[out->command].fields) == 0 ? CONTROL_OK
									  : CONTROL_UNKNOWN_KEY;
}

/* ---- building ------------------------------------------------------------------------------ */

bool
control_set_string(struct control_request *r, enum control_field f, const char *s)
{
	size_t len = strlen(s);

	if (len >= CONTROL_VALUE)
		return false;
	memcpy(r->value[f].string, s, len + 1);
	r->given |= 1u << f;
	return true;
}

void
control_set_number(struct control_request *r, enum control_field f, uint64_t n)
{
	r->value[f].number = n;
	r->given |= 1u << f;
}

void
control_set(struct control_request *r, enum control_field f)
{
	r->value[f].yes = true;
	r->given |= 1u << f;
}

void
control_format(const struct control_request *r, struct text *t)
{
	text_putf(t, "{\"command\":\"%s\"", control_commands[r->command].word);
	for (int f = 0; f < CONTROL_FIELDS; f++) {
		const char *s = r->value[f].string;

		if (!control_given(r, (enum control_field)f))
			continue;
		text_putf(t, ",\"%s\":", fields[f].word);
		if (fields[f].kind == STRING)
			text_put_json(t, s, strlen(s), CONTROL_VALUE);
		else if (fields[f].kind == NUMBER)
			text_put_u64(t, r->value[f].number);
		else
			text_put(t, r->value[f].yes ? "true" : "false");
	}
	text_put(t, "}\n");
}
