/*
 * wire/socks5.c - see wire/socks.h: SOCKS5 greeting, request and replies (RFC 1928).
 * Pure functions of bytes, run in the workers on bytes from anyone.
 *
 *   greeting: VER 5, NMETHODS, METHODS                     reply: VER, METHOD
 *   request:  VER 5, CMD, RSV 0, ATYP, DST.ADDR, DST.PORT  reply: VER, REP, RSV, ATYP, BND...
 */
#include "wire/socks.h"

#include <string.h>

#include "wire/request.h"

enum { ATYP_IP4 = 1, ATYP_NAME = 3, ATYP_IP6 = 4 };

#define HEAD 4 /* VER, CMD, RSV, ATYP */

bool
socks5_offers(const struct socks5_methods *m, uint8_t method)
{
	return m->set[method / 64] >> method % 64 & 1;
}

enum decode
socks5_greeting_decode(const uint8_t *buf, size_t len, struct socks5_methods *out,
		       enum socks_fault *fault, size_t *used)
{
	size_t whole;

	memset(out, 0, sizeof *out);
	*fault = FAULT_NONE;
	*used = 0;
	if (len == 0)
		return DECODE_MORE;
	if (buf[0] != 5) {
		*fault = FAULT_VERSION;
		return DECODE_BAD;
	}
	if (len < 2)
		return DECODE_MORE;
	whole = 2 + (size_t)buf[1];
	if (whole == 2) {
		*used = whole;
		*fault = FAULT_METHODS;
		return DECODE_BAD;
	}
	if (len < whole)
		return DECODE_MORE;
	for (size_t i = 2; i < whole; i++)
		out->set[buf[i] / 64] |= UINT64_C(1) << buf[i] % 64;
	*used = whole;
	return DECODE_OK;
}

void
socks5_method_reply(uint8_t out[SOCKS5_METHOD_REPLY], uint8_t method)
{
	out[0] = 5;
	out[1] = method;
}

/* --- the request --- */

static void
take_ip4(struct socks_request *out, const uint8_t *p, size_t len)
{
	(void)len;
	out->kind = NAME_ADDRESS;
	out->addr = addr_from_bytes4(p);
}

static void
take_ip6(struct socks_request *out, const uint8_t *p, size_t len)
{
	(void)len;
	out->kind = NAME_ADDRESS;
	out->addr = addr_from_bytes16(p);
}

static const struct form {
	uint8_t atyp, size; /* size 0: the first byte tells */
	void (*take)(struct socks_request *out, const uint8_t *p, size_t len);
} forms[] = {
    {ATYP_IP4, 4, take_ip4},
    {ATYP_NAME, 0, request_take_name},
    {ATYP_IP6, 16, take_ip6},
};

static const struct form *
form_of(uint8_t atyp)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		if (forms[i].atyp == atyp)
			return &forms[i];
	return NULL;
}

/* What is wrong with a request that is there as a whole. */
static enum socks_fault
fault_of(const struct socks_request *r, uint8_t rsv)
{
	if (rsv != 0)
		return FAULT_RSV;
	if (r->command < SOCKS_CONNECT || r->command > SOCKS_UDP)
		return FAULT_COMMAND;
	/* The address of UDP ASSOCIATE means nothing, and PySocks sends the name "0". */
	return r->kind == NAME_BAD && r->command != SOCKS_UDP ? FAULT_NAME : FAULT_NONE;
}

enum decode
socks5_request_decode(const uint8_t *buf, size_t len, struct socks_request *out, size_t *used)
{
	const struct form *form;
	size_t from = HEAD, size;

	memset(out, 0, sizeof *out);
	*used = 0;
	out->version = 5;
	if (len == 0)
		return DECODE_MORE;
	if (buf[0] != 5) {
		out->fault = FAULT_VERSION;
		return DECODE_BAD;
	}
	if (len < HEAD)
		return DECODE_MORE;
	out->command = buf[1];
	form = form_of(buf[3]);
	if (form == NULL) {
		/* where it ends nobody knows, so this one does not wait */
		out->fault = buf[2] != 0 ? FAULT_RSV : FAULT_ATYP;
		return DECODE_BAD;
	}
	size = form->size;
	if (size == 0) {
		if (len < HEAD + 1)
			return DECODE_MORE;
		size = buf[from++];
	}
	if (len < from + size + 2)
		return DECODE_MORE;
	form->take(out, buf + from, size);
	out->port = (uint16_t)(buf[from + size] << 8 | buf[from + size + 1]);
	*used = from + size + 2;
	out->fault = fault_of(out, buf[2]);
	return out->fault == FAULT_NONE ? DECODE_OK : DECODE_BAD;
}

size_t
socks5_reply(uint8_t out[SOCKS5_REPLY_MAX], uint8_t code, const struct endpoint *at)
{
	static const struct endpoint nowhere = {
	    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}}, 0};
	const struct endpoint *bound = at != NULL ? at : &nowhere;
	size_t size = addr_is4(&bound->addr) ? 4 : 16;

	out[0] = 5;
	out[1] = code;
	out[2] = 0;
	out[3] = size == 4 ? ATYP_IP4 : ATYP_IP6;
	memcpy(out + HEAD, bound->addr.b + 16 - size, size);
	out[HEAD + size] = (uint8_t)(bound->port >> 8);
	out[HEAD + size + 1] = (uint8_t)bound->port;
	return HEAD + size + 2;
}

uint8_t
socks5_fault_reply(enum socks_fault f)
{
	switch (f) {
	case FAULT_COMMAND:
		return 7;
	case FAULT_ATYP:
		return 8;
	default:
		return 1;
	}
}
