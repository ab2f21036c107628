/*
 * tests/bench/load_sessions.c - new sessions, K at a time: open, ask, hear, close.
 *
 * Measures how many whole sessions a second get through, and how long one takes. The
 * client closes first, as clients do; what failed is counted and shown.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/bench/dial.h"

#define EVENTS 64
#define SAMPLES 500000u

struct client {
	struct dial dial;
	bool asked, resting;
	unsigned have;
	uint64_t tag, began;
	uint8_t answer[MESSAGE];
};

static struct {
	const struct plan *plan;
	int epoll;
	bool stopping, counting;
	unsigned long serial, done, failed, running, granted;
	uint32_t *took_us;
} run;

/* Whatever becomes of it, it was told that it may. */
static void
record_granted(const struct client *c)
{
	struct sockaddr_in own;
	socklen_t n = sizeof own;
	char at[INET_ADDRSTRLEN];

	run.granted++;
	if (run.plan->record == NULL || getsockname(c->dial.fd, (struct sockaddr *)&own, &n) != 0 ||
	    inet_ntop(AF_INET, &own.sin_addr, at, sizeof at) == NULL)
		return;
	fprintf(run.plan->record, "%s %u\n", at, ntohs(own.sin_port));
}

static bool
is_enough(void)
{
	return run.plan->record != NULL && run.granted >= run.plan->count;
}

static void
client_start(struct client *c)
{
	c->resting = run.stopping;
	if (c->resting) {
		run.running--;
		return;
	}
	c->asked = false;
	c->have = 0;
	c->tag = run.serial;
	c->began = gate_now();
	dial_start(&c->dial, run.plan, run.epoll, run.serial++);
}

static void
client_over(struct client *c, bool well)
{
	dial_end(&c->dial);
	if (run.counting && well && run.done < SAMPLES)
		run.took_us[run.done] = (uint32_t)((gate_now() - c->began) / 1000);
	if (run.counting && well)
		run.done++;
	run.failed += !well;
	if (run.failed > 1000 && run.failed > run.done)
		gate_fail("most sessions fail");
	client_start(c);
}

static void
client_hear(struct client *c)
{
	ssize_t got = recv(c->dial.fd, c->answer + c->have, MESSAGE - c->have, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		client_over(c, false);
		return;
	}
	c->have += (unsigned)got;
	if (c->have < MESSAGE)
		return;
	if (!answer_is(c->answer, c->tag, 0))
		gate_wrong("the answer of a session");
	client_over(c, true);
}

static void
client_step(struct client *c)
{
	uint8_t order[MESSAGE];

	if (c->resting)
		return;
	if (c->asked) {
		client_hear(c);
		return;
	}
	switch (dial_step(&c->dial, run.plan)) {
	case DIAL_WAIT:
		return;
	case DIAL_READY:
		record_granted(c);
		order_write(order, ORDER_ECHO, c->tag);
		c->asked = true;
		if (send(c->dial.fd, order, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
			client_over(c, false);
		return;
	default:
		client_over(c, false);
	}
}

/* Serves events until the time comes, or, when stopping, until all clients rest. */
static void
serve_until(uint64_t end)
{
	struct epoll_event events[EVENTS];
	uint64_t heard = gate_now(), now;
	int n, i;

	while ((now = gate_now()) < end && (run.stopping ? run.running > 0 : !is_enough())) {
		n = epoll_wait(run.epoll, events, EVENTS, 100);
		for (i = 0; i < n; i++)
			client_step(events[i].data.ptr);
		if (n > 0)
			heard = now;
		else if (now - heard > 5000000000u)
			gate_fail("nothing moves any more");
	}
}

int
load_sessions(const struct plan *plan)
{
	struct client *clients = calloc(plan->at_once, sizeof *clients);
	uint64_t begin, end;
	unsigned i, samples;

	run.plan = plan;
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	run.took_us = malloc(SAMPLES * sizeof *run.took_us);
	if (clients == NULL || run.took_us == NULL)
		gate_fail("no memory");
	run.running = plan->at_once;
	for (i = 0; i < plan->at_once; i++)
		client_start(&clients[i]);
	serve_until(gate_now() + plan->warm_ms * 1000000ull);
	gate_pass(plan, "begin");
	run.counting = true;
	run.failed = 0;
	begin = gate_now();
	serve_until(begin + plan->run_ms * 1000000ull);
	end = gate_now();
	run.counting = false;
	gate_pass(plan, "end");
	run.stopping = true;
	serve_until(gate_now() + 5000000000u);
	if (run.running > 0)
		gate_fail("the last sessions do not end");
	samples = run.done < SAMPLES ? (unsigned)run.done : SAMPLES;
	printf("{\"done\":%lu,\"failed\":%lu,\"seconds\":%.6f,\"p50_us\":%u,\"p99_us\":%u}\n",
	       run.done, run.failed, (double)(end - begin) / 1e9,
	       gate_percentile(run.took_us, samples, 50),
	       gate_percentile(run.took_us, samples, 99));
	if (plan->record != NULL && fclose(plan->record) != 0)
		gate_fail("cannot write the granted sessions");
	free(run.took_us);
	free(clients);
	return run.failed > run.done / 1000;
}
