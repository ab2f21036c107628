/*
 * rules/image.c - opening an image: every number in it is checked once here, so that nobody
 * behind this file has to. Runs in workers and tools; allocates the scratch, never the image.
 * Must never trust a byte before it is checked: a flipped byte ends in NULL, never in a fault.
 */
#include "config.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/form.h"
#include "rules/image.h"

/*
 * Limits of one pattern on one name. Reached: undetermined. A name has at most 253 bytes, so
 * honest patterns need a few hundred steps; these end a hostile one in about a millisecond.
 */
#define REGEX_MATCH_LIMIT 20000
#define REGEX_DEPTH_LIMIT 2000
#define REGEX_HEAP_KIB 1024
#define LISTS_MOST 4096

const uint32_t matcher_blind[MATCHER_COUNT] = {
    [MATCHER_FULL] = 0,
    [MATCHER_NAME] = FACT_ADDRESS,
    [MATCHER_GRANT] = FACT_NAME | FACT_ADDRESS | FACT_PORT,
    [MATCHER_EARLY] = FACT_ALL & ~(uint32_t)(FACT_CLIENT | FACT_VERSION | FACT_TIME),
};

/* Sections before the matchers' that are not plain arrays of u32. */
static const struct {
	enum image_section section;
	size_t size;
} odd_sizes[] = {
    {SECTION_STRINGS, 1},
    {SECTION_RULES, sizeof(struct image_rule)},
    {SECTION_TAILS, sizeof(struct image_tail)},
    {SECTION_TERMS, sizeof(struct image_terms)},
    {SECTION_NOTES, sizeof(struct image_notes)},
    {SECTION_RANGES4, sizeof(struct image_range4)},
    {SECTION_RANGES6, sizeof(struct image_range6)},
    {SECTION_PORTS, sizeof(struct image_ports)},
    {SECTION_WINDOWS, sizeof(struct image_window)},
    {SECTION_ZONES, sizeof(struct image_zone)},
    {SECTION_TRANSITIONS, sizeof(struct image_transition)},
    {SECTION_FROM_STARTS6, sizeof(struct addr)},
    {SECTION_TO_STARTS6, sizeof(struct addr)},
    {SECTION_PORT_STARTS6, sizeof(struct addr)},
    {SECTION_NODES, sizeof(struct image_node)},
};

size_t
image_element_size(enum image_section s)
{
	for (size_t i = 0; i < sizeof(odd_sizes) / sizeof(odd_sizes[0]); i++)
		if (odd_sizes[i].section == s)
			return odd_sizes[i].size;
	return sizeof(uint32_t);
}

void
image_hash(const void *image, size_t len, uint8_t out[IMAGE_HASH])
{
	size_t from = offsetof(struct image_header, len);

	SHA256((const uint8_t *)image + from, len - from, out);
}

/* ---- the frame -------------------------------------------------------------------- */

static bool
frame_valid(const struct image_header *h, size_t len)
{
	if (len < sizeof(*h) || (uintptr_t)h % 8 != 0 || len > UINT32_MAX)
		return false;
	if (memcmp(h->magic, IMAGE_MAGIC, sizeof(h->magic)) != 0 || h->len != len ||
	    h->format != IMAGE_FORMAT || h->header_size != sizeof(*h))
		return false;
	for (unsigned s = 0; s < SECTION_COUNT; s++) {
		uint64_t offset = h->sections[s].offset, count = h->sections[s].count;

		if (offset % 8 != 0 || offset < sizeof(*h) || offset > len)
			return false;
		if (count > (len - offset) / image_element_size(s))
			return false;
	}
	return true;
}

uint64_t
policy_form(void)
{
	uint64_t form = form_add(FORM_BEGIN, IMAGE_FORMAT);

	form = form_add(form, sizeof(struct image_header));
	for (unsigned s = 0; s < SECTION_COUNT; s++)
		form = form_add(form, image_element_size(s));
	return form;
}

static const void *
section(const struct policy *p, unsigned s, uint32_t *count)
{
	if (count != NULL)
		*count = (uint32_t)p->header->sections[s].count;
	return (const uint8_t *)p->header + p->header->sections[s].offset;
}

static uint32_t
size_of(const struct policy *p, unsigned s)
{
	return (uint32_t)p->header->sections[s].count;
}

static bool
prefix_index_bind(const struct policy *p, unsigned first, struct prefix_index *x)
{
	uint32_t nodes4, nodes6;

	x->starts4 = section(p, first, &x->count4);
	x->nodes4 = section(p, first + 1, &nodes4);
	x->starts6 = section(p, first + 2, &x->count6);
	x->nodes6 = section(p, first + 3, &nodes6);
	return nodes4 == x->count4 && nodes6 == x->count6;
}

/* The objects of a kind are as many as its list of firsts says: lists for each, and the end. */
static bool
first_count(const struct policy *p, unsigned s, unsigned lists, uint32_t *count)
{
	uint32_t n = size_of(p, s);

	if (n == 0 || (n - 1) % lists != 0)
		return false;
	*count = (n - 1) / lists;
	return true;
}

static bool
bind(struct policy *p)
{
	p->strings = section(p, SECTION_STRINGS, NULL);
	p->rules = section(p, SECTION_RULES, &p->rule_count);
	p->tails = section(p, SECTION_TAILS, NULL);
	p->terms = section(p, SECTION_TERMS, NULL);
	p->notes = section(p, SECTION_NOTES, NULL);
	p->pool = section(p, SECTION_POOL, &p->pool_count);
	p->listeners = section(p, SECTION_LISTENERS, &p->listener_count);
	p->words = section(p, SECTION_WORDS, &p->word_count);
	p->word_slots = section(p, SECTION_WORD_SLOTS, &p->word_slot_count);
	p->network_first4 = section(p, SECTION_NETWORK_FIRST4, NULL);
	p->network_first6 = section(p, SECTION_NETWORK_FIRST6, NULL);
	p->ranges4 = section(p, SECTION_RANGES4, NULL);
	p->ranges6 = section(p, SECTION_RANGES6, NULL);
	p->host_first = section(p, SECTION_HOST_FIRST, NULL);
	p->host_patterns = section(p, SECTION_HOST_PATTERNS, NULL);
	p->regexes = section(p, SECTION_REGEXES, &p->regex_count);
	p->service_first = section(p, SECTION_SERVICE_FIRST, NULL);
	p->ports = section(p, SECTION_PORTS, NULL);
	p->group_first = section(p, SECTION_GROUP_FIRST, NULL);
	p->group_words = section(p, SECTION_GROUP_WORDS, NULL);
	p->time_first = section(p, SECTION_TIME_FIRST, NULL);
	p->windows = section(p, SECTION_WINDOWS, NULL);
	p->zones = section(p, SECTION_ZONES, &p->zone_count);
	p->transitions = section(p, SECTION_TRANSITIONS, NULL);
	p->word_mask = (uint32_t)((UINT64_C(1) << word_bits(p->word_count)) - 1);
	p->nodes = section(p, SECTION_NODES, NULL);
	p->node_anchors = section(p, SECTION_NODE_ANCHORS, NULL);
	p->word_first = section(p, SECTION_WORD_FIRST, NULL);
	p->word_anchors = section(p, SECTION_WORD_ANCHORS, NULL);
	p->listener_anchors = section(p, SECTION_LISTENER_ANCHORS, NULL);
	for (unsigned m = 0; m < MATCHER_COUNT; m++) {
		struct posts *t = &p->posts[m];

		t->subset = section(p, SECTION_SUBSET + m, &t->subset_count);
		t->always = section(p, SECTION_ALWAYS + m, &t->always_count);
		t->asserted = section(p, SECTION_ASSERTED + m, &t->asserted_count);
		t->unix_groups = section(p, SECTION_UNIX + m, &t->unix_count);
		t->first = section(p, SECTION_POST_FIRST + m, &t->anchor_count);
		t->anchor_count -= t->anchor_count > 0;
		t->rules = section(p, SECTION_POSTS + m, &t->rule_count);
	}
	p->anchor_count = p->header->anchor_first[ANCHOR_KINDS];
	return first_count(p, SECTION_NETWORK_FIRST4, 1, &p->network_count) &&
	       size_of(p, SECTION_NETWORK_FIRST6) == p->network_count + 1 &&
	       first_count(p, SECTION_HOST_FIRST, 1, &p->host_count) &&
	       first_count(p, SECTION_SERVICE_FIRST, 2, &p->service_count) &&
	       first_count(p, SECTION_GROUP_FIRST, 2, &p->group_count) &&
	       first_count(p, SECTION_TIME_FIRST, 1, &p->time_count) &&
	       size_of(p, SECTION_WORD_FIRST) == p->word_count + 1 &&
	       prefix_index_bind(p, SECTION_FROM_STARTS4, &p->from_index) &&
	       size_of(p, SECTION_LISTENER_ANCHORS) == p->listener_count &&
	       prefix_index_bind(p, SECTION_TO_STARTS4, &p->to_index) &&
	       prefix_index_bind(p, SECTION_PORT_STARTS4, &p->port_index);
}

/* ---- the parts ---------------------------------------------------------------------- */

/* Every item of a section is below a limit. */
static bool
below(const struct policy *p, unsigned s, uint32_t limit)
{
	uint32_t n;
	const uint32_t *v = section(p, s, &n);

	for (uint32_t i = 0; i < n; i++)
		if (v[i] >= limit)
			return false;
	return true;
}

/* Firsts climb from 0 to the number of items. */
static bool
climbs(const struct policy *p, unsigned s, unsigned items)
{
	uint32_t n;
	const uint32_t *v = section(p, s, &n);

	if (n == 0 || v[0] != 0 || v[n - 1] != size_of(p, items))
		return false;
	for (uint32_t i = 1; i < n; i++)
		if (v[i] < v[i - 1])
			return false;
	return true;
}

static bool
strictly_climbs(const uint32_t *v, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		if (v[i] <= v[i - 1])
			return false;
	return true;
}

static bool
words_valid(const struct policy *p)
{
	uint32_t empty = 0;

	if (!below(p, SECTION_WORDS, size_of(p, SECTION_STRINGS)))
		return false;
	/* A search of the table ends at an empty slot. */
	for (uint32_t i = 0; i < p->word_slot_count; i++) {
		uint32_t word = p->word_slots[i] & p->word_mask;

		if (word > p->word_count || (word == 0 && p->word_slots[i] != 0))
			return false;
		empty += word == 0;
	}
	return empty > 0;
}

static bool
hosts_valid(const struct policy *p)
{
	uint32_t n = size_of(p, SECTION_HOST_PATTERNS);

	for (uint32_t i = 0; i < n; i++)
		if (p->host_patterns[i] & HOST_PATTERN_REGEX
			? (p->host_patterns[i] & ~HOST_PATTERN_REGEX) >= p->regex_count
			: p->host_patterns[i] >> 2 >= p->word_count ||
			      (p->host_patterns[i] & 3) > HOST_BOTH)
			return false;
	return climbs(p, SECTION_HOST_FIRST, SECTION_HOST_PATTERNS) &&
	       below(p, SECTION_REGEXES, size_of(p, SECTION_STRINGS));
}

static bool
edge_valid(const struct zone_edge *e)
{
	switch (e->form) {
	case 'M':
		return e->month >= 1 && e->month <= 12 && e->week >= 1 && e->week <= 5 &&
		       e->day <= 6;
	case 'J':
		return e->day >= 1 && e->day <= 365;
	case '0':
		return e->day <= 365;
	default:
		return false;
	}
}

static bool
zone_valid(const struct policy *p, const struct image_zone *z)
{
	uint32_t n = size_of(p, SECTION_TRANSITIONS);

	if (z->first >= n || z->count == 0 || z->count > n - z->first ||
	    p->transitions[z->first].at != INT64_MIN)
		return false;
	if (*(const uint8_t *)&z->rule.has_summer > 1)
		return false;
	return z->rule_from == INT64_MAX || !z->rule.has_summer ||
	       (edge_valid(&z->rule.begin) && edge_valid(&z->rule.end));
}

static bool
times_valid(const struct policy *p)
{
	uint32_t n = size_of(p, SECTION_WINDOWS);

	for (uint32_t i = 0; i < n; i++)
		if (p->windows[i].zone >= p->zone_count || p->windows[i].start > 1440 ||
		    p->windows[i].end > 1440)
			return false;
	for (uint32_t i = 0; i < p->zone_count; i++)
		if (!zone_valid(p, &p->zones[i]))
			return false;
	return climbs(p, SECTION_TIME_FIRST, SECTION_WINDOWS);
}

static bool
index_valid(const struct policy *p)
{
	uint32_t n = size_of(p, SECTION_NODES), lists = size_of(p, SECTION_NODE_ANCHORS);

	if (n == 0 || p->nodes[0].first != 0 || p->nodes[n - 1].first != lists)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		/* A parent stands before its child, so a walk up ends. */
		if (p->nodes[i].parent > i || (i > 0 && p->nodes[i].first < p->nodes[i - 1].first))
			return false;
	}
	return below(p, SECTION_NODE_ANCHORS, p->anchor_count) &&
	       below(p, SECTION_FROM_NODES4, n) && below(p, SECTION_FROM_NODES6, n) &&
	       below(p, SECTION_TO_NODES4, n) && below(p, SECTION_TO_NODES6, n) &&
	       below(p, SECTION_PORT_NODES4, n) && below(p, SECTION_PORT_NODES6, n) &&
	       below(p, SECTION_LISTENER_ANCHORS, p->anchor_count + 1) &&
	       climbs(p, SECTION_WORD_FIRST, SECTION_WORD_ANCHORS) &&
	       below(p, SECTION_WORD_ANCHORS, p->anchor_count);
}

static bool
posts_valid(const struct policy *p, unsigned m)
{
	const struct posts *t = &p->posts[m];

	if (t->anchor_count > p->anchor_count ||
	    !climbs(p, SECTION_POST_FIRST + m, SECTION_POSTS + m))
		return false;
	for (uint32_t a = 0; a < t->anchor_count; a++)
		if (!strictly_climbs(t->rules + t->first[a], t->first[a + 1] - t->first[a]))
			return false;
	return below(p, SECTION_SUBSET + m, p->rule_count) &&
	       below(p, SECTION_ALWAYS + m, p->rule_count) &&
	       below(p, SECTION_ASSERTED + m, p->rule_count) &&
	       below(p, SECTION_UNIX + m, p->rule_count) &&
	       below(p, SECTION_POSTS + m, p->rule_count) &&
	       strictly_climbs(t->subset, t->subset_count) &&
	       strictly_climbs(t->always, t->always_count) &&
	       strictly_climbs(t->asserted, t->asserted_count) &&
	       strictly_climbs(t->unix_groups, t->unix_count);
}

static bool
set_valid(const struct policy *p, uint32_t set, uint32_t objects)
{
	if (set == SET_NONE)
		return true;
	if (set & SET_ONE)
		return (set & ~SET_ONE) < objects;
	if (set >= p->pool_count || p->pool[set] > p->pool_count - set - 1)
		return false;
	for (uint32_t i = 0; i < p->pool[set]; i++)
		if (p->pool[set + 1 + i] >= objects)
			return false;
	return true;
}

static bool
tails_valid(const struct policy *p)
{
	uint32_t n = size_of(p, SECTION_TAILS);

	for (uint32_t i = 0; i < n; i++) {
		const struct image_tail *t = &p->tails[i];

		if (!set_valid(p, t->from_except, p->network_count) ||
		    !set_valid(p, t->listeners, p->listener_count) ||
		    !set_valid(p, t->except_networks, p->network_count) ||
		    !set_valid(p, t->except_hosts, p->host_count) ||
		    !set_valid(p, t->when, p->time_count) ||
		    !set_valid(p, t->resolves_in, p->network_count))
			return false;
	}
	return true;
}

static bool
rule_valid(const struct policy *p, const struct image_rule *r)
{
	uint32_t strings = size_of(p, SECTION_STRINGS);

	return r->name < strings && r->ticket < strings && r->notes < size_of(p, SECTION_NOTES) &&
	       r->tail < size_of(p, SECTION_TAILS) && r->terms < size_of(p, SECTION_TERMS) &&
	       set_valid(p, r->who, p->group_count) && set_valid(p, r->from, p->network_count) &&
	       set_valid(p, r->to_networks, p->network_count) &&
	       set_valid(p, r->to_hosts, p->host_count) &&
	       set_valid(p, r->service, p->service_count) && r->who_kind <= WHO_KIND_SET;
}

static bool
rules_valid(const struct policy *p)
{
	uint32_t strings = size_of(p, SECTION_STRINGS), n = size_of(p, SECTION_TERMS);

	/* The last byte ends every string that starts before it. */
	if (strings == 0 || p->strings[0] != '\0' || p->strings[strings - 1] != '\0' ||
	    p->header->name >= strings || p->rule_count > INT32_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (p->terms[i].route >= strings)
			return false;
	n = size_of(p, SECTION_NOTES);
	for (uint32_t i = 0; i < n; i++)
		if (p->notes[i].owner >= strings || p->notes[i].why >= strings ||
		    p->notes[i].file >= strings)
			return false;
	for (uint32_t i = 0; i < p->rule_count; i++)
		if (!rule_valid(p, &p->rules[i]))
			return false;
	return tails_valid(p) && below(p, SECTION_LISTENERS, strings);
}

static bool
valid(const struct policy *p)
{
	const uint32_t *a = p->header->anchor_first;

	for (unsigned k = 0; k < ANCHOR_KINDS; k++)
		if (a[k] > a[k + 1])
			return false;
	if (a[0] != 0 || p->network_count <= NETWORK_ANY_TO)
		return false;
	for (unsigned m = 0; m < MATCHER_COUNT; m++)
		if (!posts_valid(p, m))
			return false;
	return rules_valid(p) && words_valid(p) && hosts_valid(p) && times_valid(p) &&
	       index_valid(p) && climbs(p, SECTION_NETWORK_FIRST4, SECTION_RANGES4) &&
	       climbs(p, SECTION_NETWORK_FIRST6, SECTION_RANGES6) &&
	       climbs(p, SECTION_SERVICE_FIRST, SECTION_PORTS) &&
	       climbs(p, SECTION_GROUP_FIRST, SECTION_GROUP_WORDS) &&
	       below(p, SECTION_GROUP_WORDS, p->word_count);
}

/* ---- scratch --------------------------------------------------------------------------- */

static bool
regexes_compile(struct policy *p)
{
	p->codes = calloc(p->regex_count + 1, sizeof(*p->codes));
	p->regex_answer = calloc(p->regex_count + 1, 1);
	p->regex_asked = calloc(p->regex_count + 1, sizeof(*p->regex_asked));
	p->match_data = pcre2_match_data_create(1, NULL);
	p->match_context = pcre2_match_context_create(NULL);
	if (p->codes == NULL || p->regex_answer == NULL || p->regex_asked == NULL ||
	    p->match_data == NULL || p->match_context == NULL)
		return false;
	pcre2_set_match_limit(p->match_context, REGEX_MATCH_LIMIT);
	pcre2_set_depth_limit(p->match_context, REGEX_DEPTH_LIMIT);
	pcre2_set_heap_limit(p->match_context, REGEX_HEAP_KIB);
	for (uint32_t i = 0; i < p->regex_count; i++) {
		int error;
		size_t at;

		p->codes[i] = pcre2_compile(
		    (PCRE2_SPTR)(p->strings + p->regexes[i]), PCRE2_ZERO_TERMINATED,
		    PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY |
			PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C,
		    &error, &at, NULL);
		if (p->codes[i] == NULL)
			return false;
	}
	return true;
}

/* As many lists as one evaluation can want to merge; with more it scans. */
static bool
lists_alloc(struct policy *p)
{
	p->list_cap = p->anchor_count < LISTS_MOST ? p->anchor_count + 8 : LISTS_MOST;
	p->lists = calloc(p->list_cap, sizeof(*p->lists));
	return p->lists != NULL;
}

static void
posts_use(struct policy *p)
{
	for (unsigned m = 0; m < MATCHER_COUNT; m++) {
		struct posts *t = &p->posts[m];

		for (unsigned k = 0; k < ANCHOR_KINDS; k++) {
			uint32_t from = p->header->anchor_first[k];
			uint32_t to = p->header->anchor_first[k + 1];

			to = to < t->anchor_count ? to : t->anchor_count;
			t->uses[k] = from < to && t->first[from] != t->first[to];
		}
	}
}

static bool
hash_valid(const void *image, size_t len)
{
	uint8_t hash[IMAGE_HASH];

	image_hash(image, len, hash);
	return memcmp(hash, ((const struct image_header *)image)->hash, IMAGE_HASH) == 0;
}

struct policy *
image_open(const void *image, size_t len, enum image_trust trust)
{
	struct policy *p;

	if (image == NULL || !frame_valid(image, len))
		return NULL;
	if (trust == IMAGE_FOREIGN && !hash_valid(image, len))
		return NULL;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return NULL;
	p->header = image;
	if (!bind(p) || (trust != IMAGE_SEALED && !valid(p)) || !regexes_compile(p) ||
	    !lists_alloc(p)) {
		policy_close(p);
		return NULL;
	}
	posts_use(p);
	return p;
}

struct policy *
policy_open(const void *image, size_t len)
{
	return image_open(image, len, IMAGE_FOREIGN);
}

struct policy *
policy_open_sealed(const void *image, size_t len)
{
	return image_open(image, len, IMAGE_SEALED);
}

void
policy_close(struct policy *p)
{
	if (p == NULL)
		return;
	if (p->codes != NULL)
		for (uint32_t i = 0; i < p->regex_count; i++)
			pcre2_code_free(p->codes[i]);
	pcre2_match_data_free(p->match_data);
	pcre2_match_context_free(p->match_context);
	free(p->codes);
	free(p->regex_answer);
	free(p->regex_asked);
	free(p->lists);
	free(p);
}

/* ---- what an image tells ----------------------------------------------------------------- */

const char *
policy_name(const struct policy *p)
{
	return p->strings + p->header->name;
}

const uint8_t *
policy_hash(const struct policy *p)
{
	return p->header->hash;
}

size_t
policy_rule_count(const struct policy *p)
{
	return p->rule_count;
}

uint32_t
policy_worst_case(const struct policy *p)
{
	return p->header->worst_case;
}

int
policy_listener(const struct policy *p, const char *name)
{
	for (uint32_t i = 0; i < p->listener_count; i++)
		if (strcmp(p->strings + p->listeners[i], name) == 0)
			return (int)i;
	return -1;
}

int32_t
policy_rule_find(const struct policy *p, const char *name)
{
	for (uint32_t i = 0; i < p->rule_count; i++)
		if (strcmp(p->strings + p->rules[i].name, name) == 0)
			return (int32_t)i;
	return RULE_NONE;
}

static void
terms_fill(const struct policy *p, const struct image_rule *r, struct rule_terms *out)
{
	const struct image_terms *t = &p->terms[r->terms];

	out->name = p->strings + r->name;
	out->owner = p->strings + p->notes[r->notes].owner;
	out->ticket = p->strings + r->ticket;
	out->why = p->strings + p->notes[r->notes].why;
	out->file = p->strings + p->notes[r->notes].file;
	out->line = r->line;
	out->column = r->column;
	out->allow = r->flags & RULE_ALLOW;
	out->alert = r->flags & RULE_ALERT;
	out->dry_run = r->flags & RULE_DRY_RUN;
	out->log = t->log;
	out->udp_replies = t->udp_replies;
	out->on_revoke = t->on_revoke;
	out->drain_ms = t->drain_ms;
	out->auth = r->auth;
	out->route = p->strings + t->route;
	out->has_egress4 = t->egress & 1;
	out->has_egress6 = t->egress & 2;
	out->egress4 = t->egress4;
	out->egress6 = t->egress6;
	out->sessions = t->sessions;
	out->sessions_per_user = t->sessions_per_user;
	out->sessions_per_source = t->sessions_per_source;
	out->rate_per_user = t->rate_per_user;
	out->bandwidth_per_session = t->bandwidth_per_session;
	out->bandwidth_per_user = t->bandwidth_per_user;
	out->idle_ms = t->idle_ms;
	out->lifetime_ms = t->lifetime_ms;
}

void
policy_terms(const struct policy *p, int32_t rule, struct rule_terms *out)
{
	memset(out, 0, sizeof(*out));
	out->name = out->owner = out->ticket = out->why = out->file = out->route = "";
	out->log = 3;
	if (rule >= 0 && (uint32_t)rule < p->rule_count)
		terms_fill(p, &p->rules[rule], out);
	else if (rule == RULE_DEFAULT)
		out->name = "policy-default";
	else if (rule == RULE_SELF)
		out->name = "builtin:self";
}

static const char *const reason_words[] = {
    [REASON_RULE] = "rule",
    [REASON_DEFAULT] = "default",
    [REASON_RESOLVES_IN] = "resolves-in",
    [REASON_UNDETERMINED] = "undetermined",
    [REASON_SELF] = "self",
    [REASON_NO_PRIMARY] = "no-primary",
};

const char *
rules_reason_word(enum rules_reason r)
{
	return (unsigned)r < sizeof(reason_words) / sizeof(reason_words[0]) ? reason_words[r] : "";
}
