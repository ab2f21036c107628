/*
 * base/secret.c - see base/secret.h. Pure.
 */
#include "base/secret.h"

#include <string.h>

bool
secret_set(struct secret *s, const void *bytes, size_t len)
{
	secret_wipe(s);
	if (len > SECRET_MAX)
		return false;
	if (len > 0)
		memcpy(s->hidden, bytes, len);
	s->hidden_len = len;
	return true;
}

void
secret_move(struct secret *to, struct secret *from)
{
	if (to == from)
		return;
	memcpy(to, from, sizeof *to);
	secret_wipe(from);
}

void
secret_wipe(struct secret *s)
{
	explicit_bzero(s, sizeof *s);
}

size_t
secret_length(const struct secret *s)
{
	return s->hidden_len;
}

bool
secret_has_nul(const struct secret *s)
{
	return memchr(s->hidden, 0, s->hidden_len) != NULL;
}

const char *
secret_reveal(const struct secret *s)
{
	return (const char *)s->hidden;
}

void
secret_wipe_bytes(void *p, size_t len)
{
	explicit_bzero(p, len);
}

bool
secret_same(const void *a, const void *b, size_t len)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char differ = 0;

	for (size_t i = 0; i < len; i++)
		differ = (unsigned char)(differ | (x[i] ^ y[i]));
	return differ == 0;
}
