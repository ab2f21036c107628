/*
 * wire/chain.c - see wire/chain.h. The ledger and sallyctl; never blocks.
 *
 * Writing and parsing stand beside each other, from one table, so that what is written is what is
 * accepted.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_Init and so on */
#include "wire/chain.h"

#include <endian.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

/* ---- the chain -------------------------------------------------------------------------- */

/* The plain functions: those that take any hash allocate and clear for each line, which costs as
 * much as a short one. */
static void
hash_line(const void *line, size_t len, uint8_t out[CHAIN_HASH])
{
	SHA256_CTX c;

	SHA256_Init(&c);
	SHA256_Update(&c, line, len);
	SHA256_Final(out, &c);
}

/* SHA-256 of 64 bytes: one block, and the one that says that these were all (FIPS 180-4, 5.1.1). */
static void
hash_two(const uint8_t a[CHAIN_HASH], const uint8_t b[CHAIN_HASH], uint8_t out[CHAIN_HASH])
{
	static const uint8_t end[SHA256_CBLOCK] = {[0] = 0x80, [62] = 0x02};
	uint8_t block[SHA256_CBLOCK];
	SHA256_CTX c;

	SHA256_Init(&c);
	memcpy(block, a, CHAIN_HASH);
	memcpy(block + CHAIN_HASH, b, CHAIN_HASH);
	SHA256_Transform(&c, block);
	SHA256_Transform(&c, end);
	for (int i = 0; i < 8; i++) {
		uint32_t word = htobe32((uint32_t)c.h[i]);

		memcpy(out + 4 * i, &word, sizeof word);
	}
}

void
chain_begin(struct chain *c, const uint8_t prev[CHAIN_PREV])
{
	memset(c->root, 0, sizeof c->root);
	memcpy(c->root, prev, CHAIN_PREV);
}

void
chain_add(struct chain *c, const char *line, size_t len)
{
	hash_line(line, len, c->last);
	hash_two(c->root, c->last, c->root);
}

/* ---- the members ------------------------------------------------------------------------ */

#define OPENING ",\"audit\":{\"seq\":"
#define MARK ",\"signature\":\""

enum form { FORM_HEX, FORM_NUMBER };

/* In the order of the line; a member of "last" has the names of its brackets. */
static const struct member {
	unsigned has;
	enum form form;
	const char *before, *behind;
	size_t at, len;
} members[] = {
#define AT(field) offsetof(struct chain_tail, field), sizeof(((struct chain_tail *)NULL)->field)
    {CHAIN_HAS_PREV, FORM_HEX, ",\"prev\":\"", "\"", AT(prev)},
    {CHAIN_HAS_KEY, FORM_HEX, ",\"key\":\"", "\"", AT(key)},
    {CHAIN_HAS_FROM, FORM_NUMBER, ",\"from\":", "", AT(from)},
    {CHAIN_HAS_LAST, FORM_NUMBER, ",\"last\":{\"seq\":", "", AT(last.seq)},
    {CHAIN_HAS_LAST, FORM_HEX, ",\"key\":\"", "\"", AT(last.key)},
    {CHAIN_HAS_LAST, FORM_HEX, ",\"signature\":\"", "\"}", AT(last.signature)},
    {CHAIN_HAS_ROOT, FORM_HEX, ",\"root\":\"", "\"", AT(root)},
    {CHAIN_HAS_NEXT, FORM_HEX, ",\"next\":\"", "\"", AT(next)},
    {CHAIN_HAS_END, FORM_HEX, ",\"end\":\"", "\"", AT(end)},
    {CHAIN_HAS_SIGNATURE, FORM_HEX, MARK, "\"", AT(signature)},
#undef AT
};
#define MEMBERS (sizeof members / sizeof members[0])

void
chain_put(struct text *t, const struct chain_tail *tail)
{
	text_put(t, OPENING);
	text_put_u64(t, tail->seq);
	for (const struct member *m = members; m < members + MEMBERS; m++) {
		const uint8_t *at = (const uint8_t *)tail + m->at;
		uint64_t number;

		if ((tail->has & m->has) == 0 || m->has == CHAIN_HAS_SIGNATURE)
			continue;
		text_put(t, m->before);
		if (m->form == FORM_HEX) {
			text_put_hex(t, at, m->len);
		} else {
			memcpy(&number, at, sizeof number);
			text_put_u64(t, number);
		}
		text_put(t, m->behind);
	}
	text_put(t, "}}");
}

void
chain_put_prev(struct text *t, uint64_t seq, const uint8_t prev[CHAIN_PREV])
{
	text_put(t, OPENING);
	text_put_u64(t, seq);
	text_put(t, ",\"prev\":\"");
	text_put_hex(t, prev, CHAIN_PREV);
	text_put(t, "\"}}");
}

struct cursor {
	const char *p, *end;
};

static bool
take(struct cursor *c, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(c->end - c->p) < len || memcmp(c->p, word, len) != 0)
		return false;
	c->p += len;
	return true;
}

static bool
take_number(struct cursor *c, uint64_t *out)
{
	const char *from = c->p;

	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
		c->p++;
	return text_parse_u64(from, (size_t)(c->p - from), INT64_MAX, out);
}

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
take_hex(struct cursor *c, uint8_t *out, size_t len)
{
	if ((size_t)(c->end - c->p) < 2 * len)
		return false;
	for (size_t i = 0; i < len; i++, c->p += 2) {
		int high = digit(c->p[0]), low = digit(c->p[1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool
take_member(struct cursor *c, const struct member *m, struct chain_tail *out)
{
	uint8_t *at = (uint8_t *)out + m->at;
	uint64_t number;

	if (m->form == FORM_HEX && !take_hex(c, at, m->len))
		return false;
	if (m->form == FORM_NUMBER) {
		if (!take_number(c, &number))
			return false;
		memcpy(at, &number, sizeof number);
	}
	return take(c, m->behind);
}

/* A quotation mark in a string is escaped, so this stands in no text of a client. */
static const char *
opening(const char *line, size_t len)
{
	static const char word[] = OPENING;
	size_t n = sizeof word - 1;
	const char *p = line + len;

	while ((p = memrchr(line, ',', (size_t)(p - line))) != NULL)
		if ((size_t)(line + len - p) >= n && memcmp(p, word, n) == 0)
			return p;
	return NULL;
}

bool
chain_parse(const char *line, size_t len, struct chain_tail *out)
{
	const char *from = len > 0 && line[0] == '{' ? opening(line, len) : NULL;
	struct cursor c = {from, line + len};

	memset(out, 0, sizeof *out);
	if (from == NULL || !take(&c, OPENING) || !take_number(&c, &out->seq))
		return false;
	for (const struct member *m = members; m < members + MEMBERS; m++) {
		const char *before = c.p;
		/* the second and third of "last" must follow its first */
		bool must = m->has == CHAIN_HAS_LAST && (out->has & CHAIN_HAS_LAST) != 0;

		if (m->has == CHAIN_HAS_LAST && !must && m->form != FORM_NUMBER)
			continue;
		if (!take(&c, m->before)) {
			if (must)
				return false;
			continue;
		}
		if (!take_member(&c, m, out))
			return false;
		out->has |= m->has;
		if (m->has == CHAIN_HAS_SIGNATURE)
			out->signed_len = (size_t)(before - line);
	}
	return take(&c, "}}") && c.p == c.end;
}

#define SECRETS 16384 /* bytes for them */

/* ---- keys ------------------------------------------------------------------------------- */

struct evp_pkey_st *
chain_key_new(uint8_t public_key[CHAIN_KEY])
{
	EVP_PKEY *key;
	size_t len = CHAIN_KEY;

	/* memory that is not swapped; without it, if there is none to have */
	if (!CRYPTO_secure_malloc_initialized())
		CRYPTO_secure_malloc_init(SECRETS, 32);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (key != NULL && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1 &&
	    len == CHAIN_KEY)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

void
chain_key_wipe(struct evp_pkey_st *key)
{
	EVP_PKEY_free(key); /* which clears what was secret */
}

static bool
sign(EVP_PKEY *key, const char *p, size_t n, uint8_t out[CHAIN_SIGNATURE])
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	size_t len = CHAIN_SIGNATURE;
	bool good = c != NULL && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1 &&
		    EVP_DigestSign(c, out, &len, (const unsigned char *)p, n) == 1 &&
		    len == CHAIN_SIGNATURE;

	EVP_MD_CTX_free(c);
	return good;
}

bool
chain_sign(struct evp_pkey_st *key, struct text *line, uint8_t signature[CHAIN_SIGNATURE])
{
	size_t room = sizeof MARK + 2 * CHAIN_SIGNATURE + 4;

	if (line->cut || line->len < 2 || line->cap - line->len < room ||
	    !sign(key, line->p, line->len - 2, signature))
		return false;
	line->len -= 2;
	text_put(line, MARK);
	text_put_hex(line, signature, CHAIN_SIGNATURE);
	text_put(line, "\"}}");
	return true;
}

bool
chain_verify(const uint8_t key[CHAIN_KEY], const uint8_t signature[CHAIN_SIGNATURE], const void *p,
	     size_t len)
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, key, CHAIN_KEY);
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = pkey != NULL && c != NULL &&
		    EVP_DigestVerifyInit(c, NULL, NULL, NULL, pkey) == 1 &&
		    EVP_DigestVerify(c, signature, CHAIN_SIGNATURE, p, len) == 1;

	EVP_MD_CTX_free(c);
	EVP_PKEY_free(pkey);
	return good;
}
