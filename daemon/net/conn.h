/*
 * net/conn.h - sockets that lead somewhere, as this program sees them: the home of socket(2), connect(2) and of
 * the translation between struct endpoint and sockaddr.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/addr.h"

socklen_t conn_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
/* False: not an IP address. */
bool conn_endpoint(const struct sockaddr_storage *in, struct endpoint *out);

/*
 * A non-blocking TCP socket, bound to `from` if not NULL (the port is chosen at connect), that has
 * begun to connect; Nagle's algorithm still holds small segments back (conn_no_delay). -1 and errno: socket, bind or connect failed at once.
 */
int conn_start(const struct endpoint *to, const struct addr *from);
/* A non-blocking UDP socket, connected: what the network says of it is told as an error. -1 and errno. */
int conn_udp(const struct endpoint *to);
/*
 * A non-blocking socket connected to a path, for datagrams or, if its owner takes a stream only, for that (*stream).
 * -1 and errno; EAGAIN: its owner accepts too slowly.
 */
int conn_unix(const char *path, bool *stream);
/* The kernel asks now and then whether a peer is still there that says nothing. */
void conn_keep_alive(int fd);
/* Bytes that were written and that the peer has not taken; of a Unix socket at least one, if there are any. */
size_t conn_unsent(int fd);
/* What became of it, once writable: 0 or an errno. */
int conn_result(int fd);
bool conn_local(int fd, struct endpoint *out);
/* Urgent bytes of fd, and of what is accepted from it, stay where they are among the others. */
void conn_inline_urgent(int fd);
/* TCP_NODELAY. The first write needs none: there is no small segment on the way that it could wait for. */
void conn_no_delay(int fd);
/* The next close of fd sends RST, not FIN. */
void conn_reset(int fd);

#endif
