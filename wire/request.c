/*
 * wire/request.c - see wire/request.h: the destination name of a request, as sent
 * and as it is judged. Pure, run in the workers on bytes from anyone.
 */
#include "wire/request.h"

#include <string.h>

void
request_take_name(struct socks_request *out, const uint8_t *name, size_t len)
{
	size_t canonical;

	memcpy(out->sent, name, len);
	out->sent_len = (uint8_t)len;
	out->kind = name_canonical(name, len, out->name, &canonical, &out->addr);
	out->name_len = (uint8_t)canonical;
}
