/*
 * Unit tests of books/desk.c: whatever a ledger was doing when it was killed, its successor leaves
 * each line in the file once, whole, in order.
 */
#include "books/desk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

static char folder[] = "/tmp/unit_desk.XXXXXX";

static const char *
in_folder(const char *name)
{
	static char path[2][64];
	static int which;

	which = !which;
	snprintf(path[which], sizeof path[which], "%s/%s", folder, name);
	return path[which];
}

static int
open_file(const char *name)
{
	return open(in_folder(name), O_CREAT | O_APPEND | O_RDWR | O_CLOEXEC, 0600);
}

static void
lay(struct desk *d, const char *text)
{
	struct desk_effect e = {.seq = desk_facts(d)->seq + 1, .worker = DESK_NOBODY};
	char *to = desk_room(d, 4096);

	CU_ASSERT_PTR_NOT_NULL_FATAL(to);
	desk_lay(d, (size_t)sprintf(to, "%s\n", text), &e);
}

static bool
file_is(const char *name, const char *text)
{
	char buf[8192];
	int fd = open(in_folder(name), O_RDONLY);
	ssize_t n = read(fd, buf, sizeof buf - 1);

	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	unlink(in_folder(name));
	if (strcmp(buf, text) == 0)
		return true;
	fprintf(stderr, "'%s' instead of '%s'\n", buf, text);
	return false;
}

static void
test_plain(void)
{
	int fd = desk_create();
	struct desk *d = desk_map(fd);

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	CU_ASSERT_EQUAL(desk_file(d), -1);
	desk_open(d, open_file("a"));
	lay(d, "one");
	lay(d, "two");
	CU_ASSERT_FALSE(desk_empty(d));
	CU_ASSERT_FALSE(desk_written(d));
	CU_ASSERT_EQUAL(desk_write(d), 0);
	CU_ASSERT_TRUE(desk_written(d));
	desk_clear(d);
	CU_ASSERT_TRUE(desk_empty(d));
	CU_ASSERT_EQUAL(desk_facts(d)->seq, 2);
	desk_unmap(d);
	close(fd);
	CU_ASSERT_TRUE(file_is("a", "one\ntwo\n"));
}

/* Written or not, begun or not: a second one finishes, and knows what the last line brought about.
 */
static void
test_successor(void)
{
	for (int written = 0; written < 2; written++) {
		int fd = desk_create();
		struct desk *d = desk_map(fd);

		CU_ASSERT_PTR_NOT_NULL_FATAL(d);
		desk_open(d, open_file("a"));
		CU_ASSERT_PTR_NULL(desk_effect(d));
		lay(d, "one");
		if (written)
			CU_ASSERT_EQUAL(desk_write(d), 0);
		lay(d, "two");
		desk_unmap(d);

		d = desk_map(fd);
		CU_ASSERT_PTR_NOT_NULL_FATAL(d);
		CU_ASSERT_PTR_NOT_NULL_FATAL(desk_effect(d));
		CU_ASSERT_EQUAL(desk_effect(d)->seq, 2);
		CU_ASSERT_EQUAL(desk_facts(d)->seq, 2);
		desk_open(d, open_file("a"));
		lay(d, "three");
		CU_ASSERT_EQUAL(desk_write(d), 0);
		desk_clear(d);
		CU_ASSERT_PTR_NULL(desk_effect(d));
		desk_unmap(d);
		close(fd);
		CU_ASSERT_TRUE(file_is("a", "one\ntwo\nthree\n"));
	}
}

/* The file takes half a line (a limit of its size); what follows depends on who goes on, and where.
 */
static struct desk *
half_a_line(int fd)
{
	struct rlimit before, small = {.rlim_cur = 6};
	struct desk *d = desk_map(fd);

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	desk_open(d, open_file("a"));
	lay(d, "one");
	lay(d, "two");
	lay(d, "three");
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	CU_ASSERT_EQUAL(desk_write(d), EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	CU_ASSERT_FALSE(desk_written(d));
	return d;
}

static void
test_half_a_line(void)
{
	for (int successor = 0; successor < 2; successor++) {
		int fd = desk_create();
		struct desk *d = half_a_line(fd);

		if (successor) {
			desk_unmap(d);
			d = desk_map(fd);
			CU_ASSERT_PTR_NOT_NULL_FATAL(d);
			desk_open(d, open_file("a"));
		}
		CU_ASSERT_EQUAL(desk_write(d), 0);
		desk_unmap(d);
		close(fd);
		CU_ASSERT_TRUE(file_is("a", "one\ntwo\nthree\n"));
	}
}

static void
test_half_a_line_and_another_file(void)
{
	for (int successor = 0; successor < 2; successor++) {
		int fd = desk_create();
		struct desk *d = half_a_line(fd);

		if (successor) {
			desk_unmap(d);
			d = desk_map(fd);
			CU_ASSERT_PTR_NOT_NULL_FATAL(d);
		}
		desk_open(d, open_file("b"));
		CU_ASSERT_EQUAL(desk_write(d), 0);
		desk_unmap(d);
		close(fd);
		CU_ASSERT_TRUE(file_is("a", "one\ntw"));
		CU_ASSERT_TRUE(file_is("b", "two\nthree\n"));
	}
}

static void
test_drop(void)
{
	int fd = desk_create();
	struct desk *d = half_a_line(fd);

	CU_ASSERT_EQUAL(desk_drop(d), 1);
	CU_ASSERT_EQUAL(desk_facts(d)->dropped, 1);
	CU_ASSERT_EQUAL(desk_facts(d)->seq, 2);
	lay(d, "four");
	CU_ASSERT_EQUAL(desk_facts(d)->seq, 3);
	CU_ASSERT_EQUAL(desk_write(d), 0);
	desk_unmap(d);
	close(fd);
	CU_ASSERT_TRUE(file_is("a", "one\ntwo\nfour\n"));
}

static void
test_numbers_go_on(void)
{
	int fd = desk_create(), file = open_file("a");
	struct desk *d = desk_map(fd);
	const char last[] =
	    "{\"x\":\"\\\"audit\\\":{\\\"seq\\\":9}\",\"audit\":{\"seq\":41}}\n{\"half";

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	CU_ASSERT_EQUAL(write(file, last, sizeof last - 1), (ssize_t)sizeof last - 1);
	desk_open(d, file);
	CU_ASSERT_EQUAL(desk_facts(d)->seq, 41);
	lay(d, "next");
	CU_ASSERT_EQUAL(desk_write(d), 0);
	desk_unmap(d);
	close(fd);
	CU_ASSERT_TRUE(file_is("a",
			       "{\"x\":\"\\\"audit\\\":{\\\"seq\\\":9}\",\"audit\":{\"seq\":41}}\n"
			       "{\"half\nnext\n"));
}

static void
test_no_desk(void)
{
	int fd = memfd_create("small", MFD_CLOEXEC);

	CU_ASSERT_PTR_NULL(desk_map(fd));
	CU_ASSERT_PTR_NULL(desk_map(-1));
	close(fd);
}

static void
test_full(void)
{
	int fd = desk_create();
	struct desk *d = desk_map(fd);
	unsigned lines = 0;

	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	desk_open(d, open_file("a"));
	for (char *to; (to = desk_room(d, 1000)) != NULL; lines++) {
		struct desk_effect e = {.seq = lines + 1, .worker = DESK_NOBODY};

		memset(to, 'x', 999);
		to[999] = '\n';
		desk_lay(d, 1000, &e);
	}
	CU_ASSERT_EQUAL(lines, DESK_LINES / 1000);
	CU_ASSERT_EQUAL(desk_write(d), 0);
	desk_clear(d);
	CU_ASSERT_PTR_NOT_NULL(desk_room(d, DESK_LINES));
	desk_unmap(d);
	close(fd);
	unlink(in_folder("a"));
}

/* ---- killed at any moment ------------------------------------------------------------------- */

#define DEATHS 100

static void
write_for_ever(int fd, int file)
{
	struct desk *d = desk_map(fd);

	if (d == NULL)
		_exit(1);
	desk_open(d, dup(file));
	for (unsigned n = 0;; n++) {
		uint64_t seq = desk_facts(d)->seq + 1;
		struct desk_effect e = {.seq = seq, .worker = DESK_NOBODY};
		char *to = desk_room(d, 512);

		if (to != NULL)
			desk_lay(d,
				 (size_t)sprintf(to, "%0*llu\n", (int)(seq % 300) + 8,
						 (unsigned long long)seq),
				 &e);
		if (to != NULL && n % 64 != 0)
			continue;
		if (desk_write(d) != 0)
			_exit(1);
		desk_clear(d);
	}
}

static void
test_killed_at_any_moment(void)
{
	int fd = desk_create(), file = open_file("a");
	unsigned long long expected = 1;
	struct desk *d;
	char line[1024];
	FILE *f;

	for (int i = 0; i < DEATHS; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0)
			write_for_ever(fd, file);
		usleep((useconds_t)(random() % 700));
		kill(pid, SIGKILL);
		CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
		CU_ASSERT_TRUE(WIFSIGNALED(status));
	}
	d = desk_map(fd);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	desk_open(d, file);
	CU_ASSERT_EQUAL(desk_write(d), 0);
	f = fopen(in_folder("a"), "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	for (; fgets(line, sizeof line, f) != NULL; expected++) {
		size_t len = strlen(line);

		if (strtoull(line, NULL, 10) == expected && len == expected % 300 + 9)
			continue;
		fprintf(stderr, "%llu expected, there is %s", expected, line);
		CU_FAIL("a line is missing, double or torn");
		break;
	}
	CU_ASSERT_EQUAL(expected, desk_facts(d)->seq + 1);
	CU_ASSERT_TRUE(expected > 1000);
	fclose(f);
	desk_unmap(d);
	close(fd);
	unlink(in_folder("a"));
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"plain", test_plain},
	    {"a successor goes on", test_successor},
	    {"half a line", test_half_a_line},
	    {"half a line, another file", test_half_a_line_and_another_file},
	    {"drop", test_drop},
	    {"numbers go on", test_numbers_go_on},
	    {"not a desk", test_no_desk},
	    {"full", test_full},
	    {"killed at any moment", test_killed_at_any_moment},
	    CU_TEST_INFO_NULL};
	int status;

	if (mkdtemp(folder) == NULL) {
		perror(folder);
		return 2;
	}
	status = suite_run("desk", tests);
	rmdir(folder);
	return status;
}
