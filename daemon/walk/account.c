/*
 * walk/account.c - the last record of a session, and giving back what was counted for it.
 */
#include "walk/session.h"

#include "walk/limits.h"

#include <stdatomic.h>

void
account_count(enum books_counter which, uint64_t n)
{
	_Atomic uint64_t *c = books_counter(walk.books, which);

	/* Only this process writes it. */
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

void
account_close(struct session *s)
{
	static const enum books_counter counter[EVENT_COUNT] = {
	    [EVENT_DENY] = COUNT_DENIED, [EVENT_FAIL] = COUNT_FAILED, [EVENT_END] = COUNT_ENDED};
	struct card *c = s->card;
	enum books_event event = endings[s->ending].event;

	if (s->stage >= AT_RELAY)
		event = EVENT_END;
	limits_leave(s);
	c->ending = s->ending;
	c->duration_ns = (uint64_t)(loop_now_ns() - s->start_ns);
	c->end_ns = c->start_ns + (int64_t)c->duration_ns;
	tally_give_card(walk.tally, &walk.limits, c);
	account_count(counter[event], 1);
	account_count(COUNT_BYTES_UP, c->up);
	account_count(COUNT_BYTES_DOWN, c->down);
	s->card = NULL;
	books_tell(walk.books, c, event);
}
