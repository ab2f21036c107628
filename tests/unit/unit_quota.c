/*
 * unit_quota.c - counts and rates of rules across workers (daemon/books/quota.c): exact whoever
 * takes at the same moment, and given back; time lines of rates.
 */
#include "books/quota.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"

#define SECOND INT64_C(1000000000)

static struct quotas *
fresh(int *fd)
{
	struct quotas *q;

	*fd = quota_create(100);
	CU_ASSERT_NOT_EQUAL_FATAL(*fd, -1);
	q = quota_map(*fd);
	CU_ASSERT_PTR_NOT_NULL_FATAL(q);
	return q;
}

static void
test_counts(void)
{
	int fd;
	struct quotas *q = fresh(&fd), *other = quota_map(fd);
	uint64_t a = quota_key(q, QUOTA_USER, "rule", "ann", 3);
	uint64_t b = quota_key(q, QUOTA_USER, "rule", "bob", 3);

	CU_ASSERT_PTR_NOT_NULL_FATAL(other);
	CU_ASSERT_EQUAL(a, quota_key(other, QUOTA_USER, "rule", "ann", 3));
	CU_ASSERT_TRUE(quota_take(q, a, 2));
	CU_ASSERT_TRUE(quota_take(other, a, 2));
	CU_ASSERT_FALSE(quota_take(q, a, 2));
	CU_ASSERT_TRUE(quota_take(q, b, 2));
	CU_ASSERT_TRUE(quota_take(q, a, 3));  /* a reload may bring more ... */
	CU_ASSERT_FALSE(quota_take(q, a, 1)); /* ... or less */
	CU_ASSERT_EQUAL(quota_count(q, a), 3);
	for (int i = 0; i < 5; i++) /* never below none */
		quota_give(q, a);
	CU_ASSERT_EQUAL(quota_count(q, a), 0);
	CU_ASSERT_EQUAL(quota_count(other, b), 1);
	CU_ASSERT_FALSE(quota_take(q, a, 0));
	CU_ASSERT_NOT_EQUAL(ftruncate(fd, 0), 0);
	quota_unmap(q);
	quota_unmap(other);
	close(fd);
}

static void
test_keys(void)
{
	static const char *const rules[] = {"a", "b", "rule", "rule2", "rul"};
	static const char *const whom[] = {"",    "x",    "e",        "2",
					   "ann", "anna", "12345678", "123456789"};
	uint64_t seen[6 * 5 * 8];
	size_t n = 0;
	int fd;
	struct quotas *q = fresh(&fd);

	for (int kind = QUOTA_SESSIONS; kind <= QUOTA_DOWN; kind++)
		for (size_t r = 0; r < 5; r++)
			for (size_t w = 0; w < 8; w++)
				seen[n++] = quota_key(q, (enum quota_kind)kind, rules[r], whom[w],
						      strlen(whom[w]));
	for (size_t i = 0; i < n; i++) {
		CU_ASSERT_NOT_EQUAL(seen[i], 0);
		for (size_t j = 0; j < i; j++)
			CU_ASSERT_NOT_EQUAL(seen[i], seen[j]);
	}
	quota_unmap(q);
	close(fd);
}

static void
test_many(void)
{
	enum { KEYS = 400 }; /* a table for 100 sessions has room for them */
	int fd, lost = 0;
	struct quotas *q = fresh(&fd);

	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < KEYS; i++)
			lost += !quota_take(q, quota_key(q, QUOTA_SOURCE, "r", &i, sizeof i), 1);
		for (uint32_t i = 0; i < KEYS; i++) {
			uint64_t key = quota_key(q, QUOTA_SOURCE, "r", &i, sizeof i);

			CU_ASSERT_EQUAL(quota_count(q, key), 1);
			quota_give(q, key);
		}
	}
	CU_ASSERT_EQUAL(lost, 0);
	quota_unmap(q);
	close(fd);
}

/* ---- many at once ---- */

#define THREADS 4
#define ROUNDS 4000
#define MOST 3

static struct {
	struct quotas *q;
	_Atomic uint32_t in[8];
	_Atomic uint32_t over, refused, taken;
} crowd;

static void *
take_and_give(void *p)
{
	unsigned self = (unsigned)(uintptr_t)p;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned which = (i * 7 + self) & 7;
		uint64_t key = quota_key(crowd.q, QUOTA_USER, "crowd", &which, sizeof which);

		if (!quota_take(crowd.q, key, MOST)) {
			atomic_fetch_add(&crowd.refused, 1);
			continue;
		}
		atomic_fetch_add(&crowd.taken, 1);
		if (atomic_fetch_add(&crowd.in[which], 1) >= MOST)
			atomic_fetch_add(&crowd.over, 1);
		atomic_fetch_sub(&crowd.in[which], 1);
		quota_give(crowd.q, key);
	}
	return NULL;
}

static void
test_parallel(void)
{
	pthread_t threads[THREADS];
	int fd;

	crowd.q = fresh(&fd);
	for (uintptr_t i = 0; i < THREADS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, take_and_give, (void *)i),
				      0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT_EQUAL(atomic_load(&crowd.over), 0);
	CU_ASSERT_EQUAL(atomic_load(&crowd.taken) + atomic_load(&crowd.refused), THREADS * ROUNDS);
	CU_ASSERT_TRUE(atomic_load(&crowd.taken) > 0);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT_EQUAL(
		    quota_count(crowd.q, quota_key(crowd.q, QUOTA_USER, "crowd", &i, sizeof i)), 0);
	quota_unmap(crowd.q);
	close(fd);
}

/* All take one key that stands nowhere yet, and keep it: exactly as many as there may be. */
static void *
take_once(void *p)
{
	uint64_t *key = p;

	if (quota_take(crowd.q, *key, MOST))
		atomic_fetch_add(&crowd.taken, 1);
	return NULL;
}

static void
test_exactly(void)
{
	enum { TAKERS = 8, KEYS = 200 };
	pthread_t threads[TAKERS];
	int fd, wrong = 0;

	crowd.q = fresh(&fd);
	for (uint32_t k = 0; k < KEYS; k++) {
		uint64_t key = quota_key(crowd.q, QUOTA_SESSIONS, "exact", &k, sizeof k);

		atomic_store(&crowd.taken, 0);
		for (int i = 0; i < TAKERS; i++)
			CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[i], NULL, take_once, &key),
					      0);
		for (int i = 0; i < TAKERS; i++)
			pthread_join(threads[i], NULL);
		wrong += atomic_load(&crowd.taken) != MOST || quota_count(crowd.q, key) != MOST;
		for (int i = 0; i < MOST; i++)
			quota_give(crowd.q, key);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	quota_unmap(crowd.q);
	close(fd);
}

/* ---- rates ---- */

static void
test_bucket(void)
{
	int fd;
	struct quotas *q = fresh(&fd);
	uint64_t key = quota_key(q, QUOTA_RATE, "rule", "ann", 3);
	int64_t now = 1000 * SECOND, cost = SECOND / 10;
	_Atomic int64_t *b = quota_bucket(q, key, now);
	int taken = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(b);
	for (int i = 0; i < 15; i++) /* 10 /s: ten at once */
		taken += bucket_take(b, now, cost, SECOND);
	CU_ASSERT_EQUAL(taken, 10);
	for (int i = 0; i < 100; i++) { /* then one each tenth */
		now += cost / 2;
		taken += bucket_take(quota_bucket(q, key, now), now, cost, SECOND);
	}
	CU_ASSERT_EQUAL(taken, 60);
	CU_ASSERT_PTR_EQUAL(quota_bucket(q, key, now), b);
	quota_unmap(q);
	close(fd);
}

static void
test_reserve(void)
{
	_Atomic int64_t b = 0;
	int64_t now = 50 * SECOND, credit = SECOND / 10;

	CU_ASSERT_EQUAL(bucket_reserve(&b, now, SECOND, credit), now - credit);
	CU_ASSERT_EQUAL(bucket_reserve(&b, now, SECOND, credit), now - credit + SECOND);
	bucket_refund(&b, SECOND / 2);
	CU_ASSERT_EQUAL(bucket_reserve(&b, now, SECOND, credit), now - credit + SECOND * 3 / 2);
}

/* Users that have gone leave their place to others. */
static void
test_buckets_come_free(void)
{
	int fd;
	struct quotas *q = fresh(&fd);
	int64_t now = 1000 * SECOND;
	int lost = 0;

	for (uint32_t i = 0; i < 100000; i++, now += SECOND / 100) {
		uint64_t key = quota_key(q, QUOTA_RATE, "r", &i, sizeof i);
		_Atomic int64_t *b = quota_bucket(q, key, now);

		lost += b == NULL || !bucket_take(b, now, SECOND / 10, SECOND);
	}
	CU_ASSERT_EQUAL(lost, 0);
	quota_unmap(q);
	close(fd);
}

static void
test_not_ours(void)
{
	int fd = quota_create(1), other;
	uint64_t zero = 0;

	CU_ASSERT_EQUAL(pwrite(fd, &zero, sizeof zero, 0), (ssize_t)sizeof zero);
	CU_ASSERT_PTR_NULL(quota_map(fd));
	close(fd);
	other = open("/dev/null", O_RDWR);
	CU_ASSERT_PTR_NULL(quota_map(other));
	close(other);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"counts", test_counts},     {"keys", test_keys},
	    {"many", test_many},         {"parallel", test_parallel},
	    {"exactly", test_exactly},   {"bucket", test_bucket},
	    {"reserve", test_reserve},   {"buckets come free", test_buckets_come_free},
	    {"not ours", test_not_ours}, CU_TEST_INFO_NULL,
	};

	return suite_run("quota", tests);
}
