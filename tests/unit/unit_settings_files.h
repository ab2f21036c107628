/*
 * tests/unit/unit_settings_files.h - loading texts and files in the tests of settings/.
 */
#ifndef UNIT_SETTINGS_FILES_H
#define UNIT_SETTINGS_FILES_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "settings/settings.h"
#include "settings/source.h"

struct loaded {
	struct sources sources;
	struct problems problems;
	struct tree *tree;
	struct settings settings;
};

static inline const char *
files_dir(void)
{
	const char *dir = getenv("srcdir");

	return dir != NULL ? dir : SRCDIR;
}

static inline void
loaded_text(struct loaded *l, const char *text, size_t len)
{
	memset(l, 0, sizeof(*l));
	sources_init(&l->sources);
	problems_init(&l->problems);
	l->tree = tree_parse(&l->sources, source_text(&l->sources, "t.conf", NULL, text, len),
			     &l->problems);
}

static inline void
loaded_file(struct loaded *l, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct place nowhere = {0};

	memset(l, 0, sizeof(*l));
	sources_init(&l->sources);
	problems_init(&l->problems);
	l->tree =
	    tree_load(&l->sources, path, slash != NULL ? slash + 1 : path, nowhere, &l->problems);
	if (l->tree != NULL)
		tree_settle(l->tree, &l->problems);
}

static inline void
loaded_settings(struct loaded *l)
{
	if (l->tree != NULL)
		settings_read(tree_root(l->tree), tree_source(l->tree)->dir, &l->settings,
			      &l->problems);
}

static inline void
loaded_free(struct loaded *l)
{
	tree_free(l->tree);
	problems_free(&l->problems);
	sources_free(&l->sources);
}

/* The codes and places of all problems: "E110 2:5, W101 3:1". */
static inline const char *
loaded_codes(struct loaded *l)
{
	static char out[2048];
	struct text t;

	problems_sort(&l->problems);
	text_init(&t, out, sizeof(out));
	for (size_t i = 0; i < l->problems.count; i++)
		text_putf(&t, "%s%s %u:%u", i > 0 ? ", " : "", l->problems.list[i].code,
			  l->problems.list[i].place.line, l->problems.list[i].place.column);
	return out;
}

#endif
