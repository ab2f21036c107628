/*
 * rules/shadow.c - a rule against all rules before it. sallyctl; allocates; reads zoneinfo.
 *
 * With version and command fixed, a rule is a box: a set in each of seven dimensions. A dimension
 * is cut into atoms that no rule divides, each with a point to stand for it. An atom may hold more
 * than there is (the rule's own side is read widely, the others' narrowly): a proof stays one, and
 * a session that was drawn from what is left counts only when the policy itself says that the rule
 * decides it.
 */
#include "rules/shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "rules/cover.h"
#include "rules/ranges.h"
#include "rules/show.h"
#include "rules/witness.h"

#define RANGES_MOST 2048 /* of a rule's set; with more it casts no shadow */
#define NAMES_MOST 512
#define PEOPLE_MOST 4096
#define ATOMS_MOST 20000
#define STEPS_MOST 2000000 /* boxes compared for one rule */
#define WEEK_MINUTES (7 * 1440)
#define DAY 86400
#define FOREVER INT64_C(253402300800) /* the year 10000 */

enum dimension { CLIENT, LISTENER, WHO, PORT, DATE, WEEK, DESTINATION, DIMENSIONS };

/* What stands for an atom; which member counts goes by the dimension. */
struct point {
	struct addr address; /* CLIENT, DESTINATION */
	int listener;
	const char *user, *group; /* WHO: NULL, NULL is the nameless; a group is of a stranger */
	uint32_t way;
	bool groups_failed;
	uint16_t port;
	int64_t first, end;                 /* DATE: instants, end out */
	const struct model_window *foreign; /* WEEK: a window in another zone, as a whole */
	int minute;                         /* of the week in the scene's zone */
	const char *name;                   /* DESTINATION: NULL is an address alone */
	const struct host_pattern *regex; /* all names that match it; name is one of them, or "" */
	bool unresolved;                  /* the address is not known yet */
};

struct facet { /* a rule, its sets of addresses worked out */
	const struct model_rule *rule;
	struct ranges client, to, except, led;
	bool except_hosts, except_regex, except_networks;
};

struct atoms {
	struct point *points;
	uint64_t *columns; /* for each atom, a bit for each caster that holds for all of it */
	size_t count, cap;
};

struct scene {
	struct policy *p;
	const struct rules_model *m;
	struct facet rule, casters[SHADOW_CASTERS];
	size_t caster_count, column_words;
	int64_t now;
	uint64_t *work;
	unsigned version, command;
	const char *zone; /* that weeks are counted in; NULL: no rule has windows */
	char fresh[32];   /* a label that no pattern has */
	char **names; /* for each name of a plain pattern, itself and one below it; one apart from
			 all */
	size_t name_count, name_cap;
	struct atoms atoms[DIMENSIONS];
	uint64_t *rows;            /* for each caster its box: bits by dimension */
	size_t at[DIMENSIONS + 1]; /* words of a box */
	size_t steps;
	bool used[SHADOW_CASTERS];
	bool gave_up;
};

static void *
must(void *v)
{
	if (!v)
		abort();
	return v;
}

/* ---- facets ------------------------------------------------------------------------- */

static bool
has_hosts(const struct model_set *set, bool regex)
{
	size_t i, k;

	for (i = 0; i < set->object_count; i++)
		for (k = 0; k < set->objects[i]->host_count; k++)
			if ((set->objects[i]->hosts[k].kind == HOST_REGEX) == regex)
				return true;
	return false;
}

static bool
has_networks(const struct model_set *set)
{
	size_t i;

	for (i = 0; i < set->object_count; i++)
		if (set->objects[i]->kind == OBJECT_NETWORK)
			return true;
	return set->builtins != 0;
}

/* Sets that are too large to be worked with: cheap to ask, before they are copied. */
static bool
is_large(const struct model_rule *r)
{
	const struct model_set *sets[] = {&r->from,   &r->from_except, &r->to,
					  &r->except, &r->resolves_in, &r->who};
	size_t i, k, networks, hosts, people;

	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		networks = hosts = people = 0;
		for (k = 0; k < sets[i]->object_count; k++) {
			networks += sets[i]->objects[k]->range_count;
			hosts += sets[i]->objects[k]->host_count;
			people += sets[i]->objects[k]->user_count + sets[i]->objects[k]->unix_count;
		}
		if (networks > RANGES_MOST || hosts > NAMES_MOST || people > PEOPLE_MOST)
			return true;
	}
	return false;
}

static void
facet_make(struct facet *f, const struct model_rule *r)
{
	struct ranges except = ranges_of(&r->from_except, false);

	*f = (struct facet){.rule = r};
	f->client = r->from.given ? ranges_of(&r->from, false) : ranges_everything();
	ranges_subtract(&f->client, &except);
	ranges_free(&except);
	f->to = r->to.given ? ranges_of(&r->to, true) : ranges_everything();
	f->except = ranges_of(&r->except, true);
	f->led = !r->allow                       ? ranges_everything()
		 : has_networks(&r->resolves_in) ? ranges_of(&r->resolves_in, true)
						 : ranges_builtin(BUILTIN_PUBLIC);
	f->except_hosts = has_hosts(&r->except, false) || has_hosts(&r->except, true);
	f->except_regex = has_hosts(&r->except, true);
	f->except_networks = has_networks(&r->except);
}

static void
facet_free(struct facet *f)
{
	ranges_free(&f->client);
	ranges_free(&f->to);
	ranges_free(&f->except);
	ranges_free(&f->led);
}

/* What a rule must know before it is certain. Client and time are known from the first. */
static unsigned
asks(const struct model_rule *r)
{
	unsigned facts = 0;

	if (r->versions != (1 << 4 | 1 << 5))
		facts |= FACT_VERSION;
	if (r->commands != (1 << RULES_CONNECT | 1 << RULES_BIND | 1 << RULES_UDP))
		facts |= FACT_COMMAND;
	if (r->service.given)
		facts |= FACT_COMMAND | FACT_PORT;
	if (r->to.given || r->except.given)
		facts |= FACT_NAME;
	if (r->who_kind != WHO_ANYONE)
		facts |= FACT_PROVEN;
	return facts;
}

/*
 * A denial that is certain early is not kept from its turn by one that waits for more. An allow
 * rule that may hold in the end keeps everybody waiting.
 */
static bool
may_cast(const struct model_rule *a, const struct model_rule *b)
{
	return !a->dry_run && (b->allow || a->allow || !(asks(a) & ~asks(b))) && !is_large(a);
}

/* ---- atoms --------------------------------------------------------------------------- */

/* Does a caster hold for all of an atom? */
typedef bool holds_call(const struct scene *s, const struct facet *f, const struct point *at);

static void
atom_add(struct scene *s, enum dimension d, const struct point *at, holds_call *holds)
{
	struct atoms *v = &s->atoms[d];
	uint64_t *column;
	size_t i;

	if (v->count == v->cap) {
		v->cap = v->cap ? 2 * v->cap : 16;
		v->points = must(realloc(v->points, v->cap * sizeof(*v->points)));
		v->columns = must(realloc(v->columns, v->cap * s->column_words * sizeof(uint64_t)));
	}
	column = &v->columns[v->count * s->column_words];
	memset(column, 0, s->column_words * sizeof(*column));
	for (i = 0; i < s->caster_count; i++)
		if (holds(s, &s->casters[i], at))
			column[i / 64] |= UINT64_C(1) << i % 64;
	s->gave_up |= *s->work < s->caster_count + v->count;
	*s->work -= s->gave_up ? 0 : s->caster_count + v->count;
	for (i = 0; i < v->count; i++)
		if (!memcmp(&v->columns[i * s->column_words], column,
			    s->column_words * sizeof(*column))) {
			if (v->points[i].regex && !at->regex)
				v->points[i] = *at; /* a plain name is surer to fit */
			return;                     /* no rule tells the two apart */
		}
	v->points[v->count++] = *at;
	s->gave_up |= v->count > ATOMS_MOST;
}

static bool
address_after(struct addr *a)
{
	int i;

	for (i = 15; i >= 0; i--)
		if (++a->b[i])
			return true;
	return false;
}

struct starts { /* of intervals within which no set begins or ends */
	struct addr *v;
	size_t count, cap;
};

static void
start_add(struct starts *out, struct addr a)
{
	if (out->count == out->cap) {
		out->cap = out->cap ? 2 * out->cap : 64;
		out->v = must(realloc(out->v, out->cap * sizeof(*out->v)));
	}
	out->v[out->count++] = a;
}

static void
starts_add(struct starts *out, const struct ranges *set)
{
	size_t i;

	for (i = 0; i < set->count; i++) {
		struct addr after = set->v[i].last;

		start_add(out, set->v[i].first);
		if (address_after(&after))
			start_add(out, after);
	}
}

static int
address_order(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static void
starts_settle(struct starts *v)
{
	size_t i, kept = 0;

	if (v->count == 0)
		return;
	qsort(v->v, v->count, sizeof(*v->v), address_order);
	for (i = 1; i < v->count; i++)
		if (addr_compare(&v->v[kept], &v->v[i]) != 0)
			v->v[++kept] = v->v[i];
	v->count = kept + 1;
}

static bool
client_holds(const struct scene *s, const struct facet *f, const struct point *at)
{
	(void)s;
	return ranges_have(&f->client, &at->address);
}

static void
cut_clients(struct scene *s)
{
	struct starts starts = {0};
	size_t i;

	starts_add(&starts, &s->rule.client);
	for (i = 0; i < s->caster_count; i++)
		starts_add(&starts, &s->casters[i].client);
	starts_settle(&starts);
	for (i = 0; i < starts.count && !s->gave_up; i++) {
		struct point at = {.address = starts.v[i]};

		if (client_holds(s, &s->rule, &at))
			atom_add(s, CLIENT, &at, client_holds);
	}
	free(starts.v);
}

static bool
listener_holds(const struct scene *s, const struct facet *f, const struct point *at)
{
	size_t i;

	for (i = 0; i < f->rule->listener_count; i++)
		if (policy_listener(s->p, f->rule->listeners[i]) == at->listener)
			return true;
	return f->rule->listener_count == 0;
}

static void
add_listeners(struct scene *s, const struct model_rule *r)
{
	size_t i;

	for (i = 0; i < r->listener_count; i++) {
		struct point at = {.listener = policy_listener(s->p, r->listeners[i])};

		if (listener_holds(s, &s->rule, &at))
			atom_add(s, LISTENER, &at, listener_holds);
	}
}

static void
cut_listeners(struct scene *s)
{
	struct point at = {.listener = -1};
	size_t i;

	if (listener_holds(s, &s->rule, &at))
		atom_add(s, LISTENER, &at, listener_holds);
	add_listeners(s, s->rule.rule);
	for (i = 0; i < s->caster_count; i++)
		add_listeners(s, s->casters[i].rule);
}

static bool
names_groups(const struct model_rule *r)
{
	size_t i;

	for (i = 0; i < r->who.object_count; i++)
		if (r->who.objects[i]->unix_count > 0)
			return true;
	return false;
}

static bool
who_is(const struct scene *s, const struct facet *f, const struct point *at)
{
	const struct model_rule *r = f->rule;

	(void)s;
	if (r->who_kind == WHO_ANYONE)
		return true;
	if (!(r->auth & at->way))
		return false;
	if (r->who_kind == WHO_KNOWN)
		return true;
	if (at->groups_failed) /* semantics 4 */
		return !r->allow && names_groups(r);
	return at->group ? set_names(&r->who, true, at->group)
			 : set_names(&r->who, false, at->user);
}

/* By one way: who has more to show (groups, a second identity) is in all sets that he is in with
 * less. */
static void
cut_people_by(struct scene *s, uint32_t way)
{
	const struct model_rule *r = s->rule.rule;
	struct point at = {.way = way, .user = s->fresh};
	size_t i, k;

	if (r->who_kind == WHO_KNOWN) {
		atom_add(s, WHO, &at, who_is);
		return;
	}
	for (i = 0; i < r->who.object_count; i++) {
		const struct object *o = r->who.objects[i];

		for (k = 0; k < o->user_count && !s->gave_up; k++) {
			at.user = o->users[k];
			atom_add(s, WHO, &at, who_is);
		}
		at.user = s->fresh;
		for (k = 0; k < o->unix_count; k++) {
			at.group = o->unix_groups[k];
			atom_add(s, WHO, &at, who_is);
		}
		at.group = NULL;
	}
	at.groups_failed = true;
	if (!r->allow && names_groups(r))
		atom_add(s, WHO, &at, who_is);
}

static void
cut_people(struct scene *s)
{
	struct point nobody = {0};
	uint32_t way;

	if (s->rule.rule->who_kind == WHO_ANYONE)
		atom_add(s, WHO, &nobody, who_is);
	else
		for (way = AUTH_PAM; way <= AUTH_USERID; way <<= 1)
			if (s->rule.rule->auth & way)
				cut_people_by(s, way);
}

static bool
port_holds(const struct scene *s, const struct facet *f, const struct point *at)
{
	const struct model_set *set = &f->rule->service;
	size_t i, k;

	for (i = 0; i < set->object_count; i++)
		for (k = 0; k < set->objects[i]->service_count; k++) {
			const struct model_service *v = &set->objects[i]->services[k];

			if (v->udp == (s->command == RULES_UDP) && v->first <= at->port &&
			    at->port <= v->last)
				return true;
		}
	return !set->given;
}

static void
mark_ports(const struct model_rule *r, uint8_t *starts)
{
	size_t i, k;

	for (i = 0; i < r->service.object_count; i++)
		for (k = 0; k < r->service.objects[i]->service_count; k++) {
			starts[r->service.objects[i]->services[k].first] = 1;
			starts[r->service.objects[i]->services[k].last + 1] = 1;
		}
}

static void
cut_ports(struct scene *s)
{
	uint8_t *starts = must(calloc(65537, 1)), *next;
	size_t i;

	starts[0] = 1;
	mark_ports(s->rule.rule, starts);
	for (i = 0; i < s->caster_count; i++)
		mark_ports(s->casters[i].rule, starts);
	for (next = starts; next != NULL && !s->gave_up;
	     next = memchr(next + 1, 1, (size_t)(starts + 65536 - next - 1))) {
		struct point at = {.port = (uint16_t)(next - starts)};

		if (port_holds(s, &s->rule, &at))
			atom_add(s, PORT, &at, port_holds);
	}
	free(starts);
}

/* ---- time ------------------------------------------------------------------------------ */

static bool
date_holds(const struct scene *s, const struct facet *f, const struct point *at)
{
	(void)s;
	return (!f->rule->has_since || at->first >= f->rule->since) &&
	       (!f->rule->has_expires || at->first < f->rule->expires);
}

static int
instant_order(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void
cut_dates(struct scene *s)
{
	int64_t *v = must(calloc(2 * s->caster_count + 4, sizeof(*v)));
	size_t i, n = 0;

	v[n++] = s->now;
	v[n++] = FOREVER;
	for (i = 0; i <= s->caster_count; i++) {
		const struct model_rule *r = i ? s->casters[i - 1].rule : s->rule.rule;

		if (r->has_since && r->since > s->now)
			v[n++] = r->since;
		if (r->has_expires && r->expires > s->now)
			v[n++] = r->expires;
	}
	qsort(v, n, sizeof(*v), instant_order);
	for (i = 0; i + 1 < n; i++) {
		struct point at = {.first = v[i], .end = v[i + 1]};

		if (at.first < at.end && date_holds(s, &s->rule, &at))
			atom_add(s, DATE, &at, date_holds);
	}
	free(v);
}

static bool
in_week(const struct model_window *w, int minute)
{
	int end = w->end > w->start ? w->end : w->end + 1440, day, of_day;

	for (day = 0; day < 7; day++) {
		of_day = (minute - day * 1440 + WEEK_MINUTES) % WEEK_MINUTES;
		if (w->days >> day & 1 && of_day >= w->start && of_day < end)
			return true;
	}
	return false;
}

static bool
week_holds(const struct scene *s, const struct facet *f, const struct point *at)
{
	const struct model_set *set = &f->rule->when;
	size_t i, k;

	if (!set->given)
		return true;
	if (at->foreign)
		return window_covered(set, at->foreign);
	for (i = 0; i < set->object_count && s->zone; i++)
		for (k = 0; k < set->objects[i]->window_count; k++) {
			const struct model_window *w = &set->objects[i]->windows[k];

			if (!strcmp(w->zone, s->zone) && in_week(w, at->minute))
				return true;
		}
	return false;
}

/* Every minute of the week at which a window in the scene's zone begins or ends. */
static void
mark_week(struct scene *s, const struct model_rule *r, uint8_t *starts)
{
	size_t i, k;
	int day;

	for (i = 0; i < r->when.object_count; i++)
		for (k = 0; k < r->when.objects[i]->window_count; k++) {
			const struct model_window *w = &r->when.objects[i]->windows[k];
			int end = w->end > w->start ? w->end : w->end + 1440;

			if (!s->zone)
				s->zone = w->zone;
			for (day = 0; day < 7 && !strcmp(w->zone, s->zone); day++) {
				starts[(day * 1440 + w->start) % WEEK_MINUTES] = 1;
				starts[(day * 1440 + end) % WEEK_MINUTES] = 1;
			}
		}
}

static void
cut_week(struct scene *s)
{
	const struct model_set *when = &s->rule.rule->when;
	uint8_t *starts = must(calloc(WEEK_MINUTES, 1));
	struct point at = {0};
	size_t i, k;

	starts[0] = 1;
	mark_week(s, s->rule.rule, starts);
	for (i = 0; i < s->caster_count; i++)
		mark_week(s, s->casters[i].rule, starts);
	for (at.minute = 0; at.minute < WEEK_MINUTES; at.minute++)
		if (starts[at.minute] && week_holds(s, &s->rule, &at))
			atom_add(s, WEEK, &at, week_holds);
	for (i = 0; i < when->object_count; i++)
		for (k = 0; k < when->objects[i]->window_count; k++) {
			at.foreign = &when->objects[i]->windows[k];
			if (strcmp(at.foreign->zone, s->zone) != 0)
				atom_add(s, WEEK, &at, week_holds);
		}
	free(starts);
}

/* ---- destinations ------------------------------------------------------------------------ */

static bool
plain_fits(const struct model_set *set, const char *name)
{
	struct host_pattern exact = {.kind = HOST_EXACT, .text = name, .len = strlen(name)};

	return pattern_covered(set, &exact);
}

static bool
regex_in(const struct model_set *set, const struct host_pattern *regex)
{
	return pattern_covered(set, regex);
}

/* Semantics 9: BIND for any peer. */
static bool
network_holds(const struct scene *s, const struct model_set *set, const struct ranges *ranges,
	      const struct point *at)
{
	return ranges_have(ranges, &at->address) ||
	       (set->builtins & 1u << BUILTIN_ANY && s->command == RULES_BIND && !at->name &&
		addr_is_unspecified(&at->address));
}

/* The name fits `to`. Semantics 4: a pattern that cannot be decided is met by denials alone. */
static bool
name_in_to(const struct scene *s, const struct facet *f, const struct point *at)
{
	if (!at->name)
		return false;
	if (!at->regex)
		return plain_fits(&f->rule->to, at->name);
	return (s->rule.rule->allow || !f->rule->allow) && regex_in(&f->rule->to, at->regex);
}

/* Might a name be excepted? */
static bool
name_excepted(const struct facet *f, const struct point *at)
{
	if (!at->name || !f->except_hosts)
		return false;
	return at->regex || f->except_regex || plain_fits(&f->rule->except, at->name);
}

static bool
destination_holds(const struct scene *s, const struct facet *f, const struct point *at)
{
	const struct model_rule *r = f->rule;
	bool named;

	if (name_excepted(f, at))
		return false;
	named = name_in_to(s, f, at);
	if (at->unresolved) /* the rule here is a denial; an allow rule that may hold keeps it
			       waiting */
		return r->allow ? named || f->to.count > 0
				: (!r->to.given || named) && !f->except_networks;
	if (network_holds(s, &r->except, &f->except, at))
		return false;
	return !r->to.given || network_holds(s, &r->to, &f->to, at) ||
	       (named && ranges_have(&f->led, &at->address));
}

/* The rule's own side, read widely: what a pattern might except, it does not. */
static bool
destination_meant(const struct scene *s, const struct point *at)
{
	const struct facet *f = &s->rule;
	const struct model_rule *r = f->rule;
	bool named =
	    at->name && (at->regex ? regex_in(&r->to, at->regex) : plain_fits(&r->to, at->name));

	if (at->name && !at->regex && plain_fits(&r->except, at->name))
		return false;
	if (at->unresolved)
		return !r->allow && (!r->to.given || named) && f->except.count == 0;
	if (network_holds(s, &r->except, &f->except, at))
		return false;
	return !r->to.given || network_holds(s, &r->to, &f->to, at) ||
	       (named && ranges_have(&f->led, &at->address));
}

static void
name_add(struct scene *s, const char *label, const char *name)
{
	char *copy;

	if (strlen(label) + 1 + strlen(name) > NAME_MAX_LEN - 2) {
		s->gave_up = true; /* hardly a name any more */
		return;
	}
	if (s->name_count == s->name_cap) {
		s->name_cap = s->name_cap ? 2 * s->name_cap : 32;
		s->names = must(realloc(s->names, s->name_cap * sizeof(*s->names)));
	}
	if (asprintf(&copy, "%s%s%s", label, *label ? "." : "", name) < 0)
		abort();
	s->names[s->name_count++] = copy;
}

/* Each name of a plain pattern, and one below it: together they stand for all names. */
static void
add_names(struct scene *s, const struct model_set *set)
{
	size_t i, k;

	for (i = 0; i < set->object_count; i++)
		for (k = 0; k < set->objects[i]->host_count; k++) {
			const struct host_pattern *h = &set->objects[i]->hosts[k];

			if (h->kind == HOST_REGEX)
				continue;
			name_add(s, "", h->text);
			name_add(s, s->fresh, h->text);
		}
}

static bool
label_taken(const struct model_set *set, const char *label)
{
	size_t i, k;

	for (i = 0; i < set->object_count; i++)
		for (k = 0; k < set->objects[i]->host_count; k++)
			if (strstr(set->objects[i]->hosts[k].text, label))
				return true;
	for (i = 0; i < set->object_count; i++)
		if (set_names(set, false, label))
			return true;
	return false;
}

static bool
rule_takes_label(const struct model_rule *r, const char *label)
{
	return label_taken(&r->to, label) || label_taken(&r->except, label) ||
	       label_taken(&r->who, label);
}

static void
choose_fresh(struct scene *s)
{
	unsigned number = 0;
	bool taken;
	size_t i;

	do {
		snprintf(s->fresh, sizeof(s->fresh), "lint-%u", ++number);
		taken = rule_takes_label(s->rule.rule, s->fresh);
		for (i = 0; i < s->caster_count && !taken; i++)
			taken = rule_takes_label(s->casters[i].rule, s->fresh);
	} while (taken);
}

static void
collect_names(struct scene *s)
{
	size_t i;

	name_add(s, "", s->fresh);
	add_names(s, &s->rule.rule->to);
	add_names(s, &s->rule.rule->except);
	for (i = 0; i < s->caster_count; i++) {
		add_names(s, &s->casters[i].rule->to);
		add_names(s, &s->casters[i].rule->except);
	}
	s->gave_up |= s->name_count > 4 * NAMES_MOST;
}

static void
collect_starts(const struct scene *s, struct starts *out)
{
	static const char *const edges[] = {"0.0.0.0", "0.0.0.1", "::", "::1"};
	struct addr a;
	size_t i;

	for (i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
		if (addr_parse(edges[i], strlen(edges[i]), &a))
			start_add(out, a);
	for (i = 0; i <= s->caster_count; i++) {
		const struct facet *f = i ? &s->casters[i - 1] : &s->rule;

		starts_add(out, &f->to);
		starts_add(out, &f->except);
		starts_add(out, &f->led);
	}
	starts_settle(out);
}

static void
cut_name(struct scene *s, struct point at, const struct starts *starts)
{
	size_t i;

	at.unresolved = at.name != NULL;
	if (at.unresolved && destination_meant(s, &at))
		atom_add(s, DESTINATION, &at, destination_holds);
	at.unresolved = false;
	for (i = 0; i < starts->count && !s->gave_up; i++) {
		at.address = starts->v[i];
		if (destination_meant(s, &at))
			atom_add(s, DESTINATION, &at, destination_holds);
	}
}

static void
cut_regexes(struct scene *s, const struct starts *starts)
{
	const struct model_set *to = &s->rule.rule->to;
	char names[WITNESS_NAMES][NAME_MAX_LEN + 1];
	size_t i, k;

	for (i = 0; i < to->object_count; i++)
		for (k = 0; k < to->objects[i]->host_count; k++) {
			struct host_pattern h = to->objects[i]->hosts[k];
			struct object one = {.kind = OBJECT_HOST, .hosts = &h, .host_count = 1},
				      *list[] = {&one};
			struct model_set set = {.given = true, .objects = list, .object_count = 1};
			struct point at = {.name = "", .regex = &to->objects[i]->hosts[k]};

			if (h.kind != HOST_REGEX)
				continue;
			if (witness_names(&set, names) > 0) {
				name_add(s, "", names[0]);
				at.name = s->names[s->name_count - 1];
			}
			cut_name(s, at, starts);
		}
}

static void
cut_destinations(struct scene *s)
{
	struct starts starts = {0};
	struct point literal = {0};
	size_t i, names = s->name_count;

	collect_starts(s, &starts);
	cut_name(s, literal, &starts);
	for (i = 0; i < names && !s->gave_up; i++) {
		struct point at = {.name = s->names[i]};

		cut_name(s, at, &starts);
	}
	cut_regexes(s, &starts);
	free(starts.v);
}

/* ---- boxes --------------------------------------------------------------------------------- */

static void
make_rows(struct scene *s)
{
	size_t i, k, d;

	s->at[0] = 0;
	for (d = 0; d < DIMENSIONS; d++)
		s->at[d + 1] = s->at[d] + (s->atoms[d].count + 63) / 64;
	s->rows = must(calloc(s->caster_count * s->at[DIMENSIONS] + 1, sizeof(*s->rows)));
	for (i = 0; i < s->caster_count; i++) {
		uint64_t *row = &s->rows[i * s->at[DIMENSIONS]];

		for (d = 0; d < DIMENSIONS; d++)
			for (k = 0; k < s->atoms[d].count; k++)
				if (s->atoms[d].columns[k * s->column_words + i / 64] >> i % 64 & 1)
					row[s->at[d] + k / 64] |= UINT64_C(1) << k % 64;
	}
}

static bool
meets(const struct scene *s, const uint64_t *a, const uint64_t *b)
{
	size_t d, w;

	for (d = 0; d < DIMENSIONS; d++) {
		for (w = s->at[d]; w < s->at[d + 1] && !(a[w] & b[w]); w++)
			;
		if (w == s->at[d + 1])
			return false;
	}
	return true;
}

/* ---- a session of what is left ----------------------------------------------------------------
 */

static bool
instant_of(const struct scene *s, const struct point *date, const struct point *week, int64_t *out)
{
	const char *zone = week->foreign ? week->foreign->zone : s->zone;
	int minute = week->foreign ? week->foreign->start : week->minute;
	int64_t first = date->first / DAY - 1, day;
	bool found = false;
	struct zone z;

	*out = date->first;
	if (!zone)
		return true;
	if (!zone_load(zone, &z))
		return false;
	for (day = first; day < first + 10 && !found; day++) {
		int weekday = (int)(((day + 3) % 7 + 7) % 7);

		if (week->foreign ? !(week->foreign->days >> weekday & 1)
				  : weekday != minute / 1440)
			continue;
		*out = zone_to_utc(&z, day * DAY + minute % 1440 * 60);
		found = *out >= date->first && *out < date->end;
		if (!found && *out < date->first && !week->foreign) {
			/* the interval begins within the atom */
			struct point at = {
			    .minute = (int)(((date->first + zone_offset(&z, date->first)) / 60 +
					     3 * 1440) %
					    WEEK_MINUTES)};

			found = week_holds(s, &s->rule, &at);
			*out = date->first;
		}
	}
	zone_free(&z);
	return found;
}

static bool
decides(struct scene *s, const struct rules_facts *f)
{
	/* The stages of a session: a denial may come before all is known. */
	static const uint32_t stages[] = {
	    FACT_ALL,
	    FACT_ALL & ~(uint32_t)FACT_ADDRESS,
	    FACT_ALL & ~(uint32_t)(FACT_NAME | FACT_ADDRESS | FACT_PORT),
	    FACT_CLIENT | FACT_TIME | FACT_VERSION,
	    FACT_CLIENT | FACT_TIME,
	};
	const struct model_rule *r = s->rule.rule;
	struct rules_facts at = *f;
	struct rules_answer a;
	size_t i;

	for (i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
		at.known = f->known & stages[i];
		rules_evaluate(s->p, &at, &a);
		if (a.rule == (int32_t)r->index || a.dry_run == r->index + 1)
			return true;
	}
	return false;
}

static bool
session_decides(struct scene *s, const struct point *v)
{
	const struct point *who = &v[WHO], *to = &v[DESTINATION];
	struct rules_facts f = {
	    .known = FACT_ALL, .version = (uint8_t)s->version, .command = (uint8_t)s->command};

	f.client = v[CLIENT].address;
	f.listener = v[LISTENER].listener;
	f.port = v[PORT].port;
	f.address = to->address;
	f.name = to->name;
	f.name_len = to->name ? strlen(to->name) : 0;
	f.groups = &who->group;
	f.group_count = who->group != NULL;
	f.groups_failed = who->groups_failed;
	if (who->way >= AUTH_IDENT) {
		f.asserted_user = who->user;
		f.asserted_by = (uint8_t)who->way;
	} else {
		f.proven_user = who->user;
		f.proven_by = (uint8_t)who->way;
	}
	if (to->unresolved)
		f.known &= ~(uint32_t)FACT_ADDRESS;
	if ((to->name && !*to->name) || !instant_of(s, &v[DATE], &v[WEEK], &f.time))
		return false;
	return decides(s, &f);
}

/* Some corner of a box, a different one each time. */
static enum shadow
probe(struct scene *s, const uint64_t *box)
{
	uint32_t turn, seed = 1;
	struct point v[DIMENSIONS];
	size_t d, k, n;

	for (turn = 0; turn < 8; turn++) {
		for (d = 0; d < DIMENSIONS; d++) {
			size_t chosen = 0, left;

			for (k = n = 0; k < s->atoms[d].count; k++)
				n += box[s->at[d] + k / 64] >> k % 64 & 1;
			left = turn ? seed % n : 0;
			seed = seed * 1664525 + 1013904223;
			for (k = 0; k < s->atoms[d].count; k++)
				if (box[s->at[d] + k / 64] >> k % 64 & 1 && left-- == 0)
					chosen = k;
			v[d] = s->atoms[d].points[chosen];
		}
		if (session_decides(s, v))
			return SHADOW_LIT;
	}
	return SHADOW_UNDECIDED;
}

/*
 * Takes the casters from number `from` on away from a box that none before meets. WHOLE: nothing is
 * left. What a caster leaves of a box falls into one box a dimension, none of which meets another.
 */
static enum shadow
darken(struct scene *s, const uint64_t *box, size_t from)
{
	size_t words = s->at[DIMENSIONS], i = from, d, w;
	enum shadow result = SHADOW_WHOLE, one;
	uint64_t *piece, *rest;
	const uint64_t *row;

	while (i < s->caster_count && !meets(s, box, &s->rows[i * words]))
		i++;
	s->steps += i - from + 1;
	if (s->steps > STEPS_MOST || *s->work < (i - from + 1) * words)
		return SHADOW_UNDECIDED;
	*s->work -= (i - from + 1) * words;
	if (i == s->caster_count)
		return probe(s, box);
	s->used[i] = true;
	row = &s->rows[i * words];
	piece = must(malloc(2 * words * sizeof(*piece)));
	rest = piece + words;
	memcpy(piece, box, words * sizeof(*piece));
	for (d = 0; d < DIMENSIONS && result != SHADOW_LIT; d++) {
		uint64_t any = 0;

		memcpy(rest, piece, words * sizeof(*rest));
		for (w = s->at[d]; w < s->at[d + 1]; w++) {
			any |= rest[w] &= ~row[w];
			piece[w] &= row[w];
		}
		if (!any)
			continue;
		one = darken(s, rest, i + 1);
		if (one != SHADOW_WHOLE && result != SHADOW_LIT)
			result = one;
	}
	free(piece);
	return result;
}

/* ---- one version and command --------------------------------------------------------------------
 */

static bool
cut(struct scene *s)
{
	static void (*const cuts[DIMENSIONS])(struct scene *) = {
	    cut_clients, cut_listeners, cut_people,      cut_ports,
	    cut_dates,   cut_week,      cut_destinations};
	size_t d;

	for (d = 0; d < DIMENSIONS && !s->gave_up; d++) {
		cuts[d](s);
		if (!s->gave_up && s->atoms[d].count == 0)
			return false; /* nothing is meant */
	}
	return true;
}

static void
scene_clear(struct scene *s)
{
	size_t d;

	for (d = 0; d < DIMENSIONS; d++) {
		free(s->atoms[d].points);
		free(s->atoms[d].columns);
		s->atoms[d] = (struct atoms){0};
	}
	free(s->rows);
	s->rows = NULL;
	s->zone = NULL;
}

static enum shadow
scene_play(struct scene *s, bool *meant)
{
	enum shadow result = SHADOW_WHOLE;
	uint64_t *box;
	size_t d, k;

	if (cut(s)) {
		*meant = true;
		if (s->gave_up) {
			scene_clear(s);
			return SHADOW_UNDECIDED;
		}
		make_rows(s);
		box = must(calloc(s->at[DIMENSIONS], sizeof(*box)));
		for (d = 0; d < DIMENSIONS; d++)
			for (k = 0; k < s->atoms[d].count; k++)
				box[s->at[d] + k / 64] |= UINT64_C(1) << k % 64;
		result = darken(s, box, 0);
		free(box);
	}
	scene_clear(s);
	return result;
}

/* Casters that have the version and the command, and the others behind. */
static size_t
stage(const struct scene *all, struct scene *s)
{
	size_t i, n = 0;

	for (i = 0; i < all->caster_count; i++)
		if (all->casters[i].rule->versions >> s->version & 1 &&
		    all->casters[i].rule->commands >> s->command & 1)
			s->casters[n++] = all->casters[i];
	return n;
}

static bool
might_meet(const struct facet *a, const struct facet *b)
{
	return (a->rule->versions & b->rule->versions) && (a->rule->commands & b->rule->commands) &&
	       ranges_meet(&a->client, &b->client) &&
	       (!a->rule->to.given || !b->rule->to.given || has_hosts(&a->rule->to, false) ||
		has_hosts(&a->rule->to, true) || has_hosts(&b->rule->to, false) ||
		has_hosts(&b->rule->to, true) || b->rule->to.builtins || a->rule->to.builtins ||
		ranges_meet(&a->to, &b->to));
}

static void
find_casters(struct scene *all)
{
	struct facet *f;
	uint32_t i;

	facet_make(&all->rule, all->rule.rule);
	for (i = 0; i < all->rule.rule->index && all->caster_count < SHADOW_CASTERS; i++) {
		if (*all->work < 100)
			return;
		*all->work -= 100;
		if (!may_cast(&all->m->rules[i], all->rule.rule))
			continue;
		f = &all->casters[all->caster_count];
		facet_make(f, &all->m->rules[i]);
		if (might_meet(f, &all->rule))
			all->caster_count++;
		else
			facet_free(f);
	}
}

static enum shadow
play_all(struct scene *all, struct scene *s, bool *used)
{
	const struct model_rule *rule = all->rule.rule;
	unsigned commands = rule_commands(rule);
	enum shadow result = SHADOW_WHOLE, one;
	bool meant = false;
	size_t i, k;

	for (s->version = 4; s->version <= 5; s->version++)
		for (s->command = RULES_CONNECT; s->command <= RULES_UDP; s->command++) {
			if (!(rule->versions >> s->version & 1) || !(commands >> s->command & 1) ||
			    (s->version == 4 && s->command == RULES_UDP))
				continue;
			s->caster_count = stage(all, s);
			s->column_words = s->caster_count / 64 + 1;
			memset(s->used, 0, sizeof(s->used));
			one = scene_play(s, &meant);
			if (one == SHADOW_LIT)
				return one;
			result = one == SHADOW_UNDECIDED ? one : result;
			for (i = k = 0; i < s->caster_count; i++) {
				while (all->casters[k].rule != s->casters[i].rule)
					k++;
				used[k] |= s->used[i];
			}
		}
	return meant || result == SHADOW_UNDECIDED ? result : SHADOW_EMPTY;
}

enum shadow
shadow_find(struct policy *p, const struct rules_model *m, const struct model_rule *rule,
	    int64_t now, uint64_t *work, struct shadow_proof *out)
{
	struct scene *all = must(calloc(1, sizeof(*all))), *s = must(calloc(1, sizeof(*s)));
	bool used[SHADOW_CASTERS] = {0};
	enum shadow result = SHADOW_UNDECIDED;
	size_t i;

	out->count = 0;
	all->m = m;
	all->work = work;
	all->rule.rule = rule;
	if (!is_large(rule)) {
		find_casters(all);
		*s = (struct scene){.p = p, .m = m, .rule = all->rule, .now = now, .work = work};
		memcpy(s->casters, all->casters, sizeof(s->casters));
		s->caster_count = all->caster_count;
		choose_fresh(s);
		collect_names(s);
		result = s->gave_up ? SHADOW_UNDECIDED : play_all(all, s, used);
	}
	for (i = 0; i < all->caster_count; i++) {
		if (used[i] && result == SHADOW_WHOLE)
			out->by[out->count++] = all->casters[i].rule;
		facet_free(&all->casters[i]);
	}
	facet_free(&all->rule);
	for (i = 0; i < s->name_count; i++)
		free(s->names[i]);
	free(s->names);
	free(s);
	free(all);
	return result;
}
