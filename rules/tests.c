/*
 * rules/tests.c - the tests that stand in the policy, run on its image through the same door as
 * every explanation. COMPILE and sallyctl; allocates.
 */
#include <string.h>

#include "base/text.h"
#include "rules/model.h"

static void
put_verdict(struct text *t, bool allow, const char *rule)
{
	text_put(t, allow ? "allow" : "deny");
	if (rule && *rule)
		text_putf(t, " by \"%s\"", rule);
}

/* What came, in words; "" if it is what was expected. */
static void
judge(struct policy *p, const struct model_test *test, struct text *out)
{
	struct rules_facts facts = test->facts;
	struct rules_explanation e;
	struct rule_terms terms;
	bool allow;

	facts.listener = test->listener ? policy_listener(p, test->listener) : -1;
	rules_explain(p, &facts, test->resolves_given, test->resolves, test->resolve_count, false,
		      &e);
	allow = e.answer.verdict == RULES_PERMIT;
	if (e.answer.verdict == RULES_NEED) {
		text_put(out, "it depends on what the name resolves to");
	} else {
		policy_terms(p, e.answer.rule, &terms);
		if (allow != test->expect_allow || (test->rule && strcmp(test->rule, terms.name))) {
			text_put(out, "it gets ");
			put_verdict(out, allow, terms.name);
		}
	}
	rules_explanation_free(&e);
}

static bool
run(struct rules_load *l, struct policy *p, const struct model_test *test)
{
	char came[256], expected[128];
	struct problem *one;
	struct text t;

	text_init(&t, expected, sizeof(expected));
	put_verdict(&t, test->expect_allow, test->rule);
	text_init(&t, came, sizeof(came));
	judge(p, test, &t);
	if (t.len == 0)
		return true;
	one = problems_add(&l->problems, "E228", test->expect_place,
			   "test \"%s\" expects %s, but %s", test->name, expected, came);
	if (!strncmp(came, "it depends", 10))
		problem_help(one, "say it in the test: resolves = [ \"192.0.2.1\" ]");
	else
		problem_help(one, "sallyctl explain with the words of the test shows why");
	return false;
}

bool
rules_tests(struct rules_load *l)
{
	struct policy *p = l->image ? policy_open(l->image, l->image_len) : NULL;
	bool passed = true;
	size_t i;

	if (!p)
		return false;
	for (i = 0; i < l->model->test_count; i++)
		passed &= run(l, p, &l->model->tests[i]);
	policy_close(p);
	problems_sort(&l->problems);
	return passed;
}
