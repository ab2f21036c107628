/*
 * rules/ranges.h - sets of addresses as sorted, disjoint, inclusive ranges: what lint reckons with.
 * Values on the heap; ranges_free. Pure; sallyctl.
 */
#ifndef RULES_RANGES_H
#define RULES_RANGES_H

#include "rules/model.h"

struct ranges {
	struct model_range *v;
	size_t count, cap;
};

/* All that the networks and built-ins of a set hold; nothing where it is not given. */
struct ranges ranges_of(const struct model_set *set, bool destination);
struct ranges ranges_everything(void);
struct ranges ranges_builtin(enum builtin b);
/* In place: what of a is not in b; what of a is in b. */
void ranges_subtract(struct ranges *a, const struct ranges *b);
void ranges_intersect(struct ranges *a, const struct ranges *b);
void ranges_join(struct ranges *a, const struct ranges *b);
bool ranges_within(const struct ranges *a, const struct ranges *b); /* all of a is in b */
bool ranges_meet(const struct ranges *a, const struct ranges *b);
bool ranges_have(const struct ranges *a, const struct addr *one);
void ranges_free(struct ranges *a);

#endif
