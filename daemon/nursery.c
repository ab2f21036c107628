/*
 * daemon/nursery.c - see daemon/nursery.h. Forked by the authenticator before it gives up its
 * rights; ends with it, and takes all checkers along.
 *
 * A file of users is read when it changes: told by inotify of its folder, and looked after every
 * few seconds since neither a symbolic link nor a network tells. A change that only the second way
 * has seen is taken when it looks the same twice, so that nobody's half-written file is. What a
 * module left behind (pam_exec's program) becomes our child when its checker dies, and is ended.
 */
#include "config.h"

#include "nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/text.h"
#include "channel.h"
#include "checker.h"
#include "compile.h"
#include "sandbox.h"
#include "settings/users.h"
#include "wire/keytab.h"

#define CHECKERS_MAX (CHECKER_KINDS * CHECKERS_A_KIND)
#define LOOK_MS 2000
#define END_MS 2000 /* for all to die */
#define NAME_ROOM 16

/* What tells one state of a file from another. */
struct look {
	int error; /* 0: it could be looked at */
	dev_t dev;
	ino_t ino;
	mode_t mode;
	off_t size;
	struct timespec changed, written;
};

struct file {
	char path[SETTINGS_PATH]; /* "": none */
	struct look taken, seen;
	bool told; /* for these settings */
};

static struct {
	struct channel up;
	const struct account *account;
	const struct settings *settings;
	struct policy *policy;
	const void *image;
	size_t image_len;
	uint32_t generation;
	pid_t checkers[CHECKERS_MAX]; /* by slot; 0: none */
	struct file files[SECRETS_COUNT];
	void *keytab; /* the last one that was good */
	size_t keytab_len;
	int signals, watch;
} nursery;

static const struct {
	const char *word;
	enum users_kind kind;
} file_kinds[SECRETS_COUNT] = {
    [SECRETS_USERS] = {"file of users", USERS_HASHES},
    [SECRETS_CHAP] = {"file of CHAP secrets", USERS_SECRETS},
    [SECRETS_KEYTAB] = {"keytab", USERS_HASHES},
};

/* ---- files -------------------------------------------------------------------------------- */

static bool
same_look(const struct look *a, const struct look *b)
{
	return a->error == b->error && a->dev == b->dev && a->ino == b->ino && a->mode == b->mode &&
	       a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec && a->written.tv_sec == b->written.tv_sec &&
	       a->written.tv_nsec == b->written.tv_nsec;
}

static struct look
look_of(const struct stat *st)
{
	return (struct look){0,           st->st_dev,  st->st_ino, st->st_mode,
			     st->st_size, st->st_ctim, st->st_mtim};
}

static struct look
look_at(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		return (struct look){.error = errno};
	return look_of(&st);
}

static void
tell_file(unsigned which, int fd, bool usable)
{
	struct ipc_secrets body = {
	    .which = which, .generation = nursery.generation, .usable = fd != -1 || usable};

	nursery.files[which].told = true;
	channel_send(&nursery.up, IPC_SECRETS, &body, sizeof body, &fd, fd != -1);
}

static void
complain(unsigned which, const char *fault)
{
	char path[256];
	struct text t;

	text_init(&t, path, sizeof path);
	text_put_quoted(&t, nursery.files[which].path, strlen(nursery.files[which].path), 240);
	log_error("the %s %s cannot be used: %s", file_kinds[which].word, path, fault);
}

static void
drop_bytes(char *bytes, size_t len)
{
	if (bytes != NULL)
		secret_wipe_bytes(bytes, len);
	free(bytes);
}

/* All of an open file, the caller's to drop; NULL and why in *fault. */
static char *
read_file(int fd, unsigned which, struct look *taken, size_t *length, const char **fault)
{
	off_t most = which == SECRETS_KEYTAB ? KEYTAB_FILE_MAX : USERS_FILE_MAX;
	struct stat st, after;
	char *bytes;
	ssize_t n;
	size_t len = 0;

	if (fstat(fd, &st) == -1) {
		*fault = strerror(errno);
		return NULL;
	}
	*taken = look_of(&st);
	if ((*fault = users_mode_fault(file_kinds[which].kind, st.st_mode)) != NULL)
		return NULL;
	if (st.st_size > most) {
		*fault = which == SECRETS_KEYTAB ? "it is larger than 1 MiB"
						 : "it is larger than 16 MiB";
		return NULL;
	}
	bytes = malloc((size_t)st.st_size + 1);
	if (bytes == NULL) {
		*fault = strerror(errno);
		return NULL;
	}
	while (len <= (size_t)st.st_size &&
	       (n = read(fd, bytes + len, (size_t)st.st_size + 1 - len)) > 0)
		len += (size_t)n;
	*length = len;
	if (fstat(fd, &after) == 0 && after.st_size == st.st_size && len == (size_t)st.st_size)
		return bytes;
	*fault = "it changed while it was read";
	drop_bytes(bytes, len);
	return NULL;
}

/* For the authenticator, as a sealed memfd. */
static void
pass_on(unsigned which, char *bytes, size_t len)
{
	int copy = image_seal("secrets", bytes, len);

	drop_bytes(bytes, len);
	if (copy == -1)
		complain(which, "no memory");
	tell_file(which, copy, false);
	if (copy != -1)
		close(copy);
}

/* For the checkers that are forked from now on. */
static void
keep_keytab(char *bytes, size_t len)
{
	const char *fault = keytab_fault(bytes, len, nursery.settings->auth.gssapi_service);

	if (fault != NULL) {
		complain(SECRETS_KEYTAB, fault);
		drop_bytes(bytes, len);
		tell_file(SECRETS_KEYTAB, -1, false);
		return;
	}
	drop_bytes(nursery.keytab, nursery.keytab_len);
	nursery.keytab = bytes;
	nursery.keytab_len = len;
	tell_file(SECRETS_KEYTAB, -1, true);
}

static void
take_file(unsigned which)
{
	struct file *f = &nursery.files[which];
	const char *fault = NULL;
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *bytes = NULL;
	size_t len = 0;

	f->taken = (struct look){.error = errno};
	if (fd == -1)
		fault = strerror(errno);
	else
		bytes = read_file(fd, which, &f->taken, &len, &fault);
	if (fd != -1)
		close(fd);
	f->seen = f->taken;
	if (bytes == NULL) {
		complain(which, fault);
		tell_file(which, -1, false);
	} else if (which == SECRETS_KEYTAB)
		keep_keytab(bytes, len);
	else
		pass_on(which, bytes, len);
}

/* sure: an event said that somebody has finished with it. */
static void
look_after(unsigned which, bool sure)
{
	struct file *f = &nursery.files[which];
	struct look now;

	if (f->path[0] == '\0')
		return;
	now = look_at(f->path);
	if (same_look(&now, &f->taken))
		return;
	if (sure || same_look(&now, &f->seen))
		take_file(which);
	f->seen = now;
}

static const char *
name_in(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

static void
watch_ready(void)
{
	_Alignas(struct inotify_event) char events[4096];
	ssize_t n;

	while ((n = read(nursery.watch, events, sizeof events)) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(events + at);

			for (unsigned i = 0; i < SECRETS_COUNT; i++)
				if (e->len > 0 &&
				    strcmp(e->name, name_in(nursery.files[i].path)) == 0)
					look_after(i, true);
			at += (ssize_t)(sizeof *e + e->len);
		}
}

static void
watch_folder(const char *path)
{
	char copy[SETTINGS_PATH];

	snprintf(copy, sizeof copy, "%s", path);
	/* without it there is still the look every few seconds */
	if (inotify_add_watch(nursery.watch, dirname(copy),
			      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
				  IN_ATTRIB) == -1)
		log_debug("cannot watch a folder: %s", strerror(errno));
}

static void
name_files(void)
{
	const char *const paths[SECRETS_COUNT] = {
	    [SECRETS_USERS] = nursery.settings->auth.file_path,
	    [SECRETS_CHAP] = nursery.settings->auth.chap_path,
	    [SECRETS_KEYTAB] = nursery.settings->auth.gssapi_keytab,
	};

	if (paths[SECRETS_KEYTAB][0] == '\0') {
		drop_bytes(nursery.keytab, nursery.keytab_len);
		nursery.keytab = NULL;
		nursery.keytab_len = 0;
	}
	if (nursery.watch != -1)
		close(nursery.watch);
	nursery.watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	for (unsigned i = 0; i < SECRETS_COUNT; i++) {
		struct file *f = &nursery.files[i];

		snprintf(f->path, sizeof f->path, "%s", paths[i]);
		f->told = false;
		if (f->path[0] == '\0')
			continue;
		watch_folder(f->path);
		take_file(i); /* also when nothing changed: a reload tells what is wrong with it */
	}
}

/* ---- checkers ----------------------------------------------------------------------------- */

static void
tell_gone(uint32_t slot, pid_t pid, int status)
{
	struct ipc_checker body = {slot, slot / CHECKERS_A_KIND, pid, status};

	channel_send(&nursery.up, IPC_CHECKER_GONE, &body, sizeof body, NULL, 0);
}

/* In the child. */
static int
become_checker(int fd, enum checker_kind kind, pid_t parent)
{
	static const int plain[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
	char name[NAME_ROOM];
	sigset_t none;

	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
		signal(plain[i], SIG_DFL); /* what a module executes inherits them */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid(); /* Ctrl-C in a terminal is not for it */
	snprintf(name, sizeof name, "sally-chk-%s", checker_word(kind));
	prctl(PR_SET_NAME, name);
	snprintf(name, sizeof name, "checker %s", checker_word(kind));
	log_role(name);
	privileges_close_all(fd);
	if (kind == CHECKER_GSSAPI)
		checker_keytab(nursery.keytab, nursery.keytab_len);
	else
		drop_bytes(nursery.keytab, nursery.keytab_len); /* no business of its */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		return 1;
	return checker_run(fd, kind, nursery.account, nursery.settings, nursery.policy);
}

static void
fork_checker(const struct ipc_checker *wanted)
{
	struct ipc_checker body = *wanted;
	pid_t pid, self = getpid();
	int fds[2];

	if (body.slot >= CHECKERS_MAX || nursery.checkers[body.slot] != 0 ||
	    nursery.settings == NULL)
		return;
	if (channel_pair(fds) == -1) {
		log_error("cannot make a channel: %s", strerror(errno));
		tell_gone(body.slot, 0, 0);
		return;
	}
	pid = fork();
	if (pid == 0)
		exit(become_checker(fds[1], body.slot / CHECKERS_A_KIND, self));
	close(fds[1]);
	if (pid == -1) {
		log_error("cannot fork a checker: %s", strerror(errno));
		tell_gone(body.slot, 0, 0);
	} else {
		nursery.checkers[body.slot] = pid;
		body.pid = pid;
		channel_send(&nursery.up, IPC_CHECKER, &body, sizeof body, fds, 1);
	}
	close(fds[0]);
}

static bool
is_checker(pid_t pid)
{
	for (unsigned i = 0; i < CHECKERS_MAX; i++)
		if (nursery.checkers[i] == pid)
			return true;
	return false;
}

/* Children that we have not forked: what a checker that died has left. */
static void
end_strays(void)
{
	FILE *list = fopen("/proc/thread-self/children", "re");
	int pid;

	if (list == NULL)
		return;
	while (fscanf(list, "%d", &pid) == 1)
		if (!is_checker(pid))
			kill(pid, SIGKILL);
	fclose(list);
}

static void
tell_forbidden(unsigned slot, pid_t pid)
{
	char call[SANDBOX_NAME];

	if (sandbox_forbidden(pid, call) != NULL)
		log_error("a checker of %s (pid %d) was ended: the system call '%s' is forbidden to it",
			  checker_word(slot / CHECKERS_A_KIND), (int)pid, call);
}

static void
reap(void)
{
	bool any = false;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		any = true;
		for (unsigned i = 0; i < CHECKERS_MAX; i++)
			if (nursery.checkers[i] == pid) {
				tell_forbidden(i, pid);
				nursery.checkers[i] = 0;
				tell_gone(i, pid, status);
			}
	}
	if (any)
		end_strays();
}

static void
end_checker(const struct ipc_checker *which)
{
	if (which->slot < CHECKERS_MAX && nursery.checkers[which->slot] != 0)
		kill(nursery.checkers[which->slot], SIGKILL);
}

/* ---- the process -------------------------------------------------------------------------- */

static void
take_policy(const struct message *m)
{
	const struct ipc_policy *body = m->body;
	size_t settings_len, image_len;
	struct settings *s = image_map(m->fds[0], &settings_len);
	void *image = image_map(m->fds[1], &image_len);
	struct policy *p = NULL;

	if (s == NULL || image == NULL || !settings_valid(s, settings_len) ||
	    (p = policy_open_sealed(image, image_len)) == NULL) {
		log_error("bad image of settings or policy");
		exit(1);
	}
	if (nursery.settings != NULL) {
		policy_close(nursery.policy);
		munmap((void *)(uintptr_t)nursery.settings, sizeof *s);
		munmap((void *)(uintptr_t)nursery.image, nursery.image_len);
	}
	nursery.settings = s;
	nursery.policy = p;
	nursery.image = image;
	nursery.image_len = image_len;
	nursery.generation = body->generation;
	name_files();
}

/* The authenticator is gone. */
static void
end_all(void)
{
	int64_t until = clock_mono_ns() + END_MS * NS_PER_MS;

	for (unsigned i = 0; i < CHECKERS_MAX; i++)
		if (nursery.checkers[i] != 0)
			kill(nursery.checkers[i], SIGKILL);
	end_strays();
	while (clock_mono_ns() < until) {
		struct pollfd died = {.fd = nursery.signals, .events = POLLIN};
		struct signalfd_siginfo info;
		pid_t pid;

		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			end_strays();
		if (pid == -1 && errno == ECHILD)
			return;
		poll(&died, 1, 100);
		while (read(nursery.signals, &info, sizeof info) == sizeof info)
			;
	}
}

/* False: the authenticator is gone. */
static bool
hear(void)
{
	static struct message m;

	if (channel_receive(&nursery.up, &m) != 1)
		return false;
	switch (m.type) {
	case IPC_NURSERY_POLICY:
		take_policy(&m);
		break;
	case IPC_CHECKER_WANTED:
		fork_checker(m.body);
		break;
	case IPC_CHECKER_END:
		end_checker(m.body);
		break;
	default:
		break;
	}
	message_close_fds(&m);
	return true;
}

static bool
files_named(void)
{
	for (unsigned i = 0; i < SECRETS_COUNT; i++)
		if (nursery.files[i].path[0] != '\0')
			return true;
	return false;
}

static int
nursery_run(void)
{
	int64_t look_ns = clock_mono_ns();

	for (;;) {
		struct pollfd fds[] = {
		    {.fd = nursery.up.fd, .events = POLLIN},
		    {.fd = nursery.signals, .events = POLLIN},
		    {.fd = nursery.watch, .events = POLLIN},
		};
		struct signalfd_siginfo info;

		poll(fds, 3, files_named() ? LOOK_MS : -1);
		if (fds[1].revents != 0) {
			while (read(nursery.signals, &info, sizeof info) == sizeof info)
				;
			reap();
		}
		if (fds[2].revents != 0)
			watch_ready();
		if (clock_mono_ns() - look_ns >= LOOK_MS * NS_PER_MS) {
			look_ns = clock_mono_ns();
			for (unsigned i = 0; i < SECRETS_COUNT; i++)
				look_after(i, false);
		}
		if (fds[0].revents != 0 && !hear())
			break;
	}
	end_all();
	return 0;
}

int
nursery_start(int leave, const struct account *a)
{
	sigset_t child;
	pid_t pid;
	int fds[2];

	if (channel_pair(fds) == -1) {
		log_error("cannot make a channel: %s", strerror(errno));
		return -1;
	}
	fflush(NULL);
	pid = fork();
	if (pid == -1) {
		log_error("cannot fork the nursery: %s", strerror(errno));
		close(fds[0]);
		close(fds[1]);
		return -1;
	}
	if (pid > 0) {
		close(fds[1]);
		fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK);
		return fds[0];
	}
	close(fds[0]);
	close(leave);
	nursery.up = (struct channel){fds[1], ROLE_NURSERY, ROLE_AUTHENTICATOR};
	nursery.account = a;
	nursery.watch = -1;
	prctl(PR_SET_NAME, "sally-nursery");
	log_role("nursery");
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	nursery.signals = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	if (nursery.signals == -1 || !privileges_nursery() || !sandbox_enter(SANDBOX_NURSERY))
		exit(1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	exit(nursery_run());
}
