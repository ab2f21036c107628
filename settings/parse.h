/*
 * settings/parse.h - between tree.c, parse.c and include.c: the parser of one source and
 * what it builds with. Private to this room.
 */
#ifndef SETTINGS_PARSE_H
#define SETTINGS_PARSE_H

#include <sys/types.h>

#include "settings/branch.h"

struct parser {
	struct tree *tree;
	struct problems *problems;
	const struct source *src;
	struct lexer lexer;
	struct token now, then;     /* the word to judge, the one behind it */
	struct token last;          /* the one before */
	unsigned depth;             /* groups and lists open in this source */
	unsigned outer_depth;       /* and around its @include */
	unsigned owed[TOKEN_WRONG]; /* closers of brackets that were told to be unclosed */
	const char *odd_name;       /* a group whose end is indented unlike its start ... */
	struct place odd;           /* ... where: a hint when a brace is missing */
	struct parser *includer;
	unsigned include_depth;
	size_t inclusions; /* seen in this source */
	dev_t dev;         /* of the file, to see a circle */
	ino_t ino;
};

/* All of ps->src into group; ps has tree, problems, src and its includer set, the rest zero. */
void parse_source(struct parser *ps, struct node *group);
/* Refuses what is not ASCII in a string, unless name is one of the keys for people. */
void parse_ascii(struct parser *ps, const struct token *t, const char *name);
/* Reads the files that an @include names (a string token) into group. */
void include_files(struct parser *ps, struct node *group, const struct token *t);

/* Zeroed memory that lives as long as the tree. */
void *tree_take(struct tree *t, size_t size, size_t align);
const char *tree_text(struct tree *t, const char *s, size_t len);
/* The member of that name that came first, or NULL. */
struct node *tree_twin(struct branch *group, const char *name);
void tree_adopt(struct node *parent, struct node *n);
/* The group is complete: no more tree_twin. */
void tree_names_free(struct branch *group);
void tree_note_inclusion(struct tree *t, const struct source *src, uint32_t from, uint32_t to);
/* All of ps->src was read; before: the last member of group when that began. */
void tree_note_span(const struct parser *ps, struct node *group, struct node *before);

#endif
