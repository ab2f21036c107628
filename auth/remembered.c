/*
 * auth/remembered.c - that a password was good a short while ago (setting auth.cache). Runs in the
 * authenticator.
 *
 * What is kept is a digest under a random key that dies with the process: whoever reads the table
 * learns no password. What the answer depended on is part of the digest, so a changed hash forgets
 * by itself. Only success is remembered.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"

#define SETS 2048
#define WAYS 4
#define KEY 32
#define DIGEST 32
#define OF_MAX 512

struct entry {
	unsigned char digest[DIGEST];
	int64_t until_ms; /* 0: empty */
};

struct remembered {
	unsigned char key[KEY];
	struct entry entries[SETS][WAYS];
};

struct remembered *
remembered_new(void)
{
	struct remembered *r = calloc(1, sizeof *r);

	if (r != NULL && RAND_bytes(r->key, sizeof r->key) == 1)
		return r;
	free(r);
	return NULL;
}

void
remembered_forget(struct remembered *r)
{
	memset(r->entries, 0, sizeof r->entries);
}

void
remembered_free(struct remembered *r)
{
	if (r != NULL)
		secret_wipe_bytes(r, sizeof *r);
	free(r);
}

/* Lengths stand before the parts, so that no two triples make the same bytes. */
static bool
digest_of(const struct remembered *r, const char *user, size_t len, const struct secret *password,
	  const void *of, size_t of_len, unsigned char out[DIGEST])
{
	unsigned char in[3 + 255 + SECRET_MAX + OF_MAX], digest[EVP_MAX_MD_SIZE];
	size_t n = 0, secret_len = secret_length(password);
	unsigned made = 0;
	bool good;

	if (len > 255 || of_len > OF_MAX)
		return false;
	in[n++] = (unsigned char)len;
	in[n++] = (unsigned char)secret_len;
	memcpy(in + n, user, len);
	n += len;
	memcpy(in + n, secret_reveal(password), secret_len);
	n += secret_len;
	memcpy(in + n, of, of_len);
	n += of_len;
	good = HMAC(EVP_sha256(), r->key, sizeof r->key, in, n, digest, &made) != NULL &&
	       made == DIGEST;
	secret_wipe_bytes(in, sizeof in);
	if (good)
		memcpy(out, digest, DIGEST);
	return good;
}

static struct entry *
set_of(struct remembered *r, const unsigned char digest[DIGEST])
{
	return r->entries[(digest[0] | digest[1] << 8) % SETS];
}

bool
remembered_has(struct remembered *r, const char *user, size_t len, const struct secret *password,
	       const void *of, size_t of_len, int64_t now_ms)
{
	unsigned char digest[DIGEST];
	struct entry *set;

	if (!digest_of(r, user, len, password, of, of_len, digest))
		return false;
	set = set_of(r, digest);
	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].until_ms > now_ms && secret_same(set[i].digest, digest, DIGEST))
			return true;
	return false;
}

void
remembered_put(struct remembered *r, const char *user, size_t len, const struct secret *password,
	       const void *of, size_t of_len, int64_t until_ms)
{
	unsigned char digest[DIGEST];
	struct entry *set, *oldest;

	if (!digest_of(r, user, len, password, of, of_len, digest))
		return;
	set = oldest = set_of(r, digest);
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].until_ms != 0 && secret_same(set[i].digest, digest, DIGEST)) {
			oldest = &set[i];
			break;
		}
		if (set[i].until_ms < oldest->until_ms)
			oldest = &set[i];
	}
	memcpy(oldest->digest, digest, DIGEST);
	oldest->until_ms = until_ms;
}
