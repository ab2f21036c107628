/*
 * rules/read_tests.c - the tests section: every test to the facts that a session would bring.
 * COMPILE and sallyctl.
 */
#include "rules/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "base/text.h"

struct testing {
	struct reader *r;
	struct model_test *test;
	const struct node *user, *auth;
	struct node *to, *resolves;
};

static void
bad(struct testing *g, const struct node *n, const char *text)
{
	problem_help(
	    problems_add(g->r->p, "E226", n->value, "\"%s\" cannot be used in a test", n->string.s),
	    "%s", text);
}

static void
key_user(struct testing *g, const struct node *n)
{
	g->user = n;
	g->test->user = value_text(g->r, n, n->name);
}

static void
key_groups(struct testing *g, const struct node *n)
{
	struct model_test *t = g->test;
	const struct node *e = NULL;

	t->groups = model_alloc(g->r->m, (n->count + 1) * sizeof(*t->groups));
	while ((e = value_next(g->r, n, "groups", "a Unix group or an array of them", e)) != NULL) {
		if (e->string.s[0] == '@' || !strncmp(e->string.s, "unix:", 5))
			bad(g, e, "the groups of a session are plain names of Unix groups");
		t->groups[t->group_count++] = e->string.s;
	}
	value_repeats(g->r, n);
}

static void
key_auth(struct testing *g, const struct node *n)
{
	static const char *const words[] = {"pam",   "file",   "gssapi", "chap",
					    "ident", "userid", NULL};
	int i = value_choice(g->r, n, "auth", words);
	uint8_t bit;

	g->auth = n;
	if (i >= 0 && facts_auth(words[i], &bit))
		g->test->auth = bit;
}

static void
key_from(struct testing *g, const struct node *n)
{
	const char *s = value_text(g->r, n, n->name);

	g->test->from = s;
	if (s && !addr_parse(s, strlen(s), &g->test->facts.client))
		bad(g, n, "\"from\" is one address: \"10.20.3.4\"");
}

static void
key_to(struct testing *g, const struct node *n)
{
	struct rules_facts *f = &g->test->facts;
	char name[NAME_MAX_LEN + 1];
	const char *s = value_text(g->r, n, n->name), *wrong;

	g->test->to = s;
	if (!s)
		return;
	wrong = facts_destination(s, f, name);
	if (wrong)
		bad(g, n, wrong);
	else if (f->name)
		f->name = reader_word(g->r, f->name, f->name_len);
}

static void
key_command(struct testing *g, const struct node *n)
{
	static const char *const words[] = {"connect", "bind", "udp-associate", NULL};
	int i = value_choice(g->r, n, "command", words);

	if (i >= 0 && facts_command(words[i], &g->test->facts.command))
		g->test->command = words[i];
}

static void
key_version(struct testing *g, const struct node *n)
{
	if (n->kind != NODE_INT)
		wrong_type(g->r, n, "version", "4 or 5");
	else if (n->integer != 4 && n->integer != 5)
		problem_help(problems_add(g->r->p, "E206", n->value,
					  "there is no SOCKS version %lld", (long long)n->integer),
			     "versions are 4 (with 4a) and 5");
	else
		g->test->version = g->test->facts.version = (uint8_t)n->integer;
}

static void
key_listener(struct testing *g, const struct node *n)
{
	const struct rules_model *m = g->r->m;
	struct problem *one;
	size_t i;

	g->test->listener = value_text(g->r, n, n->name);
	if (!m->has_listeners || !g->test->listener)
		return;
	for (i = 0; i < m->listener_count; i++)
		if (!strcmp(m->listeners[i], g->test->listener))
			return;
	one = problems_add(g->r->p, "E224", n->value, "no listener is called \"%s\"",
			   g->test->listener);
	suggest(g->r, one, g->test->listener, "", NULL, m->listeners);
}

static void
key_resolves(struct testing *g, const struct node *n)
{
	struct model_test *t = g->test;
	const struct node *e = NULL;
	struct addr a;

	t->resolves_given = true;
	t->resolves = model_alloc(g->r->m, (n->count + 1) * sizeof(*t->resolves));
	if (n->kind == NODE_ARRAY && !n->first)
		return; /* the name does not exist */
	while ((e = value_next(g->r, n, "resolves", "an address or an array of addresses", e)) !=
	       NULL) {
		if (addr_parse(e->string.s, e->string.len, &a))
			t->resolves[t->resolve_count++] = a;
		else
			bad(g, e, "\"resolves\" holds addresses, as DNS would answer");
	}
}

static void
key_at(struct testing *g, const struct node *n)
{
	const char *s = value_text(g->r, n, n->name), *wrong;

	g->test->at = s;
	if (s && (wrong = facts_time(s, &g->test->facts.time)) != NULL)
		bad(g, n, wrong);
}

static void
key_expect(struct testing *g, const struct node *n)
{
	static const char *const words[] = {"allow", "deny", NULL};

	g->test->expect_place = n->value;
	g->test->expect_allow = value_choice(g->r, n, "expect", words) == 0;
}

static void
key_rule(struct testing *g, const struct node *n)
{
	static const char *const words[] = {"policy-default", "builtin:self", NULL};
	const char *s = value_text(g->r, n, n->name);
	struct problem *one;

	g->test->rule = s;
	g->test->rule_place = n->value;
	if (!s || !strcmp(s, words[0]) || !strcmp(s, words[1]) ||
	    map_get(&g->r->rules, s, strlen(s)))
		return;
	one = problems_add(g->r->p, "E203", n->value, "no rule is called \"%s\"", s);
	suggest(g->r, one, s, "", &g->r->rules, words);
}

static const struct test_key {
	const char *name;
	void (*read)(struct testing *g, const struct node *n);
	bool required;
} keys[] = {
    {"user", key_user, false},
    {"groups", key_groups, false},
    {"auth", key_auth, false},
    {"from", key_from, true},
    {"to", key_to, true},
    {"command", key_command, false},
    {"version", key_version, false},
    {"listener", key_listener, false},
    {"resolves", key_resolves, false},
    {"at", key_at, false},
    {"expect", key_expect, true},
    {"rule", key_rule, false},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))
static const char *const key_names[] = {"user",    "groups",  "auth",     "from",     "to",
					"command", "version", "listener", "resolves", "at",
					"expect",  "rule",    NULL};

/* One identity at most: proven or asserted, as `auth` says. */
static void
settle_identity(struct testing *g)
{
	struct model_test *t = g->test;

	if (!g->user != !g->auth) {
		problem_help(
		    problems_add(g->r->p, "E226", (g->user ? g->user : g->auth)->key,
				 "\"user\" and \"auth\" come together"),
		    "a user without a way to be known is nobody; a nameless test has neither");
		return;
	}
	if (t->auth & (AUTH_IDENT | AUTH_USERID)) {
		t->facts.asserted_by = (uint8_t)t->auth;
		t->facts.asserted_user = t->user;
	} else {
		t->facts.proven_by = (uint8_t)t->auth;
		t->facts.proven_user = t->user;
	}
}

static void
settle(struct testing *g, const struct node *n)
{
	struct model_test *t = g->test;
	size_t i;

	for (i = 0; i < KEYS; i++) {
		const struct node *e = n->first;

		while (e && (!e->name || strcmp(e->name, keys[i].name)))
			e = e->next;
		if (!e && keys[i].required)
			problem_help(problems_add(g->r->p, "E205", t->place,
						  "test \"%s\" has no \"%s\"", t->name,
						  keys[i].name),
				     "a test says \"from\", \"to\" and what to \"expect\"");
	}
	settle_identity(g);
	if (g->resolves && g->to && t->to && !t->facts.name && (t->facts.known & FACT_ADDRESS))
		problem_help(problems_add(g->r->p, "E219", g->resolves->key,
					  "\"resolves\" beside an address in \"to\""),
			     "only names are resolved");
	t->facts.known = t->facts.name ? FACT_ALL & ~FACT_ADDRESS : FACT_ALL;
	t->facts.groups = t->groups;
	t->facts.group_count = t->group_count;
}

static void
test_read(struct reader *r, struct model_test *t, struct node *n)
{
	struct testing g = {.r = r, .test = t};
	struct node *e;
	size_t i;

	t->name = n->name;
	t->place = n->key;
	t->version = t->facts.version = 5;
	t->facts.command = RULES_CONNECT;
	t->facts.listener = -1;
	t->facts.time = r->now;
	for (e = n->first; e; e = e->next) {
		for (i = 0; i < KEYS && strcmp(e->name, keys[i].name); i++)
			;
		if (i == KEYS || e->used)
			continue;
		e->used = true;
		keys[i].read(&g, e);
		if (keys[i].read == key_to)
			g.to = e;
		if (keys[i].read == key_resolves)
			g.resolves = e;
	}
	node_unknown(n, "test", key_names, r->p);
	settle(&g, n);
}

void
tests_read(struct reader *r, struct node *tests)
{
	struct rules_model *m = r->m;
	struct node *n;

	if (tests->kind != NODE_GROUP) {
		wrong_type(r, tests, "tests", "a group of tests, { name: { ... } }");
		return;
	}
	m->tests = model_alloc(m, (tests->count + 1) * sizeof(*m->tests));
	for (n = tests->first; n; n = n->next) {
		if (n->used)
			continue;
		n->used = true;
		if (n->kind != NODE_GROUP)
			wrong_type(r, n, n->name, "a test, { from = ...; to = ...; expect = ... }");
		else if (name_allowed(r, n->name, strlen(n->name), n->key, "test"))
			test_read(r, &m->tests[m->test_count++], n);
	}
}
