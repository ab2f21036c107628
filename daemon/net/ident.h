/*
 * net/ident.h - asking a client's host who holds a connection (RFC 1413), without blocking.
 *
 * One connection an inquiry, from the address that the client connected to. Hosts that refuse or do not answer are
 * not asked again for a short time, so that a network without ident servers costs one wait a host, not one a
 * session.
 */
#ifndef NET_IDENT_H
#define NET_IDENT_H

#include <stdint.h>

#include "base/addr.h"
#include "wire/ident.h"

#define IDENT_REFUSED_MS 10000 /* how long a host is left alone */

struct inquiry; /* one malloc of its own; gone once it has answered or was forgotten */

/* NULL: no usable answer came. Called once, from the loop. */
typedef void ident_answered(void *owner, const struct ident_answer *answer);

/* client, ours: both ends of the connection asked about. NULL: there will be no answer, known at once. */
struct inquiry *ident_ask(const struct endpoint *client, const struct endpoint *ours, uint32_t timeout_ms,
			  ident_answered *answered, void *owner);
void ident_forget(struct inquiry *q); /* the owner is gone; NULL: nothing */

#endif
