/*
 * rules/read_rules.c - the rules: one table of keys, then what a rule must be as a whole (defaults,
 * keys that do not go together, dates, the open-proxy guard). COMPILE and sallyctl.
 */
#include "rules/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "base/text.h"

#define NETWORKS (1u << OBJECT_NETWORK)
#define DESTINATIONS (NETWORKS | 1u << OBJECT_HOST)
#define PROVEN (AUTH_PAM | AUTH_FILE | AUTH_GSSAPI | AUTH_CHAP)
#define DAY 86400

/* What only the reader must know of a rule until it is finished. */
struct reading {
	struct reader *r;
	struct model_rule *rule;
	bool action;                   /* given and understood */
	bool failed;                   /* a key was wrong: what follows from it is not told too */
	const struct node *allow_only; /* the first key that means nothing in a deny rule */
	const struct node *resolves_in, *auth, *command, *version, *since, *expires, *review;
};

/* ---- keys ---------------------------------------------------------------------- */

static void
key_action(struct reading *g, const struct node *n)
{
	static const char *const words[] = {"allow", "deny", NULL};
	int i = value_choice(g->r, n, "action", words);

	g->action = i >= 0;
	g->rule->allow = i == 0;
}

static void
key_who(struct reading *g, const struct node *n)
{
	who_read(g->r, n, g->rule);
}

static const struct {
	const char *word;
	uint8_t bit;
} auth_words[] = {{"pam", AUTH_PAM},   {"file", AUTH_FILE},   {"gssapi", AUTH_GSSAPI},
		  {"chap", AUTH_CHAP}, {"ident", AUTH_IDENT}, {"userid", AUTH_USERID}};
static const char *const auth_choices[] = {"pam",   "file",   "gssapi", "chap",
					   "ident", "userid", NULL};

bool
facts_auth(const char *word, uint8_t *bit)
{
	size_t i;

	for (i = 0; i < sizeof(auth_words) / sizeof(auth_words[0]); i++)
		if (!strcmp(word, auth_words[i].word)) {
			*bit = auth_words[i].bit;
			return true;
		}
	return false;
}

const char *
facts_auth_word(uint8_t bit)
{
	size_t i;

	for (i = 0; i < sizeof(auth_words) / sizeof(auth_words[0]); i++)
		if (auth_words[i].bit == bit)
			return auth_words[i].word;
	return "?";
}

static void
key_auth(struct reading *g, const struct node *n)
{
	const struct node *e = NULL;
	uint8_t bit;

	g->auth = n;
	g->rule->auth_given = true;
	while ((e = value_next(g->r, n, "auth", "a method or an array of methods", e)) != NULL)
		if (facts_auth(e->string.s, &bit))
			g->rule->auth |= bit;
		else
			value_choice(g->r, e, "auth", auth_choices);
	value_repeats(g->r, n);
}

static const char *const command_choices[] = {"connect", "bind", "udp-associate", NULL};

bool
facts_command(const char *word, uint8_t *command)
{
	static const uint8_t codes[] = {RULES_CONNECT, RULES_BIND, RULES_UDP};
	size_t i;

	for (i = 0; command_choices[i]; i++)
		if (!strcmp(word, command_choices[i])) {
			*command = codes[i];
			return true;
		}
	return false;
}

const char *
facts_command_word(unsigned command)
{
	return command >= RULES_CONNECT && command <= RULES_UDP
		   ? command_choices[command - RULES_CONNECT]
		   : "?";
}

static void
key_command(struct reading *g, const struct node *n)
{
	const struct node *e = NULL;
	uint8_t command;

	g->command = n;
	g->rule->commands_given = true;
	while ((e = value_next(g->r, n, "command", "a command or an array of commands", e)) != NULL)
		if (facts_command(e->string.s, &command))
			g->rule->commands |= (uint8_t)(1u << command);
		else
			value_choice(g->r, e, "command", command_choices);
	value_repeats(g->r, n);
}

static const struct set_rule how_from = {"from", NETWORKS, true},
			     how_from_except = {"from-except", NETWORKS, true},
			     how_to = {"to", DESTINATIONS, true},
			     how_except = {"except", DESTINATIONS, true},
			     how_resolves_in = {"resolves-in", NETWORKS, true},
			     how_service = {"service", 1u << OBJECT_SERVICE, false},
			     how_when = {"when", 1u << OBJECT_TIME, false};

static void
key_from(struct reading *g, const struct node *n)
{
	set_read(g->r, &how_from, n, &g->rule->from);
}

static void
key_from_except(struct reading *g, const struct node *n)
{
	set_read(g->r, &how_from_except, n, &g->rule->from_except);
}

static void
key_to(struct reading *g, const struct node *n)
{
	set_read(g->r, &how_to, n, &g->rule->to);
}

static void
key_except(struct reading *g, const struct node *n)
{
	set_read(g->r, &how_except, n, &g->rule->except);
}

static void
key_service(struct reading *g, const struct node *n)
{
	set_read(g->r, &how_service, n, &g->rule->service);
}

static void
key_when(struct reading *g, const struct node *n)
{
	set_read(g->r, &how_when, n, &g->rule->when);
}

static void
key_resolves_in(struct reading *g, const struct node *n)
{
	g->resolves_in = n;
	set_read(g->r, &how_resolves_in, n, &g->rule->resolves_in);
}

static void
unknown_listener(struct reader *r, const char *word, struct place at)
{
	struct problem *one = problems_add(r->p, "E224", at, "no listener is called \"%s\"", word);

	suggest(r, one, word, "", NULL, r->m->listeners);
	if (one && !one->help)
		problem_help(one, "listeners stand in listeners: { } of the settings file");
}

static void
key_listener(struct reading *g, const struct node *n)
{
	struct model_rule *rule = g->rule;
	struct rules_model *m = g->r->m;
	const struct node *e = NULL;
	size_t i;

	rule->listeners = model_alloc(m, (n->count + 1) * sizeof(*rule->listeners));
	while ((e = value_next(g->r, n, "listener", "a listener or an array of listeners", e)) !=
	       NULL) {
		const char *word = e->string.s;

		for (i = 0;
		     m->has_listeners && i < m->listener_count && strcmp(m->listeners[i], word);
		     i++)
			;
		if (m->has_listeners && i == m->listener_count)
			unknown_listener(g->r, word, e->value);
		else if (!m->has_listeners && !name_is_identifier(word, e->string.len))
			problem_help(
			    problems_add(g->r->p, "E202", e->value,
					 "\"%s\" cannot be the name of a listener", word),
			    "a name is a letter, then letters, digits, - and _, 64 in all at most");
		rule->listeners[rule->listener_count++] = word;
	}
	value_repeats(g->r, n);
}

static void
one_version(struct reading *g, const struct node *n)
{
	if (n->kind != NODE_INT)
		wrong_type(g->r, n, "version", "4, 5 or [ 4, 5 ]");
	else if (n->integer != 4 && n->integer != 5)
		problem_help(problems_add(g->r->p, "E206", n->value,
					  "there is no SOCKS version %lld", (long long)n->integer),
			     "versions are 4 (with 4a) and 5");
	else if (g->rule->versions & (1u << n->integer))
		problems_add(g->r->p, "W201", n->value, "%lld stands in this set already",
			     (long long)n->integer);
	else
		g->rule->versions |= (uint8_t)(1u << n->integer);
}

static void
key_version(struct reading *g, const struct node *n)
{
	const struct node *e;

	g->version = n;
	if (n->kind != NODE_ARRAY) {
		one_version(g, n);
		return;
	}
	if (!n->first)
		problem_help(problems_add(g->r->p, "E204", n->value, "\"version\" is empty"),
			     "leave the key out if it is to hold for both");
	for (e = n->first; e; e = e->next)
		one_version(g, e);
}

static void
key_route(struct reading *g, const struct node *n)
{
	const char *s = value_text(g->r, n, "route");

	if (!s)
		return;
	if (strcmp(s, "direct"))
		problem_help(
		    problems_add(g->r->p, "E203", n->value, "no upstream is called \"%s\"", s),
		    "\"direct\" is the only way there is as yet");
	g->rule->terms.route = s;
}

static void
one_egress(struct reading *g, const struct node *e)
{
	struct rule_terms *t = &g->rule->terms;
	struct addr a;
	bool four;

	if (!addr_parse(e->string.s, e->string.len, &a) ||
	    (addr_is4(&a) && strchr(e->string.s, ':')) || addr_is_unspecified(&a)) {
		problem_help(problems_add(g->r->p, "E209", e->value,
					  "\"%s\" is no address to go out from", e->string.s),
			     "write one address of this machine, or one of each family");
		return;
	}
	four = addr_is4(&a);
	if (four ? t->has_egress4 : t->has_egress6) {
		problem_help(problems_add(g->r->p, "E219", e->value,
					  "a second %s address in \"egress\"",
					  four ? "IPv4" : "IPv6"),
			     "a rule has one address a family");
		return;
	}
	*(four ? &t->has_egress4 : &t->has_egress6) = true;
	*(four ? &t->egress4 : &t->egress6) = a;
}

static void
key_egress(struct reading *g, const struct node *n)
{
	const struct node *e = NULL;

	while ((e = value_next(g->r, n, "egress", "an address or an array of two", e)) != NULL)
		one_egress(g, e);
}

static void
key_udp_replies(struct reading *g, const struct node *n)
{
	static const char *const words[] = {"contacted", "address", "any", NULL};
	int i = value_choice(g->r, n, "udp-replies", words);

	g->rule->terms.udp_replies = (uint8_t)(i > 0 ? i : 0);
}

static void
key_log(struct reading *g, const struct node *n)
{
	static const char *const words[] = {"start", "end", "both", NULL};
	int i = value_choice(g->r, n, "log", words);

	if (i >= 0)
		g->rule->terms.log = (uint8_t)(i + 1);
}

static void
key_alert(struct reading *g, const struct node *n)
{
	value_bool(g->r, n, "alert", &g->rule->terms.alert);
}

static bool
quantity_wrong(struct reader *r, const struct node *n, const char *key, const char *s,
	       const char *help)
{
	struct problem *one =
	    problems_add(r->p, "E217", n->value, "\"%s\" is no value of \"%s\"", s, key);

	problem_help(one, "%s", help);
	return false;
}

/* Milliseconds in *out, which the image holds in 32 or 64 bits (max). */
static bool
duration(struct reader *r, const struct node *n, const char *key, const char *s, uint64_t max,
	 uint64_t *out)
{
	if (!quantity_ms(s, strlen(s), out))
		return quantity_wrong(r, n, key, s,
				      "write a number, a blank and ms, s, min, h or d: \"8 h\"");
	if (*out == 0 || *out > max)
		return quantity_wrong(r, n, key, s,
				      *out ? "this is too long" : "it must be more than nothing");
	return true;
}

static void
key_on_revoke(struct reading *g, const struct node *n)
{
	static const char *const words[] = {"sever", "keep", "drain 60 s", NULL};
	struct rule_terms *t = &g->rule->terms;
	uint64_t ms;
	int i;

	if (n->kind == NODE_STRING && !strncmp(n->string.s, "drain ", 6)) {
		if (duration(g->r, n, "on-revoke", n->string.s + 6, UINT32_MAX, &ms)) {
			t->on_revoke = 2;
			t->drain_ms = (uint32_t)ms;
		}
		return;
	}
	i = value_choice(g->r, n, "on-revoke", words);
	t->on_revoke = (uint8_t)(i > 0 ? i : 0);
}

static void
key_mode(struct reading *g, const struct node *n)
{
	static const char *const words[] = {"enforce", "dry-run", NULL};

	g->rule->dry_run = g->rule->terms.dry_run = value_choice(g->r, n, "mode", words) == 1;
}

static void
key_since(struct reading *g, const struct node *n)
{
	g->since = n;
	g->rule->has_since = value_date(g->r, n, "since", &g->rule->since);
}

static void
key_expires(struct reading *g, const struct node *n)
{
	g->expires = n;
	g->rule->has_expires = value_date(g->r, n, "expires", &g->rule->expires);
	g->rule->expires += DAY; /* the last day is in */
}

static void
key_review(struct reading *g, const struct node *n)
{
	g->review = n;
	g->rule->has_review = value_date(g->r, n, "review", &g->rule->review);
}

static void
key_open_proxy(struct reading *g, const struct node *n)
{
	value_bool(g->r, n, "open-proxy", &g->rule->open_proxy);
}

static void
text_key(struct reading *g, const struct node *n, const char **out)
{
	const char *s = value_text(g->r, n, n->name);

	if (s)
		*out = s;
}

static void
key_owner(struct reading *g, const struct node *n)
{
	text_key(g, n, &g->rule->terms.owner);
}

static void
key_ticket(struct reading *g, const struct node *n)
{
	text_key(g, n, &g->rule->terms.ticket);
}

static void
key_why(struct reading *g, const struct node *n)
{
	text_key(g, n, &g->rule->terms.why);
}

/* ---- limit --------------------------------------------------------------------- */

static void
limit_count(struct reading *g, const struct node *n, uint32_t *out)
{
	if (n->kind != NODE_INT)
		wrong_type(g->r, n, n->name, "a number");
	else if (n->integer < 1 || n->integer > UINT32_MAX)
		problem_help(problems_add(g->r->p, "E217", n->value, "\"%s\" cannot be %lld",
					  n->name, (long long)n->integer),
			     "it is a number from 1 to 4294967295");
	else
		*out = (uint32_t)n->integer;
}

static void
limit_quantity(struct reading *g, const struct node *n)
{
	struct rule_terms *t = &g->rule->terms;
	const char *s = value_text(g->r, n, n->name);
	uint64_t *ms = !strcmp(n->name, "idle") ? &t->idle_ms : &t->lifetime_ms;
	uint64_t *bits = !strcmp(n->name, "bandwidth-per-user") ? &t->bandwidth_per_user
								: &t->bandwidth_per_session;

	if (!s)
		return;
	if (!strcmp(n->name, "rate-per-user")) {
		if (!quantity_rate(s, n->string.len, &t->rate_per_user) || t->rate_per_user <= 0)
			quantity_wrong(g->r, n, n->name, s,
				       "write a number, a blank and /s or /min: \"10 /s\"");
	} else if (!strncmp(n->name, "bandwidth", 9)) {
		if (!quantity_bits(s, n->string.len, bits) || *bits == 0)
			quantity_wrong(g->r, n, n->name, s,
				       "write a number, a blank and bit/s, kbit/s, Mbit/s or "
				       "Gbit/s: \"200 Mbit/s\"");
	} else if (!duration(g->r, n, n->name, s, INT64_MAX / 1000000, ms)) {
		*ms = 0;
	}
}

static void
key_limit(struct reading *g, const struct node *n)
{
	static const char *const known[] = {"sessions",
					    "sessions-per-user",
					    "sessions-per-source",
					    "rate-per-user",
					    "bandwidth-per-session",
					    "bandwidth-per-user",
					    "idle",
					    "lifetime",
					    NULL};
	struct rule_terms *t = &g->rule->terms;
	uint32_t *counts[] = {&t->sessions, &t->sessions_per_user, &t->sessions_per_source};
	struct node *e;
	size_t i;

	if (n->kind != NODE_GROUP) {
		wrong_type(g->r, n, "limit", "a group, { sessions = 20 }");
		return;
	}
	if (!n->first)
		problem_help(problems_add(g->r->p, "E204", n->value, "\"limit\" is empty"),
			     "leave the key out if there is no limit");
	for (e = n->first; e; e = e->next) {
		for (i = 0; known[i] && strcmp(known[i], e->name); i++)
			;
		if (e->used || !known[i])
			continue;
		e->used = true;
		if (i < 3)
			limit_count(g, e, counts[i]);
		else
			limit_quantity(g, e);
	}
	node_unknown(n, "limit", known, g->r->p);
}

/* ---- the table ----------------------------------------------------------------- */

enum { ALLOW_ONLY = 1 };
static const struct key {
	const char *name;
	void (*read)(struct reading *g, const struct node *n);
	unsigned flags; /* ALLOW_ONLY: says nothing in a deny rule */
} keys[] = {
    {"action", key_action, 0},
    {"alert", key_alert, 0},
    {"auth", key_auth, 0},
    {"command", key_command, 0},
    {"egress", key_egress, ALLOW_ONLY},
    {"except", key_except, 0},
    {"expires", key_expires, 0},
    {"from", key_from, 0},
    {"from-except", key_from_except, 0},
    {"limit", key_limit, ALLOW_ONLY},
    {"listener", key_listener, 0},
    {"log", key_log, 0},
    {"mode", key_mode, 0},
    {"on-revoke", key_on_revoke, ALLOW_ONLY},
    {"open-proxy", key_open_proxy, ALLOW_ONLY},
    {"owner", key_owner, 0},
    {"resolves-in", key_resolves_in, 0},
    {"review", key_review, 0},
    {"route", key_route, ALLOW_ONLY},
    {"service", key_service, 0},
    {"since", key_since, 0},
    {"ticket", key_ticket, 0},
    {"to", key_to, 0},
    {"udp-replies", key_udp_replies, ALLOW_ONLY},
    {"version", key_version, 0},
    {"when", key_when, 0},
    {"who", key_who, 0},
    {"why", key_why, 0},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))
static const char *const key_names[] = {
    "action",  "alert",     "auth",        "command", "egress",      "except",
    "expires", "from",      "from-except", "limit",   "listener",    "log",
    "mode",    "on-revoke", "open-proxy",  "owner",   "resolves-in", "review",
    "route",   "service",   "since",       "ticket",  "to",          "udp-replies",
    "version", "when",      "who",         "why",     NULL};

static int
key_order(const void *name, const void *row)
{
	return strcmp(name, ((const struct key *)row)->name);
}

/* ---- the rule as a whole -------------------------------------------------------- */

static void
check_identity(struct reading *g)
{
	struct model_rule *rule = g->rule;

	if (rule->auth_given && !rule->who.given)
		rule->who_kind = WHO_KNOWN;
	if (rule->who_kind != WHO_ANYONE) {
		if (!rule->auth_given)
			rule->auth = PROVEN;
		return;
	}
	if (rule->auth_given)
		problem_help(
		    problems_add(g->r->p, "E219", g->auth->key,
				 "\"auth\" asks for an identity, but \"who\" is \"anyone\""),
		    "take \"auth\" out, or write who = \"known\"");
	rule->auth = 0;
}

static void
check_commands(struct reading *g)
{
	struct model_rule *rule = g->rule;

	if (!rule->commands_given)
		rule->commands = rule->allow
				     ? 1u << RULES_CONNECT | 1u << RULES_UDP
				     : 1u << RULES_CONNECT | 1u << RULES_BIND | 1u << RULES_UDP;
	if (!g->version)
		rule->versions = 1u << 4 | 1u << 5;
}

/* Commands, services and versions that leave nothing to match. */
static void
check_combinations(struct reading *g)
{
	const struct model_rule *rule = g->rule;
	const struct model_set *service = &rule->service;
	bool tcp = false, udp = false;
	size_t i, j;

	for (i = 0; i < service->object_count; i++)
		for (j = 0; j < service->objects[i]->service_count; j++)
			*(service->objects[i]->services[j].udp ? &udp : &tcp) = true;
	if (g->command && tcp != udp &&
	    !(rule->commands & (udp ? 1u << RULES_UDP : 1u << RULES_CONNECT | 1u << RULES_BIND)))
		problem_help(problems_add(g->r->p, "W207", g->command->value,
					  "this rule can never match: its services are all %s",
					  udp ? "udp" : "tcp"),
			     "tcp goes with connect and bind, udp with udp-associate");
	else if (g->command && rule->versions == 1u << 4 && rule->commands == 1u << RULES_UDP)
		problem_help(problems_add(g->r->p, "W207", g->command->value,
					  "this rule can never match: SOCKS4 has no udp-associate"),
			     "only version 5 has it");
}

static void
check_dates(struct reading *g)
{
	struct model_rule *rule = g->rule;
	struct problem *one;

	if (rule->has_since && rule->has_expires && rule->expires <= rule->since) {
		one = problems_add(g->r->p, "E216", g->expires->value,
				   "the rule expires before it begins");
		problem_help(one, "\"since\" is here");
		problem_seen(one, g->since->value);
	} else if (rule->has_expires && rule->expires <= g->r->now) {
		problem_help(problems_add(g->r->p, "W203", g->expires->value,
					  "rule \"%s\" expired on %s and matches nothing",
					  rule->name, g->expires->string.s),
			     "renew it or take it out");
	}
	if (rule->has_review && rule->review <= g->r->now)
		problem_help(problems_add(g->r->p, "W204", g->review->value,
					  "the review of rule \"%s\" is due since %s", rule->name,
					  g->review->string.s),
			     "look at it, then write a new date");
}

/* A literal means what it says: in an allow rule, perhaps more than was meant. */
static void
check_wide(struct reading *g)
{
	const struct model_set *to = &g->rule->to;
	size_t i;

	for (i = 0; g->rule->allow && i < to->object_count; i++) {
		const struct model_remark *wide = to->objects[i]->wide;
		struct problem *one;

		if (!wide)
			continue;
		one = problems_add(g->r->p, "W205", wide->place, "\"%s\" holds %s addresses too",
				   wide->text, wide->about);
		problem_help(one, "\"any\" does not; rule \"%s\" uses it as a destination",
			     g->rule->name);
		to->objects[i]->wide = NULL; /* once is enough */
	}
}

static bool
listens_to_strangers(const struct reading *g)
{
	const struct settings *s = g->r->settings;
	const struct model_rule *rule = g->rule;
	uint32_t i;
	size_t j;

	for (i = 0; i < s->listener_count; i++) {
		bool named = rule->listener_count == 0;

		for (j = 0; j < rule->listener_count; j++)
			named |= !strcmp(rule->listeners[j], s->listeners[i].name);
		if (named && !addr_is_loopback(&s->listeners[i].at.addr))
			return true;
	}
	return false;
}

/* What leaves `from` open to everybody, as it is written; NULL: it is confined. */
static const char *
open_from(const struct model_set *from)
{
	size_t i;

	if (!from->given || (from->builtins & (1u << BUILTIN_ANY)))
		return "any";
	if (from->builtins & (1u << BUILTIN_PUBLIC))
		return "public";
	for (i = 0; i < from->object_count; i++)
		if (from->objects[i]->open)
			return from->objects[i]->open->text;
	return NULL;
}

static void
check_open_proxy(struct reading *g)
{
	const struct model_rule *rule = g->rule;
	const char *from = open_from(&rule->from);
	struct problem *one;

	if (!g->r->settings || !rule->allow || rule->dry_run || rule->open_proxy || !from ||
	    rule->who_kind != WHO_ANYONE || !listens_to_strangers(g))
		return;
	one = problems_add(g->r->p, "E221", rule->from.given ? rule->from.place : rule->place,
			   "rule \"%s\" makes this an open proxy: it lets anyone in from \"%s\"",
			   rule->name, from);
	problem_help(one, "name the clients in \"from\", ask for an identity in \"who\", or say "
			  "open-proxy = true");
}

static void
check_rule(struct reading *g)
{
	struct model_rule *rule = g->rule;
	struct problems *p = g->r->p;

	if (!g->action && !g->failed)
		problem_help(problems_add(p, "E205", rule->place, "rule \"%s\" has no \"action\"",
					  rule->name),
			     "write action = \"allow\" or action = \"deny\"");
	check_identity(g);
	check_commands(g);
	if (!g->failed)
		check_combinations(g);
	check_dates(g);
	if (!g->action)
		return;
	if (rule->allow && !rule->to.given)
		problem_help(problems_add(p, "E205", rule->place,
					  "rule \"%s\" allows, but has no \"to\"", rule->name),
			     "write where it leads, or to = \"any\"");
	if (!rule->allow && g->resolves_in)
		problem_help(problems_add(p, "E219", g->resolves_in->key,
					  "\"resolves-in\" stands in a deny rule"),
			     "it says where an allowed name may lead; take it out");
	if (!rule->allow && g->allow_only)
		problem_help(problems_add(p, "W206", g->allow_only->key,
					  "\"%s\" says nothing in a deny rule",
					  g->allow_only->name),
			     "take it out");
	if (!rule->resolves_in.given)
		rule->resolves_in = g->r->m->resolves_in;
	check_wide(g);
	if (!g->failed)
		check_open_proxy(g);
}

static void
terms_begin(struct model_rule *rule)
{
	struct rule_terms *t = &rule->terms;

	t->name = rule->name;
	t->owner = t->ticket = t->why = t->route = "";
	t->file = rule->place.file;
	t->line = rule->place.line;
	t->column = rule->place.column;
	t->log = 3;
}

static void
rule_read(struct reader *r, struct model_rule *rule, struct node *n)
{
	struct reading g = {.r = r, .rule = rule};
	bool unknown = false;
	struct node *e;

	terms_begin(rule);
	for (e = n->first; e; e = e->next) {
		const struct key *k = bsearch(e->name, keys, KEYS, sizeof(*k), key_order);
		size_t errors = r->p->errors;

		if (!k)
			unknown |= !e->used;
		if (!k || e->used)
			continue;
		e->used = true;
		k->read(&g, e);
		if ((k->flags & ALLOW_ONLY) && !g.allow_only)
			g.allow_only = e;
		g.failed |= r->p->errors != errors;
		if (r->p->errors != errors && k->read == key_action)
			g.action = false;
	}
	if (unknown)
		node_unknown(n, "rule", key_names, r->p);
	check_rule(&g);
	rule->terms.allow = rule->allow;
}

/* ---- all rules ----------------------------------------------------------------- */

static void
rule_in_group(struct reader *r, struct node *n, struct model_rule *rule)
{
	struct node *name = node_get(n, "name");

	rule->name = n->name;
	rule->place = n->key;
	name_allowed(r, n->name, strlen(n->name), n->key, "rule");
	if (name)
		problem_help(problems_add(r->p, "E223", name->key,
					  "the rule has a name already: \"%s\"", n->name),
			     "\"name\" is for rules in a list, ( { name = ... }, ... )");
}

static bool
rule_in_list(struct reader *r, struct node *n, struct model_rule *rule)
{
	struct node *name = node_get(n, "name");
	const char *s;

	if (!name) {
		problem_help(
		    problems_add(r->p, "E223", n->value, "a rule in a list has no \"name\""),
		    "write name = \"...\" into it: a rule's name is its identity");
		return false;
	}
	s = value_text(r, name, "name");
	if (!s)
		return false;
	rule->name = s;
	rule->place = name->value;
	return name_allowed(r, s, name->string.len, name->value, "rule");
}

static void
rule_twice(struct reader *r, const struct model_rule *rule)
{
	const struct model_rule *other = map_get(&r->rules, rule->name, strlen(rule->name));
	struct problem *one =
	    problems_add(r->p, "E207", rule->place, "there are two rules \"%s\"", rule->name);

	problem_help(one, "the name is a rule's identity; the first one is here");
	problem_seen(one, other->place);
}

static void
one_rule(struct reader *r, struct node *n, bool group)
{
	struct rules_model *m = r->m;
	struct model_rule *rule = &m->rules[m->rule_count];

	if (n->used) /* a second one of its name: told when the file was read */
		return;
	n->used = true;
	if (n->kind != NODE_GROUP) {
		wrong_type(r, n, group ? n->name : "rules",
			   group ? "a rule, { action = ... }" : "a list of rules, ( { ... } )");
		return;
	}
	if (group)
		rule_in_group(r, n, rule);
	else if (!rule_in_list(r, n, rule) && !rule->name)
		rule->name = "";
	rule->index = (uint32_t)m->rule_count++;
	if (*rule->name && !map_put(&r->rules, rule->name, rule))
		rule_twice(r, rule);
	rule_read(r, rule, n);
}

void
rules_read(struct reader *r, struct node *rules)
{
	bool group = rules->kind == NODE_GROUP;
	struct node *n;

	if (!group && rules->kind != NODE_LIST) {
		wrong_type(r, rules, "rules",
			   "a group of rules, { name: { ... } }, or a list of them, ( { ... } )");
		return;
	}
	r->m->rules = model_alloc(r->m, (rules->count + 1) * sizeof(*r->m->rules));
	map_room(&r->rules, rules->count);
	map_room(&r->sets, rules->count);
	for (n = rules->first; n; n = n->next)
		one_rule(r, n, group);
	if (r->m->rule_count == 0)
		problem_help(problems_add(r->p, "E222", rules->key, "there is no rule"),
			     "without a rule everything is denied; write at least one");
}
