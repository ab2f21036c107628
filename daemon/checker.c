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
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "channel.h"
#include "sandbox.h"

#define GROUPS_MOST 1024 /* that a policy names */

static struct {
	const struct settings *settings;
	const struct policy *policy;
	const char *groups[GROUPS_MOST];
	size_t group_count; /* may be more than GROUPS_MOST: then they are undetermined */
	const void *keytab;
	size_t keytab_len;
} checker;

struct question {
	struct ipc_auth_ask ask;
	char user[IPC_MAX_USER + 1], token[IPC_MAX_TOKEN + 1];
	struct secret secret;
};
struct answer {
	struct ipc_auth_answer head;
	char behind[IPC_MAX_USER + IPC_MAX_TOKEN + sizeof(struct gss_context)];
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
	text_init(&t, a->behind, IPC_MAX_GROUPS);
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

/* Behind the head stand the user, the token and what was made. */
static void
put_said(const struct gssapi_said *said, struct answer *a)
{
	char *at = a->behind;

	memcpy(at, said->user, said->user_len);
	at += said->user_len;
	if (said->token_len > 0)
		memcpy(at, said->token, said->token_len);
	at += said->token_len;
	a->head.user_len = (uint32_t)said->user_len;
	a->head.token_len = (uint32_t)said->token_len;
	a->head.context = said->context;
	if (said->more) {
		a->head.result = ANSWER_MORE;
		return;
	}
	memcpy(at, &said->made, sizeof said->made);
	a->head.exported_len = sizeof said->made;
}

static void
check_by_gssapi(struct question *q, struct answer *a)
{
	static struct gssapi_said said;
	const char *what;
	enum auth_why why;
	int64_t now = clock_mono_ns() / NS_PER_MS;
	enum auth_verdict v =
	    check_gssapi(q->ask.context, q->token, q->ask.token_len, now,
			 now + checker.settings->timeouts.handshake, &said, &why, &what);

	a->head.result = results[v];
	a->head.reason = v == AUTH_GOOD      ? REASONED_NOTHING
			 : why == WHY_TICKET ? REASONED_TICKET
					     : REASONED_BROKEN;
	if (v == AUTH_UNAVAILABLE)
		log_error("GSSAPI cannot check: %s", what);
	else if (v == AUTH_REFUSED)
		log_notice("GSSAPI refuses: %s", what);
	else if (said.token_len > IPC_MAX_TOKEN)
		a->head.result = ANSWER_UNAVAILABLE;
	else
		put_said(&said, a);
	secret_wipe_bytes(&said.made, sizeof said.made);
}

static bool
begin_gssapi(void)
{
	const char *what;

	if (gssapi_begin(checker.keytab, checker.keytab_len, checker.settings->auth.gssapi_service,
			 &what))
		return true;
	log_error("GSSAPI cannot begin with the keytab: %s", what);
	return false;
}

/* Its cost is not to be paid by the first who is unknown. */
static bool
begin_file(void)
{
	check_file_dummy();
	return true;
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
	bool (*begin)(void); /* with these rights; NULL: nothing to do */
	void (*check)(struct question *q, struct answer *a);
	enum sandbox_profile profile;
} kinds[CHECKER_KINDS] = {
    [CHECKER_FILE] = {"file", rights_of_account, begin_file, check_by_file, SANDBOX_CHECKER_FILE},
    [CHECKER_PAM] = {"pam", rights_for_pam, NULL, check_by_pam, SANDBOX_CHECKER_PAM},
    [CHECKER_GROUPS] = {"groups", rights_of_account, NULL, check_groups, SANDBOX_CHECKER_GROUPS},
    [CHECKER_GSSAPI] = {"gssapi", rights_of_account, begin_gssapi, check_by_gssapi, SANDBOX_CHECKER_GSSAPI},
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
	size_t n;

	if (got != 1)
		return false;
	memset(&a.head, 0, sizeof a.head);
	good = m.type == IPC_CHECK && read_question(&m, &q);
	secret_wipe_bytes(m.packet, sizeof(struct ipc_head) + m.len);
	if (good) {
		a.head.ticket = q.ask.ticket;
		kind->check(&q, &a);
		n = sizeof a.head + a.head.user_len + a.head.groups_len + a.head.token_len +
		    a.head.exported_len;
		good = channel_send(c, IPC_CHECKED, &a, n, NULL, 0);
		secret_wipe_bytes(&a, n);
	}
	secret_wipe_bytes(&q, offsetof(struct question, token) + q.ask.token_len);
	secret_wipe(&q.secret);
	return good;
}

void
checker_keytab(const void *bytes, size_t len)
{
	checker.keytab = bytes;
	checker.keytab_len = len;
}

int
checker_run(int fd, enum checker_kind kind, const struct account *a, const struct settings *s,
	    const struct policy *p)
{
	struct channel c = {fd, ROLE_CHECKER, ROLE_AUTHENTICATOR};

	checker.settings = s;
	checker.policy = p;
	checker.group_count = policy_unix_groups(p, checker.groups, GROUPS_MOST);
	if (!kinds[kind].rights(a) || !sandbox_enter(kinds[kind].profile))
		return 1;
	if (kinds[kind].begin != NULL && !kinds[kind].begin())
		return 1;
	while (serve(&c, &kinds[kind]))
		;
	return 0;
}
