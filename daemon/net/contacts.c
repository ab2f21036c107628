/*
 * net/contacts.c - see net/contacts.h. The worker. Two chained hash tables over the same contacts,
 * which grow together; what they may hold is bounded by the owner, so the clients' choice of names
 * and addresses can make a chain no longer than that.
 */
#include "net/contacts.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 4

static uint32_t
mix(uint64_t h)
{
	h *= 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

static uint32_t
hash_address(const struct addr *a)
{
	uint64_t half[2];

	memcpy(half, a->b, sizeof half);
	return mix(half[0] * 31 + half[1]);
}

static uint32_t
hash_asked(const char *name, size_t name_len, const struct addr *addr, uint16_t port)
{
	uint64_t h = port;

	if (name == NULL)
		return mix(hash_address(addr) + h);
	for (size_t i = 0; i < name_len; i++)
		h = (h ^ (uint8_t)name[i]) * 1099511628211u;
	return mix(h);
}

static struct contact **
bucket(struct contact **list, const struct contacts *t, uint32_t hash)
{
	return &list[hash & (t->buckets - 1)];
}

static void
put_asked(struct contacts *t, struct contact *c)
{
	struct contact **at = bucket(t->asked, t, c->hash);

	c->next_asked = *at;
	*at = c;
}

static void
put_answer(struct contacts *t, struct contact *c)
{
	struct contact **at = bucket(t->answers, t, hash_address(&c->addr));

	c->next_reached = *at;
	*at = c;
}

static void
take_asked(struct contacts *t, struct contact *c)
{
	struct contact **at = bucket(t->asked, t, c->hash);

	while (*at != c)
		at = &(*at)->next_asked;
	*at = c->next_asked;
}

static void
take_answer(struct contacts *t, struct contact *c)
{
	struct contact **at = bucket(t->answers, t, hash_address(&c->addr));

	while (*at != c)
		at = &(*at)->next_reached;
	*at = c->next_reached;
}

static void
link_newest(struct contacts *t, struct contact *c)
{
	c->newer = NULL;
	c->older = t->newest;
	*(c->older != NULL ? &c->older->newer : &t->oldest) = c;
	t->newest = c;
}

static void
unlink_use(struct contacts *t, struct contact *c)
{
	*(c->newer != NULL ? &c->newer->older : &t->newest) = c->older;
	*(c->older != NULL ? &c->older->newer : &t->oldest) = c->newer;
}

/* Without memory the tables stay as they are, if there are any. */
static bool
grow(struct contacts *t)
{
	uint32_t buckets = t->buckets == 0 ? FIRST_BUCKETS : t->buckets * 2;
	struct contact **asked, **answers, *c;

	if (t->count < t->buckets)
		return true;
	asked = calloc(buckets, sizeof *asked);
	answers = calloc(buckets, sizeof *answers);
	if (asked == NULL || answers == NULL) {
		free(asked);
		free(answers);
		return t->buckets != 0;
	}
	free(t->asked);
	free(t->answers);
	t->asked = asked;
	t->answers = answers;
	t->buckets = buckets;
	for (c = t->oldest; c != NULL; c = c->newer) {
		put_asked(t, c);
		if (c->reached)
			put_answer(t, c);
	}
	return true;
}

struct contact *
contacts_find(const struct contacts *t, const char *name, size_t name_len, const struct addr *addr,
	      uint16_t port)
{
	uint32_t hash = hash_asked(name, name_len, addr, port);
	struct contact *c;

	if (t->buckets == 0)
		return NULL;
	for (c = *bucket(t->asked, t, hash); c != NULL; c = c->next_asked) {
		if (c->hash != hash || c->port != port || (c->name == NULL) != (name == NULL))
			continue;
		if (name == NULL ? addr_equal(&c->addr, addr)
				 : c->name_len == name_len && memcmp(c->name, name, name_len) == 0)
			return c;
	}
	return NULL;
}

bool
contacts_add(struct contacts *t, struct contact *c)
{
	if (!grow(t))
		return false;
	c->hash = hash_asked(c->name, c->name_len, &c->addr, c->port);
	c->reached = false;
	put_asked(t, c);
	link_newest(t, c);
	t->count++;
	return true;
}

void
contacts_reach(struct contacts *t, struct contact *c, const struct addr *addr)
{
	if (c->reached)
		take_answer(t, c);
	c->addr = *addr;
	c->reached = true;
	put_answer(t, c);
}

struct contact *
contacts_answer(const struct contacts *t, const struct endpoint *from,
		bool (*accepts)(const struct contact *c))
{
	struct contact *c, *other = NULL;

	if (t->buckets == 0)
		return NULL;
	for (c = *bucket(t->answers, t, hash_address(&from->addr)); c != NULL;
	     c = c->next_reached) {
		if (!addr_equal(&c->addr, &from->addr))
			continue;
		if (c->port == from->port)
			return c;
		if (other == NULL && accepts(c))
			other = c;
	}
	return other;
}

void
contacts_remove(struct contacts *t, struct contact *c)
{
	take_asked(t, c);
	if (c->reached)
		take_answer(t, c);
	c->reached = false;
	unlink_use(t, c);
	t->count--;
}

void
contacts_renew(struct contacts *t, struct contact *c)
{
	unlink_use(t, c);
	link_newest(t, c);
}

void
contacts_free(struct contacts *t)
{
	free(t->asked);
	free(t->answers);
	memset(t, 0, sizeof *t);
}
