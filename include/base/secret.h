/*
 * base/secret.h - passwords and other secrets: counted bytes in a type that no format can
 * print, wiped after use, compared in constant time.
 *
 * A secret is never copied by assignment (secret_move leaves nothing behind) and never logged;
 * the one way to its bytes is secret_reveal, so an audit greps for that word. Values, no
 * allocation; what the kernel holds of a message in flight is out of our reach.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#define SECRET_MAX 255 /* RFC 1929: PLEN is one byte */

struct secret {
	size_t hidden_len;
	unsigned char hidden[SECRET_MAX + 1]; /* NUL behind the last byte */
};

/* Takes a copy; the caller wipes its own. False, and the secret empty: longer than SECRET_MAX. */
bool secret_set(struct secret *s, const void *bytes, size_t len);
void secret_move(struct secret *to, struct secret *from); /* from is wiped */
void secret_wipe(struct secret *s);
size_t secret_length(const struct secret *s);
/* It holds a NUL: what takes C strings would see only a part of it. */
bool secret_has_nul(const struct secret *s);
/* The bytes, NUL-terminated; the caller makes no copy that it does not wipe. */
const char *secret_reveal(const struct secret *s);

/* For buffers that held one: wiped, whatever the compiler thinks of it. */
void secret_wipe_bytes(void *p, size_t len);
/* Takes as long whether and wherever they differ. */
bool secret_same(const void *a, const void *b, size_t len);

#endif
