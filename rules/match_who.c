/*
 * rules/match_who.c - who and auth of a rule against the identities of a session (semantics 5).
 *
 * A session has at most one proven identity and at most one asserted; any of the accepted kinds
 * that fits makes the rule hold. Three-valued: what is not known yet may still fit. Runs in
 * workers.
 */
#include "config.h"

#include <string.h>

#include "rules/image.h"

static bool
list_has(const struct policy *p, uint32_t list, uint32_t word)
{
	uint32_t low = p->group_first[list], high = p->group_first[list + 1];

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (p->group_words[middle] == word)
			return true;
		if (p->group_words[middle] < word)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool
groups_list(const struct policy *p, uint32_t set, unsigned list, uint32_t word)
{
	const uint32_t *v;
	uint32_t one, n = word == 0 ? 0 : set_members(p, set, &v, &one);

	for (uint32_t i = 0; i < n; i++)
		if (list_has(p, 2 * v[i] + list, word - 1))
			return true;
	return false;
}

static bool
named_before(const struct policy *p, uint32_t end, uint32_t word)
{
	for (uint32_t g = 0; g < p->group_count; g++)
		for (uint32_t i = p->group_first[2 * g + 1]; i < p->group_first[2 * g + 2]; i++) {
			if (i == end)
				return false;
			if (p->group_words[i] == word)
				return true;
		}
	return false;
}

size_t
policy_unix_groups(const struct policy *p, const char **names, size_t cap)
{
	size_t n = 0;

	for (uint32_t g = 0; g < p->group_count; g++)
		for (uint32_t i = p->group_first[2 * g + 1]; i < p->group_first[2 * g + 2]; i++) {
			if (named_before(p, i, p->group_words[i]))
				continue;
			if (n < cap)
				names[n] = p->strings + p->words[p->group_words[i]];
			n++;
		}
	return n;
}

/* Has the set users (which = 0) or Unix groups (1) at all? */
static bool
set_has(const struct policy *p, uint32_t set, unsigned which)
{
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one);

	for (uint32_t i = 0; i < n; i++)
		if (p->group_first[2 * v[i] + which] != p->group_first[2 * v[i] + which + 1])
			return true;
	return false;
}

static bool
groups_have(const struct policy *p, uint32_t set, const struct rules_facts *f)
{
	for (size_t g = 0; g < f->group_count; g++)
		if (groups_list(p, set, 1, word_find(p, f->groups[g], strlen(f->groups[g]))))
			return true;
	return false;
}

static enum tri
groups_fit(const struct policy *p, uint32_t set, const struct rules_facts *f, struct judging *j)
{
	if (!set_has(p, set, 1))
		return TRI_NO;
	if (!(f->known & FACT_GROUPS)) {
		j->needs |= FACT_GROUPS;
		return TRI_UNKNOWN;
	}
	if (f->groups_failed)
		return judge_undecided(j);
	return groups_have(p, set, f) ? TRI_YES : TRI_NO;
}

/* An identity that is there: is it one of the rule's? */
static enum tri
known_fits(const struct policy *p, const struct image_rule *r, const struct rules_facts *f,
	   uint32_t word, struct judging *j)
{
	if (r->who_kind == WHO_KIND_KNOWN || groups_list(p, r->who, 0, word))
		return TRI_YES;
	return groups_fit(p, r->who, f, j);
}

/* An identity that may still come. */
static enum tri
coming_fits(const struct policy *p, const struct image_rule *r, const struct rules_facts *f,
	    uint32_t fact, struct judging *j)
{
	bool users = r->who_kind == WHO_KIND_KNOWN || set_has(p, r->who, 0);

	if (r->who_kind == WHO_KIND_SET && groups_fit(p, r->who, f, j) == TRI_NO && !users)
		return TRI_NO;
	j->needs |= fact;
	return TRI_UNKNOWN;
}

static enum tri
proven_holds(const struct policy *p, const struct image_rule *r, const struct rules_facts *f,
	     const struct who_view *v, struct judging *j)
{
	uint32_t kinds = r->auth & AUTH_PROVEN;
	enum tri result;

	if (f->known & FACT_PROVEN)
		kinds &= f->proven_user != NULL ? f->proven_by : 0;
	if (kinds == 0)
		return TRI_NO;
	if (f->known & FACT_PROVEN)
		result = known_fits(p, r, f, v->proven, j);
	else
		result = coming_fits(p, r, f, FACT_PROVEN, j);
	if (result != TRI_NO)
		j->methods |= kinds;
	return result;
}

static enum tri
asserted_holds(const struct policy *p, const struct image_rule *r, const struct rules_facts *f,
	       const struct who_view *v, struct judging *j)
{
	uint32_t kinds = r->auth & AUTH_ASSERTED;
	enum tri result;

	if (f->known & FACT_ASSERTED)
		kinds &= f->asserted_user != NULL ? f->asserted_by : 0;
	else if ((f->known & FACT_VERSION) && f->version != 4)
		kinds &= ~(uint32_t)AUTH_USERID; /* only SOCKS4 carries one */
	if (kinds == 0)
		return TRI_NO;
	if (f->known & FACT_ASSERTED)
		result = known_fits(p, r, f, v->asserted, j);
	else
		result = coming_fits(p, r, f, FACT_ASSERTED, j);
	if (result != TRI_NO)
		j->methods |= kinds;
	return result;
}

void
who_look_up(const struct policy *p, const struct rules_facts *f, struct who_view *v)
{
	if ((f->known & FACT_PROVEN) && f->proven_user != NULL)
		v->proven = word_find(p, f->proven_user, strlen(f->proven_user));
	if ((f->known & FACT_ASSERTED) && f->asserted_user != NULL)
		v->asserted = word_find(p, f->asserted_user, strlen(f->asserted_user));
}

enum tri
who_holds(const struct policy *p, const struct image_rule *r, const struct rules_facts *f,
	  const struct who_view *v, struct judging *j)
{
	uint32_t needs = j->needs;
	enum tri proven, asserted;

	if (r->who_kind == WHO_KIND_ANYONE) {
		j->methods |= AUTH_NONE;
		return TRI_YES;
	}
	proven = proven_holds(p, r, f, v, j);
	asserted = asserted_holds(p, r, f, v, j);
	if (proven == TRI_YES || asserted == TRI_YES) {
		j->needs = needs; /* one is enough: the other need not be asked for */
		return TRI_YES;
	}
	return proven == TRI_UNKNOWN || asserted == TRI_UNKNOWN ? TRI_UNKNOWN : TRI_NO;
}
