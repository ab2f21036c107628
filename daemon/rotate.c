/*
 * daemon/rotate.c - see daemon/rotate.h. The parent, which has the right to the folder; does not
 * block, and is the home of execve.
 */
#include "config.h"

#include "rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "privileges.h"

#define NAMES_TRIED 99
#define HOOK_SECONDS 3600

/* ---- the name ----------------------------------------------------------------------------- */

/* And something stands in it. */
static bool
is_at(int fd, const char *path)
{
	struct stat open_one, named;

	return fstat(fd, &open_one) == 0 && S_ISREG(open_one.st_mode) && open_one.st_size > 0 &&
	       lstat(path, &named) == 0 && named.st_dev == open_one.st_dev &&
	       named.st_ino == open_one.st_ino;
}

/* Some file systems cannot rename without overwriting: a second name, then without the first. */
static bool
rename_anew(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return true;
	if (errno != EINVAL && errno != ENOSYS)
		return false;
	return link(from, to) == 0 && unlink(from) == 0;
}

/*
 * The time in the name: one that was used is not used again, also when the hook has moved that file
 * away. All names have the same form, so they sort in order with any suffix behind them.
 */
static int64_t
moment_anew(void)
{
	static int64_t last;
	struct timespec now;
	int64_t ms;

	clock_gettime(CLOCK_REALTIME, &now);
	ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	/* further back the clock was set, and the time is what the admin says it is */
	if (ms <= last && last - ms < 1000)
		ms = last + 1;
	return last = ms;
}

static bool
name_at(char name[ROTATE_NAME], const char *path, int64_t ms)
{
	time_t seconds = ms / 1000;
	char stamp[32];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL ||
	    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%S", &tm) == 0)
		return false;
	snprintf(name, ROTATE_NAME, "%s.%s.%03dZ", path, stamp, (int)(ms % 1000));
	return true;
}

bool
rotate_away(const char *path, int fd, char name[ROTATE_NAME])
{
	name[0] = '\0';
	if (path[0] != '/' || !is_at(fd, path))
		return true;
	errno = EEXIST;
	for (int i = 0; i < NAMES_TRIED && name_at(name, path, moment_anew()); i++) {
		if (rename_anew(path, name))
			return true;
		if (errno != EEXIST)
			break;
	}
	name[0] = '\0';
	return false;
}

/* ---- the hook ----------------------------------------------------------------------------- */

static struct {
	struct rotate_errand *waiting[ROTATE_HOOKS];
	unsigned count; /* the first one runs if pid is not 0 */
	pid_t pid;
} hooks;

/* It runs with our rights: nobody else may be able to put something in its place. */
static bool
is_ours(const char *program)
{
	struct stat st;

	if (stat(program, &st) == -1) {
		log_error("cannot run audit.rotate-hook '%s': %s", program, strerror(errno));
		return false;
	}
	if (S_ISREG(st.st_mode) && (st.st_uid == 0 || st.st_uid == geteuid()) &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return true;
	log_error("audit.rotate-hook '%s' is not run: it must be a file of root, or of the "
		  "server's own user, that no others can write",
		  program);
	return false;
}

/* In the child. */
static void
run(struct rotate_errand *e)
{
	char *argv[] = {e->program, e->file, NULL};
	static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	static char language[] = "LANG=C.UTF-8";
	char *environment[] = {path, language, NULL};
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	if (null == -1 || dup2(null, 0) == -1 || dup2(null, 1) == -1 ||
	    (!e->foreground && dup2(null, 2) == -1) || chdir("/") == -1)
		_exit(127);
	privileges_close_all(2);
	setpriority(PRIO_PROCESS, 0, 10);
	alarm(HOOK_SECONDS);
	if (privileges_hook())
		execve(e->program, argv, environment);
	_exit(127);
}

static void
drop_first(void)
{
	free(hooks.waiting[0]);
	hooks.count--;
	memmove(hooks.waiting, hooks.waiting + 1, hooks.count * sizeof hooks.waiting[0]);
}

/* False: it cannot be. */
static bool
start(struct rotate_errand *e)
{
	pid_t pid;

	if (!is_ours(e->program))
		return false;
	pid = fork();
	if (pid == 0)
		run(e);
	if (pid == -1) {
		log_error("cannot run audit.rotate-hook: %s", strerror(errno));
		return false;
	}
	hooks.pid = pid;
	return true;
}

static void
start_next(void)
{
	while (hooks.pid == 0 && hooks.count > 0)
		if (!start(hooks.waiting[0]))
			drop_first();
}

void
rotate_hook(const char *program, const char *file, bool foreground)
{
	struct rotate_errand *e = hooks.count < ROTATE_HOOKS ? malloc(sizeof *e) : NULL;

	if (e == NULL) {
		log_error("audit.rotate-hook is behind: '%s' is left as it is", file);
		return;
	}
	snprintf(e->program, sizeof e->program, "%s", program);
	snprintf(e->file, sizeof e->file, "%s", file);
	e->foreground = foreground;
	hooks.waiting[hooks.count++] = e;
	start_next();
}

void
rotate_bequeath(struct rotate_legacy *to)
{
	to->pid = hooks.pid;
	to->count = hooks.count;
	for (unsigned i = 0; i < hooks.count; i++)
		to->waiting[i] = *hooks.waiting[i];
}

void
rotate_adopt(const struct rotate_legacy *from)
{
	struct rotate_errand *e;

	for (unsigned i = 0; i < from->count && i < ROTATE_HOOKS; i++)
		if ((e = malloc(sizeof *e)) != NULL) {
			*e = from->waiting[i];
			hooks.waiting[hooks.count++] = e;
		}
	hooks.pid = hooks.count > 0 ? from->pid : 0;
	start_next();
}

bool
rotate_hook_ended(pid_t pid, int status)
{
	if (pid != hooks.pid)
		return false;
	hooks.pid = 0;
	if (WIFSIGNALED(status))
		log_error("audit.rotate-hook for '%s' was ended by signal %d",
			  hooks.waiting[0]->file, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		log_error("audit.rotate-hook for '%s' ended with status %d", hooks.waiting[0]->file,
			  WEXITSTATUS(status));
	drop_first();
	start_next();
	return true;
}
