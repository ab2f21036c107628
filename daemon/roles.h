/*
 * daemon/roles.h - the table of processes: what each is called, what it runs, and whether these
 * settings want it. The parent forks them all in the same way.
 */
#ifndef DAEMON_ROLES_H
#define DAEMON_ROLES_H

#include <stdbool.h>

#include "privileges.h"
#include "sandbox.h"
#include "settings/settings.h"
#include "wire/ipc.h"

struct role {
	const char *word;    /* in the log; workers have their number behind it */
	const char *process; /* as ps shows it; at most 15 bytes with the number */
	/* The whole life of the process; its exit status. */
	int (*run)(int channel, unsigned index);
	/* NULL: nothing. In the child, before it gives up its rights; channel: not to be used, only to be
	 * left behind by what it forks. False: logged. */
	bool (*prepare)(int channel, const struct account *a);
	/* NULL: always there. */
	bool (*wanted)(const struct settings *s);
	enum sandbox_profile profile;
};
extern const struct role roles[ROLE_COUNT];

#endif
