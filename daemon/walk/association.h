/*
 * walk/association.h - what associate.c (the sockets of a UDP association, its client, its relay) and destination.c
 * (where it sends to: verdict, card, name, limits) share. No other file looks inside.
 *
 * An association owns its destinations. A destination may end in any call that takes it but is not const, and in those
 * that begin another one; who still needs it asks again.
 */
#ifndef WALK_ASSOCIATION_H
#define WALK_ASSOCIATION_H

#include "net/contacts.h"
#include "net/datagram.h"
#include "walk/session.h"

#define LAST_HEADER 64 /* bytes; one with a longer name is decoded each time */

enum { SEVER, KEEP, DRAIN }; /* rule_terms.on_revoke */
enum destination_state { WAITS_FOR_NAME, MAY_PASS, MAY_NOT };

struct held; /* a datagram that waits for a name */
struct destination {
	struct contact contact; /* first */
	struct association *association;
	struct datagram_peer peer;
	struct card *card; /* NULL: all told */
	struct waiter waiter;
	struct held *held, **held_end;
	int64_t since_ns, retry_ms;    /* retry: of a name; 0: never */
	uint64_t idle_ms, lifetime_ms; /* of its rule */
	uint64_t counted;              /* names its rule, if that counts, see limits_rule */
	struct limits_line *line;      /* its bandwidths; NULL: none */
	int64_t revoke_by_ms;          /* forbidden by now, see session.h; 0: not so */
	uint32_t judged, drain_ms;
	uint8_t state;              /* enum destination_state */
	uint8_t replies, on_revoke; /* of its rule, as in rule_terms */
	char name[];
};

enum { FOR_CLIENT, FOR_IPV4, FOR_IPV6, SOCKETS };

struct association {
	struct session *session;
	struct watch watches[SOCKETS];
	struct turn turn;
	bool more[SOCKETS]; /* stopped early to be fair */
	struct datagram_peer client;
	struct endpoint client_at; /* port 0: not known yet */
	struct contacts contacts;
	/* the header of the last datagram, and where it led: the next is most likely the same */
	struct destination *last;
	size_t last_len;
	uint8_t last_header[LAST_HEADER];
	/* what was taken of the allowance for new destinations, as of then */
	uint32_t fresh;
	int64_t fresh_ms;
	uint32_t held_count, held_bytes, any_count;
	uint32_t control_left;
	uint64_t idle_ms, lifetime_ms;         /* the shortest of its rules; 0: none */
	uint64_t own_idle_ms, own_lifetime_ms; /* of a rule that decided for all of it */
	uint64_t counted; /* a rule that counts all of it, see limits_rule; 0: none */
	int64_t begun_ms;
};

static inline struct destination *
destination_of(struct contact *c)
{
	return (struct destination *)(void *)c;
}

/* associate.c: a datagram that does not pass. */
void associate_drop(struct association *a, enum books_counter why, unsigned n);
/* associate.c: of the rules that it has gone by, the shortest limits hold for the association; 0: none. */
void associate_keep_limits(struct association *a, uint64_t idle_ms, uint64_t lifetime_ms);
/* associate.c: the socket that sends to this family, opened when it is first needed; -1: no descriptor. */
int associate_socket(struct association *a, const struct addr *to);

/* Where a datagram goes; NULL: nowhere, and that is counted. *header: its length. */
struct destination *destination_for(struct association *a, const struct datagram *g, size_t *header);
/* Before each use of one that was there before. False: it is over. */
bool destination_still_good(struct destination *d);
/* A new policy: as above, at once. */
bool destination_judge_again(struct destination *d);
/* MAY_PASS: into the bag. WAITS_FOR_NAME: kept until the answer is here. */
void destination_send(struct destination *d, const uint8_t *data, size_t len);
void destination_hold(struct destination *d, const uint8_t *data, size_t len);
/* For datagram_begin: to a destination, and of one to the client. */
void destination_sent_up(void *owner, unsigned n, size_t bytes, int error);
void destination_sent_down(void *owner, unsigned n, size_t bytes, int error);
void destination_end(struct destination *d, enum ending why);

#endif
