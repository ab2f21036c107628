/*
 * rules/compile_prefix.c - networks cut into prefixes, and prefixes nested. Pure computing for
 * COMPILE and sallyctl; aborts on no memory.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "rules/compile_prefix.h"

static prefix_key
key_of(const struct addr *a)
{
	prefix_key k = 0;

	for (unsigned i = 0; i < sizeof(a->b); i++)
		k = k << 8 | a->b[i];
	return k;
}

struct addr
prefix_key_addr(prefix_key k)
{
	struct addr a;

	for (unsigned i = sizeof(a.b); i-- > 0; k >>= 8)
		a.b[i] = (uint8_t)k;
	return a;
}

static void
span_add(struct prefixes *v, struct prefix_span s)
{
	if (v->span_count == v->span_cap) {
		v->span_cap = v->span_cap == 0 ? 64 : v->span_cap * 2;
		v->spans = realloc(v->spans, v->span_cap * sizeof(*v->spans));
		if (v->spans == NULL)
			abort();
	}
	v->spans[v->span_count++] = s;
}

/* The fewest prefixes that make up a range: each as large as its start and the end allow. */
static void
range_cut(struct prefixes *v, prefix_key first, prefix_key last, bool four, uint32_t owner)
{
	for (;;) {
		prefix_key host = 0; /* the bits that vary */

		while (!(first & (host << 1 | 1)) && (first | (host << 1 | 1)) <= last &&
		       host != (host << 1 | 1))
			host = host << 1 | 1;
		span_add(v, (struct prefix_span){first, first | host, four, owner});
		if ((first | host) == last)
			return;
		first = (first | host) + 1;
	}
}

void
prefixes_add_network(struct prefixes *v, const struct policy *p, uint32_t network, uint32_t owner)
{
	for (uint32_t i = p->network_first4[network]; i < p->network_first4[network + 1]; i++)
		range_cut(v, p->ranges4[i].first, p->ranges4[i].last, true, owner);
	for (uint32_t i = p->network_first6[network]; i < p->network_first6[network + 1]; i++)
		range_cut(v, key_of(&p->ranges6[i].first), key_of(&p->ranges6[i].last), false,
			  owner);
}

void
prefixes_add_service(struct prefixes *v, const struct policy *p, uint32_t service, uint32_t owner)
{
	for (uint32_t list = 0; list < 2; list++)
		for (uint32_t i = p->service_first[2 * service + list];
		     i < p->service_first[2 * service + list + 1]; i++)
			range_cut(v, port_key(list, p->ports[i].first),
				  port_key(list, p->ports[i].last), true, owner);
}

/* IPv4 first; by start; the larger first; then by owner. */
static int
order_span(const void *a, const void *b)
{
	const struct prefix_span *x = a, *y = b;

	if (x->four != y->four)
		return x->four ? -1 : 1;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	return (x->owner > y->owner) - (x->owner < y->owner);
}

static void
edge_add(struct prefixes *v, prefix_key start, uint32_t node, bool four)
{
	struct prefix_edge *last = v->edge_count > 0 ? &v->edges[v->edge_count - 1] : NULL;

	if (last != NULL && last->four == four && last->start == start) {
		last->node = node; /* nothing lies between the two */
		return;
	}
	v->edges[v->edge_count++] = (struct prefix_edge){start, node, four};
}

/* Leaves the open prefixes that end before a key (or all of a family that is done). */
static uint32_t
leave(struct prefixes *v, uint32_t top, bool all, prefix_key start)
{
	while (top != 0) {
		const struct prefix_node *n = &v->nodes[top - 1];
		const struct prefix_span *s = &v->spans[n->first];
		prefix_key most = s->four ? UINT32_MAX : ~(prefix_key)0;

		if (!all && s->end >= start)
			break;
		if (s->end != most)
			edge_add(v, s->end + 1, n->parent, s->four);
		top = n->parent;
	}
	return top;
}

void
prefixes_nest(struct prefixes *v)
{
	uint32_t top = 0; /* the open prefix: node + 1 */
	size_t n = v->span_count;

	v->nodes = calloc(n + 1, sizeof(*v->nodes));
	v->edges = calloc(2 * n + 1, sizeof(*v->edges));
	if (v->nodes == NULL || v->edges == NULL)
		abort();
	if (n > 0)
		qsort(v->spans, n, sizeof(*v->spans), order_span);
	for (size_t i = 0; i < n; i++) {
		const struct prefix_span *s = &v->spans[i];

		if (i > 0 && s[-1].four == s->four && s[-1].start == s->start &&
		    s[-1].end == s->end) {
			v->nodes[top - 1].count++;
			continue;
		}
		top = leave(v, top, i > 0 && s[-1].four != s->four, s->start);
		v->nodes[v->node_count++] = (struct prefix_node){top, (uint32_t)i, 1, 0};
		top = (uint32_t)v->node_count;
		edge_add(v, s->start, top, s->four);
	}
	leave(v, top, true, 0);
}

void
prefixes_free(struct prefixes *v)
{
	free(v->spans);
	free(v->nodes);
	free(v->edges);
	memset(v, 0, sizeof(*v));
}
