/*
 * tests/bench/gate.c - where the generator stops so that meters can be read.
 *
 * At a gate the generator stands still until the orchestrator has read CPU and
 * memory of everything, so a measured stretch begins and ends in a quiet place
 * and no start-up or tear-down is counted.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/plan.h"

void
gate_pass(const struct plan *plan, const char *word)
{
	char line[64];

	if (!plan->gated)
		return;
	printf("%s\n", word);
	fflush(stdout);
	if (fgets(line, sizeof line, stdin) == NULL)
		gate_fail("the orchestrator has gone");
}

uint64_t
gate_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
gate_wrong(const char *what)
{
	fprintf(stderr, "load: wrong bytes: %s\n", what);
	exit(3);
}

void
gate_fail(const char *what)
{
	fprintf(stderr, "load: %s (last error: %s)\n", what, strerror(errno));
	exit(1);
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint32_t
gate_percentile(uint32_t *values, unsigned n, double p)
{
	if (n == 0)
		return 0;
	qsort(values, n, sizeof *values, compare);
	return values[(unsigned)((n - 1) * p / 100.0)];
}
