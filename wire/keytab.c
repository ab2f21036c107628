/*
 * wire/keytab.c - see wire/keytab.h. Pure; the file is the administrator's, and is read with
 * rights, so it is trusted no more than bytes from outside.
 */
#include "wire/keytab.h"

#include <string.h>

struct reader {
	const uint8_t *at;
	size_t left;
	bool good;
};

static uint32_t
take(struct reader *r, size_t bytes)
{
	uint32_t n = 0;

	if (!r->good || r->left < bytes) {
		r->good = false;
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | r->at[i];
	r->at += bytes;
	r->left -= bytes;
	return n;
}

static struct keytab_part
take_part(struct reader *r)
{
	struct keytab_part p = {NULL, (uint16_t)take(r, 2)};

	if (!r->good || r->left < p.len) {
		r->good = false;
		return (struct keytab_part){NULL, 0};
	}
	p.at = r->at;
	r->at += p.len;
	r->left -= p.len;
	return p;
}

static bool
take_entry(struct reader *r, struct keytab_entry *e)
{
	uint32_t longer;

	memset(e, 0, sizeof *e);
	e->component_count = (uint16_t)take(r, 2);
	if (e->component_count == 0 || e->component_count > KEYTAB_COMPONENTS)
		return false;
	e->realm = take_part(r);
	for (unsigned i = 0; i < e->component_count; i++)
		e->components[i] = take_part(r);
	e->name_type = take(r, 4);
	e->time = take(r, 4);
	e->version = take(r, 1);
	e->cipher = (uint16_t)take(r, 2);
	e->key = take_part(r);
	if (r->good && r->left >= 4 && (longer = take(r, 4)) != 0)
		e->version = longer;
	return r->good && e->key.len > 0;
}

enum keytab_got
keytab_next(const void *bytes, size_t len, size_t *at, struct keytab_entry *out)
{
	const uint8_t *b = bytes;

	if (*at == 0) {
		if (len < 2 || b[0] != 5 || b[1] != 2)
			return KEYTAB_BAD;
		*at = 2;
	}
	while (len - *at >= 4) {
		struct reader head = {b + *at, 4, true};
		uint32_t raw = take(&head, 4), size = raw > INT32_MAX ? 0u - raw : raw;
		struct reader body = {b + *at + 4, size, true};

		if (raw == 0) /* the rest was never written */
			return KEYTAB_END;
		if (size > len - *at - 4)
			return KEYTAB_BAD;
		*at += 4 + (size_t)size;
		if (raw > INT32_MAX)
			continue;
		return take_entry(&body, out) ? KEYTAB_ENTRY : KEYTAB_BAD;
	}
	return *at == len ? KEYTAB_END : KEYTAB_BAD;
}

const char *
keytab_fault(const void *bytes, size_t len, const char *service)
{
	size_t at = 0, wanted = strlen(service);
	struct keytab_entry e;
	enum keytab_got got;
	bool found = false;

	while ((got = keytab_next(bytes, len, &at, &e)) == KEYTAB_ENTRY)
		found |= e.component_count == 2 && e.components[0].len == wanted &&
			 memcmp(e.components[0].at, service, wanted) == 0;
	if (got == KEYTAB_BAD)
		return "it is not a keytab, or a damaged one";
	return found ? NULL : "it has no key of the service (auth.gssapi.service)";
}
