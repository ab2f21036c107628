/*
 * settings/agree.c - libconfig reads the same text and must have read the same.
 *
 * Runs in COMPILE and in sallyctl, on sources in which we found no fault; opens
 * no file. libconfig searches all siblings for each name that it adds, so big
 * groups and lists are given to it in pieces. A piece ends with a member of our
 * own: libconfig has to find it as the last one, which shows that it stands where
 * we stand - in no string, no comment, no group - and so that the pieces one
 * after the other mean what the whole means. An @include is replaced by a
 * marker in the same way, and has to be found in the same place. The names of
 * these markers start with '*', which our lexer lets no name do.
 */
#include <libconfig.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "settings/branch.h"

/* More go in pieces. Few members: each is compared with those before it. */
#define PIECE_GROUP BRANCH_MANY
#define PIECE_LIST 64

#define MARK_INCLUDE "*include-%zu" /* numbered: one group may have several */
#define MARK_CUT "*cut"
#define MARK_LIST "*list"
#define MARK_END "*end"

struct check {
	const struct tree *tree;
	struct problems *problems;
	const struct source *src;
	struct buffer text;           /* what libconfig gets */
	uint32_t pos;                 /* of src, copied up to here */
	const struct inclusion **own; /* the @includes that src wrote, ascending */
	size_t own_count;
	const struct node **later; /* big groups and lists whose inside is still to be checked */
	size_t later_count, later_cap;
	bool failed;
};

/* Members of one source in file order: nodes and @includes. */
struct walk {
	const struct node *node, *last;
	size_t inclusion, inclusion_end;
};

static void
later_put(struct check *c, const struct node *n)
{
	if (c->later_count == c->later_cap) {
		c->later_cap = c->later_cap * 2 + 16;
		c->later = realloc(c->later, c->later_cap * sizeof(*c->later));
		if (c->later == NULL)
			abort();
	}
	c->later[c->later_count++] = n;
}

static bool
is_aggregate(const struct node *n)
{
	return n->kind <= NODE_ARRAY;
}

static bool
is_big(const struct node *n)
{
	return n->kind != NODE_ARRAY &&
	       n->count > (n->kind == NODE_GROUP ? PIECE_GROUP : PIECE_LIST);
}

/* ---- the text ---- */

/* The first @include of src at or behind an offset. */
static size_t
inclusion_from(const struct check *c, uint32_t from)
{
	size_t low = 0, high = c->own_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->own[middle]->from < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
collect_inclusions(struct check *c, size_t count)
{
	const struct tree *t = c->tree;

	c->own_count = 0;
	for (size_t i = 0; i < t->inclusion_count && c->own_count < count; i++)
		if (t->inclusions[i].source == c->src)
			c->own[c->own_count++] = &t->inclusions[i];
}

/*
 * libconfig takes '@include "' at the start of a line for a file to open. All real
 * ones are markers by now, so such an '@' stands in a comment, and libconfig
 * must not open anything even if it were to think otherwise.
 */
static void
copy_plain(struct check *c, uint32_t to)
{
	const char *text = c->src->text;
	size_t start = c->text.len;

	if (to <= c->pos)
		return;
	buffer_put(&c->text, text + c->pos, to - c->pos);
	c->pos = to;
	for (char *p = c->text.p + start, *end = c->text.p + c->text.len;
	     (p = memchr(p, '@', (size_t)(end - p))) != NULL; p++) {
		const char *b = p;

		while (b > c->text.p && (b[-1] == ' ' || b[-1] == '\t'))
			b--;
		if (b == c->text.p || b[-1] == '\n')
			*p = '.';
	}
}

static void
copy(struct check *c, uint32_t to)
{
	for (size_t i = inclusion_from(c, c->pos); i < c->own_count && c->own[i]->from < to; i++) {
		copy_plain(c, c->own[i]->from);
		buffer_putf(&c->text, " " MARK_INCLUDE " = 1 ", i);
		c->pos = c->own[i]->to;
	}
	copy_plain(c, to);
}

/* Copies up to the end of n, with the inside of what is big cut out. */
static void
copy_node(struct check *c, const struct node *n)
{
	const struct branch *b = branch_of(n);

	if (!b->many) {
		copy(c, b->to);
		return;
	}
	if (is_big(n)) {
		copy(c, b->body + 1);
		buffer_puts(&c->text, n->kind == NODE_GROUP ? " " MARK_CUT " = 1 " : " 1 ");
		c->pos = b->to - 1;
		later_put(c, n);
	} else if (n->kind != NODE_ARRAY) {
		for (const struct node *m = n->first; m != NULL; m = m->next)
			if (m->source == c->src)
				copy_node(c, m);
	}
	copy(c, b->to);
}

/* ---- the comparison ---- */

static bool
same_scalar(config_setting_t *s, const struct node *n)
{
	int type = config_setting_type(s);
	const char *text;

	switch (n->kind) {
	case NODE_STRING:
		text = type == CONFIG_TYPE_STRING ? config_setting_get_string(s) : NULL;
		return text != NULL && strlen(text) == n->string.len &&
		       memcmp(text, n->string.s, n->string.len) == 0;
	case NODE_INT:
		if (branch_of(n)->word == TOKEN_LONG)
			return type == CONFIG_TYPE_INT64 &&
			       config_setting_get_int64(s) == n->integer;
		return type == CONFIG_TYPE_INT && config_setting_get_int(s) == n->integer;
	case NODE_FLOAT:
		return type == CONFIG_TYPE_FLOAT && !(config_setting_get_float(s) < n->real) &&
		       !(config_setting_get_float(s) > n->real);
	case NODE_BOOL:
		return type == CONFIG_TYPE_BOOL && !config_setting_get_bool(s) == !n->boolean;
	default:
		return false;
	}
}

static bool
is_mark(config_setting_t *s, const char *name)
{
	const char *got = s != NULL ? config_setting_name(s) : NULL;

	return got != NULL && strcmp(got, name) == 0 && config_setting_type(s) == CONFIG_TYPE_INT &&
	       config_setting_get_int(s) == 1;
}

static bool
is_include_mark(config_setting_t *s, size_t number)
{
	char name[40];

	snprintf(name, sizeof(name), MARK_INCLUDE, number);
	return is_mark(s, name);
}

static const struct node *disagreement(struct check *c, config_setting_t *s, const struct node *n);

/* The next of ours that c->src wrote; NULL: none is left. */
static const struct node *
walk_node(const struct check *c, struct walk *w)
{
	while (w->node != NULL && w->node->source != c->src)
		w->node = w->node == w->last ? NULL : w->node->next;
	return w->node;
}

static void
walk_on(struct walk *w)
{
	w->node = w->node == w->last ? NULL : w->node->next;
}

/*
 * The members of s from number at against nodes first to last and the @includes
 * between two offsets.  Returns the node that differs; *at is moved behind them.
 */
static const struct node *
differing_member(struct check *c, config_setting_t *s, int *at, struct walk w, uint32_t from,
		 uint32_t to, const struct node *whole)
{
	size_t i = inclusion_from(c, from);
	const struct node *n, *bad;

	for (;; (*at)++) {
		config_setting_t *got = config_setting_get_elem(s, (unsigned)*at);

		n = walk_node(c, &w);
		if (i < c->own_count && c->own[i]->from < to &&
		    (n == NULL || c->own[i]->from < branch_of(n)->from)) {
			if (!is_include_mark(got, i))
				return n != NULL ? n : whole;
			i++;
			continue;
		}
		if (n == NULL)
			return NULL;
		bad = got != NULL ? disagreement(c, got, n) : n;
		if (bad != NULL)
			return bad;
		i = inclusion_from(c, branch_of(n)->to);
		walk_on(&w);
	}
}

static bool
same_shape(config_setting_t *s, const struct node *n)
{
	static const int types[] = {[NODE_GROUP] = CONFIG_TYPE_GROUP,
				    [NODE_LIST] = CONFIG_TYPE_LIST,
				    [NODE_ARRAY] = CONFIG_TYPE_ARRAY};
	const char *name = config_setting_name(s);

	if ((name == NULL) != (n->name == NULL) || (name != NULL && strcmp(name, n->name) != 0))
		return false;
	return is_aggregate(n) ? config_setting_type(s) == types[n->kind] : same_scalar(s, n);
}

/* The node where libconfig read something else than we did; NULL: they agree. */
static const struct node *
disagreement(struct check *c, config_setting_t *s, const struct node *n)
{
	struct walk all = {.node = n->first, .last = n->last};
	const struct node *bad;
	int at = 0;

	if (!same_shape(s, n))
		return n;
	if (!is_aggregate(n))
		return NULL;
	if (is_big(n)) {
		config_setting_t *only = config_setting_get_elem(s, 0);

		if (config_setting_length(s) != 1)
			return n;
		if (n->kind == NODE_LIST)
			return config_setting_type(only) == CONFIG_TYPE_INT ? NULL : n;
		return is_mark(only, MARK_CUT) ? NULL : n;
	}
	bad = differing_member(c, s, &at, all, branch_of(n)->body, branch_of(n)->to, n);
	if (bad == NULL && at != config_setting_length(s))
		bad = n;
	return bad;
}

/* ---- pieces ---- */

static void
tell(struct check *c, struct place at, const char *why)
{
	c->failed = true;
	problem_help(problems_add(c->problems, "E130", at,
				  "libconfig reads this otherwise than it stands here: %s", why),
		     "write it more plainly; nothing is loaded while two readers disagree");
}

static bool
ends_with_mark(config_setting_t *s)
{
	int n = config_setting_length(s);

	return n > 0 && is_mark(config_setting_get_elem(s, (unsigned)n - 1), MARK_END);
}

/* One piece, as it is in c->text: nodes of w, and the @includes between two offsets. */
static void
check_piece(struct check *c, struct walk w, uint32_t from, uint32_t to, bool list, bool joined,
	    const struct node *whole)
{
	const struct node *first = walk_node(c, &w), *bad;
	config_setting_t *s;
	config_t cfg;
	int at = joined;

	buffer_put(&c->text, "\n" MARK_END " = 1;\n", sizeof("\n" MARK_END " = 1;\n"));
	config_init(&cfg);
	if (!config_read_string(&cfg, c->text.p)) {
		tell(c, first != NULL ? first->value : whole->value, config_error_text(&cfg));
	} else if (!ends_with_mark(s = config_root_setting(&cfg))) {
		tell(c, first != NULL ? first->value : whole->value, "it ends elsewhere");
	} else {
		int tail = list ? 0 : 1;

		if (list)
			s = config_setting_get_elem(s, 0);
		bad = differing_member(c, s, &at, w, from, to, whole);
		if (bad == NULL && at + tail != config_setting_length(s))
			bad = whole;
		if (bad != NULL)
			tell(c, bad->value, "another value or structure");
	}
	config_destroy(&cfg);
	c->text.len = 0;
}

/* Members from first to last that c->src wrote between two offsets, some at a time. */
static void
check_members(struct check *c, const struct node *first, const struct node *last, uint32_t from,
	      uint32_t to, const struct node *whole)
{
	struct walk w = {.node = first, .last = last};

	do {
		struct walk piece = w;
		const struct node *n;

		c->pos = from;
		for (unsigned i = 0; i < PIECE_GROUP && (n = walk_node(c, &w)) != NULL; i++) {
			copy_node(c, n);
			piece.last = n;
			walk_on(&w);
		}
		n = walk_node(c, &w);
		copy(c, n != NULL ? branch_of(n)->from : to);
		check_piece(c, piece, from, n != NULL ? branch_of(n)->from : to, false, false,
			    whole);
		from = c->pos;
	} while (w.node != NULL && !c->failed);
}

/* Elements of a list: each piece but the first starts with the ',' before it, behind a 1. */
static void
check_elements(struct check *c, const struct node *list)
{
	struct walk w = {.node = list->first, .last = list->last};

	c->pos = branch_of(list)->body + 1;
	while (w.node != NULL && !c->failed) {
		struct walk piece = w;
		bool joined = w.node != list->first;

		buffer_puts(&c->text, MARK_LIST " = ( ");
		if (joined)
			buffer_puts(&c->text, "1 ");
		for (unsigned i = 0; i < PIECE_LIST && w.node != NULL; i++) {
			copy_node(c, w.node);
			piece.last = w.node;
			walk_on(&w);
		}
		if (w.node == NULL)
			copy(c, branch_of(list)->to - 1);
		buffer_puts(&c->text, "\n)");
		check_piece(c, piece, 0, 0, true, joined, list);
	}
}

static void
check_span(struct check *c, const struct span *span)
{
	c->src = span->source;
	collect_inclusions(c, span->inclusions);
	check_members(c, span->first, span->last, 0, (uint32_t)span->source->len, span->group);
	while (c->later_count > 0 && !c->failed) {
		const struct node *n = c->later[--c->later_count];

		if (n->kind == NODE_LIST)
			check_elements(c, n);
		else
			check_members(c, n->first, n->last, branch_of(n)->body + 1,
				      branch_of(n)->to - 1, n);
	}
}

void
agree_check(const struct tree *t, struct problems *p)
{
	struct check c = {.tree = t, .problems = p};

	c.own = calloc(t->inclusion_count + 1, sizeof(*c.own));
	if (c.own == NULL)
		abort();
	for (size_t i = 0; i < t->span_count && !c.failed; i++)
		check_span(&c, &t->spans[i]);
	buffer_free(&c.text);
	free(c.own);
	free(c.later);
}

/* ---- beside the rest of the loading ---- */

struct agreement {
	pthread_t thread;
	const struct tree *tree;
	struct problems problems;
};

static void *
check_beside(void *arg)
{
	struct agreement *a = arg;

	agree_check(a->tree, &a->problems);
	return NULL;
}

struct agreement *
agree_start(const struct tree *t)
{
	struct agreement *a = calloc(1, sizeof(*a));

	if (a == NULL)
		abort();
	a->tree = t;
	problems_init(&a->problems);
	if (pthread_create(&a->thread, NULL, check_beside, a) == 0)
		return a;
	free(a);
	return NULL;
}

void
agree_finish(struct agreement *a, struct problems *p)
{
	pthread_join(a->thread, NULL);
	for (size_t i = 0; i < a->problems.count; i++) {
		const struct problem *one = &a->problems.list[i];

		struct problem *told = problems_add(p, one->code, one->place, "%s", one->text);

		if (one->help != NULL)
			problem_help(told, "%s", one->help);
	}
	problems_free(&a->problems);
	free(a);
}
