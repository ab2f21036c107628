/*
 * rules/ranges.c - the algebra of address sets: union, difference, intersection, inclusion.
 * sallyctl; allocates, aborts on no memory. No system call.
 */
#include "rules/ranges.h"

#include <stdlib.h>
#include <string.h>

static void
add(struct ranges *a, struct addr first, struct addr last)
{
	if (a->count == a->cap) {
		a->cap = a->cap > 0 ? 2 * a->cap : 8;
		a->v = realloc(a->v, a->cap * sizeof(*a->v));
		if (!a->v)
			abort();
	}
	a->v[a->count++] = (struct model_range){first, last};
}

/* The address after, or before; false at the end of all. */
static bool
step(struct addr *a, bool up)
{
	int i;

	for (i = 15; i >= 0; i--) {
		a->b[i] = (uint8_t)(up ? a->b[i] + 1 : a->b[i] - 1);
		if (a->b[i] != (up ? 0 : 0xff))
			return true;
	}
	return false;
}

static int
by_first(const void *x, const void *y)
{
	return addr_compare(&((const struct model_range *)x)->first,
			    &((const struct model_range *)y)->first);
}

static void
settle(struct ranges *a)
{
	size_t i, kept = 0;

	if (a->count < 2)
		return;
	qsort(a->v, a->count, sizeof(*a->v), by_first);
	for (i = 1; i < a->count; i++) {
		struct addr next = a->v[kept].last;

		if (step(&next, true) && addr_compare(&a->v[i].first, &next) > 0)
			a->v[++kept] = a->v[i];
		else if (addr_compare(&a->v[i].last, &a->v[kept].last) > 0)
			a->v[kept].last = a->v[i].last;
	}
	a->count = kept + 1;
}

static void
add_all(struct ranges *a, const struct model_range *v, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		add(a, v[i].first, v[i].last);
}

struct ranges
ranges_of(const struct model_set *set, bool destination)
{
	const struct model_range *v;
	struct ranges a = {0};
	size_t i, n;

	for (i = 0; i < set->object_count; i++)
		if (set->objects[i]->kind == OBJECT_NETWORK)
			add_all(&a, set->objects[i]->ranges, set->objects[i]->range_count);
	for (i = 0; i < BUILTIN_COUNT; i++)
		if (set->builtins & 1u << i) {
			n = builtin_ranges((enum builtin)i, destination, &v);
			add_all(&a, v, n);
		}
	settle(&a);
	return a;
}

struct ranges
ranges_everything(void)
{
	const struct model_range *v;
	struct ranges a = {0};
	size_t n = builtin_ranges(BUILTIN_ANY, false, &v);

	add_all(&a, v, n);
	settle(&a);
	return a;
}

struct ranges
ranges_builtin(enum builtin b)
{
	const struct model_range *v;
	struct ranges a = {0};
	size_t n = builtin_ranges(b, true, &v);

	add_all(&a, v, n);
	settle(&a);
	return a;
}

/* The first range of a that does not end before the address. */
static size_t
seek(const struct ranges *a, const struct addr *at)
{
	size_t low = 0, high = a->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (addr_compare(&a->v[mid].last, at) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void
ranges_subtract(struct ranges *a, const struct ranges *b)
{
	struct ranges out = {0};
	size_t i, k;

	for (i = 0; i < a->count; i++) {
		struct model_range rest = a->v[i];
		bool left = true;

		for (k = seek(b, &rest.first);
		     left && k < b->count && addr_compare(&b->v[k].first, &rest.last) <= 0; k++) {
			struct addr before = b->v[k].first;

			if (addr_compare(&rest.first, &before) < 0 && step(&before, false))
				add(&out, rest.first, before);
			rest.first = b->v[k].last;
			left =
			    step(&rest.first, true) && addr_compare(&rest.first, &rest.last) <= 0;
		}
		if (left)
			add(&out, rest.first, rest.last);
	}
	ranges_free(a);
	*a = out;
}

void
ranges_intersect(struct ranges *a, const struct ranges *b)
{
	struct ranges rest = {0};

	add_all(&rest, a->v, a->count);
	ranges_subtract(&rest, b);
	ranges_subtract(a, &rest);
	ranges_free(&rest);
}

void
ranges_join(struct ranges *a, const struct ranges *b)
{
	add_all(a, b->v, b->count);
	settle(a);
}

bool
ranges_within(const struct ranges *a, const struct ranges *b)
{
	size_t i, k;

	for (i = 0; i < a->count; i++) {
		k = seek(b, &a->v[i].first);
		if (k == b->count || addr_compare(&b->v[k].first, &a->v[i].first) > 0 ||
		    addr_compare(&b->v[k].last, &a->v[i].last) < 0)
			return false;
	}
	return true;
}

bool
ranges_meet(const struct ranges *a, const struct ranges *b)
{
	const struct ranges *few = a->count < b->count ? a : b, *many = few == a ? b : a;
	size_t i, k;

	for (i = 0; i < few->count; i++) {
		k = seek(many, &few->v[i].first);
		if (k < many->count && addr_compare(&many->v[k].first, &few->v[i].last) <= 0)
			return true;
	}
	return false;
}

bool
ranges_have(const struct ranges *a, const struct addr *one)
{
	size_t k = seek(a, one);

	return k < a->count && addr_compare(&a->v[k].first, one) <= 0;
}

void
ranges_free(struct ranges *a)
{
	free(a->v);
	*a = (struct ranges){0};
}
