/*
 * tests/fuzz/fuzz_read.c - any bytes as a policy: no crash, every problem at a place that exists
 * with a code that is explained, and what is accepted compiles to an image that opens and runs its
 * tests.
 *
 * With REPLAY it is a plain program for `make check`: the corpus and the tables of tests/policy,
 * each file whole, cut short, and with bytes and words changed.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "rules/model.h"
#include "settings/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

static void
check_problem(const struct sources *sources, const struct problem *one)
{
	const struct source *src = one->place.file ? source_find(sources, one->place.file) : NULL;
	unsigned line;
	const char *p;

	demand(rules_problem_explain(one->code) || problem_explain(one->code),
	       "a code is explained");
	demand(one->text && one->text[0], "a problem says what it is");
	if (!src || one->place.line == 0)
		return;
	for (p = src->text, line = 1; line < one->place.line; line++) {
		p = memchr(p, '\n', (size_t)(src->text + src->len - p));
		demand(p != NULL, "a place's line exists");
		p++;
	}
	demand(one->place.column >= 1 &&
		   one->place.column - 1 <= (size_t)(src->text + src->len - p),
	       "a place's column exists");
}

/* Sorted and disjoint, never IPv4 with IPv6: what the compiler relies on. */
static void
check_model(const struct rules_model *m)
{
	const struct object *o;
	size_t i;

	for (o = m->objects; o; o = o->next) {
		for (i = 0; i < o->range_count; i++) {
			const struct model_range *r = &o->ranges[i];

			demand(addr_compare(&r->first, &r->last) <= 0,
			       "a range has a first and a last");
			demand(addr_is4(&r->first) == addr_is4(&r->last),
			       "a range is of one family");
			demand(i == 0 || addr_compare(&r[-1].last, &r->first) < 0,
			       "ranges are disjoint");
		}
		for (i = 1; i < o->user_count; i++)
			demand(strcmp(o->users[i - 1], o->users[i]) < 0, "users are sorted");
	}
	for (i = 0; i < m->rule_count; i++) {
		demand(m->rules[i].index == i, "rules are numbered");
		demand(m->rules[i].commands != 0 || m->rules[i].commands_given,
		       "commands are filled in");
		demand(m->rules[i].resolves_in.given || !m->rules[i].allow,
		       "resolves-in is filled in");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings *settings = NULL;
	struct rules_load l = {0};
	struct buffer out = {0};
	size_t i;

	sources_init(&l.sources);
	problems_init(&l.problems);
	l.tree =
	    tree_parse(&l.sources, source_text(&l.sources, "fuzz.conf", "/nonexistent", data, size),
		       &l.problems);
	demand(l.tree != NULL, "there is a tree");
	if (size % 3 == 0) {
		settings = &l.settings;
		settings_read(tree_root(l.tree), "/", settings, &l.problems);
	}
	l.model = model_read(l.tree, settings, &l.sources, 1795478400, &l.problems);
	demand(l.model != NULL, "there is a model");
	check_model(l.model);
	if (l.problems.errors == 0) {
		demand(model_compile(l.model, &l.image, &l.image_len, &l.problems), "it compiles");
		rules_tests(&l);
	}
	for (i = 0; i < l.problems.count; i++)
		check_problem(&l.sources, &l.problems.list[i]);
	problems_sort(&l.problems);
	problems_render(&l.problems, &l.sources, false, &out);
	buffer_free(&out);
	l.policy_tree = l.tree;
	rules_load_free(&l);
	return 0;
}

#ifdef REPLAY
#include <dirent.h>

#define CUTS 60 /* a file is cut, and changed, at so many places at most */

static void
replay_bytes(uint8_t *data, size_t len)
{
	static const uint8_t changes[] = "\"{}[](),;=#/:-.@*9a\n ";
	size_t step = len / CUTS + 1, i;

	LLVMFuzzerTestOneInput(data, len);
	for (i = 0; i < len; i += step) {
		uint8_t kept = data[i];

		LLVMFuzzerTestOneInput(data, i);
		data[i] = changes[i % (sizeof(changes) - 1)];
		LLVMFuzzerTestOneInput(data, len);
		data[i] = kept;
	}
}

static unsigned
replay_file(const char *path)
{
	FILE *f = fopen(path, "r");
	uint8_t *data = malloc(65536);
	size_t len;

	if (!f || !data)
		abort();
	len = fread(data, 1, 65536, f);
	fclose(f);
	if (len > 0)
		replay_bytes(data, len);
	free(data);
	return 1;
}

static unsigned
replay_folder(const char *srcdir, const char *name)
{
	char path[4096];
	unsigned count = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", srcdir, name);
	d = opendir(path);
	while (d && (e = readdir(d)) != NULL) {
		const char *dot = strrchr(e->d_name, '.');

		snprintf(path, sizeof(path), "%s/%s/%s", srcdir, name, e->d_name);
		if (e->d_type == DT_REG && dot && strcmp(dot, ".txt"))
			count += replay_file(path);
	}
	if (d)
		closedir(d);
	return count;
}

int
main(void)
{
	static const char *const folders[] = {"tests/fuzz/corpus/read", "tests/policy/bad",
					      "tests/policy/good", "etc/examples/perimeter", NULL};
	const char *srcdir = getenv("srcdir");
	unsigned failed = 0, passed = 0;
	const char *const *f;

	for (f = folders; *f; f++) {
		if (replay_folder(srcdir ? srcdir : SRCDIR, *f) > 0)
			passed++;
		else
			failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
#endif
