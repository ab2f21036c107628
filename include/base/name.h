/*
 * base/name.h - host names and object names.
 */
#ifndef BASE_NAME_H
#define BASE_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define NAME_MAX_LEN 255

enum name_kind {
	NAME_BAD,     /* empty, too long, a byte outside 0x21-0x7e, an empty label, a lone
		       * dot, a last label that is a number (127.1, 0x7f000001), or a colon
		       * in what is no address (::1%lo, [::1]) */
	NAME_HOST,    /* out: lower case, trailing dot dropped, NUL-terminated */
	NAME_ADDRESS, /* strict IPv4 or IPv6 text (trailing dot dropped): *addr */
};

/*
 * What a client sent as a name, made canonical (PROTOCOL.md "Common", POLICY.md
 * semantics 7). in: len bytes, not NUL-terminated. out is written for NAME_HOST
 * (and for NAME_ADDRESS holds the text), *out_len its length.
 */
enum name_kind name_canonical(const void *in, size_t len, char out[NAME_MAX_LEN + 1],
			      size_t *out_len, struct addr *addr);

/* [A-Za-z][-A-Za-z0-9_]*, at most 64: names of objects, rules and listeners. */
bool name_is_identifier(const char *s, size_t len);

#endif
