/*
 * test.c - sallyctl test: the tests that stand in the policy itself, run through
 * the same door as explain.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/inquiry.h"
#include "rules/model.h"

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
put_trial_json(const struct model_test *test, const struct model_trial *t, struct buffer *out)
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
put_trial(const struct ctl_call *call, const struct model_test *test, const struct model_trial *t,
	  struct buffer *out)
{
	const struct style *s = style_of(call);

	if (t->passed) {
		buffer_putf(out, "%sok%s      %s\n", s->good, s->off, test->name);
		return;
	}
	buffer_putf(out, "%sFAILED%s  %s  (", s->bad, s->off, test->name);
	put_shown(out, test->place.file != NULL ? test->place.file : "?");
	buffer_putf(out, ":%u:%u)\n        expected %s, but %s\n", test->place.line,
		    test->place.column, t->expected, t->came);
}

static int
run_all(const struct ctl_call *call, const struct rules_model *m, struct policy *policy)
{
	struct buffer out = {0};
	size_t passed = 0;
	struct model_trial t;

	if (call->json)
		buffer_puts(&out, "{\"tests\":[");
	for (size_t i = 0; i < m->test_count; i++) {
		rules_test_run(policy, &m->tests[i], &t);
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
	int status;

	if (!load_policy(call, &load, &policy))
		return CTL_FAILED;
	status = run_all(call, load.model, policy);
	load_free(&load, policy);
	return status;
}
