/*
 * wire/udp.c - see wire/udp.h: the header of relayed datagrams (RFC 1928 section 7).
 * Pure, run in the workers on bytes from anyone.
 */
#include "wire/udp.h"

#include <string.h>

enum { ATYP_IPV4 = 1, ATYP_NAME = 3, ATYP_IPV6 = 4 };

#define FIXED 4 /* RSV RSV FRAG ATYP */

static enum udp_fault
take_name(const uint8_t *name, size_t len, struct udp_header *out)
{
	size_t canonical = 0;

	out->sent = name;
	out->sent_len = (uint8_t)len;
	out->kind = name_canonical(name, len, out->name, &canonical, &out->addr);
	out->name_len = (uint8_t)canonical;
	return out->kind == NAME_BAD ? UDP_NAME : UDP_FINE;
}

enum udp_fault
udp_decode(const uint8_t *buf, size_t len, struct udp_header *out)
{
	const uint8_t *at = buf + FIXED;
	size_t left, need;

	if (len < FIXED)
		return UDP_SHORT;
	if (buf[0] != 0 || buf[1] != 0)
		return UDP_RSV;
	if (buf[2] != 0)
		return UDP_FRAG;
	left = len - FIXED;
	switch (buf[3]) {
	case ATYP_IPV4:
		need = 4;
		break;
	case ATYP_IPV6:
		need = 16;
		break;
	case ATYP_NAME:
		if (left < 1)
			return UDP_SHORT;
		need = *at++;
		left--;
		break;
	default:
		return UDP_ATYP;
	}
	if (left < need + 2)
		return UDP_SHORT;
	out->len = (size_t)(at - buf) + need + 2;
	out->port = (uint16_t)(at[need] << 8 | at[need + 1]);
	out->sent = NULL;
	out->sent_len = out->name_len = 0;
	if (buf[3] == ATYP_NAME)
		return take_name(at, need, out);
	out->kind = NAME_ADDRESS;
	out->addr = buf[3] == ATYP_IPV4 ? addr_from_bytes4(at) : addr_from_bytes16(at);
	return UDP_FINE;
}

size_t
udp_encode(uint8_t out[UDP_HEADER_MOST], const struct endpoint *from)
{
	bool is4 = addr_is4(&from->addr);
	size_t len = is4 ? 4 : 16;

	out[0] = out[1] = out[2] = 0;
	out[3] = is4 ? ATYP_IPV4 : ATYP_IPV6;
	memcpy(out + FIXED, from->addr.b + 16 - len, len);
	out[FIXED + len] = (uint8_t)(from->port >> 8);
	out[FIXED + len + 1] = (uint8_t)from->port;
	return FIXED + len + 2;
}
