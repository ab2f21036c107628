/*
 * settings/branch.h - what a tree holds beyond its nodes: the memory, and where in
 * the text each node and each @include stood. Private to this room.
 */
#ifndef SETTINGS_BRANCH_H
#define SETTINGS_BRANCH_H

#include "base/arena.h"
#include "settings/lexer.h"
#include "settings/tree.h"

/* A group of more members than this is given to libconfig in pieces. */
#define BRANCH_MANY 16

/* Every node of a tree is one of these. */
struct branch {
	struct node node;    /* first: a node is its branch */
	uint32_t from;       /* offset of its key, of its value where it has none */
	uint32_t body;       /* offset of its value */
	uint32_t to;         /* behind its value */
	uint8_t word;        /* enum token_kind of a scalar: as it was written */
	bool many;           /* it or something within has more than BRANCH_MANY members */
	struct index *index; /* of a group with many members, while it is read */
};

/* One @include as written; the checker puts a mark in its place. */
struct inclusion {
	const struct source *source; /* where it was written */
	uint32_t from, to;
};

/* The members that one source gave to a group: all of the root, or what an @include brought. */
struct span {
	const struct source *source;
	struct node *group;
	struct node *first, *last; /* NULL: it brought none; others' members may stand between */
	size_t inclusions;         /* that it wrote itself */
};

struct tree {
	struct arena arena; /* nodes and strings live and die with their tree */
	struct sources *sources;
	const struct source *main;
	struct node *root;
	struct inclusion *inclusions; /* in the order read: ascending within a source */
	size_t inclusion_count;
	struct span *spans;
	size_t span_count;
	struct agreement *pending; /* NULL: settled */
};

static inline struct branch *
branch_of(const struct node *n)
{
	return (struct branch *)(uintptr_t)n;
}

/* Parses every source with libconfig and compares; disagreement is a problem (E130). */
void agree_check(const struct tree *t, struct problems *p);
/* The same in a thread, which reads of the tree all but `used`. NULL: there is no thread to be had.
 */
struct agreement *agree_start(const struct tree *t);
void agree_finish(struct agreement *a, struct problems *p); /* waits for it */

#endif
