/*
 * tests/bench/dial.h - one client's way to its target, through a proxy or straight.
 *
 * A dial owns its descriptor from dial_start to dial_end. It is registered once, edge
 * triggered for both directions, with the dial's address as data; call dial_step on each
 * event until it says other than DIAL_WAIT. It never blocks.
 */
#ifndef BENCH_DIAL_H
#define BENCH_DIAL_H

#include "tests/bench/plan.h"

enum dial_result {
	DIAL_WAIT,
	DIAL_READY,   /* the way to the target is open */
	DIAL_REFUSED, /* the proxy said no; code has its reply */
	DIAL_CLOSED,  /* the proxy hung up or reset */
	DIAL_NOWHERE, /* no connection to the proxy */
};

struct dial {
	int fd;
	uint8_t stage, have, code;
	uint16_t target; /* index of the target's address */
	uint8_t reply[32];
};

/* serial chooses source and target addresses. Status 1 when this machine has no socket left. */
void dial_start(struct dial *d, const struct plan *plan, int epoll, unsigned long serial);
enum dial_result dial_step(struct dial *d, const struct plan *plan);
void dial_end(struct dial *d);

#endif
