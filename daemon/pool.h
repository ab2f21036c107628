/*
 * daemon/pool.h - the checkers as the authenticator sees them: a pool for each kind, one question
 * at a time each, ended at the deadline, replaced after many. Never blocks.
 */
#ifndef DAEMON_POOL_H
#define DAEMON_POOL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "channel.h"
#include "checker.h"
#include "nursery.h"

#define POOL_SLOTS (CHECKER_KINDS * CHECKERS_A_KIND)

/* How a question ended; answer and its groups are only valid during the call. */
enum pool_end { POOL_ANSWERED, POOL_TIMEOUT, POOL_BROKEN };
typedef void pool_done(void *job, enum pool_end end, const struct ipc_auth_answer *answer,
		       const char *groups);

/* nursery: the channel to it; stays the caller's. */
void pool_open(const struct channel *nursery, pool_done *done);
/* New settings: how many of each kind there may be; those of before end as soon as they are idle. */
void pool_renew(const uint32_t most[CHECKER_KINDS], int64_t now_ms);
bool pool_idle(enum checker_kind kind);
/* An idle one takes the question. False: none is, or it could not be asked. body: struct ipc_auth_ask and its bytes. */
bool pool_ask(enum checker_kind kind, void *job, const void *body, size_t len, int64_t deadline_ms);
/*
 * One who has something of an earlier question: valid within pool_done, the checker that has answered. With
 * pool_ask_it just that one is asked, once it is idle: POOL_GONE, it is not there any more.
 */
struct pool_who { uint16_t slot; uint32_t life; };
struct pool_who pool_who(void);
enum pool_asked { POOL_ASKED, POOL_LATER, POOL_GONE };
enum pool_asked pool_ask_it(struct pool_who who, void *job, const void *body, size_t len, int64_t deadline_ms);
/* Calls each with every question that is being answered by this kind. */
void pool_each(enum checker_kind kind, void (*each)(void *job, void *with), void *with);
/* So many wait: asks for more checkers if there may be more. */
void pool_grow(enum checker_kind kind, unsigned waiting, int64_t now_ms);

/* The nursery's words: IPC_CHECKER (its descriptor is taken), IPC_CHECKER_GONE. */
void pool_told(struct message *m, int64_t now_ms);
/* Descriptors to wait for, after what stands in fds already; slots[i] belongs to fds[i]. Returns the new count. */
unsigned pool_watch(struct pollfd *fds, uint16_t *slots, unsigned n);
void pool_ready(uint16_t slot, int64_t now_ms);
/* Deadlines. Returns when to be called again, or 0. */
int64_t pool_tick(int64_t now_ms);

#endif
