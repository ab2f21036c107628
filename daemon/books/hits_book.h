/*
 * books/hits_book.h - the counts of rules added up by rule name, over workers, policies and lives of the server.
 *
 * Kept by the control process. What is counted at this moment stands in the workers' memory (books/hits.h), here called
 * pages; what is over is added to the book and saved, and only then may a page go. So the keeper may be killed at any moment:
 * his successor reads the book and is given the pages that are left.
 *
 * The book is two files, written in turn, each checked by its hash; the newer whole one is believed. It says what was
 * counted (a) in pages that are gone, and which these were, (b) in those that were there when it was written. The same run of the
 * server goes on from (a), another one from both.
 */
#ifndef BOOKS_HITS_BOOK_H
#define BOOKS_HITS_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "books/hits.h"

#define HITS_NAME 72 /* of a rule, NUL included */

struct hits_book;

struct hits_total {
	struct hits_count count;
	int64_t since_ns; /* counted from then on: the window's begin, or when the rule first came */
};

/*
 * Reads the book from its two files (borrowed, for reading and writing). *found says what was there: HITS_NEW: nothing,
 * HITS_BAD: nothing that can be believed; both begin a new window now. NULL: no memory.
 */
enum hits_found { HITS_NEW, HITS_OLD, HITS_BAD };
struct hits_book *hits_book_open(const int fds[2], uint64_t run, int64_t now_ns, enum hits_found *found);
void hits_book_free(struct hits_book *b);

/*
 * A page, named for good by its id within the run. name_of(with, rule) gives the names of its policy's rules, index by index,
 * "" for none; used only if the policy (a number) is not known yet. False: it was added before, and may go. The descriptor is
 * borrowed.
 */
typedef const char *hits_name_of(void *with, int32_t rule);
bool hits_book_page(struct hits_book *b, uint64_t id, uint32_t policy, int fd, hits_name_of *name_of, void *with,
		    int64_t now_ns);
/* Nothing is counted there any more: it is added, and may go when that is saved. False: there is no such page. */
bool hits_book_over(struct hits_book *b, uint64_t id);

/* Adds up all pages; the totals stay until the next look. */
void hits_book_look(struct hits_book *b);
/* Of the last look. False: no such name was ever seen. */
bool hits_book_total(const struct hits_book *b, const char *name, struct hits_total *out);
/* The names, in no order: *at from 0 on; NULL behind the last. */
const char *hits_book_next(const struct hits_book *b, size_t *at);
int64_t hits_book_since(const struct hits_book *b); /* the window's begin */

/* Looks, and writes what has changed since the last save. False and errno: it could not be written; what was kept before is
 * whole still. */
bool hits_book_save(struct hits_book *b, bool sync, int64_t now_ns);

#endif
