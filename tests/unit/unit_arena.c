/* Tests of base/arena.c: pieces that are aligned, zeroed, whole and apart, of every size. */
#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "suite.h"

#define PIECES 3000

static bool
is_zero(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static bool
is_filled(const unsigned char *p, size_t n, unsigned char with)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != with)
			return false;
	return true;
}

/* Small ones, some large, a few larger than any block. */
static size_t
size_of(unsigned i)
{
	if (i % 1000 == 999)
		return 5000000 + i;
	if (i % 100 == 50)
		return 300000 + i * 7;
	return i * 37 % 900;
}

static void
test_pieces(void)
{
	static unsigned char *pieces[PIECES];
	struct arena a = {0};
	unsigned wrong = 0;

	for (unsigned i = 0; i < PIECES; i++) {
		size_t align = (size_t)1 << i % 5;

		pieces[i] = arena_take(&a, size_of(i), align);
		wrong += (uintptr_t)pieces[i] % align != 0;
		wrong += !is_zero(pieces[i], size_of(i));
		memset(pieces[i], (int)(i % 255 + 1), size_of(i));
	}
	for (unsigned i = 0; i < PIECES; i++)
		wrong += !is_filled(pieces[i], size_of(i), (unsigned char)(i % 255 + 1));
	CU_ASSERT_EQUAL(wrong, 0);
	arena_free(&a);
	CU_ASSERT_PTR_NULL(a.blocks);
	CU_ASSERT(is_zero(arena_take(&a, 100, 16), 100)); /* it can be used again */
	arena_free(&a);
	arena_free(&a);
}

static void
test_room_is_used_up(void)
{
	struct arena a = {0};
	unsigned char *small = arena_take(&a, 10, 1), *large, *next;

	large = arena_take(&a, 3000000, 16);
	next = arena_take(&a, 10, 1);
	CU_ASSERT_PTR_EQUAL(next, small + 10); /* a large piece ends no block */
	CU_ASSERT(is_zero(large, 3000000));
	arena_free(&a);
}

static void
test_pages(void)
{
	static const size_t sizes[] = {0, 1, 4096, 2097151, 2097152, 2097153, 9000000};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *p = pages_take(sizes[i]);

		CU_ASSERT_PTR_NOT_NULL_FATAL(p);
		CU_ASSERT(is_zero(p, sizes[i]));
		memset(p, 1, sizes[i]);
		pages_free(p, sizes[i]);
	}
	pages_free(NULL, 0);
	pages_free(NULL, 9000000);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"pieces of every size and alignment", test_pieces},
			       {"a large piece ends no block", test_room_is_used_up},
			       {"tables", test_pages},
			       CU_TEST_INFO_NULL};

	return suite_run("arena", tests);
}
