/*
 * rules/match_time.c - is an instant within the windows of a time object.
 *
 * Windows are wall-clock time: the instant becomes local time by the zone's transitions in the
 * image, and behind the last one by its closing rule. Needs neither TZ nor files. Runs in workers.
 */
#include "config.h"

#include "rules/image.h"

#define DAY_S 86400
#define DAY_MINUTES 1440

static int32_t
offset_at(const struct policy *p, const struct image_zone *z, int64_t at)
{
	const struct image_transition *v = p->transitions + z->first;
	uint32_t low = 0, n = z->count;

	if (at >= z->rule_from)
		return zone_rule_offset(&z->rule, at);
	while (n > 1) {
		uint32_t half = n / 2;

		low = v[low + half].at <= at ? low + half : low;
		n -= half;
	}
	return v[low].offset;
}

static bool
window_has(const struct policy *p, const struct image_window *w, int64_t at)
{
	/* Beyond any calendar, and near the ends of the type, is no time of day. */
	if (at < -(INT64_C(1) << 40) || at > INT64_C(1) << 40)
		return false;

	int64_t local = at + offset_at(p, &p->zones[w->zone], at);
	int64_t day = local / DAY_S - (local % DAY_S < 0);
	unsigned minute = (unsigned)(local - day * DAY_S) / 60;
	unsigned weekday = (unsigned)(((day + 3) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
	bool today = w->days >> weekday & 1, yesterday = w->days >> (weekday + 6) % 7 & 1;

	if (w->end > w->start)
		return today && minute >= w->start && minute < w->end;
	/* Over midnight; it belongs to the day it starts on. */
	return (today && minute >= w->start) || (yesterday && minute < w->end);
}

bool
time_has(const struct policy *p, uint32_t time, int64_t at)
{
	for (uint32_t i = p->time_first[time]; i < p->time_first[time + 1]; i++)
		if (window_has(p, &p->windows[i], at))
			return true;
	return false;
}

bool
times_have(const struct policy *p, uint32_t set, int64_t at)
{
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one);

	for (uint32_t i = 0; i < n; i++)
		if (time_has(p, v[i], at))
			return true;
	return false;
}
