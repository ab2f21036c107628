/*
 * base/addr.h - IP addresses, prefixes and endpoints.
 *
 * An address is always 16 bytes in network order; IPv4 is held as its
 * IPv4-mapped form (::ffff:a.b.c.d).  So a mapped address *is* the IPv4 one by
 * construction and cannot walk around a rule (POLICY.md, semantics 7).
 * Pure values: nothing here allocates, and no function here is a system call.
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr {
	uint8_t b[16];
};

struct endpoint {
	struct addr addr;
	uint16_t port; /* host order */
};

struct prefix {
	struct addr addr;
	uint8_t len; /* 0-128 over the 16 bytes; an IPv4 /24 is stored as 120 */
};

#define ADDR_TEXT 46		       /* longest text of an address, with NUL */
#define ENDPOINT_TEXT (ADDR_TEXT + 8)  /* "[...]:65535" with NUL */
#define PREFIX_TEXT (ADDR_TEXT + 4)

extern const struct addr addr_any4, addr_any6, addr_loopback4, addr_loopback6;

bool addr_is4(const struct addr *a);	/* inside ::ffff:0:0/96 */
uint32_t addr_v4(const struct addr *a); /* host order; only if addr_is4 */
struct addr addr_from_v4(uint32_t host_order);
struct addr addr_from_bytes4(const uint8_t b[4]);
struct addr addr_from_bytes16(const uint8_t b[16]);
int addr_compare(const struct addr *a, const struct addr *b); /* <0 0 >0, numeric */
bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_is_unspecified(const struct addr *a); /* 0.0.0.0 or :: */
bool addr_is_loopback(const struct addr *a);	/* 127.0.0.0/8 or ::1 */

/*
 * Strict text: dotted quad without leading zeros, or RFC 4291 IPv6 (no zone,
 * no brackets).  The text need not be NUL-terminated and must be used whole.
 */
bool addr_parse(const char *text, size_t len, struct addr *out);
/* RFC 5952 form; returns the length written, always NUL-terminated. */
size_t addr_format(const struct addr *a, char buf[ADDR_TEXT]);

/* "1.2.3.4:80", "[::1]:80"; port 0-65535 required, no sign, no leading zeros. */
bool endpoint_parse(const char *text, size_t len, struct endpoint *out);
size_t endpoint_format(const struct endpoint *e, char buf[ENDPOINT_TEXT]);

/*
 * The IPv4 address inside a translation address: NAT64 64:ff9b::/96, 6to4
 * 2002::/16, Teredo 2001::/32 (client address, un-obfuscated).  False if none.
 */
bool addr_embedded(const struct addr *a, struct addr *inner);

enum prefix_error {
	PREFIX_OK,
	PREFIX_BAD_ADDRESS,   /* not an address in strict notation */
	PREFIX_BAD_LENGTH,    /* length missing, not decimal or too large */
	PREFIX_HOST_BITS,     /* bits set behind the length; *out is the masked prefix */
	PREFIX_OCTAL,	      /* a number with a leading zero */
	PREFIX_NETMASK,	      /* 10.0.0.0/255.0.0.0 */
	PREFIX_RANGE,	      /* 10.0.0.1-10.0.0.9 */
	PREFIX_MAPPED,	      /* ::ffff:... written as IPv6 */
};
/* "10.0.0.0/8", "2001:db8::/32", or a lone address (a /32 or /128). */
enum prefix_error prefix_parse(const char *text, size_t len, struct prefix *out);
size_t prefix_format(const struct prefix *p, char buf[PREFIX_TEXT]);
/*
 * A prefix shorter than 96 is an IPv6 one and holds no IPv4 address, although the
 * mapped block lies among its numbers: ::/0 is all of IPv6, not everything.
 */
bool prefix_contains(const struct prefix *p, const struct addr *a);
struct addr prefix_first(const struct prefix *p);
struct addr prefix_last(const struct prefix *p);
/* The same as inclusive ranges, in order: 2 if the IPv4 block had to be cut out, else 1. */
unsigned prefix_ranges(const struct prefix *p, struct addr first[2], struct addr last[2]);
/* The address with all bits behind len (0-128) cleared. */
struct addr addr_mask(const struct addr *a, unsigned len);

#endif
