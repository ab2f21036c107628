/*
 * net/protect.c - see net/protect.h. The worker; never blocks. Tokens by RFC 4121 section 4.2, with
 * libk5crypto for the ciphers: GSSAPI's own way to import a context would look into files.
 */
#include "net/protect.h"

#include <errno.h>
#include <krb5.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TOKEN_HEAD 16
#define USAGE_ACCEPTOR 22 /* KG-USAGE-ACCEPTOR-SEAL */
#define USAGE_INITIATOR 24
enum { BY_ACCEPTOR = 1, SEALED = 2, ACCEPTOR_SUBKEY = 4 };
#define WINDOW 1024 /* datagrams that may overtake one */
#define READ_ROOM 16384

struct protect {
	krb5_key key;
	krb5_cksumtype checksum;
	unsigned checksum_len;
	uint8_t subkey;                 /* ACCEPTOR_SUBKEY or 0 */
	uint8_t level;                  /* enum gss_level */
	uint64_t send_seq, receive_seq; /* of the next one */
	/* datagrams: which of the last before receive_seq have come */
	uint64_t seen[WINDOW / 64];
	/* the stream: bytes as they came; payload within the first frame, opened in place */
	uint8_t *raw;
	size_t raw_len, raw_room, frame_len; /* frame_len: of the opened one, 0: none is */
	uint8_t *payload;
	size_t payload_len;
};

/* ---- the context --------------------------------------------------------------------- */

/* The cipher's own kind of checksum, by making one. */
static bool
learn_checksum(struct protect *p)
{
	krb5_data nothing = {0};
	krb5_checksum made;

	if (krb5_k_make_checksum(NULL, 0, p->key, USAGE_ACCEPTOR, &nothing, &made) != 0)
		return false;
	p->checksum = made.checksum_type;
	p->checksum_len = made.length;
	krb5_free_checksum_contents(NULL, &made);
	return true;
}

static bool
take_context(struct protect *p, const struct gss_context *c)
{
	krb5_keyblock block = {
	    .enctype = c->cipher,
	    .length = c->key_len,
	    .contents = (krb5_octet *)(uintptr_t)c->key,
	};
	size_t len;

	/* These functions need no krb5_context, which would look into files. */
	if (c->key_len > sizeof c->key || !krb5_c_valid_enctype(c->cipher) ||
	    krb5_c_keylengths(NULL, c->cipher, NULL, &len) != 0 || len != c->key_len ||
	    krb5_k_create_key(NULL, &block, &p->key) != 0)
		return false;
	if (!learn_checksum(p)) {
		krb5_k_free_key(NULL, p->key);
		return false;
	}
	p->subkey = c->acceptor_subkey ? ACCEPTOR_SUBKEY : 0;
	p->send_seq = c->send_seq;
	p->receive_seq = c->receive_seq;
	return true;
}

struct protect *
protect_new(const void *made, size_t len)
{
	struct protect *p = calloc(1, sizeof *p);
	struct gss_context c;

	if (p == NULL || len != sizeof c) {
		free(p);
		return NULL;
	}
	memcpy(&c, made, sizeof c);
	if (!take_context(p, &c)) {
		free(p);
		p = NULL;
	}
	explicit_bzero(&c, sizeof c);
	return p;
}

static void
drop_raw(struct protect *p)
{
	free(p->raw);
	p->raw = p->payload = NULL;
	p->raw_len = p->raw_room = p->frame_len = p->payload_len = 0;
}

void
protect_free(struct protect *p)
{
	if (p == NULL)
		return;
	krb5_k_free_key(NULL, p->key);
	drop_raw(p);
	free(p);
}

/* ---- tokens (RFC 4121 section 4.2) ------------------------------------------------------ */

static void
put_u16(uint8_t *at, unsigned n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

static unsigned
get_u16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static void
put_head(uint8_t head[TOKEN_HEAD], unsigned flags, uint64_t seq)
{
	static const uint8_t start[] = {5, 4};

	memcpy(head, start, sizeof start);
	head[2] = (uint8_t)flags;
	head[3] = 0xff;
	memset(head + 4, 0, 4); /* EC and RRC */
	for (int i = 0; i < 8; i++)
		head[8 + i] = (uint8_t)(seq >> (56 - 8 * i));
}

static krb5_crypto_iov
piece(krb5_cryptotype type, uint8_t *at, size_t len)
{
	return (krb5_crypto_iov){type, {.length = (unsigned)len, .data = (char *)at}};
}

/* The cipher over payload and a copy of the head. Returns the token's length or 0. */
static size_t
seal(struct protect *p, const uint8_t *bytes, size_t len, uint8_t *out)
{
	unsigned header, trailer;
	krb5_crypto_iov iov[3];
	uint8_t *at = out + TOKEN_HEAD;
	krb5_enctype cipher = krb5_k_key_enctype(NULL, p->key);

	if (krb5_c_crypto_length(NULL, cipher, KRB5_CRYPTO_TYPE_HEADER, &header) != 0 ||
	    krb5_c_crypto_length(NULL, cipher, KRB5_CRYPTO_TYPE_TRAILER, &trailer) != 0 ||
	    GSS_HEAD + TOKEN_HEAD + header + TOKEN_HEAD + trailer > PROTECT_MORE)
		return 0;
	memcpy(at + header, bytes, len);
	memcpy(at + header + len, out, TOKEN_HEAD);
	iov[0] = piece(KRB5_CRYPTO_TYPE_HEADER, at, header);
	iov[1] = piece(KRB5_CRYPTO_TYPE_DATA, at + header, len + TOKEN_HEAD);
	iov[2] = piece(KRB5_CRYPTO_TYPE_TRAILER, at + header + len + TOKEN_HEAD, trailer);
	if (krb5_k_encrypt_iov(NULL, p->key, USAGE_ACCEPTOR, NULL, iov, 3) != 0)
		return 0;
	return TOKEN_HEAD + header + len + TOKEN_HEAD + trailer;
}

/* Payload and a checksum over it and the head. */
static size_t
sign(struct protect *p, const uint8_t *bytes, size_t len, uint8_t *out)
{
	uint8_t *at = out + TOKEN_HEAD;
	krb5_crypto_iov iov[3];

	if (GSS_HEAD + TOKEN_HEAD + p->checksum_len > PROTECT_MORE)
		return 0;
	memcpy(at, bytes, len);
	iov[0] = piece(KRB5_CRYPTO_TYPE_DATA, at, len);
	iov[1] = piece(KRB5_CRYPTO_TYPE_SIGN_ONLY, out, TOKEN_HEAD);
	iov[2] = piece(KRB5_CRYPTO_TYPE_CHECKSUM, at + len, p->checksum_len);
	if (krb5_k_make_checksum_iov(NULL, p->checksum, p->key, USAGE_ACCEPTOR, iov, 3) != 0)
		return 0;
	put_u16(out + 4, p->checksum_len);
	return TOKEN_HEAD + len + p->checksum_len;
}

static size_t
wrap(struct protect *p, bool sealed, const uint8_t *bytes, size_t len, uint8_t *out)
{
	put_head(out, BY_ACCEPTOR | (sealed ? SEALED : 0u) | p->subkey, p->send_seq);
	len = sealed ? seal(p, bytes, len, out) : sign(p, bytes, len, out);
	if (len > 0)
		p->send_seq++;
	return len;
}

static void
reverse(uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len / 2; i++) {
		uint8_t one = at[i];

		at[i] = at[len - 1 - i];
		at[len - 1 - i] = one;
	}
}

/* Undoes the sender's rotation to the right by RRC bytes. */
static void
rotate_left(uint8_t *at, size_t len, size_t by)
{
	if (len == 0 || (by %= len) == 0)
		return;
	reverse(at, by);
	reverse(at + by, len - by);
	reverse(at, len);
}

struct opened {
	uint8_t *payload;
	size_t len;
	uint64_t seq;
	bool sealed;
};

static bool
unseal(struct protect *p, uint8_t head[TOKEN_HEAD], uint8_t *at, size_t len, size_t extra,
       struct opened *out)
{
	krb5_crypto_iov iov[2] = {piece(KRB5_CRYPTO_TYPE_STREAM, at, len),
				  piece(KRB5_CRYPTO_TYPE_DATA, NULL, 0)};
	const uint8_t *plain;
	size_t plain_len;

	if (krb5_k_decrypt_iov(NULL, p->key, USAGE_INITIATOR, NULL, iov, 2) != 0)
		return false;
	plain = (const uint8_t *)iov[1].data.data;
	plain_len = iov[1].data.length;
	/* What stands behind the payload is the head as it was before the rotation. */
	put_u16(head + 6, 0);
	if (plain_len < extra + TOKEN_HEAD ||
	    memcmp(plain + plain_len - TOKEN_HEAD, head, TOKEN_HEAD) != 0)
		return false;
	out->payload = (uint8_t *)iov[1].data.data;
	out->len = plain_len - TOKEN_HEAD - extra;
	return true;
}

static bool
verify(struct protect *p, uint8_t head[TOKEN_HEAD], uint8_t *at, size_t len, size_t extra,
       struct opened *out)
{
	krb5_crypto_iov iov[3];
	krb5_boolean valid = 0;

	if (extra != p->checksum_len || len < extra)
		return false;
	memset(head + 4, 0, 4);
	iov[0] = piece(KRB5_CRYPTO_TYPE_DATA, at, len - extra);
	iov[1] = piece(KRB5_CRYPTO_TYPE_SIGN_ONLY, head, TOKEN_HEAD);
	iov[2] = piece(KRB5_CRYPTO_TYPE_CHECKSUM, at + len - extra, extra);
	if (krb5_k_verify_checksum_iov(NULL, p->checksum, p->key, USAGE_INITIATOR, iov, 3,
				       &valid) != 0 ||
	    !valid)
		return false;
	out->payload = at;
	out->len = len - extra;
	return true;
}

/* In place. Whether its number may come now is the caller's question. */
static bool
unwrap(struct protect *p, uint8_t *token, size_t len, struct opened *out)
{
	uint8_t head[TOKEN_HEAD];
	unsigned flags, extra;

	if (len < TOKEN_HEAD || token[0] != 5 || token[1] != 4 || token[3] != 0xff)
		return false;
	flags = token[2];
	if ((flags & (BY_ACCEPTOR | ACCEPTOR_SUBKEY)) !=
	    p->subkey) /* ours, sent back; another key */
		return false;
	memcpy(head, token, sizeof head);
	extra = get_u16(head + 4);
	out->sealed = (flags & SEALED) != 0;
	out->seq = 0;
	for (int i = 0; i < 8; i++)
		out->seq = out->seq << 8 | head[8 + i];
	token += TOKEN_HEAD;
	len -= TOKEN_HEAD;
	rotate_left(token, len, get_u16(head + 6));
	return out->sealed ? unseal(p, head, token, len, extra, out)
			   : verify(p, head, token, len, extra, out);
}

static bool
unwrap_next(struct protect *p, uint8_t *token, size_t len, struct opened *out)
{
	if (!unwrap(p, token, len, out) || out->seq != p->receive_seq)
		return false;
	p->receive_seq++;
	return true;
}

static bool
good_enough(const struct protect *p, const struct opened *o)
{
	return o->sealed || p->level != GSS_LEVEL_CONFIDENTIALITY;
}

/* ---- the level -------------------------------------------------------------------------- */

int
protect_read_level(struct protect *p, const uint8_t *token, size_t len, bool *plain)
{
	uint8_t copy[PROTECT_MORE + 1];
	struct opened o;

	*plain = len == 1; /* no token is that short */
	if (*plain)
		return token[0];
	if (len > sizeof copy)
		return -1;
	memcpy(copy, token, len);
	return unwrap_next(p, copy, len, &o) && o.len == 1 ? o.payload[0] : -1;
}

size_t
protect_grant(struct protect *p, enum gss_level level, bool plain, uint8_t out[PROTECT_MORE + 1])
{
	uint8_t octet = (uint8_t)level;
	size_t len = 1;

	if (plain)
		out[GSS_HEAD] = octet;
	else
		len = wrap(p, false, &octet, 1, out + GSS_HEAD);
	if (len == 0)
		return 0;
	gss_head(out, GSS_FRAME_LEVEL, (uint16_t)len);
	p->level = octet;
	memset(p->seen, 0xff, sizeof p->seen); /* what came before is no datagram */
	return GSS_HEAD + len;
}

/* ---- the stream ---------------------------------------------------------------------------- */

size_t
protect_frame(struct protect *p, const uint8_t *bytes, size_t len, uint8_t *out)
{
	size_t token;

	if (len > GSS_TOKEN_MOST - PROTECT_MORE)
		return 0;
	token = wrap(p, p->level == GSS_LEVEL_CONFIDENTIALITY, bytes, len, out + GSS_HEAD);
	if (token == 0)
		return 0;
	gss_head(out, GSS_FRAME_DATA, (uint16_t)token);
	return GSS_HEAD + token;
}

static bool
make_room(struct protect *p, size_t room)
{
	uint8_t *more;

	if (p->raw_room >= room)
		return true;
	if ((more = realloc(p->raw, room)) == NULL)
		return false;
	p->raw = more;
	p->raw_room = room;
	return true;
}

bool
protect_feed(struct protect *p, const uint8_t *bytes, size_t len)
{
	if (len == 0)
		return true;
	if (!make_room(p, p->raw_len + len))
		return false;
	memcpy(p->raw + p->raw_len, bytes, len);
	p->raw_len += len;
	return true;
}

static ssize_t
broken(int error)
{
	errno = error;
	return -1;
}

static size_t
hand_out(struct protect *p, uint8_t *to, size_t room)
{
	size_t n = p->payload_len < room ? p->payload_len : room;

	memcpy(to, p->payload, n);
	p->payload += n;
	p->payload_len -= n;
	if (p->payload_len > 0)
		return n;
	p->raw_len -= p->frame_len;
	memmove(p->raw, p->raw + p->frame_len, p->raw_len);
	p->frame_len = 0;
	if (p->raw_len == 0)
		drop_raw(p);
	return n;
}

/* The next frame of what came. An empty one says nothing, and who sends it wants us to work for
 * nothing. */
static enum decode
open_frame(struct protect *p, size_t *need)
{
	enum socks_fault fault;
	struct gss_frame f;
	struct opened o;
	enum decode d = gss_decode(p->raw, p->raw_len, GSS_FRAME_DATA, &f, &fault, need);

	if (d != DECODE_OK)
		return d;
	if (f.type != GSS_FRAME_DATA || !unwrap_next(p, p->raw + GSS_HEAD, f.len, &o) ||
	    !good_enough(p, &o) || o.len == 0)
		return DECODE_BAD;
	p->frame_len = *need;
	p->payload = o.payload;
	p->payload_len = o.len;
	return DECODE_OK;
}

/* Who has sent a part and waits costs no more than that part's whole. */
static void
wait_small(struct protect *p, size_t need)
{
	uint8_t *less;

	if (p->raw_len == 0)
		drop_raw(p);
	else if (p->raw_room > need && (less = realloc(p->raw, need)) != NULL) {
		p->raw = less;
		p->raw_room = need;
	}
}

static ssize_t
read_more(struct protect *p, int fd, size_t need)
{
	ssize_t n;

	if (!make_room(p, need > READ_ROOM ? need : READ_ROOM))
		return broken(ENOMEM);
	n = recv(fd, p->raw + p->raw_len, p->raw_room - p->raw_len, 0);
	if (n > 0)
		p->raw_len += (size_t)n;
	else if (n == 0 && p->raw_len > 0)
		return broken(EBADMSG); /* cut within a frame */
	else {
		int error = errno;

		wait_small(p, need);
		errno = error;
	}
	return n;
}

ssize_t
protect_receive(struct protect *p, int fd, uint8_t *to, size_t room)
{
	for (;;) {
		size_t need;
		ssize_t n;

		if (p->payload_len > 0)
			return (ssize_t)hand_out(p, to, room);
		switch (open_frame(p, &need)) {
		case DECODE_OK:
			continue;
		case DECODE_BAD:
			return broken(EBADMSG);
		case DECODE_MORE:
			if ((n = read_more(p, fd, need)) <= 0)
				return n;
		}
	}
}

bool
protect_waiting(const struct protect *p)
{
	enum socks_fault fault;
	struct gss_frame f;
	size_t need;

	return p->payload_len > 0 ||
	       gss_decode(p->raw, p->raw_len, GSS_FRAME_DATA, &f, &fault, &need) != DECODE_MORE;
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static bool
was_seen(struct protect *p, uint64_t seq)
{
	uint64_t bit = UINT64_C(1) << seq % 64, *word = &p->seen[seq % WINDOW / 64];
	bool seen = (*word & bit) != 0;

	*word |= bit;
	return seen;
}

/* Numbers that were left out on the way to this one may still come. */
static bool
take_seq(struct protect *p, uint64_t seq)
{
	if (seq < p->receive_seq)
		return p->receive_seq - seq <= WINDOW && !was_seen(p, seq);
	if (seq - p->receive_seq >= WINDOW)
		memset(p->seen, 0, sizeof p->seen);
	else
		for (uint64_t i = p->receive_seq; i < seq; i++)
			p->seen[i % WINDOW / 64] &= ~(UINT64_C(1) << i % 64);
	was_seen(p, seq);
	p->receive_seq = seq + 1;
	return true;
}

bool
protect_open_datagram(struct protect *p, uint8_t *frame, size_t len, uint8_t **payload,
		      size_t *payload_len)
{
	enum socks_fault fault;
	struct gss_frame f;
	struct opened o;
	size_t need;

	if (gss_decode(frame, len, GSS_FRAME_DATA, &f, &fault, &need) != DECODE_OK ||
	    f.type != GSS_FRAME_DATA || need != len || !unwrap(p, frame + GSS_HEAD, f.len, &o) ||
	    !good_enough(p, &o) || !take_seq(p, o.seq))
		return false;
	*payload = o.payload;
	*payload_len = o.len;
	return true;
}
