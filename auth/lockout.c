/*
 * auth/lockout.c - failures of users and of sources, and who is locked out for them. Pure: the
 * time comes with the question. Runs in the authenticator.
 *
 * A table of fixed size, in sets of a few entries: a flood of made-up names can push out other
 * entries of their sets, never make it grow; entries that are locked, or near to it, go last. The
 * place of a name is keyed by a random number, so nobody can aim at the set of another.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"

#define SETS 4096
#define WAYS 8
#define KEY 32
#define MARK 16

struct entry {
	unsigned char mark[MARK]; /* all zero: empty */
	int64_t first_ms;         /* of the failures counted */
	int64_t locked_until_ms;  /* 0: not locked */
	uint32_t failures;
};

struct lockout {
	unsigned char key[KEY];
	struct entry entries[SETS][WAYS];
};

struct lockout *
lockout_new(void)
{
	struct lockout *l = calloc(1, sizeof *l);

	if (l != NULL && RAND_bytes(l->key, sizeof l->key) == 1)
		return l;
	free(l);
	return NULL;
}

void
lockout_free(struct lockout *l)
{
	free(l);
}

/* kind keeps a user apart from a source of the same bytes. */
static bool
mark_of(const struct lockout *l, char kind, const void *p, size_t len, unsigned char mark[MARK])
{
	unsigned char in[1 + 255], digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (len > sizeof in - 1)
		len = sizeof in - 1;
	in[0] = (unsigned char)kind;
	memcpy(in + 1, p, len);
	if (HMAC(EVP_sha256(), l->key, sizeof l->key, in, len + 1, digest, &n) == NULL || n < MARK)
		return false;
	memcpy(mark, digest, MARK);
	mark[MARK - 1] |= 1; /* not all zero */
	return true;
}

static struct entry *
set_of(struct lockout *l, const unsigned char mark[MARK])
{
	return l->entries[(mark[0] | mark[1] << 8) % SETS];
}

static struct entry *
find(struct lockout *l, const unsigned char mark[MARK])
{
	struct entry *set = set_of(l, mark);

	for (unsigned i = 0; i < WAYS; i++)
		if (memcmp(set[i].mark, mark, MARK) == 0)
			return &set[i];
	return NULL;
}

static struct entry *
take(struct lockout *l, const unsigned char mark[MARK], int64_t now_ms)
{
	static const unsigned char empty[MARK];
	struct entry *set = set_of(l, mark), *worst = NULL;

	for (unsigned i = 0; i < WAYS; i++) {
		struct entry *e = &set[i];

		if (memcmp(e->mark, empty, MARK) == 0) {
			worst = e;
			break;
		}
		if (e->locked_until_ms > now_ms)
			continue;
		if (worst == NULL || e->failures < worst->failures ||
		    (e->failures == worst->failures && e->first_ms < worst->first_ms))
			worst = e;
	}
	if (worst == NULL) { /* all are locked: the one that would be free first */
		worst = &set[0];
		for (unsigned i = 1; i < WAYS; i++)
			if (set[i].locked_until_ms < worst->locked_until_ms)
				worst = &set[i];
	}
	*worst = (struct entry){.first_ms = now_ms};
	memcpy(worst->mark, mark, MARK);
	return worst;
}

/* What is over is over. */
static void
age(struct entry *e, const struct lockout_bounds *b, int64_t now_ms)
{
	if (e->locked_until_ms != 0 && now_ms >= e->locked_until_ms) {
		e->locked_until_ms = 0;
		e->failures = 0;
	}
	if (e->locked_until_ms == 0 && now_ms - e->first_ms >= b->within_ms)
		e->failures = 0;
	if (e->failures == 0)
		e->first_ms = now_ms;
}

static void
state_of(const struct entry *e, uint32_t most, struct lockout_state *s)
{
	unsigned step = most != 0 ? (unsigned)(4ULL * e->failures / most) : 0;

	if (e->locked_until_ms != 0)
		s->locked = true;
	if (step > 3 || s->locked)
		step = 3;
	if (step > s->step)
		s->step = step;
}

static void
look(struct lockout *l, const struct lockout_bounds *b, char kind, const void *p, size_t len,
     uint32_t most, int64_t now_ms, struct lockout_state *s)
{
	unsigned char mark[MARK];
	struct entry *e;

	if (most == 0 || !mark_of(l, kind, p, len, mark) || (e = find(l, mark)) == NULL)
		return;
	age(e, b, now_ms);
	state_of(e, most, s);
}

static void
failed(struct lockout *l, const struct lockout_bounds *b, char kind, const void *p, size_t len,
       uint32_t most, int64_t now_ms, struct lockout_state *s)
{
	unsigned char mark[MARK];
	struct entry *e;

	if (most == 0 || !mark_of(l, kind, p, len, mark))
		return;
	e = find(l, mark);
	if (e == NULL)
		e = take(l, mark, now_ms);
	age(e, b, now_ms);
	if (e->locked_until_ms == 0 && ++e->failures >= most) {
		e->locked_until_ms = now_ms + b->for_ms;
		s->now = true;
	}
	state_of(e, most, s);
}

struct lockout_state
lockout_look(struct lockout *l, const struct lockout_bounds *b, const char *user, size_t len,
	     const struct addr *source, int64_t now_ms)
{
	struct lockout_state s = {false, false, 0};

	look(l, b, 'u', user, len, b->user_failures, now_ms, &s);
	look(l, b, 's', source->b, sizeof source->b, b->source_failures, now_ms, &s);
	return s;
}

struct lockout_state
lockout_failed(struct lockout *l, const struct lockout_bounds *b, const char *user, size_t len,
	       const struct addr *source, int64_t now_ms)
{
	struct lockout_state s = {false, false, 0};

	failed(l, b, 'u', user, len, b->user_failures, now_ms, &s);
	failed(l, b, 's', source->b, sizeof source->b, b->source_failures, now_ms, &s);
	return s;
}

void
lockout_succeeded(struct lockout *l, const char *user, size_t len)
{
	unsigned char mark[MARK];
	struct entry *e;

	if (!mark_of(l, 'u', user, len, mark) || (e = find(l, mark)) == NULL)
		return;
	if (e->locked_until_ms == 0) /* a check that had begun before the lock ends no lock */
		memset(e, 0, sizeof *e);
}
