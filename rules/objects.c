/*
 * rules/objects.c - named objects and the sets of rules: declared first, so that they may be used
 * before they are written, then resolved to final values with their nested objects and tables.
 * COMPILE and sallyctl; reads table files.
 */
#include "rules/read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "base/text.h"

#define DEPTH_MAX 100 /* objects inside objects: a limit for the stack, far beyond any policy */
#define SET_KEY_MAX 512

const struct kind kinds[KIND_COUNT] = {
    {OBJECT_NETWORK, SPACE_DESTINATION, "networks", "network", network_literal, true},
    {OBJECT_HOST, SPACE_DESTINATION, "hosts", "host", host_literal, true},
    {OBJECT_SERVICE, SPACE_SERVICE, "services", "service", service_literal, false},
    {OBJECT_GROUP, SPACE_GROUP, "groups", "group", user_literal, true},
    {OBJECT_TIME, SPACE_TIME, "times", "time window", window_literal, false},
};

/* Words that no object, rule or test may take as its name, besides the built-in networks. */
static const char *const taken_words[] = {"known", "anyone", "direct", "policy-default", NULL};

const struct kind *
kind_of(enum object_kind k)
{
	return &kinds[k];
}

/* ---- builders ------------------------------------------------------------------ */

void
builder_free(struct builder *b)
{
	struct vec *all[] = {&b->ranges,      &b->hosts,   &b->services, &b->users,
			     &b->unix_groups, &b->windows, &b->tables};
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		vec_free(all[i]);
}

/* What the builder holds becomes the object's own, sorted; returns how many values stood twice. */
size_t
builder_finish(struct reader *r, struct builder *b, struct object *o)
{
	size_t twice =
	    networks_settle(&b->ranges) + hosts_settle(&b->hosts) + users_settle(&b->users);

	services_settle(&b->services);
	users_settle(&b->unix_groups);
	windows_settle(&b->windows);
	users_settle(&b->tables);
	o->ranges = vec_keep(&b->ranges, sizeof(*o->ranges), r->m, &o->range_count);
	o->hosts = vec_keep(&b->hosts, sizeof(*o->hosts), r->m, &o->host_count);
	o->services = vec_keep(&b->services, sizeof(*o->services), r->m, &o->service_count);
	o->users = vec_keep(&b->users, sizeof(*o->users), r->m, &o->user_count);
	o->unix_groups = vec_keep(&b->unix_groups, sizeof(*o->unix_groups), r->m, &o->unix_count);
	o->windows = vec_keep(&b->windows, sizeof(*o->windows), r->m, &o->window_count);
	o->tables = vec_keep(&b->tables, sizeof(*o->tables), r->m, &o->table_count);
	o->wide = b->wide;
	o->open = b->open;
	return twice;
}

static void
vec_append(struct vec *v, const void *items, size_t count, size_t size)
{
	const char *one = items;

	for (; count--; one += size)
		memcpy(vec_add(v, size), one, size);
}

static void
builder_merge(struct builder *b, const struct object *o)
{
	vec_append(&b->ranges, o->ranges, o->range_count, sizeof(*o->ranges));
	vec_append(&b->hosts, o->hosts, o->host_count, sizeof(*o->hosts));
	vec_append(&b->services, o->services, o->service_count, sizeof(*o->services));
	vec_append(&b->users, o->users, o->user_count, sizeof(*o->users));
	vec_append(&b->unix_groups, o->unix_groups, o->unix_count, sizeof(*o->unix_groups));
	vec_append(&b->windows, o->windows, o->window_count, sizeof(*o->windows));
	vec_append(&b->tables, o->tables, o->table_count, sizeof(*o->tables));
	if (!b->wide)
		b->wide = o->wide;
	if (!b->open)
		b->open = o->open;
}

/* ---- names --------------------------------------------------------------------- */

bool
name_allowed(struct reader *r, const char *s, size_t len, struct place at, const char *what)
{
	const char *const *w;

	if (!name_is_identifier(s, len)) {
		problem_help(
		    problems_add(r->p, "E202", at, "\"%s\" cannot be the name of a %s", s, what),
		    "a name is a letter, then letters, digits, - and _, 64 in all at most");
		return false;
	}
	for (w = taken_words; *w && strcmp(*w, s); w++)
		;
	if (!*w && builtin_find(s) < 0)
		return true;
	problem_help(problems_add(r->p, "E202", at,
				  "\"%s\" is a built-in word and cannot name a %s", s, what),
		     "choose another name");
	return false;
}

static void
object_append(struct reader *r, struct object *o)
{
	*r->tail = o;
	r->tail = &o->next;
}

static void
declare(struct reader *r, const struct kind *k, struct node *n)
{
	struct map *names = &r->names[k->space];
	struct declared *d, *other = map_get(names, n->name, strlen(n->name));

	if (n->used) /* a second one of its name: told when the file was read */
		return;
	n->used = true;
	if (!name_allowed(r, n->name, strlen(n->name), n->key, k->one))
		return;
	if (other) {
		struct problem *one =
		    problems_add(r->p, "E207", n->key, "the name \"%s\" is taken by a %s", n->name,
				 other->kind->one);

		problem_help(one, "networks and hosts share their names; that one is here");
		problem_seen(one, other->o->place);
		return;
	}
	d = model_alloc(r->m, sizeof(*d));
	d->kind = k;
	d->node = n;
	d->o = model_alloc(r->m, sizeof(*d->o));
	d->o->kind = k->kind;
	d->o->name = n->name;
	d->o->place = n->key;
	map_put(names, d->o->name, d);
	*(struct declared **)vec_add(&r->declared, sizeof(d)) = d;
	object_append(r, d->o);
}

void
objects_declare(struct reader *r, const struct node *root)
{
	struct node *section, *n;
	size_t i;

	for (i = 0; i < KIND_COUNT; i++) {
		section = node_get(root, kinds[i].section);
		if (!section)
			continue;
		if (section->kind != NODE_GROUP) {
			wrong_type(r, section, kinds[i].section,
				   "a group of named sets, { name = [ ... ] }");
			continue;
		}
		for (n = section->first; n; n = n->next)
			declare(r, &kinds[i], n);
	}
}

/* ---- tables -------------------------------------------------------------------- */

struct table {
	struct object values;
	bool read;
};

static void
table_line(struct reader *r, const struct kind *k, struct builder *b, const char *s, size_t len,
	   struct place at)
{
	char buf[300];
	size_t i;

	for (i = 0; i < len; i++)
		if (s[i] == ' ' || s[i] == '\t') {
			problem_help(
			    problems_add(r->p, "E220", at, "a table holds one value a line"),
			    "a comment starts with #");
			return;
		}
	if (len >= sizeof(buf)) {
		problems_add(r->p, "E220", at, "this line is too long for a %s", k->one);
		return;
	}
	/* Literals are NUL-terminated everywhere else: their problems print them. */
	memcpy(buf, s, len);
	buf[len] = '\0';
	if (k->kind == OBJECT_HOST && !strncmp(buf, "regex:", 6))
		problem_help(
		    problems_add(r->p, "E220", at, "a table holds plain host patterns, no regex"),
		    "write the pattern into the hosts object itself");
	else if (buf[0] == '@' || !strncmp(buf, "unix:", 5) || !strncmp(buf, "file:", 5))
		problem_help(
		    problems_add(r->p, "E220", at, "\"%s\" cannot stand in a table", buf),
		    "a table holds values of one kind; name groups and files in the object itself");
	else
		k->literal(r, b, buf, len, at);
}

/* Where a comment begins: a # at the start of a word only, for a user's name may hold one. */
static const char *
comment_at(const char *s, const char *stop)
{
	bool blank = true;

	for (; s < stop; s++) {
		if (*s == '#' && blank)
			return s;
		blank = *s == ' ' || *s == '\t';
	}
	return stop;
}

bool
table_next(const struct source *src, struct table_cursor *c)
{
	const char *end = src->text + src->len;

	while (c->next < end) {
		const char *line = c->next, *begin = line, *last;
		const char *stop = memchr(line, '\n', (size_t)(end - line));

		if (!stop)
			stop = end;
		c->next = stop + 1;
		c->at.line++;
		while (line < stop && (*line == ' ' || *line == '\t'))
			line++;
		last = comment_at(line, stop);
		while (last > line && (last[-1] == ' ' || last[-1] == '\t' || last[-1] == '\r'))
			last--;
		if (last == line)
			continue;
		c->at.column = (unsigned)(line - begin) + 1;
		c->at.width = (unsigned)(last - line);
		c->value = line;
		c->len = (size_t)(last - line);
		return true;
	}
	return false;
}

void
table_lines(struct reader *r, const struct kind *k, struct builder *b, const struct source *src)
{
	struct table_cursor c = {.next = src->text, .at = {src->name, 0, 0, 0}};

	while (table_next(src, &c))
		table_line(r, k, b, c.value, c.len, c.at);
}

static bool
table_empty(const struct object *o)
{
	return o->range_count + o->host_count + o->user_count == 0;
}

static struct table *
table_read(struct reader *r, const struct kind *k, const char *path, const char *shown,
	   struct place at)
{
	struct table *t = model_alloc(r->m, sizeof(*t));
	struct source *src = source_read(r->sources, path, shown, at, SOURCE_TABLE, r->p);
	struct builder b = {0};
	size_t errors = r->p->errors, twice;

	if (!src)
		return t;
	t->read = true;
	table_lines(r, k, &b, src);
	*(const char **)vec_add(&b.tables, sizeof(path)) = path;
	twice = builder_finish(r, &b, &t->values);
	builder_free(&b);
	if (twice > 0)
		problem_help(problems_add(r->p, "W201", (struct place){src->name, 0, 0, 0},
					  "%zu line%s of this table stand%s there already", twice,
					  twice == 1 ? "" : "s", twice == 1 ? "s" : ""),
			     "it is read all the same");
	if (table_empty(&t->values) && r->p->errors == errors)
		problem_help(problems_add(r->p, "W202", at, "the table '%s' is empty", shown),
			     "it matches nothing until it is filled");
	return t;
}

char *
path_join(const char *dir, const char *path)
{
	char *p;

	if (path[0] == '/' || !dir || !*dir || !strcmp(dir, "."))
		p = strdup(path);
	else if (asprintf(&p, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", path) < 0)
		p = NULL;
	if (!p)
		abort();
	return p;
}

/* As the admin names it: seen from where the policy file is seen. */
static char *
table_shown(const struct reader *r, const char *path)
{
	const char *name = r->main ? r->main->name : "", *slash = strrchr(name, '/');
	char *dir = slash ? strndup(name, (size_t)(slash - name) + 1) : NULL,
	     *shown = path_join(dir, path);

	free(dir);
	return shown;
}

static void
table_add(struct reader *r, const struct kind *k, struct builder *b, const char *word,
	  struct place at)
{
	const char *file = word + 5, *path;
	char *joined, *shown, key[16];
	struct table *t;
	size_t n;

	if (!k->table) {
		problem_help(
		    problems_add(r->p, "E218", at, "%s cannot stand in a table", k->section),
		    "tables hold prefixes, host patterns or users");
		return;
	}
	if (!*file) {
		problems_add(r->p, "E218", at, "\"file:\" names no file");
		return;
	}
	joined = path_join(r->main ? r->main->dir : NULL, file);
	shown = table_shown(r, file);
	path = reader_word(r, joined, strlen(joined));
	free(joined);
	n = (size_t)snprintf(key, sizeof(key), "%d:", (int)k->kind);
	joined = malloc(n + strlen(path) + 1);
	if (!joined)
		abort();
	memcpy(joined, key, n);
	memcpy(joined + n, path, strlen(path) + 1);
	t = map_get(&r->tables, joined, strlen(joined));
	if (!t) {
		t = table_read(r, k, path, shown, at);
		map_put(&r->tables, reader_word(r, joined, strlen(joined)), t);
	}
	builder_merge(b, &t->values);
	free(joined);
	free(shown);
}

/* ---- resolving ----------------------------------------------------------------- */

/* All of them, `any` first, which objects leave out. */
static const char *const *
builtin_words(void)
{
	static const char *words[BUILTIN_COUNT + 1];
	size_t i;

	for (i = 0; i < BUILTIN_COUNT; i++)
		words[i] = builtin_word((enum builtin)i);
	return words;
}

static void
unknown_object(struct reader *r, const char *word, struct place at, const char *called,
	       const char *prefix, const struct map *names, const char *const *words)
{
	struct problem *one =
	    problems_add(r->p, "E203", at, "no %s is called \"%s\"", called, word);
	size_t i;

	suggest(r, one, word, prefix, names, words);
	if (!one || one->help)
		return;
	for (i = 0; i < (size_t)SPACE_COUNT; i++) {
		const struct declared *d = map_get(&r->names[i], word, strlen(word));

		if (!d)
			continue;
		problem_help(one, "\"%s\" is a %s", word, d->kind->one);
		problem_seen(one, d->o->place);
		return;
	}
	if (!strcmp(called, "network"))
		problem_help(one, "name it in networks: { }, or write a prefix");
	else if (names == &r->names[SPACE_DESTINATION])
		problem_help(one,
			     "a bare word is always an object; a host of one label is written "
			     "\"regex:^%s$\" in a hosts object",
			     word);
	else if (names == &r->names[SPACE_SERVICE])
		problem_help(one, "a service is written as \"tcp/443\" or named in services: { }");
	else
		problem_help(one, "name it in %s: { }",
			     names == &r->names[SPACE_GROUP] ? "groups" : "times");
}

static void resolve(struct reader *r, struct declared *d);

static void
cycle(struct reader *r, const struct declared *d, const struct declared *inner, struct place at)
{
	struct problem *one;

	if (d == inner)
		one = problems_add(r->p, "E208", at, "\"%s\" contains itself", d->o->name);
	else
		one = problems_add(r->p, "E208", at, "\"%s\" contains \"%s\", which contains it",
				   d->o->name, inner->o->name);
	problem_help(one, "take one of them out; \"%s\" begins here", inner->o->name);
	problem_seen(one, inner->o->place);
}

static void
nest(struct reader *r, struct declared *d, struct builder *b, struct declared *inner,
     struct place at, struct vec *members)
{
	if (inner->kind != d->kind) {
		struct problem *one = problems_add(r->p, "E203", at, "no %s is called \"%s\"",
						   d->kind->one, inner->o->name);

		problem_help(one, "\"%s\" is a %s; a %s holds objects of its own kind only",
			     inner->o->name, inner->kind->one, d->kind->one);
		problem_seen(one, inner->o->place);
		return;
	}
	if (inner->state == RESOLVE_NOW) {
		cycle(r, d, inner, at);
		return;
	}
	if (inner->state == RESOLVE_NOT && (inner->depth = d->depth + 1) > DEPTH_MAX) {
		problems_add(r->p, "E208", at, "objects stand more than %d deep inside each other",
			     DEPTH_MAX);
		return;
	}
	resolve(r, inner);
	builder_merge(b, inner->o);
	*(struct declared **)vec_add(members, sizeof(inner)) = inner;
}

/* One value of a named object: a table, an object of its kind, or a literal. */
static void
member(struct reader *r, struct declared *d, struct builder *b, const struct node *e,
       struct vec *members)
{
	const struct kind *k = d->kind;
	const char *word = e->string.s;
	bool group = k->kind == OBJECT_GROUP;
	struct declared *inner;
	int builtin;

	if (!strncmp(word, "file:", 5)) {
		table_add(r, k, b, word, e->value);
		return;
	}
	builtin = k->space == SPACE_DESTINATION ? builtin_find(word) : -1;
	if (builtin == BUILTIN_ANY) {
		problem_help(
		    problems_add(r->p, "E218", e->value, "\"any\" cannot stand inside an object"),
		    "it means different things in \"from\" and in \"to\"; write it in the rules");
	} else if (builtin >= 0 && k->kind == OBJECT_HOST) {
		problem_help(problems_add(r->p, "E203", e->value, "no host is called \"%s\"", word),
			     "\"%s\" is a built-in network", word);
	} else if (builtin >= 0) {
		struct model_remark *open = NULL;

		if (builtin == BUILTIN_PUBLIC) {
			open = model_alloc(r->m, sizeof(*open));
			open->text = "public";
			open->place = e->value;
		}
		network_builtin(b, builtin, open);
	} else if (group ? word[0] == '@' : name_is_identifier(word, e->string.len)) {
		word += group;
		inner = map_get(&r->names[k->space], word, strlen(word));
		if (inner)
			nest(r, d, b, inner, e->value, members);
		else
			unknown_object(r, word, e->value, k->one, group ? "@" : "",
				       &r->names[k->space],
				       k->kind == OBJECT_NETWORK ? builtin_words() + 1 : NULL);
	} else {
		k->literal(r, b, word, e->string.len, e->value);
	}
}

static void
resolve(struct reader *r, struct declared *d)
{
	static const char *const what[KIND_COUNT] = {
	    "a network or an array of networks", "a host or an array of hosts",
	    "a service or an array of services", "a user or an array of users",
	    "a time window or an array of them"};
	const struct node *e = NULL;
	struct vec members = {0}, texts = {0}, places = {0};
	struct builder b = {0};

	if (d->state != RESOLVE_NOT)
		return;
	d->state = RESOLVE_NOW;
	while ((e = value_next(r, d->node, d->o->name, what[d->kind->kind], e)) != NULL) {
		*(const char **)vec_add(&texts, sizeof(char *)) = e->string.s;
		*(struct place *)vec_add(&places, sizeof(struct place)) = e->value;
		member(r, d, &b, e, &members);
	}
	value_repeats(r, d->node);
	builder_finish(r, &b, d->o);
	builder_free(&b);
	d->members = vec_keep(&members, sizeof(*d->members), r->m, &d->member_count);
	d->o->member_places =
	    vec_keep(&places, sizeof(*d->o->member_places), r->m, &d->o->member_count);
	d->o->members = vec_keep(&texts, sizeof(*d->o->members), r->m, &d->o->member_count);
	vec_free(&places);
	vec_free(&members);
	vec_free(&texts);
	d->state = RESOLVE_DONE;
}

void
objects_resolve(struct reader *r)
{
	struct declared **d = r->declared.p;
	size_t i;

	for (i = 0; i < r->declared.count; i++)
		resolve(r, d[i]);
}

static void
mark(struct declared *d)
{
	size_t i;

	for (i = 0; i < d->member_count; i++)
		if (!d->members[i]->o->used) {
			d->members[i]->o->used = true;
			mark(d->members[i]);
		}
}

void
objects_mark_used(struct reader *r)
{
	struct declared **d = r->declared.p;
	size_t i;

	for (i = 0; i < r->declared.count; i++)
		if (d[i]->o->used)
			mark(d[i]);
}

/* ---- sets of rules --------------------------------------------------------------- */

struct literals { /* of one key and one kind: they become one anonymous object */
	const struct node **list;
	size_t count, key_len;
	bool nameless; /* too long to be looked up again */
	char key[SET_KEY_MAX];
};

static void
literals_key(struct literals *l, const struct kind *k)
{
	size_t i;

	l->key_len = 0;
	l->nameless = false;
	l->key[l->key_len++] = (char)('0' + k->kind);
	for (i = 0; i < l->count; i++) {
		const struct node *e = l->list[i];

		if (l->key_len + e->string.len + 2 >= sizeof(l->key)) {
			l->nameless = true;
			break;
		}
		memcpy(l->key + l->key_len, e->string.s, e->string.len);
		l->key_len += e->string.len;
		l->key[l->key_len++] = '\n';
	}
	l->key[l->key_len] = '\0';
}

static struct object *
literals_object(struct reader *r, const struct kind *k, const struct literals *l)
{
	struct object *o = model_alloc(r->m, sizeof(*o));
	struct builder b = {0};
	bool bad = false;
	size_t i;

	for (i = 0; i < l->count; i++) {
		const struct node *e = l->list[i];

		bad |= !k->literal(r, &b, e->string.s, e->string.len, e->value);
	}
	o->kind = k->kind;
	o->place = l->list[0]->value;
	o->used = true;
	builder_finish(r, &b, o);
	builder_free(&b);
	object_append(r, o);
	/* What is remarked upon keeps its own place. */
	if (!l->nameless && !bad && !o->wide && !o->open)
		map_put(&r->sets, model_string(r->m, l->key, l->key_len), o);
	return o;
}

/* All literals of one kind in a value. Equal texts give the one object, so that the compiler can
 * share it. */
static struct object *
literals_read(struct reader *r, const struct kind *k, const struct node **list, size_t count)
{
	struct literals l;
	struct object *o = NULL;

	l.list = list;
	l.count = count;
	literals_key(&l, k);
	if (!l.nameless)
		o = map_get(&r->sets, l.key, l.key_len);
	return o ? o : literals_object(r, k, &l);
}

static const char *
called(const struct set_rule *how)
{
	size_t i;

	if ((how->kinds & (1u << OBJECT_NETWORK)) && (how->kinds & (1u << OBJECT_HOST)))
		return "network or host";
	for (i = 0; i < KIND_COUNT; i++)
		if (how->kinds & (1u << i))
			return kinds[i].one;
	return "object";
}

static void
set_unknown(struct reader *r, const struct set_rule *how, const char *word, struct place at,
	    const struct declared *d)
{
	size_t i;

	if (d) { /* of this space, but the wrong kind: a host where networks stand */
		struct problem *one =
		    problems_add(r->p, "E203", at, "no %s is called \"%s\"", called(how), word);

		problem_help(one, "\"%s\" is a %s, and \"%s\" takes addresses", word, d->kind->one,
			     how->key);
		problem_seen(one, d->o->place);
		return;
	}
	for (i = 0; i < KIND_COUNT; i++)
		if (how->kinds & (1u << i)) {
			unknown_object(r, word, at, called(how), "", &r->names[kinds[i].space],
				       how->builtins ? builtin_words() : NULL);
			return;
		}
}

static void
set_name(struct reader *r, const struct set_rule *how, const struct node *e, struct model_set *out)
{
	const char *word = e->string.s;
	struct declared *d = NULL;
	int builtin = how->builtins ? builtin_find(word) : -1;
	size_t i;

	if (builtin >= 0) {
		out->builtins |= 1u << builtin;
		return;
	}
	for (i = 0; i < KIND_COUNT && !d; i++)
		if (how->kinds & (1u << i))
			d = map_get(&r->names[kinds[i].space], word, e->string.len);
	if (!d || !(how->kinds & (1u << d->kind->kind))) {
		set_unknown(r, how, word, e->value, d);
		return;
	}
	d->o->used = true;
	for (i = 0; i < out->object_count; i++)
		if (out->objects[i] == d->o)
			return;
	out->objects[out->object_count++] = d->o;
}

static const struct kind *
literal_kind(const struct set_rule *how, const struct node *e)
{
	size_t i;

	if ((how->kinds & (1u << OBJECT_NETWORK)) && (how->kinds & (1u << OBJECT_HOST)))
		return &kinds[looks_like_network(e->string.s, e->string.len) ? OBJECT_NETWORK
									     : OBJECT_HOST];
	for (i = 0; i + 1 < KIND_COUNT; i++)
		if (how->kinds & (1u << i))
			break;
	return &kinds[i];
}

static bool
only_in_objects(struct reader *r, const struct set_rule *how, const struct node *e)
{
	bool file = !strncmp(e->string.s, "file:", 5);

	if (!file && strncmp(e->string.s, "unix:", 5))
		return false;
	problem_help(
	    problems_add(r->p, "E218", e->value, "\"%s\" cannot stand in a rule", e->string.s),
	    "give it a name in an object and write that name in \"%s\"", how->key);
	return true;
}

static const char *
set_takes(const struct set_rule *how)
{
	return how->kinds & (1u << OBJECT_GROUP) ? "a user, a group or an array of them"
						 : "a name, a literal or an array of them";
}

void
set_read(struct reader *r, const struct set_rule *how, const struct node *n, struct model_set *out)
{
	size_t room = n->kind == NODE_ARRAY ? n->count : 1, literals = 0, i;
	const struct node *small[16], **list = small, *e = NULL;

	out->given = true;
	out->place = n->value;
	out->objects = model_alloc(r->m, (room + 2) * sizeof(*out->objects));
	out->words = model_alloc(r->m, room * sizeof(*out->words));
	if (room > sizeof(small) / sizeof(small[0]))
		list = model_alloc(r->m, room * sizeof(*list));
	while ((e = value_next(r, n, how->key, set_takes(how), e)) != NULL) {
		out->words[out->word_count++] = e->string.s;
		if (only_in_objects(r, how, e))
			continue;
		if (name_is_identifier(e->string.s, e->string.len))
			set_name(r, how, e, out);
		else
			list[literals++] = e;
	}
	value_repeats(r, n);
	for (i = 0; i < KIND_COUNT && literals; i++) {
		const struct node *chosen[16], **of_kind = literals > 16 ? NULL : chosen;
		size_t count = 0, j;

		if (!(how->kinds & (1u << i)))
			continue;
		if (!of_kind)
			of_kind = model_alloc(r->m, literals * sizeof(*of_kind));
		for (j = 0; j < literals; j++)
			if (literal_kind(how, list[j]) == &kinds[i])
				of_kind[count++] = list[j];
		if (count)
			out->objects[out->object_count++] =
			    literals_read(r, &kinds[i], of_kind, count);
	}
}

/* A bare word is a user: right for a user, and a silent denial where a group was meant. */
static void
who_user(struct reader *r, const struct node *e)
{
	const struct declared *d = map_get(&r->names[SPACE_GROUP], e->string.s, e->string.len);
	struct problem *one;

	if (!d)
		return;
	one = problems_add(r->p, "W209", e->value,
			   "\"%s\" is a user here, and a group has this name", e->string.s);
	problem_help(one, "did you mean \"@%s\"?", e->string.s);
	problem_seen(one, d->o->place);
}

/* ---- who ----------------------------------------------------------------------- */

static void
who_group(struct reader *r, const struct node *e, struct model_set *out)
{
	const char *word = e->string.s + 1;
	struct declared *d = map_get(&r->names[SPACE_GROUP], word, strlen(word));

	if (d) {
		d->o->used = true;
		out->objects[out->object_count++] = d->o;
	} else {
		unknown_object(r, word, e->value, "group", "@", &r->names[SPACE_GROUP], NULL);
	}
}

void
who_read(struct reader *r, const struct node *n, struct model_rule *rule)
{
	static const struct set_rule how = {"who", 1u << OBJECT_GROUP, false};
	size_t room = n->kind == NODE_ARRAY ? n->count : 1, users = 0, others = 0;
	const struct node **list = model_alloc(r->m, (room + 1) * sizeof(*list)), *e = NULL;
	struct model_set *out = &rule->who;
	const struct node *anyone = NULL, *known = NULL;

	out->given = true;
	out->place = n->value;
	out->objects = model_alloc(r->m, (room + 1) * sizeof(*out->objects));
	out->words = model_alloc(r->m, (room + 1) * sizeof(*out->words));
	while ((e = value_next(r, n, "who", set_takes(&how), e)) != NULL) {
		out->words[out->word_count++] = e->string.s;
		others++;
		if (!strcmp(e->string.s, "anyone"))
			anyone = e;
		else if (!strcmp(e->string.s, "known"))
			known = e;
		else if (only_in_objects(r, &how, e))
			continue;
		else if (e->string.s[0] == '@')
			who_group(r, e, out);
		else
			who_user(r, list[users++] = e);
	}
	value_repeats(r, n);
	if (users)
		out->objects[out->object_count++] =
		    literals_read(r, &kinds[OBJECT_GROUP], list, users);
	rule->who_kind = anyone ? WHO_ANYONE : known ? WHO_KNOWN : WHO_SET;
	if ((anyone || known) && others > 1)
		problem_help(problems_add(r->p, "W210", (anyone ? anyone : known)->value,
					  "\"%s\" stands beside other names in \"who\"",
					  anyone ? "anyone" : "known"),
			     "it holds for all of them already; write it alone");
}

void
objects_free(struct reader *r)
{
	size_t i;

	for (i = 0; i < (size_t)SPACE_COUNT; i++)
		map_free(&r->names[i]);
	map_free(&r->rules);
	map_free(&r->words);
	map_free(&r->sets);
	map_free(&r->tables);
	map_free(&r->zones);
	vec_free(&r->declared);
}
