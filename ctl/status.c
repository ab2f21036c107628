/*
 * status.c - sallyctl status: how the server is, in a dozen lines.
 *
 * The server tells a line of JSON for each part; with --json they become one object.
 */
#include <string.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ctl/live.h"

static void
put_server(const struct style *s, const json_t *o, struct buffer *out)
{
	buffer_putf(out, "%ssallyport %s%s  ", s->bold, json_text(o, "version"), s->off);
	if (json_is_true(json_object_get(o, "draining")))
		buffer_putf(out, "%sdraining%s", s->wait, s->off);
	else
		buffer_putf(out, "%srunning%s", s->good, s->off);
	buffer_puts(out, " for ");
	buffer_put_duration(out, json_count(o, "uptime") * NS_PER_S);
	buffer_putf(out, ", since %.19sZ", json_text(o, "started"));
	if (json_count(o, "handovers") > 0)
		buffer_putf(out, ", handed over %llu time%s",
			    (unsigned long long)json_count(o, "handovers"),
			    json_count(o, "handovers") == 1 ? "" : "s");
	buffer_puts(out, "\n");
}

static void
put_policy(const struct style *s, const json_t *o, struct buffer *out)
{
	const json_t *reloads = json_object_get(o, "reloads");
	char rules[COUNT_TEXT], worst[COUNT_TEXT];
	uint64_t count = json_count(o, "rules");

	(void)s;
	buffer_puts(out, "policy    ");
	if (json_text(o, "name")[0] != '\0') {
		put_shown(out, json_text(o, "name"));
		buffer_puts(out, " ");
	}
	buffer_putf(out, "%s: %s rule%s, at most %s tested for any session, loaded %.19sZ\n",
		    json_text(o, "hash"), count_text(count, rules), count == 1 ? "" : "s",
		    count_text(json_count(o, "worst_case"), worst), json_text(o, "loaded"));
	buffer_putf(out, "reloads   %llu taken, %llu refused\n",
		    (unsigned long long)json_count(reloads, "taken"),
		    (unsigned long long)json_count(reloads, "refused"));
}

static void
put_ledger(const struct style *s, const json_t *o, struct buffer *out)
{
	const char *state = json_text(o, "state"), *error = json_text(o, "error");
	bool ok = strcmp(state, "ok") == 0;

	buffer_putf(out, "ledger    %s%s%s, ", ok ? s->good : s->bad,
		    strcmp(state, "refusing") == 0   ? "refusing new sessions"
		    : strcmp(state, "dropping") == 0 ? "dropping records"
						     : state,
		    s->off);
	put_shown(out, json_text(o, "file"));
	if (error[0] != '\0') {
		buffer_puts(out, ": ");
		put_shown(out, error);
	}
	buffer_puts(out, "\n");
}

static void
put_copy(const struct style *s, const json_t *o, struct buffer *out)
{
	const char *state = json_text(o, "state"), *error = json_text(o, "error");
	const json_t *lag = json_object_get(o, "lag");
	bool ok = strcmp(state, "ok") == 0;
	uint64_t records = json_count(lag, "records"), dropped = json_count(o, "dropped");
	char text[COUNT_TEXT];

	buffer_puts(out, "copy      ");
	put_shown(out, json_text(o, "name"));
	buffer_putf(out, ": %s%s%s, ",
		    ok                                 ? s->good
		    : strcmp(state, "connecting") == 0 ? s->wait
						       : s->bad,
		    state, s->off);
	put_shown(out, json_text(o, "to"));
	if (error[0] != '\0') {
		buffer_puts(out, ": ");
		put_shown(out, error);
	}
	buffer_putf(out, "; %s sent", count_text(json_count(o, "sent"), text));
	if (records > 0) {
		buffer_putf(out, ", %s record%s (", count_text(records, text),
			    records == 1 ? "" : "s");
		buffer_put_size(out, json_count(lag, "bytes"));
		buffer_puts(out, ") behind, the oldest ");
		buffer_put_duration(
		    out, (uint64_t)json_number_value(json_object_get(lag, "seconds")) * NS_PER_S);
		buffer_puts(out, " old");
	}
	if (dropped > 0)
		buffer_putf(out, ", %s%s dropped%s", s->bad, count_text(dropped, text), s->off);
	buffer_puts(out, "\n");
}

static void
put_use(struct buffer *out, const json_t *o, const char *key)
{
	const json_t *limit = json_object_get(o, key);
	char used[COUNT_TEXT], most[COUNT_TEXT];

	buffer_puts(out, count_text(json_count(limit, "used"), used));
	if (json_count(limit, "most") > 0)
		buffer_putf(out, " of %s", count_text(json_count(limit, "most"), most));
}

static void
put_limits(const struct style *s, const json_t *o, struct buffer *out)
{
	(void)s;
	buffer_puts(out, "sessions  ");
	put_use(out, o, "sessions");
	buffer_puts(out, "; handshakes ");
	put_use(out, o, "handshakes");
	buffer_puts(out, "\n");
}

static void
put_counts(const struct style *s, const json_t *o, struct buffer *out)
{
	static const char *const refused[] = {"refused_limit", "refused_policy", "refused_ledger",
					      "refused_descriptors"};
	static const char *const keys[] = {"accepted", "started", "denied", "failed", "ended"};
	char text[COUNT_TEXT];
	uint64_t sum = 0;

	(void)s;
	buffer_puts(out, "clients   ");
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		buffer_putf(out, "%s%s %s", i > 0 ? ", " : "",
			    count_text(json_count(o, keys[i]), text), keys[i]);
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		sum += json_count(o, refused[i]);
	buffer_putf(out, ", %s refused at the door\nbytes     ", count_text(sum, text));
	buffer_put_size(out, json_count(o, "bytes_up"));
	buffer_puts(out, " up, ");
	buffer_put_size(out, json_count(o, "bytes_down"));
	buffer_puts(out, " down\n");
}

/* What is missing is what is to be seen. */
static void
put_sandbox(const struct style *s, const json_t *o, struct buffer *out)
{
	const char *seccomp = json_text(o, "seccomp");
	uint64_t landlock = json_count(o, "landlock");
	bool on = strcmp(seccomp, "on") == 0;

	if (o == NULL)
		return;
	buffer_putf(out, "  %s%s%s", on ? s->good : s->wait,
		    on				  ? "seccomp"
		    : strcmp(seccomp, "log") == 0 ? "seccomp only logs"
						  : "no seccomp",
		    s->off);
	if (landlock > 0)
		buffer_putf(out, ", landlock %llu", (unsigned long long)landlock);
	if (json_is_true(json_object_get(o, "no_new_privs")))
		buffer_puts(out, ", no new privileges");
}

static void
put_process(const struct style *s, const json_t *o, struct buffer *out)
{
	const char *state = json_text(o, "state");
	bool ready = strcmp(state, "ready") == 0;
	char name[64];
	struct text t;

	text_init(&t, name, sizeof name);
	text_put(&t, json_text(o, "role"));
	if (json_object_get(o, "index") != NULL)
		text_putf(&t, " %llu", (unsigned long long)json_count(o, "index"));
	buffer_putf(out, "  %-14s %8llu  %s%-8s%s  ", name,
		    (unsigned long long)json_count(o, "pid"),
		    ready ? s->good : strcmp(state, "leaving") == 0 ? s->wait : s->bad, state,
		    s->off);
	if (json_object_get(o, "uptime") != NULL)
		buffer_put_duration(out, json_count(o, "uptime") * NS_PER_S);
	put_sandbox(s, json_object_get(o, "sandbox"), out);
	if (json_count(o, "restarts") > 0)
		buffer_putf(out, ", %s%llu restarts%s", s->wait,
			    (unsigned long long)json_count(o, "restarts"), s->off);
	buffer_puts(out, "\n");
}

static const struct {
	const char *key;
	void (*put)(const struct style *s, const json_t *o, struct buffer *out);
} parts[] = {{"server", put_server},  {"policy", put_policy}, {"ledger", put_ledger},
	     {"copy", put_copy},      {"limits", put_limits}, {"counts", put_counts},
	     {"process", put_process}};

/* A line that this version does not know is passed over. */
static void
put_part(const struct style *s, const json_t *line, struct buffer *out)
{
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		const json_t *o = json_object_get(line, parts[i].key);

		if (o != NULL)
			parts[i].put(s, o, out);
	}
}

/* Processes and copies are many: they become lists. */
static void
gather(json_t *all, json_t *line)
{
	const char *key;
	json_t *value;

	json_object_foreach(line, key, value)
	{
		if (strcmp(key, "process") == 0)
			json_array_append(json_object_get(all, "processes"), value);
		else if (strcmp(key, "copy") == 0)
			json_array_append(json_object_get(all, "copies"), value);
		else
			json_object_set(all, key, value);
	}
}

int
status_run(struct ctl_call *call)
{
	struct control_request r = {.command = CONTROL_STATUS};
	struct buffer out = {0};
	json_t *all, *line = NULL;
	int status = CTL_FAILED;
	struct live l;
	char *text;

	if (!live_ask(&l, call, &r))
		return CTL_FAILED;
	all = json_pack("{s:[],s:[]}", "processes", "copies");
	while ((line = live_next(&l, NULL)) != NULL && !live_over(line)) {
		put_part(style_of(call), line, &out);
		gather(all, line);
		json_decref(line);
	}
	if (line != NULL)
		status = live_verdict(&l, line);
	if (call->json) {
		text = json_dumps(all, JSON_COMPACT | JSON_ENSURE_ASCII);
		buffer_free(&out);
		buffer_puts(&out, text != NULL ? text : "{}");
		buffer_puts(&out, "\n");
		free(text);
	}
	json_decref(line);
	json_decref(all);
	live_close(&l);
	if (status != CTL_YES)
		buffer_free(&out);
	return ctl_done(&out, status);
}
