/*
 * wire/keytab.h - the file in which a Kerberos service keeps its keys (version 0x0502 of MIT's format), as far as is
 * needed to copy what stands in it. Pure functions of bytes.
 *
 * 05 02, then records: a length of 4 bytes (negative: so many bytes are a hole), number of components, realm,
 * components, type of name, time, version of the key, its cipher and the key.
 */
#ifndef WIRE_KEYTAB_H
#define WIRE_KEYTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYTAB_COMPONENTS 16
#define KEYTAB_FILE_MAX (1u << 20)

struct keytab_part { const void *at; uint16_t len; };
struct keytab_entry { /* into the bytes */
	struct keytab_part realm, components[KEYTAB_COMPONENTS], key;
	uint16_t component_count, cipher;
	uint32_t name_type, time, version;
};
enum keytab_got { KEYTAB_ENTRY, KEYTAB_END, KEYTAB_BAD };
/* *at: 0 at first. */
enum keytab_got keytab_next(const void *bytes, size_t len, size_t *at, struct keytab_entry *out);
/* What is wrong with it, in words; NULL: it has a key for a principal whose first part is service. */
const char *keytab_fault(const void *bytes, size_t len, const char *service);

#endif
