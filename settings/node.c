/*
 * settings/node.c - looking things up in a tree that was read. Pure.
 */
#include <string.h>

#include "base/text.h"
#include "settings/tree.h"

struct node *
node_get(const struct node *group, const char *name)
{
	for (struct node *n = group->first; n != NULL; n = n->next) {
		if (n->name != NULL && strcmp(n->name, name) == 0) {
			n->used = true;
			return n;
		}
	}
	return NULL;
}

const char *
node_kind_word(const struct node *n)
{
	static const char *const words[] = {
	    [NODE_GROUP] = "a group",      [NODE_LIST] = "a list",
	    [NODE_ARRAY] = "an array",     [NODE_STRING] = "a string",
	    [NODE_INT] = "a whole number", [NODE_FLOAT] = "a number with a point",
	    [NODE_BOOL] = "true or false"};

	return words[n->kind];
}

void
node_unknown(const struct node *group, const char *what, const char *const *known,
	     struct problems *p)
{
	for (struct node *n = group->first; n != NULL; n = n->next) {
		const char *near;
		struct problem *one;

		if (n->used || n->name == NULL)
			continue;
		n->used = true; /* told once */
		one = problems_add(p, "E102", n->key, "unknown key '%.64s' in %s", n->name, what);
		near = known != NULL ? text_nearest(n->name, known) : NULL;
		if (near != NULL)
			problem_help(one, "did you mean \"%s\"?", near);
	}
}
