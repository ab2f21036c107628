/*
 * books/books.h - the books of one worker: shared memory in which every connection has a card
 * from accept to its last record. Written by the worker, read by the ledger.
 *
 * This is how "no record, no session" holds without copying: a session that has no card is
 * refused at accept, and a card goes back to the worker only when the ledger has written what
 * was to be said of it. The start and end records need no room of their own: the card is the room.
 * The memory outlives the worker, so after a crash the ledger reads what was said (the ring) and
 * ends what is still open (the cards), bytes included.
 *
 *   worker: card_take -> fill -> books_tell(EVENT_START) -> ... -> books_tell(EVENT_END)
 *   ledger: books_hear -> write -> books_done (advances; gives the card back after a last event)
 *
 * One producer, one consumer, no locks: fields written before a tell are seen after the hear.
 * Between START and END the worker writes only the fields marked "live".
 */
#ifndef BOOKS_BOOKS_H
#define BOOKS_BOOKS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "books/meters.h"

enum card_state { CARD_FREE, CARD_OPEN, CARD_STARTED };

/* event.action of AUDIT.md; the order is the wire form in the ring. */
enum books_event {
	EVENT_NONE, EVENT_START, EVENT_DENY, EVENT_FAIL, EVENT_END,
	EVENT_AUTH_SUCCESS, EVENT_AUTH_FAILURE, EVENT_LOCKOUT, /* each at most once a card */
	EVENT_BIND_LISTEN, EVENT_BIND_ACCEPT,		       /* the same */
	EVENT_PROGRESS,					       /* only while books_lag says that the last one is written */
	EVENT_DESTINATION, /* one destination of a UDP association: a card of its own, told when it is over */
	EVENT_COUNT
};
/* DENY, FAIL, END and DESTINATION are last events: they give the card away. */
#define EVENTS_A_CARD 8 /* room in the ring for each card */

/* Stage times, in microseconds; 0: the stage did not happen. */
enum card_stage { STAGE_HANDSHAKE, STAGE_AUTH, STAGE_IDENT, STAGE_DNS, STAGE_CONNECT, STAGE_FIRST_BYTE, STAGE_TIMES };

enum { CARD_COUNTED = 1, /* counted in the tally: total and per source */
       CARD_HANDSHAKE = 2, /* counted as a handshake in progress */
       CARD_HAS_NAT = 4, CARD_HAS_ADDRESS = 8, CARD_HAS_REQUEST = 16, CARD_REPLIED = 32, CARD_ALERT = 64 };

#define CARD_INLINE 32

struct card {
	_Atomic uint8_t state;	/* enum card_state */
	uint8_t flags;		/* live */
	uint8_t version;	/* 0: not known yet, 4, 5 */
	uint8_t command;	/* SOCKS code, 0: none yet */
	uint8_t auth;		/* AUTH_ bit, 0: nameless */
	uint8_t reply;		/* code sent to the client (CARD_REPLIED) */
	uint8_t ending;		/* enum ending; set before a last event */
	uint8_t reason;		/* enum rules_reason */
	int32_t rule;		/* index in the policy of `policy`, or RULE_* */
	uint32_t policy;	/* generation of ipc_policy */
	uint32_t listener;	/* index in settings.listeners */
	uint32_t serial;	/* low bits of the session id, see books_id; while free: the next free card */
	int64_t start_ns;	/* wall, accept */
	int64_t told_ns;	/* wall, when the start record's event happened */
	int64_t end_ns;		/* wall; last event */
	uint64_t duration_ns;	/* monotonic, last event */
	union {			/* live: bytes from client to target, from target to client */
		struct { uint64_t up, down; };
		uint64_t bytes[2];
	};
	struct addr source, destination, nat;
	uint16_t source_port, destination_port, nat_port;
	uint8_t name_len, user_len, userid_len; /* destination as sent, user, SOCKS4 USERID */
	uint8_t reserved;
	uint16_t strangers;	/* live: callers that the door of a BIND turned away */
	uint32_t dry_run;	/* index + 1 of the rule in mode dry-run that would have decided; 0: none */
	uint32_t us[STAGE_TIMES];
	char name[CARD_INLINE]; /* first bytes of the name; the rest is in the long strings */
	/* a cache line that a CONNECT does not touch once it is zeroed */
	uint64_t datagrams[2]; /* live: of UDP, passed from client to target, from target to client */
	uint64_t dropped;      /* live: of a UDP association, datagrams of either side that were not passed */
	int64_t parent_ns;     /* of a destination: start_ns of its association, else 0. Its own start_ns is its first datagram */
	uint32_t parent;       /* and the serial of that */
	uint8_t beside;	       /* live: 1 << enum tally_kind, taken for this session (tally_give_beside) */
	uint8_t protection;    /* agreed on by GSSAPI: 1 + enum gss_level; 0: none was asked for */
	uint8_t spare[2];
	uint64_t quota[3];     /* live: keys of what was taken of its rule's limits (books/quota.h); 0: none */
};
_Static_assert(sizeof(struct card) == 256, "a card is four cache lines");
/* A card of one destination of a UDP association; its only event is EVENT_DESTINATION. */
static inline bool
card_is_destination(const struct card *c)
{
	return c->parent_ns != 0;
}

/* What was true when a BIND began to listen; stays so, while its card goes on to tell of the peer that called. */
struct card_door {
	struct addr expected;
	int32_t rule;
	uint32_t policy, dry_run;
	uint16_t port; /* of the request: what the peer is judged with */
};

struct books; /* mapped view, one in each process */

/* ring capacity and card count follow from sessions: enough for a ledger that lags by seconds. */
#define BOOKS_BACKLOG 16384
/* More for the destinations of UDP associations, so that these leave to sessions what is theirs. */
#define BOOKS_DESTINATIONS 16384

/* Parent: a memfd sized for `sessions` live ones (sparse; only used pages cost), of fixed size for good.
 * session_seed: anything random; where the serial numbers start. -1 and errno on error. */
int books_create(unsigned worker, unsigned generation, uint32_t sessions, uint64_t session_seed);
/* What these books look like (base/form.h). */
uint64_t books_form(void);
/* Map it. bell: eventfd to ring the ledger's bell (worker) or to wait on (ledger); not owned. NULL: not books. */
struct books *books_map(int fd, int bell);
/* The same for reading only, of a descriptor that allows no more: control looks at cards and counters with
 * books_next_open, books_counter, card_look, card_string, books_id, and never calls what writes. */
struct books *books_view(int fd);
void books_unmap(struct books *b);

unsigned books_worker(const struct books *b);
unsigned books_generation(const struct books *b);
uint32_t books_capacity(const struct books *b);

/* -- worker -- */
/* A zeroed card in state CARD_OPEN with its id given, or NULL: the ledger is behind (refuse). */
struct card *card_take(struct books *b, int64_t wall_ns);
/* The same for a destination of the association whose card is `parent`, while there are `sessions` of them: NULL also
 * when only as many cards are free as sessions may want. Who it is (client, user, listener) is copied. */
struct card *card_take_destination(struct books *b, const struct card *parent, uint32_t sessions, int64_t wall_ns);
/* Gives back a card of which nothing is to be told (never after a tell of a last event). */
void card_drop(struct books *b, struct card *c);
enum card_string { CARD_NAME, CARD_USER, CARD_USERID };
/* Stores up to 255 bytes, any bytes. */
void card_set_string(struct books *b, struct card *c, enum card_string which, const void *s, size_t len);
/* Room beside the card, not zeroed; written before EVENT_BIND_LISTEN is told, read by both. */
struct card_door *card_door(const struct books *b, const struct card *c);
/*
 * Never fails: the ring has room for every event of every card. Rings the bell if the ledger sleeps. The time of an
 * event that is neither START nor a last one is taken here: a card has only room for two.
 */
void books_tell(struct books *b, struct card *c, enum books_event event);
/* EVENT_PROGRESS at this age, with the bytes so far; nothing if one was told at this age or a higher one, or if the
 * last one is not written yet. */
void books_progress(struct books *b, struct card *c, uint32_t age_s);
/* Where those times come from; clock_wall_ns if not told. */
void books_clock(struct books *b, int64_t (*wall_ns)(void));
/* Told but not yet written: how far the ledger lags. */
uint64_t books_lag(const struct books *b);
uint32_t books_free_cards(const struct books *b);

/* -- ledger -- */
struct books_heard { enum books_event event; struct card *card; };
/* The next event not yet heard, false if none. Validates everything: a card out of range is skipped and counted. */
bool books_hear(struct books *b, struct books_heard *out);
/* All that was heard since the last done is written: move the ring's tail, give last-event cards back. */
void books_done(struct books *b);
/*
 * A ledger that dies must neither forget what it heard nor tell it again: books_keep says that all that was heard
 * up to `position` (books_position) is kept elsewhere, and books_map goes on there. Idempotent; never goes back.
 */
uint64_t books_position(const struct books *b);
void books_keep(struct books *b, uint64_t position);
/* A dead worker's: the end of this card is kept elsewhere, it is open no more. */
void books_ended(struct books *b, uint32_t index);
uint32_t books_index(const struct books *b, const struct card *c);
/* When it happened, wall. */
int64_t books_moment(const struct books *b, const struct card *c, enum books_event event);
/* Of the last EVENT_PROGRESS: what had passed by then, up and down; returns the session's age in seconds. */
uint32_t books_progressed(const struct books *b, const struct card *c, uint64_t bytes[2]);
/* A dead worker's: nothing remains to be told of these books; whoever maps them next knows. */
void books_bury(struct books *b);
bool books_buried(const struct books *b);
/* Before sleeping on the bell: false means there is something to hear after all. */
bool books_sleep(struct books *b);
void books_awake(struct books *b); /* no bell needed until the next books_sleep */
/* The ledger cannot write: no new cards (card_take gives NULL) until it can again. */
void books_refuse(struct books *b, bool refuse);
/* After the worker is gone and all was heard and done: the next card that is still CARD_OPEN or CARD_STARTED,
 * from *at on (0 at first), NULL at the end. */
struct card *books_next_open(struct books *b, uint32_t *at);
/* Events skipped because they made no sense: a card out of range, a word that is no event. */
uint64_t books_nonsense(const struct books *b);
/* Copies into buf (255+1), returns the length. */
size_t card_string(const struct books *b, const struct card *c, enum card_string which, char buf[256]);

/* A copy of a card whose worker goes on writing, with its strings: one moment of one session. False: it is
 * over, or another stands there by now. */
struct card_seen { struct card card; char strings[3][256]; /* by enum card_string */ };
bool card_look(const struct books *b, const struct card *c, struct card_seen *out);

/* 14 characters of Crockford base32 (48 bits ms, 22 bits worker and serial) and NUL. */
#define BOOKS_ID 15
void books_id(const struct books *b, const struct card *c, char out[BOOKS_ID]);
/* Of the session it belongs to: of a destination that is its association. */
void books_session_id(const struct books *b, const struct card *c, char out[BOOKS_ID]);
bool books_id_parse(const char *text, int64_t *ms, uint32_t *low);

/* Plain counters of the worker for metrics; only it writes. */
enum books_counter {
	COUNT_ACCEPTED, COUNT_REFUSED_LIMIT, COUNT_REFUSED_POLICY, COUNT_REFUSED_LEDGER, COUNT_REFUSED_FILES,
	COUNT_STARTED, COUNT_DENIED, COUNT_FAILED, COUNT_ENDED, COUNT_BYTES_UP, COUNT_BYTES_DOWN,
	COUNT_DNS_QUERIES, COUNT_DNS_CACHED, COUNT_DNS_FAILED, COUNT_ASKED /* gauge: questions to the authenticator without an answer */,
	/* datagrams: from the client ... */
	COUNT_UP_PASSED, COUNT_UP_STRANGER /* not from the client's address and port */, COUNT_UP_MALFORMED, COUNT_UP_DENIED,
	COUNT_UP_LIMIT /* no card, too many new destinations, too many wait for a name, a limit of the rule */, COUNT_UP_FAILED /* could not be sent */,
	/* ... and for it */
	COUNT_DOWN_PASSED, COUNT_DOWN_UNSOLICITED /* the client has not sent there */, COUNT_DOWN_LIMIT /* beyond a bandwidth */, COUNT_DOWN_FAILED,
	COUNT_DECISIONS /* final verdicts, see decide_count */,
	COUNT_STRANGERS /* that called at the door of a BIND */, COUNT_MAX
};
struct meters *books_meters(struct books *b); /* more of them; books_tell counts events there */
_Atomic uint64_t *books_counter(struct books *b, enum books_counter which);

#endif
