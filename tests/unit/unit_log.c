/* Tests of base/log.c: the form of a line, escaping, levels, too many lines. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "suite.h"

static char got[65536];

/* What fn writes to stderr, in `got`. */
static void
capture(const char *role, enum log_level most, void (*fn)(void))
{
	int saved = dup(STDERR_FILENO), pipes[2];
	ssize_t n, len = 0;

	CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	close(pipes[1]);
	log_open(role, true, most);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	while ((n = read(pipes[0], got + len, sizeof got - 1 - (size_t)len)) > 0)
		len += n;
	got[len] = '\0';
	close(pipes[0]);
}

static unsigned
lines(void)
{
	unsigned n = 0;

	for (const char *p = got; (p = strchr(p, '\n')) != NULL; p++)
		n++;
	return n;
}

static void
say_bind(void)
{
	errno = EADDRINUSE;
	log_error("cannot bind listener '%s': %m", "inside");
	CU_ASSERT_EQUAL(errno, EADDRINUSE);
}

static void
test_form(void)
{
	capture("worker 0", LOGLEVEL_INFO, say_bind);
	CU_ASSERT_EQUAL(strlen("2026-11-24T09:14:07Z"), strcspn(got, " "));
	CU_ASSERT(got[4] == '-' && got[10] == 'T' && got[19] == 'Z');
	CU_ASSERT_STRING_EQUAL(
	    got + 20, " worker 0 error: cannot bind listener 'inside': Address already in use\n");
	capture("", LOGLEVEL_INFO, say_bind);
	CU_ASSERT_EQUAL(strncmp(got + 20, " error: ", 8), 0);
}

static void
say_journal(void)
{
	struct stat st;
	char stream[64];

	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open("parent", true, LOGLEVEL_DEBUG);
	log_error("one");
	log_warning("two");
	log_notice("three");
	log_role("ledger");
	log_info("four");
	log_debug("five");
	unsetenv("JOURNAL_STREAM");
}

static void
test_journal(void)
{
	capture("parent", LOGLEVEL_DEBUG, say_journal);
	CU_ASSERT_STRING_EQUAL(got, "<3>parent: one\n<4>parent: two\n<5>parent: three\n"
				    "<6>ledger: four\n<7>ledger: five\n");
}

static void
test_not_the_journal(void)
{
	setenv("JOURNAL_STREAM", "1:1", 1);
	capture("worker 0", LOGLEVEL_INFO, say_bind);
	unsetenv("JOURNAL_STREAM");
	CU_ASSERT_EQUAL(strncmp(got + 20, " worker 0 error: ", 17), 0);
}

static void
say_on_terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), saved = dup(STDERR_FILENO), slave;
	size_t len = 0;
	ssize_t n;

	CU_ASSERT_FATAL(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	CU_ASSERT_FATAL(slave >= 0);
	dup2(slave, STDERR_FILENO);
	log_open("parent", true, LOGLEVEL_INFO);
	log_error("gone");
	log_info("fine");
	dup2(saved, STDERR_FILENO);
	close(saved);
	for (got[len] = '\0'; strstr(got, "fine\r\n") == NULL; got[len] = '\0') {
		n = read(master, got + len, sizeof got - 1 - len); /* a line at a time, at times */
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	close(slave);
	close(master);
}

static void
test_terminal(void)
{
	say_on_terminal();
	CU_ASSERT_STRING_EQUAL(got,
			       "parent: \033[1;31merror\033[0m: gone\r\nparent: info: fine\r\n");
}

static void
say_levels(void)
{
	log_error("e");
	log_warning("w");
	log_notice("n");
	log_info("i");
	log_debug("d");
}

static void
test_levels(void)
{
	for (int most = LOGLEVEL_ERROR; most <= LOGLEVEL_DEBUG; most++) {
		capture("x", (enum log_level)most, say_levels);
		CU_ASSERT_EQUAL(log_most(), (enum log_level)most);
		CU_ASSERT_EQUAL(lines(), (unsigned)most + 1);
	}
	CU_ASSERT_PTR_NOT_NULL(strstr(got, "x warning: w\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(got, "x debug: d\n"));
}

static void
say_controls(void)
{
	log_error("a\nb\033[2J\x7f\xff\t%s", "\r");
}

static void
test_controls(void)
{
	capture("x", LOGLEVEL_INFO, say_controls);
	CU_ASSERT_STRING_EQUAL(got + 20, " x error: a\\x0ab\\x1b[2J\\x7f\\xff\\x09\\x0d\n");
}

static void
say_long(void)
{
	char lengthy[5000];

	memset(lengthy, '\n', sizeof lengthy - 1);
	lengthy[sizeof lengthy - 1] = '\0';
	log_error("%s", lengthy);
}

static void
test_long(void)
{
	size_t len;

	capture("x", LOGLEVEL_INFO, say_long);
	len = strlen(got);
	CU_ASSERT_EQUAL(lines(), 1);
	CU_ASSERT(len > 8000 && len < 10000);
	CU_ASSERT_STRING_EQUAL(got + len - 8, "\\x0a...\n");
}

static struct log_site site;

static void
say_often(void)
{
	for (int i = 0; i < 25; i++)
		log_write(&site, LOGLEVEL_ERROR, "line %d", i);
}

static void
test_too_many(void)
{
	memset(&site, 0, sizeof site);
	capture("x", LOGLEVEL_INFO, say_often);
	CU_ASSERT_EQUAL(lines(), 10);
	CU_ASSERT_EQUAL(site.suppressed, 15);
	CU_ASSERT_PTR_NOT_NULL(strstr(got, "line 9\n"));
	CU_ASSERT_PTR_NULL(strstr(got, "line 10\n"));
	/* five seconds later */
	site.window_ns -= 5 * NS_PER_S;
	capture("x", LOGLEVEL_INFO, say_often);
	CU_ASSERT_EQUAL(lines(), 10);
	CU_ASSERT_PTR_NOT_NULL(strstr(got, "line 0 (15 more like this were left out)\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(got, "line 1\n"));
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"form of a line", test_form},
	    {"journal", test_journal},
	    {"journal of another", test_not_the_journal},
	    {"terminal", test_terminal},
	    {"levels", test_levels},
	    {"control bytes", test_controls},
	    {"long line", test_long},
	    {"too many", test_too_many},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("log", tests);
}
