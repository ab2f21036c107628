/*
 * wire/gss.c - see wire/gss.h: the frames of SOCKS5's method 1 (RFC 1961). Pure functions of bytes,
 * run in the workers on bytes from anyone.
 */
#include "wire/gss.h"

#include <string.h>

static enum decode
bad(enum socks_fault *fault, enum socks_fault why)
{
	*fault = why;
	return DECODE_BAD;
}

static enum decode
more(size_t *need, size_t in_all)
{
	*need = in_all;
	return DECODE_MORE;
}

enum decode
gss_decode(const uint8_t *buf, size_t len, enum gss_type expected, struct gss_frame *out,
	   enum socks_fault *fault, size_t *need)
{
	memset(out, 0, sizeof *out);
	*fault = FAULT_NONE;
	*need = 0;
	if (len == 0)
		return more(need, GSS_ABORT);
	if (buf[0] != 1)
		return bad(fault, FAULT_VERSION);
	if (len < GSS_ABORT)
		return more(need, GSS_ABORT);
	if (buf[1] == GSS_FRAME_ABORT) {
		out->type = GSS_FRAME_ABORT;
		*need = GSS_ABORT;
		return DECODE_OK;
	}
	if (buf[1] != expected)
		return bad(fault, FAULT_COMMAND);
	if (len < GSS_HEAD)
		return more(need, GSS_HEAD);
	out->len = (uint16_t)(buf[2] << 8 | buf[3]);
	if (out->len == 0)
		return bad(fault, FAULT_LENGTH);
	if (len < GSS_HEAD + (size_t)out->len) {
		*need = GSS_HEAD + (size_t)out->len;
		out->len = 0;
		return DECODE_MORE;
	}
	out->type = buf[1];
	out->token = buf + GSS_HEAD;
	*need = GSS_HEAD + (size_t)out->len;
	return DECODE_OK;
}

void
gss_head(uint8_t out[GSS_HEAD], enum gss_type type, uint16_t len)
{
	out[0] = 1;
	out[1] = (uint8_t)type;
	out[2] = (uint8_t)(len >> 8);
	out[3] = (uint8_t)len;
}

void
gss_abort(uint8_t out[GSS_ABORT])
{
	out[0] = 1;
	out[1] = GSS_FRAME_ABORT;
}
