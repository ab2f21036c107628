/*
 * walk/identify.c - asserted identities (ident, USERID) and groups, where a rule in play asks for
 * them. Until a rule can be met by one, nobody is asked and the session stays nameless.
 */
#include "walk/session.h"

enum step
identify_step(struct session *s)
{
	struct approach *a = s->approach;

	a->facts.known |= FACT_ASSERTED | FACT_GROUPS;
	a->facts.asserted_user = NULL;
	a->facts.asserted_by = 0;
	a->facts.groups = NULL;
	a->facts.group_count = 0;
	return STEP_NEXT;
}
