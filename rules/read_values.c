/*
 * rules/read_values.c - what every part of the reader uses: growing arrays, maps, and values
 * of a tree turned into words, dates and choices with the problem told where it stands.
 */
#include "rules/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* ---- growing arrays and names -------------------------------------------------- */

void *
vec_add(struct vec *v, size_t size)
{
	if (v->count == v->cap) {
		size_t cap = v->cap ? v->cap * 2 : 8;
		void *p = cap > SIZE_MAX / size ? NULL : realloc(v->p, cap * size);

		if (!p)
			abort();
		v->p = p;
		v->cap = cap;
	}
	return memset((char *)v->p + v->count++ * size, 0, size);
}

void
vec_free(struct vec *v)
{
	free(v->p);
	memset(v, 0, sizeof(*v));
}

void *
vec_keep(struct vec *v, size_t size, struct rules_model *m, size_t *count)
{
	void *p = NULL;

	*count = v->count;
	if (v->count) {
		p = model_alloc(m, v->count * size);
		memcpy(p, v->p, v->count * size);
	}
	v->count = 0;
	return p;
}

static struct map_slot *
map_slot(const struct map *m, const char *key, uint32_t len, uint32_t hash)
{
	size_t i = hash & (m->cap - 1);

	for (; m->slots[i].key; i = (i + 1) & (m->cap - 1))
		if (m->slots[i].hash == hash && m->slots[i].len == len &&
		    !memcmp(m->slots[i].key, key, len))
			break;
	return &m->slots[i];
}

void *
map_get(const struct map *m, const char *key, size_t len)
{
	return m->count ? map_slot(m, key, (uint32_t)len, model_hash(key, len))->value : NULL;
}

static void
map_grow(struct map *m, size_t cap)
{
	struct map old = *m;
	size_t i;

	m->cap = cap;
	m->slots = pages_take(m->cap * sizeof(*m->slots));
	for (i = 0; i < old.cap; i++) {
		size_t j = old.slots[i].hash & (m->cap - 1);

		if (!old.slots[i].key)
			continue;
		while (m->slots[j].key)
			j = (j + 1) & (m->cap - 1);
		m->slots[j] = old.slots[i];
	}
	pages_free(old.slots, old.cap * sizeof(*old.slots));
}

void
map_room(struct map *m, size_t count)
{
	size_t cap = 64;

	while (cap < count * 2 + 2)
		cap *= 2;
	if (cap > m->cap)
		map_grow(m, cap);
}

bool
map_put(struct map *m, const char *key, void *value)
{
	uint32_t len = (uint32_t)strlen(key), hash = model_hash(key, len);
	struct map_slot *slot;

	if (m->count * 2 >= m->cap)
		map_grow(m, m->cap ? m->cap * 2 : 64);
	slot = map_slot(m, key, len, hash);
	if (slot->key)
		return false;
	*slot = (struct map_slot){hash, len, key, value};
	m->count++;
	return true;
}

void
map_free(struct map *m)
{
	pages_free(m->slots, m->cap * sizeof(*m->slots));
	memset(m, 0, sizeof(*m));
}

const char *
reader_word(struct reader *r, const char *s, size_t len)
{
	const char *word = map_get(&r->words, s, len);

	if (!word) {
		union {
			const char *in;
			void *out;
		} text = {model_string(r->m, s, len)};

		word = text.in;
		map_put(&r->words, word, text.out);
	}
	return word;
}

/* ---- did you mean -------------------------------------------------------------- */

#define SUGGEST_MOST 20000 /* names looked through for one suggestion */

void
suggest(struct reader *r, struct problem *one, const char *word, const char *prefix,
	const struct map *names, const char *const *words)
{
	const char **list, *best;
	size_t i, n = 0, extra = 0;

	if (!one)
		return;
	while (words && words[extra])
		extra++;
	list = calloc((names ? names->count : 0) + extra + 1, sizeof(*list));
	if (!list)
		abort();
	for (i = 0; names && i < names->cap && n < SUGGEST_MOST; i++)
		if (names->slots[i].key)
			list[n++] = names->slots[i].key;
	for (i = 0; i < extra; i++)
		list[n++] = words[i];
	best = text_nearest(word, list);
	if (best) {
		problem_help(one, "did you mean \"%s%s\"?", prefix, best);
		for (i = 0; i < (size_t)SPACE_COUNT; i++)
			if (names == &r->names[i] && map_get(names, best, strlen(best))) {
				const struct declared *d = map_get(names, best, strlen(best));

				problem_seen(one, d->o->place);
			}
		if (names == &r->rules && map_get(names, best, strlen(best)))
			problem_seen(
			    one, ((struct model_rule *)map_get(names, best, strlen(best)))->place);
	}
	free(list);
}

/* ---- values -------------------------------------------------------------------- */

struct place
place_of(const struct node *n)
{
	return n->value;
}

void
wrong_type(struct reader *r, const struct node *n, const char *key, const char *what)
{
	struct problem *one = problems_add(r->p, "E201", n->value, "\"%s\" must be %s, not %s", key,
					   what, node_kind_word(n));

	if (n->kind == NODE_LIST)
		problem_help(one, "a set of values stands in [ ], not in ( )");
}

/* An escape can bring a control character into a string, and from there onto a terminal. */
static bool
printable(const struct node *n)
{
	size_t i;

	for (i = 0; i < n->string.len; i++)
		if ((unsigned char)n->string.s[i] < 0x20 || n->string.s[i] == 0x7f)
			return false;
	return true;
}

static bool
plain(struct reader *r, const struct node *n, const char *key)
{
	if (printable(n))
		return true;
	problem_help(problems_add(r->p, "E227", n->value,
				  "a value of \"%s\" holds a control character", key),
		     "only printable characters may stand in a policy");
	return false;
}

const char *
value_text(struct reader *r, const struct node *n, const char *key)
{
	if (n->kind != NODE_STRING) {
		wrong_type(r, n, key, "a string");
		return NULL;
	}
	if (n->string.len == 0) {
		problem_help(problems_add(r->p, "E204", n->value, "\"%s\" is empty", key),
			     "leave the key out if there is nothing to say");
		return NULL;
	}
	return plain(r, n, key) ? n->string.s : NULL;
}

static void
choice_help(struct problem *one, const char *const *words)
{
	char buf[200];
	struct text t;
	size_t i;

	text_init(&t, buf, sizeof(buf));
	for (i = 0; words[i]; i++)
		text_putf(&t, "%s\"%s\"", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
	problem_help(one, "write %s", buf);
}

int
value_choice(struct reader *r, const struct node *n, const char *key, const char *const *words)
{
	const char *s = value_text(r, n, key), *best;
	struct problem *one;
	int i;

	if (!s)
		return -1;
	for (i = 0; words[i]; i++)
		if (!strcmp(words[i], s))
			return i;
	one = problems_add(r->p, "E206", n->value, "\"%s\" is no value of \"%s\"", s, key);
	best = text_nearest(s, words);
	if (best)
		problem_help(one, "did you mean \"%s\"?", best);
	else
		choice_help(one, words);
	return -1;
}

bool
value_bool(struct reader *r, const struct node *n, const char *key, bool *out)
{
	if (n->kind != NODE_BOOL) {
		wrong_type(r, n, key, "true or false");
		return false;
	}
	*out = n->boolean;
	return true;
}

const struct node *
value_next(struct reader *r, const struct node *n, const char *key, const char *what,
	   const struct node *at)
{
	const struct node *next;

	if (!at) {
		if (n->kind == NODE_STRING) {
			if (n->string.len == 0) {
				problem_help(
				    problems_add(r->p, "E204", n->value, "\"%s\" is empty", key),
				    "leave it out; a key that is not given holds for everything");
				return NULL;
			}
			return plain(r, n, key) ? n : NULL;
		}
		if (n->kind != NODE_ARRAY) {
			wrong_type(r, n, key, what);
			return NULL;
		}
		if (!n->first) {
			problem_help(problems_add(r->p, "E204", n->value, "\"%s\" is empty", key),
				     "leave it out; a key that is not given holds for everything");
			return NULL;
		}
		next = n->first;
	} else {
		if (n->kind == NODE_STRING)
			return NULL;
		next = at->next;
	}
	for (; next; next = next->next) {
		if (next->kind != NODE_STRING)
			wrong_type(r, next, key, what);
		else if (next->string.len == 0)
			problems_add(r->p, "E204", next->value, "a value of \"%s\" is empty", key);
		else if (plain(r, next, key))
			return next;
	}
	return NULL;
}

struct word_at {
	const struct node *node;
	size_t index;
};

static int
word_order(const void *a, const void *b)
{
	const struct word_at *x = a, *y = b;
	int d = strcmp(x->node->string.s, y->node->string.s);

	return d ? d : (x->index > y->index) - (x->index < y->index);
}

#define FEW 8 /* compared each with each */

static bool
all_differ(const struct node *n)
{
	const struct node *a, *b;

	for (a = n->first; a; a = a->next)
		for (b = n->first; b != a; b = b->next)
			if (a->kind == NODE_STRING && b->kind == NODE_STRING &&
			    a->string.len == b->string.len &&
			    !memcmp(a->string.s, b->string.s, a->string.len))
				return false;
	return true;
}

void
value_repeats(struct reader *r, const struct node *n)
{
	struct vec words = {0};
	const struct node *e;
	struct word_at *w;
	size_t i, first = 0;

	if (n->kind != NODE_ARRAY || n->count < 2 || (n->count <= FEW && all_differ(n)))
		return;
	for (e = n->first; e; e = e->next) {
		if (e->kind != NODE_STRING || !printable(e))
			continue;
		w = vec_add(&words, sizeof(*w));
		w->node = e;
		w->index = words.count;
	}
	if (words.count < 2) {
		vec_free(&words);
		return;
	}
	w = words.p;
	qsort(words.p, words.count, sizeof(*w), word_order);
	for (i = 1; i < words.count; i++) {
		struct problem *one;

		if (strcmp(w[i].node->string.s, w[first].node->string.s)) {
			first = i;
			continue;
		}
		one = problems_add(r->p, "W201", w[i].node->value,
				   "\"%s\" stands in this set already", w[i].node->string.s);
		problem_help(one, "it is first written here");
		problem_seen(one, w[first].node->value);
	}
	vec_free(&words);
}

/* ---- dates --------------------------------------------------------------------- */

static bool
digits(const char *s, unsigned n, unsigned *out)
{
	*out = 0;
	while (n--) {
		if (*s < '0' || *s > '9')
			return false;
		*out = *out * 10 + (unsigned)(*s++ - '0');
	}
	return true;
}

bool
date_parse(const char *s, size_t len, int64_t *out)
{
	unsigned y, m, d;

	if (len != 10 || s[4] != '-' || s[7] != '-' || !digits(s, 4, &y) || !digits(s + 5, 2, &m) ||
	    !digits(s + 8, 2, &d) || !civil_valid((int)y, m, d))
		return false;
	*out = civil_days((int)y, m, d) * 86400;
	return true;
}

bool
value_date(struct reader *r, const struct node *n, const char *key, int64_t *out)
{
	const char *s = value_text(r, n, key);

	if (!s)
		return false;
	if (date_parse(s, n->string.len, out))
		return true;
	problem_help(problems_add(r->p, "E215", n->value, "\"%s\" is not a date", s),
		     "write year, month and day as \"2027-06-30\"");
	return false;
}
