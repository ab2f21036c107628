/*
 * daemon/channel.c - see daemon/channel.h: messages between our processes and their descriptors.
 * The only file that uses SCM_RIGHTS. Any process; blocks only if the socket was opened so.
 *
 * Every packet is checked against the table of wire/ipc.h when it is sent and when it comes;
 * descriptors that came with a packet that is not legal are closed here.
 */
#include "channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* room for more than is ever legal, so that too many are seen as such and closed */
#define CONTROL_FDS (IPC_MAX_FDS + 1)

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
};

int
channel_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
}

bool
channel_send(const struct channel *c, enum ipc_type type, const void *body, size_t len,
	     const int *fds, unsigned fd_count)
{
	struct ipc_head head = {.type = (uint16_t)type, .length = (uint32_t)len};
	struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)body, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = len > 0 ? 2 : 1};
	union control control;
	ssize_t n;

	if (!ipc_legal(type, body, len, fd_count, c->self, c->peer)) {
		errno = EINVAL;
		return false;
	}
	if (fd_count > 0) {
		struct cmsghdr *h;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(h), fds, fd_count * sizeof(int));
	}
	do {
		n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n >= 0;
}

/* Keeps up to IPC_MAX_FDS descriptors and closes any beyond; true if none was beyond. */
static bool
collect_fds(struct msghdr *msg, struct message *m)
{
	struct cmsghdr *h;
	bool ok = true;

	for (h = CMSG_FIRSTHDR(msg); h != NULL; h = CMSG_NXTHDR(msg, h)) {
		size_t count, i;

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) {
			ok = false;
			continue;
		}
		count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
			if (m->fd_count < IPC_MAX_FDS) {
				m->fds[m->fd_count++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

int
channel_receive(const struct channel *c, struct message *m)
{
	union control control;
	struct iovec iov = {m->packet, sizeof(m->packet)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	ssize_t n;
	bool legal;

	m->fd_count = 0;
	do {
		n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		if (errno == ECONNRESET || errno == EPIPE)
			return 0;
		return -1;
	}
	legal = collect_fds(&msg, m);
	if ((msg.msg_flags & MSG_CTRUNC) != 0 && legal) { /* the kernel had no number to give one */
		message_close_fds(m);
		errno = EMFILE;
		return -1;
	}
	if (n == 0 && m->fd_count == 0 && legal)
		return 0; /* SEQPACKET: no legal packet is empty, so this is the end */
	if (msg.msg_flags & MSG_TRUNC)
		legal = false;
	if (!legal || !ipc_check(m->packet, (size_t)n, m->fd_count, c->peer, c->self, &m->type,
				 &m->body, &m->len)) {
		message_close_fds(m);
		errno = EPROTO;
		return -1;
	}
	return 1;
}

void
message_close_fds(struct message *m)
{
	unsigned i;

	for (i = 0; i < m->fd_count; i++)
		close(m->fds[i]);
	m->fd_count = 0;
}
