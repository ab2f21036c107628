/*
 * daemon/sweep.c - see daemon/sweep.h. The worker; never blocks.
 */
#include "sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "compile.h"
#include "walk/session.h"

#define BATCH 256 /* sessions a round, as after a reload */

struct job {
	struct sweep sweep;
	const struct channel *to;
	enum ipc_type answer;
	struct ipc_killed result;
	struct ipc_kill kill;
	/* of a preview */
	struct policy *policy;
	void *image;
	size_t image_len;
	/* What is to be done with a session. */
	void (*look)(struct job *, struct session *);
};

static void
finish(struct job *j)
{
	if (!channel_send(j->to, j->answer, &j->result, sizeof j->result, NULL, 0))
		log_warning("cannot answer the parent: %s", strerror(errno));
	if (j->policy != NULL)
		policy_close(j->policy);
	if (j->image != NULL)
		munmap(j->image, j->image_len);
	loop_free_later(j);
}

static void
go_on(struct turn *t)
{
	struct job *j = (struct job *)((char *)t - offsetof(struct job, sweep.turn));
	struct session *s;

	for (int i = 0; i < BATCH && (s = j->sweep.at) != NULL; i++) {
		j->sweep.at = s->next;
		if (s->card != NULL) /* else it is only being let go */
			j->look(j, s);
	}
	if (j->sweep.at != NULL) {
		turn_ask(t, go_on);
		return;
	}
	sweep_leave(&j->sweep);
	finish(j);
}

static void
begin(struct job *j)
{
	sweep_enter(&j->sweep);
	turn_ask(&j->sweep.turn, go_on);
}

/* ---- killing ------------------------------------------------------------------------------- */

static bool
by_id(const struct ipc_kill *k, const struct card *c)
{
	char id[BOOKS_ID];

	books_id(walk.books, c, id);
	return strcmp(id, k->id) == 0;
}

static bool
by_user(const struct ipc_kill *k, const struct card *c)
{
	char user[256];
	size_t len = card_string(walk.books, c, CARD_USER, user);

	return len > 0 && len == strlen(k->user) && memcmp(user, k->user, len) == 0;
}

static bool
by_rule(const struct ipc_kill *k, const struct card *c)
{
	for (uint32_t i = 0; i < k->rule_count && i < IPC_KILL_RULES; i++)
		if (k->rules[i].generation == c->policy && k->rules[i].rule == c->rule)
			return true;
	return false;
}

static void
kill_one(struct job *j, struct session *s)
{
	static bool (*const match[])(const struct ipc_kill *, const struct card *) = {
	    [KILL_ID] = by_id, [KILL_USER] = by_user, [KILL_RULE] = by_rule};

	if (!match[j->kill.by](&j->kill, s->card))
		return;
	j->result.sessions++;
	session_stop(s, END_KILLED);
}

static struct job *
job_new(const struct channel *to, enum ipc_type answer, uint64_t ticket)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		struct ipc_killed none = {.ticket = ticket};

		channel_send(to, answer, &none, sizeof none, NULL, 0);
		return NULL;
	}
	j->to = to;
	j->answer = answer;
	j->result.ticket = ticket;
	return j;
}

void
sweep_kill(const struct channel *to, const struct ipc_kill *kill)
{
	struct job *j = job_new(to, IPC_KILLED, kill->ticket);

	if (j == NULL)
		return;
	j->kill = *kill;
	j->look = kill_one;
	begin(j);
}

/* ---- what another policy would end --------------------------------------------------------- */

#define ON_REVOKE_KEEP 1 /* as struct session has it */

/* As after a reload, but nothing is written down; one that would end later (on-revoke = drain)
 * counts, too. */
static void
judge_one(struct job *j, struct session *s)
{
	char name[NAME_MAX_LEN + 1];
	struct rules_answer answer;
	struct rules_facts f;

	if (s->stage != AT_RELAY || s->on_revoke == ON_REVOKE_KEEP)
		return;
	decide_facts(s, &f, name);
	f.listener = policy_listener(j->policy, walk.settings->listeners[s->card->listener].name);
	rules_evaluate(j->policy, &f, &answer);
	j->result.sessions += answer.verdict != RULES_PERMIT;
}

void
sweep_preview(const struct channel *to, const struct message *m)
{
	const struct ipc_preview *body = m->body;
	struct job *j = job_new(to, IPC_PREVIEWED, body->ticket);

	if (j == NULL)
		return;
	j->image = image_map(m->fds[1], &j->image_len);
	if (j->image == NULL || (j->policy = policy_open_sealed(j->image, j->image_len)) == NULL) {
		finish(j);
		return;
	}
	j->look = judge_one;
	begin(j);
}
