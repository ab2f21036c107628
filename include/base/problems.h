/*
 * base/problems.h - a list of problems found in files: all of them, not the first.
 *
 * Text is for people, lower case, no full stop. Places point at bytes: line and
 * column count from 1; width is how many bytes the carets underline.
 * file is borrowed and must outlive the list (sources own their names).
 */
#ifndef BASE_PROBLEMS_H
#define BASE_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

struct place {
	const char *file; /* as the admin would name it; NULL: no place */
	unsigned line, column, width;
};

struct problem {
	char code[8]; /* "E203", "W301" */
	bool warning;
	struct place place;
	char *text;
	char *help;	   /* NULL: none */
	struct place seen; /* where the thing spoken of in help stands; file NULL: none */
};

struct problems {
	struct problem *list;
	size_t count, cap;
	size_t errors, warnings; /* all of them, also those beyond PROBLEMS_KEEP */
};

#define PROBLEMS_KEEP 100 /* errors kept; the rest is only counted */

void problems_init(struct problems *p);
/* code starts with E (error) or W (warning). Returns the entry, or NULL when only
 * counted; its help and seen may then be set with problem_help. */
struct problem *problems_add(struct problems *p, const char *code, struct place at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void problem_help(struct problem *one, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* one may be NULL */
void problem_seen(struct problem *one, struct place at);					       /* one may be NULL */
/* By file (order of first appearance), line, column; errors and warnings together. Stable. */
void problems_sort(struct problems *p);
void problems_free(struct problems *p);

#endif
