/*
 * tests/bench/dial.c - the client side of SOCKS4, 4a and 5 for the generator.
 *
 * Each session comes from another address of 127.128.0.0/9, so that sockets in
 * TIME-WAIT never run out of ports and limits per source see many sources. The
 * dialogue is strict: each message is sent after the answer to the one before, and
 * an answer must have exactly the bytes that the protocol gives it.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/dial.h"

enum stage { STAGE_CONNECT, STAGE_METHOD, STAGE_REPLY, STAGE_OPEN };

static struct sockaddr_in
row_address(const struct sockaddr_in *first, unsigned index)
{
	struct sockaddr_in at = *first;

	at.sin_addr.s_addr = htonl(ntohl(first->sin_addr.s_addr) + index);
	return at;
}

void
dial_start(struct dial *d, const struct plan *plan, int epoll, unsigned long serial)
{
	struct sockaddr_in from = {.sin_family = AF_INET}, to;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = d};
	unsigned long source = plan->first_source + serial % plan->sources;
	int yes = 1;

	d->stage = STAGE_CONNECT;
	d->have = d->code = 0;
	d->target = (uint16_t)(serial % plan->targets);
	d->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (d->fd < 0)
		gate_fail("cannot make a socket");
	/* 127.128.0.1 and up, never a .0 or .255 */
	from.sin_addr.s_addr =
	    htonl(0x7f800001u + (uint32_t)(source / 254 * 256) + (uint32_t)(source % 254));
	setsockopt(d->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
	setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	if (bind(d->fd, (struct sockaddr *)&from, sizeof from) != 0)
		gate_fail("cannot bind a source address");
	to = plan->via.sin_port != 0 ? plan->via : row_address(&plan->target, d->target);
	if (connect(d->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS &&
	    errno != ECONNREFUSED)
		gate_fail("cannot connect");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, d->fd, &event) != 0)
		gate_fail("cannot watch a socket");
}

void
dial_end(struct dial *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static size_t
request_write(const struct dial *d, const struct plan *plan, uint8_t *to)
{
	struct sockaddr_in at = row_address(&plan->target, d->target);
	uint8_t *p = to;

	if (plan->speak == SPEAK_SOCKS5) {
		memcpy(p, "\5\1\0\1", 4);
		memcpy(p + 4, &at.sin_addr, 4);
		memcpy(p + 8, &at.sin_port, 2);
		return 10;
	}
	memcpy(p, "\4\1", 2);
	memcpy(p + 2, &at.sin_port, 2);
	if (plan->speak == SPEAK_SOCKS4) {
		memcpy(p + 4, &at.sin_addr, 4);
		p[8] = 0;
		return 9;
	}
	memcpy(p + 4, "\0\0\0\1\0", 5);
	inet_ntop(AF_INET, &at.sin_addr, (char *)p + 9, INET_ADDRSTRLEN);
	return 9 + strlen((char *)p + 9) + 1;
}

/* Sends one whole message; so short a one never fits in part. */
static enum dial_result
say(struct dial *d, const void *message, size_t n, enum stage next)
{
	ssize_t sent = send(d->fd, message, n, MSG_NOSIGNAL);

	if (sent < 0 && errno == EAGAIN)
		return DIAL_WAIT;
	if (sent != (ssize_t)n)
		return d->stage == STAGE_CONNECT ? DIAL_NOWHERE : DIAL_CLOSED;
	d->stage = (uint8_t)next;
	d->have = 0;
	return DIAL_WAIT;
}

static enum dial_result
step_connect(struct dial *d, const struct plan *plan)
{
	struct sockaddr_in peer;
	socklen_t n = sizeof peer;
	int failed = 0;
	uint8_t request[64];

	switch (plan->speak) {
	case SPEAK_SOCKS5:
		return say(d, "\5\1\0", 3, STAGE_METHOD);
	case SPEAK_SOCKS4:
	case SPEAK_SOCKS4A:
		return say(d, request, request_write(d, plan, request), STAGE_REPLY);
	case SPEAK_NOTHING:
		break;
	}
	if (getpeername(d->fd, (struct sockaddr *)&peer, &n) == 0) {
		d->stage = STAGE_OPEN;
		return DIAL_READY;
	}
	n = sizeof failed;
	if (getsockopt(d->fd, SOL_SOCKET, SO_ERROR, &failed, &n) == 0 && failed != 0)
		return DIAL_NOWHERE;
	return DIAL_WAIT;
}

/* Bytes of the whole answer, as far as it can be known yet. */
static size_t
answer_length(const struct dial *d, const struct plan *plan)
{
	if (d->stage == STAGE_METHOD)
		return 2;
	if (plan->speak != SPEAK_SOCKS5)
		return 8;
	if (d->have < 5)
		return 5;
	return d->reply[3] == 4 ? 22 : d->reply[3] == 1 ? 10 : 7u + d->reply[4];
}

static enum dial_result
step_answer(struct dial *d, const struct plan *plan)
{
	uint8_t request[64];
	ssize_t got;

	/* The target never speaks first, so more than one answer cannot be there. */
	got = recv(d->fd, d->reply + d->have, sizeof d->reply - d->have, 0);
	if (got < 0)
		return errno == EAGAIN ? DIAL_WAIT : DIAL_CLOSED;
	if (got == 0)
		return DIAL_CLOSED;
	d->have = (uint8_t)(d->have + got);
	if (d->have < answer_length(d, plan))
		return DIAL_WAIT;
	if (d->have > answer_length(d, plan))
		gate_wrong("bytes behind the proxy's answer");
	if (d->reply[0] != (plan->speak == SPEAK_SOCKS5 ? 5 : 0))
		gate_wrong("the proxy's answer is of another protocol");
	d->code = d->reply[1];
	if (d->stage == STAGE_METHOD)
		return d->code != 0 ? DIAL_REFUSED
				    : say(d, request, request_write(d, plan, request), STAGE_REPLY);
	if (d->code != (plan->speak == SPEAK_SOCKS5 ? 0 : 90))
		return DIAL_REFUSED;
	d->stage = STAGE_OPEN;
	return DIAL_READY;
}

enum dial_result
dial_step(struct dial *d, const struct plan *plan)
{
	switch ((enum stage)d->stage) {
	case STAGE_CONNECT:
		return step_connect(d, plan);
	case STAGE_METHOD:
	case STAGE_REPLY:
		return step_answer(d, plan);
	case STAGE_OPEN:
		break;
	}
	return DIAL_READY;
}
