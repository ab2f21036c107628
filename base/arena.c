/*
 * base/arena.c - see base/arena.h. COMPILE and tools, never a worker; never blocks but for memory.
 */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FIRST_BLOCK ((size_t)256 * 1024) /* most policies need no second one */
#define NEXT_BLOCK ((size_t)4 * 1024 * 1024)
#define LARGE_PAGE ((size_t)2 * 1024 * 1024)
#define ALIGN 16

struct arena_block {
	struct arena_block *next;
	size_t used, size; /* of the whole block */
	_Alignas(ALIGN) char bytes[];
};

static size_t
whole_pages(size_t size)
{
	return (size + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
}

/* The kernel takes no wish for an address: what lies before and behind the aligned part goes back.
 */
static void *
map_aligned(size_t size)
{
	size_t room = size + LARGE_PAGE, before, behind;
	char *p = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	before = -(uintptr_t)p & (LARGE_PAGE - 1);
	behind = room - before - size;
	if (before > 0)
		munmap(p, before);
	if (behind > 0)
		munmap(p + before + size, behind);
	madvise(p + before, size, MADV_HUGEPAGE); /* only a wish */
	return p + before;
}

void *
pages_take(size_t size)
{
	void *p;

	if (size > SIZE_MAX / 2)
		abort();
	if (size >= LARGE_PAGE)
		return map_aligned(whole_pages(size));
	if ((p = calloc(1, size > 0 ? size : 1)) == NULL)
		abort();
	return p;
}

void
pages_free(void *p, size_t size)
{
	if (p != NULL && size >= LARGE_PAGE)
		munmap(p, whole_pages(size));
	else
		free(p);
}

static struct arena_block *
block_new(size_t size)
{
	struct arena_block *b = pages_take(size);

	b->size = size;
	b->used = sizeof(*b);
	return b;
}

void *
arena_take(struct arena *a, size_t size, size_t align)
{
	struct arena_block *b = a->blocks, *n;
	size_t at;

	if (size > SIZE_MAX / 4)
		abort();
	at = b != NULL ? (b->used + align - 1) & ~(align - 1) : 0;
	if (b != NULL && at + size <= b->size) {
		b->used = at + size;
		return (char *)b + at;
	}
	at = sizeof(*b);
	if (b != NULL && size > NEXT_BLOCK / 4) {
		/* It stands behind the block in use, which keeps its room. */
		n = block_new(at + size);
		n->next = b->next;
		b->next = n;
	} else {
		size_t usual = b != NULL ? NEXT_BLOCK : FIRST_BLOCK;

		n = block_new(at + size > usual ? at + size : usual);
		n->next = b;
		a->blocks = n;
	}
	n->used = at + size;
	return (char *)n + at;
}

void
arena_free(struct arena *a)
{
	struct arena_block *b, *next;

	for (b = a->blocks; b != NULL; b = next) {
		next = b->next;
		pages_free(b, b->size);
	}
	a->blocks = NULL;
}
