/*
 * show.c - sallyctl show: the effective rules, one sentence each, with what they
 * carry; the objects that they name on demand.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "rules/show.h"

#define VALUES_SHOWN 24 /* of an object, before "and 976 more"; --json tells all */

static bool
is_wanted(const struct ctl_call *call, const struct model_rule *rule)
{
	for (unsigned i = 0; i < call->operand_count; i++)
		if (strcmp(call->operands[i], rule->name) == 0)
			return true;
	return call->operand_count == 0;
}

/* ---- for people ----------------------------------------------------------------- */

/* Texts of the file pass put_shown on their way to the terminal, once for all. */
static void
put_line(struct buffer *out, const char *indent, struct buffer *line)
{
	buffer_put(line, "", 1);
	if (line->p[0] != '\0') {
		buffer_puts(out, indent);
		put_shown(out, line->p);
		buffer_puts(out, "\n");
	}
	line->len = 0;
}

static void
put_said(struct buffer *line, const char *key, const char *value)
{
	if (value[0] != '\0')
		buffer_putf(line, "%s%s %s", line->len > 0 ? ", " : "", key, value);
}

static void
put_owner(const struct model_rule *rule, struct buffer *line)
{
	put_said(line, "owner", rule->terms.owner);
	put_said(line, "ticket", rule->terms.ticket);
	if (rule->has_review) {
		buffer_puts(line, line->len > 0 ? ", review " : "review ");
		day_put(rule->review, line);
	}
}

static void
put_values(const struct object *o, struct buffer *line)
{
	size_t count = object_count(o);

	for (size_t i = 0; i < count && i < VALUES_SHOWN; i++) {
		if (i > 0)
			buffer_puts(line, ", ");
		object_put_value(o, i, line);
	}
	if (count > VALUES_SHOWN)
		buffer_putf(line, " and %zu more", count - VALUES_SHOWN);
	if (count == 0)
		buffer_puts(line, "nothing");
	for (size_t i = 0; i < o->table_count; i++)
		buffer_putf(line, "%s%s", i > 0 ? ", " : ", of ", o->tables[i]);
}

/* Each object once, in the order of the keys that name it. */
static void
put_objects(const struct model_rule *rule, struct buffer *line, struct buffer *out)
{
	const struct object *told[256];
	const struct model_set *set;
	const char *key;
	size_t n = 0;

	for (unsigned i = 0; (set = rule_set(rule, i, &key)) != NULL; i++)
		for (size_t k = 0; k < set->object_count; k++) {
			const struct object *o = set->objects[k];
			size_t j = 0;

			while (j < n && told[j] != o)
				j++;
			if (o->name == NULL || j < n)
				continue;
			if (n < sizeof told / sizeof told[0])
				told[n++] = o;
			buffer_putf(line, "%s = ", o->name);
			put_values(o, line);
			put_line(out, "      ", line);
		}
}

static void
put_rule(const struct ctl_call *call, const struct model_rule *rule, struct buffer *out)
{
	const struct style *s = style_of(call);
	struct buffer line = {0};

	buffer_putf(out, "%s%s%s  %s(", s->bold, rule->name, s->off, s->dim);
	put_shown(out, rule->place.file);
	buffer_putf(out, ":%u:%u)%s\n", rule->place.line, rule->place.column, s->off);
	rule_sentence(rule, &line);
	put_line(out, "    ", &line);
	rule_put_terms(rule, &line);
	put_line(out, "    ", &line);
	put_owner(rule, &line);
	put_line(out, "    ", &line);
	put_said(&line, "why:", rule->terms.why);
	put_line(out, "    ", &line);
	if (option_on(call, "expand"))
		put_objects(rule, &line, out);
	buffer_free(&line);
}

static void
put_default(const struct ctl_call *call, struct buffer *out)
{
	const struct style *s = style_of(call);

	buffer_putf(out, "%spolicy-default%s\n    Denies what no rule allows.\n", s->bold, s->off);
}

/* ---- in JSON -------------------------------------------------------------------- */

static void
put_json_key(struct buffer *out, const char *key, const char *value)
{
	buffer_putf(out, ",\"%s\":", key);
	if (value[0] != '\0')
		buffer_put_json(out, value, strlen(value));
	else
		buffer_puts(out, "null");
}

static void
put_json_list(struct buffer *out, const char *key, const char *const *words, size_t count)
{
	buffer_putf(out, ",\"%s\":[", key);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buffer_puts(out, ",");
		buffer_put_json(out, words[i], strlen(words[i]));
	}
	buffer_puts(out, "]");
}

/* A bit set as a list of words. */
static void
put_json_bits(struct buffer *out, const char *key, uint32_t bits, const char *(*word)(unsigned bit))
{
	const char *words[32];
	size_t count = 0;

	for (unsigned bit = 0; bit < 32; bit++)
		if ((bits & 1u << bit) != 0)
			words[count++] = word(bit);
	put_json_list(out, key, words, count);
}

static const char *
way_of(unsigned bit)
{
	return facts_auth_word((uint8_t)(1u << bit));
}

static void
put_json_day(struct buffer *out, const char *key, bool given, int64_t at)
{
	struct buffer day = {0};

	if (given)
		day_put(at, &day);
	buffer_put(&day, "", 1);
	put_json_key(out, key, day.p);
	buffer_free(&day);
}

/* What holds where a key is not given; NULL: nothing is asked. */
static const char *
default_word(const struct model_rule *rule, const char *key)
{
	if (strcmp(key, "who") == 0)
		return rule->who_kind == WHO_KNOWN ? "known" : "anyone";
	if (strcmp(key, "from") == 0)
		return "any";
	if (strcmp(key, "resolves-in") == 0 && rule->allow)
		return "public";
	return NULL;
}

static void
put_json_set(struct buffer *out, const struct model_rule *rule, const char *key,
	     const struct model_set *set)
{
	const char *word = default_word(rule, key);

	if (strcmp(key, "resolves-in") == 0 && !rule->allow)
		put_json_list(out, key, NULL, 0);
	else if (set->word_count > 0 || word == NULL)
		put_json_list(out, key, set->words, set->word_count);
	else
		put_json_list(out, key, &word, 1);
}

static void
put_json_rule(const struct model_rule *rule, struct buffer *out)
{
	struct buffer text = {0};
	const struct model_set *set;
	const char *key;

	buffer_puts(out, "{\"name\":");
	buffer_put_json(out, rule->name, strlen(rule->name));
	put_json_key(out, "file", rule->place.file);
	buffer_putf(out, ",\"line\":%u,\"column\":%u", rule->place.line, rule->place.column);
	put_json_key(out, "action", rule->allow ? "allow" : "deny");
	put_json_key(out, "mode", rule->dry_run ? "dry-run" : "enforce");
	rule_sentence(rule, &text);
	buffer_put(&text, "", 1);
	put_json_key(out, "sentence", text.p);
	for (unsigned i = 0; (set = rule_set(rule, i, &key)) != NULL; i++)
		put_json_set(out, rule, key, set);
	put_json_bits(out, "auth", rule->auth, way_of);
	put_json_list(out, "listener", rule->listeners, rule->listener_count);
	put_json_bits(out, "command", rule_commands(rule), facts_command_word);
	buffer_putf(out, ",\"version\":[%s%s%s]", rule->versions & 1u << 4 ? "4" : "",
		    rule->versions == (1u << 4 | 1u << 5) ? "," : "",
		    rule->versions & 1u << 5 ? "5" : "");
	put_json_day(out, "since", rule->has_since, rule->since);
	put_json_day(out, "expires", rule->has_expires, rule->expires - 1);
	put_json_day(out, "review", rule->has_review, rule->review);
	text.len = 0;
	rule_put_terms(rule, &text);
	buffer_put(&text, "", 1);
	put_json_key(out, "terms", text.p);
	put_json_key(out, "owner", rule->terms.owner);
	put_json_key(out, "ticket", rule->terms.ticket);
	put_json_key(out, "why", rule->terms.why);
	buffer_puts(out, "}");
	buffer_free(&text);
}

static void
put_json_object(const struct object *o, struct buffer *out)
{
	struct buffer value = {0};

	buffer_puts(out, "{\"name\":");
	buffer_put_json(out, o->name, strlen(o->name));
	put_json_key(out, "kind", object_word(o->kind));
	buffer_puts(out, ",\"values\":[");
	for (size_t i = 0; i < object_count(o); i++) {
		if (i > 0)
			buffer_puts(out, ",");
		value.len = 0;
		object_put_value(o, i, &value);
		buffer_put_json(out, value.p, value.len);
	}
	buffer_puts(out, "]");
	put_json_list(out, "tables", o->tables, o->table_count);
	buffer_puts(out, "}");
	buffer_free(&value);
}

static void
put_json(const struct ctl_call *call, const struct rules_model *m, struct buffer *out)
{
	const char *comma = "";

	buffer_puts(out, "{\"rules\":[");
	for (size_t i = 0; i < m->rule_count; i++) {
		if (!is_wanted(call, &m->rules[i]))
			continue;
		buffer_puts(out, comma);
		put_json_rule(&m->rules[i], out);
		comma = ",";
	}
	buffer_puts(out, "]");
	if (option_on(call, "expand")) {
		buffer_puts(out, ",\"objects\":[");
		comma = "";
		for (const struct object *o = m->objects; o != NULL; o = o->next) {
			if (o->name == NULL)
				continue;
			buffer_puts(out, comma);
			put_json_object(o, out);
			comma = ",";
		}
		buffer_puts(out, "]");
	}
	buffer_puts(out, "}\n");
}

/* ---- the command ---------------------------------------------------------------- */

static const char *
nearest_rule(const struct rules_model *m, const char *word)
{
	const char **names = calloc(m->rule_count + 1, sizeof *names), *near;

	if (names == NULL)
		abort();
	for (size_t i = 0; i < m->rule_count; i++)
		names[i] = m->rules[i].name;
	near = text_nearest(word, names);
	free(names);
	return near;
}

static bool
names_are_known(const struct ctl_call *call, const struct rules_model *m, struct policy *policy)
{
	const char *near;

	for (unsigned i = 0; i < call->operand_count; i++) {
		char shown[128];
		struct text t;

		if (policy_rule_find(policy, call->operands[i]) >= 0)
			continue;
		text_init(&t, shown, sizeof shown);
		text_put_quoted(&t, call->operands[i], strlen(call->operands[i]), 64);
		near = nearest_rule(m, call->operands[i]);
		if (near != NULL)
			ctl_fail(call, "no rule is called %s: did you mean '%s'?", shown, near);
		else
			ctl_fail(call, "no rule is called %s", shown);
		return false;
	}
	return true;
}

int
show_run(struct ctl_call *call)
{
	struct buffer out = {0};
	struct policy *policy;
	struct rules_load l;
	bool ok;

	if (!load_policy(call, &l, &policy))
		return CTL_FAILED;
	ok = names_are_known(call, l.model, policy);
	if (ok && call->json)
		put_json(call, l.model, &out);
	for (size_t i = 0; ok && !call->json && i < l.model->rule_count; i++)
		if (is_wanted(call, &l.model->rules[i]))
			put_rule(call, &l.model->rules[i], &out);
	if (ok && !call->json && call->operand_count == 0)
		put_default(call, &out);
	load_free(&l, policy);
	if (ok)
		return ctl_done(&out, CTL_YES);
	buffer_free(&out);
	return CTL_FAILED;
}
