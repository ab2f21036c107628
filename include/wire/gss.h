/*
 * wire/gss.h - SOCKS5 method 1: the frames of RFC 1961, in which everything goes that client and server say to
 * each other: VER 1, MTYP, LEN (2 bytes), then so many bytes of a token of GSSAPI. An abort is VER and MTYP only.
 *
 *   client: TOKEN              server: TOKEN (an empty one if GSSAPI has nothing to say), until the context is made
 *   client: LEVEL              server: LEVEL
 *   both: DATA, if a protection level other than none was agreed on; each UDP datagram is one, too
 *
 * Decoding as in wire/socks.h: a whole frame or nothing, any chopping gives the same result. Pure functions.
 */
#ifndef WIRE_GSS_H
#define WIRE_GSS_H

#include <stddef.h>
#include <stdint.h>

#include "wire/socks.h"

enum gss_type { GSS_FRAME_TOKEN = 1, GSS_FRAME_LEVEL = 2, GSS_FRAME_DATA = 3, GSS_FRAME_ABORT = 0xff };
/* What a LEVEL asks for and grants. RFC 1961 has no 0 ("none"), clients in the field do. */
enum gss_level { GSS_LEVEL_NONE = 0, GSS_LEVEL_INTEGRITY = 1, GSS_LEVEL_CONFIDENTIALITY = 2, GSS_LEVEL_SELECTIVE = 3 };

#define GSS_HEAD 4
#define GSS_TOKEN_MOST 65535
#define GSS_FRAME_MOST (GSS_HEAD + GSS_TOKEN_MOST)
#define GSS_ABORT 2

struct gss_frame {
	uint8_t type; /* `expected`, or GSS_FRAME_ABORT: len 0 */
	uint16_t len;
	const uint8_t *token; /* in buf */
};
/*
 * The next frame. Faults: VERSION; COMMAND (a type that is neither `expected` nor an abort); LENGTH (an empty token: a
 * client never has one to send). *need: how many bytes the frame has in all, as far as is known; 0 after DECODE_BAD.
 */
enum decode gss_decode(const uint8_t *buf, size_t len, enum gss_type expected, struct gss_frame *out,
		       enum socks_fault *fault, size_t *need);
void gss_head(uint8_t out[GSS_HEAD], enum gss_type type, uint16_t len);
void gss_abort(uint8_t out[GSS_ABORT]);

/*
 * What the authenticator hands over of a context that is made (IPC_AUTH_ANSWER, exported): all that per-message tokens
 * of RFC 4121 need, and nothing that the service's own key could be found by. Plain memory, same machine, same build.
 */
#define GSS_KEY_MOST 64
struct gss_context {
	int32_t cipher; /* Kerberos' number of it */
	uint32_t key_len;
	uint8_t key[GSS_KEY_MOST];
	uint32_t acceptor_subkey; /* the key is one that we have made: flag of each token */
	uint32_t reserved;
	uint64_t send_seq, receive_seq; /* of the next token */
};

#endif
