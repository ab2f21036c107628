/*
 * net/order.h - in which order to try the addresses of a name: RFC 6724 destination selection,
 * families interleaved as RFC 8305 section 4 asks.
 */
#ifndef NET_ORDER_H
#define NET_ORDER_H

#include <stddef.h>

#include "base/addr.h"

/* Sorts in place; asks the kernel's routes which source each would have (connect on a UDP socket
 * sends nothing). */
void order_addresses(struct addr *list, size_t count);
/* The same with the sources given (tests); has[i] false: no route. */
void order_with_sources(struct addr *list, const struct addr *sources, const _Bool *has, size_t count);
/* The source that the kernel's routes give a connection to `to`; false: no route. */
_Bool order_source(const struct addr *to, struct addr *source);

#endif
