/*
 * tests/bench/plan.h - what one run of the load generator shall do.
 *
 * Filled by load.c from the command line, read by the modes. A mode prints its
 * result as one line of JSON on stdout and returns the exit status: 0, or 1 when
 * a session failed in a way that the mode does not expect. A wrong byte ends
 * the program at once, with status 3.
 */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/bench/pattern.h"

enum speak { SPEAK_NOTHING, SPEAK_SOCKS4, SPEAK_SOCKS4A, SPEAK_SOCKS5 };

struct plan {
	enum speak speak;
	struct sockaddr_in via;    /* the proxy; port 0: straight to the target */
	struct sockaddr_in target; /* the first of `targets` addresses in a row */
	unsigned targets, sources, first_source;
	unsigned at_once, count; /* sessions at a time; in all (idle, limit) */
	unsigned warm_ms, run_ms, bound_ms;
	enum order flow; /* bulk: ORDER_DOWN, ORDER_UP, ORDER_BOTH */
	bool gated;      /* wait for a line on stdin at each gate */
	FILE *record;    /* sessions: the client's end of each that was granted; NULL: none */
	char **command;  /* start: the proxy's command line */
};

int load_sessions(const struct plan *plan);
int load_requests(const struct plan *plan);
int load_latency(const struct plan *plan);
int load_bulk(const struct plan *plan);
int load_idle(const struct plan *plan);
int load_limit(const struct plan *plan);
int load_udp(const struct plan *plan);
int load_start(const struct plan *plan);

/* gate.c: says a word on stdout and, when gated, waits for the orchestrator's line. */
void gate_pass(const struct plan *plan, const char *word);
uint64_t gate_now(void); /* CLOCK_MONOTONIC, ns */
/* Ends the program with status 3: what arrived is not what was sent. */
_Noreturn void gate_wrong(const char *what);
/* Ends the program with status 1: the run cannot be completed. */
_Noreturn void gate_fail(const char *what);
/* p (0..100) of n values, which it sorts. */
uint32_t gate_percentile(uint32_t *values, unsigned n, double p);

#endif
