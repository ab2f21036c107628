/*
 * daemon/bind.h - the listeners' sockets: bound here, or handed over by systemd (LISTEN_FDS). The home of
 * bind(2) and listen(2) for listeners. The parent.
 */
#ifndef DAEMON_BIND_H
#define DAEMON_BIND_H

#include <stdbool.h>

#include "settings/settings.h"
#include "wire/ipc.h"

struct bound {
	struct ipc_listeners listeners; /* as really bound */
	int fds[SETTINGS_LISTENERS];
};

/* False: a listener that is not optional cannot be bound; logged. */
bool bind_listeners(const struct settings *s, struct bound *out);

#endif
