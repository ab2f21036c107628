/*
 * tests/unit/unit_loop.c - the loop: timers fire in time and in order, moves are lazy, turns are
 * fair.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/loop.h"

static int fired[16], fired_count;
static struct timer timers[16];

static void
fire(struct timer *t)
{
	fired[fired_count++] = (int)(t - timers);
}

static void
run_until(int count, int64_t most_ms)
{
	int64_t end = loop_now() + most_ms;

	while (fired_count < count && loop_now() < end)
		loop_round(50);
}

static void
setup(void)
{
	memset(timers, 0, sizeof timers);
	fired_count = 0;
	CU_ASSERT_FATAL(loop_open());
}

static void
test_order(void)
{
	setup();
	timer_set(&timers[2], loop_now() + 120, fire);
	timer_set(&timers[0], loop_now() + 5, fire);
	timer_set(&timers[1], loop_now() + 60, fire);
	run_until(3, 5000);
	CU_ASSERT_EQUAL(fired_count, 3);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(fired[i], i);
	loop_close();
}

static void
test_never_early(void)
{
	int64_t start;

	setup();
	loop_round(0);
	start = loop_now();
	timer_set(&timers[0], start + 33, fire);
	run_until(1, 5000);
	CU_ASSERT_EQUAL(fired_count, 1);
	CU_ASSERT(loop_now() >= start + 33);
	loop_close();
}

static void
test_move_later(void)
{
	int64_t start;

	setup();
	start = loop_now();
	timer_set(&timers[0], start + 20, fire);
	timer_set(&timers[1], start + 60, fire);
	timer_move(&timers[0], start + 100);
	run_until(2, 5000);
	CU_ASSERT_EQUAL(fired_count, 2);
	CU_ASSERT_EQUAL(fired[0], 1);
	CU_ASSERT_EQUAL(fired[1], 0);
	loop_close();
}

static void
test_move_earlier(void)
{
	setup();
	timer_set(&timers[0], loop_now() + 3600000, fire); /* beyond the wheel */
	timer_move(&timers[0], loop_now() + 10);
	run_until(1, 5000);
	CU_ASSERT_EQUAL(fired_count, 1);
	loop_close();
}

static void
stop_other(struct timer *t)
{
	fire(t);
	for (int i = 0; i < 16; i++)
		timer_stop(&timers[i]);
}

static void
test_stop_in_fire(void)
{
	int64_t due;

	setup();
	due = loop_now() + 10;
	for (int i = 0; i < 16; i++)
		timer_set(&timers[i], due, stop_other);
	run_until(2, 150);
	CU_ASSERT_EQUAL(fired_count, 1);
	for (int i = 0; i < 16; i++)
		CU_ASSERT_FALSE(timer_armed(&timers[i]));
	loop_close();
}

static int turns_taken;
static struct turn turn, other;

static void
take_turn(struct turn *t)
{
	turns_taken++;
	turn_ask(t, take_turn); /* would never end if a round did not end it */
}

static void
test_turns(void)
{
	setup();
	turns_taken = 0;
	memset(&turn, 0, sizeof turn);
	memset(&other, 0, sizeof other);
	turn_ask(&turn, take_turn);
	turn_ask(&other, take_turn);
	turn_ask(&other, take_turn); /* once only */
	loop_round(0);
	CU_ASSERT_EQUAL(turns_taken, 2);
	loop_round(-1); /* does not wait: there are turns */
	CU_ASSERT_EQUAL(turns_taken, 4);
	turn_cancel(&other);
	loop_round(-1);
	CU_ASSERT_EQUAL(turns_taken, 5);
	turn_cancel(&turn);
	turn_cancel(&turn);
	loop_round(0);
	CU_ASSERT_EQUAL(turns_taken, 5);
	loop_close();
}

static uint32_t seen;

static void
ready(struct watch *w, uint32_t events)
{
	(void)w;
	seen |= events;
}

static void
test_watch(void)
{
	struct watch a = {.fd = -1}, b = {.fd = -1};
	int fds[2];

	setup();
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	CU_ASSERT_EQUAL(watch_add(&a, fds[0], WATCH_TCP, ready), 0);
	seen = 0;
	loop_round(0);
	CU_ASSERT(seen & EPOLLOUT);
	seen = 0;
	loop_round(0); /* edge-triggered: said once */
	CU_ASSERT_EQUAL(seen, 0);
	CU_ASSERT_EQUAL(write(fds[1], "x", 1), 1);
	CU_ASSERT_EQUAL(watch_move(&a, &b, WATCH_TCP), 0);
	b.ready = ready;
	CU_ASSERT_EQUAL(a.fd, -1);
	loop_round(0);
	CU_ASSERT(seen & EPOLLIN);
	watch_close(&b);
	watch_close(&b);
	close(fds[1]);
	loop_close();
}

static struct watch loser, winner;
static uint32_t heard;

static void
hear(struct watch *w, uint32_t events)
{
	(void)w;
	heard |= events;
}

/* Whichever of the two is told first takes the place of `loser`. */
static void
move_in(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	if (winner.fd == -1)
		return;
	watch_close(&loser);
	CU_ASSERT_EQUAL(watch_move(&winner, &loser, EPOLLIN | EPOLLET), 0);
	loser.ready = hear;
}

static void
test_moved_onto(void)
{
	int lost[2], won[2];

	setup();
	heard = 0;
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, lost), 0);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, won), 0);
	CU_ASSERT_EQUAL(watch_add(&winner, won[0], EPOLLIN | EPOLLET, move_in), 0);
	CU_ASSERT_EQUAL(watch_add(&loser, lost[0], EPOLLIN | EPOLLET, hear), 0);
	CU_ASSERT_EQUAL(write(won[1], "x", 1), 1);
	close(lost[1]); /* in the same round: EPOLLHUP */
	loop_round(0);
	loop_round(0);
	CU_ASSERT_EQUAL(heard, EPOLLIN);
	watch_close(&loser);
	close(won[1]);
	loop_close();
}

/* ---- many at once, so that the loop naps ---- */

#define PEERS 16
#define ROUNDS 300

static unsigned echoed, ticks;
static bool peers_over;

static void
echo(struct watch *w, uint32_t events)
{
	char byte;

	(void)events;
	while (recv(w->fd, &byte, 1, MSG_DONTWAIT) == 1)
		if (send(w->fd, &byte, 1, MSG_NOSIGNAL) == 1)
			echoed++;
}

static void
over(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	peers_over = true;
}

static void
tick(struct timer *t)
{
	ticks++;
	timer_set(t, loop_now() + 16, tick);
}

/* All say a byte and wait for the echoes, again and again. */
static int
peers(const int fds[PEERS])
{
	for (int round = 0; round < ROUNDS; round++) {
		char said = (char)round, echo_of;

		for (int i = 0; i < PEERS; i++)
			if (send(fds[i], &said, 1, MSG_NOSIGNAL) != 1)
				return 1;
		for (int i = 0; i < PEERS; i++)
			if (recv(fds[i], &echo_of, 1, 0) != 1 || echo_of != said)
				return 1;
	}
	return 0;
}

static void
test_many(void)
{
	int ours[PEERS + 1], theirs[PEERS + 1], status = -1;
	struct watch watches[PEERS + 1];
	int64_t end;
	pid_t pid;

	setup();
	echoed = ticks = 0;
	peers_over = false;
	for (int i = 0; i <= PEERS; i++) {
		int pair[2];

		CU_ASSERT_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
		ours[i] = pair[0];
		theirs[i] = pair[1];
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(peers(theirs));
	CU_ASSERT_FATAL(pid > 0);
	for (int i = 0; i <= PEERS; i++) {
		close(theirs[i]); /* the last one tells, by its end, that the peers are over */
		CU_ASSERT_EQUAL(watch_add(&watches[i], ours[i], EPOLLIN | EPOLLRDHUP | EPOLLET,
					  i < PEERS ? echo : over),
				0);
	}
	tick(&timers[0]);
	end = loop_now() + 30000;
	while (!peers_over && loop_now() < end)
		loop_round(1000);
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
	CU_ASSERT_EQUAL(echoed, PEERS * ROUNDS);
	CU_ASSERT(ticks > 0);
	for (int i = 0; i <= PEERS; i++)
		watch_close(&watches[i]);
	timer_stop(&timers[0]);
	loop_close();
}

int
main(void)
{
	unsigned failed;
	CU_pSuite s;

	CU_initialize_registry();
	s = CU_add_suite("loop", NULL, NULL);
	CU_add_test(s, "timers fire in order", test_order);
	CU_add_test(s, "a timer never fires early", test_never_early);
	CU_add_test(s, "a timer moved later fires later", test_move_later);
	CU_add_test(s, "a timer moved earlier fires earlier", test_move_earlier);
	CU_add_test(s, "timers stopped by another do not fire", test_stop_in_fire);
	CU_add_test(s, "turns end with the round", test_turns);
	CU_add_test(s, "a watch tells each edge once and can move", test_watch);
	CU_add_test(s, "a descriptor that moves in hears nothing of the one before",
		    test_moved_onto);
	CU_add_test(s, "nothing is lost while many talk at once", test_many);
	CU_basic_run_tests();
	failed = CU_get_number_of_tests_failed();
	printf("%u passed, %u failed\n", CU_get_number_of_tests_run() - failed, failed);
	CU_cleanup_registry();
	return failed != 0;
}
