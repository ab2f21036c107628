/*
 * daemon/roles.c - see daemon/roles.h. Pure data.
 */
#include "roles.h"

#include <stddef.h>

#include "authenticator.h"
#include "controller.h"
#include "forwarder.h"
#include "ledger.h"
#include "worker.h"

static int
ledger(int channel, unsigned index)
{
	(void)index;
	return ledger_run(channel);
}

static int
control(int channel, unsigned index)
{
	(void)index;
	return controller_run(channel);
}

static int
forwarder(int channel, unsigned index)
{
	(void)index;
	return forwarder_run(channel);
}

static bool
control_wanted(const struct settings *s)
{
	return s->control.socket[0] != '\0' || s->metrics.enabled;
}

const struct role roles[ROLE_COUNT] = {
    [ROLE_PARENT] = {.word = "parent", .process = "sallyportd"},
    [ROLE_WORKER] = {"worker", "sally-worker", worker_run, NULL, NULL, SANDBOX_WORKER},
    [ROLE_LEDGER] = {"ledger", "sally-ledger", ledger, NULL, NULL, SANDBOX_LEDGER},
    [ROLE_COMPILE] = {.word = "compile", .process = "sally-compile"},
    [ROLE_AUTHENTICATOR] = {"authenticator", "sally-auth", authenticator_run, authenticator_prepare,
			    authenticator_wanted, SANDBOX_AUTHENTICATOR},
    [ROLE_CONTROL] = {"control", "sally-control", control, NULL, control_wanted,
		      SANDBOX_CONTROL},
    [ROLE_FORWARDER] = {"forwarder", "sally-forward", forwarder, forwarder_prepare,
			forwarder_wanted, SANDBOX_FORWARDER},
};
