/*
 * rules/evaluate.c - the one decision function: facts in, PERMIT, DENY or NEED out.
 *
 * Candidates come from the matchers' posting lists (each dimension is looked up once), are merged
 * in rule order and judged in full; so anchors change the speed and never the answer. Where a
 * dimension that anchors hang on is unknown, all rules of the matcher are candidates.
 * Runs in workers on a mapped image; must never allocate or block.
 */
#include "config.h"

#include <string.h>

#include "rules/image.h"

/* One evaluation: what was looked up, and how far the scan has come. */
struct walk {
	struct policy *p;
	const struct rules_facts *f;
	struct name_hits hits;
	struct who_view who;
	bool name_looked_up;
	/* the scan */
	struct rules_answer *out;
	bool uncertain, possible_allow;        /* some rule passed by; an allow among them */
	bool lost_undetermined, lost_resolves; /* an allow rule that failed only because of this */
};

/* ---- one rule ------------------------------------------------------------------------ */

static bool
known(const struct walk *w, uint32_t fact, struct judging *j)
{
	if (w->f->known & fact)
		return true;
	j->needs |= fact;
	return false;
}

static enum tri
says(bool yes)
{
	return yes ? TRI_YES : TRI_NO;
}

static enum tri not(enum tri t) { return t == TRI_UNKNOWN ? t : says(t == TRI_NO); }

static enum tri and (enum tri a, enum tri b) {
	if (a == TRI_NO || b == TRI_NO) return TRI_NO;
	return a == TRI_UNKNOWN || b == TRI_UNKNOWN ? TRI_UNKNOWN : TRI_YES;
}

static enum tri
judge_version(struct walk *w, const struct image_rule *r, struct judging *j)
{
	uint8_t both = 1 << 4 | 1 << 5;

	if ((r->versions & both) == both)
		return TRI_YES;
	if (!known(w, FACT_VERSION, j))
		return r->versions & both ? TRI_UNKNOWN : TRI_NO;
	return says(w->f->version < 8 && r->versions >> w->f->version & 1);
}

#define COMMANDS_TCP (1 << RULES_CONNECT | 1 << RULES_BIND)
#define COMMANDS_UDP (1 << RULES_UDP)
#define COMMANDS_ALL (COMMANDS_TCP | COMMANDS_UDP)

static enum tri
judge_command(struct walk *w, const struct image_rule *r, struct judging *j)
{
	if ((r->commands & COMMANDS_ALL) == COMMANDS_ALL)
		return TRI_YES;
	if (!known(w, FACT_COMMAND, j))
		return r->commands & COMMANDS_ALL ? TRI_UNKNOWN : TRI_NO;
	return says(w->f->command < 8 && r->commands >> w->f->command & 1);
}

/* Is the port in the set, for one protocol; with an unknown port: can it be? */
static enum tri
ports_have(struct walk *w, uint32_t set, bool udp)
{
	const uint32_t *v;
	uint32_t one, n = set_members(w->p, set, &v, &one);
	enum tri result = TRI_NO;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t *first = &w->p->service_first[2 * v[i] + udp];

		for (uint32_t k = first[0]; k < first[1]; k++) {
			if (!(w->f->known & FACT_PORT))
				result = TRI_UNKNOWN;
			else if (w->p->ports[k].first <= w->f->port &&
				 w->f->port <= w->p->ports[k].last)
				return says(w->f->port != 0);
		}
	}
	return result;
}

static enum tri
judge_service(struct walk *w, const struct image_rule *r, struct judging *j)
{
	enum tri tcp, udp, result;

	if (r->service == SET_NONE)
		return TRI_YES;
	if (w->f->known & FACT_COMMAND) {
		result = ports_have(w, r->service, w->f->command == RULES_UDP);
	} else {
		tcp = ports_have(w, r->service, false);
		udp = ports_have(w, r->service, true);
		if (!(r->commands & COMMANDS_TCP))
			tcp = udp;
		else if (!(r->commands & COMMANDS_UDP))
			udp = tcp;
		if (tcp != udp)
			j->needs |= FACT_COMMAND;
		result = tcp == udp ? tcp : TRI_UNKNOWN;
	}
	if (result == TRI_UNKNOWN)
		j->needs |= ~w->f->known & FACT_PORT;
	return result;
}

static enum tri
judge_from(struct walk *w, const struct image_rule *r, struct judging *j)
{
	if (r->from == SET_NONE || networks_name(w->p, r->from, NETWORK_ANY_FROM))
		return TRI_YES;
	if (!known(w, FACT_CLIENT, j))
		return TRI_UNKNOWN;
	return says(networks_have(w->p, r->from, &w->f->client));
}

static enum tri
judge_from_except(struct walk *w, const struct image_tail *t, struct judging *j)
{
	if (t->from_except == SET_NONE)
		return TRI_YES;
	if (networks_name(w->p, t->from_except, NETWORK_ANY_FROM))
		return TRI_NO;
	if (!known(w, FACT_CLIENT, j))
		return TRI_UNKNOWN;
	return says(!networks_have(w->p, t->from_except, &w->f->client));
}

static enum tri
judge_listener(struct walk *w, const struct image_tail *t, struct judging *j)
{
	const uint32_t *v;
	uint32_t one, n = set_members(w->p, t->listeners, &v, &one);

	if (t->listeners == SET_NONE)
		return TRI_YES;
	if (!known(w, FACT_CLIENT, j))
		return TRI_UNKNOWN;
	for (uint32_t i = 0; i < n; i++)
		if ((int64_t)v[i] == w->f->listener)
			return TRI_YES;
	return TRI_NO;
}

static enum tri
judge_when(struct walk *w, const struct image_tail *t, struct judging *j)
{
	int64_t at = w->f->time;
	enum tri dates;

	if (t->when == SET_NONE && t->since == IMAGE_NO_SINCE && t->expires == IMAGE_NO_EXPIRES)
		return TRI_YES;
	if (!known(w, FACT_TIME, j))
		return TRI_UNKNOWN;
	dates = says(at >= t->since && (t->expires == IMAGE_NO_EXPIRES || at < t->expires));
	if (dates == TRI_NO || t->when == SET_NONE)
		return dates;
	return says(times_have(w->p, t->when, at));
}

/* BIND's wildcard peer (semantics 9): `any` holds for it, though it holds no unspecified address.
 */
static enum tri
judge_wildcard(struct walk *w, uint32_t set, struct judging *j)
{
	if (!addr_is_unspecified(&w->f->address) || !networks_name(w->p, set, NETWORK_ANY_TO))
		return TRI_NO;
	if ((w->f->known & FACT_COMMAND && w->f->command != RULES_BIND) ||
	    (w->f->known & FACT_NAME && w->f->name != NULL))
		return TRI_NO;
	j->needs |= ~w->f->known & (FACT_COMMAND | FACT_NAME);
	return w->f->known & FACT_COMMAND && w->f->known & FACT_NAME ? TRI_YES : TRI_UNKNOWN;
}

static enum tri
judge_networks(struct walk *w, uint32_t set, struct judging *j)
{
	if (set == SET_NONE)
		return TRI_NO;
	if (!known(w, FACT_ADDRESS, j))
		return TRI_UNKNOWN;
	if (networks_have(w->p, set, &w->f->address))
		return TRI_YES;
	return judge_wildcard(w, set, j);
}

static enum tri
judge_hosts(struct walk *w, uint32_t set, struct judging *j)
{
	enum tri result;

	if (set == SET_NONE)
		return TRI_NO;
	if (!known(w, FACT_NAME, j))
		return TRI_UNKNOWN;
	if (w->f->name == NULL)
		return TRI_NO;
	if (!w->name_looked_up) {
		name_look_up(w->p, w->f->name, w->f->name_len, &w->hits);
		w->name_looked_up = true;
	}
	result = hosts_have(w->p, set, w->f, &w->hits);
	return result == TRI_UNKNOWN ? judge_undecided(j) : result;
}

/* An allowed name must also lead to where it may (semantics 6). */
static enum tri
judge_resolves(struct walk *w, const struct image_rule *r, const struct image_tail *t,
	       struct judging *j)
{
	if (!(r->flags & RULE_ALLOW))
		return TRI_YES;
	if (!known(w, FACT_ADDRESS, j))
		return TRI_UNKNOWN;
	if (j->ignore_resolves || networks_have(w->p, t->resolves_in, &w->f->address))
		return TRI_YES;
	j->met_resolves = true;
	return TRI_NO;
}

static enum tri
judge_to(struct walk *w, const struct image_rule *r, const struct image_tail *t, struct judging *j)
{
	uint32_t needs = j->needs, by_address;
	enum tri networks, hosts;

	if (!(r->flags & RULE_TO_GIVEN))
		return TRI_YES;
	networks = judge_networks(w, r->to_networks, j);
	if (networks == TRI_YES)
		return TRI_YES;
	by_address = j->needs;
	hosts = judge_hosts(w, r->to_hosts, j);
	if (hosts != TRI_NO)
		hosts = and(hosts, judge_resolves(w, r, t, j));
	if (hosts == TRI_NO) {
		j->needs = by_address;
		return networks;
	}
	if (hosts == TRI_YES)
		j->needs = needs;
	return hosts;
}

static enum tri
judge_except(struct walk *w, const struct image_tail *t, struct judging *j)
{
	uint32_t needs = j->needs;
	enum tri networks, hosts;

	if (t->except_networks == SET_NONE && t->except_hosts == SET_NONE)
		return TRI_YES;
	networks = judge_networks(w, t->except_networks, j);
	if (networks == TRI_YES)
		return TRI_NO;
	/* An undecidable exception goes the other way than an undecidable `to`. */
	j->undecided_holds = !j->undecided_holds;
	hosts = judge_hosts(w, t->except_hosts, j);
	j->undecided_holds = !j->undecided_holds;
	if (hosts == TRI_YES)
		j->needs = needs;
	return not(hosts == TRI_NO ? networks : hosts);
}

/* All keys of a rule, the cheap ones first. */
static enum tri
judge_keys(struct walk *w, const struct image_rule *r, struct judging *j)
{
	const struct image_tail *t = &w->p->tails[r->tail];
	enum tri result = judge_version(w, r, j);

	if ((result = and(result, judge_command(w, r, j))) == TRI_NO)
		return TRI_NO;
	if ((result = and(result, judge_from(w, r, j))) == TRI_NO)
		return TRI_NO;
	if ((result = and(result, judge_service(w, r, j))) == TRI_NO)
		return TRI_NO;
	if ((result = and(result, who_holds(w->p, r, w->f, &w->who, j))) == TRI_NO)
		return TRI_NO;
	if ((result = and(result, judge_to(w, r, t, j))) == TRI_NO)
		return TRI_NO;
	if ((result = and(result, judge_except(w, t, j))) == TRI_NO)
		return TRI_NO;
	if ((result = and(result, judge_from_except(w, t, j))) == TRI_NO)
		return TRI_NO;
	if ((result = and(result, judge_listener(w, t, j))) == TRI_NO)
		return TRI_NO;
	return and(result, judge_when(w, t, j));
}

/* ---- the scan ------------------------------------------------------------------------- */

/* Would the rule have held, had one test gone the other way? */
static bool
holds_otherwise(struct walk *w, const struct image_rule *r, bool undecided_holds, bool ignore)
{
	struct judging j = {.undecided_holds = undecided_holds, .ignore_resolves = ignore};

	return judge_keys(w, r, &j) == TRI_YES;
}

static void
passed_over(struct walk *w, const struct image_rule *r, const struct judging *j)
{
	if (!(r->flags & RULE_ALLOW) || r->flags & RULE_DRY_RUN)
		return;
	if (j->met_undecided && holds_otherwise(w, r, true, false))
		w->lost_undetermined = true;
	if (j->met_resolves && holds_otherwise(w, r, false, true))
		w->lost_resolves = true;
}

/* A certain rule, or the end of the list (rule NULL): the scan is over. */
static void
settle(struct walk *w, int32_t index, const struct image_rule *r, enum rules_reason reason)
{
	bool allow = r != NULL && r->flags & RULE_ALLOW;

	if (w->possible_allow || (allow && w->uncertain)) {
		w->out->verdict = RULES_NEED;
		w->out->rule = RULE_NONE;
		w->out->reason = REASON_DEFAULT;
		return;
	}
	w->out->verdict = allow ? RULES_PERMIT : RULES_DENY;
	w->out->rule = index;
	w->out->reason = reason;
	w->out->needs = 0;
	w->out->alert = r != NULL && r->flags & RULE_ALERT;
}

static void
settle_default(struct walk *w)
{
	enum rules_reason reason = w->lost_undetermined ? REASON_UNDETERMINED
				   : w->lost_resolves   ? REASON_RESOLVES_IN
							: REASON_DEFAULT;

	settle(w, RULE_DEFAULT, NULL, reason);
}

/* Judges one candidate. True: it decides, and the scan is over. */
static bool
candidate(struct walk *w, uint32_t index)
{
	const struct image_rule *r = &w->p->rules[index];
	bool allow = r->flags & RULE_ALLOW;
	struct judging j = {.undecided_holds = !allow};
	enum rules_reason reason = REASON_RULE;
	enum tri result;

	w->out->tested++;
	result = judge_keys(w, r, &j);
	if (result == TRI_NO) {
		passed_over(w, r, &j);
		return false;
	}
	if (r->flags & RULE_DRY_RUN) {
		if (result == TRI_YES && w->out->dry_run == 0)
			w->out->dry_run = index + 1;
		return false;
	}
	if (allow)
		w->out->methods |= j.methods;
	if (result == TRI_UNKNOWN) {
		w->uncertain = true;
		w->possible_allow |= allow;
		w->out->needs |= j.needs;
		w->out->kinds |= j.methods;
		return false;
	}
	if (!allow && j.met_undecided && !holds_otherwise(w, r, false, false))
		reason = REASON_UNDETERMINED;
	settle(w, (int32_t)index, r, reason);
	return true;
}

/* ---- candidates -------------------------------------------------------------------------- */

static void
list_add(struct policy *p, const uint32_t *v, uint32_t n)
{
	if (n == 0)
		return;
	if (p->list_count < p->list_cap)
		p->lists[p->list_count] = (struct list){v, v + n};
	p->list_count++;
}

static void
anchor_add(struct policy *p, const struct posts *t, uint32_t anchor)
{
	if (anchor < t->anchor_count)
		list_add(p, t->rules + t->first[anchor], t->first[anchor + 1] - t->first[anchor]);
}

static void
gather_address(struct policy *p, const struct posts *t, const struct prefix_index *x,
	       const struct addr *a)
{
	for (uint32_t n = prefix_find(x, a); n != 0; n = p->nodes[n - 1].parent)
		for (uint32_t i = p->nodes[n - 1].first; i < p->nodes[n].first; i++)
			anchor_add(p, t, p->node_anchors[i]);
}

static void
gather_listener(struct walk *w, const struct posts *t)
{
	uint32_t anchor;

	if (w->f->listener < 0 || (uint32_t)w->f->listener >= w->p->listener_count)
		return;
	anchor = w->p->listener_anchors[w->f->listener];
	if (anchor != 0)
		anchor_add(w->p, t, anchor - 1);
}

static void
gather_service(struct walk *w, const struct posts *t)
{
	struct addr key = addr_from_v4(port_key(w->f->command == RULES_UDP, w->f->port));

	gather_address(w->p, t, &w->p->port_index, &key);
}

static void
gather_word(struct policy *p, const struct posts *t, uint32_t word, enum anchor_kind kind)
{
	const uint32_t *range = &p->header->anchor_first[kind];

	for (uint32_t i = p->word_first[word]; i < p->word_first[word + 1]; i++)
		if (p->word_anchors[i] >= range[0] && p->word_anchors[i] < range[1])
			anchor_add(p, t, p->word_anchors[i]);
}

static void
gather_name(struct walk *w, const struct posts *t)
{
	if (w->f->name == NULL)
		return;
	if (!w->name_looked_up) {
		name_look_up(w->p, w->f->name, w->f->name_len, &w->hits);
		w->name_looked_up = true;
	}
	for (unsigned i = 0; i < w->hits.count; i++)
		gather_word(w->p, t, w->hits.word[i] >> 1, ANCHOR_HOST);
}

static void
gather_groups(struct walk *w, const struct posts *t)
{
	if (!(w->f->known & FACT_GROUPS) || w->f->groups_failed) {
		list_add(w->p, t->unix_groups, t->unix_count);
		return;
	}
	for (size_t g = 0; g < w->f->group_count; g++) {
		uint32_t word = word_find(w->p, w->f->groups[g], strlen(w->f->groups[g]));

		if (word != 0)
			gather_word(w->p, t, word - 1, ANCHOR_WHO);
	}
}

static void
gather_who(struct walk *w, const struct posts *t)
{
	if (!(w->f->known & FACT_ASSERTED))
		list_add(w->p, t->asserted, t->asserted_count);
	else if (w->who.asserted != 0)
		gather_word(w->p, t, w->who.asserted - 1, ANCHOR_WHO);
	if (w->who.proven != 0)
		gather_word(w->p, t, w->who.proven - 1, ANCHOR_WHO);
	if (w->f->proven_user != NULL ||
	    (w->f->known & FACT_ASSERTED && w->f->asserted_user != NULL))
		gather_groups(w, t);
}

/* Collects the lists that hold every rule that may hold. False: all rules may. */
static bool
gather(struct walk *w, const struct posts *t)
{
	struct policy *p = w->p;
	uint32_t must = 0;

	must |= t->uses[ANCHOR_FROM] ? FACT_CLIENT : 0;
	must |= t->uses[ANCHOR_TO] ? FACT_ADDRESS : 0;
	must |= t->uses[ANCHOR_HOST] ? FACT_NAME : 0;
	must |= t->uses[ANCHOR_WHO] ? FACT_PROVEN : 0;
	must |= t->uses[ANCHOR_LISTENER] ? FACT_CLIENT : 0;
	must |= t->uses[ANCHOR_SERVICE] ? FACT_PORT | FACT_COMMAND : 0;
	if (must & ~w->f->known)
		return false;
	p->list_count = 0;
	list_add(p, t->always, t->always_count);
	if (t->uses[ANCHOR_FROM])
		gather_address(p, t, &p->from_index, &w->f->client);
	if (t->uses[ANCHOR_LISTENER])
		gather_listener(w, t);
	if (t->uses[ANCHOR_SERVICE])
		gather_service(w, t);
	if (t->uses[ANCHOR_TO])
		gather_address(p, t, &p->to_index, &w->f->address);
	if (t->uses[ANCHOR_HOST])
		gather_name(w, t);
	if (t->uses[ANCHOR_WHO])
		gather_who(w, t);
	return p->list_count <= p->list_cap;
}

/* ---- merging ---------------------------------------------------------------------------- */

static void
sift(struct list *v, uint32_t n, uint32_t i)
{
	struct list moved = v[i];

	for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
		if (child + 1 < n && *v[child + 1].at < *v[child].at)
			child++;
		if (*moved.at <= *v[child].at)
			break;
		v[i] = v[child];
	}
	v[i] = moved;
}

static void
scan_lists(struct walk *w)
{
	struct list *v = w->p->lists;
	uint32_t n = w->p->list_count;
	uint32_t last = UINT32_MAX;

	for (uint32_t i = n / 2; i-- > 0;)
		sift(v, n, i);
	while (n > 0) {
		uint32_t index = *v[0].at++;

		if (v[0].at == v[0].end)
			v[0] = v[--n];
		if (n > 1)
			sift(v, n, 0);
		if (index != last && candidate(w, index))
			return;
		last = index;
	}
	settle_default(w);
}

static void
scan_all(struct walk *w, const struct posts *t)
{
	uint32_t n = t->subset_count > 0 ? t->subset_count : w->p->rule_count;

	for (uint32_t i = 0; i < n; i++)
		if (candidate(w, t->subset_count > 0 ? t->subset[i] : i))
			return;
	settle_default(w);
}

/* The matcher that assumes the most of what is unknown here. */
static enum matcher
choose(uint32_t facts)
{
	enum matcher m = MATCHER_EARLY;

	while (m > MATCHER_FULL && matcher_blind[m] & facts)
		m--;
	return m;
}

/* One destination, as it stands. */
static void
evaluate_one(struct walk *w)
{
	const struct posts *t = &w->p->posts[choose(w->f->known)];

	switch (self_holds(w->f, &w->out->needs)) {
	case TRI_YES:
		settle(w, RULE_SELF, NULL, REASON_SELF);
		return;
	case TRI_UNKNOWN:
		w->uncertain = true;
		break;
	default:
		break;
	}
	if (gather(w, t))
		scan_lists(w);
	else
		scan_all(w, t);
}

/* Both must be allowed; the outer denial is told first (semantics 7). */
static void
answer_both(struct rules_answer *out, const struct rules_answer *inner)
{
	uint32_t tested = out->tested + inner->tested;
	uint32_t dry_run = out->dry_run != 0 ? out->dry_run : inner->dry_run;

	if (out->verdict == RULES_DENY) {
		out->tested = tested;
		return;
	}
	if (inner->verdict == RULES_DENY) {
		*out = *inner;
	} else if (inner->verdict == RULES_NEED || out->verdict == RULES_NEED) {
		out->verdict = RULES_NEED;
		out->rule = RULE_NONE;
		out->reason = REASON_DEFAULT;
		out->alert = 0;
		out->needs |= inner->needs;
		out->methods |= inner->methods;
		out->kinds |= inner->kinds;
	}
	out->tested = tested;
	out->dry_run = dry_run;
}

void
evaluate_outer(struct policy *p, const struct rules_facts *facts, struct rules_answer *out)
{
	struct walk w = {.p = p, .f = facts, .out = out};

	memset(out, 0, sizeof(*out));
	who_look_up(p, facts, &w.who);
	evaluate_one(&w);
}

void
rules_evaluate(struct policy *p, const struct rules_facts *facts, struct rules_answer *out)
{
	struct rules_answer inner_answer;
	struct rules_facts inner;

	regex_forget(p);
	evaluate_outer(p, facts, out);
	if (!(facts->known & FACT_ADDRESS) || out->verdict == RULES_DENY)
		return;
	inner = *facts;
	if (!addr_embedded(&facts->address, &inner.address))
		return;
	evaluate_outer(p, &inner, &inner_answer);
	answer_both(out, &inner_answer);
}
