/*
 * base/arena.h - memory that is taken piece by piece and given back as a whole, and large zeroed
 * tables. For COMPILE and tools, where a policy of 100,000 rules takes a quarter of a gigabyte:
 * all that is large lies in large pages where the kernel has them, which saves most of the page
 * faults and most of the waiting when tables are looked up. Aborts on no memory.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;
struct arena { /* all zero: empty */
	struct arena_block *blocks;
};

void *arena_take(struct arena *a, size_t size,
		 size_t align); /* zeroed; align: a power of 2, at most 16 */
void arena_free(struct arena *a);

void *pages_take(size_t size);         /* zeroed */
void pages_free(void *p, size_t size); /* size: as taken; p may be NULL */

#endif
