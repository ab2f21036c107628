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

/* How a client of SOCKS 5 proves who it is, and what came of that. */
enum meter_proof { PROOF_PASSWORD, PROOF_CHAP, PROOF_GSSAPI, METER_PROOFS };
enum meter_attempt { ATTEMPT_GOOD, ATTEMPT_REFUSED, ATTEMPT_UNAVAILABLE, METER_ATTEMPTS };
/* What a client's host said by ident: who, another one than the client says (or that it will not say), nothing; or it
 * was left alone, since it had said nothing a moment ago. */
enum meter_lookup { LOOKUP_USER, LOOKUP_OTHER, LOOKUP_NOTHING, LOOKUP_SKIPPED, METER_LOOKUPS };

enum meter_time {
	TIME_HANDSHAKE4, TIME_HANDSHAKE5, TIME_IDENT, TIME_DNS, TIME_CONNECT, TIME_FIRST_BYTE,
	TIME_SESSION, /* and by command: connect, bind, udp-associate */
	TIME_SESSION_END = TIME_SESSION + 3, TIME_LAG = TIME_SESSION_END,
	TIME_AUTH, /* and by enum meter_proof */
	TIME_AUTH_END = TIME_AUTH + METER_PROOFS,
	TIME_DECISION = TIME_AUTH_END, /* of one in METER_DECISIONS, in nanoseconds */
	METER_TESTED,		       /* no time: how many rules were tested for a decision */
	METER_TIMES
};
#define METER_DECISIONS 64

struct meter_histogram { _Atomic uint64_t sum, bucket[METER_BUCKETS + 1]; /* sum: in meter_unit */ };

struct meters {
	_Atomic uint64_t accepted[METER_LISTENERS], refused[METER_LISTENERS][METER_REFUSALS];
	_Atomic uint64_t events[METER_EVENTS];			/* enum books_event: records that were told */
	_Atomic uint64_t ended[METER_COMMANDS][METER_ENDINGS];	/* sessions that had started, by enum ending */
	_Atomic uint64_t outcome[METER_COMMANDS][3];		/* started, denied, failed */
	_Atomic uint64_t bytes[2][2];				/* tcp, udp; up, down */
	_Atomic uint64_t attempts[METER_PROOFS][METER_ATTEMPTS];
	_Atomic uint64_t lookups[METER_LOOKUPS];
	struct meter_histogram times[METER_TIMES];
};

/* How many of what is observed make one of what the page tells: 1e6 for microseconds, and so on. */
double meter_unit(enum meter_time which);
/* Upper bounds in that unit, METER_BUCKETS of them. */
const uint64_t *meter_bounds(enum meter_time which);
void meter_observe(struct meters *m, enum meter_time which, uint64_t value);

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
