/* Tests of net/datagram.c: batches over loopback, joined and apart; nothing is lost, cut or changed
 * in order. */
#include "net/datagram.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/loop.h"
#include "suite.h"

static struct {
	unsigned count;
	size_t bytes;
	unsigned failed;
	int error;
} told;

static void
sent(void *owner, unsigned count, size_t bytes, int error)
{
	CU_ASSERT_PTR_NOT_NULL(owner);
	if (error == 0) {
		told.count += count;
		told.bytes += bytes;
	} else {
		told.failed += count;
		told.error = error;
	}
}

static int
open_socket(const struct addr *at, struct endpoint *local)
{
	int fd = datagram_open(at);

	CU_ASSERT_TRUE_FATAL(fd != -1 && conn_local(fd, local));
	return fd;
}

static uint8_t
byte_of(unsigned datagram, size_t at)
{
	return (uint8_t)(datagram * 7 + at * 3);
}

/* Sends datagrams of these sizes with `head` bytes before each, then receives and compares. */
static void
there(const struct addr *at, const size_t *sizes, unsigned n, size_t head)
{
	static uint8_t data[400][1500];
	struct endpoint from, to;
	int a = open_socket(at, &from), b = open_socket(at, &to);
	struct datagram_peer peer;
	struct datagram d;
	unsigned got = 0, wrong = 0;
	size_t total = 0;

	memset(&told, 0, sizeof told);
	datagram_peer_set(&peer, &to, NULL);
	datagram_begin(sent);
	for (unsigned i = 0; i < n; i++) {
		for (size_t j = 0; j < sizes[i]; j++)
			data[i][j] = byte_of(i, j);
		datagram_put(a, &peer, (const uint8_t *)"HEADERHEADERHEADER", head, data[i],
			     sizes[i], &peer);
		total += sizes[i];
	}
	datagram_flush();
	CU_ASSERT_TRUE(told.count == n && told.failed == 0 && told.bytes == total);
	while (datagram_receive(b))
		while (datagram_next(&d)) {
			wrong += d.len != sizes[got] + head ||
				 memcmp(d.data, "HEADERHEADERHEADER", head) != 0 ||
				 d.from.port != from.port || !addr_equal(&d.from.addr, &from.addr);
			for (size_t j = head; j < d.len && wrong == 0; j++)
				wrong += d.data[j] != byte_of(got, j - head);
			got++;
		}
	CU_ASSERT_TRUE(datagram_drained());
	CU_ASSERT_EQUAL(got, n);
	CU_ASSERT_EQUAL(wrong, 0);
	close(a);
	close(b);
}

static void
both(const size_t *sizes, unsigned n)
{
	there(&addr_loopback4, sizes, n, 0);
	there(&addr_loopback4, sizes, n, 10);
	there(&addr_loopback6, sizes, n, 0);
	there(&addr_loopback6, sizes, n, 18);
}

static void
test_equal(void)
{
	size_t sizes[200];

	for (size_t size = 1; size <= 1400; size += 233) {
		for (unsigned i = 0; i < 200; i++)
			sizes[i] = size;
		both(sizes, size > 500 ? 60 : 200);
	}
}

static void
test_unequal(void)
{
	static const size_t cycle[] = {64, 64, 64, 10, 64, 0,    0,    64, 65,
				       65, 1,  1,  1,  0,  1400, 1400, 5};
	size_t sizes[170], some[170];

	for (unsigned i = 0; i < 170; i++) {
		sizes[i] = cycle[i % (sizeof cycle / sizeof *cycle)];
		some[i] = (size_t)rand() % 3 * 50;
	}
	both(sizes, 170);
	both(some, 170);
}

static void
test_largest(void)
{
	static uint8_t big[DATAGRAM_MOST4 + 1];
	struct endpoint from, to;
	int a = open_socket(&addr_loopback4, &from), b = open_socket(&addr_loopback4, &to);
	struct datagram_peer peer;
	struct datagram d;

	memset(&told, 0, sizeof told);
	datagram_peer_set(&peer, &to, NULL);
	datagram_begin(sent);
	big[DATAGRAM_MOST4 - 1] = 9;
	datagram_put(a, &peer, NULL, 0, big, DATAGRAM_MOST4, &told);
	datagram_put(a, &peer, NULL, 0, big, sizeof big, &told); /* is none, and hurts no other */
	datagram_put(a, &peer, NULL, 0, big, 3, &told);
	datagram_flush();
	CU_ASSERT_TRUE(told.count == 2 && told.failed == 1 && told.error == EMSGSIZE);
	CU_ASSERT_TRUE_FATAL(datagram_receive(b) && datagram_next(&d));
	CU_ASSERT_TRUE(d.len == DATAGRAM_MOST4 && d.data[DATAGRAM_MOST4 - 1] == 9 && !d.again);
	CU_ASSERT_TRUE(datagram_next(&d) && d.len == 3 && d.again);
	CU_ASSERT_FALSE(datagram_next(&d));
	close(a);
	close(b);
}

/* Two sources, two targets and two owners in one bag. */
static void
test_mixed(void)
{
	struct endpoint at[4];
	int fd[4];
	struct datagram_peer peer[2];
	struct datagram d;
	unsigned n[2] = {0, 0}, changes = 0;

	for (int i = 0; i < 4; i++)
		fd[i] = open_socket(&addr_loopback4, &at[i]);
	memset(&told, 0, sizeof told);
	datagram_peer_set(&peer[0], &at[2], NULL);
	datagram_peer_set(&peer[1], &at[3], NULL);
	datagram_begin(sent);
	for (int i = 0; i < 90; i++)
		datagram_put(fd[i / 30 % 2], &peer[i / 3 % 2], NULL, 0, (const uint8_t *)"12345", 5,
			     &peer[i / 3 % 2]);
	datagram_flush();
	CU_ASSERT_TRUE(told.count == 90 && told.bytes == 450);
	for (int i = 0; i < 2; i++)
		while (datagram_receive(fd[2 + i]))
			while (datagram_next(&d)) {
				n[i]++;
				changes += !d.again;
			}
	CU_ASSERT_TRUE(n[0] == 45 && n[1] == 45);
	CU_ASSERT_TRUE(changes == 6); /* 0, 1, 0 of each */
	for (int i = 0; i < 4; i++)
		close(fd[i]);
}

static void
test_source_address(void)
{
	struct endpoint from, to;
	struct addr egress = addr_from_v4(0x7f090807), any = addr_any4;
	int a = open_socket(&any, &from), b = open_socket(&addr_loopback4, &to);
	struct datagram_peer peer;
	struct datagram d;
	unsigned n = 0;

	memset(&told, 0, sizeof told);
	datagram_peer_set(&peer, &to, &egress);
	datagram_begin(sent);
	for (int i = 0; i < 20; i++)
		datagram_put(a, &peer, NULL, 0, (const uint8_t *)"123", 3, &peer);
	datagram_flush();
	while (datagram_receive(b))
		while (datagram_next(&d))
			n += addr_equal(&d.from.addr, &egress) && d.from.port == from.port;
	CU_ASSERT_EQUAL(n, 20);
	close(a);
	close(b);
}

static void
test_range(void)
{
	struct endpoint first, at;
	int fd[4], spare;
	uint16_t low;

	/* three neighbours that are free now */
	spare = open_socket(&addr_loopback4, &first);
	low = first.port < 60000 ? first.port : 50000;
	close(spare);
	for (int i = 0; i < 3; i++) {
		fd[i] = datagram_open_range(&addr_loopback4, low, (uint16_t)(low + 2));
		CU_ASSERT_TRUE_FATAL(fd[i] != -1 && conn_local(fd[i], &at));
		CU_ASSERT_TRUE(at.port >= low && at.port <= low + 2);
	}
	fd[3] = datagram_open_range(&addr_loopback4, low, (uint16_t)(low + 2));
	CU_ASSERT_TRUE(fd[3] == -1 && errno == EADDRINUSE);
	conn_local(fd[1], &first);
	close(fd[1]);
	fd[1] = datagram_open_range(&addr_loopback4, low, (uint16_t)(low + 2));
	CU_ASSERT_TRUE(fd[1] != -1 && conn_local(fd[1], &at) && at.port == first.port);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"equal sizes", test_equal},
	    {"unequal sizes", test_unequal},
	    {"largest", test_largest},
	    {"mixed", test_mixed},
	    {"source", test_source_address},
	    {"port range", test_range},
	    CU_TEST_INFO_NULL,
	};

	loop_open();
	return suite_run("datagram", tests);
}
