/*
 * tests/fuzz/fuzz_policy.c - the bytes are dice: they make a policy and facts, and
 * rules_evaluate must be the plain scan; what is certain early must stay so.
 */
#include "config.h"

#include "fuzz.h"
#include "tests/unit/unit_rules_random.h"

static void
check_equal(struct policy *p, const struct rules_facts *f, struct rules_answer *fast)
{
	struct rules_answer plain;

	rules_evaluate(p, f, fast);
	rules_evaluate_linear(p, f, &plain);
	FUZZ_CHECK(fast->verdict == plain.verdict && fast->rule == plain.rule);
	FUZZ_CHECK(fast->reason == plain.reason && fast->needs == plain.needs);
	FUZZ_CHECK(fast->methods == plain.methods && fast->dry_run == plain.dry_run);
	FUZZ_CHECK(fast->alert == plain.alert);
}

static void
check_facts(struct policy *p, struct dice *d)
{
	struct random_self self;
	struct rules_facts f;
	struct rules_answer all, early;
	const char *groups[2];

	random_facts(d, &f, groups, &self);
	check_equal(p, &f, &all);
	FUZZ_CHECK(all.verdict != RULES_NEED);
	f.known = roll(d, FACT_ALL + 1);
	check_equal(p, &f, &early);
	FUZZ_CHECK(early.verdict == RULES_NEED || early.verdict == all.verdict);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice d = {.bytes = data, .left = size};
	struct random_policy *r = random_policy_new(&d, 1 + roll(&d, 20));
	struct problems problems;
	struct policy *p;
	void *image;
	size_t len;

	problems_init(&problems);
	FUZZ_CHECK(model_compile(&r->model, &image, &len, &problems));
	p = policy_open(image, len);
	FUZZ_CHECK(p != NULL);
	for (unsigned i = 0; i < 16 && (i == 0 || d.left > 0); i++)
		check_facts(p, &d);
	policy_close(p);
	free(image);
	problems_free(&problems);
	random_policy_free(r);
	return 0;
}
