/*
 * tests/bench/load_udp.c - mode udp: datagrams of 64 bytes to and from the target, through UDP
 * associations or straight.
 *
 * Each flow has BURST datagrams under way: when all of them are answered (or have been gone for a
 * while, which counts as lost) the next burst goes out. Every byte of every answer is checked, and
 * through a proxy the header before it. A datagram counts each time the proxy passes it: there, and
 * back.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/bench/plan.h"

#define BURST 32
#define HEADER 10 /* of RFC 1928 section 7, IPv4 */
#define ROOM 128
#define EVENTS 64
#define GONE_NS 100000000u

struct flow {
	int fd, control;    /* control -1: no proxy */
	size_t header;      /* HEADER or 0 */
	uint64_t tag, seen; /* of the first of the burst; a bit for each answer */
	uint64_t sent_ns;
	uint8_t head[HEADER];
};

static struct {
	const struct plan *plan;
	int epoll;
	bool asking;
	unsigned long answered, lost;
	struct mmsghdr messages[BURST];
	struct iovec pieces[BURST];
	uint8_t bytes[BURST][ROOM];
} run;

static struct sockaddr_in
row_address(const struct sockaddr_in *first, unsigned index)
{
	struct sockaddr_in at = *first;

	at.sin_addr.s_addr = htonl(ntohl(first->sin_addr.s_addr) + index);
	return at;
}

/* 127.128.0.1 and up, as dial.c has it. */
static struct sockaddr_in
source_address(unsigned long source)
{
	struct sockaddr_in from = {.sin_family = AF_INET};

	from.sin_addr.s_addr =
	    htonl(0x7f800001u + (uint32_t)(source / 254 * 256) + (uint32_t)(source % 254));
	return from;
}

static int
open_socket(int type, const struct sockaddr_in *from)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), room = 1 << 22;
	struct timeval patience = {.tv_sec = 5};

	if (fd < 0 || bind(fd, (const struct sockaddr *)from, sizeof *from) != 0)
		gate_fail("cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (type == SOCK_DGRAM)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	return fd;
}

static void
hear(int fd, uint8_t *to, size_t n)
{
	if (recv(fd, to, n, MSG_WAITALL) != (ssize_t)n)
		gate_fail("the proxy does not answer");
}

/* Opens an association from this address; where its datagrams go. */
static struct sockaddr_in
associate(struct flow *f, const struct sockaddr_in *from)
{
	static const uint8_t request[10] = {5, 3, 0, 1};
	struct sockaddr_in relay = {.sin_family = AF_INET};
	uint8_t reply[10];

	f->control = open_socket(SOCK_STREAM, from);
	if (connect(f->control, (const struct sockaddr *)&run.plan->via, sizeof run.plan->via) != 0)
		gate_fail("cannot reach the proxy");
	if (send(f->control, "\5\1\0", 3, MSG_NOSIGNAL) != 3)
		gate_fail("cannot greet the proxy");
	hear(f->control, reply, 2);
	if (reply[0] != 5 || reply[1] != 0 ||
	    send(f->control, request, sizeof request, MSG_NOSIGNAL) != sizeof request)
		gate_fail("the proxy takes no method");
	hear(f->control, reply, sizeof reply);
	if (reply[1] != 0 || reply[3] != 1)
		gate_fail("an association is refused");
	memcpy(&relay.sin_addr, reply + 4, 4);
	memcpy(&relay.sin_port, reply + 8, 2);
	return relay;
}

static void
flow_open(struct flow *f, unsigned i)
{
	struct sockaddr_in from = source_address((run.plan->first_source + i) % run.plan->sources);
	struct sockaddr_in target = row_address(&run.plan->target, i % run.plan->targets);
	struct sockaddr_in to = target;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = f};

	f->control = -1;
	f->tag = (uint64_t)(run.plan->first_source + i) << 32;
	f->seen = UINT32_MAX;
	if (run.plan->speak != SPEAK_NOTHING) {
		to = associate(f, &from);
		f->header = HEADER;
		memcpy(f->head, "\0\0\0\1", 4);
		memcpy(f->head + 4, &target.sin_addr, 4);
		memcpy(f->head + 8, &target.sin_port, 2);
	}
	f->fd = open_socket(SOCK_DGRAM, &from);
	if (connect(f->fd, (struct sockaddr *)&to, sizeof to) != 0 ||
	    epoll_ctl(run.epoll, EPOLL_CTL_ADD, f->fd, &event) != 0)
		gate_fail("cannot watch a socket");
}

static void
set_pieces(size_t len)
{
	for (unsigned i = 0; i < BURST; i++) {
		run.pieces[i] = (struct iovec){run.bytes[i], len};
		run.messages[i].msg_hdr =
		    (struct msghdr){.msg_iov = &run.pieces[i], .msg_iovlen = 1};
	}
}

static void
flow_ask(struct flow *f)
{
	unsigned sent = 0;

	f->tag += BURST;
	f->seen = 0;
	f->sent_ns = gate_now();
	set_pieces(f->header + MESSAGE);
	for (unsigned i = 0; i < BURST; i++) {
		memcpy(run.bytes[i], f->head, f->header);
		order_write(run.bytes[i] + f->header, ORDER_ECHO, f->tag + i);
	}
	while (sent < BURST) {
		int n =
		    sendmmsg(f->fd, run.messages + sent, BURST - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			break; /* what did not go is lost */
		sent += (unsigned)n;
	}
}

static void
take_answer(struct flow *f, const uint8_t *bytes, size_t len)
{
	const uint8_t *message = bytes + f->header;
	uint64_t tag;

	if (len != f->header + MESSAGE || memcmp(bytes, f->head, f->header) != 0)
		gate_wrong("the size or the header of a datagram");
	memcpy(&tag, message + 8, sizeof tag);
	if (!answer_is(message, tag, 0) || tag >> 32 != f->tag >> 32 || tag >= f->tag + BURST)
		gate_wrong("a datagram");
	if (tag < f->tag)
		return; /* given up, and here after all */
	if ((f->seen & 1ull << (tag - f->tag)) != 0)
		gate_wrong("a datagram that came twice");
	f->seen |= 1ull << (tag - f->tag);
	run.answered++;
}

static void
flow_hear(struct flow *f)
{
	int n;

	set_pieces(ROOM);
	n = recvmmsg(f->fd, run.messages, BURST, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		take_answer(f, run.bytes[i], run.messages[i].msg_len);
	if (f->seen == UINT32_MAX && run.asking)
		flow_ask(f);
}

static void
give_up_the_gone(struct flow *flows)
{
	uint64_t now = gate_now();

	for (unsigned i = 0; i < run.plan->at_once; i++)
		if (flows[i].seen != UINT32_MAX && now - flows[i].sent_ns > GONE_NS) {
			run.lost += BURST - (unsigned)__builtin_popcountll(flows[i].seen);
			flow_ask(&flows[i]);
		}
}

static void
serve_until(struct flow *flows, uint64_t end)
{
	struct epoll_event events[EVENTS];
	uint64_t look = 0, now;

	while ((now = gate_now()) < end) {
		int n = epoll_wait(run.epoll, events, EVENTS, 20);

		for (int i = 0; i < n; i++)
			flow_hear(events[i].data.ptr);
		if (now > look) {
			give_up_the_gone(flows);
			look = now + GONE_NS / 4;
		}
	}
}

int
load_udp(const struct plan *plan)
{
	struct flow *flows = calloc(plan->at_once, sizeof *flows);
	unsigned long answered, lost;
	uint64_t begin, end;

	run.plan = plan;
	run.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (flows == NULL)
		gate_fail("no memory");
	for (unsigned i = 0; i < plan->at_once; i++)
		flow_open(&flows[i], i);
	run.asking = true;
	for (unsigned i = 0; i < plan->at_once; i++)
		flow_ask(&flows[i]);
	serve_until(flows, gate_now() + plan->warm_ms * 1000000ull);
	gate_pass(plan, "begin");
	run.answered = run.lost = 0;
	begin = gate_now();
	serve_until(flows, begin + plan->run_ms * 1000000ull);
	end = gate_now();
	answered = run.answered;
	lost = run.lost;
	gate_pass(plan, "end");
	if (answered == 0)
		gate_fail("no datagram came back");
	printf("{\"done\":%lu,\"lost\":%lu,\"seconds\":%.6f}\n", 2 * answered, lost,
	       (double)(end - begin) / 1e9);
	free(flows);
	return 0;
}
