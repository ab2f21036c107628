/*
 * walk/bind.c - open, for BIND: a door for one expected peer (PROTOCOL "BIND"). It is opened on our
 * address that leads to the peer, told in the first reply, and closed when the peer has called or
 * the client has left. Who calls is judged again with its own address; the second reply is
 * reply.c's. The worker; never blocks.
 *
 * While it waits, the door's socket is where the target's will be, and approach.dial.to holds who
 * is expected.
 */
#include "walk/session.h"

#include <errno.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/door.h"
#include "net/order.h"
#include "walk/limits.h"

#define TRIES_A_ROUND 64   /* ports; the other sessions want to go on, too */
#define CALLERS_A_ROUND 16 /* strangers, as many as they may be */

/* Addresses for documentation (RFC 5737, RFC 3849): where they would leave by is where any peer
 * comes in. */
static const struct addr anywhere4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}};
static const struct addr anywhere6 = {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}};

static struct session *
session_of_door(struct watch *w)
{
	return (struct session *)((char *)w - offsetof(struct session, pump.end[PUMP_TARGET]));
}

static bool
same_family(const struct addr *a, const struct addr *b)
{
	return addr_is4(a) == addr_is4(b);
}

/* 0.0.0.0 or :: was asked for; a rule has allowed that. */
static bool
expects_anyone(const struct approach *a)
{
	return a->dial.count == 1 && addr_is_unspecified(&a->dial.to[0]);
}

bool
bind_waits(const struct session *s)
{
	return s->approach != NULL && s->approach->door == BIND_WAITS;
}

/* ---- primaries ---------------------------------------------------------------------- */

void
bind_note_primary(struct session *s)
{
	struct card *c = s->card;

	if (!walk.settings->bind.require_primary || c->command != SOCKS_CONNECT ||
	    (c->beside & 1u << TALLY_PRIMARIES) != 0)
		return;
	if (tally_beside_take(walk.tally, &walk.limits, TALLY_PRIMARIES, &c->source,
			      &c->destination, 0))
		c->beside |= 1u << TALLY_PRIMARIES;
}

static bool
has_primary(const struct session *s, const struct addr *peer)
{
	return !walk.settings->bind.require_primary ||
	       tally_beside(walk.tally, &walk.limits, TALLY_PRIMARIES, &s->card->source, peer) > 0;
}

/* ---- who is expected ------------------------------------------------------------------ */

/* Keeps those of whom `keep` holds; false: none is left. */
static bool
expect_only(struct session *s, bool (*keep)(struct session *s, unsigned i))
{
	struct approach *a = s->approach;
	unsigned left = 0;

	for (unsigned i = 0; i < a->dial.count; i++)
		if (keep(s, i)) {
			a->dial.to[left] = a->dial.to[i];
			a->rules[left++] = a->rules[i];
		}
	a->dial.count = (uint8_t)left;
	return left > 0;
}

static bool
with_primary(struct session *s, unsigned i)
{
	return has_primary(s, &s->approach->dial.to[i]);
}

static bool
of_our_family(struct session *s, unsigned i)
{
	return same_family(&s->approach->dial.to[i], &s->approach->bind.on);
}

static bool
still_allowed(struct session *s, unsigned i)
{
	struct rules_answer answer;

	decide_peer(s, &s->approach->dial.to[i], &answer);
	return answer.verdict == RULES_PERMIT;
}

bool
bind_again(struct session *s, struct rules_answer *answer)
{
	struct addr first = s->approach->dial.to[0];

	s->judged = walk.generation;
	if (expect_only(s, still_allowed))
		return true;
	if (answer != NULL)
		decide_peer(s, &first, answer);
	return false;
}

/* ---- where to listen --------------------------------------------------------------------- */

/* The address that the client came to. */
static bool
facing(struct session *s, struct addr *out)
{
	struct endpoint e;

	if (!conn_local(session_client(s)->fd, &e))
		return false;
	*out = e.addr;
	return true;
}

/* bind.address, else the egress of rule or settings, else what the kernel's routes say. */
static bool
address_for(struct session *s, const struct addr *peer, struct addr *on)
{
	struct approach *a = s->approach;
	const struct addr *egress = addr_is4(peer) ? a->dial.from4 : a->dial.from6;

	if (walk.settings->bind.has_address && same_family(&walk.settings->bind.address, peer))
		egress = &walk.settings->bind.address;
	if (egress != NULL) {
		*on = *egress;
		return true;
	}
	if (!addr_is_unspecified(peer))
		return order_source(peer, on);
	return order_source(addr_is4(peer) ? &anywhere4 : &anywhere6, on) ||
	       (facing(s, on) && same_family(on, peer));
}

/*
 * A door is of one family. A reply of SOCKS4 can only tell an IPv4 address, and bind.address is of
 * one family; else the first address decides that we have a way to.
 */
static bool
choose_address(struct session *s)
{
	struct approach *a = s->approach;
	const struct addr *like = s->card->version == 4             ? &addr_any4
				  : walk.settings->bind.has_address ? &walk.settings->bind.address
								    : NULL;

	connect_egress(a);
	for (int liked = like != NULL; liked >= 0; liked--)
		for (unsigned i = 0; i < a->dial.count; i++) {
			if (liked && !same_family(&a->dial.to[i], like))
				continue;
			if (address_for(s, &a->dial.to[i], &a->bind.on))
				return true;
		}
	return false;
}

/* ---- the peer calls ------------------------------------------------------------------------ */

/* Expected, with a primary where one must be, and allowed by the policy of this moment. */
static bool
may_come(const struct session *s, const struct addr *caller, struct rules_answer *answer)
{
	const struct approach *a = s->approach;
	bool expected = expects_anyone(a);

	for (unsigned i = 0; i < a->dial.count && !expected; i++)
		expected = addr_equal(&a->dial.to[i], caller);
	if (!expected || !has_primary(s, caller))
		return false;
	decide_peer(s, caller, answer);
	return answer->verdict == RULES_PERMIT;
}

static void
put_peer(struct card *c, const struct endpoint *peer)
{
	c->destination = peer->addr;
	c->destination_port = peer->port;
}

/* False: the session is over. */
static bool
turn_away(struct session *s, int fd, const struct endpoint *caller)
{
	struct rules_answer answer;

	close(fd);
	if (s->card->strangers < UINT16_MAX)
		s->card->strangers++;
	account_count(COUNT_STRANGERS, 1);
	if (walk.settings->bind.on_mismatch == MISMATCH_WAIT)
		return true;
	decide_peer(s, &caller->addr, &answer);
	put_peer(s->card, caller);
	if (answer.verdict == RULES_DENY) /* else the rule stays: he was just not the one */
		decide_count(s->card, &answer);
	session_stop(s, END_BIND_MISMATCH);
	return false;
}

static void
welcome(struct session *s, int fd, const struct endpoint *caller, const struct rules_answer *answer)
{
	struct approach *a = s->approach;
	struct card *c = s->card;
	bool of_same_rule = c->rule == answer->rule && c->policy == walk.generation;

	watch_close(session_target(s));
	if (watch_add(session_target(s), fd, WATCH_TCP, NULL) == -1) {
		close(fd);
		session_stop(s, END_LIMIT);
		return;
	}
	session_target(s)->spare = 0;
	tally_give_beside(walk.tally, &walk.limits, c); /* no open door any more */
	put_peer(c, caller);
	decide_note(s, answer);
	if (!of_same_rule) { /* the peer's rule counts it from now on */
		limits_leave(s);
		if (!limits_enter(s, answer->rule)) {
			session_stop(s, END_LIMIT);
			return;
		}
	}
	c->us[STAGE_CONNECT] = (uint32_t)((loop_now_ns() - a->stage_ns) / 1000);
	books_tell(walk.books, c, EVENT_BIND_ACCEPT);
	a->told = *caller;
	a->door = BIND_CALLED;
	session_walk(s);
}

static enum ending
ending_of(int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EADDRINUSE:
		return END_LIMIT;
	case EADDRNOTAVAIL:
		return END_NETWORK_UNREACHABLE;
	}
	return END_INTERNAL;
}

static void
called(struct watch *w, uint32_t events)
{
	struct session *s = session_of_door(w);

	(void)events;
	for (int i = 0; i < CALLERS_A_ROUND; i++) {
		struct rules_answer answer;
		struct endpoint caller;
		int fd = door_accept(w->fd, &caller);

		if (fd == -1) {
			if (errno != EAGAIN)
				session_stop(s, ending_of(errno));
			return;
		}
		if (may_come(s, &caller.addr, &answer)) {
			welcome(s, fd, &caller, &answer);
			return;
		}
		if (!turn_away(s, fd, &caller))
			return;
	}
}

/* ---- the door ------------------------------------------------------------------------------ */

static void
too_late(struct timer *t)
{
	session_stop(session_of_timer(t), END_BIND_TIMEOUT);
}

static void
put_door(struct session *s, const struct endpoint *at)
{
	struct approach *a = s->approach;
	struct card_door *door = card_door(walk.books, s->card);
	struct card *c = s->card;

	door->expected = c->destination = a->dial.to[0];
	door->port = c->destination_port;
	door->rule = c->rule;
	door->policy = c->policy;
	door->dry_run = c->dry_run;
	c->nat = at->addr;
	c->nat_port = at->port;
	c->flags |= CARD_HAS_ADDRESS | CARD_HAS_NAT;
}

static enum step
opened(struct session *s, int fd, const struct endpoint *at)
{
	struct approach *a = s->approach;
	struct card *c = s->card;
	const struct settings *set = walk.settings;

	if (watch_add(session_target(s), fd, EPOLLIN, called) == -1) {
		close(fd);
		return session_end(s, END_LIMIT);
	}
	put_door(s, at);
	books_tell(walk.books, c, EVENT_BIND_LISTEN);
	a->told = *at;
	if (set->bind.has_advertise && same_family(&set->bind.advertise, &at->addr))
		a->told.addr = set->bind.advertise;
	c->reply = c->version == 4 ? 90 : 0;
	c->flags |= CARD_REPLIED;
	if (!reply_send(s, c->reply, &a->told))
		return session_end(s, END_CLIENT_RESET);
	a->stage_ns = loop_now_ns();
	a->door = BIND_WAITS;
	timer_stop(&s->timer);
	timer_set(&s->timer, loop_now() + set->timeouts.bind, too_late);
	return STEP_WAIT;
}

static void
seek_on(struct turn *t)
{
	struct approach *a = (struct approach *)((char *)t - offsetof(struct approach, bind.turn));

	session_walk(a->session);
}

/* One port after the other, from a random one on, until all of bind.ports were tried. */
static enum step
seek(struct session *s)
{
	struct bind_door *b = &s->approach->bind;
	struct rules_answer answer;
	struct endpoint at;

	if ((session_client(s)->spare & END_FIN_SEEN) != 0 && !session_early(s))
		return session_end(s, END_CLIENT_CLOSED);
	/* A new policy may have come since the verdict. */
	if (s->judged != walk.generation && !bind_again(s, &answer)) {
		decide_note(s, &answer);
		return session_end(s, END_DENIED);
	}
	for (int i = 0; i < TRIES_A_ROUND && b->left > 0; i++, b->left--) {
		int fd = door_open(&b->on, b->next, &at);

		if (fd != -1)
			return opened(s, fd, &at);
		if (errno != EADDRINUSE && errno != EACCES) /* a low port may be for root only */
			return session_end(s, ending_of(errno));
		b->next = b->next == b->last ? b->first : b->next + 1;
	}
	if (b->left == 0)
		return session_end(s, END_LIMIT);
	turn_ask(&b->turn, seek_on);
	return STEP_WAIT;
}

static enum step
prepare(struct session *s)
{
	struct approach *a = s->approach;
	struct bind_door *b = &a->bind;
	const struct settings_ports *ports = &walk.settings->bind.ports;

	if (walk.draining)
		return session_end(s, END_SHUTDOWN);
	if (!tally_beside_take(walk.tally, &walk.limits, TALLY_BINDS, &s->card->source, NULL,
			       walk.settings->limits.binds_per_source))
		return session_end(s, END_LIMIT);
	s->card->beside |= 1u << TALLY_BINDS;
	if (!expects_anyone(a) && !expect_only(s, with_primary)) {
		s->card->reason = REASON_NO_PRIMARY;
		return session_end(s, END_DENIED);
	}
	if (!choose_address(s))
		return session_end(s, END_NETWORK_UNREACHABLE);
	expect_only(s, of_our_family);
	if (!decide_reached(s, a->rules[0]))
		return session_end(s, END_LIMIT);
	b->first = ports->first;
	b->last = ports->last;
	b->next = ports->first != 0 ? door_first(ports->first, ports->last) : 0;
	b->left = (uint32_t)(ports->last - ports->first) + 1;
	b->turn.queued = false;
	a->door = BIND_SEEKS;
	return seek(s);
}

enum step
bind_step(struct session *s)
{
	switch (s->approach->door) {
	case BIND_NONE:
		return prepare(s);
	case BIND_SEEKS:
		return seek(s);
	case BIND_CALLED:
		return STEP_NEXT;
	default:
		return STEP_WAIT;
	}
}
