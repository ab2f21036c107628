/*
 * inquiry.c - from the words of an admin to the facts of a session.
 *
 * One place for explain's options, for batch and for its answers, so that a word
 * means the same everywhere.  Every word is checked; none is guessed at.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/inquiry.h"
#include "rules/model.h"

void
words_add(struct words *w, const char *word)
{
	if (w->count == w->cap) {
		w->cap = w->cap > 0 ? w->cap * 2 : 16;
		w->list = realloc(w->list, w->cap * sizeof *w->list);
		if (w->list == NULL)
			abort();
	}
	w->list[w->count++] = word;
}

void
words_free(struct words *w)
{
	free(w->list);
	memset(w, 0, sizeof *w);
}

void
court_open(struct court *c, struct policy *policy, const struct rules_load *load)
{
	c->policy = policy;
	c->load = load;
	if (load->has_settings)
		self_open(&c->self, &load->settings);
	else
		memset(&c->self, 0, sizeof c->self);
}

void
court_close(struct court *c)
{
	self_close(&c->self);
}

/* "key: 'value' why" */
static bool
refuse(struct text *error, const char *key, const char *value, const char *why)
{
	text_putf(error, "%s: ", key);
	text_put_quoted(error, value, strlen(value), 128);
	text_putf(error, " %s", why);
	return false;
}

static bool
missing(struct text *error, const char *key, const char *what)
{
	text_putf(error, "%s is missing: %s", key, what);
	return false;
}

static bool
describe_from(const struct inquiry *q, struct described *d, struct text *error)
{
	if (q->from == NULL)
		return missing(error, "from", "the client's address");
	if (!addr_parse(q->from, strlen(q->from), &d->facts.client))
		return refuse(error, "from", q->from, "is not an IP address");
	return true;
}

static bool
describe_to(const struct inquiry *q, struct described *d, struct text *error)
{
	const char *why;

	if (q->to == NULL)
		return missing(error, "to", "the destination, as host:port");
	why = facts_destination(q->to, &d->facts, d->name);
	if (why == NULL)
		return true;
	text_put(error, "to: ");
	text_put_quoted(error, q->to, strlen(q->to), 128);
	text_putf(error, ": %s", why);
	return false;
}

static bool
describe_user(const struct inquiry *q, struct described *d, struct text *error)
{
	struct rules_facts *f = &d->facts;
	uint8_t by;

	f->groups = q->groups.list;
	f->group_count = q->groups.count;
	if (q->user == NULL && q->auth == NULL)
		return true;
	if (q->user == NULL)
		return missing(error, "user", "auth comes with a user");
	if (q->user[0] == '\0')
		return refuse(error, "user", q->user, "is not a user's name");
	if (q->auth == NULL)
		return missing(error, "auth",
			       "say how the user is known: pam, file, gssapi, chap, ident or "
			       "userid");
	if (!facts_auth(q->auth, &by))
		return refuse(error, "auth", q->auth,
			      "is not a way to be known: pam, file, gssapi, chap, ident or userid");
	if (by == AUTH_IDENT || by == AUTH_USERID) {
		f->asserted_by = by;
		f->asserted_user = q->user;
	} else {
		f->proven_by = by;
		f->proven_user = q->user;
	}
	return true;
}

static bool
describe_command(const struct inquiry *q, struct described *d, struct text *error)
{
	d->facts.command = RULES_CONNECT;
	if (q->command != NULL && !facts_command(q->command, &d->facts.command))
		return refuse(error, "command", q->command,
			      "is not a command: connect, bind or udp-associate");
	d->facts.version = 5;
	if (q->version_given && q->version != 4 && q->version != 5) {
		text_putf(error, "version: %lld is not a version of SOCKS: 4 or 5", q->version);
		return false;
	}
	if (q->version_given)
		d->facts.version = (uint8_t)q->version;
	return true;
}

static bool
has_listener(const struct settings *s, const char *name)
{
	for (uint32_t i = 0; i < s->listener_count; i++)
		if (strcmp(s->listeners[i].name, name) == 0)
			return true;
	return false;
}

/* A policy by itself knows no listeners: a name that no rule uses is then like none. */
static bool
describe_listener(const struct inquiry *q, const struct court *court, struct described *d,
		  struct text *error)
{
	d->facts.listener = -1;
	if (q->listener == NULL)
		return true;
	if (!name_is_identifier(q->listener, strlen(q->listener)))
		return refuse(error, "listener", q->listener, "is not a name");
	if (court->load->has_settings && !has_listener(&court->load->settings, q->listener))
		return refuse(error, "listener", q->listener, "is no listener of these settings");
	d->facts.listener = policy_listener(court->policy, q->listener);
	return true;
}

static bool
describe_time(const struct inquiry *q, int64_t now, struct described *d, struct text *error)
{
	const char *why;

	d->facts.time = now;
	if (q->at == NULL)
		return true;
	why = facts_time(q->at, &d->facts.time);
	if (why == NULL)
		return true;
	text_put(error, "at: ");
	text_put_quoted(error, q->at, strlen(q->at), 128);
	text_putf(error, ": %s", why);
	return false;
}

static bool
describe_resolves(const struct inquiry *q, struct described *d, struct text *error)
{
	d->resolved = q->resolves_given;
	d->resolve_count = 0;
	if (q->resolves.count > d->resolve_cap) {
		d->resolve_cap = q->resolves.count;
		d->resolves = realloc(d->resolves, d->resolve_cap * sizeof *d->resolves);
		if (d->resolves == NULL)
			abort();
	}
	for (size_t i = 0; i < q->resolves.count; i++) {
		const char *a = q->resolves.list[i];

		if (!addr_parse(a, strlen(a), &d->resolves[d->resolve_count++]))
			return refuse(error, "resolves", a, "is not an IP address");
	}
	return true;
}

bool
inquiry_describe(const struct inquiry *q, const struct court *court, int64_t now,
		 struct described *out, struct text *error)
{
	struct rules_facts *f = &out->facts;

	memset(f, 0, sizeof *f);
	if (!describe_from(q, out, error) || !describe_to(q, out, error) ||
	    !describe_user(q, out, error) || !describe_command(q, out, error) ||
	    !describe_listener(q, court, out, error) || !describe_time(q, now, out, error) ||
	    !describe_resolves(q, out, error))
		return false;
	f->known = FACT_ALL;
	if (f->name != NULL)
		f->known &= ~(uint32_t)FACT_ADDRESS;
	f->self = court->load->has_settings ? &court->self.value : NULL;
	return true;
}

void
described_free(struct described *d)
{
	free(d->resolves);
	memset(d, 0, sizeof *d);
}

/* ---- the answer ------------------------------------------------------------ */

const char *
verdict_word(enum rules_verdict v)
{
	static const char *const words[] = {
	    [RULES_DENY] = "deny",
	    [RULES_PERMIT] = "allow",
	    [RULES_NEED] = "need",
	};

	return words[v];
}

static void
put_json(struct buffer *out, const char *s)
{
	buffer_put_json(out, s, strlen(s));
}

static void
put_rule(struct buffer *out, const struct court *court, int32_t rule)
{
	struct rule_terms terms;

	if (rule == RULE_NONE) {
		buffer_puts(out, "null");
		return;
	}
	policy_terms(court->policy, rule, &terms);
	put_json(out, terms.name);
}

static void
put_needs(struct buffer *out, uint32_t needs)
{
	static const struct {
		uint32_t fact;
		const char *word;
	} words[] = {
	    {FACT_CLIENT, "from"},       {FACT_VERSION, "version"},
	    {FACT_COMMAND, "command"},   {FACT_NAME, "name"},
	    {FACT_ADDRESS, "addresses"}, {FACT_PORT, "port"},
	    {FACT_TIME, "at"},           {FACT_PROVEN | FACT_ASSERTED, "user"},
	    {FACT_GROUPS, "groups"},
	};
	const char *comma = "";

	buffer_puts(out, "[");
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if ((needs & words[i].fact) == 0)
			continue;
		buffer_puts(out, comma);
		put_json(out, words[i].word);
		comma = ",";
	}
	buffer_puts(out, "]");
}

static void
put_addresses(struct buffer *out, const struct court *court, const struct rules_explanation *e)
{
	char text[ADDR_TEXT];

	buffer_puts(out, "[");
	for (size_t i = 0; i < e->address_count; i++) {
		const struct rules_explained_address *a = &e->addresses[i];

		addr_format(&a->address, text);
		buffer_puts(out, i > 0 ? ",{\"address\":" : "{\"address\":");
		put_json(out, text);
		buffer_puts(out, ",\"verdict\":");
		put_json(out, verdict_word(a->answer.verdict));
		buffer_puts(out, ",\"rule\":");
		put_rule(out, court, a->answer.rule);
		buffer_puts(out, "}");
	}
	buffer_puts(out, "]");
}

void
verdict_put_json(struct buffer *out, const struct court *court, const struct rules_explanation *e)
{
	const struct rules_answer *a = &e->answer;
	bool need = a->verdict == RULES_NEED;

	buffer_puts(out, "{\"verdict\":");
	put_json(out, verdict_word(a->verdict));
	buffer_puts(out, ",\"rule\":");
	put_rule(out, court, need ? RULE_NONE : a->rule);
	buffer_puts(out, ",\"reason\":");
	put_json(out, rules_reason_word(need ? REASON_UNDETERMINED : a->reason));
	buffer_puts(out, ",\"needs\":");
	put_needs(out, need ? a->needs : 0);
	buffer_puts(out, ",\"addresses\":");
	put_addresses(out, court, e);
	buffer_puts(out, ",\"passed\":[");
	for (size_t i = 0; i < e->passed_count; i++) {
		buffer_puts(out, i > 0 ? ",{\"rule\":" : "{\"rule\":");
		put_rule(out, court, e->passed[i].rule);
		buffer_puts(out, ",\"failed\":");
		put_json(out, e->passed[i].failed);
		buffer_puts(out, "}");
	}
	buffer_puts(out, "]}");
}
