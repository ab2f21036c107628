/*
 * tests/unit/unit_rules_random.h - random policies as models, and random facts for them drawn at
 * and beside every border. Small pools, so that things meet. Used by the differential test (random
 * numbers) and by the fuzzer (its bytes); the same source gives the same policy.
 */
#ifndef TESTS_UNIT_RULES_RANDOM_H
#define TESTS_UNIT_RULES_RANDOM_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "rules/model.h"

#define RANDOM_PROVEN (AUTH_PAM | AUTH_FILE | AUTH_GSSAPI | AUTH_CHAP)

struct dice {
	uint64_t state;
	const uint8_t *bytes; /* fuzzer: these first, then zeros */
	size_t left;
};

static inline uint32_t
roll(struct dice *d, uint32_t sides)
{
	if (d->bytes != NULL) {
		uint32_t v = 0;

		for (unsigned i = 0; i < (sides > 256 ? 2 : 1) && d->left > 0; i++, d->left--)
			v = v << 8 | *d->bytes++;
		return v % sides;
	}
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (uint32_t)((d->state >> 16) % sides);
}

static inline bool
one_in(struct dice *d, uint32_t n)
{
	return roll(d, n) == n - 1;
}

#define PICK(d, table) ((table)[roll((d), sizeof(table) / sizeof((table)[0]))])

/* Nested, adjacent, special, and the forms that hold an IPv4 address. */
static const char *const pool_prefixes[] = {"0.0.0.0/0",
					    "10.0.0.0/8",
					    "10.20.0.0/16",
					    "10.20.3.0/24",
					    "10.20.3.4",
					    "10.20.3.5",
					    "10.20.4.0/24",
					    "127.0.0.0/8",
					    "127.0.0.1",
					    "192.168.0.0/16",
					    "169.254.169.254",
					    "203.0.113.0/24",
					    "8.8.8.8",
					    "8.8.8.0/25",
					    "255.255.255.255",
					    "0.0.0.0",
					    "::",
					    "::1",
					    "2000::/3",
					    "2001:db8:20::/48",
					    "2001:db8:20::5",
					    "64:ff9b::/96",
					    "64:ff9b::a14:304",
					    "2002:a14:304::1",
					    "2002::/16",
					    "2001:0:1::1:f5eb:fcfb",
					    "2001::/32",
					    "fe80::/10",
					    "ff02::1",
					    "fc00::/7"};
static const char *const pool_hosts[] = {"example",   "a.example", "b.a.example", "c.b.a.example",
					 "b.example", "net",       "x.net",       "corp.internal"};
static const char *const pool_names[] = {"example",         "a.example",
					 "b.a.example",     "c.b.a.example",
					 "z.c.b.a.example", "xa.example",
					 "b.example",       "net",
					 "y.x.net",         "other.test",
					 "a.example.net",   "internal",
					 "corp.internal",   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
static const char *const pool_regexes[] = {"^b[.].*", "(a+)+[bd]", ".*example", "x|xa.example"};
static const char *const pool_users[] = {"ann", "bob", "cy", "staff", "root"};
static const char *const pool_groups[] = {"staff", "ops", "ann", "finance"};
static const char *const pool_zones[] = {"UTC", "Europe/Berlin", "America/New_York"};
static const uint16_t pool_ports[] = {0, 1, 22, 79, 80, 81, 443, 444, 65534, 65535};
static const char *const pool_listeners[] = {"inside", "outside"};
/* around a change of the clocks in Berlin, a new year, dates that rules use */
static const int64_t pool_times[] = {1793494800, 1793498400, 1793502000, 1774746000, 1774749600,
				     1798761600, 1790000000, 1790086400, 1800000000, 0};

struct random_policy {
	struct rules_model model;
	struct object *objects[64];
	size_t object_count;
	struct random_blocks {
		struct random_blocks *next;
		max_align_t data[];
	} *blocks;
};

static inline void *
random_block(struct random_policy *p, size_t size)
{
	struct random_blocks *b = calloc(1, sizeof(*b) + size);

	if (b == NULL)
		abort();
	b->next = p->blocks;
	p->blocks = b;
	return b->data;
}

static inline struct model_range
random_range(struct dice *d)
{
	const char *text = PICK(d, pool_prefixes);
	struct prefix prefix;

	if (prefix_parse(text, strlen(text), &prefix) != PREFIX_OK)
		abort();
	return (struct model_range){prefix_first(&prefix), prefix_last(&prefix)};
}

static inline void
random_content(struct random_policy *p, struct dice *d, struct object *o)
{
	size_t n = 1 + roll(d, 3);

	switch (o->kind) {
	case OBJECT_NETWORK:
		n = one_in(d, 20) ? 0 : n; /* a feed may run dry */
		o->ranges = random_block(p, n * sizeof(*o->ranges));
		for (o->range_count = 0; o->range_count < n;)
			o->ranges[o->range_count++] = random_range(d);
		break;
	case OBJECT_HOST:
		o->hosts = random_block(p, n * sizeof(*o->hosts));
		for (; o->host_count < n; o->host_count++) {
			struct host_pattern *h = &o->hosts[o->host_count];

			h->kind = one_in(d, 10) ? HOST_REGEX : (enum host_kind)roll(d, 3);
			h->text =
			    h->kind == HOST_REGEX ? PICK(d, pool_regexes) : PICK(d, pool_hosts);
			h->len = strlen(h->text);
		}
		break;
	case OBJECT_SERVICE:
		o->services = random_block(p, n * sizeof(*o->services));
		for (; o->service_count < n; o->service_count++) {
			struct model_service *s = &o->services[o->service_count];

			s->udp = one_in(d, 3);
			s->first = 1 + roll(d, 100);
			s->last = (uint16_t)(s->first + roll(d, 30));
			if (one_in(d, 4))
				s->first = s->last = 443;
			if (one_in(d, 10))
				s->last = 65535;
		}
		break;
	case OBJECT_GROUP:
		o->users = random_block(p, n * sizeof(*o->users));
		o->unix_groups = random_block(p, n * sizeof(*o->unix_groups));
		for (size_t i = 0; i < n; i++) {
			if (one_in(d, 2))
				o->users[o->user_count++] = PICK(d, pool_users);
			else
				o->unix_groups[o->unix_count++] = PICK(d, pool_groups);
		}
		break;
	case OBJECT_TIME:
		o->windows = random_block(p, n * sizeof(*o->windows));
		for (; o->window_count < n; o->window_count++) {
			struct model_window *w = &o->windows[o->window_count];

			w->days = (uint8_t)(1 + roll(d, 127));
			w->start = (uint16_t)(60 * roll(d, 24));
			w->end = (uint16_t)(60 * roll(d, 25));
			if (w->end == w->start || (w->end == 0 && w->start == 0))
				w->end = 1440;
			w->zone = PICK(d, pool_zones);
		}
		break;
	}
}

static inline struct object *
random_object(struct random_policy *p, struct dice *d, enum object_kind kind)
{
	struct object *o;

	for (size_t i = 0; i < p->object_count; i++)
		if (p->objects[i]->kind == kind && one_in(d, 4))
			return p->objects[i];
	o = random_block(p, sizeof(*o));
	o->kind = kind;
	random_content(p, d, o);
	if (p->object_count < sizeof(p->objects) / sizeof(p->objects[0]))
		p->objects[p->object_count++] = o;
	return o;
}

static inline void
random_set(struct random_policy *p, struct dice *d, struct model_set *s, enum object_kind kind,
	   enum object_kind other)
{
	size_t n = 1 + roll(d, 2);

	s->given = true;
	s->objects = random_block(p, n * sizeof(*s->objects));
	if (kind == OBJECT_NETWORK && one_in(d, 3)) {
		s->builtins = 1u << roll(d, BUILTIN_COUNT);
		if (one_in(d, 2))
			return;
	}
	for (; s->object_count < n; s->object_count++)
		s->objects[s->object_count] = random_object(p, d, one_in(d, 2) ? other : kind);
}

static inline void
random_rule(struct random_policy *p, struct dice *d, struct model_rule *r, uint32_t index)
{
	static const char *const names[] = {"r0", "r1", "r2", "r3"};
	static const uint8_t commands[] = {2, 4, 8, 10, 14, 14, 14};
	static const uint32_t auths[] = {AUTH_PAM,   RANDOM_PROVEN, RANDOM_PROVEN,
					 AUTH_IDENT, AUTH_USERID,   AUTH_PAM | AUTH_IDENT};

	r->name = names[index % 4];
	r->index = index;
	r->allow = !one_in(d, 3);
	r->dry_run = one_in(d, 10);
	r->terms.alert = one_in(d, 4);
	r->terms.log = 3;
	r->commands = PICK(d, commands);
	r->versions = one_in(d, 6) ? (one_in(d, 2) ? 1 << 4 : 1 << 5) : 1 << 4 | 1 << 5;
	if (one_in(d, 2)) {
		r->who_kind = one_in(d, 4) ? WHO_KNOWN : WHO_SET;
		r->auth = PICK(d, auths);
		if (r->who_kind == WHO_SET)
			random_set(p, d, &r->who, OBJECT_GROUP, OBJECT_GROUP);
	}
	if (one_in(d, 2))
		random_set(p, d, &r->from, OBJECT_NETWORK, OBJECT_NETWORK);
	if (one_in(d, 8))
		random_set(p, d, &r->from_except, OBJECT_NETWORK, OBJECT_NETWORK);
	if (r->allow || !one_in(d, 3))
		random_set(p, d, &r->to, OBJECT_NETWORK,
			   one_in(d, 2) ? OBJECT_HOST : OBJECT_NETWORK);
	if (one_in(d, 5))
		random_set(p, d, &r->except, OBJECT_NETWORK, OBJECT_HOST);
	if (one_in(d, 2))
		random_set(p, d, &r->service, OBJECT_SERVICE, OBJECT_SERVICE);
	if (one_in(d, 8))
		random_set(p, d, &r->when, OBJECT_TIME, OBJECT_TIME);
	if (r->allow && one_in(d, 3))
		random_set(p, d, &r->resolves_in, OBJECT_NETWORK, OBJECT_NETWORK);
	if (one_in(d, 10)) {
		r->listeners = random_block(p, sizeof(*r->listeners));
		r->listeners[r->listener_count++] = PICK(d, pool_listeners);
	}
	r->has_since = one_in(d, 15);
	r->since = 1790000000;
	r->has_expires = one_in(d, 15);
	r->expires = 1790086400;
}

static inline struct random_policy *
random_policy_new(struct dice *d, size_t rules)
{
	struct random_policy *p = calloc(1, sizeof(*p));

	if (p == NULL)
		abort();
	p->model.name = "random";
	p->model.listeners = random_block(p, sizeof(pool_listeners));
	memcpy(p->model.listeners, pool_listeners, sizeof(pool_listeners));
	p->model.listener_count = sizeof(pool_listeners) / sizeof(pool_listeners[0]);
	p->model.rules = random_block(p, rules * sizeof(*p->model.rules));
	for (; p->model.rule_count < rules; p->model.rule_count++)
		random_rule(p, d, &p->model.rules[p->model.rule_count],
			    (uint32_t)p->model.rule_count);
	return p;
}

static inline void
random_policy_free(struct random_policy *p)
{
	while (p->blocks != NULL) {
		struct random_blocks *next = p->blocks->next;

		free(p->blocks);
		p->blocks = next;
	}
	free(p);
}

/* ---- facts --------------------------------------------------------------------------- */

/* An address at or beside the border of one of the prefixes or built-ins. */
static inline struct addr
random_address(struct dice *d)
{
	struct model_range r = random_range(d);
	struct addr a;
	int step = (int)roll(d, 3) - 1;

	if (one_in(d, 3)) {
		const struct model_range *v;
		size_t n = builtin_ranges((enum builtin)roll(d, BUILTIN_COUNT), true, &v);

		r = v[roll(d, (uint32_t)n)];
	}
	a = one_in(d, 2) ? r.first : r.last;
	for (int i = 15; step != 0 && i >= 0; i--) { /* add with carry */
		a.b[i] = (uint8_t)(a.b[i] + step);
		if (a.b[i] != (step > 0 ? 0 : 255))
			break;
	}
	return a;
}

struct random_self {
	struct endpoint endpoints[2];
	struct addr locals[2];
	struct rules_self self;
};

/* Everything known; the caller takes facts away. groups: room for two. */
static inline void
random_facts(struct dice *d, struct rules_facts *f, const char *groups[2], struct random_self *s)
{
	/* the last: a USERID that ident has confirmed */
	static const uint8_t asserted_ways[] = {AUTH_IDENT, AUTH_USERID, AUTH_IDENT | AUTH_USERID};
	static const uint8_t proven[] = {AUTH_PAM, AUTH_FILE, AUTH_GSSAPI, AUTH_CHAP};

	memset(f, 0, sizeof(*f));
	f->known = FACT_ALL;
	f->client = random_address(d);
	f->listener = (int)roll(d, 3) - 1;
	f->version = one_in(d, 3) ? 4 : 5;
	f->command = (uint8_t)(1 + roll(d, 3));
	f->address = random_address(d);
	f->port = one_in(d, 3) ? (uint16_t)roll(d, 140) : PICK(d, pool_ports);
	f->time = PICK(d, pool_times) + (int64_t)roll(d, 3) - 1 +
		  (one_in(d, 2) ? 3600 * (int64_t)roll(d, 200) : 0);
	if (one_in(d, 2)) {
		f->name = PICK(d, pool_names);
		f->name_len = strlen(f->name);
	}
	if (one_in(d, 2)) {
		f->proven_user = PICK(d, pool_users);
		f->proven_by = PICK(d, proven);
	}
	if (one_in(d, 3)) {
		f->asserted_user = PICK(d, pool_users);
		f->asserted_by = f->version == 4 ? PICK(d, asserted_ways) : AUTH_IDENT;
	}
	f->groups = groups;
	for (f->group_count = roll(d, 3); f->group_count > 2;)
		f->group_count--;
	for (size_t i = 0; i < f->group_count; i++)
		groups[i] = PICK(d, pool_groups);
	f->groups_failed = one_in(d, 15);
	if (one_in(d, 3)) {
		memset(s, 0, sizeof(*s));
		s->endpoints[0] = (struct endpoint){one_in(d, 2) ? f->address : addr_any4, 80};
		s->endpoints[1] = (struct endpoint){addr_loopback4, 443};
		s->locals[0] = f->address;
		s->self = (struct rules_self){s->endpoints, 2, s->locals, 1};
		f->self = &s->self;
	}
}

#endif
