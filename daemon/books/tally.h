/*
 * books/tally.h - limits that hold across all workers: total sessions, handshakes in progress and
 * sessions per source, counted with atomics in memory that parent, workers and ledger share.
 *
 * A per-source entry is one 64-bit word: keyed fingerprint of the masked source and its count, so taking
 * and giving is one compare-and-swap and an entry of count 0 is free again.
 * What a dead worker had taken is given back from its cards by the ledger.
 */
#ifndef BOOKS_TALLY_H
#define BOOKS_TALLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "books/books.h"

struct tally;

int tally_create(uint32_t sessions); /* memfd, -1 and errno */
uint64_t tally_form(void); /* base/form.h */
struct tally *tally_map(int fd);
struct tally *tally_view(int fd); /* for reading only */
void tally_unmap(struct tally *t);

enum tally_refusal { TALLY_OK, TALLY_TOTAL, TALLY_SOURCE, TALLY_HANDSHAKES };
/* Counts a new connection: total, its source (masked to prefix4 / prefix6 bits) and a handshake. All or nothing.
 * A limit of 0 is none. */
struct tally_limits { uint32_t sessions, per_source, handshakes; uint8_t prefix4, prefix6; };
enum tally_refusal tally_take(struct tally *t, const struct tally_limits *l, const struct addr *source);
void tally_handshake_done(struct tally *t);
/* The prefix lengths must be those of the take; `handshake`: it was still in progress. */
void tally_give(struct tally *t, const struct tally_limits *l, const struct addr *source, bool handshake);
/*
 * Workers that have no descriptor left for another session. A full worker steps back from the listeners
 * while another has room, so that clients reach that one; the last stays, to refuse at once instead of
 * letting clients hang. worker: 0-63.
 */
void tally_present(struct tally *t, unsigned worker, bool present);
/* True: some other worker that is present is not full. */
bool tally_full(struct tally *t, unsigned worker, bool full);
/*
 * Sessions each worker has, for a fair share: the kernel wakes the first idle worker for a new client, which would
 * give one all the clients that come slowly. Only the worker writes its word.
 */
_Atomic uint32_t *tally_load(struct tally *t, unsigned worker);
/* Counts up as long as the worker's loop turns; as above. */
_Atomic uint32_t *tally_beats(struct tally *t, unsigned worker);
/* The least that another present worker has; UINT32_MAX: there is no other. */
uint32_t tally_least(const struct tally *t, unsigned worker);
/* All that stands in a card's flags as counted, session and beside. */
void tally_give_card(struct tally *t, const struct tally_limits *l, struct card *c);
/* Only what is beside. */
void tally_give_beside(struct tally *t, const struct tally_limits *l, struct card *c);
uint32_t tally_sessions(const struct tally *t);
uint32_t tally_handshakes(const struct tally *t);
uint32_t tally_source(const struct tally *t, const struct tally_limits *l, const struct addr *source);

/*
 * What a client has beside its sessions, in all workers: doors of BIND, UDP associations, and live CONNECTs
 * to one peer (bind.require-primary). peer NULL: by source, masked as above; else by exactly this pair. most 0: no limit.
 * False: no more. What was taken is given back with the same words.
 */
enum tally_kind { TALLY_BINDS = 1, TALLY_ASSOCIATIONS, TALLY_PRIMARIES };
bool tally_beside_take(struct tally *t, const struct tally_limits *l, enum tally_kind kind, const struct addr *client,
		       const struct addr *peer, uint32_t most);
void tally_beside_give(struct tally *t, const struct tally_limits *l, enum tally_kind kind, const struct addr *client,
		       const struct addr *peer);
uint32_t tally_beside(const struct tally *t, const struct tally_limits *l, enum tally_kind kind,
		      const struct addr *client, const struct addr *peer);

#endif
