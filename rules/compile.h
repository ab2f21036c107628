/*
 * rules/compile.h - what the compiler's files share while an image is being built.
 * COMPILE and sallyctl only; allocates freely and aborts on no memory.
 */
#ifndef RULES_COMPILE_H
#define RULES_COMPILE_H

#include "base/text.h"
#include "rules/image.h"

/* Equal bytes get equal numbers, counted from 0. */
struct intern {
	struct buffer bytes;
	struct intern_entry {
		size_t at;
		uint32_t len, hash;
	} * entries;
	struct intern_slot {
		uint32_t hash, entry; /* entry + 1; 0: empty */
	} * slots;
	uint32_t count, cap, slot_count;
	uint32_t last; /* of an array of its own: what was put last */
};
#define INTERN_NONE UINT32_MAX
uint32_t intern_put(struct intern *in, const void *bytes, size_t len, bool *fresh);
void intern_room(struct intern *in, uint32_t count); /* for so many without growing */
uint32_t intern_find(const struct intern *in, const void *bytes, size_t len);
void intern_free(struct intern *in);

struct compiled_object {
	const struct object *object;
	uint32_t number;
};

struct compile {
	const struct rules_model *model;
	struct problems *problems;
	struct buffer sections[SECTION_COUNT];
	struct intern strings, words, pool, tails, terms, notes, networks, hosts, services, groups,
	    times, zones, regexes;
	struct buffer string_offsets; /* u32, by interned string */
	struct buffer objects; /* struct compiled_object; an object's `number` is its place */
	uint32_t builtins[2][BUILTIN_COUNT]; /* by destination: number + 1, 0: not compiled yet */
	uint32_t worst_case, anchor_first[ANCHOR_KINDS + 1];
	bool failed;
};

uint32_t section_count(const struct compile *c, unsigned s);
void section_put(struct compile *c, unsigned s, const void *element);
void section_put_u32(struct compile *c, unsigned s, uint32_t v);

/* compile_objects.c */
void compile_objects_begin(struct compile *c);             /* the networks that every image has */
uint32_t compile_string(struct compile *c, const char *s); /* NULL as "" */
uint32_t compile_object(struct compile *c, struct object *o); /* writes o->number */
uint32_t compile_builtin(struct compile *c, enum builtin b, bool destination);
uint32_t compile_set(struct compile *c, uint32_t *numbers, size_t count); /* sorts them */

/* compile_index.c: matchers, anchors and what finds them, over the finished sections */
void compile_index(struct compile *c);

#endif
