/*
 * rules.c - sallyctl rules: the rules of the policy in force, and with --hits how often each has
 * matched.
 *
 * The server tells them in the order of the policy; they are gathered, sorted and shown.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/columns.h"
#include "ctl/live.h"

struct seen {
	json_t *line;
	uint64_t matches, dry_run;
	const char *name, *last; /* of the line; "": never */
	bool gone;
	size_t order;
};

struct list {
	struct seen *all;
	size_t count, cap;
};

static void
list_add(struct list *l, json_t *line)
{
	struct seen *s;

	if (l->count == l->cap) {
		l->cap = l->cap == 0 ? 256 : l->cap * 2;
		l->all = reallocarray(l->all, l->cap, sizeof *l->all);
		if (l->all == NULL)
			abort();
	}
	s = &l->all[l->count];
	*s = (struct seen){
	    .line = line,
	    .matches = json_count(line, "matches"),
	    .dry_run = json_count(line, "dry_run"),
	    .name = json_text(line, "rule"),
	    .last = json_text(line, "last"),
	    .gone = json_is_true(json_object_get(line, "gone")),
	    .order = l->count,
	};
	l->count++;
}

static void
list_free(struct list *l)
{
	for (size_t i = 0; i < l->count; i++)
		json_decref(l->all[i].line);
	free(l->all);
}

static bool
is_unused(const struct seen *s)
{
	return s->matches == 0 && s->dry_run == 0;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int
by_policy(const struct seen *a, const struct seen *b)
{
	return a->order < b->order ? -1 : a->order > b->order;
}

static int
by_hits(const struct seen *a, const struct seen *b)
{
	if (a->matches != b->matches)
		return a->matches > b->matches ? -1 : 1;
	return a->dry_run > b->dry_run ? -1 : a->dry_run < b->dry_run;
}

/* Times as they are written sort as they are; the latest first. */
static int
by_last(const struct seen *a, const struct seen *b)
{
	return strcmp(b->last, a->last);
}

static int
by_name(const struct seen *a, const struct seen *b)
{
	return strcmp(a->name, b->name);
}

static const struct order {
	const char *word;
	int (*compare)(const struct seen *a, const struct seen *b);
} orders[] = {{"policy", by_policy}, {"hits", by_hits}, {"last", by_last}, {"name", by_name}};
#define ORDERS (sizeof orders / sizeof orders[0])

static const struct order *chosen;

static int
compare(const void *a, const void *b)
{
	int n = chosen->compare(a, b);

	return n != 0 ? n : by_policy(a, b);
}

static bool
choose_order(const struct ctl_call *call, bool hits)
{
	const char *word = option_value(call, "sort");

	if (word == NULL)
		word = hits ? "hits" : "policy";
	for (size_t i = 0; i < ORDERS; i++)
		if (strcmp(word, orders[i].word) == 0) {
			chosen = &orders[i];
			return true;
		}
	ctl_fail(call, "rules are sorted by policy, hits, last or name");
	return false;
}

/* ---- tables ---------------------------------------------------------------------------------- */

struct row {
	char *cell[COLUMNS_MAX];
	const char *colour;
};

static char *
shown(const char *s)
{
	struct buffer b = {0};
	char *kept;

	put_shown(&b, s[0] != '\0' ? s : "-");
	kept = buffer_keep(&b);
	buffer_free(&b);
	return kept;
}

static char *
number(uint64_t n)
{
	char text[COUNT_TEXT];

	return strdup(count_text(n, text));
}

static char *
place(const struct seen *s)
{
	struct buffer b = {0};
	char *kept;

	if (json_text(s->line, "file")[0] != '\0') {
		put_shown(&b, json_text(s->line, "file"));
		buffer_putf(&b, ":%llu", (unsigned long long)json_count(s->line, "line"));
	} else
		buffer_puts(&b, s->gone ? "(no longer in the policy)" : "(built in)");
	kept = buffer_keep(&b);
	buffer_free(&b);
	return kept;
}

static char *
action(const struct seen *s)
{
	struct buffer b = {0};
	char *kept;

	buffer_puts(&b, s->gone ? "-" : json_text(s->line, "action"));
	if (strcmp(json_text(s->line, "mode"), "dry-run") == 0)
		buffer_puts(&b, " (dry-run)");
	kept = buffer_keep(&b);
	buffer_free(&b);
	return kept;
}

/* "2026-11-24 09:14:07" */
static char *
moment(const char *iso)
{
	char text[20];

	if (strlen(iso) < 19)
		return strdup("never");
	memcpy(text, iso, 19);
	text[10] = ' ';
	text[19] = '\0';
	return strdup(text);
}

static void
fill_hits(struct row *r, const struct seen *s, const struct style *style)
{
	r->cell[0] = number(s->matches);
	r->cell[1] = number(s->dry_run);
	r->cell[2] = moment(s->last);
	r->cell[3] = shown(s->name);
	r->cell[4] = action(s);
	r->cell[5] = place(s);
	r->colour = is_unused(s) ? style->wait : s->gone ? style->dim : "";
}

static void
fill_plain(struct row *r, const struct seen *s, const struct style *style)
{
	r->cell[0] = shown(s->name);
	r->cell[1] = action(s);
	r->cell[2] = shown(json_text(s->line, "owner"));
	r->cell[3] = shown(json_text(s->line, "ticket"));
	r->cell[4] = place(s);
	r->colour = "";
	(void)style;
}

static const struct table {
	struct columns columns;
	void (*fill)(struct row *r, const struct seen *s, const struct style *style);
} tables[] = {
    {{.heads = {"RULE", "ACTION", "OWNER", "TICKET", "PLACE"}}, fill_plain},
    {{.heads = {"HITS", "DRY-RUN", "LAST (UTC)", "RULE", "ACTION", "PLACE"}, .right = {true, true}},
     fill_hits},
};

static void
put_table(const struct ctl_call *call, const struct table *t, const struct list *l,
	  struct buffer *out)
{
	const struct style *style = style_of(call);
	struct row *rows = calloc(l->count + 1, sizeof *rows);
	struct columns columns = t->columns;

	if (rows == NULL)
		abort();
	columns_fit(&columns, columns.heads);
	for (size_t i = 0; i < l->count; i++) {
		t->fill(&rows[i], &l->all[i], style);
		columns_fit(&columns, (const char *const *)rows[i].cell);
	}
	buffer_puts(out, style->bold);
	columns_put(&columns, columns.heads, out);
	buffer_putf(out, "%s\n", style->off);
	for (size_t i = 0; i < l->count; i++) {
		buffer_puts(out, rows[i].colour);
		columns_put(&columns, (const char *const *)rows[i].cell, out);
		buffer_putf(out, "%s\n", rows[i].colour[0] != '\0' ? style->off : "");
		for (int c = 0; c < COLUMNS_MAX; c++)
			free(rows[i].cell[c]);
	}
	free(rows);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void
put_json(const struct list *l, const json_t *last, struct buffer *out)
{
	json_t *rules = json_array(), *all = json_object();
	char *text;

	json_object_set(all, "since", json_object_get(last, "since"));
	json_object_set(all, "kept", json_object_get(last, "kept"));
	json_object_set_new(all, "rules", rules);
	for (size_t i = 0; i < l->count; i++)
		json_array_append(rules, l->all[i].line);
	text = json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (text == NULL)
		abort();
	buffer_puts(out, text);
	buffer_puts(out, "\n");
	free(text);
	json_decref(all);
}

/* Those that are gone are counts of the past, and no rules. */
static void
keep_wanted(struct list *l, bool hits, bool unused)
{
	size_t n = 0;

	for (size_t i = 0; i < l->count; i++) {
		struct seen *s = &l->all[i];
		bool built_in = !s->gone && json_object_get(s->line, "line") == NULL;

		if ((!hits && s->gone) || (unused && (built_in || !is_unused(s))))
			json_decref(s->line);
		else
			l->all[n++] = *s;
	}
	l->count = n;
}

static void
put_sum(const struct list *l, const json_t *last, bool unused, struct buffer *out)
{
	char text[COUNT_TEXT], *since = moment(json_text(last, "since"));
	uint64_t never = 0, hits = 0;

	for (size_t i = 0; i < l->count; i++) {
		never += is_unused(&l->all[i]) && json_object_get(l->all[i].line, "line") != NULL;
		hits += l->all[i].matches;
	}
	if (!unused)
		buffer_putf(out, "%s hit%s, ", count_text(hits, text), hits == 1 ? "" : "s");
	buffer_putf(out, "%s rule%s never matched; counted since %s UTC%s\n",
		    count_text(never, text), never == 1 ? "" : "s", since,
		    json_is_true(json_object_get(last, "kept")) ? "" : ", not kept over a restart");
	free(since);
}

int
rules_run(struct ctl_call *call)
{
	bool unused = option_on(call, "unused"), hits = unused || option_on(call, "hits");
	struct control_request r = {.command = CONTROL_RULES};
	int status = CTL_FAILED;
	struct buffer out = {0};
	struct list list = {0};
	struct live l;
	json_t *line;

	if (!choose_order(call, hits) || !live_ask(&l, call, &r))
		return CTL_FAILED;
	while ((line = live_next(&l, NULL)) != NULL && !live_over(line))
		list_add(&list, line);
	if (line != NULL && (status = live_verdict(&l, line)) == CTL_YES) {
		keep_wanted(&list, hits, unused);
		if (list.count > 0)
			qsort(list.all, list.count, sizeof *list.all, compare);
		if (call->json)
			put_json(&list, line, &out);
		else {
			put_table(call, &tables[hits], &list, &out);
			if (hits)
				put_sum(&list, line, unused, &out);
		}
	}
	json_decref(line);
	list_free(&list);
	live_close(&l);
	return ctl_done(&out, status);
}
