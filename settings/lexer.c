/*
 * settings/lexer.c - see lexer.h. Runs in COMPILE and in sallyctl; never blocks.
 *
 * The grammar of words is that of libconfig 1.5, less what it reads silently
 * wrong (POLICY.md "Files"): strings over line ends, unclosed comments, numbers
 * out of range, backslashes that mean something else in the next version.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "settings/lexer.h"
#include "settings/source.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_hex(char c)
{
	return text_hex_digit(c) != -1;
}

void
lexer_open(struct lexer *lx, const struct source *src, struct problems *p)
{
	memset(lx, 0, sizeof(*lx));
	lx->src = src;
	lx->problems = p;
	lx->p = lx->line_start = src->text;
	lx->end = src->text + src->len;
	lx->line = 1;
	lx->fresh = true;
	if (src->len >= 3 && memcmp(src->text, "\xef\xbb\xbf", 3) == 0)
		lx->p += 3; /* told by source_check */
}

static struct place
place_at(const struct lexer *lx, const char *p, unsigned width)
{
	struct place at = {lx->src->name, lx->line, (unsigned)(p - lx->line_start) + 1, width};

	return at;
}

struct place
lexer_place(const struct lexer *lx, const struct token *t)
{
	struct place at = {lx->src->name, t->line, t->column, t->to - t->from};

	if (at.width == 0)
		at.width = 1;
	return at;
}

/* The quote that opens a string without an end on the line at p; NULL: all are closed. */
static const char *
open_quote(const char *p, const char *end)
{
	const char *quote = NULL;

	for (; p < end && *p != '\n'; p++) {
		if (*p == '"')
			quote = quote == NULL ? p : NULL;
		else if (quote != NULL && *p == '\\')
			p += p + 1 < end && p[1] != '\n';
		else if (quote == NULL && (*p == '#' || (*p == '/' && p + 1 < end && p[1] == '/')))
			return NULL;
	}
	return quote;
}

static void
tell_open_string(struct lexer *lx, struct place at)
{
	lx->quiet = at.line;
	problem_help(problems_add(lx->problems, "E112", at, "this string has no end on its line"),
		     "or a quote is missing earlier on the line; no string may hold a line end");
}

struct problem *
lexer_complain(struct lexer *lx, const struct token *t, const char *code, const char *fmt, ...)
{
	const char *line = lx->src->text + t->from - (t->column - 1);
	const char *quote;
	char text[512];
	va_list ap;

	if (lx->quiet == t->line || t->told)
		return NULL;
	quote = open_quote(line, lx->end);
	if (quote != NULL && t->kind != TOKEN_END) {
		struct place at = {lx->src->name, t->line, (unsigned)(quote - line) + 1, 1};

		tell_open_string(lx, at);
		return NULL;
	}
	lx->quiet = t->line;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return problems_add(lx->problems, code, lexer_place(lx, t), "%s", text);
}

const char *
lexer_word(const struct lexer *lx, const struct token *t, char out[128])
{
	struct text text;

	if (t->kind == TOKEN_END)
		return "the end of the file";
	text_init(&text, out, 128);
	text_put_quoted(&text, lx->src->text + t->from, t->to - t->from, 24);
	return out;
}

static void
new_line(struct lexer *lx)
{
	lx->line++;
	lx->line_start = lx->p;
	lx->fresh = true;
}

static void
skip_block_comment(struct lexer *lx)
{
	struct place at = place_at(lx, lx->p, 2);

	for (lx->p += 2; lx->p < lx->end; lx->p++) {
		if (*lx->p == '\n') {
			lx->line++;
			lx->line_start = lx->p + 1;
			lx->fresh = true;
		} else if (*lx->p == '*' && lx->p + 1 < lx->end && lx->p[1] == '/') {
			lx->p += 2;
			return;
		}
	}
	lx->cut_short = true;
	problem_help(problems_add(lx->problems, "E111", at, "this comment is never closed"),
		     "everything behind it would be passed over in silence; close it with */");
}

/* Blanks, comments, and bytes that source_check has told of. */
static void
skip_blank(struct lexer *lx)
{
	while (lx->p < lx->end) {
		unsigned char c = (unsigned char)*lx->p;

		if (c == '\n') {
			lx->p++;
			new_line(lx);
		} else if (c == '#' || (c == '/' && lx->p + 1 < lx->end && lx->p[1] == '/')) {
			const char *stop = memchr(lx->p, '\n', (size_t)(lx->end - lx->p));

			lx->p = stop != NULL ? stop : lx->end;
		} else if (c == '/' && lx->p + 1 < lx->end && lx->p[1] == '*') {
			skip_block_comment(lx);
		} else if (c <= ' ' || c == 0x7f) {
			lx->p++;
		} else {
			return;
		}
	}
}

/* One escape at p (a backslash): its length, 0 if it means nothing sure. *byte: what it stands for;
 * -1: itself, as libconfig of every version leaves a backslash before what is no letter. */
static unsigned
escape_at(const char *p, const char *end, int *byte)
{
	static const char from[] = "nrtf\\\"", to[] = "\n\r\t\f\\\"";
	const char *known = p + 1 < end && p[1] != '\0' ? strchr(from, p[1]) : NULL;

	*byte = -1;
	if (known != NULL) {
		*byte = to[known - from];
		return 2;
	}
	if (p + 3 < end && (p[1] | 0x20) == 'x' && is_hex(p[2]) && is_hex(p[3])) {
		*byte = text_hex_digit(p[2]) << 4 | text_hex_digit(p[3]);
		return *byte == 0 || *byte > 0x7f ? 0 : 4;
	}
	return p + 1 < end && is_letter(p[1]) ? 0 : 1;
}

static void
tell_escape(struct lexer *lx, const char *p)
{
	bool hex = (p[1] | 0x20) == 'x' && p + 3 < lx->end && is_hex(p[2]) && is_hex(p[3]);
	struct problem *one;

	one = problems_add(lx->problems, "E114", place_at(lx, p, hex ? 4 : 2),
			   hex ? "this escape stands for no ASCII character"
			       : "a backslash before '%c' means nothing sure",
			   p[1]);
	if (hex)
		problem_help(one, "\\x01 to \\x7f may be written so");
	else
		problem_help(one, "write \\\\ for a backslash; known are "
				  "\\\\ \\\" \\n \\r \\t \\f \\xNN");
}

static void
lex_string(struct lexer *lx, struct token *t)
{
	const char *start = lx->p;
	int byte;

	t->kind = TOKEN_STRING;
	for (lx->p++; lx->p < lx->end && *lx->p != '\n'; lx->p++) {
		if (*lx->p == '"') {
			lx->p++;
			return;
		}
		if (*lx->p == '\\') {
			unsigned n = escape_at(lx->p, lx->end, &byte);

			t->escapes = true;
			if (n == 0)
				tell_escape(lx, lx->p);
			lx->p += n > 1 ? n - 1 : n == 0;
		}
	}
	if (lx->p > lx->end)
		lx->p = lx->end;
	/* Brackets and ends at the line's end hardly belong to it: what follows reads on better. */
	while (lx->p > start + 1 && strchr(" \t\r;,})]", lx->p[-1]) != NULL)
		lx->p--;
	t->told = true;
	if (lx->quiet != lx->line)
		tell_open_string(lx, place_at(lx, start, 1));
}

size_t
lexer_string(const struct lexer *lx, const struct token *t, char *out)
{
	const char *p = lx->src->text + t->from + 1, *end = lx->src->text + t->to;
	size_t len = 0;
	int byte;

	if (end > p && end[-1] == '"')
		end--;
	while (p < end) {
		unsigned n = *p == '\\' ? escape_at(p, end + 1, &byte) : 1;

		if (*p != '\\' || n < 2)
			out[len++] = *p++;
		else {
			out[len++] = (char)byte;
			p += n;
		}
	}
	return len;
}

/* Digits at *p, at least one; moves p behind them. */
static bool
take_digits(const char **p, bool hex)
{
	const char *start = *p;

	while (hex ? is_hex(**p) : is_digit(**p))
		(*p)++;
	return *p > start;
}

/* The form of the number at p with len bytes; TOKEN_WRONG: none that libconfig has. */
static enum token_kind
number_form(const char *p, size_t len, bool *hex)
{
	const char *end = p + len;
	bool whole, part = false, power = false;

	*hex = len > 2 && p[0] == '0' && (p[1] | 0x20) == 'x';
	p += *hex ? 2 : *p == '-' || *p == '+';
	whole = take_digits(&p, *hex);
	if (!*hex && *p == '.') {
		p++;
		part = take_digits(&p, false) || whole;
		if (!part)
			return TOKEN_WRONG;
	}
	if (!*hex && (whole || part) && (*p | 0x20) == 'e') {
		p++;
		p += *p == '-' || *p == '+';
		power = take_digits(&p, false);
		if (!power)
			return TOKEN_WRONG;
	}
	if (part || power)
		return p == end ? TOKEN_FLOAT : TOKEN_WRONG;
	if (!whole)
		return TOKEN_WRONG;
	if (p == end)
		return TOKEN_INT;
	p += p[0] == 'L' && p[1] == 'L' ? 2 : p[0] == 'L';
	return p == end ? TOKEN_LONG : TOKEN_WRONG;
}

/* The value of a well-formed number; false: it does not fit its kind. */
static bool
number_value(struct token *t, const char *text, bool hex)
{
	errno = 0;
	if (t->kind == TOKEN_FLOAT) {
		t->real = strtod(text, NULL);
		return t->real - t->real == 0; /* neither infinite nor NaN */
	}
	t->integer = strtoll(text, NULL, hex ? 16 : 10);
	if (errno == ERANGE)
		return false;
	return t->kind == TOKEN_LONG || (t->integer >= INT_MIN && t->integer <= INT_MAX);
}

static void
tell_range(struct lexer *lx, const struct token *t, struct place at)
{
	struct problem *one = problems_add(lx->problems, "E115", at, "the number is out of range");

	if (t->kind != TOKEN_INT)
		return;
	problem_help(one, "libconfig would read another number; above 2147483647 it needs an L "
			  "behind it");
}

static void
lex_number(struct lexer *lx, struct token *t)
{
	const char *start = lx->p;
	char text[64];
	size_t len;
	bool hex;

	while (lx->p < lx->end && (is_letter(*lx->p) || is_digit(*lx->p) || *lx->p == '.' ||
				   *lx->p == '_' || *lx->p == '+' || *lx->p == '-'))
		lx->p++;
	len = (size_t)(lx->p - start);
	t->kind = number_form(start, len, &hex);
	if (t->kind == TOKEN_WRONG) {
		t->to = (uint32_t)(lx->p - lx->src->text);
		problem_help(lexer_complain(lx, t, "E116", "this is no number"),
			     "quantities, addresses and names stand in quotes: \"30 s\", "
			     "\"10.0.0.0/8\"");
		t->told = true;
		return;
	}
	if (len < sizeof(text)) {
		memcpy(text, start, len);
		text[len] = '\0';
		if (number_value(t, text, hex))
			return;
	}
	tell_range(lx, t, place_at(lx, start, (unsigned)len));
	t->real = 0;
	t->integer = 0;
}

static bool
word_is(const char *p, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(p, word, len) == 0;
}

static void
lex_name(struct lexer *lx, struct token *t)
{
	const char *start = lx->p;
	size_t len;

	while (lx->p < lx->end &&
	       (is_letter(*lx->p) || is_digit(*lx->p) || *lx->p == '-' || *lx->p == '_'))
		lx->p++;
	len = (size_t)(lx->p - start);
	t->kind = TOKEN_NAME;
	if (word_is(start, len, "true") || word_is(start, len, "false")) {
		t->kind = TOKEN_BOOL;
		t->boolean = len == 4;
	}
}

static void
lex_include(struct lexer *lx, struct token *t)
{
	static const char word[] = "@include";
	size_t left = (size_t)(lx->end - lx->p);

	if (left >= sizeof(word) - 1 && memcmp(lx->p, word, sizeof(word) - 1) == 0) {
		t->kind = TOKEN_INCLUDE;
		lx->p += sizeof(word) - 1;
		return;
	}
	lx->p++;
}

/* A character that begins no word; non-ASCII is named as what it is. */
static void
lex_wrong(struct lexer *lx, struct token *t)
{
	unsigned point, n = utf8_at(lx->p, lx->end, &point);

	if ((unsigned char)*lx->p >= 0x80) {
		t->to = t->from + n;
		if (n > 0 && !utf8_hides(point))
			problem_help(
			    lexer_complain(lx, t, "E109", "U+%04X may not stand here", point),
			    "only comments and the values of owner, ticket and why may "
			    "hold more than ASCII");
		t->told = true;
	}
	lx->p += n > 0 ? n : 1;
}

static enum token_kind
sign_kind(char c)
{
	static const char signs[] = "=:;,{}()[]";
	static const enum token_kind kinds[] = {
	    TOKEN_EQUALS,     TOKEN_EQUALS,      TOKEN_SEMICOLON, TOKEN_COMMA,
	    TOKEN_OPEN_GROUP, TOKEN_CLOSE_GROUP, TOKEN_OPEN_LIST, TOKEN_CLOSE_LIST,
	    TOKEN_OPEN_ARRAY, TOKEN_CLOSE_ARRAY};
	const char *at = c != '\0' ? strchr(signs, c) : NULL;

	return at != NULL ? kinds[at - signs] : TOKEN_WRONG;
}

struct token
lexer_next(struct lexer *lx)
{
	struct token t = {.kind = TOKEN_WRONG};
	char c;

	skip_blank(lx);
	t.first = lx->fresh;
	lx->fresh = false;
	t.line = lx->line;
	t.column = (unsigned)(lx->p - lx->line_start) + 1;
	t.from = (uint32_t)(lx->p - lx->src->text);
	c = lx->p < lx->end ? *lx->p : '\0';
	if (lx->p == lx->end) {
		t.kind = TOKEN_END;
		t.told = lx->cut_short;
	} else if (is_letter(c)) {
		lex_name(lx, &t);
	} else if (c == '"') {
		lex_string(lx, &t);
	} else if (is_digit(c) || c == '-' || c == '+' || c == '.') {
		lex_number(lx, &t);
	} else if (c == '@') {
		lex_include(lx, &t);
	} else if ((t.kind = sign_kind(c)) != TOKEN_WRONG) {
		lx->p++;
	} else {
		lex_wrong(lx, &t);
	}
	t.to = (uint32_t)(lx->p - lx->src->text);
	return t;
}
