/*
 * unit_hits_book.c - adding up the counts of rules by name (daemon/books/hits_book.c): over workers
 * and policies that order, rename and remove rules; over the keeper's death at every moment; over a
 * restart; and a file that is not whole is never believed.
 */
#include "books/hits_book.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rules/rules.h"
#include "suite.h"

#define NOW INT64_C(1700000000000000000)

static int files[2];

static void
fresh_files(void)
{
	for (int i = 0; i < 2; i++)
		files[i] = memfd_create("book", MFD_CLOEXEC);
}

static void
close_files(void)
{
	close(files[0]);
	close(files[1]);
}

static struct hits_book *
opened(uint64_t run, int64_t now, enum hits_found expect)
{
	enum hits_found found = HITS_BAD;
	struct hits_book *b = hits_book_open(files, run, now, &found);

	CU_ASSERT_PTR_NOT_NULL_FATAL(b);
	CU_ASSERT_EQUAL(found, expect);
	return b;
}

/* names: of the rules, NULL-terminated */
static const char *
name_of(void *with, int32_t rule)
{
	const char *const *names = with;

	if (rule < 0)
		return rule == RULE_SELF ? "builtin:self" : "policy-default";
	return names[rule];
}

static const char *const one[] = {"a", "b", "c", NULL};
static const char *const two[] = {"c", "new", "a", NULL}; /* in another order, b has gone */

struct page {
	int fd;
	struct hits *hits;
};

static struct page
page_new(void)
{
	struct page p = {.fd = hits_create(3)};

	p.hits = hits_map(p.fd, true);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p.hits);
	return p;
}

static void
page_close(struct page *p)
{
	hits_unmap(p->hits);
	close(p->fd);
}

static bool
give(struct hits_book *b, uint64_t id, uint32_t policy, const struct page *p,
     const char *const *names)
{
	return hits_book_page(b, id, policy, p->fd, name_of, (void *)(uintptr_t)names,
			      NOW + policy);
}

static uint64_t
matches(const struct hits_book *b, const char *name)
{
	struct hits_total t;

	return hits_book_total(b, name, &t) ? t.count.matches : UINT64_MAX;
}

static void
test_workers_and_policies(void)
{
	struct hits_book *b;
	struct page p[4];
	struct hits_total t;

	fresh_files();
	b = opened(1, NOW, HITS_NEW);
	for (int i = 0; i < 4; i++)
		p[i] = page_new();
	CU_ASSERT_TRUE(give(b, 1, 1, &p[0], one));
	CU_ASSERT_TRUE(give(b, 2, 1, &p[1], one));
	hits_match(p[0].hits, 0, 10);
	hits_match(p[1].hits, 0, 20);
	hits_match(p[1].hits, 1, 30);
	hits_match(p[1].hits, RULE_DEFAULT, 40);
	hits_book_look(b);
	CU_ASSERT_EQUAL(matches(b, "a"), 2);
	CU_ASSERT_EQUAL(matches(b, "b"), 1);
	CU_ASSERT_EQUAL(matches(b, "c"), 0);
	CU_ASSERT_EQUAL(matches(b, "policy-default"), 1);
	CU_ASSERT_EQUAL(matches(b, "new"), UINT64_MAX);
	/* a reload, while the old policy is still counted under */
	CU_ASSERT_TRUE(give(b, 3, 2, &p[2], two));
	CU_ASSERT_TRUE(give(b, 4, 2, &p[3], two));
	hits_match(p[2].hits, 2, 50);   /* a */
	hits_match(p[3].hits, 1, 60);   /* new */
	hits_dry_run(p[3].hits, 0, 70); /* c */
	hits_match(p[0].hits, 2, 80);   /* c, by the old */
	hits_book_over(b, 1);
	hits_book_over(b, 2);
	hits_book_look(b);
	CU_ASSERT_EQUAL(matches(b, "a"), 3);
	CU_ASSERT_EQUAL(matches(b, "b"), 1);
	CU_ASSERT_EQUAL(matches(b, "new"), 1);
	CU_ASSERT_TRUE(hits_book_total(b, "c", &t));
	CU_ASSERT_TRUE(t.count.matches == 1 && t.count.dry_run == 1 && t.count.last_ns == 80);
	CU_ASSERT_EQUAL(t.since_ns, NOW);
	CU_ASSERT_TRUE(hits_book_total(b, "new", &t) && t.since_ns == NOW + 2);
	hits_book_free(b);
	for (int i = 0; i < 4; i++)
		page_close(&p[i]);
	close_files();
}

/* Whatever the keeper has done when he is killed, his successor says the same. */
static void
test_keeper_dies(void)
{
	for (int moment = 0; moment < 5; moment++) {
		struct page p = page_new(), q = page_new();
		struct hits_book *b;

		fresh_files();
		b = opened(7, NOW, HITS_NEW);
		give(b, 1, 1, &p, one);
		hits_match(p.hits, 0, 10);
		if (moment >= 1)
			CU_ASSERT_TRUE(hits_book_save(b, true, NOW));
		hits_match(p.hits, 0, 20); /* behind a save that knew of the first */
		if (moment >= 2)
			give(b, 2, 2, &q, two);
		hits_match(q.hits, 2, 30); /* a */
		if (moment >= 3)
			hits_book_over(b, 1);
		if (moment >= 4)
			CU_ASSERT_TRUE(hits_book_save(b, true, NOW));
		hits_book_free(b); /* nothing is written by that */

		b = opened(7, NOW + 5, moment == 0 || moment > 4 ? HITS_NEW : HITS_OLD);
		CU_ASSERT_EQUAL(give(b, 1, 1, &p, one), moment < 4);
		CU_ASSERT_TRUE(give(b, 2, 2, &q, two));
		hits_book_over(b, 1);
		hits_book_look(b);
		CU_ASSERT_EQUAL(matches(b, "a"), 3);
		hits_book_free(b);
		page_close(&p);
		page_close(&q);
		close_files();
	}
}

static void
test_restart(void)
{
	struct page p = page_new(), q = page_new();
	struct hits_book *b;
	struct hits_total t;

	fresh_files();
	b = opened(1, NOW, HITS_NEW);
	give(b, 1, 1, &p, one);
	hits_match(p.hits, 1, 10);
	hits_dry_run(p.hits, 2, 15);
	CU_ASSERT_TRUE(hits_book_save(b, true, NOW));
	hits_book_free(b);
	/* another run: ids begin anew, and so does the memory */
	b = opened(2, NOW + 1000, HITS_OLD);
	CU_ASSERT_EQUAL(hits_book_since(b), NOW);
	CU_ASSERT_TRUE(give(b, 1, 1, &q, two));
	hits_match(q.hits, 0, 20);
	hits_book_over(b, 1);
	hits_book_look(b);
	CU_ASSERT_EQUAL(matches(b, "b"), 1); /* gone, and not forgotten */
	CU_ASSERT_TRUE(hits_book_total(b, "c", &t));
	CU_ASSERT_TRUE(t.count.matches == 1 && t.count.dry_run == 1 && t.count.last_ns == 20 &&
		       t.since_ns == NOW);
	CU_ASSERT_TRUE(hits_book_total(b, "new", &t) && t.since_ns == NOW + 1);
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW + 2000));
	hits_book_free(b);
	b = opened(3, NOW + 3000, HITS_OLD);
	hits_book_look(b);
	CU_ASSERT_EQUAL(matches(b, "c"), 1);
	hits_book_free(b);
	page_close(&p);
	page_close(&q);
	close_files();
}

static size_t
size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
}

/* Two saves; then one of the files is spoilt at every byte: the other is believed. Both: a new
 * window. */
static void
test_spoilt(void)
{
	struct page p = page_new();
	struct hits_book *b;
	int older, newer;
	size_t len;

	fresh_files();
	b = opened(1, NOW, HITS_NEW);
	give(b, 1, 1, &p, one);
	hits_match(p.hits, 0, 10);
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW));
	newer = size_of(files[0]) > 0 ? 1 : 0;
	older = !newer;
	hits_match(p.hits, 0, 20);
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW));
	CU_ASSERT_TRUE(size_of(files[0]) > 0 && size_of(files[1]) > 0);
	hits_book_free(b);
	len = size_of(files[newer]);
	for (size_t i = 0; i < len; i++) {
		uint8_t was, now;

		CU_ASSERT_EQUAL_FATAL(pread(files[newer], &was, 1, (off_t)i), 1);
		now = was ^ 0x41;
		CU_ASSERT_EQUAL_FATAL(pwrite(files[newer], &now, 1, (off_t)i), 1);
		b = opened(2, NOW, HITS_OLD);
		hits_book_look(b);
		CU_ASSERT_EQUAL(matches(b, "a"), 1);
		hits_book_free(b);
		CU_ASSERT_EQUAL_FATAL(pwrite(files[newer], &was, 1, (off_t)i), 1);
	}
	b = opened(2, NOW, HITS_OLD);
	hits_book_look(b);
	CU_ASSERT_EQUAL(matches(b, "a"), 2);
	hits_book_free(b);
	/* written half, or with something behind it */
	CU_ASSERT_EQUAL(ftruncate(files[newer], (off_t)len + 1), 0);
	b = opened(2, NOW, HITS_OLD);
	hits_book_free(b);
	for (size_t i = 0; i < len; i += 7) {
		CU_ASSERT_EQUAL(ftruncate(files[newer], (off_t)(len - i)), 0);
		b = opened(2, NOW, HITS_OLD);
		hits_book_free(b);
	}
	CU_ASSERT_EQUAL(ftruncate(files[older], 5), 0);
	b = opened(2, NOW + 9, HITS_BAD);
	CU_ASSERT_EQUAL(hits_book_since(b), NOW + 9);
	hits_book_look(b);
	CU_ASSERT_EQUAL(matches(b, "a"), UINT64_MAX);
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW + 10)); /* and from here on it is whole again */
	hits_book_free(b);
	b = opened(2, NOW + 11, HITS_OLD);
	CU_ASSERT_EQUAL(hits_book_since(b), NOW + 9);
	hits_book_free(b);
	page_close(&p);
	close_files();
}

/* Only what has changed is written. */
static void
test_writes(void)
{
	struct page p = page_new();
	struct hits_book *b;
	struct stat before, after;

	fresh_files();
	b = opened(1, NOW, HITS_NEW);
	give(b, 1, 1, &p, one);
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW));
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW + 1));
	CU_ASSERT_TRUE(size_of(files[0]) == 0 || size_of(files[1]) == 0);
	hits_match(p.hits, 0, 10);
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW + 2));
	CU_ASSERT_TRUE(size_of(files[0]) > 0 && size_of(files[1]) > 0);
	CU_ASSERT_TRUE(fstat(files[0], &before) == 0 && hits_book_save(b, false, NOW + 3) &&
		       fstat(files[0], &after) == 0);
	hits_book_free(b);
	/* a file that takes nothing: said, and what was kept is whole */
	close(files[1]);
	files[1] = open("/dev/full", O_RDWR);
	b = opened(1, NOW, HITS_OLD);
	give(b, 1, 1, &p, one);
	for (int i = 0; i < 3; i++) {
		hits_match(p.hits, 1, 10);
		hits_book_save(b, false, NOW + 4);
	}
	CU_ASSERT_FALSE(hits_book_save(b, false, NOW + 5));
	hits_book_free(b);
	b = opened(1, NOW, HITS_OLD);
	hits_book_free(b);
	page_close(&p);
	close_files();
}

/* A policy that gives a number again, or is not of the page, is not counted under wrong names. */
static void
test_nonsense(void)
{
	struct page p = page_new(), small = {.fd = hits_create(2)};
	int null = open("/dev/null", O_RDONLY);
	struct hits_book *b;

	fresh_files();
	b = opened(1, NOW, HITS_NEW);
	CU_ASSERT_TRUE(give(b, 1, 1, &p, one));
	CU_ASSERT_TRUE(give(b, 2, 1, &small, one));
	CU_ASSERT_TRUE(hits_book_page(b, 3, 1, null, name_of, (void *)(uintptr_t)one, NOW));
	hits_match(p.hits, 0, 10);
	hits_book_over(b, 2);
	hits_book_over(b, 3);
	hits_book_over(b, 99);
	hits_book_look(b);
	CU_ASSERT_EQUAL(matches(b, "a"), 1);
	hits_book_free(b);
	page_close(&p);
	close(small.fd);
	close(null);
	close_files();
}

/* Many rules, many reloads: names are found, old editions go. */
static const char *
numbered(void *with, int32_t rule)
{
	static char name[HITS_NAME];

	snprintf(name, sizeof name, "r%d-%d", *(int *)with, rule);
	return name;
}

static void
test_many(void)
{
	enum { RULES = 3000, RELOADS = 700 };
	struct hits_book *b;
	int policy, wrong = 0, generation = 0;

	fresh_files();
	b = opened(1, NOW, HITS_NEW);
	for (policy = 1; policy <= RELOADS; policy++) {
		int fd = hits_create(RULES);
		struct hits *h = hits_map(fd, true);

		generation = policy % 3;
		hits_book_page(b, (uint64_t)policy, (uint32_t)policy, fd, numbered, &generation,
			       NOW);
		hits_match(h, policy % RULES, 1);
		hits_book_over(b, (uint64_t)policy);
		hits_unmap(h);
		close(fd);
	}
	hits_book_look(b);
	for (policy = 1; policy <= RELOADS; policy++) {
		char name[HITS_NAME];

		snprintf(name, sizeof name, "r%d-%d", policy % 3, policy % RULES);
		wrong += matches(b, name) != 1;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_TRUE(hits_book_save(b, false, NOW));
	hits_book_free(b);
	close_files();
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"workers and policies", test_workers_and_policies},
	    {"keeper dies", test_keeper_dies},
	    {"restart", test_restart},
	    {"spoilt", test_spoilt},
	    {"writes", test_writes},
	    {"nonsense", test_nonsense},
	    {"many", test_many},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("hits_book", tests);
}
