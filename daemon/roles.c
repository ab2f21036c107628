/*
 * daemon/roles.c - see daemon/roles.h. Pure data.
 */
#include "roles.h"

#include <stddef.h>

#include "ledger.h"
#include "worker.h"

static int
ledger(int channel, unsigned index)
{
	(void)index;
	return ledger_run(channel);
}

const struct role roles[ROLE_COUNT] = {
    [ROLE_PARENT] = {"parent", "sallyportd", NULL, NULL},
    [ROLE_WORKER] = {"worker", "sally-worker", worker_run, NULL},
    [ROLE_LEDGER] = {"ledger", "sally-ledger", ledger, NULL},
    [ROLE_COMPILE] = {"compile", "sally-compile", NULL, NULL},
};
