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

enum outcome { STARTED, DENIED, FAILED };

static void
count_outcome(const struct session *s, enum outcome outcome)
{
	struct meters *m = books_meters(walk.books);

	meter_add(&m->outcome[s->card->command % METER_COMMANDS][outcome], 1);
}

void
account_times(const struct session *s)
{
	static const enum meter_time of[STAGE_TIMES] = {
	    TIME_HANDSHAKE5, METER_TIMES, TIME_IDENT, TIME_DNS, TIME_CONNECT, TIME_FIRST_BYTE};
	struct meters *m = books_meters(walk.books);
	const struct card *c = s->card;

	for (int i = 0; i < STAGE_FIRST_BYTE; i++)
		if (c->us[i] != 0 && i != STAGE_AUTH) /* that is told by the attempt */
			meter_observe(
			    m, i == STAGE_HANDSHAKE && c->version == 4 ? TIME_HANDSHAKE4 : of[i],
			    c->us[i]);
	if (s->ending == END_NONE)
		count_outcome(s, STARTED);
}

static void
count_end(const struct session *s, enum books_event event)
{
	struct meters *m = books_meters(walk.books);
	const struct card *c = s->card;
	unsigned listener = c->listener % METER_LISTENERS;

	for (int way = 0; way < 2; way++)
		meter_add(&m->bytes[c->command == SOCKS_UDP][way], c->bytes[way]);
	if (event == EVENT_END) {
		meter_add(&m->ended[c->command % METER_COMMANDS][s->ending % METER_ENDINGS], 1);
		if (c->command >= 1 && c->command < METER_COMMANDS)
			meter_observe(m, TIME_SESSION + c->command - 1, c->duration_ns / 1000);
		if (c->us[STAGE_FIRST_BYTE] != 0)
			meter_observe(m, TIME_FIRST_BYTE, c->us[STAGE_FIRST_BYTE]);
		return;
	}
	if (s->stage == AT_ACCEPT) {
		bool limit = s->ending == END_LIMIT;

		meter_add(&m->refused[listener][limit ? REFUSED_LIMIT : REFUSED_POLICY], 1);
		account_count(limit ? COUNT_REFUSED_LIMIT : COUNT_REFUSED_POLICY, 1);
	}
	account_times(s);
	count_outcome(s, event == EVENT_DENY ? DENIED : FAILED);
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
	count_end(s, event);
	account_count(COUNT_BYTES_UP, c->up);
	account_count(COUNT_BYTES_DOWN, c->down);
	s->card = NULL;
	books_tell(walk.books, c, event);
}
