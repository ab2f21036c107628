/*
 * wire/socks.h - what SOCKS 4, 4a and 5 requests and replies share; byte formats of
 * SOCKS4/4A (Ying-Da Lee's notes) and SOCKS5 (RFC 1928, RFC 1929).
 *
 * Pure functions. A decoder is given all bytes that came so far and takes a whole message or
 * nothing: DECODE_MORE (call again with more bytes, same start), DECODE_OK (*used bytes were
 * this message; more may follow) or DECODE_BAD. So any chopping gives the same result.
 */
#ifndef WIRE_SOCKS_H
#define WIRE_SOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/name.h"

enum decode { DECODE_MORE, DECODE_OK, DECODE_BAD };

enum { SOCKS_CONNECT = 1, SOCKS_BIND = 2, SOCKS_UDP = 3 };
enum { METHOD_NONE = 0, METHOD_GSSAPI = 1, METHOD_USERPASS = 2, METHOD_CHAP = 3, METHOD_UNACCEPTABLE = 0xff };

/* Why a message is bad, each with one reply; the word goes into no record, the ending is `malformed`. */
enum socks_fault {
	FAULT_NONE,
	FAULT_VERSION,	 /* another version byte: after a greeting only SOCKS5 may follow */
	FAULT_METHODS,	 /* NMETHODS 0 */
	FAULT_LONG,	 /* USERID or 4a name longer than 255 */
	FAULT_RSV,	 /* nonzero RSV: reply 01 */
	FAULT_COMMAND,	 /* unknown CMD: reply 07 / 91 */
	FAULT_ATYP,	 /* unknown ATYP: reply 08 */
	FAULT_NAME,	 /* empty, not printable ASCII, or an all-numeric last label */
	FAULT_LENGTH,	 /* a length field that cannot be (userpass 0) */
};

struct socks_request {
	uint8_t version; /* 4, 5 */
	bool is_4a;
	uint8_t command;  /* as sent; known ones: SOCKS_* */
	enum socks_fault fault;
	uint16_t port;
	/* kind NAME_ADDRESS: addr (a literal, in binary or as text); NAME_HOST: name, canonical */
	enum name_kind kind;
	struct addr addr;
	char name[NAME_MAX_LEN + 1];
	uint8_t name_len;
	char sent[NAME_MAX_LEN + 1]; /* the name as the client sent it (recorded); may hold any byte but is NUL-terminated */
	uint8_t sent_len;
	char userid[256]; /* SOCKS4, NUL-terminated */
	uint8_t userid_len;
};

/* The longest request whose end we wait for: 4a with 255-byte userid and name. */
#define SOCKS4_MAX (8 + 256 + 256)
#define SOCKS5_REQUEST_MAX (4 + 1 + 255 + 2)
#define SOCKS5_GREETING_MAX (2 + 255)
#define USERPASS_MAX (3 + 255 + 255)

/*
 * buf[0] is 4. DECODE_BAD: fault says why and as much of *out as was readable is filled
 * (version always). A bad 4a name or command is reported only when the whole request is there
 * (DECODE_BAD with *used set), an overlong field as soon as it is certain.
 */
enum decode socks4_decode(const uint8_t *buf, size_t len, struct socks_request *out, size_t *used);
/* code: 90-93. at NULL or IPv6: port and address 0 as PROTOCOL.md says (port still told if at given). */
#define SOCKS4_REPLY 8
void socks4_reply(uint8_t out[SOCKS4_REPLY], uint8_t code, const struct endpoint *at);

/* Greeting VER NMETHODS METHODS: methods as a 256-bit set. */
struct socks5_methods { uint64_t set[4]; };
bool socks5_offers(const struct socks5_methods *m, uint8_t method);
enum decode socks5_greeting_decode(const uint8_t *buf, size_t len, struct socks5_methods *out,
				   enum socks_fault *fault, size_t *used);
#define SOCKS5_METHOD_REPLY 2
void socks5_method_reply(uint8_t out[SOCKS5_METHOD_REPLY], uint8_t method);

/* VER CMD RSV ATYP ...: faults RSV, COMMAND and NAME are found on the whole request, ATYP at byte 4,
 * VERSION at byte 1. Precedence when several apply: VERSION, RSV, ATYP, COMMAND, NAME. A bad name of UDP ASSOCIATE is
 * none: kind NAME_BAD, and only the port is of use. */
enum decode socks5_request_decode(const uint8_t *buf, size_t len, struct socks_request *out, size_t *used);
/* at NULL: 0.0.0.0:0. Returns bytes written (10 or 22). */
#define SOCKS5_REPLY_MAX 22
size_t socks5_reply(uint8_t out[SOCKS5_REPLY_MAX], uint8_t code, const struct endpoint *at);

/* RFC 1929. Counted strings: a password may hold NUL. */
struct userpass { uint8_t user_len, pass_len; uint8_t user[255], pass[255]; };
enum decode userpass_decode(const uint8_t *buf, size_t len, struct userpass *out, enum socks_fault *fault, size_t *used);
#define USERPASS_REPLY 2
void userpass_reply(uint8_t out[USERPASS_REPLY], uint8_t status);

/* The reply code (SOCKS5) that a fault is answered with; SOCKS4 is always 91. */
uint8_t socks5_fault_reply(enum socks_fault f);

#endif
