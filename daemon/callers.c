/*
 * daemon/callers.c - the clients of the control socket, see daemon/controller.h: who they are
 * (SO_PEERCRED), their requests, one after the other, and what they are told. Unprivileged.
 *
 * Everything is bounded: the number of clients, a request, what waits to be taken, and the time
 * for each. Who is no viewer is refused before a byte of his is read.
 */
#include "controller.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define CALLERS 64
#define VIEWERS 48       /* of them: an operator always finds a place */
#define ACCEPTS 16       /* a round */
#define ROUNDS 16        /* of writing before others have their turn */
#define REQUEST_MS 10000 /* for a request to be whole, and for some of an answer to be taken */
#define BETWEEN_MS 60000 /* for another request to begin */
#define NOTES 20         /* records of refused wishes ... */
#define NOTES_MS 10000   /* ... in this time; more are only counted */
#define PEER_GROUPS 1024

struct accounts { /* of one list of the settings */
	uid_t users[SETTINGS_LIST];
	gid_t groups[SETTINGS_LIST];
	unsigned user_count, group_count;
};

static struct {
	struct watch door;
	struct caller *all;
	unsigned count;
	struct accounts viewers, operators;
	uid_t owner; /* who started the server */
	uint64_t tickets;
	int64_t notes_ms;
	unsigned notes, unnoted;
	bool leaving;
} callers = {.door.fd = -1};

/* ---- who may ------------------------------------------------------------------------------- */

static void
find_accounts(struct accounts *to, const char list[][SETTINGS_NAME + 5], uint32_t count)
{
	memset(to, 0, sizeof *to);
	for (uint32_t i = 0; i < count && i < SETTINGS_LIST; i++) {
		bool is_group = strncmp(list[i], "unix:", 5) == 0;
		struct group *g = is_group ? getgrnam(list[i] + 5) : NULL;
		struct passwd *p = is_group ? NULL : getpwnam(list[i]);

		if (g != NULL)
			to->groups[to->group_count++] = g->gr_gid;
		else if (p != NULL)
			to->users[to->user_count++] = p->pw_uid;
		else
			log_warning("no account is called '%s' (setting 'control')", list[i]);
	}
}

/* Not our own account, if root has started us: a worker that somebody has taken has that one, too. */
static uid_t
who_started(void)
{
	struct ucred parent = {.uid = 0};
	socklen_t len = sizeof parent;

	if (getsockopt(controller.channel.fd, SOL_SOCKET, SO_PEERCRED, &parent, &len) == -1)
		return 0;
	return parent.uid;
}

struct peer {
	struct ucred cred;
	gid_t groups[PEER_GROUPS];
	size_t group_count;
};

static bool
peer_read(int fd, struct peer *p)
{
	socklen_t len = sizeof p->cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &p->cred, &len) == -1)
		return false;
	len = sizeof p->groups - sizeof p->groups[0];
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, p->groups, &len) == -1)
		len = 0; /* more than anyone has: only the first counts */
	p->group_count = len / sizeof p->groups[0];
	p->groups[p->group_count++] = p->cred.gid;
	return true;
}

static bool
among(const struct accounts *a, const struct peer *p)
{
	for (unsigned i = 0; i < a->user_count; i++)
		if (a->users[i] == p->cred.uid)
			return true;
	for (unsigned i = 0; i < a->group_count; i++)
		for (size_t n = 0; n < p->group_count; n++)
			if (a->groups[i] == p->groups[n])
				return true;
	return false;
}

/* False: neither viewer nor operator. */
static bool
admit(int fd, uid_t *uid, bool *operator)
{
	static struct peer p;

	if (!peer_read(fd, &p))
		return false;
	*uid = p.cred.uid;
	*operator= p.cred.uid == 0 || p.cred.uid == callers.owner || among(&callers.operators, &p);
	return *operator|| among(&callers.viewers, &p);
}

static void
name_of(uid_t uid, char *to, size_t size)
{
	struct passwd *p = getpwuid(uid);

	if (p != NULL)
		snprintf(to, size, "%s", p->pw_name);
	else
		snprintf(to, size, "#%u", (unsigned)uid);
}

/* ---- records ------------------------------------------------------------------------------- */

/* Nobody shall fill the ledger with what he may not do. */
static bool
may_note(void)
{
	int64_t now = loop_now();

	if (now - callers.notes_ms >= NOTES_MS) {
		callers.notes_ms = now;
		callers.notes = 0;
	}
	if (callers.notes >= NOTES) {
		callers.unnoted++;
		return false;
	}
	callers.notes++;
	return true;
}

static void
note(uid_t uid, const char *words, const char *why)
{
	struct ipc_order o = {.what = ORDER_NOTE, .uid = uid};

	if (!may_note())
		return;
	name_of(uid, o.who, sizeof o.who);
	snprintf(o.words, sizeof o.words, "%s", words);
	if (callers.unnoted > 0)
		snprintf(o.why, sizeof o.why, "%s (and %u more since)", why, callers.unnoted);
	else
		snprintf(o.why, sizeof o.why, "%s", why);
	callers.unnoted = 0;
	if (!channel_send(&controller.channel, IPC_ORDER, &o, sizeof o, NULL, 0))
		log_warning("cannot tell the parent: %s", strerror(errno));
}

void
caller_note(struct caller *c, const char *words, const char *why)
{
	note(c->uid, words, why);
}

/* ---- lines --------------------------------------------------------------------------------- */

bool
caller_full(const struct caller *c)
{
	return CALLER_OUT - c->out_len < 2 * CONTROL_LINE; /* one is for the end */
}

void
caller_line(struct caller *c, struct text *t)
{
	size_t room = CALLER_OUT - c->out_len;

	text_init(t, c->out + c->out_len, room < CONTROL_LINE ? room : CONTROL_LINE);
}

void
caller_put(struct caller *c, struct text *t)
{
	/* the place of the NUL is the newline's */
	t->p[t->len] = '\n';
	c->out_len += t->len + 1;
}

void
caller_done(struct caller *c, struct text *t)
{
	caller_put(c, t);
	buffer_free(&c->text);
	c->busy = false;
	c->more = NULL;
	c->ticket = 0;
	c->again = true;
}

void
caller_refuse(struct caller *c, const char *code, const char *fmt, ...)
{
	char why[512];
	struct text t;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	caller_line(c, &t);
	text_put(&t, "{\"done\":true,\"code\":");
	text_put_json(&t, code, strlen(code), 64);
	text_put(&t, ",\"error\":");
	text_put_json(&t, why, strlen(why), 400);
	text_put(&t, "}");
	caller_done(c, &t);
}

void
caller_order(struct caller *c, struct ipc_order *o, const char *words)
{
	if (callers.tickets == 0) /* those of a process before us are not taken for ours */
		callers.tickets = (uint64_t)clock_wall_ns();
	o->ticket = c->ticket = ++callers.tickets;
	o->uid = c->uid;
	name_of(c->uid, o->who, sizeof o->who);
	snprintf(o->words, sizeof o->words, "%s", words);
	if (!channel_send(&controller.channel, IPC_ORDER, o, sizeof *o, NULL, 0))
		caller_refuse(c, "busy", "the server cannot take it now");
}

struct caller *
caller_of(uint64_t ticket)
{
	for (struct caller *c = callers.all; c != NULL; c = c->next)
		if (ticket != 0 && c->ticket == ticket)
			return c;
	return NULL;
}

/* ---- one client ---------------------------------------------------------------------------- */

static struct caller *
of_watch(struct watch *w)
{
	return (struct caller *)((char *)w - offsetof(struct caller, watch));
}

static void
caller_free(void *p)
{
	struct caller *c = p;

	buffer_free(&c->text);
	free(c->out);
	free(c);
}

static void
caller_close(struct caller *c)
{
	watch_close(&c->watch);
	timer_stop(&c->timer);
	turn_cancel(&c->turn);
	*c->link = c->next;
	if (c->next != NULL)
		c->next->link = c->link;
	callers.count--;
	loop_release_later(c, caller_free);
}

static void
late(struct timer *t)
{
	struct caller *c = (struct caller *)((char *)t - offsetof(struct caller, timer));

	if (c->out_len > 0)
		caller_note(c, control_commands[c->request.command].word,
			    "its answer was not taken");
	else if (c->in_len > 0)
		caller_note(c, "a request", "it was not complete in time");
	caller_close(c);
}

static void
wait_ms(struct caller *c, int ms)
{
	timer_stop(&c->timer);
	if (ms > 0)
		timer_set(&c->timer, loop_now() + ms, late);
}

/* Takes the line off the input. */
static void
begin(struct caller *c, size_t line)
{
	enum control_verdict v = control_parse(c->in, line, &c->request);

	c->in_len -= line + 1;
	memmove(c->in, c->in + line + 1, c->in_len);
	c->busy = true;
	wait_ms(c, 0);
	if (v == CONTROL_OK) {
		answer_begin(c);
		return;
	}
	caller_note(c, "a request", control_verdict_word(v));
	caller_refuse(c, "malformed", "%s", control_verdict_word(v));
	c->closing = true;
}

static void
refuse_long(struct caller *c)
{
	caller_note(c, "a request", control_verdict_word(CONTROL_TOO_LONG));
	caller_refuse(c, "malformed", "%s", control_verdict_word(CONTROL_TOO_LONG));
	c->in_len = 0;
	c->closing = true;
}

enum progress { GOES_ON, WAITS, ENDED };

static enum progress
hear(struct caller *c)
{
	const char *end = memchr(c->in, '\n', c->in_len);
	ssize_t n;

	if (end != NULL) {
		begin(c, (size_t)(end - c->in));
		return GOES_ON;
	}
	if (c->in_len == sizeof c->in) {
		refuse_long(c);
		return GOES_ON;
	}
	n = recv(c->watch.fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
	if (n > 0) {
		if (c->in_len == 0)
			wait_ms(c, REQUEST_MS);
		c->in_len += (size_t)n;
		return GOES_ON;
	}
	if (n == -1 && errno == EINTR)
		return GOES_ON;
	return n == -1 && errno == EAGAIN ? WAITS : ENDED;
}

static enum progress
tell(struct caller *c)
{
	ssize_t n = send(c->watch.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

	if (n == -1 && errno == EINTR)
		return GOES_ON;
	if (n == -1 && errno == EAGAIN) {
		if (!timer_armed(&c->timer))
			wait_ms(c, REQUEST_MS);
		return WAITS;
	}
	if (n == -1)
		return ENDED;
	wait_ms(c, 0);
	c->out_at += (size_t)n;
	if (c->out_at == c->out_len)
		c->out_at = c->out_len = 0;
	return GOES_ON;
}

static enum progress
step(struct caller *c)
{
	if (c->out_len > 0)
		return tell(c);
	if (c->busy && c->more != NULL) {
		if (!c->more(c))
			c->more = NULL;
		return GOES_ON;
	}
	if (c->busy)
		return WAITS; /* for the parent */
	if (c->closing || (callers.leaving && c->again))
		return ENDED;
	if (c->again && !timer_armed(&c->timer))
		wait_ms(c, c->in_len > 0 ? REQUEST_MS : BETWEEN_MS);
	return hear(c);
}

static void go(struct caller *c);

static void
go_again(struct turn *t)
{
	go((struct caller *)((char *)t - offsetof(struct caller, turn)));
}

static void
go(struct caller *c)
{
	for (int i = 0; i < ROUNDS; i++) {
		enum progress p = step(c);

		if (p == ENDED)
			caller_close(c);
		if (p != GOES_ON)
			return;
	}
	turn_ask(&c->turn, go_again);
}

static void
ready(struct watch *w, uint32_t events)
{
	struct caller *c = of_watch(w);

	if ((events & (EPOLLERR | EPOLLHUP)) != 0 && c->busy)
		caller_close(
		    c); /* nobody is left to be told; what was ordered is done all the same */
	else
		go(c);
}

void
caller_wake(struct caller *c)
{
	turn_ask(&c->turn, go_again);
}

/* ---- the door ------------------------------------------------------------------------------ */

static void
turn_away(int fd, const char *line)
{
	if (send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) == -1)
		log_debug("a client of the control socket left early");
	close(fd);
}

static struct caller *
caller_new(int fd, uid_t uid, bool operator)
{
	struct caller *c = calloc(1, sizeof *c);

	if (c == NULL || (c->out = malloc(CALLER_OUT)) == NULL ||
	    watch_add(&c->watch, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, ready) == -1) {
		if (c != NULL)
			free(c->out);
		free(c);
		return NULL;
	}
	c->uid = uid;
	c->operator= operator;
	c->next = callers.all;
	if (c->next != NULL)
		c->next->link = &c->next;
	c->link = &callers.all;
	callers.all = c;
	callers.count++;
	wait_ms(c, REQUEST_MS);
	return c;
}

/* Those who hang there shall not keep out who has to act. */
static bool
has_room(bool operator)
{
	unsigned viewers = 0;

	for (const struct caller *c = callers.all; c != NULL; c = c->next)
		viewers += !c->operator;
	return callers.count < CALLERS && (operator|| viewers < VIEWERS);
}

static void
arrived(int fd)
{
	uid_t uid = (uid_t)-1;
	bool operator= false;

	if (!admit(fd, &uid, &operator)) {
		note(uid, "a connection to the control socket", "neither viewer nor operator");
		turn_away(
		    fd,
		    "{\"done\":true,\"code\":\"denied\",\"error\":\"you are neither a viewer nor "
		    "an operator of this server\"}\n");
		return;
	}
	if (!has_room(operator) || caller_new(fd, uid, operator) == NULL)
		turn_away(fd,
			  "{\"done\":true,\"code\":\"busy\",\"error\":\"the control socket has too "
			  "many clients\"}\n");
}

static void
door_ready(struct watch *w, uint32_t events)
{
	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd == -1)
			return;
		arrived(fd);
	}
}

void
callers_open(int fd)
{
	if (callers.door.fd != -1 || watch_add(&callers.door, fd, EPOLLIN, door_ready) == -1) {
		log_error("cannot watch the control socket: %s", strerror(errno));
		close(fd);
	}
}

void
callers_leave(void)
{
	callers.leaving = true;
	watch_close(&callers.door);
	for (struct caller *c = callers.all; c != NULL; c = c->next)
		caller_wake(c);
}

bool
callers_left(void)
{
	return callers.count == 0;
}

void
callers_settings(void)
{
	const struct settings *s = controller_settings();
	struct caller *next;

	callers.owner = who_started();
	find_accounts(&callers.viewers, s->control.viewers, s->control.viewer_count);
	find_accounts(&callers.operators, s->control.operators, s->control.operator_count);
	for (struct caller *c = callers.all; c != NULL; c = next) {
		next = c->next;
		if (!admit(c->watch.fd, &c->uid, &c->operator))
			caller_close(c);
	}
}
