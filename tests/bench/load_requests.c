/*
 * tests/bench/load_requests.c - 64-byte requests and answers on standing sessions.
 *
 * `requests` keeps one request in flight on each of K sessions and counts. `latency`
 * has one session, blocking, and tells how long a lone request takes; run
 * it with everything pinned to one processor, or it measures how processors wake up.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/bench/dial.h"

#define EVENTS 64
#define SAMPLES 1000000u

struct client {
	struct dial dial;
	bool open;
	unsigned have;
	uint64_t tag;
	uint8_t answer[MESSAGE];
};

static struct {
	const struct plan *plan;
	int epoll;
	bool asking;
	unsigned open, waiting;
	unsigned long done;
} run;

static void
client_ask(struct client *c)
{
	uint8_t order[MESSAGE];

	c->have = 0;
	order_write(order, ORDER_ECHO, ++c->tag);
	if (send(c->dial.fd, order, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
		gate_fail("cannot send a request");
	run.waiting++;
}

static void
client_hear(struct client *c)
{
	ssize_t got = recv(c->dial.fd, c->answer + c->have, MESSAGE - c->have, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		gate_fail("a standing session ended");
	c->have += (unsigned)got;
	if (c->have < MESSAGE)
		return;
	if (!answer_is(c->answer, c->tag, 0))
		gate_wrong("the answer to a request");
	run.done++;
	run.waiting--;
	if (run.asking)
		client_ask(c);
}

static void
client_step(struct client *c)
{
	enum dial_result r;

	if (c->open) {
		client_hear(c);
		return;
	}
	r = dial_step(&c->dial, run.plan);
	if (r == DIAL_WAIT)
		return;
	if (r != DIAL_READY)
		gate_fail("a session is refused");
	c->open = true;
	run.open++;
}

static void
serve_once(void)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(run.epoll, events, EVENTS, 5000), i;

	if (n == 0)
		gate_fail("nothing moves any more");
	for (i = 0; i < n; i++)
		client_step(events[i].data.ptr);
}

static void
serve_until(uint64_t end)
{
	while (gate_now() < end)
		serve_once();
}

int
load_requests(const struct plan *plan)
{
	struct client *clients = calloc(plan->at_once, sizeof *clients);
	uint64_t begin, end;
	unsigned long done;
	unsigned i;

	run.plan = plan;
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (clients == NULL)
		gate_fail("no memory");
	for (i = 0; i < plan->at_once; i++) {
		clients[i].tag = (uint64_t)(plan->first_source + i) << 32;
		dial_start(&clients[i].dial, plan, run.epoll, i);
	}
	while (run.open < plan->at_once)
		serve_once();
	run.asking = true;
	for (i = 0; i < plan->at_once; i++)
		client_ask(&clients[i]);
	serve_until(gate_now() + plan->warm_ms * 1000000ull);
	gate_pass(plan, "begin");
	run.done = 0;
	begin = gate_now();
	serve_until(begin + plan->run_ms * 1000000ull);
	end = gate_now();
	done = run.done;
	gate_pass(plan, "end");
	run.asking = false;
	while (run.waiting > 0)
		serve_once();
	printf("{\"done\":%lu,\"seconds\":%.6f}\n", done, (double)(end - begin) / 1e9);
	free(clients);
	return 0;
}

/* One whole exchange on a blocking descriptor; returns its nanoseconds. */
static uint64_t
exchange(int fd, uint64_t tag)
{
	uint8_t order[MESSAGE], answer[MESSAGE];
	uint64_t began = gate_now();

	order_write(order, ORDER_ECHO, tag);
	if (send(fd, order, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
		gate_fail("cannot send a request");
	if (recv(fd, answer, MESSAGE, MSG_WAITALL) != MESSAGE)
		gate_fail("no answer to a request");
	if (!answer_is(answer, tag, 0))
		gate_wrong("the answer to a lone request");
	return gate_now() - began;
}

int
load_latency(const struct plan *plan)
{
	uint32_t *took_ns = malloc(SAMPLES * sizeof *took_ns);
	struct timeval patience = {.tv_sec = 5};
	struct client c = {.tag = 1};
	unsigned n = 0;
	uint64_t end, tag = 0;

	run.plan = plan;
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (took_ns == NULL)
		gate_fail("no memory");
	dial_start(&c.dial, plan, run.epoll, 0);
	while (run.open == 0)
		serve_once();
	fcntl(c.dial.fd, F_SETFL, 0);
	setsockopt(c.dial.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	for (end = gate_now() + plan->warm_ms * 1000000ull; gate_now() < end;)
		exchange(c.dial.fd, tag++);
	gate_pass(plan, "begin");
	for (end = gate_now() + plan->run_ms * 1000000ull; gate_now() < end && n < SAMPLES;)
		took_ns[n++] = (uint32_t)exchange(c.dial.fd, tag++);
	gate_pass(plan, "end");
	printf("{\"done\":%u,\"p50_us\":%.2f,", n, gate_percentile(took_ns, n, 50) / 1e3);
	printf("\"p99_us\":%.2f}\n", gate_percentile(took_ns, n, 99) / 1e3);
	free(took_ns);
	return 0;
}
