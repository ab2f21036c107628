/*
 * daemon/counting.h - control's book of how often each rule matched (books/hits_book.h): the parent tells where workers
 * count and when that is over, people ask by `sallyctl rules`. Kept in two files that the parent has opened.
 */
#ifndef DAEMON_COUNTING_H
#define DAEMON_COUNTING_H

#include <stdbool.h>

#include "books/hits.h"
#include "channel.h"

struct caller;

/* What the parent tells: IPC_HITS_STORE, IPC_HITS, IPC_HITS_OVER. */
void counting_store(const struct message *m);
void counting_page(const struct message *m);
void counting_over(const struct message *m);
/* The process ends: what stands in the workers' memory is saved. */
void counting_end(void);
/* For metrics: before the first, then for each rule by its name. False: nothing is counted, or not of this one. */
bool counting_look(void);
bool counting_of(const char *rule, struct hits_count *out);
/* The command `rules`. */
void counting_list(struct caller *c);

#endif
