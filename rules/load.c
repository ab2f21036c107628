/*
 * rules/load.c - from FILE to an image: decides whether it is a sallyport.conf or a policy by
 * itself, reads settings and policy, compiles, runs the policy's tests. COMPILE and sallyctl; may
 * block on files and NSS. Any error: no image.
 */
#include "rules/read.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* What a policy may hold; every other section makes the file one with settings. */
static const char *const sections[] = {"networks", "hosts", "services", "groups",    "times",
				       "rules",    "tests", "policy",   "upstreams", NULL};

static bool
one_of(const char *word, const char *const *words)
{
	while (*words && strcmp(*words, word))
		words++;
	return *words != NULL;
}

/* A misspelled section of a policy is no setting: only the words of the settings table count. */
static bool
is_setting(const char *name)
{
	const struct settings_row *row;
	size_t len = strlen(name);
	unsigned i;

	for (i = 0; (row = settings_row(i)) != NULL; i++)
		if (!strncmp(row->name, name, len) && (!row->name[len] || row->name[len] == '.'))
			return true;
	return !strcmp(name, "listeners");
}

static bool
has_settings(const struct node *root)
{
	const struct node *n;

	for (n = root->first; n; n = n->next)
		if (n->name &&
		    (!strcmp(n->name, "policy") ? n->kind == NODE_STRING : is_setting(n->name)))
			return true;
	return false;
}

/* policy = "policy.conf": the rules stand there, and then none may stand here. */
static struct tree *
load_policy_file(struct rules_load *l, const struct node *root, const struct node *name)
{
	const struct source *main = tree_source(l->tree);
	struct tree *tree;
	struct node *n;
	char *path;

	for (n = root->first; n; n = n->next) {
		struct problem *one;

		if (!n->name || n == name || !one_of(n->name, sections))
			continue;
		n->used = true;
		one = problems_add(&l->problems, "E225", n->key,
				   "\"%s\" stands beside policy = \"%s\"", n->name, name->string.s);
		problem_help(one, "the policy is in this file or in that one, never in both");
		problem_seen(one, name->key);
	}
	if (name->string.len == 0) {
		problem_help(problems_add(&l->problems, "E204", name->value, "\"policy\" is empty"),
			     "write the name of the policy's file, or the rules themselves");
		return NULL;
	}
	path = path_join(main ? main->dir : NULL, name->string.s);
	tree = tree_load(&l->sources, path, name->string.s, name->value, &l->problems);
	free(path);
	return tree;
}

/* The tree that holds the rules; NULL if there is none to read. */
static struct tree *
find_policy(struct rules_load *l, struct node *root)
{
	struct node *n = root->first;

	while (n && (!n->name || strcmp(n->name, "policy")))
		n = n->next;
	if (!l->has_settings || !n || n->kind != NODE_STRING)
		return l->tree;
	n->used = true;
	return load_policy_file(l, root, n);
}

/* The first words of the settings table, each once, then the policy's. */
static void
root_unknown(struct rules_load *l, struct node *root)
{
	const char *known[64];
	char words[40][24];
	const struct settings_row *row;
	size_t n = 0, i;

	known[n] = NULL;
	for (i = 0; (row = settings_row((unsigned)i)) != NULL && n < 40; i++) {
		snprintf(words[n], sizeof(words[n]), "%.*s", (int)strcspn(row->name, "."),
			 row->name);
		if (one_of(words[n], known))
			continue;
		known[n] = words[n];
		known[++n] = NULL;
	}
	for (i = 0; sections[i]; i++)
		known[n++] = sections[i];
	known[n] = NULL;
	node_unknown(root, "this file", known, &l->problems);
}

/* What a policy's own file holds beyond a policy. */
static void
policy_unknown(struct rules_load *l, struct node *root)
{
	struct node *n;

	for (n = root->first; n; n = n->next) {
		if (n->used || !n->name || !is_setting(n->name))
			continue;
		n->used = true;
		problem_help(problems_add(&l->problems, "E225", n->key,
					  "\"%s\" is a setting, and this is the "
					  "policy's file",
					  n->name),
			     "settings belong into the file that says policy = \"...\"");
	}
	node_unknown(root, "a policy", sections, &l->problems);
}

/* A word that was refused is no group. */
static bool
has_group(const struct object *o, const char *name)
{
	size_t i;

	for (i = 0; i < o->unix_count; i++)
		if (!strcmp(o->unix_groups[i], name))
			return true;
	return false;
}

/*
 * Files are judged, not the machine: what this machine lacks is a warning, told at the object
 * that writes it (one that contains that object has the group too, but not the word).
 */
static void
check_machine(struct rules_load *l)
{
	const struct object *o;
	size_t i;

	for (o = l->model->objects; o; o = o->next)
		for (i = 0; i < o->member_count && o->kind == OBJECT_GROUP; i++) {
			const char *group = o->members[i] + 5;

			if (!strncmp(o->members[i], "unix:", 5) && has_group(o, group) &&
			    !getgrnam(group))
				problem_help(problems_add(&l->problems, "W208", o->place,
							  "this machine has no group \"%s\"",
							  group),
					     "nobody is in it until there is one");
		}
}

/* Settings with errors are not held against the machine: they will read otherwise soon. */
static void
load_settings(struct rules_load *l, struct node *root)
{
	size_t before = l->problems.errors;

	settings_read(root, tree_source(l->tree)->dir, &l->settings, &l->problems);
	if (l->problems.errors == before)
		settings_machine(root, &l->settings, &l->problems);
}

static void
drop_image(struct rules_load *l)
{
	free(l->image);
	l->image = NULL;
	l->image_len = 0;
}

static void
compile(struct rules_load *l)
{
	if (l->problems.errors > 0)
		return;
	if (!model_compile(l->model, &l->image, &l->image_len, &l->problems) ||
	    l->problems.errors > 0)
		drop_image(l);
}

/* Last of all: large files are compared with what libconfig reads while the rest is done. */
static void
settle(struct rules_load *l)
{
	tree_settle(l->tree, &l->problems);
	if (l->policy_tree && l->policy_tree != l->tree)
		tree_settle(l->policy_tree, &l->problems);
	if (l->problems.errors > 0)
		drop_image(l);
}

static void
begin(struct rules_load *l)
{
	memset(l, 0, sizeof(*l));
	sources_init(&l->sources);
	problems_init(&l->problems);
	settings_defaults(&l->settings);
}

static bool
load(struct rules_load *l, const char *path, bool need_settings, int64_t now)
{
	const char *slash = strrchr(path, '/'), *shown = slash ? slash + 1 : path;
	struct place nowhere = {0}, whole = {0};
	struct node *root;

	l->tree = tree_load(&l->sources, path, shown, nowhere, &l->problems);
	if (!l->tree)
		return false;
	root = tree_root(l->tree);
	whole.file = tree_source(l->tree)->name;
	l->has_settings = has_settings(root);
	if (!l->has_settings && need_settings)
		problem_help(
		    problems_add(&l->problems, "E225", whole, "this is a policy by itself"),
		    "the server needs a file with listeners, and policy = \"%s\" in it", shown);
	if (l->has_settings)
		load_settings(l, root);
	l->policy_tree = find_policy(l, root);
	if (l->policy_tree) {
		l->model = model_read(l->policy_tree, l->has_settings ? &l->settings : NULL,
				      &l->sources, now, &l->problems);
		if (l->policy_tree != l->tree)
			policy_unknown(l, tree_root(l->policy_tree));
	}
	root_unknown(l, root);
	if (l->model) {
		l->rule_count = l->model->rule_count;
		check_machine(l);
		compile(l);
	}
	if (need_settings && l->image && !rules_tests(l))
		drop_image(l);
	settle(l);
	problems_sort(&l->problems);
	return l->problems.errors == 0 && l->image;
}

bool
rules_load(struct rules_load *l, const char *path, bool need_settings, int64_t now)
{
	begin(l);
	return load(l, path, need_settings, now);
}

bool
rules_load_instead(struct rules_load *l, const char *path, int64_t now, const char *table,
		   const char *file)
{
	begin(l);
	l->sources.instead_of = table;
	l->sources.instead = file;
	return load(l, path, false, now);
}

void
rules_load_free(struct rules_load *l)
{
	free(l->image);
	model_free(l->model);
	if (l->policy_tree != l->tree)
		tree_free(l->policy_tree);
	tree_free(l->tree);
	problems_free(&l->problems);
	sources_free(&l->sources);
	memset(l, 0, sizeof(*l));
}
