/*
 * rules/table.h - one object or table of a loaded policy, asked and found again: what holds a value
 * there, and which file a table stands in. sallyctl; allocates in the model.
 */
#ifndef RULES_TABLE_H
#define RULES_TABLE_H

#include "base/text.h"
#include "rules/model.h"

/* What a NAME of the command line means. */
struct table_target {
	const struct object *object;
	const char *member; /* a table of it alone, as written: "file:..."; NULL: all of it */
};

struct table_answer {
	bool holds;
	struct place at;  /* of the first entry that holds it; file NULL: only several together do */
	char entry[1100]; /* that entry, as written */
};

/*
 * NAME is an object ("feed"), one of a section where several have the name ("networks.feed", "@staff" or
 * "groups.staff"), or a table as the policy names it ("file:tables/feed.txt"). False: what is wrong is in error.
 * Works on a policy with errors, too.
 */
bool table_target(const struct rules_load *l, const char *name, struct table_target *out,
		  struct text *error);
/* An address or prefix, a host name, tcp/443, a user or unix:NAME, an instant. False: error says what is wrong. */
bool table_ask(struct rules_load *l, const struct table_target *t, const char *value,
	       struct table_answer *out, struct text *error);
/* The one table of a target: its path (malloc'd). NULL: error says why there is not one. */
char *table_path(const struct rules_load *l, const struct table_target *t, struct text *error);
size_t table_entries(const struct source *src); /* values in a table's text */

#endif
