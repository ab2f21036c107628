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

/*
 * The control socket, at settings.control.socket: the fd that listens, -1: logged. One that a dead server left is
 * replaced, one that a live server listens on is not. Its folder is made if only that is missing. Whoever is no viewer
 * or operator is refused by control itself (SO_PEERCRED), so the mode only keeps out what it can: 0660 while nobody is
 * named in the settings, else 0666.
 */
int bind_control(const struct settings *s);
void bind_control_mode(const struct settings *s); /* after a reload */
/* At the end: removes it, if it is still ours. */
void bind_control_remove(void);
/* The metrics page's; *at: as really bound. -1: logged. */
int bind_metrics(const struct settings *s, struct endpoint *at);

/*
 * At start, what we want may be held by the children of a parent that was killed: they go as soon as they see it,
 * and a service manager may be quicker. Waits a moment; true: try again, false: it is somebody else's.
 */
bool bind_wait_for_predecessor(void);

#endif
