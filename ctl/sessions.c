/*
 * sessions.c - sallyctl sessions: who is connected to what, sorted, in columns.
 *
 * All are gathered before any is shown, so that they can be sorted and the columns be as wide as
 * they must: some hundred bytes each.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/columns.h"
#include "ctl/live.h"

enum column { SESSION, AGE, USER, SOURCE, DESTINATION, RULE, UP, DOWN, COLUMNS };

struct shown {
	uint64_t age, up, down;
	bool destination; /* of an association */
	char *started;    /* with fractions: the order within a second */
	char *cell[COLUMNS];
	char *raw; /* --json */
};

struct list {
	struct shown *all;
	size_t count, cap;
};

/* ---- one session --------------------------------------------------------------------------- */

/* Bytes from outside, for a terminal; "-" for nothing. */
static void
put_word(struct buffer *out, const json_t *o, const char *key)
{
	if (json_text(o, key)[0] != '\0')
		json_put_shown(o, key, out);
	else
		buffer_puts(out, "-");
}

static void
put_host(struct buffer *out, const json_t *end)
{
	const char *ip = json_text(end, "ip");
	bool named = json_text(end, "domain")[0] != '\0';

	if (named)
		put_word(out, end, "domain");
	else if (ip[0] == '\0')
		buffer_puts(out, "-");
	else
		buffer_putf(out, strchr(ip, ':') != NULL ? "[%s]" : "%s", ip);
	if (named || ip[0] != '\0')
		buffer_putf(out, ":%llu", (unsigned long long)json_count(end, "port"));
}

/* "5 s", "12 min", "3 h 04", "2 d 07": four digits are enough. */
static void
put_age(struct buffer *out, uint64_t s)
{
	unsigned long long n = s;

	if (n < 60)
		buffer_putf(out, "%llu s", n);
	else if (n < 3600)
		buffer_putf(out, "%llu min", n / 60);
	else if (n < 86400)
		buffer_putf(out, "%llu h %02llu", n / 3600, n / 60 % 60);
	else
		buffer_putf(out, "%llu d %02llu", n / 86400, n / 3600 % 24);
}

static void
fill(struct shown *s, const json_t *line, const char *raw, bool json)
{
	const json_t *source = json_object_get(line, "source"),
		     *destination = json_object_get(line, "destination");
	struct buffer b = {0};

	s->destination = strcmp(json_text(line, "state"), "destination") == 0;
	s->age = json_count(line, "age");
	s->up = json_count(source, "bytes");
	s->down = json_count(destination, "bytes");
	s->started = strdup(json_text(line, "started"));
	s->raw = json ? strdup(raw) : NULL;
	buffer_puts(&b, json_text(line, "session"));
	s->cell[SESSION] = buffer_keep(&b);
	put_age(&b, s->age);
	s->cell[AGE] = buffer_keep(&b);
	put_word(&b, line, "user");
	s->cell[USER] = buffer_keep(&b);
	put_host(&b, source);
	s->cell[SOURCE] = buffer_keep(&b);
	put_host(&b, destination);
	s->cell[DESTINATION] = buffer_keep(&b);
	put_word(&b, line, strcmp(json_text(line, "state"), "opening") == 0 ? "state" : "rule");
	s->cell[RULE] = buffer_keep(&b);
	buffer_put_size(&b, s->up);
	s->cell[UP] = buffer_keep(&b);
	buffer_put_size(&b, s->down);
	s->cell[DOWN] = buffer_keep(&b);
	buffer_free(&b);
}

static void
list_add(struct list *l, const json_t *line, const char *raw, bool json)
{
	if (l->count == l->cap) {
		l->cap = l->cap == 0 ? 1024 : l->cap * 2;
		l->all = reallocarray(l->all, l->cap, sizeof *l->all);
		if (l->all == NULL)
			abort();
	}
	memset(&l->all[l->count], 0, sizeof *l->all);
	fill(&l->all[l->count++], line, raw, json);
}

static void
list_free(struct list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		for (int c = 0; c < COLUMNS; c++)
			free(l->all[i].cell[c]);
		free(l->all[i].started);
		free(l->all[i].raw);
	}
	free(l->all);
}

/* ---- order --------------------------------------------------------------------------------- */

static int
by_age(const struct shown *a, const struct shown *b)
{
	return strcmp(a->started, b->started);
}

static int
by_cell(const struct shown *a, const struct shown *b, enum column c)
{
	return strcmp(a->cell[c], b->cell[c]);
}

static int
by_user(const struct shown *a, const struct shown *b)
{
	return by_cell(a, b, USER);
}

static int
by_source(const struct shown *a, const struct shown *b)
{
	return by_cell(a, b, SOURCE);
}

static int
by_destination(const struct shown *a, const struct shown *b)
{
	return by_cell(a, b, DESTINATION);
}

static int
by_rule(const struct shown *a, const struct shown *b)
{
	return by_cell(a, b, RULE);
}

/* Most first. */
static int
more(uint64_t a, uint64_t b)
{
	return a > b ? -1 : a < b;
}

static int
by_bytes(const struct shown *a, const struct shown *b)
{
	return more(a->up + a->down, b->up + b->down);
}

static int
by_up(const struct shown *a, const struct shown *b)
{
	return more(a->up, b->up);
}

static int
by_down(const struct shown *a, const struct shown *b)
{
	return more(a->down, b->down);
}

static const struct order {
	const char *word;
	int (*compare)(const struct shown *a, const struct shown *b);
} orders[] = {
    {"age", by_age},   {"user", by_user},   {"source", by_source}, {"destination", by_destination},
    {"rule", by_rule}, {"bytes", by_bytes}, {"up", by_up},         {"down", by_down}};
#define ORDERS (sizeof orders / sizeof orders[0])

static const struct order *chosen;

static int
compare(const void *a, const void *b)
{
	int n = chosen->compare(a, b);

	return n != 0 ? n : by_age(a, b);
}

static bool
choose_order(const struct ctl_call *call)
{
	const char *word = option_value(call, "sort"), *near, *words[ORDERS + 1];

	chosen = &orders[0];
	for (size_t i = 0; i < ORDERS; i++) {
		words[i] = orders[i].word;
		if (word != NULL && strcmp(word, orders[i].word) == 0)
			chosen = &orders[i];
	}
	words[ORDERS] = NULL;
	if (word == NULL || strcmp(word, chosen->word) == 0)
		return true;
	near = text_nearest(word, words);
	ctl_fail(call, "sessions are not sorted by that%s%s%s: see 'sallyctl sessions --help'",
		 near != NULL ? ": did you mean '" : "", near != NULL ? near : "",
		 near != NULL ? "'" : "");
	return false;
}

/* ---- the table ----------------------------------------------------------------------------- */

static void
put_table(const struct ctl_call *call, const struct list *l, size_t count, struct buffer *out)
{
	struct columns columns = {
	    .heads = {"SESSION", "AGE", "USER", "SOURCE", "DESTINATION", "RULE", "UP", "DOWN"},
	    .right = {[AGE] = true, [UP] = true, [DOWN] = true},
	};
	const struct style *s = style_of(call);

	columns_fit(&columns, columns.heads);
	for (size_t i = 0; i < count; i++)
		columns_fit(&columns, (const char *const *)l->all[i].cell);
	buffer_puts(out, s->bold);
	columns_put(&columns, columns.heads, out);
	buffer_putf(out, "%s\n", s->off);
	for (size_t i = 0; i < count; i++) {
		columns_put(&columns, (const char *const *)l->all[i].cell, out);
		buffer_puts(out, "\n");
	}
}

static void
put_all(const struct ctl_call *call, struct list *l, size_t limit, struct buffer *out)
{
	size_t count = limit != 0 && limit < l->count ? limit : l->count;
	size_t destinations = 0, sessions;
	char shown[COUNT_TEXT], all[COUNT_TEXT];

	if (l->count > 0)
		qsort(l->all, l->count, sizeof *l->all, compare);
	if (call->json) {
		for (size_t i = 0; i < count; i++)
			buffer_putf(out, "%s\n", l->all[i].raw);
		return;
	}
	if (count > 0)
		put_table(call, l, count, out);
	if (count < l->count)
		buffer_putf(out, "%s of ", count_text(count, shown));
	for (size_t i = 0; i < l->count; i++)
		destinations += l->all[i].destination;
	sessions = l->count - destinations;
	buffer_putf(out, "%s session%s", count_text(sessions, all), sessions == 1 ? "" : "s");
	if (destinations > 0)
		buffer_putf(out, " and %s destination%s of UDP", count_text(destinations, all),
			    destinations == 1 ? "" : "s");
	buffer_puts(out, "\n");
}

/* ---- the command --------------------------------------------------------------------------- */

static bool
ask_what(const struct ctl_call *call, struct control_request *r, size_t *limit)
{
	static const enum control_field strings[] = {CONTROL_USER, CONTROL_SOURCE,
						     CONTROL_DESTINATION, CONTROL_RULE};
	const char *most = option_value(call, "limit");
	uint64_t n = 0;

	for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
		if (!live_field(call, r, strings[i]))
			return false;
	if (!live_age(call, r, CONTROL_OLDER, "older-than") ||
	    !live_age(call, r, CONTROL_YOUNGER, "younger-than") || !choose_order(call))
		return false;
	if (option_on(call, "destinations"))
		control_set(r, CONTROL_DESTINATIONS);
	if (most != NULL && (!text_parse_u64(most, strlen(most), UINT32_MAX, &n) || n == 0)) {
		ctl_fail(call, "'--limit' takes a number from 1 on");
		return false;
	}
	*limit = (size_t)n;
	return true;
}

int
sessions_run(struct ctl_call *call)
{
	struct control_request r = {.command = CONTROL_SESSIONS};
	struct buffer out = {0};
	struct list list = {0};
	int status = CTL_FAILED;
	const char *raw;
	struct live l;
	json_t *line;
	size_t limit;

	if (!ask_what(call, &r, &limit) || !live_ask(&l, call, &r))
		return CTL_FAILED;
	while ((line = live_next(&l, &raw)) != NULL && !live_over(line)) {
		list_add(&list, line, raw, call->json);
		json_decref(line);
	}
	if (line != NULL && (status = live_verdict(&l, line)) == CTL_YES)
		put_all(call, &list, limit, &out);
	json_decref(line);
	list_free(&list);
	live_close(&l);
	return ctl_done(&out, status);
}
