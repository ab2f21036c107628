/*
 * rules/model.c - the memory of a model: one arena of zeroed blocks, freed as a whole.
 * COMPILE and sallyctl only. Aborts on no memory: these are short-lived processes, and
 * half a policy must never be loaded.
 */
#include "rules/model.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)256 * 1024)
#define ALIGN 16

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(ALIGN) char bytes[];
};

static struct block *
block_new(size_t size)
{
	struct block *b = calloc(1, sizeof(*b) + size);

	if (!b)
		abort();
	b->size = size;
	return b;
}

void *
model_alloc(struct rules_model *m, size_t size)
{
	struct block *b = m->arena;
	void *p;

	if (size > SIZE_MAX / 2)
		abort();
	size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!b || b->size - b->used < size) {
		struct block *n = block_new(size > BLOCK / 4 ? size : BLOCK);

		/* A large piece stands behind the block in use, which keeps its room. */
		if (b && n->size != BLOCK) {
			n->next = b->next;
			b->next = n;
		} else {
			n->next = b;
			m->arena = n;
		}
		b = n;
	}
	p = b->bytes + b->used;
	b->used += size;
	return p;
}

const char *
model_string(struct rules_model *m, const char *s, size_t len)
{
	char *p = model_alloc(m, len + 1);

	memcpy(p, s, len);
	return p;
}

void
model_free(struct rules_model *m)
{
	struct block *b, *next;

	if (!m)
		return;
	for (b = m->arena; b; b = next) {
		next = b->next;
		free(b);
	}
	free(m);
}
