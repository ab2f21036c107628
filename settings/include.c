/*
 * settings/include.c - @include: the files that a name or pattern stands for, in the order of
 * the bytes of their names, each read as if its settings stood in its place.
 *
 * Runs in COMPILE and in sallyctl; may block on files. libconfig 1.5 knows no patterns and
 * starts at the working directory; ours start at the folder of the main file, also
 * within included files.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "settings/parse.h"
#include "settings/source.h"

#define INCLUDE_DEPTH 10  /* as libconfig */
#define INCLUDE_MAX 10000 /* files of one load */

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

static char *
join(const char *dir, const char *name)
{
	char *path;

	if (name[0] == '/' || dir[0] == '\0')
		return need(strdup(name));
	if (asprintf(&path, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name) == -1)
		abort();
	return path;
}

/* As an admin writes it: beside the main file's name. */
static char *
display_of(const struct source *main_file, const char *name)
{
	const char *slash = strrchr(main_file->name, '/');
	char *dir = need(
	    strndup(main_file->name, slash != NULL ? (size_t)(slash - main_file->name) + 1 : 0));
	char *display = join(dir, name);

	free(dir);
	return display;
}

static bool
may_include(struct parser *ps, const char *path, const char *display, struct place where)
{
	struct stat st;

	if (ps->include_depth >= INCLUDE_DEPTH || ps->tree->span_count >= INCLUDE_MAX) {
		problems_add(ps->problems, "E122", where,
			     ps->include_depth >= INCLUDE_DEPTH
				 ? "files include each other more than %d deep"
				 : "more than %d files are included",
			     ps->include_depth >= INCLUDE_DEPTH ? INCLUDE_DEPTH : INCLUDE_MAX);
		return false;
	}
	if (stat(path, &st) == -1)
		return true; /* source_open tells why */
	for (struct parser *one = ps; one != NULL; one = one->includer)
		if (one->ino == st.st_ino && one->dev == st.st_dev && one->ino != 0) {
			problems_add(ps->problems, "E121", where, "'%s' includes itself", display);
			return false;
		}
	return true;
}

static void
include_file(struct parser *ps, struct node *group, const char *path, const char *name,
	     struct place where)
{
	char *display = display_of(ps->tree->main, name);
	struct parser inner = {.tree = ps->tree,
			       .problems = ps->problems,
			       .includer = ps,
			       .outer_depth = ps->outer_depth + ps->depth,
			       .include_depth = ps->include_depth + 1};
	struct source *src = NULL;
	struct stat st;

	if (may_include(ps, path, display, where))
		src = source_open(ps->tree->sources, path, display, where, &st, ps->problems);
	free(display);
	if (src == NULL)
		return;
	/* Paths inside an include start where those of the main file start. */
	free(src->dir);
	src->dir = need(strdup(ps->tree->main->dir));
	inner.src = src;
	inner.dev = st.st_dev;
	inner.ino = st.st_ino;
	parse_source(&inner, group);
}

static int
by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The folder is no pattern, whatever characters its name has. */
static char *
glob_pattern(const char *dir, const char *pattern)
{
	char *escaped = need(malloc(strlen(dir) * 2 + 1)), *out = escaped, *full;

	for (; *dir != '\0'; dir++) {
		if (strchr("*?[]\\", *dir) != NULL)
			*out++ = '\\';
		*out++ = *dir;
	}
	*out = '\0';
	full = join(escaped, pattern);
	free(escaped);
	return full;
}

static void
include_glob(struct parser *ps, struct node *group, const char *pattern, struct place where)
{
	const char *dir = ps->tree->main->dir;
	char *full = glob_pattern(dir, pattern);
	size_t skip = 0;
	glob_t found;
	int rc = glob(full, GLOB_ERR | GLOB_NOSORT, NULL, &found);

	free(full);
	if (pattern[0] != '/')
		skip = strlen(dir) + (dir[strlen(dir) - 1] != '/');
	if (rc == GLOB_NOMATCH)
		problems_add(ps->problems, "W101", where, "no file matches '%s'", pattern);
	else if (rc != 0)
		problems_add(ps->problems, "E120", where, "cannot look for '%s': %s", pattern,
			     rc == GLOB_NOSPACE ? "out of memory" : strerror(errno));
	if (rc == 0) {
		qsort(found.gl_pathv, found.gl_pathc, sizeof(char *), by_bytes);
		for (size_t i = 0; i < found.gl_pathc; i++)
			include_file(ps, group, found.gl_pathv[i], found.gl_pathv[i] + skip, where);
	}
	globfree(&found);
}

void
include_files(struct parser *ps, struct node *group, const struct token *t)
{
	struct place where = lexer_place(&ps->lexer, t);
	char *name = need(calloc(1, t->to - t->from + 1));

	parse_ascii(ps, t, NULL);
	lexer_string(&ps->lexer, t, name);
	if (name[0] == '\0') {
		problems_add(ps->problems, "E120", where, "@include names no file");
	} else if (ps->tree->main->dir == NULL) {
		problems_add(ps->problems, "E120", where, "nothing may be included here");
	} else if (strpbrk(name, "*?[") != NULL) {
		include_glob(ps, group, name, where);
	} else {
		char *path = join(ps->tree->main->dir, name);

		include_file(ps, group, path, name, where);
		free(path);
	}
	free(name);
}
