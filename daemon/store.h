/*
 * daemon/store.h - what outlives a restart, in `state.directory`: two files a name, which an unprivileged process
 * writes in turn. The parent opens them, and looks into neither.
 */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>

/*
 * Opens NAME.0 and NAME.1 in `folder`, made if need be (the default folder only if it exists), for this server alone.
 * False: they are not to be had; why is logged, if it is a fault.
 */
bool store_open(const char *folder, const char *name, int fds[2]);
/* Memory in their place. False and errno. */
bool store_memory(const char *name, int fds[2]);

#endif
