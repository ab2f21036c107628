/*
 * net/listen.c - see net/listen.h. The worker; never blocks.
 */
#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"

#define BATCH_MOST 8 /* small: the other workers shall have their share */
#define FILLED_GROW 8
#define LEFT_MOST 4096 /* while so many wait, the others are told of more */

static int reserve = -1;

bool
listen_reserve(void)
{
	if (reserve == -1)
		reserve = epoll_create1(EPOLL_CLOEXEC); /* any descriptor will do, without a file */
	return reserve != -1;
}

/* Out of descriptors: without this the connection would stay in the backlog, and the client hang.
 */
static void
refuse_one(struct listener *l)
{
	int fd;

	if (reserve == -1)
		return;
	close(reserve);
	reserve = -1;
	fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd != -1) {
		close(fd);
		l->refused(l);
	}
	listen_reserve();
}

/* False: nobody waits, or there is no place for him. */
static bool
take_one(struct listener *l)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;
	struct endpoint client;
	int fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd == -1) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			refuse_one(l);
		return errno == ECONNABORTED || errno == EINTR;
	}
	if (conn_endpoint(&ss, &client))
		l->arrived(l, fd, &client);
	else
		close(fd);
	return true;
}

static void
acceptable(struct watch *w, uint32_t events)
{
	struct listener *l = (struct listener *)w;

	unsigned taken = 0, batch = l->batch;

	(void)events;
	l->arrive(l);
	/* Level-triggered: who stays in the backlog is told of again. So there is no need to accept
	 * until EAGAIN; a batch that is filled again and again grows. */
	if (++l->filled >= FILLED_GROW && batch < BATCH_MOST) {
		l->batch = batch * 2;
		l->filled = 0;
	}
	for (; taken < batch && l->watch.fd != -1; taken++)
		if (!take_one(l)) {
			l->batch = taken > 1 ? taken : 1;
			l->filled = 0;
			return;
		}
}

int
listen_start(struct listener *l)
{
	if (l->watch.fd != -1)
		return 0;
	l->batch = 1;
	conn_inline_urgent(l->fd);
	return watch_add(&l->watch, l->fd, EPOLLIN | EPOLLEXCLUSIVE, acceptable);
}

void
listen_pause(struct listener *l)
{
	watch_remove(&l->watch);
}

void
listen_yield(struct listener *l)
{
	if (l->watch.fd == -1)
		return;
	watch_remove(&l->watch);
	if (watch_add(&l->watch, l->fd, EPOLLIN | EPOLLEXCLUSIVE, acceptable) == -1)
		l->watch.fd = -1; /* no memory: the next listen_start tries again */
}

void
listen_leave(struct listener *l)
{
	unsigned left = l->watch.fd != -1 ? LEFT_MOST : 0;

	watch_remove(&l->watch);
	while (left > 0 && take_one(l))
		left--;
	listen_close(l);
}

void
listen_close(struct listener *l)
{
	watch_remove(&l->watch);
	if (l->fd != -1)
		close(l->fd);
	l->fd = -1;
}
