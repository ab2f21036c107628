/*
 * wire/ipc.c - see wire/ipc.h: the table of messages between our processes and the
 * check of a packet against it. Pure; run at both ends of every channel, since
 * the sender may be a process that an attacker has taken.
 */
#include "wire/ipc.h"

#include <string.h>

#include "base/form.h"

#define P (1 << ROLE_PARENT)
#define W (1 << ROLE_WORKER)
#define L (1 << ROLE_LEDGER)
#define C (1 << ROLE_COMPILE)
#define A (1 << ROLE_AUTHENTICATOR)
#define K (1 << ROLE_CONTROL)
#define F (1 << ROLE_FORWARDER)
#define N (1 << ROLE_NURSERY)
#define X (1 << ROLE_CHECKER)

#define EMPTY 0, 0
#define ONE(type) sizeof(struct type), sizeof(struct type)

/* word, from, to, body bytes min and max, descriptors min and max */
const struct ipc_rule ipc_table[IPC_TYPE_COUNT] = {
    [IPC_NONE] = {"none", 0, 0, EMPTY, 0, 0},
    [IPC_BOOKS] = {"books", P, W | L | K, ONE(ipc_books), 1, 2},
    [IPC_TALLY] = {"tally", P, W | L | K, EMPTY, 1, 2},
    [IPC_QUOTAS] = {"quotas", P, W | L, EMPTY, 1, 1},
    [IPC_LISTENERS] = {"listeners", P, W, offsetof(struct ipc_listeners, list),
		       sizeof(struct ipc_listeners), 0, IPC_MAX_FDS},
    [IPC_POLICY] = {"policy", P, W | L | A | K | F, ONE(ipc_policy), 2, 3},
    [IPC_START] = {"start", P, W, EMPTY, 0, 0},
    [IPC_DRAIN] = {"drain", P, W | L | A | K | F, ONE(ipc_drain), 0, 0},
    [IPC_LEAVE] = {"leave", P, W | K, ONE(ipc_leave), 0, 0},
    [IPC_WORKER_GONE] = {"worker-gone", P, L | K, ONE(ipc_worker_gone), 0, 0},
    [IPC_AUDIT_FILE] = {"audit-file", P, L, ONE(ipc_audit_file), 1, 1},
    [IPC_HITS_STORE] = {"hits-store", P, K, ONE(ipc_hits_store), 2, 2},
    [IPC_HITS] = {"hits", P, K, ONE(ipc_hits), 2, 2},
    [IPC_HITS_OVER] = {"hits-over", P, K, ONE(ipc_hits_id), 0, 0},
    [IPC_VITALS] = {"vitals", P, K, ONE(ipc_vitals), 3, 3},
    [IPC_COPY_PAGE] = {"copy-page", P, K, EMPTY, 1, 1},
    [IPC_COPY_STORE] = {"copy-store", P, F, ONE(ipc_copy_store), 3, 3},
    [IPC_COPY_FILE] = {"copy-file", P, F, ONE(ipc_copy_file), 1, 2},
    [IPC_COPY_DONE] = {"copy-done", F, P, ONE(ipc_copy_done), 0, 0},
    [IPC_HITS_ADDED] = {"hits-added", K, P, ONE(ipc_hits_id), 0, 0},
    [IPC_AUTH_CHANNEL] = {"auth-channel", P, W | A, ONE(ipc_books), 1, 1},
    [IPC_AUTH_ASK] = {"auth-ask", W, A, sizeof(struct ipc_auth_ask),
		      sizeof(struct ipc_auth_ask) + IPC_MAX_USER + IPC_MAX_SECRET + IPC_MAX_TOKEN,
		      0, 0},
    [IPC_AUTH_FORGET] = {"auth-forget", W, A, ONE(ipc_auth_forget), 0, 0},
    [IPC_AUTH_ANSWER] = {"auth-answer", A, W, sizeof(struct ipc_auth_answer), IPC_MAX_BODY, 0, 0},
    [IPC_NURSERY_POLICY] = {"nursery-policy", A, N, ONE(ipc_policy), 2, 2},
    [IPC_CHECKER_WANTED] = {"checker-wanted", A, N, ONE(ipc_checker), 0, 0},
    [IPC_CHECKER_END] = {"checker-end", A, N, ONE(ipc_checker), 0, 0},
    [IPC_CHECKER] = {"checker", N, A, ONE(ipc_checker), 1, 1},
    [IPC_CHECKER_GONE] = {"checker-gone", N, A, ONE(ipc_checker), 0, 0},
    [IPC_SECRETS] = {"secrets", N, A, ONE(ipc_secrets), 0, 1},
    [IPC_CHECK] = {"check", A, X, sizeof(struct ipc_auth_ask),
		   sizeof(struct ipc_auth_ask) + IPC_MAX_USER + IPC_MAX_SECRET + IPC_MAX_TOKEN, 0,
		   0},
    [IPC_CHECKED] = {"checked", X, A, sizeof(struct ipc_auth_answer), IPC_MAX_BODY, 0, 0},
    [IPC_DOOR] = {"door", P, K, ONE(ipc_door), 1, 1},
    [IPC_ORDER] = {"order", K, P, ONE(ipc_order), 0, 0},
    [IPC_ANSWER_TEXT] = {"answer-text", P, K, sizeof(struct ipc_answer_text) + 1,
			 sizeof(struct ipc_answer_text) + IPC_MAX_TEXT, 0, 0},
    [IPC_ANSWER] = {"answer", P, K, ONE(ipc_answer), 0, 0},
    [IPC_PROCESSES] = {"processes", P, K, offsetof(struct ipc_processes, list),
		       sizeof(struct ipc_processes), 0, 0},
    [IPC_KILL] = {"kill", P, W, ONE(ipc_kill), 0, 0},
    [IPC_KILLED] = {"killed", W, P, ONE(ipc_killed), 0, 0},
    [IPC_PREVIEW] = {"preview", P, W, ONE(ipc_preview), 2, 2},
    [IPC_PREVIEWED] = {"previewed", W, P, ONE(ipc_killed), 0, 0},
    [IPC_NOTE] = {"note", P, L, ONE(ipc_note), 0, 0},
    [IPC_READY] = {"ready", W | L | A | K | F, P, EMPTY, 0, 0},
    [IPC_POLICY_TAKEN] = {"policy-taken", W | L | K | F, P, ONE(ipc_policy_taken), 0, 0},
    [IPC_AUDIT_STATE] = {"audit-state", L, P, ONE(ipc_audit_state), 0, 0},
    [IPC_AUDIT_ROTATE] = {"audit-rotate", L, P, EMPTY, 0, 0},
    [IPC_AUDIT_TAKEN] = {"audit-taken", L, P, EMPTY, 0, 0},
    [IPC_POLICY_OVER] = {"policy-over", L, P, ONE(ipc_policy), 0, 0},
    [IPC_BOOKS_CLOSED] = {"books-closed", L, P, ONE(ipc_books), 0, 0},
    [IPC_COMPILED] = {"compiled", C, P, ONE(ipc_compiled), 0, 2},
    [IPC_PROBLEMS] = {"problems", C, P, 1, IPC_MAX_TEXT, 0, 0},
    [IPC_PROBLEMS_JSON] = {"problems-json", C, P, 1, IPC_MAX_TEXT, 0, 0},
};

uint64_t
ipc_form(void)
{
	uint64_t form = form_add(FORM_BEGIN, IPC_FORM);

	form = form_add(form, ROLE_COUNT);
	form = form_add(form, sizeof(struct ipc_head));
	for (int i = 0; i < IPC_TYPE_COUNT; i++) {
		const struct ipc_rule *r = &ipc_table[i];

		form = form_add_text(form, r->word);
		form = form_add(form, (uint64_t)r->from << 8 | r->to);
		form = form_add(form, (uint64_t)r->min << 32 | r->max);
		form = form_add(form, (uint64_t)r->min_fds << 8 | r->max_fds);
	}
	return form;
}

size_t
ipc_listeners_length(uint32_t count)
{
	return offsetof(struct ipc_listeners, list) + (size_t)count * sizeof(struct ipc_listener);
}

size_t
ipc_processes_length(uint32_t count)
{
	return offsetof(struct ipc_processes, list) + (size_t)count * sizeof(struct ipc_process);
}

static bool
listeners_fit(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	uint32_t count;

	(void)to;
	memcpy(&count, (const char *)body + offsetof(struct ipc_listeners, count), sizeof count);
	return count <= IPC_MAX_FDS && len == ipc_listeners_length(count) && fds == count;
}

static bool
compiled_fit(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	(void)body;
	(void)len;
	(void)to;
	return fds == 0 || fds == 2; /* settings and policy, or neither */
}

static bool
tally_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	(void)body;
	(void)len;
	return fds == (to == ROLE_LEDGER ? 2 : 1); /* the ledger's has its desk, too */
}

static bool
policy_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	(void)body;
	(void)len;
	return fds == (to == ROLE_WORKER ? 3 : 2); /* a worker's has its counters, too */
}

static bool
books_fit(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	(void)body;
	(void)len;
	return fds == (to == ROLE_CONTROL ? 1 : 2); /* control rings no bell */
}

#define ENDED(body, type, member)                                                                  \
	(memchr((const char *)(body) + offsetof(type, member), 0, sizeof((type *)0)->member) !=    \
	 NULL)

static bool
kill_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	const struct ipc_kill *at = body;
	uint32_t by, count;

	(void)len;
	(void)fds;
	(void)to;
	memcpy(&by, &at->by, sizeof by);
	memcpy(&count, &at->rule_count, sizeof count);
	return by >= KILL_ID && by <= KILL_RULE && count <= IPC_KILL_RULES &&
	       ENDED(body, struct ipc_kill, id) && ENDED(body, struct ipc_kill, user);
}

static bool
order_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	const struct ipc_order *at = body;
	uint32_t what;

	memcpy(&what, &at->what, sizeof what);
	return what >= ORDER_STATUS && what <= ORDER_NOTE && ENDED(body, struct ipc_order, who) &&
	       ENDED(body, struct ipc_order, words) && ENDED(body, struct ipc_order, why) &&
	       (what != ORDER_KILL || kill_fits(&at->kill, len, fds, to));
}

static bool
told_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	(void)len;
	(void)fds;
	(void)to;
	return ENDED(body, struct ipc_answer, why);
}

static bool
processes_fit(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	uint32_t count;

	(void)fds;
	(void)to;
	memcpy(&count, (const char *)body + offsetof(struct ipc_processes, count), sizeof count);
	return count <= IPC_PROCESSES_MAX && len == ipc_processes_length(count);
}

static bool
note_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	struct ipc_note note;

	(void)len;
	(void)fds;
	(void)to;
	memcpy(&note, body, sizeof note);
	return note.kind <= NOTE_REFUSED && note.reserved == 0 &&
	       ENDED(body, struct ipc_note, who) && ENDED(body, struct ipc_note, text);
}

static bool
ask_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	struct ipc_auth_ask ask;

	(void)fds;
	(void)to;
	memcpy(&ask, body, sizeof ask);
	return ask.kind >= ASK_PASSWORD && ask.kind <= ASK_GROUPS && ask.user_len <= IPC_MAX_USER &&
	       ask.secret_len <= IPC_MAX_SECRET && ask.token_len <= IPC_MAX_TOKEN &&
	       len == sizeof ask + ask.user_len + ask.secret_len + ask.token_len;
}

/* Names of at least one byte, each ended by NUL. */
static bool
groups_fit(const char *at, size_t len, uint32_t count)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < len; i++)
		if (at[i] == 0) {
			if (i == 0 || at[i - 1] == 0)
				return false;
			seen++;
		}
	return seen == count && (len == 0 || at[len - 1] == 0);
}

static bool
answer_fits(const void *body, size_t len, unsigned fds, enum ipc_role to)
{
	struct ipc_auth_answer a;

	(void)fds;
	(void)to;
	memcpy(&a, body, sizeof a);
	return a.result >= ANSWER_OK && a.result <= ANSWER_MORE && a.user_len <= IPC_MAX_USER &&
	       a.groups_len <= IPC_MAX_GROUPS && a.token_len <= IPC_MAX_TOKEN &&
	       a.exported_len <= IPC_MAX_TOKEN &&
	       len == sizeof a + a.user_len + a.groups_len + a.token_len + a.exported_len &&
	       groups_fit((const char *)body + sizeof a + a.user_len, a.groups_len, a.group_count);
}

/* What bounds alone cannot say. */
static bool (*const fits[IPC_TYPE_COUNT])(const void *body, size_t len, unsigned fds,
					  enum ipc_role to) = {
    [IPC_BOOKS] = books_fit,       [IPC_TALLY] = tally_fits,        [IPC_POLICY] = policy_fits,
    [IPC_ORDER] = order_fits,      [IPC_KILL] = kill_fits,          [IPC_PROCESSES] = processes_fit,
    [IPC_NOTE] = note_fits,        [IPC_AUTH_ASK] = ask_fits,       [IPC_CHECK] = ask_fits,
    [IPC_CHECKED] = answer_fits,   [IPC_AUTH_ANSWER] = answer_fits, [IPC_LISTENERS] = listeners_fit,
    [IPC_COMPILED] = compiled_fit, [IPC_ANSWER] = told_fits,
};

bool
ipc_legal(enum ipc_type type, const void *body, size_t len, unsigned fds, enum ipc_role from,
	  enum ipc_role to)
{
	const struct ipc_rule *rule;

	if ((unsigned)type >= IPC_TYPE_COUNT || (unsigned)from >= ROLE_COUNT ||
	    (unsigned)to >= ROLE_COUNT)
		return false;
	rule = &ipc_table[type];
	if (!(rule->from >> from & 1) || !(rule->to >> to & 1))
		return false;
	if (len < rule->min || len > rule->max || fds < rule->min_fds || fds > rule->max_fds)
		return false;
	return fits[type] == NULL || fits[type](body, len, fds, to);
}

bool
ipc_check(const void *packet, size_t len, unsigned fds, enum ipc_role from, enum ipc_role to,
	  enum ipc_type *type, const void **body, size_t *body_len)
{
	struct ipc_head head;
	const void *inside;

	if (len < sizeof head)
		return false;
	memcpy(&head, packet, sizeof head);
	if (head.reserved != 0 || head.length != len - sizeof head)
		return false;
	inside = (const char *)packet + sizeof head;
	if (!ipc_legal((enum ipc_type)head.type, inside, head.length, fds, from, to))
		return false;
	*type = (enum ipc_type)head.type;
	*body = inside;
	*body_len = head.length;
	return true;
}
