/*
 * books/lags.h - how far each copy of the ledger is: a page that the forwarder writes and control looks at. The parent
 * makes it, and it outlives the forwarder: a successor finds there what was counted, and to the record where each copy
 * was.
 *
 * One writer. A reader sees one moment of a copy, never half of two.
 */
#ifndef BOOKS_LAGS_H
#define BOOKS_LAGS_H

#include <stdbool.h>
#include <stdint.h>

#include "books/bookmarks.h"

enum lag_state {
	LAG_CONNECTING, /* not reached yet */
	LAG_OK,		/* takes records */
	LAG_STALLED,	/* is reached, and has taken nothing for a while */
	LAG_DOWN,	/* cannot be reached; tried again */
	LAG_STATES
};

struct lag {
	char name[BOOKMARK_NAME]; /* "": no copy */
	uint32_t state;		  /* enum lag_state */
	uint32_t error;		  /* errno of LAG_DOWN */
	uint64_t seq;		  /* of the last record that it has */
	uint64_t records, bytes;  /* of the ledger that it has not */
	int64_t oldest_ns;	  /* wall: of the first of these; 0: there are none */
	int64_t told_ns;	  /* wall: when this was so */
	uint64_t sent, dropped;	  /* records; again ones are counted again */
};

struct lags;

int lags_create(void); /* memfd, -1 and errno */
uint64_t lags_form(void); /* base/form.h */
struct lags *lags_map(int fd, bool writable); /* NULL: not one, or no memory */
void lags_unmap(struct lags *l);

/* The place of this name, or an empty one; -1: there is none. i: 0 to BOOKMARKS - 1. */
int lags_place(const struct lags *l, const char *name);
void lags_put(struct lags *l, int i, const struct lag *lag);
void lags_get(const struct lags *l, int i, struct lag *out);
/* All or nothing, at whatever instruction its writer dies. */
void lags_mark(struct lags *l, int i, const struct bookmark *b);
struct bookmark lags_marked(const struct lags *l, int i);
void lags_drop(struct lags *l, int i);

const char *lag_word(uint32_t state);

#endif
