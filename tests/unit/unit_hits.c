/*
 * unit_hits.c - counters of rules in shared memory (daemon/books/hits.c): every rule its own, what
 * is no rule nowhere, the reader sees what the worker counts and can change nothing.
 */
#include "books/hits.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rules/rules.h"
#include "suite.h"

static void
test_counts(void)
{
	int fd = hits_create(3);
	struct hits *w = hits_map(fd, true), *r = hits_map(fd, false);
	struct hits_count c;

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	CU_ASSERT_EQUAL(hits_rules(r), 3);
	hits_match(w, 0, 100);
	hits_match(w, 2, 300);
	hits_match(w, 2, 400);
	hits_dry_run(w, 1, 500);
	hits_match(w, RULE_DEFAULT, 600);
	hits_match(w, RULE_SELF, 700);
	c = hits_read(r, 0);
	CU_ASSERT_TRUE(c.matches == 1 && c.dry_run == 0 && c.last_ns == 100);
	c = hits_read(r, 1);
	CU_ASSERT_TRUE(c.matches == 0 && c.dry_run == 1 && c.last_ns == 500);
	c = hits_read(r, 2);
	CU_ASSERT_TRUE(c.matches == 2 && c.dry_run == 0 && c.last_ns == 400);
	c = hits_read(r, RULE_DEFAULT);
	CU_ASSERT_TRUE(c.matches == 1 && c.last_ns == 600);
	c = hits_read(r, RULE_SELF);
	CU_ASSERT_TRUE(c.matches == 1 && c.last_ns == 700);
	hits_unmatch(w, 2);
	hits_unmatch(w, 1); /* never below none */
	CU_ASSERT_EQUAL(hits_read(r, 2).matches, 1);
	CU_ASSERT_EQUAL(hits_read(r, 1).matches, 0);
	hits_unmap(w);
	hits_unmap(r);
	close(fd);
}

static void
test_no_rule(void)
{
	static const int32_t none[] = {RULE_NONE, -4, INT32_MIN, 3, 4, INT32_MAX};
	int fd = hits_create(3);
	struct hits *h = hits_map(fd, true);

	CU_ASSERT_PTR_NOT_NULL_FATAL(h);
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		hits_match(h, none[i], 1);
		hits_dry_run(h, none[i], 1);
		hits_unmatch(h, none[i]);
		CU_ASSERT_EQUAL(hits_read(h, none[i]).matches, 0);
	}
	for (int32_t i = RULE_SELF; i < 3; i++)
		CU_ASSERT_TRUE(hits_read(h, i).matches == 0 && hits_read(h, i).last_ns == 0);
	hits_unmap(h);
	close(fd);
}

/* Of many rules only those that matched are seen, and only their pages are memory. */
static void
test_next(void)
{
	static const int32_t counted[] = {RULE_SELF, 0, 125, 126, 127, 40000, 99999};
	enum { COUNTED = sizeof counted / sizeof counted[0] };
	int fd = hits_create(100000);
	struct hits *w = hits_map(fd, true), *r = hits_map(fd, false);
	struct hits_count c;
	struct stat st;
	int32_t rule = RULE_SELF;
	size_t seen = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	CU_ASSERT_FALSE(hits_next(r, &rule, &c));
	for (size_t i = 0; i < COUNTED; i++)
		hits_match(w, counted[i], (int64_t)i + 1);
	for (rule = RULE_SELF; hits_next(r, &rule, &c); rule++, seen++) {
		CU_ASSERT_FATAL(seen < COUNTED);
		CU_ASSERT_EQUAL(rule, counted[seen]);
		CU_ASSERT_TRUE(c.matches == 1 && c.last_ns == (int64_t)seen + 1);
	}
	CU_ASSERT_EQUAL(seen, COUNTED);
	CU_ASSERT_EQUAL(fstat(fd, &st), 0);
	CU_ASSERT_TRUE(st.st_blocks * 512 <= 6 * 4096);
	for (rule = 126, seen = 3; hits_next(r, &rule, &c); rule++, seen++)
		CU_ASSERT_EQUAL(rule, counted[seen]);
	hits_unmap(w);
	hits_unmap(r);
	close(fd);
}

static void
test_not_ours(void)
{
	static const char head[16] = {1};
	int fd = hits_create(3), null = open("/dev/null", O_RDWR);

	CU_ASSERT_NOT_EQUAL(ftruncate(fd, 4096), 0);
	CU_ASSERT_PTR_NULL(hits_map(null, false));
	CU_ASSERT_EQUAL(pwrite(fd, head, sizeof head, 0), (ssize_t)sizeof head);
	CU_ASSERT_PTR_NULL(hits_map(fd, true));
	close(fd);
	fd = hits_create(3);
	CU_ASSERT_EQUAL(pwrite(fd, "\377\377\377\377", 4, 8), 4); /* more rules than bytes */
	CU_ASSERT_PTR_NULL(hits_map(fd, true));
	close(fd);
	close(null);
	CU_ASSERT_EQUAL(hits_create(UINT32_MAX), -1);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"counts", test_counts},     {"no rule", test_no_rule}, {"next", test_next},
	    {"not ours", test_not_ours}, CU_TEST_INFO_NULL,
	};

	return suite_run("hits", tests);
}
