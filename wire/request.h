/*
 * wire/request.h - what the SOCKS4 and SOCKS5 decoders share, not for other rooms.
 */
#ifndef WIRE_REQUEST_H
#define WIRE_REQUEST_H

#include "wire/socks.h"

/* The destination of a request given as a name of at most 255 bytes: kind, name or address, and
 * sent. */
void request_take_name(struct socks_request *out, const uint8_t *name, size_t len);

#endif
