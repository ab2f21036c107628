/*
 * walk/limits.c - see walk/limits.h. The worker; never blocks.
 *
 * Bandwidth is held back at the reading side: before each read the gate reserves the time that the
 * bytes will take, on the session's own line and on the one that all sessions of the user share,
 * and the pump waits until both turns have come. So sessions of one user are served in the order in
 * which they ask, each with a piece of the same size in time, and nobody looks again before it may
 * read.
 */
#include "walk/limits.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "books/quota.h"
#include "walk/session.h"

#define PIECE_NS (50 * NS_PER_MS) /* of a read, in time; ... */
#define PIECE_LEAST 512           /* ... in bytes at least */
#define CREDIT_NS                                                                                  \
	(100 *                                                                                     \
	 NS_PER_MS) /* time not used that may be made up for: the timers are as late as 32 ms */
#define AGAIN_NS (100 * NS_PER_MS) /* no place for a bucket: look again then */
#define SLOW_BURST_S 60            /* of a rate below one a second */
#define NS_PER_S_D 1e9

/* ---- bandwidth ------------------------------------------------------------------------------- */

struct gate {
	struct pump_gate gate; /* first */
	struct timer timer;
	struct pump *pump;
	struct line {
		double session_ns, user_ns; /* a byte; 0: no limit */
		_Atomic int64_t session;
		uint64_t user_key;
		/* what is reserved and not read yet */
		uint32_t piece;
		int64_t begin_ns;
	} line[2];
};

static void
open_again(struct timer *t)
{
	struct gate *g = (struct gate *)((char *)t - offsetof(struct gate, timer));

	pump_resume(g->pump);
}

static uint32_t
piece_of(const struct line *l, size_t most)
{
	double slowest = l->session_ns > l->user_ns ? l->session_ns : l->user_ns;
	double bytes = (double)PIECE_NS / slowest;

	if (bytes < PIECE_LEAST)
		bytes = PIECE_LEAST;
	return bytes < (double)most ? (uint32_t)bytes : (uint32_t)most;
}

/* Puts the line's next piece into its place; when it may be read stands in begin_ns. */
static void
reserve(struct line *l, size_t most)
{
	int64_t now = loop_now_ns(), begin;
	uint32_t piece = piece_of(l, most);
	_Atomic int64_t *user;

	l->begin_ns = now;
	if (l->user_ns > 0) {
		if ((user = quota_bucket(walk.quotas, l->user_key, now)) == NULL) {
			l->begin_ns = now + AGAIN_NS;
			return;
		}
		begin = bucket_reserve(user, now, (int64_t)(piece * l->user_ns), CREDIT_NS);
		l->begin_ns = begin > l->begin_ns ? begin : l->begin_ns;
	}
	if (l->session_ns > 0) {
		begin =
		    bucket_reserve(&l->session, now, (int64_t)(piece * l->session_ns), CREDIT_NS);
		l->begin_ns = begin > l->begin_ns ? begin : l->begin_ns;
	}
	l->piece = piece;
}

static size_t
may(struct pump_gate *gate, int d, size_t most)
{
	struct gate *g = (struct gate *)gate;
	struct line *l = &g->line[d];
	int64_t due;

	if (l->session_ns <= 0 && l->user_ns <= 0)
		return most;
	if (l->piece == 0 && l->begin_ns <= loop_now_ns())
		reserve(l, most);
	if (l->piece != 0 && l->begin_ns <= loop_now_ns())
		return l->piece < most ? l->piece : most;
	due = l->begin_ns / NS_PER_MS + 1;
	if (g->timer.link == NULL || due < g->timer.due_ms)
		timer_set(&g->timer, due, open_again);
	return 0;
}

static void
took(struct pump_gate *gate, int d, size_t n)
{
	struct line *l = &((struct gate *)gate)->line[d];
	uint32_t left = n < l->piece ? l->piece - (uint32_t)n : 0;
	_Atomic int64_t *user;

	l->piece = 0;
	if (left == 0)
		return;
	if (l->session_ns > 0)
		bucket_refund(&l->session, (int64_t)(left * l->session_ns));
	if (l->user_ns > 0 &&
	    (user = quota_bucket(walk.quotas, l->user_key, loop_now_ns())) != NULL)
		bucket_refund(user, (int64_t)(left * l->user_ns));
}

/* ---- whom a limit is about ------------------------------------------------------------------- */

#define WHO_MAX 272

static size_t
source_of(const struct session *s, char who[WHO_MAX])
{
	const struct addr *a = &s->card->source;
	struct addr masked =
	    addr_mask(a, addr_is4(a) ? 96u + walk.limits.prefix4 : walk.limits.prefix6);

	who[0] = 's';
	memcpy(who + 1, masked.b, sizeof masked.b);
	return 1 + sizeof masked.b;
}

static size_t
user_of(const struct session *s, char who[WHO_MAX])
{
	size_t len = card_string(walk.books, s->card, CARD_USER, who + 1);

	who[0] = 'u';
	return len > 0 ? 1 + len : source_of(s, who);
}

/* ---- taking and giving ----------------------------------------------------------------------- */

static bool
count(struct card *card, unsigned place, enum quota_kind kind, const struct rule_terms *terms,
      uint32_t most, const char *who, size_t len)
{
	uint64_t key;

	if (most == 0)
		return true;
	key = quota_key(walk.quotas, kind, terms->name, who, len);
	if (!quota_take(walk.quotas, key, most))
		return false;
	card->quota[place] = key;
	return true;
}

static int64_t
whole(double n)
{
	return (int64_t)n + ((double)(int64_t)n < n);
}

/* A bucket that holds what one second brings, or a minute where that is less than one. */
static bool
in_time(const struct rule_terms *terms, const char *user, size_t len)
{
	double rate = terms->rate_per_user;
	int64_t now = loop_now_ns(), cost, burst;
	_Atomic int64_t *bucket;

	if (rate <= 0)
		return true;
	cost = (int64_t)(NS_PER_S_D / rate);
	burst = whole(rate < 1 ? rate * SLOW_BURST_S : rate);
	bucket = quota_bucket(walk.quotas,
			      quota_key(walk.quotas, QUOTA_RATE, terms->name, user, len), now);
	return bucket != NULL && bucket_take(bucket, now, cost, burst * cost);
}

static bool
counts(const struct rule_terms *t)
{
	return t->sessions != 0 || t->sessions_per_user != 0 || t->sessions_per_source != 0 ||
	       t->rate_per_user > 0;
}

static bool
holds_back(const struct rule_terms *t)
{
	return t->bandwidth_per_session != 0 || t->bandwidth_per_user != 0;
}

/* Into the card: counts, then the rate. After false some may be taken. */
static bool
take(const struct session *s, struct card *card, const struct rule_terms *t)
{
	char user[WHO_MAX], source[WHO_MAX];
	size_t user_len = user_of(s, user), source_len = source_of(s, source);

	return count(card, 0, QUOTA_SESSIONS, t, t->sessions, NULL, 0) &&
	       count(card, 1, QUOTA_USER, t, t->sessions_per_user, user, user_len) &&
	       count(card, 2, QUOTA_SOURCE, t, t->sessions_per_source, source, source_len) &&
	       in_time(t, user, user_len);
}

static void
give(struct card *card)
{
	for (size_t i = 0; i < sizeof card->quota / sizeof card->quota[0]; i++) {
		if (card->quota[i] != 0)
			quota_give(walk.quotas, card->quota[i]);
		card->quota[i] = 0;
	}
}

static double
ns_a_byte(uint64_t bits_per_s)
{
	return bits_per_s == 0 ? 0 : 8 * NS_PER_S_D / (double)bits_per_s;
}

static const enum quota_kind kinds[2] = {QUOTA_UP, QUOTA_DOWN};

static bool
set_gate(struct session *s, const struct rule_terms *t)
{
	char user[WHO_MAX];
	size_t len = user_of(s, user);
	struct gate *g;

	if (!holds_back(t))
		return true;
	if ((g = calloc(1, sizeof *g)) == NULL)
		return false;
	g->gate = (struct pump_gate){may, took};
	g->pump = &s->pump;
	for (int d = 0; d < 2; d++) {
		struct line *l = &g->line[d];

		l->session_ns = ns_a_byte(t->bandwidth_per_session);
		l->user_ns = ns_a_byte(t->bandwidth_per_user);
		l->user_key = quota_key(walk.quotas, kinds[d], t->name, user, len);
		atomic_init(&l->session, loop_now_ns());
	}
	s->pump.gate = &g->gate;
	return true;
}

bool
limits_enter(struct session *s, int32_t rule)
{
	struct rule_terms t;

	policy_terms(walk.policy, rule, &t);
	if (!counts(&t) && !holds_back(&t))
		return true;
	if (take(s, s->card, &t) && set_gate(s, &t))
		return true;
	limits_leave(s);
	return false;
}

void
limits_leave(struct session *s)
{
	struct gate *g = (struct gate *)s->pump.gate;

	give(s->card);
	if (g == NULL)
		return;
	s->pump.gate = NULL;
	timer_stop(&g->timer);
	free(g);
}

/* ---- destinations of an association ---------------------------------------------------------- */

uint64_t
limits_rule(int32_t rule)
{
	struct rule_terms t;

	policy_terms(walk.policy, rule, &t);
	return counts(&t) ? quota_key(walk.quotas, QUOTA_SESSIONS, t.name, NULL, 0) : 0;
}

bool
limits_enter_destination(const struct session *s, struct card *destination, int32_t rule)
{
	struct rule_terms t;

	policy_terms(walk.policy, rule, &t);
	if (!counts(&t) || take(s, destination, &t))
		return true;
	give(destination);
	return false;
}

void
limits_leave_destination(struct card *destination, struct card *heir)
{
	if (heir == NULL) {
		give(destination);
		return;
	}
	memcpy(heir->quota, destination->quota, sizeof heir->quota);
	memset(destination->quota, 0, sizeof destination->quota);
}

struct limits_line {
	double session_ns, user_ns;           /* a byte; 0: no limit */
	uint64_t session_key[2], user_key[2]; /* of the buckets */
};

bool
limits_line(const struct session *s, int32_t rule, struct limits_line **out)
{
	char user[WHO_MAX], id[BOOKS_ID];
	size_t len = user_of(s, user);
	struct rule_terms t;
	struct limits_line *l;

	*out = NULL;
	policy_terms(walk.policy, rule, &t);
	if (!holds_back(&t))
		return true;
	if ((l = calloc(1, sizeof *l)) == NULL)
		return false;
	books_id(walk.books, s->card, id);
	l->session_ns = ns_a_byte(t.bandwidth_per_session);
	l->user_ns = ns_a_byte(t.bandwidth_per_user);
	for (int d = 0; d < 2; d++) {
		l->session_key[d] = quota_key(walk.quotas, kinds[d], t.name, id, sizeof id);
		l->user_key[d] = quota_key(walk.quotas, kinds[d], t.name, user, len);
	}
	*out = l;
	return true;
}

static bool
spend(uint64_t key, double ns_of_byte, size_t bytes)
{
	int64_t cost = (int64_t)((double)bytes * ns_of_byte), now = loop_now_ns();
	/* always room for a datagram of any size after a while */
	int64_t burst = CREDIT_NS > cost ? CREDIT_NS : cost;
	_Atomic int64_t *bucket;

	if (ns_of_byte <= 0)
		return true;
	bucket = quota_bucket(walk.quotas, key, now);
	return bucket != NULL && bucket_take(bucket, now, cost, burst);
}

bool
limits_pass(struct limits_line *l, int direction, size_t bytes)
{
	return l == NULL || (spend(l->session_key[direction], l->session_ns, bytes) &&
			     spend(l->user_key[direction], l->user_ns, bytes));
}
