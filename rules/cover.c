/*
 * rules/cover.c - inclusion of one rule in another (POLICY.md "Semantics" 4, 6 and 9 decide what
 * must be looked at). sallyctl; allocates. Must never say yes by guess: where sets of patterns or
 * windows cannot be compared, the answer is no.
 */
#include "rules/cover.h"

#include <string.h>

#include "rules/ranges.h"
#include "rules/show.h"

#define WEEK_MINUTES (7 * 24 * 60)

/* ---- words ----------------------------------------------------------------------- */

static bool
list_has(const char *const *list, size_t count, const char *word)
{
	size_t low = 0, high = count;

	while (low < high) { /* sorted by the reader */
		size_t mid = low + (high - low) / 2;
		int d = strcmp(list[mid], word);

		if (d == 0)
			return true;
		if (d < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

bool
set_names(const struct model_set *set, bool groups, const char *word)
{
	for (size_t i = 0; i < set->object_count; i++) {
		const struct object *o = set->objects[i];

		if (groups ? list_has(o->unix_groups, o->unix_count, word)
			   : list_has(o->users, o->user_count, word))
			return true;
	}
	return false;
}

static bool
holds_object(const struct model_set *set, const struct object *o)
{
	size_t i;

	for (i = 0; i < set->object_count; i++)
		if (set->objects[i] == o)
			return true;
	return false;
}

static bool
who_covers(const struct model_rule *a, const struct model_rule *b)
{
	size_t i, k;

	if (a->who_kind == WHO_ANYONE)
		return true;
	if (b->who_kind == WHO_ANYONE || b->auth & ~a->auth)
		return false;
	if (a->who_kind == WHO_KNOWN)
		return true;
	if (b->who_kind == WHO_KNOWN)
		return false;
	for (i = 0; i < b->who.object_count; i++) {
		const struct object *o = b->who.objects[i];

		if (holds_object(&a->who, o))
			continue;
		for (k = 0; k < o->user_count; k++)
			if (!set_names(&a->who, false, o->users[k]))
				return false;
		for (k = 0; k < o->unix_count; k++)
			if (!set_names(&a->who, true, o->unix_groups[k]))
				return false;
	}
	return true;
}

static bool
listeners_cover(const struct model_rule *a, const struct model_rule *b)
{
	size_t i, k;

	if (a->listener_count == 0)
		return true;
	for (i = 0; i < b->listener_count; i++) {
		for (k = 0; k < a->listener_count; k++)
			if (!strcmp(a->listeners[k], b->listeners[i]))
				break;
		if (k == a->listener_count)
			return false;
	}
	return b->listener_count > 0;
}

/* ---- ports and times --------------------------------------------------------------- */

static bool
port_range_in(const struct model_set *set, const struct model_service *s)
{
	uint32_t next = s->first; /* the first port that is not found yet */
	bool more = true;
	size_t i, k;

	while (more && next <= s->last) {
		more = false;
		for (i = 0; i < set->object_count; i++)
			for (k = 0; k < set->objects[i]->service_count; k++) {
				const struct model_service *have = &set->objects[i]->services[k];

				if (have->udp != s->udp || have->first > next || have->last < next)
					continue;
				next = have->last + 1u;
				more = true;
			}
	}
	return next > s->last;
}

static bool
service_covers(const struct model_rule *a, const struct model_rule *b)
{
	unsigned commands = rule_commands(b);
	size_t i, k;

	if (!a->service.given)
		return true;
	if (!b->service.given) /* port 0, too */
		return false;
	for (i = 0; i < b->service.object_count; i++) {
		const struct object *o = b->service.objects[i];

		if (holds_object(&a->service, o))
			continue;
		for (k = 0; k < o->service_count; k++) {
			const struct model_service *s = &o->services[k];
			bool udp = commands & 1u << RULES_UDP;
			bool tcp = commands & ~(1u << RULES_UDP);

			if ((s->udp ? udp : tcp) && !port_range_in(&a->service, s))
				return false;
		}
	}
	return true;
}

/* Marks the minutes of the week, Monday first, that a window of this zone holds. */
static void
mark_window(const struct model_window *w, uint8_t *week)
{
	unsigned end = w->end > w->start ? w->end : w->end + 1440u, length = end - w->start;
	unsigned day, i;

	for (day = 0; day < 7; day++)
		for (i = 0; w->days >> day & 1 && i < length; i++)
			week[(day * 1440 + w->start + i) % WEEK_MINUTES] = 1;
}

bool
window_covered(const struct model_set *set, const struct model_window *w)
{
	uint8_t have[WEEK_MINUTES] = {0}, want[WEEK_MINUTES] = {0};
	size_t i, k;

	for (i = 0; i < set->object_count; i++)
		for (k = 0; k < set->objects[i]->window_count; k++)
			if (!strcmp(set->objects[i]->windows[k].zone, w->zone))
				mark_window(&set->objects[i]->windows[k], have);
	mark_window(w, want);
	for (i = 0; i < WEEK_MINUTES; i++)
		if (want[i] && !have[i])
			return false;
	return true;
}

static bool
when_covers(const struct model_rule *a, const struct model_rule *b)
{
	size_t i, k;

	if (!a->when.given)
		return true;
	if (!b->when.given)
		return false;
	for (i = 0; i < b->when.object_count; i++) {
		if (holds_object(&a->when, b->when.objects[i]))
			continue;
		for (k = 0; k < b->when.objects[i]->window_count; k++)
			if (!window_covered(&a->when, &b->when.objects[i]->windows[k]))
				return false;
	}
	return true;
}

static bool
dates_cover(const struct model_rule *a, const struct model_rule *b)
{
	return (!a->has_since || (b->has_since && b->since >= a->since)) &&
	       (!a->has_expires || (b->has_expires && b->expires <= a->expires));
}

/* ---- clients ------------------------------------------------------------------------ */

static struct ranges
clients_of(const struct model_rule *r)
{
	struct ranges from = r->from.given ? ranges_of(&r->from, false) : ranges_everything();
	struct ranges except = ranges_of(&r->from_except, false);

	ranges_subtract(&from, &except);
	ranges_free(&except);
	return from;
}

static bool
from_covers(const struct model_rule *a, const struct model_rule *b)
{
	struct ranges ours, theirs;
	bool covers;

	if (!a->from.given && !a->from_except.given)
		return true;
	ours = clients_of(a);
	theirs = clients_of(b);
	covers = ranges_within(&theirs, &ours);
	ranges_free(&ours);
	ranges_free(&theirs);
	return covers;
}

/* ---- destinations ------------------------------------------------------------------- */

static bool
has_kind(const struct model_set *set, enum object_kind kind)
{
	size_t i;

	for (i = 0; i < set->object_count; i++)
		if (set->objects[i]->kind == kind)
			return true;
	return false;
}

static bool
has_networks(const struct model_set *set)
{
	return set->builtins || has_kind(set, OBJECT_NETWORK);
}

static bool
has_regex(const struct model_set *set)
{
	size_t i, k;

	for (i = 0; i < set->object_count; i++)
		for (k = 0; k < set->objects[i]->host_count; k++)
			if (set->objects[i]->hosts[k].kind == HOST_REGEX)
				return true;
	return false;
}

static bool
has_pattern(const struct model_set *set, enum host_kind kind, const char *text)
{
	size_t i, low, high;

	for (i = 0; i < set->object_count; i++) {
		const struct object *o = set->objects[i];

		for (low = 0, high = o->host_count; low < high;) { /* by text, then kind */
			size_t mid = low + (high - low) / 2;
			int d = strcmp(o->hosts[mid].text, text);

			d = d ? d : (o->hosts[mid].kind > kind) - (o->hosts[mid].kind < kind);
			if (d == 0)
				return true;
			if (d < 0)
				low = mid + 1;
			else
				high = mid;
		}
	}
	return false;
}

/* All that is below text, by a pattern of it or of a name above it. */
static bool
below_in(const struct model_set *set, const char *text)
{
	for (; text; text = strchr(text, '.') ? strchr(text, '.') + 1 : NULL)
		if (has_pattern(set, HOST_BELOW, text) || has_pattern(set, HOST_BOTH, text))
			return true;
	return false;
}

static bool
exact_in(const struct model_set *set, const char *text)
{
	const char *dot = strchr(text, '.');

	return has_pattern(set, HOST_EXACT, text) || has_pattern(set, HOST_BOTH, text) ||
	       (dot && below_in(set, dot + 1));
}

bool
pattern_covered(const struct model_set *set, const struct host_pattern *h)
{
	switch (h->kind) {
	case HOST_EXACT:
		return exact_in(set, h->text);
	case HOST_BELOW:
		return below_in(set, h->text);
	case HOST_BOTH:
		return exact_in(set, h->text) && below_in(set, h->text);
	default:
		return has_pattern(set, HOST_REGEX, h->text);
	}
}

/* Every name that fits a pattern of b fits one of a. */
static bool
hosts_within(const struct model_set *b, const struct model_set *a)
{
	size_t i, k;

	for (i = 0; i < b->object_count; i++) {
		if (b->objects[i]->kind != OBJECT_HOST || holds_object(a, b->objects[i]))
			continue;
		for (k = 0; k < b->objects[i]->host_count; k++)
			if (!pattern_covered(a, &b->objects[i]->hosts[k]))
				return false;
	}
	return true;
}

/* Where a name of the rule may lead. */
static struct ranges
led_to(const struct model_rule *r)
{
	if (!r->allow)
		return ranges_everything();
	if (!has_networks(&r->resolves_in))
		return ranges_builtin(BUILTIN_PUBLIC);
	return ranges_of(&r->resolves_in, true);
}

struct reach { /* the addresses of a rule, its except taken out */
	struct ranges literal, named, except;
};

static struct reach
reach_of(const struct model_rule *r)
{
	struct reach e = {.except = ranges_of(&r->except, true)};

	e.literal = r->to.given ? ranges_of(&r->to, true) : ranges_everything();
	if (has_kind(&r->to, OBJECT_HOST))
		e.named = led_to(r);
	return e;
}

static void
reach_free(struct reach *e)
{
	ranges_free(&e->literal);
	ranges_free(&e->named);
	ranges_free(&e->except);
}

/* What a excepts, b does not hold for either. */
static bool
except_spares(const struct model_rule *a, const struct reach *ours, const struct model_rule *b,
	      const struct reach *theirs)
{
	if (!a->except.given)
		return true;
	if (a->except.builtins & ~b->except.builtins & 1u << BUILTIN_ANY &&
	    rule_commands(b) & 1u << RULES_BIND) /* BIND for any peer is in `any`, too */
		return false;
	return !ranges_meet(&theirs->literal, &ours->except) &&
	       !ranges_meet(&theirs->named, &ours->except) && hosts_within(&a->except, &b->except);
}

static bool
addresses_cover(const struct model_rule *a, struct reach *ours, const struct model_rule *b,
		const struct reach *theirs)
{
	if (!a->to.given)
		return true;
	if (!ranges_within(&theirs->literal, &ours->literal))
		return false;
	if (theirs->named.count == 0)
		return true;
	/* An allow may hold by its addresses alone; a denial must not wait for them, as b's does
	 * not. */
	if ((b->allow || a->allow) && ranges_within(&theirs->named, &ours->literal))
		return true;
	ranges_join(&ours->named, &ours->literal);
	return has_kind(&a->to, OBJECT_HOST) && hosts_within(&b->to, &a->to) &&
	       ranges_within(&theirs->named, &ours->named);
}

/* BIND for any peer (semantics 9) is asked for as 0.0.0.0 or ::, which no range of `any` holds. */
static bool
bind_covers(const struct model_rule *a, const struct model_rule *b)
{
	unsigned any = 1u << BUILTIN_ANY;

	return !a->to.given || a->to.builtins & any ||
	       !(rule_commands(b) & 1u << RULES_BIND && b->to.builtins & any);
}

/* While only the name is known: where b is certain, a must be. */
static bool
certain_by_name(const struct model_rule *a, const struct model_rule *b)
{
	if (b->allow || a->allow || has_networks(&b->except))
		return true;
	if (!b->to.given)
		return !a->to.given && !has_networks(&a->except);
	return !has_kind(&b->to, OBJECT_HOST) || !has_networks(&a->except);
}

static bool
to_covers(const struct model_rule *a, const struct model_rule *b)
{
	struct reach ours, theirs;
	bool covers;

	if (!bind_covers(a, b) || !certain_by_name(a, b) || (a->to.given && !b->to.given))
		return false;
	ours = reach_of(a);
	theirs = reach_of(b);
	ranges_subtract(&theirs.literal, &theirs.except);
	ranges_subtract(&theirs.named, &theirs.except);
	covers = except_spares(a, &ours, b, &theirs) && addresses_cover(a, &ours, b, &theirs);
	reach_free(&ours);
	reach_free(&theirs);
	return covers;
}

/* Semantics 4: what cannot be decided makes a denial hold and an allow not. */
static bool
decided(const struct model_rule *a, const struct model_rule *b)
{
	size_t i;

	if (!a->allow || b->allow)
		return true;
	if (has_regex(&a->to) || has_regex(&a->except))
		return false;
	for (i = 0; i < a->who.object_count; i++)
		if (a->who.objects[i]->unix_count > 0)
			return false;
	return true;
}

bool
rule_covers(const struct model_rule *a, const struct model_rule *b)
{
	return !(b->versions & ~a->versions) && !(rule_commands(b) & ~a->commands) &&
	       who_covers(a, b) && listeners_cover(a, b) && service_covers(a, b) &&
	       dates_cover(a, b) && decided(a, b) && when_covers(a, b) && from_covers(a, b) &&
	       to_covers(a, b);
}
