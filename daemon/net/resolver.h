/*
 * net/resolver.h - names to addresses: c-ares in the worker's loop and a bounded cache.
 *
 * A and AAAA are asked at once. An answer is complete when both have come, or a quarter of a second after
 * the first good one (a broken server for one family delays nobody; RFC 8305 section 3). Equal names
 * that are asked at the same time share one lookup. Positive answers are kept for their TTL (the smallest
 * of the chain, at most cache_max_ttl); negative ones are not kept.
 */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define RESOLVER_ADDRESSES 32

enum resolver_status {
	RESOLVED,
	RESOLVE_NOT_FOUND, /* no such name, or it has no address */
	RESOLVE_FAILED,	   /* no server answered, or not usefully */
	RESOLVE_PENDING,
};

struct resolver_options {
	char servers[512]; /* "127.0.0.1:53,[::1]:53"; "": the system's (/etc/resolv.conf) */
	uint32_t timeout_ms, tries, cache_entries, cache_max_ttl;
};

struct answer {
	enum resolver_status status;
	size_t count;
	const struct addr *list; /* in the order to try; valid until the next call into the resolver */
};

struct lookup;
struct waiter { /* lives in its owner */
	struct waiter *next;
	struct lookup *lookup; /* NULL: not waiting */
	void (*answered)(struct waiter *w, const struct answer *a);
};

/* False: c-ares could not be set up. */
bool resolver_open(const struct resolver_options *o);
/* New options: what is being looked up is asked again, the cache is emptied. */
bool resolver_renew(const struct resolver_options *o);
void resolver_close(void);
/*
 * name: canonical, NUL-terminated. RESOLVE_PENDING: `answered` will be called once, from the loop;
 * otherwise *now is the answer and the waiter is not used.
 */
enum resolver_status resolver_ask(const char *name, struct waiter *w, struct answer *now);
void resolver_forget(struct waiter *w); /* the owner is gone; also when it never waited */

struct resolver_counts { uint64_t queries, cached, failed; };
const struct resolver_counts *resolver_counts(void);

#endif
