/*
 * base/text.c - see base/text.h. Any process; never blocks.
 *
 * struct text writes into the caller's memory only, so workers may use it;
 * struct buffer is for tools and ends the process when memory does.
 */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const char hex_digits[] = "0123456789abcdef";

/* The decimal digits of 0 to 99: a division a pair instead of one a digit. */
static const char pairs[] = "00010203040506070809101112131415161718192021222324"
			    "25262728293031323334353637383940414243444546474849"
			    "50515253545556575859606162636465666768697071727374"
			    "75767778798081828384858687888990919293949596979899";

static inline void
put_pair(char *p, unsigned v)
{
	memcpy(p, pairs + (size_t)2 * v, 2);
}

void
text_init(struct text *t, char *buf, size_t cap)
{
	t->p = buf;
	t->len = 0;
	t->cap = cap;
	t->cut = false;
	if (cap > 0)
		buf[0] = '\0';
}

void
text_put_cut(struct text *t, const void *p, size_t len)
{
	size_t room = t->cap > t->len ? t->cap - t->len - 1 : 0;

	if (len > room) {
		len = room;
		t->cut = true;
	}
	if (len == 0)
		return;
	memcpy(t->p + t->len, p, len);
	t->len += len;
	t->p[t->len] = '\0';
}

void
text_put_u64(struct text *t, uint64_t v)
{
	char digits[20];
	size_t at = sizeof digits;

	for (; v >= 100; v /= 100)
		put_pair(digits + (at -= 2), (unsigned)(v % 100));
	if (v >= 10)
		put_pair(digits + (at -= 2), (unsigned)v);
	else
		digits[--at] = (char)('0' + v);
	text_put_bytes(t, digits + at, sizeof digits - at);
}

void
text_put_hex(struct text *t, const uint8_t *p, size_t len)
{
	char digits[64];

	while (len > 0) {
		size_t n = len < sizeof digits / 2 ? len : sizeof digits / 2;

		for (size_t i = 0; i < n; i++) {
			digits[2 * i] = hex_digits[p[i] >> 4];
			digits[2 * i + 1] = hex_digits[p[i] & 15];
		}
		text_put_bytes(t, digits, 2 * n);
		p += n;
		len -= n;
	}
}

void
text_putf(struct text *t, const char *fmt, ...)
{
	size_t room = t->cap > t->len ? t->cap - t->len : 0;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(room > 0 ? t->p + t->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n < room) {
		t->len += (size_t)n;
		return;
	}
	t->cut = t->cut || n > 0;
	if (room > 0)
		t->len += room - 1;
}

/* --- quoting: one walk over the bytes, two ways to tell the bad ones --- */

struct quoting {
	char mark;          /* around it all, and escaped with a backslash inside */
	const char *escape; /* before the two hex digits of a byte */
};

static const struct quoting as_json = {'"', "\\u00"};
static const struct quoting for_people = {'\'', "\\x"};

static bool
is_plain(unsigned char c, char mark)
{
	return c >= 0x20 && c <= 0x7e && c != (unsigned char)mark && c != '\\';
}

/* How a byte that is not plain is told; returns its length, at most 6. */
static size_t
escape_byte(char out[8], unsigned char c, const struct quoting *q)
{
	size_t n;

	if (c == (unsigned char)q->mark || c == '\\') {
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	}
	n = strlen(q->escape);
	memcpy(out, q->escape, n);
	out[n] = hex_digits[c >> 4];
	out[n + 1] = hex_digits[c & 15];
	return n + 2;
}

typedef void put_fn(void *to, const void *p, size_t len);

static void
quote(put_fn *put, void *to, const unsigned char *s, size_t len, size_t max,
      const struct quoting *q)
{
	size_t told = len < max ? len : max, n = 1;
	char out[128];

	out[0] = q->mark;
	for (size_t i = 0; i < told; i++) {
		if (n > sizeof out - 16) {
			put(to, out, n);
			n = 0;
		}
		if (is_plain(s[i], q->mark))
			out[n++] = (char)s[i];
		else
			n += escape_byte(out + n, s[i], q);
	}
	if (told < len) {
		memcpy(out + n, "...", 3);
		n += 3;
	}
	out[n++] = q->mark;
	put(to, out, n);
}

static void
put_in_text(void *to, const void *p, size_t len)
{
	text_put_bytes(to, p, len);
}

static void
put_in_buffer(void *to, const void *p, size_t len)
{
	buffer_put(to, p, len);
}

void
text_put_json(struct text *t, const void *s, size_t len, size_t max)
{
	quote(put_in_text, t, s, len, max, &as_json);
}

void
text_put_quoted(struct text *t, const void *s, size_t len, size_t max)
{
	quote(put_in_text, t, s, len, max, &for_people);
}

/* --- time and quantities --- */

/*
 * Days since 1970-01-01 to a date, by eras of 400 years that begin in March, so
 * that the leap day comes last. gmtime_r(3) takes a lock and looks at TZ.
 */
static void
date_of(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	int64_t z = days + 719468; /* since 0000-03-01; never negative here */
	unsigned of_era = (unsigned)(z % 146097);
	unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned from_march = (5 * of_year + 2) / 153;

	*day = of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = (unsigned)(z / 146097) * 400 + year_of_era + (*month <= 2);
}

/* Up to the second. */
static void
put_second(char *p, int64_t seconds)
{
	int64_t days = seconds / 86400;
	unsigned year, month, day, of_day;

	if (seconds % 86400 < 0)
		days--;
	of_day = (unsigned)(seconds - days * 86400);
	date_of(days, &year, &month, &day);
	put_pair(p, year / 100 % 100);
	put_pair(p + 2, year % 100);
	put_pair(p + 5, month);
	put_pair(p + 8, day);
	put_pair(p + 11, of_day / 3600);
	put_pair(p + 14, of_day / 60 % 60);
	put_pair(p + 17, of_day % 60);
}

void
text_put_time(struct text *t, int64_t unix_ns)
{
	/* many times are told in a row, most of the same second */
	static _Thread_local char out[] = "1970-01-01T00:00:00.000000Z";
	static _Thread_local int64_t told; /* up to its second */
	int64_t seconds = unix_ns / NS_PER_S, rest = unix_ns % NS_PER_S;
	unsigned us;

	if (rest < 0) {
		rest += NS_PER_S;
		seconds--;
	}
	if (seconds != told) {
		put_second(out, seconds);
		told = seconds;
	}
	us = (unsigned)(rest / NS_PER_US);
	put_pair(out + 20, us / 10000);
	put_pair(out + 22, us / 100 % 100);
	put_pair(out + 24, us % 100);
	text_put_bytes(t, out, sizeof out - 1);
}

struct unit {
	const char *name;
	uint64_t size;
};

/* In the largest unit that holds it, with one decimal if below ten; never rounded up. */
static void
put_in_units(struct text *t, uint64_t v, const struct unit *units, size_t count)
{
	size_t i = 0;
	uint64_t whole, tenth;

	while (i + 1 < count && v >= units[i + 1].size)
		i++;
	whole = v / units[i].size;
	tenth = v % units[i].size * 10 / units[i].size;
	text_put_u64(t, whole);
	if (whole < 10 && tenth > 0) {
		text_put_char(t, '.');
		text_put_u64(t, tenth);
	}
	text_put_char(t, ' ');
	text_put(t, units[i].name);
}

void
text_put_size(struct text *t, uint64_t bytes)
{
	static const struct unit units[] = {
	    {"B", 1},
	    {"KiB", UINT64_C(1) << 10},
	    {"MiB", UINT64_C(1) << 20},
	    {"GiB", UINT64_C(1) << 30},
	    {"TiB", UINT64_C(1) << 40},
	    {"PiB", UINT64_C(1) << 50},
	    {"EiB", UINT64_C(1) << 60},
	};

	put_in_units(t, bytes, units, sizeof units / sizeof *units);
}

void
text_put_duration(struct text *t, uint64_t ns)
{
	static const struct unit units[] = {
	    {"ns", 1},
	    {"us", NS_PER_US},
	    {"ms", NS_PER_MS},
	    {"s", NS_PER_S},
	    {"min", UINT64_C(60) * NS_PER_S},
	    {"h", UINT64_C(3600) * NS_PER_S},
	    {"d", UINT64_C(86400) * NS_PER_S},
	};

	put_in_units(t, ns, units, sizeof units / sizeof *units);
}

/* --- growing text --- */

static void
buffer_reserve(struct buffer *b, size_t more)
{
	size_t cap = b->cap > 0 ? b->cap : 256;

	if (more > SIZE_MAX / 4 - b->len)
		abort();
	while (cap - b->len <= more)
		cap *= 2;
	if (cap == b->cap)
		return;
	b->p = realloc(b->p, cap);
	if (b->p == NULL)
		abort();
	b->cap = cap;
}

void
buffer_put(struct buffer *b, const void *p, size_t len)
{
	buffer_reserve(b, len);
	if (len > 0)
		memcpy(b->p + b->len, p, len);
	b->len += len;
	b->p[b->len] = '\0';
}

void
buffer_puts(struct buffer *b, const char *s)
{
	buffer_put(b, s, strlen(s));
}

void
buffer_putf(struct buffer *b, const char *fmt, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n >= 0) {
		buffer_reserve(b, (size_t)n);
		vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void
buffer_put_json(struct buffer *b, const void *s, size_t len)
{
	quote(put_in_buffer, b, s, len, len, &as_json);
}

static void
put_quantity(struct buffer *b, void (*put)(struct text *t, uint64_t v), uint64_t v)
{
	char word[64];
	struct text t;

	text_init(&t, word, sizeof word);
	put(&t, v);
	buffer_put(b, word, t.len);
}

void
buffer_put_size(struct buffer *b, uint64_t bytes)
{
	put_quantity(b, text_put_size, bytes);
}

void
buffer_put_duration(struct buffer *b, uint64_t ns)
{
	put_quantity(b, text_put_duration, ns);
}

char *
buffer_keep(struct buffer *b)
{
	char *s = strndup(b->p != NULL ? b->p : "", b->len);

	if (s == NULL)
		abort();
	b->len = 0;
	return s;
}

void
buffer_free(struct buffer *b)
{
	free(b->p);
	b->p = NULL;
	b->len = b->cap = 0;
}

/* --- did you mean --- */

#define WORD_MAX 255

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static unsigned
least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/*
 * Insertions, deletions, changes and swaps of neighbours, each letter edited at most
 * once (optimal string alignment); caseless. limit + 1 if it is more than limit.
 */
unsigned
text_distance(const char *a, const char *b, unsigned limit)
{
	unsigned row[3][WORD_MAX + 1];
	size_t la = strlen(a), lb = strlen(b);
	size_t apart = la > lb ? la - lb : lb - la;

	if (apart > limit || la > WORD_MAX || lb > WORD_MAX)
		return limit + 1;
	for (unsigned j = 0; j <= lb; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
		unsigned best = now[0] = (unsigned)i;

		for (size_t j = 1; j <= lb; j++) {
			char x = lower(a[i - 1]), y = lower(b[j - 1]);

			now[j] = least(last[j - 1] + (x != y), least(last[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]))
				now[j] = least(now[j], before[j - 2] + 1);
			best = least(best, now[j]);
		}
		/* a swap can still reach back one row, but never below this one's least */
		if (best > limit)
			return limit + 1;
	}
	return least(row[la % 3][lb], limit + 1);
}

const char *
text_nearest(const char *word, const char *const *candidates)
{
	const char *nearest = NULL;
	size_t len = strlen(word);
	unsigned best = 0;

	for (; *candidates != NULL; candidates++) {
		size_t other = strlen(*candidates);
		unsigned limit = (unsigned)((len > other ? len : other) / 3), d;

		if (nearest != NULL && best <= limit) {
			if (best == 0)
				break;
			limit = best - 1;
		}
		d = text_distance(word, *candidates, limit);
		if (d <= limit) {
			nearest = *candidates;
			best = d;
		}
	}
	return nearest;
}

int
text_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
text_parse_u64(const char *s, size_t len, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (len == 0 || (len > 1 && s[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned d = (unsigned)(unsigned char)s[i] - '0';

		if (d > 9 || v > UINT64_MAX / 10 || (v == UINT64_MAX / 10 && d > UINT64_MAX % 10))
			return false;
		v = v * 10 + d;
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}
