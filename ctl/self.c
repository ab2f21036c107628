/*
 * self.c - what counts as the server itself for `builtin:self`, told from its settings.
 *
 * The daemon asks its sockets; the tool has only the file, and for a wildcard
 * listener the addresses of the machine it runs on.
 */
#include <sys/socket.h>

#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/self.h"

static bool
socket_address(const struct sockaddr *sa, struct addr *out)
{
	if (sa == NULL)
		return false;
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof in);
		*out = addr_from_v4(ntohl(in.sin_addr.s_addr));
		return true;
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof in6);
		*out = addr_from_bytes16(in6.sin6_addr.s6_addr);
		return true;
	}
	return false;
}

static int
by_value(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static void
find_locals(struct self *self)
{
	struct ifaddrs *all, *i;
	size_t n = 2; /* loopback is local even where no interface says so */

	if (getifaddrs(&all) == -1)
		all = NULL;
	for (i = all; i != NULL; i = i->ifa_next)
		n++;
	self->locals = calloc(n, sizeof *self->locals);
	if (self->locals == NULL)
		abort();
	n = 0;
	self->locals[n++] = addr_loopback4;
	self->locals[n++] = addr_loopback6;
	for (i = all; i != NULL; i = i->ifa_next)
		if (socket_address(i->ifa_addr, &self->locals[n]))
			n++;
	if (all != NULL)
		freeifaddrs(all);
	qsort(self->locals, n, sizeof *self->locals, by_value);
	self->value.locals = self->locals;
	self->value.local_count = n;
}

void
self_open(struct self *self, const struct settings *settings)
{
	size_t n = 0;
	bool wildcard = false;

	memset(self, 0, sizeof *self);
	for (uint32_t i = 0; i < settings->listener_count; i++)
		self->endpoints[n++] = settings->listeners[i].at;
	if (settings->metrics.enabled)
		self->endpoints[n++] = settings->metrics.at;
	for (size_t i = 0; i < n; i++)
		wildcard |= addr_is_unspecified(&self->endpoints[i].addr);
	self->value.endpoints = self->endpoints;
	self->value.endpoint_count = n;
	if (wildcard)
		find_locals(self);
}

void
self_close(struct self *self)
{
	free(self->locals);
	memset(self, 0, sizeof *self);
}
