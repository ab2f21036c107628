/*
 * net/door.h - a door: a listening socket that waits for one peer, behind a BIND request. The home of
 * bind(2), listen(2) and accept4(2) for doors.
 *
 * A door keeps few in its backlog: one caller is welcome, and strangers shall not fill memory.
 */
#ifndef NET_DOOR_H
#define NET_DOOR_H

#include <stdint.h>

#include "base/addr.h"

/*
 * A non-blocking socket that listens on this address and port (0: the kernel chooses); *at is where. -1 and errno:
 * EADDRINUSE, the port is taken (port 0: all are); EADDRNOTAVAIL, the machine has no such address; ...
 */
int door_open(const struct addr *on, uint16_t port, struct endpoint *at);
/* The port to try first, at random, of first to last. */
uint16_t door_first(uint16_t first, uint16_t last);
/* The next caller; -1 and errno: EAGAIN, nobody (any more). */
int door_accept(int fd, struct endpoint *caller);

#endif
