/*
 * net/loop.h - the worker's event loop: edge-triggered epoll, a timer wheel, and a list of
 * those who stopped early to be fair and want another turn.
 *
 * One loop a process. A watch is registered once in its life and never modified, except when its
 * owner moves (watch_move). Everything that an event may still point at must be freed with
 * loop_free_later, because more events of the same batch may name it.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct watch {
	int fd; /* -1: none */
	uint32_t spare;
	void (*ready)(struct watch *w, uint32_t events); /* NULL: events are ignored */
};

/* A timer is one word of "when" and a place in a wheel. Moving `due` later costs nothing: the
 * wheel looks again when the old time comes. */
struct timer {
	struct timer *next, **link; /* link NULL: not armed */
	int64_t due_ms;		    /* loop_now() time */
	void (*fire)(struct timer *t);
};

struct turn { /* asks for another go in the next round */
	struct turn *next;
	void (*run)(struct turn *t);
	uint32_t round; /* asked in this round: waits for the next */
	bool queued;
};

bool loop_open(void); /* false and errno */
void loop_close(void);
/* Milliseconds on the monotonic clock as of this round. */
int64_t loop_now(void);
/* Nanoseconds, monotonic, as of this round (refreshed by loop_refresh). */
int64_t loop_now_ns(void);
int64_t loop_wall_ns(void); /* wall time as of this round */

/* 0 or -1 and errno. events without EPOLLET are added as they are given. */
int watch_add(struct watch *w, int fd, uint32_t events, void (*ready)(struct watch *, uint32_t));
/* The descriptor of `from` goes to `to` (from->fd becomes -1); same events. */
int watch_move(struct watch *from, struct watch *to, uint32_t events);
/* Changes what it waits for; what is true already is told again. */
int watch_modify(struct watch *w, uint32_t events);
void watch_remove(struct watch *w); /* unregisters, leaves the descriptor open, sets fd -1 */
void watch_close(struct watch *w);  /* closes the descriptor (which unregisters it), sets fd -1 */

#define WATCH_TCP (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET)
/* Without the word that a fresh socket can be written to: nobody waits for it until a write was short. */
#define WATCH_TCP_READ (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET)

void timer_set(struct timer *t, int64_t due_ms, void (*fire)(struct timer *));
/* Only moves an armed timer later for free; earlier re-files it. */
void timer_move(struct timer *t, int64_t due_ms);
void timer_stop(struct timer *t);
static inline bool
timer_armed(const struct timer *t)
{
	return t->link != NULL;
}

void turn_ask(struct turn *t, void (*run)(struct turn *));
void turn_cancel(struct turn *t);

/* release(p) after this round; NULL: free. */
void loop_release_later(void *p, void (*release)(void *p));
static inline void
loop_free_later(void *p)
{
	loop_release_later(p, NULL);
}
/* One round: waits at most until the next timer (or max_ms, -1: for ever). */
void loop_round(int max_ms);
/* Events came thick lately. */
bool loop_is_thick(void);
/* Sleeps for a moment, 50 to 100 us: others shall be first. */
void loop_nap(void);
/* Bytes come in bulk: for some milliseconds an event is not kept waiting for others. */
void loop_stay_awake(void);

#endif
