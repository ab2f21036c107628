/*
 * walk/resolve.c - the name's addresses, asked for only when some rule still possible depends on
 * them: a name that no rule could allow is never looked up (POLICY semantics 6).
 */
#include "walk/session.h"

#include <string.h>

static void
take(struct approach *a, const struct answer *answer)
{
	a->resolved = true;
	a->resolution = answer->status;
	a->found_count = answer->count;
	if (answer->count > 0)
		memcpy(a->found, answer->list, answer->count * sizeof a->found[0]);
}

static void
answered(struct waiter *w, const struct answer *answer)
{
	struct approach *a = (struct approach *)((char *)w - offsetof(struct approach, waiter));

	take(a, answer);
	session_walk(a->session);
}

static enum step
conclude(struct session *s)
{
	struct approach *a = s->approach;

	s->card->us[STAGE_DNS] = (uint32_t)((loop_now_ns() - a->stage_ns) / 1000);
	if (a->resolution == RESOLVED)
		return STEP_NEXT;
	decide_note(s, &(struct rules_answer){.verdict = RULES_DENY,
					      .rule = RULE_DEFAULT,
					      .reason = REASON_UNDETERMINED,
					      .tested = a->answer.tested});
	return session_end(s, a->resolution == RESOLVE_NOT_FOUND ? END_NAME_NOT_FOUND
								 : END_DNS_FAILED);
}

enum step
resolve_step(struct session *s)
{
	struct approach *a = s->approach;
	struct answer now;

	if (a->facts.name == NULL)
		return STEP_NEXT;
	if (a->resolved)
		return conclude(s);
	if (a->asked)
		return STEP_WAIT;
	a->facts.listener = session_listener(s);
	rules_evaluate(walk.policy, &a->facts, &a->answer);
	if (a->answer.verdict == RULES_DENY)
		return STEP_NEXT; /* decide tells it */
	a->asked = true;
	a->stage_ns = loop_now_ns();
	a->waiter.answered = answered;
	if (resolver_ask(a->request.name, &a->waiter, &now) == RESOLVE_PENDING)
		return STEP_WAIT;
	take(a, &now);
	return conclude(s);
}
