/*
 * rules/linear.c - the oracle: POLICY.md's semantics as plainly as they can be written.
 *
 * A top-to-bottom scan in which each key is looked at by simple loops over what the image says, in
 * the order of POLICY.md's table; no index, no hash, no order of lists is relied upon.
 * rules_evaluate must give the same answer always; the differential tests run this one. Explain
 * asks the same keys, but not plainly: it looks things up, since tables may have a million entries.
 */
#include "config.h"

#include <string.h>

#include "rules/image.h"

/* A truth of three, and if it is unknown the facts that it waits for. */
struct truth {
	enum tri is;
	uint32_t needs;
};

static const struct truth yes = {TRI_YES, 0}, no = {TRI_NO, 0};

static struct truth
truth_of(bool b)
{
	return b ? yes : no;
}

static struct truth
waits_for(uint32_t needs)
{
	return (struct truth){TRI_UNKNOWN, needs};
}

static struct truth
both(struct truth a, struct truth b)
{
	if (a.is == TRI_NO || b.is == TRI_NO)
		return no;
	if (a.is == TRI_YES && b.is == TRI_YES)
		return yes;
	return waits_for(a.needs | b.needs);
}

static struct truth
negated(struct truth a)
{
	return a.is == TRI_UNKNOWN ? a : truth_of(a.is == TRI_NO);
}

static struct truth
either(struct truth a, struct truth b)
{
	return negated(both(negated(a), negated(b)));
}

struct linear {
	struct policy *p;
	const struct rules_facts *f;
	const struct image_rule *r;
	const struct image_tail *t;
	bool allow;
	bool plain;                            /* by loops */
	bool undecided_holds, ignore_resolves; /* as in struct judging */
	uint32_t methods;
};

static struct truth
fact(const struct linear *l, uint32_t bit)
{
	return l->f->known & bit ? yes : waits_for(bit);
}

/* ---- membership by loops -------------------------------------------------------------- */

static bool
in_network(const struct policy *p, uint32_t network, const struct addr *a)
{
	const uint32_t *four = &p->network_first4[network], *six = &p->network_first6[network];

	if (network == NETWORK_ANY_FROM)
		return true;
	for (uint32_t i = four[0]; addr_is4(a) && i < four[1]; i++)
		if (p->ranges4[i].first <= addr_v4(a) && addr_v4(a) <= p->ranges4[i].last)
			return true;
	for (uint32_t i = six[0]; !addr_is4(a) && i < six[1]; i++)
		if (addr_compare(&p->ranges6[i].first, a) <= 0 &&
		    addr_compare(a, &p->ranges6[i].last) <= 0)
			return true;
	return false;
}

static bool
in_networks(const struct linear *l, uint32_t set, const struct addr *a)
{
	const uint32_t *v;
	uint32_t one, n = set_members(l->p, set, &v, &one);

	if (!l->plain)
		return networks_have(l->p, set, a);
	for (uint32_t i = 0; i < n; i++)
		if (in_network(l->p, v[i], a))
			return true;
	return false;
}

static bool
pattern_fits(const char *text, enum host_kind kind, const char *name, size_t len)
{
	size_t n = strlen(text);
	bool whole = n == len && memcmp(name, text, n) == 0;
	bool under = len > n && name[len - n - 1] == '.' && memcmp(name + len - n, text, n) == 0;

	return (kind != HOST_BELOW && whole) || (kind != HOST_EXACT && under);
}

static struct truth
in_host(const struct linear *l, uint32_t host, bool undecided)
{
	struct policy *p = l->p;
	struct truth result = no;

	for (uint32_t i = p->host_first[host]; i < p->host_first[host + 1]; i++) {
		uint32_t v = p->host_patterns[i];
		enum tri t;

		if (v & HOST_PATTERN_REGEX) {
			t = regex_holds(p, v & ~HOST_PATTERN_REGEX, l->f->name, l->f->name_len);
			result =
			    either(result, truth_of(t == TRI_UNKNOWN ? undecided : t == TRI_YES));
		} else if (pattern_fits(p->strings + p->words[v >> 2], v & 3, l->f->name,
					l->f->name_len)) {
			return yes;
		}
	}
	return result;
}

static struct truth
look_up_host(const struct linear *l, uint32_t set, bool undecided)
{
	struct name_hits hits;
	enum tri t;

	name_look_up(l->p, l->f->name, l->f->name_len, &hits);
	t = hosts_have(l->p, set, l->f, &hits);
	return truth_of(t == TRI_UNKNOWN ? undecided : t == TRI_YES);
}

static struct truth
in_hosts(const struct linear *l, uint32_t set, bool undecided)
{
	const uint32_t *v;
	uint32_t one, n = set_members(l->p, set, &v, &one);
	struct truth result = no;

	if (n == 0)
		return no;
	if (!(l->f->known & FACT_NAME))
		return waits_for(FACT_NAME);
	if (l->f->name == NULL)
		return no;
	if (!l->plain)
		return look_up_host(l, set, undecided);
	for (uint32_t i = 0; i < n; i++)
		result = either(result, in_host(l, v[i], undecided));
	return result;
}

/* A word in list 0 (users) or 1 (Unix groups) of one of the group objects; NULL: has it any? */
static bool
in_groups(const struct linear *l, uint32_t set, unsigned list, const char *word)
{
	const struct policy *p = l->p;
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one);

	if (!l->plain && word != NULL)
		return groups_list(p, set, list, word_find(p, word, strlen(word)));
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t *first = &p->group_first[2 * v[i] + list];

		for (uint32_t k = first[0]; k < first[1]; k++)
			if (word == NULL ||
			    strcmp(p->strings + p->words[p->group_words[k]], word) == 0)
				return true;
	}
	return false;
}

/* ---- the keys -------------------------------------------------------------------------- */

static struct truth
groups_fit(const struct linear *l)
{
	if (!in_groups(l, l->r->who, 1, NULL))
		return no;
	if (!(l->f->known & FACT_GROUPS))
		return waits_for(FACT_GROUPS);
	if (l->f->groups_failed)
		return truth_of(l->undecided_holds);
	for (size_t g = 0; g < l->f->group_count; g++)
		if (in_groups(l, l->r->who, 1, l->f->groups[g]))
			return yes;
	return no;
}

/* user NULL: nobody knows yet who it will be. */
static struct truth
user_fits(const struct linear *l, const char *user, uint32_t bit)
{
	struct truth by_name;

	if (l->r->who_kind == WHO_KIND_KNOWN)
		return yes;
	by_name = truth_of(in_groups(l, l->r->who, 0, user));
	if (user == NULL && by_name.is == TRI_YES)
		by_name = waits_for(bit);
	return either(by_name, groups_fit(l));
}

/* The identity of one half (proven, asserted) against the rule; kinds: accepted and possible. */
static struct truth
half_fits(struct linear *l, uint32_t kinds, uint32_t bit, const char *user, uint32_t by)
{
	struct truth result;

	if (l->f->known & bit)
		kinds &= user != NULL ? by : 0;
	if (kinds == 0)
		return no;
	if (l->f->known & bit)
		result = user_fits(l, user, bit);
	else
		result = both(waits_for(bit), user_fits(l, NULL, bit));
	if (result.is != TRI_NO)
		l->methods |= kinds;
	return result;
}

static struct truth
identity_fits(struct linear *l, uint32_t accepted)
{
	uint32_t asserted = accepted & AUTH_ASSERTED;

	if ((l->f->known & FACT_VERSION) && !(l->f->known & FACT_ASSERTED) && l->f->version != 4)
		asserted &= ~(uint32_t)AUTH_USERID;
	return either(
	    half_fits(l, accepted & AUTH_PROVEN, FACT_PROVEN, l->f->proven_user, l->f->proven_by),
	    half_fits(l, asserted, FACT_ASSERTED, l->f->asserted_user, l->f->asserted_by));
}

static struct truth
key_who(struct linear *l)
{
	if (l->r->who_kind == WHO_KIND_ANYONE)
		return yes;
	return identity_fits(l, AUTH_PROVEN | AUTH_ASSERTED);
}

static struct truth
key_auth(struct linear *l)
{
	l->methods = 0;
	if (l->r->who_kind != WHO_KIND_ANYONE)
		return identity_fits(l, l->r->auth);
	l->methods = AUTH_NONE;
	return yes;
}

static struct truth
client_in(struct linear *l, uint32_t set)
{
	if (networks_name(l->p, set, NETWORK_ANY_FROM))
		return yes;
	return l->f->known & FACT_CLIENT ? truth_of(in_networks(l, set, &l->f->client))
					 : waits_for(FACT_CLIENT);
}

static struct truth
key_from(struct linear *l)
{
	return l->r->from == SET_NONE ? yes : client_in(l, l->r->from);
}

static struct truth
key_from_except(struct linear *l)
{
	return l->t->from_except == SET_NONE ? yes : negated(client_in(l, l->t->from_except));
}

static struct truth
key_listener(struct linear *l)
{
	const uint32_t *v;
	uint32_t one, n = set_members(l->p, l->t->listeners, &v, &one);

	if (n == 0)
		return yes;
	if (!(l->f->known & FACT_CLIENT))
		return waits_for(FACT_CLIENT);
	for (uint32_t i = 0; i < n; i++)
		if ((int64_t)v[i] == l->f->listener)
			return yes;
	return no;
}

static struct truth
destination_in(const struct linear *l, uint32_t set)
{
	struct truth bind, nameless;

	if (set == SET_NONE)
		return no;
	if (!(l->f->known & FACT_ADDRESS))
		return waits_for(FACT_ADDRESS);
	if (in_networks(l, set, &l->f->address))
		return yes;
	if (!addr_is_unspecified(&l->f->address) || !networks_name(l->p, set, NETWORK_ANY_TO))
		return no;
	/* BIND for any peer (semantics 9) */
	bind = l->f->known & FACT_COMMAND ? truth_of(l->f->command == RULES_BIND)
					  : waits_for(FACT_COMMAND);
	nameless = l->f->known & FACT_NAME ? truth_of(l->f->name == NULL) : waits_for(FACT_NAME);
	return both(bind, nameless);
}

static struct truth
key_to(struct linear *l)
{
	if (!(l->r->flags & RULE_TO_GIVEN))
		return yes;
	return either(destination_in(l, l->r->to_networks),
		      in_hosts(l, l->r->to_hosts, l->undecided_holds));
}

static struct truth
key_except(struct linear *l)
{
	return negated(either(destination_in(l, l->t->except_networks),
			      in_hosts(l, l->t->except_hosts, !l->undecided_holds)));
}

static struct truth
key_resolves_in(struct linear *l)
{
	struct truth there;

	if (!l->allow || !(l->r->flags & RULE_TO_GIVEN) || l->ignore_resolves)
		return yes;
	there = fact(l, FACT_ADDRESS);
	if (there.is == TRI_YES)
		there = truth_of(in_networks(l, l->t->resolves_in, &l->f->address));
	return either(destination_in(l, l->r->to_networks), there);
}

static struct truth
port_in(const struct linear *l, bool udp)
{
	const uint32_t *v;
	uint32_t one, n = set_members(l->p, l->r->service, &v, &one);
	struct truth result = no;

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t *first = &l->p->service_first[2 * v[i] + udp];

		for (uint32_t k = first[0]; k < first[1]; k++)
			result = either(result, l->f->known & FACT_PORT
						    ? truth_of(l->f->port != 0 &&
							       l->f->port >= l->p->ports[k].first &&
							       l->f->port <= l->p->ports[k].last)
						    : waits_for(FACT_PORT));
	}
	return result;
}

#define COMMANDS_TCP (1 << RULES_CONNECT | 1 << RULES_BIND)
#define COMMANDS_UDP (1 << RULES_UDP)

static struct truth
key_service(struct linear *l)
{
	struct truth tcp, udp;

	if (l->r->service == SET_NONE)
		return yes;
	if (l->f->known & FACT_COMMAND)
		return port_in(l, l->f->command == RULES_UDP);
	tcp = port_in(l, l->r->commands & COMMANDS_TCP ? false : true);
	udp = port_in(l, l->r->commands & COMMANDS_UDP ? true : false);
	if (tcp.is == udp.is)
		return tcp;
	return waits_for(FACT_COMMAND | (~l->f->known & FACT_PORT));
}

static struct truth
key_command(struct linear *l)
{
	uint8_t commands = l->r->commands & (COMMANDS_TCP | COMMANDS_UDP);

	if (commands == 0 || commands == (COMMANDS_TCP | COMMANDS_UDP))
		return truth_of(commands != 0);
	if (!(l->f->known & FACT_COMMAND))
		return waits_for(FACT_COMMAND);
	return truth_of(l->f->command <= RULES_UDP && commands & 1 << l->f->command);
}

static struct truth
key_version(struct linear *l)
{
	uint8_t versions = l->r->versions & (1 << 4 | 1 << 5);

	if (versions == 0 || versions == (1 << 4 | 1 << 5))
		return truth_of(versions != 0);
	if (!(l->f->known & FACT_VERSION))
		return waits_for(FACT_VERSION);
	return truth_of(l->f->version <= 5 && versions & 1 << l->f->version);
}

static struct truth
key_when(struct linear *l)
{
	const uint32_t *v;
	uint32_t one, n = set_members(l->p, l->t->when, &v, &one);

	if (n == 0)
		return yes;
	if (!(l->f->known & FACT_TIME))
		return waits_for(FACT_TIME);
	for (uint32_t i = 0; i < n; i++)
		if (time_has(l->p, v[i], l->f->time))
			return yes;
	return no;
}

static struct truth
key_since(struct linear *l)
{
	if (l->t->since == IMAGE_NO_SINCE)
		return yes;
	return l->f->known & FACT_TIME ? truth_of(l->f->time >= l->t->since) : waits_for(FACT_TIME);
}

static struct truth
key_expires(struct linear *l)
{
	if (l->t->expires == IMAGE_NO_EXPIRES)
		return yes;
	return l->f->known & FACT_TIME ? truth_of(l->f->time < l->t->expires)
				       : waits_for(FACT_TIME);
}

/* In the order of POLICY.md's table. */
static const struct {
	const char *word;
	struct truth (*holds)(struct linear *);
} keys[] = {
    {"who", key_who},           {"auth", key_auth},
    {"from", key_from},         {"from-except", key_from_except},
    {"listener", key_listener}, {"to", key_to},
    {"except", key_except},     {"service", key_service},
    {"command", key_command},   {"version", key_version},
    {"when", key_when},         {"resolves-in", key_resolves_in},
    {"since", key_since},       {"expires", key_expires},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

/* All keys; *which: the first that fails, else the first unknown one, else NULL. */
static struct truth
rule_holds(struct linear *l, const char **which)
{
	struct truth result = yes;

	*which = NULL;
	for (size_t k = 0; k < KEY_COUNT; k++) {
		struct truth t = keys[k].holds(l);

		if (t.is == TRI_NO) {
			*which = keys[k].word;
			return no;
		}
		if (t.is == TRI_UNKNOWN && *which == NULL)
			*which = keys[k].word;
		/* `who` is only why `auth` fails: what it waits for is no more than that */
		if (keys[k].holds != key_who)
			result = both(result, t);
	}
	return result;
}

static struct linear
linear_begin(struct policy *p, const struct rules_facts *f, uint32_t index, bool plain)
{
	const struct image_rule *r = &p->rules[index];
	bool allow = r->flags & RULE_ALLOW;

	return (struct linear){.p = p,
			       .f = f,
			       .r = r,
			       .t = &p->tails[r->tail],
			       .allow = allow,
			       .plain = plain,
			       .undecided_holds = !allow};
}

static bool
would_hold(struct linear l, bool undecided_holds, bool ignore_resolves)
{
	const char *which;

	l.undecided_holds = undecided_holds;
	l.ignore_resolves = ignore_resolves;
	return rule_holds(&l, &which).is == TRI_YES;
}

/* ---- the scan --------------------------------------------------------------------------- */

struct scan {
	bool uncertain, possible_allow, lost_undetermined, lost_resolves;
};

static void
decide(struct rules_answer *out, const struct scan *s, int32_t rule, bool allow,
       enum rules_reason reason)
{
	if (s->possible_allow || (allow && s->uncertain)) {
		out->verdict = RULES_NEED;
		out->rule = RULE_NONE;
		out->reason = REASON_DEFAULT;
		return;
	}
	out->verdict = allow ? RULES_PERMIT : RULES_DENY;
	out->rule = rule;
	out->reason = reason;
	out->needs = 0;
}

static bool
scan_rule(struct policy *p, const struct rules_facts *f, uint32_t index, struct scan *s,
	  struct rules_answer *out)
{
	struct linear l = linear_begin(p, f, index, true);
	const char *which;
	struct truth t = rule_holds(&l, &which);
	bool dry_run = l.r->flags & RULE_DRY_RUN;

	if (dry_run) {
		if (t.is == TRI_YES && out->dry_run == 0)
			out->dry_run = index + 1;
		return false;
	}
	if (t.is == TRI_NO && l.allow) {
		s->lost_undetermined |= would_hold(l, true, false);
		s->lost_resolves |= would_hold(l, false, true);
	}
	if (t.is == TRI_NO)
		return false;
	if (l.allow)
		out->methods |= l.methods;
	if (t.is == TRI_UNKNOWN) {
		s->uncertain = true;
		s->possible_allow |= l.allow;
		out->needs |= t.needs;
		out->kinds |= l.methods;
		return false;
	}
	decide(out, s, (int32_t)index, l.allow,
	       l.allow || would_hold(l, false, false) ? REASON_RULE : REASON_UNDETERMINED);
	out->alert = out->rule >= 0 && l.r->flags & RULE_ALERT;
	return true;
}

static void
scan_once(struct policy *p, const struct rules_facts *f, struct rules_answer *out)
{
	struct scan s = {0};
	enum rules_reason reason;
	enum tri self;

	memset(out, 0, sizeof(*out));
	self = self_holds(f, &out->needs);
	if (self == TRI_YES) {
		decide(out, &s, RULE_SELF, false, REASON_SELF);
		return;
	}
	s.uncertain = self == TRI_UNKNOWN;
	for (uint32_t i = 0; i < p->rule_count; i++) {
		out->tested++;
		if (scan_rule(p, f, i, &s, out))
			return;
	}
	reason = s.lost_undetermined ? REASON_UNDETERMINED
		 : s.lost_resolves   ? REASON_RESOLVES_IN
				     : REASON_DEFAULT;
	decide(out, &s, RULE_DEFAULT, false, reason);
}

void
rules_evaluate_linear(struct policy *p, const struct rules_facts *facts, struct rules_answer *out)
{
	struct rules_answer inside;
	struct rules_facts inner = *facts;
	uint32_t tested, dry_run;

	regex_forget(p);
	scan_once(p, facts, out);
	if (!(facts->known & FACT_ADDRESS) || out->verdict == RULES_DENY ||
	    !addr_embedded(&facts->address, &inner.address))
		return;
	scan_once(p, &inner, &inside);
	tested = out->tested + inside.tested;
	dry_run = out->dry_run != 0 ? out->dry_run : inside.dry_run;
	if (inside.verdict == RULES_NEED ||
	    (inside.verdict == RULES_PERMIT && out->verdict == RULES_NEED)) {
		inside.verdict = RULES_NEED;
		inside.reason = REASON_DEFAULT;
		inside.rule = RULE_NONE;
		inside.alert = 0;
		inside.needs |= out->needs;
		inside.methods |= out->methods;
		inside.kinds |= out->kinds;
		*out = inside;
	} else if (inside.verdict == RULES_DENY) {
		*out = inside;
	}
	out->tested = tested;
	out->dry_run = dry_run;
}

const char *
rules_first_failure(struct policy *p, int32_t rule, const struct rules_facts *facts, bool *unknown)
{
	struct linear l;
	const char *which;
	struct truth t;

	*unknown = false;
	if (rule < 0 || (uint32_t)rule >= p->rule_count)
		return NULL;
	regex_forget(p);
	l = linear_begin(p, facts, (uint32_t)rule, false);
	t = rule_holds(&l, &which);
	*unknown = t.is == TRI_UNKNOWN;
	return which;
}
