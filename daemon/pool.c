/*
 * daemon/pool.c - see daemon/pool.h. Runs in the authenticator's front.
 *
 * A slot is empty, wanted (the nursery was asked), idle, busy or dying. A dying one is empty again
 * when the nursery says so: a process that even SIGKILL does not end at once (a dead network file
 * system) keeps its slot, so that there are never more of them than auth.helpers.
 */
#include "config.h"

#include "pool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"

#define CHECKS_MOST 1000 /* then it is replaced: modules leak */
#define AGAIN_MS 100     /* a word that the nursery could not take */
#define PAUSE_MS 500
#define FAREWELL_MS 1000 /* for an idle one to end by itself */

enum state { SLOT_EMPTY, SLOT_WANTED, SLOT_IDLE, SLOT_BUSY, SLOT_DYING };

struct slot {
	enum state state;
	int fd;
	uint32_t generation, checks;
	uint32_t life; /* never twice */
	void *job;
	int64_t deadline_ms; /* busy: of the question; dying: of our patience */
};

static struct {
	const struct channel *nursery;
	pool_done *done;
	uint32_t generation, most[CHECKER_KINDS];
	int64_t pause_ms[CHECKER_KINDS]; /* no new ones before: they die unasked */
	uint32_t last_life;
	struct pool_who who; /* has answered */
	struct slot slots[POOL_SLOTS];
} pool;

static struct slot *
first_of(enum checker_kind kind)
{
	return &pool.slots[(unsigned)kind * CHECKERS_A_KIND];
}

static uint32_t
number_of(const struct slot *s)
{
	return (uint32_t)(s - pool.slots);
}

static enum checker_kind
kind_of(const struct slot *s)
{
	return (enum checker_kind)(number_of(s) / CHECKERS_A_KIND);
}

static bool
tell(enum ipc_type type, const struct slot *s)
{
	struct ipc_checker body = {number_of(s), kind_of(s), 0, 0};

	return channel_send(pool.nursery, type, &body, sizeof body, NULL, 0);
}

void
pool_open(const struct channel *nursery, pool_done *done)
{
	pool.nursery = nursery;
	pool.done = done;
	for (unsigned i = 0; i < POOL_SLOTS; i++)
		pool.slots[i].fd = -1;
}

static void
hang_up(struct slot *s)
{
	if (s->fd != -1)
		close(s->fd);
	s->fd = -1;
	s->job = NULL;
	s->state = SLOT_DYING;
}

/* It reads the end of its channel and goes; if it does not, it is ended. */
static void
dismiss(struct slot *s, int64_t now_ms)
{
	hang_up(s);
	s->deadline_ms = now_ms + FAREWELL_MS;
}

static void
end(struct slot *s, int64_t now_ms)
{
	hang_up(s);
	s->deadline_ms = now_ms + AGAIN_MS;
	tell(IPC_CHECKER_END, s);
}

void
pool_renew(const uint32_t most[CHECKER_KINDS], int64_t now_ms)
{
	memcpy(pool.most, most, sizeof pool.most);
	pool.generation++;
	for (unsigned i = 0; i < POOL_SLOTS; i++)
		if (pool.slots[i].state == SLOT_IDLE)
			dismiss(&pool.slots[i], now_ms);
	for (unsigned k = 0; k < CHECKER_KINDS; k++)
		pool_grow((enum checker_kind)k, 1, now_ms); /* one stands ready */
}

static struct slot *
idle_one(enum checker_kind kind)
{
	struct slot *s = first_of(kind);

	for (unsigned i = 0; i < CHECKERS_A_KIND; i++)
		if (s[i].state == SLOT_IDLE)
			return &s[i];
	return NULL;
}

bool
pool_idle(enum checker_kind kind)
{
	return idle_one(kind) != NULL;
}

static bool
ask(struct slot *s, void *job, const void *body, size_t len, int64_t deadline_ms)
{
	struct channel c = {s->fd, ROLE_AUTHENTICATOR, ROLE_CHECKER};

	if (!channel_send(&c, IPC_CHECK, body, len, NULL, 0)) {
		hang_up(s);
		s->deadline_ms = 0; /* at once: it is ended in the next round */
		return false;
	}
	s->state = SLOT_BUSY;
	s->job = job;
	s->deadline_ms = deadline_ms;
	return true;
}

bool
pool_ask(enum checker_kind kind, void *job, const void *body, size_t len, int64_t deadline_ms)
{
	struct slot *s = idle_one(kind);

	return s != NULL && ask(s, job, body, len, deadline_ms);
}

struct pool_who
pool_who(void)
{
	return pool.who;
}

enum pool_asked
pool_ask_it(struct pool_who who, void *job, const void *body, size_t len, int64_t deadline_ms)
{
	struct slot *s = &pool.slots[who.slot];

	if (s->life != who.life || (s->state != SLOT_IDLE && s->state != SLOT_BUSY))
		return POOL_GONE;
	if (s->state == SLOT_BUSY)
		return POOL_LATER;
	return ask(s, job, body, len, deadline_ms) ? POOL_ASKED : POOL_GONE;
}

void
pool_each(enum checker_kind kind, void (*each)(void *job, void *with), void *with)
{
	struct slot *s = first_of(kind);

	for (unsigned i = 0; i < CHECKERS_A_KIND; i++)
		if (s[i].state == SLOT_BUSY)
			each(s[i].job, with);
}

void
pool_grow(enum checker_kind kind, unsigned waiting, int64_t now_ms)
{
	struct slot *s = first_of(kind), *empty = NULL;
	unsigned there = 0, coming = 0;

	if (now_ms < pool.pause_ms[kind])
		return;
	for (unsigned i = 0; i < CHECKERS_A_KIND; i++) {
		there += s[i].state != SLOT_EMPTY;
		coming += s[i].state == SLOT_WANTED;
	}
	for (unsigned i = 0; i < CHECKERS_A_KIND && there < pool.most[kind] && coming < waiting;
	     i++) {
		empty = &s[i];
		if (empty->state != SLOT_EMPTY)
			continue;
		if (!tell(IPC_CHECKER_WANTED, empty))
			return;
		*empty =
		    (struct slot){.state = SLOT_WANTED, .fd = -1, .generation = pool.generation};
		there++;
		coming++;
	}
}

static void
finish(struct slot *s, enum pool_end how, const struct ipc_auth_answer *answer, const char *groups)
{
	void *job = s->job;

	s->job = NULL;
	pool.done(job, how, answer, groups);
}

static void
arrived(struct slot *s, int fd, int64_t now_ms)
{
	if (s->state != SLOT_WANTED) {
		close(fd);
		return;
	}
	s->fd = fd;
	s->state = SLOT_IDLE;
	s->life = ++pool.last_life;
	if (s->generation != pool.generation)
		dismiss(s, now_ms);
}

static void
gone(struct slot *s, int64_t now_ms)
{
	enum state was = s->state;

	if (was == SLOT_BUSY) {
		log_error("a checker of %s died at its work", checker_word(kind_of(s)));
		finish(s, POOL_BROKEN, NULL, NULL);
	}
	if (was != SLOT_DYING && s->checks == 0)
		pool.pause_ms[kind_of(s)] = now_ms + PAUSE_MS;
	hang_up(s);
	s->state = SLOT_EMPTY;
}

void
pool_told(struct message *m, int64_t now_ms)
{
	const struct ipc_checker *body = m->body;

	if (body->slot >= POOL_SLOTS)
		return;
	if (m->type == IPC_CHECKER) {
		arrived(&pool.slots[body->slot], m->fds[0], now_ms);
		m->fd_count = 0; /* taken */
	} else
		gone(&pool.slots[body->slot], now_ms);
}

unsigned
pool_watch(struct pollfd *fds, uint16_t *slots, unsigned n)
{
	for (unsigned i = 0; i < POOL_SLOTS; i++)
		if (pool.slots[i].fd != -1) {
			slots[n] = (uint16_t)i;
			fds[n++] = (struct pollfd){.fd = pool.slots[i].fd, .events = POLLIN};
		}
	return n;
}

void
pool_ready(uint16_t number, int64_t now_ms)
{
	static struct message m;
	struct slot *s = &pool.slots[number];
	struct channel c = {s->fd, ROLE_AUTHENTICATOR, ROLE_CHECKER};
	const struct ipc_auth_answer *a;
	int got;

	if (s->fd == -1) /* hung up since poll */
		return;
	got = channel_receive(&c, &m);
	if (got == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got != 1 || s->state != SLOT_BUSY) { /* dead, or it says what it was not asked */
		if (s->state == SLOT_BUSY) {
			log_error("a checker of %s died at its work", checker_word(kind_of(s)));
			finish(s, POOL_BROKEN, NULL, NULL);
		}
		end(s, now_ms);
		return;
	}
	a = m.body;
	s->state = SLOT_IDLE;
	s->checks++;
	pool.who = (struct pool_who){number, s->life};
	finish(s, POOL_ANSWERED, a, (const char *)(a + 1) + a->user_len);
	secret_wipe_bytes(m.packet, sizeof(struct ipc_head) + m.len);
	if (s->checks >= CHECKS_MOST || s->generation != pool.generation)
		dismiss(s, now_ms);
}

static void
overdue(struct slot *s, int64_t now_ms)
{
	if (s->state == SLOT_BUSY) {
		log_warning("a checker of %s was ended: it had no answer in time",
			    checker_word(kind_of(s)));
		finish(s, POOL_TIMEOUT, NULL, NULL);
	}
	end(s, now_ms);
}

int64_t
pool_tick(int64_t now_ms)
{
	int64_t next = 0;

	for (unsigned i = 0; i < POOL_SLOTS; i++) {
		struct slot *s = &pool.slots[i];

		if (s->state != SLOT_BUSY && s->state != SLOT_DYING)
			continue;
		if (now_ms >= s->deadline_ms)
			overdue(s, now_ms);
		if (next == 0 || s->deadline_ms < next)
			next = s->deadline_ms;
	}
	return next;
}
