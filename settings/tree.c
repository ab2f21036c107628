/*
 * settings/tree.c - the tree itself: its memory, its names, and the loading of a whole file
 * with all that it includes.
 *
 * Runs in COMPILE and in sallyctl; may block on files. When parsing (parse.c) found no fault,
 * libconfig reads the same text and must have read the same (agree.c).
 */
#include <stdlib.h>
#include <string.h>

#include "settings/parse.h"
#include "settings/source.h"

#define INDEX_FROM 16      /* members of a group before names are hashed */
#define LARGE (512 * 1024) /* bytes of text that are compared beside what the caller does */

/* ---- memory: nodes and strings live and die with their tree ---- */

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

void *
tree_take(struct tree *t, size_t size, size_t align)
{
	return arena_take(&t->arena, size, align);
}

const char *
tree_text(struct tree *t, const char *s, size_t len)
{
	char *copy = tree_take(t, len + 1, 1);

	memcpy(copy, s, len);
	return copy;
}

void
tree_free(struct tree *t)
{
	if (t == NULL)
		return;
	if (t->pending != NULL) { /* nobody wants to know */
		struct problems none;

		problems_init(&none);
		tree_settle(t, &none);
		problems_free(&none);
	}
	arena_free(&t->arena);
	free(t->inclusions);
	free(t->spans);
	free(t);
}

struct node *
tree_root(struct tree *t)
{
	return t->root;
}

const struct source *
tree_source(struct tree *t)
{
	return t->main;
}

/* ---- names within one group: a duplicate is found without a walk ---- */

struct index {
	size_t mask, count;
	struct node **slots;
};

static size_t
name_hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3u;
	return (size_t)(h ^ h >> 29);
}

static struct node **
index_slot(struct index *ix, const char *name)
{
	size_t i = name_hash(name) & ix->mask;

	while (ix->slots[i] != NULL && strcmp(ix->slots[i]->name, name) != 0)
		i = (i + 1) & ix->mask;
	return &ix->slots[i];
}

void
tree_names_free(struct branch *group)
{
	if (group->index != NULL)
		free(group->index->slots);
	free(group->index);
	group->index = NULL;
}

/* Room for n names, the present members in it. */
static void
index_build(struct branch *group, size_t n)
{
	struct index *ix = need(calloc(1, sizeof(*ix)));

	for (ix->mask = 63; ix->mask < n * 4; ix->mask = ix->mask * 2 + 1)
		;
	ix->slots = need(calloc(ix->mask + 1, sizeof(*ix->slots)));
	for (struct node *m = group->node.first; m != NULL; m = m->next) {
		struct node **slot = index_slot(ix, m->name);

		if (*slot == NULL)
			*slot = m;
		ix->count++;
	}
	tree_names_free(group);
	group->index = ix;
}

/* The member of that name that came first, or NULL. n is not in the group yet. */
struct node *
tree_twin(struct branch *group, const char *name)
{
	if (group->node.count < INDEX_FROM) {
		for (struct node *m = group->node.first; m != NULL; m = m->next)
			if (strcmp(m->name, name) == 0)
				return m;
		return NULL;
	}
	if (group->index == NULL || group->index->count * 2 > group->index->mask)
		index_build(group, group->node.count);
	return *index_slot(group->index, name);
}

void
tree_adopt(struct node *parent, struct node *n)
{
	struct branch *group = branch_of(parent);

	n->parent = parent;
	if (parent->last != NULL)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
	if (++parent->count == BRANCH_MANY + 1)
		for (struct node *p = parent; p != NULL && !branch_of(p)->many; p = p->parent)
			branch_of(p)->many = true;
	if (group->index != NULL && n->name != NULL) {
		struct node **slot = index_slot(group->index, n->name);

		if (*slot == NULL)
			*slot = n;
		group->index->count++;
	}
}

/* ---- what agree.c needs to know of the text ---- */

void
tree_note_inclusion(struct tree *t, const struct source *src, uint32_t from, uint32_t to)
{
	struct inclusion one = {src, from, to};

	if ((t->inclusion_count & (t->inclusion_count - 1)) == 0)
		t->inclusions = need(
		    realloc(t->inclusions, (t->inclusion_count * 2 + 1) * sizeof(*t->inclusions)));
	t->inclusions[t->inclusion_count++] = one;
}

void
tree_note_span(const struct parser *ps, struct node *group, struct node *before)
{
	struct tree *t = ps->tree;
	struct span one = {.source = ps->src, .group = group, .inclusions = ps->inclusions};

	if (group->last != before) {
		one.first = before != NULL ? before->next : group->first;
		one.last = group->last;
	}
	if ((t->span_count & (t->span_count - 1)) == 0)
		t->spans = need(realloc(t->spans, (t->span_count * 2 + 1) * sizeof(*t->spans)));
	t->spans[t->span_count++] = one;
}

/* ---- whole files ---- */

static struct tree *
build(struct sources *s, struct source *src, const struct stat *st, struct problems *p)
{
	struct tree *t = need(calloc(1, sizeof(*t)));
	struct parser ps = {.tree = t, .problems = p, .src = src};
	struct branch *root = tree_take(t, sizeof(*root), _Alignof(struct branch));
	struct place start = {src->name, 1, 1, 1};

	t->sources = s;
	t->main = src;
	t->root = &root->node;
	root->node.kind = NODE_GROUP;
	root->node.value = start;
	root->node.source = src;
	root->node.used = true;
	root->to = (uint32_t)src->len;
	if (st != NULL) {
		ps.dev = st->st_dev;
		ps.ino = st->st_ino;
	}
	parse_source(&ps, t->root);
	tree_names_free(root);
	return t;
}

/* A thread costs as much as the comparison of some hundred lines. */
static bool
is_large(const struct tree *t)
{
	size_t sum = 0;

	for (size_t i = 0; i < t->span_count; i++)
		sum += t->spans[i].source->len;
	return sum >= LARGE;
}

struct tree *
tree_load(struct sources *s, const char *path, const char *display, struct place at_place,
	  struct problems *p)
{
	size_t before = p->errors;
	struct stat st;
	struct source *src = source_open(s, path, display, at_place, &st, p);
	struct tree *t;

	if (src == NULL)
		return NULL;
	t = build(s, src, &st, p);
	if (p->errors != before)
		return t;
	if (is_large(t))
		t->pending = agree_start(t);
	if (t->pending == NULL)
		agree_check(t, p);
	return t;
}

struct tree *
tree_parse(struct sources *s, struct source *from, struct problems *p)
{
	size_t before = p->errors;
	struct tree *t;

	source_check(from, p);
	t = build(s, from, NULL, p);
	if (p->errors == before)
		agree_check(t, p);
	return t;
}

void
tree_settle(struct tree *t, struct problems *p)
{
	if (t->pending != NULL)
		agree_finish(t->pending, p);
	t->pending = NULL;
}
