/*
 * rules/show.c - rules as sentences and objects as lists of values. sallyctl; allocates, reads no
 * file. Says nothing that the compiler does not do: defaults are those the reader filled in.
 */
#include <string.h>
#include <time.h>

#include "rules/show.h"

#define PROVEN (AUTH_PAM | AUTH_FILE | AUTH_GSSAPI | AUTH_CHAP)
#define TCP (1u << RULES_CONNECT | 1u << RULES_BIND)
#define UDP (1u << RULES_UDP)

/* ---- lists --------------------------------------------------------------------- */

/* One of a list of count: "a", "a or b", "a, b or c". */
static void
put_item(struct buffer *out, size_t i, size_t count, const char *word)
{
	if (i > 0)
		buffer_puts(out, i + 1 == count ? " or " : ", ");
	buffer_puts(out, word);
}

static void
put_words(struct buffer *out, const char *const *words, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		put_item(out, i, count, words[i]);
}

static void
put_bits(struct buffer *out, uint32_t bits, const char *(*word)(unsigned bit))
{
	size_t count = (size_t)__builtin_popcount(bits), i = 0;
	unsigned bit;

	for (bit = 0; bit < 32; bit++)
		if (bits & 1u << bit)
			put_item(out, i++, count, word(bit));
}

static const char *
way_of(unsigned bit)
{
	return facts_auth_word((uint8_t)(1u << bit));
}

void
day_put(int64_t at, struct buffer *out)
{
	time_t when = (time_t)at;
	char text[32] = "?";
	struct tm tm;

	if (gmtime_r(&when, &tm) != NULL)
		strftime(text, sizeof(text), "%Y-%m-%d", &tm);
	buffer_puts(out, text);
}

/* ---- the sentence -------------------------------------------------------------- */

unsigned
rule_commands(const struct model_rule *rule)
{
	unsigned left = rule->service.given ? 0 : TCP | UDP;
	size_t i, j;

	for (i = 0; i < rule->service.object_count; i++)
		for (j = 0; j < rule->service.objects[i]->service_count; j++)
			left |= rule->service.objects[i]->services[j].udp ? UDP : TCP;
	if (!(rule->versions & 1u << 5)) /* SOCKS4 has no UDP */
		left &= TCP;
	return rule->commands & left;
}

static void
put_who(const struct model_rule *rule, struct buffer *out)
{
	if (rule->who_kind == WHO_ANYONE) {
		buffer_puts(out, "anyone");
		return;
	}
	if (rule->who_kind == WHO_KNOWN)
		buffer_puts(out, "any known user");
	else
		put_words(out, rule->who.words, rule->who.word_count);
	if (rule->auth == PROVEN) {
		buffer_puts(out, ", proven,");
		return;
	}
	buffer_puts(out, ", known by ");
	put_bits(out, rule->auth, way_of);
	buffer_puts(out, ",");
}

static void
put_from(const struct model_rule *rule, struct buffer *out)
{
	if (!rule->from.given || rule->from.builtins & 1u << BUILTIN_ANY) {
		buffer_puts(out, " from anywhere");
	} else {
		buffer_puts(out, " from ");
		put_words(out, rule->from.words, rule->from.word_count);
	}
	if (rule->from_except.given) {
		buffer_puts(out, " except ");
		put_words(out, rule->from_except.words, rule->from_except.word_count);
	}
	if (rule->listener_count > 0) {
		buffer_puts(out, " by listener ");
		put_words(out, rule->listeners, rule->listener_count);
	}
}

static void
put_commands(const struct model_rule *rule, struct buffer *out)
{
	unsigned commands = rule_commands(rule);

	if (!rule->allow && commands == (TCP | UDP))
		buffer_puts(out, " to reach");
	else if (commands == 0)
		buffer_puts(out, " to do nothing");
	else {
		buffer_puts(out, " to ");
		put_bits(out, commands, facts_command_word);
	}
	if (commands != (TCP | UDP) || rule->allow)
		buffer_puts(out, " to");
}

static void
put_to(const struct model_rule *rule, struct buffer *out)
{
	size_t i;

	if (!rule->to.given)
		buffer_puts(out, " everything");
	else
		buffer_puts(out, " ");
	for (i = 0; i < rule->to.word_count; i++)
		put_item(out, i, rule->to.word_count,
			 strcmp(rule->to.words[i], "any") ? rule->to.words[i] : "any address");
	if (rule->except.given) {
		buffer_puts(out, " except ");
		put_words(out, rule->except.words, rule->except.word_count);
	}
	if (rule->service.given) {
		buffer_puts(out, " on ");
		put_words(out, rule->service.words, rule->service.word_count);
	}
	if (rule->versions != (1u << 4 | 1u << 5))
		buffer_puts(out, rule->versions & 1u << 4 ? " by SOCKS4" : " by SOCKS5");
}

static void
put_when(const struct model_rule *rule, struct buffer *out)
{
	if (rule->when.given) {
		buffer_puts(out, " during ");
		put_words(out, rule->when.words, rule->when.word_count);
	}
	if (rule->has_since) {
		buffer_puts(out, " from ");
		day_put(rule->since, out);
		buffer_puts(out, " on");
	}
	if (rule->has_expires) {
		buffer_puts(out, " until the end of ");
		day_put(rule->expires - 1, out);
	}
}

static bool
takes_names(const struct model_set *set)
{
	size_t i;

	for (i = 0; i < set->object_count; i++)
		if (set->objects[i]->kind == OBJECT_HOST)
			return true;
	return false;
}

void
rule_sentence(const struct model_rule *rule, struct buffer *out)
{
	buffer_puts(out, rule->allow ? "Allows " : "Denies ");
	put_who(rule, out);
	put_from(rule, out);
	put_commands(rule, out);
	put_to(rule, out);
	put_when(rule, out);
	if (rule->allow && takes_names(&rule->to)) {
		buffer_puts(out, "; a name must lead to ");
		if (rule->resolves_in.word_count > 0)
			put_words(out, rule->resolves_in.words, rule->resolves_in.word_count);
		else
			buffer_puts(out, "public");
	}
	buffer_puts(out, rule->dry_run ? "; but this is only a dry run." : ".");
}

/* ---- the other terms ----------------------------------------------------------- */

struct unit {
	uint64_t size;
	const char *word;
};

/* The largest unit in which it is a whole number, so that nothing is rounded. */
static void
put_quantity(struct buffer *out, const char *key, uint64_t n, const struct unit *units)
{
	if (n == 0)
		return;
	while (n % units->size)
		units++;
	buffer_putf(out, "%s %llu %s, ", key, (unsigned long long)(n / units->size), units->word);
}

static void
put_count(struct buffer *out, const char *key, uint64_t n)
{
	if (n > 0)
		buffer_putf(out, "%s %llu, ", key, (unsigned long long)n);
}

/* In place of the last separator another one. */
static void
end_list(struct buffer *out, size_t start, const char *with)
{
	if (out->len > start)
		out->len -= 2;
	if (out->len > start)
		buffer_puts(out, with);
}

static void
put_limits(const struct rule_terms *t, struct buffer *out)
{
	static const struct unit durations[] = {
	    {86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
	static const struct unit bits[] = {
	    {1000000000, "Gbit/s"}, {1000000, "Mbit/s"}, {1000, "kbit/s"}, {1, "bit/s"}};
	struct buffer all = {0};

	put_count(&all, "sessions", t->sessions);
	put_count(&all, "sessions-per-user", t->sessions_per_user);
	put_count(&all, "sessions-per-source", t->sessions_per_source);
	if (t->rate_per_user > 0)
		buffer_putf(&all, "rate-per-user %g /s, ", t->rate_per_user);
	put_quantity(&all, "bandwidth-per-session", t->bandwidth_per_session, bits);
	put_quantity(&all, "bandwidth-per-user", t->bandwidth_per_user, bits);
	put_quantity(&all, "idle", t->idle_ms, durations);
	put_quantity(&all, "lifetime", t->lifetime_ms, durations);
	end_list(&all, 0, "; ");
	if (all.len > 0)
		buffer_puts(out, "limit ");
	buffer_put(out, all.p, all.len);
	buffer_free(&all);
}

static void
put_ways_out(const struct rule_terms *t, struct buffer *out)
{
	char text[ADDR_TEXT];

	if (t->route[0] && strcmp(t->route, "direct"))
		buffer_putf(out, "route %s; ", t->route);
	if (t->has_egress4) {
		addr_format(&t->egress4, text);
		buffer_putf(out, "egress %s; ", text);
	}
	if (t->has_egress6) {
		addr_format(&t->egress6, text);
		buffer_putf(out, "egress %s; ", text);
	}
}

void
rule_put_terms(const struct model_rule *rule, struct buffer *out)
{
	static const char *const logs[] = {"", "log start; ", "log end; ", ""};
	static const char *const replies[] = {"", "udp-replies address; ", "udp-replies any; "};
	const struct rule_terms *t = &rule->terms;
	size_t start = out->len;

	put_limits(t, out);
	put_ways_out(t, out);
	buffer_puts(out, replies[t->udp_replies % 3]);
	buffer_puts(out, logs[t->log & 3]);
	if (t->alert)
		buffer_puts(out, "alert; ");
	if (t->on_revoke == 1)
		buffer_puts(out, "on-revoke keep; ");
	if (t->on_revoke == 2)
		buffer_putf(out, "on-revoke drain %g s; ", t->drain_ms / 1000.0);
	if (rule->open_proxy)
		buffer_puts(out, "open-proxy; ");
	end_list(out, start, "");
}

/* ---- objects ------------------------------------------------------------------- */

const struct model_set *
rule_set(const struct model_rule *rule, unsigned i, const char **key)
{
	const struct {
		const char *key;
		const struct model_set *set;
	} sets[] = {
	    {"who", &rule->who},
	    {"from", &rule->from},
	    {"from-except", &rule->from_except},
	    {"to", &rule->to},
	    {"except", &rule->except},
	    {"service", &rule->service},
	    {"when", &rule->when},
	    {"resolves-in", &rule->resolves_in},
	};

	if (i >= sizeof(sets) / sizeof(sets[0]))
		return NULL;
	*key = sets[i].key;
	return sets[i].set;
}

const char *
object_word(enum object_kind kind)
{
	static const char *const words[] = {"network", "host", "service", "group", "time"};

	return words[kind];
}

size_t
object_count(const struct object *o)
{
	return o->range_count + o->host_count + o->service_count + o->user_count + o->unix_count +
	       o->window_count;
}

static bool
bit_of(const struct addr *a, unsigned i)
{
	return a->b[i / 8] >> (7 - i % 8) & 1;
}

/* A prefix if it is one; neighbours were merged, so it may be more than was written. */
static void
put_range(const struct model_range *r, struct buffer *out)
{
	char first[PREFIX_TEXT], last[ADDR_TEXT];
	struct prefix p = {r->first, 0};
	unsigned i;

	while (p.len < 128 && bit_of(&r->first, p.len) == bit_of(&r->last, p.len))
		p.len++;
	for (i = p.len; i < 128 && !bit_of(&r->first, i) && bit_of(&r->last, i); i++)
		;
	if (i == 128) {
		prefix_format(&p, first);
		buffer_puts(out, first);
		return;
	}
	addr_format(&r->first, first);
	addr_format(&r->last, last);
	buffer_putf(out, "%s-%s", first, last);
}

static void
put_service(const struct model_service *s, struct buffer *out)
{
	buffer_putf(out, "%s/%u", s->udp ? "udp" : "tcp", s->first);
	if (s->last != s->first)
		buffer_putf(out, "-%u", s->last);
}

static void
put_days(unsigned days, struct buffer *out)
{
	static const char *const names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
	const char *comma = "";
	unsigned first, last;

	for (first = 0; first < 7; first = last + 1) {
		last = first;
		if (!(days & 1u << first))
			continue;
		while (last < 6 && days & 1u << (last + 1))
			last++;
		buffer_putf(out, "%s%s", comma, names[first]);
		if (last > first)
			buffer_putf(out, "-%s", names[last]);
		comma = ",";
	}
}

static void
put_window(const struct model_window *w, struct buffer *out)
{
	put_days(w->days, out);
	buffer_putf(out, " %02u:%02u-%02u:%02u %s", w->start / 60u, w->start % 60u, w->end / 60u,
		    w->end % 60u, w->zone);
}

void
object_put_value(const struct object *o, size_t i, struct buffer *out)
{
	static const char *const prefixes[] = {"", "*.", ".", "regex:"};

	switch (o->kind) {
	case OBJECT_NETWORK:
		put_range(&o->ranges[i], out);
		break;
	case OBJECT_HOST:
		buffer_puts(out, prefixes[o->hosts[i].kind]);
		buffer_puts(out, o->hosts[i].text);
		break;
	case OBJECT_SERVICE:
		put_service(&o->services[i], out);
		break;
	case OBJECT_GROUP:
		if (i >= o->user_count)
			buffer_puts(out, "unix:");
		buffer_puts(out,
			    i < o->user_count ? o->users[i] : o->unix_groups[i - o->user_count]);
		break;
	case OBJECT_TIME:
		put_window(&o->windows[i], out);
		break;
	}
}
