/*
 * rules/read.h - inside the reader: what read*.c, objects.c, hosts.c and times.c share.
 *
 * The reader turns a tree into a model and goes on after every problem, so that one run
 * tells all of them. Runs in COMPILE and sallyctl; may read table files and zoneinfo.
 */
#ifndef RULES_READ_H
#define RULES_READ_H

#include "rules/model.h"

/* ---- growing arrays and names ------------------------------------------------ */

struct vec { /* malloc'd; elements of one size */
	void *p;
	size_t count, cap;
};
void *vec_add(struct vec *v, size_t size); /* a zeroed new element */
void vec_free(struct vec *v);
/* The elements in the model's arena; the vec is empty afterwards, its memory kept. */
void *vec_keep(struct vec *v, size_t size, struct rules_model *m, size_t *count);

struct map_slot {
	uint32_t hash, len;
	const char *key; /* borrowed, NUL-terminated */
	void *value;
};
struct map {
	struct map_slot *slots;
	size_t count, cap;
};
void *map_get(const struct map *m, const char *key, size_t len);
/* False if the key is there already. */
bool map_put(struct map *m, const char *key, void *value);
void map_room(struct map *m, size_t count); /* for so many without growing */
void map_free(struct map *m);

/* ---- the reader -------------------------------------------------------------- */

/* Networks and hosts share one name space (POLICY.md "Objects"). */
enum space { SPACE_DESTINATION, SPACE_SERVICE, SPACE_GROUP, SPACE_TIME, SPACE_COUNT };

struct reader {
	struct rules_model *m;
	struct sources *sources;
	const struct settings *settings; /* NULL: a policy by itself */
	struct problems *p;
	int64_t now;
	const struct source *main;     /* the policy file; its folder is where paths start */
	struct map names[SPACE_COUNT]; /* struct declared */
	struct vec declared;           /* struct declared *, in file order */
	struct map rules;              /* struct model_rule */
	struct map words;              /* interned strings */
	struct map sets;   /* anonymous objects by their text, so that equal ones are one */
	struct map tables; /* struct table by kind and path */
	struct map zones;  /* names of zones found to exist */
	struct object **tail;
};

/* A named object while it is being resolved. */
struct declared {
	struct object *o;
	const struct kind *kind;
	const struct node *node;
	enum { RESOLVE_NOT, RESOLVE_NOW, RESOLVE_DONE } state;
	unsigned depth;
	struct declared **members; /* objects named inside it */
	size_t member_count;
};

/* What goes into one set while it is being read. */
struct builder {
	struct vec ranges, hosts, services, users, unix_groups, windows, tables;
	const struct model_remark *wide, *open;
};

/*
 * One row per object kind. literal: adds one value in its own notation; false with a problem
 * added. table: values of this kind may stand in a file, one a line.
 */
struct kind {
	enum object_kind kind;
	enum space space;
	const char *section; /* "networks" */
	const char *one;     /* "network" */
	bool (*literal)(struct reader *r, struct builder *b, const char *s, size_t len,
			struct place at);
	bool table;
};
extern const struct kind kinds[];
#define KIND_COUNT 5

/* What the builder holds becomes the object's own, sorted; returns how many values stood twice. */
size_t builder_finish(struct reader *r, struct builder *b, struct object *o);
void builder_free(struct builder *b);

/* The values of a table's text, one after the other: begin with {.next = text, .at = {name}}. */
struct table_cursor {
	const char *next, *value;
	size_t len;
	struct place at; /* of value */
};
bool table_next(const struct source *src, struct table_cursor *c);
void table_lines(struct reader *r, const struct kind *k, struct builder *b, const struct source *src);
char *path_join(const char *dir, const char *path); /* malloc'd; an absolute path stays */

const char *reader_word(struct reader *r, const char *s, size_t len); /* interned */

/* ---- values (read_values.c) -------------------------------------------------- */

struct place place_of(const struct node *n); /* the value: an element, a string, a bracket */
/* E201: `"to" must be WHAT, not a number`. */
void wrong_type(struct reader *r, const struct node *n, const char *key, const char *what);
/* The value as one word of a table, -1 with E206 otherwise. */
int value_choice(struct reader *r, const struct node *n, const char *key, const char *const *words);
bool value_bool(struct reader *r, const struct node *n, const char *key, bool *out);
/* A string that is not empty; NULL with a problem added. */
const char *value_text(struct reader *r, const struct node *n, const char *key);
/*
 * Walks "one value or an array of values": *at is NULL at first; NULL at the end. Problems
 * with the whole (type, empty) are added on the first call, those of an element as it comes.
 */
const struct node *value_next(struct reader *r, const struct node *n, const char *key,
			      const char *what, const struct node *at);
/* W201 for values that stand twice; text compares. */
void value_repeats(struct reader *r, const struct node *n);
/* Nearest of the names in a space and of extra words; sets help and seen of one. */
void suggest(struct reader *r, struct problem *one, const char *word, const char *prefix,
	     const struct map *names, const char *const *words);
/* "2027-06-30"; false with E215. */
bool value_date(struct reader *r, const struct node *n, const char *key, int64_t *out);
bool date_parse(const char *s, size_t len, int64_t *out);

/* ---- objects (objects.c and the kinds) --------------------------------------- */

void objects_declare(struct reader *r, const struct node *root);
void objects_resolve(struct reader *r);
void objects_mark_used(struct reader *r);
void objects_free(struct reader *r);
const struct kind *kind_of(enum object_kind k);
/* E202 and false if the text cannot name an object, a rule or a test. */
bool name_allowed(struct reader *r, const char *s, size_t len, struct place at, const char *what);

/* What a key of a rule takes. */
struct set_rule {
	const char *key;
	unsigned kinds; /* 1 << enum object_kind */
	bool builtins;  /* built-in networks are words here */
};
void set_read(struct reader *r, const struct set_rule *how, const struct node *n,
	      struct model_set *out);
/* `who`: users and @groups; anyone and known are reported, not put into the set. */
void who_read(struct reader *r, const struct node *n, struct model_rule *rule);

bool network_literal(struct reader *r, struct builder *b, const char *s, size_t len,
		     struct place at);
void network_builtin(struct builder *b, int which, const struct model_remark *open);
/* Each settle sorts and drops what stands twice, and returns how many did. */
size_t networks_settle(struct vec *ranges); /* also merges neighbours */
bool looks_like_network(const char *s, size_t len);
bool host_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at);
size_t hosts_settle(struct vec *hosts);
bool service_literal(struct reader *r, struct builder *b, const char *s, size_t len,
		     struct place at);
void services_settle(struct vec *services);
bool user_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at);
size_t users_settle(struct vec *users);
bool window_literal(struct reader *r, struct builder *b, const char *s, size_t len,
		    struct place at);
void windows_settle(struct vec *windows);

/* ---- rules and tests --------------------------------------------------------- */

void rules_read(struct reader *r, struct node *rules);
void tests_read(struct reader *r, struct node *tests);

#endif
