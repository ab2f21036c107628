/*
 * walk/endings.h - why a session ended: one table of cause, SOCKS4 code, SOCKS5 code and the word
 * that log, metric and manual share (PROTOCOL.md "Endings").
 */
#ifndef WALK_ENDINGS_H
#define WALK_ENDINGS_H

#include <stdint.h>

enum ending {
	END_NONE, /* not over */
	END_CLIENT_CLOSED, END_TARGET_CLOSED, END_CLIENT_RESET, END_TARGET_RESET,
	END_REFUSED, END_UNREACHABLE, END_NETWORK_UNREACHABLE, END_CONNECT_TIMEOUT, END_HOST_TIMEOUT, END_NAME_NOT_FOUND, END_DNS_FAILED,
	END_DENIED, END_AUTH_FAILED, END_AUTH_UNAVAILABLE, END_IDENT_UNREACHABLE, END_IDENT_MISMATCH,
	END_MALFORMED, END_COMMAND, END_ATYP, END_NO_METHOD, END_NOT_SOCKS, END_HANDSHAKE_TIMEOUT,
	END_IDLE, END_LIFETIME, END_LIMIT, END_BIND_TIMEOUT, END_BIND_MISMATCH,
	END_REVOKED, END_KILLED, END_SHUTDOWN, END_WORKER_CRASH, END_INTERNAL, END_COUNT
};
/* Several causes may share a word where only the reply differs: NETWORK_UNREACHABLE is `unreachable` with
 * reply 03, COMMAND and ATYP are `malformed` with 07 and 08, NO_METHOD is `denied` with FF,
 * HOST_TIMEOUT (the kernel gave up before our deadline) is `connect-timeout` with reply 04. */

struct ending_row {
	const char *word;
	uint8_t socks4, socks5; /* codes, when the client can still be told */
	uint8_t event;		/* enum books_event before the relay: EVENT_DENY or EVENT_FAIL */
};
extern const struct ending_row endings[END_COUNT];

#endif
