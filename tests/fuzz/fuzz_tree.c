/*
 * tests/fuzz/fuzz_tree.c - any bytes as a settings file: no crash, every problem and
 * every node at a place that exists, and whatever we accept libconfig reads the same.
 */
#include "base/text.h"
#include "settings/settings.h"
#include "settings/source.h"
#include "text.h"

/* The byte that a place points at, or the end of the text. */
static size_t
offset_of(const struct source *src, const struct place *at)
{
	const char *p = src->text, *end = src->text + src->len;

	for (unsigned line = 1; line < at->line; line++) {
		p = memchr(p, '\n', (size_t)(end - p));
		demand(p != NULL, "a place's line exists");
		p++;
	}
	demand(at->column >= 1 && at->column - 1 <= (size_t)(end - p), "a place's column exists");
	return (size_t)(p - src->text) + at->column - 1;
}

static void
check_places(const struct source *src, const struct problems *p)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct problem *one = &p->list[i];

		if (one->place.file != NULL && one->place.line > 0)
			demand(offset_of(src, &one->place) + one->place.width <= src->len + 3,
			       "carets end with the text");
		demand(problem_explain(one->code) != NULL, "a code is explained");
		demand(strcmp(one->code, "E130") != 0, "libconfig reads the same");
	}
}

static void
check_node(const struct source *src, const struct node *n)
{
	static const char first[] = {[NODE_GROUP] = '{', [NODE_LIST] = '(', [NODE_ARRAY] = '['};
	size_t count = 0;

	if (n->parent != NULL && n->kind <= NODE_ARRAY)
		demand(src->text[offset_of(src, &n->value)] == first[n->kind],
		       "an aggregate's place is its bracket");
	if (n->name != NULL)
		demand(memcmp(src->text + offset_of(src, &n->key), n->name, strlen(n->name)) == 0,
		       "a key's place is its name");
	if (n->kind == NODE_STRING)
		demand(n->string.s[n->string.len] == '\0', "a string ends");
	if (n->kind > NODE_ARRAY)
		return;
	for (const struct node *m = n->first; m != NULL; m = m->next, count++)
		check_node(src, m);
	demand(count == n->count, "children are counted");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct settings settings;
	struct sources sources;
	struct problems problems;
	struct buffer out = {0};
	struct source *src;
	struct tree *tree;

	sources_init(&sources);
	problems_init(&problems);
	src = source_text(&sources, "fuzz.conf", NULL, data, size);
	tree = tree_parse(&sources, src, &problems);
	demand(tree != NULL, "there is a tree");
	check_node(src, tree_root(tree));
	settings_read(tree_root(tree), "/", &settings, &problems);
	demand(settings_valid(&settings, sizeof(settings)), "settings are whole");
	check_places(src, &problems);
	problems_sort(&problems);
	problems_render(&problems, &sources, size & 1, &out);
	problems_render_json(&problems, &out);
	buffer_free(&out);
	tree_free(tree);
	problems_free(&problems);
	sources_free(&sources);
	return 0;
}

static const char *const folders[] = {"tests/fuzz/corpus/tree", "tests/settings/bad",
				      "tests/settings/good", "etc", NULL};
static const char changes[] = "\"\\{}[](),;=#/*\n\0L@ ";

const struct replay_text replay_text = {folders, NULL, changes, sizeof(changes) - 1, 400};
