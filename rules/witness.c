/*
 * rules/witness.c - draws sessions from the sets of a rule: the edges of its networks, its hosts
 * and what is below them, a user of each kind, its ports, a minute of its windows. sallyctl; reads
 * zoneinfo. That a witness fits is not promised (a pattern is read roughly): the policy is asked.
 */
#include "rules/witness.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "rules/ranges.h"
#include "rules/show.h"

#define CLIENTS 6
#define PORTS 4
#define PEOPLE 4
#define TIMES 3
#define MOST 512 /* witnesses of one rule */
#define STRANGER "lint-witness"
#define DAY 86400
#define LATE INT64_C(253402300799) /* the last second of 9999: no rule with a date is left */

/* Addresses of every sort, for sets that are wide; none has a meaning of its own. */
static const char *const probes[] = {
    "93.184.216.77", "10.77.77.77",         "192.168.77.77", "172.20.77.77", "100.77.77.77",
    "203.0.113.77",  "2606:2800:220:1::77", "2001:db8::77",  "fd77::77",     "127.7.7.7",
    "169.254.77.77", "224.7.7.7",           "fe80::77",      "0.0.0.77",     "245.7.7.7",
};

/* ---- names --------------------------------------------------------------------------- */

struct sample { /* a pattern read from left to right, in the simplest way that fits it */
	const char *p, *end;
	char *out;
	size_t len, cap;
	unsigned depth;
	bool failed;
};

static void sample_branch(struct sample *s);

static void
put(struct sample *s, char c)
{
	if (s->len + 1 < s->cap)
		s->out[s->len++] = c;
	else
		s->failed = true;
}

static char
escaped(struct sample *s, char c)
{
	static const char classes[] = "dwDWsSbBAzZ", stand[] = "7x";
	const char *class = strchr(classes, c);

	if (!class)
		return c;
	if (class - classes > 1)
		s->failed = true;
	return class - classes > 1 ? 'x' : stand[class - classes];
}

/* The first member of a class; one that is negated is not read. */
static char
of_class(struct sample *s)
{
	char c = s->p < s->end ? *s->p : '\0';

	if (c == '^' || c == '[' || c == '\0') {
		s->failed = true;
		return 'x';
	}
	if (c == '\\' && s->p + 1 < s->end)
		c = escaped(s, *++s->p);
	while (s->p < s->end && *s->p != ']')
		s->p++;
	if (s->p < s->end)
		s->p++;
	else
		s->failed = true;
	return c;
}

/* How often at least; the quantifier is read away. */
static unsigned
times_at_least(struct sample *s)
{
	char c = s->p < s->end ? *s->p : '\0';
	unsigned n = 1;

	if (c == '*' || c == '?')
		n = 0;
	if (c == '*' || c == '?' || c == '+') {
		s->p++;
	} else if (c == '{' && s->p + 1 < s->end && isdigit((unsigned char)s->p[1])) {
		n = (unsigned)strtoul(s->p + 1, NULL, 10);
		while (s->p < s->end && *s->p++ != '}')
			;
	} else {
		return 1;
	}
	if (s->p < s->end && (*s->p == '?' || *s->p == '+')) /* lazy, possessive */
		s->p++;
	return n;
}

static void
sample_group(struct sample *s)
{
	unsigned depth = 1;

	if (s->end - s->p > 1 && s->p[0] == '?') {
		s->failed |= s->p[1] != ':';
		s->p += 2;
	}
	s->failed |= ++s->depth > 20;
	if (!s->failed)
		sample_branch(s);
	s->depth--;
	for (; s->p < s->end && depth > 0; s->p++) { /* the other branches */
		if (*s->p == '\\')
			s->p++;
		else if (*s->p == '(' || *s->p == ')')
			depth += *s->p == '(' ? 1 : -1u;
	}
	s->failed |= depth > 0;
}

static void
sample_branch(struct sample *s)
{
	while (s->p < s->end && *s->p != '|' && *s->p != ')' && !s->failed) {
		size_t start = s->len, length;
		char c = *s->p++;
		unsigned n;

		if (c == '^' || c == '$')
			continue;
		if (c == '(')
			sample_group(s);
		else if (c == '[')
			put(s, of_class(s));
		else if (c == '\\' && s->p < s->end)
			put(s, escaped(s, *s->p++));
		else
			put(s, c == '.' ? 'x' : c);
		length = s->len - start;
		n = times_at_least(s);
		if (n == 0)
			s->len = start;
		for (; n > 1 && !s->failed; n--)
			for (size_t i = 0; i < length; i++)
				put(s, s->out[start + i]);
	}
}

static bool
sample_regex(const struct host_pattern *h, char *out)
{
	struct sample s = {
	    .p = h->text, .end = h->text + h->len, .out = out, .cap = NAME_MAX_LEN + 1};
	char canonical[NAME_MAX_LEN + 1];
	struct addr address;
	size_t len;

	sample_branch(&s);
	out[s.len] = '\0';
	if (s.failed || name_canonical(out, s.len, canonical, &len, &address) != NAME_HOST)
		return false;
	memcpy(out, canonical, len + 1);
	return true;
}

static bool
name_of(const struct host_pattern *h, char *out)
{
	bool below = h->kind == HOST_BELOW;

	if (h->kind == HOST_REGEX)
		return sample_regex(h, out);
	if (h->len + 2 * below > NAME_MAX_LEN)
		return false;
	memcpy(out, "x.", 2);
	memcpy(out + 2 * below, h->text, h->len + 1);
	return true;
}

size_t
witness_names(const struct model_set *set, char names[WITNESS_NAMES][NAME_MAX_LEN + 1])
{
	size_t i, k, step, n = 0;

	for (i = 0; i < set->object_count; i++) {
		const struct object *o = set->objects[i];

		step = o->host_count > WITNESS_NAMES ? o->host_count / WITNESS_NAMES : 1;
		for (k = 0; k < o->host_count && n < WITNESS_NAMES; k += step)
			n += name_of(&o->hosts[k], names[n]);
	}
	return n;
}

/* ---- addresses, ports, people, times --------------------------------------------------- */

static size_t
addresses_of(const struct ranges *set, struct addr *out, size_t most)
{
	size_t i, step = set->count > 3 ? set->count / 3 : 1, n = 0;
	struct addr a;

	for (i = 0; i < sizeof(probes) / sizeof(probes[0]) && n < most; i++)
		if (addr_parse(probes[i], strlen(probes[i]), &a) && ranges_have(set, &a))
			out[n++] = a;
	if (n > most / 2)
		n = most / 2;
	for (i = 0; i < set->count && n < most; i += step) {
		out[n++] = set->v[i].last;
		if (n < most)
			out[n++] = set->v[i].first;
	}
	return n;
}

/* Port 0 is met by rules without a service only, so it passes many that have one. */
static size_t
ports_of(const struct model_rule *rule, unsigned command, uint16_t *out)
{
	size_t i, k, n = 0;

	if (!rule->service.given) {
		out[n++] = 0;
		out[n++] = 47777;
		out[n++] = 443;
		return n;
	}
	for (i = 0; i < rule->service.object_count; i++)
		for (k = 0; k < rule->service.objects[i]->service_count; k++) {
			const struct model_service *s = &rule->service.objects[i]->services[k];

			if (s->udp != (command == RULES_UDP))
				continue;
			if (n < PORTS)
				out[n++] = s->last;
			if (n < PORTS && s->first != s->last)
				out[n++] = s->first;
		}
	return n;
}

struct person {
	const char *user, *group;
};

static size_t
people_of(const struct model_rule *rule, struct person *out)
{
	size_t i, n = 0;

	if (rule->who_kind != WHO_SET) {
		out[n++].user = rule->who_kind == WHO_KNOWN ? STRANGER : NULL;
		return n;
	}
	for (i = 0; i < rule->who.object_count && n < PEOPLE; i++) {
		const struct object *o = rule->who.objects[i];

		if (o->user_count > 0)
			out[n++].user = o->users[0];
		if (o->user_count > 1 && n < PEOPLE)
			out[n++].user = o->users[o->user_count - 1];
		if (o->unix_count > 0 && n < PEOPLE)
			out[n++] = (struct person){STRANGER, o->unix_groups[0]};
	}
	return n;
}

static bool
window_time(const struct model_window *w, int64_t day, int64_t *out)
{
	struct zone z;
	int64_t d;

	for (d = day; d < day + 7; d++)
		if (w->days >> (((d + 3) % 7 + 7) % 7) & 1)
			break;
	if (!zone_load(w->zone, &z))
		return false;
	*out = zone_to_utc(&z, d * DAY + w->start * 60);
	zone_free(&z);
	return true;
}

static size_t
times_of(const struct model_rule *rule, int64_t now, int64_t *out)
{
	size_t i, k, n = 0;

	if (rule->has_since && rule->since > now)
		now = rule->since;
	if (!rule->when.given) {
		out[n++] = now;
		out[n++] = rule->has_expires ? rule->expires - 1 : LATE;
		return n;
	}
	for (i = 0; i < rule->when.object_count; i++)
		for (k = 0; k < rule->when.objects[i]->window_count && n < TIMES; k++)
			n +=
			    window_time(&rule->when.objects[i]->windows[k], now / DAY + 1, &out[n]);
	return n;
}

/* ---- all together ------------------------------------------------------------------------ */

struct draw {
	struct policy *p;
	const struct model_rule *rule;
	witness_call *call;
	void *data;
	unsigned left;
	struct witness w;
	struct person people[PEOPLE];
	size_t people_count;
	int64_t times[TIMES];
	size_t time_count;
	struct addr clients[CLIENTS], literal[WITNESS_ADDRESSES], named[WITNESS_ADDRESSES];
	size_t client_count, literal_count, named_count, name_count;
	char names[WITNESS_NAMES][NAME_MAX_LEN + 1];
};

static void
take_person(struct draw *d, struct person *who)
{
	struct rules_facts *f = &d->w.facts;
	uint32_t ways = d->rule->auth, proven = ways & (AUTH_IDENT - 1);

	f->proven_user = f->asserted_user = NULL;
	f->proven_by = f->asserted_by = 0;
	f->group_count = 0;
	if (!who->user)
		return;
	if (proven && f->version == 5) {
		f->proven_user = who->user;
		f->proven_by = (uint8_t)(proven & -proven);
	} else {
		f->asserted_user = who->user;
		f->asserted_by = ways & AUTH_IDENT ? AUTH_IDENT : AUTH_USERID;
	}
	if (who->group) {
		f->groups = &who->group;
		f->group_count = 1;
	}
}

static bool
each_person(struct draw *d)
{
	size_t i, k;

	for (i = 0; i < d->people_count; i++)
		for (k = 0; k < d->time_count && d->left > 0; k++, d->left--) {
			take_person(d, &d->people[i]);
			d->w.facts.time = d->times[k];
			if (d->call(d->data, &d->w))
				return true;
		}
	return false;
}

static bool
each_port(struct draw *d, unsigned command)
{
	uint16_t ports[PORTS];
	size_t i, n = ports_of(d->rule, command, ports);

	d->w.facts.command = (uint8_t)command;
	for (i = 0; i < n; i++) {
		d->w.facts.port = ports[i];
		if (each_person(d))
			return true;
	}
	return false;
}

static bool
each_command(struct draw *d)
{
	unsigned command, commands = rule_commands(d->rule);

	for (command = RULES_CONNECT; command <= RULES_UDP; command++)
		if (commands & 1u << command && each_port(d, command))
			return true;
	return false;
}

static bool
each_destination(struct draw *d)
{
	struct rules_facts *f = &d->w.facts;
	size_t i, k;

	f->name = NULL;
	f->name_len = 0;
	for (i = 0; i < d->literal_count; i++) {
		f->address = d->literal[i];
		if (each_command(d))
			return true;
	}
	for (i = 0; i < d->name_count; i++)
		for (k = 0; k < d->named_count; k++) {
			f->name_len = strlen(d->names[i]);
			memcpy(d->w.name, d->names[i], f->name_len + 1);
			f->name = d->w.name;
			f->address = d->named[k];
			if (each_command(d))
				return true;
		}
	return false;
}

static void
take_out(struct ranges *set, const struct ranges *from, const struct ranges *except)
{
	struct ranges all = {0};

	ranges_join(&all, from);
	ranges_subtract(&all, except);
	ranges_subtract(set, &all);
	ranges_free(&all);
}

static struct ranges
given_or_everything(const struct model_set *set, bool destination)
{
	return set->given ? ranges_of(set, destination) : ranges_everything();
}

/* What a key of the rule and its except hold, less what they hold in another rule (NULL: none). */
static struct ranges
side_of(const struct model_set *key, const struct model_set *except, const struct model_set *other,
	const struct model_set *other_except, bool destination)
{
	struct ranges set = given_or_everything(key, destination);
	struct ranges out = ranges_of(except, destination), from;

	ranges_subtract(&set, &out);
	ranges_free(&out);
	if (!other)
		return set;
	from = given_or_everything(other, destination);
	out = ranges_of(other_except, destination);
	take_out(&set, &from, &out);
	ranges_free(&from);
	ranges_free(&out);
	return set;
}

static struct ranges
led_to(const struct model_rule *rule, const struct model_set *other,
       const struct model_set *other_except)
{
	struct model_set public = {.given = true, .builtins = 1u << BUILTIN_PUBLIC}, none = {0};
	const struct model_set *in = &rule->resolves_in;

	if (!rule->allow)
		in = &none;
	else if (!in->builtins && in->object_count == 0)
		in = &public;
	return side_of(in, &rule->except, other, other_except, true);
}

static void
draw_addresses(struct draw *d, const struct model_rule *other, enum witness_side side)
{
	const struct model_rule *r = d->rule;
	const struct model_rule *beside[2] = {other && side == WITNESS_CLIENTS ? other : NULL,
					      other && side == WITNESS_DESTINATIONS ? other : NULL};
	const struct model_set *to = beside[1] ? &beside[1]->to : NULL,
			       *to_except = beside[1] ? &beside[1]->except : NULL;
	struct ranges set = side_of(&r->from, &r->from_except, beside[0] ? &beside[0]->from : NULL,
				    beside[0] ? &beside[0]->from_except : NULL, false);

	d->client_count = addresses_of(&set, d->clients, CLIENTS);
	ranges_free(&set);
	set = side_of(&r->to, &r->except, to, to_except, true);
	d->literal_count = addresses_of(&set, d->literal, WITNESS_ADDRESSES);
	ranges_free(&set);
	set = led_to(r, to, to_except);
	d->named_count = addresses_of(&set, d->named, WITNESS_ADDRESSES);
	ranges_free(&set);
}

bool
witness_each_beside(struct policy *p, const struct model_rule *rule, const struct model_rule *other,
		    enum witness_side side, int64_t now, witness_call *call, void *data)
{
	struct draw d = {.p = p, .rule = rule, .call = call, .data = data, .left = MOST};
	struct rules_facts *f = &d.w.facts;
	size_t i;

	f->known = FACT_ALL;
	f->version = rule->versions & 1u << 5 ? 5 : 4;
	f->listener = rule->listener_count > 0 ? policy_listener(p, rule->listeners[0]) : -1;
	d.people_count = people_of(rule, d.people);
	d.time_count = times_of(rule, now, d.times);
	d.name_count = witness_names(&rule->to, d.names);
	draw_addresses(&d, other, side);
	for (i = 0; i < d.client_count && d.left > 0; i++) {
		f->client = d.clients[i];
		if (each_destination(&d))
			return true;
	}
	return false;
}

bool
witness_each(struct policy *p, const struct model_rule *rule, int64_t now, witness_call *call,
	     void *data)
{
	return witness_each_beside(p, rule, NULL, WITNESS_CLIENTS, now, call, data);
}
