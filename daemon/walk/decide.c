/*
 * walk/decide.c - the verdict: every address that the name led to (or the one that was asked for)
 * is judged by itself; the permitted ones go on to be tried (POLICY semantics 6).
 */
#include "walk/session.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "walk/limits.h"

/* Where to, as far as it is known. */
static void
put_target(struct text *t, const struct card *card)
{
	char name[256], at[ENDPOINT_TEXT];
	size_t len = card_string(walk.books, card, CARD_NAME, name);

	if (len > 0) {
		text_put(t, " to ");
		text_put_quoted(t, name, len, sizeof name);
		text_putf(t, " port %u", card->destination_port);
	} else if ((card->flags & CARD_HAS_ADDRESS) != 0) {
		struct endpoint e = {card->destination, card->destination_port};

		endpoint_format(&e, at);
		text_putf(t, " to %s", at);
	}
}

/* One line for the keeper of the machine; how many there may be is the log's to say. */
static void
alert(const struct card *card, int32_t rule, const char *did)
{
	struct endpoint from = {card->source, card->source_port};
	char line[1024], at[ENDPOINT_TEXT], id[BOOKS_ID], user[256];
	size_t len = card_string(walk.books, card, CARD_USER, user);
	struct rule_terms terms;
	struct text t;

	policy_terms(walk.policy, rule, &terms);
	endpoint_format(&from, at);
	books_id(walk.books, card, id);
	text_init(&t, line, sizeof line);
	text_putf(&t, "alert: rule '%s' %s %s", terms.name, did, at);
	if (len > 0) {
		text_put(&t, " user ");
		text_put_quoted(&t, user, len, sizeof user);
	}
	put_target(&t, card);
	text_putf(&t, " (session %s)", id);
	log_warning("%s", line);
}

/* A rule in mode dry-run stands before the one that decided. */
static void
count_dry_run(const struct card *card, int32_t rule)
{
	struct rule_terms terms;

	if (walk.hits != NULL)
		hits_dry_run(walk.hits, rule, loop_wall_ns());
	policy_terms(walk.policy, rule, &terms);
	if (terms.alert)
		alert(card, rule,
		      terms.allow ? "(dry-run) would have allowed" : "(dry-run) would have denied");
}

void
decide_count(struct card *card, const struct rules_answer *answer)
{
	card->rule = answer->rule;
	card->reason = (uint8_t)answer->reason;
	card->policy = walk.generation;
	card->dry_run = answer->dry_run;
	account_count(COUNT_DECISIONS, 1);
	meter_observe(books_meters(walk.books), METER_TESTED, answer->tested);
	if (walk.hits != NULL)
		hits_match(walk.hits, answer->rule, loop_wall_ns());
	if (answer->dry_run != 0)
		count_dry_run(card, (int32_t)(answer->dry_run - 1));
	if (answer->alert) {
		card->flags |= CARD_ALERT;
		alert(card, answer->rule, answer->verdict == RULES_PERMIT ? "allowed" : "denied");
	}
}

/* What the rule says of the session's life: its image may be gone when that is needed. */
static void
keep_words(struct session *s, int32_t rule)
{
	struct rule_terms terms;
	uint32_t idle;

	policy_terms(walk.policy, rule, &terms);
	s->on_revoke = terms.on_revoke;
	s->drain_ms = terms.drain_ms;
	if (s->approach == NULL)
		return; /* it lives by the words that it began with */
	idle = s->card->command == SOCKS_UDP ? walk.settings->timeouts.udp_idle
					     : walk.settings->timeouts.idle;
	s->idle_ms = terms.idle_ms == 0           ? idle
		     : terms.idle_ms > UINT32_MAX ? UINT32_MAX
						  : (uint32_t)terms.idle_ms;
	s->approach->lifetime_ms = terms.lifetime_ms;
}

void
decide_note(struct session *s, const struct rules_answer *answer)
{
	if (s->approach != NULL) /* else it has been told: it keeps the name that it began with */
		identify_tell(s, answer->rule);
	decide_count(s->card, answer);
	s->judged = walk.generation;
	if (answer->verdict == RULES_PERMIT)
		keep_words(s, answer->rule);
}

bool
decide_reached(struct session *s, int32_t rule)
{
	struct card *card = s->card;

	if (card->rule == rule)
		return true;
	/* Under a policy that has gone meanwhile the numbers mean nothing here; the ledger has it
	 * still. */
	if (card->policy == walk.generation) {
		if (walk.hits != NULL) {
			hits_unmatch(walk.hits, card->rule);
			hits_match(walk.hits, rule, loop_wall_ns());
		}
		keep_words(s, rule);
		identify_tell(s, rule);
		limits_leave(s);
		card->rule = rule;
		return limits_enter(s, rule);
	}
	card->rule = rule;
	return true;
}

/* One in METER_DECISIONS is timed, which is enough for a histogram and costs the others nothing. */
void
decide_evaluate(const struct rules_facts *f, struct rules_answer *out)
{
	static unsigned count;
	int64_t start;

	if (++count % METER_DECISIONS != 0) {
		rules_evaluate(walk.policy, f, out);
		return;
	}
	start = clock_mono_ns();
	rules_evaluate(walk.policy, f, out);
	meter_observe(books_meters(walk.books), TIME_DECISION, (uint64_t)(clock_mono_ns() - start));
}

static void
judge(struct session *s, const struct addr *at)
{
	struct approach *a = s->approach;
	struct rules_answer answer;

	a->facts.known |= FACT_ADDRESS;
	a->facts.address = *at;
	decide_evaluate(&a->facts, &answer);
	if (answer.verdict == RULES_PERMIT && a->dial.count < DIAL_ADDRESSES) {
		a->rules[a->dial.count] = answer.rule;
		a->dial.to[a->dial.count++] = *at;
		if (a->dial.count == 1)
			a->answer = answer;
	}
	if (a->dial.count == 0 && at == &a->found[0])
		a->answer = answer; /* if none is allowed, the first answer's denial is told */
}

/*
 * An association is granted if some datagram could be (POLICY semantics 9): what it will send to is
 * all that may be unknown. Then no rule has decided yet.
 */
static bool
grants(struct session *s, struct rules_answer *answer)
{
	const uint32_t later = FACT_NAME | FACT_ADDRESS | FACT_PORT;
	char name[NAME_MAX_LEN + 1];
	struct rules_facts f;

	decide_facts(s, &f, name);
	f.known &= ~later;
	rules_evaluate(walk.policy, &f, answer);
	return answer->verdict == RULES_PERMIT ||
	       (answer->verdict == RULES_NEED && (answer->needs & ~later) == 0);
}

static enum step
decide_association(struct session *s)
{
	struct rules_answer *answer = &s->approach->answer;
	bool granted = grants(s, answer);

	if (granted && answer->verdict == RULES_NEED) {
		s->card->rule = RULE_NONE;
		s->card->policy = walk.generation;
		s->judged = walk.generation;
		return STEP_NEXT;
	}
	decide_note(s, answer);
	if (!granted)
		return session_end(s, END_DENIED);
	return limits_enter(s, answer->rule) ? STEP_NEXT : session_end(s, END_LIMIT);
}

enum step
decide_step(struct session *s)
{
	struct approach *a = s->approach;

	if (s->card->command == SOCKS_UDP)
		return decide_association(s);
	a->dial.count = 0;
	a->facts.listener = session_listener(s);
	if (a->facts.name == NULL) {
		a->found[0] = a->request.addr;
		a->found_count = 1;
	}
	for (size_t i = 0; i < a->found_count; i++)
		judge(s, &a->found[i]);
	decide_note(s, &a->answer);
	if (a->dial.count > 0)
		return limits_enter(s, a->answer.rule) ? STEP_NEXT : session_end(s, END_LIMIT);
	if (a->found_count > 0) {
		s->card->destination = a->found[0];
		s->card->flags |= CARD_HAS_ADDRESS;
	}
	return session_end(s, identify_refusal(s));
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
	/* The card tells the port of the peer that called; it is judged with the one that was asked
	 * for. */
	if (c->command == SOCKS_BIND && (c->flags & CARD_HAS_NAT) != 0)
		f->port = card_door(walk.books, c)->port;
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

void
decide_peer(const struct session *s, const struct addr *peer, struct rules_answer *out)
{
	char name[NAME_MAX_LEN + 1];
	struct rules_facts f;

	decide_facts(s, &f, name);
	f.address = *peer;
	decide_evaluate(&f, out);
}

bool
decide_again(struct session *s, struct rules_answer *answer)
{
	char name[NAME_MAX_LEN + 1];
	struct rules_answer own;
	struct rules_facts f;

	if (answer == NULL)
		answer = &own;
	s->judged = walk.generation;
	if (s->card->command == SOCKS_UDP) {
		if (!grants(s, answer))
			return false;
	} else {
		decide_facts(s, &f, name);
		rules_evaluate(walk.policy, &f, answer);
		if (answer->verdict != RULES_PERMIT)
			return false;
	}
	if (answer->rule != RULE_NONE) /* of an association that no rule decides as a whole */
		keep_words(s, answer->rule);
	return true;
}
