/*
 * walk/decide.c - the verdict: every address that the name led to (or the one that was asked for)
 * is judged by itself; the permitted ones go on to be tried (POLICY semantics 6).
 */
#include "walk/session.h"

#include <string.h>

static void
note(struct session *s, const struct rules_answer *answer)
{
	s->card->rule = answer->rule;
	s->card->reason = (uint8_t)answer->reason;
	s->card->policy = walk.generation;
	if (answer->alert)
		s->card->flags |= CARD_ALERT;
	s->judged = walk.generation;
}

static void
judge(struct session *s, const struct addr *at)
{
	struct approach *a = s->approach;
	struct rules_answer answer;

	a->facts.known |= FACT_ADDRESS;
	a->facts.address = *at;
	rules_evaluate(walk.policy, &a->facts, &answer);
	if (answer.verdict == RULES_PERMIT && a->dial.count < DIAL_ADDRESSES) {
		a->rules[a->dial.count] = answer.rule;
		a->dial.to[a->dial.count++] = *at;
		if (a->dial.count == 1)
			a->answer = answer;
	}
	if (a->dial.count == 0 && at == &a->found[0])
		a->answer = answer; /* if none is allowed, the first answer's denial is told */
}

enum step
decide_step(struct session *s)
{
	struct approach *a = s->approach;

	a->dial.count = 0;
	a->facts.listener = session_listener(s);
	if (a->facts.name == NULL) {
		a->found[0] = a->request.addr;
		a->found_count = 1;
	}
	for (size_t i = 0; i < a->found_count; i++)
		judge(s, &a->found[i]);
	note(s, &a->answer);
	if (a->dial.count > 0)
		return STEP_NEXT;
	if (a->found_count > 0) {
		s->card->destination = a->found[0];
		s->card->flags |= CARD_HAS_ADDRESS;
	}
	return session_end(s, END_DENIED);
}

void
decide_facts(const struct session *s, struct rules_facts *f, char name[NAME_MAX_LEN + 1])
{
	const struct card *c = s->card;
	const struct identity *who = s->identity;
	char sent[256];
	struct addr literal;
	size_t len;

	*f = (struct rules_facts){
	    .known = FACT_ALL,
	    .client = c->source,
	    .listener = session_listener(s),
	    .version = c->version,
	    .command = c->command,
	    .address = c->destination,
	    .port = c->destination_port,
	    .time = loop_wall_ns() / 1000000000,
	    .self = &walk.self,
	};
	if (who != NULL) {
		f->proven_by = who->proven_by;
		f->proven_user = who->proven_user;
		f->asserted_by = who->asserted_by;
		f->asserted_user = who->asserted_user;
		f->groups = who->groups;
		f->group_count = who->group_count;
		f->groups_failed = who->groups_failed;
	}
	len = card_string(walk.books, c, CARD_NAME, sent);
	if (len > 0 && name_canonical(sent, len, name, &f->name_len, &literal) == NAME_HOST)
		f->name = name;
	else
		f->name_len = 0;
}

bool
decide_again(struct session *s)
{
	char name[NAME_MAX_LEN + 1];
	struct rules_answer answer;
	struct rules_facts f;

	decide_facts(s, &f, name);
	rules_evaluate(walk.policy, &f, &answer);
	s->judged = walk.generation;
	return answer.verdict == RULES_PERMIT;
}
