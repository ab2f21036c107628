/*
 * net/pace.c - see net/pace.h. The worker; never blocks. Apart from the other homes of sockets since
 * <linux/tcp.h>, whose tcp_info has the shortest round trip, cannot stand beside <netinet/tcp.h>.
 */
#include "net/pace.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAR_US 1000  /* round trip; above any network of one building */
#define ALGORITHM 16 /* with its NUL: TCP_CA_NAME_MAX */

static struct {
	char system[ALGORITHM]; /* paces; "": does not */
	const char *begin;	/* what sockets begin with; NULL: as the system says */
} pace;

static bool
choose(int fd, const char *name)
{
	return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

/* Of those that Linux has only the versions of BBR pace by themselves. */
static bool
is_paced(int fd)
{
	socklen_t len = ALGORITHM - 1;

	memset(pace.system, 0, sizeof pace.system);
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, pace.system, &len) != 0 ||
	    strncmp(pace.system, "bbr", 3) != 0)
		pace.system[0] = '\0';
	return pace.system[0] != '\0';
}

const char *
pace_learn(bool near_too)
{
	static const char *const others[] = {"cubic", "reno"}; /* Linux never lacks the second */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1)
		fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return pace.begin;
	pace.begin = NULL;
	if (is_paced(fd) && !near_too)
		for (size_t i = 0; i < sizeof others / sizeof others[0] && pace.begin == NULL; i++)
			if (choose(fd, others[i]))
				pace.begin = others[i];
	close(fd);
	return pace.begin;
}

void
pace_begin(int fd)
{
	if (pace.begin != NULL)
		choose(fd, pace.begin);
}

void
pace_renew(int fd)
{
	if (pace.system[0] != '\0')
		choose(fd, pace.begin != NULL ? pace.begin : pace.system);
}

static bool
is_far(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof info;

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       len >= offsetof(struct tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt &&
	       info.tcpi_min_rtt >= FAR_US;
}

void
pace_look(int fd)
{
	if (pace.begin != NULL && is_far(fd))
		choose(fd, pace.system);
}
