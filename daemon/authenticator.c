/*
 * daemon/authenticator.c - see daemon/authenticator.h. The front: one loop over poll, unprivileged,
 * opens no file and never blocks.
 *
 * A question goes through the ways of checking that its session accepts (file, then PAM), then to
 * the Unix groups if the policy names any. Every way has its own queue and its own pool, so one
 * that hangs delays no other; no user and no source may hold more than half of a pool. Everything
 * that is refused, for whatever reason, is answered alike and not before auth.failure-delay.
 */
#include "config.h"

#include "authenticator.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/auth.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "channel.h"
#include "compile.h"
#include "pool.h"
#include "rules/rules.h"
#include "settings/users.h"

#define WORKERS_MAX 64
#define AT_ONCE 64      /* messages of one worker in a round */
#define HELD_MOST 65536 /* answers that wait for their time */
#define STUCK_MS 20     /* until an answer that a worker could not take is tried again */
#define PROBLEMS_TOLD 10
#define UNFINISHED_MOST 1024 /* contexts of GSSAPI that wait for their client */
#define LEAVE_MS 3000        /* for the nursery to end with all it has */

struct ask {
	TAILQ_ENTRY(ask) next;
	struct ipc_auth_ask of; /* as the worker sent it */
	unsigned worker;
	uint32_t serial; /* of the worker's channel */
	int64_t arrived_ms, deadline_ms;
	enum checker_kind kind; /* the queue that it waits in */
	uint32_t left;          /* AUTH_ bits of the ways not yet tried */
	uint32_t proven_by;
	uint32_t reason; /* why the last way refused */
	bool refused;    /* some way did */
	bool nobody;     /* of the file: the hash that is checked is not this user's */
	bool gone;       /* nobody waits for the answer any more */
	void *token;     /* the client's (GSSAPI), then what it is answered: token and exported */
	uint32_t token_len, exported_len;
	struct pool_who who; /* has its context; life 0: it is new */
	char user[IPC_MAX_USER + 1];
	struct secret secret;
	char hash[IPC_MAX_SECRET * 2 + 1];
};
TAILQ_HEAD(queue, ask);

/* An answer that waits for its time, or for a worker that cannot take it. */
struct held {
	int64_t at_ms;
	unsigned worker;
	uint32_t serial;
	size_t len;
	void *body; /* struct ipc_auth_answer and its bytes */
};

static struct {
	struct channel up, nursery;
	const struct settings *settings;
	struct policy *policy;
	void *image;
	size_t image_len;
	uint32_t generation, serial;
	bool groups_named, ready, over;
	struct {
		struct channel channel; /* fd -1: none */
		uint32_t serial;
	} workers[WORKERS_MAX];
	struct queue queues[CHECKER_KINDS];
	unsigned waiting[CHECKER_KINDS];
	struct held *held; /* a heap, the next one first */
	size_t held_count, held_room;
	struct unfinished {
		uint32_t context, inner; /* what the worker knows it by, and its checker; 0: free */
		unsigned worker;
		uint32_t serial;
		struct pool_who who;
		int64_t until_ms;
	} unfinished[UNFINISHED_MOST];
	uint32_t last_context;
	struct users users[SECRETS_COUNT];
	bool usable[SECRETS_COUNT]; /* users[] holds what was taken last */
	bool awaited[SECRETS_COUNT];
	uint64_t seed;
	struct lockout *lockout;
	struct remembered *remembered;
} front;

static int nursery_fd = -1;

static int64_t
now_ms(void)
{
	return clock_mono_ns() / NS_PER_MS;
}

bool
authenticator_wanted(const struct settings *s)
{
	return s->auth.pam_service[0] != '\0' || s->auth.file_path[0] != '\0' ||
	       s->auth.gssapi_keytab[0] != '\0' || s->auth.chap_path[0] != '\0' ||
	       s->auth.groups_named;
}

bool
authenticator_prepare(int channel, const struct account *a)
{
	nursery_fd = nursery_start(channel, a);
	return nursery_fd != -1;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void
held_sink(size_t i)
{
	struct held moved = front.held[i];

	for (size_t child; (child = 2 * i + 1) < front.held_count; i = child) {
		if (child + 1 < front.held_count &&
		    front.held[child + 1].at_ms < front.held[child].at_ms)
			child++;
		if (moved.at_ms <= front.held[child].at_ms)
			break;
		front.held[i] = front.held[child];
	}
	front.held[i] = moved;
}

static void
held_rise(size_t i)
{
	struct held moved = front.held[i];

	for (; i > 0 && moved.at_ms < front.held[(i - 1) / 2].at_ms; i = (i - 1) / 2)
		front.held[i] = front.held[(i - 1) / 2];
	front.held[i] = moved;
}

/* False: no room; the answer is still the caller's. */
static bool
hold(const struct held *h)
{
	if (front.held_count == front.held_room) {
		size_t room = front.held_room == 0 ? 256 : front.held_room * 2;
		struct held *more;

		if (room > HELD_MOST ||
		    (more = reallocarray(front.held, room, sizeof *more)) == NULL)
			return false;
		front.held = more;
		front.held_room = room;
	}
	front.held[front.held_count] = *h;
	held_rise(front.held_count++);
	return true;
}

/* True: it is over, sent or not. */
static bool
deliver(const struct held *h)
{
	if (front.workers[h->worker].serial != h->serial ||
	    front.workers[h->worker].channel.fd == -1)
		return true;
	if (channel_send(&front.workers[h->worker].channel, IPC_AUTH_ANSWER, h->body, h->len, NULL,
			 0))
		return true;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)
		return false;
	if (errno != EPIPE && errno != ECONNRESET)
		log_error("cannot answer worker %u: %s", h->worker, strerror(errno));
	return true;
}

/* Returns when the next is due, or 0. */
static int64_t
deliver_due(int64_t now)
{
	while (front.held_count > 0 && front.held[0].at_ms <= now) {
		struct held h = front.held[0];

		front.held[0] = front.held[--front.held_count];
		if (front.held_count > 0)
			held_sink(0);
		if (!deliver(&h)) {
			h.at_ms = now + STUCK_MS;
			if (hold(&h))
				continue;
		}
		free(h.body);
	}
	return front.held_count > 0 ? front.held[0].at_ms : 0;
}

static void
answer(const struct ask *a, struct ipc_auth_answer *head, const char *groups, int64_t at_ms)
{
	struct held h = {.at_ms = at_ms, .worker = a->worker, .serial = a->serial};
	unsigned char *body;

	if (a->gone)
		return;
	head->ticket = a->of.ticket;
	head->user_len = a->of.user_len;
	head->token_len = a->token_len;
	head->exported_len = a->exported_len;
	h.len =
	    sizeof *head + head->user_len + head->groups_len + head->token_len + head->exported_len;
	h.body = body = malloc(h.len);
	if (body == NULL)
		return;
	memcpy(body, head, sizeof *head);
	memcpy(body + sizeof *head, a->user, a->of.user_len);
	if (head->groups_len > 0)
		memcpy(body + sizeof *head + head->user_len, groups, head->groups_len);
	if (head->token_len + head->exported_len > 0)
		memcpy(body + sizeof *head + head->user_len + head->groups_len, a->token,
		       (size_t)head->token_len + head->exported_len);
	if ((at_ms <= now_ms() && deliver(&h)) || !hold(&h)) {
		if (at_ms > now_ms()) /* no more can be held back: at once */
			deliver(&h);
		free(h.body);
	}
}

static void
drop_token(struct ask *a)
{
	if (a->token != NULL)
		secret_wipe_bytes(a->token, (size_t)a->token_len + a->exported_len);
	free(a->token);
	a->token = NULL;
	a->token_len = a->exported_len = 0;
}

/* In place of what was there. False: no memory. */
static bool
set_token(struct ask *a, const void *bytes, uint32_t token_len, uint32_t exported_len)
{
	drop_token(a);
	a->token = malloc((size_t)token_len + exported_len + 1);
	if (a->token == NULL)
		return false;
	memcpy(a->token, bytes, (size_t)token_len + exported_len);
	a->token_len = token_len;
	a->exported_len = exported_len;
	return true;
}

static void
ask_free(struct ask *a)
{
	drop_token(a);
	secret_wipe_bytes(a, sizeof *a);
	free(a);
}

/* ---- verdicts ----------------------------------------------------------------------------- */

static struct addr
source_of(const struct ask *a)
{
	const struct settings *s = front.settings;
	const struct addr *c = &a->of.client.addr;

	return addr_mask(c, addr_is4(c) ? 96u + s->limits.source_prefix4
					: (unsigned)s->limits.source_prefix6);
}

static struct lockout_bounds
bounds(void)
{
	const struct settings *s = front.settings;

	return (struct lockout_bounds){s->auth.lockout.failures, s->auth.lockout.source_failures,
				       s->auth.lockout.within_ms, s->auth.lockout.for_ms};
}

static struct lockout_state
look(const struct ask *a)
{
	struct lockout_bounds b = bounds();
	struct addr source = source_of(a);

	if (a->of.kind ==
	    ASK_GSSAPI) /* who it is is not known, or proven: only the source counts */
		b.user_failures = 0;
	return lockout_look(front.lockout, &b, a->user, a->of.user_len, &source, now_ms());
}

/* When a refusal may be told: the delay, and longer the nearer to a lock. */
static int64_t
told_at(const struct ask *a, unsigned step)
{
	return a->arrived_ms + ((int64_t)front.settings->auth.failure_delay_ms << step);
}

static const char *const reason_words[REASONED_COUNT] = {
    [REASONED_NOTHING] = "",
    [REASONED_UNKNOWN_USER] = "unknown user",
    [REASONED_WRONG_SECRET] = "wrong password",
    [REASONED_ACCOUNT] = "the account may not be used",
    [REASONED_LOCKED_OUT] = "locked out",
    [REASONED_BAD_NAME] = "not a name",
    [REASONED_NOT_CONFIGURED] = "not configured",
    [REASONED_BUSY] = "busy",
    [REASONED_TIMEOUT] = "no answer in time",
    [REASONED_BROKEN] = "the check failed",
    [REASONED_TICKET] = "the ticket is not accepted",
};

/*
 * etc/fail2ban reads these lines: their words are a contract. Not through log_warning, which drops
 * what one place says too often: a flood is what they are for, and a source that fails is soon
 * locked out.
 */
static void
tell_failure(const struct ask *a, bool locked)
{
	char line[2048], from[ADDR_TEXT];
	struct text t;

	addr_format(&a->of.client.addr, from);
	text_init(&t, line, sizeof line);
	text_put(&t, "authentication failure for user ");
	text_put_quoted(&t, a->user, a->of.user_len, IPC_MAX_USER);
	text_putf(&t, " from '%s': %s", from, reason_words[a->reason]);
	if (locked)
		text_put(&t, ", locked out from now on");
	log_write(&(struct log_site){0}, LOGLEVEL_WARNING, "%s", t.p);
}

static void
refuse(struct ask *a, uint32_t reason)
{
	struct ipc_auth_answer head = {.result = ANSWER_REFUSED, .reason = reason};
	struct lockout_state state;

	a->reason = reason;
	drop_token(a);
	if (reason == REASONED_LOCKED_OUT)
		state = look(a);
	else {
		struct lockout_bounds b = bounds();
		struct addr source = source_of(a);

		if (a->of.kind == ASK_GSSAPI)
			b.user_failures = 0;
		state =
		    lockout_failed(front.lockout, &b, a->user, a->of.user_len, &source, now_ms());
		tell_failure(a, state.now);
	}
	head.locked = state.now;
	answer(a, &head, NULL, told_at(a, state.step));
	ask_free(a);
}

static void
unavailable(struct ask *a, uint32_t reason)
{
	struct ipc_auth_answer head = {.result = ANSWER_UNAVAILABLE, .reason = reason};

	drop_token(a);
	answer(a, &head, NULL, told_at(a, look(a).step));
	ask_free(a);
}

static void
grant(struct ask *a, struct ipc_auth_answer *head, const char *groups)
{
	head->result = ANSWER_OK;
	head->proven_by = a->proven_by;
	answer(a, head, groups, now_ms());
	ask_free(a);
}

/* ---- the way of a question ---------------------------------------------------------------- */

static void
wait_for(struct ask *a, enum checker_kind kind)
{
	a->kind = kind;
	TAILQ_INSERT_TAIL(&front.queues[kind], a, next);
	front.waiting[kind]++;
}

static void
leave_queue(struct ask *a)
{
	TAILQ_REMOVE(&front.queues[a->kind], a, next);
	front.waiting[a->kind]--;
}

static void
ask_groups(struct ask *a)
{
	secret_wipe(&a->secret);
	if (front.groups_named)
		wait_for(a, CHECKER_GROUPS);
	else
		grant(a, &(struct ipc_auth_answer){0}, NULL);
}

/* What a remembered answer depended on. */
static size_t
depended_on(const struct ask *a, uint32_t by, char *of, size_t room)
{
	struct text t;

	text_init(&t, of, room);
	if (by == AUTH_FILE)
		text_putf(&t, "file %s", a->hash);
	else {
		text_putf(&t, "pam %s ", front.settings->auth.pam_service);
		text_put_hex(&t, a->of.client.addr.b, sizeof a->of.client.addr.b);
	}
	return t.len;
}

static bool
known_already(const struct ask *a, uint32_t by)
{
	char of[IPC_MAX_SECRET * 2];
	size_t n = depended_on(a, by, of, sizeof of);

	return front.settings->auth.cache_ms != 0 &&
	       remembered_has(front.remembered, a->user, a->of.user_len, &a->secret, of, n,
			      now_ms());
}

static void
prove(struct ask *a, uint32_t by)
{
	char of[IPC_MAX_SECRET * 2];

	a->proven_by = by;
	if (front.settings->auth.cache_ms != 0 && by != AUTH_CHAP)
		remembered_put(front.remembered, a->user, a->of.user_len, &a->secret, of,
			       depended_on(a, by, of, sizeof of),
			       now_ms() + front.settings->auth.cache_ms);
	lockout_succeeded(front.lockout, a->user, a->of.user_len);
	ask_groups(a);
}

/* Always the same line for the same name, and it says nothing: only its cost counts. */
static const struct user_line *
stand_in(const struct ask *a)
{
	const struct users *u = &front.users[SECRETS_USERS];
	uint64_t h = front.seed;

	for (uint32_t i = 0; i < a->of.user_len; i++)
		h = (h ^ (unsigned char)a->user[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 29;
	return u->count > 0 ? &u->lines[h % u->count] : NULL;
}

static void
find_hash(struct ask *a)
{
	const struct user_line *l =
	    users_find(&front.users[SECRETS_USERS], a->user, a->of.user_len);

	a->nobody = l == NULL || user_disabled(l);
	a->reason = l == NULL ? REASONED_UNKNOWN_USER : REASONED_ACCOUNT;
	if (a->nobody)
		l = stand_in(a);
	a->hash[0] = '\0'; /* the checker has one of its own */
	if (l != NULL && !user_disabled(l) && l->value_len < sizeof a->hash)
		memcpy(a->hash, l->value, l->value_len + 1);
}

/* True: the question went on. */
static bool
try_file(struct ask *a)
{
	if (!front.usable[SECRETS_USERS])
		return false;
	find_hash(a);
	if (!a->nobody && known_already(a, AUTH_FILE))
		prove(a, AUTH_FILE);
	else
		wait_for(a, CHECKER_FILE);
	return true;
}

static bool
try_pam(struct ask *a)
{
	if (known_already(a, AUTH_PAM))
		prove(a, AUTH_PAM);
	else
		wait_for(a, CHECKER_PAM);
	return true;
}

/* The next way that is left; none: the verdict. */
static void
go_on(struct ask *a)
{
	while (a->left != 0) {
		if ((a->left & AUTH_FILE) != 0) {
			a->left &= ~(uint32_t)AUTH_FILE;
			if (try_file(a))
				return;
		} else {
			a->left = 0;
			if (try_pam(a))
				return;
		}
	}
	if (a->refused)
		refuse(a, a->reason);
	else
		unavailable(a, a->reason != 0 ? a->reason : REASONED_NOT_CONFIGURED);
}

static bool
is_name(const char *user, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)user[i] < 0x20 || user[i] == 0x7f)
			return false;
	return len > 0;
}

static void
begin_password(struct ask *a)
{
	const struct settings *s = front.settings;

	a->left = a->of.methods & ((s->auth.file_path[0] != '\0' ? (uint32_t)AUTH_FILE : 0) |
				   (s->auth.pam_service[0] != '\0' ? (uint32_t)AUTH_PAM : 0));
	go_on(a);
}

static void
begin_chap(struct ask *a, const void *challenge)
{
	const struct user_line *l;
	enum auth_verdict v;

	if (front.settings->auth.chap_path[0] == '\0' || !front.usable[SECRETS_CHAP]) {
		unavailable(a, REASONED_NOT_CONFIGURED);
		return;
	}
	l = users_find(&front.users[SECRETS_CHAP], a->user, a->of.user_len);
	v = check_chap(l != NULL ? l->value : NULL, l != NULL ? l->value_len : 0, challenge,
		       a->of.token_len, secret_reveal(&a->secret), secret_length(&a->secret));
	if (v == AUTH_GOOD)
		prove(a, AUTH_CHAP);
	else if (v == AUTH_REFUSED)
		refuse(a, l != NULL ? REASONED_WRONG_SECRET : REASONED_UNKNOWN_USER);
	else
		unavailable(a, REASONED_BROKEN);
}

/* ---- contexts of GSSAPI ---------------------------------------------------------------------- */

/* Where the context is that the worker asks to go on with; false: not any more. */
static bool
find_context(struct ask *a)
{
	for (unsigned i = 0; i < UNFINISHED_MOST; i++) {
		struct unfinished *u = &front.unfinished[i];

		if (u->context != a->of.context || u->worker != a->worker || u->serial != a->serial)
			continue;
		a->who = u->who;
		a->of.context = u->inner;
		u->context = 0;
		return true;
	}
	return false;
}

static void
begin_gssapi(struct ask *a, const void *token)
{
	if (front.settings->auth.gssapi_keytab[0] == '\0' || !front.usable[SECRETS_KEYTAB])
		unavailable(a, REASONED_NOT_CONFIGURED);
	else if (a->of.context != 0 && !find_context(a))
		unavailable(a, REASONED_BROKEN);
	else if (!set_token(a, token, a->of.token_len, 0))
		unavailable(a, REASONED_BUSY);
	else
		wait_for(a, CHECKER_GSSAPI);
}

/* The checker keeps a context until its client has said more; the oldest of too many goes. */
static uint32_t
keep_context(const struct ask *a, uint32_t inner)
{
	struct unfinished *at = &front.unfinished[0];
	int64_t now = now_ms();

	for (unsigned i = 0; i < UNFINISHED_MOST; i++) {
		struct unfinished *u = &front.unfinished[i];

		if (u->context != 0 && u->until_ms <= now)
			u->context = 0;
		if (at->context != 0 && (u->context == 0 || u->until_ms < at->until_ms))
			at = u;
	}
	if (++front.last_context == 0)
		front.last_context = 1;
	*at = (struct unfinished){
	    .context = front.last_context,
	    .inner = inner,
	    .worker = a->worker,
	    .serial = a->serial,
	    .who = pool_who(),
	    .until_ms = now + front.settings->timeouts.handshake,
	};
	return at->context;
}

static void
gssapi_done(struct ask *a, const struct ipc_auth_answer *from, const char *user)
{
	struct ipc_auth_answer head = {.result = ANSWER_MORE};

	if (from->result == ANSWER_REFUSED) {
		refuse(a, from->reason);
		return;
	}
	if (from->result == ANSWER_UNAVAILABLE ||
	    !set_token(a, user + from->user_len + from->groups_len, from->token_len,
		       from->exported_len)) {
		unavailable(a, from->reason);
		return;
	}
	if (from->result == ANSWER_MORE) {
		head.context = keep_context(a, from->context);
		answer(a, &head, NULL, now_ms());
		ask_free(a);
		return;
	}
	memcpy(a->user, user, from->user_len);
	a->of.user_len = from->user_len;
	if (!is_name(a->user, a->of.user_len)) {
		refuse(a, REASONED_BAD_NAME);
		return;
	}
	a->proven_by = AUTH_GSSAPI;
	ask_groups(a);
}

static unsigned
waiting_in_all(void)
{
	unsigned n = 0;

	for (unsigned k = 0; k < CHECKER_KINDS; k++)
		n += front.waiting[k];
	return n;
}

static void
begin(struct ask *a, const void *token)
{
	if (a->of.kind == ASK_GROUPS && is_name(a->user, a->of.user_len))
		ask_groups(a);
	else if (a->of.kind != ASK_GSSAPI && !is_name(a->user, a->of.user_len))
		refuse(a, REASONED_BAD_NAME);
	else if (look(a).locked)
		refuse(a, REASONED_LOCKED_OUT);
	else if (a->of.kind == ASK_GSSAPI)
		begin_gssapi(a, token);
	else if (a->of.kind == ASK_CHAP)
		begin_chap(a, token);
	else
		begin_password(a);
}

static void
take_ask(unsigned worker, const struct message *m)
{
	struct ask *a = calloc(1, sizeof *a);
	const char *at = (const char *)m->body + sizeof a->of;

	if (a == NULL)
		return;
	memcpy(&a->of, m->body, sizeof a->of);
	a->worker = worker;
	a->serial = front.workers[worker].serial;
	a->arrived_ms = now_ms();
	a->deadline_ms = a->arrived_ms + front.settings->auth.timeout_ms;
	memcpy(a->user, at, a->of.user_len);
	at += a->of.user_len;
	secret_set(&a->secret, at, a->of.secret_len);
	at += a->of.secret_len;
	if (waiting_in_all() >= front.settings->auth.queue) {
		log_warning("%u checks wait, more are refused (auth.queue)",
			    front.settings->auth.queue);
		unavailable(a, REASONED_BUSY);
		return;
	}
	begin(a, at);
}

static void
forget_one(void *job, void *with)
{
	struct ask *a = job;
	const struct ask *which = with;

	if (a->worker == which->worker && a->serial == which->serial &&
	    (which->gone || a->of.ticket == which->of.ticket))
		a->gone = true;
}

/* One ticket, or with all == true whatever the worker has asked. What is being checked already is
 * checked to its end, so that leaving early does not keep a failure from being counted. */
static void
forget(unsigned worker, uint64_t ticket, bool all)
{
	struct ask which = {.worker = worker,
			    .serial = front.workers[worker].serial,
			    .of.ticket = ticket,
			    .gone = all};

	for (unsigned k = 0; k < CHECKER_KINDS; k++) {
		struct ask *a, *following;

		pool_each((enum checker_kind)k, forget_one, &which);
		for (a = TAILQ_FIRST(&front.queues[k]); a != NULL; a = following) {
			following = TAILQ_NEXT(a, next);
			a->gone = false;
			forget_one(a, &which);
			if (!a->gone)
				continue;
			leave_queue(a);
			ask_free(a);
		}
	}
}

/* ---- checks ------------------------------------------------------------------------------- */

struct busy {
	const struct ask *a;
	struct addr source;
	unsigned user, from;
};

static void
count_busy(void *job, void *with)
{
	const struct ask *other = job;
	struct busy *b = with;
	struct addr source = source_of(other);

	b->user += other->of.user_len > 0 && other->of.user_len == b->a->of.user_len &&
		   memcmp(other->user, b->a->user, other->of.user_len) == 0;
	b->from += addr_equal(&source, &b->source);
}

/* Nobody may hold more than half of a pool. */
static bool
may_start(const struct ask *a)
{
	struct busy b = {.a = a, .source = source_of(a)};
	unsigned most = (front.settings->auth.helpers + 1) / 2;

	pool_each(a->kind, count_busy, &b);
	return b.user < most && b.from < most;
}

static enum pool_asked
start_check(struct ask *a)
{
	static const uint32_t methods[CHECKER_KINDS] = {
	    [CHECKER_FILE] = AUTH_FILE,
	    [CHECKER_PAM] = AUTH_PAM,
	    [CHECKER_GSSAPI] = AUTH_GSSAPI,
	};
	static const uint32_t kinds[CHECKER_KINDS] = {
	    [CHECKER_FILE] = ASK_PASSWORD,
	    [CHECKER_PAM] = ASK_PASSWORD,
	    [CHECKER_GROUPS] = ASK_GROUPS,
	    [CHECKER_GSSAPI] = ASK_GSSAPI,
	};
	static _Alignas(8) unsigned char
	    body[sizeof(struct ipc_auth_ask) + IPC_MAX_USER + IPC_MAX_SECRET + IPC_MAX_TOKEN];
	const void *token = a->kind == CHECKER_GSSAPI ? a->token : a->hash;
	struct ipc_auth_ask head = a->of;
	size_t n = sizeof head;
	enum pool_asked asked;

	head.kind = kinds[a->kind];
	head.methods = methods[a->kind];
	head.secret_len = (uint32_t)secret_length(&a->secret);
	head.token_len = a->kind == CHECKER_FILE     ? (uint32_t)strlen(a->hash)
			 : a->kind == CHECKER_GSSAPI ? a->token_len
						     : 0;
	memcpy(body, &head, sizeof head);
	memcpy(body + n, a->user, head.user_len);
	n += head.user_len;
	memcpy(body + n, secret_reveal(&a->secret), head.secret_len);
	n += head.secret_len;
	memcpy(body + n, token, head.token_len);
	n += head.token_len;
	if (a->who.life != 0)
		asked = pool_ask_it(a->who, a, body, n, a->deadline_ms);
	else
		asked = pool_ask(a->kind, a, body, n, a->deadline_ms) ? POOL_ASKED : POOL_LATER;
	secret_wipe_bytes(body, n);
	return asked;
}

static void
dispatch(enum checker_kind kind, int64_t now)
{
	struct ask *a = TAILQ_FIRST(&front.queues[kind]), *following;

	for (; a != NULL && pool_idle(kind); a = following) {
		following = TAILQ_NEXT(a, next);
		if (kind != CHECKER_GROUPS && look(a).locked) { /* since it came */
			leave_queue(a);
			refuse(a, REASONED_LOCKED_OUT);
			continue;
		}
		if (!may_start(a))
			continue;
		leave_queue(a);
		switch (start_check(a)) {
		case POOL_ASKED:
			break;
		case POOL_GONE:
			unavailable(a, REASONED_BROKEN);
			break;
		case POOL_LATER:
			if (following != NULL)
				TAILQ_INSERT_BEFORE(following, a, next);
			else
				TAILQ_INSERT_TAIL(&front.queues[kind], a, next);
			front.waiting[kind]++;
			break;
		}
	}
	if (front.waiting[kind] > 0)
		pool_grow(kind, front.waiting[kind], now);
}

static void
groups_done(struct ask *a, const struct ipc_auth_answer *from, const char *groups)
{
	struct ipc_auth_answer head = {.groups_failed = 1};

	if (from != NULL && from->result == ANSWER_OK && !from->groups_failed) {
		head.groups_failed = 0;
		head.group_count = from->group_count;
		head.groups_len = from->groups_len;
	}
	grant(a, &head, groups);
}

/* A check has ended: of the pool, or in its queue at its deadline. */
static void
done(void *job, enum pool_end how, const struct ipc_auth_answer *from, const char *groups)
{
	struct ask *a = job;

	if (a->kind == CHECKER_GROUPS) {
		groups_done(a, how == POOL_ANSWERED ? from : NULL, groups);
		return;
	}
	if (how == POOL_ANSWERED && a->kind == CHECKER_GSSAPI) {
		gssapi_done(a, from, groups - from->user_len);
		return;
	}
	if (how != POOL_ANSWERED) {
		if (!a->refused)
			a->reason = how == POOL_TIMEOUT ? REASONED_TIMEOUT : REASONED_BROKEN;
		if (how == POOL_TIMEOUT)
			a->left = 0;
		go_on(a);
		return;
	}
	if (from->result == ANSWER_OK && !(a->kind == CHECKER_FILE && a->nobody)) {
		prove(a, a->kind == CHECKER_FILE ? AUTH_FILE : AUTH_PAM);
		return;
	}
	if (from->result != ANSWER_UNAVAILABLE) {
		if (a->kind != CHECKER_FILE || !a->nobody)
			a->reason = from->reason;
		a->refused = true;
	} else if (!a->refused)
		a->reason = from->reason;
	go_on(a);
}

/* Those that wait, and wait too long. Returns when the next one does, or 0. */
static int64_t
expire(int64_t now)
{
	int64_t next = 0;

	for (unsigned k = 0; k < CHECKER_KINDS; k++) {
		struct ask *a, *following;

		for (a = TAILQ_FIRST(&front.queues[k]); a != NULL; a = following) {
			following = TAILQ_NEXT(a, next);
			if (a->deadline_ms <= now) {
				leave_queue(a);
				done(a, POOL_TIMEOUT, NULL, NULL);
			} else if (next == 0 || a->deadline_ms < next)
				next = a->deadline_ms;
		}
	}
	return next;
}

/* ---- what the parent and the nursery tell -------------------------------------------------- */

static void
renew_pools(void)
{
	const struct settings *s = front.settings;
	uint32_t most[CHECKER_KINDS] = {
	    [CHECKER_FILE] = s->auth.file_path[0] != '\0' ? s->auth.helpers : 0,
	    [CHECKER_PAM] = s->auth.pam_service[0] != '\0' ? s->auth.helpers : 0,
	    [CHECKER_GROUPS] = front.groups_named ? s->auth.helpers : 0,
	    [CHECKER_GSSAPI] = front.usable[SECRETS_KEYTAB] ? s->auth.helpers : 0,
	};

	pool_renew(most, now_ms());
}

static void
become_ready(void)
{
	for (unsigned i = 0; i < SECRETS_COUNT; i++)
		if (front.awaited[i])
			return;
	if (!front.ready)
		channel_send(&front.up, IPC_READY, NULL, 0, NULL, 0);
	front.ready = true;
}

static void
take_policy(const struct message *m)
{
	const struct ipc_policy *body = m->body;
	size_t settings_len, image_len;
	struct settings *s = image_map(m->fds[0], &settings_len);
	void *image = image_map(m->fds[1], &image_len);
	struct policy *p = NULL;

	if (s == NULL || image == NULL || !settings_valid(s, settings_len) ||
	    (p = policy_open_sealed(image, image_len)) == NULL ||
	    !channel_send(&front.nursery, IPC_NURSERY_POLICY, body, sizeof *body, m->fds, 2)) {
		log_error("bad image of settings or policy"); /* the next of us gets it anew */
		front.over = true;
		return;
	}
	if (front.policy != NULL) {
		policy_close(front.policy);
		munmap((void *)(uintptr_t)front.settings, sizeof *s);
		munmap(front.image, front.image_len);
	}
	front.settings = s;
	front.policy = p;
	front.image = image;
	front.image_len = image_len;
	front.generation = body->generation;
	front.groups_named = policy_unix_groups(p, NULL, 0) > 0;
	front.awaited[SECRETS_USERS] = s->auth.file_path[0] != '\0';
	front.awaited[SECRETS_CHAP] = s->auth.chap_path[0] != '\0';
	front.awaited[SECRETS_KEYTAB] = s->auth.gssapi_keytab[0] != '\0';
	if (!front.awaited[SECRETS_KEYTAB]) /* the nursery has forgotten it, too */
		front.usable[SECRETS_KEYTAB] = false;
	remembered_forget(front.remembered);
	renew_pools();
	become_ready();
}

static void
tell_problems(const struct problems *p, const char *path)
{
	char quoted[320];
	struct text t;

	text_init(&t, quoted, sizeof quoted);
	text_put_quoted(&t, path, strlen(path), 256);
	for (size_t i = 0; i < p->count && i < PROBLEMS_TOLD; i++)
		log_write(&(struct log_site){0},
			  p->list[i].warning ? LOGLEVEL_WARNING : LOGLEVEL_ERROR, "%s line %u: %s",
			  quoted, p->list[i].place.line, p->list[i].text);
	if (p->errors > 0)
		log_error("%s is not taken, what was read before stays: %zu error%s", quoted,
			  p->errors, p->errors == 1 ? "" : "s");
}

/* The keys are the checkers': those that have the old ones end, new ones have what the nursery has.
 */
static void
take_keytab(const struct ipc_secrets *told, bool awaited)
{
	bool first = !front.usable[SECRETS_KEYTAB];

	if (!told->usable)
		return;
	front.usable[SECRETS_KEYTAB] = true;
	log_info("keys from '%s'", front.settings->auth.gssapi_keytab);
	if (first || !awaited) /* those of a new policy are forked behind it anyway */
		renew_pools();
}

static void
take_secrets(const struct message *m)
{
	bool awaited;
	const struct ipc_secrets *body = m->body;
	const struct settings *s = front.settings;
	struct users fresh;
	struct problems p;
	struct stat st;
	const char *path;
	void *text = NULL;

	if (body->which >= SECRETS_COUNT || body->generation != front.generation)
		return;
	awaited = front.awaited[body->which];
	front.awaited[body->which] = false;
	if (body->which == SECRETS_KEYTAB) {
		take_keytab(body, awaited);
		become_ready();
		return;
	}
	path = body->which == SECRETS_USERS ? s->auth.file_path : s->auth.chap_path;
	if (m->fd_count == 1 && fstat(m->fds[0], &st) == 0 && st.st_size <= USERS_FILE_MAX &&
	    (text = malloc((size_t)st.st_size + 1)) != NULL &&
	    pread(m->fds[0], text, (size_t)st.st_size, 0) == st.st_size) {
		problems_init(&p);
		if (users_parse(&fresh, body->which == SECRETS_USERS ? USERS_HASHES : USERS_SECRETS,
				path, text, (size_t)st.st_size, &p)) {
			users_free(&front.users[body->which]);
			front.users[body->which] = fresh;
			front.usable[body->which] = true;
			log_info("%zu users from '%s'", fresh.count, path);
		}
		tell_problems(&p, path);
		problems_free(&p);
		secret_wipe_bytes(text, (size_t)st.st_size);
	}
	free(text);
	become_ready();
}

static void
close_worker(unsigned i)
{
	if (front.workers[i].channel.fd == -1)
		return;
	forget(i, 0, true);
	close(front.workers[i].channel.fd);
	front.workers[i].channel.fd = -1;
}

static void
take_channel(struct message *m)
{
	const struct ipc_books *body = m->body;

	if (body->worker >= WORKERS_MAX)
		return;
	close_worker(body->worker);
	front.workers[body->worker].channel =
	    (struct channel){m->fds[0], ROLE_AUTHENTICATOR, ROLE_WORKER};
	front.workers[body->worker].serial = ++front.serial;
	m->fd_count = 0; /* taken */
}

static void
parent_ready(void)
{
	static struct message m;
	int got;

	while (!front.over && (got = channel_receive(&front.up, &m)) != -1) {
		if (got == 0 || m.type == IPC_DRAIN)
			front.over = true;
		else if (m.type == IPC_POLICY)
			take_policy(&m);
		else if (m.type == IPC_AUTH_CHANNEL)
			take_channel(&m);
		if (got == 1)
			message_close_fds(&m);
	}
	if (!front.over && errno != EAGAIN) {
		log_error("cannot take what the parent told: %s", strerror(errno));
		front.over = true;
	}
}

static void
nursery_ready(void)
{
	static struct message m;
	int got;

	while ((got = channel_receive(&front.nursery, &m)) == 1) {
		if (m.type == IPC_SECRETS)
			take_secrets(&m);
		else
			pool_told(&m, now_ms());
		message_close_fds(&m);
	}
	if (got == 0 || errno != EAGAIN) {
		log_error("the nursery is gone");
		front.over = true;
	}
}

static void
worker_ready(unsigned i)
{
	static struct message m;
	int got = -1;

	for (unsigned n = 0; n < AT_ONCE && front.workers[i].channel.fd != -1; n++) {
		got = channel_receive(&front.workers[i].channel, &m);
		if (got == -1 && errno == EAGAIN)
			return;
		if (got == -1)
			log_error("illegal message from worker %u, it is not heard any more", i);
		if (got != 1) {
			close_worker(i);
			return;
		}
		if (front.settings != NULL && m.type == IPC_AUTH_ASK)
			take_ask(i, &m);
		else if (m.type == IPC_AUTH_FORGET)
			forget(i, ((const struct ipc_auth_forget *)m.body)->ticket, false);
		secret_wipe_bytes(m.packet, sizeof(struct ipc_head) + m.len);
	}
}

/* ---- the loop ----------------------------------------------------------------------------- */

static int64_t
sooner(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static int
timeout(int64_t until)
{
	int64_t now = now_ms();

	if (until == 0)
		return -1;
	return until > now ? (int)(until - now) : 0;
}

static void
round_once(int64_t until)
{
	static struct pollfd fds[2 + WORKERS_MAX + POOL_SLOTS];
	static uint16_t of[2 + WORKERS_MAX + POOL_SLOTS];
	unsigned workers = 2, n;

	fds[0] = (struct pollfd){.fd = front.up.fd, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = front.nursery.fd, .events = POLLIN};
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (front.workers[i].channel.fd != -1) {
			of[workers] = (uint16_t)i;
			fds[workers++] =
			    (struct pollfd){.fd = front.workers[i].channel.fd, .events = POLLIN};
		}
	n = pool_watch(fds, of, workers);
	if (poll(fds, n, timeout(until)) == -1)
		return;
	for (unsigned i = workers; i < n; i++)
		if (fds[i].revents != 0)
			pool_ready(of[i], now_ms());
	for (unsigned i = 2; i < workers; i++)
		if (fds[i].revents != 0)
			worker_ready(of[i]);
	if (fds[1].revents != 0)
		nursery_ready();
	if (fds[0].revents != 0)
		parent_ready();
}

/* The nursery hears that we go, and ends all that it has. */
static void
take_leave(void)
{
	int64_t until = now_ms() + LEAVE_MS;

	close(front.nursery.fd);
	while (waitpid(-1, NULL, WNOHANG) == 0 && now_ms() < until)
		poll(NULL, 0, 10);
}

static bool
open_front(int fd)
{
	front.up = (struct channel){fd, ROLE_AUTHENTICATOR, ROLE_PARENT};
	front.nursery = (struct channel){nursery_fd, ROLE_AUTHENTICATOR, ROLE_NURSERY};
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		front.workers[i].channel.fd = -1;
	for (unsigned k = 0; k < CHECKER_KINDS; k++)
		TAILQ_INIT(&front.queues[k]);
	front.lockout = lockout_new();
	front.remembered = remembered_new();
	if (front.lockout == NULL || front.remembered == NULL ||
	    getrandom(&front.seed, sizeof front.seed, 0) != sizeof front.seed) {
		log_error("no memory, or no random numbers");
		return false;
	}
	pool_open(&front.nursery, done);
	return true;
}

int
authenticator_run(int channel, unsigned index)
{
	int64_t until = 0;

	(void)index;
	if (!open_front(channel))
		return 1;
	while (!front.over) {
		int64_t now;

		round_once(until);
		now = now_ms();
		until = sooner(expire(now), pool_tick(now));
		for (unsigned k = 0; k < CHECKER_KINDS; k++)
			dispatch((enum checker_kind)k, now);
		until = sooner(until, deliver_due(now));
	}
	take_leave();
	return 0;
}
