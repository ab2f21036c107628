/*
 * unit_tally.c - limits across workers (daemon/books/tally.c): all or nothing, per source by
 * prefix, and many takers at once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "books/tally.h"
#include "suite.h"

static struct addr
v4(uint32_t a)
{
	return addr_from_v4(a);
}

static void
test_totals(void)
{
	struct tally_limits l = {.sessions = 2, .prefix4 = 32, .prefix6 = 64};
	int fd = tally_create(100);
	struct tally *t = tally_map(fd), *u = tally_map(fd);
	struct addr a = v4(0x0a000001);

	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	CU_ASSERT_PTR_NOT_NULL_FATAL(u);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(u, &l, &a), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_TOTAL);
	CU_ASSERT_EQUAL(tally_sessions(t), 2);
	CU_ASSERT_EQUAL(tally_handshakes(u), 2);
	CU_ASSERT_EQUAL(tally_source(u, &l, &a), 2);
	tally_handshake_done(u);
	tally_give(t, &l, &a, false);
	CU_ASSERT_EQUAL(tally_sessions(u), 1);
	CU_ASSERT_EQUAL(tally_handshakes(u), 1);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
	tally_give(t, &l, &a, true);
	tally_give(t, &l, &a, true);
	CU_ASSERT_EQUAL(tally_sessions(t), 0);
	CU_ASSERT_EQUAL(tally_handshakes(t), 0);
	CU_ASSERT_EQUAL(tally_source(t, &l, &a), 0);
	/* never below zero */
	tally_give(t, &l, &a, true);
	CU_ASSERT_EQUAL(tally_sessions(t), 0);
	CU_ASSERT_EQUAL(tally_handshakes(t), 0);
	CU_ASSERT_NOT_EQUAL(ftruncate(fd, 0), 0);
	tally_unmap(t);
	tally_unmap(u);
	close(fd);
}

static void
test_handshakes(void)
{
	struct tally_limits l = {.handshakes = 1, .prefix4 = 32, .prefix6 = 64};
	int fd = tally_create(0);
	struct tally *t = tally_map(fd);
	struct addr a = v4(0x0a000001);

	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_HANDSHAKES);
	CU_ASSERT_EQUAL(tally_sessions(t), 1);
	CU_ASSERT_EQUAL(tally_source(t, &l, &a), 1);
	tally_handshake_done(t);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
	CU_ASSERT_EQUAL(tally_sessions(t), 2);
	tally_unmap(t);
	close(fd);
}

static void
test_sources(void)
{
	struct tally_limits l = {.per_source = 2, .prefix4 = 24, .prefix6 = 64};
	int fd = tally_create(1000);
	struct tally *t = tally_map(fd);
	struct addr a = v4(0x0a000001), same = v4(0x0a0000fe), other = v4(0x0a000101);
	struct addr six, six_same, six_other;

	CU_ASSERT_TRUE(addr_parse("2001:db8:1:2::1", 15, &six));
	CU_ASSERT_TRUE(addr_parse("2001:db8:1:2:ffff::9", 20, &six_same));
	CU_ASSERT_TRUE(addr_parse("2001:db8:1:3::1", 15, &six_other));
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &same), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_SOURCE);
	CU_ASSERT_EQUAL(tally_sessions(t), 2);
	CU_ASSERT_EQUAL(tally_handshakes(t), 2);
	CU_ASSERT_EQUAL(tally_take(t, &l, &other), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &six), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &six_same), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &six), TALLY_SOURCE);
	CU_ASSERT_EQUAL(tally_take(t, &l, &six_other), TALLY_OK);
	CU_ASSERT_EQUAL(tally_source(t, &l, &same), 2);
	CU_ASSERT_EQUAL(tally_source(t, &l, &six), 2);
	tally_give(t, &l, &same, true);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
	tally_unmap(t);
	close(fd);
}

/* As many sources as sessions, twice over: every one is counted exactly, and all go again. */
static void
test_many_sources(void)
{
	struct tally_limits l = {.per_source = 3, .prefix4 = 32, .prefix6 = 64};
	int fd = tally_create(20000);
	struct tally *t = tally_map(fd);
	uint32_t i, refused = 0, wrong = 0;

	for (i = 0; i < 20000; i++) {
		struct addr a = v4(0x0a000000 + i);

		refused += tally_take(t, &l, &a) != TALLY_OK;
		if (i % 2)
			refused += tally_take(t, &l, &a) != TALLY_OK;
	}
	CU_ASSERT_EQUAL(refused, 0);
	for (i = 0; i < 20000; i++) {
		struct addr a = v4(0x0a000000 + i);

		wrong += tally_source(t, &l, &a) != 1 + i % 2;
		tally_give(t, &l, &a, true);
		if (i % 2)
			tally_give(t, &l, &a, true);
		wrong += tally_source(t, &l, &a) != 0;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(tally_sessions(t), 0);
	tally_unmap(t);
	close(fd);
}

/* Four takers over a few sources: the limit is never passed and nothing is left over. */
static struct tally *shared;
static const struct tally_limits crowd = {
    .sessions = 50, .per_source = 5, .handshakes = 20, .prefix4 = 32, .prefix6 = 64};
static _Atomic int inside[8], most, refusals;

static void *
take_and_give(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;
	int i;

	for (i = 0; i < 40000; i++) {
		struct addr a;
		unsigned who;
		int now;

		seed = seed * 1664525 + 1013904223;
		who = seed >> 29;
		a = v4(0xc0a80000 + who);
		if (tally_take(shared, &crowd, &a) != TALLY_OK) {
			atomic_fetch_add(&refusals, 1);
			continue;
		}
		now = atomic_fetch_add(&inside[who], 1) + 1;
		if (now > atomic_load(&most))
			atomic_store(&most, now);
		if (i % 64 == 0)
			usleep(50);
		if (i % 2)
			tally_handshake_done(shared);
		atomic_fetch_sub(&inside[who], 1);
		tally_give(shared, &crowd, &a, i % 2 == 0);
	}
	return NULL;
}

static void
test_crowd(void)
{
	int fd = tally_create(100), i;
	pthread_t threads[8];
	uint32_t left = 0;

	shared = tally_map(fd);
	for (i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, take_and_give, (void *)(uintptr_t)(i + 1));
	for (i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT_TRUE(atomic_load(&most) >= 1 && atomic_load(&most) <= 5);
	CU_ASSERT_EQUAL(tally_sessions(shared), 0);
	CU_ASSERT_EQUAL(tally_handshakes(shared), 0);
	for (i = 0; i < 8; i++) {
		struct addr a = v4(0xc0a80000 + (uint32_t)i);

		left += tally_source(shared, &crowd, &a);
	}
	CU_ASSERT_EQUAL(left, 0);
	tally_unmap(shared);
	close(fd);
}

/* Doors, associations and primaries are counted each by itself, and never as sessions. */
static void
test_beside(void)
{
	struct tally_limits l = {.per_source = 1, .prefix4 = 24, .prefix6 = 64};
	int fd = tally_create(100);
	struct tally *t = tally_map(fd), *u = tally_map(fd);
	struct addr a = v4(0x0a000001), neighbour = v4(0x0a0000fe), far = v4(0x0a000101);
	struct addr peer = v4(0xc0000201), other = v4(0xc0000202);

	CU_ASSERT_PTR_NOT_NULL_FATAL(t);
	CU_ASSERT_PTR_NOT_NULL_FATAL(u);
	/* by source: the prefix counts, in every worker */
	CU_ASSERT_TRUE(tally_beside_take(t, &l, TALLY_BINDS, &a, NULL, 2));
	CU_ASSERT_TRUE(tally_beside_take(u, &l, TALLY_BINDS, &neighbour, NULL, 2));
	CU_ASSERT_FALSE(tally_beside_take(t, &l, TALLY_BINDS, &a, NULL, 2));
	CU_ASSERT_TRUE(tally_beside_take(t, &l, TALLY_BINDS, &far, NULL, 2));
	CU_ASSERT_EQUAL(tally_beside(u, &l, TALLY_BINDS, &a, NULL), 2);
	CU_ASSERT_EQUAL(tally_beside(u, &l, TALLY_ASSOCIATIONS, &a, NULL), 0);
	CU_ASSERT_TRUE(tally_beside_take(t, &l, TALLY_ASSOCIATIONS, &a, NULL, 1));
	CU_ASSERT_FALSE(tally_beside_take(t, &l, TALLY_ASSOCIATIONS, &neighbour, NULL, 1));
	/* no limit; a limit that a reload lowered below what is there */
	CU_ASSERT_TRUE(tally_beside_take(t, &l, TALLY_BINDS, &a, NULL, 0));
	CU_ASSERT_FALSE(tally_beside_take(t, &l, TALLY_BINDS, &a, NULL, 1));
	CU_ASSERT_EQUAL(tally_beside(t, &l, TALLY_BINDS, &a, NULL), 3);
	/* by pair: exactly these two */
	CU_ASSERT_TRUE(tally_beside_take(t, &l, TALLY_PRIMARIES, &a, &peer, 0));
	CU_ASSERT_EQUAL(tally_beside(u, &l, TALLY_PRIMARIES, &a, &peer), 1);
	CU_ASSERT_EQUAL(tally_beside(u, &l, TALLY_PRIMARIES, &a, &other), 0);
	CU_ASSERT_EQUAL(tally_beside(u, &l, TALLY_PRIMARIES, &neighbour, &peer), 0);
	CU_ASSERT_EQUAL(tally_beside(u, &l, TALLY_PRIMARIES, &peer, &a), 0);
	/* none of them is a session */
	CU_ASSERT_EQUAL(tally_sessions(t), 0);
	CU_ASSERT_EQUAL(tally_source(t, &l, &a), 0);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
	CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_SOURCE);
	CU_ASSERT_EQUAL(tally_beside(t, &l, TALLY_BINDS, &a, NULL), 3);
	/* given back, and never below zero */
	for (int i = 0; i < 4; i++)
		tally_beside_give(u, &l, TALLY_BINDS, &neighbour, NULL);
	tally_beside_give(u, &l, TALLY_PRIMARIES, &a, &peer);
	CU_ASSERT_EQUAL(tally_beside(t, &l, TALLY_BINDS, &a, NULL), 0);
	CU_ASSERT_EQUAL(tally_beside(t, &l, TALLY_BINDS, &far, NULL), 1);
	CU_ASSERT_EQUAL(tally_beside(t, &l, TALLY_PRIMARIES, &a, &peer), 0);
	CU_ASSERT_EQUAL(tally_source(t, &l, &a), 1);
	tally_unmap(t);
	tally_unmap(u);
	close(fd);
}

static void
test_beats(void)
{
	int fd = tally_create(100);
	struct tally *t = tally_map(fd), *parent = tally_map(fd);

	atomic_fetch_add(tally_beats(t, 63), 1);
	atomic_fetch_add(tally_beats(t, 0), 2);
	tally_present(t, 0, true); /* a successor goes on counting */
	CU_ASSERT_EQUAL(atomic_load(tally_beats(parent, 63)), 1);
	CU_ASSERT_EQUAL(atomic_load(tally_beats(parent, 0)), 2);
	CU_ASSERT_EQUAL(atomic_load(tally_load(parent, 0)), 0);
	tally_unmap(parent);
	tally_unmap(t);
	close(fd);
}

static void
test_not_a_tally(void)
{
	char page[8192] = {0};
	int fd = memfd_create("x", MFD_CLOEXEC);

	CU_ASSERT_PTR_NULL(tally_map(fd));
	CU_ASSERT_EQUAL(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
	CU_ASSERT_PTR_NULL(tally_map(fd));
	close(fd);
	CU_ASSERT_PTR_NULL(tally_map(-1));
}

/* ---- many sources, as they come in networks ---- */

#define MANY 100000u

/* The i-th client of a shape. */
static struct addr
in_a_row(uint32_t i)
{
	return v4(0x0a000000 + i);
}

static struct addr
one_a_network(uint32_t i)
{
	return v4(0x0a000001 + (i << 6));
}

static struct addr
scattered(uint32_t i)
{
	return v4(i * 2654435761u); /* odd, so none comes twice */
}

static struct addr
v6_in_a_row(uint32_t i)
{
	uint8_t b[16] = {0x20, 0x01, 0x0d, 0xb8, 0, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 9};

	return addr_from_bytes16(b);
}

static size_t
pages_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (size_t)st.st_blocks * 512 / 4096 : 0;
}

static void
test_shapes(void)
{
	static struct addr (*const shapes[])(uint32_t) = {in_a_row, one_a_network, scattered,
							   v6_in_a_row};
	struct tally_limits l = {.per_source = 1, .prefix4 = 32, .prefix6 = 64};

	for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
		int fd = tally_create(MANY);
		struct tally *t = tally_map(fd);
		unsigned taken = 0, twice = 0, left = 0;

		for (uint32_t i = 0; i < MANY; i++) {
			struct addr a = shapes[s](i);

			taken += tally_take(t, &l, &a) == TALLY_OK;
			twice += tally_take(t, &l, &a) == TALLY_OK;
		}
		CU_ASSERT_EQUAL(taken, MANY);
		CU_ASSERT_EQUAL(twice, 0);
		for (uint32_t i = 0; i < MANY; i++) {
			struct addr a = shapes[s](i);

			tally_give(t, &l, &a, true);
			left += tally_source(t, &l, &a);
		}
		CU_ASSERT_EQUAL(left, 0);
		CU_ASSERT_EQUAL(tally_sessions(t), 0);
		tally_unmap(t);
		close(fd);
	}
}

/* A page for 64 neighbours, and not one for each. */
static void
test_neighbours(void)
{
	struct tally_limits l = {.prefix4 = 32, .prefix6 = 64};
	int fd = tally_create(MANY);
	struct tally *t = tally_map(fd);
	size_t before = pages_of(fd);

	for (uint32_t i = 0; i < 4096; i++) {
		struct addr a = in_a_row(i), b = v6_in_a_row(i);

		CU_ASSERT_EQUAL(tally_take(t, &l, &a), TALLY_OK);
		CU_ASSERT_EQUAL(tally_take(t, &l, &b), TALLY_OK);
	}
	/* a window may reach into the next page */
	CU_ASSERT(pages_of(fd) - before <= 4 * 4096 / 64);
	CU_ASSERT(pages_of(fd) - before > 0);
	tally_unmap(t);
	close(fd);
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"totals", test_totals},
				      {"handshakes", test_handshakes},
				      {"sources", test_sources},
				      {"many sources", test_many_sources},
				      {"crowd", test_crowd},
				      {"beside the sessions", test_beside},
				      {"beats", test_beats},
				      {"all of many sources have room, whatever their networks",
				       test_shapes},
				      {"neighbours share pages", test_neighbours},
				      {"not a tally", test_not_a_tally},
				      CU_TEST_INFO_NULL};

	return suite_run("tally", tests);
}
