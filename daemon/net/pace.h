/*
 * net/pace.h - bulk to a near peer is not paced.
 *
 * A congestion control that paces (BBR) sets a timer before nearly each segment. On a long path that is what it was
 * chosen for; to a peer on this machine or on the next switch it buys nothing and costs more than the whole relay.
 * The kernel never takes the pace from a connection that has begun with it. So where the system's algorithm paces, our
 * sockets begin with another, and have the system's as soon as they carry more than a little over a path that has
 * been measured as long. On other systems nothing is done at all, and what a route demands (ip-route(8), congctl) stays.
 */
#ifndef NET_PACE_H
#define NET_PACE_H

#include <stdbool.h>

/* By when a connection is worth a look: bytes that were sent. */
#define PACE_LOOK (64 * 1024)

/*
 * What the system does; at the start and whenever it may have changed. near_too (relay.pace-near): all is left to it.
 * Until then the others do nothing. Nothing that fails here matters. Returns what connections begin with; NULL: as the
 * system says.
 */
const char *pace_learn(bool near_too);
/* fd, a TCP socket that is not connected: begins without pace, and so does what is accepted from it. */
void pace_begin(int fd);
/* The same for a listener that may have learned otherwise before. */
void pace_renew(int fd);
/* fd has sent PACE_LOOK bytes. */
void pace_look(int fd);

#endif
