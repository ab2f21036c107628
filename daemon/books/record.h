/*
 * books/record.h - one audit record as a line of text (AUDIT.md): ECS NDJSON or the short form
 * for a terminal. Pure: the ledger gives all it knows in one struct.
 */
#ifndef BOOKS_RECORD_H
#define BOOKS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "books/books.h"
#include "wire/chain.h"

#define RECORD_MAX 8192 /* no line is longer, newline included */

/* What many lines have in common, told once (record_observer and so on). */
struct record_words {
	uint16_t len; /* 0: nothing, or too long to be kept; then the parts are told */
	char text[382];
};
void record_observer(struct record_words *w, const char *hostname, const char *version, const char *listener);
void record_rule(struct record_words *w, const char *rule, const char *reference);
void record_policy(struct record_words *w, const char *name, const uint8_t *hash);

struct record {
	enum books_event event;
	int64_t at_ns; /* wall: @timestamp */
	const struct books *books;
	const struct card *card;   /* what to tell; a copy where the worker may still write */
	const struct card *shared; /* the card in the books, for its strings; NULL: card is it */
	const char *hostname, *version; /* observer */
	const char *listener;		/* name, NULL: none */
	const char *rule, *reference;	/* rule name ("policy-default", "builtin:self"), ticket; "" or NULL: none */
	const char *policy_name;
	const uint8_t *policy_hash; /* 32 bytes, NULL: none */
	const char *dry_run;	    /* the rule in mode dry-run that would have decided; "" or NULL: none */
	const char *ending;	    /* the ending's word; NULL for a start */
	const char *reason;	    /* why the policy said so (rules_reason_word); NULL or "": not told */
	uint32_t age_s; /* EVENT_PROGRESS: of the session */
	uint64_t seq;
	const uint8_t *prev; /* CHAIN_PREV bytes, NULL: none */
	bool colour; /* short form only */
	/* of the parts above, so that they need not be told again; NULL: none */
	const struct record_words *observer_words, *rule_words, *policy_words;
};

/* Line with its newline into buf (RECORD_MAX); returns its length. Always valid JSON, also when cut. */
size_t record_ecs(const struct record *r, char *buf);
size_t record_short(const struct record *r, char *buf);
const char *record_action(enum books_event e); /* "session-start", ... */

/* Records that are not about a session: audit-start, audit-stop, audit-rotate, checkpoint, policy-load,
 * policy-refused, worker-crash, clock-step and so on. text: a sentence or NULL; outcome: "success" or "failure". */
struct record_plain {
	const char *action, *outcome, *reason, *text;
	const char *user, *user_id; /* whose deed it was; NULL: nobody's */
	int64_t at_ns;
	const char *hostname, *version, *policy_name;
	const uint8_t *policy_hash;
	uint64_t seq;
	const uint8_t *prev;
	const struct chain_tail *chain; /* what it tells beside seq and prev, NULL: nothing */
	bool colour;
};
size_t record_plain_ecs(const struct record_plain *r, char *buf);
size_t record_plain_short(const struct record_plain *r, char *buf);

#endif
