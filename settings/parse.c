/*
 * settings/parse.c - from words to nodes, one source at a time.
 *
 * Runs in COMPILE and in sallyctl; may block on files that are included. A fault in the syntax
 * is told once and reading goes on behind it, at the next ';', the next key or the closing
 * bracket, so that one run shows all there is to mend.
 */
#include <string.h>

#include "settings/parse.h"
#include "settings/source.h"

#define NEST_MAX 64 /* groups and lists within each other */

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
	struct branch *b = tree_take(ps->tree, sizeof(*b), _Alignof(struct branch));

	b->node.kind = kind;
	b->node.value = lexer_place(&ps->lexer, value);
	b->node.source = ps->src;
	b->from = b->body = value->from;
	b->to = value->to;
	b->word = (uint8_t)value->kind;
	if (key != NULL) {
		struct node *twin;

		b->node.key = lexer_place(&ps->lexer, key);
		b->node.name = tree_text(ps->tree, ps->src->text + key->from, key->to - key->from);
		b->from = key->from;
		twin = tree_twin(branch_of(parent), b->node.name);
		if (twin != NULL) {
			struct problem *one = problems_add(ps->problems, "E117", b->node.key,
							   "'%s' is given twice", b->node.name);

			problem_help(one, "it is given here already");
			problem_seen(one, twin->key);
			b->node.used = true; /* told once is enough */
		}
	}
	tree_adopt(parent, &b->node);
	return &b->node;
}

/* ---- scalars ---- */

static bool
may_hold_any(const char *name)
{
	return name != NULL && (strcmp(name, "owner") == 0 || strcmp(name, "ticket") == 0 ||
				strcmp(name, "why") == 0);
}

void
parse_ascii(struct parser *ps, const struct token *t, const char *name)
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
		n->string.s = tree_text(ps->tree, text, len);
		n->string.len = len;
		return;
	}
	parse_ascii(ps, t, n->name);
	if (!t->escapes && !t->told) {
		n->string.len = len - 2;
		n->string.s = tree_text(ps->tree, text + 1, len - 2);
		return;
	}
	char *out = tree_take(ps->tree, len + 1, 1);

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
	tree_names_free(branch_of(group));
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
	ps->inclusions++;
	tree_note_inclusion(ps->tree, ps->src, word.from, name.to);
	if (!name.told)
		include_files(ps, group, &name);
	refuse_joined(ps);
	if (at(ps, TOKEN_SEMICOLON))
		advance(ps);
}

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

void
parse_source(struct parser *ps, struct node *group)
{
	struct node *before = group->last;

	lexer_open(&ps->lexer, ps->src, ps->problems);
	ps->now = lexer_next(&ps->lexer);
	ps->then = lexer_next(&ps->lexer);
	parse_members(ps, group);
	tree_note_span(ps, group, before);
}
