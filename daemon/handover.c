/*
 * daemon/handover.c - see daemon/handover.h. The parent; waits for nothing: the program that is
 * tried is heard in the parent's loop. The home of fexecve.
 *
 * What is tried is what is executed, whatever stands at its name by then: both by one descriptor.
 */
#include "config.h"

#include "handover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "base/form.h"
#include "base/log.h"
#include "books/books.h"
#include "books/desk.h"
#include "books/hits.h"
#include "books/lags.h"
#include "books/quota.h"
#include "compile.h"
#include "copies.h"
#include "counters.h"
#include "notify.h"
#include "parent_state.h"
#include "rules/rules.h"
#include "sandbox.h"
#include "walk/endings.h"

/* Raised when anything that is handed over means something else in the same place; part of the
 * form, as are all sizes. */
static const char version[] = "sallyport handover 1";

#define VARIABLE "SALLYPORT_HANDOVER" /* the number of the memfd */
#define TRIAL_MS 150000               /* a bit longer than COMPILE may take */
#define SAID_MOST 4096
#define PROBLEMS_MOST (256 * 1024)
#define OWN_ARGUMENTS 5
#define DESCRIPTORS_MOST                                                                           \
	(16 + 3 * CHILDREN_MAX + 2 * GRAVES + 2 * COUNTERS_MOST + SETTINGS_LISTENERS +             \
	 2 * IMAGES_KEPT + ROTATIONS + 2 * COPIES_FILES)

struct handover {
	uint64_t form, size;
	int32_t pid;
	char program[PATH_MAX], configuration[PATH_MAX];
	struct sandbox_legacy sandbox;
	struct bind_legacy bind;
	struct rotate_legacy hooks;
	struct counters_legacy counters;
	struct copies_legacy copies;
	struct parent parent;
};

static struct {
	char path[PATH_MAX]; /* "": not known */
	int argc;
	char **argv;
} self;

/* The program that is tried. */
static struct {
	int program;      /* what is tried and executed */
	pid_t pid;        /* 0: none runs */
	int64_t until_ms; /* then it is ended */
	bool good;        /* it is to be executed as soon as that may be */
	bool ended;
	int status;
	int out, err; /* -1: closed */
	struct buffer said, problems;
} trial = {.program = -1, .out = -1, .err = -1};

/* ---- the form ------------------------------------------------------------------------------ */

uint64_t
handover_form(void)
{
	const uint64_t parts[] = {books_form(),
				  tally_form(),
				  quota_form(),
				  desk_form(),
				  hits_form(),
				  lags_form(),
				  settings_form(),
				  policy_form(),
				  ipc_form(),
				  sandbox_form(),
				  sizeof(struct handover),
				  offsetof(struct handover, parent),
				  sizeof(struct parent),
				  sizeof(struct child),
				  sizeof(struct wish),
				  sizeof(struct grave),
				  sizeof(struct former),
				  sizeof(struct bound),
				  sizeof(struct counters),
				  sizeof(struct copies_file),
				  offsetof(struct parent, bound),
				  offsetof(struct parent, ledger),
				  offsetof(struct parent, graves),
				  offsetof(struct parent, wishes),
				  offsetof(struct parent, notes),
				  offsetof(struct parent, former),
				  offsetof(struct parent, epoch)};
	uint64_t form = form_add_text(FORM_OF(parts), version);

	for (int i = 0; i < END_COUNT; i++) /* cards have their numbers */
		form = form_add_text(form, endings[i].word);
	return form;
}

/* The name it was executed by leads to what is installed then, also where that is a link to another
 * version; /proc knows only the file of now. */
static void
find_path(void)
{
	const char *name = (const char *)(uintptr_t)getauxval(AT_EXECFN);
	ssize_t n = readlink("/proc/self/exe", self.path, sizeof self.path - 1);
	struct stat named, own;

	self.path[n > 0 ? n : 0] = '\0';
	if (name != NULL && name[0] == '/' && strlen(name) < sizeof self.path &&
	    stat(name, &named) == 0 && stat("/proc/self/exe", &own) == 0 &&
	    named.st_dev == own.st_dev && named.st_ino == own.st_ino)
		memcpy(self.path, name, strlen(name) + 1);
}

void
handover_remember(int argc, char **argv)
{
	find_path();
	self.argc = argc;
	self.argv = calloc((size_t)argc + 1, sizeof *argv); /* getopt changes their order */
	for (int i = 0; i < argc && self.argv != NULL; i++)
		self.argv[i] = argv[i];
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void
close_fd(int *fd)
{
	if (*fd != -1)
		close(*fd);
	*fd = -1;
}

static void
forget_trial(void)
{
	close_fd(&trial.program);
	close_fd(&trial.out);
	close_fd(&trial.err);
	buffer_free(&trial.said);
	buffer_free(&trial.problems);
	trial.good = trial.ended = false;
}

static void
answer_refused(const struct ipc_order *o, const char *why)
{
	struct ipc_answer a = {.result = parent.draining ? ANSWER_DRAINING : ANSWER_FAILED};

	snprintf(a.why, sizeof a.why, "%s", why);
	if (trial.problems.len > 0)
		wishes_tell_problems(o, &trial.problems, PROBLEMS_MOST);
	notes_record(o, false, "refused, %s", why);
	wishes_answer(o, &a);
}

/* The running server goes on as if nothing had happened. */
static void refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
refuse(const char *fmt, ...)
{
	char why[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	log_error("the server is not handed over, it goes on as it was: %s", why);
	for (unsigned i = 0; i < WISHES; i++)
		if (parent.wishes[i].state == WISH_RESTARTS) {
			answer_refused(&parent.wishes[i].order, why);
			parent.wishes[i].state = WISH_NONE;
		}
	forget_trial();
}

/* ---- the trial ----------------------------------------------------------------------------- */

/* As we were called; the configuration by the name that finds it from where we are now. Room for
 * ours. */
static char **
arguments(unsigned *count)
{
	char **argv = calloc((size_t)self.argc + OWN_ARGUMENTS, sizeof *argv);
	const char *path = parent.options.path;
	bool named = false;

	if (argv == NULL || self.argv == NULL) {
		free(argv);
		return NULL;
	}
	*count = (unsigned)self.argc;
	for (unsigned i = 0; i < *count; i++) {
		argv[i] = self.argv[i];
		named |= strcmp(argv[i], path) == 0;
	}
	if (!named) {
		argv[(*count)++] = (char *)(uintptr_t) "-c";
		argv[(*count)++] = (char *)(uintptr_t)path;
	}
	return argv;
}

/* In the child: it is the program's from here on. */
static _Noreturn void
become_trial(int out, int err)
{
	unsigned n;
	char **argv = arguments(&n);
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	if (argv == NULL || null == -1 || dup2(null, STDIN_FILENO) == -1 ||
	    dup2(out, STDOUT_FILENO) == -1 || dup2(err, STDERR_FILENO) == -1)
		_exit(127);
	argv[n++] = (char *)(uintptr_t) "--test";
	argv[n] = (char *)(uintptr_t) "--form";
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	privileges_close_all(trial.program);
	unsetenv("NOTIFY_SOCKET");
	fexecve(trial.program, argv, environ);
	dprintf(STDERR_FILENO, "cannot run '%s': %s\n", self.path, strerror(errno));
	_exit(127);
}

static bool
pipes(int out[2], int err[2])
{
	if (pipe2(out, O_CLOEXEC | O_NONBLOCK) == -1)
		return false;
	if (pipe2(err, O_CLOEXEC | O_NONBLOCK) == 0)
		return true;
	close(out[0]);
	close(out[1]);
	return false;
}

/* Its own ends block: a program may write much at once. */
static void
block(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
}

static void
try_program(void)
{
	int out[2], err[2];

	trial.program = self.path[0] == '/' ? open(self.path, O_PATH | O_CLOEXEC) : -1;
	if (trial.program == -1) {
		refuse("cannot open the program '%s': %s", self.path, strerror(errno));
		return;
	}
	if (!pipes(out, err)) {
		refuse("no pipe: %s", strerror(errno));
		return;
	}
	block(out[1]);
	block(err[1]);
	fflush(NULL);
	trial.pid = fork();
	if (trial.pid == 0)
		become_trial(out[1], err[1]);
	close(out[1]);
	close(err[1]);
	trial.out = out[0];
	trial.err = err[0];
	trial.until_ms = parent_now() + TRIAL_MS;
	if (trial.pid == -1) {
		trial.pid = 0;
		refuse("cannot fork: %s", strerror(errno));
	}
}

/* More than `most` is read and thrown away. */
static void
hear(int *fd, struct buffer *into, size_t most)
{
	char piece[4096];
	ssize_t n;

	while (*fd != -1 && (n = read(*fd, piece, sizeof piece)) != -1) {
		if (n == 0)
			close_fd(fd);
		else if (into->len + (size_t)n <= most)
			buffer_put(into, piece, (size_t)n);
	}
}

/* Its last line. */
static bool
said(const char *line)
{
	size_t len = strlen(line);

	return trial.said.len >= len &&
	       memcmp(trial.said.p + trial.said.len - len, line, len) == 0 &&
	       (trial.said.len == len || trial.said.p[trial.said.len - len - 1] == '\n');
}

static bool
said_form(void)
{
	const char *p = trial.said.p, *end = trial.said.len > 0 ? p + trial.said.len - 1 : p;
	const char *newline = trial.said.len > 0 ? memrchr(p, '\n', (size_t)(end - p)) : NULL;
	const char *last = newline != NULL ? newline + 1 : p;

	return trial.said.len > 0 && end - last > 5 && memcmp(last, "form ", 5) == 0;
}

/* A configuration that a server would not start with is a policy that is not taken. */
static void
refuse_configuration(void)
{
	struct ipc_note body = {
	    .kind = NOTE_REFUSED,
	    .text = "a restart was refused: the configuration has errors, the old policy stays"};

	parent.reloads_refused++;
	notes_add(&body);
	refuse("the configuration has errors");
}

static void
judge(void)
{
	char form[64];
	bool clean = WIFEXITED(trial.status) && WEXITSTATUS(trial.status) == 0;

	snprintf(form, sizeof form, HANDOVER_FORM_LINE, (unsigned long long)handover_form());
	reload_show_problems(&trial.problems);
	if (clean && said(form))
		trial.good = true;
	else if (clean && said_form())
		refuse("'%s' cannot take over from the running server: restart it", self.path);
	else if (clean)
		refuse("'%s' is no program that could take over", self.path);
	else if (WIFEXITED(trial.status) && WEXITSTATUS(trial.status) == EXIT_CONFIGURATION &&
		 trial.problems.len > 0)
		refuse_configuration();
	else if (WIFSIGNALED(trial.status))
		refuse("'%s' was tried and ended by signal %d", self.path, WTERMSIG(trial.status));
	else
		refuse("'%s' was tried and ended with status %d", self.path,
		       WEXITSTATUS(trial.status));
}

/* ---- giving -------------------------------------------------------------------------------- */

typedef void visitor(int fd, void *with);

static void
visit_child(const struct child *c, visitor *visit, void *with)
{
	const int fds[] = {c->pid != 0 ? c->channel.fd : -1, c->books, c->bell};

	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] != -1)
			visit(fds[i], with);
	for (int i = 0; c->seen && i < VITALS_FDS; i++)
		visit(c->vitals[i], with);
}

static void
visit_memory(const struct parent *p, visitor *visit, void *with)
{
	const int fds[] = {p->tally,         p->desk,          p->quotas,  p->audit,
			   p->hits_files[0], p->hits_files[1], p->control, p->metrics};

	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] != -1)
			visit(fds[i], with);
	for (unsigned i = 0; i < p->image_count; i++) {
		visit(p->images[i].settings, with);
		visit(p->images[i].policy, with);
	}
	for (uint32_t i = 0; i < p->bound.listeners.count; i++)
		visit(p->bound.fds[i], with);
	for (unsigned i = 0; i < p->former_count; i++)
		visit(p->former[i].fd, with);
	for (unsigned i = 0; i < GRAVES; i++)
		if (p->graves[i].books != -1) {
			visit(p->graves[i].books, with);
			visit(p->graves[i].bell, with);
		}
}

static void
visit_copies(const struct copies_legacy *c, visitor *visit, void *with)
{
	const int fds[] = {c->page, c->store[0], c->store[1]};

	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] != -1)
			visit(fds[i], with);
	for (unsigned i = 0; i < c->count; i++)
		for (unsigned k = 0; k < c->files[i].count; k++)
			visit(c->files[i].fds[k], with);
}

/* Every descriptor that is handed over, and no other. */
static void
visit_all(const struct handover *h, visitor *visit, void *with)
{
	const struct parent *p = &h->parent;

	visit(h->sandbox.page, with);
	visit_memory(p, visit, with);
	visit_copies(&h->copies, visit, with);
	visit_child(&p->ledger, visit, with);
	for (unsigned i = 0; i < p->specialist_count; i++)
		visit_child(&p->specialists[i], visit, with);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (p->workers[i].used)
			visit_child(&p->workers[i], visit, with);
	for (unsigned i = 0; i < COUNTERS_MOST; i++)
		if (h->counters.list[i].what.id != 0) {
			visit(h->counters.list[i].hits, with);
			visit(h->counters.list[i].policy, with);
		}
}

static void
keep_open(int fd, void *with)
{
	fcntl(fd, F_SETFD, *(const bool *)with ? 0 : FD_CLOEXEC);
}

static bool
fill(struct handover *h)
{
	memset(h, 0, sizeof *h);
	h->form = handover_form();
	h->size = sizeof *h;
	h->pid = getpid();
	if (strlen(parent.options.path) >= sizeof h->configuration)
		return false;
	memcpy(h->program, self.path, sizeof h->program);
	memcpy(h->configuration, parent.options.path, strlen(parent.options.path) + 1);
	h->sandbox = sandbox_legacy();
	h->bind = bind_legacy();
	rotate_bequeath(&h->hooks);
	h->counters = *counters_legacy();
	h->copies = *copies_legacy();
	h->parent = parent;
	return true;
}

/* Returns only if it failed. */
static void
execute(const struct handover *h, int memfd, char **argv)
{
	char number[16];
	bool open = true;
	int error;

	snprintf(number, sizeof number, "%d", memfd);
	setenv(VARIABLE, number, 1);
	visit_all(h, keep_open, &open);
	keep_open(memfd, &open);
	fflush(NULL);
	fexecve(trial.program, argv, environ);
	error = errno;
	open = false;
	visit_all(h, keep_open, &open);
	unsetenv(VARIABLE);
	errno = error;
}

static void
give(void)
{
	static struct handover h;
	unsigned n;
	char **argv = arguments(&n);
	int memfd = argv != NULL && fill(&h) ? image_seal("handover", &h, sizeof h) : -1;

	if (memfd != -1) {
		log_notice("handing over to '%s'", self.path);
		notify_tell("STATUS=handing over");
		notify_reloading();
		execute(&h, memfd, argv);
		refuse("cannot run '%s': %s", self.path, strerror(errno));
		notify_tell("READY=1\nSTATUS=ready");
		close(memfd);
	} else
		refuse("its state could not be written down");
	free(argv);
}

/* ---- asking -------------------------------------------------------------------------------- */

/* NULL: it may begin. */
static const char *
why_not(void)
{
	unsigned places = WORKERS_MAX;

	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		places--;
	if (parent.draining)
		return "the server is on its way down";
	if (!parent.announced)
		return "the server is not ready yet";
	if (handover_tries() || parent.rolling != ROLL_NONE)
		return "another restart is under way";
	if (places == 0)
		return "there is no place for another worker beside those that are there";
	if (parent.specialist_count + 2 > SPECIALISTS_MAX)
		return "too many processes of earlier restarts are still there";
	return NULL;
}

void
handover_ask(const struct ipc_order *o)
{
	const char *why = why_not();

	if (why != NULL) {
		if (o != NULL)
			answer_refused(o, why);
		else
			log_error("the server is not handed over: %s", why);
		return;
	}
	if (o != NULL && wishes_add(o, WISH_RESTARTS) == NULL)
		return;
	log_info("trying '%s'", self.path);
	try_program();
}

bool
handover_tries(void)
{
	return trial.pid != 0 || trial.ended;
}

bool
handover_tried(pid_t pid, int status)
{
	if (pid != trial.pid)
		return false;
	trial.pid = 0;
	trial.status = status;
	trial.ended = !parent.draining; /* else nobody is interested */
	return true;
}

void
handover_stop(void)
{
	if (trial.pid != 0)
		kill(trial.pid, SIGKILL); /* it is waited for all the same */
	if (handover_tries())
		refuse("the server is on its way down");
}

int64_t
handover_until(void)
{
	return trial.pid != 0 ? trial.until_ms : 0;
}

void
handover_watch(struct pollfd fds[2])
{
	fds[0] = (struct pollfd){.fd = trial.out, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = trial.err, .events = POLLIN};
}

/* No child is in the middle of taking a policy, and nobody compiles one. */
static bool
may_give(void)
{
	struct child *c;

	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
		if (c->taking)
			return false;
	return parent.compile_pid == 0;
}

void
handover_turn(const struct pollfd fds[2])
{
	if (trial.pid == 0 && !trial.ended)
		return;
	if (fds[0].revents != 0 || trial.ended)
		hear(&trial.out, &trial.said, SAID_MOST);
	if (fds[1].revents != 0 || trial.ended)
		hear(&trial.err, &trial.problems, PROBLEMS_MOST);
	if (trial.pid != 0 && parent_now() >= trial.until_ms)
		kill(trial.pid, SIGKILL);
	if (trial.ended && !trial.good)
		judge();
	if (trial.good && may_give())
		give();
}

/* ---- receiving ----------------------------------------------------------------------------- */

bool
handover_received(void)
{
	return getenv(VARIABLE) != NULL;
}

struct found {
	int fds[DESCRIPTORS_MOST];
	unsigned count;
	bool bad; /* one of them is not open */
};

static void
find(int fd, void *with)
{
	struct found *f = with;

	if (fd < 3 || f->count == DESCRIPTORS_MOST || fcntl(fd, F_SETFD, FD_CLOEXEC) == -1)
		f->bad = true;
	else
		f->fds[f->count++] = fd;
}

static int
by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* What was not handed over is not ours to have. */
static void
close_others(struct found *f)
{
	unsigned from = 3;

	closelog(); /* see privileges_close_all */
	qsort(f->fds, f->count, sizeof f->fds[0], by_number);
	for (unsigned i = 0; i < f->count; i++) {
		unsigned fd = (unsigned)f->fds[i];

		if (fd > from)
			close_range(from, fd - 1, 0);
		from = fd + 1;
	}
	close_range(from, ~0U, 0);
}

static bool
is_child(const struct child *c, enum ipc_role role, unsigned index)
{
	return c->role == role && c->index == index && c->pid >= 0 &&
	       (c->pid == 0 ||
		(c->channel.self == ROLE_PARENT && c->channel.peer == role && c->channel.fd > 2));
}

/* It was written by ourselves, so this finds our own mistakes only. */
static bool
makes_sense(const struct handover *h)
{
	const struct parent *p = &h->parent;

	if (h->form != handover_form() || h->size != sizeof *h || h->pid != getpid() ||
	    memchr(h->program, 0, sizeof h->program) == NULL ||
	    memchr(h->configuration, 0, sizeof h->configuration) == NULL)
		return false;
	if (p->image_count == 0 || p->image_count > IMAGES_KEPT || p->former_count > ROTATIONS ||
	    p->specialist_count > SPECIALISTS_MAX || h->hooks.count > ROTATE_HOOKS ||
	    h->copies.count > COPIES_FILES || p->bound.listeners.count > SETTINGS_LISTENERS ||
	    p->rolling != ROLL_NONE || p->draining || p->compile_pid != 0 ||
	    !is_child(&p->ledger, ROLE_LEDGER, 0))
		return false;
	for (uint32_t i = 0; i < p->bound.listeners.count; i++)
		if (p->bound.listeners.list[i].listener >= SETTINGS_LISTENERS)
			return false;
	for (unsigned i = 0; i < p->specialist_count; i++)
		if (p->specialists[i].role >= ROLE_COUNT ||
		    !is_child(&p->specialists[i], p->specialists[i].role, 0))
			return false;
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (p->workers[i].used && !is_child(&p->workers[i], ROLE_WORKER, i))
			return false;
	return true;
}

static const struct handover *
open_memory(void)
{
	const char *number = getenv(VARIABLE);
	uint64_t fd;
	void *at;

	if (!text_parse_u64(number, strlen(number), INT_MAX, &fd) ||
	    !image_sealed((int)fd, sizeof(struct handover)))
		return NULL;
	at = mmap(NULL, sizeof(struct handover), PROT_READ, MAP_SHARED, (int)fd, 0);
	close((int)fd);
	return at != MAP_FAILED ? at : NULL;
}

/* What were pointers in another life. */
static bool
revive(const struct handover *h)
{
	char *path = strdup(h->configuration);

	memcpy(self.path, h->program, sizeof self.path);
	parent.options.path = path;
	parent.options.ready_fd = -1;
	parent.problems = parent.problems_json = (struct buffer){0};
	parent.compile.fd = parent.signals = -1;
	parent.settings = mmap(NULL, sizeof(struct settings), PROT_READ, MAP_SHARED,
			       parent.images[0].settings, 0);
	parent.counts = tally_map(parent.tally);
	return path != NULL && parent.settings != MAP_FAILED &&
	       settings_valid(parent.settings, sizeof(struct settings)) && parent.counts != NULL;
}

bool
handover_take(void)
{
	static struct found f;
	const struct handover *h = open_memory();
	bool ok;

	unsetenv(VARIABLE);
	prctl(PR_SET_NAME, roles[ROLE_PARENT].process); /* it was executed without a name */
	if (h == NULL || !makes_sense(h)) {
		log_error("what was handed over is not of our form");
		return false;
	}
	visit_all(h, find, &f);
	if (f.bad) {
		log_error("not all descriptors were handed over");
		return false;
	}
	close_others(&f);
	parent = h->parent;
	*counters_legacy() = h->counters;
	*copies_legacy() = h->copies;
	bind_adopt(&h->bind);
	rotate_adopt(&h->hooks);
	ok = sandbox_adopt(&h->sandbox) && revive(h);
	munmap((void *)(uintptr_t)h, sizeof *h);
	if (!ok)
		log_error("what was handed over cannot be used: %s", strerror(errno));
	return ok;
}
