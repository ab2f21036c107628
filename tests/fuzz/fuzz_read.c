/*
 * tests/fuzz/fuzz_read.c - any bytes as a policy: no crash, every problem at a place that exists
 * with a code that is explained, and what is accepted compiles to an image that opens and runs its
 * tests.
 */
#include "base/text.h"
#include "rules/model.h"
#include "settings/source.h"
#include "text.h"

static void
check_problem(const struct sources *sources, const struct problem *one)
{
	const struct source *src = one->place.file ? source_find(sources, one->place.file) : NULL;
	unsigned line;
	const char *p;

	demand(rules_problem_explain(one->code) || problem_explain(one->code),
	       "a code is explained");
	demand(one->text && one->text[0], "a problem says what it is");
	if (!src || one->place.line == 0)
		return;
	for (p = src->text, line = 1; line < one->place.line; line++) {
		p = memchr(p, '\n', (size_t)(src->text + src->len - p));
		demand(p != NULL, "a place's line exists");
		p++;
	}
	demand(one->place.column >= 1 &&
		   one->place.column - 1 <= (size_t)(src->text + src->len - p),
	       "a place's column exists");
}

/* Sorted and disjoint, never IPv4 with IPv6: what the compiler relies on. */
static void
check_model(const struct rules_model *m)
{
	const struct object *o;
	size_t i;

	for (o = m->objects; o; o = o->next) {
		for (i = 0; i < o->range_count; i++) {
			const struct model_range *r = &o->ranges[i];

			demand(addr_compare(&r->first, &r->last) <= 0,
			       "a range has a first and a last");
			demand(addr_is4(&r->first) == addr_is4(&r->last),
			       "a range is of one family");
			demand(i == 0 || addr_compare(&r[-1].last, &r->first) < 0,
			       "ranges are disjoint");
		}
		for (i = 1; i < o->user_count; i++)
			demand(strcmp(o->users[i - 1], o->users[i]) < 0, "users are sorted");
	}
	for (i = 0; i < m->rule_count; i++) {
		demand(m->rules[i].index == i, "rules are numbered");
		demand(m->rules[i].commands != 0 || m->rules[i].commands_given,
		       "commands are filled in");
		demand(m->rules[i].resolves_in.given || !m->rules[i].allow,
		       "resolves-in is filled in");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings *settings = NULL;
	struct rules_load l = {0};
	struct buffer out = {0};
	size_t i;

	sources_init(&l.sources);
	problems_init(&l.problems);
	l.tree =
	    tree_parse(&l.sources, source_text(&l.sources, "fuzz.conf", "/nonexistent", data, size),
		       &l.problems);
	demand(l.tree != NULL, "there is a tree");
	if (size % 3 == 0) {
		settings = &l.settings;
		settings_read(tree_root(l.tree), "/", settings, &l.problems);
	}
	l.model = model_read(l.tree, settings, &l.sources, 1795478400, &l.problems);
	demand(l.model != NULL, "there is a model");
	check_model(l.model);
	if (l.problems.errors == 0) {
		demand(model_compile(l.model, &l.image, &l.image_len, &l.problems), "it compiles");
		rules_tests(&l);
	}
	for (i = 0; i < l.problems.count; i++)
		check_problem(&l.sources, &l.problems.list[i]);
	problems_sort(&l.problems);
	problems_render(&l.problems, &l.sources, false, &out);
	buffer_free(&out);
	l.policy_tree = l.tree;
	rules_load_free(&l);
	return 0;
}

static const char *const folders[] = {"tests/fuzz/corpus/read", "tests/policy/bad",
				      "tests/policy/good", "etc/examples/perimeter", NULL};
static const char changes[] = "\"{}[](),;=#/:-.@*9a\n ";

const struct replay_text replay_text = {folders, ".txt", changes, sizeof(changes) - 1, 60};
