/* Tests of books/lags.c: what is written is seen, whole, also beside a writer and after one that
 * died. */
#include "books/lags.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"

static void
test_both_sides(void)
{
	int fd = lags_create(), i;
	struct lags *w = lags_map(fd, true), *r = lags_map(fd, false);
	struct lag lag = {.name = "siem", .state = LAG_DOWN, .records = 7, .sent = 9}, seen;
	struct bookmark b = {.at = 5, .seq = 3}, found;

	CU_ASSERT_FATAL(w != NULL && r != NULL);
	CU_ASSERT_EQUAL(i = lags_place(w, "siem"), 0);
	lags_put(w, i, &lag);
	lags_get(r, lags_place(r, "siem"), &seen);
	CU_ASSERT(memcmp(&seen, &lag, sizeof lag) == 0);
	lags_mark(w, i, &b);
	b.at = 6;
	lags_mark(w, i, &b);
	found = lags_marked(r, i);
	CU_ASSERT(found.at == 6 && found.seq == 3);
	for (int n = 1; n < BOOKMARKS; n++) {
		snprintf(lag.name, sizeof lag.name, "n%d", n);
		lags_put(w, lags_place(w, lag.name), &lag);
	}
	CU_ASSERT_EQUAL(lags_place(r, "another"), -1);
	lags_drop(w, i);
	CU_ASSERT_EQUAL(lags_place(r, "another"), 0);
	CU_ASSERT_EQUAL(lags_marked(r, 0).at, 0);
	lags_unmap(w);
	lags_unmap(r);
	close(fd);
}

static void
test_no_page(void)
{
	int fd = memfd_create("x", MFD_ALLOW_SEALING);

	CU_ASSERT_PTR_NULL(lags_map(fd, false));
	CU_ASSERT_FATAL(ftruncate(fd, 1 << 20) == 0);
	CU_ASSERT_PTR_NULL(lags_map(fd, false));
	CU_ASSERT_PTR_NULL(lags_map(-1, false));
	close(fd);
	fd = lags_create();
	CU_ASSERT_EQUAL(ftruncate(fd, 0),
			-1); /* a broken writer cannot take it away under a reader */
	close(fd);
}

/* Every number of a moment is the same: a half of another would show. */
static void
write_for_ever(struct lags *w, uint64_t from)
{
	struct lag lag = {.name = "a"};
	struct bookmark b = {0};

	for (uint64_t n = from;; n++) {
		lag.records = lag.bytes = lag.sent = lag.dropped = b.at = b.seq = n;
		lag.oldest_ns = (int64_t)n;
		lags_put(w, 0, &lag);
		lags_mark(w, 0, &b);
	}
}

/* Until it has written something, half a minute at most. */
static void
wait_for_writer(const struct lags *r, uint64_t from)
{
	static const struct timespec pause = {0, 1000000};
	struct lag seen;

	for (int i = 0; i < 30000; i++) {
		lags_get(r, 0, &seen);
		if (seen.records > from)
			return;
		nanosleep(&pause, NULL);
	}
	CU_FAIL("nobody writes");
}

/* Killed somewhere in the middle, twenty times. */
static void
test_deaths(void)
{
	int fd = lags_create();
	struct lags *r = lags_map(fd, false);
	struct bookmark b;
	struct lag seen;

	for (uint64_t i = 0; i < 20; i++) {
		uint64_t from = i * 1000000000 + 1;
		pid_t pid = fork();

		if (pid == 0)
			write_for_ever(lags_map(fd, true), from);
		wait_for_writer(r, from);
		for (unsigned looks = 0; looks < 2000; looks++) {
			lags_get(r, 0, &seen);
			CU_ASSERT(seen.records == seen.bytes && seen.bytes == seen.sent &&
				  seen.sent == seen.dropped &&
				  seen.oldest_ns == (int64_t)seen.sent);
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		lags_get(r, 0, &seen);
		CU_ASSERT(seen.records == seen.bytes && seen.bytes == seen.dropped);
		b = lags_marked(r, 0);
		CU_ASSERT(b.at == b.seq && b.at + 1 >= from);
	}
	lags_unmap(r);
	close(fd);
}

static void
test_words(void)
{
	for (uint32_t i = 0; i < LAG_STATES; i++)
		CU_ASSERT(strlen(lag_word(i)) > 1);
	CU_ASSERT_STRING_EQUAL(lag_word(LAG_STATES), "?");
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"both sides", test_both_sides},
				      {"what is no page", test_no_page},
				      {"deaths", test_deaths},
				      {"words", test_words},
				      CU_TEST_INFO_NULL};

	return suite_run("lags", tests);
}
