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

static void
tell(const struct model_test *test, struct model_trial *out)
{
	struct text t;

	text_init(&t, out->expected, sizeof(out->expected));
	put_verdict(&t, test->expect_allow, test->rule);
	text_init(&t, out->came, sizeof(out->came));
	if (out->verdict == RULES_NEED) {
		text_put(&t, "it depends on what the name resolves to");
	} else {
		text_put(&t, "it gets ");
		put_verdict(&t, out->verdict == RULES_PERMIT, out->rule);
	}
}

/* The addresses of this machine are no part of a test: it says the same wherever it is run. */
void
rules_test_run(struct policy *p, const struct model_test *test, struct model_trial *out)
{
	struct rules_facts facts = test->facts;
	struct rules_explanation e;
	struct rule_terms terms = {0};

	facts.listener = test->listener ? policy_listener(p, test->listener) : -1;
	rules_explain(p, &facts, test->resolves_given, test->resolves, test->resolve_count, false,
		      &e);
	out->verdict = e.answer.verdict;
	if (out->verdict != RULES_NEED)
		policy_terms(p, e.answer.rule, &terms);
	out->rule = terms.name ? terms.name : "";
	out->passed = out->verdict == (test->expect_allow ? RULES_PERMIT : RULES_DENY) &&
		      (!test->rule || !strcmp(test->rule, out->rule));
	tell(test, out);
	rules_explanation_free(&e);
}

static bool
run(struct rules_load *l, struct policy *p, const struct model_test *test)
{
	struct model_trial trial;
	struct problem *one;

	rules_test_run(p, test, &trial);
	if (trial.passed)
		return true;
	one =
	    problems_add(&l->problems, "E228", test->expect_place, "test \"%s\" expects %s, but %s",
			 test->name, trial.expected, trial.came);
	if (trial.verdict == RULES_NEED)
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
