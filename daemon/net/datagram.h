/*
 * net/datagram.h - UDP sockets and datagrams in batches: the home of recvmmsg(2) and sendmmsg(2).
 *
 * Received into buffers of the process that are good until the next receive; a batch is sent before that. Neighbours
 * of one size to one peer go out as one (UDP_SEGMENT), and what the kernel joined (UDP_GRO) is taken apart here: nobody
 * sees either. One direction at a time; nothing waits here and nothing is kept.
 */
#ifndef NET_DATAGRAM_H
#define NET_DATAGRAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define DATAGRAM_BATCH 64
#define DATAGRAM_MOST4 65507u /* bytes of data over IPv4 ... */
#define DATAGRAM_MOST6 65527u /* ... and over IPv6 */

/* A non-blocking socket at this address (a wildcard too), its port the kernel's choice. -1 and errno. */
int datagram_open(const struct addr *at);
/* The same with a port of first to last, going round from the one that was found last, with a bounded number of tries.
 * EADDRINUSE: none was free. */
int datagram_open_range(const struct addr *at, uint16_t first, uint16_t last);

/* ---- receiving ---------------------------------------------------------------- */

struct datagram {
	uint8_t *data;
	size_t len;
	struct endpoint from;
	bool again; /* from the same as the one before it in this batch */
};

/* Takes what is there, at most a batch. False: nothing. Errors that the socket keeps (ICMP) are passed over. */
bool datagram_receive(int fd);
/* The next of what was taken. */
bool datagram_next(struct datagram *d);
/* The last receive took less than a batch: the socket was empty. */
bool datagram_drained(void);

/* ---- sending ------------------------------------------------------------------ */

struct datagram_peer { /* lives in its owner as long as anything to it may be in the bag */
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} to;
	socklen_t len;
	bool has_from; /* send from this address, not the kernel's choice */
	bool plain;    /* one at a time: the way there takes no UDP_SEGMENT */
	struct addr from;
};
void datagram_peer_set(struct datagram_peer *p, const struct endpoint *to, const struct addr *from);

/* What became of `count` datagrams of an owner, `bytes` of data in all (heads not counted). error: an errno or 0. */
typedef void datagram_sent(void *owner, unsigned count, size_t bytes, int error);

void datagram_begin(datagram_sent *sent);
/* Into the bag: head and data must stay until the flush. A full bag is sent. */
void datagram_put(int fd, struct datagram_peer *to, const uint8_t *head, size_t head_len, const uint8_t *data,
		  size_t len, void *owner);
/* Sends what is in the bag. */
void datagram_flush(void);

#endif
