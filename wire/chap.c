/*
 * wire/chap.c - see wire/chap.h: the messages of SOCKS5's method 3.
 * Pure functions of bytes, run in the workers on bytes from anyone.
 */
#include "wire/chap.h"

#include <string.h>

#define HEAD 2 /* of the message, and of each attribute */

static enum decode
bad(enum socks_fault *fault, enum socks_fault why)
{
	*fault = why;
	return DECODE_BAD;
}

/* What an attribute's head says already: is it one that may stand here? */
static enum socks_fault
fault_of(const struct chap_message *m, uint8_t attribute, uint8_t len)
{
	bool again;

	switch (attribute) {
	case CHAP_ATTR_USER:
		again = m->user_len > 0;
		break;
	case CHAP_ATTR_RESPONSE:
		again = m->response_len > 0;
		break;
	case CHAP_ATTR_ALGORITHMS:
		again = m->has_algorithms;
		break;
	default:
		return FAULT_NONE;
	}
	if (again)
		return FAULT_METHODS;
	return len == 0 ? FAULT_LENGTH : FAULT_NONE;
}

static void
take(struct chap_message *m, uint8_t attribute, const uint8_t *value, uint8_t len)
{
	switch (attribute) {
	case CHAP_ATTR_USER:
		memcpy(m->user, value, len);
		m->user_len = len;
		break;
	case CHAP_ATTR_RESPONSE:
		memcpy(m->response, value, len);
		m->response_len = len;
		break;
	case CHAP_ATTR_ALGORITHMS:
		m->has_algorithms = true;
		m->hmac_md5 = memchr(value, CHAP_HMAC_MD5, len) != NULL;
		break;
	}
}

enum decode
chap_decode(const uint8_t *buf, size_t len, struct chap_message *out, enum socks_fault *fault,
	    size_t *used)
{
	size_t at = HEAD;

	memset(out, 0, sizeof *out);
	*fault = FAULT_NONE;
	*used = 0;
	if (len == 0)
		return DECODE_MORE;
	if (buf[0] != 1)
		return bad(fault, FAULT_VERSION);
	if (len < HEAD)
		return DECODE_MORE;
	if (buf[1] == 0)
		return bad(fault, FAULT_LENGTH);
	for (unsigned i = 0; i < buf[1]; i++) {
		enum socks_fault why;

		if (at + HEAD > CHAP_MAX)
			return bad(fault, FAULT_LONG);
		if (len < at + HEAD)
			return DECODE_MORE;
		why = fault_of(out, buf[at], buf[at + 1]);
		if (why == FAULT_NONE && at + HEAD + buf[at + 1] > CHAP_MAX)
			why = FAULT_LONG;
		if (why != FAULT_NONE)
			return bad(fault, why);
		if (len < at + HEAD + buf[at + 1])
			return DECODE_MORE;
		take(out, buf[at], buf + at + HEAD, buf[at + 1]);
		at += HEAD + buf[at + 1];
	}
	*used = at;
	return DECODE_OK;
}

size_t
chap_offer(uint8_t out[CHAP_OFFER_MAX], const uint8_t *challenge, uint8_t len)
{
	const uint8_t head[] = {1,  2, CHAP_ATTR_ALGORITHMS, 1, CHAP_HMAC_MD5, CHAP_ATTR_CHALLENGE,
				len};

	memcpy(out, head, sizeof head);
	memcpy(out + sizeof head, challenge, len);
	return sizeof head + len;
}

void
chap_verdict(uint8_t out[CHAP_VERDICT], uint8_t status)
{
	const uint8_t message[CHAP_VERDICT] = {1, 1, CHAP_ATTR_STATUS, 1, status};

	memcpy(out, message, sizeof message);
}
