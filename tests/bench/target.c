/*
 * tests/bench/target.c - the server behind the proxy in a benchmark.
 *
 * Listens on a row of loopback addresses at one port, of TCP and UDP, prints "port N", and does
 * what each order says (a datagram can only be answered): answers messages, sends, takes or both.
 * Every byte taken is checked; a wrong one is told on stderr and makes the exit status 1. One
 * process, one event loop. SIGTERM ends it; it then prints its counts as JSON.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/pattern.h"

#define LISTENERS 256
#define EVENTS 64
#define ACCEPT_BATCH 16
#define DATAGRAMS 32

struct conn {
	int fd;
	bool listener, datagrams;
	enum order order; /* 0: not heard yet */
	uint64_t tag;
	unsigned have;
	uint8_t message[MESSAGE];
	struct pattern_in in;
	struct pattern_out out;
};

static int epoll_fd;
static volatile sig_atomic_t over;
static unsigned long accepted, answered, wrong, cut;
static uint8_t taken[CHUNK];

static void
on_term(int sig)
{
	(void)sig;
	over = 1;
}

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "target: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void
watch(struct conn *c, int how, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (epoll_ctl(epoll_fd, how, c->fd, &event) != 0)
		die("cannot watch a socket");
}

static void
conn_end(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void
conn_wrong(struct conn *c, const char *what)
{
	if (wrong++ < 5)
		fprintf(stderr, "target: wrong bytes: %s, after %llu\n", what,
			(unsigned long long)c->in.count);
	conn_end(c);
}

static void
accept_some(const struct conn *listener)
{
	struct conn *c;
	int fd, i, yes = 1;

	for (i = 0; i < ACCEPT_BATCH; i++) {
		fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			return;
		c = calloc(1, sizeof *c);
		if (c == NULL)
			die("cannot take a connection");
		c->fd = fd;
		accepted++;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
		watch(c, EPOLL_CTL_ADD, EPOLLIN);
	}
}

static bool
answer(struct conn *c, uint64_t count)
{
	uint8_t message[MESSAGE];

	answer_write(message, c->tag, count);
	answered++;
	return send(c->fd, message, MESSAGE, MSG_NOSIGNAL) == MESSAGE;
}

/* A whole message is here: does what it orders; false ends the connection. */
static bool
obey(struct conn *c)
{
	int what = order_read(c->message, &c->tag);

	c->have = 0;
	if (c->order != 0 && c->order != (enum order)what && what != ORDER_STOP)
		what = 0;
	switch (what) {
	case ORDER_ECHO:
		c->order = ORDER_ECHO;
		return answer(c, 0);
	case ORDER_DOWN:
	case ORDER_UP:
	case ORDER_BOTH:
		c->order = (enum order)what;
		c->in.tag = c->out.tag = c->tag;
		if (what != ORDER_UP)
			watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
		return true;
	case ORDER_STOP:
		pattern_stop(&c->out);
		return true;
	}
	conn_wrong(c, "an order");
	return false;
}

static void
read_order(struct conn *c)
{
	ssize_t got = recv(c->fd, c->message + c->have, MESSAGE - c->have, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		cut += got < 0 || c->have > 0 || (c->order == ORDER_DOWN && !c->out.ended);
		conn_end(c);
		return;
	}
	c->have += (unsigned)got;
	if (c->have < MESSAGE)
		return;
	if (!obey(c))
		return;
	/* What follows the order in the same event waits for the next: level-triggered. */
}

static void
read_stream(struct conn *c)
{
	ssize_t got = recv(c->fd, taken, sizeof taken, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		cut += !c->in.ended;
		conn_end(c);
		return;
	}
	if (!pattern_check(&c->in, taken, (size_t)got)) {
		conn_wrong(c, "a stream");
		return;
	}
	if (!c->in.ended)
		return;
	if (c->order == ORDER_UP)
		answer(c, c->in.count);
	else
		pattern_stop(&c->out);
}

static bool
write_stream(struct conn *c)
{
	const uint8_t *bytes;
	size_t n = pattern_next(&c->out, &bytes);
	ssize_t sent = send(c->fd, bytes, n, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN) {
		cut++;
		conn_end(c);
		return false;
	}
	if (sent > 0)
		pattern_sent(&c->out, (size_t)sent);
	if (c->out.ended)
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	return true;
}

/* One batch: each order is answered to who sent it. */
static void
answer_datagrams(const struct conn *c)
{
	static uint8_t bytes[DATAGRAMS][2 * MESSAGE];
	static struct sockaddr_in from[DATAGRAMS];
	struct mmsghdr messages[DATAGRAMS];
	struct iovec pieces[DATAGRAMS];
	uint64_t tag;
	int n;

	for (int i = 0; i < DATAGRAMS; i++) {
		pieces[i] = (struct iovec){bytes[i], sizeof bytes[i]};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
						      .msg_namelen = sizeof from[i],
						      .msg_iov = &pieces[i],
						      .msg_iovlen = 1};
	}
	n = recvmmsg(c->fd, messages, DATAGRAMS, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		if (messages[i].msg_len != MESSAGE || order_read(bytes[i], &tag) != ORDER_ECHO) {
			if (wrong++ < 5)
				fprintf(stderr, "target: wrong bytes: a datagram\n");
			return;
		}
		answer_write(bytes[i], tag, 0);
		pieces[i].iov_len = MESSAGE;
		answered++;
	}
	if (n > 0)
		sendmmsg(c->fd, messages, (unsigned)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void
serve(struct conn *c, uint32_t events)
{
	if (c->datagrams) {
		answer_datagrams(c);
		return;
	}
	if (c->listener) {
		accept_some(c);
		return;
	}
	if ((events & EPOLLOUT) != 0 && !c->out.ended && !write_stream(c))
		return;
	if ((events & ~(uint32_t)EPOLLOUT) == 0)
		return;
	if (c->order == ORDER_UP || c->order == ORDER_BOTH)
		read_stream(c);
	else
		read_order(c);
}

/* One more listener of the row; false when its port is taken. */
static bool
listen_at(struct conn *c, struct sockaddr_in *at)
{
	socklen_t n = sizeof *at;
	int yes = 1;

	c->listener = true;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("cannot make a socket");
	setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(c->fd, (struct sockaddr *)at, n) != 0 || listen(c->fd, 4096) != 0 ||
	    getsockname(c->fd, (struct sockaddr *)at, &n) != 0) {
		close(c->fd);
		return false;
	}
	return true;
}

/* The UDP socket beside a listener; false when the port is taken. */
static bool
receive_at(struct conn *c, const struct sockaddr_in *at)
{
	int room = 1 << 22;

	c->datagrams = true;
	c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("cannot make a socket");
	setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if (bind(c->fd, (const struct sockaddr *)at, sizeof *at) != 0) {
		close(c->fd);
		return false;
	}
	return true;
}

static bool
open_pair(struct conn *pair, struct sockaddr_in *at)
{
	if (!listen_at(&pair[0], at))
		return false;
	if (receive_at(&pair[1], at))
		return true;
	close(pair[0].fd);
	return false;
}

/* A listener and a UDP socket for each address. */
static unsigned
listen_row(struct conn *row, const char *first, unsigned count)
{
	struct sockaddr_in at = {.sin_family = AF_INET}, next;
	unsigned tries, i;

	if (inet_pton(AF_INET, first, &at.sin_addr) != 1)
		die(first);
	for (tries = 0; tries < 20; tries++) {
		next = at;
		for (i = 0; i < count && open_pair(&row[2 * i], &next); i++)
			next.sin_addr.s_addr = htonl(ntohl(next.sin_addr.s_addr) + 1);
		if (i == count)
			return ntohs(next.sin_port);
		for (i *= 2; i > 0;)
			close(row[--i].fd);
	}
	die("cannot listen on the row of addresses");
}

static void
raise_descriptors(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int
main(int argc, char **argv)
{
	static struct conn listeners[2 * LISTENERS];
	struct sigaction act = {.sa_handler = on_term};
	struct epoll_event events[EVENTS];
	unsigned count = argc == 3 ? (unsigned)atoi(argv[2]) : 0, i;
	int n;

	if (count == 0 || count > LISTENERS) {
		fprintf(stderr, "usage: target FIRST-ADDRESS COUNT\n");
		return 2;
	}
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	raise_descriptors();
	pattern_build();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	printf("port %u\n", listen_row(listeners, argv[1], count));
	fflush(stdout);
	for (i = 0; i < 2 * count; i++)
		watch(&listeners[i], EPOLL_CTL_ADD, EPOLLIN);
	while (!over) {
		n = epoll_wait(epoll_fd, events, EVENTS, -1);
		for (int e = 0; e < n; e++)
			serve(events[e].data.ptr, events[e].events);
	}
	printf("{\"accepted\":%lu,\"answered\":%lu,\"wrong\":%lu,\"cut\":%lu}\n", accepted,
	       answered, wrong, cut);
	return wrong > 0;
}
