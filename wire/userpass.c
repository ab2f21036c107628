/*
 * wire/userpass.c - see wire/socks.h: the username/password sub-negotiation (RFC 1929).
 * Pure functions of bytes, run in the workers. Names and passwords are counted
 * bytes and may hold NUL; the caller wipes struct userpass after use.
 *
 *   request: VER 1, ULEN, UNAME, PLEN, PASSWD    reply: VER 1, STATUS
 */
#include "wire/socks.h"

#include <string.h>

static enum decode
bad(enum socks_fault *fault, enum socks_fault why)
{
	*fault = why;
	return DECODE_BAD;
}

/* *out is written only when the whole message is there, so no half a password lies about. */
enum decode
userpass_decode(const uint8_t *buf, size_t len, struct userpass *out, enum socks_fault *fault,
		size_t *used)
{
	size_t user_len, pass_at, pass_len;

	*fault = FAULT_NONE;
	*used = 0;
	out->user_len = out->pass_len = 0;
	if (len == 0)
		return DECODE_MORE;
	if (buf[0] != 1)
		return bad(fault, FAULT_VERSION);
	if (len < 2)
		return DECODE_MORE;
	user_len = buf[1];
	if (user_len == 0)
		return bad(fault, FAULT_LENGTH);
	pass_at = 2 + user_len + 1;
	if (len < pass_at)
		return DECODE_MORE;
	pass_len = buf[pass_at - 1];
	if (pass_len == 0)
		return bad(fault, FAULT_LENGTH);
	if (len < pass_at + pass_len)
		return DECODE_MORE;
	out->user_len = (uint8_t)user_len;
	out->pass_len = (uint8_t)pass_len;
	memcpy(out->user, buf + 2, user_len);
	memcpy(out->pass, buf + pass_at, pass_len);
	*used = pass_at + pass_len;
	return DECODE_OK;
}

void
userpass_reply(uint8_t out[USERPASS_REPLY], uint8_t status)
{
	out[0] = 1;
	out[1] = status;
}
