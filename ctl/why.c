/*
 * why.c - why a rule that was passed over did not hold, in one sentence: what the
 * session is beside what the rule asks for, in the words of its file.
 *
 * The key that failed is the engine's word; nothing is judged again here.
 */
#include <string.h>
#include <time.h>

#include "ctl/ctl.h"
#include "ctl/inquiry.h"
#include "rules/model.h"

#define WORDS_SHOWN 6 /* of a rule's own, before "and 3 more" */

struct why {
	struct buffer *out;
	const struct model_rule *rule;
	const struct described *d;
	const struct addr *address; /* the one that speaks for the session; NULL: only a name */
	bool unsure;
};

/* "feed, feed-names and 3 more" */
static void
put_words(struct buffer *out, const struct model_set *set)
{
	for (size_t i = 0; i < set->word_count && i < WORDS_SHOWN; i++) {
		if (i > 0)
			buffer_puts(out, ", ");
		put_shown(out, set->words[i]);
	}
	if (set->word_count > WORDS_SHOWN)
		buffer_putf(out, " and %zu more", set->word_count - WORDS_SHOWN);
}

static void
put_client(const struct why *w)
{
	char text[ADDR_TEXT];

	addr_format(&w->d->facts.client, text);
	buffer_puts(w->out, text);
}

/* The name and the answer that speaks for the session, or the literal. */
static void
put_destination(const struct why *w)
{
	char text[ADDR_TEXT];

	if (w->d->facts.name != NULL)
		put_shown(w->out, w->d->facts.name);
	if (w->address == NULL)
		return;
	addr_format(w->address, text);
	if (w->d->facts.name != NULL)
		buffer_putf(w->out, " (%s)", text);
	else
		buffer_puts(w->out, text);
}

static void
put_ways(struct buffer *out, uint32_t ways)
{
	const char *comma = "";

	for (unsigned bit = 0; bit < 8; bit++) {
		if ((ways & 1u << bit) == 0)
			continue;
		buffer_putf(out, "%s%s", comma, facts_auth_word((uint8_t)(1u << bit)));
		comma = ", ";
	}
}

static void
put_who(const struct why *w)
{
	const struct rules_facts *f = &w->d->facts;
	const char *user = f->proven_user != NULL ? f->proven_user : f->asserted_user;
	uint32_t by = f->proven_user != NULL ? f->proven_by : f->asserted_by;

	if (user == NULL) {
		buffer_puts(w->out, "nobody is known");
	} else {
		put_shown(w->out, user);
		buffer_puts(w->out, ", known by ");
		put_ways(w->out, by);
	}
}

static void
why_who(const struct why *w)
{
	const struct rules_facts *f = &w->d->facts;
	uint32_t by = f->proven_by | f->asserted_by;

	put_who(w);
	if (by != 0 && (by & w->rule->auth) == 0) {
		buffer_puts(w->out, ": the rule accepts ");
		put_ways(w->out, w->rule->auth);
		return;
	}
	buffer_puts(w->out, by == 0 ? ": the rule asks for " : ", is not ");
	if (w->rule->who_kind == WHO_SET)
		put_words(w->out, &w->rule->who);
	else
		buffer_puts(w->out, "a known user");
}

static void
why_auth(const struct why *w)
{
	put_who(w);
	buffer_puts(w->out, ": the rule accepts ");
	put_ways(w->out, w->rule->auth);
}

static void
why_from(const struct why *w)
{
	put_client(w);
	buffer_puts(w->out, " is not in ");
	put_words(w->out, &w->rule->from);
}

static void
why_from_except(const struct why *w)
{
	put_client(w);
	buffer_puts(w->out, " is in ");
	put_words(w->out, &w->rule->from_except);
}

/* Where a name leads was not asked, as no rule could allow it; so a set's networks were not,
 * either. */
static bool
is_unasked(const struct why *w, const struct model_set *set)
{
	bool networks = set->builtins != 0;

	for (size_t i = 0; i < set->object_count; i++)
		networks |= set->objects[i]->kind == OBJECT_NETWORK;
	return w->address == NULL && networks;
}

static void
why_to(const struct why *w)
{
	bool unasked = is_unasked(w, &w->rule->to);

	put_destination(w);
	buffer_puts(w->out, unasked ? " is no name of " : " is not in ");
	put_words(w->out, &w->rule->to);
	buffer_puts(w->out, unasked ? ", and is not looked up" : "");
}

static void
why_except(const struct why *w)
{
	put_destination(w);
	buffer_puts(w->out, " is in ");
	put_words(w->out, &w->rule->except);
	buffer_puts(w->out, is_unasked(w, &w->rule->except) ? ", or may lead there" : "");
}

static void
why_resolves_in(const struct why *w)
{
	put_destination(w);
	buffer_puts(w->out, " does not lead to ");
	if (w->rule->resolves_in.word_count > 0)
		put_words(w->out, &w->rule->resolves_in);
	else
		buffer_puts(w->out, "public");
}

static void
why_listener(const struct why *w)
{
	buffer_puts(w->out, "the client did not come in by ");
	for (size_t i = 0; i < w->rule->listener_count; i++)
		buffer_putf(w->out, "%s%s", i > 0 ? ", " : "", w->rule->listeners[i]);
}

static void
why_service(const struct why *w)
{
	buffer_putf(w->out, "%s/%u is not in ", w->d->facts.command == RULES_UDP ? "udp" : "tcp",
		    (unsigned)w->d->facts.port);
	put_words(w->out, &w->rule->service);
}

static void
why_command(const struct why *w)
{
	const char *comma = "";

	buffer_putf(w->out, "%s is not ", facts_command_word(w->d->facts.command));
	for (unsigned c = RULES_CONNECT; c <= RULES_UDP; c++) {
		if ((w->rule->commands & 1u << c) == 0)
			continue;
		buffer_putf(w->out, "%s%s", comma, facts_command_word(c));
		comma = ", ";
	}
}

static void
why_version(const struct why *w)
{
	buffer_putf(w->out, "SOCKS%u is not SOCKS%u", (unsigned)w->d->facts.version,
		    w->d->facts.version == 4 ? 5u : 4u);
}

static void
put_instant(struct buffer *out, int64_t t, bool only_day)
{
	char text[64] = "";
	time_t when = (time_t)t;
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL)
		return;
	if (only_day)
		strftime(text, sizeof text, "%Y-%m-%d", &tm);
	else
		strftime(text, sizeof text, "%a %Y-%m-%d %H:%M UTC", &tm);
	buffer_puts(out, text);
}

static void
why_when(const struct why *w)
{
	put_instant(w->out, w->d->facts.time, false);
	buffer_puts(w->out, " is not in ");
	put_words(w->out, &w->rule->when);
}

static void
why_since(const struct why *w)
{
	put_instant(w->out, w->d->facts.time, false);
	buffer_puts(w->out, " is before ");
	put_instant(w->out, w->rule->since, true);
}

static void
why_expires(const struct why *w)
{
	put_instant(w->out, w->d->facts.time, false);
	buffer_puts(w->out, " is after ");
	put_instant(w->out, w->rule->expires - 1, true);
}

static void
why_mode(const struct why *w)
{
	buffer_puts(w->out, w->unsure ? "may match, but is only a dry run"
				      : "matches, but is only a dry run");
}

static const struct {
	const char *key;
	void (*put)(const struct why *);
} reasons[] = {
    {"who", why_who},           {"auth", why_auth},
    {"from", why_from},         {"from-except", why_from_except},
    {"listener", why_listener}, {"to", why_to},
    {"except", why_except},     {"service", why_service},
    {"command", why_command},   {"version", why_version},
    {"when", why_when},         {"resolves-in", why_resolves_in},
    {"since", why_since},       {"expires", why_expires},
    {"mode", why_mode},
};

/* Semantics 6: the first answer that is allowed, else the first. */
static const struct addr *
speaking(const struct described *d, const struct rules_explanation *e)
{
	if (d->facts.name == NULL)
		return &d->facts.address;
	for (size_t i = 0; i < e->address_count; i++)
		if (e->addresses[i].answer.verdict != RULES_DENY)
			return &e->addresses[i].address;
	return e->address_count > 0 ? &e->addresses[0].address : NULL;
}

void
why_put(struct buffer *out, const struct court *court, const struct described *d,
	const struct rules_explanation *e, const struct rules_passed *passed)
{
	const struct rules_model *m = court->load->model;
	struct why w = {out, NULL, d, speaking(d, e), passed->unsure};

	if (m == NULL || passed->rule < 0 || (size_t)passed->rule >= m->rule_count)
		return;
	w.rule = &m->rules[passed->rule];
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (strcmp(reasons[i].key, passed->failed) == 0)
			reasons[i].put(&w);
}
