/*
 * walk/associate.c - open and relay, for UDP ASSOCIATE (RFC 1928 section 7): a socket for the
 * client, one a family for where it sends to, and a verdict for each destination. The association
 * lives as long as the control connection.
 *
 * A datagram that may not pass is dropped and counted; it ends nothing and nobody is told. A
 * destination has a card of its own: no card, no destination. Verdicts stay until the policy
 * changes. The worker; never blocks.
 */
#include "walk/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/conn.h"
#include "net/contacts.h"
#include "net/datagram.h"
#include "net/order.h"
#include "net/protect.h"
#include "walk/limits.h"
#include "wire/udp.h"

#define DESTINATIONS 1024 /* then the one that was used least recently goes */
#define NEW_AT_ONCE 2048  /* new destinations: each is a record */
#define NEW_A_SECOND 1000
#define HELD_DATAGRAMS 32 /* that wait for a name */
#define HELD_BYTES (128 * 1024)
#define RETRY_MS 30000      /* a name that did not resolve */
#define CONTROL_BYTES 65536 /* that are ignored on the control connection */
#define RETRY_FULL_MS 1000  /* a rule that had no room for another session */
#define BATCHES_A_TURN 4
#define LAST_HEADER 64 /* bytes; one with a longer name is decoded each time */

enum destination_state { WAITS_FOR_NAME, MAY_PASS, MAY_NOT };

struct held {
	struct held *next;
	size_t len;
	uint8_t data[];
};

struct destination {
	struct contact contact; /* first */
	struct association *association;
	struct datagram_peer peer;
	struct card *card; /* NULL: all told */
	struct waiter waiter;
	struct held *held, **held_end;
	int64_t since_ns, retry_ms;    /* retry: of a name; 0: never */
	uint64_t idle_ms, lifetime_ms; /* of its rule */
	uint64_t counted;              /* names its rule, if that counts, see limits_rule */
	struct limits_line *line;      /* its bandwidths; NULL: none */
	int64_t revoke_by_ms;          /* forbidden by now, see session.h; 0: not so */
	uint32_t judged, drain_ms;
	uint8_t state;              /* enum destination_state */
	uint8_t replies, on_revoke; /* of its rule, as in rule_terms */
	char name[];
};

enum { FOR_CLIENT, FOR_IPV4, FOR_IPV6, SOCKETS };

struct association {
	struct session *session;
	struct watch watches[SOCKETS];
	struct turn turn;
	bool more[SOCKETS]; /* stopped early to be fair */
	struct datagram_peer client;
	struct endpoint client_at; /* port 0: not known yet */
	struct contacts contacts;
	/* the header of the last datagram, and where it led: the next is most likely the same */
	struct destination *last;
	size_t last_len;
	uint8_t last_header[LAST_HEADER];
	/* what was taken of the allowance for new destinations, as of then */
	uint32_t fresh;
	int64_t fresh_ms;
	uint32_t held_count, held_bytes, any_count;
	uint32_t control_left;
	uint64_t idle_ms, lifetime_ms;         /* the shortest of its rules; 0: none */
	uint64_t own_idle_ms, own_lifetime_ms; /* of a rule that decided for all of it */
	uint64_t counted; /* a rule that counts all of it, see limits_rule; 0: none */
	int64_t begun_ms;
};

static struct destination *
destination_of(struct contact *c)
{
	return (struct destination *)(void *)c;
}

/* ---- counting ----------------------------------------------------------------- */

static void
drop_some(struct association *a, enum books_counter why, unsigned n)
{
	a->session->card->dropped += n;
	account_count(why, n);
}

static void
drop(struct association *a, enum books_counter why)
{
	drop_some(a, why, 1);
}

/* direction 0: from the client. */
static void
passed(struct destination *d, int direction, unsigned n, size_t bytes)
{
	struct session *s = d->association->session;

	d->card->datagrams[direction] += n;
	d->card->bytes[direction] += bytes;
	s->card->datagrams[direction] += n;
	s->card->bytes[direction] += bytes;
	s->pump.active_ms = loop_now();
	account_count(direction == 0 ? COUNT_UP_PASSED : COUNT_DOWN_PASSED, n);
}

static void
sent_up(void *owner, unsigned n, size_t bytes, int error)
{
	struct destination *d = owner;

	if (error == 0)
		passed(d, 0, n, bytes);
	else
		drop_some(d->association, COUNT_UP_FAILED, n);
}

static void
sent_down(void *owner, unsigned n, size_t bytes, int error)
{
	struct destination *d = owner;

	if (error == 0)
		passed(d, 1, n, bytes);
	else
		drop_some(d->association, COUNT_DOWN_FAILED, n);
}

/* ---- the end of a destination ---------------------------------------------------- */

/* Of the association's destinations by the same rule one has in its card what was taken of the
 * rule's limits. */
static struct destination *
counts_with(const struct destination *d, uint64_t rule)
{
	struct contact *c;

	for (c = rule != 0 ? d->association->contacts.newest : NULL; c != NULL; c = c->older) {
		struct destination *other = destination_of(c);

		if (other != d && other->counted == rule && other->card != NULL)
			return other;
	}
	return NULL;
}

static void
uncount(struct destination *d)
{
	static const uint64_t nothing[3];
	struct destination *heir = NULL;

	if (memcmp(d->card->quota, nothing, sizeof nothing) != 0)
		heir = counts_with(d, d->counted);
	limits_leave_destination(d->card, heir != NULL ? heir->card : NULL);
	d->counted = 0;
	free(d->line);
	d->line = NULL;
}

/* False: its rule's limit is reached. */
static bool
count_by(struct destination *d, int32_t rule)
{
	uint64_t name = limits_rule(rule);
	struct session *s = d->association->session;

	if (name != d->counted || name == 0) {
		uncount(d);
		if (name == d->association->counted)
			name = 0; /* the association as a whole counts */
		if (name != 0 && counts_with(d, name) == NULL &&
		    !limits_enter_destination(s, d->card, rule))
			return false;
		d->counted = name;
	}
	free(d->line);
	return limits_line(s, rule, &d->line);
}

static void
tell(struct destination *d, enum ending why)
{
	struct card *c = d->card;

	if (c == NULL)
		return;
	uncount(d);
	d->card = NULL;
	c->ending = (uint8_t)why;
	c->duration_ns = (uint64_t)(loop_now_ns() - d->since_ns);
	c->end_ns = c->start_ns + (int64_t)c->duration_ns;
	books_tell(walk.books, c, EVENT_DESTINATION);
}

static struct held *
take_held(struct destination *d)
{
	struct held *h = d->held;

	if (h == NULL)
		return NULL;
	d->held = h->next;
	if (d->held == NULL)
		d->held_end = &d->held;
	d->association->held_count--;
	d->association->held_bytes -= (uint32_t)h->len;
	return h;
}

static void
drop_held(struct destination *d, enum books_counter why)
{
	struct held *h;

	while ((h = take_held(d)) != NULL) {
		free(h);
		drop(d->association, why);
	}
}

static void
close_door(struct destination *d)
{
	if (d->state == MAY_PASS && d->replies == 2)
		d->association->any_count--;
	d->state = MAY_NOT;
}

static void
destination_end(struct destination *d, enum ending why)
{
	struct association *a = d->association;

	datagram_flush(); /* it may be the owner of what is in the bag */
	resolver_forget(&d->waiter);
	drop_held(d, COUNT_UP_LIMIT);
	close_door(d);
	tell(d, why);
	contacts_remove(&a->contacts, &d->contact);
	if (a->last == d)
		a->last = NULL;
	free(d);
}

/* ---- judging -------------------------------------------------------------------- */

/* at NULL: the name's addresses are not known yet. */
static enum rules_verdict
judge(struct destination *d, const struct addr *at, struct rules_answer *answer)
{
	char unused[NAME_MAX_LEN + 1];
	struct rules_facts f;

	decide_facts(d->association->session, &f, unused);
	f.name = d->contact.name;
	f.name_len = d->contact.name_len;
	f.port = d->contact.port;
	if (at != NULL)
		f.address = *at;
	else
		f.known &= ~(uint32_t)FACT_ADDRESS;
	decide_evaluate(&f, answer);
	d->judged = walk.generation;
	return answer->verdict;
}

static void
note_address(struct card *c, const struct addr *at)
{
	c->destination = *at;
	c->flags |= CARD_HAS_ADDRESS;
}

static uint64_t
shorter(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

/* Of the rules that it has gone by, the shortest limits hold for the association. */
static void
keep_limits(struct association *a, uint64_t idle_ms, uint64_t lifetime_ms)
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

static const struct addr *
egress_for(const struct addr *to, const struct rule_terms *terms, struct addr *room)
{
	bool is4 = addr_is4(to);

	if (is4 ? terms->has_egress4 : terms->has_egress6) {
		*room = is4 ? terms->egress4 : terms->egress6;
		return room;
	}
	for (uint32_t i = 0; i < walk.settings->egress.count; i++)
		if (addr_is4(&walk.settings->egress.addresses[i]) == is4) {
			*room = walk.settings->egress.addresses[i];
			return room;
		}
	return NULL;
}

static void
terms_of(struct destination *d, int32_t rule)
{
	struct endpoint to = {d->contact.addr, d->contact.port};
	struct association *a = d->association;
	struct rule_terms terms;
	struct addr from;

	policy_terms(walk.policy, rule, &terms);
	a->any_count -= d->state == MAY_PASS && d->replies == 2;
	d->state = MAY_PASS;
	d->replies = terms.udp_replies;
	d->on_revoke = terms.on_revoke;
	d->drain_ms = terms.drain_ms;
	d->revoke_by_ms = 0;
	a->any_count += d->replies == 2;
	d->idle_ms = terms.idle_ms;
	d->lifetime_ms = terms.lifetime_ms;
	datagram_peer_set(&d->peer, &to, egress_for(&to.addr, &terms, &from));
	if (d->idle_ms != 0 || d->lifetime_ms != 0)
		keep_limits(a, d->idle_ms, d->lifetime_ms);
}

/* It has been told, and is asked again later: its next datagram must look for it. */
static void
close_for(struct destination *d, int64_t ms)
{
	d->retry_ms = loop_now() + ms;
	if (d->association->last == d)
		d->association->last = NULL;
	close_door(d);
}

static void
over_limit(struct destination *d)
{
	close_for(d, RETRY_FULL_MS);
	tell(d, END_LIMIT);
	drop_held(d, COUNT_UP_LIMIT);
}

static void
permitted(struct destination *d, const struct addr *at, const struct rules_answer *answer)
{
	decide_count(d->card, answer);
	note_address(d->card, at);
	if (!count_by(d, answer->rule)) {
		over_limit(d);
		return;
	}
	contacts_reach(&d->association->contacts, &d->contact, at);
	terms_of(d, answer->rule);
}

/* Told at once, and once; the verdict stays. */
static void
denied(struct destination *d, const struct rules_answer *answer)
{
	decide_count(d->card, answer);
	close_door(d);
	tell(d, END_DENIED);
	drop_held(d, COUNT_UP_DENIED);
}

static void
judge_addresses(struct destination *d, const struct addr *list, size_t n)
{
	struct rules_answer answer, first = {0};

	for (size_t i = 0; i < n; i++) {
		if (judge(d, &list[i], &answer) == RULES_PERMIT) {
			permitted(d, &list[i], &answer);
			return;
		}
		if (i == 0)
			first = answer; /* if none is allowed, this denial is told */
	}
	note_address(d->card, &list[0]);
	denied(d, &first);
}

static void
not_resolved(struct destination *d, enum resolver_status status)
{
	d->card->rule = RULE_DEFAULT;
	d->card->reason = REASON_UNDETERMINED;
	d->card->policy = walk.generation;
	d->judged = walk.generation;
	close_for(d, RETRY_MS);
	tell(d, status == RESOLVE_NOT_FOUND ? END_NAME_NOT_FOUND : END_DNS_FAILED);
	drop_held(d, COUNT_UP_DENIED);
}

static void
resolved(struct destination *d, const struct answer *answer)
{
	if (answer->status == RESOLVED && answer->count > 0)
		judge_addresses(d, answer->list, answer->count);
	else
		not_resolved(d, answer->status);
}

/* ---- sockets ---------------------------------------------------------------------- */

static int watch_socket(struct association *a, int which, int fd);

static struct association *
association_of(struct watch *w, int which)
{
	return (struct association *)((char *)(w - which) - offsetof(struct association, watches));
}

/* One a family, opened when it is first needed. -1: no descriptor. */
static int
target_socket(struct association *a, const struct addr *to)
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

/* Where the destination sees us. */
static void
note_source(struct destination *d, int fd)
{
	struct card *c = d->card;
	struct endpoint local;

	if ((c->flags & CARD_HAS_NAT) != 0 || !conn_local(fd, &local))
		return;
	if (d->peer.has_from)
		c->nat = d->peer.from;
	else if (!order_source(&d->contact.addr, &c->nat))
		return;
	c->nat_port = local.port;
	c->flags |= CARD_HAS_NAT;
}

/* Into the bag. */
static void
send_up(struct destination *d, const uint8_t *data, size_t len)
{
	struct association *a = d->association;
	int fd = target_socket(a, &d->contact.addr);

	if (fd == -1 || !limits_pass(d->line, 0, len)) {
		drop(a, COUNT_UP_LIMIT);
		return;
	}
	note_source(d, fd);
	datagram_put(fd, &d->peer, NULL, 0, data, len, d);
}

/* ---- waiting for a name ------------------------------------------------------------- */

static void
hold(struct destination *d, const uint8_t *data, size_t len)
{
	struct association *a = d->association;
	struct held *h;

	if (a->held_count >= HELD_DATAGRAMS || a->held_bytes + len > HELD_BYTES ||
	    (h = malloc(sizeof *h + len)) == NULL) {
		drop(a, COUNT_UP_LIMIT);
		return;
	}
	h->next = NULL;
	h->len = len;
	memcpy(h->data, data, len);
	*d->held_end = h;
	d->held_end = &h->next;
	a->held_count++;
	a->held_bytes += (uint32_t)len;
}

static void
name_answered(struct waiter *w, const struct answer *answer)
{
	struct destination *d =
	    (struct destination *)((char *)w - offsetof(struct destination, waiter));
	struct held *h;

	d->card->us[STAGE_DNS] = (uint32_t)((loop_now_ns() - d->since_ns) / 1000);
	resolved(d, answer);
	datagram_begin(sent_up);
	while ((h = take_held(d)) != NULL) {
		send_up(d, h->data, h->len);
		datagram_flush();
		free(h);
	}
}

static void
ask_name(struct destination *d)
{
	struct rules_answer answer;
	struct answer now;

	if (judge(d, NULL, &answer) ==
	    RULES_DENY) { /* a name that no rule could allow is not looked up */
		denied(d, &answer);
		return;
	}
	d->waiter.answered = name_answered;
	if (resolver_ask(d->name, &d->waiter, &now) != RESOLVE_PENDING)
		resolved(d, &now);
}

/* ---- new destinations ----------------------------------------------------------------- */

static bool
take_fresh(struct association *a)
{
	int64_t less = (loop_now() - a->fresh_ms) * NEW_A_SECOND / 1000;

	if (less > 0) {
		a->fresh -= less > a->fresh ? a->fresh : (uint32_t)less;
		a->fresh_ms = loop_now();
	}
	if (a->fresh >= NEW_AT_ONCE)
		return false;
	a->fresh++;
	return true;
}

static struct destination *
destination_new(struct association *a, const struct udp_header *h, struct card *card)
{
	size_t name_len = h->kind == NAME_HOST ? h->name_len : 0;
	struct destination *d = calloc(1, sizeof *d + name_len + 1);

	if (d == NULL)
		return NULL;
	d->association = a;
	d->card = card;
	d->held_end = &d->held;
	d->since_ns = loop_now_ns();
	d->contact.port = h->port;
	d->contact.addr = h->addr;
	if (h->kind == NAME_HOST) {
		memcpy(d->name, h->name, name_len + 1);
		d->contact.name = d->name;
		d->contact.name_len = (uint8_t)name_len;
	}
	if (contacts_add(&a->contacts, &d->contact))
		return d;
	free(d);
	return NULL;
}

static void
describe(struct card *c, const struct udp_header *h)
{
	c->flags |= CARD_HAS_REQUEST;
	c->destination_port = h->port;
	c->rule = RULE_DEFAULT;
	c->policy = walk.generation;
	if (h->kind == NAME_ADDRESS)
		note_address(c, &h->addr);
	if (h->sent != NULL)
		card_set_string(walk.books, c, CARD_NAME, h->sent, h->sent_len);
}

/* NULL: no room for it. */
static struct destination *
destination_begin(struct association *a, const struct udp_header *h)
{
	struct destination *d;
	struct card *card;

	if (!take_fresh(a) || (h->kind == NAME_HOST && a->held_count >= HELD_DATAGRAMS))
		return NULL;
	card =
	    card_take_destination(walk.books, a->session->card, walk.session_count, loop_wall_ns());
	if (card == NULL)
		return NULL;
	if (a->contacts.count >= DESTINATIONS)
		destination_end(destination_of(a->contacts.oldest), END_LIMIT);
	if ((d = destination_new(a, h, card)) == NULL) {
		card_drop(walk.books, card);
		return NULL;
	}
	describe(card, h);
	if (h->kind == NAME_HOST)
		ask_name(d);
	else
		judge_addresses(d, &h->addr, 1);
	return d;
}

/* ---- what a new policy says -------------------------------------------------------------- */

enum { SEVER, KEEP, DRAIN }; /* rule_terms.on_revoke */

/* The rule that allowed it until now says what becomes of it. False: it is over. */
static bool
forbidden(struct destination *d)
{
	if (d->on_revoke == KEEP)
		return true;
	if (d->on_revoke == DRAIN) {
		if (d->revoke_by_ms == 0) /* another reload gives no more time */
			d->revoke_by_ms = loop_now() + d->drain_ms;
		return true;
	}
	destination_end(d, END_REVOKED);
	return false;
}

/* False: it is over; the next datagram there is judged as a new one. */
static bool
judge_again(struct destination *d)
{
	struct rules_answer answer;

	if (d->state == WAITS_FOR_NAME)
		return true; /* judged by what is in force when the answer comes */
	if (d->state == MAY_NOT) {
		destination_end(d, END_DENIED); /* told already */
		return false;
	}
	if (judge(d, &d->contact.addr, &answer) != RULES_PERMIT)
		return forbidden(d);
	d->card->rule = answer.rule;
	d->card->reason = (uint8_t)answer.reason;
	d->card->policy = walk.generation;
	d->card->dry_run = answer.dry_run;
	if (!count_by(d, answer.rule)) {
		destination_end(d, END_LIMIT);
		return false;
	}
	terms_of(d, answer.rule);
	return true;
}

/* Before each use. False: it is over. */
static bool
still_good(struct destination *d)
{
	if (d->revoke_by_ms != 0 && loop_now() >= d->revoke_by_ms) {
		destination_end(d, END_REVOKED);
		return false;
	}
	return d->judged == walk.generation || judge_again(d);
}

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
		if (d->judged == walk.generation || judge_again(d))
			keep_limits(a, d->idle_ms, d->lifetime_ms);
	}
	keep_limits(a, 0, 0);
	return n;
}

/* ---- from the client ------------------------------------------------------------------------ */

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

/* Where it goes; NULL: nowhere, and that is counted. *header: its length. */
static struct destination *
destination_for(struct association *a, const struct datagram *g, size_t *header)
{
	struct udp_header h;
	struct contact *c;
	struct destination *d;

	if (a->last != NULL && g->len >= a->last_len &&
	    memcmp(g->data, a->last_header, a->last_len) == 0) {
		*header = a->last_len;
		return a->last;
	}
	if (udp_decode(g->data, g->len, &h) != UDP_FINE || h.port == 0) {
		drop(a, COUNT_UP_MALFORMED);
		return NULL;
	}
	*header = h.len;
	c = contacts_find(&a->contacts, h.kind == NAME_HOST ? h.name : NULL, h.name_len, &h.addr,
			  h.port);
	if (c != NULL && destination_of(c)->retry_ms != 0 &&
	    destination_of(c)->retry_ms <= loop_now()) {
		destination_end(destination_of(c),
				END_DENIED); /* told already: ask for the name again */
		c = NULL;
	}
	d = c != NULL ? destination_of(c) : destination_begin(a, &h);
	if (d == NULL) {
		drop(a, COUNT_UP_LIMIT);
		return NULL;
	}
	if (h.len <= sizeof a->last_header && d->retry_ms == 0) {
		a->last = d;
		a->last_len = h.len;
		memcpy(a->last_header, g->data, h.len);
	}
	return d;
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
	if (!still_good(d)) {
		pass_on_up(a, g); /* as new: once */
		return;
	}
	contacts_touch(&a->contacts, &d->contact);
	if (d->state == MAY_PASS)
		send_up(d, g->data + header, g->len - header);
	else if (d->state == WAITS_FOR_NAME)
		hold(d, g->data + header, g->len - header);
	else
		drop(a, COUNT_UP_DENIED);
}

static void
pass_up(struct association *a, const struct datagram *g)
{
	struct protect *protect = a->session->pump.protect;
	struct datagram opened = *g;

	if (!is_client(a, &g->from))
		drop(a, COUNT_UP_STRANGER);
	else if (protect == NULL)
		pass_on_up(a, g);
	else if (protect_open_datagram(protect, g->data, g->len, &opened.data, &opened.len))
		pass_on_up(a, &opened);
	else
		drop(a, COUNT_UP_MALFORMED);
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
	some_batches(association_of(w, FOR_CLIENT), FOR_CLIENT, sent_up, pass_up);
}

/* ---- from the targets --------------------------------------------------------------------------
 */

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

	if (d == NULL || !still_good(d))
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
	sent_down(owner, n, framed, error);
}

static void
pass_down_protected(struct destination *d, const uint8_t *head, size_t head_len,
		    const struct datagram *g)
{
	static uint8_t plain[UDP_HEADER_MOST + GSS_TOKEN_MOST], frame[GSS_FRAME_MOST];
	struct association *a = d->association;
	size_t most = addr_is4(&a->client_at.addr) ? DATAGRAM_MOST4 : DATAGRAM_MOST6, len;

	if (head_len + g->len > GSS_TOKEN_MOST - PROTECT_MORE) {
		drop(a, COUNT_DOWN_FAILED);
		return;
	}
	memcpy(plain, head, head_len);
	memcpy(plain + head_len, g->data, g->len);
	len = protect_frame(a->session->pump.protect, plain, head_len + g->len, frame);
	if (len == 0 || len > most) {
		drop(a, COUNT_DOWN_FAILED);
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
		drop(a, COUNT_DOWN_UNSOLICITED);
	else if (!limits_pass(d->line, 1, g->len))
		drop(a, COUNT_DOWN_LIMIT);
	else if (a->session->pump.protect != NULL)
		pass_down_protected(d, heads[used], len, g);
	else if (g->len + len > (addr_is4(&a->client_at.addr) ? DATAGRAM_MOST4 : DATAGRAM_MOST6))
		drop(a, COUNT_DOWN_FAILED); /* with its header it is none any more */
	else
		datagram_put(a->watches[FOR_CLIENT].fd, &a->client, heads[used], len, g->data,
			     g->len, d);
}

static void
from_ipv4(struct watch *w, uint32_t events)
{
	(void)events;
	some_batches(association_of(w, FOR_IPV4), FOR_IPV4, sent_down, pass_down);
}

static void
from_ipv6(struct watch *w, uint32_t events)
{
	(void)events;
	some_batches(association_of(w, FOR_IPV6), FOR_IPV6, sent_down, pass_down);
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
	keep_limits(a, a->own_idle_ms, a->own_lifetime_ms);
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
