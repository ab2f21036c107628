/*
 * net/pump.c - see net/pump.h. The worker; never blocks. The home of splice(2).
 */
#include "net/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/pace.h"
#include "net/protect.h"

#define PIPE_BYTES (512 * 1024) /* less wakes the peer more often, more makes one stream wait */
#define PIPE_LEAST (128 * 1024) /* below this copying is the better way */
#define PIPES_MAX 32  /* a worker; 32 of 512 KiB: four workers stay under pipe-user-pages-soft */
#define PIPES_SPARE 8 /* kept open between uses */
#define BUDGET (512 * 1024) /* a direction a round: others wait */
#define FULL_READS 2        /* in a row: it is bulk */
#define BULK_LOW                                                                                   \
	(16 * 1024) /* a round that moved less is no bulk any more: below this copying is cheaper  \
		     */

uint8_t pump_hot[HOT_SIZE] __attribute__((aligned(64)));

struct pipe_pair {
	int r, w;
	uint32_t size;
	struct pipe_pair *next;
};

static struct {
	struct pipe_pair *spare;
	unsigned open, spares;
} pipes;

/* ---- pipes ------------------------------------------------------------------- */

static void
pipe_discard(struct pipe_pair *p)
{
	close(p->r);
	close(p->w);
	free(p);
	pipes.open--;
}

static struct pipe_pair *
pipe_take(void)
{
	struct pipe_pair *p = pipes.spare;
	int fds[2], size = -1;

	if (p != NULL) {
		pipes.spare = p->next;
		pipes.spares--;
		return p;
	}
	if (pipes.open >= PIPES_MAX || (p = malloc(sizeof *p)) == NULL)
		return NULL;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) == -1) {
		free(p);
		return NULL;
	}
	/* over the user's soft limit a pipe stays small */
	for (int want = PIPE_BYTES; want >= PIPE_LEAST; want /= 2)
		if ((size = fcntl(fds[1], F_SETPIPE_SZ, want)) != -1)
			break;
	*p = (struct pipe_pair){fds[0], fds[1], size != -1 ? (uint32_t)size : 0, NULL};
	pipes.open++;
	if (p->size >= PIPE_LEAST)
		return p;
	pipe_discard(p);
	return NULL;
}

static void
pipe_give(struct pipe_pair *p)
{
	if (pipes.spares >= PIPES_SPARE) {
		pipe_discard(p);
		return;
	}
	p->next = pipes.spare;
	pipes.spare = p;
	pipes.spares++;
}

void
pump_close_pipes(void)
{
	struct pipe_pair *p;

	while ((p = pipes.spare) != NULL) {
		pipes.spare = p->next;
		pipe_discard(p);
	}
	pipes.spares = 0;
}

/* ---- one direction ------------------------------------------------------------- */

enum moved { MOVED, BLOCKED, BROKEN };

static void
delivered(struct pump *p, int d, size_t n)
{
	bool first = d == 1 && p->bytes[1] == 0;

	p->bytes[d] += n;
	p->active_ms = loop_now();
	if (p->bytes[d] >= PACE_LOOK && !p->flow[d].looked) {
		p->flow[d].looked = 1;
		pace_look(p->end[!d].fd);
	}
	if (first)
		p->calls->first_byte(p);
}

static enum moved
failed(struct pump *p, int end)
{
	if (errno == EAGAIN)
		return BLOCKED;
	if (errno == EINTR)
		return MOVED;
	if (!p->stopped) {
		p->stopped = true;
		p->calls->over(p, end, true);
	}
	return BROKEN;
}

/* What could not be sent is kept in memory of its own; the hot buffer is everybody's. */
static bool
keep(struct flow *f, const uint8_t *from, size_t n)
{
	f->buffer = malloc(n);
	if (f->buffer == NULL)
		return false;
	memcpy(f->buffer, from, n);
	f->held = (uint32_t)n;
	f->offset = 0;
	f->bulk = 0;
	return true;
}

static void
give_back(struct flow *f)
{
	if (f->bulk && f->pipe != NULL) {
		if (f->held > 0)
			pipe_discard(f->pipe);
		else
			pipe_give(f->pipe);
	} else if (!f->bulk)
		free(f->buffer);
	f->buffer = NULL;
	f->held = 0;
	f->bulk = 0;
}

/* The socket took less than it was given: EPOLLOUT will tell when there is room. */
static void
write_blocked(struct watch *to)
{
	to->spare &= ~(uint32_t)END_WRITABLE;
	if ((to->spare & END_READ_ONLY) != 0 && watch_modify(to, WATCH_TCP) == 0)
		to->spare &= ~(uint32_t)END_READ_ONLY;
}

/* Many sessions write once, and spare the call. */
static void
no_delay(struct pump *p, int d)
{
	struct watch *to = &p->end[!d];

	if ((to->spare & END_NAGLE) != 0 && p->bytes[d] > 0) {
		conn_no_delay(to->fd);
		to->spare &= ~(uint32_t)END_NAGLE;
	}
}

/* Of a frame only its whole payload is delivered. */
static void
sent(struct pump *p, int d, size_t n)
{
	if (d == 0 || p->protect == NULL)
		delivered(p, d, n);
	else if (p->flow[d].held == 0)
		delivered(p, d, p->framed);
	else
		p->active_ms = loop_now();
}

static enum moved
flush(struct pump *p, int d)
{
	struct flow *f = &p->flow[d];
	struct watch *to = &p->end[!d];
	ssize_t n;

	if ((to->spare & END_WRITABLE) == 0)
		return BLOCKED;
	no_delay(p, d);
	if (f->bulk)
		/* No SPLICE_F_MORE: the last piece would wait 200 ms for a next one. */
		n = splice(f->pipe->r, NULL, to->fd, NULL, f->held,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	else
		n = send(to->fd, f->buffer + f->offset, f->held, MSG_NOSIGNAL);
	if (n == -1) {
		int error = errno;

		if (error == EAGAIN)
			write_blocked(to);
		errno = error;
		return failed(p, !d);
	}
	f->held -= (uint32_t)n;
	f->offset += (uint32_t)n;
	sent(p, d, (size_t)n);
	if (f->held == 0 && !f->bulk)
		give_back(f);
	return MOVED;
}

static void
ended(struct pump *p, int d)
{
	p->flow[d].fin = 1;
	p->end[d].spare &= ~(uint32_t)END_READABLE;
	if (p->first_fin == 0)
		p->first_fin = (uint8_t)(1 + d);
}

/* The first of these bytes go out at once, if they can; the rest is kept. */
static enum moved
pass_on(struct pump *p, int d, const uint8_t *bytes, size_t len)
{
	struct flow *f = &p->flow[d];
	struct watch *to = &p->end[!d];
	ssize_t n = 0;

	if (to->spare & END_WRITABLE) {
		no_delay(p, d);
		n = send(to->fd, bytes, len, MSG_NOSIGNAL);
		if (n == -1) {
			if (errno != EAGAIN && errno != EINTR)
				return failed(p, !d);
			n = 0;
		}
	}
	if ((size_t)n < len) {
		if ((to->spare & END_WRITABLE) != 0)
			write_blocked(to);
		if (!keep(f, bytes + n, len - (size_t)n)) {
			errno = ENOMEM;
			return failed(p, !d);
		}
	}
	if (n > 0)
		sent(p, d, (size_t)n);
	return MOVED;
}

/* From a client that protects what it says: more may be in memory than the socket tells. */
static enum moved
fill_by_opening(struct pump *p, size_t most, size_t *took)
{
	struct watch *from = &p->end[PUMP_CLIENT];
	ssize_t n = protect_receive(p->protect, from->fd, pump_hot, most);

	if (n == -1) {
		if (errno == EAGAIN)
			from->spare &= ~(uint32_t)END_READABLE;
		return failed(p, PUMP_CLIENT);
	}
	if (n == 0) {
		ended(p, PUMP_CLIENT);
		return MOVED;
	}
	*took = (size_t)n;
	return pass_on(p, PUMP_CLIENT, pump_hot, (size_t)n);
}

/* For such a client. */
static enum moved
pass_on_protected(struct pump *p, const uint8_t *bytes, size_t len)
{
	static uint8_t frame[PROTECT_FRAME];
	size_t framed = protect_frame(p->protect, bytes, len, frame);

	if (framed == 0) {
		errno = ENOMEM;
		return failed(p, PUMP_CLIENT);
	}
	p->framed = (uint32_t)len;
	return pass_on(p, PUMP_TARGET, frame, framed);
}

static enum moved
fill_by_copy(struct pump *p, int d, size_t most, size_t *took)
{
	struct flow *f = &p->flow[d];
	struct watch *from = &p->end[d];
	ssize_t n = recv(from->fd, pump_hot, most, 0);

	if (n == -1) {
		if (errno == EAGAIN)
			from->spare &= ~(uint32_t)END_READABLE;
		return failed(p, d);
	}
	if (n == 0) {
		ended(p, d);
		return MOVED;
	}
	*took = (size_t)n;
	if ((size_t)n < most && (from->spare & END_URGENT) == 0) {
		/* That was all there was, and the end if a FIN was announced before. */
		from->spare &= ~(uint32_t)END_READABLE;
		if (from->spare & END_FIN_SEEN)
			ended(p, d);
		f->full = 0;
	} else if (n == HOT_SIZE && f->full < FULL_READS)
		f->full++;
	return p->protect != NULL ? pass_on_protected(p, pump_hot, (size_t)n)
				  : pass_on(p, d, pump_hot, (size_t)n);
}

static enum moved
fill_by_splice(struct pump *p, int d, size_t most, size_t *took)
{
	struct flow *f = &p->flow[d];
	struct watch *from = &p->end[d];
	ssize_t n =
	    splice(from->fd, NULL, f->pipe->w, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	if (n == -1) {
		if (errno == EAGAIN)
			from->spare &= ~(uint32_t)END_READABLE;
		return failed(p, d);
	}
	if (n == 0) {
		/* The end, or an urgent byte that nobody has told of yet: an event will say which.
		 */
		if ((from->spare & END_FIN_SEEN) != 0)
			ended(p, d);
		from->spare &= ~(uint32_t)END_READABLE;
	}
	loop_stay_awake();
	*took = (size_t)n;
	f->held = (uint32_t)n;
	return MOVED;
}

/* One read, as much as the gate lets through. BLOCKED: nothing for now. */
static enum moved
fill(struct pump *p, int d, size_t *took)
{
	struct flow *f = &p->flow[d];
	size_t most = f->bulk ? f->pipe->size : HOT_SIZE;
	struct pump_gate *gate = p->gate;
	enum moved m;

	if (p->protect != NULL && d == 1)
		most = PROTECT_PIECE;
	if (gate != NULL && (most = gate->may(gate, d, most)) == 0)
		return BLOCKED;
	if (p->protect != NULL && d == 0)
		m = fill_by_opening(p, most, took);
	else
		m = f->bulk ? fill_by_splice(p, d, most, took) : fill_by_copy(p, d, most, took);
	if (gate != NULL && m != BROKEN) /* else it is gone with the session */
		gate->took(gate, d, *took);
	return m;
}

static bool
may_fill(const struct pump *p, int d)
{
	return (p->end[d].spare & END_READABLE) != 0 ||
	       (d == 0 && p->protect != NULL && protect_waiting(p->protect));
}

/* Moves what can be moved; false: the session is over. */
static bool
flow_run(struct pump *p, int d)
{
	struct flow *f = &p->flow[d];
	size_t moved = 0;

	while (!f->done) {
		size_t took = 0;
		enum moved m;

		if (f->held > 0) {
			m = flush(p, d);
			if (m == BROKEN)
				return false;
			if (m == BLOCKED)
				return true;
			continue;
		}
		if (f->fin) {
			give_back(f);
			f->done = 1;
			if (!p->flow[!d].done) /* else both are closed now, which says the same */
				shutdown(p->end[!d].fd, SHUT_WR);
			break;
		}
		if (!may_fill(p, d))
			break;
		if (moved >= BUDGET) {
			turn_ask(&p->turn, p->turn.run);
			return true;
		}
		if (p->end[d].spare & END_URGENT) { /* splice does not get past one */
			if (f->bulk)
				give_back(f);
		} else if (!f->bulk && f->full >= FULL_READS) {
			f->pipe = pipe_take();
			f->bulk = f->pipe != NULL;
		}
		m = fill(p, d, &took);
		if (m == BROKEN)
			return false;
		if (m == BLOCKED) /* by the gate, or there is no more */
			break;
		moved += took;
	}
	/* Nothing more to read: the pipe goes back. What moved little goes on by copying. */
	if (f->bulk) {
		give_back(f);
		if (moved < BULK_LOW)
			f->full = 0;
	}
	return true;
}

static void
run(struct pump *p)
{
	if (p->stopped || !flow_run(p, 0) || !flow_run(p, 1))
		return;
	if (p->flow[0].done && p->flow[1].done) {
		p->stopped = true;
		p->calls->over(p, p->first_fin - 1, false);
	}
}

void
pump_resume(struct pump *p)
{
	run(p);
}

uint32_t
pump_flags(uint32_t events)
{
	return ((events & EPOLLIN) ? END_READABLE : 0) | ((events & EPOLLOUT) ? END_WRITABLE : 0) |
	       ((events & EPOLLPRI) ? END_URGENT | END_READABLE : 0) |
	       ((events & EPOLLRDHUP) ? END_FIN_SEEN | END_READABLE : 0);
}

static void
end_ready(struct pump *p, int end, uint32_t events)
{
	p->end[end].spare |= pump_flags(events);
	if (events &
	    EPOLLERR) { /* RST, or a time-out of TCP: behind what came before it, and no FIN */
		p->end[end].spare = (p->end[end].spare | END_READABLE) & ~(uint32_t)END_FIN_SEEN;
		if (!p->stopped && flow_run(p, end)) {
			p->stopped = true;
			errno = ECONNRESET;
			p->calls->over(p, end, true);
		}
		return;
	}
	/* The direction that the event is about first; then the other, which may have been waiting.
	 */
	run(p);
}

static void
client_ready(struct watch *w, uint32_t events)
{
	end_ready((struct pump *)((char *)w - offsetof(struct pump, end[PUMP_CLIENT])), PUMP_CLIENT,
		  events);
}

static void
target_ready(struct watch *w, uint32_t events)
{
	end_ready((struct pump *)((char *)w - offsetof(struct pump, end[PUMP_TARGET])), PUMP_TARGET,
		  events);
}

static void
turn_came(struct turn *t)
{
	run((struct pump *)((char *)t - offsetof(struct pump, turn)));
}

void
pump_start(struct pump *p, const struct pump_calls *calls, uint64_t bytes[2], uint8_t *early,
	   size_t early_len)
{
	memset(p->flow, 0, sizeof p->flow);
	p->calls = calls;
	p->bytes = bytes;
	p->first_fin = 0;
	p->stopped = false;
	p->turn = (struct turn){.run = turn_came};
	p->active_ms = loop_now();
	p->flow[0].buffer = early;
	p->flow[0].held = (uint32_t)early_len;
	p->end[PUMP_CLIENT].ready = client_ready;
	p->end[PUMP_TARGET].ready = target_ready;
	p->end[PUMP_CLIENT].spare |= END_WRITABLE;
	p->end[PUMP_TARGET].spare |= END_WRITABLE | END_NAGLE;
	run(p);
}

void
pump_stop(struct pump *p)
{
	p->stopped = true;
	turn_cancel(&p->turn);
	give_back(&p->flow[0]);
	give_back(&p->flow[1]);
}
