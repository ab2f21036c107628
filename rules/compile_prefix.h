/*
 * rules/compile_prefix.h - many networks as prefixes that lie in each other: for the compiler.
 * Ranges are cut into prefixes, prefixes nest like brackets, and so one search for the smallest
 * prefix around an address finds all of them by going from parent to parent.
 */
#ifndef RULES_COMPILE_PREFIX_H
#define RULES_COMPILE_PREFIX_H

#include "rules/image.h"

typedef unsigned __int128 prefix_key; /* of an IPv4 address: its 32 bits */

struct prefix_span {
	prefix_key start, end; /* both in */
	bool four;
	uint32_t owner; /* whoever added it */
};
struct prefix_node {
	uint32_t parent;       /* node + 1, 0 none; parents come first */
	uint32_t first, count; /* its spans */
	uint32_t sum;          /* for the caller */
};
struct prefix_edge { /* from start on, node (+ 1; 0 none) is the smallest */
	prefix_key start;
	uint32_t node;
	bool four;
};
struct prefixes {
	struct prefix_span *spans;
	struct prefix_node *nodes;
	struct prefix_edge *edges; /* IPv4 first, each family sorted */
	size_t span_count, span_cap, node_count, edge_count;
};

void prefixes_add_network(struct prefixes *v, const struct policy *p, uint32_t network,
			  uint32_t owner);
void prefixes_add_service(struct prefixes *v, const struct policy *p, uint32_t service,
			  uint32_t owner); /* port_key() */
void prefixes_nest(struct prefixes *v); /* sorts the spans, fills nodes and edges */
void prefixes_free(struct prefixes *v);
struct addr prefix_key_addr(prefix_key k); /* as IPv6 */

#endif
