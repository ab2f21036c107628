/*
 * rules/compile_objects.c - objects of the model into the image: ranges, patterns, ports, users,
 * windows and zones. Objects with equal content become one. COMPILE and sallyctl.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "rules/compile.h"

uint32_t
compile_string(struct compile *c, const char *s)
{
	uint32_t offset = section_count(c, SECTION_STRINGS), n;
	const char *text = s == NULL ? "" : s;
	size_t len = strlen(text);
	bool fresh;

	if (len == 0 && offset > 0)
		return 0; /* the first of all */
	n = intern_put(&c->strings, text, len, &fresh);
	if (fresh) {
		buffer_put(&c->string_offsets, &offset, sizeof(offset));
		buffer_put(&c->sections[SECTION_STRINGS], text, len + 1);
	}
	return ((const uint32_t *)c->string_offsets.p)[n];
}

static uint32_t
compile_word(struct compile *c, const char *s)
{
	bool fresh;
	uint32_t n = intern_put(&c->words, s, strlen(s), &fresh);

	if (fresh)
		section_put_u32(c, SECTION_WORDS, compile_string(c, s));
	return n;
}

static int
order_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static size_t
sort_unique(uint32_t *v, size_t n)
{
	size_t out = 0;

	if (n > 0)
		qsort(v, n, sizeof(*v), order_u32);
	for (size_t i = 0; i < n; i++)
		if (out == 0 || v[out - 1] != v[i])
			v[out++] = v[i];
	return out;
}

uint32_t
compile_set(struct compile *c, uint32_t *numbers, size_t count)
{
	uint32_t at = section_count(c, SECTION_POOL), number;
	bool fresh;

	count = sort_unique(numbers, count);
	if (count == 0)
		return SET_NONE;
	if (count == 1)
		return SET_ONE | numbers[0];
	number = intern_put(&c->pool, numbers, count * sizeof(*numbers), &fresh);
	if (fresh) {
		section_put_u32(c, SECTION_POOL, (uint32_t)count);
		buffer_put(&c->sections[SECTION_POOL], numbers, count * sizeof(*numbers));
		return at;
	}
	/* Entry i starts behind those before it and their counts, and behind set 0. */
	return (uint32_t)(c->pool.entries[number].at / sizeof(*numbers)) + number + 1;
}

/* ---- networks ------------------------------------------------------------------------------- */

static int
order_range(const void *a, const void *b)
{
	return addr_compare(&((const struct model_range *)a)->first,
			    &((const struct model_range *)b)->first);
}

/* Sorted and without overlap, whatever came: searches rely on it. */
static struct model_range *
ranges_sorted(const struct model_range *in, size_t n, size_t *count)
{
	struct model_range *v = calloc(n + 1, sizeof(*v));
	size_t out = 0;
	bool sorted = true;

	if (v == NULL)
		abort();
	if (n > 0)
		memcpy(v, in, n * sizeof(*v));
	for (size_t i = 1; i < n && sorted; i++)
		sorted = addr_compare(&v[i - 1].last, &v[i].first) < 0;
	if (!sorted)
		qsort(v, n, sizeof(*v), order_range);
	for (size_t i = 0; i < n; i++) {
		if (out == 0 || addr_compare(&v[out - 1].last, &v[i].first) < 0)
			v[out++] = v[i];
		else if (addr_compare(&v[out - 1].last, &v[i].last) < 0)
			v[out - 1].last = v[i].last;
	}
	*count = out;
	return v;
}

static uint32_t
network_new(struct compile *c, const struct model_range *v, size_t n)
{
	uint32_t number = section_count(c, SECTION_NETWORK_FIRST4);

	section_put_u32(c, SECTION_NETWORK_FIRST4, section_count(c, SECTION_RANGES4));
	section_put_u32(c, SECTION_NETWORK_FIRST6, section_count(c, SECTION_RANGES6));
	for (size_t i = 0; i < n; i++) {
		if (addr_is4(&v[i].first)) {
			struct image_range4 r = {addr_v4(&v[i].first), addr_v4(&v[i].last)};

			section_put(c, SECTION_RANGES4, &r);
		} else {
			struct image_range6 r = {v[i].first, v[i].last};

			section_put(c, SECTION_RANGES6, &r);
		}
	}
	return number;
}

static uint32_t
compile_network(struct compile *c, const struct model_range *in, size_t count)
{
	size_t n;
	struct model_range *v = ranges_sorted(in, count, &n);
	bool fresh;
	uint32_t number = intern_put(&c->networks, v, n * sizeof(*v), &fresh);

	if (fresh)
		network_new(c, v, n);
	free(v);
	/* Two networks stand before the interned ones. */
	return number + NETWORK_ANY_TO + 1;
}

void
compile_objects_begin(struct compile *c)
{
	const struct model_range *v;
	size_t n = builtin_ranges(BUILTIN_ANY, true, &v);

	network_new(c, NULL, 0);
	network_new(c, v, n);
}

uint32_t
compile_builtin(struct compile *c, enum builtin b, bool destination)
{
	const struct model_range *v;
	uint32_t *known = &c->builtins[destination][b];

	if (b == BUILTIN_ANY)
		return destination ? NETWORK_ANY_TO : NETWORK_ANY_FROM;
	if (*known == 0) {
		size_t n = builtin_ranges(b, destination, &v);

		*known = compile_network(c, v, n) + 1;
	}
	return *known - 1;
}

/* ---- the other kinds ---------------------------------------------------------------------------
 */

static uint32_t
compile_regex(struct compile *c, const char *text)
{
	bool fresh;
	uint32_t n = intern_put(&c->regexes, text, strlen(text), &fresh);

	if (fresh)
		section_put_u32(c, SECTION_REGEXES, compile_string(c, text));
	return n;
}

static uint32_t *
must_array(size_t n)
{
	uint32_t *v = calloc(n + 1, sizeof(*v));

	if (v == NULL)
		abort();
	return v;
}

/* The two lists of an object, one behind the other, with their lengths: what makes it equal to
 * another. */
static uint32_t
lists_put(struct compile *c, struct intern *in, unsigned firsts, unsigned items, uint32_t *v,
	  size_t n, size_t m)
{
	uint32_t key = (uint32_t)n;
	struct buffer b = {0};
	bool fresh;
	uint32_t number;

	buffer_put(&b, &key, sizeof(key));
	buffer_put(&b, v, (n + m) * sizeof(*v));
	number = intern_put(in, b.p, b.len, &fresh);
	buffer_free(&b);
	for (unsigned list = 0; fresh && list < 2; list++) {
		section_put_u32(c, firsts, section_count(c, items));
		buffer_put(&c->sections[items], list == 0 ? v : v + n,
			   (list == 0 ? n : m) * sizeof(*v));
	}
	free(v);
	return number;
}

static uint32_t
compile_host(struct compile *c, const struct object *o)
{
	uint32_t *v = must_array(o->host_count), number;
	size_t n = 0;
	bool fresh;

	for (; n < o->host_count; n++)
		v[n] = o->hosts[n].kind == HOST_REGEX
			   ? HOST_PATTERN_REGEX | compile_regex(c, o->hosts[n].text)
			   : compile_word(c, o->hosts[n].text) << 2 | o->hosts[n].kind;
	n = sort_unique(v, n);
	number = intern_put(&c->hosts, v, n * sizeof(*v), &fresh);
	if (fresh) {
		section_put_u32(c, SECTION_HOST_FIRST, section_count(c, SECTION_HOST_PATTERNS));
		if (n > 0)
			buffer_put(&c->sections[SECTION_HOST_PATTERNS], v, n * sizeof(*v));
	}
	free(v);
	return number;
}

static uint32_t
compile_group(struct compile *c, const struct object *o)
{
	uint32_t *v = must_array(o->user_count + o->unix_count);
	size_t n = 0, m = 0;

	for (; n < o->user_count; n++)
		v[n] = compile_word(c, o->users[n]);
	n = sort_unique(v, n);
	for (; m < o->unix_count; m++)
		v[n + m] = compile_word(c, o->unix_groups[m]);
	m = sort_unique(v + n, m);
	return lists_put(c, &c->groups, SECTION_GROUP_FIRST, SECTION_GROUP_WORDS, v, n, m);
}

static uint32_t
compile_service(struct compile *c, const struct object *o)
{
	uint32_t *v = must_array(o->service_count);
	size_t n = 0, total = 0;

	for (int udp = 0; udp < 2; udp++) {
		for (size_t i = 0; i < o->service_count; i++) {
			const struct model_service *s = &o->services[i];
			struct image_ports ports = {s->first, s->last};

			if (s->udp == (udp == 1))
				memcpy(&v[total++], &ports, sizeof(ports));
		}
		if (udp == 0)
			n = total;
	}
	return lists_put(c, &c->services, SECTION_SERVICE_FIRST, SECTION_PORTS, v, n, total - n);
}

static uint32_t
zone_new(struct compile *c, const struct zone *from)
{
	struct image_zone z;
	uint32_t number = section_count(c, SECTION_ZONES);

	memset(&z, 0, sizeof(z));
	z.first = section_count(c, SECTION_TRANSITIONS);
	z.count = (uint32_t)from->count;
	z.rule_from = from->rule_from;
	z.rule.standard = from->rule.standard;
	z.rule.summer = from->rule.summer;
	z.rule.has_summer = from->rule.has_summer;
	z.rule.begin.form = from->rule.begin.form;
	z.rule.begin.month = from->rule.begin.month;
	z.rule.begin.week = from->rule.begin.week;
	z.rule.begin.day = from->rule.begin.day;
	z.rule.begin.second = from->rule.begin.second;
	z.rule.end.form = from->rule.end.form;
	z.rule.end.month = from->rule.end.month;
	z.rule.end.week = from->rule.end.week;
	z.rule.end.day = from->rule.end.day;
	z.rule.end.second = from->rule.end.second;
	for (size_t i = 0; i < from->count; i++) {
		struct image_transition t = {.at = from->changes[i].at,
					     .offset = from->changes[i].offset};

		section_put(c, SECTION_TRANSITIONS, &t);
	}
	section_put(c, SECTION_ZONES, &z);
	return number;
}

static uint16_t
compile_zone(struct compile *c, const struct object *o, const char *name)
{
	struct zone z;
	bool fresh;
	uint32_t number = intern_put(&c->zones, name, strlen(name), &fresh);

	if (!fresh)
		return (uint16_t)number;
	if (!zone_load(name, &z)) {
		problems_add(c->problems, "E291", o->place, "this system has no time zone '%s'",
			     name);
		c->failed = true;
		z = (struct zone){.rule_from = INT64_MAX};
	}
	zone_new(c, &z);
	zone_free(&z);
	return (uint16_t)number;
}

static uint32_t
compile_time(struct compile *c, const struct object *o)
{
	struct buffer b = {0};
	bool fresh;
	uint32_t number;

	for (size_t i = 0; i < o->window_count; i++) {
		const struct model_window *w = &o->windows[i];
		struct image_window out = {.days = w->days,
					   .start = w->start,
					   .end = w->end,
					   .zone = compile_zone(c, o, w->zone)};

		buffer_put(&b, &out, sizeof(out));
	}
	number = intern_put(&c->times, b.p, b.len, &fresh);
	if (fresh) {
		section_put_u32(c, SECTION_TIME_FIRST, section_count(c, SECTION_WINDOWS));
		if (b.len > 0)
			buffer_put(&c->sections[SECTION_WINDOWS], b.p, b.len);
	}
	buffer_free(&b);
	return number;
}

static uint32_t
compile_network_object(struct compile *c, const struct object *o)
{
	return compile_network(c, o->ranges, o->range_count);
}

static uint32_t (*const by_kind[])(struct compile *, const struct object *) = {
    [OBJECT_NETWORK] = compile_network_object,
    [OBJECT_HOST] = compile_host,
    [OBJECT_SERVICE] = compile_service,
    [OBJECT_GROUP] = compile_group,
    [OBJECT_TIME] = compile_time,
};

uint32_t
compile_object(struct compile *c, struct object *o)
{
	const struct compiled_object *known = (const struct compiled_object *)c->objects.p;
	size_t count = c->objects.len / sizeof(*known);
	struct compiled_object one = {.object = o};

	/* Another compilation may have left its own number there. */
	if (o->number < count && known[o->number].object == o)
		return known[o->number].number;
	one.number = by_kind[o->kind](c, o);
	o->number = (uint32_t)count;
	buffer_put(&c->objects, &one, sizeof(one));
	return one.number;
}
