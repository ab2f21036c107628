/*
 * net/door.c - see net/door.h. The worker; never blocks.
 */
#include "net/door.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/pace.h"

#define BACKLOG 8

static bool
stand(int fd, const struct addr *on, uint16_t port, struct endpoint *at)
{
	struct endpoint e = {*on, port};
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(&e, &ss);
	int yes = 1;

	/*
	 * What an earlier transfer left on a port of the range (TIME_WAIT, or the transfer itself)
	 * shall not keep the next door away; on Linux it never lets two listen. Where the kernel
	 * chooses it has better ports.
	 */
	if (port != 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == -1)
		return false;
	if (ss.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) == -1)
		return false;
	conn_inline_urgent(fd);
	pace_begin(fd);
	return bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, BACKLOG) == 0 &&
	       conn_local(fd, at);
}

int
door_open(const struct addr *on, uint16_t port, struct endpoint *at)
{
	int fd = socket(addr_is4(on) ? AF_INET : AF_INET6,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
	    error;

	if (fd == -1 || stand(fd, on, port, at))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

uint16_t
door_first(uint16_t first, uint16_t last)
{
	uint32_t any = 0;

	/* Not to be guessed by those who would like to call first. */
	if (getrandom(&any, sizeof any, GRND_NONBLOCK) != (ssize_t)sizeof any)
		any = 0;
	return (uint16_t)(first + any % (uint32_t)(last - first + 1));
}

int
door_accept(int fd, struct endpoint *caller)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int got;

	do {
		len = sizeof ss;
		got = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (got == -1 && (errno == ECONNABORTED || errno == EINTR));
	if (got != -1 && !conn_endpoint(&ss, caller)) {
		close(got);
		errno = EAFNOSUPPORT;
		return -1;
	}
	return got;
}
