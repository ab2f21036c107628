/*
 * table.c - sallyctl table: which tables the policy reads, whether a value is in one, and a new
 * file in the place of one: judged together with the whole policy first, then laid down at once,
 * so that a server that reloads finds the old table or the new one, and never a bad one.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/live.h"
#include "rules/show.h"
#include "rules/table.h"

/* ---- list ------------------------------------------------------------------------ */

static void
put_table(const struct ctl_call *call, const struct object *o, const char *member, size_t n,
	  struct buffer *out)
{
	if (!call->json) {
		put_shown(out, o->name);
		buffer_puts(out, "  ");
		put_shown(out, member);
		buffer_puts(out, "\n");
		return;
	}
	buffer_puts(out, n > 0 ? ",{\"object\":" : "{\"object\":");
	buffer_put_json(out, o->name, strlen(o->name));
	buffer_putf(out, ",\"kind\":\"%s\",\"table\":", object_word(o->kind));
	buffer_put_json(out, member, strlen(member));
	buffer_puts(out, "}");
}

static int
list(struct ctl_call *call)
{
	struct buffer out = {0};
	const struct object *o;
	struct rules_load l;
	struct policy *policy;
	size_t n = 0;

	if (!load_policy(call, &l, &policy))
		return CTL_FAILED;
	buffer_puts(&out, call->json ? "{\"tables\":[" : "");
	for (o = l.model->objects; o != NULL; o = o->next)
		for (size_t i = 0; i < o->member_count && o->name != NULL; i++)
			if (strncmp(o->members[i], "file:", 5) == 0)
				put_table(call, o, o->members[i], n++, &out);
	if (call->json)
		buffer_puts(&out, "]}\n");
	else if (n == 0)
		buffer_puts(&out, "the policy reads no tables\n");
	load_free(&l, policy);
	return ctl_done(&out, CTL_YES);
}

/* ---- test ------------------------------------------------------------------------ */

static void
put_answer_json(const struct ctl_call *call, const struct table_target *t,
		const struct table_answer *a, struct buffer *out)
{
	bool placed = a->at.file != NULL;

	buffer_putf(out, "{\"holds\":%s,\"object\":", a->holds ? "true" : "false");
	buffer_put_json(out, t->object->name, strlen(t->object->name));
	buffer_putf(out, ",\"kind\":\"%s\",\"value\":", object_word(t->object->kind));
	buffer_put_json(out, call->operands[2], strlen(call->operands[2]));
	buffer_puts(out, ",\"entry\":");
	if (placed)
		buffer_put_json(out, a->entry, strlen(a->entry));
	else
		buffer_puts(out, "null");
	buffer_puts(out, ",\"file\":");
	if (placed)
		buffer_put_json(out, a->at.file, strlen(a->at.file));
	else
		buffer_puts(out, "null");
	buffer_putf(out, ",\"line\":%u,\"column\":%u}\n", a->at.line, a->at.column);
}

static void
put_answer(const struct ctl_call *call, const struct table_target *t, const struct table_answer *a,
	   struct buffer *out)
{
	const struct style *s = style_of(call);

	buffer_putf(out, "%s%s%s ", a->holds ? s->good : s->bad, a->holds ? "yes" : "no", s->off);
	put_shown(out, call->operands[2]);
	buffer_putf(out, " is %s ", a->holds ? "in" : "not in");
	put_shown(out, t->member != NULL ? t->member : t->object->name);
	if (a->at.file != NULL) {
		buffer_puts(out, ": ");
		put_shown(out, a->entry);
		buffer_puts(out, "  (");
		put_shown(out, a->at.file);
		buffer_putf(out, ":%u:%u)", a->at.line, a->at.column);
	} else if (a->holds) {
		buffer_puts(out, ": several entries together hold it");
	}
	buffer_puts(out, "\n");
}

static int
test(struct ctl_call *call)
{
	struct buffer out = {0};
	struct table_target target;
	struct table_answer a;
	struct rules_load l;
	struct policy *policy;
	char why[512];
	struct text error;
	int status = CTL_FAILED;

	if (!load_policy(call, &l, &policy))
		return CTL_FAILED;
	text_init(&error, why, sizeof why);
	if (!table_target(&l, call->operands[1], &target, &error) ||
	    !table_ask(&l, &target, call->operands[2], &a, &error)) {
		ctl_fail(call, "%s", why);
	} else {
		status = a.holds ? CTL_YES : CTL_NO;
		(call->json ? put_answer_json : put_answer)(call, &target, &a, &out);
	}
	load_free(&l, policy);
	return status == CTL_FAILED ? status : ctl_done(&out, status);
}

/* ---- replace --------------------------------------------------------------------- */

/* The path of the table that is meant; a policy with errors may get well by it. */
static char *
find_table(const struct ctl_call *call)
{
	struct table_target target;
	struct rules_load l;
	char why[512], *path = NULL;
	struct text error;

	text_init(&error, why, sizeof why);
	rules_load(&l, call->file, false, clock_wall_ns() / NS_PER_S);
	if (l.model == NULL)
		text_put(&error, "the policy cannot be read: see 'sallyctl check'");
	else if (table_target(&l, call->operands[1], &target, &error))
		path = table_path(&l, &target, &error);
	rules_load_free(&l);
	if (path == NULL)
		ctl_fail(call, "%s", why);
	return path;
}

/* The bytes that were judged, and no others that the file may hold by now. */
static const struct source *
judged(const struct rules_load *l, const char *file)
{
	const struct source *src = l->sources.first;

	while (src != NULL && strcmp(src->path, file) != 0)
		src = src->next;
	return src;
}

/* "reload": what the server said, or null where none was asked. */
static int
tell_json(const struct ctl_call *call, const char *path, size_t entries, bool asks)
{
	struct buffer out = {0}, said = {0};
	int status = asks ? live_reload(call, false, &said) : CTL_YES;

	if (status == CTL_FAILED) { /* told */
		buffer_free(&said);
		return status;
	}
	buffer_puts(&out, "{\"replaced\":");
	buffer_put_json(&out, path, strlen(path));
	buffer_putf(&out, ",\"entries\":%zu,\"reload\":", entries);
	if (asks)
		buffer_put(&out, said.p, said.len - 1); /* without its line end */
	else
		buffer_puts(&out, "null");
	buffer_puts(&out, "}\n");
	buffer_free(&said);
	return ctl_done(&out, status);
}

static int
tell_replaced(const struct ctl_call *call, const struct rules_load *l, const char *path,
	      const struct source *src)
{
	bool asks = !option_on(call, "no-reload") &&
		    live_there(call, l->has_settings ? l->settings.control.socket : NULL);
	struct buffer out = {0};
	char count[COUNT_TEXT];
	size_t n = table_entries(src);
	int status = CTL_YES;

	if (call->json)
		return tell_json(call, path, n, asks);
	problems_put(call, l, &out); /* warnings */
	put_shown(&out, path);
	buffer_putf(&out, " has %s entr%s now%s\n", count_text(n, count), n == 1 ? "y" : "ies",
		    asks ? "" : "; a server takes it when it reloads");
	if (asks)
		status = live_reload(call, false, &out);
	return ctl_done(&out, status);
}

static int
refuse(const struct ctl_call *call, const struct rules_load *l)
{
	struct buffer out = {0};

	problems_put(call, l, &out);
	if (!call->json)
		buffer_puts(&out, "nothing was replaced\n");
	return ctl_done(&out, CTL_NO);
}

static int
replace_at(const struct ctl_call *call, const char *path)
{
	const char *file = call->operands[2];
	struct rules_load l;
	int status;

	if (rules_load_instead(&l, call->file, clock_wall_ns() / NS_PER_S, path, file) &&
	    rules_tests(&l)) {
		const struct source *src = judged(&l, file);

		if (src == NULL || !rewrite(path, src->text, src->len, 0644))
			status = ctl_fail(call, "cannot replace %s: %s", path, strerror(errno));
		else
			status = tell_replaced(call, &l, path, src);
	} else {
		status = refuse(call, &l);
	}
	rules_load_free(&l);
	return status;
}

static int
replace(struct ctl_call *call)
{
	char *path, shown[512];
	struct text t;
	int status, error;

	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, call->operands[2], strlen(call->operands[2]), 256);
	if (!file_opens(call->operands[2], &error))
		return ctl_fail(call, "cannot read %s: %s", shown, strerror(error));
	path = find_table(call);
	if (path == NULL)
		return CTL_FAILED;
	status = replace_at(call, path);
	free(path);
	return status;
}

/* ---- the command ----------------------------------------------------------------- */

static const struct {
	const char *name, *operands;
	unsigned count;
	int (*run)(struct ctl_call *);
} verbs[] = {
    {"list", "", 1, list},
    {"test", " NAME VALUE", 3, test},
    {"replace", " NAME FILE", 3, replace},
};

int
table_run(struct ctl_call *call)
{
	static const char *const names[] = {"list", "test", "replace", NULL};
	const char *word = call->operands[0], *near;
	char shown[128], shown_file[512];
	struct text t;
	int error;

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(verbs[i].name, word) != 0)
			continue;
		if (call->operand_count != verbs[i].count)
			return ctl_fail(call, "write 'sallyctl table %s%s'", word,
					verbs[i].operands);
		text_init(&t, shown_file, sizeof shown_file);
		text_put_quoted(&t, call->file, strlen(call->file), 256);
		if (!file_opens(call->file, &error))
			return ctl_fail(call, "cannot read %s: %s", shown_file, strerror(error));
		return verbs[i].run(call);
	}
	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, word, strlen(word), 64);
	near = text_nearest(word, names);
	if (near != NULL)
		return ctl_fail(call, "no such word: %s: did you mean '%s'?", shown, near);
	return ctl_fail(call, "no such word: %s: 'list', 'test' or 'replace'", shown);
}
