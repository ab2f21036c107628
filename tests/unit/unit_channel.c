/*
 * unit_channel.c - messages between our processes (daemon/channel.c): what goes through comes
 * out the same, what is not legal is refused at both ends, and no descriptor is ever left over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "suite.h"

#include "channel.h"

static struct channel parent, worker;
static struct message m;

static void
ends_open(void)
{
	int fds[2];

	CU_ASSERT_EQUAL_FATAL(channel_pair(fds), 0);
	parent = (struct channel){fds[0], ROLE_PARENT, ROLE_WORKER};
	worker = (struct channel){fds[1], ROLE_WORKER, ROLE_PARENT};
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
}

static void
ends_close(void)
{
	close(parent.fd);
	close(worker.fd);
}

static unsigned
open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

/* A packet past all checks of channel_send, as a process that was taken could send it. */
static void
send_raw(const void *packet, size_t len, const int *fds, unsigned count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(128 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)packet, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (count > 0) {
		struct cmsghdr *h;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		h = CMSG_FIRSTHDR(&msg);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(h), fds, count * sizeof(int));
	}
	CU_ASSERT_EQUAL(sendmsg(worker.fd, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static void
test_through(void)
{
	struct ipc_books out = {7, 9}, in;
	struct stat a, b;
	int fds[2];
	unsigned before;

	ends_open();
	CU_ASSERT_EQUAL_FATAL(pipe2(fds, 0), 0);
	CU_ASSERT_EQUAL(channel_receive(&worker, &m), -1);
	CU_ASSERT_EQUAL(errno, EAGAIN);
	before = open_descriptors();
	CU_ASSERT_TRUE(channel_send(&parent, IPC_BOOKS, &out, sizeof out, fds, 2));
	CU_ASSERT_TRUE(channel_send(&parent, IPC_START, NULL, 0, NULL, 0));
	CU_ASSERT_EQUAL_FATAL(channel_receive(&worker, &m), 1);
	CU_ASSERT_EQUAL(m.type, IPC_BOOKS);
	CU_ASSERT_EQUAL(m.len, sizeof out);
	memcpy(&in, m.body, sizeof in);
	CU_ASSERT_EQUAL(in.worker, 7);
	CU_ASSERT_EQUAL(in.generation, 9);
	CU_ASSERT_EQUAL_FATAL(m.fd_count, 2);
	CU_ASSERT_TRUE(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
	fstat(fds[1], &a);
	fstat(m.fds[1], &b);
	CU_ASSERT_EQUAL(a.st_ino, b.st_ino);
	message_close_fds(&m);
	CU_ASSERT_EQUAL(m.fd_count, 0);
	CU_ASSERT_EQUAL(open_descriptors(), before);
	CU_ASSERT_EQUAL(channel_receive(&worker, &m), 1);
	CU_ASSERT_EQUAL(m.type, IPC_START);
	CU_ASSERT_EQUAL(m.fd_count, 0);
	close(fds[0]);
	close(fds[1]);
	ends_close();
}

/* The sender asks the same table: nothing illegal leaves, and nothing comes out. */
static void
test_not_sent(void)
{
	struct ipc_books body = {0, 0};
	struct {
		const char *row;
		const struct channel *from;
		enum ipc_type type;
		size_t len;
		unsigned fds;
	} rows[] = {
	    {"wrong direction", &worker, IPC_BOOKS, sizeof body, 2},
	    {"not for a worker", &parent, IPC_AUDIT_FILE, 0, 1},
	    {"too short", &parent, IPC_BOOKS, sizeof body - 1, 2},
	    {"too few descriptors", &parent, IPC_BOOKS, sizeof body, 1},
	    {"too many descriptors", &parent, IPC_START, 0, 1},
	    {"no type", &parent, IPC_NONE, 0, 0},
	    {"beyond the table", &parent, IPC_TYPE_COUNT, 0, 0},
	};
	int fds[2] = {0, 0};

	ends_open();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		errno = 0;
		CHECK_ROW(!channel_send(rows[i].from, rows[i].type, &body, rows[i].len, fds,
					rows[i].fds) &&
			      errno == EINVAL,
			  rows[i].row);
	}
	CU_ASSERT_EQUAL(channel_receive(&worker, &m), -1);
	CU_ASSERT_EQUAL(errno, EAGAIN);
	CU_ASSERT_EQUAL(channel_receive(&parent, &m), -1);
	CU_ASSERT_EQUAL(errno, EAGAIN);
	ends_close();
}

/* What a taken worker might send: each is refused, and its descriptors are closed. */
static void
test_refused(void)
{
	static unsigned char big[sizeof(struct ipc_head) + IPC_MAX_BODY + 64];
	struct ipc_head heads[] = {
	    {IPC_START, 0, 0},     /* only the parent says this */
	    {IPC_READY, 1, 0},     /* reserved */
	    {IPC_READY, 0, 4},     /* a length that is not */
	    {IPC_TYPE_COUNT, 0, 0} /* no such type */
	};
	int fds[100];
	unsigned before;

	ends_open();
	for (size_t i = 0; i < 100; i++)
		fds[i] = parent.fd;
	before = open_descriptors();
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		for (unsigned count = 0; count <= 100; count += 50) {
			send_raw(&heads[i], sizeof heads[i], fds, count);
			errno = 0;
			CU_ASSERT_EQUAL(channel_receive(&parent, &m), -1);
			CU_ASSERT_EQUAL(errno, EPROTO);
			CU_ASSERT_EQUAL(m.fd_count, 0);
			CU_ASSERT_EQUAL(open_descriptors(), before);
		}
	/* legal but for its descriptors */
	heads[0] = (struct ipc_head){IPC_READY, 0, 0};
	send_raw(&heads[0], sizeof heads[0], fds, 1);
	CU_ASSERT_EQUAL(channel_receive(&parent, &m), -1);
	CU_ASSERT_EQUAL(errno, EPROTO);
	CU_ASSERT_EQUAL(open_descriptors(), before);
	/* shorter than a head, and longer than any message */
	send_raw(big, 3, NULL, 0);
	CU_ASSERT_EQUAL(channel_receive(&parent, &m), -1);
	CU_ASSERT_EQUAL(errno, EPROTO);
	send_raw(big, sizeof big, fds, 2);
	CU_ASSERT_EQUAL(channel_receive(&parent, &m), -1);
	CU_ASSERT_EQUAL(errno, EPROTO);
	CU_ASSERT_EQUAL(open_descriptors(), before);
	/* and the channel still works */
	CU_ASSERT_TRUE(channel_send(&worker, IPC_READY, NULL, 0, NULL, 0));
	CU_ASSERT_EQUAL(channel_receive(&parent, &m), 1);
	CU_ASSERT_EQUAL(m.type, IPC_READY);
	ends_close();
}

static void
test_end(void)
{
	ends_open();
	CU_ASSERT_TRUE(channel_send(&worker, IPC_READY, NULL, 0, NULL, 0));
	close(worker.fd);
	CU_ASSERT_EQUAL(channel_receive(&parent, &m), 1); /* what was said before is heard */
	CU_ASSERT_EQUAL(channel_receive(&parent, &m), 0);
	CU_ASSERT_FALSE(channel_send(&parent, IPC_START, NULL, 0, NULL, 0)); /* and no SIGPIPE */
	CU_ASSERT_EQUAL(errno, EPIPE);
	close(parent.fd);
}

static void
test_full(void)
{
	unsigned sent = 0, got = 0;

	ends_open();
	while (sent < 100000 && channel_send(&parent, IPC_START, NULL, 0, NULL, 0))
		sent++;
	CU_ASSERT_EQUAL(errno, EAGAIN);
	CU_ASSERT_TRUE(sent > 0 && sent < 100000);
	while (channel_receive(&worker, &m) == 1)
		got++;
	CU_ASSERT_EQUAL(got, sent);
	ends_close();
}

int
main(void)
{
	CU_TestInfo tests[] = {{"through", test_through}, {"not sent", test_not_sent},
			       {"refused", test_refused}, {"end", test_end},
			       {"full", test_full},       CU_TEST_INFO_NULL};

	return suite_run("channel", tests);
}
