/*
 * base/problems.c - see base/problems.h. Tools and COMPILE, never a worker: it
 * allocates and ends the process when memory does.
 *
 * The list has its full size from the first problem on, so that an entry handed
 * out stays where it is until the list is sorted.
 */
#include "base/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
problems_init(struct problems *p)
{
	memset(p, 0, sizeof *p);
}

static char *format_text(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static char *
format_text(const char *fmt, va_list ap)
{
	char *s;

	if (vasprintf(&s, fmt, ap) < 0)
		abort();
	return s;
}

struct problem *
problems_add(struct problems *p, const char *code, struct place at, const char *fmt, ...)
{
	bool warning = code[0] == 'W';
	size_t *total = warning ? &p->warnings : &p->errors;
	struct problem *one;
	va_list ap;

	/* each kind has its own hundred: warnings never crowd out an error */
	if ((*total)++ >= PROBLEMS_KEEP)
		return NULL;
	if (p->list == NULL) {
		p->cap = 2 * PROBLEMS_KEEP;
		p->list = calloc(p->cap, sizeof *p->list);
		if (p->list == NULL)
			abort();
	}
	one = &p->list[p->count++];
	snprintf(one->code, sizeof one->code, "%s", code);
	one->warning = warning;
	one->place = at;
	va_start(ap, fmt);
	one->text = format_text(fmt, ap);
	va_end(ap);
	return one;
}

void
problem_help(struct problem *one, const char *fmt, ...)
{
	va_list ap;

	if (one == NULL)
		return;
	free(one->help);
	va_start(ap, fmt);
	one->help = format_text(fmt, ap);
	va_end(ap);
}

void
problem_seen(struct problem *one, struct place at)
{
	if (one != NULL)
		one->seen = at;
}

static bool
same_file(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

/* The number of each problem's file, in order of first appearance. */
static void
rank_files(const struct problems *p, size_t *rank)
{
	for (size_t i = 0; i < p->count; i++) {
		size_t j = 0;

		while (!same_file(p->list[j].place.file, p->list[i].place.file))
			j++;
		rank[i] = j;
	}
}

static bool
stands_before(const struct problem *a, size_t rank_a, const struct problem *b, size_t rank_b)
{
	if (rank_a != rank_b)
		return rank_a < rank_b;
	if (a->place.line != b->place.line)
		return a->place.line < b->place.line;
	return a->place.column < b->place.column;
}

/* By insertion: stable, and there are at most 200. */
void
problems_sort(struct problems *p)
{
	size_t rank[2 * PROBLEMS_KEEP];

	rank_files(p, rank);
	for (size_t i = 1; i < p->count; i++) {
		struct problem one = p->list[i];
		size_t one_rank = rank[i], j = i;

		for (; j > 0 && stands_before(&one, one_rank, &p->list[j - 1], rank[j - 1]); j--) {
			p->list[j] = p->list[j - 1];
			rank[j] = rank[j - 1];
		}
		p->list[j] = one;
		rank[j] = one_rank;
	}
}

void
problems_free(struct problems *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->list[i].text);
		free(p->list[i].help);
	}
	free(p->list);
	problems_init(p);
}
