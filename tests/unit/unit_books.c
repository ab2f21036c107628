/*
 * unit_books.c - the books of a worker (daemon/books/books.c): cards, events, the way back,
 * the bell, ids, and what is left after a worker died in the middle.
 */
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "books/books.h"
#include "suite.h"

struct pair {
	int fd, bell;
	struct books *worker, *ledger;
};

static struct pair
pair_open(unsigned worker, uint32_t sessions)
{
	struct pair p;

	p.fd = books_create(worker, 3, sessions, 42);
	p.bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CU_ASSERT_FATAL(p.fd >= 0 && p.bell >= 0);
	p.worker = books_map(p.fd, p.bell);
	p.ledger = books_map(p.fd, p.bell);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p.worker);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p.ledger);
	return p;
}

static void
pair_close(struct pair *p)
{
	books_unmap(p->worker);
	books_unmap(p->ledger);
	close(p->fd);
	close(p->bell);
}

/* A reader with a descriptor that allows no more sees sessions that live, whole, and those only. */
static void
test_view(void)
{
	struct pair p = pair_open(1, 100);
	char name[64];
	struct card *c = card_take(p.worker, 7000000), *other;
	struct card_seen seen;
	struct books *view;
	uint32_t at = 0;
	int fd;

	snprintf(name, sizeof name, "/proc/self/fd/%d", p.fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_TRUE(fd != -1);
	CU_ASSERT_PTR_NULL(books_map(fd, -1)); /* which would write */
	view = books_view(fd);
	CU_ASSERT_PTR_NOT_NULL_FATAL(view);
	close(fd);
	card_set_string(p.worker, c, CARD_USER, "alice", 5);
	card_set_string(p.worker, c, CARD_NAME, "a-name-that-is-longer-than-a-card.example.org",
			45);
	books_tell(p.worker, c, EVENT_START);
	other = books_next_open(view, &at);
	CU_ASSERT_PTR_NOT_NULL_FATAL(other);
	CU_ASSERT_TRUE(card_look(view, other, &seen));
	CU_ASSERT_STRING_EQUAL(seen.strings[CARD_USER], "alice");
	CU_ASSERT_STRING_EQUAL(seen.strings[CARD_NAME],
			       "a-name-that-is-longer-than-a-card.example.org");
	CU_ASSERT_EQUAL(seen.card.start_ns, 7000000);
	CU_ASSERT_EQUAL(meter_read(&books_meters(view)->events[EVENT_START]), 1);
	/* over, but not written yet */
	c->end_ns = 8000000;
	c->ending = 1;
	books_tell(p.worker, c, EVENT_END);
	CU_ASSERT_FALSE(card_look(view, other, &seen));
	books_unmap(view);
	pair_close(&p);
}

static void
test_meters(void)
{
	static struct meters m, sum;
	const uint64_t *bounds = meter_bounds(TIME_CONNECT);

	for (int i = 1; i < METER_BUCKETS; i++)
		CU_ASSERT_TRUE(bounds[i] > bounds[i - 1] &&
			       meter_bounds(TIME_SESSION)[i] > meter_bounds(TIME_SESSION)[i - 1]);
	meter_observe(&m, TIME_CONNECT, 0);
	meter_observe(&m, TIME_CONNECT, bounds[0]); /* a bound belongs to its bucket */
	meter_observe(&m, TIME_CONNECT, bounds[0] + 1);
	meter_observe(&m, TIME_CONNECT, bounds[METER_BUCKETS - 1] + 1);
	meter_add(&m.refused[63][METER_REFUSALS - 1], 5);
	meters_sum(&sum, &m);
	meters_sum(&sum, &m);
	CU_ASSERT_EQUAL(meter_read(&sum.times[TIME_CONNECT].bucket[0]), 4);
	CU_ASSERT_EQUAL(meter_read(&sum.times[TIME_CONNECT].bucket[1]), 2);
	CU_ASSERT_EQUAL(meter_read(&sum.times[TIME_CONNECT].bucket[METER_BUCKETS]), 2);
	CU_ASSERT_EQUAL(meter_read(&sum.times[TIME_CONNECT].sum),
			2 * (2 * bounds[0] + 1 + bounds[METER_BUCKETS - 1] + 1));
	CU_ASSERT_EQUAL(meter_read(&sum.refused[63][METER_REFUSALS - 1]), 10);
}

/* Destinations of UDP associations take no card that a session may want. */
static void
test_destinations(void)
{
	struct pair p = pair_open(1, 100);
	struct card *parent = card_take(p.worker, 7000000), *c, *last = NULL;
	char id[BOOKS_ID], own[BOOKS_ID], user[256];
	uint32_t n = 0;

	parent->version = 5;
	parent->command = 3;
	parent->source = addr_loopback4;
	parent->source_port = 99;
	card_set_string(p.worker, parent, CARD_USER, "alice", 5);
	while ((c = card_take_destination(p.worker, parent, 1, 8000000)) != NULL) {
		last = c;
		n++;
	}
	CU_ASSERT_EQUAL(n, BOOKS_DESTINATIONS);
	CU_ASSERT_PTR_NOT_NULL_FATAL(last);
	CU_ASSERT_TRUE(card_is_destination(last) && !card_is_destination(parent));
	CU_ASSERT_TRUE(addr_equal(&last->source, &addr_loopback4) && last->source_port == 99);
	CU_ASSERT_TRUE(last->version == 5 && last->command == 3);
	CU_ASSERT_EQUAL(card_string(p.worker, last, CARD_USER, user), 5);
	books_id(p.worker, parent, id);
	books_session_id(p.worker, last, own);
	CU_ASSERT_STRING_EQUAL(own, id);
	books_id(p.worker, last, own);
	CU_ASSERT_STRING_NOT_EQUAL(own, id);
	for (n = 1; n < 100; n++)
		CU_ASSERT_PTR_NOT_NULL(card_take(p.worker, 1));
	/* one that is told comes back by the ledger */
	last->ending = 1;
	books_tell(p.worker, last, EVENT_DESTINATION);
	CU_ASSERT_PTR_NULL(card_take_destination(p.worker, parent, 100, 1));
	{
		struct books_heard h;

		CU_ASSERT_TRUE(books_hear(p.ledger, &h));
		CU_ASSERT_TRUE(h.card->parent == parent->serial && h.event == EVENT_DESTINATION);
		books_done(p.ledger);
	}
	CU_ASSERT_PTR_NOT_NULL(card_take_destination(p.worker, parent, 100, 1));
	CU_ASSERT_PTR_NULL(card_take_destination(p.worker, parent, 100, 1));
	pair_close(&p);
}

/* What a door expected stays, while its card goes on; each card has its own. */
static void
test_doors(void)
{
	struct pair p = pair_open(1, 100);
	struct card *a = card_take(p.worker, 1), *b = card_take(p.worker, 2);
	struct books_heard h;

	card_door(p.worker, a)->expected = addr_loopback4;
	card_door(p.worker, a)->port = 21;
	card_door(p.worker, b)->expected = addr_loopback6;
	card_door(p.worker, b)->port = 22;
	books_tell(p.worker, a, EVENT_BIND_LISTEN);
	a->destination = addr_any4;
	CU_ASSERT_TRUE_FATAL(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(h.event, EVENT_BIND_LISTEN);
	CU_ASSERT_TRUE(addr_equal(&card_door(p.ledger, h.card)->expected, &addr_loopback4));
	CU_ASSERT_EQUAL(card_door(p.ledger, h.card)->port, 21);
	CU_ASSERT_EQUAL(card_door(p.worker, b)->port, 22);
	pair_close(&p);
}

static void
test_head(void)
{
	struct pair p = pair_open(5, 100);

	CU_ASSERT_EQUAL(books_worker(p.ledger), 5);
	CU_ASSERT_EQUAL(books_generation(p.ledger), 3);
	CU_ASSERT_EQUAL(books_capacity(p.worker), 100 + BOOKS_BACKLOG + BOOKS_DESTINATIONS);
	CU_ASSERT_EQUAL(books_free_cards(p.worker), 100 + BOOKS_BACKLOG + BOOKS_DESTINATIONS);
	CU_ASSERT_NOT_EQUAL(ftruncate(p.fd, 0), 0);
	atomic_fetch_add(books_counter(p.worker, COUNT_ACCEPTED), 7);
	CU_ASSERT_EQUAL(atomic_load(books_counter(p.ledger, COUNT_ACCEPTED)), 7);
	pair_close(&p);
}

static void
test_not_books(void)
{
	char page[8192] = {0};
	int fd = memfd_create("x", MFD_CLOEXEC);

	CU_ASSERT_PTR_NULL(books_map(fd, -1));
	CU_ASSERT_EQUAL(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
	CU_ASSERT_PTR_NULL(books_map(fd, -1));
	close(fd);

	/* true books cut short are not books */
	fd = books_create(0, 0, 10, 0);
	CU_ASSERT_EQUAL(pread(fd, page, sizeof(page), 0), (ssize_t)sizeof(page));
	close(fd);
	fd = memfd_create("x", MFD_CLOEXEC);
	CU_ASSERT_EQUAL(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
	CU_ASSERT_PTR_NULL(books_map(fd, -1));
	close(fd);
}

static void
test_one_life(void)
{
	struct pair p = pair_open(0, 10);
	struct books_heard h;
	struct card *c = card_take(p.worker, 1000000000LL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	CU_ASSERT_EQUAL(c->state, CARD_OPEN);
	CU_ASSERT_EQUAL(c->start_ns, 1000000000LL);
	CU_ASSERT_FALSE(books_hear(p.ledger, &h));

	c->rule = 77;
	books_tell(p.worker, c, EVENT_START);
	CU_ASSERT_EQUAL(c->state, CARD_STARTED);
	CU_ASSERT_EQUAL(books_lag(p.worker), 1);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(h.event, EVENT_START);
	CU_ASSERT_EQUAL(h.card->rule, 77);
	CU_ASSERT_FALSE(books_hear(p.ledger, &h));
	books_done(p.ledger);
	CU_ASSERT_EQUAL(books_lag(p.worker), 0);
	CU_ASSERT_EQUAL(c->state, CARD_STARTED);

	c->up = 12345;
	books_tell(p.worker, c, EVENT_END);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(h.event, EVENT_END);
	CU_ASSERT_EQUAL(h.card->up, 12345);
	CU_ASSERT_EQUAL(books_free_cards(p.worker), books_capacity(p.worker) - 1);
	books_done(p.ledger);
	CU_ASSERT_EQUAL(books_free_cards(p.worker), books_capacity(p.worker));
	CU_ASSERT_EQUAL(c->state, CARD_FREE);
	/* the warm card comes back first */
	CU_ASSERT_PTR_EQUAL(card_take(p.worker, 5), c);
	CU_ASSERT_EQUAL(c->up, 0);
	CU_ASSERT_EQUAL(c->rule, 0);
	card_drop(p.worker, c);
	CU_ASSERT_PTR_EQUAL(card_take(p.worker, 6), c);
	pair_close(&p);
}

/* No record, no session: when the ledger does not write, cards run out, and come back after. */
static void
test_exhaustion(void)
{
	struct pair p = pair_open(0, 4);
	uint32_t capacity = books_capacity(p.worker), n = 0, events = 0;
	struct books_heard h;
	struct card *c;

	while ((c = card_take(p.worker, 1)) != NULL) {
		books_tell(p.worker, c, EVENT_START);
		books_tell(p.worker, c, EVENT_END);
		n++;
	}
	CU_ASSERT_EQUAL(n, capacity);
	CU_ASSERT_EQUAL(books_free_cards(p.worker), 0);
	CU_ASSERT_EQUAL(books_lag(p.worker), 2 * (uint64_t)capacity);
	while (books_hear(p.ledger, &h))
		events++;
	CU_ASSERT_EQUAL(events, 2 * capacity);
	CU_ASSERT_PTR_NULL(card_take(p.worker, 1));
	books_done(p.ledger);
	CU_ASSERT_EQUAL(books_free_cards(p.worker), capacity);
	books_refuse(p.ledger, true);
	CU_ASSERT_PTR_NULL(card_take(p.worker, 1));
	books_refuse(p.ledger, false);
	for (n = 0; card_take(p.worker, 1) != NULL; n++)
		;
	CU_ASSERT_EQUAL(n, capacity);
	pair_close(&p);
}

static void
test_strings(void)
{
	struct pair p = pair_open(0, 4);
	struct card *c = card_take(p.worker, 1), *d = card_take(p.worker, 1);
	struct books_heard h, g;
	char long_name[300], buf[256];

	memset(long_name, 'n', sizeof(long_name));
	long_name[31] = 'x';
	long_name[32] = 'y';
	long_name[254] = 'z';
	card_set_string(p.worker, c, CARD_NAME, "short", 5);
	CU_ASSERT_EQUAL(card_string(p.worker, c, CARD_NAME, buf), 5);
	CU_ASSERT_STRING_EQUAL(buf, "short");
	card_set_string(p.worker, c, CARD_NAME, long_name, 300);
	card_set_string(p.worker, c, CARD_USER, "ali\0ce", 6);
	card_set_string(p.worker, c, CARD_USERID, long_name, 255);
	card_set_string(p.worker, d, CARD_USER, "bob", 3);
	books_tell(p.worker, c, EVENT_START);
	books_tell(p.worker, d, EVENT_START);
	CU_ASSERT_TRUE_FATAL(books_hear(p.ledger, &h));
	CU_ASSERT_TRUE_FATAL(books_hear(p.ledger, &g));
	CU_ASSERT_EQUAL(card_string(p.ledger, h.card, CARD_NAME, buf), 255);
	CU_ASSERT_EQUAL(memcmp(buf, long_name, 255), 0);
	CU_ASSERT_EQUAL(card_string(p.ledger, h.card, CARD_USER, buf), 6);
	CU_ASSERT_EQUAL(memcmp(buf, "ali\0ce", 7), 0);
	CU_ASSERT_EQUAL(card_string(p.ledger, h.card, CARD_USERID, buf), 255);
	CU_ASSERT_EQUAL(memcmp(buf, long_name, 255), 0);
	CU_ASSERT_EQUAL(card_string(p.ledger, g.card, CARD_USER, buf), 3);
	CU_ASSERT_STRING_EQUAL(buf, "bob");
	CU_ASSERT_EQUAL(card_string(p.ledger, g.card, CARD_NAME, buf), 0);
	CU_ASSERT_STRING_EQUAL(buf, "");
	pair_close(&p);
}

static bool
rung(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n);
}

static void
test_bell(void)
{
	struct pair p = pair_open(0, 4);
	struct books_heard h;
	struct card *c = card_take(p.worker, 1);

	books_tell(p.worker, c, EVENT_START); /* the ledger is awake: no bell */
	CU_ASSERT_FALSE(rung(p.bell));
	CU_ASSERT_FALSE(books_sleep(p.ledger)); /* there is something to hear */
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	books_done(p.ledger);
	CU_ASSERT_TRUE(books_sleep(p.ledger));
	books_tell(p.worker, c, EVENT_END);
	CU_ASSERT_TRUE(rung(p.bell));
	c = card_take(p.worker, 1);
	books_tell(p.worker, c, EVENT_DENY); /* one bell is enough */
	CU_ASSERT_FALSE(rung(p.bell));
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	books_done(p.ledger);
	CU_ASSERT_TRUE(books_sleep(p.ledger));
	books_awake(p.ledger);
	books_tell(p.worker, card_take(p.worker, 1), EVENT_FAIL);
	CU_ASSERT_FALSE(rung(p.bell));
	pair_close(&p);
}

static void
test_ids(void)
{
	struct pair p = pair_open(63, 4), next;
	int64_t now = clock_wall_ns(), ms;
	struct card *c = card_take(p.worker, now + 3 * NS_PER_MS), *d;
	char a[BOOKS_ID], b[BOOKS_ID];
	uint32_t low;

	books_id(p.ledger, c, a);
	CU_ASSERT_EQUAL(strlen(a), 14);
	CU_ASSERT_EQUAL(strspn(a, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 14);
	CU_ASSERT_TRUE(books_id_parse(a, &ms, &low));
	CU_ASSERT_EQUAL(ms, now / NS_PER_MS + 3);
	CU_ASSERT_EQUAL(low >> 16, 63);
	CU_ASSERT_EQUAL(low & 0xffff, 42);
	d = card_take(p.worker, c->start_ns);
	books_id(p.worker, d, b);
	CU_ASSERT_STRING_NOT_EQUAL(a, b);
	CU_ASSERT_TRUE(strcmp(a, b) < 0);

	/*
	 * A successor born in the very millisecond in which the dead one's last card was taken
	 * starts in the next one, whatever its seed.
	 */
	next = pair_open(63, 4);
	d = card_take(next.worker, 1);
	d->start_ns = 0;
	books_id(next.ledger, d, b);
	CU_ASSERT_TRUE(books_id_parse(b, &ms, &low));
	CU_ASSERT_TRUE(ms > now / NS_PER_MS);
	CU_ASSERT_TRUE(ms <= clock_wall_ns() / NS_PER_MS + 1);

	CU_ASSERT_FALSE(books_id_parse("", &ms, &low));
	CU_ASSERT_FALSE(books_id_parse("01JDF3T7N8Q2W", &ms, &low));
	CU_ASSERT_FALSE(books_id_parse("01JDF3T7N8Q2W55", &ms, &low));
	CU_ASSERT_FALSE(books_id_parse("01JDF3T7N8Q2WU", &ms, &low));
	CU_ASSERT_FALSE(books_id_parse("01jdf3t7n8q2w5", &ms, &low));
	CU_ASSERT_TRUE(books_id_parse("ZZZZZZZZZZZZZZ", &ms, &low));
	CU_ASSERT_EQUAL(ms, 0xffffffffffffLL);
	CU_ASSERT_EQUAL(low, 0x3fffff);
	pair_close(&next);
	pair_close(&p);
}

/* A worker killed in the middle: what was told is heard, what is open is found, with its bytes. */
static void
test_crash(void)
{
	struct pair p = pair_open(1, 100);
	struct books_heard h;
	struct card *c;
	uint32_t at = 0, open = 0, started = 0, starts = 0, ends = 0;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int i;

		for (i = 0; i < 30; i++) {
			c = card_take(p.worker, 1000 + i);
			c->rule = i;
			if (i % 3 == 0)
				continue; /* in its handshake */
			books_tell(p.worker, c, EVENT_START);
			c->up = 1000 + (uint64_t)i;
			if (i % 3 == 1)
				books_tell(p.worker, c, EVENT_END);
		}
		raise(SIGKILL);
	}
	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_TRUE(WIFSIGNALED(status));
	while (books_hear(p.ledger, &h)) {
		starts += h.event == EVENT_START;
		ends += h.event == EVENT_END;
	}
	books_done(p.ledger);
	CU_ASSERT_EQUAL(starts, 20);
	CU_ASSERT_EQUAL(ends, 10);
	while ((c = books_next_open(p.ledger, &at)) != NULL) {
		if (c->state == CARD_OPEN) {
			CU_ASSERT_EQUAL(c->rule % 3, 0);
			open++;
		} else {
			CU_ASSERT_EQUAL(c->rule % 3, 2);
			CU_ASSERT_EQUAL(c->up, 1000 + (uint64_t)c->rule);
			started++;
		}
	}
	CU_ASSERT_EQUAL(open, 10);
	CU_ASSERT_EQUAL(started, 10);
	pair_close(&p);
}

/* A ledger that was restarted hears what the last one had not written. */
static void
test_second_ledger(void)
{
	struct pair p = pair_open(1, 100);
	struct books *again;
	struct books_heard h;
	int i;

	for (i = 0; i < 5; i++)
		books_tell(p.worker, card_take(p.worker, i), EVENT_DENY);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	books_done(p.ledger);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h)); /* heard but not written */
	again = books_map(p.fd, p.bell);
	for (i = 0; books_hear(again, &h); i++)
		CU_ASSERT_EQUAL(h.card->start_ns, 2 + i);
	CU_ASSERT_EQUAL(i, 3);
	books_done(again);
	CU_ASSERT_EQUAL(books_lag(p.worker), 0);
	books_unmap(again);
	pair_close(&p);
}

/* What was heard and is kept elsewhere is not heard again, but its cards are given back. */
static void
test_kept(void)
{
	struct pair p = pair_open(1, 100);
	struct books *again;
	struct books_heard h;
	uint64_t here;

	for (int i = 0; i < 5; i++)
		books_tell(p.worker, card_take(p.worker, i), EVENT_DENY);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	here = books_position(p.ledger);
	books_keep(p.ledger, here);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h)); /* heard and lost */
	again = books_map(p.fd, p.bell);
	CU_ASSERT_EQUAL(books_position(again), here);
	books_keep(again, here - 1); /* it never goes back */
	CU_ASSERT_EQUAL(books_position(again), here);
	books_keep(again, here + 100000000); /* nor out of the ring */
	CU_ASSERT_EQUAL(books_position(again), here);
	books_done(again);
	CU_ASSERT_EQUAL(books_lag(p.worker), 2);
	CU_ASSERT_TRUE(books_hear(again, &h));
	CU_ASSERT_EQUAL(h.card->start_ns, 3);
	CU_ASSERT_TRUE(books_hear(again, &h));
	CU_ASSERT_FALSE(books_hear(again, &h));
	books_done(again);
	CU_ASSERT_EQUAL(books_free_cards(p.worker), books_capacity(p.worker));
	books_unmap(again);
	pair_close(&p);
}

static void
test_buried(void)
{
	struct pair p = pair_open(1, 100);
	struct card *c = card_take(p.worker, 1), *other = card_take(p.worker, 2);
	struct books *again;
	uint32_t at = 0;

	CU_ASSERT_PTR_EQUAL(books_next_open(p.ledger, &at)->start_ns == 1 ? c : NULL, c);
	books_ended(p.ledger, books_index(p.worker, c));
	books_ended(p.ledger, UINT32_MAX);
	CU_ASSERT_FALSE(books_buried(p.ledger));
	books_bury(p.ledger);
	again = books_map(p.fd, p.bell);
	CU_ASSERT_TRUE(books_buried(again));
	at = 0;
	CU_ASSERT_EQUAL(books_next_open(again, &at)->start_ns, other->start_ns);
	CU_ASSERT_PTR_NULL(books_next_open(again, &at));
	books_unmap(again);
	pair_close(&p);
}

/* A worker that writes nonsense into its ring harms nobody else. */
static void
test_nonsense(void)
{
	struct pair p = pair_open(1, 100);
	struct books_heard h;
	struct card *beyond = card_take(p.worker, 1) + books_capacity(p.worker) + 5;
	struct card *good = card_take(p.worker, 1);

	books_tell(p.worker, beyond, EVENT_END);
	books_tell(p.worker, good, EVENT_COUNT);
	books_tell(p.worker, good, EVENT_NONE);
	books_tell(p.worker, good, EVENT_END);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(h.event, EVENT_END);
	CU_ASSERT_EQUAL(books_nonsense(p.ledger), 3);
	CU_ASSERT_FALSE(books_hear(p.ledger, &h));
	books_done(p.ledger);
	CU_ASSERT_EQUAL(good->state, CARD_FREE);
	pair_close(&p);
}

/* Two threads, many laps: nothing is lost, doubled or out of order, and the bell always wakes. */
#define ROUNDS 300000u

static void *
produce(void *arg)
{
	struct pair *p = arg;
	struct card *ring[64] = {NULL};
	uint32_t i;

	for (i = 0; i < ROUNDS; i++) {
		struct card *c;

		while ((c = card_take(p->worker, i)) == NULL)
			usleep(100);
		c->up = i;
		books_tell(p->worker, c, EVENT_START);
		if (ring[i % 64] != NULL) {
			ring[i % 64]->down = i;
			books_tell(p->worker, ring[i % 64], EVENT_END);
		}
		ring[i % 64] = c;
		if (i % 50000 == 0)
			usleep(2000); /* let the ledger fall asleep */
	}
	for (i = 0; i < 64; i++)
		books_tell(p->worker, ring[i], EVENT_END);
	return NULL;
}

static void
test_threads(void)
{
	struct pair p = pair_open(0, 64);
	uint32_t starts = 0, ends = 0, wrong = 0, late = 0;
	uint64_t n;
	pthread_t t;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, produce, &p), 0);
	while (ends < ROUNDS && late < 3) {
		struct books_heard h;
		uint32_t batch = 0;

		while (batch < 200 && books_hear(p.ledger, &h)) {
			batch++;
			if (h.event == EVENT_START)
				wrong += h.card->up != starts++;
			else if (h.event == EVENT_END)
				ends++;
		}
		books_done(p.ledger);
		if (batch == 0 && books_sleep(p.ledger)) {
			struct pollfd pfd = {p.bell, POLLIN, 0};

			if (poll(&pfd, 1, 10000) == 0)
				late++; /* slept through a bell */
			else if (read(p.bell, &n, sizeof(n)) < 0)
				late++;
			books_awake(p.ledger);
		}
	}
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(starts, ROUNDS);
	CU_ASSERT_EQUAL(ends, ROUNDS);
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(late, 0);
	CU_ASSERT_EQUAL(books_nonsense(p.ledger), 0);
	CU_ASSERT_EQUAL(books_free_cards(p.worker), books_capacity(p.worker));
	pair_close(&p);
}

static int64_t fake_now;

static int64_t
fake_clock(void)
{
	return fake_now;
}

/* Each event has its own time, also when the ledger hears them all at once and late. */
static void
test_moments(void)
{
	static const enum books_event events[] = {EVENT_AUTH_SUCCESS, EVENT_AUTH_FAILURE,
						  EVENT_LOCKOUT, EVENT_BIND_LISTEN,
						  EVENT_BIND_ACCEPT};
	struct pair p = pair_open(0, 10);
	struct card *c = card_take(p.worker, 1000);
	struct books_heard h;
	size_t i;

	books_clock(p.worker, fake_clock);
	for (i = 0; i < sizeof events / sizeof events[0]; i++) {
		fake_now = 2000 + (int64_t)i;
		books_tell(p.worker, c, events[i]);
	}
	c->told_ns = 3000;
	books_tell(p.worker, c, EVENT_START);
	c->end_ns = 4000;
	books_tell(p.worker, c, EVENT_END);
	fake_now = 9999;
	for (i = 0; i < sizeof events / sizeof events[0]; i++) {
		CU_ASSERT_TRUE_FATAL(books_hear(p.ledger, &h));
		CU_ASSERT_EQUAL(h.event, events[i]);
		CU_ASSERT_EQUAL(books_moment(p.ledger, h.card, h.event), 2000 + (int64_t)i);
	}
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(books_moment(p.ledger, h.card, h.event), 3000);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(books_moment(p.ledger, h.card, h.event), 4000);
	pair_close(&p);
}

/* The bytes as they were; and never two on their way, so the ring has room. */
static void
test_progress(void)
{
	struct pair p = pair_open(0, 10);
	struct card *c = card_take(p.worker, 1000);
	struct books_heard h;
	uint64_t bytes[2] = {0, 0};
	int i;

	books_clock(p.worker, fake_clock);
	fake_now = 5000;
	c->up = 1;
	c->down = 2;
	books_progress(p.worker, c, 900);
	c->up = 100;
	for (i = 0; i < 20; i++)
		books_progress(p.worker, c, 1800);
	CU_ASSERT_EQUAL(books_lag(p.worker), 1);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(h.event, EVENT_PROGRESS);
	CU_ASSERT_EQUAL(books_progressed(p.ledger, h.card, bytes), 900);
	CU_ASSERT_EQUAL(books_moment(p.ledger, h.card, h.event), 5000);
	CU_ASSERT_EQUAL(bytes[0], 1);
	CU_ASSERT_EQUAL(bytes[1], 2);
	books_progress(p.worker, c, 1800); /* heard, not written */
	CU_ASSERT_FALSE(books_hear(p.ledger, &h));
	books_done(p.ledger);
	books_progress(p.worker, c, 1800);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	CU_ASSERT_EQUAL(books_progressed(p.ledger, h.card, bytes), 1800);
	books_done(p.ledger);
	books_progress(p.worker, c, 1800); /* told already */
	CU_ASSERT_FALSE(books_hear(p.ledger, &h));
	/* the next user of the card */
	c->start_ns++;
	books_progress(p.worker, c, 900);
	CU_ASSERT_TRUE(books_hear(p.ledger, &h));
	pair_close(&p);
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"head", test_head},
				      {"view", test_view},
				      {"meters", test_meters},
				      {"destinations", test_destinations},
				      {"doors", test_doors},
				      {"not books", test_not_books},
				      {"one life", test_one_life},
				      {"exhaustion", test_exhaustion},
				      {"strings", test_strings},
				      {"bell", test_bell},
				      {"ids", test_ids},
				      {"crash", test_crash},
				      {"second ledger", test_second_ledger},
				      {"kept", test_kept},
				      {"buried", test_buried},
				      {"nonsense", test_nonsense},
				      {"threads", test_threads},
				      {"moments", test_moments},
				      {"progress", test_progress},
				      CU_TEST_INFO_NULL};

	return suite_run("books", tests);
}
