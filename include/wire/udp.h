/*
 * wire/udp.h - the header of a UDP datagram between client and server (RFC 1928 section 7):
 * RSV 0 0, FRAG, ATYP, address, port, then the data to the datagram's end.
 *
 * Pure functions of bytes. A datagram is whole or it is bad; there is nothing to wait for.
 */
#ifndef WIRE_UDP_H
#define WIRE_UDP_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/name.h"

/* Why a header is bad; such a datagram is dropped and nobody is told. */
enum udp_fault {
	UDP_FINE,
	UDP_SHORT, /* it ends within the header */
	UDP_RSV,   /* nonzero RSV */
	UDP_FRAG,  /* a fragment: implementing them is optional, dropping them is not */
	UDP_ATYP,  /* an unknown kind of address */
	UDP_NAME,  /* empty, not printable ASCII, or an all-numeric last label */
};

struct udp_header {
	size_t len; /* of the header; the data begins there */
	enum name_kind kind; /* NAME_ADDRESS: addr (in binary or as text); NAME_HOST: name, canonical */
	uint16_t port;
	struct addr addr;
	const uint8_t *sent; /* the name's bytes in the datagram, NULL: an address in binary */
	uint8_t sent_len, name_len;
	char name[NAME_MAX_LEN + 1];
};

/* *out is good only after UDP_FINE. When several apply: SHORT (of the first 4 bytes), RSV, FRAG, ATYP, SHORT, NAME. */
enum udp_fault udp_decode(const uint8_t *buf, size_t len, struct udp_header *out);

#define UDP_HEADER_MOST 22 /* of those that we write; a client's may have 262 bytes */
/* The header of a datagram that came from `from`; returns its length, 10 or 22. */
size_t udp_encode(uint8_t out[UDP_HEADER_MOST], const struct endpoint *from);

#endif
