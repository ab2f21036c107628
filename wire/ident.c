/*
 * wire/ident.c - see wire/ident.h: the words of RFC 1413.
 * Pure functions of bytes, run in the workers on what a client's host says.
 */
#include "wire/ident.h"

#include <stdbool.h>
#include <string.h>

#define USER_ON_THE_WIRE 512 /* section 4: <user-id> is 1 to 512 octets */

struct reader {
	const char *at, *end;
};

static void
skip_blanks(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
		r->at++;
}

static bool
take_char(struct reader *r, char c)
{
	skip_blanks(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool
take_port(struct reader *r, uint16_t expected)
{
	uint32_t n = 0;
	unsigned digits = 0;

	skip_blanks(r);
	for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++, digits++)
		n = digits < 5 ? n * 10 + (uint32_t)(*r->at - '0') : UINT32_MAX;
	return digits > 0 && n == expected;
}

/* A word: printable, without colons, commas and blanks. */
static size_t
take_word(struct reader *r, const char **word)
{
	skip_blanks(r);
	*word = r->at;
	while (r->at<r->end && * r->at> ' ' && *r->at < 0x7f && *r->at != ':' && *r->at != ',')
		r->at++;
	return (size_t)(r->at - *word);
}

static bool
same(const char *word, size_t len, const char *as)
{
	return len == strlen(as) && memcmp(word, as, len) == 0;
}

static bool
printable(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~')
			return false;
	return true;
}

static enum ident_result
take_user(struct reader *r, bool other, struct ident_answer *out)
{
	size_t len;

	skip_blanks(r);
	len = (size_t)(r->end - r->at);
	if (len == 0 || len > USER_ON_THE_WIRE || memchr(r->at, 0, len) != NULL ||
	    memchr(r->at, '\r', len) != NULL)
		return IDENT_BAD;
	if (len > IDENT_USER_MAX || !printable(r->at, len))
		other = true;
	out->user_len = (uint8_t)(len < IDENT_USER_MAX ? len : IDENT_USER_MAX);
	memcpy(out->user, r->at, out->user_len);
	return other ? IDENT_OPAQUE : IDENT_USER;
}

static enum ident_result
decode_line(struct reader *r, uint16_t client_port, uint16_t our_port, struct ident_answer *out)
{
	const char *word, *system;
	size_t len, system_len;

	if (!take_port(r, client_port) || !take_char(r, ',') || !take_port(r, our_port) ||
	    !take_char(r, ':'))
		return IDENT_BAD;
	len = take_word(r, &word);
	if (!take_char(r, ':'))
		return IDENT_BAD;
	system_len = take_word(r, &system);
	if (system_len == 0)
		return IDENT_BAD;
	if (same(word, len, "ERROR")) {
		skip_blanks(r);
		return r->at == r->end ? IDENT_NOBODY : IDENT_BAD;
	}
	if (!same(word, len, "USERID"))
		return IDENT_BAD;
	if (take_char(r, ',') && take_word(r, &word) == 0)
		return IDENT_BAD;
	if (!take_char(r, ':'))
		return IDENT_BAD;
	return take_user(r, same(system, system_len, "OTHER"), out);
}

void
ident_decode(const char *buf, size_t len, uint16_t client_port, uint16_t our_port,
	     struct ident_answer *out)
{
	const char *end = len > 0 ? memchr(buf, '\n', len) : NULL;
	struct reader r = {buf, end};

	memset(out, 0, sizeof *out);
	out->result = IDENT_MORE;
	if (end == NULL)
		return;
	if (end > buf && end[-1] == '\r')
		r.end--;
	out->result = decode_line(&r, client_port, our_port, out);
	if (out->result != IDENT_USER && out->result != IDENT_OPAQUE) {
		out->user_len = 0;
		memset(out->user, 0, sizeof out->user);
	}
}

static size_t
put_number(char *out, uint16_t n)
{
	char digits[5];
	size_t len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	for (size_t i = 0; i < len; i++)
		out[i] = digits[len - 1 - i];
	return len;
}

size_t
ident_query(char out[IDENT_QUERY_MAX], uint16_t client_port, uint16_t our_port)
{
	size_t len = put_number(out, client_port);

	memcpy(out + len, " , ", 3);
	len += 3;
	len += put_number(out + len, our_port);
	memcpy(out + len, "\r\n", 2);
	return len + 2;
}
