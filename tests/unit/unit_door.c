/*
 * unit_door.c - doors for one peer (daemon/net/door.c): where they listen, ports that are taken,
 * ports that were left a moment ago, callers.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/door.h"
#include "suite.h"

static int
call(const struct endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(at, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM, 0);

	CU_ASSERT_FATAL(fd != -1);
	if (connect(fd, (struct sockaddr *)&ss, len) == 0)
		return fd;
	close(fd);
	return -1;
}

static int
answer(int door, struct endpoint *caller)
{
	struct pollfd p = {.fd = door, .events = POLLIN};

	CU_ASSERT_EQUAL(poll(&p, 1, 10000), 1);
	return door_accept(door, caller);
}

static void
one_call(const struct addr *on)
{
	struct endpoint at, caller, self;
	int door = door_open(on, 0, &at), out, in;
	char byte = 0;

	CU_ASSERT_FATAL(door != -1);
	CU_ASSERT_TRUE(addr_equal(&at.addr, on));
	CU_ASSERT_NOT_EQUAL(at.port, 0);
	CU_ASSERT_EQUAL(door_accept(door, &caller), -1); /* nobody: does not block */
	CU_ASSERT_EQUAL(errno, EAGAIN);
	CU_ASSERT_FATAL((out = call(&at)) != -1);
	CU_ASSERT_FATAL((in = answer(door, &caller)) != -1);
	CU_ASSERT_TRUE(conn_local(out, &self));
	CU_ASSERT_TRUE(addr_equal(&caller.addr, &self.addr));
	CU_ASSERT_EQUAL(caller.port, self.port);
	CU_ASSERT_EQUAL(recv(in, &byte, 1, 0), -1); /* as all our sockets */
	CU_ASSERT_EQUAL(errno, EAGAIN);
	close(door);
	CU_ASSERT_EQUAL(call(&at), -1);
	close(out);
	close(in);
}

static void
test_ipv4(void)
{
	one_call(&addr_loopback4);
}

static void
test_ipv6(void)
{
	struct endpoint at;
	int fd = door_open(&addr_loopback6, 0, &at);

	if (fd == -1) { /* a machine without IPv6 says so */
		CU_ASSERT_TRUE(errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT);
		return;
	}
	close(fd);
	one_call(&addr_loopback6);
}

static void
test_taken(void)
{
	struct endpoint at, other;
	int door = door_open(&addr_loopback4, 0, &at), second;
	struct addr neighbour = addr_from_v4(0x7f000002);

	CU_ASSERT_FATAL(door != -1);
	CU_ASSERT_EQUAL(door_open(&addr_loopback4, at.port, &other), -1);
	CU_ASSERT_EQUAL(errno, EADDRINUSE);
	second = door_open(&neighbour, at.port, &other); /* another address of ours */
	CU_ASSERT_NOT_EQUAL(second, -1);
	close(second);
	close(door);
	door = door_open(&addr_loopback4, at.port, &other);
	CU_ASSERT_NOT_EQUAL(door, -1);
	CU_ASSERT_EQUAL(other.port, at.port);
	close(door);
}

/* A transfer that goes on, and one that we have closed first (TIME_WAIT), keep nobody away. */
static void
test_left_behind(void)
{
	struct endpoint at, caller;
	int door = door_open(&addr_loopback4, 0, &at), first, port, out[2], in[2];

	CU_ASSERT_FATAL(door != -1);
	port = at.port;
	close(door);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_FATAL((door = door_open(&addr_loopback4, (uint16_t)port, &at)) != -1);
		CU_ASSERT_FATAL((out[i] = call(&at)) != -1);
		CU_ASSERT_FATAL((in[i] = answer(door, &caller)) != -1);
		close(door);
	}
	close(in[0]); /* the second is still open */
	close(out[0]);
	first = door_open(&addr_loopback4, (uint16_t)port, &at);
	CU_ASSERT_NOT_EQUAL(first, -1);
	close(first);
	close(in[1]);
	close(out[1]);
}

static void
test_not_ours(void)
{
	struct addr far = addr_from_v4(0xcb007107);
	struct endpoint at;

	CU_ASSERT_EQUAL(door_open(&far, 0, &at), -1);
	CU_ASSERT_EQUAL(errno, EADDRNOTAVAIL);
}

static void
test_first(void)
{
	bool low = false, high = false;

	for (int i = 0; i < 4000; i++) {
		uint16_t port = door_first(30000, 30003);

		CU_ASSERT_TRUE(port >= 30000 && port <= 30003);
		low |= port == 30000;
		high |= port == 30003;
	}
	CU_ASSERT_TRUE(low && high);
	CU_ASSERT_EQUAL(door_first(443, 443), 443);
	CU_ASSERT_TRUE(door_first(1, 65535) >= 1);
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"ipv4", test_ipv4},
				      {"ipv6", test_ipv6},
				      {"taken", test_taken},
				      {"left behind", test_left_behind},
				      {"not ours", test_not_ours},
				      {"first port", test_first},
				      CU_TEST_INFO_NULL};

	return suite_run("door", tests);
}
