/*
 * wire/chain.h - what makes a changed ledger show: the members of "audit" at the end of each line, the chain of
 * hashes over the lines, and the signatures of checkpoints (sallyport-audit(5), "PROOF").
 *
 *   "audit":{"seq":N,"prev":"16 hex"                      every line
 *            ,"key":"64 hex"[,"from":N][,"last":{...}]    the first line under a key
 *            ,"root":"64 hex"[,"next":"64 hex"][,"end":"64 hex"],"signature":"128 hex"}}    a checkpoint
 *
 * prev: the first 8 bytes of the SHA-256 of the line before, without its newline; zeros if there is none.
 * root: SHA-256(root of the line before, SHA-256(line before)), as of the line before the checkpoint; it begins, at
 *       the line that tells the key, with that line's prev and zeros behind it.
 * signature: Ed25519 by that key, of the line's bytes before `,"signature"`.
 */
#ifndef WIRE_CHAIN_H
#define WIRE_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define CHAIN_HASH 32
#define CHAIN_PREV 8
#define CHAIN_KEY 32
#define CHAIN_SIGNATURE 64

/* As of the last line. All zero: there was none. */
struct chain {
	uint8_t last[CHAIN_HASH]; /* its SHA-256 */
	uint8_t root[CHAIN_HASH];
};
/* The next line is the first under a new key, and this its prev. */
void chain_begin(struct chain *c, const uint8_t prev[CHAIN_PREV]);
/* `len` without the newline. */
void chain_add(struct chain *c, const char *line, size_t len);

/* A checkpoint as the next key's first line carries it. */
struct chain_mark {
	uint64_t seq;
	uint8_t key[CHAIN_KEY], signature[CHAIN_SIGNATURE];
};

enum { CHAIN_HAS_KEY = 1, CHAIN_HAS_FROM = 2, CHAIN_HAS_LAST = 4, CHAIN_HAS_ROOT = 8, CHAIN_HAS_NEXT = 16,
       CHAIN_HAS_END = 32, CHAIN_HAS_SIGNATURE = 64, CHAIN_HAS_PREV = 128 };

struct chain_tail {
	uint64_t seq;
	unsigned has; /* CHAIN_HAS_: which of the others are there */
	uint8_t prev[CHAIN_PREV];
	uint8_t key[CHAIN_KEY];
	uint64_t from; /* the file's first record, if not this */
	struct chain_mark last;
	uint8_t root[CHAIN_HASH];
	uint8_t next[CHAIN_KEY]; /* the key of the file after this */
	uint8_t end[CHAIN_KEY];	 /* nothing follows under this key */
	uint8_t signature[CHAIN_SIGNATURE];
	size_t signed_len; /* parsed only: how many bytes of the line are signed */
};
/* `,"audit":{...}}` without a newline. A signature is not written, see chain_sign. */
void chain_put(struct text *t, const struct chain_tail *tail);
/* The same of a line that has nothing else, as most have. */
void chain_put_prev(struct text *t, uint64_t seq, const uint8_t prev[CHAIN_PREV]);
/* Of a line without newline. False: it does not end so. Everything that is not exactly as it is written is refused. */
bool chain_parse(const char *line, size_t len, struct chain_tail *out);

/* A key lives in memory only; NULL: none could be made. */
struct evp_pkey_st;
struct evp_pkey_st *chain_key_new(uint8_t public_key[CHAIN_KEY]);
void chain_key_wipe(struct evp_pkey_st *key); /* NULL is fine */
/* Puts the signature into a line of chain_put (its `}}` is at the end); false: it stays as it is. */
bool chain_sign(struct evp_pkey_st *key, struct text *line, uint8_t signature[CHAIN_SIGNATURE]);
bool chain_verify(const uint8_t key[CHAIN_KEY], const uint8_t signature[CHAIN_SIGNATURE], const void *p, size_t len);

#endif
