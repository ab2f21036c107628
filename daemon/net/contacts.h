/*
 * net/contacts.h - whom a UDP association has sent to: found by what the client asked for (name or address, and
 * port) and by who answers (address, port); in the order of their last use.
 *
 * A contact lives in its owner, which keeps its name. Pure: no system call but for memory.
 */
#ifndef NET_CONTACTS_H
#define NET_CONTACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct contact {
	struct contact *next_asked, *next_reached; /* in their buckets */
	struct contact *newer, *older;
	uint32_t hash;
	uint16_t port;
	bool reached;	     /* addr is where it leads, and answers are known by it */
	uint8_t name_len;
	const char *name;    /* the owner's; NULL: an address was asked for */
	struct addr addr;
};

struct contacts { /* all zero: empty */
	struct contact **asked, **answers; /* answers: by address only */
	uint32_t buckets, count;	   /* buckets: a power of two, or 0 */
	struct contact *newest, *oldest;
};

/* name NULL: by address. NULL: none. */
struct contact *contacts_find(const struct contacts *t, const char *name, size_t name_len, const struct addr *addr,
			      uint16_t port);
/* name, name_len, addr (if name is NULL) and port are set. Becomes the newest. False: no memory. */
bool contacts_add(struct contacts *t, struct contact *c);
/* c leads to this address from now on. */
void contacts_reach(struct contacts *t, struct contact *c, const struct addr *addr);
/* Who answers: of this port; else `accepts` chooses among those of its address. NULL: nobody. */
struct contact *contacts_answer(const struct contacts *t, const struct endpoint *from,
				bool (*accepts)(const struct contact *c));
void contacts_remove(struct contacts *t, struct contact *c);
void contacts_free(struct contacts *t); /* the tables; there is no contact any more */
void contacts_renew(struct contacts *t, struct contact *c); /* see contacts_touch */
/* It was used just now. */
static inline void
contacts_touch(struct contacts *t, struct contact *c)
{
	if (t->newest != c)
		contacts_renew(t, c);
}

#endif
