/*
 * rules/explain.c - the verdict a session would get, with everything that led to it.
 *
 * Walks POLICY.md's semantics 6 as a session does: first without the address, then each answer by
 * itself. Runs in sallyctl (and when control asks); allocates, aborts on no memory.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "rules/image.h"

static void *
must_calloc(size_t n, size_t size)
{
	void *v = calloc(n == 0 ? 1 : n, size);

	if (v == NULL)
		abort();
	return v;
}

/* The facts that the deciding rule saw: the address inside, if that was what was denied. */
static void
deciding_facts(struct policy *p, const struct rules_facts *f, const struct rules_answer *a,
	       struct rules_facts *out)
{
	struct rules_answer outer;
	struct rules_facts inner = *f;

	*out = *f;
	if (!(f->known & FACT_ADDRESS) || a->verdict != RULES_DENY ||
	    !addr_embedded(&f->address, &inner.address))
		return;
	evaluate_outer(p, f, &outer);
	if (outer.verdict != RULES_DENY)
		*out = inner;
}

static void
tell_passed(struct policy *p, const struct rules_facts *f, struct rules_explanation *out)
{
	size_t end = policy_rule_count(p);

	if (out->answer.rule == RULE_SELF)
		end = 0;
	else if (out->answer.rule >= 0)
		end = (size_t)out->answer.rule;
	out->passed = must_calloc(end, sizeof(*out->passed));
	for (size_t i = 0; i < end; i++) {
		bool unknown;
		const char *failed = rules_first_failure(p, (int32_t)i, f, &unknown);
		bool dry = p->rules[i].flags & RULE_DRY_RUN;

		if (unknown && dry)
			failed = NULL; /* no address could make it decide */
		else if (unknown && out->answer.verdict == RULES_NEED)
			continue; /* not passed over: it may still decide */
		if (failed == NULL && !dry)
			break; /* in need: no rule behind the first certain one is reached */
		out->passed[out->passed_count++] = (struct rules_passed){
		    (int32_t)i, failed != NULL ? failed : "mode", unknown && dry};
	}
}

static void
refuse_unresolved(struct rules_answer *a)
{
	a->verdict = RULES_DENY;
	a->reason = REASON_UNDETERMINED;
	a->rule = RULE_DEFAULT;
	a->needs = 0;
}

/* Each answer of DNS by itself; returns the one that speaks for the session. */
static const struct rules_explained_address *
judge_answers(struct policy *p, const struct rules_facts *facts, const struct addr *resolves,
	      size_t count, struct rules_explanation *out)
{
	const struct rules_explained_address *first = NULL;

	out->addresses = must_calloc(count, sizeof(*out->addresses));
	out->address_count = count;
	for (size_t i = 0; i < count; i++) {
		struct rules_explained_address *e = &out->addresses[i];
		struct rules_facts f = *facts;

		e->address = f.address = resolves[i];
		f.known |= FACT_ADDRESS;
		rules_evaluate(p, &f, &e->answer);
		if (first == NULL && e->answer.verdict != RULES_DENY)
			first = e;
	}
	return first != NULL ? first : &out->addresses[0];
}

void
rules_explain(struct policy *p, const struct rules_facts *facts, bool resolved,
	      const struct addr *resolves, size_t resolve_count, bool want_passed,
	      struct rules_explanation *out)
{
	struct rules_facts f = *facts, deciding;

	memset(out, 0, sizeof(*out));
	rules_evaluate(p, &f, &out->answer);
	if (out->answer.verdict == RULES_NEED && out->answer.needs & FACT_ADDRESS && resolved) {
		if (resolve_count == 0) {
			refuse_unresolved(&out->answer);
		} else {
			const struct rules_explained_address *e =
			    judge_answers(p, &f, resolves, resolve_count, out);

			out->answer = e->answer;
			f.address = e->address;
			f.known |= FACT_ADDRESS;
		}
	}
	if (want_passed) {
		deciding_facts(p, &f, &out->answer, &deciding);
		tell_passed(p, &deciding, out);
	}
	if (out->addresses == NULL)
		out->addresses = must_calloc(1, sizeof(*out->addresses));
	if (out->passed == NULL)
		out->passed = must_calloc(1, sizeof(*out->passed));
}

void
rules_explanation_free(struct rules_explanation *e)
{
	free(e->addresses);
	free(e->passed);
	memset(e, 0, sizeof(*e));
}
