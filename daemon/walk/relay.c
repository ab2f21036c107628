/*
 * walk/relay.c - bytes both ways, within the limits of the verdict; the pump does the work.
 */
#include "walk/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct session *
session_of_pump(struct pump *p)
{
	return (struct session *)((char *)p - offsetof(struct session, pump));
}

static void
over(struct pump *p, int end, bool reset)
{
	static const enum ending why[2][2] = {{END_CLIENT_CLOSED, END_TARGET_CLOSED},
					      {END_CLIENT_RESET, END_TARGET_RESET}};

	if (reset && end == PUMP_CLIENT && p->protect != NULL && errno == EBADMSG)
		session_stop(session_of_pump(p), END_MALFORMED);
	else
		session_stop(session_of_pump(p), why[reset][end]);
}

static void
first_byte(struct pump *p)
{
	struct session *s = session_of_pump(p);
	int64_t since = loop_now_ns() - s->start_ns;

	/* From the success reply on: what the earlier stages took is told by themselves. */
	for (int i = 0; i < STAGE_FIRST_BYTE; i++)
		since -= (int64_t)s->card->us[i] * 1000;
	s->card->us[STAGE_FIRST_BYTE] = since > 0 ? (uint32_t)(since / 1000) : 1;
}

static const struct pump_calls calls = {over, first_byte};

static void limits(struct timer *t);

void
relay_limits(struct session *s)
{
	int64_t due = INT64_MAX;

	if (s->idle_ms != 0)
		due = s->pump.active_ms + s->idle_ms;
	if (s->end_by_ms != 0 && s->end_by_ms < due)
		due = s->end_by_ms;
	if (s->revoke_by_ms != 0 && s->revoke_by_ms < due)
		due = s->revoke_by_ms;
	if (due == INT64_MAX)
		timer_stop(&s->timer);
	else
		timer_set(&s->timer, due, limits);
}

static void
limits(struct timer *t)
{
	struct session *s = session_of_timer(t);
	int64_t now = loop_now();

	if (s->revoke_by_ms != 0 && now >= s->revoke_by_ms)
		session_stop(s, END_REVOKED);
	else if (s->end_by_ms != 0 && now >= s->end_by_ms)
		session_stop(s, END_LIFETIME);
	else if (s->idle_ms != 0 && now >= s->pump.active_ms + s->idle_ms)
		session_stop(s, END_IDLE);
	else
		relay_limits(s);
}

enum step
relay_step(struct session *s)
{
	struct approach *a = s->approach;
	size_t early_len = a->in_len - a->in_used;
	uint8_t *early = NULL;

	if (s->association != NULL)
		return associate_relay(s);
	if (early_len > 0) {
		if ((early = malloc(early_len)) == NULL)
			return session_end(s, END_INTERNAL);
		memcpy(early, a->in + a->in_used, early_len);
	}
	s->end_by_ms = a->lifetime_ms != 0 ? loop_now() + (int64_t)a->lifetime_ms : 0;
	s->approach = NULL;
	approach_release(a);
	s->pump.active_ms = loop_now();
	relay_limits(s);
	pump_start(&s->pump, &calls, s->card->bytes, early, early_len);
	return STEP_WAIT;
}
