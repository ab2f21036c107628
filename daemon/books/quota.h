/*
 * books/quota.h - what a rule's `limit` counts across all workers: sessions of the rule, of a user, of a source, and
 * the time line of rates. Plain atomics in one memfd that parent, workers and ledger map; never blocks, takes no lock.
 *
 * A key is a keyed hash of kind, rule name and whom it is about, so a limit goes on counting over reloads. Counts are
 * given back when the session ends; a dead worker's by the ledger, from its cards (card.quota). What was taken never
 * exceeds the limit that was asked for with it, whoever asks at the same moment.
 */
#ifndef BOOKS_QUOTA_H
#define BOOKS_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct quotas;

int quota_create(uint32_t sessions); /* memfd, -1 and errno. sessions: that live at a time; 0: any */
uint64_t quota_form(void);	     /* base/form.h */
struct quotas *quota_map(int fd);    /* NULL: not such a memory */
void quota_unmap(struct quotas *q);

enum quota_kind { QUOTA_SESSIONS = 1, QUOTA_USER, QUOTA_SOURCE, QUOTA_RATE, QUOTA_UP, QUOTA_DOWN };
/* Never 0. who: any bytes, len at most 300. */
uint64_t quota_key(const struct quotas *q, enum quota_kind kind, const char *rule, const void *who, size_t len);

/* One more under this key; false: there are `most` already (or, very full, no place to count). */
bool quota_take(struct quotas *q, uint64_t key, uint32_t most);
void quota_give(struct quotas *q, uint64_t key);
uint32_t quota_count(const struct quotas *q, uint64_t key);

/*
 * A bucket is one moment on the monotonic clock, in nanoseconds: up to then its time is spent. Each use moves it on by
 * what the use costs. Look it up for each use: one whose moment has long passed may become another key's.
 * NULL: no place.
 */
_Atomic int64_t *quota_bucket(struct quotas *q, uint64_t key, int64_t now_ns);
/* Spends `cost` at once if no more than `burst` is spent ahead of now then; else false and nothing is spent. */
bool bucket_take(_Atomic int64_t *bucket, int64_t now_ns, int64_t cost, int64_t burst);
/* Spends `cost` in any case; returns when its turn begins. Time that went by unused counts up to `credit`. */
int64_t bucket_reserve(_Atomic int64_t *bucket, int64_t now_ns, int64_t cost, int64_t credit);
/* Part of what was reserved was not used. */
void bucket_refund(_Atomic int64_t *bucket, int64_t cost);

#endif
