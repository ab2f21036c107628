/*
 * daemon/ranking.c - see daemon/ranking.h. Control; looks at the books for reading only.
 *
 * What a session has moved is remembered by its card, so that the next look tells a rate: that of
 * a new one is its average since it began.
 */
#include "ranking.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "controller.h"
#include "counting.h"

#define LOOKS 4096      /* cards or rules a turn */
#define FRESH_MS 900    /* a look this old is as good as a new one */
#define STALE_MS 5000   /* one that was begun so long ago and is not over is begun anew */
#define MEMORY_MS 15000 /* rates over a longer time tell nothing of now */
#define RULES_MOST 100000
#define ROWS 20 /* told of each list, if nothing else is asked for */
#define ROWS_MOST 200

enum list { USERS, SOURCES, DESTINATIONS, RULES, LISTS };
static const char *const list_words[LISTS + 1] = {"users", "sources", "destinations", "rules",
						  "denials"};

struct entry {
	uint64_t hash;
	size_t name; /* in names */
	uint32_t name_len, sessions;
	uint64_t up, down, matches;
	double up_rate, down_rate, match_rate;
	bool is_rule, deny;
};

struct table {
	struct entry *all;
	uint32_t *slots; /* index + 1, 0: free; twice as many as entries or more */
	size_t count, cap, slot_count;
	struct buffer names;
};

/* What a card's session had moved when it was looked at last. */
struct before {
	uint32_t serial;
	uint32_t at_ms;
	uint64_t up, down;
};

struct memory { /* of one view */
	uint32_t stamp, count;
	struct before *cards;
};

struct totals {
	int64_t at_ms;
	uint64_t counts[COUNT_MAX], up,
	    down; /* bytes of those that are over, and of those that are open */
};

struct look {
	uint64_t number;
	struct table tables[LISTS];
	struct totals totals;
	uint64_t open, opening, destinations; /* sessions, and destinations of associations */
};

static struct {
	struct look done, next;
	struct totals previous;
	bool looking;
	int64_t begun_ms;
	unsigned view;
	uint32_t at, stamp; /* within the view */
	uint32_t rule;
	uint64_t seed;
	struct memory memories[SHELVES_MAX];
	uint64_t *matches;                  /* of each rule, at the last look ... */
	uint32_t match_count, match_policy; /* ... under this policy */
	int64_t match_ms;
} ranking;

/* ---- tables -------------------------------------------------------------------------------- */

/* Names come from outside: nobody shall choose those that fall together. */
static uint64_t
hash_of(const char *s, size_t len)
{
	uint64_t h = ranking.seed;

	for (size_t i = 0; i < len; i++) {
		h = (h ^ (unsigned char)s[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return h;
}

static void
table_clear(struct table *t)
{
	t->count = 0;
	t->names.len = 0;
	if (t->slots != NULL)
		memset(t->slots, 0, t->slot_count * sizeof *t->slots);
}

static bool
table_grow(struct table *t)
{
	size_t cap = t->cap == 0 ? 1024 : t->cap * 2;
	struct entry *all = reallocarray(t->all, cap, sizeof *all);
	uint32_t *slots;

	if (all == NULL)
		return false;
	t->all = all;
	if ((slots = calloc(cap * 2, sizeof *slots)) == NULL)
		return false;
	free(t->slots);
	t->slots = slots;
	t->slot_count = cap * 2;
	t->cap = cap;
	for (size_t i = 0; i < t->count; i++) {
		size_t at = t->all[i].hash & (t->slot_count - 1);

		while (t->slots[at] != 0)
			at = (at + 1) & (t->slot_count - 1);
		t->slots[at] = (uint32_t)i + 1;
	}
	return true;
}

/* NULL: no memory; it is missing in the list, nothing else. */
static struct entry *
table_entry(struct table *t, const char *name, size_t len)
{
	uint64_t hash = hash_of(name, len);
	struct entry *e;
	size_t at;

	if (t->count == t->cap && !table_grow(t))
		return NULL;
	for (at = hash & (t->slot_count - 1); t->slots[at] != 0;
	     at = (at + 1) & (t->slot_count - 1)) {
		e = &t->all[t->slots[at] - 1];
		if (e->hash == hash && e->name_len == len &&
		    memcmp(t->names.p + e->name, name, len) == 0)
			return e;
	}
	e = &t->all[t->count];
	*e = (struct entry){.hash = hash, .name = t->names.len, .name_len = (uint32_t)len};
	buffer_put(&t->names, name, len);
	t->slots[at] = (uint32_t)++t->count;
	return e;
}

/* ---- looking at the cards ------------------------------------------------------------------ */

static struct before *
remembered(unsigned view, const struct books *b, uint32_t index)
{
	struct memory *m = &ranking.memories[view];

	if (m->cards == NULL || m->stamp != controller.views[view].stamp) {
		free(m->cards);
		m->stamp = controller.views[view].stamp;
		m->count = books_capacity(b); /* pages that no card needs are never touched */
		m->cards = calloc(m->count, sizeof *m->cards);
	}
	return m->cards != NULL && index < m->count ? &m->cards[index] : NULL;
}

struct flow {
	double up, down; /* bytes a second */
};

static struct flow
flow_of(struct before *b, const struct card *c, int64_t now_ms)
{
	int64_t passed = (int64_t)((uint32_t)now_ms - b->at_ms);
	bool known = b->serial == c->serial && b->at_ms != 0 && passed < MEMORY_MS &&
		     b->up <= c->up && b->down <= c->down;
	uint64_t up = c->up, down = c->down;
	struct flow f = {0, 0};

	if (known) {
		up -= b->up;
		down -= b->down;
	} else {
		passed = (clock_wall_ns() - c->start_ns) / 1000000;
		if (passed >= MEMORY_MS)
			up = down = 0; /* when they passed is not known */
	}
	if (passed < 100)
		passed = 100;
	f.up = (double)up * 1000 / (double)passed;
	f.down = (double)down * 1000 / (double)passed;
	*b = (struct before){c->serial, (uint32_t)now_ms | 1, c->up, c->down};
	return f;
}

static void
add(enum list which, const char *name, size_t len, const struct card *c, struct flow f)
{
	struct entry *e = table_entry(&ranking.next.tables[which], name, len);

	if (e == NULL)
		return;
	e->sessions++;
	e->up += c->up;
	e->down += c->down;
	e->up_rate += f.up;
	e->down_rate += f.down;
}

static void
add_destination(const struct card_seen *s, struct flow f)
{
	const struct card *c = &s->card;
	char place[256 + ENDPOINT_TEXT];
	struct text t;

	text_init(&t, place, sizeof place);
	if (c->name_len > 0) {
		text_put_bytes(&t, s->strings[CARD_NAME], c->name_len);
		text_putf(&t, ":%u", c->destination_port);
	} else if ((c->flags & CARD_HAS_ADDRESS) != 0) {
		char at[ENDPOINT_TEXT];
		struct endpoint e = {c->destination, c->destination_port};

		endpoint_format(&e, at);
		text_put(&t, at);
	} else
		return;
	add(DESTINATIONS, place, t.len, c, f);
}

static void
look_at(unsigned view, const struct books *b, const struct card *card)
{
	static struct card_seen seen;
	int64_t now_ms = clock_mono_ns() / 1000000;
	const struct card *c = &seen.card;
	struct before *before;
	struct flow f = {0, 0};
	char at[ADDR_TEXT];
	const char *rule;

	if (!card_look(b, card, &seen) || c->end_ns != 0)
		return;
	if ((before = remembered(view, b, books_index(b, card))) != NULL)
		f = flow_of(before, c, now_ms);
	if (card_is_destination(c)) {
		ranking.next.destinations++;
		add_destination(&seen, f);
		return;
	}
	if (atomic_load_explicit(&c->state, memory_order_relaxed) == CARD_STARTED) {
		ranking.next.open++;
		rule = controller_rule(c);
		if (rule[0] != '\0')
			add(RULES, rule, strlen(rule), c, f);
	} else
		ranking.next.opening++;
	ranking.next.totals.up += c->up;
	ranking.next.totals.down += c->down;
	add(USERS, seen.strings[CARD_USER], c->user_len, c, f);
	addr_format(&c->source, at);
	add(SOURCES, at, strlen(at), c, f);
	if (c->command != 3) /* an association's destinations have cards of their own */
		add_destination(&seen, f);
}

/* True: there are more. */
static bool
look_on(void)
{
	for (unsigned n = 0; ranking.view < SHELVES_MAX; ranking.view++, ranking.at = 0) {
		struct view *v = &controller.views[ranking.view];
		const struct card *card;

		if (ranking.at == 0)
			ranking.stamp = v->stamp;
		while (v->books != NULL && v->stamp == ranking.stamp) {
			if (n++ >= LOOKS)
				return true;
			if ((card = books_next_open(v->books, &ranking.at)) == NULL)
				break;
			look_at(ranking.view, v->books, card);
		}
	}
	return false;
}

/* ---- the rules ----------------------------------------------------------------------------- */

/* Room to remember what each had matched; false: none of it is of this policy. */
static bool
remember_matches(uint32_t count)
{
	uint32_t policy = controller.newest->number;
	bool same = ranking.matches != NULL && ranking.match_policy == policy &&
		    ranking.match_count == count;

	if (same)
		return true;
	free(ranking.matches);
	ranking.matches = calloc(count, sizeof *ranking.matches);
	ranking.match_count = ranking.matches != NULL ? count : 0;
	ranking.match_policy = policy;
	ranking.match_ms = 0;
	return false;
}

static void
count_rule(uint32_t i, int32_t rule, double passed_s)
{
	struct hits_count count = {0};
	struct rule_terms terms = {0};
	struct entry *e;

	policy_terms(controller.newest->policy, rule, &terms);
	if (terms.name == NULL)
		return;
	counting_of(terms.name, &count);
	e = count.matches > 0
		? table_entry(&ranking.next.tables[RULES], terms.name, strlen(terms.name))
		: NULL;
	if (e != NULL) {
		e->is_rule = true;
		e->deny = !terms.allow;
		e->matches = count.matches;
		if (passed_s > 0 && count.matches >= ranking.matches[i])
			e->match_rate = (double)(count.matches - ranking.matches[i]) / passed_s;
	}
	ranking.matches[i] = count.matches;
}

/* True: there are more. In front of the rules stand those that decide where none does. */
static bool
rules_on(int64_t now_ms)
{
	uint32_t rules = (uint32_t)policy_rule_count(controller.newest->policy),
		 count = (rules < RULES_MOST ? rules : RULES_MOST) + 2;
	static double passed_s;

	if (ranking.rule == 0) {
		bool known = remember_matches(count) && ranking.match_ms != 0 &&
			     now_ms - ranking.match_ms < MEMORY_MS;

		passed_s = known ? (double)(now_ms - ranking.match_ms) / 1000 : 0;
		ranking.match_ms = now_ms;
		if (!counting_look())
			return false;
	}
	if (ranking.match_count != count || ranking.match_policy != controller.newest->number)
		return false; /* another policy came; the next look knows it */
	for (unsigned n = 0; ranking.rule < count && n < LOOKS; n++, ranking.rule++)
		count_rule(ranking.rule,
			   ranking.rule == 0   ? RULE_DEFAULT
			   : ranking.rule == 1 ? RULE_SELF
					       : (int32_t)ranking.rule - 2,
			   passed_s);
	return ranking.rule < count;
}

/* ---- one look after the other -------------------------------------------------------------- */

static void
begin_look(int64_t now_ms)
{
	struct look *l = &ranking.next;

	if (ranking.seed == 0 && getrandom(&ranking.seed, sizeof ranking.seed, 0) == -1)
		ranking.seed = (uint64_t)clock_mono_ns();
	for (int i = 0; i < LISTS; i++)
		table_clear(&l->tables[i]);
	l->number = ranking.done.number + 1;
	l->open = l->opening = l->destinations = 0;
	memset(&l->totals, 0, sizeof l->totals);
	ranking.begun_ms = now_ms;
	ranking.view = 0;
	ranking.at = ranking.rule = 0;
	ranking.looking = true;
}

static void
end_look(int64_t now_ms)
{
	struct look *l = &ranking.next, past = ranking.done;

	l->totals.at_ms = now_ms;
	for (int i = 0; i < COUNT_MAX; i++)
		l->totals.counts[i] = controller_count((enum books_counter)i);
	l->totals.up += l->totals.counts[COUNT_BYTES_UP];
	l->totals.down += l->totals.counts[COUNT_BYTES_DOWN];
	ranking.previous = ranking.done.totals;
	ranking.done = ranking.next;
	ranking.next = past; /* its memory */
	ranking.looking = false;
}

static void
look(void)
{
	int64_t now_ms = clock_mono_ns() / 1000000;

	if (!ranking.looking || now_ms - ranking.begun_ms > STALE_MS)
		begin_look(now_ms);
	if (!look_on() && !rules_on(now_ms))
		end_look(now_ms);
}

/* ---- what is told -------------------------------------------------------------------------- */

static double
by_sessions(const struct entry *e)
{
	return e->sessions;
}

static double
by_rate(const struct entry *e)
{
	return e->up_rate + e->down_rate;
}

static double
by_bytes(const struct entry *e)
{
	return (double)e->up + (double)e->down;
}

static double
by_matches(const struct entry *e)
{
	return e->match_rate;
}

static const struct {
	const char *word;
	double (*of)(const struct entry *e);
} orders[] = {
    {"sessions", by_sessions}, {"rate", by_rate}, {"bytes", by_bytes}, {"matches", by_matches}};
#define ORDERS (sizeof orders / sizeof orders[0])

/* Does a stand before b? Where both have the same: by what is larger otherwise, then by name. */
static bool
before(const struct table *t, const struct entry *a, const struct entry *b,
       double (*of)(const struct entry *))
{
	double x = of(a), y = of(b);
	size_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
	int c;

	if (x != y)
		return x > y;
	if (a->matches != b->matches)
		return a->matches > b->matches;
	if (a->sessions != b->sessions)
		return a->sessions > b->sessions;
	c = memcmp(t->names.p + a->name, t->names.p + b->name, len);
	return c != 0 ? c < 0 : a->name_len < b->name_len;
}

/* The first of a list in their order; `denials` are the rules that deny. */
static size_t
choose(const struct table *t, bool denials, double (*of)(const struct entry *),
       const struct entry *first[], size_t most)
{
	size_t n = 0;

	for (size_t i = 0; i < t->count; i++) {
		const struct entry *e = &t->all[i];
		size_t at;

		if (denials && !e->deny)
			continue;
		if (n == most && !before(t, e, first[n - 1], of))
			continue;
		at = n < most ? n++ : n - 1;
		for (; at > 0 && before(t, e, first[at - 1], of); at--)
			first[at] = first[at - 1];
		first[at] = e;
	}
	return n;
}

static void
put_entry(struct buffer *out, const char *list, const struct table *t, const struct entry *e)
{
	buffer_putf(out, "{\"list\":\"%s\",\"name\":", list);
	buffer_put_json(out, t->names.p + e->name, e->name_len);
	buffer_putf(out, ",\"sessions\":%u,\"up\":%llu,\"down\":%llu", e->sessions,
		    (unsigned long long)e->up, (unsigned long long)e->down);
	buffer_putf(out, ",\"up_rate\":%.1f,\"down_rate\":%.1f", e->up_rate, e->down_rate);
	if (e->is_rule)
		buffer_putf(out, ",\"action\":\"%s\",\"matches\":%llu,\"match_rate\":%.2f",
			    e->deny ? "deny" : "allow", (unsigned long long)e->matches,
			    e->match_rate);
	buffer_puts(out, "}\n");
}

static double
rate(uint64_t now, uint64_t then, double seconds)
{
	return seconds > 0 && now > then ? (double)(now - then) / seconds : 0;
}

static void
put_totals(struct buffer *out)
{
	static const struct {
		const char *key;
		enum books_counter which;
	} rows[] = {{"accepted", COUNT_ACCEPTED},
		    {"started", COUNT_STARTED},
		    {"denied", COUNT_DENIED},
		    {"failed", COUNT_FAILED},
		    {"ended", COUNT_ENDED},
		    {"refused_limit", COUNT_REFUSED_LIMIT},
		    {"refused_policy", COUNT_REFUSED_POLICY},
		    {"refused_ledger", COUNT_REFUSED_LEDGER},
		    {"refused_descriptors", COUNT_REFUSED_FILES},
		    {"datagrams_up", COUNT_UP_PASSED},
		    {"datagrams_down", COUNT_DOWN_PASSED},
		    {"decisions", COUNT_DECISIONS}};
	const struct totals *now = &ranking.done.totals, *then = &ranking.previous;
	int64_t passed_ms = now->at_ms - then->at_ms;
	double s = then->at_ms != 0 && passed_ms < MEMORY_MS ? (double)passed_ms / 1000 : 0;

	buffer_putf(out, ",\"counts\":{\"bytes_up\":%llu,\"bytes_down\":%llu",
		    (unsigned long long)now->up, (unsigned long long)now->down);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		buffer_putf(out, ",\"%s\":%llu", rows[i].key,
			    (unsigned long long)now->counts[rows[i].which]);
	buffer_putf(out, "},\"interval\":%.3f", s);
	if (s <= 0)
		return; /* nobody has looked a moment ago */
	buffer_putf(out, ",\"rates\":{\"bytes_up\":%.1f,\"bytes_down\":%.1f",
		    rate(now->up, then->up, s), rate(now->down, then->down, s));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		buffer_putf(out, ",\"%s\":%.2f", rows[i].key,
			    rate(now->counts[rows[i].which], then->counts[rows[i].which], s));
	buffer_puts(out, "}");
}

static void
put_server(struct buffer *out)
{
	static const char *const words[] = {"ok", "refusing", "dropping"};
	const struct settings *s = controller_settings();
	const struct look *l = &ranking.done;
	const struct ipc_processes *p = &controller.processes;

	buffer_putf(out, "{\"top\":{\"open\":%llu,\"opening\":%llu,\"udp_destinations\":%llu",
		    (unsigned long long)l->open, (unsigned long long)l->opening,
		    (unsigned long long)l->destinations);
	buffer_putf(out, ",\"most\":%u,\"handshakes\":%u", s->limits.sessions,
		    tally_handshakes(controller.tally));
	buffer_putf(out, ",\"ledger\":\"%s\",\"draining\":%s", words[p->audit_state % 3],
		    p->draining ? "true" : "false");
	buffer_puts(out, ",\"policy\":");
	buffer_put_json(out, policy_name(controller.newest->policy),
			strlen(policy_name(controller.newest->policy)));
	if (p->count > 0)
		buffer_putf(out, ",\"uptime\":%lld",
			    (long long)((clock_wall_ns() - p->list[0].started_ns) / NS_PER_S));
	for (int i = 0; i < RULES; i++)
		buffer_putf(out, "%s\"%s\":%zu", i == 0 ? ",\"distinct\":{" : ",", list_words[i],
			    l->tables[i].count);
	buffer_puts(out, "}");
	put_totals(out);
	buffer_puts(out, "}}\n");
}

static void
put_all(struct caller *c)
{
	const struct control_request *r = &c->request;
	const struct entry *first[ROWS_MOST];
	size_t most =
	    control_given(r, CONTROL_LIMIT) ? (size_t)r->value[CONTROL_LIMIT].number : ROWS;

	if (most > ROWS_MOST)
		most = ROWS_MOST;
	put_server(&c->text);
	for (int i = 0; i <= LISTS && most > 0; i++) {
		bool denials = i == LISTS;
		const struct table *t = &ranking.done.tables[denials ? RULES : i];
		size_t n =
		    choose(t, denials, denials ? by_matches : orders[c->count].of, first, most);

		for (size_t k = 0; k < n; k++)
			put_entry(&c->text, list_words[i], t, first[k]);
	}
}

static bool
lines_more(struct caller *c)
{
	struct text t;

	while (c->text_at < c->text.len) {
		const char *line = c->text.p + c->text_at,
			   *end = memchr(line, '\n', c->text.len - c->text_at);

		if (caller_full(c))
			return true;
		caller_line(c, &t);
		text_put_bytes(&t, line, (size_t)(end - line));
		caller_put(c, &t);
		c->text_at += (size_t)(end - line) + 1;
	}
	caller_line(c, &t);
	text_put(&t, "{\"done\":true}");
	caller_done(c, &t);
	return false;
}

/* The look with the number c->stamp, or a later one. */
static bool
look_more(struct caller *c)
{
	if (ranking.done.number < c->stamp)
		look();
	if (ranking.done.number < c->stamp)
		return true;
	put_all(c);
	c->text_at = 0;
	c->more = lines_more;
	return lines_more(c);
}

void
ranking_begin(struct caller *c)
{
	const char *sort = c->request.value[CONTROL_SORT].string;
	int64_t now_ms = clock_mono_ns() / 1000000;
	bool fresh = ranking.done.number != 0 && now_ms - ranking.done.totals.at_ms < FRESH_MS;
	size_t order = 0;

	while (sort[0] != '\0' && order < ORDERS && strcmp(orders[order].word, sort) != 0)
		order++;
	if (order == ORDERS) {
		caller_refuse(c, "bad-value", "it is not sorted by that");
		return;
	}
	c->count = order;
	c->stamp = (uint32_t)(ranking.done.number + !fresh);
	c->more = look_more;
}
