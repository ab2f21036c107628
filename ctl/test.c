/*
 * test.c - sallyctl test: the tests that stand in the policy itself, run through
 * the same door as explain.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/inquiry.h"
#include "rules/model.h"

struct trial { /* one test, put to the policy */
	bool passed;
	enum rules_verdict verdict;
	char rule[64 + 16]; /* that decided; "" if none did */
	char text[256];     /* what was expected and what came; "" if it passed */
};

static void
put_rule_name(const struct court *court, const struct rules_answer *a, char *buf, size_t size)
{
	struct rule_terms terms;

	buf[0] = '\0';
	if (a->verdict == RULES_NEED)
		return;
	policy_terms(court->policy, a->rule, &terms);
	snprintf(buf, size, "%s", terms.name);
}

/* What came of it, when that was not expected. */
static void
tell(const struct model_test *test, struct trial *t)
{
	struct text out;

	text_init(&out, t->text, sizeof t->text);
	text_putf(&out, "expected %s", test->expect_allow ? "allow" : "deny");
	if (test->rule != NULL)
		text_putf(&out, " by %s", test->rule);
	if (t->verdict == RULES_NEED)
		text_put(&out, ", but it depends on what the name resolves to");
	else
		text_putf(&out, ", got %s by %s", verdict_word(t->verdict), t->rule);
}

/* As rules_tests does for check and for the server: without the addresses of this machine. */
static void
run_one(const struct court *court, const struct model_test *test, struct trial *out)
{
	struct rules_facts facts = test->facts;
	struct rules_explanation e;

	memset(out, 0, sizeof *out);
	facts.listener =
	    test->listener != NULL ? policy_listener(court->policy, test->listener) : -1;
	rules_explain(court->policy, &facts, test->resolves_given, test->resolves,
		      test->resolve_count, false, &e);
	out->verdict = e.answer.verdict;
	put_rule_name(court, &e.answer, out->rule, sizeof out->rule);
	out->passed = out->verdict == (test->expect_allow ? RULES_PERMIT : RULES_DENY) &&
		      (test->rule == NULL || strcmp(test->rule, out->rule) == 0);
	if (!out->passed)
		tell(test, out);
	rules_explanation_free(&e);
}

/* ---- the command ---------------------------------------------------------------- */

static void
put_json(struct buffer *out, const char *key, const char *value)
{
	buffer_putf(out, ",\"%s\":", key);
	if (value != NULL && value[0] != '\0')
		buffer_put_json(out, value, strlen(value));
	else
		buffer_puts(out, "null");
}

static void
put_trial_json(const struct model_test *test, const struct trial *t, struct buffer *out)
{
	buffer_puts(out, "{\"name\":");
	buffer_put_json(out, test->name, strlen(test->name));
	buffer_putf(out, ",\"passed\":%s", t->passed ? "true" : "false");
	put_json(out, "file", test->place.file);
	buffer_putf(out, ",\"line\":%u,\"column\":%u", test->place.line, test->place.column);
	put_json(out, "expect", test->expect_allow ? "allow" : "deny");
	put_json(out, "expect_rule", test->rule);
	put_json(out, "verdict", verdict_word(t->verdict));
	put_json(out, "rule", t->rule);
	buffer_puts(out, "}");
}

static void
put_trial(const struct ctl_call *call, const struct model_test *test, const struct trial *t,
	  struct buffer *out)
{
	const struct style *s = style_of(call);

	if (t->passed) {
		buffer_putf(out, "%sok%s      %s\n", s->good, s->off, test->name);
		return;
	}
	buffer_putf(out, "%sFAILED%s  %s  (", s->bad, s->off, test->name);
	put_shown(out, test->place.file != NULL ? test->place.file : "?");
	buffer_putf(out, ":%u:%u)\n        %s\n", test->place.line, test->place.column, t->text);
}

static int
run_all(const struct ctl_call *call, const struct court *court)
{
	const struct rules_model *m = court->load->model;
	struct buffer out = {0};
	size_t passed = 0;
	struct trial t;

	if (call->json)
		buffer_puts(&out, "{\"tests\":[");
	for (size_t i = 0; i < m->test_count; i++) {
		run_one(court, &m->tests[i], &t);
		passed += t.passed;
		if (!call->json) {
			put_trial(call, &m->tests[i], &t, &out);
			continue;
		}
		buffer_puts(&out, i > 0 ? "," : "");
		put_trial_json(&m->tests[i], &t, &out);
	}
	if (call->json)
		buffer_putf(&out, "],\"passed\":%zu,\"failed\":%zu}\n", passed,
			    m->test_count - passed);
	else
		buffer_putf(&out, "%zu of %zu passed\n", passed, m->test_count);
	return ctl_done(&out, passed == m->test_count ? CTL_YES : CTL_NO);
}

int
test_run(struct ctl_call *call)
{
	struct rules_load load;
	struct policy *policy;
	struct court court;
	int status;

	if (!load_policy(call, &load, &policy))
		return CTL_FAILED;
	court_open(&court, policy, &load);
	status = run_all(call, &court);
	court_close(&court);
	load_free(&load, policy);
	return status;
}
