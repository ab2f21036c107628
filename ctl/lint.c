/*
 * lint.c - sallyctl lint: what the policy says and hardly means, as check shows errors;
 * and, apart, what could not be decided.
 */
#include "base/clock.h"
#include "ctl/ctl.h"
#include "rules/lint.h"

static void
put_json(const struct lint *lint, struct buffer *out)
{
	buffer_puts(out, "{\"findings\":");
	problems_put_warnings_json(&lint->findings, out);
	buffer_puts(out, ",\"not_decided\":");
	problems_put_warnings_json(&lint->undecided, out);
	buffer_putf(out, ",\"count\":%zu}\n", lint->findings.warnings);
}

static void
put_undecided(const struct ctl_call *call, const struct lint *lint, struct buffer *out)
{
	const struct style *s = style_of(call);

	for (size_t i = 0; i < lint->undecided.count; i++) {
		const struct problem *one = &lint->undecided.list[i];

		buffer_putf(out, "%snot decided%s: %s  (", s->wait, s->off, one->text);
		put_shown(out, one->place.file);
		buffer_putf(out, ":%u:%u)\n", one->place.line, one->place.column);
	}
	if (lint->undecided.warnings > lint->undecided.count)
		buffer_putf(out, "and %zu more\n",
			    lint->undecided.warnings - lint->undecided.count);
	if (lint->undecided.count > 0)
		buffer_puts(out, "\n");
}

static void
put_summary(const struct ctl_call *call, const struct lint *lint, struct buffer *out)
{
	const struct style *s = style_of(call);
	size_t n = lint->findings.warnings;
	char count[COUNT_TEXT];

	if (n > lint->findings.count)
		buffer_putf(out, "the first %zu are shown\n", lint->findings.count);
	put_shown(out, call->file);
	if (n == 0)
		buffer_putf(out, ": %snothing found%s\n", s->good, s->off);
	else
		buffer_putf(out, ": %s%s finding%s%s\n", s->bad, count_text(n, count),
			    n == 1 ? "" : "s", s->off);
}

int
lint_run(struct ctl_call *call)
{
	struct buffer out = {0};
	struct policy *policy;
	struct rules_load l;
	struct lint lint;
	int status;

	if (!load_policy(call, &l, &policy))
		return CTL_FAILED;
	rules_lint(&l, policy, clock_wall_ns() / NS_PER_S, &lint);
	status = lint.findings.warnings > 0 ? CTL_NO : CTL_YES;
	if (call->json) {
		put_json(&lint, &out);
	} else {
		problems_render_list(&lint.findings, &l.sources, call->colour, &out);
		put_undecided(call, &lint, &out);
		put_summary(call, &lint, &out);
	}
	lint_free(&lint);
	load_free(&l, policy);
	return ctl_done(&out, status);
}
