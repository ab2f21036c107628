/*
 * rules/compile.c - from the checked model to one position-independent image.
 *
 * Equal things are stored once: strings, objects, sets, what few rules say. The same model gives
 * the same bytes, whose SHA-256 is the policy's identity. COMPILE and sallyctl; allocates freely.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "rules/compile.h"

/* ---- interning -------------------------------------------------------------------------- */

static void
intern_rehash(struct intern *in, uint32_t slot_count)
{
	pages_free(in->slots, in->slot_count * sizeof(*in->slots));
	in->slot_count = slot_count;
	in->slots = pages_take(in->slot_count * sizeof(*in->slots));
	for (uint32_t e = 0; e < in->count; e++) {
		uint32_t i = in->entries[e].hash & (in->slot_count - 1);

		while (in->slots[i].entry != 0)
			i = (i + 1) & (in->slot_count - 1);
		in->slots[i] = (struct intern_slot){in->entries[e].hash, e + 1};
	}
}

static void
intern_grow(struct intern *in)
{
	if (in->count == in->cap) {
		in->cap = in->cap == 0 ? 64 : in->cap * 2;
		in->entries = realloc(in->entries, in->cap * sizeof(*in->entries));
		if (in->entries == NULL)
			abort();
	}
	if (in->count * 2 >= in->slot_count)
		intern_rehash(in, in->slot_count == 0 ? 256 : in->slot_count * 2);
}

void
intern_room(struct intern *in, uint32_t count)
{
	uint32_t slots = 256;

	while (slots / 2 <= count && slots < UINT32_C(1) << 31)
		slots *= 2;
	if (slots > in->slot_count)
		intern_rehash(in, slots);
}

/* The slot that holds the bytes, or the empty one where they belong. */
static uint32_t
intern_slot(const struct intern *in, uint32_t hash, const void *bytes, size_t len)
{
	uint32_t i = hash & (in->slot_count - 1);

	for (; in->slots[i].entry != 0; i = (i + 1) & (in->slot_count - 1)) {
		const struct intern_entry *e;

		if (in->slots[i].hash != hash)
			continue;
		e = &in->entries[in->slots[i].entry - 1];
		if (e->len == len && (len == 0 || memcmp(in->bytes.p + e->at, bytes, len) == 0))
			break;
	}
	return i;
}

uint32_t
intern_put(struct intern *in, const void *bytes, size_t len, bool *fresh)
{
	uint32_t hash = model_hash(bytes, len), i;

	intern_grow(in);
	i = intern_slot(in, hash, bytes, len);
	*fresh = in->slots[i].entry == 0;
	if (*fresh) {
		in->entries[in->count] = (struct intern_entry){in->bytes.len, (uint32_t)len, hash};
		if (len > 0)
			buffer_put(&in->bytes, bytes, len);
		in->slots[i] = (struct intern_slot){hash, ++in->count};
	}
	return in->slots[i].entry - 1;
}

uint32_t
intern_find(const struct intern *in, const void *bytes, size_t len)
{
	if (in->slot_count == 0)
		return INTERN_NONE;
	return in->slots[intern_slot(in, model_hash(bytes, len), bytes, len)].entry - 1;
}

void
intern_free(struct intern *in)
{
	buffer_free(&in->bytes);
	free(in->entries);
	pages_free(in->slots, in->slot_count * sizeof(*in->slots));
	memset(in, 0, sizeof(*in));
}

/* ---- sections ----------------------------------------------------------------------------- */

uint32_t
section_count(const struct compile *c, unsigned s)
{
	return (uint32_t)(c->sections[s].len / image_element_size(s));
}

void
section_put(struct compile *c, unsigned s, const void *element)
{
	buffer_put(&c->sections[s], element, image_element_size(s));
}

void
section_put_u32(struct compile *c, unsigned s, uint32_t v)
{
	section_put(c, s, &v);
}

/* ---- rules --------------------------------------------------------------------------------- */

struct numbers {
	uint32_t few[8], *v; /* v: few, or malloc'd when there are more */
	size_t count, cap;
};

static void
numbers_begin(struct numbers *n)
{
	n->v = n->few;
	n->count = 0;
	n->cap = sizeof(n->few) / sizeof(n->few[0]);
}

static void
numbers_add(struct numbers *n, uint32_t v)
{
	if (n->count == n->cap) {
		uint32_t *more = realloc(n->v == n->few ? NULL : n->v, 2 * n->cap * sizeof(*more));

		if (more == NULL)
			abort();
		if (n->v == n->few)
			memcpy(more, n->few, sizeof(n->few));
		n->v = more;
		n->cap *= 2;
	}
	n->v[n->count++] = v;
}

static uint32_t
numbers_set(struct compile *c, struct numbers *n)
{
	uint32_t set = compile_set(c, n->v, n->count);

	if (n->v != n->few)
		free(n->v);
	return set;
}

/* The objects of one kind in a key's value, and its built-ins where they are of that kind. */
static uint32_t
key_set(struct compile *c, const struct model_set *s, enum object_kind kind, bool destination)
{
	struct numbers n;

	if (!s->given)
		return SET_NONE;
	numbers_begin(&n);
	for (size_t i = 0; i < s->object_count; i++)
		if (s->objects[i]->kind == kind)
			numbers_add(&n, compile_object(c, s->objects[i]));
	for (int b = 0; kind == OBJECT_NETWORK && s->builtins >> b != 0; b++)
		if (s->builtins >> b & 1)
			numbers_add(&n, compile_builtin(c, (enum builtin)b, destination));
	return numbers_set(c, &n);
}

static uint32_t
listener_set(struct compile *c, const struct model_rule *r)
{
	struct numbers n;

	numbers_begin(&n);
	for (size_t i = 0; i < r->listener_count; i++) {
		uint32_t name = compile_string(c, r->listeners[i]), k = 0, count;
		const uint32_t *v = (const uint32_t *)c->sections[SECTION_LISTENERS].p;

		count = section_count(c, SECTION_LISTENERS);
		while (k < count && v[k] != name)
			k++;
		if (k == count) /* a policy by itself names listeners that nobody knows */
			section_put_u32(c, SECTION_LISTENERS, name);
		numbers_add(&n, k);
	}
	return numbers_set(c, &n);
}

static uint32_t
resolves_set(struct compile *c, const struct model_rule *r, const struct image_rule *out)
{
	if (!r->allow || out->to_hosts == SET_NONE)
		return SET_NONE; /* nobody asks */
	if (r->resolves_in.given)
		return key_set(c, &r->resolves_in, OBJECT_NETWORK, true);
	if (c->model->resolves_in.given)
		return key_set(c, &c->model->resolves_in, OBJECT_NETWORK, true);
	return SET_ONE | compile_builtin(c, BUILTIN_PUBLIC, true);
}

static uint32_t
shared_put(struct compile *c, struct intern *in, unsigned s, const void *element)
{
	size_t size = image_element_size(s);
	bool fresh;
	uint32_t n;

	/* Most rules say what the one before says. */
	if (in->last < in->count &&
	    memcmp(in->bytes.p + in->entries[in->last].at, element, size) == 0)
		return in->last;
	n = intern_put(in, element, size, &fresh);
	if (fresh)
		section_put(c, s, element);
	return in->last = n;
}

static uint32_t
rule_tail(struct compile *c, const struct model_rule *r, const struct image_rule *out)
{
	struct image_tail t;

	memset(&t, 0, sizeof(t));
	t.from_except = key_set(c, &r->from_except, OBJECT_NETWORK, false);
	t.listeners = listener_set(c, r);
	t.except_networks = key_set(c, &r->except, OBJECT_NETWORK, true);
	t.except_hosts = key_set(c, &r->except, OBJECT_HOST, true);
	t.when = key_set(c, &r->when, OBJECT_TIME, false);
	t.resolves_in = resolves_set(c, r, out);
	t.since = r->has_since ? r->since : IMAGE_NO_SINCE;
	t.expires = r->has_expires ? r->expires : IMAGE_NO_EXPIRES;
	return shared_put(c, &c->tails, SECTION_TAILS, &t);
}

static uint32_t
rule_terms(struct compile *c, const struct rule_terms *from)
{
	struct image_terms t;

	memset(&t, 0, sizeof(t));
	t.bandwidth_per_session = from->bandwidth_per_session;
	t.bandwidth_per_user = from->bandwidth_per_user;
	t.idle_ms = from->idle_ms;
	t.lifetime_ms = from->lifetime_ms;
	t.rate_per_user = from->rate_per_user;
	t.sessions = from->sessions;
	t.sessions_per_user = from->sessions_per_user;
	t.sessions_per_source = from->sessions_per_source;
	t.drain_ms = from->drain_ms;
	t.route = compile_string(c, from->route);
	t.log = from->log;
	t.udp_replies = from->udp_replies;
	t.on_revoke = from->on_revoke;
	t.egress = (uint8_t)((from->has_egress4 ? 1 : 0) | (from->has_egress6 ? 2 : 0));
	t.egress4 = from->egress4;
	t.egress6 = from->egress6;
	return shared_put(c, &c->terms, SECTION_TERMS, &t);
}

/* Without the commands that no port of `service` goes with. */
static uint8_t
rule_commands(const struct compile *c, const struct model_rule *r, uint32_t service)
{
	const uint32_t *first = (const uint32_t *)c->sections[SECTION_SERVICE_FIRST].p;
	struct policy view = {.pool = (const uint32_t *)c->sections[SECTION_POOL].p};
	const uint32_t *v;
	uint32_t one, n = set_members(&view, service, &v, &one);
	uint8_t left = 0;

	if (service == SET_NONE)
		return r->commands;
	for (uint32_t i = 0; i < n; i++) {
		/* The end of the last list is written when all services are known. */
		if (first[2 * v[i]] != first[2 * v[i] + 1])
			left |= 1 << RULES_CONNECT | 1 << RULES_BIND;
		if (first[2 * v[i] + 1] != (2 * v[i] + 2 < section_count(c, SECTION_SERVICE_FIRST)
						? first[2 * v[i] + 2]
						: section_count(c, SECTION_PORTS)))
			left |= 1 << RULES_UDP;
	}
	return r->commands & left;
}

static uint32_t
rule_notes(struct compile *c, const struct model_rule *r)
{
	struct image_notes n = {compile_string(c, r->terms.owner), compile_string(c, r->terms.why),
				compile_string(c, r->place.file)};

	return shared_put(c, &c->notes, SECTION_NOTES, &n);
}

static void
compile_rule(struct compile *c, const struct model_rule *r)
{
	struct image_rule out;

	memset(&out, 0, sizeof(out));
	out.name = compile_string(c, r->name);
	out.ticket = compile_string(c, r->terms.ticket);
	out.line = r->place.line;
	out.column = r->place.column > UINT16_MAX ? UINT16_MAX : (uint16_t)r->place.column;
	out.flags =
	    (uint16_t)((r->allow ? RULE_ALLOW : 0) | (r->dry_run ? RULE_DRY_RUN : 0) |
		       (r->terms.alert ? RULE_ALERT : 0) | (r->to.given ? RULE_TO_GIVEN : 0));
	out.who_kind = r->who_kind == WHO_SET     ? WHO_KIND_SET
		       : r->who_kind == WHO_KNOWN ? WHO_KIND_KNOWN
						  : WHO_KIND_ANYONE;
	if (r->who_kind == WHO_SET)
		out.who = key_set(c, &r->who, OBJECT_GROUP, false);
	out.auth = (uint8_t)r->auth;
	out.from = key_set(c, &r->from, OBJECT_NETWORK, false);
	out.to_networks = key_set(c, &r->to, OBJECT_NETWORK, true);
	out.to_hosts = key_set(c, &r->to, OBJECT_HOST, true);
	out.service = key_set(c, &r->service, OBJECT_SERVICE, false);
	out.commands = rule_commands(c, r, out.service);
	out.versions = r->versions;
	out.terms = rule_terms(c, &r->terms);
	out.notes = rule_notes(c, r);
	out.tail = rule_tail(c, r, &out);
	section_put(c, SECTION_RULES, &out);
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Each list of firsts ends with the number of items. */
static void
finish_objects(struct compile *c)
{
	static const struct {
		unsigned firsts, items;
	} lists[] = {
	    {SECTION_NETWORK_FIRST4, SECTION_RANGES4},   {SECTION_NETWORK_FIRST6, SECTION_RANGES6},
	    {SECTION_HOST_FIRST, SECTION_HOST_PATTERNS}, {SECTION_SERVICE_FIRST, SECTION_PORTS},
	    {SECTION_GROUP_FIRST, SECTION_GROUP_WORDS},  {SECTION_TIME_FIRST, SECTION_WINDOWS},
	};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		section_put_u32(c, lists[i].firsts, section_count(c, lists[i].items));
}

static void
finish_words(struct compile *c)
{
	uint32_t n = c->words.count, slots = n + n / 4 + 1;
	const uint32_t *words = (const uint32_t *)c->sections[SECTION_WORDS].p;
	uint32_t *v = calloc(slots, sizeof(*v));

	if (v == NULL)
		abort();
	for (uint32_t w = 0; w < n; w++) {
		const char *s = c->sections[SECTION_STRINGS].p + words[w];
		uint32_t hash = word_hash_back(WORD_HASH, s, strlen(s));
		uint32_t i = (uint32_t)(((uint64_t)hash * slots) >> 32);

		while (v[i] != 0)
			i = i + 1 == slots ? 0 : i + 1;
		v[i] = word_slot(hash, w, word_bits(n));
	}
	buffer_put(&c->sections[SECTION_WORD_SLOTS], v, slots * sizeof(*v));
	free(v);
}

static size_t
aligned(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* A section whose bytes an earlier one of the matchers' has already, or the section itself. */
static unsigned
twin(const struct compile *c, unsigned s)
{
	const struct buffer *b = &c->sections[s];

	for (unsigned t = SECTION_SUBSET; t < s; t++)
		if (c->sections[t].len == b->len && b->len > 0 &&
		    memcmp(c->sections[t].p, b->p, b->len) == 0)
			return t;
	return s;
}

/* Gives each section its place; returns the length of the whole. */
static size_t
lay_out(const struct compile *c, struct image_header *h)
{
	size_t at = aligned(sizeof(*h));

	for (unsigned s = 0; s < SECTION_COUNT; s++) {
		unsigned t = twin(c, s);

		h->sections[s].count = section_count(c, s);
		h->sections[s].offset = t != s ? h->sections[t].offset : at;
		if (t == s)
			at += aligned(c->sections[s].len);
	}
	return at;
}

static void *
assemble(struct compile *c, uint32_t name, size_t *len)
{
	struct image_header h;
	uint8_t *image;

	memset(&h, 0, sizeof(h));
	*len = lay_out(c, &h);
	if (*len > UINT32_MAX || (image = calloc(1, *len)) == NULL)
		return NULL;
	memcpy(h.magic, IMAGE_MAGIC, sizeof(h.magic));
	h.len = *len;
	h.format = IMAGE_FORMAT;
	h.header_size = sizeof(h);
	h.name = name;
	h.worst_case = c->worst_case;
	memcpy(h.anchor_first, c->anchor_first, sizeof(h.anchor_first));
	memcpy(image, &h, sizeof(h));
	for (unsigned s = 0; s < SECTION_COUNT; s++)
		if (c->sections[s].len > 0)
			memcpy(image + h.sections[s].offset, c->sections[s].p, c->sections[s].len);
	image_hash(image, *len, ((struct image_header *)image)->hash);
	return image;
}

static void
compile_free(struct compile *c)
{
	struct intern *interns[] = {&c->strings,  &c->words,   &c->pool,     &c->tails,  &c->terms,
				    &c->networks, &c->hosts,   &c->services, &c->groups, &c->times,
				    &c->zones,    &c->regexes, &c->notes};

	for (size_t i = 0; i < sizeof(interns) / sizeof(interns[0]); i++)
		intern_free(interns[i]);
	for (unsigned s = 0; s < SECTION_COUNT; s++)
		buffer_free(&c->sections[s]);
	buffer_free(&c->string_offsets);
	buffer_free(&c->objects);
}

bool
model_compile(const struct rules_model *m, void **image, size_t *len, struct problems *p)
{
	struct compile *c = calloc(1, sizeof(*c));
	uint32_t name;

	if (c == NULL)
		abort();
	*image = NULL;
	c->model = m;
	c->problems = p;
	if (m->rule_count < UINT32_MAX)
		intern_room(&c->strings, (uint32_t)m->rule_count);
	compile_string(c, "");
	section_put_u32(c, SECTION_POOL, 0); /* set 0 is "not given" */
	name = compile_string(c, m->name);
	compile_objects_begin(c);
	for (size_t i = 0; i < m->listener_count; i++)
		section_put_u32(c, SECTION_LISTENERS, compile_string(c, m->listeners[i]));
	for (size_t i = 0; i < m->rule_count; i++)
		compile_rule(c, &m->rules[i]);
	finish_objects(c);
	finish_words(c);
	compile_index(c);
	if (!c->failed && (*image = assemble(c, name, len)) == NULL)
		problems_add(p, "E290", (struct place){0},
			     "the policy is too large: 4 GiB at most");
	compile_free(c);
	free(c);
	return *image != NULL;
}
