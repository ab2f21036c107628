/*
 * net/pump.h - the relay of one session: bytes both ways between two connected TCP sockets.
 *
 * Edge-triggered; an idle pump holds no buffer and no pipe. Each direction starts with recv/send
 * through one hot buffer of the process and moves to splice through a borrowed pipe while it carries
 * bulk (PERFORMANCE.md). FIN is passed on as FIN while the other direction goes on; a slow reader stops the fast
 * writer; at most one buffer or pipe a direction waits.
 */
#ifndef NET_PUMP_H
#define NET_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/loop.h"

enum { PUMP_CLIENT, PUMP_TARGET }; /* ends; direction 0 goes from client to target */

/* watch.spare of an end: what epoll has said and nothing has used up yet. */
enum {
	END_READABLE = 1,
	END_WRITABLE = 2,
	END_FIN_SEEN = 4,
	END_URGENT = 16,   /* has sent urgent bytes: reads stop short at them, and that says nothing any more */
	END_NAGLE = 32,    /* small segments wait for an acknowledgement: changed before the second write */
	END_READ_ONLY = 8, /* registered with WATCH_TCP_READ; made WATCH_TCP when a write is short */
};

struct pipe_pair;

struct flow {
	union {
		uint8_t *buffer;	/* malloc'd: bytes that did not fit */
		struct pipe_pair *pipe; /* borrowed */
	};
	uint32_t held;	/* bytes in buffer or pipe */
	uint32_t offset; /* of the first in buffer */
	uint8_t bulk;	/* splice: `pipe` is meant where anything is held */
	uint8_t fin;	/* the source has ended */
	uint8_t done;	/* and that was passed on */
	uint8_t full : 7;	/* reads in a row that filled the buffer */
	uint8_t looked : 1; /* at how far the peer is (net/pace.h) */
};

struct pump;
struct protect; /* net/protect.h */
/* Holds a pump back. Asked before each read of direction d: how many of `most` bytes may be read now; at 0 it
 * calls pump_resume when there may be some. Then told how many were read of those (0 where there were none). */
struct pump_gate {
	size_t (*may)(struct pump_gate *g, int d, size_t most);
	void (*took)(struct pump_gate *g, int d, size_t n);
};

struct pump_calls {
	/* The session is over; not called again. reset: that end sent RST or failed; else both ended and `end` was the
	 * first. errno EBADMSG with a reset of the client's: it has broken its protection. The descriptors are still open: the callee closes them, which is
	 * also what tells the second end that the first has ended. */
	void (*over)(struct pump *p, int end, bool reset);
	void (*first_byte)(struct pump *p); /* the first byte went to the client */
};

struct pump {
	struct watch end[2];
	struct flow flow[2];
	struct turn turn;
	const struct pump_calls *calls;
	struct protect *protect; /* what the client sends and gets is in its frames; NULL: as it is. Not owned, set before the start */
	struct pump_gate *gate; /* NULL: none; not owned, may be set before the start */
	uint64_t *bytes;   /* [0] delivered to the target, [1] to the client: payload */
	uint32_t framed;   /* payload of the frame that is on its way to the client */
	int64_t active_ms; /* last time a byte moved */
	uint8_t first_fin; /* 1 + end */
	bool stopped;
};

/* Both ends are registered with WATCH_TCP (or _READ, see END_READ_ONLY) and their flags kept in spare. early (malloc'd, now the
 * pump's; NULL: none) goes to the target first. Runs at once. */
void pump_start(struct pump *p, const struct pump_calls *calls, uint64_t bytes[2], uint8_t *early,
		size_t early_len);
/* Gives back what it holds; the descriptors stay. */
void pump_stop(struct pump *p);
/* The gate is open again. */
void pump_resume(struct pump *p);
/* The events of an end as flags of spare. */
uint32_t pump_flags(uint32_t events);
void pump_close_pipes(void); /* at exit */
/* Process-wide buffer for bytes that are used up before the next call returns to the loop. */
#define HOT_SIZE 65536
extern uint8_t pump_hot[HOT_SIZE];

#endif
