/*
 * net/datagram.c - see net/datagram.h. The worker; never blocks. Sockets are not connected, so the
 * kernel tells no ICMP errors of them; should it ever, they are read away.
 */
#include "net/datagram.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/loop.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BUFFER_BYTES 65536
#define STRIDE (BUFFER_BYTES + 320) /* else the first lines of all buffers share one cache set */
#define PORT_TRIES 1024             /* about half a millisecond */
#define SEGMENTS 64                 /* UDP_MAX_SEGMENTS of older kernels */
#define SEGMENT_MOST 1452           /* what fits into Ethernet; larger ones gain little */
#define JOINED_MOST 65000
#define PIECES 1024
#define RECEIVE_BUFFER (1 << 20) /* the kernel gives up to net.core.rmem_max */

/* ---- sockets ------------------------------------------------------------------ */

static int
open_family(bool is4)
{
	int fd = socket(is4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, room = RECEIVE_BUFFER;

	if (fd == -1)
		return -1;
	if (!is4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
	return fd;
}

static bool
bind_at(int fd, const struct addr *at, uint16_t port)
{
	struct endpoint e = {*at, port};
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(&e, &ss);

	return bind(fd, (struct sockaddr *)&ss, len) == 0;
}

static int
close_with(int fd, int error)
{
	close(fd);
	errno = error;
	return -1;
}

int
datagram_open(const struct addr *at)
{
	int fd = open_family(addr_is4(at));

	if (fd == -1 || bind_at(fd, at, 0))
		return fd;
	return close_with(fd, errno);
}

int
datagram_open_range(const struct addr *at, uint16_t first, uint16_t last)
{
	static uint32_t cursor;
	static bool begun;
	uint32_t count = (uint32_t)(last - first) + 1;
	uint32_t tries = count < PORT_TRIES ? count : PORT_TRIES;
	int fd = open_family(addr_is4(at));

	if (fd == -1)
		return -1;
	if (!begun) /* not where the other workers begin, nor where the last run did */
		cursor = (uint32_t)loop_now_ns() * 2654435761u;
	begun = true;
	for (uint32_t i = 0; i < tries; i++)
		if (bind_at(fd, at, (uint16_t)(first + cursor++ % count)))
			return fd;
		else if (errno != EADDRINUSE)
			break;
	return close_with(fd, errno);
}

/* ---- receiving ---------------------------------------------------------------- */

/* Room for one control message of an int, as the kernel lays it out. */
union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static struct {
	struct mmsghdr messages[DATAGRAM_BATCH];
	struct iovec pieces[DATAGRAM_BATCH];
	struct sockaddr_in6 from[DATAGRAM_BATCH]; /* the larger of the two */
	union control control[DATAGRAM_BATCH];
	unsigned count, at;     /* taken; being told */
	size_t offset, segment; /* in the message that is being told */
	struct endpoint source;
	bool ready;
} in;

static uint8_t buffers[DATAGRAM_BATCH * (size_t)STRIDE] __attribute__((aligned(64)));

static void
make_ready(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct msghdr *m = &in.messages[i].msg_hdr;

		in.pieces[i] = (struct iovec){buffers + (size_t)i * STRIDE, BUFFER_BYTES};
		m->msg_name = &in.from[i];
		m->msg_namelen = sizeof in.from[i];
		m->msg_iov = &in.pieces[i];
		m->msg_iovlen = 1;
		m->msg_control = &in.control[i];
		m->msg_controllen = sizeof in.control[i];
	}
}

bool
datagram_receive(int fd)
{
	int n = -1;

	make_ready(in.ready ? in.count : DATAGRAM_BATCH);
	in.ready = true;
	/* An error that the socket keeps is told once, instead of a datagram. */
	for (int i = 0; i < DATAGRAM_BATCH && n == -1; i++) {
		n = recvmmsg(fd, in.messages, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
		if (n == -1 && (errno == EAGAIN || errno == EBADF))
			break;
	}
	in.count = n > 0 ? (unsigned)n : 0;
	in.at = 0;
	in.offset = in.segment = 0;
	return in.count > 0;
}

bool
datagram_drained(void)
{
	return in.count < DATAGRAM_BATCH;
}

/* Of what size the datagrams are that the kernel joined; 0: it is one. */
static size_t
segment_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			int size;

			memcpy(&size, CMSG_DATA(c), sizeof size);
			return size > 0 ? (size_t)size : 0;
		}
	return 0;
}

static bool
same_source(unsigned i)
{
	const struct msghdr *a = &in.messages[i - 1].msg_hdr, *b = &in.messages[i].msg_hdr;

	return a->msg_namelen == b->msg_namelen &&
	       memcmp(&in.from[i - 1], &in.from[i], a->msg_namelen) == 0;
}

static void
take_source(unsigned i)
{
	struct sockaddr_storage ss;

	memcpy(&ss, &in.from[i], sizeof in.from[i]);
	conn_endpoint(&ss, &in.source);
}

bool
datagram_next(struct datagram *d)
{
	struct msghdr *m;
	size_t left;

	if (in.at == in.count)
		return false;
	m = &in.messages[in.at].msg_hdr;
	d->again = true;
	if (in.offset == 0) {
		in.segment = segment_of(m);
		if (in.at == 0 || !same_source(in.at)) {
			d->again = false;
			take_source(in.at);
		}
	}
	d->from = in.source;
	d->data = (uint8_t *)m->msg_iov->iov_base + in.offset;
	left = in.messages[in.at].msg_len - in.offset;
	d->len = in.segment != 0 && in.segment < left ? in.segment : left;
	in.offset += d->len;
	if (d->len == left) {
		in.at++;
		in.offset = 0;
	}
	return true;
}

/* ---- sending ------------------------------------------------------------------ */

/* One message: `count` datagrams of `segment` bytes each but the last, which may be shorter. */
struct parcel {
	struct datagram_peer *to;
	void *owner;
	size_t segment, total, data; /* total: with heads */
	unsigned count, heads;       /* heads: pieces beside the data, a datagram */
	bool closed;
};

static struct {
	struct mmsghdr messages[DATAGRAM_BATCH];
	struct parcel parcels[DATAGRAM_BATCH];
	union control control[DATAGRAM_BATCH];
	struct iovec pieces[PIECES];
	unsigned count, piece_count;
	int fd;
	datagram_sent *sent;
} bag;

void
datagram_peer_set(struct datagram_peer *p, const struct endpoint *to, const struct addr *from)
{
	struct sockaddr_storage ss;

	p->len = conn_sockaddr(to, &ss);
	memcpy(&p->to, &ss, p->len);
	p->plain = false;
	p->has_from = from != NULL;
	if (from != NULL)
		p->from = *from;
}

void
datagram_begin(datagram_sent *sent)
{
	bag.sent = sent;
}

static struct cmsghdr *
put_control(struct msghdr *m, struct cmsghdr *at, int level, int type, const void *data, size_t len)
{
	at->cmsg_level = level;
	at->cmsg_type = type;
	at->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(at), data, len);
	m->msg_controllen += CMSG_SPACE(len);
	return (struct cmsghdr *)((char *)at + CMSG_SPACE(len));
}

/* Which source address, and of what size the datagrams are if they are several. */
static void
address(struct msghdr *m, const struct parcel *p, union control *control)
{
	struct cmsghdr *at = &control->head;

	m->msg_name = &p->to->to;
	m->msg_namelen = p->to->len;
	m->msg_control = control;
	m->msg_controllen = 0;
	m->msg_flags = 0;
	if (p->to->has_from && addr_is4(&p->to->from)) {
		struct in_pktinfo info = {0};

		memcpy(&info.ipi_spec_dst, p->to->from.b + 12, 4);
		at = put_control(m, at, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
	} else if (p->to->has_from) {
		struct in6_pktinfo info = {0};

		memcpy(&info.ipi6_addr, p->to->from.b, 16);
		at = put_control(m, at, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
	}
	if (p->count > 1) {
		uint16_t size = (uint16_t)p->segment;

		put_control(m, at, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size);
	}
	if (m->msg_controllen == 0)
		m->msg_control = NULL;
}

static bool
refuses_segments(int error)
{
	/* No checksum offload on the way, a smaller MTU, an old kernel. */
	return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP;
}

static size_t
piece_bytes(const struct iovec *v, unsigned count)
{
	size_t n = 0;

	for (unsigned i = 0; i < count; i++)
		n += v[i].iov_len;
	return n;
}

/* Its datagrams one by one. */
static void
send_apart(const struct msghdr *joined, const struct parcel *p)
{
	unsigned pieces = p->heads + 1;
	union control control;
	struct parcel one = *p;

	one.count = 1;
	for (unsigned i = 0; i < p->count; i++) {
		struct iovec *v = joined->msg_iov + (size_t)i * pieces;
		struct msghdr m = {.msg_iov = v, .msg_iovlen = pieces};

		address(&m, &one, &control);
		bag.sent(p->owner, 1, piece_bytes(v + p->heads, 1),
			 sendmsg(bag.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == -1 ? errno : 0);
	}
}

/* The first of the messages that are left could not be sent. */
static void
failed(unsigned i, int error)
{
	const struct parcel *p = &bag.parcels[i];

	if (p->count > 1 && refuses_segments(error)) {
		p->to->plain = true;
		send_apart(&bag.messages[i].msg_hdr, p);
	} else {
		bag.sent(p->owner, p->count, p->data, error);
	}
}

void
datagram_flush(void)
{
	unsigned at = 0, count = bag.count;
	bool full = false; /* the kernel has no room: what is left would fare no better */

	for (unsigned i = 0; i < count; i++)
		address(&bag.messages[i].msg_hdr, &bag.parcels[i], &bag.control[i]);
	while (at < count) {
		int n = full ? -1
			     : sendmmsg(bag.fd, bag.messages + at, count - at,
					MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0) {
			full = full || errno == EAGAIN;
			failed(at++, full ? EAGAIN : errno);
			continue;
		}
		for (; n > 0; n--, at++)
			bag.sent(bag.parcels[at].owner, bag.parcels[at].count, bag.parcels[at].data,
				 0);
	}
	bag.count = bag.piece_count = 0;
}

static bool
joins(const struct parcel *p, const struct datagram_peer *to, const void *owner, size_t len,
      size_t data)
{
	return !p->closed && p->to == to && p->owner == owner && !to->plain && data > 0 &&
	       len <= p->segment && p->segment <= SEGMENT_MOST && p->count < SEGMENTS &&
	       p->total + len <= JOINED_MOST;
}

static struct parcel *
parcel_new(struct datagram_peer *to, void *owner, size_t len, unsigned heads)
{
	struct parcel *p = &bag.parcels[bag.count];
	struct msghdr *m = &bag.messages[bag.count++].msg_hdr;

	*p = (struct parcel){.to = to, .owner = owner, .segment = len, .heads = heads};
	p->closed = len == 0;
	m->msg_iov = &bag.pieces[bag.piece_count];
	m->msg_iovlen = 0;
	return p;
}

void
datagram_put(int fd, struct datagram_peer *to, const uint8_t *head, size_t head_len,
	     const uint8_t *data, size_t len, void *owner)
{
	unsigned heads = head_len > 0 ? 1 : 0;
	struct parcel *p;
	struct msghdr *m;

	if (bag.count > 0 && (fd != bag.fd || bag.piece_count + 2 > PIECES))
		datagram_flush();
	p = bag.count > 0 ? &bag.parcels[bag.count - 1] : NULL;
	if (p == NULL || p->heads != heads || !joins(p, to, owner, head_len + len, len)) {
		if (bag.count == DATAGRAM_BATCH)
			datagram_flush();
		p = parcel_new(to, owner, head_len + len, heads);
	}
	bag.fd = fd;
	m = &bag.messages[bag.count - 1].msg_hdr;
	if (heads > 0)
		m->msg_iov[m->msg_iovlen++] = (struct iovec){(void *)(uintptr_t)head, head_len};
	m->msg_iov[m->msg_iovlen++] = (struct iovec){(void *)(uintptr_t)data, len};
	bag.piece_count += heads + 1;
	p->count++;
	p->total += head_len + len;
	p->data += len;
	p->closed |= head_len + len < p->segment; /* a shorter one is the last */
}
