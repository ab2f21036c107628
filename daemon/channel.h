/*
 * daemon/channel.h - sending and receiving checked messages of wire/ipc.h with descriptors
 * (the home of SCM_RIGHTS).
 */
#ifndef DAEMON_CHANNEL_H
#define DAEMON_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/ipc.h"

struct channel {
	int fd; /* SOCK_SEQPACKET, CLOEXEC, non-blocking or not as opened */
	enum ipc_role self, peer;
};

struct message {
	enum ipc_type type;
	size_t len;
	unsigned fd_count;
	int fds[IPC_MAX_FDS]; /* the receiver's to close */
	_Alignas(8) unsigned char packet[sizeof(struct ipc_head) + IPC_MAX_BODY];
	const void *body; /* into packet */
};

/* A pair of connected ends. 0, or -1 and errno. */
int channel_pair(int fds[2]);
/* False and errno on error (EAGAIN: would block; the message was not sent). fds stay the caller's. */
bool channel_send(const struct channel *c, enum ipc_type type, const void *body, size_t len,
		  const int *fds, unsigned fd_count);
/* 1: a legal message; 0: the peer is gone; -1 and errno: EAGAIN, EMFILE if a descriptor found no place
 * here, or EPROTO for an illegal message (its descriptors are closed, and the message is lost). */
int channel_receive(const struct channel *c, struct message *m);
void message_close_fds(struct message *m);

#endif
