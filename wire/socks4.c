/*
 * wire/socks4.c - see wire/socks.h: SOCKS4 and 4A requests and replies (the notes
 * by Ying-Da Lee). Pure functions of bytes, run in the workers on bytes from anyone.
 *
 *   request: VN 4, CD, DSTPORT 2, DSTIP 4, USERID, NUL [4a: name, NUL]
 *   reply:   VN 0, CD, DSTPORT 2, DSTIP 4
 */
#include "wire/socks.h"

#include <string.h>

#include "wire/request.h"

#define FIXED 8 /* bytes before USERID */
#define FIELD_MAX 255

/*
 * A field that NUL ends, at buf[from]: where the NUL is in *end. DECODE_BAD as
 * soon as it is certain that more than 255 bytes come before the NUL.
 */
static enum decode
find_end(const uint8_t *buf, size_t len, size_t from, size_t *end)
{
	size_t there = len - from;
	size_t look = there < FIELD_MAX + 1 ? there : FIELD_MAX + 1;
	const uint8_t *nul = memchr(buf + from, 0, look);

	if (nul != NULL) {
		*end = (size_t)(nul - buf);
		return DECODE_OK;
	}
	return look > FIELD_MAX ? DECODE_BAD : DECODE_MORE;
}

/* DSTIP 0.0.0.x with x not 0 says that a name follows. */
static bool
says_name(const uint8_t ip[4])
{
	return ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] != 0;
}

static enum decode
bad(struct socks_request *out, enum socks_fault fault)
{
	out->fault = fault;
	return DECODE_BAD;
}

enum decode
socks4_decode(const uint8_t *buf, size_t len, struct socks_request *out, size_t *used)
{
	enum decode found;
	size_t end, name;

	memset(out, 0, sizeof *out);
	*used = 0;
	out->version = 4;
	if (len == 0)
		return DECODE_MORE;
	if (buf[0] != 4)
		return bad(out, FAULT_VERSION);
	if (len < FIXED)
		return DECODE_MORE;
	out->command = buf[1];
	out->port = (uint16_t)(buf[2] << 8 | buf[3]);
	out->is_4a = says_name(buf + 4);
	if (!out->is_4a) {
		out->kind = NAME_ADDRESS;
		out->addr = addr_from_bytes4(buf + 4);
	}

	found = find_end(buf, len, FIXED, &end);
	if (found != DECODE_OK)
		return found == DECODE_BAD ? bad(out, FAULT_LONG) : DECODE_MORE;
	out->userid_len = (uint8_t)(end - FIXED);
	memcpy(out->userid, buf + FIXED, out->userid_len);

	if (out->is_4a) {
		name = end + 1;
		found = find_end(buf, len, name, &end);
		if (found != DECODE_OK)
			return found == DECODE_BAD ? bad(out, FAULT_LONG) : DECODE_MORE;
		request_take_name(out, buf + name, end - name);
	}
	*used = end + 1;
	if (out->command != SOCKS_CONNECT && out->command != SOCKS_BIND)
		return bad(out, FAULT_COMMAND);
	if (out->kind == NAME_BAD)
		return bad(out, FAULT_NAME);
	return DECODE_OK;
}

void
socks4_reply(uint8_t out[SOCKS4_REPLY], uint8_t code, const struct endpoint *at)
{
	memset(out, 0, SOCKS4_REPLY);
	out[1] = code;
	if (at == NULL)
		return;
	out[2] = (uint8_t)(at->port >> 8);
	out[3] = (uint8_t)at->port;
	if (addr_is4(&at->addr))
		memcpy(out + 4, at->addr.b + 12, 4);
}
