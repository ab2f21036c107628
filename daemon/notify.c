/*
 * daemon/notify.c - see daemon/notify.h. The parent; one datagram, never blocks.
 */
#include "notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

void
notify_tell(const char *state)
{
	const char *to = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = to != NULL ? strlen(to) : 0;
	int fd;

	if (len < 2 || len >= sizeof un.sun_path || (to[0] != '/' && to[0] != '@'))
		return;
	memcpy(un.sun_path, to, len);
	if (un.sun_path[0] == '@')
		un.sun_path[0] = '\0'; /* the abstract name space */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

void
notify_reloading(void)
{
	char state[64];

	snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld",
		 (long long)(clock_mono_ns() / NS_PER_US));
	notify_tell(state);
}

/* ---- the watchdog --------------------------------------------------------------------------- */

static struct {
	bool asked; /* the environment; it does not change */
	int64_t every_ms, due_ms;
} watchdog;

/* 0: nobody waits for us. A process that the times are not for may have inherited them. */
static int64_t
allowed_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	uint64_t n, whose;

	if (usec == NULL || !text_parse_u64(usec, strlen(usec), INT64_MAX, &n))
		return 0;
	if (pid != NULL && (!text_parse_u64(pid, strlen(pid), INT32_MAX, &whose) ||
			    whose != (uint64_t)getpid()))
		return 0;
	return (int64_t)(n / 1000);
}

int64_t
notify_due(void)
{
	if (!watchdog.asked) {
		watchdog.asked = true;
		watchdog.every_ms = allowed_ms() / 2;
		watchdog.due_ms = clock_mono_ns() / NS_PER_MS;
	}
	return watchdog.every_ms > 0 ? watchdog.due_ms : 0;
}

void
notify_alive(void)
{
	int64_t now = clock_mono_ns() / NS_PER_MS;

	if (notify_due() == 0 || now < watchdog.due_ms)
		return;
	watchdog.due_ms = now + watchdog.every_ms;
	notify_tell("WATCHDOG=1");
}
