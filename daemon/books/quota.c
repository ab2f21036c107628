/*
 * books/quota.c - see books/quota.h. Two open-addressed tables with short windows.
 *
 * A count is one word: fingerprint of its key and the number, so taking and giving is one
 * compare-and-swap and a number of 0 is a free word. Two workers may enter a new key at the same
 * moment in two words: both look around afterwards, and who sees another takes its own back and
 * tries again. So a key nearly always stands in one word, and where it does not the sum is judged
 * after counting, and taken back if it is too much.
 */
#include "books/quota.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/form.h"
#include "books/memory.h"

#define QUOTA_MAGIC 0x51756f7461303100u
#define PAGE 4096u
#define WINDOW 16u
#define COUNT_BITS 20
#define COUNT_MASK ((1ULL << COUNT_BITS) - 1)
#define UNLIMITED 200000u  /* sessions to plan for where they have no limit */
#define COUNTS_A_SESSION 8 /* three are taken at most */
#define LEAST_SLOTS 4096u
#define MOST_SLOTS (1u << 26)
#define TRIES 10000
#define GIVE_TRIES 100
#define STALE_NS INT64_C(2000000000) /* a moment that long ago says nothing any more */

struct head {
	uint64_t magic;
	uint32_t counts, buckets; /* powers of two */
	uint64_t key[2];
};

struct bucket {
	_Atomic uint64_t key; /* 0: free */
	_Atomic int64_t moment;
};

struct quotas {
	struct head *head;
	_Atomic uint64_t *counts;
	struct bucket *buckets;
	size_t mapped;
	uint32_t count_mask, bucket_mask;
	uint64_t key[2];
};

static size_t
bytes_of(uint64_t counts, uint64_t buckets)
{
	return PAGE + counts * sizeof(uint64_t) + buckets * sizeof(struct bucket);
}

static uint32_t
slots_for(uint64_t want)
{
	uint32_t slots = LEAST_SLOTS;

	while (slots < want && slots < MOST_SLOTS)
		slots <<= 1;
	return slots;
}

uint64_t
quota_form(void)
{
	const uint64_t sizes[] = {QUOTA_MAGIC,          PAGE,       WINDOW,
				  COUNT_BITS,           QUOTA_DOWN, sizeof(struct head),
				  sizeof(struct bucket)};

	return FORM_OF(sizes);
}

int
quota_create(uint32_t sessions)
{
	uint64_t live = sessions == 0 ? UNLIMITED : sessions;
	struct head head = {.magic = QUOTA_MAGIC};

	head.counts = slots_for(COUNTS_A_SESSION * live);
	head.buckets = slots_for(2 * live);
	if (getrandom(head.key, sizeof head.key, 0) != (ssize_t)sizeof head.key)
		return -1;
	return memory_create("quotas", bytes_of(head.counts, head.buckets), &head, sizeof head);
}

static bool
is_power(uint32_t n)
{
	return n >= LEAST_SLOTS && n <= MOST_SLOTS && (n & (n - 1)) == 0;
}

struct quotas *
quota_map(int fd)
{
	struct head *head, h;
	struct quotas *q = NULL;
	struct stat st;

	if (fstat(fd, &st) == -1 || st.st_size < (off_t)PAGE)
		return NULL;
	head = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		return NULL;
	h = *head; /* another process may write there */
	if (h.magic == QUOTA_MAGIC && is_power(h.counts) && is_power(h.buckets) &&
	    bytes_of(h.counts, h.buckets) == (size_t)st.st_size)
		q = malloc(sizeof *q);
	if (q == NULL) {
		munmap(head, (size_t)st.st_size);
		return NULL;
	}
	q->head = head;
	q->mapped = (size_t)st.st_size;
	q->counts = (_Atomic uint64_t *)(void *)((char *)head + PAGE);
	q->buckets = (struct bucket *)(void *)(q->counts + h.counts);
	q->count_mask = h.counts - 1;
	q->bucket_mask = h.buckets - 1;
	memcpy(q->key, h.key, sizeof q->key);
	return q;
}

void
quota_unmap(struct quotas *q)
{
	if (q == NULL)
		return;
	munmap(q->head, q->mapped);
	free(q);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static uint64_t
fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t
mix(const struct quotas *q, uint64_t h, const void *bytes, size_t len)
{
	const char *p = bytes;
	uint64_t word;

	h = fold(h ^ q->key[0], len ^ q->key[1]);
	for (; len > 0; p += sizeof word, len -= len < sizeof word ? len : sizeof word) {
		word = 0;
		memcpy(&word, p, len < sizeof word ? len : sizeof word);
		h = fold(h ^ word, q->key[1] | 1) + q->key[0];
	}
	return h;
}

/* Keyed, so that nobody outside can choose names that share a window. */
uint64_t
quota_key(const struct quotas *q, enum quota_kind kind, const char *rule, const void *who,
	  size_t len)
{
	uint64_t h = mix(q, (uint64_t)kind, rule, strlen(rule));

	h = mix(q, h, who, len);
	h = fold(h ^ q->key[1], UINT64_C(0x9e3779b97f4a7c15)) ^ h;
	return (h & ~COUNT_MASK) != 0 ? h : 1ULL << COUNT_BITS;
}

/* ---- counts ---------------------------------------------------------------------------------- */

static _Atomic uint64_t *
word_at(const struct quotas *q, uint64_t key, uint32_t i)
{
	/* the window's home by other bits than those that stand in the word */
	return &q->counts[((uint32_t)(fold(key, q->key[1] | 1) >> 7) + i) & q->count_mask];
}

static uint64_t
load(_Atomic uint64_t *word)
{
	return atomic_load(word);
}

static bool
is_of(uint64_t value, uint64_t key)
{
	return (value & COUNT_MASK) != 0 && ((value ^ key) & ~COUNT_MASK) == 0;
}

uint32_t
quota_count(const struct quotas *q, uint64_t key)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < WINDOW; i++) {
		uint64_t value = load(word_at(q, key, i));

		if (is_of(value, key))
			sum += (uint32_t)(value & COUNT_MASK);
	}
	return sum;
}

/* One less; false: the key does not stand there any more. */
static bool
word_give(_Atomic uint64_t *word, uint64_t key)
{
	uint64_t value = load(word);

	while (is_of(value, key)) {
		uint64_t less = (value & COUNT_MASK) == 1 ? 0 : value - 1;

		if (atomic_compare_exchange_weak(word, &value, less))
			return true;
	}
	return false;
}

void
quota_give(struct quotas *q, uint64_t key)
{
	/*
	 * Backwards, so that a key that stands twice comes together in the first word. What we gave
	 * may have been given by another for his own, who then left us his, perhaps behind our
	 * back: so look again.
	 */
	for (unsigned tries = 0; tries < GIVE_TRIES; tries++)
		for (uint32_t i = WINDOW; i-- > 0;)
			if (word_give(word_at(q, key, i), key))
				return;
}

enum taken { ABSENT, TAKEN, REFUSED };

/* One more in the word that has the key already. */
static enum taken
count_up(struct quotas *q, uint64_t key, uint64_t most)
{
	for (uint32_t i = 0; i < WINDOW; i++) {
		_Atomic uint64_t *word = word_at(q, key, i);
		uint64_t value = load(word);

		while (is_of(value, key)) {
			if (quota_count(q, key) >= most)
				return REFUSED;
			if (!atomic_compare_exchange_weak(word, &value, value + 1))
				continue;
			if (quota_count(q, key) <= most) /* else it stands in two words */
				return TAKEN;
			quota_give(q, key);
			return REFUSED;
		}
	}
	return ABSENT;
}

static _Atomic uint64_t *
enter(struct quotas *q, uint64_t key)
{
	for (uint32_t i = 0; i < WINDOW; i++) {
		_Atomic uint64_t *word = word_at(q, key, i);
		uint64_t value = load(word);

		if ((value & COUNT_MASK) == 0 &&
		    atomic_compare_exchange_strong(word, &value, (key & ~COUNT_MASK) | 1))
			return word;
	}
	return NULL;
}

static bool
stands_elsewhere(const struct quotas *q, uint64_t key, const _Atomic uint64_t *mine)
{
	for (uint32_t i = 0; i < WINDOW; i++) {
		_Atomic uint64_t *word = word_at(q, key, i);

		if (word != mine && is_of(load(word), key))
			return true;
	}
	return false;
}

bool
quota_take(struct quotas *q, uint64_t key, uint32_t most)
{
	for (unsigned i = 0; i < TRIES; i++) {
		_Atomic uint64_t *word;
		enum taken t;

		if (most == 0 || (t = count_up(q, key, most)) == REFUSED)
			return false;
		if (t == TAKEN)
			return true;
		if ((word = enter(q, key)) == NULL)
			return false;
		if (!stands_elsewhere(q, key, word))
			return true;
		quota_give(q, key);
	}
	return false;
}

/* ---- buckets --------------------------------------------------------------------------------- */

static struct bucket *
bucket_at(const struct quotas *q, uint64_t key, uint32_t i)
{
	return &q->buckets[((uint32_t)(key >> 13) + i) & q->bucket_mask];
}

static struct bucket *
bucket_of(struct quotas *q, uint64_t key)
{
	for (uint32_t i = 0; i < WINDOW; i++)
		if (atomic_load(&bucket_at(q, key, i)->key) == key)
			return bucket_at(q, key, i);
	return NULL;
}

_Atomic int64_t *
quota_bucket(struct quotas *q, uint64_t key, int64_t now_ns)
{
	struct bucket *b = bucket_of(q, key);

	for (uint32_t i = 0; i < WINDOW && b == NULL; i++) {
		struct bucket *place = bucket_at(q, key, i);
		uint64_t old = atomic_load(&place->key);

		if (old != 0 && atomic_load(&place->moment) > now_ns - STALE_NS)
			continue;
		if (!atomic_compare_exchange_strong(&place->key, &old, key))
			continue;
		/* It may have come into two places at once: the first is everybody's. */
		b = bucket_of(q, key);
		if (b != place) {
			old = key;
			atomic_compare_exchange_strong(&place->key, &old, 0);
		} else
			atomic_store(&place->moment, now_ns);
	}
	return b != NULL ? &b->moment : NULL;
}

bool
bucket_take(_Atomic int64_t *bucket, int64_t now_ns, int64_t cost, int64_t burst)
{
	int64_t old = atomic_load(bucket), begin;

	do {
		begin = old > now_ns ? old : now_ns;
		if (begin + cost - now_ns > burst)
			return false;
	} while (!atomic_compare_exchange_weak(bucket, &old, begin + cost));
	return true;
}

int64_t
bucket_reserve(_Atomic int64_t *bucket, int64_t now_ns, int64_t cost, int64_t credit)
{
	int64_t old = atomic_load(bucket), begin;

	do
		begin = old > now_ns - credit ? old : now_ns - credit;
	while (!atomic_compare_exchange_weak(bucket, &old, begin + cost));
	return begin;
}

void
bucket_refund(_Atomic int64_t *bucket, int64_t cost)
{
	atomic_fetch_sub(bucket, cost);
}
