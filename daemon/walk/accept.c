/*
 * walk/accept.c - a client has come: limits before work, then whether any rule could ever allow it.
 * Refused here it gets no byte; reading would be work done for nothing.
 */
#include "walk/session.h"

enum step
accept_step(struct session *s)
{
	struct approach *a = s->approach;

	if (walk.session_count > walk.session_most ||
	    tally_take(walk.tally, &walk.limits, &s->card->source) != TALLY_OK)
		return session_end(s, END_LIMIT);
	s->card->flags |= CARD_COUNTED | CARD_HANDSHAKE;

	a->facts.known = FACT_CLIENT | FACT_TIME;
	a->facts.client = s->card->source;
	a->facts.listener = session_listener(s);
	a->facts.time = loop_wall_ns() / 1000000000;
	a->facts.self = &walk.self;
	rules_evaluate(walk.policy, &a->facts, &a->answer);
	if (a->answer.verdict == RULES_DENY) {
		decide_note(s, &a->answer);
		return session_end(s, END_DENIED);
	}
	a->methods = a->answer.methods;
	a->asserted_matters = (a->answer.needs & (FACT_ASSERTED | FACT_GROUPS)) != 0;
	return STEP_NEXT;
}
