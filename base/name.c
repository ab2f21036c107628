/*
 * base/name.c - see base/name.h. Any process; pure, never blocks or allocates.
 *
 * What gets through here as NAME_HOST reaches rules, resolver and records; a
 * name that some resolver would take for an address must not.
 */
#include "base/name.h"

#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Decimal, octal or 0x: what inet_aton(3) and its kin read as part of an address. */
static bool
is_number(const char *s, size_t len)
{
	size_t i = 0;

	if (len >= 2 && s[0] == '0' && s[1] == 'x') {
		for (i = 2; i < len; i++)
			if (!is_digit(s[i]) && (s[i] < 'a' || s[i] > 'f'))
				return false;
		return true;
	}
	while (i < len && is_digit(s[i]))
		i++;
	return i == len;
}

/* Lower case into out; false if a byte is no visible ASCII. */
static bool
copy_lower(const unsigned char *in, size_t len, char *out)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = in[i];

		if (c < 0x21 || c > 0x7e)
			return false;
		out[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
	}
	return true;
}

static bool
labels_good(const char *s, size_t len)
{
	const char *last;

	/* some resolvers read a zone or brackets: [::1], ::1%lo */
	if (memchr(s, ':', len) != NULL)
		return false;
	if (len == 0 || s[0] == '.' || s[len - 1] == '.' || memmem(s, len, "..", 2) != NULL)
		return false;
	last = memrchr(s, '.', len);
	last = last == NULL ? s : last + 1;
	return !is_number(last, (size_t)(s + len - last));
}

enum name_kind
name_canonical(const void *in, size_t len, char out[NAME_MAX_LEN + 1], size_t *out_len,
	       struct addr *addr)
{
	out[0] = '\0';
	*out_len = 0;
	if (len == 0 || len > NAME_MAX_LEN || !copy_lower(in, len, out)) {
		out[0] = '\0';
		return NAME_BAD;
	}
	if (out[len - 1] == '.')
		len--;
	out[len] = '\0';
	*out_len = len;
	if (addr_parse(out, len, addr))
		return NAME_ADDRESS;
	if (labels_good(out, len))
		return NAME_HOST;
	out[0] = '\0';
	*out_len = 0;
	return NAME_BAD;
}

bool
name_is_identifier(const char *s, size_t len)
{
	if (len == 0 || len > 64 || !is_alpha(s[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alpha(s[i]) && !is_digit(s[i]) && s[i] != '-' && s[i] != '_')
			return false;
	return true;
}
