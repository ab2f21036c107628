/*
 * books/hits.h - how often each rule decided: counters of one worker under one policy, by the rule's index.
 *
 * The parent makes a memfd for every worker and policy; the worker counts into it with plain stores (only it
 * writes); the control process reads it and adds up by rule name (books/hits_book.h). It outlives the worker and the
 * reader. Never blocks, takes no lock.
 */
#ifndef BOOKS_HITS_H
#define BOOKS_HITS_H

#include <stdbool.h>
#include <stdint.h>

struct hits;

struct hits_count {
	uint64_t matches; /* verdicts that this rule gave */
	uint64_t dry_run; /* verdicts that it would have given (mode dry-run) */
	int64_t last_ns;  /* wall time of the last of either; 0: never */
};

/* A memfd for a policy of so many rules, sparse, of fixed size for good; -1 and errno. */
int hits_create(uint32_t rules);
uint64_t hits_form(void); /* base/form.h */
/* NULL: not such a memory. The view that is not writable is the reader's. */
struct hits *hits_map(int fd, bool writable);
void hits_unmap(struct hits *h);
uint32_t hits_rules(const struct hits *h);

/* -- worker. rule: an index, RULE_DEFAULT or RULE_SELF; any other is not counted. -- */
void hits_match(struct hits *h, int32_t rule, int64_t wall_ns);
void hits_dry_run(struct hits *h, int32_t rule, int64_t wall_ns);
/* The last match was another rule's after all. */
void hits_unmatch(struct hits *h, int32_t rule);

/* -- reader. Zeros for a rule that it has not. -- */
struct hits_count hits_read(const struct hits *h, int32_t rule);
/* From *rule (RULE_SELF at first) on, the next that was counted: *rule says which. False: there is none. Memory that was
 * never written is not touched. */
bool hits_next(const struct hits *h, int32_t *rule, struct hits_count *out);

#endif
