/*
 * tests/unit/unit_pump.c - the relay between real TCP sockets on loopback: every byte, both ways,
 * half-close, reset, a slow reader, early bytes; and the dial that leads to it.
 */
#include <CUnit/Basic.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/dial.h"
#include "net/pump.h"

static int
listen_loopback(struct endpoint *at)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	CU_ASSERT_FATAL(fd != -1 && bind(fd, (struct sockaddr *)&in, sizeof in) == 0);
	CU_ASSERT_FATAL(listen(fd, 8) == 0 && conn_local(fd, at));
	return fd;
}

/* near is the test's side (non-blocking), far the pump's. */
static void
tcp_pair(int *near, int *far)
{
	struct endpoint at;
	int l = listen_loopback(&at);

	*near = conn_start(&at, NULL);
	*far = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CU_ASSERT_FATAL(*near != -1 && *far != -1);
	close(l);
}

static struct {
	int over, end, reset, firsts;
} seen;

static void
over(struct pump *p, int end, bool reset)
{
	seen.over++;
	seen.end = end;
	seen.reset = reset;
	pump_stop(p);
	watch_close(&p->end[0]); /* as the contract says */
	watch_close(&p->end[1]);
}

static void
first_byte(struct pump *p)
{
	(void)p;
	seen.firsts++;
}

static const struct pump_calls calls = {over, first_byte};
static struct pump pump;
static uint64_t bytes[2];
static struct pump_gate *gate; /* of the next pump */
static int client, target;     /* the test's ends */

static void
begin(const char *early)
{
	int far;
	uint8_t *copy = early != NULL ? (uint8_t *)strdup(early) : NULL;

	CU_ASSERT_FATAL(loop_open());
	memset(&pump, 0, sizeof pump);
	memset(&seen, 0, sizeof seen);
	memset(bytes, 0, sizeof bytes);
	pump.gate = gate;
	tcp_pair(&client, &far);
	CU_ASSERT_FATAL(watch_add(&pump.end[PUMP_CLIENT], far, WATCH_TCP, NULL) == 0);
	tcp_pair(&target, &far);
	CU_ASSERT_FATAL(watch_add(&pump.end[PUMP_TARGET], far, WATCH_TCP, NULL) == 0);
	pump_start(&pump, &calls, bytes, copy, early != NULL ? strlen(early) : 0);
}

static void
finish(void)
{
	pump_stop(&pump);
	watch_close(&pump.end[0]);
	watch_close(&pump.end[1]);
	close(client);
	close(target);
	pump_close_pipes();
	loop_close();
}

static void
rounds(int n)
{
	for (int i = 0; i < n; i++)
		loop_round(2);
}

static uint8_t
pattern(uint64_t at, int way)
{
	return (uint8_t)(at * 131 + at / 65521 + (uint64_t)way * 77);
}

struct side {
	int fd;
	int way; /* of what it sends */
	uint64_t to_send, sent, received;
	bool shut, ended;
};

static void
feed(struct side *s)
{
	static uint8_t buf[70001];

	while (s->sent < s->to_send) {
		size_t n = s->to_send - s->sent < sizeof buf ? s->to_send - s->sent : sizeof buf;
		ssize_t w;

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(s->sent + i, s->way);
		w = send(s->fd, buf, n, MSG_NOSIGNAL);
		if (w <= 0)
			return;
		s->sent += (uint64_t)w;
	}
	if (!s->shut)
		shutdown(s->fd, SHUT_WR);
	s->shut = true;
}

static bool
drain(struct side *s)
{
	static uint8_t buf[100003];
	ssize_t n;

	while (!s->ended && (n = recv(s->fd, buf, sizeof buf, 0)) >= 0) {
		if (n == 0)
			s->ended = true;
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != pattern(s->received + (uint64_t)i, !s->way))
				return false;
		s->received += (uint64_t)n;
	}
	return true;
}

static void
both_ways(uint64_t up, uint64_t down)
{
	begin(NULL);
	struct side c = {.fd = client, .way = 0, .to_send = up},
		    t = {.fd = target, .way = 1, .to_send = down};

	for (int i = 0; i < 200000 && !(c.ended && t.ended); i++) {
		feed(&c);
		feed(&t);
		loop_round(1);
		CU_ASSERT_FATAL(drain(&c) && drain(&t));
	}
	rounds(3);
	CU_ASSERT_EQUAL(c.received, down);
	CU_ASSERT_EQUAL(t.received, up);
	CU_ASSERT_EQUAL(bytes[0], up);
	CU_ASSERT_EQUAL(bytes[1], down);
	CU_ASSERT_EQUAL(seen.over, 1);
	CU_ASSERT_FALSE(seen.reset);
	CU_ASSERT_EQUAL(seen.firsts, down > 0);
	finish();
}

static void
test_sizes(void)
{
	static const uint64_t sizes[] = {0, 1, 100, 4096, 65535, 65536, 65537, 131072, 1000003};

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		both_ways(sizes[i], sizes[sizeof sizes / sizeof sizes[0] - 1 - i]);
}

static void
test_bulk(void)
{
	both_ways(30000000, 30000000);
}

/* ---- a gate: closed every other time, and open for a piece ---- */

static struct gated {
	struct pump_gate gate; /* first */
	struct timer timer;
	size_t most, granted[2];
	uint64_t asked, closed, took[2], too_much;
} gated;

static void
open_gate(struct timer *t)
{
	(void)t;
	pump_resume(&pump);
}

static size_t
gate_may(struct pump_gate *self, int d, size_t most)
{
	struct gated *g = (struct gated *)self;

	if (g->asked++ % 2 == 0) {
		g->closed++;
		timer_set(&g->timer, loop_now(), open_gate);
		return 0;
	}
	g->granted[d] = g->most < most ? g->most : most;
	return g->granted[d];
}

static void
gate_took(struct pump_gate *self, int d, size_t n)
{
	struct gated *g = (struct gated *)self;

	g->too_much += n > g->granted[d];
	g->granted[d] = 0;
	g->took[d] += n;
}

/* Every byte through a gate, by copying and by splice, with ends that come while it is closed. */
static void
test_gate(void)
{
	static const struct {
		size_t most;
		uint64_t bytes;
	} rows[] = {{1000, 50000}, {65535, 2000000}, {1 << 20, 12000000}, {1, 30}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		gated = (struct gated){.gate = {gate_may, gate_took}, .most = rows[i].most};
		gate = &gated.gate;
		both_ways(rows[i].bytes, rows[i].bytes / 2);
		gate = NULL;
		CU_ASSERT_EQUAL(gated.too_much, 0);
		CU_ASSERT_EQUAL(gated.took[0], rows[i].bytes);
		CU_ASSERT_EQUAL(gated.took[1], rows[i].bytes / 2);
		CU_ASSERT_TRUE(gated.closed > 0);
	}
}

static void
test_early(void)
{
	char buf[32];

	begin("hello");
	CU_ASSERT_EQUAL(send(client, " world", 6, 0), 6);
	rounds(5);
	CU_ASSERT_EQUAL(recv(target, buf, sizeof buf, 0), 11);
	CU_ASSERT_EQUAL(memcmp(buf, "hello world", 11), 0);
	finish();
}

static void
test_half_close(void)
{
	char buf[32];

	begin(NULL);
	shutdown(client, SHUT_WR);
	rounds(5);
	CU_ASSERT_EQUAL(recv(target, buf, sizeof buf, 0), 0);
	CU_ASSERT_EQUAL(seen.over, 0);
	CU_ASSERT_EQUAL(send(target, "late", 4, 0), 4);
	rounds(5);
	CU_ASSERT_EQUAL(recv(client, buf, sizeof buf, 0), 4);
	CU_ASSERT_EQUAL(seen.over, 0);
	shutdown(target, SHUT_WR);
	rounds(5);
	CU_ASSERT_EQUAL(seen.over, 1);
	CU_ASSERT_EQUAL(seen.end, PUMP_CLIENT); /* who ended first */
	finish();
}

static void
reset_of(int *fd, int end)
{
	begin(NULL);
	conn_reset(*fd);
	close(*fd);
	*fd = -1;
	rounds(5);
	CU_ASSERT_EQUAL(seen.over, 1);
	CU_ASSERT_TRUE(seen.reset);
	CU_ASSERT_EQUAL(seen.end, end);
	finish();
}

static void
test_reset(void)
{
	reset_of(&client, PUMP_CLIENT);
	reset_of(&target, PUMP_TARGET);
}

static void
test_slow_reader(void)
{
	struct side c;

	begin(NULL);
	c = (struct side){.fd = client, .way = 0, .to_send = 64000000};
	for (int i = 0; i < 3000; i++) {
		feed(&c);
		loop_round(0);
	}
	/* Nobody reads at the target: what left the client stands in the sockets and in at most one
	 * pipe or buffer. */
	CU_ASSERT(c.sent < 40000000);
	CU_ASSERT(pump.flow[0].held <= 1024 * 1024);
	finish();
}

static void
test_idle_holds_nothing(void)
{
	struct side c, t;

	begin(NULL);
	c = (struct side){.fd = client, .way = 0, .to_send = 5000000};
	t = (struct side){.fd = target, .way = 1};
	while (c.sent < c.to_send || t.received < c.sent) {
		feed(&c);
		c.shut = true; /* stay open */
		loop_round(1);
		CU_ASSERT_FATAL(drain(&t));
		if (t.ended)
			break;
	}
	rounds(3);
	CU_ASSERT_EQUAL(pump.flow[0].held, 0);
	CU_ASSERT_PTR_NULL(pump.flow[0].buffer);
	CU_ASSERT_EQUAL(pump.flow[0].bulk, 0);
	finish();
}

/* ---- dial -------------------------------------------------------------------------- */

static struct {
	int done, fd, error, winner;
} dialled;
static struct watch dial_target;

static void
dial_done(struct dial *d, uint32_t events)
{
	(void)events;
	dialled.done++;
	dialled.fd = d->target->fd;
	dialled.error = d->error;
	dialled.winner = d->winner;
}

static struct dial dial;

static void
dial_ready(struct watch *w, uint32_t events)
{
	(void)w;
	if (!dialled.done)
		dial_first_ready(&dial, events);
}

static void
dial_to(const char *const *to, uint16_t port)
{
	CU_ASSERT_FATAL(loop_open());
	memset(&dialled, 0, sizeof dialled);
	memset(&dial, 0, sizeof dial);
	for (; *to != NULL; to++)
		CU_ASSERT_FATAL(addr_parse(*to, strlen(*to), &dial.to[dial.count++]));
	dial.port = port;
	dial.target = &dial_target;
	dial.target_ready = dial_ready;
	dial.done = dial_done;
	dial_start(&dial);
	CU_ASSERT_EQUAL(dialled.done, 0); /* never from within */
	for (int i = 0; i < 400 && !dialled.done; i++)
		loop_round(20);
	CU_ASSERT_EQUAL(dialled.done, 1);
	dial_stop(&dial);
	watch_close(&dial_target);
	loop_close();
}

static void
test_dial(void)
{
	struct endpoint at;
	int l = listen_loopback(&at);
	static const char *const first[] = {"127.0.0.1", NULL},
				 *const third[] = {"127.0.0.2", "127.0.0.3", "127.0.0.1", NULL},
				 *const many[] = {"127.0.0.2", "127.0.0.3", "127.0.0.4",
						  "127.0.0.5", "127.0.0.6", "127.0.0.7",
						  "127.0.0.1", NULL},
				 *const none[] = {"127.0.0.2", "127.0.0.3", NULL};

	dial_to(first, at.port);
	CU_ASSERT(dialled.fd >= 0);
	dial_to(third, at.port);
	CU_ASSERT(dialled.fd >= 0);
	CU_ASSERT_EQUAL(dialled.winner, 2);
	dial_to(many, at.port);
	CU_ASSERT(dialled.fd >= 0);
	CU_ASSERT_EQUAL(dialled.winner, 6);
	dial_to(none, at.port);
	CU_ASSERT_EQUAL(dialled.fd, -1);
	CU_ASSERT_EQUAL(dialled.error, ECONNREFUSED);
	close(l);
}

int
main(void)
{
	unsigned failed;
	CU_pSuite s;

	CU_initialize_registry();
	s = CU_add_suite("pump", NULL, NULL);
	CU_add_test(s, "every size, both ways", test_sizes);
	CU_add_test(s, "bulk both ways at once", test_bulk);
	CU_add_test(s, "a gate", test_gate);
	CU_add_test(s, "early bytes go first", test_early);
	CU_add_test(s, "half-close", test_half_close);
	CU_add_test(s, "reset is told with its end", test_reset);
	CU_add_test(s, "a slow reader stops the fast writer", test_slow_reader);
	CU_add_test(s, "idle after bulk holds nothing", test_idle_holds_nothing);
	CU_add_test(s, "dial tries all addresses", test_dial);
	CU_basic_run_tests();
	failed = CU_get_number_of_tests_failed();
	printf("%u passed, %u failed\n", CU_get_number_of_tests_run() - failed, failed);
	CU_cleanup_registry();
	return failed != 0;
}
