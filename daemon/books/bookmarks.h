/*
 * books/bookmarks.h - where in the ledger each of its copies is: kept over a restart of the server in two files that
 * are written in turn, each checked by its hash; the newer whole one is believed.
 *
 * A bookmark names a place by the line before it: wherever a file with that line is by then, and whatever it is
 * called, it is the place. Kept by the forwarder; blocks on its files at most.
 */
#ifndef BOOKS_BOOKMARKS_H
#define BOOKS_BOOKMARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOKMARK_NAME 72 /* of a copy, NUL included */
#define BOOKMARKS 8
#define BOOKMARK_HASH 8

struct bookmark { /* all zero: none */
	uint64_t at;  /* bytes of its file before the place */
	uint64_t seq; /* of the last record before it */
	uint8_t hash[BOOKMARK_HASH]; /* the first bytes of the SHA-256 of the line before it; at 0 of the first line */
};

/* The place behind `line`, which ends at `at`, newline included; at 0: the place before it. */
struct bookmark bookmark_at(const char *line, size_t len, uint64_t at, uint64_t seq);
bool bookmark_given(const struct bookmark *b);
/* What stands there in this file is what stood there. */
bool bookmark_in(const struct bookmark *b, int fd);

struct bookmarks {
	char names[BOOKMARKS][BOOKMARK_NAME]; /* "": empty */
	struct bookmark places[BOOKMARKS];
	uint64_t sequence; /* of the last writing */
};

/* The files are borrowed, for reading and writing. False: there was something, and none of it can be believed. */
bool bookmarks_read(struct bookmarks *b, const int fds[2]);
/* False and errno: what was kept before is whole still. */
bool bookmarks_write(struct bookmarks *b, const int fds[2], bool sync);
/* NULL: none of this name. */
struct bookmark *bookmarks_find(struct bookmarks *b, const char *name);
/* The same, made if there is none; NULL: no room. */
struct bookmark *bookmarks_of(struct bookmarks *b, const char *name);
void bookmarks_drop(struct bookmarks *b, const char *name);

#endif
