/*
 * net/resolver.c - see net/resolver.h. The worker; never blocks (c-ares reads /etc/hosts, a local
 * file).
 */
#include "net/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/name.h"
#include "net/loop.h"
#include "net/order.h"

#define BUCKETS 4096
#define DELAY_MS 250 /* how long a good answer of one family waits for the other */

enum { FAMILY4, FAMILY6, FAMILIES };

struct lookup {
	struct lookup *next;          /* in its bucket */
	struct lookup *newer, *older; /* by last use */
	struct waiter *waiters;
	struct timer delay;
	uint32_t hash;
	uint8_t pending; /* queries out, a bit a family */
	bool told;       /* an answer was given: this is a cache entry */
	bool dropped;    /* out of the cache; freed when its last query ends */
	bool absent;     /* there is no such name, which one family knows for the other */
	bool failed;
	uint32_t ttl;
	int64_t expires_ms;
	size_t count[FAMILIES], ordered_count;
	struct addr found[FAMILIES][RESOLVER_ADDRESSES];
	struct addr ordered[RESOLVER_ADDRESSES];
	char name[NAME_MAX_LEN + 1];
};

struct dns_socket {
	struct watch watch;
	struct channel_state *channel;
	struct dns_socket *next;
};

/* A name with a dot is asked as it is; a single label may use the search list of the machine. */
enum { CHANNEL_FULL, CHANNEL_SEARCH, CHANNELS };

struct channel_state {
	ares_channel ares;
	struct timer timer;
	struct dns_socket *sockets;
};

struct query { /* what a c-ares callback is told */
	struct lookup *lookup;
	uint8_t family;
};

static struct {
	struct resolver_options options;
	struct channel_state *channels; /* CHANNELS of them; replaced as a whole */
	struct lookup *bucket[BUCKETS];
	struct lookup *newest, *oldest;
	size_t entries;
	uint32_t seed;
	bool renewing;
	struct resolver_counts counts;
	struct addr localhost[2];
} resolver;

/* ---- the loop's side of c-ares ------------------------------------------------ */

static void arm_timer(struct channel_state *c);

static void
timed_out(struct timer *t)
{
	struct channel_state *c =
	    (struct channel_state *)((char *)t - offsetof(struct channel_state, timer));

	ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm_timer(c);
}

static void
arm_timer(struct channel_state *c)
{
	struct timeval tv, *next = ares_timeout(c->ares, NULL, &tv);

	timer_stop(&c->timer);
	if (next != NULL)
		timer_set(&c->timer, loop_now() + next->tv_sec * 1000 + next->tv_usec / 1000 + 1,
			  timed_out);
}

static void
socket_ready(struct watch *w, uint32_t events)
{
	struct dns_socket *s = (struct dns_socket *)w;
	struct channel_state *c = s->channel;
	bool read = (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;

	ares_process_fd(c->ares, read ? w->fd : ARES_SOCKET_BAD,
			(events & EPOLLOUT) != 0 ? w->fd : ARES_SOCKET_BAD);
	arm_timer(c);
}

static void
socket_wanted(void *data, ares_socket_t fd, int readable, int writable)
{
	struct channel_state *c = data;
	struct dns_socket **at = &c->sockets, *s;
	uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);

	while (*at != NULL && (*at)->watch.fd != fd)
		at = &(*at)->next;
	s = *at;
	if (events == 0) {
		if (s == NULL)
			return;
		*at = s->next;
		watch_remove(&s->watch);
		loop_free_later(s);
		return;
	}
	if (s == NULL) {
		if ((s = calloc(1, sizeof *s)) == NULL)
			return;
		s->channel = c;
		s->next = c->sockets;
		c->sockets = s;
	} else
		watch_remove(&s->watch);
	if (watch_add(&s->watch, fd, events, socket_ready) == -1)
		s->watch.fd =
		    fd; /* c-ares finds out by its time-out; the entry goes when it closes */
}

static void
channels_free(struct channel_state *list)
{
	if (list == NULL)
		return;
	for (int i = 0; i < CHANNELS; i++) {
		if (list[i].ares != NULL)
			ares_destroy(list[i].ares);
		timer_stop(&list[i].timer);
	}
	loop_free_later(list);
}

static struct channel_state *
channels_new(const struct resolver_options *o)
{
	struct channel_state *list = calloc(CHANNELS, sizeof *list);

	if (list == NULL)
		return NULL;
	for (int i = 0; i < CHANNELS; i++) {
		struct ares_options options = {
		    .flags = i == CHANNEL_FULL ? ARES_FLAG_NOSEARCH : 0,
		    .timeout = (int)o->timeout_ms,
		    .tries = (int)o->tries,
		    .sock_state_cb = socket_wanted,
		    .sock_state_cb_data = &list[i],
		};

		if (ares_init_options(&list[i].ares, &options,
				      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
					  ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS ||
		    (o->servers[0] != '\0' &&
		     ares_set_servers_ports_csv(list[i].ares, o->servers) != ARES_SUCCESS)) {
			channels_free(list);
			return NULL;
		}
	}
	return list;
}

/* ---- the cache ---------------------------------------------------------------- */

static uint32_t
hash_name(const char *name)
{
	uint32_t h = resolver.seed;

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h ^ (h >> 15);
}

static struct lookup *
find(const char *name, uint32_t hash)
{
	struct lookup *l = resolver.bucket[hash % BUCKETS];

	while (l != NULL && (l->hash != hash || strcmp(l->name, name) != 0))
		l = l->next;
	return l;
}

static void
unlink_use(struct lookup *l)
{
	*(l->newer != NULL ? &l->newer->older : &resolver.newest) = l->older;
	*(l->older != NULL ? &l->older->newer : &resolver.oldest) = l->newer;
	l->newer = l->older = NULL;
}

static void
link_use(struct lookup *l)
{
	l->older = resolver.newest;
	l->newer = NULL;
	*(l->older != NULL ? &l->older->newer : &resolver.oldest) = l;
	resolver.newest = l;
}

/* c-ares still knows of it as long as queries are out. */
static void
drop(struct lookup *l)
{
	struct lookup **at = &resolver.bucket[l->hash % BUCKETS];

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	unlink_use(l);
	timer_stop(&l->delay);
	resolver.entries--;
	l->dropped = true;
	if (l->pending == 0)
		loop_free_later(l);
}

/* Only what nobody waits for may go. */
static void
make_room(void)
{
	struct lookup *l = resolver.oldest, *newer;

	for (; l != NULL && resolver.entries > resolver.options.cache_entries; l = newer) {
		newer = l->newer;
		if (l->told)
			drop(l);
	}
}

/* ---- answers ------------------------------------------------------------------ */

static void
order(struct lookup *l)
{
	struct addr all[FAMILIES * RESOLVER_ADDRESSES];
	size_t count = 0;

	for (int f = FAMILIES - 1; f >= 0; f--) { /* IPv6 first; the order decides */
		memcpy(all + count, l->found[f], l->count[f] * sizeof *all);
		count += l->count[f];
	}
	order_addresses(all, count);
	if (count > RESOLVER_ADDRESSES)
		count = RESOLVER_ADDRESSES;
	memcpy(l->ordered, all, count * sizeof *all);
	l->ordered_count = count;
}

static struct answer
answer_of(const struct lookup *l)
{
	struct answer a = {RESOLVED, l->ordered_count, l->ordered};

	if (l->ordered_count == 0)
		a.status = l->failed && !l->absent ? RESOLVE_FAILED : RESOLVE_NOT_FOUND;
	return a;
}

static int64_t
expiry(const struct lookup *l)
{
	uint32_t ttl =
	    l->ttl < resolver.options.cache_max_ttl ? l->ttl : resolver.options.cache_max_ttl;

	return l->ordered_count > 0 ? loop_now() + (int64_t)ttl * 1000 : 0;
}

/* It stays for as long as it is true and there is room. */
static void
keep(struct lookup *l)
{
	if (l->expires_ms <= loop_now())
		drop(l);
	else
		make_room();
}

static void
tell(struct lookup *l)
{
	struct waiter *w;
	struct answer a;

	timer_stop(&l->delay);
	order(l);
	l->told = true;
	l->expires_ms = expiry(l);
	a = answer_of(l);
	if (a.status == RESOLVE_FAILED)
		resolver.counts.failed++;
	while ((w = l->waiters) != NULL) {
		l->waiters = w->next;
		w->lookup = NULL;
		w->answered(w, &a); /* may ask again; l stays, it is freed later at the earliest */
	}
	keep(l);
}

/* The slower family came after the answer was given: better late. */
static void
complete(struct lookup *l)
{
	order(l);
	if (expiry(l) < l->expires_ms)
		l->expires_ms = expiry(l);
	keep(l);
}

static void
delay_over(struct timer *t)
{
	tell((struct lookup *)((char *)t - offsetof(struct lookup, delay)));
}

static void
take_addresses(struct lookup *l, uint8_t family, const struct ares_addrinfo *info)
{
	const struct ares_addrinfo_cname *c;
	const struct ares_addrinfo_node *n;

	for (n = info->nodes; n != NULL && l->count[family] < RESOLVER_ADDRESSES; n = n->ai_next) {
		struct addr *a = &l->found[family][l->count[family]];

		if (n->ai_family == AF_INET && family == FAMILY4)
			*a = addr_from_bytes4(
			    (const uint8_t *)&((const struct sockaddr_in *)(void *)n->ai_addr)
				->sin_addr);
		else if (n->ai_family == AF_INET6 && family == FAMILY6)
			*a = addr_from_bytes16(
			    (const uint8_t *)&((const struct sockaddr_in6 *)(void *)n->ai_addr)
				->sin6_addr);
		else
			continue;
		l->count[family]++;
		if (n->ai_ttl >= 0 && (uint32_t)n->ai_ttl < l->ttl)
			l->ttl = (uint32_t)n->ai_ttl;
	}
	for (c = info->cnames; c != NULL; c = c->next)
		if (c->ttl >= 0 && (uint32_t)c->ttl < l->ttl)
			l->ttl = (uint32_t)c->ttl;
}

static void
came(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct query *q = arg;
	struct lookup *l = q->lookup;
	uint8_t family = q->family;

	(void)timeouts;
	free(q);
	l->pending &= (uint8_t) ~(1 << family);
	if (status == ARES_EDESTRUCTION && resolver.renewing && !l->dropped)
		return; /* asked again by resolver_renew */
	if (status == ARES_SUCCESS) {
		take_addresses(l, family, info);
		ares_freeaddrinfo(info);
	} else if (status == ARES_ENOTFOUND || status == ARES_EBADNAME)
		l->absent = true; /* also of a name that the DNS cannot hold */
	else if (status != ARES_ENODATA)
		l->failed = true;
	if (l->dropped) {
		if (l->pending == 0)
			loop_free_later(l);
	} else if (l->pending == 0) {
		if (l->told)
			complete(l);
		else
			tell(l);
	} else if (!l->told && l->count[family] > 0)
		timer_set(&l->delay, loop_now() + DELAY_MS, delay_over);
}

static void
ask_family(struct lookup *l, uint8_t family)
{
	struct ares_addrinfo_hints hints = {
	    .ai_flags = ARES_AI_NOSORT,
	    .ai_family = family == FAMILY4 ? AF_INET : AF_INET6,
	    .ai_socktype = SOCK_STREAM,
	};
	bool dotted = strchr(l->name, '.') != NULL;
	struct channel_state *c = &resolver.channels[dotted ? CHANNEL_FULL : CHANNEL_SEARCH];
	struct query *q = malloc(sizeof *q);

	if (q == NULL) {
		l->failed = true;
		l->pending &= (uint8_t) ~(1 << family);
		return;
	}
	*q = (struct query){l, family};
	resolver.counts.queries++;
	ares_getaddrinfo(c->ares, l->name, NULL, &hints, came, q);
	arm_timer(c);
}

static void
ask_both(struct lookup *l)
{
	l->pending = 1 << FAMILY4 | 1 << FAMILY6;
	l->ttl = UINT32_MAX;
	l->absent = l->failed = false;
	l->count[FAMILY4] = l->count[FAMILY6] = 0;
	/* Both bits are set before the first is asked: an answer at once must not look like the
	 * last. */
	ask_family(l, FAMILY6);
	ask_family(l, FAMILY4);
}

/* RFC 6761 section 6.3: these lead to this machine and nowhere else, and no DNS server is asked. */
static bool
is_localhost(const char *name)
{
	size_t len = strlen(name), own = sizeof "localhost" - 1;

	if (len < own || strcmp(name + len - own, "localhost") != 0)
		return false;
	return len == own || name[len - own - 1] == '.';
}

enum resolver_status
resolver_ask(const char *name, struct waiter *w, struct answer *now)
{
	uint32_t hash = hash_name(name);
	struct lookup *l = find(name, hash);

	w->lookup = NULL;
	/* c-ares would take it for an escape and ask for another name than the one that was judged.
	 */
	if (strchr(name, '\\') != NULL) {
		*now = (struct answer){RESOLVE_NOT_FOUND, 0, NULL};
		return RESOLVE_NOT_FOUND;
	}
	if (is_localhost(name)) {
		resolver.localhost[0] = addr_loopback6;
		resolver.localhost[1] = addr_loopback4;
		order_addresses(resolver.localhost, 2);
		*now = (struct answer){RESOLVED, 2, resolver.localhost};
		return RESOLVED;
	}
	if (l != NULL && l->told && l->expires_ms <= loop_now()) {
		drop(l);
		l = NULL;
	}
	if (l != NULL && l->told) {
		resolver.counts.cached++;
		unlink_use(l);
		link_use(l);
		*now = answer_of(l);
		return now->status;
	}
	if (l == NULL) {
		if ((l = calloc(1, sizeof *l)) == NULL) {
			*now = (struct answer){RESOLVE_FAILED, 0, NULL};
			return RESOLVE_FAILED;
		}
		l->hash = hash;
		memcpy(l->name, name, strlen(name) + 1);
		l->next = resolver.bucket[hash % BUCKETS];
		resolver.bucket[hash % BUCKETS] = l;
		link_use(l);
		resolver.entries++;
		ask_both(l);
		if (l->pending == 0 && !l->told)
			tell(l);
		if (l->told) { /* from /etc/hosts; if it may not be kept it is freed after this
				  round */
			*now = answer_of(l);
			return now->status;
		}
	}
	w->lookup = l;
	w->next = l->waiters;
	l->waiters = w;
	return RESOLVE_PENDING;
}

void
resolver_forget(struct waiter *w)
{
	struct waiter **at;

	if (w->lookup == NULL)
		return;
	for (at = &w->lookup->waiters; *at != w; at = &(*at)->next)
		;
	*at = w->next;
	w->lookup = NULL;
}

/* ---- opening, renewing, closing ------------------------------------------------- */

bool
resolver_open(const struct resolver_options *o)
{
	memset(&resolver, 0, sizeof resolver);
	resolver.options = *o;
	resolver.seed = (uint32_t)loop_now_ns() | 1;
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return false;
	resolver.channels = channels_new(o);
	return resolver.channels != NULL;
}

bool
resolver_renew(const struct resolver_options *o)
{
	struct channel_state *fresh = channels_new(o), *old = resolver.channels;
	struct lookup *l, *older;

	if (fresh == NULL)
		return false;
	resolver.options = *o;
	resolver.channels = fresh;
	resolver.renewing = true;
	channels_free(old);
	resolver.renewing = false;
	for (l = resolver.newest; l != NULL; l = older) {
		older = l->older;
		if (l->told)
			drop(l);
	}
	for (l = resolver.newest; l != NULL; l = older) {
		older = l->older;
		timer_stop(&l->delay);
		ask_both(l);
	}
	return true;
}

void
resolver_close(void)
{
	resolver.renewing = true; /* nobody is told any more */
	channels_free(resolver.channels);
	resolver.channels = NULL;
	while (resolver.newest != NULL)
		drop(resolver.newest);
	ares_library_cleanup();
}

const struct resolver_counts *
resolver_counts(void)
{
	return &resolver.counts;
}
