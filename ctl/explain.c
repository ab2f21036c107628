/*
 * explain.c - what the policy says of one session, and why: to convince a person,
 * or as one JSON object for a program.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/inquiry.h"

#define NAME_COLUMN 36 /* a longer rule name pushes its line, not the others */

/* ---- the options ------------------------------------------------------------- */

/* Cuts text at its commas in place; "" is no word at all. */
static bool
split(char *text, struct words *out)
{
	char *rest = text, *word;

	if (text == NULL || text[0] == '\0')
		return true;
	while ((word = strsep(&rest, ",")) != NULL) {
		while (isspace((unsigned char)*word))
			word++;
		if (*word == '\0')
			return false;
		words_add(out, word);
	}
	return true;
}

struct asked { /* an inquiry and the texts it borrows */
	struct inquiry inquiry;
	struct live_session session;
	bool live; /* it is about that */
	char *groups, *resolves;
};

static char *
copy_of(const char *s)
{
	char *copy = s != NULL ? strdup(s) : NULL;

	if (s != NULL && copy == NULL)
		abort();
	return copy;
}

static bool
read_version(const char *text, struct inquiry *q)
{
	uint64_t v;

	if (text == NULL)
		return true;
	q->version_given = true;
	if (!text_parse_u64(text, strlen(text), 255, &v))
		return false;
	q->version = (long long)v;
	return true;
}

static bool
ask(const struct ctl_call *call, struct asked *a)
{
	struct inquiry *q = &a->inquiry;

	q->from = option_value(call, "from");
	q->to = option_value(call, "to");
	q->user = option_value(call, "user");
	q->auth = option_value(call, "auth");
	q->command = option_value(call, "command");
	q->listener = option_value(call, "listener");
	q->at = option_value(call, "at");
	a->groups = copy_of(option_value(call, "groups"));
	a->resolves = copy_of(option_value(call, "resolves"));
	q->resolves_given = a->resolves != NULL;
	if (!read_version(option_value(call, "version"), q)) {
		ctl_fail(call, "version: not a version of SOCKS: 4 or 5");
		return false;
	}
	if (!split(a->groups, &q->groups) || !split(a->resolves, &q->resolves)) {
		ctl_fail(call, "an empty word between commas in --groups or --resolves");
		return false;
	}
	a->live = option_value(call, "session") != NULL;
	return !a->live || session_ask(&a->session, call, option_value(call, "session"), q);
}

static void
asked_free(struct asked *a)
{
	session_free(&a->session);
	words_free(&a->inquiry.groups);
	words_free(&a->inquiry.resolves);
	free(a->groups);
	free(a->resolves);
}

/* ---- for people ---------------------------------------------------------------- */

struct page {
	const struct style *style;
	const struct court *court;
	const struct described *d;
	const struct rules_explanation *e;
	struct buffer out;
};

static const char *
verdict_style(const struct style *s, enum rules_verdict v)
{
	return v == RULES_PERMIT ? s->good : v == RULES_DENY ? s->bad : s->wait;
}

static void
put_remark(struct page *p, const char *key, const char *value)
{
	if (value == NULL || value[0] == '\0')
		return;
	buffer_putf(&p->out, "  %-8s ", key);
	put_shown(&p->out, value);
	buffer_puts(&p->out, "\n");
}

static void
put_named_rule(struct page *p, const struct rule_terms *t)
{
	buffer_putf(&p->out, "by rule %s%s%s", p->style->bold, t->name, p->style->off);
	if (t->file != NULL && t->file[0] != '\0') {
		buffer_puts(&p->out, "  (");
		put_shown(&p->out, t->file);
		buffer_putf(&p->out, ":%u:%u)", t->line, t->column);
	}
	buffer_puts(&p->out, "\n");
	put_remark(p, "owner", t->owner);
	put_remark(p, "ticket", t->ticket);
	put_remark(p, "why", t->why);
}

static void
put_undecided(struct page *p)
{
	buffer_puts(&p->out, "more to know: it depends on what ");
	put_shown(&p->out, p->d->name);
	buffer_puts(&p->out, " resolves to\n  Say it with --resolves ADDRESS,...\n");
}

/* Why nobody's rule decided. */
static const char *
without_rule(const struct rules_answer *a, const struct described *d)
{
	if (a->rule == RULE_SELF)
		return "by builtin:self: the destination is this server itself";
	if (a->reason == REASON_RESOLVES_IN)
		return "by policy-default: a rule allows the name, but not where it leads "
		       "(resolves-in)";
	if (d->facts.name != NULL && d->resolved && d->resolve_count == 0)
		return "by policy-default: the name leads nowhere";
	if (a->reason == REASON_UNDETERMINED)
		return "by policy-default: a condition could not be decided";
	return "by policy-default: no rule allows it";
}

static void
put_verdict(struct page *p)
{
	const struct rules_answer *a = &p->e->answer;
	struct rule_terms terms;

	buffer_putf(&p->out, "%s%s%s ", verdict_style(p->style, a->verdict),
		    verdict_word(a->verdict), p->style->off);
	if (a->verdict == RULES_NEED) {
		put_undecided(p);
		return;
	}
	if (a->rule < 0) {
		buffer_putf(&p->out, "%s\n", without_rule(a, p->d));
		return;
	}
	policy_terms(p->court->policy, a->rule, &terms);
	put_named_rule(p, &terms);
	if (a->reason == REASON_UNDETERMINED)
		put_remark(p, "reason", "a condition could not be decided (undetermined)");
}

static size_t
address_column(const struct rules_explanation *e)
{
	size_t widest = 0;
	char text[ADDR_TEXT];

	for (size_t i = 0; i < e->address_count; i++) {
		size_t len = addr_format(&e->addresses[i].address, text);

		widest = len > widest ? len : widest;
	}
	return widest;
}

static void
put_address_verdicts(struct page *p)
{
	size_t width = address_column(p->e);

	if (p->e->address_count == 0)
		return;
	buffer_puts(&p->out, "\n");
	put_shown(&p->out, p->d->name);
	buffer_puts(&p->out, " resolves to\n");
	for (size_t i = 0; i < p->e->address_count; i++) {
		const struct rules_explained_address *a = &p->e->addresses[i];
		struct rule_terms terms;
		char text[ADDR_TEXT];

		addr_format(&a->address, text);
		policy_terms(p->court->policy, a->answer.rule, &terms);
		buffer_putf(&p->out, "  %-*s  %s%-5s%s  %s\n", (int)width, text,
			    verdict_style(p->style, a->answer.verdict),
			    verdict_word(a->answer.verdict), p->style->off, terms.name);
	}
}

static size_t
name_column(const struct page *p)
{
	size_t widest = 0;

	for (size_t i = 0; i < p->e->passed_count; i++) {
		struct rule_terms terms;
		size_t len;

		policy_terms(p->court->policy, p->e->passed[i].rule, &terms);
		len = strlen(terms.name);
		if (len > widest && len <= NAME_COLUMN)
			widest = len;
	}
	return widest;
}

static void
put_passed(struct page *p)
{
	size_t width = name_column(p);

	if (p->e->passed_count == 0)
		return;
	buffer_puts(&p->out, "\npassed over\n");
	for (size_t i = 0; i < p->e->passed_count; i++) {
		const struct rules_passed *one = &p->e->passed[i];
		struct rule_terms terms;

		policy_terms(p->court->policy, one->rule, &terms);
		buffer_putf(&p->out, "  %-*s  %-11s  %s", (int)width, terms.name, one->failed,
			    p->style->dim);
		why_put(&p->out, p->court, p->d, p->e, one);
		buffer_putf(&p->out, "%s\n", p->style->off);
	}
}

/* The files are what the server has in force. */
static bool
in_force(const struct asked *a, const struct court *court)
{
	char hash[16];
	struct text t;

	text_init(&t, hash, sizeof hash);
	text_put_hex(&t, policy_hash(court->policy), 6);
	return strcmp(hash, a->session.policy) == 0;
}

static int
answer(const struct ctl_call *call, const struct court *court, const struct asked *a,
       const struct described *d, const struct rules_explanation *e)
{
	struct page p = {style_of(call), court, d, e, {0}};

	if (call->json) {
		verdict_put_json(&p.out, court, e);
		if (a->live) {
			p.out.len--; /* the bracket */
			session_put_json(&a->session, in_force(a, court), &p.out);
			buffer_puts(&p.out, "}");
		}
		buffer_puts(&p.out, "\n");
	} else {
		if (a->live)
			session_put(&a->session, &a->inquiry, in_force(a, court), &p.out);
		put_verdict(&p);
		put_address_verdicts(&p);
		put_passed(&p);
	}
	return ctl_done(&p.out, e->answer.verdict == RULES_PERMIT ? CTL_YES : CTL_NO);
}

static int
explain_one(const struct ctl_call *call, const struct court *court, const struct asked *a)
{
	struct described d = {0};
	struct rules_explanation e;
	char buf[512];
	struct text error;
	int status;

	text_init(&error, buf, sizeof buf);
	if (!inquiry_describe(&a->inquiry, court, clock_wall_ns() / NS_PER_S, &d, &error)) {
		described_free(&d);
		return ctl_fail(call, "%s", buf);
	}
	rules_explain(court->policy, &d.facts, d.resolved, d.resolves, d.resolve_count, true, &e);
	status = answer(call, court, a, &d, &e);
	rules_explanation_free(&e);
	described_free(&d);
	return status;
}

/* A batch brings its own words. */
static const char *
first_word_of_one(const struct ctl_call *call)
{
	static const char *const words[] = {"from",     "to",      "user",    "groups",
					    "auth",     "command", "version", "listener",
					    "resolves", "at",      "session"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (option_on(call, words[i]))
			return words[i];
	return NULL;
}

int
explain_run(struct ctl_call *call)
{
	const char *batch = option_value(call, "batch"), *word = first_word_of_one(call);
	struct asked a = {0};
	struct rules_load load;
	struct policy *policy;
	struct court court;
	int status = CTL_FAILED;

	if (batch != NULL && word != NULL)
		return ctl_fail(call, "'--%s' does not go with '--batch'", word);
	if (batch == NULL && option_on(call, "passed"))
		return ctl_fail(call, "'--passed' goes with '--batch' only");
	if (batch == NULL && !ask(call, &a)) {
		asked_free(&a);
		return CTL_FAILED;
	}
	if (load_policy(call, &load, &policy)) {
		court_open(&court, policy, &load);
		status =
		    batch != NULL ? batch_run(call, &court, batch) : explain_one(call, &court, &a);
		court_close(&court);
		load_free(&load, policy);
	}
	asked_free(&a);
	return status;
}
