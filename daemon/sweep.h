/*
 * daemon/sweep.h - the worker goes through all its sessions, some in each round of the loop, to do what a
 * person ordered: end those that match, or count those that another policy would end.
 */
#ifndef DAEMON_SWEEP_H
#define DAEMON_SWEEP_H

#include "channel.h"

/* IPC_KILL and IPC_PREVIEW; answered by IPC_KILLED and IPC_PREVIEWED on the same channel, once all that were
 * there at this moment have been looked at. */
void sweep_kill(const struct channel *to, const struct ipc_kill *kill);
void sweep_preview(const struct channel *to, const struct message *m);

#endif
