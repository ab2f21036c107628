/*
 * base/text.h - bounded text building and the one quoting function.
 *
 * Everything that came from outside (names, users, file contents) goes through
 * text_put_json or text_put_quoted before it reaches a log, a terminal or a
 * record: only 0x20-0x7e leave here unescaped (AUDIT.md).
 * A struct text never grows: what does not fit is cut and `cut` says so.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
	char *p;    /* caller's buffer, always NUL-terminated if cap > 0 */
	size_t len; /* bytes used, without the NUL */
	size_t cap;
	bool cut; /* something did not fit */
};

void text_init(struct text *t, char *buf, size_t cap);
void text_put_cut(struct text *t, const void *p, size_t len); /* the part that fits */

/* In the header, since a record is made of a hundred of these and most are of constant length. */
static inline void
text_put_bytes(struct text *t, const void *p, size_t len)
{
	if (len >= t->cap - t->len) {
		text_put_cut(t, p, len);
		return;
	}
	memcpy(t->p + t->len, p, len);
	t->len += len;
	t->p[t->len] = '\0';
}

static inline void
text_put(struct text *t, const char *s) /* trusted text, as it is */
{
	text_put_bytes(t, s, strlen(s));
}

static inline void
text_put_char(struct text *t, char c)
{
	text_put_bytes(t, &c, 1);
}

void text_put_u64(struct text *t, uint64_t v);
void text_put_hex(struct text *t, const uint8_t *p, size_t len); /* lower case */
void text_putf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A JSON string with its quotes: ASCII only; `"` and `\` with a backslash, every
 * other byte outside 0x20-0x7e as \u00XX (bytes, not characters: a record says
 * what was on the wire).  At most max bytes of s are told, then `...`.
 */
void text_put_json(struct text *t, const void *s, size_t len, size_t max);
/* As text_put_json, but for people: 'name' with \xNN and no \u. */
void text_put_quoted(struct text *t, const void *s, size_t len, size_t max);

/* "2026-11-24T09:14:07.482913Z"; ns since 1970. */
#define TEXT_TIME 28
void text_put_time(struct text *t, int64_t unix_ns);
/* "1.4 KiB", "512 B" / "3.2 s", "41 ms" for people. */
void text_put_size(struct text *t, uint64_t bytes);
void text_put_duration(struct text *t, uint64_t ns);

/* Growing text for tools and compilers (never in a worker). Abort on no memory. */
struct buffer {
	char *p;
	size_t len, cap;
};
void buffer_put(struct buffer *b, const void *p, size_t len);
void buffer_puts(struct buffer *b, const char *s);
void buffer_putf(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buffer_put_json(struct buffer *b, const void *s, size_t len);
void buffer_put_size(struct buffer *b, uint64_t bytes); /* as text_put_size */
void buffer_put_duration(struct buffer *b, uint64_t ns);
char *buffer_keep(struct buffer *b); /* what it holds, malloc'd; it is empty afterwards */
void buffer_free(struct buffer *b);

/* Edit distance for did-you-mean; NULL-terminated candidates; best within a third
 * of the length, or NULL. Caseless. */
const char *text_nearest(const char *word, const char *const *candidates);
unsigned text_distance(const char *a, const char *b, unsigned limit);

/* Strict unsigned decimal without sign, blanks or leading zeros ("0" is fine). */
int text_hex_digit(char c); /* its value; -1: none */
bool text_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out);

#endif
