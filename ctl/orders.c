/*
 * orders.c - sallyctl kill, reload, restart, drain and reopen: what an operator may tell the
 * server.
 *
 * Exit status: 0 it is done; 1 there was nothing to do it to, or the files have errors; 2 it could
 * not be done.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/live.h"

/* Asks, gathers what the server says of problems; NULL: told. */
static json_t *
order(const struct ctl_call *call, const struct control_request *r, struct live *l,
      struct buffer *problems)
{
	json_t *line;

	if (!live_ask(l, call, r))
		return NULL;
	while ((line = live_next(l, NULL)) != NULL && !live_over(line)) {
		json_bytes(line, "problems", problems);
		json_decref(line);
	}
	return line;
}

/* As `check` tells them, in the place of their numbers; as text where a server can only do that. */
static void
put_problems(json_t *o, const struct buffer *problems)
{
	json_t *list = json_loadb(problems->p != NULL ? problems->p : "", problems->len, 0, NULL);

	if (json_is_object(list))
		json_object_update(o, list);
	else if (problems->len > 0)
		json_object_set_new(o, "problems", json_stringn(problems->p, problems->len));
	else if (json_object_get(o, "rules") != NULL) {
		json_object_set_new(o, "errors", json_array());
		json_object_set_new(o, "warnings", json_array());
	}
	json_decref(list);
}

static void
put_json(const json_t *last, const struct buffer *problems, struct buffer *out)
{
	char *text;
	json_t *o = json_deep_copy(last);

	json_object_del(o, "done");
	put_problems(o, problems);
	text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII);
	buffer_puts(out, text != NULL ? text : "{}");
	buffer_puts(out, "\n");
	free(text);
	json_decref(o);
}

static void
put_sessions(struct buffer *out, uint64_t n, const char *what)
{
	char text[COUNT_TEXT];

	buffer_putf(out, "%s session%s %s\n", count_text(n, text), n == 1 ? "" : "s", what);
}

/* ---- reload -------------------------------------------------------------------------------- */

static void
put_reloaded(const struct ctl_call *call, const json_t *last, bool preview, struct buffer *out)
{
	const struct style *s = style_of(call);
	char rules[COUNT_TEXT];
	uint64_t n = json_count(last, "rules");

	buffer_putf(out, "%s%s%s: policy %s, %s rule%s\n", s->good,
		    preview ? "the server would take it" : "reloaded", s->off,
		    json_text(last, "hash"), count_text(n, rules), n == 1 ? "" : "s");
	put_sessions(out, json_count(last, "sessions"), preview ? "would end" : "ended");
}

static void
put_refused(const struct ctl_call *call, bool preview, struct buffer *out)
{
	const struct style *s = style_of(call);

	buffer_putf(out, "%s%s%s: the server %s its old policy\n", s->bad, "refused", s->off,
		    preview ? "would keep" : "keeps");
}

int
live_reload(const struct ctl_call *call, bool preview, struct buffer *out)
{
	struct control_request r = {.command = CONTROL_RELOAD};
	struct buffer problems = {0};
	struct live l;
	bool good;
	json_t *last;
	int status;

	if (preview)
		control_set(&r, CONTROL_PREVIEW);
	if (call->json)
		control_set(&r, CONTROL_JSON);
	if ((last = order(call, &r, &l, &problems)) == NULL)
		return CTL_FAILED;
	good = json_object_get(last, "error") == NULL;
	status = good ? CTL_YES : json_count(last, "errors") > 0 ? CTL_NO : live_verdict(&l, last);
	if (status != CTL_FAILED && call->json)
		put_json(last, &problems, out);
	else if (status != CTL_FAILED) {
		buffer_put(out, problems.p, problems.len);
		if (good)
			put_reloaded(call, last, preview, out);
		else
			put_refused(call, preview, out);
	}
	buffer_free(&problems);
	json_decref(last);
	live_close(&l);
	return status;
}

int
reload_run(struct ctl_call *call)
{
	struct buffer out = {0};
	int status = live_reload(call, option_on(call, "preview"), &out);

	return ctl_done(&out, status);
}

/* ---- restart ------------------------------------------------------------------------------- */

static void
put_restarted(const struct ctl_call *call, const json_t *last, struct buffer *out)
{
	const struct style *s = style_of(call);
	uint64_t within = json_count(last, "within_ms"), workers = json_count(last, "workers");

	buffer_putf(out, "%srestarted%s: %llu new worker%s; ", s->good, s->off,
		    (unsigned long long)workers, workers == 1 ? "" : "s");
	buffer_puts(out, "sessions go on in the old ones");
	if (within > 0) {
		buffer_puts(out, ", for ");
		buffer_put_duration(out, within * NS_PER_MS);
		buffer_puts(out, " at most");
	}
	buffer_puts(out, "\n");
}

int
restart_run(struct ctl_call *call)
{
	struct control_request r = {.command = CONTROL_RESTART};
	struct buffer problems = {0}, out = {0};
	const struct style *s = style_of(call);
	struct live l;
	json_t *last = order(call, &r, &l, &problems);
	int status;

	if (last == NULL)
		return CTL_FAILED;
	status = json_object_get(last, "error") == NULL           ? CTL_YES
		 : strcmp(json_text(last, "code"), "failed") == 0 ? CTL_NO
								  : live_verdict(&l, last);
	if (status != CTL_FAILED && call->json)
		put_json(last, &problems, &out);
	else if (status == CTL_YES)
		put_restarted(call, last, &out);
	else if (status == CTL_NO) {
		buffer_put(&out, problems.p, problems.len);
		buffer_putf(&out, "%srefused%s: %s\n", s->bad, s->off, json_text(last, "error"));
	}
	buffer_free(&problems);
	json_decref(last);
	live_close(&l);
	return ctl_done(&out, status);
}

/* ---- the others ---------------------------------------------------------------------------- */

/* What is told when it is done; returns the exit status. */
typedef int telling(const json_t *last, struct buffer *out);

static int
simple(const struct ctl_call *call, const struct control_request *r, telling *tell)
{
	struct buffer none = {0}, out = {0}, text = {0};
	struct live l;
	json_t *last = order(call, r, &l, &none);
	int status;

	buffer_free(&none);
	if (last == NULL)
		return CTL_FAILED;
	status = live_verdict(&l, last);
	if (status == CTL_YES) {
		status = tell(last, &text);
		if (call->json)
			put_json(last, &none, &out);
		else
			buffer_put(&out, text.p, text.len);
		buffer_free(&text);
	}
	json_decref(last);
	live_close(&l);
	return ctl_done(&out, status);
}

static int
tell_killed(const json_t *last, struct buffer *out)
{
	uint64_t n = json_count(last, "sessions");

	put_sessions(out, n, "ended");
	return n > 0 ? CTL_YES : CTL_NO;
}

int
kill_run(struct ctl_call *call)
{
	struct control_request r = {.command = CONTROL_KILL};
	unsigned given = call->operand_count;

	if (!live_field(call, &r, CONTROL_USER) || !live_field(call, &r, CONTROL_RULE))
		return CTL_FAILED;
	given += control_given(&r, CONTROL_USER) + control_given(&r, CONTROL_RULE);
	if (given != 1)
		return ctl_fail(call, "one of SESSION, '--user' and '--rule' is to be given: "
				      "see 'sallyctl kill --help'");
	if (call->operand_count == 1 && !control_set_string(&r, CONTROL_ID, call->operands[0]))
		return ctl_fail(call, "that is no identifier of a session");
	return simple(call, &r, tell_killed);
}

static int
tell_drain(const json_t *last, struct buffer *out)
{
	buffer_puts(out, "the server takes no new clients and stops: sessions have ");
	buffer_putf(out, "%g s to end\n", (double)json_count(last, "within_ms") / 1000);
	return CTL_YES;
}

int
drain_run(struct ctl_call *call)
{
	return simple(call, &(struct control_request){.command = CONTROL_DRAIN}, tell_drain);
}

static int
tell_reopened(const json_t *last, struct buffer *out)
{
	(void)last;
	buffer_puts(out, "the audit file was opened anew\n");
	return CTL_YES;
}

int
reopen_run(struct ctl_call *call)
{
	return simple(call, &(struct control_request){.command = CONTROL_REOPEN}, tell_reopened);
}
