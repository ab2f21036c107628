/*
 * daemon/books/meters.c - see books/meters.h: bounds of the histograms, and where a time belongs.
 */
#include "books/meters.h"

#include <stddef.h>

#define MS 1000ull
#define S (1000 * MS)

/* Of what a client waits for, and of what it does then. */
static const uint64_t waits[METER_BUCKETS] = {
    100,     250,      500,      MS,       2500, 5 * MS,    10 * MS, 25 * MS,
    50 * MS, 100 * MS, 250 * MS, 500 * MS, S,    2500 * MS, 5 * S,   10 * S};
static const uint64_t lives[METER_BUCKETS] = {
    10 * MS, 100 * MS, 500 * MS, S,        5 * S,    15 * S,    30 * S,    60 * S,
    120 * S, 300 * S,  900 * S,  1800 * S, 3600 * S, 14400 * S, 43200 * S, 86400 * S};

/* Of judging, in nanoseconds. */
static const uint64_t judgements[METER_BUCKETS] = {
    250,    500,    1000,   2500,    5000,    10000,   25000,    50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 25000000};
static const uint64_t rules[METER_BUCKETS] = {1,  2,  3,   4,   6,    8,    12,    16,
					      32, 64, 128, 256, 1024, 4096, 16384, 65536};

double
meter_unit(enum meter_time which)
{
	return which == TIME_DECISION ? 1e9 : which == METER_TESTED ? 1 : 1e6;
}

const uint64_t *
meter_bounds(enum meter_time which)
{
	if (which == TIME_DECISION)
		return judgements;
	if (which == METER_TESTED)
		return rules;
	return which >= TIME_SESSION && which < TIME_SESSION_END ? lives : waits;
}

void
meter_observe(struct meters *m, enum meter_time which, uint64_t value)
{
	const uint64_t *bounds = meter_bounds(which);
	struct meter_histogram *h = &m->times[which];
	int i = 0;

	while (i < METER_BUCKETS && value > bounds[i])
		i++;
	meter_add(&h->bucket[i], 1);
	meter_add(&h->sum, value);
}

void
meters_sum(struct meters *to, const struct meters *from)
{
	/* nothing but counters, one behind the other */
	_Atomic uint64_t *t = (_Atomic uint64_t *)to;
	const _Atomic uint64_t *f = (const _Atomic uint64_t *)from;

	_Static_assert(sizeof *to % sizeof *t == 0, "counters only");
	for (size_t i = 0; i < sizeof *to / sizeof *t; i++)
		meter_add(&t[i], meter_read(&f[i]));
}
