/*
 * net/listen.h - taking connections from the listeners that the parent has bound: the home of accept4(2).
 */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "net/loop.h"

struct listener {
	struct watch watch;
	int fd;		  /* owned */
	uint32_t number;  /* index in settings.listeners */
	unsigned batch;	  /* how many to take at a time: follows what was there last */
	unsigned filled;  /* batches in a row that were */
	struct endpoint at; /* as bound */
	/* Some wait to be taken. */
	void (*arrive)(struct listener *l);
	/* A client: fd is the callee's. */
	void (*arrived)(struct listener *l, int fd, const struct endpoint *client);
	/* No descriptor was left for a client; it was closed at once. */
	void (*refused)(struct listener *l);
};

/* Begins (or goes on) to take connections; shared with the other workers by EPOLLEXCLUSIVE. */
int listen_start(struct listener *l);
void listen_pause(struct listener *l);
/* Goes to the end of the workers that wait: another is asked first for the next client. */
void listen_yield(struct listener *l);
/*
 * As listen_close, but who had come by then is taken: the kernel has told of him here and tells no other of those that
 * wait on the same socket.
 */
void listen_leave(struct listener *l);
void listen_close(struct listener *l);
/* A descriptor kept in reserve, so that there is always one to refuse with. */
bool listen_reserve(void);

#endif
