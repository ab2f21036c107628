/* Tests of books/bookmarks.c: places that are found again by what stands before them, and files
 * that are torn. */
#include "books/bookmarks.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "suite.h"
#include "wire/fields.h"

static int
file_of(const char *text, size_t len)
{
	int fd = memfd_create("test", 0);

	CU_ASSERT_FATAL(fd != -1 && pwrite(fd, text, len, 0) == (ssize_t)len);
	return fd;
}

static void
test_places(void)
{
	static const char text[] = "first\nsecond\nthird\n";
	int fd = file_of(text, sizeof text - 1), other = file_of("first\nSECOND\nthird\n", 19);
	struct bookmark b = bookmark_at("second", 6, 13, 2), moved = b;

	CU_ASSERT_EQUAL(b.seq, 2);
	CU_ASSERT(bookmark_in(&b, fd));
	CU_ASSERT_FALSE(bookmark_in(&b, other));
	for (uint64_t at = 0; at < 40; at++) {
		moved.at = at;
		CU_ASSERT_EQUAL(bookmark_in(&moved, fd), at == 13);
	}
	moved = bookmark_at("first", 5, 0, 0); /* before it */
	CU_ASSERT(bookmark_given(&moved) && bookmark_in(&moved, fd) && bookmark_in(&moved, other));
	moved = bookmark_at("second", 6, 0, 0);
	CU_ASSERT_FALSE(bookmark_in(&moved, fd));
	memset(&moved, 0, sizeof moved);
	CU_ASSERT(!bookmark_given(&moved) && !bookmark_in(&moved, fd));
	moved = b;
	moved.at = UINT64_MAX;
	CU_ASSERT_FALSE(bookmark_in(&moved, fd));
	b = bookmark_at("first", 5, 6, 1);
	CU_ASSERT(bookmark_in(&b, fd) && bookmark_in(&b, other));
	close(fd);
	close(other);
}

static void
test_long_lines(void)
{
	static char text[4 * FIELDS_LINE];
	struct bookmark b;
	int fd;

	for (size_t len = FIELDS_LINE - 2; len < 3 * FIELDS_LINE; len += FIELDS_LINE / 2) {
		bool known = len + 2 <= 2 * FIELDS_LINE;

		memset(text, 'x', sizeof text);
		text[9] = '\n';
		text[10 + len] = '\n';
		fd = file_of(text, 11 + len);
		b = bookmark_at(text + 10, len, 11 + len, 1);
		CU_ASSERT_EQUAL(bookmark_in(&b, fd), known);
		close(fd);
	}
}

static void
test_names(void)
{
	static struct bookmarks b;
	char name[BOOKMARK_NAME + 1];

	memset(&b, 0, sizeof b);
	CU_ASSERT_PTR_NULL(bookmarks_find(&b, ""));
	CU_ASSERT_PTR_NULL(bookmarks_find(&b, "a"));
	for (int i = 0; i < BOOKMARKS; i++) {
		snprintf(name, sizeof name, "n%d", i);
		CU_ASSERT_PTR_NOT_NULL_FATAL(bookmarks_of(&b, name));
		bookmarks_of(&b, name)->seq = (uint64_t)i + 1;
	}
	CU_ASSERT_PTR_NULL(bookmarks_of(&b, "more"));
	CU_ASSERT_EQUAL(bookmarks_find(&b, "n3")->seq, 4);
	bookmarks_drop(&b, "n3");
	CU_ASSERT_PTR_NULL(bookmarks_find(&b, "n3"));
	memset(name, 'x', sizeof name);
	name[BOOKMARK_NAME] = '\0';
	CU_ASSERT_PTR_NULL(bookmarks_of(&b, name));
	name[BOOKMARK_NAME - 1] = '\0';
	CU_ASSERT_PTR_NOT_NULL_FATAL(bookmarks_of(&b, name));
	CU_ASSERT_EQUAL(bookmarks_of(&b, name)->seq, 0);
}

/* Whatever becomes of the file that is being written, the one before holds. */
static void
test_files(void)
{
	static struct bookmarks b, read;
	int fds[2] = {memfd_create("0", 0), memfd_create("1", 0)};
	char bytes[4096];
	ssize_t len;

	memset(&b, 0, sizeof b);
	CU_ASSERT(bookmarks_read(&read, fds)); /* empty: nothing, which is no fault */
	CU_ASSERT_EQUAL(read.sequence, 0);
	for (uint64_t i = 1; i <= 5; i++) {
		bookmarks_of(&b, "siem")->at = 100 * i;
		CU_ASSERT(bookmarks_write(&b, fds, true));
		CU_ASSERT(bookmarks_read(&read, fds));
		CU_ASSERT_EQUAL(read.sequence, i);
		CU_ASSERT_EQUAL(bookmarks_find(&read, "siem")->at, 100 * i);
	}
	len = pread(fds[1], bytes, sizeof bytes, 0); /* the fifth */
	for (ssize_t i = 0; i < len; i++) {
		bytes[i] ^= 1;
		CU_ASSERT_FATAL(pwrite(fds[1], bytes, (size_t)len, 0) == len);
		CU_ASSERT(bookmarks_read(&read, fds));
		CU_ASSERT_EQUAL(read.sequence, 4);
		CU_ASSERT_EQUAL(bookmarks_find(&read, "siem")->at, 400);
		bytes[i] ^= 1;
	}
	for (off_t cut = 0; cut < len; cut += 7) {
		CU_ASSERT_FATAL(pwrite(fds[1], bytes, (size_t)len, 0) == len);
		CU_ASSERT_FATAL(ftruncate(fds[1], cut) == 0);
		CU_ASSERT(bookmarks_read(&read, fds));
		CU_ASSERT_EQUAL(read.sequence, 4);
	}
	CU_ASSERT_FATAL(ftruncate(fds[0], 10) == 0); /* and now neither */
	CU_ASSERT_FATAL(ftruncate(fds[1], 10) == 0);
	CU_ASSERT_FALSE(bookmarks_read(&read, fds));
	CU_ASSERT_PTR_NULL(bookmarks_find(&read, "siem"));
	close(fds[0]);
	close(fds[1]);
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"places", test_places},
				      {"long lines", test_long_lines},
				      {"names", test_names},
				      {"files", test_files},
				      CU_TEST_INFO_NULL};

	return suite_run("bookmarks", tests);
}
