/*
 * tests/unit/unit_rules_evaluate_random.c - rules_evaluate against the plain scan, on random
 * policies and facts at every border; and what a certain answer promises while facts are unknown.
 *
 * SALLYPORT_PAIRS=N runs about N pairs instead of the usual number, SALLYPORT_SEED=S from another
 * start.
 */
#include "config.h"

#include "rules/image.h"
#include "tests/unit/suite.h"
#include "tests/unit/unit_rules_random.h"

#define FACTS_A_POLICY 400
#define FACTS_A_LARGE 100 /* the plain scan takes its time */
#define LARGE 100         /* rules */

static unsigned long long pairs, needs_told, permits, denials, by_identity;
static unsigned long long policies, anchored[ANCHOR_KINDS]; /* policies with anchors of a kind */

static unsigned long long
number_from(const char *name, unsigned long long fallback)
{
	const char *s = getenv(name);

	return s == NULL || *s == '\0' ? fallback : strtoull(s, NULL, 10);
}

static bool
answers_equal(const struct rules_answer *a, const struct rules_answer *b)
{
	return a->verdict == b->verdict && a->reason == b->reason && a->rule == b->rule &&
	       a->needs == b->needs && a->methods == b->methods && a->kinds == b->kinds &&
	       a->dry_run == b->dry_run && a->alert == b->alert;
}

static void
tell(const char *what, const struct rules_answer *a)
{
	printf("    %s: verdict %d reason %d rule %d needs %x methods %x kinds %x dry-run %u alert "
	       "%u\n",
	       what, a->verdict, a->reason, a->rule, a->needs, a->methods, a->kinds, a->dry_run,
	       a->alert);
}

/* The stages of the walk, and now and then anything. */
static uint32_t
random_known(struct dice *d)
{
	static const uint32_t stages[] = {
	    0,
	    FACT_CLIENT,
	    FACT_CLIENT | FACT_TIME,
	    FACT_CLIENT | FACT_VERSION | FACT_TIME,
	    FACT_ALL & ~(uint32_t)(FACT_ADDRESS | FACT_GROUPS | FACT_ASSERTED),
	    FACT_ALL & ~(uint32_t)FACT_GROUPS,
	    FACT_ALL & ~(uint32_t)FACT_ASSERTED,
	    FACT_ALL & ~(uint32_t)FACT_ADDRESS,
	    FACT_ALL & ~(uint32_t)(FACT_ADDRESS | FACT_NAME | FACT_PORT),
	};

	return one_in(d, 3) ? roll(d, FACT_ALL + 1) : PICK(d, stages);
}

/* One pair; false and told if the two disagree. */
static bool
pair_agrees(struct policy *p, const struct rules_facts *f, struct rules_answer *fast)
{
	struct rules_answer plain;

	rules_evaluate(p, f, fast);
	rules_evaluate_linear(p, f, &plain);
	pairs++;
	if (answers_equal(fast, &plain))
		return true;
	printf("\n    known %x:\n", f->known);
	tell("evaluate", fast);
	tell("linear", &plain);
	return false;
}

static bool
promise_holds(const struct rules_answer *early, const struct rules_answer *all)
{
	if (all->verdict == RULES_NEED)
		return false;
	if (early->verdict == RULES_NEED)
		return early->needs != 0;
	if (early->verdict == RULES_PERMIT && early->rule != all->rule)
		return false;
	return early->verdict == all->verdict;
}

/* Explain tells the same: the deciding rule holds, and those before it fail. */
static bool
failures_agree(struct policy *p, const struct rules_facts *f, const struct rules_answer *a)
{
	int32_t end = a->rule >= 0              ? a->rule
		      : a->rule == RULE_DEFAULT ? (int32_t)policy_rule_count(p)
						: 0;
	struct rule_terms t;
	bool unknown;

	if (a->rule >= 0 && rules_first_failure(p, a->rule, f, &unknown) != NULL)
		return false;
	for (int32_t i = 0; i < end; i++) {
		policy_terms(p, i, &t);
		if (rules_first_failure(p, i, f, &unknown) == NULL && !t.dry_run)
			return false;
	}
	return true;
}

/* What rules ask of identity they get: there is no way to PERMIT without one of a kind that the
 * rule accepts. */
static bool
identity_good(struct policy *p, const struct rules_facts *f, const struct rules_answer *all)
{
	struct rules_facts nameless = *f;
	struct rules_answer a;
	struct rule_terms t;
	uint32_t kinds = (f->proven_user != NULL ? f->proven_by : 0u) |
			 (f->asserted_user != NULL ? f->asserted_by : 0u);

	if (all->verdict == RULES_PERMIT) {
		policy_terms(p, all->rule, &t);
		if (t.auth != 0 && (t.auth & kinds) == 0)
			return false;
		by_identity += t.auth != 0;
	}
	nameless.proven_user = nameless.asserted_user = NULL;
	nameless.proven_by = nameless.asserted_by = 0;
	nameless.group_count = 0;
	rules_evaluate(p, &nameless, &a);
	if (a.verdict == RULES_PERMIT)
		policy_terms(p, a.rule, &t);
	return a.verdict != RULES_PERMIT || t.auth == 0;
}

/* Whoever is let in for what he has proved was offered the method at the greeting. */
static bool
offer_good(struct policy *p, const struct rules_facts *f, const struct rules_answer *all)
{
	struct rules_facts greeting = *f;
	struct rules_answer a;
	struct rule_terms t;

	if (all->verdict != RULES_PERMIT)
		return true;
	policy_terms(p, all->rule, &t);
	if (t.auth == 0 || f->proven_user == NULL || (t.auth & f->proven_by) == 0 ||
	    (f->asserted_user != NULL && (t.auth & f->asserted_by) != 0))
		return true;
	greeting.known = FACT_CLIENT | FACT_VERSION | FACT_TIME;
	rules_evaluate(p, &greeting, &a);
	return (a.methods & f->proven_by) != 0;
}

static bool
facts_good(struct policy *p, struct dice *d)
{
	const char *groups[2];
	struct random_self self;
	struct rules_facts f;
	struct rules_answer all, early;
	struct addr inner;

	random_facts(d, &f, groups, &self);
	if (!pair_agrees(p, &f, &all))
		return false;
	if (!addr_embedded(&f.address, &inner) && all.tested > policy_worst_case(p)) {
		printf("\n    tested %u rules, worst case %u\n", all.tested, policy_worst_case(p));
		return false;
	}
	if (!addr_embedded(&f.address, &inner) && one_in(d, 4) && !failures_agree(p, &f, &all)) {
		tell("explain does not agree", &all);
		return false;
	}
	if (!identity_good(p, &f, &all) || !offer_good(p, &f, &all)) {
		tell("identity", &all);
		return false;
	}
	f.known = random_known(d);
	if (!pair_agrees(p, &f, &early))
		return false;
	needs_told += early.verdict == RULES_NEED;
	permits += all.verdict == RULES_PERMIT;
	denials += all.verdict == RULES_DENY;
	if (promise_holds(&early, &all))
		return true;
	printf("\n    known %x:\n", f.known);
	tell("early", &early);
	tell("all", &all);
	return false;
}

static bool
policy_good(struct dice *d, size_t rules)
{
	struct random_policy *r = random_policy_new(d, rules);
	struct problems problems;
	struct policy *p;
	void *image;
	size_t len;
	bool good = true;

	problems_init(&problems);
	if (!model_compile(&r->model, &image, &len, &problems) ||
	    (p = policy_open(image, len)) == NULL) {
		printf("\n    does not compile or open\n");
		return false;
	}
	policies++;
	for (unsigned k = 0; k < ANCHOR_KINDS; k++)
		anchored[k] += p->posts[MATCHER_FULL].uses[k];
	for (unsigned i = 0; i < (rules < LARGE ? FACTS_A_POLICY : FACTS_A_LARGE) && good; i++)
		good = facts_good(p, d);
	policy_close(p);
	free(image);
	problems_free(&problems);
	random_policy_free(r);
	return good;
}

static void
test_differential(void)
{
	unsigned long long wanted = number_from("SALLYPORT_PAIRS", 2000000);
	unsigned long long seed = number_from("SALLYPORT_SEED", 1);

	for (; pairs < wanted; seed++) {
		struct dice d = {.state = seed * 0x9e3779b97f4a7c15u | 1};
		size_t rules = one_in(&d, 20) ? LARGE + roll(&d, 100) : 1 + roll(&d, 25);

		if (!policy_good(&d, rules)) {
			printf("    seed %llu, %zu rules\n", seed, rules);
			CU_FAIL("rules_evaluate is not the plain scan");
			return;
		}
	}
	printf("\n    %llu pairs; %llu permitted, %llu denied, %llu of the early ones in need\n",
	       pairs, permits, denials, needs_told);
	/* A generator that only ever denies would prove nothing. */
	CU_ASSERT(by_identity > pairs / 200);
	CU_ASSERT(permits > pairs / 100 && denials > pairs / 100 && needs_told > pairs / 100);
	for (unsigned k = 0; k < ANCHOR_KINDS; k++)
		CU_ASSERT(anchored[k] > policies / 50);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"evaluate is the plain scan", test_differential},
			       CU_TEST_INFO_NULL};

	return suite_run("rules: random policies", tests);
}
