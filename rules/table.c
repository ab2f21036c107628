/*
 * rules/table.c - a value looked for in one object, and the place where it is written. Addresses,
 * ports and users are found in the flat sets; names and instants are put to the engine, as the only
 * condition of a rule. sallyctl; allocates in the model. No system call but for the zone of an
 * instant.
 */
#include "rules/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "rules/image.h"
#include "rules/ranges.h"
#include "rules/read.h"

/* ---- which object ---------------------------------------------------------------- */

static void
put_quoted(struct text *t, const char *s)
{
	text_put_quoted(t, s, strlen(s), 128);
}

/* "services" of "services.web"; NULL without one. *name is what stands behind it. */
static const struct kind *
section_of(const char **name)
{
	size_t i;

	if (**name == '@') {
		++*name;
		return kind_of(OBJECT_GROUP);
	}
	for (i = 0; i < KIND_COUNT; i++) {
		size_t len = strlen(kinds[i].section);

		if (!strncmp(*name, kinds[i].section, len) && (*name)[len] == '.') {
			*name += len + 1;
			return &kinds[i];
		}
	}
	return NULL;
}

static void
tell_no_object(const struct rules_model *m, const char *name, struct text *error)
{
	const char *near = NULL;
	const struct object *o;
	struct vec names = {0};

	for (o = m->objects; o; o = o->next)
		if (o->name)
			*(const char **)vec_add(&names, sizeof(char *)) = o->name;
	*(const char **)vec_add(&names, sizeof(char *)) = NULL;
	near = text_nearest(name, names.p);
	text_put(error, "no object is called ");
	put_quoted(error, name);
	if (near)
		text_putf(error, ": did you mean \"%s\"?", near);
	vec_free(&names);
}

static const struct object *
object_named(const struct rules_model *m, const char *word, struct text *error)
{
	const char *name = word;
	const struct kind *k = section_of(&name);
	const struct object *o, *found = NULL;

	for (o = m->objects; o; o = o->next) {
		if (!o->name || strcmp(o->name, name) || (k && o->kind != k->kind))
			continue;
		if (found) {
			text_putf(error,
				  "two objects are called \"%s\": say \"%s.%s\" or \"%s.%s\"", name,
				  kind_of(found->kind)->section, name, kind_of(o->kind)->section,
				  name);
			return NULL;
		}
		found = o;
	}
	if (!found)
		tell_no_object(m, name, error);
	return found;
}

static bool
member_target(const struct rules_model *m, const char *word, struct table_target *out,
	      struct text *error)
{
	const struct object *o;
	size_t i;

	for (o = m->objects; o; o = o->next)
		for (i = 0; i < o->member_count; i++)
			if (!strcmp(o->members[i], word)) {
				*out = (struct table_target){o, o->members[i]};
				return true;
			}
	text_put(error, "no object names the table ");
	put_quoted(error, word);
	return false;
}

bool
table_target(const struct rules_load *l, const char *name, struct table_target *out,
	     struct text *error)
{
	*out = (struct table_target){0};
	if (!strncmp(name, "file:", 5))
		return member_target(l->model, name, out, error);
	out->object = object_named(l->model, name, error);
	return out->object != NULL;
}

char *
table_path(const struct rules_load *l, const struct table_target *t, struct text *error)
{
	const struct source *main = tree_source(l->policy_tree);
	const struct object *o = t->object;
	const char *file = t->member;
	size_t i, tables = 0;

	for (i = 0; i < o->member_count && !t->member; i++) {
		if (strncmp(o->members[i], "file:", 5))
			continue;
		text_put(error, tables++ ? ", " : "");
		put_quoted(error, o->members[i]);
		file = o->members[i];
	}
	if (tables > 1) {
		text_putf(error, ": \"%s\" holds several tables, so name one of them", o->name);
		return NULL;
	}
	if (!file) {
		text_putf(error, "\"%s\" holds no table of its own: its values stand in %s",
			  o->name, o->place.file);
		return NULL;
	}
	text_init(error, error->p, error->cap);
	return path_join(main->dir, file + 5);
}

/* ---- one value --------------------------------------------------------------------- */

struct wanted { /* the value, in the form of its kind */
	enum object_kind kind;
	struct model_range range;
	char name[NAME_MAX_LEN + 1];
	size_t name_len;
	struct model_service service;
	const char *user;
	bool unix_group;
	int64_t at;
};

static bool
want_network(const char *value, struct wanted *w, struct text *error)
{
	struct prefix prefix;

	if (prefix_parse(value, strlen(value), &prefix) != PREFIX_OK) {
		text_put(error, "not an address and not a prefix: ");
		put_quoted(error, value);
		return false;
	}
	w->range = (struct model_range){prefix_first(&prefix), prefix_last(&prefix)};
	return true;
}

static bool
want_host(const char *value, struct wanted *w, struct text *error)
{
	struct addr address;

	if (name_canonical(value, strlen(value), w->name, &w->name_len, &address) == NAME_HOST)
		return true;
	text_put(error, "not the name of a host: ");
	put_quoted(error, value);
	return false;
}

static bool
want_service(struct reader *r, const char *value, struct wanted *w, struct text *error)
{
	struct builder b = {0};
	bool good = service_literal(r, &b, value, strlen(value), (struct place){0});

	if (good)
		w->service = *(struct model_service *)b.services.p;
	builder_free(&b);
	if (!good) {
		text_put(error, "not a service such as tcp/443: ");
		put_quoted(error, value);
	}
	return good;
}

static bool
want(struct reader *r, const char *value, struct wanted *w, struct text *error)
{
	const char *wrong;

	switch (w->kind) {
	case OBJECT_NETWORK:
		return want_network(value, w, error);
	case OBJECT_HOST:
		return want_host(value, w, error);
	case OBJECT_SERVICE:
		return want_service(r, value, w, error);
	case OBJECT_GROUP:
		w->unix_group = !strncmp(value, "unix:", 5);
		w->user = w->unix_group ? value + 5 : value;
		return true;
	default:
		wrong = facts_time(value, &w->at);
		if (wrong)
			text_put(error, wrong);
		return !wrong;
	}
}

static bool
in_ranges(const struct object *o, const struct wanted *w)
{
	struct ranges have = {o->ranges, o->range_count, 0};
	struct model_range one = w->range;
	struct ranges wanted = {&one, 1, 1};

	return ranges_within(&wanted, &have);
}

static bool
in_services(const struct object *o, const struct wanted *w)
{
	uint32_t next = w->service.first;
	size_t i;

	for (i = 0; i < o->service_count && next <= w->service.last; i++) /* sorted */
		if (o->services[i].udp == w->service.udp && o->services[i].first <= next &&
		    o->services[i].last >= next)
			next = o->services[i].last + 1u;
	return next > w->service.last;
}

static bool
in_group(const struct object *o, const struct wanted *w)
{
	const char *const *list = w->unix_group ? o->unix_groups : o->users;
	size_t i, n = w->unix_group ? o->unix_count : o->user_count;

	for (i = 0; i < n; i++)
		if (!strcmp(list[i], w->user))
			return true;
	return false;
}

/* The engine's own word: a rule with no other condition holds, or not. */
static bool
engine_holds(struct object *o, const struct wanted *w)
{
	struct object *list[1] = {o};
	struct model_set set = {.given = true, .objects = list, .object_count = 1};
	struct model_rule rule = {.name = "", .commands = 14, .versions = 1 << 4 | 1 << 5};
	struct rules_model m = {.name = "", .rules = &rule, .rule_count = 1};
	struct rules_facts f = {.known = FACT_ALL, .version = 5, .command = RULES_CONNECT};
	struct problems problems;
	struct policy *p;
	void *image = NULL;
	bool unknown, holds = false;
	size_t len;

	f.client = f.address = addr_loopback4;
	f.listener = -1;
	if (w->kind == OBJECT_HOST) {
		rule.to = set;
		f.name = w->name;
		f.name_len = w->name_len;
	} else {
		rule.when = set;
		f.time = w->at;
	}
	problems_init(&problems);
	if (model_compile(&m, &image, &len, &problems) && (p = policy_open(image, len)) != NULL) {
		holds = rules_first_failure(p, 0, &f, &unknown) == NULL;
		policy_close(p);
	}
	free(image);
	problems_free(&problems);
	return holds;
}

static bool
object_holds(struct object *o, const struct wanted *w)
{
	switch (w->kind) {
	case OBJECT_NETWORK:
		return in_ranges(o, w);
	case OBJECT_SERVICE:
		return in_services(o, w);
	case OBJECT_GROUP:
		return in_group(o, w);
	default:
		return engine_holds(o, w);
	}
}

/* ---- the place ------------------------------------------------------------------------ */

struct search {
	struct rules_load *l;
	struct reader r;
	struct wanted w;
	struct table_answer *out;
};

static bool
found(struct search *s, struct place at, const char *entry, size_t len)
{
	struct text t;

	text_init(&t, s->out->entry, sizeof(s->out->entry));
	text_put_bytes(&t, entry, len);
	s->out->at = at;
	return true;
}

static bool
pattern_holds(const char *s, size_t len, const struct wanted *w)
{
	bool below = len > 0 && s[0] == '*', both = len > 0 && s[0] == '.';
	size_t skip = below ? 2 : both ? 1 : 0, rest = len - skip;
	const char *end = w->name + w->name_len;

	if (rest > w->name_len || strncasecmp(end - rest, s + skip, rest) != 0)
		return false;
	if (rest == w->name_len)
		return !below;
	return (below || both) && end[-(long)rest - 1] == '.';
}

static bool
line_holds(const char *s, size_t len, const struct wanted *w)
{
	struct prefix prefix;
	struct addr last;

	switch (w->kind) {
	case OBJECT_NETWORK:
		if (prefix_parse(s, len, &prefix) != PREFIX_OK)
			return false;
		last = prefix_last(&prefix);
		return prefix_contains(&prefix, &w->range.first) &&
		       addr_compare(&last, &w->range.last) >= 0;
	case OBJECT_HOST:
		return pattern_holds(s, len, w);
	default:
		return !w->unix_group && strlen(w->user) == len && !memcmp(s, w->user, len);
	}
}

/* The text of a table as it was loaded. */
static const struct source *
table_source(const struct search *s, const char *member)
{
	const struct source *main = tree_source(s->l->policy_tree), *src = s->l->sources.first;
	char *path = path_join(main->dir, member + 5);

	while (src && strcmp(src->path, path))
		src = src->next;
	free(path);
	return src;
}

static bool
in_table(struct search *s, const char *member)
{
	const struct source *src = table_source(s, member);
	struct table_cursor c = {0};
	bool holds = false;

	if (!src)
		return false;
	c.next = src->text;
	c.at.file = src->name;
	while (!holds && table_next(src, &c))
		holds = line_holds(c.value, c.len, &s->w);
	return holds && found(s, c.at, c.value, c.len);
}

/* All that one table holds. */
static void
table_object(struct search *s, const char *member, struct object *o)
{
	const struct source *src = table_source(s, member);
	struct builder b = {0};

	o->kind = s->w.kind;
	if (src)
		table_lines(&s->r, kind_of(o->kind), &b, src);
	builder_finish(&s->r, &b, o);
	builder_free(&b);
}

static bool
in_literal(struct search *s, const char *member, struct place at)
{
	const struct kind *k = kind_of(s->w.kind);
	int builtin = k->space == SPACE_DESTINATION ? builtin_find(member) : -1;
	struct object o = {.kind = k->kind};
	struct builder b = {0};

	if (builtin >= 0)
		network_builtin(&b, builtin, NULL);
	else
		k->literal(&s->r, &b, member, strlen(member), at);
	builder_finish(&s->r, &b, &o);
	builder_free(&b);
	return object_holds(&o, &s->w) && found(s, at, member, strlen(member));
}

static bool in_object(struct search *s, const struct object *o, unsigned depth);

/* An object inside, or NULL: the member is a value. */
static const struct object *
inner_object(const struct search *s, const char *member)
{
	bool group = s->w.kind == OBJECT_GROUP;
	const struct object *o;

	if (group ? member[0] != '@' : !name_is_identifier(member, strlen(member)))
		return NULL;
	for (o = s->l->model->objects; o; o = o->next)
		if (o->name && o->kind == s->w.kind && !strcmp(o->name, member + group))
			return o;
	return NULL;
}

static bool
in_member(struct search *s, const struct object *o, size_t i, unsigned depth)
{
	const char *member = o->members[i];
	const struct object *inner = inner_object(s, member);

	if (!strncmp(member, "file:", 5))
		return in_table(s, member);
	if (inner)
		return in_object(s, inner, depth + 1);
	return in_literal(s, member, o->member_places[i]);
}

static bool
in_object(struct search *s, const struct object *o, unsigned depth)
{
	size_t i;

	for (i = 0; i < o->member_count && depth < 200; i++)
		if (in_member(s, o, i, depth))
			return true;
	return false;
}

bool
table_ask(struct rules_load *l, const struct table_target *t, const char *value,
	  struct table_answer *out, struct text *error)
{
	struct problems scratch;
	struct search s = {.l = l, .out = out};
	struct object whole = {.kind = t->object->kind};
	bool good;

	memset(out, 0, sizeof(*out));
	problems_init(&scratch);
	s.r = (struct reader){.m = l->model, .p = &scratch};
	s.w.kind = whole.kind;
	good = want(&s.r, value, &s.w, error);
	if (good && t->member)
		table_object(&s, t->member, &whole);
	else if (good)
		whole = *t->object;
	out->holds = good && object_holds(&whole, &s.w);
	if (out->holds)
		t->member ? in_table(&s, t->member) : in_object(&s, t->object, 0);
	map_free(&s.r.words);
	map_free(&s.r.zones);
	problems_free(&scratch);
	return good;
}

size_t
table_entries(const struct source *src)
{
	struct table_cursor c = {.next = src->text};
	size_t n = 0;

	while (table_next(src, &c))
		n++;
	return n;
}
