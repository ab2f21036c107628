/*
 * rules/zones.c - civil time and the zones of the system's zoneinfo (TZif, RFC 8536), read by
 * hand: neither TZ nor the clock of libc is touched, and the compiler can carry the result.
 * COMPILE and sallyctl read files here; zone_rule_offset and civil_* are pure and run anywhere.
 */
#include "rules/model.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONEINFO "/usr/share/zoneinfo"
#define ZONE_NAME_MAX 64
#define ZONE_FILE_MAX ((size_t)1024 * 1024)
#define DAY 86400

/* ---- the calendar ------------------------------------------------------------- */

static bool
leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static unsigned
month_days(int year, unsigned month)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && leap(year));
}

bool
civil_valid(int year, unsigned month, unsigned day)
{
	return year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 &&
	       day <= month_days(year, month);
}

/* Years that begin in March make the leap day the last one of a year. */
int64_t
civil_days(int year, unsigned month, unsigned day)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int
year_of(int64_t days)
{
	int64_t guess = 1970 + days / 366;

	if (days < 0)
		guess = 1970 + days / 365 - 1;
	while (civil_days((int)guess + 1, 1, 1) <= days)
		guess++;
	return (int)guess;
}

/* ---- the closing rule --------------------------------------------------------- */

/* The second in local time, as 1970-based seconds, at which an edge falls in a year. */
static int64_t
edge_local(const struct zone_edge *e, int year)
{
	int64_t first = civil_days(year, 1, 1), day;

	if (e->form == 'M') {
		int64_t month = civil_days(year, e->month, 1);
		int weekday = (int)(((month + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */

		day = month + ((int)e->day - weekday + 7) % 7 + (int64_t)(e->week - 1) * 7;
		if (day >= month + month_days(year, e->month))
			day -= 7; /* week 5 is the last one */
	} else if (e->form == 'J') {
		day = first + e->day - 1 + (leap(year) && e->day >= 60);
	} else {
		day = first + e->day;
	}
	return day * DAY + e->second;
}

int32_t
zone_rule_offset(const struct zone_rule *r, int64_t t)
{
	int64_t local = t + r->standard, days, begin, end;
	int year;

	if (!r->has_summer)
		return r->standard;
	days = local / DAY - (local % DAY < 0);
	if (days < -719000 || days > 2932000) /* years 1 to 9997: beyond, no calendar holds */
		return r->standard;
	year = year_of(days);
	begin = edge_local(&r->begin, year) - r->standard;
	end = edge_local(&r->end, year) - r->summer;
	if (begin < end)
		return t >= begin && t < end ? r->summer : r->standard;
	return t >= end && t < begin ? r->standard : r->summer;
}

int32_t
zone_offset(const struct zone *z, int64_t t)
{
	size_t low = 0, high = z->count;

	if (t >= z->rule_from)
		return zone_rule_offset(&z->rule, t);
	while (low + 1 < high) {
		size_t mid = low + (high - low) / 2;

		if (z->changes[mid].at <= t)
			low = mid;
		else
			high = mid;
	}
	return z->count ? z->changes[low].offset : 0;
}

int64_t
zone_to_utc(const struct zone *z, int64_t local_s)
{
	/* Every offset that can hold near this instant, the largest (earliest in UTC) first. */
	int32_t before = zone_offset(z, local_s - DAY), after = zone_offset(z, local_s + DAY);
	int32_t larger = before > after ? before : after, smaller = before > after ? after : before;

	if (zone_offset(z, local_s - larger) == larger)
		return local_s - larger;
	if (zone_offset(z, local_s - smaller) == smaller)
		return local_s - smaller;
	return local_s - before;
}

/* ---- POSIX TZ text (the footer) ------------------------------------------------ */

static bool
tz_name(const char **s)
{
	const char *p = *s;

	if (*p == '<') {
		while (*p && *p != '>')
			p++;
		if (!*p)
			return false;
		*s = p + 1;
		return true;
	}
	while ((*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z'))
		p++;
	if (p - *s < 3)
		return false;
	*s = p;
	return true;
}

static bool
tz_number(const char **s, int max, int *out)
{
	const char *p = *s;
	int v = 0;

	while (*p >= '0' && *p <= '9' && v <= max)
		v = v * 10 + (*p++ - '0');
	if (p == *s || v > max)
		return false;
	*s = p;
	*out = v;
	return true;
}

/* [+-]hh[:mm[:ss]], hours up to 167 (RFC 8536 3.3.1). */
static bool
tz_time(const char **s, int32_t *out)
{
	int sign = 1, h, m = 0, sec = 0;

	if (**s == '+' || **s == '-')
		sign = *(*s)++ == '-' ? -1 : 1;
	if (!tz_number(s, 167, &h))
		return false;
	if (**s == ':' && ((*s)++, !tz_number(s, 59, &m)))
		return false;
	if (**s == ':' && ((*s)++, !tz_number(s, 59, &sec)))
		return false;
	*out = sign * (h * 3600 + m * 60 + sec);
	return true;
}

static bool
tz_edge(const char **s, struct zone_edge *e)
{
	int v, week, month;

	if (*(*s)++ != ',')
		return false;
	e->second = 2 * 3600;
	if (**s == 'M') {
		(*s)++;
		if (!tz_number(s, 12, &month) || *(*s)++ != '.' || !tz_number(s, 5, &week) ||
		    *(*s)++ != '.' || !tz_number(s, 6, &v) || month < 1 || week < 1)
			return false;
		e->form = 'M';
		e->month = (uint8_t)month;
		e->week = (uint8_t)week;
	} else if (**s == 'J') {
		(*s)++;
		if (!tz_number(s, 365, &v) || v < 1)
			return false;
		e->form = 'J';
	} else {
		if (!tz_number(s, 365, &v))
			return false;
		e->form = '0';
	}
	e->day = (uint16_t)v;
	if (**s == '/') {
		(*s)++;
		return tz_time(s, &e->second);
	}
	return true;
}

static bool
tz_parse(const char *s, struct zone_rule *r)
{
	int32_t west;

	memset(r, 0, sizeof(*r));
	if (!tz_name(&s) || !tz_time(&s, &west))
		return false;
	r->standard = -west;
	if (!*s)
		return true;
	if (!tz_name(&s))
		return false;
	r->has_summer = true;
	r->summer = r->standard + 3600;
	if (*s && *s != ',') {
		if (!tz_time(&s, &west))
			return false;
		r->summer = -west;
	}
	return tz_edge(&s, &r->begin) && tz_edge(&s, &r->end) && !*s;
}

/* ---- TZif ---------------------------------------------------------------------- */

/* IANA names are words of letters, digits, _ + - between slashes; never a way out of the folder. */
static bool
zone_path(const char *name, size_t len, char *path, size_t cap)
{
	static const char *const not_names[] = {"posix/", "right/", "posixrules", "localtime",
						"Factory"};
	char prev = '/';
	size_t i;

	if (len == 0 || len > ZONE_NAME_MAX)
		return false;
	for (i = 0; i < len; prev = name[i++]) {
		char c = name[i];
		bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

		if (prev == '/' ? !letter
				: !(letter || (c >= '0' && c <= '9') || strchr("_+-/", c)))
			return false;
	}
	if (prev == '/')
		return false;
	for (i = 0; i < sizeof(not_names) / sizeof(not_names[0]); i++)
		if (len >= strlen(not_names[i]) &&
		    !memcmp(name, not_names[i], strlen(not_names[i])))
			return false;
	snprintf(path, cap, ZONEINFO "/%.*s", (int)len, name);
	return true;
}

static unsigned char *
file_read(const char *path, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	unsigned char *p = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return NULL;
	*len = 0;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 44 &&
	    (size_t)st.st_size <= ZONE_FILE_MAX && (p = malloc((size_t)st.st_size + 1))) {
		while (*len < (size_t)st.st_size &&
		       (n = read(fd, p + *len, (size_t)st.st_size - *len)) > 0)
			*len += (size_t)n;
		p[*len] = '\0';
		if (memcmp(p, "TZif", 4) || p[4] < '2') {
			free(p);
			p = NULL;
		}
	}
	close(fd);
	return p;
}

bool
zone_known(const char *name, size_t len)
{
	char path[sizeof(ZONEINFO) + ZONE_NAME_MAX + 2];
	unsigned char *p;
	size_t n;

	if (len == 3 && !memcmp(name, "UTC", 3))
		return true;
	if (!zone_path(name, len, path, sizeof(path)) || !(p = file_read(path, &n)))
		return false;
	free(p);
	return true;
}

static int64_t
big(const unsigned char *p, unsigned bytes)
{
	uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;

	while (bytes--)
		v = v << 8 | *p++;
	return (int64_t)v;
}

struct tzif {
	size_t isut, isstd, leaps, times, types, chars;
};

static size_t
tzif_head(const unsigned char *p, struct tzif *h)
{
	size_t *counts[] = {&h->isut, &h->isstd, &h->leaps, &h->times, &h->types, &h->chars}, i;

	for (i = 0; i < 6; i++)
		*counts[i] = (uint32_t)big(p + 20 + 4 * i, 4);
	for (i = 0; i < 6; i++)
		if (*counts[i] > ZONE_FILE_MAX)
			return 0;
	return 44;
}

static size_t
tzif_body(const struct tzif *h, size_t word)
{
	return h->times * (word + 1) + h->types * 6 + h->chars + h->leaps * (word + 4) + h->isstd +
	       h->isut;
}

/* Changes to the end of ZONE_LAST_YEAR; a table that ends earlier is carried on by the rule. */
static bool
tzif_changes(const unsigned char *p, const struct tzif *h, struct zone *z)
{
	const unsigned char *index = p + h->times * 8, *types = index + h->times;
	int64_t last = civil_days(ZONE_LAST_YEAR + 1, 1, 1) * DAY;
	size_t i;

	z->changes = calloc(h->times + 1, sizeof(*z->changes));
	if (!z->changes)
		abort();
	z->changes[0] = (struct zone_change){INT64_MIN, (int32_t)big(types, 4)};
	z->count = 1;
	for (i = 0; i < h->times; i++) {
		int64_t at = big(p + i * 8, 8);
		int32_t offset;

		if (index[i] >= h->types || (z->count > 1 && at <= z->changes[z->count - 1].at))
			return false;
		offset = (int32_t)big(types + index[i] * 6, 4);
		if (offset < -26 * 3600 || offset > 26 * 3600)
			return false;
		if (at >= last)
			break;
		if (offset != z->changes[z->count - 1].offset)
			z->changes[z->count++] = (struct zone_change){at, offset};
	}
	return true;
}

static bool
tzif_parse(const unsigned char *p, size_t len, struct zone *z)
{
	struct tzif h;
	size_t head = tzif_head(p, &h), at;
	char *footer, *end;

	if (!head)
		return false;
	at = head + tzif_body(&h, 4); /* the first part has 32-bit times; the second tells all */
	if (at + 44 > len || memcmp(p + at, "TZif", 4) || !tzif_head(p + at, &h) || h.types == 0)
		return false;
	at += 44;
	if (at + tzif_body(&h, 8) + 2 > len || !tzif_changes(p + at, &h, z))
		return false;
	footer = (char *)(uintptr_t)(p + at + tzif_body(&h, 8));
	end = *footer == '\n' ? strchr(footer + 1, '\n') : NULL;
	if (!end)
		return false;
	*end = '\0';
	z->rule_from = INT64_MAX;
	if (!footer[1])
		return true;
	if (!tz_parse(footer + 1, &z->rule))
		return false;
	z->rule_from = z->count > 1 ? z->changes[z->count - 1].at : INT64_MIN;
	return true;
}

bool
zone_load(const char *name, struct zone *out)
{
	char path[sizeof(ZONEINFO) + ZONE_NAME_MAX + 2];
	unsigned char *p;
	size_t len;
	bool ok;

	memset(out, 0, sizeof(*out));
	if (!strcmp(name, "UTC")) {
		out->changes = calloc(1, sizeof(*out->changes));
		if (!out->changes)
			abort();
		out->changes[0].at = INT64_MIN;
		out->count = 1;
		out->rule_from = INT64_MIN;
		return true;
	}
	if (!zone_path(name, strlen(name), path, sizeof(path)) || !(p = file_read(path, &len)))
		return false;
	ok = tzif_parse(p, len, out);
	free(p);
	if (!ok)
		zone_free(out);
	return ok;
}

void
zone_free(struct zone *z)
{
	free(z->changes);
	memset(z, 0, sizeof(*z));
}
