/*
 * walk/session.c - the table of stages and the walk through it, see walk/session.h.
 * The worker; never blocks.
 */
#include "walk/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/protect.h"

#define FIN_GRACE_MS 250
#define LINGER_MS 2000         /* for a refused client to read its reply and leave */
#define LINGER_BYTES (1 << 20) /* what is read of it meanwhile; the rest has to wait */
#define MUTE_MOST 64           /* that were told nothing and are given the same time */

struct walk walk;

static enum step
account_step(struct session *s)
{
	(void)s;
	return STEP_OVER; /* nothing comes behind the account */
}

static const struct {
	const char *word;
	enum step (*step)(struct session *s);
} stages[AT_COUNT] = {
    [AT_ACCEPT] = {"accept", accept_step},
    [AT_NEGOTIATE] = {"negotiate", negotiate_step},
    [AT_AUTHENTICATE] = {"authenticate", authenticate_step},
    [AT_REQUEST] = {"request", request_step},
    [AT_IDENTIFY] = {"identify", identify_step},
    [AT_RESOLVE] = {"resolve", resolve_step},
    [AT_DECIDE] = {"decide", decide_step},
    [AT_OPEN] = {"open", open_step},
    [AT_REPLY] = {"reply", reply_step},
    [AT_RELAY] = {"relay", relay_step},
    [AT_ACCOUNT] = {"account", account_step},
};

static struct session *
session_of_client(struct watch *w)
{
	return (struct session *)((char *)w - offsetof(struct session, pump.end[PUMP_CLIENT]));
}

struct session *
session_of_timer(struct timer *t)
{
	return (struct session *)((char *)t - offsetof(struct session, timer));
}

static void
crowd(bool crowded)
{
	walk.crowded = crowded;
	walk.crowd(crowded);
}

static void
session_free(struct session *s)
{
	timer_stop(&s->timer);
	if (walk.rejudge_at == s)
		walk.rejudge_at = s->next;
	if (walk.progress_at == s)
		walk.progress_at = s->next;
	for (struct sweep *w = walk.sweeps; w != NULL; w = w->next)
		if (w->at == s)
			w->at = s->next;
	free(s->identity);
	protect_free(s->pump.protect);
	*s->link = s->next;
	if (s->next != NULL)
		s->next->link = s->link;
	atomic_store_explicit(walk.load, --walk.session_count, memory_order_relaxed);
	walk.mute_count -= s->mute;
	if (walk.crowded && walk.session_count < walk.session_most - walk.session_most / 64)
		crowd(false);
	loop_free_later(s);
}

/* ---- approaches ------------------------------------------------------------------- */

#define SPARE_APPROACHES 64

static struct {
	struct approach *spare; /* chained by `session` */
	unsigned count;
} approaches;

static struct approach *
approach_new(struct session *s)
{
	struct approach *a = approaches.spare;

	if (a != NULL) {
		approaches.spare = (struct approach *)(void *)a->session;
		approaches.count--;
	} else {
		a = mmap(NULL, APPROACH_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
		if (a == MAP_FAILED)
			return NULL;
	}
	/* Not all of it: its buffers are written before they are read. */
	memset(a, 0, offsetof(struct approach, found));
	a->session = s;
	a->dialling = a->dialled = false;
	a->found_count = 0;
	return a;
}

static void
approach_give(void *p)
{
	struct approach *a = p;

	if (approaches.count >= SPARE_APPROACHES) {
		munmap(a, APPROACH_BYTES);
		return;
	}
	a->session = (struct session *)(void *)approaches.spare;
	approaches.spare = a;
	approaches.count++;
}

void
approach_release(struct approach *a)
{
	/* Later: an attempt's watch may still stand in this round's events. */
	loop_release_later(a, approach_give);
}

static void
leave_approach(struct session *s)
{
	struct approach *a = s->approach;

	if (a == NULL)
		return;
	authenticate_leave(a);
	ident_forget(a->inquiry);
	resolver_forget(&a->waiter);
	if (a->dialling && !a->dialled)
		dial_stop(&a->dial);
	if (a->door == BIND_SEEKS)
		turn_cancel(&a->bind.turn);
	s->approach = NULL;
	approach_release(a);
}

/* ---- letting a refused client go ------------------------------------------------- */

static void
let_go(struct session *s)
{
	watch_close(session_client(s));
	session_free(s);
}

/*
 * A close with unread bytes behind it would send RST, and RST destroys a reply that is still on
 * its way: so read what comes until the client has seen the end, for a short time only.
 */
static void
lingering(struct watch *w, uint32_t events)
{
	struct session *s = session_of_client(w);
	ssize_t n = -1;

	errno = EAGAIN;
	while (s->linger_left > 0 && (n = recv(w->fd, pump_hot, HOT_SIZE, 0)) > 0)
		s->linger_left -= (size_t)n < s->linger_left ? (uint32_t)n : s->linger_left;
	if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR) || (events & EPOLLERR) != 0)
		let_go(s);
}

static void
lingered(struct timer *t)
{
	let_go(session_of_timer(t));
}

static void
linger(struct session *s)
{
	struct watch *w = session_client(s);

	shutdown(w->fd, SHUT_WR);
	w->ready = lingering;
	s->linger_left = LINGER_BYTES;
	timer_stop(&s->timer);
	timer_set(&s->timer, loop_now() + LINGER_MS, lingered);
	lingering(w, 0);
}

/* One that gets no byte (not SOCKS, no place left) shall see an end and no reset either; but such
 * clients may be many, and each keeps a descriptor. */
static bool
linger_mute(struct session *s)
{
	if (s->stage >= AT_RELAY || endings[s->ending].event != EVENT_DENY ||
	    walk.mute_count >= MUTE_MOST)
		return false;
	s->mute = true;
	walk.mute_count++;
	return true;
}

/* ---- the end ------------------------------------------------------------------------ */

static void
close_both(struct session *s)
{
	bool broken =
	    s->ending == END_CLIENT_RESET || (s->ending == END_MALFORMED && s->stage == AT_RELAY);

	/* An end that was reset, or has broken its protection, makes the other end see a reset, as
	 * without us; that one shall not take a part for the whole. */
	if (broken && session_target(s)->fd != -1)
		conn_reset(session_target(s)->fd);
	if (s->ending == END_TARGET_RESET && s->stage == AT_RELAY)
		conn_reset(session_client(s)->fd);
	watch_close(session_target(s));
}

/* Every death leaves by here: reply, account, close. */
static void
session_leave(struct session *s)
{
	bool stay = (s->stage < AT_RELAY && reply_refusal(s)) || linger_mute(s);

	if (s->stage >= AT_RELAY)
		pump_stop(&s->pump);
	if (s->association != NULL)
		associate_close(s);
	close_both(s);
	account_close(s);
	leave_approach(s);
	s->stage = AT_ACCOUNT;
	if (stay && walk.session_count < walk.session_most)
		linger(s);
	else
		let_go(s);
}

enum step
session_end(struct session *s, enum ending why)
{
	if (s->ending == END_NONE)
		s->ending = (uint8_t)why;
	return STEP_OVER;
}

void
session_stop(struct session *s, enum ending why)
{
	if (s->card == NULL)
		return; /* it is only being let go */
	session_end(s, why);
	session_leave(s);
}

void
session_walk(struct session *s)
{
	for (;;) {
		switch (stages[s->stage].step(s)) {
		case STEP_NEXT:
			s->stage++;
			break;
		case STEP_WAIT:
			return;
		case STEP_OVER:
			session_leave(s);
			return;
		}
	}
}

/* ---- the client's side until the relay ------------------------------------------------ */

/* What the client protects, as it was before. */
static bool
in_memory(const struct session *s)
{
	return s->pump.protect != NULL && protect_waiting(s->pump.protect);
}

static ssize_t
read_client(struct session *s, uint8_t *to, size_t room)
{
	int fd = session_client(s)->fd;

	return s->pump.protect != NULL ? protect_receive(s->pump.protect, fd, to, room)
				       : recv(fd, to, room, 0);
}

enum step
session_more(struct session *s)
{
	struct approach *a = s->approach;
	struct watch *w = session_client(s);
	size_t room = sizeof a->in - a->in_len;
	ssize_t n;

	if ((w->spare & END_READABLE) == 0 && !in_memory(s))
		return STEP_WAIT;
	if (room == 0)
		return session_end(s, END_MALFORMED); /* no message is that long */
	n = read_client(s, a->in + a->in_len, room);
	if (n == 0)
		return session_end(s, END_CLIENT_CLOSED);
	if (n == -1) {
		if (errno != EAGAIN && errno != EINTR)
			return session_end(s, errno == EBADMSG ? END_MALFORMED : END_CLIENT_RESET);
		w->spare &= ~(uint32_t)END_READABLE;
		return STEP_WAIT;
	}
	/* A short read has emptied the socket; but a FIN that was announced is still to be read. */
	if ((size_t)n < room && s->pump.protect == NULL &&
	    (w->spare & (END_FIN_SEEN | END_URGENT)) == 0)
		w->spare &= ~(uint32_t)END_READABLE;
	a->in_len += (size_t)n;
	return STEP_NEXT;
}

bool
session_early(struct session *s)
{
	uint8_t byte;

	return s->approach->in_len > s->approach->in_used || in_memory(s) ||
	       recv(session_client(s)->fd, &byte, 1, MSG_PEEK) > 0;
}

static void
client_left(struct timer *t)
{
	session_stop(session_of_timer(t), END_CLIENT_CLOSED);
}

void
session_fin(struct session *s)
{
	const uint32_t *us = s->card->us;
	int64_t took_ms = ((int64_t)us[STAGE_HANDSHAKE] + us[STAGE_AUTH]) / 1000;
	int64_t asked_ms = s->start_ns / 1000000 + took_ms;

	if (session_early(s))
		return;
	if (bind_waits(s)) /* nobody is left to tell of a peer */
		session_stop(s, END_CLIENT_CLOSED);
	else if (asked_ms + FIN_GRACE_MS < s->timer.due_ms)
		timer_set(&s->timer, asked_ms + FIN_GRACE_MS, client_left);
}

static void
client_event(struct watch *w, uint32_t events)
{
	struct session *s = session_of_client(w);

	w->spare |= pump_flags(events);
	if (events & EPOLLERR) {
		session_stop(s, END_CLIENT_RESET);
		return;
	}
	if (s->stage <= AT_REQUEST) {
		if ((w->spare & END_READABLE) != 0)
			session_walk(s);
		return;
	}
	if ((events & EPOLLRDHUP) != 0)
		session_fin(s);
}

static void
deadline(struct timer *t)
{
	struct session *s = session_of_timer(t);

	session_stop(s, s->stage <= AT_REQUEST ? END_HANDSHAKE_TIMEOUT : END_CONNECT_TIMEOUT);
}

/* ---- a new policy --------------------------------------------------------------------- */

#define REJUDGE_BATCH 256 /* sessions a round: about a quarter of a millisecond */

/* Forbidden now: the rule that allowed it until now says what becomes of it (POLICY `on-revoke`).
 */
static void
forbidden(struct session *s)
{
	enum { SEVER, KEEP, DRAIN };

	if (s->on_revoke == KEEP)
		return;
	if (s->on_revoke != DRAIN) {
		walk.revoked++;
		session_stop(s, END_REVOKED);
	} else if (s->revoke_by_ms == 0) { /* another reload gives no more time */
		s->revoke_by_ms = loop_now() + s->drain_ms;
		relay_limits(s);
	}
}

static void
judge_again(struct session *s)
{
	bind_note_primary(s); /* may be asked for only now */
	if (bind_waits(s)) {
		if (bind_again(s, NULL))
			return;
		walk.revoked++; /* no session yet: there is nothing to keep */
		session_stop(s, END_REVOKED);
		return;
	}
	if (!decide_again(s, NULL)) {
		if (s->association != NULL)
			associate_words(s);
		forbidden(s);
	} else if (s->revoke_by_ms != 0) { /* allowed again */
		s->revoke_by_ms = 0;
		relay_limits(s);
	}
}

static void
rejudge_some(struct turn *t)
{
	for (int i = 0; i < REJUDGE_BATCH && walk.rejudge_at != NULL; i++) {
		struct session *s = walk.rejudge_at;

		walk.rejudge_at = s->next;
		if ((s->stage != AT_RELAY && !bind_waits(s)) || s->card == NULL ||
		    s->judged == walk.generation)
			continue; /* on its way: it is judged when it gets there */
		judge_again(s);
		if (s->association != NULL)
			i += (int)associate_rejudge(s);
	}
	if (walk.rejudge_at != NULL)
		turn_ask(t, rejudge_some);
	else
		walk.rejudged();
}

void
session_rejudge_all(void)
{
	static struct turn turn;

	walk.revoked = 0;
	walk.rejudge_at = walk.sessions;
	turn_ask(&turn, rejudge_some);
}

void
sweep_enter(struct sweep *w)
{
	w->at = walk.sessions;
	w->next = walk.sweeps;
	walk.sweeps = w;
}

void
sweep_leave(struct sweep *w)
{
	struct sweep **at = &walk.sweeps;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

void
session_stop_all(enum ending why)
{
	struct session *s, *next;

	/* Newcomers stand at the head; what is only being let go has no card and is let go at once.
	 */
	for (s = walk.sessions; s != NULL; s = next) {
		next = s->next;
		if (s->card == NULL)
			let_go(s);
		else
			session_stop(s, why);
	}
}

void
session_close_doors(void)
{
	struct session *s, *next;

	for (s = walk.sessions; s != NULL; s = next) {
		next = s->next;
		if (bind_waits(s))
			session_stop(s, END_SHUTDOWN);
	}
}

/* ---- the beginning -------------------------------------------------------------------- */

static struct session *
session_new(void)
{
	struct session *s = malloc(sizeof *s);

	if (s == NULL)
		return NULL;
	s->approach = approach_new(s);
	if (s->approach == NULL) {
		free(s);
		return NULL;
	}
	memset(&s->pump, 0, sizeof s->pump);
	s->pump.end[PUMP_TARGET].fd = -1;
	s->timer.link = NULL;
	s->card = NULL;
	s->identity = NULL;
	s->association = NULL;
	s->end_by_ms = 0;
	s->idle_ms = 0;
	s->judged = 0;
	s->revoke_by_ms = 0;
	s->on_revoke = 0;
	s->drain_ms = 0;
	s->mute = false;
	s->stage = AT_ACCEPT;
	s->ending = END_NONE;
	s->next = walk.sessions;
	if (s->next != NULL)
		s->next->link = &s->next;
	s->link = &walk.sessions;
	walk.sessions = s;
	atomic_store_explicit(walk.load, ++walk.session_count, memory_order_relaxed);
	if (walk.session_count >= walk.session_most && !walk.crowded)
		crowd(true);
	return s;
}

static void
count(enum books_counter which)
{
	_Atomic uint64_t *c = books_counter(walk.books, which);

	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void
session_begin(struct listener *from, int fd, const struct endpoint *client)
{
	struct card *card = card_take(walk.books, loop_wall_ns());
	struct session *s;
	struct watch *w;

	if (card == NULL || (s = session_new()) == NULL) {
		count(COUNT_REFUSED_LEDGER); /* no record, no session */
		meter_add(&books_meters(walk.books)
			       ->refused[from->number % METER_LISTENERS][REFUSED_LEDGER],
			  1);
		if (card != NULL)
			card_drop(walk.books, card);
		close(fd);
		return;
	}
	s->card = card;
	s->start_ns = loop_now_ns();
	card->listener = from->number;
	card->source = client->addr;
	card->source_port = client->port;
	card->policy = walk.generation;
	card->rule = RULE_DEFAULT;
	w = session_client(s);
	w->spare = END_WRITABLE | END_READ_ONLY;
	w->fd = fd;
	if (watch_add(w, fd, WATCH_TCP_READ, client_event) == -1) {
		session_stop(s, END_LIMIT);
		return;
	}
	count(COUNT_ACCEPTED);
	meter_add(&books_meters(walk.books)->accepted[from->number % METER_LISTENERS], 1);
	timer_set(&s->timer, loop_now() + walk.settings->timeouts.handshake, deadline);
	session_walk(s);
}
