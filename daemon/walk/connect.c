/*
 * walk/connect.c - open, for CONNECT: reaching one of the permitted addresses.
 */
#include "walk/session.h"

#include <errno.h>

#include "net/conn.h"

static enum ending
ending_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return END_REFUSED;
	case ECONNRESET:
		return END_TARGET_RESET;
	case ENETUNREACH:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
		return END_NETWORK_UNREACHABLE;
	case ETIMEDOUT:
		return END_HOST_TIMEOUT;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return END_LIMIT;
	}
	return END_UNREACHABLE; /* EHOSTUNREACH, and what a local firewall answers */
}

static void
dialled(struct dial *d, uint32_t events)
{
	struct approach *a = (struct approach *)((char *)d - offsetof(struct approach, dial));

	a->dialled = true;
	a->target_events = events;
	session_walk(a->session);
}

static void
target_event(struct watch *w, uint32_t events)
{
	struct session *s =
	    (struct session *)((char *)w - offsetof(struct session, pump.end[PUMP_TARGET]));

	if (!s->approach->dialled)
		dial_first_ready(&s->approach->dial, events);
	else
		s->approach->target_events |= events;
}

/* Where we call from: the rule's egress, else the settings' first of the family, else the kernel's
 * choice. */
void
connect_egress(struct approach *a)
{
	struct rule_terms terms;

	a->dial.from4 = a->dial.from6 = NULL;
	for (uint32_t i = walk.settings->egress.count; i-- > 0;) {
		const struct addr *from = &walk.settings->egress.addresses[i];

		*(addr_is4(from) ? &a->egress4 : &a->egress6) = *from;
		*(addr_is4(from) ? &a->dial.from4 : &a->dial.from6) =
		    addr_is4(from) ? &a->egress4 : &a->egress6;
	}
	policy_terms(walk.policy, a->answer.rule, &terms);
	if (terms.has_egress4) {
		a->egress4 = terms.egress4;
		a->dial.from4 = &a->egress4;
	}
	if (terms.has_egress6) {
		a->egress6 = terms.egress6;
		a->dial.from6 = &a->egress6;
	}
}

enum step
connect_step(struct session *s)
{
	struct approach *a = s->approach;

	if (!a->dialling) {
		a->dialling = true;
		a->stage_ns = loop_now_ns();
		a->dial.port = a->request.port;
		a->dial.target = session_target(s);
		a->dial.target_ready = target_event;
		a->dial.done = dialled;
		connect_egress(a);
		dial_start(&a->dial);
		return STEP_WAIT;
	}
	if (!a->dialled)
		return STEP_WAIT;
	s->card->us[STAGE_CONNECT] = (uint32_t)((loop_now_ns() - a->stage_ns) / 1000);
	if (session_target(s)->fd == -1) {
		s->card->destination = a->dial.to[0];
		s->card->flags |= CARD_HAS_ADDRESS;
		return session_end(s, ending_of(a->dial.error));
	}
	if (!conn_local(session_target(s)->fd, &a->told))
		return session_end(s, END_INTERNAL);
	s->card->destination = a->dial.to[a->dial.winner];
	s->card->flags |= CARD_HAS_ADDRESS;
	if (!decide_reached(s, a->rules[a->dial.winner]))
		return session_end(s, END_LIMIT);
	bind_note_primary(s);
	session_target(s)->spare = pump_flags(a->target_events) | END_WRITABLE;
	return STEP_NEXT;
}
