/*
 * rules/compile_index.c - the matchers: which rules each knows, where each rule is anchored, and
 * what leads from an address, a name or a user to the anchors. COMPILE and sallyctl.
 *
 * A rule is anchored by one of its keys, under every object of that key's set: when the rule holds,
 * the value is in one of them. The key is the one whose objects fewest rules crowd around. Rules
 * without such a key are candidates always.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "rules/compile.h"
#include "rules/compile_prefix.h"

/* A set with more entries than this is not worth an index while few rules have one. */
#define HUGE_SET 4096
#define HUGE_RULES 16

#define UNANCHORED UINT32_MAX

struct index {
	struct compile *c;
	struct policy view; /* the sections so far, as readers see them */
	uint32_t objects[ANCHOR_KINDS];
	uint32_t *crowd[ANCHOR_KINDS];  /* by object: rules that one value may find there */
	uint32_t *anchor[ANCHOR_KINDS]; /* by object: its anchor, UNANCHORED */
	uint8_t *chosen[MATCHER_COUNT]; /* by rule: 1 << enum anchor_kind, 0: always */
	uint32_t *subset[MATCHER_COUNT], subset_count[MATCHER_COUNT];
};

static void *
must_calloc(size_t n, size_t size)
{
	void *v = calloc(n + 1, size);

	if (v == NULL)
		abort();
	return v;
}

static void
view_bind(struct index *x)
{
	struct compile *c = x->c;
	struct policy *p = &x->view;

	p->strings = c->sections[SECTION_STRINGS].p;
	p->rules = (const void *)c->sections[SECTION_RULES].p;
	p->tails = (const void *)c->sections[SECTION_TAILS].p;
	p->pool = (const void *)c->sections[SECTION_POOL].p;
	p->words = (const void *)c->sections[SECTION_WORDS].p;
	p->word_slots = (const void *)c->sections[SECTION_WORD_SLOTS].p;
	p->word_slot_count = section_count(c, SECTION_WORD_SLOTS);
	p->word_count = section_count(c, SECTION_WORDS);
	p->word_mask = (uint32_t)((UINT64_C(1) << word_bits(p->word_count)) - 1);
	p->network_first4 = (const void *)c->sections[SECTION_NETWORK_FIRST4].p;
	p->network_first6 = (const void *)c->sections[SECTION_NETWORK_FIRST6].p;
	p->ranges4 = (const void *)c->sections[SECTION_RANGES4].p;
	p->ranges6 = (const void *)c->sections[SECTION_RANGES6].p;
	p->host_first = (const void *)c->sections[SECTION_HOST_FIRST].p;
	p->host_patterns = (const void *)c->sections[SECTION_HOST_PATTERNS].p;
	p->service_first = (const void *)c->sections[SECTION_SERVICE_FIRST].p;
	p->ports = (const void *)c->sections[SECTION_PORTS].p;
	p->group_first = (const void *)c->sections[SECTION_GROUP_FIRST].p;
	p->group_words = (const void *)c->sections[SECTION_GROUP_WORDS].p;
	p->rule_count = section_count(c, SECTION_RULES);
	x->objects[ANCHOR_FROM] = section_count(c, SECTION_NETWORK_FIRST4) - 1;
	x->objects[ANCHOR_TO] = x->objects[ANCHOR_FROM];
	x->objects[ANCHOR_HOST] = section_count(c, SECTION_HOST_FIRST) - 1;
	x->objects[ANCHOR_LISTENER] = section_count(c, SECTION_LISTENERS);
	x->objects[ANCHOR_SERVICE] = (section_count(c, SECTION_SERVICE_FIRST) - 1) / 2;
	x->objects[ANCHOR_WHO] = (section_count(c, SECTION_GROUP_FIRST) - 1) / 2;
}

/* ---- which rules a matcher knows ----------------------------------------------------------- */

#define FACT_IDENTITY (FACT_PROVEN | FACT_ASSERTED | FACT_GROUPS)

/* Everything of a rule that the facts outside a blind mask can tell apart. */
struct signature {
	uint32_t flags, who, from, to_networks, to_hosts, service;
	struct image_tail tail;
	uint32_t auth, who_kind, commands, versions;
};

/* Which of the two lists of its objects (tcp and udp, users and groups) a set has anything in. */
static uint32_t
shape_of(const struct policy *p, const uint32_t *firsts, uint32_t set)
{
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one), shape = n > 0 ? 4 : 0;

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t list = 0; list < 2; list++)
			if (firsts[2 * v[i] + list] != firsts[2 * v[i] + list + 1])
				shape |= 1 << list;
	return shape;
}

static void
sign(const struct policy *p, const struct image_rule *r, uint32_t blind, struct signature *s)
{
	memset(s, 0, sizeof(*s));
	s->flags = r->flags & (RULE_ALLOW | RULE_DRY_RUN | RULE_TO_GIVEN);
	s->from = r->from;
	s->auth = r->auth;
	s->who_kind = r->who_kind;
	s->commands = r->commands;
	s->versions = r->versions;
	s->tail = p->tails[r->tail];
	s->who = r->who;
	s->to_networks = r->to_networks;
	s->to_hosts = r->to_hosts;
	s->service = r->service;
	if ((blind & FACT_IDENTITY) == FACT_IDENTITY)
		s->who = shape_of(p, p->group_first, r->who);
	if (blind & FACT_ADDRESS) {
		s->to_networks = r->to_networks != SET_NONE;
		s->tail.except_networks = s->tail.except_networks != SET_NONE;
		s->tail.resolves_in = 0;
	}
	if (blind & FACT_NAME) {
		s->to_hosts = r->to_hosts != SET_NONE;
		s->tail.except_hosts = s->tail.except_hosts != SET_NONE;
	}
	if (blind & FACT_PORT)
		s->service = shape_of(p, p->service_first, r->service);
}

/* The first of all rules that sign alike: the others could only say the same again, and later. */
static void
choose_subset(struct index *x, unsigned m)
{
	struct intern in = {0};
	struct signature s;
	bool fresh = true;

	x->subset[m] = must_calloc(x->view.rule_count, sizeof(uint32_t));
	for (uint32_t r = 0; r < x->view.rule_count; r++) {
		if (matcher_blind[m] != 0) {
			sign(&x->view, &x->view.rules[r], matcher_blind[m], &s);
			intern_put(&in, &s, sizeof(s), &fresh);
		}
		if (fresh)
			x->subset[m][x->subset_count[m]++] = r;
	}
	intern_free(&in);
}

/* ---- where a rule is anchored ---------------------------------------------------------------- */

static uint32_t
key_of(const struct policy *p, const struct image_rule *r, unsigned kind)
{
	const uint32_t sets[] = {
	    [ANCHOR_FROM] = r->from,       [ANCHOR_LISTENER] = p->tails[r->tail].listeners,
	    [ANCHOR_SERVICE] = r->service, [ANCHOR_TO] = r->to_networks,
	    [ANCHOR_HOST] = r->to_hosts,   [ANCHOR_WHO] = r->who};

	return sets[kind];
}

/* Kinds that a rule can be anchored by together: `to` is networks and hosts. */
static const uint8_t keys[] = {1 << ANCHOR_FROM, 1 << ANCHOR_WHO, 1 << ANCHOR_TO | 1 << ANCHOR_HOST,
			       1 << ANCHOR_SERVICE, 1 << ANCHOR_LISTENER};

static bool
has_regex(const struct policy *p, uint32_t set)
{
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one);

	for (uint32_t i = 0; i < n; i++)
		if (p->host_first[v[i]] != p->host_first[v[i] + 1] &&
		    p->host_patterns[p->host_first[v[i] + 1] - 1] & HOST_PATTERN_REGEX)
			return true;
	return false;
}

/* Can the rule be found by this key, with what a matcher knows? */
static bool
can_anchor(const struct policy *p, const struct image_rule *r, uint8_t key, uint32_t blind)
{
	if (key & 1 << ANCHOR_FROM)
		return r->from != SET_NONE && !networks_name(p, r->from, NETWORK_ANY_FROM);
	if (key & 1 << ANCHOR_WHO)
		return r->who_kind == WHO_KIND_SET && !(blind & FACT_IDENTITY);
	if (key & 1 << ANCHOR_LISTENER)
		return p->tails[r->tail].listeners != SET_NONE;
	if (key & 1 << ANCHOR_SERVICE)
		return r->service != SET_NONE && !(blind & (FACT_PORT | FACT_COMMAND));
	if (!(r->flags & RULE_TO_GIVEN) || blind & FACT_NAME)
		return false;
	if (blind & FACT_ADDRESS && r->to_networks != SET_NONE)
		return false;
	return !networks_name(p, r->to_networks, NETWORK_ANY_TO) && !has_regex(p, r->to_hosts);
}

static uint64_t
crowd_of(const struct index *x, const struct image_rule *r, uint8_t key)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
		const uint32_t *v;
		uint32_t one, n;

		if (!(key >> k & 1))
			continue;
		n = set_members(&x->view, key_of(&x->view, r, k), &v, &one);
		for (uint32_t i = 0; i < n; i++)
			sum += x->crowd[k][v[i]];
	}
	return sum;
}

static uint64_t
entries_of(const struct index *x, const struct image_rule *r, uint8_t key)
{
	const struct policy *p = &x->view;
	/* Lists for each object, none where a few entries are all there can be. */
	const struct {
		const uint32_t *first;
		unsigned lists;
	} sets[ANCHOR_KINDS] = {[ANCHOR_FROM] = {p->network_first4, 1},
				[ANCHOR_TO] = {p->network_first4, 1},
				[ANCHOR_HOST] = {p->host_first, 1},
				[ANCHOR_WHO] = {p->group_first, 2}};
	uint64_t sum = 0;

	for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
		const uint32_t *v;
		uint32_t one, n = key >> k & 1 ? set_members(p, key_of(p, r, k), &v, &one) : 0;

		for (uint32_t i = 0; i < n && sets[k].first != NULL; i++)
			sum += sets[k].first[sets[k].lists * (v[i] + 1)] -
			       sets[k].first[sets[k].lists * v[i]];
	}
	return sum;
}

/* ---- crowds ------------------------------------------------------------------------------------
 */

/* How many rules of the subset could be anchored at each object, by the key of one kind. */
static uint32_t *
count_rules(const struct index *x, unsigned m, unsigned kind)
{
	uint32_t *count = must_calloc(x->objects[kind], sizeof(*count));

	for (uint32_t i = 0; i < x->subset_count[m]; i++) {
		const struct image_rule *r = &x->view.rules[x->subset[m][i]];
		const uint32_t *v;
		uint32_t one, n = 0;

		for (size_t k = 0; k < sizeof(keys); k++)
			if (keys[k] >> kind & 1 &&
			    can_anchor(&x->view, r, keys[k], matcher_blind[m]))
				n = set_members(&x->view, key_of(&x->view, r, kind), &v, &one);
		for (uint32_t o = 0; o < n; o++)
			count[v[o]]++;
	}
	return count;
}

/* Patterns of a name's suffixes find each other: a.b.example crowds with *.example. */
static uint32_t
crowd_at_name(const struct policy *p, const uint32_t *by_word, uint32_t word)
{
	const char *name = p->strings + p->words[word];
	struct name_hits hits;
	uint32_t sum = 0;

	name_look_up(p, name, strlen(name), &hits);
	for (unsigned i = 0; i < hits.count; i++)
		sum += by_word[hits.word[i] >> 1];
	return sum;
}

static void
crowd_hosts(struct index *x, const uint32_t *count)
{
	const struct policy *p = &x->view;
	uint32_t *by_word = must_calloc(p->word_count, sizeof(*by_word));

	for (uint32_t o = 0; o < x->objects[ANCHOR_HOST]; o++)
		for (uint32_t i = p->host_first[o]; i < p->host_first[o + 1]; i++)
			if (!(p->host_patterns[i] & HOST_PATTERN_REGEX))
				by_word[p->host_patterns[i] >> 2] += count[o];
	for (uint32_t o = 0; o < x->objects[ANCHOR_HOST]; o++) {
		uint32_t n = p->host_first[o + 1] - p->host_first[o], step = n / 32 + 1;

		x->crowd[ANCHOR_HOST][o] = count[o];
		for (uint32_t i = 0; i < n && count[o] > 0; i += step) {
			uint32_t pattern = p->host_patterns[p->host_first[o] + i], sum;

			if (pattern & HOST_PATTERN_REGEX)
				break;
			sum = crowd_at_name(p, by_word, pattern >> 2);

			if (sum > x->crowd[ANCHOR_HOST][o])
				x->crowd[ANCHOR_HOST][o] = sum;
		}
	}
	free(by_word);
}

/* The objects of a kind that is found by prefixes. */
static void
add_object(const struct index *x, struct prefixes *v, unsigned kind, uint32_t o, uint32_t owner)
{
	if (kind == ANCHOR_SERVICE)
		prefixes_add_service(v, &x->view, o, owner);
	else
		prefixes_add_network(v, &x->view, o, owner);
}

/* The same of networks and ranges of ports that lie in each other. */
static void
crowd_prefixes(struct index *x, unsigned kind, const uint32_t *count)
{
	struct prefixes prefixes = {0};

	for (uint32_t o = 0; o < x->objects[kind]; o++)
		if (count[o] > 0)
			add_object(x, &prefixes, kind, o, o);
	prefixes_nest(&prefixes);
	for (size_t i = 0; i < prefixes.node_count; i++) {
		struct prefix_node *n = &prefixes.nodes[i];

		n->sum = n->parent != 0 ? prefixes.nodes[n->parent - 1].sum : 0;
		for (uint32_t k = n->first; k < n->first + n->count; k++)
			n->sum += count[prefixes.spans[k].owner];
		for (uint32_t k = n->first; k < n->first + n->count; k++) {
			uint32_t *crowd = &x->crowd[kind][prefixes.spans[k].owner];

			*crowd = n->sum > *crowd ? n->sum : *crowd;
		}
	}
	prefixes_free(&prefixes);
}

static void
find_crowds(struct index *x, unsigned m)
{
	for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
		uint32_t *count = count_rules(x, m, k);

		if (k == ANCHOR_HOST)
			crowd_hosts(x, count);
		else if (k == ANCHOR_FROM || k == ANCHOR_TO || k == ANCHOR_SERVICE)
			crowd_prefixes(x, k, count);
		else
			memcpy(x->crowd[k], count, x->objects[k] * sizeof(*count));
		free(count);
	}
}

static void
anchor_take(struct index *x, const struct image_rule *r, unsigned kind)
{
	const uint32_t *v;
	uint32_t one, n = set_members(&x->view, key_of(&x->view, r, kind), &v, &one);

	for (uint32_t i = 0; i < n; i++)
		x->anchor[kind][v[i]] = 0; /* numbered when all are known */
}

static void
choose_anchors(struct index *x, unsigned m)
{
	unsigned huge = 0;

	x->chosen[m] = must_calloc(x->view.rule_count, 1);
	for (uint32_t i = 0; i < x->subset_count[m]; i++) {
		const struct image_rule *r = &x->view.rules[x->subset[m][i]];
		uint64_t best = UINT64_MAX;
		uint8_t key = 0;

		for (size_t k = 0; k < sizeof(keys); k++) {
			uint64_t crowd;

			if (!can_anchor(&x->view, r, keys[k], matcher_blind[m]))
				continue;
			if ((crowd = crowd_of(x, r, keys[k])) < best) {
				best = crowd;
				key = keys[k];
			}
		}
		if (key != 0 && huge < HUGE_RULES && entries_of(x, r, key) > HUGE_SET) {
			huge++;
			key = 0;
		}
		x->chosen[m][x->subset[m][i]] = key;
		for (unsigned k = 0; k < ANCHOR_KINDS; k++)
			if (key >> k & 1)
				anchor_take(x, r, k);
	}
}

/* ---- writing
 * -------------------------------------------------------------------------------------- */

static void
number_anchors(struct index *x)
{
	uint32_t next = 0;

	for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
		x->c->anchor_first[k] = next;
		for (uint32_t o = 0; o < x->objects[k]; o++)
			if (x->anchor[k][o] != UNANCHORED)
				x->anchor[k][o] = next++;
	}
	x->c->anchor_first[ANCHOR_KINDS] = next;
}

/* Calls back with every (anchor, rule) of a matcher, rules in order. */
static void
each_post(const struct index *x, unsigned m, void (*f)(uint32_t *, uint32_t *, uint32_t, uint32_t),
	  uint32_t *a, uint32_t *b)
{
	for (uint32_t i = 0; i < x->subset_count[m]; i++) {
		uint32_t index = x->subset[m][i];

		for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
			const uint32_t *v;
			uint32_t one, n;

			if (!(x->chosen[m][index] >> k & 1))
				continue;
			n = set_members(&x->view, key_of(&x->view, &x->view.rules[index], k), &v,
					&one);
			for (uint32_t o = 0; o < n; o++)
				f(a, b, x->anchor[k][v[o]], index);
		}
	}
}

static void
post_count(uint32_t *first, uint32_t *unused, uint32_t anchor, uint32_t rule)
{
	(void)unused;
	(void)rule;
	first[anchor + 1]++;
}

static void
post_put(uint32_t *at, uint32_t *rules, uint32_t anchor, uint32_t rule)
{
	rules[at[anchor]++] = rule;
}

static void
write_posts(struct index *x, unsigned m)
{
	uint32_t anchors = x->c->anchor_first[ANCHOR_KINDS];
	uint32_t *first = must_calloc(anchors + 1, sizeof(*first)), *at, *rules;

	each_post(x, m, post_count, first, NULL);
	for (uint32_t a = 0; a < anchors; a++)
		first[a + 1] += first[a];
	rules = must_calloc(first[anchors], sizeof(*rules));
	at = must_calloc(anchors + 1, sizeof(*at));
	memcpy(at, first, (anchors + 1) * sizeof(*at));
	each_post(x, m, post_put, at, rules);
	while (anchors > 0 && first[anchors - 1] == first[anchors])
		anchors--; /* nothing is anchored from here on */
	buffer_put(&x->c->sections[SECTION_POST_FIRST + m], first, (anchors + 1) * sizeof(*first));
	if (first[anchors] > 0)
		buffer_put(&x->c->sections[SECTION_POSTS + m], rules,
			   first[anchors] * sizeof(*rules));
	free(first);
	free(at);
	free(rules);
}

/* The lists that go by no anchor. */
static void
write_lists(struct index *x, unsigned m)
{
	for (uint32_t i = 0; i < x->subset_count[m]; i++) {
		uint32_t index = x->subset[m][i];
		const struct image_rule *r = &x->view.rules[index];

		if (x->subset_count[m] != x->view.rule_count)
			section_put_u32(x->c, SECTION_SUBSET + m, index);
		if (x->chosen[m][index] == 0)
			section_put_u32(x->c, SECTION_ALWAYS + m, index);
		if (!(x->chosen[m][index] & 1 << ANCHOR_WHO))
			continue;
		if (r->auth & AUTH_ASSERTED)
			section_put_u32(x->c, SECTION_ASSERTED + m, index);
		if (shape_of(&x->view, x->view.group_first, r->who) & 2)
			section_put_u32(x->c, SECTION_UNIX + m, index);
	}
}

/* Writes one index of prefixes; its nodes go behind those of the indexes before. */
static void
write_prefixes(struct index *x, unsigned kind, unsigned section)
{
	struct compile *c = x->c;
	struct prefixes v = {0};
	uint32_t base = section_count(c, SECTION_NODES);

	for (uint32_t o = 0; o < x->objects[kind]; o++)
		if (x->anchor[kind][o] != UNANCHORED)
			add_object(x, &v, kind, o, x->anchor[kind][o]);
	prefixes_nest(&v);
	for (size_t i = 0; i < v.node_count; i++) {
		const struct prefix_node *n = &v.nodes[i];
		struct image_node out = {n->parent != 0 ? n->parent + base : 0,
					 section_count(c, SECTION_NODE_ANCHORS)};

		section_put(c, SECTION_NODES, &out);
		for (uint32_t k = n->first; k < n->first + n->count; k++)
			section_put_u32(c, SECTION_NODE_ANCHORS, v.spans[k].owner);
	}
	for (size_t i = 0; i < v.edge_count; i++) {
		const struct prefix_edge *e = &v.edges[i];
		struct addr at = prefix_key_addr(e->start);
		unsigned six = e->four ? 0 : 2;

		if (e->four)
			section_put_u32(c, section, (uint32_t)e->start);
		else
			section_put(c, section + 2, &at);
		section_put_u32(c, section + six + 1, e->node != 0 ? e->node + base : 0);
	}
	prefixes_free(&v);
}

static void
write_listeners(struct index *x)
{
	for (uint32_t o = 0; o < x->objects[ANCHOR_LISTENER]; o++)
		section_put_u32(x->c, SECTION_LISTENER_ANCHORS,
				x->anchor[ANCHOR_LISTENER][o] + 1); /* UNANCHORED: 0 */
}

/* A word and an anchor that it leads to. */
struct lead {
	uint32_t word, anchor;
};

static int
order_lead(const void *a, const void *b)
{
	const struct lead *x = a, *y = b;

	if (x->word != y->word)
		return (x->word > y->word) - (x->word < y->word);
	return (x->anchor > y->anchor) - (x->anchor < y->anchor);
}

static void
write_words(struct index *x)
{
	const struct policy *p = &x->view;
	struct buffer leads = {0};
	const struct lead *v;
	size_t n, at = 0;

	for (uint32_t o = 0; o < x->objects[ANCHOR_HOST]; o++)
		for (uint32_t i = p->host_first[o];
		     x->anchor[ANCHOR_HOST][o] != UNANCHORED && i < p->host_first[o + 1]; i++)
			buffer_put(
			    &leads,
			    &(struct lead){p->host_patterns[i] >> 2, x->anchor[ANCHOR_HOST][o]},
			    sizeof(struct lead));
	for (uint32_t o = 0; o < x->objects[ANCHOR_WHO]; o++)
		for (uint32_t i = p->group_first[2 * o];
		     x->anchor[ANCHOR_WHO][o] != UNANCHORED && i < p->group_first[2 * o + 2]; i++)
			buffer_put(&leads,
				   &(struct lead){p->group_words[i], x->anchor[ANCHOR_WHO][o]},
				   sizeof(struct lead));
	n = leads.len / sizeof(*v);
	if (n > 0)
		qsort(leads.p, n, sizeof(*v), order_lead);
	v = (const struct lead *)leads.p;
	for (uint32_t w = 0; w < p->word_count; w++) {
		section_put_u32(x->c, SECTION_WORD_FIRST,
				section_count(x->c, SECTION_WORD_ANCHORS));
		for (; at < n && v[at].word == w; at++)
			if (at == 0 || order_lead(&v[at - 1], &v[at]) != 0)
				section_put_u32(x->c, SECTION_WORD_ANCHORS, v[at].anchor);
	}
	section_put_u32(x->c, SECTION_WORD_FIRST, section_count(x->c, SECTION_WORD_ANCHORS));
	buffer_free(&leads);
}

/* ---- the worst case
 * ---------------------------------------------------------------------------------- */

static uint32_t
post_length(const struct compile *c, uint32_t anchor)
{
	const uint32_t *first = (const void *)c->sections[SECTION_POST_FIRST + MATCHER_FULL].p;

	if (anchor + 1 >= section_count(c, SECTION_POST_FIRST + MATCHER_FULL))
		return 0;
	return first[anchor + 1] - first[anchor];
}

/* The most that one address or port finds: sums climb down from parents to children. */
static uint32_t
worst_address(struct index *x, unsigned kind)
{
	const struct compile *c = x->c;
	const struct image_node *v = (const void *)c->sections[SECTION_NODES].p;
	const uint32_t *anchors = (const void *)c->sections[SECTION_NODE_ANCHORS].p;
	uint32_t n = section_count(c, SECTION_NODES) - 1, most = 0;
	uint32_t *sum = must_calloc(n, sizeof(*sum));

	for (uint32_t i = 0; i < n; i++) {
		sum[i] = v[i].parent != 0 ? sum[v[i].parent - 1] : 0;
		for (uint32_t k = v[i].first; k < v[i + 1].first; k++)
			if (anchors[k] >= c->anchor_first[kind] &&
			    anchors[k] < c->anchor_first[kind + 1])
				sum[i] += post_length(c, anchors[k]);
		most = sum[i] > most ? sum[i] : most;
	}
	free(sum);
	return most;
}

static uint32_t
worst_listener(const struct index *x)
{
	uint32_t most = 0;

	for (uint32_t o = 0; o < x->objects[ANCHOR_LISTENER]; o++)
		if (x->anchor[ANCHOR_LISTENER][o] != UNANCHORED) {
			uint32_t n = post_length(x->c, x->anchor[ANCHOR_LISTENER][o]);

			most = n > most ? n : most;
		}
	return most;
}

static uint32_t
worst_name(struct index *x)
{
	const struct policy *p = &x->view;
	uint32_t *by_word = must_calloc(p->word_count, sizeof(*by_word)), most = 0;

	for (uint32_t o = 0; o < x->objects[ANCHOR_HOST]; o++)
		for (uint32_t i = p->host_first[o];
		     x->anchor[ANCHOR_HOST][o] != UNANCHORED && i < p->host_first[o + 1]; i++)
			by_word[p->host_patterns[i] >> 2] +=
			    post_length(x->c, x->anchor[ANCHOR_HOST][o]);
	for (uint32_t w = 0; w < p->word_count; w++) {
		uint32_t sum = by_word[w] != 0 ? crowd_at_name(p, by_word, w) : 0;

		most = sum > most ? sum : most;
	}
	free(by_word);
	return most;
}

/* Two users, one proven and one asserted, and any number of Unix groups. */
static uint32_t
worst_who(struct index *x)
{
	const struct policy *p = &x->view;
	uint32_t *by_word = must_calloc(p->word_count, sizeof(*by_word)), most = 0;

	for (uint32_t o = 0; o < x->objects[ANCHOR_WHO]; o++)
		for (uint32_t i = p->group_first[2 * o];
		     x->anchor[ANCHOR_WHO][o] != UNANCHORED && i < p->group_first[2 * o + 1]; i++)
			by_word[p->group_words[i]] += post_length(x->c, x->anchor[ANCHOR_WHO][o]);
	for (uint32_t w = 0; w < p->word_count; w++)
		most = by_word[w] > most ? by_word[w] : most;
	free(by_word);
	return (section_count(x->c, SECTION_ASSERTED + MATCHER_FULL) > 0 ? 2 * most : most) +
	       section_count(x->c, SECTION_UNIX + MATCHER_FULL);
}

static void
find_worst_case(struct index *x)
{
	uint64_t sum = section_count(x->c, SECTION_ALWAYS + MATCHER_FULL);

	sum += (uint64_t)worst_address(x, ANCHOR_FROM) + worst_address(x, ANCHOR_TO);
	sum += (uint64_t)worst_address(x, ANCHOR_SERVICE) + worst_listener(x);
	sum += (uint64_t)worst_name(x) + worst_who(x);
	x->c->worst_case = sum < x->view.rule_count ? (uint32_t)sum : x->view.rule_count;
}

void
compile_index(struct compile *c)
{
	struct index *x = must_calloc(1, sizeof(*x));
	struct image_node end = {0};

	x->c = c;
	view_bind(x);
	for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
		x->anchor[k] = must_calloc(x->objects[k], sizeof(uint32_t));
		x->crowd[k] = must_calloc(x->objects[k], sizeof(uint32_t));
		memset(x->anchor[k], 0xff, x->objects[k] * sizeof(uint32_t));
	}
	for (unsigned m = 0; m < MATCHER_COUNT; m++) {
		choose_subset(x, m);
		find_crowds(x, m);
		choose_anchors(x, m);
	}
	number_anchors(x);
	for (unsigned m = 0; m < MATCHER_COUNT; m++) {
		write_posts(x, m);
		write_lists(x, m);
	}
	write_prefixes(x, ANCHOR_FROM, SECTION_FROM_STARTS4);
	write_prefixes(x, ANCHOR_TO, SECTION_TO_STARTS4);
	write_prefixes(x, ANCHOR_SERVICE, SECTION_PORT_STARTS4);
	write_listeners(x);
	end.first = section_count(c, SECTION_NODE_ANCHORS);
	section_put(c, SECTION_NODES, &end);
	write_words(x);
	find_worst_case(x);
	for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
		free(x->anchor[k]);
		free(x->crowd[k]);
	}
	for (unsigned m = 0; m < MATCHER_COUNT; m++) {
		free(x->subset[m]);
		free(x->chosen[m]);
	}
	free(x);
}
