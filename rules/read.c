/*
 * rules/read.c - the reader's way through a policy: sections are declared, resolved, then the rules
 * and the tests that use them; every problem is told, none ends the reading. COMPILE and sallyctl.
 */
#include "rules/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void
read_policy_section(struct reader *r, struct node *n)
{
	static const char *const known[] = {"name", "resolves-in", NULL};
	static const struct set_rule how = {"resolves-in", 1u << OBJECT_NETWORK, true};
	struct node *e;
	const char *s;

	if (n->kind == NODE_STRING && r->settings)
		return; /* policy = "policy.conf": the loader's part */
	if (n->kind != NODE_GROUP) {
		wrong_type(r, n, "policy", "a group, { name = ...; resolves-in = ... }");
		return;
	}
	e = node_get(n, "name");
	if (e && (s = value_text(r, e, "name")) != NULL &&
	    name_allowed(r, s, e->string.len, e->value, "policy"))
		r->m->name = s;
	e = node_get(n, "resolves-in");
	if (e) {
		/* What is written stands instead of the default, not beside it. */
		memset(&r->m->resolves_in, 0, sizeof(r->m->resolves_in));
		set_read(r, &how, e, &r->m->resolves_in);
	}
	node_unknown(n, "policy", known, r->p);
}

static void
read_listeners(struct reader *r)
{
	struct rules_model *m = r->m;
	uint32_t i;

	if (!r->settings)
		return;
	m->has_listeners = true;
	m->listener_count = r->settings->listener_count;
	m->listeners = model_alloc(m, (m->listener_count + 1) * sizeof(*m->listeners));
	for (i = 0; i < r->settings->listener_count; i++) {
		const char *name = r->settings->listeners[i].name;

		m->listeners[i] = reader_word(r, name, strlen(name));
	}
}

static void
read_sections(struct reader *r, struct node *root)
{
	struct place whole = {r->main ? r->main->name : NULL, 0, 0, 0};
	struct node *n;

	objects_declare(r, root);
	objects_resolve(r);
	if ((n = node_get(root, "policy")) != NULL)
		read_policy_section(r, n);
	if ((n = node_get(root, "upstreams")) != NULL)
		problem_help(problems_add(r->p, "E218", n->key, "there are no upstreams as yet"),
			     "every rule goes \"direct\"; take the section out");
	n = node_get(root, "rules");
	if (n)
		rules_read(r, n);
	else
		problem_help(
		    problems_add(r->p, "E222", whole, "there are no rules"),
		    "write rules: { name: { action = ... } }; what no rule allows is denied");
	if ((n = node_get(root, "tests")) != NULL)
		tests_read(r, n);
	objects_mark_used(r);
}

struct rules_model *
model_read(struct tree *policy, const struct settings *settings, struct sources *sources,
	   int64_t now, struct problems *p)
{
	struct node *root = tree_root(policy);
	struct rules_model *m = calloc(1, sizeof(*m));
	struct reader r = {.m = m,
			   .sources = sources,
			   .settings = settings,
			   .p = p,
			   .now = now,
			   .main = tree_source(policy)};

	if (!m)
		abort();
	r.tail = &m->objects;
	m->name = "";
	m->resolves_in.given = true;
	m->resolves_in.builtins = 1u << BUILTIN_PUBLIC;
	read_listeners(&r);
	read_sections(&r, root);
	objects_free(&r);
	return m;
}
