/*
 * net/loop.c - see net/loop.h. The worker; waits only in epoll_wait and, for a moment, in loop_nap.
 *
 * The wheel has 4096 slots of 16 ms (65 s). A timer that lies further away is filed
 * in the last slot and filed again when its turn comes; that is also how a timer whose time was
 * moved later is kept, so that activity on a session costs one store and no list work.
 *
 * To be woken costs more than most events do. So where events come thick, a loop that has nothing
 * to do naps for a moment instead of being woken by each, as network cards do with interrupts. A
 * nap behind which few events stand was in vain, and the next one is far: who talks alone, however
 * fast, is not kept waiting.
 */
#include "net/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define WHEEL_SLOTS 4096
#define WHEEL_SHIFT 4 /* 16 ms a slot */
#define BATCH 256
#define WALL_AGAIN_NS (50 * NS_PER_MS)
#define THICK 8		 /* events in a millisecond */
#define NAP_NS 50000	 /* and as much again at most, by the kernel's slack */
#define NAP_WORTH 4	 /* events behind a nap */
#define NAP_AGAIN_MS 512 /* at most, behind naps in vain */
#define AWAKE_MS 10

static struct {
	int epoll;
	int64_t now_ns, now_ms;
	int64_t wall_ahead_ns, wall_again_ns;
	int64_t tick; /* slots up to and including this one are done */
	struct timer *slot[WHEEL_SLOTS];
	uint64_t busy[WHEEL_SLOTS / 64]; /* slots that may hold timers */
	struct turn *turns, **turns_end;
	uint32_t round;
	int64_t counted_ms;   /* the millisecond whose events are counted */
	unsigned counted;     /* until now */
	bool thick;           /* the last one had many */
	int64_t nap_after_ms; /* not before */
	unsigned nap_again_ms;
	struct epoll_event *events; /* of this round, not told yet */
	int event_count;
	struct release {
		void *p;
		void (*release)(void *p);
	} * later;
	size_t later_count, later_cap;
} loop;

/* One clock is read a round; the wall's distance from it is looked at again now and then, for the
 * wall may be set. */
static void
loop_refresh(void)
{
	loop.now_ns = clock_mono_ns();
	loop.now_ms = loop.now_ns / NS_PER_MS;
	if (loop.now_ns >= loop.wall_again_ns) {
		loop.wall_ahead_ns = clock_wall_ns() - loop.now_ns;
		loop.wall_again_ns = loop.now_ns + WALL_AGAIN_NS;
	}
}

bool
loop_open(void)
{
	memset(&loop, 0, sizeof loop);
	loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop.epoll == -1)
		return false;
	loop.turns_end = &loop.turns;
	loop.nap_again_ms = 1;
	loop_refresh();
	loop.tick = loop.now_ms >> WHEEL_SHIFT;
	return true;
}

static void
free_waiting(void)
{
	for (size_t i = 0; i < loop.later_count; i++)
		loop.later[i].release(loop.later[i].p);
	loop.later_count = 0;
}

void
loop_close(void)
{
	free_waiting();
	free(loop.later);
	close(loop.epoll);
}

int64_t
loop_now(void)
{
	return loop.now_ms;
}

int64_t
loop_now_ns(void)
{
	return loop.now_ns;
}

int64_t
loop_wall_ns(void)
{
	return loop.now_ns + loop.wall_ahead_ns;
}

/* ---- watches --------------------------------------------------------------- */

int
watch_add(struct watch *w, int fd, uint32_t events, void (*ready)(struct watch *, uint32_t))
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (epoll_ctl(loop.epoll, EPOLL_CTL_ADD, fd, &ev) == -1)
		return -1;
	w->fd = fd;
	w->ready = ready;
	return 0;
}

int
watch_move(struct watch *from, struct watch *to, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = to};

	if (epoll_ctl(loop.epoll, EPOLL_CTL_MOD, from->fd, &ev) == -1)
		return -1;
	/* What epoll has said of the descriptor that `to` had before says nothing of this one. */
	for (int i = 0; i < loop.event_count; i++)
		if (loop.events[i].data.ptr == to)
			loop.events[i].data.ptr = NULL;
	to->fd = from->fd;
	from->fd = -1;
	from->ready = NULL;
	return 0;
}

int
watch_modify(struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	return epoll_ctl(loop.epoll, EPOLL_CTL_MOD, w->fd, &ev);
}

void
watch_remove(struct watch *w)
{
	if (w->fd == -1)
		return;
	epoll_ctl(loop.epoll, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	w->ready = NULL;
}

void
watch_close(struct watch *w)
{
	if (w->fd == -1)
		return;
	close(w->fd);
	w->fd = -1;
	w->ready = NULL;
}

/* ---- timers ---------------------------------------------------------------- */

static void
file_timer(struct timer *t)
{
	int64_t at = (t->due_ms >> WHEEL_SHIFT) + 1; /* never early */
	struct timer **head;

	if (at <= loop.tick)
		at = loop.tick + 1;
	if (at >= loop.tick + WHEEL_SLOTS)
		at = loop.tick + WHEEL_SLOTS - 1;
	head = &loop.slot[at & (WHEEL_SLOTS - 1)];
	loop.busy[(at & (WHEEL_SLOTS - 1)) / 64] |= 1ULL << (at & 63);
	t->next = *head;
	if (t->next != NULL)
		t->next->link = &t->next;
	t->link = head;
	*head = t;
}

static void
unfile_timer(struct timer *t)
{
	*t->link = t->next;
	if (t->next != NULL)
		t->next->link = t->link;
	t->link = NULL;
}

void
timer_set(struct timer *t, int64_t due_ms, void (*fire)(struct timer *))
{
	t->fire = fire;
	if (t->link != NULL && due_ms >= t->due_ms) {
		t->due_ms = due_ms;
		return;
	}
	if (t->link != NULL)
		unfile_timer(t);
	t->due_ms = due_ms;
	file_timer(t);
}

void
timer_move(struct timer *t, int64_t due_ms)
{
	if (t->link != NULL)
		timer_set(t, due_ms, t->fire);
}

void
timer_stop(struct timer *t)
{
	if (t->link != NULL)
		unfile_timer(t);
}

/* The next slot in which something may be due, as a tick; -1: none. */
static int64_t
next_busy(void)
{
	for (int64_t i = 1; i < WHEEL_SLOTS; i++) {
		int64_t at = loop.tick + i;
		size_t slot = at & (WHEEL_SLOTS - 1);
		uint64_t word = loop.busy[slot / 64] >> (slot & 63);

		if (word == 0) {
			i += 63 - (int64_t)(slot & 63);
			continue;
		}
		at += __builtin_ctzll(word);
		if (loop.slot[at & (WHEEL_SLOTS - 1)] != NULL)
			return at;
		loop.busy[(at & (WHEEL_SLOTS - 1)) / 64] &= ~(1ULL << (at & 63));
		i--; /* look at the same word again */
	}
	return -1;
}

static void
run_timers(void)
{
	int64_t until = loop.now_ms >> WHEEL_SHIFT, at;

	if (until == loop.tick)
		return;
	while ((at = next_busy()) != -1 && at <= until) {
		struct timer *list = loop.slot[at & (WHEEL_SLOTS - 1)], *t;

		loop.tick = at;
		loop.slot[at & (WHEEL_SLOTS - 1)] = NULL;
		loop.busy[(at & (WHEEL_SLOTS - 1)) / 64] &= ~(1ULL << (at & 63));
		if (list != NULL)
			list->link = &list;
		while ((t = list) != NULL) { /* fire may stop others of this list */
			unfile_timer(t);
			if (t->due_ms > loop.now_ms)
				file_timer(t);
			else
				t->fire(t);
		}
	}
	if (until > loop.tick)
		loop.tick = until;
}

/* ---- turns ----------------------------------------------------------------- */

void
turn_ask(struct turn *t, void (*run)(struct turn *))
{
	if (t->queued)
		return;
	t->queued = true;
	t->run = run;
	t->next = NULL;
	t->round = loop.round;
	*loop.turns_end = t;
	loop.turns_end = &t->next;
}

void
turn_cancel(struct turn *t)
{
	struct turn **at = &loop.turns;

	if (!t->queued)
		return;
	t->queued = false;
	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	if (loop.turns_end == &t->next)
		loop.turns_end = at;
}

static void
run_turns(void)
{
	struct turn *t;

	loop.round++;
	while ((t = loop.turns) != NULL && t->round != loop.round) {
		turn_cancel(t);
		t->run(t);
	}
}

/* ---- rounds ---------------------------------------------------------------- */

void
loop_release_later(void *p, void (*release)(void *p))
{
	if (p == NULL)
		return;
	if (loop.later_count == loop.later_cap) {
		size_t cap = loop.later_cap == 0 ? 256 : loop.later_cap * 2;
		struct release *grown = realloc(loop.later, cap * sizeof *grown);

		if (grown == NULL)
			return; /* a leak is better than a use after free */
		loop.later = grown;
		loop.later_cap = cap;
	}
	loop.later[loop.later_count++] = (struct release){p, release != NULL ? release : free};
}

static int
wait_ms(int max_ms)
{
	int64_t at, ms;

	if (loop.turns != NULL)
		return 0;
	at = next_busy();
	if (at == -1)
		return max_ms;
	ms = (at << WHEEL_SHIFT) - loop.now_ms; /* of this round's begin: at worst a little late */
	if (ms < 0)
		ms = 0;
	if (max_ms >= 0 && ms > max_ms)
		ms = max_ms;
	return (int)ms;
}

static void
count_events(int n)
{
	if (loop.now_ms != loop.counted_ms) {
		loop.thick = loop.counted >= THICK && loop.now_ms - loop.counted_ms <= 2;
		loop.counted_ms = loop.now_ms;
		loop.counted = 0;
	}
	loop.counted += n > 0 ? (unsigned)n : 0;
}

static void
learn_from_nap(int events)
{
	if (events >= NAP_WORTH) {
		loop.nap_again_ms = 1;
		return;
	}
	loop.nap_after_ms = loop.now_ms + loop.nap_again_ms;
	if (loop.nap_again_ms < NAP_AGAIN_MS)
		loop.nap_again_ms *= 2;
}

void
loop_stay_awake(void)
{
	if (loop.nap_after_ms < loop.now_ms + AWAKE_MS)
		loop.nap_after_ms = loop.now_ms + AWAKE_MS;
}

bool
loop_is_thick(void)
{
	return loop.thick;
}

void
loop_nap(void)
{
	const struct timespec moment = {.tv_nsec = NAP_NS};

	nanosleep(&moment, NULL);
}

/* epoll_wait, but not woken for each of many. */
static int
gather(struct epoll_event *events, int ms)
{
	int n;

	if (ms == 0 || !loop.thick || loop.now_ms < loop.nap_after_ms)
		return epoll_wait(loop.epoll, events, BATCH, ms);
	n = epoll_wait(loop.epoll, events, BATCH, 0);
	if (n != 0)
		return n;
	loop_nap();
	n = epoll_wait(loop.epoll, events, BATCH, 0);
	learn_from_nap(n);
	return n != 0 ? n : epoll_wait(loop.epoll, events, BATCH, ms);
}

void
loop_round(int max_ms)
{
	struct epoll_event events[BATCH];
	int n = gather(events, wait_ms(max_ms));

	loop_refresh();
	count_events(n);
	for (int i = 0; i < n; i++) {
		struct watch *w = events[i].data.ptr;

		loop.events = events + i + 1;
		loop.event_count = n - i - 1;
		if (w != NULL && w->ready != NULL)
			w->ready(w, events[i].events);
	}
	run_turns();
	run_timers();
	free_waiting();
}
