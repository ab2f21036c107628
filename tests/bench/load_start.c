/*
 * tests/bench/load_start.c - from exec to the first session served.
 *
 * Starts the proxy itself, so that the clock begins at fork, knocks until a whole
 * session has gone through, then ends the proxy (its process group, which is its own).
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/dial.h"

/* One attempt, at most 200 ms: a whole session, or false. */
static bool
session_works(const struct plan *plan, unsigned long serial)
{
	uint64_t bound = gate_now() + 200000000u;
	uint8_t order[MESSAGE], answer[MESSAGE];
	enum dial_result r = DIAL_WAIT;
	struct epoll_event event;
	unsigned have = 0;
	struct dial d;
	ssize_t got;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	dial_start(&d, plan, epoll, serial);
	while (r == DIAL_WAIT && gate_now() < bound) {
		epoll_wait(epoll, &event, 1, 1);
		r = dial_step(&d, plan);
	}
	order_write(order, ORDER_ECHO, serial);
	if (r == DIAL_READY && send(d.fd, order, MESSAGE, MSG_NOSIGNAL) == MESSAGE)
		while (have < MESSAGE && gate_now() < bound) {
			epoll_wait(epoll, &event, 1, 1);
			got = recv(d.fd, answer + have, MESSAGE - have, 0);
			if (got == 0 || (got < 0 && errno != EAGAIN))
				break;
			have += got > 0 ? (unsigned)got : 0;
		}
	dial_end(&d);
	close(epoll);
	if (have == MESSAGE && !answer_is(answer, serial, 0))
		gate_wrong("the first answer");
	return have == MESSAGE;
}

static pid_t
proxy_start(char **command)
{
	pid_t pid = fork();

	if (pid < 0)
		gate_fail("cannot fork");
	if (pid == 0) {
		setpgid(0, 0);
		execv(command[0], command);
		_exit(127);
	}
	setpgid(pid, pid);
	return pid;
}

static void
proxy_end(pid_t pid)
{
	struct timespec pause = {.tv_nsec = 10000000};
	int i;

	kill(-pid, SIGTERM);
	for (i = 0; i < 300 && waitpid(pid, NULL, WNOHANG) == 0; i++)
		nanosleep(&pause, NULL);
	kill(-pid, SIGKILL);
	if (i == 300)
		waitpid(pid, NULL, 0);
}

int
load_start(const struct plan *plan)
{
	struct timespec pause = {.tv_nsec = 200000};
	uint64_t began = gate_now(), bound = began + plan->bound_ms * 1000000ull, took;
	pid_t pid = proxy_start(plan->command);
	unsigned long tries = 0;
	bool works;

	while (!(works = session_works(plan, ++tries)) && gate_now() < bound) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			gate_fail("the proxy ended before it served");
		nanosleep(&pause, NULL);
	}
	took = gate_now() - began;
	proxy_end(pid);
	if (!works)
		gate_fail("the proxy never served");
	printf("{\"first_session_ms\":%.3f,\"tries\":%lu}\n", (double)took / 1e6, tries);
	return 0;
}
