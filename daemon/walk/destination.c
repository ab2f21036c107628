/*
 * walk/destination.c - where a UDP association sends to: each destination is what the client asked
 * for, has a verdict and a card of its own, and may have to wait for a name. No stage: associate.c
 * asks for each datagram where it goes. The worker; never blocks.
 */
#include "walk/association.h"

#include <stdlib.h>
#include <string.h>

#include "net/conn.h"
#include "net/order.h"
#include "walk/limits.h"
#include "wire/udp.h"

#define DESTINATIONS 1024 /* then the one that was used least recently goes */
#define NEW_AT_ONCE 2048  /* new destinations: each is a record */
#define NEW_A_SECOND 1000
#define HELD_DATAGRAMS 32 /* that wait for a name */
#define HELD_BYTES (128 * 1024)
#define RETRY_MS 30000     /* a name that did not resolve */
#define RETRY_FULL_MS 1000 /* a rule that had no room for another session */

struct held {
	struct held *next;
	size_t len;
	uint8_t data[];
};

/* ---- counting ----------------------------------------------------------------- */

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

void
destination_sent_up(void *owner, unsigned n, size_t bytes, int error)
{
	struct destination *d = owner;

	if (error == 0)
		passed(d, 0, n, bytes);
	else
		associate_drop(d->association, COUNT_UP_FAILED, n);
}

void
destination_sent_down(void *owner, unsigned n, size_t bytes, int error)
{
	struct destination *d = owner;

	if (error == 0)
		passed(d, 1, n, bytes);
	else
		associate_drop(d->association, COUNT_DOWN_FAILED, n);
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
		associate_drop(d->association, why, 1);
	}
}

static void
close_door(struct destination *d)
{
	if (d->state == MAY_PASS && d->replies == 2)
		d->association->any_count--;
	d->state = MAY_NOT;
}

void
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
		associate_keep_limits(a, d->idle_ms, d->lifetime_ms);
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

/* ---- sending ---------------------------------------------------------------------- */

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
void
destination_send(struct destination *d, const uint8_t *data, size_t len)
{
	struct association *a = d->association;
	int fd = associate_socket(a, &d->contact.addr);

	if (fd == -1 || !limits_pass(d->line, 0, len)) {
		associate_drop(a, COUNT_UP_LIMIT, 1);
		return;
	}
	note_source(d, fd);
	datagram_put(fd, &d->peer, NULL, 0, data, len, d);
}

/* ---- waiting for a name ------------------------------------------------------------- */

void
destination_hold(struct destination *d, const uint8_t *data, size_t len)
{
	struct association *a = d->association;
	struct held *h;

	if (a->held_count >= HELD_DATAGRAMS || a->held_bytes + len > HELD_BYTES ||
	    (h = malloc(sizeof *h + len)) == NULL) {
		associate_drop(a, COUNT_UP_LIMIT, 1);
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
	datagram_begin(destination_sent_up);
	while ((h = take_held(d)) != NULL) {
		destination_send(d, h->data, h->len);
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
bool
destination_judge_again(struct destination *d)
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
bool
destination_still_good(struct destination *d)
{
	if (d->revoke_by_ms != 0 && loop_now() >= d->revoke_by_ms) {
		destination_end(d, END_REVOKED);
		return false;
	}
	return d->judged == walk.generation || destination_judge_again(d);
}

/* ---- which it is ------------------------------------------------------------------ */

/* Where it goes; NULL: nowhere, and that is counted. *header: its length. */
struct destination *
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
		associate_drop(a, COUNT_UP_MALFORMED, 1);
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
		associate_drop(a, COUNT_UP_LIMIT, 1);
		return NULL;
	}
	if (h.len <= sizeof a->last_header && d->retry_ms == 0) {
		a->last = d;
		a->last_len = h.len;
		memcpy(a->last_header, g->data, h.len);
	}
	return d;
}
