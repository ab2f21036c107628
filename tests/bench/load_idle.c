/*
 * tests/bench/load_idle.c - many sessions that stand and do nothing.
 *
 * `idle` opens N sessions, each with one exchange behind it, and holds them while the
 * orchestrator reads the proxy's memory and CPU; then each must still answer.
 * `limit` opens sessions until the proxy has no more room: it wants to know how many are
 * held, that each further client hears so promptly, that the held ones live on, and
 * that there is room again after they have gone.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/bench/dial.h"

#define EVENTS 256
#define SECOND 1000000000ull
#define REFUSALS_ENOUGH 200 /* limit: after so many the proxy is full */

enum state { FRESH, OPENING, ASKED, HELD, GONE };

struct client {
	struct dial dial;
	enum state state;
	unsigned have;
	uint64_t tag, began;
	uint8_t answer[MESSAGE];
};

static struct {
	const struct plan *plan;
	int epoll;
	struct client *clients;
	unsigned started, busy; /* busy: opening or asked */
	unsigned held, refused, closed, nowhere, hung;
	unsigned refused_in_row;
	uint64_t slowest_no_ns;
	unsigned codes[256];
} run;

static void
client_start(unsigned index)
{
	struct client *c = &run.clients[index];

	c->state = OPENING;
	c->began = gate_now();
	dial_start(&c->dial, run.plan, run.epoll, index);
	run.busy++;
}

static void
client_gone(struct client *c, unsigned *count)
{
	uint64_t took = gate_now() - c->began;

	if (took > run.slowest_no_ns)
		run.slowest_no_ns = took;
	++*count;
	run.refused_in_row++;
	run.busy--;
	c->state = GONE;
	dial_end(&c->dial);
}

static void
client_ask(struct client *c)
{
	uint8_t order[MESSAGE];

	c->have = 0;
	c->began = gate_now();
	order_write(order, ORDER_ECHO, ++c->tag);
	c->state = ASKED;
	/* If this fails, reading tells. */
	(void)!send(c->dial.fd, order, MESSAGE, MSG_NOSIGNAL);
}

static void
client_hear(struct client *c)
{
	ssize_t got = recv(c->dial.fd, c->answer + c->have, MESSAGE - c->have, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		client_gone(c, &run.closed);
		return;
	}
	c->have += (unsigned)got;
	if (c->have < MESSAGE)
		return;
	if (!answer_is(c->answer, c->tag, 0))
		gate_wrong("the answer of a standing session");
	c->state = HELD;
	run.held++;
	run.busy--;
	run.refused_in_row = 0;
}

static void
client_lost(struct client *c)
{
	uint8_t byte;

	if (recv(c->dial.fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN)
		return;
	run.held--;
	run.busy++;
	client_gone(c, &run.closed);
}

static void
client_open(struct client *c)
{
	switch (dial_step(&c->dial, run.plan)) {
	case DIAL_WAIT:
		return;
	case DIAL_READY:
		client_ask(c);
		return;
	case DIAL_REFUSED:
		run.codes[c->dial.code]++;
		client_gone(c, &run.refused);
		return;
	case DIAL_CLOSED:
		client_gone(c, &run.closed);
		return;
	case DIAL_NOWHERE:
		client_gone(c, &run.nowhere);
		return;
	}
}

static void
serve_once(int wait_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(run.epoll, events, EVENTS, wait_ms), i;

	for (i = 0; i < n; i++) {
		struct client *c = events[i].data.ptr;

		if (c->state == OPENING)
			client_open(c);
		else if (c->state == ASKED)
			client_hear(c);
		else if (c->state == HELD)
			client_lost(c);
	}
}

/* Gives up on those that have heard nothing for so long. */
static void
give_up(unsigned from, unsigned to, uint64_t patience)
{
	uint64_t now = gate_now();

	for (; from < to; from++) {
		struct client *c = &run.clients[from];

		if ((c->state == OPENING || c->state == ASKED) && now - c->began > patience)
			client_gone(c, &run.hung);
	}
}

/* Opens sessions up to count, or until the proxy is full if it may be. */
static void
open_all(unsigned count, bool may_be_full)
{
	uint64_t looked = gate_now();

	while (run.started < count || run.busy > 0) {
		while (run.started < count && run.busy < run.plan->at_once &&
		       !(may_be_full && run.refused_in_row >= REFUSALS_ENOUGH))
			client_start(run.started++);
		if (run.busy == 0)
			return;
		serve_once(100);
		if (gate_now() - looked > SECOND / 2) {
			give_up(0, run.started, 3 * SECOND);
			looked = gate_now();
		}
	}
}

/* Asks each held session once more; returns how many answer. */
static unsigned
ask_all(void)
{
	unsigned i = 0, held = run.held;
	uint64_t bound = gate_now() + 20 * SECOND;

	run.held = 0;
	while ((i < run.started || run.busy > 0) && gate_now() < bound) {
		for (; i < run.started && run.busy < 64; i++)
			if (run.clients[i].state == HELD) {
				client_ask(&run.clients[i]);
				run.busy++;
			}
		serve_once(100);
	}
	return run.held < held ? run.held : held;
}

static void
prepare(const struct plan *plan)
{
	run.plan = plan;
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	run.clients = calloc(plan->count + plan->at_once, sizeof *run.clients);
	if (run.clients == NULL)
		gate_fail("no memory");
}

static void
close_all(void)
{
	for (unsigned i = 0; i < run.started; i++)
		if (run.clients[i].state != GONE)
			dial_end(&run.clients[i].dial);
}

/* A few sessions come and go, so that what a proxy sets up once is not counted. */
static void
warm_up(void)
{
	open_all(run.plan->at_once, false);
	close_all();
	run.started = run.held = 0;
	for (unsigned i = 0; i < run.plan->at_once; i++)
		run.clients[i] = (struct client){.state = FRESH};
}

int
load_idle(const struct plan *plan)
{
	unsigned held, failed;

	prepare(plan);
	warm_up();
	gate_pass(plan, "begin");
	open_all(plan->count, false);
	held = run.held;
	failed = run.refused + run.closed + run.nowhere + run.hung;
	gate_pass(plan, "held");
	gate_pass(plan, "end");
	printf("{\"held\":%u,\"failed\":%u,\"alive\":%u}\n", held, failed, ask_all());
	close_all();
	return failed > 0;
}

int
load_limit(const struct plan *plan)
{
	unsigned held, refused, closed, nowhere, hung, alive, code = 0;
	uint64_t slowest, bound;

	prepare(plan);
	open_all(plan->count, true);
	held = run.held;
	refused = run.refused;
	closed = run.closed;
	nowhere = run.nowhere;
	hung = run.hung;
	slowest = run.slowest_no_ns;
	for (unsigned i = 1; i < 256; i++)
		if (run.codes[i] > run.codes[code])
			code = i;
	alive = ask_all();
	close_all();
	run.started = run.held = 0;
	bound = gate_now() + 5 * SECOND;
	while (run.held == 0 && gate_now() < bound) {
		run.clients[0] = (struct client){.state = FRESH};
		run.started = run.refused_in_row = 0;
		open_all(1, false);
	}
	printf("{\"held\":%u,\"refused\":%u,\"code\":%u,\"closed\":%u,\"nowhere\":%u,\"hung\":%u,",
	       held, refused, code, closed, nowhere, hung);
	printf("\"slowest_ms\":%.1f,\"alive\":%u,\"room_again\":%s}\n", (double)slowest / 1e6,
	       alive, run.held > 0 ? "true" : "false");
	close_all();
	return 0;
}
