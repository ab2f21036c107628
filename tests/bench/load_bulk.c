/*
 * tests/bench/load_bulk.c - streams that carry as much as they can: down, up or both.
 *
 * Every byte is checked by who receives it. The measured stretch lies inside the
 * streams' life; afterwards each one is ended in order, and must end on its mark:
 * bytes lost at the end are found as those in the middle are.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/bench/dial.h"

#define EVENTS 64

struct stream {
	struct dial dial;
	bool open, over;
	unsigned have;
	uint8_t answer[MESSAGE];
	struct pattern_in in;
	struct pattern_out out;
};

static struct {
	const struct plan *plan;
	int epoll;
	bool stopping;
	unsigned open, over;
	uint64_t received, sent;
} run;

static uint8_t taken[CHUNK];

static void
watch(struct stream *s, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = s};

	if (epoll_ctl(run.epoll, EPOLL_CTL_MOD, s->dial.fd, &event) != 0)
		gate_fail("cannot watch a stream");
}

static void
stream_over(struct stream *s)
{
	dial_end(&s->dial);
	s->over = true;
	run.over++;
}

static void
stream_order(struct stream *s, enum order what)
{
	uint8_t order[MESSAGE];

	order_write(order, what, s->in.tag);
	if (send(s->dial.fd, order, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
		gate_fail("cannot send an order");
}

static void
stream_open(struct stream *s)
{
	enum dial_result r = dial_step(&s->dial, run.plan);

	if (r == DIAL_WAIT)
		return;
	if (r != DIAL_READY)
		gate_fail("a stream is refused");
	s->open = true;
	run.open++;
	stream_order(s, run.plan->flow);
	watch(s, run.plan->flow == ORDER_DOWN ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

static void
hear_answer(struct stream *s)
{
	ssize_t got = recv(s->dial.fd, s->answer + s->have, MESSAGE - s->have, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		gate_fail("a stream ended early");
	s->have += (unsigned)got;
	if (s->have < MESSAGE)
		return;
	if (!s->out.ended || !answer_is(s->answer, s->out.tag, s->out.count))
		gate_wrong("the target counted other bytes than were sent");
	stream_over(s);
}

static void
stream_read(struct stream *s)
{
	ssize_t got;

	if (run.plan->flow == ORDER_UP) {
		hear_answer(s);
		return;
	}
	got = recv(s->dial.fd, taken, sizeof taken, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		gate_fail("a stream ended early");
	if (!pattern_check(&s->in, taken, (size_t)got))
		gate_wrong("a stream");
	run.received += (uint64_t)got;
	if (s->in.ended)
		stream_over(s);
}

static void
stream_write(struct stream *s)
{
	const uint8_t *bytes;
	size_t n = pattern_next(&s->out, &bytes);
	ssize_t sent = send(s->dial.fd, bytes, n, MSG_NOSIGNAL);

	if (sent < 0 && errno == EAGAIN)
		return;
	if (sent < 0)
		gate_fail("a stream was reset");
	pattern_sent(&s->out, (size_t)sent);
	run.sent += (uint64_t)sent;
	if (s->out.ended)
		watch(s, EPOLLIN);
}

static void
stream_step(struct stream *s, uint32_t events)
{
	if (s->over)
		return;
	if (!s->open) {
		stream_open(s);
		return;
	}
	if ((events & EPOLLOUT) != 0 && !s->out.ended)
		stream_write(s);
	if ((events & ~(uint32_t)EPOLLOUT) != 0)
		stream_read(s);
}

static void
serve_once(void)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(run.epoll, events, EVENTS, 5000), i;

	if (n == 0)
		gate_fail("nothing moves any more");
	for (i = 0; i < n; i++)
		stream_step(events[i].data.ptr, events[i].events);
}

static void
serve_until(uint64_t end)
{
	while (gate_now() < end)
		serve_once();
}

static void
streams_end(struct stream *streams, unsigned count)
{
	uint64_t bound = gate_now() + 20000000000u;
	unsigned i;

	for (i = 0; i < count; i++)
		if (run.plan->flow == ORDER_DOWN)
			stream_order(&streams[i], ORDER_STOP);
		else
			pattern_stop(&streams[i].out);
	while (run.over < count) {
		if (gate_now() > bound)
			gate_fail("the streams do not end");
		serve_once();
	}
}

int
load_bulk(const struct plan *plan)
{
	struct stream *streams = calloc(plan->at_once, sizeof *streams);
	uint64_t begin, end, received, sent;
	unsigned i;

	run.plan = plan;
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (streams == NULL)
		gate_fail("no memory");
	for (i = 0; i < plan->at_once; i++) {
		streams[i].in.tag = streams[i].out.tag = (plan->first_source + i) * 7919ull + 1;
		dial_start(&streams[i].dial, plan, run.epoll, i);
	}
	while (run.open < plan->at_once)
		serve_once();
	serve_until(gate_now() + plan->warm_ms * 1000000ull);
	gate_pass(plan, "begin");
	received = run.received;
	sent = run.sent;
	begin = gate_now();
	serve_until(begin + plan->run_ms * 1000000ull);
	end = gate_now();
	received = run.received - received;
	sent = run.sent - sent;
	gate_pass(plan, "end");
	streams_end(streams, plan->at_once);
	printf("{\"received\":%llu,\"sent\":%llu,\"seconds\":%.6f}\n", (unsigned long long)received,
	       (unsigned long long)sent, (double)(end - begin) / 1e9);
	free(streams);
	return 0;
}
