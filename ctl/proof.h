/*
 * proof.h - is a ledger as it was written? Fed with its lines, one after the other, it checks numbers, links and
 * signatures (wire/chain.h) and says what was done to it first: a line changed, the file cut, lines moved, removed
 * or added. Reads nothing and prints nothing.
 *
 * The keys stand in the ledger itself: whoever can write it anew from a key's first line on can sign it anew. So
 * it tells the keys, and which of them the one before has named.
 */
#ifndef CTL_PROOF_H
#define CTL_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/chain.h"

enum proof_fault { PROOF_WHOLE, PROOF_CHANGED, PROOF_CUT, PROOF_MOVED, PROOF_REMOVED, PROOF_ADDED };
const char *proof_word(enum proof_fault fault); /* "whole", "changed", ... */

struct proof_place {
	const char *file; /* the caller's */
	uint64_t line;	  /* from 1 */
	uint64_t seq;	  /* the record's number, 0: not known */
};

struct proof_key {
	uint8_t key[CHAIN_KEY];
	struct proof_place at;
	bool named; /* by the last checkpoint before */
};

struct proof_result {
	enum proof_fault fault; /* the first */
	struct proof_place at;
	char text[320];	 /* what is wrong, for people; without control characters if the files' names have none */
	uint64_t faults; /* how many places: one may be the consequence of another */
	uint64_t lines, records;
	uint64_t proven;   /* lines that a checkpoint with a right signature covers, itself included */
	uint64_t unsigned_lines; /* at the end, whole but not signed yet */
	uint64_t checkpoints, torn; /* torn: a line that a machine's crash cut off, vouched for by the next; or a full disk, whole in the next file */
	uint64_t first_seq, last_seq;
	bool ended; /* the last line says that nothing follows under its key: it is not cut */
	const struct proof_key *keys;
	size_t key_count;
};

struct proof;
struct proof *proof_new(void); /* aborts if there is no memory */
void proof_free(struct proof *p);
/* The lines that follow are of this file, the next in order of rotation. The name must stay. */
void proof_file(struct proof *p, const char *name);
/* Without its newline; whole: it had one. */
void proof_line(struct proof *p, const char *line, size_t len, bool whole);
/* After the last line; good until proof_free. */
const struct proof_result *proof_end(struct proof *p);

#endif
