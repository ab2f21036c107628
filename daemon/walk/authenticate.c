/*
 * walk/authenticate.c - who the client can prove to be: runs the dialogue of the method that was
 * chosen, asks the authenticator, and takes its word. With SOCKS4, and with SOCKS5's method "none",
 * nothing is said: what is then known is that nobody has proved anything.
 */
#include "walk/authenticate.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static const struct dialogue *const dialogues[] = {&authenticate_gssapi, &authenticate_chap,
						   &authenticate_password};

/* The authenticator has a deadline for each check and a bounded queue; this is for one that hangs.
 */
#define PATIENCE_CHECKS 4
#define PATIENCE_MS 10000

static const struct dialogue *
dialogue_of(const struct session *s)
{
	for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++)
		if (s->card->version == 5 && dialogues[i]->method == s->approach->method)
			return dialogues[i];
	return NULL;
}

uint32_t
authenticate_configured(void)
{
	const struct settings *c = walk.settings;

	return (c->auth.pam_service[0] != '\0' ? AUTH_PAM : 0) |
	       (c->auth.file_path[0] != '\0' ? AUTH_FILE : 0) |
	       (c->auth.gssapi_keytab[0] != '\0' ? AUTH_GSSAPI : 0) |
	       (c->auth.chap_path[0] != '\0' ? AUTH_CHAP : 0);
}

size_t
authenticate_refusal(const struct session *s, uint8_t out[AUTHENTICATE_REFUSAL])
{
	return dialogue_of(s)->verdict(out, false);
}

void
authenticate_used(struct approach *a, size_t used)
{
	size_t rest = a->in_len - a->in_used - used;

	memmove(a->in, a->in + a->in_used + used, rest);
	explicit_bzero(a->in + rest, a->in_len - rest);
	a->in_used = 0;
	a->in_len = rest;
}

void
authenticate_leave(struct approach *a)
{
	ask_forget(&a->question);
	authenticate_gssapi_leave(a);
	if (a->talking)
		explicit_bzero(a->in, a->in_len);
}

bool
authenticate_say(struct session *s, const uint8_t *bytes, size_t len)
{
	return send(session_client(s)->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* ---- the question -------------------------------------------------------------------- */

static void
stop_clock(struct session *s, int64_t due_ms, void (*fire)(struct timer *))
{
	struct approach *a = s->approach;

	a->clock_left_ms = s->timer.due_ms - loop_now();
	a->clock = s->timer.fire;
	timer_stop(&s->timer);
	timer_set(&s->timer, due_ms, fire);
}

static void
start_clock(struct session *s)
{
	struct approach *a = s->approach;

	timer_stop(&s->timer);
	timer_set(&s->timer, loop_now() + (a->clock_left_ms > 0 ? a->clock_left_ms : 0), a->clock);
}

static bool
one_bit(uint32_t set)
{
	return set != 0 && (set & (set - 1)) == 0;
}

/* A word that names nobody, or by a way that was not asked for, is none. */
static bool
take_identity(struct session *s, const struct ipc_auth_answer *answer, const char *behind)
{
	struct identity_parts p = {
	    .proven_by = (uint8_t)answer->proven_by,
	    .proven = behind,
	    .proven_len = answer->user_len,
	    .groups_known = true,
	    .groups_failed = answer->groups_failed != 0,
	    .groups = behind + answer->user_len,
	    .groups_len = answer->groups_len,
	    .group_count = answer->group_count,
	};

	return one_bit(answer->proven_by) && (answer->proven_by & s->approach->asked_for) != 0 &&
	       answer->user_len > 0 && memchr(behind, 0, answer->user_len) == NULL &&
	       identify_set(s, &p);
}

static void
no_answer(struct timer *t)
{
	struct session *s = session_of_timer(t);

	ask_forget(&s->approach->question);
	s->approach->verdict = ANSWER_UNAVAILABLE;
	session_walk(s);
}

/* It takes as long as the authenticator's own refusals, so that nobody learns more from the time.
 */
static void
fail_in_time(struct session *s)
{
	int64_t due = s->approach->stage_ns / 1000000 + walk.settings->auth.failure_delay_ms;

	timer_stop(&s->timer);
	timer_set(&s->timer, due, no_answer);
}

static void
answered(struct question *q, const struct ipc_auth_answer *answer, const char *behind)
{
	struct approach *a = (struct approach *)((char *)q - offsetof(struct approach, question));
	struct session *s = a->session;
	const struct dialogue *d = dialogue_of(s);

	if (answer == NULL) {
		fail_in_time(s);
		return;
	}
	a->verdict = ANSWER_UNAVAILABLE;
	if (answer->result == ANSWER_UNAVAILABLE) {
		session_walk(s);
		return;
	}
	if (answer->result == ANSWER_REFUSED) {
		a->verdict = ANSWER_REFUSED;
		a->locked = answer->locked != 0;
	} else if (answer->result == ANSWER_MORE) {
		if (d->take != NULL && d->take(s, answer, behind))
			a->verdict = ANSWER_MORE;
	} else if (take_identity(s, answer, behind) &&
		   (d->take == NULL || d->take(s, answer, behind)))
		a->verdict = ANSWER_OK;
	session_walk(s);
}

enum step
authenticate_ask(struct session *s, struct ipc_auth_ask *ask, const struct ask_bytes *bytes)
{
	struct approach *a = s->approach;
	int64_t patience = (int64_t)PATIENCE_CHECKS * walk.settings->auth.timeout_ms + PATIENCE_MS;

	if (ask->user_len > 0) /* a token of GSSAPI names nobody yet */
		card_set_string(walk.books, s->card, CARD_USER, bytes->user, ask->user_len);
	ask->client = (struct endpoint){s->card->source, s->card->source_port};
	ask->methods = a->asked_for;
	a->question.answered = answered;
	a->verdict = 0;
	a->asking = true;
	a->stage_ns = loop_now_ns();
	stop_clock(s, loop_now() + patience, no_answer);
	if (!ask_put(&a->question, ask, bytes))
		fail_in_time(s);
	return STEP_WAIT;
}

/* ---- the authenticator's word -------------------------------------------------------- */

static void
tell_ledger(struct session *s, enum books_event event)
{
	s->card->told_ns = loop_wall_ns();
	books_tell(walk.books, s->card, event);
}

static void
count_attempt(const struct session *s, enum meter_attempt result)
{
	static const uint8_t codes[METER_PROOFS] = {[PROOF_PASSWORD] = METHOD_USERPASS,
						    [PROOF_CHAP] = METHOD_CHAP,
						    [PROOF_GSSAPI] = METHOD_GSSAPI};
	struct meters *m = books_meters(walk.books);
	int method = 0;

	while (method < METER_PROOFS && codes[method] != s->approach->method)
		method++;
	if (method == METER_PROOFS)
		return;
	meter_add(&m->attempts[method][result], 1);
	meter_observe(m, TIME_AUTH + method, s->card->us[STAGE_AUTH]);
}

static enum step
succeed(struct session *s)
{
	struct approach *a = s->approach;
	const struct identity *who = s->identity;
	const struct dialogue *d = dialogue_of(s);
	uint8_t out[AUTHENTICATE_REFUSAL];
	size_t len;

	s->card->auth = who->proven_by;
	card_set_string(walk.books, s->card, CARD_USER, who->proven_user, strlen(who->proven_user));
	tell_ledger(s, EVENT_AUTH_SUCCESS);
	a->facts.known |= FACT_PROVEN | FACT_GROUPS;
	if (d->go_on != NULL)
		return d->go_on(s);
	a->talking = false;
	len = d->verdict(out, true);
	return authenticate_say(s, out, len) ? STEP_NEXT : session_end(s, END_CLIENT_RESET);
}

static enum step
take_verdict(struct session *s)
{
	struct approach *a = s->approach;

	a->asking = false;
	start_clock(s);
	s->card->us[STAGE_AUTH] += (uint32_t)((loop_now_ns() - a->stage_ns) / 1000);
	if (a->verdict != ANSWER_MORE)
		count_attempt(s, a->verdict == ANSWER_OK        ? ATTEMPT_GOOD
				 : a->verdict == ANSWER_REFUSED ? ATTEMPT_REFUSED
								: ATTEMPT_UNAVAILABLE);
	if (a->verdict == ANSWER_OK)
		return succeed(s);
	if (a->verdict == ANSWER_MORE)
		return dialogue_of(s)->go_on(s);
	if (a->verdict != ANSWER_REFUSED)
		return session_end(s, END_AUTH_UNAVAILABLE);
	tell_ledger(s, EVENT_AUTH_FAILURE);
	if (a->locked)
		tell_ledger(s, EVENT_LOCKOUT);
	return session_end(s, END_AUTH_FAILED);
}

/* While we wait: a client that has sent its FIN, and nothing behind its credentials, has left. */
static enum step
wait_on(struct session *s)
{
	const struct watch *w = session_client(s);
	uint8_t byte;
	ssize_t n;

	if ((w->spare & END_FIN_SEEN) == 0 || authenticate_in_len(s->approach) > 0)
		return STEP_WAIT;
	n = recv(w->fd, &byte, 1, MSG_PEEK);
	if (n == 0)
		return session_end(s, END_CLIENT_CLOSED);
	if (n == -1 && errno != EAGAIN && errno != EINTR)
		return session_end(s, END_CLIENT_RESET);
	return STEP_WAIT;
}

enum step
authenticate_step(struct session *s)
{
	struct approach *a = s->approach;
	const struct dialogue *d = dialogue_of(s);
	enum step step;

	if (d == NULL) {
		a->facts.known |= FACT_PROVEN;
		return STEP_NEXT;
	}
	if (!a->talking) {
		a->talking = true;
		a->asked_for = a->methods & d->proves & authenticate_configured();
	}
	if (a->asking) {
		if (a->verdict == 0)
			return wait_on(s);
		step = take_verdict(s);
		if (step != STEP_NEXT || !a->talking)
			return step;
	}
	step = d->talk(s);
	return step == STEP_WAIT && a->asking ? wait_on(s) : step;
}
