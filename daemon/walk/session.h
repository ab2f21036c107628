/*
 * walk/session.h - one client's life is one walk, forward only, one file a stage:
 *
 *   accept > negotiate > authenticate > request > identify > resolve > decide > open > reply > relay > account
 *
 * session.c holds the table of stages and walks it. A step looks at what it has: STEP_NEXT (my stage is
 * done), STEP_WAIT (an event will call the walk again) or STEP_OVER (session_end was told why). Events
 * record what happened and call session_walk; no stage calls another. First cause wins.
 *
 * A stage reads the sections of struct approach above its own and writes its own. What only the way to the
 * relay needs is in the approach, which is freed when the relay starts.
 */
#ifndef WALK_SESSION_H
#define WALK_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "books/books.h"
#include "books/hits.h"
#include "books/quota.h"
#include "books/tally.h"
#include "net/dial.h"
#include "net/ident.h"
#include "net/listen.h"
#include "net/loop.h"
#include "net/pump.h"
#include "net/resolver.h"
#include "rules/rules.h"
#include "settings/settings.h"
#include "walk/ask.h"
#include "walk/endings.h"
#include "wire/socks.h"

enum step { STEP_NEXT, STEP_WAIT, STEP_OVER };

enum stage {
	AT_ACCEPT, AT_NEGOTIATE, AT_AUTHENTICATE, AT_REQUEST, AT_IDENTIFY, AT_RESOLVE, AT_DECIDE, AT_OPEN,
	AT_REPLY, AT_RELAY, AT_ACCOUNT, AT_COUNT
};

/* An approach is one page, so that what a burst of handshakes took goes back to the kernel. */
#define APPROACH_BYTES 4096
#define CHAP_CHALLENGE_LEN 32
#define APPROACH_IN 1408 /* the longest request, and some bytes sent early behind it */

/* Who a session belongs to (POLICY semantics 5), as long as it lives: a new policy judges it again. */
struct identity { /* one malloc, the strings behind it */
	uint8_t proven_by, asserted_by; /* an AUTH_ bit or 0 */
	bool groups_known, groups_failed;
	const char *proven_user, *asserted_user; /* NULL: none */
	size_t group_count;
	const char *groups[];
};

/* bind.c: the door of a BIND; its socket is the target's watch. */
struct bind_door {
	struct turn turn;
	struct addr on;
	uint32_t left;		    /* ports not tried yet */
	uint16_t first, last, next; /* ports; 0: the kernel's choice */
};
enum bind_state { BIND_NONE, BIND_SEEKS, BIND_WAITS, BIND_CALLED };

struct session;
struct sweep {
	struct session *at; /* NULL: all were seen */
	struct turn turn;
	struct sweep *next;
};
struct approach {
	struct session *session;
	/* what came from the client: in[used, len) is not consumed yet */
	size_t in_len, in_used;
	int64_t stage_ns; /* when the lookup or the dialling began */
	/* negotiate */
	uint32_t methods; /* AUTH_ bits that some rule still possible takes */
	uint8_t method;	  /* chosen SOCKS5 method */
	bool greeted;
	bool asserted_matters; /* or its groups, as far as is known */
	/* authenticate */
	bool talking;	 /* a method's dialogue is on: what ends the session now is told in its words */
	bool asking;	 /* the authenticator; the client's clock stands still */
	uint8_t turn;	 /* of the client's messages, from 0 */
	uint8_t verdict; /* enum ipc_auth_result, 0: none yet */
	bool locked;	 /* this failure has locked somebody out */
	uint32_t asked_for; /* AUTH_ bits that would do */
	int64_t clock_left_ms;
	void (*clock)(struct timer *t);
	struct gssapi_talk *gssapi; /* of that method's dialogue, else NULL */
	struct question question; /* to the authenticator, also for groups */
	/* request */
	bool requested;
	struct rules_facts facts;
	/* identify */
	struct inquiry *inquiry; /* NULL: none is on its way */
	uint8_t ident;		 /* enum ident_said (identify.c) */
	bool groups_asked;
	/* resolve */
	bool asked, resolved;
	uint8_t door; /* enum bind_state */
	enum resolver_status resolution;
	struct waiter waiter;
	union {
		struct addr found[RESOLVER_ADDRESSES];
		struct bind_door bind; /* open: what was found is judged by then */
		uint8_t challenge[CHAP_CHALLENGE_LEN]; /* authenticate */
	};
	size_t found_count;
	/* decide */
	struct rules_answer answer;
	int32_t rules[DIAL_ADDRESSES]; /* of each address to try */
	uint64_t lifetime_ms; /* of the deciding rule; 0: none */
	/* open: the stage says what the success reply tells */
	struct endpoint told;
	bool dialling, dialled;
	uint32_t target_events;
	struct addr egress4, egress6;
	struct dial dial;
	struct socks_request request;
	uint8_t in[APPROACH_IN];
};
_Static_assert(sizeof(struct approach) <= APPROACH_BYTES, "an approach is one page");
/* After this round. */
void approach_release(struct approach *a);

struct association; /* associate.c */

struct session {
	struct pump pump; /* end[PUMP_CLIENT].watch is the client from accept on */
	struct timer timer;
	struct card *card;	   /* NULL: all told, the client is only being let go */
	struct approach *approach; /* NULL from the relay on */
	struct identity *identity; /* NULL: nameless */
	struct association *association; /* of UDP ASSOCIATE, from open on; else NULL */
	struct session *next, **link;
	int64_t start_ns; /* monotonic */
	int64_t end_by_ms; /* lifetime; 0: none. Before the relay: the deadline of the stage */
	uint32_t idle_ms; /* 0: none */
	uint32_t linger_left; /* bytes that are still read of a refused client */
	int64_t revoke_by_ms; /* a new policy forbids it, and this is when it ends; 0: not so */
	uint32_t drain_ms;    /* on-revoke = drain */
	uint32_t judged;  /* generation of the policy that last allowed it */
	uint8_t stage;	  /* enum stage */
	uint8_t ending;	  /* enum ending */
	uint8_t on_revoke; /* 0 sever, 1 keep, 2 drain: the word of the rule that last allowed it */
	bool mute;	  /* it is let go without having been told anything */
};

/* What every session of this worker shares; filled by the worker before the first client. */
struct walk {
	const struct settings *settings;
	struct policy *policy;
	uint32_t generation; /* of policy and settings */
	struct tally_limits limits;
	struct rules_self self;
	struct books *books;
	struct quotas *quotas;
	struct hits *hits; /* of this policy; NULL: not counted */
	struct tally *tally;
	struct session *sessions; /* all, also those being let go */
	uint32_t session_count, session_most; /* most: what the descriptors allow */
	_Atomic uint32_t *load;		      /* session_count for the other workers to see */
	uint32_t mute_count;		      /* of them, those with `mute` */
	bool draining;			      /* no new doors */
	bool crowded;			      /* session_most is reached, or was a moment ago */
	void (*crowd)(bool crowded);	      /* told when that changes */
	struct session *progress_at; /* see progress.c */
	/* judging the live sessions again, some a round */
	struct session *rejudge_at;
	uint32_t revoked;
	void (*rejudged)(void); /* all are done */
	struct sweep *sweeps;
};
extern struct walk walk;

/* A new client; fd is the walk's from now on. */
void session_begin(struct listener *from, int fd, const struct endpoint *client);
void session_walk(struct session *s);
/* Ends it: reply (if the client can still be told), record, close. Returns STEP_OVER for `return session_end(...)`. */
enum step session_end(struct session *s, enum ending why);
/* Ends by an event outside of the walk's steps. */
void session_stop(struct session *s, enum ending why);
/* After walk.policy and walk.generation have changed: what is forbidden now ends with `revoked`. */
void session_rejudge_all(void);
void session_stop_all(enum ending why);
/* The server drains: whoever waits for the peer of a BIND ends with `shutdown`. */
void session_close_doors(void);
/* One who goes through all sessions, some a round: the next to look at moves on when that one goes. */
void sweep_enter(struct sweep *w);
void sweep_leave(struct sweep *w);
struct session *session_of_timer(struct timer *t);
/* A message is not whole yet: STEP_NEXT, look again, there may be more; STEP_WAIT; or STEP_OVER (the client
 * left: client-closed or client-reset). */
enum step session_more(struct session *s);
/*
 * The client's FIN has come behind its request and before our reply. With bytes sent early it is a half-close
 * (PROTOCOL "Traps"). Without any the client has left, or has half-closed because the request was all it had to say:
 * for a quarter of a second behind the request it may still be answered; a FIN that comes later ends the session at once.
 */
void session_fin(struct session *s);
/* The client has sent bytes behind its request. */
bool session_early(struct session *s);
/* What the policy in force calls the listener: another one may have come since the last step. */
static inline int
session_listener(const struct session *s)
{
	return policy_listener(walk.policy, walk.settings->listeners[s->card->listener].name);
}
static inline struct watch *
session_client(struct session *s)
{
	return &s->pump.end[PUMP_CLIENT];
}
static inline struct watch *
session_target(struct session *s)
{
	return &s->pump.end[PUMP_TARGET];
}

/* The stages, one file each. */
enum step accept_step(struct session *s);
enum step negotiate_step(struct session *s);
enum step authenticate_step(struct session *s);
enum step request_step(struct session *s);
enum step identify_step(struct session *s);
enum step resolve_step(struct session *s);
enum step decide_step(struct session *s);
enum step connect_step(struct session *s);
enum step bind_step(struct session *s);
enum step associate_step(struct session *s);
enum step reply_step(struct session *s);
enum step relay_step(struct session *s);

/* authenticate.c: what a client is told that is refused within a method's dialogue; returns its length. */
#define AUTHENTICATE_REFUSAL 8
size_t authenticate_refusal(const struct session *s, uint8_t out[AUTHENTICATE_REFUSAL]);
/* authenticate.c: the proven identities that the settings in force have a backend for, AUTH_ bits. */
uint32_t authenticate_configured(void);
/* authenticate.c: the session ends: nobody waits for an answer, and no password stays behind. */
void authenticate_leave(struct approach *a);

/* identify.c: may the client's host be asked who it is? */
bool identify_trusted(const struct session *s);
/*
 * identify.c: a new identity in place of the session's. All is copied; user names hold no NUL, groups stand behind
 * each other, each with its NUL. The facts of the approach point into it. False: no memory.
 */
struct identity_parts {
	uint8_t proven_by, asserted_by;
	const char *proven, *asserted; /* NULL: none */
	size_t proven_len, asserted_len;
	bool groups_known, groups_failed;
	const char *groups;
	size_t groups_len, group_count;
};
bool identify_set(struct session *s, const struct identity_parts *p);
/* identify.c: the session is denied: is it for want of what the client's host should have said? */
enum ending identify_refusal(const struct session *s);
/* identify.c: this rule has decided: the ledger shall name the identity that it took. */
void identify_tell(struct session *s, int32_t rule);

/* open.c: the stage of the request's command. */
enum step open_step(struct session *s);

/*
 * decide.c: all that is known of a session whose request stands in its card: client, listener, version,
 * command, identity, name, address, port, time, self. name: storage for the canonical name. The peer of a BIND and
 * each destination of a UDP association are judged with these, and their own name, address and port.
 */
void decide_facts(const struct session *s, struct rules_facts *f, char name[NAME_MAX_LEN + 1]);
/*
 * decide.c: the one place where verdicts are counted: of a session, of the peer of a BIND, of each new destination of a UDP
 * association. Writes rule, reason, policy, dry-run rule and alert into the card that will tell it, counts the rule's hit
 * (books/hits.h), and writes the alert's line if the rule asks for one. For each verdict once, when it is certain (never
 * for RULES_NEED).
 */
void decide_count(struct card *card, const struct rules_answer *answer);
/* decide.c: the session's own verdict: decide_count, and what its rule says of its life is kept: idle_ms, on_revoke and,
 * as long as there is an approach, lifetime_ms. */
void decide_note(struct session *s, const struct rules_answer *answer);
/* decide.c: of several addresses, each with its rule, this one was reached: its rule is the session's from now on. False: that one's
 * limit is reached. */
bool decide_reached(struct session *s, int32_t rule);
/* decide.c: what rules_evaluate says of these facts under walk.policy, for a final verdict; some are timed. */
void decide_evaluate(const struct rules_facts *f, struct rules_answer *out);
/* decide.c: judges a live session again under walk.policy; true: still allowed. answer may be NULL. */
bool decide_again(struct session *s, struct rules_answer *answer);
/* decide.c: judges who called at the door of a BIND, or is expected there; counts nothing. */
void decide_peer(const struct session *s, const struct addr *peer, struct rules_answer *out);
/* connect.c: our addresses to go out from (dial.from4, from6), for the rule of a->answer. */
void connect_egress(struct approach *a);
/* bind.c: its door is open, and nobody expected has called. */
bool bind_waits(const struct session *s);
/* bind.c: judges those expected at the door again; false: none is allowed any more, and *answer (may be NULL) says why. */
bool bind_again(struct session *s, struct rules_answer *answer);
/* bind.c: counts a CONNECT whose target is reached as a primary, where bind.require-primary asks for such. Once. */
void bind_note_primary(struct session *s);
/* account.c: a counter of this worker. */
void account_count(enum books_counter which, uint64_t n);
/* reply.c: sends a reply (SOCKS4 or 5 as the session's version says); at NULL: no address. False: it did not go out. */
bool reply_send(struct session *s, uint8_t code, const struct endpoint *at);
/* reply.c: tells the client of a failure; false: there is nothing to tell or nobody to tell it to. */
bool reply_refusal(struct session *s);
/* account.c: the last record; gives the card and what was counted away. */
void account_close(struct session *s);
/* account.c: how long its stages took, when it has started or will not. */
void account_times(const struct session *s);
/* progress.c: from now on sessions that last tell of themselves. */
void progress_start(void);
/* relay.c: the pump's limits may have changed. pump.active_ms: when something moved last, of UDP too. */
void relay_limits(struct session *s);

/* associate.c: the relay stage of an association. */
enum step associate_relay(struct session *s);
/* It is forbidden now: sets the on-revoke that most of its destinations' rules say, before they are judged. */
void associate_words(struct session *s);
/* Judges its destinations again, after the session itself; returns how many. */
unsigned associate_rejudge(struct session *s);
/* The session ends: the last records of its destinations. */
void associate_close(struct session *s);

#endif
