/*
 * rules/model.c - the memory of a model: one arena, freed as a whole.
 * COMPILE and sallyctl only. Aborts on no memory: these are short-lived processes, and
 * half a policy must never be loaded.
 */
#include "rules/model.h"

#include <stdlib.h>
#include <string.h>

void *
model_alloc(struct rules_model *m, size_t size)
{
	return arena_take(&m->arena, size, _Alignof(max_align_t));
}

const char *
model_string(struct rules_model *m, const char *s, size_t len)
{
	char *p = arena_take(&m->arena, len + 1, 1);

	memcpy(p, s, len);
	return p;
}

void
model_free(struct rules_model *m)
{
	if (!m)
		return;
	arena_free(&m->arena);
	free(m);
}

uint32_t
model_hash(const void *bytes, size_t len)
{
	const unsigned char *p = bytes;
	uint64_t h = 0x9e3779b97f4a7c15u ^ len, v;

	for (; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		h = (h ^ v) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	for (v = 0; len > 0; len--)
		v = v << 8 | p[len - 1];
	h = (h ^ v) * 0xff51afd7ed558ccdu;
	return (uint32_t)(h ^ h >> 32);
}
