/*
 * net/dial.h - reaching one of several addresses: RFC 8305 staggered attempts (happy eyeballs).
 *
 * The first that connects wins; the others are closed. Nothing is allocated; a dial lives in its owner.
 */
#ifndef NET_DIAL_H
#define NET_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "net/loop.h"

#define DIAL_ADDRESSES 32
#define DIAL_AT_ONCE 4
#define DIAL_STAGGER_MS 250 /* RFC 8305 section 5 */
#define DIAL_CROWDED_MS 3000 /* all attempts hang: how long until the oldest makes room */

struct dial;

struct dial_attempt {
	struct watch own, *watch; /* watch: &own, or the owner's for the first */
	struct dial *dial;
	uint8_t which; /* index in to; the oldest is the lowest */
};

struct dial {
	struct addr to[DIAL_ADDRESSES]; /* in the order to try */
	uint8_t count, next;
	uint16_t port;
	const struct addr *from4, *from6; /* egress addresses, NULL: the kernel's choice */
	struct dial_attempt attempts[DIAL_AT_ONCE];
	struct timer stagger;
	struct turn tell;
	int error;     /* the most telling errno so far */
	uint8_t winner; /* index in to, when connected */
	/*
	 * Where the connected descriptor is to be at the end, registered with WATCH_TCP. The first attempt
	 * uses it from the start, with `ready` of the owner, who passes its events to dial_first_ready.
	 */
	struct watch *target;
	void (*target_ready)(struct watch *w, uint32_t events);
	/* Called once, never from within dial_start: d->target->fd is connected, or -1 with d->error
	 * (ECONNREFUSED, EHOSTUNREACH, ..., EMFILE: no descriptor). events: what epoll said last. */
	void (*done)(struct dial *d, uint32_t events);
};

void dial_start(struct dial *d);
void dial_first_ready(struct dial *d, uint32_t events);
/* Closes every attempt and forgets them. May be called at any time, also twice. */
void dial_stop(struct dial *d);

#endif
