/*
 * net/protect.h - what GSSAPI protects between the client and us: the per-message tokens of Kerberos (RFC 4121) in
 * the frames of RFC 1961, for a stream and for datagrams. The worker; never blocks, opens nothing.
 *
 * A stream is strict: each token is the next one of its sender, or the stream is broken. Datagrams may be lost and
 * overtake each other; none is taken twice, nor one that is very late. No memory but the keys is held while nothing
 * is on its way.
 */
#ifndef NET_PROTECT_H
#define NET_PROTECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/gss.h"

struct protect;

/* made: struct gss_context, of any alignment. NULL: it is none, or no memory. */
struct protect *protect_new(const void *made, size_t len);
void protect_free(struct protect *p); /* NULL is fine */

/* More bytes than the payload has: frame, token, cipher. */
#define PROTECT_MORE 128
/* Payload of the frames that we make of a stream. */
#define PROTECT_PIECE 32768
#define PROTECT_FRAME (PROTECT_PIECE + PROTECT_MORE)

/*
 * The level message (RFC 1961 section 4). The octet within the token that comes, or -1: it is no such token. `plain`:
 * the octet came as it is, without a token, as the reference implementation of NEC has it.
 */
int protect_read_level(struct protect *p, const uint8_t *token, size_t len, bool *plain);
/* Our answer as a whole frame, in the same way; returns its length. From now on this level holds. 0: it cannot be made. */
size_t protect_grant(struct protect *p, enum gss_level level, bool plain, uint8_t out[PROTECT_MORE + 1]);
/* A frame of DATA around len bytes (at most GSS_TOKEN_MOST - PROTECT_MORE); out has room for len + PROTECT_MORE. 0: it
 * cannot be made. */
size_t protect_frame(struct protect *p, const uint8_t *bytes, size_t len, uint8_t *out);

/* What was read of the client already, behind the level message. False: no memory. */
bool protect_feed(struct protect *p, const uint8_t *bytes, size_t len);
/*
 * As recv(2) of the payload. EBADMSG: a frame that is none, was changed, replayed, left out, cut by the end, or is of
 * a lower level than agreed.
 */
ssize_t protect_receive(struct protect *p, int fd, uint8_t *to, size_t room);
/* There is payload in memory, or a whole frame: protect_receive needs no socket for it. */
bool protect_waiting(const struct protect *p);

/*
 * A datagram that is one frame: its payload is put in place of it. False: it is none, comes again, or is too late.
 */
bool protect_open_datagram(struct protect *p, uint8_t *frame, size_t len, uint8_t **payload, size_t *payload_len);

#endif
