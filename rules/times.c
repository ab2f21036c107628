/*
 * rules/times.c - time windows: `DAYS HH:MM-HH:MM ZONE`. Looks into the system's zoneinfo to see
 * that a zone exists, and for the nearest name when it does not.
 */
#include "rules/read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static const char day_names[7][4] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

static int
day_parse(const char *s, size_t len)
{
	int i;

	for (i = 0; i < 7; i++)
		if (len == 3 && !memcmp(s, day_names[i], 3))
			return i;
	return -1;
}

/* "Mon", "Fri-Mon", "Mon,Wed,Fri-Sat" to bits; 0: not days. */
static uint8_t
days_parse(const char *s, size_t len)
{
	const char *end = s + len;
	uint8_t days = 0;

	while (s <= end) {
		const char *comma = memchr(s, ',', (size_t)(end - s)), *stop = comma ? comma : end;
		const char *dash = memchr(s, '-', (size_t)(stop - s));
		int first = day_parse(s, (size_t)((dash ? dash : stop) - s));
		int last = dash ? day_parse(dash + 1, (size_t)(stop - dash - 1)) : first;

		if (first < 0 || last < 0)
			return 0;
		for (;; first = (first + 1) % 7) {
			days |= (uint8_t)(1u << first);
			if (first == last)
				break;
		}
		if (!comma)
			break;
		s = comma + 1;
	}
	return days;
}

/* HH:MM to minutes; -1: not a time. 24:00 is 1440. */
static int
minutes_parse(const char *s)
{
	int i, h, m;

	for (i = 0; i < 5; i++)
		if (i == 2 ? s[i] != ':' : s[i] < '0' || s[i] > '9')
			return -1;
	h = (s[0] - '0') * 10 + s[1] - '0';
	m = (s[3] - '0') * 10 + s[4] - '0';
	return m > 59 || h > 24 || (h == 24 && m > 0) ? -1 : h * 60 + m;
}

/* ---- zones --------------------------------------------------------------------- */

static bool
zone_is_known(struct reader *r, const char *name, size_t len)
{
	if (map_get(&r->zones, name, len))
		return true;
	if (!zone_known(name, len))
		return false;
	name = reader_word(r, name, len);
	map_put(&r->zones, name, r);
	return true;
}

/* The names that the zoneinfo's own list of places knows. */
static void
zone_help(struct problem *one, const char *name)
{
	FILE *f = one ? fopen("/usr/share/zoneinfo/zone1970.tab", "re") : NULL;
	char line[512], best[64] = "", *p, *end;
	struct vec list = {0};
	const char *near;
	size_t i;

	while (f && fgets(line, sizeof(line), f)) {
		if (line[0] == '#' || !(p = strchr(line, '\t')) || !(p = strchr(p + 1, '\t')))
			continue;
		end = p + 1 + strcspn(p + 1, "\t\n");
		*end = '\0';
		*(char **)vec_add(&list, sizeof(p)) = strdup(p + 1);
		p = strrchr(p + 1, '/');
		if (p && !strcasecmp(p + 1, name)) /* "Berlin" alone */
			snprintf(best, sizeof(best), "%s", ((char **)list.p)[list.count - 1]);
	}
	if (f)
		fclose(f);
	*(char **)vec_add(&list, sizeof(p)) = strdup("UTC");
	*(char **)vec_add(&list, sizeof(p)) = NULL;
	near = best[0] ? best : text_nearest(name, list.p);
	if (near)
		problem_help(one, "did you mean \"%s\"?", near);
	else
		problem_help(one, "zones have IANA names, such as \"Europe/Berlin\", or \"UTC\"");
	for (i = 0; i + 1 < list.count; i++)
		free(((char **)list.p)[i]);
	vec_free(&list);
}

/* ---- windows ------------------------------------------------------------------- */

static bool
tell(struct reader *r, struct place at, const char *s, const char *help)
{
	problem_help(problems_add(r->p, "E214", at, "\"%s\" is no time window", s), "%s", help);
	return false;
}

bool
window_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at)
{
	const char *blank = strchr(s, ' '), *clock = blank ? blank + 1 : NULL, *zone;
	struct model_window *w;
	int start, end;
	uint8_t days;

	(void)len;
	if (!clock)
		return tell(r, at, s,
			    "write days, hours and zone: \"Mon-Fri 07:00-19:00 Europe/Berlin\"");
	days = days_parse(s, (size_t)(blank - s));
	if (!days)
		return tell(r, at, s,
			    "days are Mon Tue Wed Thu Fri Sat Sun: \"Mon\", \"Mon-Fri\", "
			    "\"Mon,Wed,Fri-Sat\"");
	start = minutes_parse(clock);
	end = start >= 0 && clock[5] == '-' ? minutes_parse(clock + 6) : -1;
	if (start < 0 || end < 0 || (clock[11] && clock[11] != ' '))
		return tell(r, at, s, "hours are HH:MM-HH:MM: \"07:00-19:00\"");
	if (!clock[11] || !clock[12])
		return tell(r, at, s,
			    "the zone is missing: \"Mon-Fri 07:00-19:00 Europe/Berlin\", or UTC");
	if (start == 1440)
		return tell(r, at, s,
			    "24:00 can only end a window; start at 00:00 of the day after");
	if (start == end)
		return tell(r, at, s, "it ends when it starts; a whole day is \"00:00-24:00\"");
	zone = clock + 12;
	if (!zone_is_known(r, zone, strlen(zone))) {
		zone_help(problems_add(r->p, "E214", at, "no time zone is called \"%s\"", zone),
			  zone);
		return false;
	}
	w = vec_add(&b->windows, sizeof(*w));
	w->days = days;
	w->start = (uint16_t)start;
	w->end = (uint16_t)end;
	w->zone = reader_word(r, zone, strlen(zone));
	return true;
}

static int
window_order(const void *a, const void *b)
{
	const struct model_window *x = a, *y = b;
	int d = strcmp(x->zone, y->zone);

	if (d)
		return d;
	if (x->days != y->days)
		return x->days - y->days;
	if (x->start != y->start)
		return x->start - y->start;
	return x->end - y->end;
}

void
windows_settle(struct vec *windows)
{
	struct model_window *list = windows->p;
	size_t i, kept = 0;

	if (windows->count < 2)
		return;
	qsort(list, windows->count, sizeof(*list), window_order);
	for (i = 1; i < windows->count; i++)
		if (window_order(&list[kept], &list[i]))
			list[++kept] = list[i];
	windows->count = kept + 1;
}
