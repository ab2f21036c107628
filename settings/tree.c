/*
 * settings/tree.c - from words to a tree, over all included files.
 *
 * Runs in COMPILE and in sallyctl; may block on files. A fault in the syntax is
 * told once and reading goes on behind it, at the next ';', the next key or the
 * closing brace, so that one run shows all there is to mend. When no fault was
 * found, libconfig reads the same text and must have read the same (agree.c).
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "settings/branch.h"
#include "settings/source.h"

#define NEST_MAX 64       /* groups and lists within each other */
#define INCLUDE_DEPTH 10  /* as libconfig */
#define INCLUDE_MAX 10000 /* files of one load */
#define INDEX_FROM 16     /* members of a group before names are hashed */
#define BLOCK_SIZE 262144

/* ---- memory: nodes and strings live and die with their tree ---- */

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	max_align_t bytes[];
};

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

static void *
take(struct tree *t, size_t size, size_t align)
{
	struct arena_block *b = t->blocks;
	size_t at = b != NULL ? (b->used + align - 1) & ~(align - 1) : 0;

	if (b == NULL || at + size > b->size) {
		size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

		b = need(malloc(sizeof(*b) + room));
		b->size = room;
		b->next = t->blocks;
		t->blocks = b;
		at = 0;
	}
	b->used = at + size;
	return (char *)b->bytes + at;
}

static const char *
take_text(struct tree *t, const char *s, size_t len)
{
	char *copy = take(t, len + 1, 1);

	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

void
tree_free(struct tree *t)
{
	struct arena_block *b, *next;

	if (t == NULL)
		return;
	for (b = t->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	free(t->inclusions);
	free(t->spans);
	free(t);
}

struct node *
tree_root(struct tree *t)
{
	return t->root;
}

const struct source *
tree_source(struct tree *t)
{
	return t->main;
}

/* ---- names within one group: a duplicate is found without a walk ---- */

struct index {
	size_t mask, count;
	struct node **slots;
};

static size_t
name_hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3u;
	return (size_t)(h ^ h >> 29);
}

static struct node **
index_slot(struct index *ix, const char *name)
{
	size_t i = name_hash(name) & ix->mask;

	while (ix->slots[i] != NULL && strcmp(ix->slots[i]->name, name) != 0)
		i = (i + 1) & ix->mask;
	return &ix->slots[i];
}

static void
index_free(struct branch *group)
{
	if (group->index != NULL)
		free(group->index->slots);
	free(group->index);
	group->index = NULL;
}

/* Room for n names, the present members in it. */
static void
index_build(struct branch *group, size_t n)
{
	struct index *ix = need(calloc(1, sizeof(*ix)));

	for (ix->mask = 63; ix->mask < n * 4; ix->mask = ix->mask * 2 + 1)
		;
	ix->slots = need(calloc(ix->mask + 1, sizeof(*ix->slots)));
	for (struct node *m = group->node.first; m != NULL; m = m->next) {
		struct node **slot = index_slot(ix, m->name);

		if (*slot == NULL)
			*slot = m;
		ix->count++;
	}
	index_free(group);
	group->index = ix;
}

/* The member of that name that came first, or NULL. n is not in the group yet. */
static struct node *
find_twin(struct branch *group, const char *name)
{
	if (group->node.count < INDEX_FROM) {
		for (struct node *m = group->node.first; m != NULL; m = m->next)
			if (strcmp(m->name, name) == 0)
				return m;
		return NULL;
	}
	if (group->index == NULL || group->index->count * 2 > group->index->mask)
		index_build(group, group->node.count);
	return *index_slot(group->index, name);
}

static void
adopt(struct node *parent, struct node *n)
{
	struct branch *group = branch_of(parent);

	n->parent = parent;
	if (parent->last != NULL)
		parent->last->next = n;
	else
		parent->first = n;
	parent->last = n;
	parent->count++;
	if (group->index != NULL && n->name != NULL) {
		struct node **slot = index_slot(group->index, n->name);

		if (*slot == NULL)
			*slot = n;
		group->index->count++;
	}
}

/* ---- the parser of one source ---- */

struct parser {
	struct tree *tree;
	struct problems *problems;
	const struct source *src;
	struct lexer lexer;
	struct token now, then;     /* the word to judge, the one behind it */
	struct token last;          /* the one before */
	unsigned depth;             /* groups and lists open in this source */
	unsigned outer_depth;       /* and around its @include */
	unsigned owed[TOKEN_WRONG]; /* closers of brackets that were told to be unclosed */
	const char *odd_name;       /* a group whose end is indented unlike its start ... */
	struct place odd;           /* ... where: a hint when a brace is missing */
	struct parser *includer;
	unsigned include_depth;
	dev_t dev; /* of the file, to see a circle */
	ino_t ino;
};

static void parse_members(struct parser *ps, struct node *group);
static void parse_value(struct parser *ps, struct node *parent, const struct token *key);

static void
advance(struct parser *ps)
{
	ps->last = ps->now;
	ps->now = ps->then;
	ps->then = lexer_next(&ps->lexer);
}

static bool
at(const struct parser *ps, enum token_kind kind)
{
	return ps->now.kind == kind;
}

/* "key =": where a member starts, and so a safe place to go on. */
static bool
at_key(const struct parser *ps)
{
	return (at(ps, TOKEN_NAME) || at(ps, TOKEN_BOOL)) && ps->then.kind == TOKEN_EQUALS;
}

static bool
is_opener(enum token_kind k)
{
	return k == TOKEN_OPEN_GROUP || k == TOKEN_OPEN_LIST || k == TOKEN_OPEN_ARRAY;
}

static bool
is_closer(enum token_kind k)
{
	return k == TOKEN_CLOSE_GROUP || k == TOKEN_CLOSE_LIST || k == TOKEN_CLOSE_ARRAY;
}

static bool
is_scalar(enum token_kind k)
{
	return k >= TOKEN_STRING && k <= TOKEN_BOOL;
}

static bool
starts_value(enum token_kind k)
{
	return is_scalar(k) || is_opener(k);
}

/*
 * Goes on behind a fault: to a key, an @include, a closing bracket of what is
 * open, or behind a ';' (before the ',' within a list). Brackets that open on the
 * way are passed over whole, unless a key inside shows that they lack an end.
 */
static void
resync(struct parser *ps, bool in_sequence)
{
	enum token_kind open[NEST_MAX];
	unsigned n = 0;

	for (;; advance(ps)) {
		enum token_kind k = ps->now.kind;

		if (k == TOKEN_END)
			return;
		if (at_key(ps) && (n == 0 || open[n - 1] != TOKEN_OPEN_GROUP))
			return;
		if (n == 0 && !in_sequence && k == TOKEN_NAME && ps->now.first)
			return;
		if (is_opener(k) && n < NEST_MAX)
			open[n++] = k;
		else if (is_closer(k) && n-- == 0)
			return;
		if (n > 0)
			continue;
		if (k == TOKEN_INCLUDE ||
		    (in_sequence && (k == TOKEN_COMMA || k == TOKEN_SEMICOLON)))
			return;
		if (k == TOKEN_SEMICOLON || k == TOKEN_COMMA) {
			advance(ps);
			return;
		}
	}
}

static struct node *
new_node(struct parser *ps, struct node *parent, enum node_kind kind, const struct token *key,
	 const struct token *value)
{
	struct branch *b = take(ps->tree, sizeof(*b), _Alignof(struct branch));

	memset(b, 0, sizeof(*b));
	b->node.kind = kind;
	b->node.value = lexer_place(&ps->lexer, value);
	b->node.source = ps->src;
	b->from = b->body = value->from;
	b->to = value->to;
	b->word = value->kind;
	if (key != NULL) {
		struct node *twin;

		b->node.key = lexer_place(&ps->lexer, key);
		b->node.name = take_text(ps->tree, ps->src->text + key->from, key->to - key->from);
		b->from = key->from;
		twin = find_twin(branch_of(parent), b->node.name);
		if (twin != NULL) {
			struct problem *one = problems_add(ps->problems, "E117", b->node.key,
							   "'%s' is given twice", b->node.name);

			problem_help(one, "it is given here already");
			problem_seen(one, twin->key);
			b->node.used = true; /* told once is enough */
		}
	}
	adopt(parent, &b->node);
	return &b->node;
}

/* ---- scalars ---- */

static bool
may_hold_any(const char *name)
{
	return name != NULL && (strcmp(name, "owner") == 0 || strcmp(name, "ticket") == 0 ||
				strcmp(name, "why") == 0);
}

static void
check_ascii(struct parser *ps, const struct token *t, const char *name)
{
	const char *p = ps->src->text + t->from, *start = p, *end = ps->src->text + t->to;
	unsigned point, n;

	if (may_hold_any(name))
		return;
	while (p < end && (unsigned char)*p < 0x80)
		p++;
	if (p == end)
		return;
	n = utf8_at(p, end, &point);
	if (n > 0 && !utf8_hides(point)) {
		struct place where = lexer_place(&ps->lexer, t);

		where.column += (unsigned)(p - start);
		where.width = n;
		problem_help(
		    problems_add(ps->problems, "E109", where, "U+%04X may not stand here", point),
		    "only comments and the values of owner, ticket and why may hold more "
		    "than ASCII");
	}
}

static void
set_string(struct parser *ps, struct node *n, const struct token *t)
{
	const char *text = ps->src->text + t->from;
	size_t len = t->to - t->from;

	if (t->kind != TOKEN_STRING) { /* a bare word, taken for what was meant */
		n->string.s = take_text(ps->tree, text, len);
		n->string.len = len;
		return;
	}
	check_ascii(ps, t, n->name);
	if (!t->escapes && !t->told) {
		n->string.len = len - 2;
		n->string.s = take_text(ps->tree, text + 1, len - 2);
		return;
	}
	char *out = take(ps->tree, len + 1, 1);

	n->string.len = lexer_string(&ps->lexer, t, out);
	out[n->string.len] = '\0';
	n->string.s = out;
}

static void
parse_scalar(struct parser *ps, struct node *parent, const struct token *key)
{
	static const enum node_kind kinds[] = {
	    [TOKEN_NAME] = NODE_STRING, [TOKEN_STRING] = NODE_STRING, [TOKEN_INT] = NODE_INT,
	    [TOKEN_LONG] = NODE_INT,    [TOKEN_FLOAT] = NODE_FLOAT,   [TOKEN_BOOL] = NODE_BOOL};
	struct token t = ps->now;
	struct node *n = new_node(ps, parent, kinds[t.kind], key, &t);

	advance(ps);
	switch (n->kind) {
	case NODE_STRING:
		set_string(ps, n, &t);
		break;
	case NODE_INT:
		n->integer = t.integer;
		break;
	case NODE_FLOAT:
		n->real = t.real;
		break;
	default:
		n->boolean = t.boolean;
	}
}

/* A word without quotes: what was meant is clear, so the checks behind us go on with it. */
static void
parse_bare_word(struct parser *ps, struct node *parent, const struct token *key, bool in_sequence)
{
	int len = (int)(ps->now.to - ps->now.from);
	const char *word = ps->src->text + ps->now.from;
	struct problem *one;

	one =
	    lexer_complain(&ps->lexer, &ps->now, "E110", "a value that is a word stands in quotes");
	problem_help(one, "write \"%.*s\"", len > 64 ? 64 : len, word);
	parse_scalar(ps, parent, key);
	if (!at(ps, TOKEN_SEMICOLON) && !at(ps, TOKEN_COMMA) && !ps->now.first)
		resync(ps, in_sequence);
}

/* ---- aggregates ---- */

static const char *
closer_text(enum token_kind opener)
{
	return opener == TOKEN_OPEN_GROUP ? "}" : opener == TOKEN_OPEN_LIST ? ")" : "]";
}

/* found: what stands where the closer should; NULL: the end of the file. */
static void
tell_unclosed(struct parser *ps, const struct token *open, const struct token *found)
{
	const char *text = ps->src->text + open->from;
	struct problem *one;

	ps->owed[open->kind + 1]++;
	if (ps->lexer.cut_short || ps->lexer.quiet == open->line)
		return;
	one = problems_add(ps->problems, "E118", lexer_place(&ps->lexer, open),
			   "this '%.1s' is never closed", text);
	if (found != NULL) {
		problem_help(one, "a '%s' is missing before this", closer_text(open->kind));
		problem_seen(one, lexer_place(&ps->lexer, found));
	} else if (ps->odd_name != NULL && open->kind == TOKEN_OPEN_GROUP) {
		problem_help(one,
			     "perhaps '%s' lacks its '}': the one that closes it is indented "
			     "otherwise",
			     ps->odd_name);
		problem_seen(one, ps->odd);
	} else {
		problem_help(one, "the file ends before its '%s'", closer_text(open->kind));
	}
}

static unsigned
indent_of(const struct parser *ps, const struct token *t)
{
	const char *line = ps->src->text + t->from - (t->column - 1);
	unsigned n = 0;

	for (; *line == ' ' || *line == '\t'; line++)
		n = *line == '\t' ? (n | 7) + 1 : n + 1;
	return n;
}

/* A brace first on its line, indented unlike the line of its group: remembered for tell_unclosed.
 */
static void
note_indent(struct parser *ps, const struct node *group, const struct token *open)
{
	if (ps->odd_name != NULL || group->name == NULL || !ps->now.first ||
	    ps->now.line == open->line || indent_of(ps, &ps->now) == indent_of(ps, open))
		return;
	ps->odd_name = group->name;
	ps->odd = group->key;
}

static void
parse_group(struct parser *ps, struct node *group, const struct token *open)
{
	parse_members(ps, group);
	index_free(branch_of(group));
	if (at(ps, TOKEN_CLOSE_GROUP)) {
		note_indent(ps, group, open);
		branch_of(group)->to = ps->now.to;
		advance(ps);
		return;
	}
	branch_of(group)->to = ps->now.from;
	tell_unclosed(ps, open, NULL);
}

static void
refuse_include(struct parser *ps)
{
	lexer_complain(&ps->lexer, &ps->now, "E120",
		       "@include brings settings and cannot stand in a list");
	advance(ps);
	if (at(ps, TOKEN_STRING))
		advance(ps);
}

/* One value of a list or array; false: the bracket was left open here. */
static bool
parse_element(struct parser *ps, struct node *seq, const struct token *open, bool want_comma)
{
	bool array = open->kind == TOKEN_OPEN_ARRAY;

	if (ps->now.first && (at_key(ps) || at(ps, TOKEN_INCLUDE))) {
		tell_unclosed(ps, open, &ps->now);
		return false;
	}
	if (at(ps, TOKEN_INCLUDE)) {
		refuse_include(ps);
		return true;
	}
	if (at_key(ps)) {
		problem_help(lexer_complain(&ps->lexer, &ps->now, "E110",
					    "a setting stands within [ ] or ( )"),
			     "within a list, settings stand in a group: { name = value }");
		advance(ps);
		advance(ps);
		want_comma = false;
	}
	if (want_comma && !ps->now.told) {
		bool strings = at(ps, TOKEN_STRING) && ps->last.kind == TOKEN_STRING;
		struct problem *one =
		    lexer_complain(&ps->lexer, &ps->now, strings ? "E113" : "E110",
				   "a ',' is missing before this value");

		if (one != NULL) {
			ps->lexer.quiet = 0; /* the values are clear all the same */
			if (strings)
				problem_help(one, "libconfig would join the two strings into one");
		}
	}
	if (at(ps, TOKEN_NAME)) {
		parse_bare_word(ps, seq, NULL, true);
		return true;
	}
	if (array && is_opener(ps->now.kind))
		lexer_complain(&ps->lexer, &ps->now, "E110",
			       "an array holds plain values; a list stands in ( )");
	if (starts_value(ps->now.kind)) {
		parse_value(ps, seq, NULL);
		return true;
	}
	char word[128];

	lexer_complain(&ps->lexer, &ps->now, "E110", "%s is no value",
		       lexer_word(&ps->lexer, &ps->now, word));
	advance(ps);
	resync(ps, true);
	return true;
}

/* All elements of an array are of one kind, as libconfig demands. */
static void
check_kinds(struct parser *ps, const struct node *seq)
{
	const struct node *first = seq->first;

	for (const struct node *n = first; n != NULL; n = n->next) {
		struct problem *one;

		if (n->kind == first->kind &&
		    (n->kind != NODE_INT || branch_of(n)->word == branch_of(first)->word))
			continue;
		one = problems_add(ps->problems, "E119", n->value,
				   "an array holds values of one kind only");
		if (n->kind == first->kind)
			problem_help(one, "either all its numbers have an L or none");
		else
			problem_help(one, "this is %s, the first one is %s", node_kind_word(n),
				     node_kind_word(first));
		problem_seen(one, first->value);
		return;
	}
}

/* The bracket that ends a list or array, right or wrong. */
static void
close_sequence(struct parser *ps, const struct token *open, const struct token *comma)
{
	if (ps->now.kind == open->kind + 1) {
		if (comma != NULL)
			lexer_complain(&ps->lexer, comma, "E110",
				       "no value stands behind this ','");
	} else if (at(ps, TOKEN_CLOSE_GROUP)) {
		tell_unclosed(ps, open, &ps->now);
		return; /* it belongs to a group outside */
	} else {
		struct problem *one = lexer_complain(
		    &ps->lexer, &ps->now, "E110", "a '%s' closes what a '%.1s' opened",
		    closer_text(ps->now.kind - 1), ps->src->text + open->from);

		problem_help(one, "it was opened here");
		problem_seen(one, lexer_place(&ps->lexer, open));
	}
	advance(ps);
}

static void
parse_sequence(struct parser *ps, struct node *seq, const struct token *open)
{
	struct token comma = {0};
	bool want_comma = false, open_end = false;

	while (!open_end) {
		if (is_closer(ps->now.kind)) {
			bool dangling = !want_comma && seq->count > 0;

			close_sequence(ps, open, dangling ? &comma : NULL);
			break;
		}
		if (at(ps, TOKEN_COMMA)) {
			if (!want_comma)
				lexer_complain(&ps->lexer, &ps->now, "E110",
					       "no value stands before this ','");
			comma = ps->now;
			want_comma = false;
			advance(ps);
		} else if (at(ps, TOKEN_END) || at(ps, TOKEN_SEMICOLON)) {
			tell_unclosed(ps, open, at(ps, TOKEN_END) ? NULL : &ps->now);
			break;
		} else {
			open_end = !parse_element(ps, seq, open, want_comma);
			want_comma = true;
		}
	}
	branch_of(seq)->to = ps->last.to;
	if (seq->kind == NODE_ARRAY)
		check_kinds(ps, seq);
}

static void
parse_aggregate(struct parser *ps, struct node *parent, const struct token *key)
{
	struct token open = ps->now;
	enum node_kind kind = open.kind == TOKEN_OPEN_GROUP  ? NODE_GROUP
			      : open.kind == TOKEN_OPEN_LIST ? NODE_LIST
							     : NODE_ARRAY;
	struct node *n = new_node(ps, parent, kind, key, &open);

	advance(ps);
	if (ps->outer_depth + ps->depth >= NEST_MAX) {
		problems_add(ps->problems, "E123", n->value,
			     "groups and lists are nested more than %d deep", NEST_MAX);
		resync(ps, true);
		if (is_closer(ps->now.kind))
			advance(ps);
		return;
	}
	ps->depth++;
	if (kind == NODE_GROUP)
		parse_group(ps, n, &open);
	else
		parse_sequence(ps, n, &open);
	ps->depth--;
}

static void
parse_value(struct parser *ps, struct node *parent, const struct token *key)
{
	if (is_opener(ps->now.kind))
		parse_aggregate(ps, parent, key);
	else
		parse_scalar(ps, parent, key);
}

/* ---- members of a group ---- */

/* Strings behind a string: libconfig joins them. */
static void
refuse_joined(struct parser *ps)
{
	while (at(ps, TOKEN_STRING)) {
		problem_help(lexer_complain(&ps->lexer, &ps->now, "E113",
					    "a second string behind the first"),
			     "libconfig would join the two; several values stand in [ ] with ',' "
			     "between them");
		advance(ps);
		if (at(ps, TOKEN_COMMA))
			resync(ps, false);
	}
}

/* No value behind the '=': what stands there instead? True: a node was made of it. */
static bool
parse_missing_value(struct parser *ps, struct node *group, const struct token *key)
{
	char word[128];

	if (at(ps, TOKEN_NAME) && !at_key(ps) && ps->now.line == ps->last.line) {
		parse_bare_word(ps, group, key, false);
		return true;
	}
	if (at_key(ps) || at(ps, TOKEN_SEMICOLON) || at(ps, TOKEN_COMMA) || at(ps, TOKEN_END) ||
	    is_closer(ps->now.kind) || ps->now.first)
		lexer_complain(&ps->lexer, &ps->last, "E110", "no value stands behind this");
	else
		lexer_complain(&ps->lexer, &ps->now, "E110", "%s is no value",
			       lexer_word(&ps->lexer, &ps->now, word));
	if (!at_key(ps) && !is_closer(ps->now.kind))
		resync(ps, false);
	return false;
}

/* Behind a name stands neither '=' nor a value. */
static void
tell_lone_name(struct parser *ps, const struct token *key, const struct token *before)
{
	bool number = before->kind >= TOKEN_INT && before->kind <= TOKEN_FLOAT;
	int len = (int)(key->to - key->from);
	const char *word = ps->src->text + key->from;

	problem_help(lexer_complain(&ps->lexer, key, "E110", "'%.*s' has no value",
				    len > 64 ? 64 : len, word),
		     number && before->line == key->line ? "quantities stand in quotes: \"30 s\""
							 : "a setting is written: name = value");
	if (!at(ps, TOKEN_NAME))
		resync(ps, false);
}

static void
parse_member(struct parser *ps, struct node *group)
{
	struct token key = ps->now, before = ps->last;

	advance(ps);
	if (at(ps, TOKEN_EQUALS)) {
		advance(ps);
	} else if (is_opener(ps->now.kind) || (starts_value(ps->now.kind) && !ps->now.first)) {
		lexer_complain(&ps->lexer, &ps->now, "E110", "a '=' or ':' is missing before this");
	} else {
		tell_lone_name(ps, &key, &before);
		return;
	}
	if (starts_value(ps->now.kind))
		parse_value(ps, group, &key);
	else if (!parse_missing_value(ps, group, &key))
		return;
	refuse_joined(ps);
	if (at(ps, TOKEN_SEMICOLON) || at(ps, TOKEN_COMMA))
		advance(ps);
}

/* What can begin no member. */
static void
parse_stray(struct parser *ps)
{
	enum token_kind k = ps->now.kind;
	char word[128];

	if (is_closer(k) && ps->owed[k] > 0) {
		ps->owed[k]--;
		advance(ps);
		return;
	}
	lexer_word(&ps->lexer, &ps->now, word);
	if (is_closer(k))
		lexer_complain(&ps->lexer, &ps->now, "E110", "this %s closes nothing", word);
	else if (k == TOKEN_SEMICOLON || k == TOKEN_COMMA)
		lexer_complain(&ps->lexer, &ps->now, "E110", "nothing stands before this %s", word);
	else
		problem_help(lexer_complain(&ps->lexer, &ps->now, "E110",
					    "%s stands where a setting is expected", word),
			     "a setting is written: name = value");
	advance(ps);
	if (!is_closer(k) && k != TOKEN_SEMICOLON && k != TOKEN_COMMA)
		resync(ps, false);
}

/* ---- @include ---- */

static void parse_source(struct parser *ps, struct node *group);

static char *
join(const char *dir, const char *name)
{
	char *path;

	if (name[0] == '/' || dir[0] == '\0')
		return need(strdup(name));
	if (asprintf(&path, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name) == -1)
		abort();
	return path;
}

/* As an admin writes it: beside the main file's name. */
static char *
display_of(const struct source *main_file, const char *name)
{
	const char *slash = strrchr(main_file->name, '/');
	char *dir = need(
	    strndup(main_file->name, slash != NULL ? (size_t)(slash - main_file->name) + 1 : 0));
	char *display = join(dir, name);

	free(dir);
	return display;
}

static bool
may_include(struct parser *ps, const char *path, const char *display, struct place where)
{
	struct stat st;

	if (ps->include_depth >= INCLUDE_DEPTH || ps->tree->span_count >= INCLUDE_MAX) {
		problems_add(ps->problems, "E122", where,
			     ps->include_depth >= INCLUDE_DEPTH
				 ? "files include each other more than %d deep"
				 : "more than %d files are included",
			     ps->include_depth >= INCLUDE_DEPTH ? INCLUDE_DEPTH : INCLUDE_MAX);
		return false;
	}
	if (stat(path, &st) == -1)
		return true; /* source_open tells why */
	for (struct parser *one = ps; one != NULL; one = one->includer)
		if (one->ino == st.st_ino && one->dev == st.st_dev && one->ino != 0) {
			problems_add(ps->problems, "E121", where, "'%s' includes itself", display);
			return false;
		}
	return true;
}

static void
include_file(struct parser *ps, struct node *group, const char *path, const char *name,
	     struct place where)
{
	char *display = display_of(ps->tree->main, name);
	struct parser inner = {.tree = ps->tree,
			       .problems = ps->problems,
			       .includer = ps,
			       .outer_depth = ps->outer_depth + ps->depth,
			       .include_depth = ps->include_depth + 1};
	struct source *src = NULL;
	struct stat st;

	if (may_include(ps, path, display, where))
		src = source_open(ps->tree->sources, path, display, where, &st, ps->problems);
	free(display);
	if (src == NULL)
		return;
	/* Paths inside an include start where those of the main file start. */
	free(src->dir);
	src->dir = need(strdup(ps->tree->main->dir));
	inner.src = src;
	inner.dev = st.st_dev;
	inner.ino = st.st_ino;
	parse_source(&inner, group);
}

static int
by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The folder is no pattern, whatever characters its name has. */
static char *
glob_pattern(const char *dir, const char *pattern)
{
	char *escaped = need(malloc(strlen(dir) * 2 + 1)), *out = escaped, *full;

	for (; *dir != '\0'; dir++) {
		if (strchr("*?[]\\", *dir) != NULL)
			*out++ = '\\';
		*out++ = *dir;
	}
	*out = '\0';
	full = join(escaped, pattern);
	free(escaped);
	return full;
}

static void
include_glob(struct parser *ps, struct node *group, const char *pattern, struct place where)
{
	const char *dir = ps->tree->main->dir;
	char *full = glob_pattern(dir, pattern);
	size_t skip = 0;
	glob_t found;
	int rc = glob(full, GLOB_ERR | GLOB_NOSORT, NULL, &found);

	free(full);
	if (pattern[0] != '/')
		skip = strlen(dir) + (dir[strlen(dir) - 1] != '/');
	if (rc == GLOB_NOMATCH)
		problems_add(ps->problems, "W101", where, "no file matches '%s'", pattern);
	else if (rc != 0)
		problems_add(ps->problems, "E120", where, "cannot look for '%s': %s", pattern,
			     rc == GLOB_NOSPACE ? "out of memory" : strerror(errno));
	if (rc == 0) {
		qsort(found.gl_pathv, found.gl_pathc, sizeof(char *), by_bytes);
		for (size_t i = 0; i < found.gl_pathc; i++)
			include_file(ps, group, found.gl_pathv[i], found.gl_pathv[i] + skip, where);
	}
	globfree(&found);
}

static void
note_inclusion(struct tree *t, const struct source *src, uint32_t from, uint32_t to)
{
	struct inclusion one = {src, from, to};

	if ((t->inclusion_count & (t->inclusion_count - 1)) == 0)
		t->inclusions = need(
		    realloc(t->inclusions, (t->inclusion_count * 2 + 1) * sizeof(*t->inclusions)));
	t->inclusions[t->inclusion_count++] = one;
}

static void
include_named(struct parser *ps, struct node *group, const struct token *t)
{
	struct place where = lexer_place(&ps->lexer, t);
	char *name = need(calloc(1, t->to - t->from + 1));

	check_ascii(ps, t, NULL);
	lexer_string(&ps->lexer, t, name);
	if (name[0] == '\0') {
		problems_add(ps->problems, "E120", where, "@include names no file");
	} else if (ps->tree->main->dir == NULL) {
		problems_add(ps->problems, "E120", where, "nothing may be included here");
	} else if (strpbrk(name, "*?[") != NULL) {
		include_glob(ps, group, name, where);
	} else {
		char *path = join(ps->tree->main->dir, name);

		include_file(ps, group, path, name, where);
		free(path);
	}
	free(name);
}

static void
parse_include(struct parser *ps, struct node *group)
{
	struct token word = ps->now, name;

	advance(ps);
	if (!at(ps, TOKEN_STRING) || ps->now.line != word.line) {
		lexer_complain(&ps->lexer, &word, "E120", "@include needs a file name in quotes");
		resync(ps, false);
		return;
	}
	name = ps->now;
	advance(ps);
	note_inclusion(ps->tree, ps->src, word.from, name.to);
	if (!name.told)
		include_named(ps, group, &name);
	refuse_joined(ps);
	if (at(ps, TOKEN_SEMICOLON))
		advance(ps);
}

/* ---- whole sources ---- */

static void
parse_members(struct parser *ps, struct node *group)
{
	for (;;) {
		if (at(ps, TOKEN_END) || (at(ps, TOKEN_CLOSE_GROUP) && ps->depth > 0))
			return;
		if (at(ps, TOKEN_NAME))
			parse_member(ps, group);
		else if (at(ps, TOKEN_INCLUDE))
			parse_include(ps, group);
		else
			parse_stray(ps);
	}
}

static void
note_span(struct tree *t, const struct source *src, struct node *group, struct node *before)
{
	struct span one = {src, group, before != NULL ? before->next : group->first, group->last};

	if (group->last == before)
		one.first = one.last = NULL;
	if ((t->span_count & (t->span_count - 1)) == 0)
		t->spans = need(realloc(t->spans, (t->span_count * 2 + 1) * sizeof(*t->spans)));
	t->spans[t->span_count++] = one;
}

/* All of ps->src into group. */
static void
parse_source(struct parser *ps, struct node *group)
{
	struct node *before = group->last;

	lexer_open(&ps->lexer, ps->src, ps->problems);
	ps->now = lexer_next(&ps->lexer);
	ps->then = lexer_next(&ps->lexer);
	parse_members(ps, group);
	note_span(ps->tree, ps->src, group, before);
}

static struct tree *
build(struct sources *s, struct source *src, const struct stat *st, struct problems *p)
{
	struct tree *t = need(calloc(1, sizeof(*t)));
	struct parser ps = {.tree = t, .problems = p, .src = src};
	struct branch *root = take(t, sizeof(*root), _Alignof(struct branch));
	struct place start = {src->name, 1, 1, 1};

	memset(root, 0, sizeof(*root));
	t->sources = s;
	t->main = src;
	t->root = &root->node;
	root->node.kind = NODE_GROUP;
	root->node.value = start;
	root->node.source = src;
	root->node.used = true;
	root->to = (uint32_t)src->len;
	if (st != NULL) {
		ps.dev = st->st_dev;
		ps.ino = st->st_ino;
	}
	parse_source(&ps, t->root);
	index_free(root);
	return t;
}

struct tree *
tree_load(struct sources *s, const char *path, const char *display, struct place at_place,
	  struct problems *p)
{
	size_t before = p->errors;
	struct stat st;
	struct source *src = source_open(s, path, display, at_place, &st, p);
	struct tree *t;

	if (src == NULL)
		return NULL;
	t = build(s, src, &st, p);
	if (p->errors == before)
		agree_check(t, p);
	return t;
}

struct tree *
tree_parse(struct sources *s, struct source *from, struct problems *p)
{
	size_t before = p->errors;
	struct tree *t;

	source_check(from, p);
	t = build(s, from, NULL, p);
	if (p->errors == before)
		agree_check(t, p);
	return t;
}
