/*
 * session.c - a live session as an inquiry, for explain --session: what its card at the server
 * tells. Groups are no part of it; they are looked up on this machine, as the server did.
 */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/inquiry.h"
#include "ctl/live.h"

#define GROUPS_MOST 1024

static char *
owned(struct live_session *s, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL || s->owned_count == sizeof s->owned / sizeof s->owned[0])
		abort();
	s->owned[s->owned_count++] = copy;
	return copy;
}

/* The bytes of a name from outside; NULL: none. */
static const char *
bytes_of(struct live_session *s, const json_t *o, const char *key)
{
	struct buffer b = {0};
	const char *text = NULL;

	json_bytes(o, key, &b);
	buffer_put(&b, "", 1);
	if (b.p[0] != '\0')
		text = owned(s, b.p);
	buffer_free(&b);
	return text;
}

static const char *
word_of(const json_t *o, const char *key)
{
	const char *text = json_text(o, key);

	return text[0] != '\0' ? text : NULL;
}

/* "host:port", and beside it where the name led. */
static void
take_destination(struct live_session *s, struct inquiry *q)
{
	const json_t *o = json_object_get(s->row, "destination");
	const char *name = bytes_of(s, o, "domain"), *ip = word_of(o, "ip");
	unsigned port = (unsigned)json_count(
	    o, json_object_get(o, "asked_port") != NULL ? "asked_port" : "port");
	char to[512];

	if (name == NULL && ip == NULL)
		return;
	snprintf(to, sizeof to, name == NULL && strchr(ip, ':') != NULL ? "[%s]:%u" : "%s:%u",
		 name != NULL ? name : ip, port);
	q->to = owned(s, to);
	if (name != NULL && ip != NULL && !q->resolves_given) {
		words_add(&q->resolves, ip);
		q->resolves_given = true;
	}
}

/* None if this machine does not know the user. */
static void
take_groups(struct live_session *s, struct inquiry *q)
{
	static gid_t ids[GROUPS_MOST];
	const struct passwd *p = getpwnam(q->user);
	int count = GROUPS_MOST;

	if (p == NULL || getgrouplist(q->user, p->pw_gid, ids, &count) == -1)
		return;
	for (int i = 0; i < count; i++) {
		const struct group *g = getgrgid(ids[i]);
		char *name = g != NULL ? strdup(g->gr_name) : NULL;

		if (name == NULL)
			continue;
		words_add(&s->groups, name);
		words_add(&q->groups, name);
	}
}

/* What was said by options stays. */
static void
fill(struct live_session *s, struct inquiry *q)
{
	bool who = q->user == NULL && q->auth == NULL;

	if (q->from == NULL)
		q->from = word_of(json_object_get(s->row, "source"), "ip");
	if (q->to == NULL)
		take_destination(s, q);
	if (who && word_of(s->row, "auth") != NULL) {
		q->user = bytes_of(s, s->row, "user");
		q->auth = q->user != NULL ? word_of(s->row, "auth") : NULL;
	}
	if (q->user != NULL && q->groups.count == 0)
		take_groups(s, q);
	if (q->command == NULL)
		q->command = word_of(s->row, "command");
	if (q->listener == NULL)
		q->listener = word_of(s->row, "listener");
	if (q->at == NULL)
		q->at = word_of(s->row, "decided");
	if (!q->version_given) {
		q->version = (long long)json_count(s->row, "version");
		q->version_given = true;
	}
}

/* The one with this identifier; false: told. */
static bool
find(struct live_session *s, const struct ctl_call *call, const char *id)
{
	struct control_request r = {.command = CONTROL_SESSIONS};
	struct live l;
	json_t *line;
	bool good;

	if (!control_set_string(&r, CONTROL_ID, id)) {
		ctl_fail(call, "that is no identifier of a session");
		return false;
	}
	if (!live_ask(&l, call, &r))
		return false;
	while ((line = live_next(&l, NULL)) != NULL && !live_over(line)) {
		json_decref(s->row);
		s->row = line;
	}
	good = line != NULL && live_verdict(&l, line) == CTL_YES;
	if (good)
		snprintf(s->policy, sizeof s->policy, "%s", json_text(line, "policy"));
	json_decref(line);
	live_close(&l);
	if (good && s->row == NULL)
		ctl_fail(call, "no session that is open has that identifier");
	return good && s->row != NULL;
}

bool
session_ask(struct live_session *s, const struct ctl_call *call, const char *id, struct inquiry *q)
{
	memset(s, 0, sizeof *s);
	if (!find(s, call, id))
		return false;
	fill(s, q);
	if (word_of(s->row, "command") == NULL) {
		ctl_fail(call, "the session has not said yet where it wants to go");
		return false;
	}
	if (q->to == NULL) {
		ctl_fail(call,
			 "an association is judged for each destination: say one with --to, as "
			 "'sallyctl sessions --destinations' shows them");
		return false;
	}
	return true;
}

void
session_put(const struct live_session *s, const struct inquiry *q, bool in_force,
	    struct buffer *out)
{
	buffer_putf(out, "session %s  from ", json_text(s->row, "session"));
	put_shown(out, q->from);
	buffer_puts(out, " to ");
	put_shown(out, q->to);
	buffer_puts(out, ", ");
	if (q->user != NULL) {
		buffer_puts(out, "user ");
		put_shown(out, q->user);
		buffer_putf(out, " (%s), ", q->auth);
	}
	buffer_putf(out, "%s, SOCKS%lld", q->command, q->version);
	if (q->listener != NULL)
		buffer_putf(out, ", listener %s", q->listener);
	if (json_text(s->row, "rule")[0] != '\0')
		buffer_putf(out, ", by rule %s when it began", json_text(s->row, "rule"));
	buffer_puts(out, "\n");
	if (s->groups.count > 0) {
		buffer_puts(out, "groups, as this machine knows them:");
		for (size_t i = 0; i < s->groups.count; i++) {
			buffer_puts(out, " ");
			put_shown(out, s->groups.list[i]);
		}
		buffer_puts(out, "\n");
	}
	if (!in_force)
		buffer_putf(out, "note: the policy in force at the server is another one (%s)\n",
			    s->policy);
	buffer_puts(out, "\n");
}

void
session_put_json(const struct live_session *s, bool in_force, struct buffer *out)
{
	char *text = json_dumps(s->row, JSON_COMPACT | JSON_ENSURE_ASCII);

	buffer_putf(out, ",\"in_force\":%s,\"session\":%s", in_force ? "true" : "false",
		    text != NULL ? text : "null");
	free(text);
}

void
session_free(struct live_session *s)
{
	for (size_t i = 0; i < s->owned_count; i++)
		free(s->owned[i]);
	for (size_t i = 0; i < s->groups.count; i++)
		free((char *)(uintptr_t)s->groups.list[i]);
	words_free(&s->groups);
	json_decref(s->row);
	memset(s, 0, sizeof *s);
}
