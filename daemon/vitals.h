/*
 * daemon/vitals.h - what our processes take of the machine, for the metrics page. The parent opens three files of each
 * process in /proc and hands them to control, which could not open them; so no process has to tell of itself. They
 * speak of that process only, also when its number belongs to another by now.
 */
#ifndef DAEMON_VITALS_H
#define DAEMON_VITALS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel.h"

#define VITALS_FDS 3

/* Parent: of IPC_VITALS, the caller's to close. False: /proc does not show them. */
bool vitals_open(pid_t pid, int fds[VITALS_FDS]);

/* Control. */
struct vitals {
	uint32_t role, index; /* enum ipc_role; of a worker: which */
	double cpu_s, resident, virtual, open_fds, most_fds; /* bytes; below 0: not known */
};
void vitals_take(const struct message *m);
/* Looks at all now; those that are gone are forgotten. */
void vitals_look(void);
/* As they were seen then, from *at on (0 at first); NULL behind the last. */
const struct vitals *vitals_next(unsigned *at);

#endif
