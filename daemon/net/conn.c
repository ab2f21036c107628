/*
 * net/conn.c - see net/conn.h. The worker, the forwarder; never blocks.
 */
#include "net/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/pace.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

socklen_t
conn_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
	if (addr_is4(&e->addr)) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		memset(in, 0, sizeof *in);
		in->sin_family = AF_INET;
		in->sin_port = htons(e->port);
		memcpy(&in->sin_addr, e->addr.b + 12, 4);
		return sizeof *in;
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(in6, 0, sizeof *in6);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(e->port);
	memcpy(&in6->sin6_addr, e->addr.b, 16);
	return sizeof *in6;
}

bool
conn_endpoint(const struct sockaddr_storage *in, struct endpoint *out)
{
	if (in->ss_family == AF_INET) {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)in;

		out->addr = addr_from_bytes4((const uint8_t *)&in4->sin_addr);
		out->port = ntohs(in4->sin_port);
		return true;
	}
	if (in->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)in;

		out->addr = addr_from_bytes16((const uint8_t *)&in6->sin6_addr);
		out->port = ntohs(in6->sin6_port);
		return true;
	}
	return false;
}

static int
bind_source(int fd, const struct addr *from)
{
	struct endpoint source = {*from, 0};
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(&source, &ss);
	int on = 1;

	/* Without this each port serves one connection of the whole host, not one per target. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	return bind(fd, (struct sockaddr *)&ss, len);
}

int
conn_start(const struct endpoint *to, const struct addr *from)
{
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(to, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error;

	if (fd == -1)
		return -1;
	conn_inline_urgent(fd);
	pace_begin(fd);
	if (from != NULL && bind_source(fd, from) == -1)
		goto fail;
	if (connect(fd, (struct sockaddr *)&ss, len) == 0 || errno == EINPROGRESS)
		return fd;
fail:
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static int
failed(int fd)
{
	int error = errno;

	if (fd != -1)
		close(fd);
	errno = error;
	return -1;
}

int
conn_udp(const struct endpoint *to)
{
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd != -1 && connect(fd, (struct sockaddr *)&ss, len) == 0 ? fd : failed(fd);
}

int
conn_unix(const char *path, bool *stream)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	int fd = -1;

	if (len >= sizeof un.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(un.sun_path, path, len);
	for (int i = 0; i < 2; i++) {
		*stream = i == 1;
		fd = socket(AF_UNIX,
			    (*stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd != -1 && connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
			return fd;
		failed(fd);
		if (errno != EPROTOTYPE)
			break;
	}
	return -1;
}

void
conn_keep_alive(int fd)
{
	static const struct {
		int option, value;
	} each[] = {{TCP_KEEPIDLE, 60}, {TCP_KEEPINTVL, 15}, {TCP_KEEPCNT, 4}};
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	for (size_t i = 0; i < sizeof each / sizeof each[0]; i++)
		setsockopt(fd, IPPROTO_TCP, each[i].option, &each[i].value, sizeof(int));
}

size_t
conn_unsent(int fd)
{
	int n = 0;

	return ioctl(fd, TIOCOUTQ, &n) == 0 && n > 0 ? (size_t)n : 0;
}

int
conn_result(int fd)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		return errno;
	return error;
}

bool
conn_local(int fd, struct endpoint *out)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss;

	return getsockname(fd, (struct sockaddr *)&ss, &len) == 0 && conn_endpoint(&ss, out);
}

void
conn_inline_urgent(int fd)
{
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
}

void
conn_no_delay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void
conn_reset(int fd)
{
	struct linger now = {1, 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}
