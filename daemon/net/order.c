/*
 * net/order.c - see net/order.h. The worker; never blocks.
 *
 * Of RFC 6724 section 6 the rules that matter to a proxy are kept: 1 (usable), 2 (scope), 5
 * (label), 6 (precedence), 8 (smaller scope), 9 (longest prefix, IPv6 only), 10 (as the server
 * said).
 */
#include "net/order.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"

#define ORDER_MAX 64

/* RFC 6724 section 2.1, the default policy table; the longest prefix that holds decides. */
static const struct {
	uint8_t b[4];
	uint8_t bits, precedence, label;
} table[] = {
    {{0x20, 0x02}, 16, 30, 2},      /* 2002::/16 */
    {{0x20, 0x01, 0, 0}, 32, 5, 5}, /* 2001::/32 */
    {{0xfc}, 7, 3, 13},             /* fc00::/7 */
    {{0xfe, 0xc0}, 10, 1, 11},      /* fec0::/10 */
    {{0x3f, 0xfe}, 16, 1, 12},      /* 3ffe::/16 */
};

struct candidate {
	struct addr to, source;
	bool usable;
	uint8_t precedence, label, source_label, scope, source_scope, common;
	size_t place;
};

static void
classify(const struct addr *a, uint8_t *precedence, uint8_t *label)
{
	*precedence = 40;
	*label = 1;
	if (addr_is4(a)) {
		*precedence = 35;
		*label = 4;
		return;
	}
	if (addr_equal(a, &addr_loopback6)) {
		*precedence = 50;
		*label = 0;
		return;
	}
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct addr want = {{0}};

		memcpy(want.b, table[i].b, 4);
		if (prefix_contains(&(struct prefix){want, table[i].bits}, a)) {
			*precedence = table[i].precedence;
			*label = table[i].label;
			return;
		}
	}
}

/* RFC 6724 section 3.1: 2 link-local (and loopback), 5 site-local, 14 global. */
static uint8_t
scope(const struct addr *a)
{
	if (addr_is_loopback(a))
		return 2;
	if (addr_is4(a))
		return (addr_v4(a) >> 16) == 0xa9fe ? 2 : 14;
	if (a->b[0] == 0xff)
		return a->b[1] & 15;
	if (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80)
		return 2;
	if (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0xc0)
		return 5;
	return 14;
}

static uint8_t
common_bits(const struct addr *a, const struct addr *b)
{
	uint8_t bits = 0;

	for (int i = 0; i < 8; i++) { /* no further than the subnet: section 6, rule 9 as amended */
		uint8_t differ = a->b[i] ^ b->b[i];

		if (differ == 0) {
			bits += 8;
			continue;
		}
		return bits + (uint8_t)(__builtin_clz(differ) - 24);
	}
	return bits;
}

static int
preferred(int a, int b)
{
	return b - a; /* larger first */
}

static int
compare(const void *va, const void *vb)
{
	const struct candidate *a = va, *b = vb;
	int d;

	if ((d = preferred(a->usable, b->usable)) != 0)
		return d;
	if (a->usable) {
		if ((d = preferred(a->scope == a->source_scope, b->scope == b->source_scope)) != 0)
			return d;
		if ((d = preferred(a->label == a->source_label, b->label == b->source_label)) != 0)
			return d;
	}
	if ((d = preferred(a->precedence, b->precedence)) != 0)
		return d;
	if ((d = a->scope - b->scope) != 0)
		return d;
	if (a->usable && !addr_is4(&a->to) && !addr_is4(&b->to) &&
	    (d = preferred(a->common, b->common)) != 0)
		return d;
	return a->place < b->place ? -1 : 1;
}

/* RFC 8305 section 4: after the first, the families take turns. Unusable ones stay last. */
static void
interleave(struct candidate *c, size_t count, struct addr *out)
{
	bool want4 = addr_is4(&c[0].to);
	size_t at = 0;

	for (size_t pass = 0; pass < 2; pass++) {
		bool usable = pass == 0;
		size_t left = 0;

		for (size_t i = 0; i < count; i++)
			left += c[i].usable == usable;
		while (left > 0) {
			struct candidate *pick = NULL, *other = NULL;

			for (size_t i = 0; i < count && pick == NULL; i++) {
				if (c[i].place == SIZE_MAX || c[i].usable != usable)
					continue;
				if (addr_is4(&c[i].to) == want4)
					pick = &c[i];
				else if (other == NULL)
					other = &c[i];
			}
			if (pick == NULL)
				pick = other;
			if (pick == NULL)
				break; /* none left, whatever was counted */
			out[at++] = pick->to;
			want4 = !addr_is4(&pick->to);
			pick->place = SIZE_MAX;
			left--;
		}
	}
}

void
order_with_sources(struct addr *list, const struct addr *sources, const _Bool *has, size_t count)
{
	struct candidate c[ORDER_MAX];

	if (count < 2 || count > ORDER_MAX)
		return;
	for (size_t i = 0; i < count; i++) {
		uint8_t unused;

		memset(&c[i], 0, sizeof c[i]);
		c[i].to = list[i];
		c[i].usable = has[i];
		c[i].place = i;
		c[i].scope = scope(&list[i]);
		classify(&list[i], &c[i].precedence, &c[i].label);
		if (!has[i])
			continue;
		c[i].source = sources[i];
		c[i].source_scope = scope(&sources[i]);
		classify(&sources[i], &unused, &c[i].source_label);
		c[i].common = common_bits(&list[i], &sources[i]);
	}
	qsort(c, count, sizeof c[0], compare);
	interleave(c, count, list);
}

bool
order_source(const struct addr *to, struct addr *source)
{
	struct endpoint e = {*to, 9}, local;
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(&e, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool ok;

	if (fd == -1)
		return false;
	ok = connect(fd, (struct sockaddr *)&ss, len) == 0 && conn_local(fd, &local);
	close(fd);
	if (ok)
		*source = local.addr;
	return ok;
}

void
order_addresses(struct addr *list, size_t count)
{
	struct addr sources[ORDER_MAX];
	bool has[ORDER_MAX], mixed = false;

	if (count > ORDER_MAX)
		count = ORDER_MAX;
	for (size_t i = 1; i < count; i++)
		mixed |= addr_is4(&list[i]) != addr_is4(&list[0]);
	if (!mixed) /* one family: the server's order (round robin) stands; nothing to ask the
		       kernel */
		return;
	for (size_t i = 0; i < count; i++)
		has[i] = order_source(&list[i], &sources[i]);
	order_with_sources(list, sources, has, count);
}
