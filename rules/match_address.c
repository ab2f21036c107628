/*
 * rules/match_address.c - is an address in a network, in a set of them, in an indexed prefix;
 * and is a destination this server itself (POLICY.md semantics 8).
 * Runs in workers; binary searches in the image, no allocation.
 */
#include "config.h"

#include <string.h>

#include "rules/image.h"

static bool
has4(const struct image_range4 *v, uint32_t n, uint32_t key)
{
	uint32_t low = 0;

	while (n > 1) { /* the last range that starts at or before the key */
		uint32_t half = n / 2;

		low = v[low + half].first <= key ? low + half : low;
		n -= half;
	}
	return n == 1 && v[low].first <= key && key <= v[low].last;
}

static bool
has6(const struct image_range6 *v, uint32_t n, const struct addr *key)
{
	uint32_t low = 0;

	while (n > 1) {
		uint32_t half = n / 2;

		low = memcmp(&v[low + half].first, key, sizeof(*key)) <= 0 ? low + half : low;
		n -= half;
	}
	return n == 1 && memcmp(&v[low].first, key, sizeof(*key)) <= 0 &&
	       memcmp(key, &v[low].last, sizeof(*key)) <= 0;
}

bool
network_has(const struct policy *p, uint32_t network, const struct addr *a)
{
	const uint32_t *first;

	if (network == NETWORK_ANY_FROM)
		return true;
	if (addr_is4(a)) {
		first = &p->network_first4[network];
		return has4(p->ranges4 + first[0], first[1] - first[0], addr_v4(a));
	}
	first = &p->network_first6[network];
	return has6(p->ranges6 + first[0], first[1] - first[0], a);
}

bool
networks_have(const struct policy *p, uint32_t set, const struct addr *a)
{
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one);

	for (uint32_t i = 0; i < n; i++)
		if (network_has(p, v[i], a))
			return true;
	return false;
}

bool
networks_name(const struct policy *p, uint32_t set, uint32_t network)
{
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one);

	for (uint32_t i = 0; i < n; i++)
		if (v[i] == network)
			return true;
	return false;
}

uint32_t
prefix_find(const struct prefix_index *x, const struct addr *a)
{
	uint32_t low = 0, n;

	if (addr_is4(a)) {
		uint32_t key = addr_v4(a);

		for (n = x->count4; n > 1;) {
			uint32_t half = n / 2;

			low = x->starts4[low + half] <= key ? low + half : low;
			n -= half;
		}
		return n == 1 && x->starts4[low] <= key ? x->nodes4[low] : 0;
	}
	for (n = x->count6; n > 1;) {
		uint32_t half = n / 2;

		low = memcmp(&x->starts6[low + half], a, sizeof(*a)) <= 0 ? low + half : low;
		n -= half;
	}
	return n == 1 && memcmp(&x->starts6[low], a, sizeof(*a)) <= 0 ? x->nodes6[low] : 0;
}

static bool
is_local(const struct rules_self *self, const struct addr *a)
{
	size_t low = 0, high = self->local_count;

	if (addr_is_loopback(a) || addr_is_unspecified(a))
		return true;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = addr_compare(&self->locals[middle], a);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Does connecting to `a` end at an endpoint bound to `bound`? */
static bool
reaches(const struct rules_self *self, const struct addr *bound, const struct addr *a)
{
	if (addr_is_unspecified(bound))
		return is_local(self, a);
	if (addr_is_unspecified(a))
		return addr_is_loopback(bound);
	return addr_equal(bound, a);
}

enum tri
self_holds(const struct rules_facts *f, uint32_t *needs)
{
	uint32_t missing = ~f->known & (FACT_ADDRESS | FACT_PORT);
	bool maybe = false;

	if (f->self == NULL)
		return TRI_NO;
	for (size_t i = 0; i < f->self->endpoint_count; i++) {
		const struct endpoint *e = &f->self->endpoints[i];

		if (!(missing & FACT_PORT) && e->port != f->port)
			continue;
		if (!(missing & FACT_ADDRESS) && !reaches(f->self, &e->addr, &f->address))
			continue;
		if (missing == 0)
			return TRI_YES;
		maybe = true;
	}
	if (!maybe)
		return TRI_NO;
	*needs |= missing;
	return TRI_UNKNOWN;
}
