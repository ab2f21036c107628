/*
 * books/meters.h - what a worker counts for the metrics page beyond the plain counters of books.h: by listener,
 * by command and ending, and how long things took. It lies in the books; only the worker writes, with plain stores.
 *
 * A histogram's last bucket is for all that is longer than the last bound.
 */
#ifndef BOOKS_METERS_H
#define BOOKS_METERS_H

#include <stdatomic.h>
#include <stdint.h>

#define METER_LISTENERS 64
#define METER_COMMANDS 4 /* SOCKS codes; 0: the client had not got that far */
#define METER_ENDINGS 64
#define METER_EVENTS 16
#define METER_BUCKETS 16

/* Refused before a byte was read. */
enum meter_refusal { REFUSED_LIMIT, REFUSED_POLICY, REFUSED_LEDGER, REFUSED_DESCRIPTORS, METER_REFUSALS };

enum meter_time {
	TIME_HANDSHAKE4, TIME_HANDSHAKE5, TIME_AUTH, TIME_IDENT, TIME_DNS, TIME_CONNECT, TIME_FIRST_BYTE,
	TIME_SESSION, /* and by command: connect, bind, udp-associate */
	TIME_SESSION_END = TIME_SESSION + 3, TIME_LAG = TIME_SESSION_END, METER_TIMES
};

struct meter_histogram { _Atomic uint64_t sum_us, bucket[METER_BUCKETS + 1]; };

struct meters {
	_Atomic uint64_t accepted[METER_LISTENERS], refused[METER_LISTENERS][METER_REFUSALS];
	_Atomic uint64_t events[METER_EVENTS];			/* enum books_event: records that were told */
	_Atomic uint64_t ended[METER_COMMANDS][METER_ENDINGS];	/* sessions that had started, by enum ending */
	_Atomic uint64_t outcome[METER_COMMANDS][3];		/* started, denied, failed */
	_Atomic uint64_t bytes[2][2];				/* tcp, udp; up, down */
	struct meter_histogram times[METER_TIMES];
};

/* Upper bounds in microseconds, METER_BUCKETS of them. */
const uint64_t *meter_bounds(enum meter_time which);
void meter_observe(struct meters *m, enum meter_time which, uint64_t us);

/* Adds all of one to another. */
void meters_sum(struct meters *to, const struct meters *from);

static inline void
meter_add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_store_explicit(to, atomic_load_explicit(to, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline uint64_t
meter_read(const _Atomic uint64_t *from)
{
	return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)from, memory_order_relaxed);
}

#endif
