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
	const char *instead_of, *instead; /* borrowed: where that path is to be read, this one is; NULL: none */
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
 * NULL if it cannot be read at all; a tree with errors in p is still returned where reading can go
 * on, so that later checks may find more: a word without quotes is taken for a string, a repeated key
 * stands in the tree twice (the second one used, node_get gives the first). With no error in p
 * behind tree_settle, libconfig has read the same. The tree is freed with tree_free, before its sources.
 * Relative @include paths start at the folder of path, and so do those of the included
 * files: the dir of every source of one tree is that folder.
 */
struct tree;
struct tree *tree_load(struct sources *s, const char *path, const char *display, struct place at,
		       struct problems *p);
/*
 * A large file is compared with libconfig's reading beside what the caller does with the tree: nothing may come
 * of it before this, which waits for the end and adds the problem (E130) if there is one. May be called again.
 */
void tree_settle(struct tree *t, struct problems *p);
/* tree_load and tree_settle for a source that is there already (tests, fuzzing). from->dir NULL: it may include nothing. */
struct tree *tree_parse(struct sources *s, struct source *from, struct problems *p);
struct node *tree_root(struct tree *t);
const struct source *tree_source(struct tree *t); /* the main file */
void tree_free(struct tree *t);

struct node *node_get(const struct node *group, const char *name); /* marks it used; NULL if absent */
const char *node_kind_word(const struct node *n);		      /* "a string", "a list", ... */
/*
 * Adds "unknown key 'x' in WHAT" (E102) with did-you-mean for every unused child, and marks it used.
 * known: NULL-terminated, or NULL.
 */
void node_unknown(const struct node *group, const char *what, const char *const *known, struct problems *p);

/*
 * Adds all problems to out as POLICY.md shows them (source line, carets, help), a blank line behind each,
 * and a last line with the counts; nothing if there are none. In the order of the list: problems_sort first.
 */
struct buffer;
void problems_render(const struct problems *p, const struct sources *s, bool colour, struct buffer *out);
/* Without that last line. */
void problems_render_list(const struct problems *p, const struct sources *s, bool colour, struct buffer *out);
/*
 * The whole object {"errors":[...],"warnings":[...]} as in POLICY.md, without a line end; more_errors and
 * more_warnings count what was not kept. help is null where there is none; file is null, line and
 * column 0, where there is no place.
 */
void problems_render_json(const struct problems *p, struct buffer *out);
/* The array behind "warnings": alone. */
void problems_put_warnings_json(const struct problems *p, struct buffer *out);
/*
 * `sallyctl help E112`: the long explanation of a code of files, syntax (E1, W1) and settings (E3, W3);
 * NULL if there is none. The rules room has a table of its own.
 */
const char *problem_explain(const char *code);

#endif
