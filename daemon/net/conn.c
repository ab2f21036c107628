/*
 * net/conn.c - see net/conn.h. The worker; never blocks.
 */
#include "net/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

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
