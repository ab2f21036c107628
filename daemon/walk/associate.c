/*
 * walk/associate.c - open and relay, for UDP ASSOCIATE (RFC 1928 section 7): a socket for the
 * client, one a family for where it sends to (destination.c), and the limits of all its rules. The
 * association lives as long as the control connection. A datagram that may not pass is dropped and
 * counted; it ends nothing and nobody is told. The worker; never blocks.
 */
#include "walk/association.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/conn.h"
#include "net/protect.h"
#include "walk/limits.h"
#include "wire/udp.h"

#define CONTROL_BYTES 65536 /* that are ignored on the control connection */
#define BATCHES_A_TURN 4

void
associate_drop(struct association *a, enum books_counter why, unsigned n)
{
	a->session->card->dropped += n;
	account_count(why, n);
}

/* ---- limits of its rules ------------------------------------------------------------ */

static uint64_t
shorter(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Of the rules that it has gone by, the shortest limits hold for the association. */
void
associate_keep_limits(struct association *a, uint64_t idle_ms, uint64_t lifetime_ms)
{
	struct session *s = a->session;

	a->idle_ms = shorter(a->idle_ms, idle_ms);
	a->lifetime_ms = shorter(a->lifetime_ms, lifetime_ms);
	s->idle_ms = a->idle_ms == 0           ? walk.settings->timeouts.udp_idle
		     : a->idle_ms > UINT32_MAX ? UINT32_MAX
					       : (uint32_t)a->idle_ms;
	s->end_by_ms = a->lifetime_ms != 0 ? a->begun_ms + (int64_t)a->lifetime_ms : 0;
	relay_limits(s);
}

/* ---- sockets ---------------------------------------------------------------------- */

static int watch_socket(struct association *a, int which, int fd);

static struct association *
association_of(struct watch *w, int which)
{
	return (struct association *)((char *)(w - which) - offsetof(struct association, watches));
}

/* One a family, opened when it is first needed. -1: no descriptor. */
int
associate_socket(struct association *a, const struct addr *to)
{
	int which = addr_is4(to) ? FOR_IPV4 : FOR_IPV6, fd;
	struct watch *w = &a->watches[which];

	if (w->fd != -1)
		return w->fd;
	fd = datagram_open(addr_is4(to) ? &addr_any4 : &addr_any6);
	if (fd == -1)
		return -1;
	if (watch_socket(a, which, fd) == -1) {
		w->fd = fd;
		watch_close(w);
	}
	return w->fd;
}

/* ---- what a new policy says ---------------------------------------------------------- */

void
associate_words(struct session *s)
{
	struct contact *c;

	for (c = s->association->contacts.newest; c != NULL; c = c->older) {
		const struct destination *d = destination_of(c);

		if (d->state != MAY_PASS || d->on_revoke == SEVER || s->on_revoke == KEEP)
			continue;
		if (s->on_revoke != DRAIN || d->on_revoke == KEEP || d->drain_ms > s->drain_ms) {
			s->on_revoke = d->on_revoke;
			s->drain_ms = d->drain_ms;
		}
	}
}

unsigned
associate_rejudge(struct session *s)
{
	struct association *a = s->association;
	struct contact *c, *older;
	unsigned n = 0;

	/* The words of the new policy; its own rule's, if one decided, are those that it began
	 * with. */
	a->idle_ms = a->own_idle_ms;
	a->lifetime_ms = a->own_lifetime_ms;
	for (c = a->contacts.newest; c != NULL; c = older, n++) {
		struct destination *d = destination_of(c);

		older = c->older;
		if (d->judged == walk.generation || destination_judge_again(d))
			associate_keep_limits(a, d->idle_ms, d->lifetime_ms);
	}
	associate_keep_limits(a, 0, 0);
	return n;
}

/* ---- from the client ----------------------------------------------------------------- */

/* Only the client's address, and one port: the announced one or that of the first datagram. */
static bool
is_client(struct association *a, const struct endpoint *from)
{
	return addr_equal(&from->addr, &a->client_at.addr) &&
	       (a->client_at.port == 0 || a->client_at.port == from->port);
}

static void
lock_client(struct association *a, const struct endpoint *from)
{
	if (a->client_at.port != 0)
		return;
	a->client_at.port = from->port;
	datagram_peer_set(&a->client, &a->client_at, NULL);
}

static void
pass_on_up(struct association *a, const struct datagram *g)
{
	size_t header = 0;
	struct destination *d;

	d = destination_for(a, g, &header);
	if (d == NULL)
		return;
	lock_client(a, &g->from);
	if (!destination_still_good(d)) {
		pass_on_up(a, g); /* as new: once */
		return;
	}
	contacts_touch(&a->contacts, &d->contact);
	if (d->state == MAY_PASS)
		destination_send(d, g->data + header, g->len - header);
	else if (d->state == WAITS_FOR_NAME)
		destination_hold(d, g->data + header, g->len - header);
	else
		associate_drop(a, COUNT_UP_DENIED, 1);
}

static void
pass_up(struct association *a, const struct datagram *g)
{
	struct protect *protect = a->session->pump.protect;
	struct datagram opened = *g;

	if (!is_client(a, &g->from))
		associate_drop(a, COUNT_UP_STRANGER, 1);
	else if (protect == NULL)
		pass_on_up(a, g);
	else if (protect_open_datagram(protect, g->data, g->len, &opened.data, &opened.len))
		pass_on_up(a, &opened);
	else
		associate_drop(a, COUNT_UP_MALFORMED, 1);
}

static void more(struct turn *t);

/* Some batches, then others have their turn. */
static void
some_batches(struct association *a, int which, datagram_sent *sent,
	     void (*pass)(struct association *, const struct datagram *))
{
	struct datagram g;

	a->more[which] = false;
	for (int i = 0; i < BATCHES_A_TURN; i++) {
		if (!datagram_receive(a->watches[which].fd))
			return;
		datagram_begin(sent);
		while (datagram_next(&g))
			pass(a, &g);
		datagram_flush();
		if (datagram_drained())
			return;
	}
	a->more[which] = true;
	turn_ask(&a->turn, more);
}

static void
from_client(struct watch *w, uint32_t events)
{
	(void)events;
	some_batches(association_of(w, FOR_CLIENT), FOR_CLIENT, destination_sent_up, pass_up);
}

/* ---- from the targets --------------------------------------------------------------- */

static bool
takes_other_ports(const struct contact *c)
{
	return ((const struct destination *)(const void *)c)->replies >= 1;
}

static struct destination *
who_takes_any(const struct association *a)
{
	struct contact *c;

	if (a->any_count == 0)
		return NULL;
	for (c = a->contacts.newest; c != NULL; c = c->older)
		if (destination_of(c)->state == MAY_PASS && destination_of(c)->replies == 2)
			return destination_of(c);
	return NULL;
}

/* As which destination's answer it may pass; NULL: it may not. */
static struct destination *
answer_to(struct association *a, const struct endpoint *from)
{
	struct contact *c = contacts_answer(&a->contacts, from, takes_other_ports);
	struct destination *d = c != NULL ? destination_of(c) : who_takes_any(a);

	if (d == NULL || !destination_still_good(d))
		return NULL;
	contacts_touch(&a->contacts, &d->contact);
	return d;
}

/* One at a time: the count is of its own bytes, not of the frame's. */
static size_t framed;

static void
sent_framed(void *owner, unsigned n, size_t bytes, int error)
{
	(void)bytes;
	destination_sent_down(owner, n, framed, error);
}

static void
pass_down_protected(struct destination *d, const uint8_t *head, size_t head_len,
		    const struct datagram *g)
{
	static uint8_t plain[UDP_HEADER_MOST + GSS_TOKEN_MOST], frame[GSS_FRAME_MOST];
	struct association *a = d->association;
	size_t most = addr_is4(&a->client_at.addr) ? DATAGRAM_MOST4 : DATAGRAM_MOST6, len;

	if (head_len + g->len > GSS_TOKEN_MOST - PROTECT_MORE) {
		associate_drop(a, COUNT_DOWN_FAILED, 1);
		return;
	}
	memcpy(plain, head, head_len);
	memcpy(plain + head_len, g->data, g->len);
	len = protect_frame(a->session->pump.protect, plain, head_len + g->len, frame);
	if (len == 0 || len > most) {
		associate_drop(a, COUNT_DOWN_FAILED, 1);
		return;
	}
	framed = g->len;
	datagram_begin(sent_framed);
	datagram_put(a->watches[FOR_CLIENT].fd, &a->client, NULL, 0, frame, len, d);
	datagram_flush();
}

static void
pass_down(struct association *a, const struct datagram *g)
{
	/* Of the batch: a header for each change of the source. */
	static uint8_t heads[DATAGRAM_BATCH][UDP_HEADER_MOST];
	static unsigned used;
	static size_t len;
	static struct destination *d;

	if (!g->again) {
		used = (used + 1) % DATAGRAM_BATCH;
		len = udp_encode(heads[used], &g->from);
		d = answer_to(a, &g->from);
	}
	if (d == NULL)
		associate_drop(a, COUNT_DOWN_UNSOLICITED, 1);
	else if (!limits_pass(d->line, 1, g->len))
		associate_drop(a, COUNT_DOWN_LIMIT, 1);
	else if (a->session->pump.protect != NULL)
		pass_down_protected(d, heads[used], len, g);
	else if (g->len + len > (addr_is4(&a->client_at.addr) ? DATAGRAM_MOST4 : DATAGRAM_MOST6))
		associate_drop(a, COUNT_DOWN_FAILED, 1); /* with its header it is none any more */
	else
		datagram_put(a->watches[FOR_CLIENT].fd, &a->client, heads[used], len, g->data,
			     g->len, d);
}

static void
from_ipv4(struct watch *w, uint32_t events)
{
	(void)events;
	some_batches(association_of(w, FOR_IPV4), FOR_IPV4, destination_sent_down, pass_down);
}

static void
from_ipv6(struct watch *w, uint32_t events)
{
	(void)events;
	some_batches(association_of(w, FOR_IPV6), FOR_IPV6, destination_sent_down, pass_down);
}

/* ---- turns ---------------------------------------------------------------------- */

static void (*const ready[SOCKETS])(struct watch *, uint32_t) = {
    [FOR_CLIENT] = from_client, [FOR_IPV4] = from_ipv4, [FOR_IPV6] = from_ipv6};

static void
more(struct turn *t)
{
	struct association *a =
	    (struct association *)((char *)t - offsetof(struct association, turn));

	for (int i = 0; i < SOCKETS; i++)
		if (a->more[i])
			ready[i](&a->watches[i], 0);
}

static int
watch_socket(struct association *a, int which, int fd)
{
	return watch_add(&a->watches[which], fd, EPOLLIN | EPOLLET, ready[which]);
}

/* ---- the control connection ------------------------------------------------------- */

/* Nothing is said on it any more: what comes is ignored, but not for ever. END_NONE: it is open. */
static enum ending
read_control(struct session *s)
{
	struct association *a = s->association;
	ssize_t n;

	for (;;) {
		n = recv(session_client(s)->fd, pump_hot, HOT_SIZE, 0);
		if (n == 0)
			return END_CLIENT_CLOSED;
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return errno == EAGAIN ? END_NONE : END_CLIENT_RESET;
		if ((size_t)n > a->control_left)
			return END_MALFORMED;
		a->control_left -= (uint32_t)n;
	}
}

static void
control_ready(struct watch *w, uint32_t events)
{
	struct session *s =
	    (struct session *)((char *)w - offsetof(struct session, pump.end[PUMP_CLIENT]));
	enum ending why = (events & EPOLLERR) != 0 ? END_CLIENT_RESET : read_control(s);

	if (why != END_NONE)
		session_stop(s, why);
}

/* ---- open ---------------------------------------------------------------------------- */

static struct association *
association_new(struct session *s)
{
	struct association *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	if (!tally_beside_take(walk.tally, &walk.limits, TALLY_ASSOCIATIONS, &s->card->source, NULL,
			       walk.settings->limits.associations_per_source)) {
		free(a);
		return NULL;
	}
	s->card->beside |= 1 << TALLY_ASSOCIATIONS;
	for (int i = 0; i < SOCKETS; i++)
		a->watches[i].fd = -1;
	a->session = s;
	a->counted = s->card->rule >= 0 ? limits_rule(s->card->rule) : 0; /* by decide */
	a->control_left = CONTROL_BYTES;
	a->client_at = (struct endpoint){s->card->source, s->approach->request.port};
	if (a->client_at.port != 0)
		datagram_peer_set(&a->client, &a->client_at, NULL);
	return a;
}

static enum ending
open_client_socket(struct session *s, struct endpoint *told)
{
	const struct settings *set = walk.settings;
	struct endpoint local;
	int fd;

	if (!conn_local(session_client(s)->fd, &local))
		return END_CLIENT_RESET;
	fd = set->udp.ports.first == 0
		 ? datagram_open(&local.addr)
		 : datagram_open_range(&local.addr, set->udp.ports.first, set->udp.ports.last);
	if (fd == -1)
		return errno == EADDRNOTAVAIL ? END_INTERNAL : END_LIMIT;
	s->association->watches[FOR_CLIENT].fd = fd; /* watched from the reply on */
	if (!conn_local(fd, told))
		return END_INTERNAL;
	if (set->udp.has_advertise && addr_is4(&set->udp.advertise) == addr_is4(&local.addr))
		told->addr = set->udp.advertise;
	return END_NONE;
}

enum step
associate_step(struct session *s)
{
	enum ending why;

	s->association = association_new(s);
	if (s->association == NULL)
		return session_end(s, END_LIMIT);
	why = open_client_socket(s, &s->approach->told);
	return why == END_NONE ? STEP_NEXT : session_end(s, why);
}

/* ---- relay ------------------------------------------------------------------------------ */

enum step
associate_relay(struct session *s)
{
	struct association *a = s->association;
	struct approach *way = s->approach;
	enum ending why;

	if (s->card->rule >= 0) { /* decide keeps the rule's words */
		a->own_idle_ms = s->idle_ms != walk.settings->timeouts.udp_idle ? s->idle_ms : 0;
		a->own_lifetime_ms = way->lifetime_ms;
	}
	s->approach = NULL;
	approach_release(way);
	s->pump.active_ms = a->begun_ms = loop_now();
	associate_keep_limits(a, a->own_idle_ms, a->own_lifetime_ms);
	session_client(s)->ready = control_ready;
	if ((why = read_control(s)) != END_NONE)
		return session_end(s, why);
	if (watch_socket(a, FOR_CLIENT, a->watches[FOR_CLIENT].fd) == -1)
		return session_end(s, END_LIMIT);
	return STEP_WAIT;
}

void
associate_close(struct session *s)
{
	struct association *a = s->association;

	while (a->contacts.newest != NULL)
		destination_end(destination_of(a->contacts.newest), (enum ending)s->ending);
	contacts_free(&a->contacts);
	turn_cancel(&a->turn);
	for (int i = 0; i < SOCKETS; i++)
		watch_close(&a->watches[i]);
	s->association = NULL; /* what was counted for it is given back with the card */
	loop_free_later(a);
}
