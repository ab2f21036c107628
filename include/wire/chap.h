/*
 * wire/chap.h - SOCKS5 method 3: draft-ietf-aft-socks-chap-01, with its one algorithm HMAC-MD5.
 *
 * A message is VER 1, NAVAS, then NAVAS times ATTRIBUTE, LENGTH, VALUE.
 *
 *   client: ALGORITHMS [, USER-IDENTITY]       server: ALGORITHMS (the chosen one), CHALLENGE
 *   client: RESPONSE [, USER-IDENTITY]         server: STATUS 0, or another and the end
 *
 * Attributes that are not asked for (text, charset, a challenge to us) are passed over. Decoding as in
 * wire/socks.h: a whole message or nothing, any chopping gives the same result. Pure functions.
 */
#ifndef WIRE_CHAP_H
#define WIRE_CHAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/socks.h"

enum { CHAP_ATTR_STATUS = 0, CHAP_ATTR_TEXT = 1, CHAP_ATTR_USER = 2, CHAP_ATTR_CHALLENGE = 3, CHAP_ATTR_RESPONSE = 4, CHAP_ATTR_CHARSET = 5,
       CHAP_ATTR_IDENTIFIER = 0x10, CHAP_ATTR_ALGORITHMS = 0x11 };
#define CHAP_HMAC_MD5 0x85 /* algorithm; 5 is the MD5 of PPP, which we do not speak */
#define CHAP_RESPONSE_LEN 16
#define CHAP_MAX 768 /* bytes of a client's message */

/* Counted bytes; a length of 0: the attribute was not there. */
struct chap_message {
	bool has_algorithms;
	bool hmac_md5; /* it is among the algorithms */
	uint8_t user_len, response_len;
	uint8_t user[255], response[255];
};
/* Faults: VERSION; LENGTH (no attribute at all, or an empty one of those above); LONG; METHODS (one of those above twice). */
enum decode chap_decode(const uint8_t *buf, size_t len, struct chap_message *out, enum socks_fault *fault, size_t *used);
/* The server's first message; returns its length. */
#define CHAP_CHALLENGE_MAX 255
#define CHAP_OFFER_MAX (7 + CHAP_CHALLENGE_MAX)
size_t chap_offer(uint8_t out[CHAP_OFFER_MAX], const uint8_t *challenge, uint8_t len);
#define CHAP_VERDICT 5
void chap_verdict(uint8_t out[CHAP_VERDICT], uint8_t status);

#endif
