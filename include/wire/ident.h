/*
 * wire/ident.h - the identification protocol (RFC 1413), the asking side. Pure functions.
 *
 *   query:  client-port , our-port CR LF
 *   answer: client-port , our-port : USERID : system [, charset] : user CR LF
 *           client-port , our-port : ERROR : word CR LF
 *
 * Blanks and tabs may stand between the words (RFC 1413 section 4, note 1). What follows the last colon is the
 * user; the blanks that nearly every server sends before it are not taken as a part of it, those behind it are.
 */
#ifndef WIRE_IDENT_H
#define WIRE_IDENT_H

#include <stddef.h>
#include <stdint.h>

#define IDENT_PORT 113
#define IDENT_QUERY_MAX 16
#define IDENT_ANSWER_MAX 1000 /* section 6: no more is read */
#define IDENT_USER_MAX 255

enum ident_result {
	IDENT_MORE,   /* no whole line yet */
	IDENT_USER,   /* user: a name on that host */
	IDENT_OPAQUE, /* user: a token that only that host understands (OTHER), or no name that could be one of ours */
	IDENT_NOBODY, /* an ERROR: the host will not say, or knows of no such connection */
	IDENT_BAD,    /* no answer to our question */
};

struct ident_answer {
	enum ident_result result;
	uint8_t user_len;
	char user[IDENT_USER_MAX + 1]; /* USER: printable ASCII; OPAQUE: any bytes, cut at 255; NUL-terminated */
};

/* Returns the length; not terminated. */
size_t ident_query(char out[IDENT_QUERY_MAX], uint16_t client_port, uint16_t our_port);
/* buf: all that came so far, at most IDENT_ANSWER_MAX bytes. A line that is not whole at the end of the connection
 * or of that room is no answer; the caller knows. */
void ident_decode(const char *buf, size_t len, uint16_t client_port, uint16_t our_port, struct ident_answer *out);

#endif
