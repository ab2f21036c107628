/*
 * walk/progress.c - sessions that last tell of themselves now and then (audit.progress): a record
 * with the bytes so far. A worker; never blocks.
 *
 * No timer a session: once a second a part of all sessions is looked at, so that each is seen every
 * few seconds and a hundred thousand idle ones cost next to nothing.
 */
#include "walk/session.h"

#include <stdatomic.h>

#include "base/clock.h"

#define TICK_MS 1000
#define TICKS_A_LAP 15 /* a session is seen so often, or more often with a short audit.progress */

static void tick(struct timer *t);

static uint32_t
ticks_a_lap(void)
{
	uint32_t s = walk.settings->audit.progress_s;

	return s < 2 * TICKS_A_LAP ? 1 : TICKS_A_LAP;
}

/* Nobody becomes due sooner than that. */
static int64_t
next_tick(void)
{
	uint32_t s = walk.settings->audit.progress_s;

	return walk.session_count > 0 && s > 0 ? TICK_MS
	       : s == 0 || s > TICKS_A_LAP     ? TICKS_A_LAP * TICK_MS
					       : s * (int64_t)TICK_MS;
}

static void
look_at(struct session *s)
{
	uint32_t every = walk.settings->audit.progress_s;
	uint64_t age = (uint64_t)(loop_now_ns() - s->start_ns) / NS_PER_S;

	if (age < every || s->card == NULL ||
	    atomic_load_explicit(&s->card->state, memory_order_relaxed) != CARD_STARTED)
		return;
	age -= age % every;
	if (age <= UINT32_MAX)
		books_progress(walk.books, s->card, (uint32_t)age);
}

static void
tick(struct timer *t)
{
	uint32_t left = walk.session_count / ticks_a_lap() + 1;

	if (walk.settings->audit.progress_s == 0)
		walk.progress_at = NULL;
	else if (walk.progress_at == NULL)
		walk.progress_at = walk.sessions;
	for (; left > 0 && walk.progress_at != NULL; left--) {
		struct session *s = walk.progress_at;

		walk.progress_at = s->next;
		look_at(s);
	}
	timer_set(t, loop_now() + next_tick(), tick);
}

void
progress_start(void)
{
	static struct timer timer;

	timer_set(&timer, loop_now() + next_tick(), tick);
}
