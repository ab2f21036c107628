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
	bool passed[SETTINGS_LISTENERS]; /* by the service manager */
};

/* False: a listener that is not optional cannot be bound; logged. */
bool bind_listeners(const struct settings *s, struct bound *out);

/*
 * While the server runs: sockets that are open already stay (of the same address, or passed under the same name), others
 * are bound; those that are left over stay open for whoever has them, until bind_leave. False: as bind_listeners, and
 * nothing has changed.
 */
bool bind_anew(const struct settings *s, const struct settings *old, const struct bound *from, struct bound *out);
/* Closes what stands in `from` and not in `but`. */
void bind_leave(const struct bound *from, const struct bound *but);

/* Which control socket is ours, for the program that takes over (daemon/handover.h). */
struct bind_legacy {
	char path[SETTINGS_PATH];
	uint64_t dev, ino;
};
struct bind_legacy bind_legacy(void);
void bind_adopt(const struct bind_legacy *l);

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
/* Another place: the old one is removed when the new one is there. -1: logged, the old one stays. */
int bind_control_move(const struct settings *s);
/* The metrics page's; *at: as really bound. -1: logged. */
int bind_metrics(const struct settings *s, struct endpoint *at);

/*
 * At start, what we want may be held by the children of a parent that was killed: they go as soon as they see it,
 * and a service manager may be quicker. Waits a moment; true: try again, false: it is somebody else's.
 */
bool bind_wait_for_predecessor(void);

#endif
