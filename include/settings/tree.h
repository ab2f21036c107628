/*
 * settings/tree.h - a libconfig file read with the exact place of every key and value.
 *
 * Our lexer walks the same files as libconfig; where the two disagree, loading
 * stops (POLICY.md "Files"). What the rest of the program reads is this tree.
 * Runs in COMPILE and in sallyctl. May block on files.
 */
#ifndef SETTINGS_TREE_H
#define SETTINGS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problems.h"

struct source { /* one file's text */
	char *name;   /* as the admin would write it: relative to where the -c file stands */
	char *path;   /* what was opened */
	char *dir;    /* folder of path, for @include and file: */
	char *text;   /* NUL-terminated, len bytes */
	size_t len;
	struct source *next;
};

/* All files read for one load; owns every text and name that places point at. */
struct sources {
	struct source *first, **last;
};

void sources_init(struct sources *s);
void sources_free(struct sources *s);

enum source_kind { SOURCE_CONFIG, SOURCE_TABLE };
/*
 * Reads a regular file that is not writable by others, without BOM, NUL or control
 * bytes but tab and line ends; non-ASCII must be UTF-8 (and is checked by the lexer
 * for where it stands). Problems are added (place: file, line 0 when the file itself is the
 * problem); NULL on any error. display: name to show; at: where it was named (may have file NULL).
 */
struct source *source_read(struct sources *s, const char *path, const char *display, struct place at,
			   enum source_kind kind, struct problems *p);
struct source *source_find(const struct sources *s, const char *name);

enum node_kind { NODE_GROUP, NODE_LIST, NODE_ARRAY, NODE_STRING, NODE_INT, NODE_FLOAT, NODE_BOOL };

struct node {
	enum node_kind kind;
	const char *name; /* key; NULL for an element of a list or array and for the root */
	struct place key; /* of the name; file NULL where there is none */
	struct place value; /* of the value: opening quote, bracket, digit */
	union {
		struct {
			const char *s; /* escapes resolved; may hold any byte but NUL */
			size_t len;
		} string;
		int64_t integer;
		double real;
		bool boolean;
	};
	struct node *parent, *first, *last, *next; /* children and siblings in file order */
	size_t count;				   /* children */
	bool used; /* set by readers; what nobody used is an unknown key */
	const struct source *source; /* the file this node was written in */
};

/*
 * Loads path with all @include (glob patterns expanded in byte order) into one tree.
 * NULL if it cannot be read or parsed at all; a tree with errors in p is still returned where
 * reading can go on, so that later checks may find more. The tree is freed with tree_free.
 * base_dir: where relative @include paths start (NULL: the folder of path).
 * text_or_null: read this instead of the file (fuzzing, tests).
 */
struct tree;
struct tree *tree_load(struct sources *s, const char *path, const char *display, struct place at,
		       struct problems *p);
struct tree *tree_parse(struct sources *s, struct source *from, struct problems *p);
struct node *tree_root(struct tree *t);
const struct source *tree_source(struct tree *t); /* the main file */
void tree_free(struct tree *t);

struct node *node_get(const struct node *group, const char *name); /* marks it used; NULL if absent */
const char *node_kind_word(const struct node *n);		      /* "a string", "a list", ... */
/* Adds E102-style "unknown key" errors with did-you-mean for every unused child. known: NULL-terminated. */
void node_unknown(const struct node *group, const char *what, const char *const *known, struct problems *p);

/* Renders all problems as POLICY.md shows them (source line, carets, help), to fd or buffer. */
struct buffer;
void problems_render(const struct problems *p, const struct sources *s, bool colour, struct buffer *out);
void problems_render_json(const struct problems *p, struct buffer *out); /* {"errors":[...],"warnings":[...]} members as in POLICY.md */
/* `sallyctl help E203`: the long explanation of a code, NULL if there is none. */
const char *problem_explain(const char *code);

#endif
