/*
 * daemon/worker.c - the worker's process, see daemon/worker.h: takes what the parent tells, keeps
 * what all sessions share, and turns the loop. Unprivileged; never blocks; opens no file but those
 * of its libraries (resolv.conf, hosts).
 */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "channel.h"
#include "compile.h"
#include "net/conn.h"
#include "net/pace.h"
#include "sweep.h"
#include "walk/session.h"

#define OWN_DESCRIPTORS 160 /* listeners, epoll, DNS, the relay's pipes */
#define LOCALS_EVERY_MS 10000
#define LAST_WORD_MS 5000 /* the ledger has so long to write what is left */
#define LAST_LOOK_MS 10
#define FAIR_SHARE 8 /* more than an eighth above the least loaded: the other first ... */
#define FAIR_SLACK 1 /* ... but not for so few, */
#define FAIR_SLACK_THICK 16 /* or where clients come thick: each step back costs calls */

struct image {
	void *at;
	size_t len;
};

static struct {
	unsigned index;
	struct channel channel;
	struct watch watch;
	struct channel authenticator; /* fd -1: there is none */
	struct watch authenticator_watch;
	struct listener listeners[SETTINGS_LISTENERS];
	unsigned listener_count;
	struct endpoint endpoints[SETTINGS_LISTENERS + 1];
	struct addr *locals;
	size_t local_count;
	bool wildcard;
	struct timer locals_timer, drain_timer, beat_timer;
	int64_t beat_due_ms;
	struct image settings, policy;
	bool resolver, started, draining, leaving, over, orphan;
	int status;
} worker;

/* ---- images ------------------------------------------------------------------------ */

static bool
map(int fd, struct image *out)
{
	out->at = image_map(fd, &out->len);
	return out->at != NULL;
}

static void
unmap(struct image *i)
{
	if (i->at != NULL)
		munmap(i->at, i->len);
	i->at = NULL;
}

/* ---- what counts as ourselves (builtin:self) ------------------------------------------ */

static int
by_address(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static void
read_locals(void)
{
	struct ifaddrs *list, *i;
	struct addr *locals;
	size_t count = 0;

	if (getifaddrs(&list) == -1) {
		log_warning("cannot read the addresses of this machine: %s", strerror(errno));
		return;
	}
	for (i = list; i != NULL; i = i->ifa_next)
		count++;
	locals = calloc(count + 1, sizeof *locals);
	count = 0;
	for (i = list; i != NULL && locals != NULL; i = i->ifa_next) {
		struct endpoint e;
		struct sockaddr_storage ss = {0};

		if (i->ifa_addr == NULL)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			memcpy(&ss, i->ifa_addr, sizeof(struct sockaddr_in));
		else if (i->ifa_addr->sa_family == AF_INET6)
			memcpy(&ss, i->ifa_addr, sizeof(struct sockaddr_in6));
		else
			continue;
		if (conn_endpoint(&ss, &e))
			locals[count++] = e.addr;
	}
	freeifaddrs(list);
	if (locals == NULL)
		return;
	qsort(locals, count, sizeof *locals, by_address);
	free(worker.locals);
	worker.locals = locals;
	worker.local_count = count;
	walk.self.locals = locals;
	walk.self.local_count = count;
}

static void
locals_again(struct timer *t)
{
	read_locals();
	timer_set(t, loop_now() + LOCALS_EVERY_MS, locals_again);
}

static void
know_ourselves(void)
{
	size_t n = 0;
	bool wildcard = false;

	for (unsigned i = 0; i < worker.listener_count; i++)
		worker.endpoints[n++] = worker.listeners[i].at;
	if (walk.settings->metrics.enabled)
		worker.endpoints[n++] = walk.settings->metrics.at;
	for (size_t i = 0; i < n; i++)
		wildcard |= addr_is_unspecified(&worker.endpoints[i].addr);
	walk.self.endpoints = worker.endpoints;
	walk.self.endpoint_count = n;
	/* Only a wildcard listener makes the machine's addresses matter; they may change. */
	if (wildcard && !timer_armed(&worker.locals_timer))
		locals_again(&worker.locals_timer);
}

/* ---- for the metrics page, and for the parent, who ends a worker that beats no more ------------ */

#define BEAT_MS 1000

/* How late a timer comes is how long the loop was at something else. */
static void
beat(struct timer *t)
{
	const struct resolver_counts *dns = resolver_counts();
	int64_t late_ms = loop_now() - worker.beat_due_ms;

	meter_observe(books_meters(walk.books), TIME_LAG, late_ms > 0 ? (uint64_t)late_ms * 1000 : 0);
	atomic_store_explicit(books_counter(walk.books, COUNT_DNS_QUERIES), dns->queries,
			      memory_order_relaxed);
	atomic_store_explicit(books_counter(walk.books, COUNT_DNS_CACHED), dns->cached,
			      memory_order_relaxed);
	atomic_store_explicit(books_counter(walk.books, COUNT_DNS_FAILED), dns->failed,
			      memory_order_relaxed);
	atomic_store_explicit(books_counter(walk.books, COUNT_ASKED), ask_waiting(),
			      memory_order_relaxed);
	atomic_fetch_add_explicit(tally_beats(walk.tally, worker.index), 1, memory_order_relaxed);
	worker.beat_due_ms = loop_now() + BEAT_MS;
	timer_set(t, worker.beat_due_ms, beat);
}

/* ---- the end ---------------------------------------------------------------------------- */

static void
drain_over(struct timer *t)
{
	(void)t;
	session_stop_all(END_SHUTDOWN);
}

static void
drain(uint32_t within_ms)
{
	for (unsigned i = 0; i < worker.listener_count; i++)
		listen_close(&worker.listeners[i]);
	worker.draining = walk.draining = true;
	session_close_doors();
	if (within_ms == 0)
		drain_over(NULL);
	else
		timer_set(&worker.drain_timer, loop_now() + within_ms, drain_over);
}

/* Others take the clients from here on; ours stay as long as they like, or as they may. */
static void
leave(uint32_t within_ms)
{
	worker.leaving = true;
	tally_present(walk.tally, worker.index, false);
	for (unsigned i = 0; i < worker.listener_count; i++)
		listen_leave(&worker.listeners[i]);
	if (within_ms != 0)
		timer_set(&worker.drain_timer, loop_now() + within_ms, drain_over);
}

static void
give_up(const char *why)
{
	log_error("%s", why);
	worker.status = 1;
	worker.over = true;
}

/* ---- messages ----------------------------------------------------------------------------- */

static void
tell(enum ipc_type type, const void *body, size_t len)
{
	if (!channel_send(&worker.channel, type, body, len, NULL, 0))
		log_warning("cannot answer the parent: %s", strerror(errno));
}

static void
on_books(const struct message *m)
{
	if (walk.books != NULL || (walk.books = books_map(m->fds[0], dup(m->fds[1]))) == NULL)
		give_up("cannot map the books");
}

static void
on_quotas(const struct message *m)
{
	if (walk.quotas != NULL || (walk.quotas = quota_map(m->fds[0])) == NULL)
		give_up("cannot map the quotas");
}

static void
on_tally(const struct message *m)
{
	if (walk.tally != NULL || (walk.tally = tally_map(m->fds[0])) == NULL)
		give_up("cannot map the tally");
}

/* This worker has clearly more sessions than another. */
static bool
is_ahead(void)
{
	uint32_t least = tally_least(walk.tally, worker.index);
	unsigned slack = loop_is_thick() ? FAIR_SLACK_THICK : FAIR_SLACK;

	return least != UINT32_MAX &&
	       walk.session_count > (uint64_t)least + least / FAIR_SHARE + slack;
}

/*
 * An idle worker that stands first in the kernel's list would get every client that comes slowly.
 * One that is ahead goes to the end of that list.
 */
static void
arrived(struct listener *l, int fd, const struct endpoint *client)
{
	session_begin(l, fd, client);
	if (is_ahead())
		listen_yield(l);
}

/* Of clients that come all at once the worker that wakes first would get most: it waits for the others. */
static void
arrive(struct listener *l)
{
	(void)l;
	if (is_ahead())
		loop_nap();
}

static void
refused(struct listener *l)
{
	_Atomic uint64_t *c = books_counter(walk.books, COUNT_REFUSED_FILES);

	meter_add(&books_meters(walk.books)->refused[l->number % METER_LISTENERS][REFUSED_DESCRIPTORS],
		  1);
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
			      memory_order_relaxed);
	log_warning("no descriptor left, a client was refused (limit %u sessions of this worker)",
		    walk.session_most);
}

static void
pace_listeners(void)
{
	for (unsigned i = 0; i < worker.listener_count; i++)
		pace_renew(worker.listeners[i].fd);
}

static void
on_listeners(const struct message *m)
{
	const struct ipc_listeners *l = m->body;

	if (worker.listener_count != 0 || l->count != m->fd_count ||
	    l->count > SETTINGS_LISTENERS) {
		give_up("bad list of listeners");
		return;
	}
	for (unsigned i = 0; i < l->count; i++)
		worker.listeners[i] = (struct listener){
		    .watch.fd = -1,
		    .fd = dup(m->fds[i]),
		    .number = l->list[i].listener,
		    .at = l->list[i].at,
		    .arrive = arrive,
		    .arrived = arrived,
		    .refused = refused,
		};
	worker.listener_count = l->count;
	pace_listeners();
}

static struct resolver_options
dns_options(const struct settings *s)
{
	struct resolver_options o = {
	    .timeout_ms = s->dns.timeout_ms,
	    .tries = s->dns.tries,
	    .cache_entries = s->dns.cache_entries,
	    .cache_max_ttl = s->dns.cache_max_ttl,
	};
	struct text t;

	text_init(&t, o.servers, sizeof o.servers);
	for (uint32_t i = 0; i < s->dns.count; i++) {
		char at[ENDPOINT_TEXT];

		endpoint_format(&s->dns.servers[i], at);
		text_putf(&t, "%s%s", i > 0 ? "," : "", at);
	}
	return o;
}

static void
policy_taken(void)
{
	struct ipc_policy_taken taken = {walk.generation, walk.revoked};

	tell(IPC_POLICY_TAKEN, &taken, sizeof taken);
}

static void
take_pace(const struct settings *s)
{
	static const char *told;
	const char *begin = pace_learn(s->pace_near);

	if (worker.index == 0 && begin != NULL && begin != told)
		log_info("the system's congestion control paces: connections begin with '%s', and keep it to near peers",
			 begin);
	told = begin;
	pace_listeners();
}

static void
take_settings(const struct settings *s, bool first)
{
	struct resolver_options o = dns_options(s);

	walk.settings = s;
	take_pace(s);
	walk.limits.sessions = s->limits.sessions;
	walk.limits.per_source = s->limits.sessions_per_source;
	walk.limits.handshakes = s->limits.handshakes;
	if (first) { /* what was taken under one mask must be given back under the same */
		walk.limits.prefix4 = s->limits.source_prefix4;
		walk.limits.prefix6 = s->limits.source_prefix6;
	}
	worker.resolver = first ? resolver_open(&o) : resolver_renew(&o);
	if (!worker.resolver)
		give_up("cannot set up the resolver");
}

static void
on_policy(const struct message *m)
{
	const struct ipc_policy *body = m->body;
	struct image settings = {0}, policy = {0};
	struct policy *opened = NULL;
	struct hits *hits;
	bool first = walk.policy == NULL;

	if (!map(m->fds[0], &settings) || !settings_valid(settings.at, settings.len) ||
	    !map(m->fds[1], &policy) ||
	    (opened = policy_open_sealed(policy.at, policy.len)) == NULL) {
		unmap(&settings);
		unmap(&policy);
		if (first)
			give_up("bad policy image");
		else
			log_error("bad policy image, the old policy stays");
		return;
	}
	if (!first)
		policy_close(walk.policy);
	walk.policy = opened;
	hits = hits_map(m->fds[2], true);
	if (hits == NULL || hits_rules(hits) != policy_rule_count(opened))
		log_warning("the memory for counters is not of this policy");
	hits_unmap(walk.hits);
	walk.hits = hits;
	walk.generation = body->generation;
	take_settings(settings.at, first);
	unmap(&worker.settings);
	unmap(&worker.policy);
	worker.settings = settings;
	worker.policy = policy;
	if (worker.over)
		return;
	know_ourselves();
	if (first)
		policy_taken();
	else
		session_rejudge_all();
}

static void
on_start(const struct message *m)
{
	(void)m;
	if (walk.books == NULL || walk.tally == NULL || walk.quotas == NULL || walk.policy == NULL || worker.started) {
		give_up("told to start without books, tally or policy");
		return;
	}
	worker.started = true;
	books_clock(walk.books, loop_wall_ns);
	progress_start();
	know_ourselves();
	tally_present(walk.tally, worker.index, true);
	walk.load = tally_load(walk.tally, worker.index);
	for (unsigned i = 0; i < worker.listener_count; i++)
		if (listen_start(&worker.listeners[i]) == -1) {
			give_up("cannot watch a listener");
			return;
		}
	worker.beat_due_ms = loop_now();
	beat(&worker.beat_timer);
	tell(IPC_READY, NULL, 0);
}

static void
on_drain(const struct message *m)
{
	const struct ipc_drain *body = m->body;

	drain(body->within_ms);
}

static void
on_leave(const struct message *m)
{
	const struct ipc_leave *body = m->body;

	if (worker.started && !worker.leaving && !worker.draining)
		leave(body->within_ms);
}

static void
on_kill(const struct message *m)
{
	sweep_kill(&worker.channel, m->body);
}

static void
on_preview(const struct message *m)
{
	sweep_preview(&worker.channel, m);
}

/* No descriptor for another session: clients shall reach a worker that has some, if there is one.
 */
static void
crowd(bool crowded)
{
	bool elsewhere = tally_full(walk.tally, worker.index, crowded);

	for (unsigned i = 0; i < worker.listener_count && !worker.draining && !worker.leaving; i++) {
		struct listener *l = &worker.listeners[i];

		if (crowded && elsewhere)
			listen_pause(l);
		else if (listen_start(l) == -1)
			log_error("cannot watch a listener: %s", strerror(errno));
	}
}

/* ---- the authenticator ------------------------------------------------------------------------ */

static enum ask_sent
send_ask(enum ipc_type type, const void *body, size_t len)
{
	if (channel_send(&worker.authenticator, type, body, len, NULL, 0))
		return ASK_SENT;
	return errno == EAGAIN || errno == ENOBUFS ? ASK_LATER : ASK_GONE;
}

static void
leave_authenticator(void)
{
	watch_close(&worker.authenticator_watch);
	ask_channel(NULL);
}

static void
authenticator_ready(struct watch *w, uint32_t events)
{
	static struct message m;
	int got = -1;

	while (w->fd != -1 && (got = channel_receive(&worker.authenticator, &m)) == 1)
		ask_answered(m.body); /* nothing else may come, says the table */
	if (w->fd == -1)
		return;
	if (got == 0 || errno != EAGAIN) {
		if (got != 0)
			log_error("cannot take what the authenticator told: %s", strerror(errno));
		leave_authenticator();
	} else if ((events & EPOLLOUT) != 0)
		ask_writable();
}

static void
on_auth_channel(const struct message *m)
{
	int fd = dup(m->fds[0]);

	leave_authenticator();
	worker.authenticator = (struct channel){fd, ROLE_WORKER, ROLE_AUTHENTICATOR};
	if (fd == -1 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == -1 ||
	    watch_add(&worker.authenticator_watch, fd, EPOLLIN | EPOLLOUT | EPOLLET,
		      authenticator_ready) == -1) {
		log_error("cannot watch the channel to the authenticator: %s", strerror(errno));
		if (fd != -1)
			close(fd);
		return;
	}
	ask_channel(send_ask);
}

static const struct {
	enum ipc_type type;
	void (*take)(const struct message *m);
} messages[] = {
    {IPC_BOOKS, on_books},   {IPC_QUOTAS, on_quotas},   {IPC_TALLY, on_tally}, {IPC_LISTENERS, on_listeners},
    {IPC_POLICY, on_policy}, {IPC_START, on_start}, {IPC_DRAIN, on_drain},
    {IPC_LEAVE, on_leave},
    {IPC_AUTH_CHANNEL, on_auth_channel},
    {IPC_KILL, on_kill},     {IPC_PREVIEW, on_preview},
};

static void
channel_ready(struct watch *w, uint32_t events)
{
	static struct message m;
	int got;

	(void)events;
	while (!worker.over && (got = channel_receive(&worker.channel, &m)) == 1) {
		for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
			if (messages[i].type == m.type)
				messages[i].take(&m);
		message_close_fds(&m);
	}
	if (worker.over || (got == -1 && errno == EAGAIN))
		return;
	watch_remove(w);
	if (got ==
	    -1) { /* it may have been a policy: better another worker than one that missed it */
		log_error("cannot take what the parent told: %s", strerror(errno));
		worker.status = 1;
	}
	/* Else the parent is gone: nobody will open the door again. End what is open, and go. */
	worker.orphan = got == 0;
	drain(0);
}

/* With the parent and the ledger the last are gone who could write what was told here: that, and how
 * much it is, is said. A ledger that lives needs a few milliseconds. */
static void
last_word(void)
{
	uint64_t lag;

	for (int i = 0; i < LAST_WORD_MS / LAST_LOOK_MS && books_lag(walk.books) > 0; i++)
		poll(NULL, 0, LAST_LOOK_MS);
	if ((lag = books_lag(walk.books)) > 0)
		log_error("the parent is dead and the ledger is dead or stands still: %llu record%s "
			  "not written",
			  (unsigned long long)lag, lag == 1 ? " is" : "s are");
}

/* ---- the process ---------------------------------------------------------------------------- */

static void
quiet_signals(void)
{
	/* Signals are the parent's business; splice raises SIGPIPE where send does not. */
	static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
	sigset_t none;

	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static uint32_t
most_sessions(void)
{
	struct rlimit r;
	rlim_t own; /* of few, a third */

	if (getrlimit(RLIMIT_NOFILE, &r) == -1 || r.rlim_cur == RLIM_INFINITY)
		return UINT32_MAX;
	own = r.rlim_cur / 3 < OWN_DESCRIPTORS ? r.rlim_cur / 3 : OWN_DESCRIPTORS;
	return (uint32_t)((r.rlim_cur - own) / 2);
}

int
worker_run(int channel, unsigned index)
{
	worker.index = index;
	walk.crowd = crowd;
	quiet_signals();
	fcntl(channel, F_SETFL, fcntl(channel, F_GETFL) | O_NONBLOCK);
	worker.channel = (struct channel){channel, ROLE_WORKER, ROLE_PARENT};
	worker.authenticator_watch.fd = -1;
	walk.session_most = most_sessions();
	walk.rejudged = policy_taken;
	if (!loop_open() || !listen_reserve() ||
	    watch_add(&worker.watch, channel, EPOLLIN, channel_ready) == -1) {
		log_error("cannot set up the event loop: %s", strerror(errno));
		return 1;
	}
	while (!worker.over && !((worker.draining || worker.leaving) && walk.sessions == NULL))
		loop_round(-1);
	if (worker.orphan && walk.books != NULL)
		last_word();
	if (worker.resolver)
		resolver_close();
	pump_close_pipes();
	return worker.status;
}
