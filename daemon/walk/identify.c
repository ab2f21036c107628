/*
 * walk/identify.c - asserted identities (ident, USERID) and the groups of their users, where a
 * rule in play asks for them: the client's host is asked only if the answer can change the
 * verdict, and only in networks that the settings trust. Keeps what is known of who it is.
 */
#include "walk/session.h"

#include <stdlib.h>
#include <string.h>

#include "net/conn.h"

/* What the client's host has said of it. */
enum ident_said {
	IDENT_UNASKED,
	IDENT_SAID_USER,   /* a user; with SOCKS4, that of the USERID */
	IDENT_SAID_OTHER,  /* another one than the USERID, an opaque token, or that it will not say
			    */
	IDENT_SAID_NOTHING /* not reached, or no answer that is one */
};

/* ---- who it is ----------------------------------------------------------------------- */

static const char *
put_string(char **at, const char *s, size_t len)
{
	char *start = *at;

	if (s == NULL)
		return NULL;
	memcpy(start, s, len);
	start[len] = '\0';
	*at += len + 1;
	return start;
}

static void
put_groups(struct identity *who, char **at, const struct identity_parts *p)
{
	char *next = *at;

	memcpy(*at, p->groups, p->groups_len);
	*at += p->groups_len;
	for (; who->group_count < p->group_count; next += strlen(next) + 1)
		who->groups[who->group_count++] = next;
}

/* What rules see of the session's identity; what is known of it is the caller's to say. */
static void
fill_facts(struct approach *a, const struct identity *who)
{
	a->facts.proven_by = who->proven_by;
	a->facts.proven_user = who->proven_user;
	a->facts.asserted_by = who->asserted_by;
	a->facts.asserted_user = who->asserted_user;
	a->facts.groups = who->groups;
	a->facts.group_count = who->group_count;
	a->facts.groups_failed = who->groups_failed;
}

bool
identify_set(struct session *s, const struct identity_parts *p)
{
	size_t fixed = sizeof(struct identity) + p->group_count * sizeof(char *);
	struct identity *who =
	    malloc(fixed + p->proven_len + 1 + p->asserted_len + 1 + p->groups_len);
	char *at;

	if (who == NULL)
		return false;
	at = (char *)who + fixed;
	*who = (struct identity){
	    .proven_by = p->proven_by,
	    .asserted_by = p->asserted_by,
	    .groups_known = p->groups_known,
	    .groups_failed = p->groups_failed,
	};
	who->proven_user = put_string(&at, p->proven, p->proven_len);
	who->asserted_user = put_string(&at, p->asserted, p->asserted_len);
	if (p->group_count > 0)
		put_groups(who, &at, p);
	free(s->identity);
	s->identity = who;
	fill_facts(s->approach, who);
	return true;
}

/* The parts of what is known already; its groups stand behind each other, as they were given. */
static struct identity_parts
parts_of(const struct identity *who)
{
	struct identity_parts p = {0};

	if (who == NULL)
		return p;
	p.proven_by = who->proven_by;
	p.proven = who->proven_user;
	p.proven_len = who->proven_user != NULL ? strlen(who->proven_user) : 0;
	p.asserted_by = who->asserted_by;
	p.asserted = who->asserted_user;
	p.asserted_len = who->asserted_user != NULL ? strlen(who->asserted_user) : 0;
	p.groups_known = who->groups_known;
	p.groups_failed = who->groups_failed;
	p.group_count = who->group_count;
	if (who->group_count > 0) {
		const char *last = who->groups[who->group_count - 1];

		p.groups = who->groups[0];
		p.groups_len = (size_t)(last + strlen(last) + 1 - p.groups);
	}
	return p;
}

static bool
set_asserted(struct session *s, uint8_t by, const char *user, size_t len)
{
	struct identity_parts p = parts_of(s->identity);

	p.asserted_by = by;
	p.asserted = user;
	p.asserted_len = len;
	return identify_set(s, &p);
}

static bool
is_proven(const struct session *s)
{
	return s->identity != NULL && s->identity->proven_user != NULL;
}

void
identify_tell(struct session *s, int32_t rule)
{
	const struct identity *who = s->identity;
	struct rule_terms terms;
	uint32_t by;

	if (rule < 0 || who == NULL || who->asserted_by == 0)
		return;
	policy_terms(walk.policy, rule, &terms);
	by = terms.auth & who->asserted_by;
	if ((terms.auth & who->proven_by) != 0 || by == 0)
		return;
	s->card->auth = (by & AUTH_IDENT) != 0 ? AUTH_IDENT : AUTH_USERID;
	card_set_string(walk.books, s->card, CARD_USER, who->asserted_user,
			strlen(who->asserted_user));
}

/* ---- asking the client's host -------------------------------------------------------- */

bool
identify_trusted(const struct session *s)
{
	const struct settings *c = walk.settings;

	for (uint32_t i = 0; i < c->auth.ident_trusted_count; i++)
		if (prefix_contains(&c->auth.ident_trusted[i], &s->card->source))
			return true;
	return false;
}

/* As far as is known; what was learned at the greeting holds while the policy does. */
static bool
matters(const struct session *s)
{
	return s->approach->asserted_matters || s->card->policy != walk.generation;
}

static bool
needs(struct session *s, uint32_t fact)
{
	struct approach *a = s->approach;

	a->facts.listener = session_listener(s);
	rules_evaluate(walk.policy, &a->facts, &a->answer);
	return a->answer.verdict == RULES_NEED && (a->answer.needs & fact) != 0;
}

static bool
is_userid(const struct approach *a, const struct ident_answer *answer)
{
	return answer->user_len == a->request.userid_len &&
	       memcmp(answer->user, a->request.userid, answer->user_len) == 0;
}

static enum ident_said
take_answer(struct session *s, const struct ident_answer *answer)
{
	bool is4 = s->card->version == 4;
	uint8_t by = is4 ? AUTH_IDENT | AUTH_USERID : AUTH_IDENT;

	if (answer == NULL)
		return IDENT_SAID_NOTHING;
	if (answer->user_len > 0 && !is_proven(s)) { /* it is recorded, whatever it is */
		s->card->auth = AUTH_IDENT;
		card_set_string(walk.books, s->card, CARD_USER, answer->user, answer->user_len);
	}
	if (answer->result != IDENT_USER || (is4 && !is_userid(s->approach, answer)))
		return IDENT_SAID_OTHER;
	return set_asserted(s, by, answer->user, answer->user_len) ? IDENT_SAID_USER
								   : IDENT_SAID_NOTHING;
}

static void
count_lookup(enum meter_lookup result)
{
	meter_add(&books_meters(walk.books)->lookups[result], 1);
}

static void
host_answered(void *owner, const struct ident_answer *answer)
{
	struct approach *a = owner;
	struct session *s = a->session;

	a->inquiry = NULL;
	a->ident = (uint8_t)take_answer(s, answer);
	count_lookup(a->ident == IDENT_SAID_USER    ? LOOKUP_USER
		     : a->ident == IDENT_SAID_OTHER ? LOOKUP_OTHER
						    : LOOKUP_NOTHING);
	s->card->us[STAGE_IDENT] = (uint32_t)((loop_now_ns() - a->stage_ns) / 1000);
	session_walk(s);
}

/* True: an answer will come. */
static bool
ask_host(struct session *s)
{
	struct approach *a = s->approach;
	struct endpoint client = {s->card->source, s->card->source_port}, ours;

	a->ident = IDENT_SAID_NOTHING;
	if (!conn_local(session_client(s)->fd, &ours))
		return false;
	a->stage_ns = loop_now_ns();
	a->inquiry =
	    ident_ask(&client, &ours, walk.settings->auth.ident_timeout_ms, host_answered, a);
	if (a->inquiry == NULL)
		count_lookup(LOOKUP_SKIPPED);
	return a->inquiry != NULL;
}

static bool
wants_host(struct session *s)
{
	return s->approach->ident == IDENT_UNASKED && matters(s) && identify_trusted(s) &&
	       needs(s, FACT_ASSERTED) && (s->approach->answer.kinds & AUTH_IDENT) != 0;
}

/* A USERID is a claim, which its own client's host has not denied. */
static enum step
claim_userid(struct session *s)
{
	const struct socks_request *r = &s->approach->request;

	if (s->card->version != 4 || r->userid_len == 0 || s->approach->ident == IDENT_SAID_USER ||
	    s->approach->ident == IDENT_SAID_OTHER)
		return STEP_NEXT;
	return set_asserted(s, AUTH_USERID, r->userid, r->userid_len)
		   ? STEP_NEXT
		   : session_end(s, END_INTERNAL);
}

/* ---- groups of an asserted user ------------------------------------------------------ */

static void
groups_answered(struct question *q, const struct ipc_auth_answer *answer, const char *behind)
{
	struct approach *a = (struct approach *)((char *)q - offsetof(struct approach, question));
	struct identity_parts p = parts_of(a->session->identity);

	p.groups_known = true;
	p.groups_failed = answer == NULL || answer->result != ANSWER_OK || answer->groups_failed;
	if (!p.groups_failed) {
		p.groups = behind + answer->user_len;
		p.groups_len = answer->groups_len;
		p.group_count = answer->group_count;
	}
	if (!identify_set(a->session, &p))
		a->facts.groups_failed = true;
	session_walk(a->session);
}

/* True: an answer will come. */
static bool
ask_groups(struct session *s)
{
	struct approach *a = s->approach;
	struct ipc_auth_ask ask = {
	    .kind = ASK_GROUPS,
	    .client = {s->card->source, s->card->source_port},
	    .user_len = (uint32_t)strlen(a->facts.asserted_user),
	};
	struct ask_bytes bytes = {.user = a->facts.asserted_user};

	a->groups_asked = true;
	a->question.answered = groups_answered;
	if (ask_put(&a->question, &ask, &bytes))
		return true;
	s->identity->groups_failed = true; /* and so what asks for groups is undetermined */
	a->facts.groups_failed = true;
	return false;
}

static bool
wants_groups(struct session *s)
{
	const struct approach *a = s->approach;

	return !a->groups_asked && a->facts.asserted_user != NULL && matters(s) &&
	       needs(s, FACT_GROUPS);
}

/* ---- the stage ----------------------------------------------------------------------- */

/* A rule that asks for ident would have decided, had the host said what the client says. */
enum ending
identify_refusal(const struct session *s)
{
	const struct approach *a = s->approach;
	struct rules_facts f = a->facts;
	struct rules_answer answer;
	bool decides = false;

	if (a->ident != IDENT_SAID_NOTHING && a->ident != IDENT_SAID_OTHER)
		return END_DENIED;
	if (s->card->version == 4 && a->request.userid_len > 0) {
		f.asserted_by = AUTH_IDENT | AUTH_USERID;
		f.asserted_user = a->request.userid;
	} else
		f.known &= ~(uint32_t)FACT_ASSERTED;
	if (!is_proven(s))
		f.known &= ~(uint32_t)FACT_GROUPS;
	if (a->found_count == 0) {
		rules_evaluate(walk.policy, &f, &answer);
		decides = answer.verdict != RULES_DENY;
	}
	for (size_t i = 0; i < a->found_count && !decides; i++) {
		f.address = a->found[i];
		rules_evaluate(walk.policy, &f, &answer);
		decides = answer.verdict != RULES_DENY;
	}
	if (!decides)
		return END_DENIED;
	return a->ident == IDENT_SAID_OTHER ? END_IDENT_MISMATCH : END_IDENT_UNREACHABLE;
}

enum step
identify_step(struct session *s)
{
	struct approach *a = s->approach;

	if ((a->facts.known & FACT_ASSERTED) == 0) {
		if (a->inquiry != NULL || (wants_host(s) && ask_host(s)))
			return STEP_WAIT;
		if (claim_userid(s) == STEP_OVER)
			return STEP_OVER;
		a->facts.known |= FACT_ASSERTED;
	}
	if ((a->facts.known & FACT_GROUPS) == 0) {
		if (a->question.ticket != 0 || (wants_groups(s) && ask_groups(s)))
			return STEP_WAIT;
		a->facts.known |= FACT_GROUPS;
	}
	return STEP_NEXT;
}
