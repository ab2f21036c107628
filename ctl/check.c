/*
 * check.c - sallyctl check: is this file good?  Every problem, with its place, and
 * the tests that stand in the policy.
 *
 * Judges the files, not the machine: exit status 0 means that the server would
 * load them.
 */
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "rules/model.h"

struct outcome {
	bool unreadable; /* the -c file itself */
	bool good;
	size_t tests;
	uint32_t worst;
};

/* Only a policy that is whole can be put to its tests. */
static void
run_tests(struct rules_load *l, struct outcome *o)
{
	struct policy *policy = policy_open(l->image, l->image_len);

	o->worst = policy != NULL ? policy_worst_case(policy) : 0;
	policy_close(policy);
	o->tests = l->model->test_count;
	o->good = rules_tests(l);
}

static void
put_count(struct buffer *out, uint64_t n, const char *what)
{
	char text[COUNT_TEXT];

	buffer_putf(out, "%s %s%s", count_text(n, text), what, n == 1 ? "" : "s");
}

static void
put_good(const struct rules_load *l, const struct outcome *o, struct buffer *out)
{
	char worst[COUNT_TEXT], all[COUNT_TEXT];

	buffer_puts(out, ": ");
	put_count(out, l->rule_count, "rule");
	if (o->tests > 0) {
		buffer_puts(out, ", ");
		put_count(out, o->tests, "test");
		buffer_puts(out, " passed");
	}
	buffer_putf(out, "\nat most %s of %s rules tested for any session\n",
		    count_text(o->worst, worst), count_text(l->rule_count, all));
}

static void
put_summary(const struct ctl_call *call, const struct rules_load *l, const struct outcome *o,
	    struct buffer *out)
{
	const struct style *s = style_of(call);
	bool good = o->good;

	buffer_puts(out, good ? s->good : s->bad);
	put_shown(out, call->file);
	buffer_puts(out, good ? " is good" : " is not good");
	buffer_puts(out, s->off);
	if (good)
		put_good(l, o, out);
	else
		buffer_puts(out, ": the server would not load it\n");
}

int
check_run(struct ctl_call *call)
{
	struct outcome o = {0};
	struct buffer out = {0};
	struct rules_load l;
	int status, error;

	o.unreadable = !file_opens(call->file, &error);
	if (rules_load(&l, call->file, false, clock_wall_ns() / NS_PER_S))
		run_tests(&l, &o);
	problems_put(call, &l, &out);
	if (!call->json)
		put_summary(call, &l, &o, &out);
	status = o.unreadable ? CTL_FAILED : o.good ? CTL_YES : CTL_NO;
	rules_load_free(&l);
	return ctl_done(&out, status);
}
