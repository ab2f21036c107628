/*
 * daemon/checker.c - see daemon/checker.h. Blocks, in what it asks; ends when the authenticator
 * closes the channel. Every question and its secret are wiped when it has been answered.
 */
#include "config.h"

#include "checker.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/log.h"
#include "base/text.h"
#include "channel.h"

#define GROUPS_MOST 1024 /* that a policy names */

static struct {
	const struct settings *settings;
	const struct policy *policy;
	const char *groups[GROUPS_MOST];
	size_t group_count; /* may be more than GROUPS_MOST: then they are undetermined */
} checker;

struct question {
	struct ipc_auth_ask ask;
	char user[IPC_MAX_USER + 1], token[IPC_MAX_SECRET * 2 + 1];
	struct secret secret;
};
struct answer {
	struct ipc_auth_answer head;
	char groups[IPC_MAX_GROUPS];
};

static const uint32_t results[] = {
    [AUTH_GOOD] = ANSWER_OK,
    [AUTH_REFUSED] = ANSWER_REFUSED,
    [AUTH_UNAVAILABLE] = ANSWER_UNAVAILABLE,
};

static void
check_by_file(struct question *q, struct answer *a)
{
	const char *hash = q->ask.token_len > 0 ? q->token : check_file_dummy();
	enum auth_verdict v = check_file(hash, &q->secret);

	a->head.result = results[v];
	a->head.reason = v == AUTH_GOOD      ? REASONED_NOTHING
			 : v == AUTH_REFUSED ? REASONED_WRONG_SECRET
					     : REASONED_BROKEN;
}

static void
check_by_pam(struct question *q, struct answer *a)
{
	static const uint32_t reasons[] = {
	    [WHY_NOTHING] = REASONED_NOTHING,
	    [WHY_UNKNOWN_USER] = REASONED_UNKNOWN_USER,
	    [WHY_WRONG_SECRET] = REASONED_WRONG_SECRET,
	    [WHY_ACCOUNT] = REASONED_ACCOUNT,
	    [WHY_BROKEN] = REASONED_BROKEN,
	};
	const char *service = checker.settings->auth.pam_service, *what;
	enum auth_why why;
	enum auth_verdict v =
	    check_pam(service, q->user, &q->secret, &q->ask.client.addr, &why, &what);

	if (v == AUTH_UNAVAILABLE)
		log_error("PAM service '%s' cannot check: %s", service, what);
	a->head.result = results[v];
	a->head.reason = reasons[why];
}

static void
check_groups(struct question *q, struct answer *a)
{
	static bool member[GROUPS_MOST];
	size_t n = checker.group_count;
	struct text t;

	a->head.result = ANSWER_OK;
	if (n > GROUPS_MOST || !groups_look_up(q->user, checker.groups, n, member)) {
		a->head.groups_failed = 1;
		return;
	}
	text_init(&t, a->groups, sizeof a->groups);
	for (size_t i = 0; i < n; i++)
		if (member[i]) {
			text_put_bytes(&t, checker.groups[i], strlen(checker.groups[i]) + 1);
			a->head.group_count++;
		}
	if (t.cut) {
		a->head.group_count = 0;
		a->head.groups_failed = 1;
		return;
	}
	a->head.groups_len = (uint32_t)t.len;
}

static bool
rights_of_account(const struct account *a)
{
	return privileges_drop(a);
}

static bool
rights_for_pam(const struct account *a)
{
	(void)a;
	return privileges_pam();
}

static const struct kind {
	const char *word;
	bool (*rights)(const struct account *a);
	void (*check)(struct question *q, struct answer *a);
} kinds[CHECKER_KINDS] = {
    [CHECKER_FILE] = {"file", rights_of_account, check_by_file},
    [CHECKER_PAM] = {"pam", rights_for_pam, check_by_pam},
    [CHECKER_GROUPS] = {"groups", rights_of_account, check_groups},
};

const char *
checker_word(enum checker_kind kind)
{
	return kinds[kind].word;
}

/* False: it is not for us. */
static bool
read_question(const struct message *m, struct question *q)
{
	const char *at = (const char *)m->body + sizeof q->ask;

	memcpy(&q->ask, m->body, sizeof q->ask);
	if (q->ask.token_len >= sizeof q->token || q->ask.user_len > IPC_MAX_USER)
		return false;
	memcpy(q->user, at, q->ask.user_len);
	q->user[q->ask.user_len] = '\0';
	at += q->ask.user_len;
	if (!secret_set(&q->secret, at, q->ask.secret_len))
		return false;
	memcpy(q->token, at + q->ask.secret_len, q->ask.token_len);
	q->token[q->ask.token_len] = '\0';
	return true;
}

static bool
serve(const struct channel *c, const struct kind *kind)
{
	static struct message m;
	static struct question q;
	static struct answer a;
	int got = channel_receive(c, &m);
	bool good;

	if (got != 1)
		return false;
	memset(&a.head, 0, sizeof a.head);
	good = m.type == IPC_CHECK && read_question(&m, &q);
	secret_wipe_bytes(m.packet, sizeof(struct ipc_head) + m.len);
	if (good) {
		a.head.ticket = q.ask.ticket;
		kind->check(&q, &a);
		good = channel_send(c, IPC_CHECKED, &a, sizeof a.head + a.head.groups_len, NULL, 0);
	}
	secret_wipe_bytes(&q, sizeof q);
	return good;
}

int
checker_run(int fd, enum checker_kind kind, const struct account *a, const struct settings *s,
	    const struct policy *p)
{
	struct channel c = {fd, ROLE_CHECKER, ROLE_AUTHENTICATOR};

	checker.settings = s;
	checker.policy = p;
	checker.group_count = policy_unix_groups(p, checker.groups, GROUPS_MOST);
	if (!kinds[kind].rights(a))
		return 1;
	if (kind == CHECKER_FILE)
		check_file_dummy(); /* its cost is not to be paid by the first who is unknown */
	while (serve(&c, &kinds[kind]))
		;
	return 0;
}
