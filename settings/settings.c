/*
 * settings/settings.c - sections of a settings file into one plain struct, by the
 * table. Runs in COMPILE and in sallyctl; opens nothing (realpath of the folder
 * aside). Every problem is told, and the struct is whole in any case.
 */
#include <stdlib.h>
#include <string.h>

#include "base/form.h"
#include "base/name.h"
#include "base/text.h"
#include "settings/value.h"

#define KNOWN_MAX 32 /* keys of one section */

struct reader {
	struct value_sink to;
	struct settings *settings;
	const struct node *listeners[SETTINGS_LISTENERS]; /* where each was written */
};

void
settings_defaults(struct settings *s)
{
	static const struct value_sink to = {.dir = "/"};

	memset(s, 0, sizeof(*s));
	s->magic = SETTINGS_MAGIC;
	s->version = SETTINGS_VERSION;
	s->size = sizeof(*s);
	for (unsigned i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];

		if (!(row->flags & SETTING_SECTION) && strchr(row->name, '*') == NULL)
			value_default(&to, row, (unsigned char *)s);
	}
}

uint64_t
settings_form(void)
{
	const uint64_t sizes[] = {SETTINGS_VERSION,
				  sizeof(struct settings),
				  sizeof(struct settings_listener),
				  offsetof(struct settings_listener, at),
				  offsetof(struct settings_listener, optional),
				  offsetof(struct settings, listeners)};
	uint64_t form = FORM_OF(sizes);

	for (unsigned i = 0; i < settings_table_count; i++) {
		form = form_add_text(form, settings_table[i].name);
		form = form_add(form, settings_table[i].type);
		form = form_add(form, settings_table[i].at);
	}
	return form;
}

bool
settings_valid(const void *image, size_t len)
{
	const struct settings *s = image;

	return len >= sizeof(*s) && s->magic == SETTINGS_MAGIC && s->version == SETTINGS_VERSION &&
	       s->size == sizeof(*s) && s->listener_count <= SETTINGS_LISTENERS &&
	       s->egress.count <= SETTINGS_LIST && s->dns.count <= 8 &&
	       s->auth.ident_trusted_count <= SETTINGS_LIST &&
	       s->audit.copy_count <= SETTINGS_COPIES && s->control.viewer_count <= SETTINGS_LIST &&
	       s->control.operator_count <= SETTINGS_LIST;
}

/* ---- sections ---- */

/* What stands in the table's name behind "prefix."; NULL: another section's row. */
static const char *
below(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	if (len == 0)
		return name;
	return strncmp(name, prefix, len) == 0 && name[len] == '.' ? name + len + 1 : NULL;
}

/* The row for a key of a section; NULL and *section: there are rows below it. */
static const struct setting *
find_row(const char *prefix, const char *key, bool *section)
{
	size_t len = strlen(key);

	*section = false;
	for (unsigned i = 0; i < settings_table_count; i++) {
		const char *rest = below(settings_table[i].name, prefix);

		if (rest == NULL || strncmp(rest, key, len) != 0)
			continue;
		if (rest[len] == '\0')
			return &settings_table[i];
		*section = *section || rest[len] == '.';
	}
	return NULL;
}

/* The keys of a section, for did-you-mean. words has KNOWN_MAX, text the room for them. */
static void
known_keys(const char *prefix, const char **words, char text[KNOWN_MAX][32])
{
	unsigned n = 0;

	for (unsigned i = 0; i < settings_table_count && n < KNOWN_MAX - 1; i++) {
		const char *rest = below(settings_table[i].name, prefix);
		size_t len = rest != NULL ? strcspn(rest, ".") : 0;

		if (len == 0 || len >= 32)
			continue;
		if (n > 0 && strlen(words[n - 1]) == len && strncmp(words[n - 1], rest, len) == 0)
			continue;
		memcpy(text[n], rest, len);
		text[n][len] = '\0';
		words[n] = text[n];
		n++;
	}
	words[n] = NULL;
}

static const struct node *
member(const struct node *group, const char *key)
{
	for (const struct node *n = group->first; n != NULL; n = n->next)
		if (n->name != NULL && strcmp(n->name, key) == 0)
			return n;
	return NULL;
}

/* Rows of a given section that were not given themselves. */
static void
fill_section(struct reader *r, const struct node *group, const char *prefix, const char *what,
	     unsigned char *base)
{
	for (unsigned i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];
		const char *key = below(row->name, prefix);

		if (key == NULL || strchr(key, '.') != NULL || member(group, key) != NULL)
			continue;
		if (row->flags & SETTING_SECTION)
			value_default(&r->to, row, base);
		if (row->flags & SETTING_REQUIRED)
			problem_help(problems_add(r->to.problems, "E309",
						  group->name != NULL ? group->key : group->value,
						  "%s needs '%s'", what, key),
				     "%s", row->help);
	}
}

static bool
demand_group(struct reader *r, const struct node *n)
{
	if (n->kind == NODE_GROUP)
		return true;
	problem_help(problems_add(r->to.problems, "E301", n->value,
				  "'%s' is a section in { }, this is %s", n->name,
				  node_kind_word(n)),
		     "%s: { ... }", n->name);
	return false;
}

static void read_copies(struct reader *r, struct node *group);

/* One section and those within it. what: for messages. */
static void
read_section(struct reader *r, struct node *group, const char *prefix, const char *what,
	     unsigned char *base)
{
	const char *words[KNOWN_MAX];
	char text[KNOWN_MAX][32], full[96];

	for (struct node *n = group->first; n != NULL; n = n->next) {
		bool section;
		const struct setting *row = find_row(prefix, n->name, &section);

		if (n->used || (row == NULL && !section))
			continue; /* used: a duplicate, told already */
		n->used = true;
		if (row != NULL) {
			value_read(&r->to, row, base, n);
		} else if (demand_group(r, n)) {
			struct text name;

			text_init(&name, full, sizeof(full));
			text_putf(&name, "%s.%s", prefix, n->name);
			if (strcmp(full, "audit.copies") == 0)
				read_copies(r, n);
			else
				read_section(r, n, full, n->name, base);
		}
	}
	known_keys(prefix, words, text);
	node_unknown(group, what, words, r->to.problems);
	fill_section(r, group, prefix, what, base);
}

/* ---- listeners ---- */

static void
refuse_twin(struct reader *r, const struct settings_listener *mine, const struct node *n)
{
	for (uint32_t i = 0; i < r->settings->listener_count; i++) {
		const struct settings_listener *other = &r->settings->listeners[i];
		struct problem *one;

		if (other == mine || mine->at.port == 0 || other->at.port != mine->at.port ||
		    !addr_equal(&other->at.addr, &mine->at.addr))
			continue;
		one = problems_add(r->to.problems, "E307", n->key,
				   "listener '%s' has the address and port of '%s'", n->name,
				   other->name);
		problem_help(one, "the other one is here");
		problem_seen(one, r->listeners[i]->key);
		return;
	}
}

static void
read_listener(struct reader *r, struct node *n)
{
	struct settings *s = r->settings;
	struct settings_listener *l;
	char what[SETTINGS_NAME + 16];
	size_t before = r->to.problems->errors;
	struct text text;

	if (!name_is_identifier(n->name, strlen(n->name))) {
		problem_help(
		    problems_add(r->to.problems, "E306", n->key, "this is no name for a listener"),
		    "a letter, then letters, digits, '-' and '_', at most 64 in all");
		return;
	}
	if (s->listener_count == SETTINGS_LISTENERS) {
		problems_add(r->to.problems, "E311", n->key, "there are more than %d listeners",
			     SETTINGS_LISTENERS);
		return;
	}
	if (!demand_group(r, n))
		return;
	r->listeners[s->listener_count] = n;
	l = &s->listeners[s->listener_count++];
	memcpy(l->name, n->name, strlen(n->name) + 1);
	text_init(&text, what, sizeof(what));
	text_putf(&text, "listener '%s'", n->name);
	read_section(r, n, "listeners.*", what, (unsigned char *)l);
	if (r->to.problems->errors == before)
		refuse_twin(r, l, n);
}

static void
read_listeners(struct reader *r, struct node *root, struct node *group)
{
	const struct node *at = group != NULL ? group : root;

	if (group != NULL && !demand_group(r, group))
		return;
	for (struct node *n = group != NULL ? group->first : NULL; n != NULL; n = n->next) {
		if (n->used)
			continue;
		n->used = true;
		read_listener(r, n);
	}
	if (at == root || at->count == 0)
		problem_help(
		    problems_add(r->to.problems, "E308", at->value, "there is no listener"),
		    "listeners: { inside: { address = \"10.0.0.1\"; port = 1080 } }");
}

/* ---- copies of the ledger ---- */

static void
read_copy(struct reader *r, struct node *n)
{
	struct settings *s = r->settings;
	char what[SETTINGS_NAME + 16];
	size_t before = r->to.problems->errors;
	struct settings_copy *c;
	struct text text;

	if (!name_is_identifier(n->name, strlen(n->name))) {
		problem_help(
		    problems_add(r->to.problems, "E306", n->key, "this is no name for a copy"),
		    "a letter, then letters, digits, '-' and '_', at most 64 in all");
		return;
	}
	if (s->audit.copy_count == SETTINGS_COPIES) {
		problems_add(r->to.problems, "E311", n->key, "there are more than %d copies",
			     SETTINGS_COPIES);
		return;
	}
	if (!demand_group(r, n))
		return;
	c = &s->audit.copies[s->audit.copy_count++];
	memcpy(c->name, n->name, strlen(n->name) + 1);
	text_init(&text, what, sizeof(what));
	text_putf(&text, "copy '%s'", n->name);
	read_section(r, n, "audit.copies.*", what, (unsigned char *)c);
	if (r->to.problems->errors == before && member(n, "framing") != NULL &&
	    c->kind != COPY_TCP && c->kind != COPY_UNIX)
		problem_help(problems_add(r->to.problems, "E317", member(n, "framing")->key,
					  "a datagram needs no 'framing'"),
			     "leave it out: it is for tcp and unix");
}

static void
read_copies(struct reader *r, struct node *group)
{
	for (struct node *n = group->first; n != NULL; n = n->next) {
		if (n->used)
			continue;
		n->used = true;
		read_copy(r, n);
	}
	if (group->count == 0)
		problem_help(
		    problems_add(r->to.problems, "E312", group->value, "'copies' is empty"),
		    "leave it out instead");
}

/* They are read from the ledger's file, and told from its full records. */
static void
check_copies(struct reader *r, const struct node *root)
{
	const struct settings *s = r->settings;
	const struct node *audit = member(root, "audit");
	const char *fault = s->audit.format == FORMAT_SHORT        ? "format"
			    : strcmp(s->audit.file, "stdout") == 0 ? "file"
								   : NULL;
	struct problem *one;

	if (s->audit.copy_count == 0 || fault == NULL)
		return;
	one = problems_add(r->to.problems, "E316", member(audit, "copies")->key,
			   "nothing can be copied of a ledger with this '%s'", fault);
	problem_help(one,
		     "copies are made of the file's full records: format = \"ecs\" and a file");
	problem_seen(one, member(audit, fault)->value);
}

void
settings_copy_text(const struct settings_copy *c, char out[SETTINGS_COPY_TEXT])
{
	char at[ENDPOINT_TEXT];
	struct text t;

	text_init(&t, out, SETTINGS_COPY_TEXT);
	endpoint_format(&c->at, at);
	if (c->kind == COPY_JOURNAL)
		text_put(&t, "journald");
	else if (c->kind == COPY_UNIX)
		text_putf(&t, "unix:%s", c->path);
	else
		text_putf(&t, "%s:%s", c->kind == COPY_UDP ? "udp" : "tcp", at);
}

/* ---- the whole ---- */

const char *const *
settings_words(void)
{
	static const char *const words[] = {
	    "listeners", "workers", "user", "sandbox", "egress", "relay", "timeouts", "limits",
	    "dns",	 "bind",    "udp",  "auth",    "audit",  "state", "control",  "metrics",
	    NULL};

	return words;
}

static void
read_root(struct reader *r, struct node *root)
{
	unsigned char *base = (unsigned char *)r->settings;
	struct node *listeners = NULL;

	for (struct node *n = root->first; n != NULL; n = n->next) {
		bool section;
		const struct setting *row = find_row("", n->name, &section);

		if (n->used || (row == NULL && !section))
			continue;
		n->used = true;
		if (strcmp(n->name, "listeners") == 0)
			listeners = n;
		else if (row != NULL)
			value_read(&r->to, row, base, n);
		else if (demand_group(r, n))
			read_section(r, n, n->name, n->name, base);
	}
	r->settings->metrics.enabled = member(root, "metrics") != NULL;
	read_listeners(r, root, listeners);
}

/* One source address a family: a second would never be used. */
static void
check_egress(struct reader *r, const struct node *root)
{
	const struct node *egress = member(root, "egress");
	const struct node *list = egress != NULL ? member(egress, "addresses") : NULL;
	const struct addr *a = r->settings->egress.addresses;

	for (uint32_t i = 1; i < r->settings->egress.count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (addr_is4(&a[i]) != addr_is4(&a[j]))
				continue;
			problem_help(problems_add(r->to.problems, "E311", list->value,
						  "'addresses' has two of one family"),
				     "one IPv4 and one IPv6 address at most");
			return;
		}
	}
}

void
settings_read(struct node *root, const char *dir, struct settings *s, struct problems *p)
{
	struct reader r = {.settings = s, .to.problems = p};

	if (dir == NULL || realpath(dir, r.to.dir) == NULL)
		memcpy(r.to.dir, "/", 2);
	settings_defaults(s);
	read_root(&r, root);
	check_egress(&r, root);
	check_copies(&r, root);
}
