/*
 * settings/lexer.h - the words of libconfig 1.5, each with its exact place.
 *
 * A whole source in memory, one token at a time, never failing: what is wrong
 * becomes a problem and reading goes on. Private to this room. Never blocks.
 */
#ifndef SETTINGS_LEXER_H
#define SETTINGS_LEXER_H

#include "settings/tree.h"

enum token_kind {
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_EQUALS,
	TOKEN_STRING,
	TOKEN_INT,
	TOKEN_LONG, /* with an L: libconfig keeps it apart */
	TOKEN_FLOAT,
	TOKEN_BOOL,
	TOKEN_INCLUDE,
	TOKEN_SEMICOLON,
	TOKEN_COMMA,
	TOKEN_OPEN_GROUP,
	TOKEN_CLOSE_GROUP,
	TOKEN_OPEN_LIST,
	TOKEN_CLOSE_LIST,
	TOKEN_OPEN_ARRAY,
	TOKEN_CLOSE_ARRAY,
	TOKEN_WRONG, /* nothing that can stand anywhere */
};

struct token {
	enum token_kind kind;
	bool first;        /* first on its line */
	bool escapes;      /* a string with backslashes */
	bool told;         /* its fault is in the list already */
	unsigned line;     /* from 1 */
	unsigned column;   /* bytes, from 1 */
	uint32_t from, to; /* offsets in the source's text; a string with its quotes */
	union {
		int64_t integer;
		double real;
		bool boolean;
	};
};

struct lexer {
	const struct source *src;
	struct problems *problems;
	const char *p, *end, *line_start;
	unsigned line;
	unsigned quiet; /* a line that has a syntax problem already: no cascades */
	bool fresh;     /* nothing but blanks on this line yet */
	bool cut_short; /* an unclosed comment swallowed the rest */
};

void lexer_open(struct lexer *lx, const struct source *src, struct problems *p);
struct token lexer_next(struct lexer *lx);
struct place lexer_place(const struct lexer *lx, const struct token *t);
/*
 * A syntax problem at t, at most one a line: NULL if the line has one. A string
 * without an end on that line is told instead, as it is the likely cause.
 */
struct problem *lexer_complain(struct lexer *lx, const struct token *t, const char *code,
			       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The value of a string token; out has room for to - from bytes. Returns its length. */
size_t lexer_string(const struct lexer *lx, const struct token *t, char *out);
/* What stands there, for people: "'foo'", "the end of the file". Fits in out. */
const char *lexer_word(const struct lexer *lx, const struct token *t, char out[128]);

#endif
