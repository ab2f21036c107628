/*
 * daemon/controller.c - see daemon/controller.h: the process, its channel, and what it knows.
 * Unprivileged; opens no file but those of name services (who may look, who may act).
 */
#include "controller.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "compile.h"
#include "counting.h"
#include "vitals.h"
#include "walk/endings.h"

struct controller controller;

static struct watch channel_watch;

const struct settings *
controller_settings(void)
{
	return controller.newest->settings_at;
}

struct edition *
controller_edition(uint32_t number)
{
	for (int i = 0; i < GENERATIONS_MAX; i++)
		if (number != 0 && controller.editions[i].number == number)
			return &controller.editions[i];
	return NULL;
}

const char *
controller_rule(const struct card *c)
{
	struct edition *e = controller_edition(c->policy);
	struct rule_terms terms = {.name = ""};

	if (e != NULL && c->rule >= RULE_SELF && c->rule < (int32_t)policy_rule_count(e->policy))
		policy_terms(e->policy, c->rule, &terms);
	return terms.name != NULL ? terms.name : "";
}

static uint64_t
counted(struct books *b, enum books_counter which)
{
	return atomic_load_explicit(books_counter(b, which), memory_order_relaxed);
}

uint64_t
controller_count(enum books_counter which)
{
	uint64_t sum = controller.past[which];

	for (int i = 0; i < SHELVES_MAX; i++)
		if (controller.views[i].books != NULL)
			sum += counted(controller.views[i].books, which);
	return sum;
}

static bool
is_ready(enum ipc_role role)
{
	const struct ipc_processes *p = &controller.processes;

	for (uint32_t i = 0; i < p->count; i++)
		if (p->list[i].role == role && p->list[i].state == PROCESS_READY)
			return true;
	return false;
}

bool
controller_copy(uint32_t n, struct lag *lag, double *seconds)
{
	const struct settings *s = controller_settings();
	bool alive = is_ready(ROLE_FORWARDER);
	int64_t since, now = clock_wall_ns();
	int i;

	if (n >= s->audit.copy_count || n >= SETTINGS_COPIES)
		return false;
	memset(lag, 0, sizeof *lag);
	i = controller.lags != NULL ? lags_place(controller.lags, s->audit.copies[n].name) : -1;
	if (i != -1)
		lags_get(controller.lags, i, lag);
	if (!alive)
		lag->state = LAG_DOWN;
	since = lag->oldest_ns == 0 && !alive ? lag->told_ns : lag->oldest_ns;
	*seconds = since > 0 && since < now ? (double)(now - since) / 1e9 : 0;
	return true;
}

/* ---- policies ------------------------------------------------------------------------------ */

static void
edition_drop(struct edition *e)
{
	policy_close(e->policy);
	if (e->settings_at != NULL)
		munmap(e->settings_at, e->settings_len);
	if (e->policy_at != NULL)
		munmap(e->policy_at, e->policy_len);
	memset(e, 0, sizeof *e);
}

static bool
in_use(uint32_t number)
{
	for (int i = 0; i < SHELVES_MAX; i++) {
		struct books *b = controller.views[i].books;
		const struct card *c;
		uint32_t at = 0;

		while (b != NULL && (c = books_next_open(b, &at)) != NULL)
			if (c->policy == number)
				return true;
	}
	return false;
}

/* Old ones are kept while a session lives that started under them: it is named by their rule. */
static struct edition *
edition_room(uint32_t number)
{
	struct edition *room = NULL, *oldest = NULL;

	for (int i = 0; i < GENERATIONS_MAX; i++) {
		struct edition *e = &controller.editions[i];

		/* a worker may still be on its way to the last one */
		if (e->number != 0 && e->number + 1 < number && !in_use(e->number))
			edition_drop(e);
		if (e->number == 0)
			room = e;
		else if (oldest == NULL || e->number < oldest->number)
			oldest = e;
	}
	if (room == NULL) {
		edition_drop(oldest);
		room = oldest;
	}
	return room;
}

static void
on_policy(const struct message *m)
{
	const struct ipc_policy *body = m->body;
	struct edition e = {.number = body->generation}, *room;
	struct ipc_policy_taken taken = {.generation = body->generation};

	e.settings_at = image_map(m->fds[0], &e.settings_len);
	e.policy_at = image_map(m->fds[1], &e.policy_len);
	if (e.settings_at == NULL || !settings_valid(e.settings_at, e.settings_len) ||
	    e.policy_at == NULL ||
	    (e.policy = policy_open_sealed(e.policy_at, e.policy_len)) == NULL) {
		log_error("bad policy image, generation %u", e.number);
		edition_drop(&e);
		return;
	}
	room = edition_room(e.number);
	*room = e;
	controller.newest = room;
	callers_settings();
	channel_send(&controller.channel, IPC_POLICY_TAKEN, &taken, sizeof taken, NULL, 0);
}

/* ---- what else the parent tells ------------------------------------------------------------ */

static void
on_tally(const struct message *m)
{
	if (controller.tally == NULL && (controller.tally = tally_view(m->fds[0])) == NULL)
		log_error("cannot map the tally");
}

static void
on_copy_page(const struct message *m)
{
	if (controller.lags == NULL && (controller.lags = lags_map(m->fds[0], false)) == NULL)
		log_error("cannot map the page of copies");
}

static void
on_books(const struct message *m)
{
	for (int i = 0; i < SHELVES_MAX; i++) {
		struct view *v = &controller.views[i];

		if (v->books != NULL)
			continue;
		v->stamp++;
		if ((v->books = books_view(m->fds[0])) == NULL)
			log_error("cannot map the books of a worker");
		return;
	}
	log_error("no place for the books of another worker");
}

/* What had started and not ended in a worker that is gone has ended with it; it could not count
 * that itself. */
static void
count_crash(const struct meters *m)
{
	for (int c = 0; c < METER_COMMANDS; c++) {
		uint64_t started = meter_read(&m->outcome[c][0]), ended = 0;

		for (int e = 0; e < METER_ENDINGS; e++)
			ended += meter_read(&m->ended[c][e]);
		if (started <= ended)
			continue;
		meter_add(&controller.past_meters.ended[c][END_WORKER_CRASH], started - ended);
		controller.past[COUNT_ENDED] += started - ended;
	}
}

static void
on_worker_gone(const struct message *m)
{
	const struct ipc_worker_gone *body = m->body;

	for (int i = 0; i < SHELVES_MAX; i++) {
		struct view *v = &controller.views[i];

		if (v->books == NULL || books_worker(v->books) != body->worker ||
		    books_generation(v->books) != body->generation)
			continue;
		for (int n = 0; n < COUNT_MAX; n++)
			if (n != COUNT_ASKED)
				controller.past[n] += counted(v->books, (enum books_counter)n);
		meters_sum(&controller.past_meters, books_meters(v->books));
		count_crash(books_meters(v->books));
		books_unmap(v->books);
		v->books = NULL;
	}
}

static void
on_door(const struct message *m)
{
	const struct ipc_door *body = m->body;
	int fd = fcntl(m->fds[0], F_DUPFD_CLOEXEC, 3);

	if (fd == -1) {
		log_error("cannot take a listening socket: %s", strerror(errno));
		return;
	}
	if (body->kind == DOOR_CONTROL)
		callers_open(fd);
	else {
		controller.metrics_at = body->at;
		metrics_serve(fd);
	}
}

static void
on_drain(const struct message *m)
{
	(void)m;
	controller.over = true;
}

static void
leave_over(struct timer *t)
{
	(void)t;
	controller.over = true;
}

/* The successor takes the next callers from the same sockets. */
static void
on_leave(const struct message *m)
{
	const struct ipc_leave *body = m->body;

	controller.leaving = true;
	callers_leave();
	timer_set(&controller.leave_timer, loop_now() + body->within_ms, leave_over);
}

static const struct {
	enum ipc_type type;
	void (*take)(const struct message *m);
} messages[] = {
    {IPC_TALLY, on_tally},
    {IPC_COPY_PAGE, on_copy_page},
    {IPC_POLICY, on_policy},
    {IPC_BOOKS, on_books},
    {IPC_WORKER_GONE, on_worker_gone},
    {IPC_DOOR, on_door},
    {IPC_ANSWER_TEXT, answer_text},
    {IPC_ANSWER, answer_told},
    {IPC_PROCESSES, answer_processes},
    {IPC_HITS_STORE, counting_store},
    {IPC_VITALS, vitals_take},
    {IPC_HITS, counting_page},
    {IPC_HITS_OVER, counting_over},
    {IPC_LEAVE, on_leave},
    {IPC_DRAIN, on_drain},
};

static void
channel_ready(struct watch *w, uint32_t events)
{
	static struct message m;
	int got = -1;

	(void)w;
	(void)events;
	while (!controller.over && (got = channel_receive(&controller.channel, &m)) == 1) {
		for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
			if (messages[i].type == m.type)
				messages[i].take(&m);
		message_close_fds(&m);
	}
	if (!controller.over && (got != -1 || errno != EAGAIN)) {
		controller.over = true; /* the parent is gone, or broken */
		return;
	}
	if (!controller.ready && controller.newest != NULL && controller.tally != NULL) {
		controller.ready = true;
		channel_send(&controller.channel, IPC_READY, NULL, 0, NULL, 0);
	}
}

int
controller_run(int channel)
{
	controller.channel = (struct channel){channel, ROLE_CONTROL, ROLE_PARENT};
	fcntl(channel, F_SETFL, fcntl(channel, F_GETFL) | O_NONBLOCK);
	if (!loop_open() || watch_add(&channel_watch, channel, EPOLLIN, channel_ready) == -1) {
		log_error("cannot set up the event loop: %s", strerror(errno));
		return 1;
	}
	while (!controller.over && !(controller.leaving && callers_left()))
		loop_round(-1);
	counting_end();
	return 0;
}
