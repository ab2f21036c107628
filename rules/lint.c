/*
 * rules/lint.c - what a policy says and hardly means: rules that never come to their turn, doors
 * beside a lock, what nobody uses. sallyctl; allocates. Asks the policy itself where it can
 * (witness.h) and proves by inclusion of sets where it must (cover.h); never guesses.
 */
#include "rules/lint.h"

#include <string.h>

#include "base/text.h"
#include "rules/cover.h"
#include "rules/lint_hosts.h"
#include "rules/ranges.h"
#include "rules/shadow.h"
#include "rules/show.h"
#include "rules/witness.h"

#define PAIRS_MOST 20000000 /* compared in one run; beyond, nothing is decided by comparing */
#define WORK_MOST 400000000 /* of comparing rules with all before them: some seconds */
#define DOORS_MOST 200000   /* sessions tried for what walks around a denial */
#define DECIDERS 8
#define NAMED 4 /* rules in one sentence */

struct linter {
	const struct rules_load *l;
	const struct rules_model *m;
	struct policy *p;
	int64_t now;
	struct lint *out;
	unsigned long pairs, doors;
	uint64_t work;
};

/* ---- what check warns of, too --------------------------------------------------------- */

static void
copy_problem(struct problems *to, const struct problem *from)
{
	struct problem *one = problems_add(to, from->code, from->place, "%s", from->text);

	if (from->help)
		problem_help(one, "%s", from->help);
	problem_seen(one, from->seen);
}

static void
take_warnings(struct linter *t)
{
	/* What a machine lacks, and feeds that run dry, are no fault of the policy. */
	static const char *const others[] = {"W202", "W208", "W302", "W303", "W304"};
	const struct problems *p = &t->l->problems;
	size_t i, k;

	for (i = 0; i < p->count; i++) {
		for (k = 0; k < sizeof(others) / sizeof(others[0]); k++)
			if (!strcmp(p->list[i].code, others[k]))
				break;
		if (k == sizeof(others) / sizeof(others[0]))
			copy_problem(&t->out->findings, &p->list[i]);
	}
}

/* ---- rules that never come to their turn ------------------------------------------------ */

struct turn {
	struct linter *t;
	const struct model_rule *rule;
	const struct model_rule *cover; /* found on the way */
	int32_t asked[DECIDERS];        /* rules that decided a witness, and were compared */
	unsigned asked_count;
};

static bool
is_over(const struct linter *t, const struct model_rule *r)
{
	return r->has_expires && r->expires <= t->now;
}

static bool
covers(struct turn *turn, int32_t by)
{
	const struct model_rule *a = &turn->t->m->rules[by];
	unsigned i;

	for (i = 0; i < turn->asked_count; i++)
		if (turn->asked[i] == by)
			return false;
	if (turn->asked_count < DECIDERS)
		turn->asked[turn->asked_count++] = by;
	if (!rule_covers(a, turn->rule))
		return false;
	turn->cover = a;
	return true;
}

/* The rule decides this session, or the one that does is compared with it. */
static bool
turn_comes(void *data, const struct witness *w)
{
	struct turn *turn = data;
	int32_t own = (int32_t)turn->rule->index;
	struct rules_answer a;

	rules_evaluate(turn->t->p, &w->facts, &a);
	if (a.rule == own || a.dry_run == turn->rule->index + 1)
		return true;
	return a.rule >= 0 && a.rule < own && turn->asked_count < DECIDERS && covers(turn, a.rule);
}

/* Sessions of all sorts, then such as the rules that decided those do not hold for. */
static bool
find_turn(struct turn *turn)
{
	struct linter *t = turn->t;
	unsigned i;

	if (witness_each(t->p, turn->rule, t->now, turn_comes, turn))
		return true;
	for (i = 0; i < turn->asked_count; i++) {
		const struct model_rule *other = &t->m->rules[turn->asked[i]];

		if (witness_each_beside(t->p, turn->rule, other, WITNESS_CLIENTS, t->now,
					turn_comes, turn) ||
		    witness_each_beside(t->p, turn->rule, other, WITNESS_DESTINATIONS, t->now,
					turn_comes, turn))
			return true;
	}
	return false;
}

static bool
find_cover(struct turn *turn)
{
	const struct rules_model *m = turn->t->m;
	uint32_t i;

	for (i = 0; i < turn->rule->index && turn->t->pairs < PAIRS_MOST; i++, turn->t->pairs++)
		if (!m->rules[i].dry_run && rule_covers(&m->rules[i], turn->rule)) {
			turn->cover = &m->rules[i];
			return true;
		}
	return false;
}

static void
tell_cover(struct linter *t, const struct model_rule *a, const struct model_rule *b)
{
	struct problem *one;

	if (a->allow == b->allow && rule_covers(b, a)) {
		one = problems_add(&t->out->findings, "W402", b->place,
				   "rule \"%s\" says what rule \"%s\" says already", b->name,
				   a->name);
		problem_help(one, "take one of them out; the first is here");
	} else {
		one = problems_add(
		    &t->out->findings, "W401", b->place,
		    "rule \"%s\" can never match: rule \"%s\" before it %s all that it %s", b->name,
		    a->name, a->allow ? "allows" : "denies", b->allow ? "allows" : "denies");
		problem_help(one, a->allow == b->allow
				      ? "take it out; the other is here"
				      : "move it up, or take it out; the other is here");
	}
	problem_seen(one, a->place);
}

/* "a", "b" and 3 more */
static void
put_rules(struct text *t, const struct shadow_proof *proof)
{
	size_t i, shown = proof->count <= NAMED ? proof->count : NAMED - 1;

	for (i = 0; i < shown; i++)
		text_putf(t, "%s\"%s\"",
			  i == 0                  ? ""
			  : i + 1 == proof->count ? " and "
						  : ", ",
			  proof->by[i]->name);
	if (shown < proof->count)
		text_putf(t, " and %zu more", proof->count - shown);
}

static void
tell_shadow(struct linter *t, const struct shadow_proof *proof, const struct model_rule *rule)
{
	char names[NAMED * 80];
	struct problem *one;
	struct text text;

	if (proof->count == 1) {
		tell_cover(t, proof->by[0], rule);
		return;
	}
	text_init(&text, names, sizeof(names));
	put_rules(&text, proof);
	one = problems_add(&t->out->findings, "W401", rule->place,
			   "rule \"%s\" can never match: the rules %s before it hold together for "
			   "all that it holds for",
			   rule->name, names);
	problem_help(one, "move it up, or take it out; the first of them is here");
	problem_seen(one, proof->by[0]->place);
}

/* A table of it has run dry, which check tells: it is not the rule's fault. */
static bool
is_dry(const struct model_rule *r)
{
	const struct model_set *set;
	const char *key;
	unsigned i;
	size_t k;

	for (i = 0; (set = rule_set(r, i, &key)) != NULL; i++)
		for (k = 0; k < set->object_count; k++)
			if (object_count(set->objects[k]) == 0)
				return true;
	return false;
}

static void
tell_empty(struct linter *t, const struct model_rule *rule)
{
	if (!is_dry(rule))
		problem_help(problems_add(&t->out->findings, "W409", rule->place,
					  "rule \"%s\" can never match: its own keys leave nothing "
					  "over",
					  rule->name),
			     "what \"except\" or \"from-except\" takes away is all that there "
			     "is");
}

/* No session was found: is there a proof that there is none? */
static void
check_shadow(struct linter *t, const struct model_rule *rule)
{
	struct shadow_proof proof;

	switch (shadow_find(t->p, t->m, rule, t->now, &t->work, &proof)) {
	case SHADOW_WHOLE:
		tell_shadow(t, &proof, rule);
		break;
	case SHADOW_EMPTY:
		tell_empty(t, rule);
		break;
	case SHADOW_LIT:
		break;
	default:
		problem_help(problems_add(&t->out->undecided, "W401", rule->place,
					  "whether rule \"%s\" can ever match", rule->name),
			     "no session was found that it decides, and no proof that there is "
			     "none");
	}
}

static void
check_turn(struct linter *t, const struct model_rule *rule)
{
	struct turn turn = {.t = t, .rule = rule};

	if (rule_commands(rule) == 0 || is_over(t, rule)) /* W207, W203 */
		return;
	if (find_turn(&turn) && !turn.cover)
		return;
	/* What holds for nothing is in every set: that would be no cover. */
	if (turn.cover || (!is_dry(rule) && find_cover(&turn)))
		tell_cover(t, turn.cover, rule);
	else
		check_shadow(t, rule);
}

/* ---- doors beside a lock ------------------------------------------------------------------ */

struct door {
	struct linter *t;
	const struct model_rule *lock; /* denies by name */
	char names[WITNESS_NAMES][NAME_MAX_LEN + 1];
	size_t name_count;
	bool found;
};

/* Allowed by its address; denied if the same client asks for the same place by name? */
static bool
door_opens(void *data, const struct witness *w)
{
	struct door *d = data;
	struct rules_facts f = w->facts;
	struct rules_answer a;
	size_t i;

	if (f.name)
		return false;
	if (d->t->doors++ >= DOORS_MOST)
		return true;
	rules_evaluate(d->t->p, &f, &a);
	for (i = 0; a.verdict == RULES_PERMIT && i < d->name_count && !d->found; i++) {
		f.name = d->names[i];
		f.name_len = strlen(f.name);
		rules_evaluate(d->t->p, &f, &a);
		d->found = a.rule == (int32_t)d->lock->index;
	}
	return d->found;
}

static bool
has_hosts(const struct model_rule *r)
{
	size_t i;

	for (i = 0; i < r->to.object_count; i++)
		if (r->to.objects[i]->kind == OBJECT_HOST)
			return true;
	return false;
}

/* A name may lead anywhere in public; a rule for few addresses is no way around. */
static bool
leads_to_public(const struct model_rule *r)
{
	struct ranges to = ranges_of(&r->to, true), public = ranges_builtin(BUILTIN_PUBLIC);
	bool all = ranges_within(&public, &to);

	ranges_free(&to);
	ranges_free(&public);
	return all;
}

static void
check_door(struct linter *t, const struct model_rule *lock)
{
	struct door d = {.t = t, .lock = lock};
	struct problem *one;
	uint32_t i;

	if (lock->allow || lock->dry_run || is_over(t, lock) || !has_hosts(lock))
		return;
	d.name_count = witness_names(&lock->to, d.names);
	for (i = lock->index + 1; i < t->m->rule_count && d.name_count > 0; i++) {
		const struct model_rule *r = &t->m->rules[i];

		if (!r->allow || r->dry_run || is_over(t, r) || !leads_to_public(r) ||
		    !witness_each(t->p, r, t->now, door_opens, &d))
			continue;
		if (!d.found)
			break;
		one = problems_add(
		    &t->out->findings, "W404", lock->place,
		    "rule \"%s\" denies by name, and rule \"%s\" allows the address of "
		    "the same host",
		    lock->name, r->name);
		problem_help(one, "deny the networks too, or allow by name there");
		problem_seen(one, r->place);
		return;
	}
}

/* ---- one rule by itself ------------------------------------------------------------------- */

static bool
only_loopback(const struct model_rule *r)
{
	struct ranges from = ranges_of(&r->from, false),
		      loopback = ranges_builtin(BUILTIN_LOOPBACK);
	bool only = r->from.given && ranges_within(&from, &loopback);

	ranges_free(&from);
	ranges_free(&loopback);
	return only;
}

static void
check_identity(struct linter *t, const struct model_rule *r)
{
	static const char help[] = "or say in \"why\" why it need not";

	if (!r->allow || r->dry_run || is_over(t, r) || r->terms.why[0])
		return;
	if (r->who_kind == WHO_ANYONE && !only_loopback(r))
		problem_help(problems_add(&t->out->findings, "W407", r->place,
					  "rule \"%s\" allows without asking who it is", r->name),
			     "ask for an identity in \"who\", %s", help);
	if (r->who_kind != WHO_ANYONE && r->auth & AUTH_USERID)
		problem_help(problems_add(&t->out->findings, "W408", r->place,
					  "rule \"%s\" believes a userid, which anybody may claim",
					  r->name),
			     "ask for a better way in \"auth\", %s", help);
}

/* ---- objects -------------------------------------------------------------------------------- */

static bool
same_place(const struct place *a, const struct place *b)
{
	return a->line == b->line && a->column == b->column && a->file == b->file;
}

/* Nested objects hold the same pattern again. */
static bool
is_told(const struct problems *p, const struct place *at)
{
	size_t i;

	for (i = 0; i < p->count; i++)
		if (same_place(&p->list[i].place, at))
			return true;
	return false;
}

static void
check_pattern(struct linter *t, const struct host_pattern *h)
{
	struct problems *p = &t->out->findings;
	enum regex_sort sort;
	char say[512];

	if (h->kind != HOST_REGEX)
		return;
	sort = regex_sort(h->text, h->len, say, sizeof(say));
	if (sort == REGEX_NEEDED || is_told(p, &h->place))
		return;
	if (sort == REGEX_PLAIN)
		problem_help(problems_add(p, "W405", h->place, "this is no more than \"%s\"", say),
			     "write \"%s\": it is read at a glance, and faster", say);
	else
		problem_help(problems_add(p, "W406", h->place, "this fits \"%s\" too", say),
			     "write [.] for a dot, and *.a.example for all that is below a name");
}

static void
check_object(struct linter *t, const struct object *o)
{
	size_t i;

	if (o->name && !o->used)
		problem_help(problems_add(&t->out->findings, "W403", o->place,
					  "nothing uses %s \"%s\"", object_word(o->kind), o->name),
			     "take it out, or use it");
	for (i = 0; i < o->host_count; i++)
		check_pattern(t, &o->hosts[i]);
}

void
rules_lint(const struct rules_load *l, struct policy *p, int64_t now, struct lint *out)
{
	struct linter t = {
	    .l = l, .m = l->model, .p = p, .now = now, .out = out, .work = WORK_MOST};
	const struct object *o;
	size_t i;

	problems_init(&out->findings);
	problems_init(&out->undecided);
	take_warnings(&t);
	for (o = t.m->objects; o; o = o->next)
		check_object(&t, o);
	for (i = 0; i < t.m->rule_count; i++) {
		check_turn(&t, &t.m->rules[i]);
		check_identity(&t, &t.m->rules[i]);
		check_door(&t, &t.m->rules[i]);
	}
	problems_sort(&out->findings);
	problems_sort(&out->undecided);
}

void
lint_free(struct lint *lint)
{
	problems_free(&lint->findings);
	problems_free(&lint->undecided);
}
