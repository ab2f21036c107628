/*
 * daemon/parent.c - see daemon/parent.h. Waits in poll only; signals come by signalfd.
 *
 * Order at start: COMPILE, bind, ledger, workers; each must be ready before the next. At the end
 * the other way round: workers drain, then the ledger writes what is left.
 */
#include "parent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "books/books.h"
#include "books/desk.h"
#include "books/quota.h"
#include "books/tally.h"
#include "compile.h"
#include "copies.h"
#include "counters.h"
#include "handover.h"
#include "notify.h"
#include "parent_state.h"
#include "sandbox.h"
#include "vitals.h"

#define LEDGER_DRAIN_MS 5000
#define COPIES_DRAIN_MS 5000 /* for copies that are reached to take the last records */
#define SLACK_MS 3000       /* behind a drain's deadline, before force */
#define LAST_TRIES 5        /* of a ledger that dies at the end */
#define QUICK_DEATH_MS 5000 /* a child that lives less is backed off */
#define BACKOFF_MOST_MS 30000
#define AUDIT_FLAGS (O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY)
#define SESSIONS_UNLIMITED 200000
#define LOOK_MS 10000 /* at the workers' beats */
#define SILENT_MOST 3 /* looks without one */

struct parent parent;

int64_t
parent_now(void)
{
	return clock_mono_ns() / NS_PER_MS;
}

struct child *
parent_next_worker(struct child *w)
{
	const struct child *end = parent.workers + WORKERS_MAX;

	w = w == NULL ? parent.workers : w + 1;
	while (w < end && !w->used)
		w++;
	return w < end ? w : NULL;
}

struct child *
parent_child(unsigned i)
{
	struct child *w;

	if (i == 0)
		return &parent.ledger;
	i--;
	if (i < parent.specialist_count)
		return &parent.specialists[i];
	i -= parent.specialist_count;
	for (w = parent_next_worker(NULL); w != NULL && i > 0; w = parent_next_worker(w))
		i--;
	return w;
}

#define CHILD_NAME 32
static const char *
child_name(const struct child *c, char buf[CHILD_NAME])
{
	if (c->role == ROLE_WORKER)
		snprintf(buf, CHILD_NAME, "%s %u", roles[c->role].word, c->index);
	else
		snprintf(buf, CHILD_NAME, "%s", roles[c->role].word);
	return buf;
}

/* ---- COMPILE ------------------------------------------------------------------------------ */

enum compiled { COMPILE_MORE, COMPILE_OK, COMPILE_FAILED };

/* One message of COMPILE; fds are set when it is COMPILE_OK. */
static enum compiled
compile_hear(const struct channel *c, struct ipc_compiled *result, int fds[2])
{
	static struct message m;
	int got = channel_receive(c, &m);

	if (got == -1 && (errno == EAGAIN || errno == EINTR))
		return COMPILE_MORE;
	memset(result, 0, sizeof *result);
	if (got == -1)
		log_error("cannot take what was compiled: %s", strerror(errno));
	if (got != 1)
		return COMPILE_FAILED; /* 0: it died, its own words stand in the log */
	if (m.type == IPC_PROBLEMS || m.type == IPC_PROBLEMS_JSON) {
		buffer_put(m.type == IPC_PROBLEMS ? &parent.problems : &parent.problems_json, m.body,
			   m.len);
		return COMPILE_MORE;
	}
	memcpy(result, m.body, sizeof *result);
	if (!result->ok || m.fd_count != 2) {
		message_close_fds(&m);
		return COMPILE_FAILED;
	}
	fds[0] = m.fds[0];
	fds[1] = m.fds[1];
	return COMPILE_OK;
}

/* On the terminal as they are, else line by line. */
void
parent_show_problems(const struct buffer *b)
{
	if (b->len == 0)
		return;
	if (parent.options.foreground || !parent.announced) { /* the caller reads it */
		fwrite(b->p, 1, b->len, stderr);
		fflush(stderr);
		return;
	}
	for (size_t at = 0; at < b->len;) {
		const char *end = memchr(b->p + at, '\n', b->len - at);
		size_t n = end != NULL ? (size_t)(end - b->p) - at : b->len - at;

		if (n > 0)
			log_write(&(struct log_site){0}, LOGLEVEL_ERROR, "%.*s", (int)n, b->p + at);
		at += n + 1;
	}
}

static void tell_compile_forbidden(pid_t pid);

static enum compiled
compile_wait(const char *path, struct ipc_compiled *result, int fds[2])
{
	struct channel c;
	pid_t pid = compile_start(path, isatty(STDERR_FILENO) == 1, &c);
	enum compiled r;
	int status;

	if (pid == -1)
		return COMPILE_FAILED;
	while ((r = compile_hear(&c, result, fds)) == COMPILE_MORE)
		;
	close(c.fd);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	parent_show_problems(&parent.problems);
	buffer_free(&parent.problems);
	buffer_free(&parent.problems_json);
	tell_compile_forbidden(pid);
	if (r == COMPILE_FAILED && result->errors == 0 && !result->ok)
		log_error("the configuration could not be read (%s %d)",
			  WIFSIGNALED(status) ? "signal" : "status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return r;
}

/*
 * What was bound, forked and counted at start stays as it is until a restart, whatever new settings
 * say; so that all processes see what is in force (a record names its listener by number), it is
 * put into them.
 */
static int
as_running(int fd)
{
	const struct settings *old = parent.settings;
	struct settings *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	int merged;

	if (s == MAP_FAILED)
		return -1;
	s->listener_count = old->listener_count;
	memcpy(s->listeners, old->listeners, sizeof s->listeners);
	s->workers = old->workers;
	memcpy(s->user, old->user, sizeof s->user);
	s->sandbox = old->sandbox;
	s->limits.source_prefix4 = old->limits.source_prefix4;
	s->limits.source_prefix6 = old->limits.source_prefix6;
	s->audit.format = old->audit.format;
	memcpy(&s->state, &old->state, sizeof s->state);
	memcpy(s->control.socket, old->control.socket, sizeof s->control.socket);
	s->metrics = old->metrics;
	merged = image_seal("settings", s, sizeof *s);
	munmap(s, sizeof *s);
	return merged;
}

bool
parent_keep_images(const int fds[2], uint32_t rules)
{
	void *at = mmap(NULL, sizeof(struct settings), PROT_READ, MAP_SHARED, fds[0], 0);
	uint32_t number = parent.image_count > 0 ? parent.images[0].number + 1 : 1;

	if (at == MAP_FAILED || !settings_valid(at, sizeof(struct settings))) {
		log_error("the settings' image is not valid");
		return false;
	}
	if (parent.settings != NULL)
		munmap((void *)parent.settings, sizeof(struct settings));
	parent.settings = at;
	if (parent.image_count == IMAGES_KEPT) {
		close(parent.images[IMAGES_KEPT - 1].settings);
		close(parent.images[IMAGES_KEPT - 1].policy);
		parent.image_count--;
	}
	parent.loaded_ns = clock_wall_ns();
	memmove(parent.images + 1, parent.images, parent.image_count * sizeof parent.images[0]);
	parent.images[0] = (struct generation){number, fds[0], fds[1], rules};
	parent.image_count++;
	return true;
}

/* No record will name its rules any more. */
static void
image_over(uint32_t number)
{
	for (unsigned i = 1; i < parent.image_count; i++) {
		struct generation *g = &parent.images[i];

		if (g->number != number)
			continue;
		close(g->settings);
		close(g->policy);
		parent.image_count--;
		memmove(g, g + 1, (parent.image_count - i) * sizeof *g);
		return;
	}
}

/* ---- children ----------------------------------------------------------------------------- */

bool
parent_send(struct child *c, enum ipc_type type, const void *body, size_t len, const int *fds,
	    unsigned n)
{
	char name[CHILD_NAME];

	if (c->pid == 0)
		return false;
	if (channel_send(&c->channel, type, body, len, fds, n))
		return true;
	if ((c->leaving || c->replaced) && (errno == EPIPE || errno == ECONNRESET))
		return false; /* it has left, and there is nothing more to know */
	/* It has not read for long, and must not go on without knowing this; its successor is told
	 * all. */
	log_error("cannot tell %s, it is ended: %s", child_name(c, name), strerror(errno));
	kill(c->pid, SIGKILL);
	return false;
}

static void
send_policy(struct child *c, const struct generation *g)
{
	struct ipc_policy body = {g->number, 0};

	parent_send(c, IPC_POLICY, &body, sizeof body, (int[]){g->settings, g->policy}, 2);
}

/* ---- counters of rules (daemon/counters.h) ---- */

struct child *
parent_specialist(enum ipc_role role)
{
	for (unsigned i = 0; i < parent.specialist_count; i++)
		if (parent.specialists[i].role == role && !parent.specialists[i].leaving)
			return &parent.specialists[i];
	return NULL;
}

/* NULL: this server has none. */
static struct child *
control(void)
{
	return parent_specialist(ROLE_CONTROL);
}

/* The same memory for a reader who can neither write to it nor open it again for that. -1: logged. */
static int
reader_of(int memfd)
{
	char name[64];
	int fd;

	snprintf(name, sizeof name, "/proc/self/fd/%d", memfd);
	fd = fchmod(memfd, 0400) == 0 ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	if (fd == -1)
		log_error("cannot open shared memory for reading: %s", strerror(errno));
	return fd;
}

static void
send_hits(struct child *to, const struct counters *c)
{
	struct ipc_hits_id id = {c->what.id};
	int hits = to->pid != 0 ? reader_of(c->hits) : -1;

	if (hits == -1)
		return;
	parent_send(to, IPC_HITS, &c->what, sizeof c->what, (int[]){hits, c->policy}, 2);
	close(hits);
	if (c->over)
		parent_send(to, IPC_HITS_OVER, &id, sizeof id, NULL, 0);
}

/* The worker counts no more under policies before this one. */
static void
hits_over(const struct child *w, uint32_t before)
{
	struct child *k = control();
	const struct counters *c;
	unsigned at = 0;

	while ((c = counters_over(w->index, before, &at)) != NULL) {
		struct ipc_hits_id id = {c->what.id};

		if (k == NULL)
			counters_close(id.id);
		else
			parent_send(k, IPC_HITS_OVER, &id, sizeof id, NULL, 0);
	}
}

static void
tell_control(struct child *k)
{
	const struct counters *c;
	unsigned at = 0;

	parent_send(k, IPC_HITS_STORE, &parent.hits_store, sizeof parent.hits_store,
		    parent.hits_files, 2);
	while ((c = counters_next(&at)) != NULL)
		send_hits(k, c);
}

/* A policy and the memory to count in under it. */
static void
send_worker_policy(struct child *w, const struct generation *g)
{
	const struct counters *c = counters_make(w->index, g->number, g->rules, g->policy);
	struct ipc_policy body = {g->number, 0};

	if (c == NULL) { /* without the policy it must not go on */
		if (w->pid != 0)
			kill(w->pid, SIGKILL);
		return;
	}
	parent_send(w, IPC_POLICY, &body, sizeof body, (int[]){g->settings, g->policy, c->hits}, 3);
	if (control() != NULL)
		send_hits(control(), c);
}

static void
send_books(struct child *to, const struct child *of)
{
	struct ipc_books body = {of->index, of->generation};

	parent_send(to, IPC_BOOKS, &body, sizeof body, (int[]){of->books, of->bell}, 2);
}

static void
show_to(struct child *c, enum ipc_type type, const void *body, size_t len, int memfd)
{
	int fd = c->pid != 0 ? reader_of(memfd) : -1;

	if (fd == -1)
		return;
	parent_send(c, type, body, len, &fd, 1);
	close(fd);
}

static void
show_files(enum ipc_role role, unsigned index, const int fds[VITALS_FDS])
{
	struct ipc_vitals body = {role, index};

	if (control() != NULL)
		parent_send(control(), IPC_VITALS, &body, sizeof body, fds, VITALS_FDS);
}

/* What it takes of the machine. Control may read that of others only if it is given it. */
static void
show_vitals(const struct child *c)
{
	if (c->seen) /* else these metrics are missing, nothing else is */
		show_files(c->role, c->index, c->vitals);
}

static void
show_own_vitals(void)
{
	int fds[VITALS_FDS];

	if (!vitals_open(getpid(), fds))
		return;
	show_files(ROLE_PARENT, 0, fds);
	for (int i = 0; i < VITALS_FDS; i++)
		close(fds[i]);
}

static void
close_vitals(struct child *c)
{
	for (int i = 0; c->seen && i < VITALS_FDS; i++)
		close(c->vitals[i]);
	c->seen = false;
}

static void
show_books(const struct child *worker)
{
	struct ipc_books body = {worker->index, worker->generation};

	if (control() != NULL && worker->books != -1)
		show_to(control(), IPC_BOOKS, &body, sizeof body, worker->books);
}

static int
open_audit(void)
{
	const char *path = parent.settings->audit.file;
	int fd;

	if (strcmp(path, "stdout") == 0) {
		if (parent.options.foreground)
			return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
		log_error("audit file 'stdout' leads nowhere in the background (use -f)");
		return -1;
	}
	/* read, too: the ledger looks whether the last line of a former one is whole */
	fd = open(path, AUDIT_FLAGS | O_RDWR, 0640);
	if (fd == -1 && errno == EACCES)
		fd = open(path, AUDIT_FLAGS | O_WRONLY, 0640);
	if (fd == -1) {
		int error = errno;

		log_error("cannot open the audit file '%s': %s", path, strerror(error));
		errno = error;
	}
	return fd;
}

static void
send_audit_file(int fd, unsigned more)
{
	struct ipc_audit_file body = {more, parent.ledger_handed};

	parent_send(&parent.ledger, IPC_AUDIT_FILE, &body, sizeof body, &fd, 1);
}

/* A file of the ledger for copies (daemon/copies.h); NULL: nothing is copied. */
static void
send_copy_file(const struct copies_file *f)
{
	struct child *c = parent_specialist(ROLE_FORWARDER);

	if (f != NULL && c != NULL)
		parent_send(c, IPC_COPY_FILE, &f->what, sizeof f->what, f->fds, f->count);
}

/*
 * Kept open here for a ledger that is restarted: it goes on in the same file, whatever its name is
 * by now. One that nobody has moved away is moved away.
 */
static bool
renew_audit_file(void)
{
	const char *path = parent.settings->audit.file;
	struct former *old = &parent.former[parent.former_count];
	int fd;

	if (parent.former_count == ROTATIONS) {
		parent.renew_again = true; /* when the ledger has taken some of them */
		return true;
	}
	if (!rotate_away(path, parent.audit, old->name)) {
		int error = errno;

		log_error("cannot rename the audit file '%s': %s", path, strerror(error));
		errno = error;
		return false;
	}
	if ((fd = open_audit()) == -1)
		return false; /* records go on into the old one */
	if (old->name[0] != '\0')
		log_notice("the audit file was moved to '%s'", old->name);
	old->fd = parent.audit;
	parent.former_count++;
	parent.audit = fd;
	send_copy_file(copies_opened(fd)); /* before a record can be in it */
	send_audit_file(fd, 0);
	return true;
}

/* The ledger has done with the oldest of the former: it is the admin's program's. */
static void
file_taken(void)
{
	const char *program = parent.settings->audit.rotate_hook;
	struct former *f = parent.former;

	if (parent.former_count == 0)
		return;
	close(f->fd);
	if (f->name[0] != '\0' && program[0] != '\0')
		rotate_hook(program, f->name, parent.options.foreground);
	parent.former_count--;
	memmove(f, f + 1, parent.former_count * sizeof *f);
	if (parent.renew_again) {
		parent.renew_again = false;
		renew_audit_file();
	}
}

/* Told again when the ledger is restarted: it knows which of them are records. */
void
parent_note(struct ipc_note *n)
{
	n->number = ++parent.note_count;
	n->at_ns = clock_wall_ns();
	parent.notes[n->number % NOTES] = *n;
	parent_send(&parent.ledger, IPC_NOTE, n, sizeof *n, NULL, 0);
}

static void
repeat_notes(void)
{
	uint64_t n = parent.note_count > NOTES ? parent.note_count - NOTES + 1 : 1;

	for (; n <= parent.note_count; n++)
		parent_send(&parent.ledger, IPC_NOTE, &parent.notes[n % NOTES],
			    sizeof parent.notes[0], NULL, 0);
}

/* In the background nobody may wait for our end of the caller's terminal or pipe. */
static void
leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null == -1)
		return;
	dup2(null, STDERR_FILENO);
	close(null);
}

/* In the child: the channel is all that is left of the parent. */
static void
become(struct child *c, int fd)
{
	char role[CHILD_NAME], name[16]; /* all of a name that the kernel keeps */
	sigset_t none;

	/* SIGXFSZ: a file that may not grow is an error for who writes it, not the end */
	static const int ignored[] = {SIGPIPE, SIGINT,  SIGTERM, SIGHUP,
				      SIGUSR1, SIGUSR2, SIGXFSZ};

	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN); /* signals are the parent's business */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* something is told at once; by then the parent has looked, which it may not be able to later */
	poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
	child_name(c, role);
	if (c->role == ROLE_WORKER)
		snprintf(name, sizeof name, "%s-%u", roles[c->role].process, c->index);
	else
		snprintf(name, sizeof name, "%s", roles[c->role].process);
	prctl(PR_SET_NAME, name);
	privileges_close_all(fd);
	if (parent.counts != NULL) /* who is to see it maps it anew, some for reading only */
		tally_unmap(parent.counts);
	if (!parent.options.foreground)
		leave_terminal();
	log_open(role, parent.options.foreground, log_most());
	if ((roles[c->role].prepare != NULL && !roles[c->role].prepare(fd, &parent.account)) ||
	    !privileges_drop(&parent.account) || !sandbox_enter(roles[c->role].profile))
		exit(EXIT_CANNOT_START);
	exit(roles[c->role].run(fd, c->index));
}

static bool
spawn(struct child *c)
{
	int fds[2];

	c->started_ms = parent_now();
	c->started_wall_ns = clock_wall_ns();
	c->restart_ms = 0;
	c->epoch = parent.epoch;
	c->replaced = false;
	if (channel_pair(fds) == -1) {
		log_error("cannot make a channel: %s", strerror(errno));
		return false;
	}
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0)
		become(c, fds[1]);
	close(fds[1]);
	if (c->pid == -1) {
		log_error("cannot fork: %s", strerror(errno));
		c->pid = 0;
		close(fds[0]);
		return false;
	}
	fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK);
	c->channel = (struct channel){fds[0], ROLE_PARENT, c->role};
	c->ready = c->taking = false;
	/* now: /proc may hide it from us (hidepid) when it has given up its rights */
	c->seen = vitals_open(c->pid, c->vitals);
	if (c->role != ROLE_CONTROL)
		show_vitals(c);
	return true;
}

static void
plan_restart(struct child *c)
{
	int64_t now = parent_now(), wait = 0;
	char name[CHILD_NAME];

	c->restarts++;
	if (now - c->started_ms < QUICK_DEATH_MS) {
		if (c->quick_deaths < 20)
			c->quick_deaths++;
		/* The first death is met at once; from the second on it waits longer each time. */
		if (c->quick_deaths > 1)
			wait = 50LL << (c->quick_deaths < 10 ? c->quick_deaths : 10);
		if (wait > BACKOFF_MOST_MS)
			wait = BACKOFF_MOST_MS;
	} else
		c->quick_deaths = 0;
	c->restart_ms = now + wait + (wait == 0); /* 0 means none */
	if (wait > 0)
		log_warning("%s keeps dying, restarted in %" PRId64 " ms", child_name(c, name),
			    wait);
}

/* As restarts after deaths, but at once and uncounted. */
static void
restart_now(struct child *c)
{
	c->quick_deaths = 0;
	c->restart_ms = parent_now();
}

static void
send_grave(struct child *to, const struct grave *g)
{
	struct ipc_books body = {g->gone.worker, g->gone.generation};

	parent_send(to, IPC_BOOKS, &body, sizeof body, (int[]){g->books, g->bell}, 2);
	if (g->told)
		parent_send(to, IPC_WORKER_GONE, &g->gone, sizeof g->gone, NULL, 0);
}


/* False: there is no process. One that cannot be told all is ended, and planned again when it has
 * died. */
static bool
start_ledger(void)
{
	struct child *l = &parent.ledger;

	if (!spawn(l))
		return false;
	parent_send(l, IPC_TALLY, NULL, 0, (int[]){parent.tally, parent.desk}, 2);
	parent_send(l, IPC_QUOTAS, NULL, 0, &parent.quotas, 1);
	for (unsigned i = parent.image_count; i-- > 0;)
		send_policy(l, &parent.images[i]);
	for (unsigned i = 0; i < GRAVES; i++)
		if (parent.graves[i].books != -1)
			send_grave(l, &parent.graves[i]);
	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w))
		if (w->books != -1)
			send_books(l, w);
	for (unsigned i = 0; i < parent.former_count; i++)
		send_audit_file(parent.former[i].fd, parent.former_count - i);
	send_audit_file(parent.audit, 0);
	repeat_notes();
	return true;
}

/* The one that came with the worker, be it that both leave. NULL: there is none. */
static struct child *
authenticator_of(const struct child *w)
{
	for (unsigned i = 0; i < parent.specialist_count; i++) {
		struct child *a = &parent.specialists[i];

		if (a->role == ROLE_AUTHENTICATOR && !a->leaving && !w->leaving &&
		    w->epoch == parent.epoch)
			return a;
	}
	return NULL;
}

/* A channel between the worker and the authenticator, in place of one whose other end has died. */
static void
join_authenticator(struct child *w)
{
	struct child *a = authenticator_of(w);
	struct ipc_books body = {w->index, w->generation};
	int fds[2];

	if (a == NULL || a->pid == 0 || w->pid == 0)
		return;
	if (channel_pair(fds) == -1) {
		log_error("cannot make a channel: %s", strerror(errno));
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
	parent_send(a, IPC_AUTH_CHANNEL, &body, sizeof body, &fds[0], 1);
	parent_send(w, IPC_AUTH_CHANNEL, &body, sizeof body, &fds[1], 1);
	close(fds[0]);
	close(fds[1]);
}

/* All that it shows, and the doors where it is asked. */
static void
show_control(struct child *c)
{
	const struct {
		struct ipc_door door;
		int fd;
	} doors[] = {{{.kind = DOOR_CONTROL}, parent.control},
		     {{.kind = DOOR_METRICS, .at = parent.metrics_at}, parent.metrics}};

	struct child *other;

	show_to(c, IPC_TALLY, NULL, 0, parent.tally);
	show_to(c, IPC_COPY_PAGE, NULL, 0, copies_page());
	show_own_vitals();
	for (unsigned i = 0; (other = parent_child(i)) != NULL; i++)
		show_vitals(other);
	for (other = parent_next_worker(NULL); other != NULL; other = parent_next_worker(other))
		show_books(other); /* these tell which policies are still named */
	for (unsigned i = parent.image_count; i-- > 0;)
		send_policy(c, &parent.images[i]);
	for (size_t i = 0; i < sizeof doors / sizeof doors[0]; i++)
		if (doors[i].fd != -1)
			parent_send(c, IPC_DOOR, &doors[i].door, sizeof doors[i].door, &doors[i].fd,
				    1);
}

static void
tell_forwarder(struct child *c)
{
	const struct copies_file *f;
	struct ipc_copy_store store;
	unsigned at = 0;
	int fds[3];

	if (!copies_start(parent.settings, parent.audit, !parent.announced, &store, fds)) {
		kill(c->pid, SIGKILL);
		return;
	}
	parent_send(c, IPC_COPY_STORE, &store, sizeof store, fds, 3);
	while ((f = copies_next(&at)) != NULL)
		send_copy_file(f);
}

/* Settings and policy, and what else each needs. As start_ledger. */
static bool
start_specialist(struct child *c)
{
	if (!spawn(c))
		return false;
	if (c->role == ROLE_FORWARDER)
		tell_forwarder(c);
	if (c->role == ROLE_CONTROL) {
		show_control(c);
		tell_control(c);
	} else
		send_policy(c, &parent.images[0]);
	if (c->role == ROLE_AUTHENTICATOR)
		for (struct child *w = parent_next_worker(NULL); w != NULL;
		     w = parent_next_worker(w))
			join_authenticator(w);
	return true;
}

bool
parent_start_specialists(void)
{
	static const enum ipc_role all[] = {ROLE_AUTHENTICATOR, ROLE_CONTROL, ROLE_FORWARDER};

	for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
		const struct role *r = &roles[all[i]];
		struct child *c = &parent.specialists[parent.specialist_count];

		if (r->run == NULL || parent.specialist_count == SPECIALISTS_MAX ||
		    parent_specialist(all[i]) != NULL ||
		    (r->wanted != NULL && !r->wanted(parent.settings)))
			continue;
		*c = (struct child){.role = all[i], .books = -1, .bell = -1};
		c->channel.fd = -1;
		parent.specialist_count++;
		if (!start_specialist(c)) {
			plan_restart(c);
			return false;
		}
	}
	return true;
}

static bool
make_books(struct child *w)
{
	uint32_t sessions = parent.settings->limits.sessions;
	uint64_t seed;

	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		seed = (uint64_t)clock_wall_ns();
	w->books = books_create(w->index, w->generation,
				sessions != 0 ? sessions : SESSIONS_UNLIMITED, seed);
	w->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->books != -1 && w->bell != -1)
		return true;
	log_error("cannot make the books of worker %u: %s", w->index, strerror(errno));
	return false;
}

/* As start_ledger. */
static bool
start_worker(struct child *w)
{
	const struct ipc_listeners *l = &parent.bound.listeners;

	if (!make_books(w) || !spawn(w))
		return false;
	send_books(&parent.ledger, w); /* before it can tell anything */
	show_books(w);
	send_books(w, w);
	parent_send(w, IPC_TALLY, NULL, 0, &parent.tally, 1);
	parent_send(w, IPC_QUOTAS, NULL, 0, &parent.quotas, 1);
	parent_send(w, IPC_LISTENERS, l, ipc_listeners_length(l->count), parent.bound.fds,
		    l->count);
	send_worker_policy(w, &parent.images[0]);
	join_authenticator(w);
	parent_send(w, IPC_START, NULL, 0, NULL, 0);
	return true;
}

void
parent_close_books(struct child *w)
{
	if (w->books != -1)
		close(w->books);
	if (w->bell != -1)
		close(w->bell);
	w->books = w->bell = -1;
}

static struct grave *
free_grave(void)
{
	for (unsigned i = 0; i < GRAVES; i++)
		if (parent.graves[i].books == -1)
			return &parent.graves[i];
	return NULL;
}

/* The books pass from the worker into a grave; one is free, or it would not have been started. */
static void
dig_grave(struct child *w, const struct ipc_worker_gone *gone, bool told)
{
	struct grave *g = free_grave();

	if (g == NULL) {
		parent_close_books(w);
		return;
	}
	*g = (struct grave){*gone, told, w->books, w->bell};
	w->books = w->bell = -1;
}

static void
books_closed(const struct ipc_books *of)
{
	for (unsigned i = 0; i < GRAVES; i++) {
		struct grave *g = &parent.graves[i];

		if (g->books == -1 || g->gone.worker != of->worker ||
		    g->gone.generation != of->generation)
			continue;
		close(g->books);
		close(g->bell);
		g->books = -1;
	}
}

/* ---- deaths ------------------------------------------------------------------------------- */

static void
tell_death(const struct child *c, int status)
{
	char name[CHILD_NAME], call[SANDBOX_NAME];

	if (sandbox_forbidden(c->pid, call) != NULL)
		log_error("%s (pid %d) was ended: the system call '%s' is forbidden to it (SIGSYS)",
			  child_name(c, name), (int)c->pid, call);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_error("%s (pid %d) was ended: it tried a forbidden system call (SIGSYS)",
			  child_name(c, name), (int)c->pid);
	else if (c->replaced && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		log_debug("%s (pid %d) was ended for its successor", child_name(c, name),
			  (int)c->pid);
	else if (WIFSIGNALED(status))
		log_error("%s (pid %d) was ended by signal %d (%s)", child_name(c, name),
			  (int)c->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 0 && (c->leaving || c->replaced))
		log_info("%s (pid %d) has left", child_name(c, name), (int)c->pid);
	else if (WEXITSTATUS(status) != 0 || !parent.draining)
		log_error("%s (pid %d) ended with status %d", child_name(c, name), (int)c->pid,
			  WEXITSTATUS(status));
}

static void reload_answered(void);
static void worker_answered(struct child *from, const struct ipc_killed *result);
static void compile_next(void);

static void
all_taken(void)
{
	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w))
		if (w->taking)
			return;
	if (control() != NULL && control()->taking) /* it knows who may still order */
		return;
	if (parent.revoked > 0)
		log_notice("the new policy ended %u session%s", parent.revoked,
			   parent.revoked == 1 ? "" : "s");
	if (parent.rolling == ROLL_NONE) /* else that is told when all is renewed */
		notify_tell("READY=1");
	reload_answered();
}

static bool
workers_left(void)
{
	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w))
		if (w->pid != 0)
			return true;
	return false;
}

/* The last record is written. */
static void
dismiss_forwarder(void)
{
	struct ipc_drain body = {COPIES_DRAIN_MS};
	struct child *c = parent_specialist(ROLE_FORWARDER);

	if (c == NULL || parent.forced)
		return;
	c->restart_ms = 0;
	parent.force_ms = parent_now() + COPIES_DRAIN_MS + SLACK_MS;
	parent_send(c, IPC_DRAIN, &body, sizeof body, NULL, 0);
}

/* Nobody is left to ask them; but the ledger has more to write, which is to be copied. */
static void
dismiss_specialists(void)
{
	struct ipc_drain body = {0};

	for (unsigned i = 0; i < parent.specialist_count; i++) {
		struct child *c = &parent.specialists[i];
		unsigned at = 0;

		if (c->role == ROLE_FORWARDER)
			continue;
		/* Control is dead at the moment, and what the workers counted is not added up yet. */
		if (c->role == ROLE_CONTROL && c->pid == 0 && c->restart_ms != 0 &&
		    counters_next(&at) != NULL)
			start_specialist(c);
		c->restart_ms = 0;
		c->ready = false; /* it is told nothing more */
		parent_send(c, IPC_DRAIN, &body, sizeof body, NULL, 0);
	}
}

/* One that is dead at the moment is drained when it has been restarted. */
static void
drain_ledger(void)
{
	struct ipc_drain body = {LEDGER_DRAIN_MS};

	if (parent.ledger.pid == 0 || parent.ledger_draining)
		return;
	parent.ledger_draining = true;
	parent.force_ms = parent_now() + LEDGER_DRAIN_MS + SLACK_MS;
	parent_send(&parent.ledger, IPC_DRAIN, &body, sizeof body, NULL, 0);
}

static void
worker_died(struct child *w, int status)
{
	struct ipc_worker_gone gone = {w->index, w->generation, status};
	bool clean = parent.draining && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool old = w->leaving || w->epoch != parent.epoch; /* others have taken its place */

	tally_present(parent.counts, w->index, false);
	hits_over(w, UINT32_MAX);
	if (!clean)
		parent_send(&parent.ledger, IPC_WORKER_GONE, &gone, sizeof gone, NULL, 0);
	if (control() != NULL)
		parent_send(control(), IPC_WORKER_GONE, &gone, sizeof gone, NULL, 0);
	worker_answered(w, NULL);
	dig_grave(w, &gone, !clean);
	w->generation++;
	if (w->taking) {
		w->taking = false;
		all_taken();
	}
	if (old)
		takeover_gone(w);
	else if (!parent.draining)
		plan_restart(w);
	takeover_worker_gone();
	if (parent.draining && !workers_left()) {
		dismiss_specialists();
		drain_ledger();
	}
}

/* Also while draining: what the workers told must be written. */
static void
ledger_died(struct child *l, int status)
{
	if (l->replaced && !parent.draining) {
		restart_now(l);
		return;
	}
	if (!parent.draining || (!parent.ledger_draining && !parent.forced)) {
		plan_restart(l);
		return;
	}
	parent.ledger_draining = false;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		dismiss_forwarder();
		return;
	}
	if (WIFSIGNALED(status) && !parent.forced && l->quick_deaths < LAST_TRIES) {
		plan_restart(l);
		return;
	}
	dismiss_forwarder();
	log_error("the ledger ended before all records were written");
	if (parent.status == EXIT_CLEAN)
		parent.status = EXIT_HALTED;
}

static void
specialist_died(struct child *c)
{
	bool taking = c->taking;

	c->taking = false; /* its successor gets the policy at once */
	if (c->leaving)
		takeover_gone(c);
	else if (c->replaced && !parent.draining)
		restart_now(c);
	else if (!parent.draining)
		plan_restart(c);
	if (taking)
		all_taken();
}

static void
child_died(struct child *c, int status)
{
	tell_death(c, status);
	close(c->channel.fd);
	c->channel.fd = -1;
	c->pid = 0;
	c->ready = false;
	close_vitals(c);
	if (c->role == ROLE_WORKER)
		worker_died(c, status);
	else if (c->role == ROLE_LEDGER)
		ledger_died(c, status);
	else
		specialist_died(c);
}

static void
restart_due(void)
{
	int64_t now = parent_now();
	struct child *l = &parent.ledger;

	if (l->restart_ms != 0 && now >= l->restart_ms) {
		l->restart_ms = 0;
		if (!start_ledger())
			plan_restart(l);
		else if (parent.draining && !workers_left())
			drain_ledger();
	}
	for (unsigned i = 0; i < parent.specialist_count; i++) {
		struct child *c = &parent.specialists[i];
		bool expected = c->replaced;
		char name[CHILD_NAME];

		if (c->restart_ms == 0 || now < c->restart_ms)
			continue;
		if (!start_specialist(c))
			plan_restart(c);
		else if (!expected)
			log_notice("%s was restarted (pid %d)", child_name(c, name), (int)c->pid);
	}
	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w)) {
		if (w->restart_ms == 0 || now < w->restart_ms)
			continue;
		w->restart_ms = 0;
		if (free_grave() ==
		    NULL) { /* the ledger has to write what the dead ones left, first */
			w->restart_ms = now + QUICK_DEATH_MS;
			continue;
		}
		if (!start_worker(w)) {
			parent_close_books(w);
			plan_restart(w);
		} else
			log_notice("worker %u was restarted (pid %d)", w->index, (int)w->pid);
	}
}

/* ---- reload ------------------------------------------------------------------------------- */

static bool
stands_in(const struct settings_listener *l, const struct settings *s)
{
	for (uint32_t i = 0; i < s->listener_count; i++) {
		const struct settings_listener *other = &s->listeners[i];

		if (!other->retired && strcmp(other->name, l->name) == 0)
			return addr_equal(&other->at.addr, &l->at.addr) &&
			       other->at.port == l->at.port && other->optional == l->optional;
	}
	return false;
}

/* The numbers may differ behind a hand-over. */
static bool
same_listeners(const struct settings *old, const struct settings *new)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < old->listener_count; i++)
		count += !old->listeners[i].retired;
	for (uint32_t i = 0; i < new->listener_count; i++)
		if (!stands_in(&new->listeners[i], old))
			return false;
	return count == new->listener_count;
}

/* What only a restart can change; said once, in one line. */
static void
tell_what_waits(const struct settings *old, int fd)
{
	const struct settings *new = mmap(NULL, sizeof *new, PROT_READ, MAP_SHARED, fd, 0);
	char line[256];
	struct text t;

	if (new == MAP_FAILED)
		return;
	text_init(&t, line, sizeof line);
	if (!same_listeners(old, new))
		text_put(&t, ", listeners");
	if (old->workers != new->workers)
		text_put(&t, ", workers");
	if (strcmp(old->user, new->user) != 0)
		text_put(&t, ", user");
	if (old->limits.source_prefix4 != new->limits.source_prefix4 ||
	    old->limits.source_prefix6 != new->limits.source_prefix6)
		text_put(&t, ", limits.source-prefix");
	if (old->audit.format != new->audit.format)
		text_put(&t, ", audit.format");
	if (strcmp(old->state.directory, new->state.directory) != 0)
		text_put(&t, ", state.directory");
	if (strcmp(old->control.socket, new->control.socket) != 0)
		text_put(&t, ", control.socket");
	if (old->metrics.enabled != new->metrics.enabled ||
	    memcmp(&old->metrics.at, &new->metrics.at, sizeof old->metrics.at) != 0)
		text_put(&t, ", metrics");
	if (t.len > 0)
		log_notice("changed settings that wait for a restart: %s", line + 2);
	munmap((void *)(uintptr_t) new, sizeof *new);
}

static void wishes_compiled(void);
static void wishes_failed(const struct ipc_compiled *result, int error);
static void wishes_taking(const struct ipc_compiled *result);
static void preview_compiled(const struct ipc_compiled *result, const int fds[2]);
static bool compile_wished(void);

void
parent_compile(bool colour)
{
	if (!parent.preview)
		notify_reloading();
	parent.compile_pid = compile_start(parent.options.path, colour, &parent.compile);
	if (parent.compile_pid == -1) {
		int error = errno;

		parent.compile_pid = 0;
		if (parent.rolling == ROLL_SETTINGS) {
			takeover_settings(&(struct ipc_compiled){0}, NULL);
			return;
		}
		if (!parent.preview)
			notify_tell("READY=1");
		wishes_failed(&(struct ipc_compiled){0}, error);
		return;
	}
	fcntl(parent.compile.fd, F_SETFL, fcntl(parent.compile.fd, F_GETFL) | O_NONBLOCK);
}

static void
reload(void)
{
	if (parent.draining)
		return;
	if (parent.compile_pid != 0) {
		parent.reload_again = true;
		return;
	}
	parent.preview = false;
	/* for people who wait at sallyctl it is drawn without */
	parent_compile(!compile_wished() && parent.options.foreground &&
		       isatty(STDERR_FILENO) == 1);
}

void
parent_tell_refused(const struct ipc_compiled *result)
{
	struct ipc_note body = {.kind = NOTE_REFUSED};

	parent.reloads_refused++;
	log_error("reload refused, the old policy stays: %u error%s", result->errors,
		  result->errors == 1 ? "" : "s");
	snprintf(body.text, sizeof body.text, "%u error%s, the old policy stays", result->errors,
		 result->errors == 1 ? "" : "s");
	parent_note(&body);
}

static void
reload_failed(const struct ipc_compiled *result)
{
	parent_tell_refused(result);
	notify_tell("READY=1");
	wishes_failed(result, 0);
}

void
parent_spread_policy(const struct ipc_compiled *result, const struct settings *old)
{
	parent.revoked = 0;
	parent.reloads_taken++;
	bind_control_mode(parent.settings);
	wishes_taking(result);
	send_policy(&parent.ledger,
		    &parent.images[0]); /* it must know the rules before it hears of them */
	if (strcmp(old->audit.file, parent.settings->audit.file) != 0)
		renew_audit_file();
	for (unsigned i = 0; i < parent.specialist_count; i++)
		if (parent.specialists[i].pid != 0) {
			send_policy(&parent.specialists[i], &parent.images[0]);
			parent.specialists[i].taking = parent.specialists[i].role == ROLE_CONTROL;
		}
	if (!parent_start_specialists()) /* those that the old configuration did not want */
		log_error("not all processes that the new configuration wants could be started");
	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w))
		if (w->pid != 0) {
			send_worker_policy(w, &parent.images[0]);
			w->taking = true;
		}
	log_notice("reloaded '%s': policy %02x%02x%02x%02x%02x%02x, %u rule%s, %u warning%s",
		   parent.options.path, result->hash[0], result->hash[1], result->hash[2],
		   result->hash[3], result->hash[4], result->hash[5], result->rules,
		   result->rules == 1 ? "" : "s", result->warnings,
		   result->warnings == 1 ? "" : "s");
	all_taken();
}

static void
reload_taken(const struct ipc_compiled *result, const int fds[2])
{
	const struct settings old = *parent.settings;
	int merged[2] = {-1, fds[1]};

	if (image_sealed(fds[0], sizeof old) && image_sealed(fds[1], 1)) {
		tell_what_waits(&old, fds[0]);
		merged[0] = as_running(fds[0]);
	}
	close(fds[0]);
	if (merged[0] == -1 || !parent_keep_images(merged, result->rules)) {
		if (merged[0] != -1)
			close(merged[0]);
		close(fds[1]);
		reload_failed(result);
		return;
	}
	parent_spread_policy(result, &old);
}

static void
compile_ready(void)
{
	struct ipc_compiled result;
	int fds[2];
	enum compiled r = compile_hear(&parent.compile, &result, fds);

	if (r == COMPILE_MORE)
		return;
	close(parent.compile.fd);
	parent.compile.fd = -1;
	if (!parent.preview)
		parent_show_problems(&parent.problems);
	wishes_compiled();
	buffer_free(&parent.problems);
	buffer_free(&parent.problems_json);
	if (parent.draining || parent.preview) {
		if (parent.draining)
			wishes_failed(&result, ESHUTDOWN);
		else if (r == COMPILE_OK)
			preview_compiled(&result, fds);
		else
			wishes_failed(&result, 0);
		if (r == COMPILE_OK) {
			close(fds[0]);
			close(fds[1]);
		}
	} else if (parent.rolling == ROLL_SETTINGS)
		takeover_settings(&result, r == COMPILE_OK ? fds : NULL);
	else if (r == COMPILE_OK)
		reload_taken(&result, fds);
	else
		reload_failed(&result);
	/* compile_pid is cleared when it is waited for */
}

/* ---- what children say ---------------------------------------------------------------------- */

static void
announce(void)
{
	char line[1024], at[ENDPOINT_TEXT];
	unsigned workers = 0;
	struct text t;

	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w))
		workers++;
	text_init(&t, line, sizeof line);
	for (uint32_t i = 0; i < parent.bound.listeners.count; i++) {
		const struct ipc_listener *l = &parent.bound.listeners.list[i];

		endpoint_format(&l->at, at);
		text_putf(&t, "%s%s %s", i > 0 ? ", " : "",
			  parent.settings->listeners[l->listener].name, at);
	}
	log_notice("ready: %u worker%s, listening on %s", workers, workers == 1 ? "" : "s", line);
	notify_tell("READY=1\nSTATUS=ready");
	if (parent.options.ready_fd != -1) {
		char ok = EXIT_CLEAN;

		dup2(STDOUT_FILENO, STDERR_FILENO); /* /dev/null: the caller's terminal is free */

		if (write(parent.options.ready_fd, &ok, 1) != 1)
			log_debug("nobody waited for readiness");
		close(parent.options.ready_fd);
		parent.options.ready_fd = -1;
	}
	parent.announced = true;
}

static bool
all_ready(void)
{
	struct child *c;

	for (unsigned i = 0; (c = parent_child(i)) != NULL; i++)
		if (!c->ready)
			return false;
	return true;
}

static void
policy_taken(struct child *c, const struct ipc_policy_taken *taken)
{
	if (c->role == ROLE_WORKER)
		hits_over(c, taken->generation);
	if (taken->generation != parent.images[0].number || !c->taking)
		return;
	c->taking = false;
	parent.revoked += taken->revoked;
	all_taken();
}

static void drain(bool quickly);

static void
audit_state(const struct ipc_audit_state *state)
{
	static const char *const words[] = {"ok", "refusing new sessions", "dropping records"};
	char status[128];

	if (state->state > 2)
		return;
	parent.audit_state = *state;
	if (state->state == 0)
		log_notice("the audit file is written again");
	else
		log_error("cannot write the audit file: %s; %s", strerror((int)state->error),
			  words[state->state]);
	snprintf(status, sizeof status, "STATUS=%s",
		 state->state == 0 ? "ready" : words[state->state]);
	notify_tell(status);
	if (state->state == 1 && parent.settings->audit.on_full == ON_FULL_HALT &&
	    !parent.draining) {
		log_error("the server stops: records cannot be written (audit.on-full)");
		parent.status = EXIT_HALTED;
		drain(true);
	}
}

static void take_order(const struct ipc_order *o);
static void tell_changes(void);

static void
rotate_audit_file(void)
{
	if (!parent.draining && renew_audit_file())
		log_debug("a new audit file");
}

static void
child_is_ready(struct child *c)
{
	c->ready = true;
	if (c->role == ROLE_LEDGER) /* if it dies from here on, that is why */
		parent.ledger_handed = false;
}

static void
child_ready(struct child *c)
{
	static struct message m;
	char name[CHILD_NAME];
	int got;

	while (c->pid != 0) {
		got = channel_receive(&c->channel, &m);
		if (got == -1 && errno == EAGAIN)
			return;
		if (got == 0) { /* it is dying; or it is broken, and must not keep us awake */
			kill(c->pid, SIGKILL);
			return;
		}
		if (got == -1) {
			log_error("illegal message from %s, it is ended", child_name(c, name));
			kill(c->pid, SIGKILL);
			return;
		}
		if (m.type == IPC_READY)
			child_is_ready(c);
		else if (m.type == IPC_POLICY_TAKEN && c->role != ROLE_LEDGER)
			policy_taken(c, m.body);
		else if (m.type == IPC_HITS_ADDED)
			counters_close(((const struct ipc_hits_id *)m.body)->id);
		else if (m.type == IPC_COPY_DONE)
			copies_done(((const struct ipc_copy_done *)m.body)->number);
		else if (m.type == IPC_AUDIT_ROTATE)
			rotate_audit_file();
		else if (m.type == IPC_AUDIT_TAKEN)
			file_taken();
		else if (m.type == IPC_BOOKS_CLOSED)
			books_closed(m.body);
		else if (m.type == IPC_POLICY_OVER)
			image_over(((const struct ipc_policy *)m.body)->generation);
		else if (m.type == IPC_AUDIT_STATE)
			audit_state(m.body);
		else if (m.type == IPC_ORDER)
			take_order(m.body);
		else if (m.type == IPC_KILLED || m.type == IPC_PREVIEWED)
			worker_answered(c, m.body);
		message_close_fds(&m);
	}
}

/* ---- signals -------------------------------------------------------------------------------- */

static void
drain(bool quickly)
{
	struct ipc_drain body = {quickly ? 1000 : parent.settings->timeouts.drain};

	/* A second signal: at once. A third: by force. */
	parent.stop_signals++;
	if (parent.stop_signals > 1)
		body.within_ms = 0;
	if (!parent.draining) {
		notify_tell("STOPPING=1");
		log_notice("stopping: sessions have %u ms to end", body.within_ms);
		/* The workers close theirs: with ours open the kernel would go on greeting clients.
		 */
		for (uint32_t i = 0; i < parent.bound.listeners.count; i++)
			close(parent.bound.fds[i]);
		parent.bound.listeners.count = 0;
		if (parent.compile_pid != 0 &&
		    parent.compile.fd != -1) /* else it has told, and goes */
			kill(parent.compile_pid, SIGKILL);
		if (parent.ledger.restart_ms != 0) /* this is no time to be patient with it */
			parent.ledger.restart_ms = parent_now();
	}
	parent.draining = true;
	handover_stop();
	takeover_stop();
	parent.force_ms =
	    parent.stop_signals > 2 ? parent_now() : parent_now() + body.within_ms + SLACK_MS;
	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w)) {
		w->restart_ms = 0;
		parent_send(w, IPC_DRAIN, &body, sizeof body, NULL, 0);
	}
	if (!workers_left()) {
		dismiss_specialists();
		drain_ledger();
	}
}

/* ---- people's wishes ------------------------------------------------------------------------
 */

void
parent_record(const struct ipc_order *o, bool success, const char *fmt, ...)
{
	struct ipc_note body = {.kind = NOTE_ADMIN, .uid = o->uid, .success = success};
	char result[224];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(result, sizeof result, fmt, ap);
	va_end(ap);
	memcpy(body.who, o->who, sizeof body.who);
	snprintf(body.text, sizeof body.text, "%s: %s", o->words, result);
	log_notice("%s by %s (uid %u): %s", o->words, o->who, o->uid, result);
	parent_note(&body);
}

static void
tell_wisher(enum ipc_type type, const void *body, size_t len)
{
	if (control() != NULL)
		parent_send(control(), type, body, len, NULL, 0);
}

void
parent_answer(const struct ipc_order *o, const struct ipc_answer *a)
{
	struct ipc_answer body = *a;

	body.ticket = o->ticket;
	tell_wisher(IPC_ANSWER, &body, sizeof body);
}

static void
wish_over(struct wish *w)
{
	const struct ipc_answer *a = &w->answer;
	bool done = a->result == ANSWER_DONE;
	const char *s = a->sessions == 1 ? "" : "s";

	if (w->order.what == ORDER_KILL)
		parent_record(&w->order, true, "%u session%s ended", a->sessions, s);
	else if (w->order.what == ORDER_RELOAD && done)
		parent_record(&w->order, true,
			      "policy %02x%02x%02x%02x%02x%02x, %u session%s ended", a->hash[0],
			      a->hash[1], a->hash[2], a->hash[3], a->hash[4], a->hash[5],
			      a->sessions, s);
	else if (w->order.what == ORDER_RELOAD)
		parent_record(&w->order, false, "refused, %u error%s", a->errors,
			      a->errors == 1 ? "" : "s");
	parent_answer(&w->order, a);
	w->state = WISH_NONE;
}

struct wish *
parent_wish(const struct ipc_order *o, enum wish_state state)
{
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_NONE)
			continue;
		*w = (struct wish){.state = state, .order = *o};
		w->answer.result = ANSWER_DONE;
		return w;
	}
	parent_answer(o, &(struct ipc_answer){.result = ANSWER_BUSY});
	return NULL;
}

/* -- reloads -- */

static bool
compile_wished(void)
{
	bool any = false;

	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_NEXT ||
		    (w->order.what == ORDER_PREVIEW) != parent.preview)
			continue;
		w->state = WISH_COMPILES;
		any = true;
	}
	return any;
}

static void
compile_next(void)
{
	bool reloads = parent.reload_again, previews = false;

	if (parent.compile_pid != 0)
		return;
	parent.reload_again = false;
	for (unsigned i = 0; i < WISHES; i++) {
		const struct wish *w = &parent.wishes[i];

		reloads |= w->state == WISH_NEXT && w->order.what == ORDER_RELOAD;
		previews |= w->state == WISH_NEXT && w->order.what == ORDER_PREVIEW;
	}
	if (parent.draining) {
		parent.preview = true;
		compile_wished();
		parent.preview = false;
		compile_wished();
		wishes_failed(&(struct ipc_compiled){0}, ESHUTDOWN);
	} else if (reloads)
		reload();
	else if (previews) {
		parent.preview = true;
		compile_wished();
		parent_compile(false);
	}
}

#define PROBLEMS_TOLD (128 * 1024)
#define PROBLEMS_TOLD_JSON (1024 * 1024) /* longer ones are told as text: half an object is none */

void
parent_tell_problems(const struct ipc_order *to, const struct buffer *problems, size_t most)
{
	static union {
		struct ipc_answer_text head;
		char bytes[sizeof(struct ipc_answer_text) + IPC_MAX_TEXT];
	} body;

	if (problems->len < most)
		most = problems->len;
	for (size_t at = 0, n; at < most; at += n) {
		n = most - at < IPC_MAX_TEXT ? most - at : IPC_MAX_TEXT;
		body.head.ticket = to->ticket;
		memcpy(body.bytes + sizeof body.head, problems->p + at, n);
		tell_wisher(IPC_ANSWER_TEXT, &body, sizeof body.head + n);
	}
}

static void
wishes_compiled(void)
{
	for (unsigned i = 0; i < WISHES; i++) {
		const struct wish *w = &parent.wishes[i];

		if (w->state != WISH_COMPILES)
			continue;
		if (w->order.json != 0 && parent.problems_json.len <= PROBLEMS_TOLD_JSON)
			parent_tell_problems(&w->order, &parent.problems_json, PROBLEMS_TOLD_JSON);
		else
			parent_tell_problems(&w->order, &parent.problems, PROBLEMS_TOLD);
	}
}

static void
compiled_into(struct ipc_answer *a, const struct ipc_compiled *result)
{
	a->errors = result->errors;
	a->warnings = result->warnings;
	a->rules = result->rules;
	memcpy(a->hash, result->hash, sizeof a->hash);
}

static void
wishes_failed(const struct ipc_compiled *result, int error)
{
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_COMPILES)
			continue;
		compiled_into(&w->answer, result);
		w->answer.result = error == ESHUTDOWN ? ANSWER_DRAINING : ANSWER_FAILED;
		w->answer.error = (uint32_t)error;
		wish_over(w);
	}
}

static void
wishes_taking(const struct ipc_compiled *result)
{
	for (unsigned i = 0; i < WISHES; i++)
		if (parent.wishes[i].state == WISH_COMPILES) {
			compiled_into(&parent.wishes[i].answer, result);
			parent.wishes[i].state = WISH_TAKING;
		}
}

/* All workers have the new policy. */
static void
reload_answered(void)
{
	for (unsigned i = 0; i < WISHES; i++)
		if (parent.wishes[i].state == WISH_TAKING) {
			parent.wishes[i].answer.sessions = parent.revoked;
			wish_over(&parent.wishes[i]);
		}
}

/* -- what workers are asked -- */

static void
ask_workers(struct wish *w, enum ipc_type type, const void *body, size_t len, const int *fds,
	    unsigned n)
{
	w->state = WISH_ASKED;
	for (struct child *c = parent_next_worker(NULL); c != NULL; c = parent_next_worker(c))
		if (c->ready && parent_send(c, type, body, len, fds, n))
			w->asked |= UINT64_C(1) << c->index;
	if (w->asked == 0)
		wish_over(w);
}

static void
preview_compiled(const struct ipc_compiled *result, const int fds[2])
{
	if (!image_sealed(fds[0], sizeof(struct settings)) || !image_sealed(fds[1], 1)) {
		wishes_failed(result, EINVAL);
		return;
	}
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];
		struct ipc_preview body = {w->ticket = ++parent.tickets};

		if (w->state != WISH_COMPILES)
			continue;
		compiled_into(&w->answer, result);
		ask_workers(w, IPC_PREVIEW, &body, sizeof body, fds, 2);
	}
}

/* result NULL: it died, and its sessions with it. */
static void
worker_answered(struct child *from, const struct ipc_killed *result)
{
	uint64_t bit = UINT64_C(1) << from->index;

	if (from->role != ROLE_WORKER)
		return;
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_ASKED || (w->asked & bit) == 0 ||
		    (result != NULL && result->ticket != w->ticket))
			continue;
		w->asked &= ~bit;
		w->answer.sessions += result != NULL ? result->sessions : 0;
		if (w->asked == 0)
			wish_over(w);
	}
}

/* -- the orders -- */

static void
order_reload(const struct ipc_order *o)
{
	if (parent_wish(o, WISH_NEXT) != NULL)
		compile_next();
}

static void
order_kill(const struct ipc_order *o)
{
	struct wish *w = parent_wish(o, WISH_ASKED);

	if (w == NULL)
		return;
	w->order.kill.ticket = w->ticket = ++parent.tickets;
	ask_workers(w, IPC_KILL, &w->order.kill, sizeof w->order.kill, NULL, 0);
}

static void
order_drain(const struct ipc_order *o)
{
	struct ipc_answer a = {.result = parent.draining ? ANSWER_DRAINING : ANSWER_DONE,
			       .within_ms = parent.settings->timeouts.drain};

	parent_record(o, !parent.draining,
		      parent.draining ? "draining already" : "sessions have %u ms to end",
		      a.within_ms);
	parent_answer(o, &a);
	if (!parent.draining)
		drain(false);
}

static void
order_reopen(const struct ipc_order *o)
{
	struct ipc_answer a = {.result = ANSWER_DONE};

	if (!renew_audit_file()) {
		a.result = ANSWER_FAILED;
		a.error = (uint32_t)errno;
		parent_record(o, false, "the audit file cannot be opened");
	} else
		parent_record(o, true, "the audit file was opened anew");
	parent_answer(o, &a);
}

static void
order_note(const struct ipc_order *o)
{
	parent_record(o, false, "refused, %s", o->why);
}

static enum ipc_process_state
state_of(const struct child *c)
{
	if (c->pid == 0)
		return PROCESS_DOWN;
	return c->leaving ? PROCESS_LEAVING : c->ready ? PROCESS_READY : PROCESS_STARTING;
}

static struct ipc_process
process_of(const struct child *c)
{
	return (struct ipc_process){
	    .role = c->role,
	    .index = c->index,
	    .pid = c->pid,
	    .state = state_of(c),
	    .restarts = c->restarts,
	    .sandbox = c->pid != 0 ? sandbox_of(c->pid) : 0,
	    .started_ns = c->started_wall_ns,
	};
}

static size_t
state_now(struct ipc_processes *p)
{
	const struct child *c;

	memset(p, 0, sizeof *p);
	p->loaded_ns = parent.loaded_ns;
	p->generation = parent.images[0].number;
	p->reloads_taken = parent.reloads_taken;
	p->reloads_refused = parent.reloads_refused;
	p->audit_state = parent.audit_state.state;
	p->audit_error = parent.audit_state.error;
	p->draining = parent.draining;
	p->handovers = parent.epoch;
	p->count = 1;
	p->list[0] = (struct ipc_process){.role = ROLE_PARENT,
					  .pid = getpid(),
					  .state = PROCESS_READY,
					  .sandbox = sandbox_of(getpid()),
					  .started_ns = parent.started_wall_ns};
	for (unsigned i = 0; (c = parent_child(i)) != NULL && p->count < IPC_PROCESSES_MAX; i++)
		p->list[p->count++] = process_of(c);
	return ipc_processes_length(p->count);
}

/* The nursery and its checkers, as far as there is room: they are not ours, but what confines them is
 * to be seen as well. */
static bool
grandchildren(struct ipc_processes *p)
{
	uint32_t before = p->count;
	struct sandboxed s;
	unsigned at = 0;

	while (p->count < IPC_PROCESSES_MAX && sandbox_next(&at, &s)) {
		bool checker = s.profile == SANDBOX_CHECKER_FILE ||
			       s.profile == SANDBOX_CHECKER_GROUPS ||
			       s.profile == SANDBOX_CHECKER_GSSAPI ||
			       s.profile == SANDBOX_CHECKER_PAM;

		if (!checker && s.profile != SANDBOX_NURSERY)
			continue;
		p->list[p->count++] =
		    (struct ipc_process){.role = checker ? ROLE_CHECKER : ROLE_NURSERY,
					 .pid = s.pid,
					 .state = PROCESS_READY,
					 .sandbox = s.state};
	}
	return p->count != before;
}

static void
order_status(const struct ipc_order *o)
{
	static struct ipc_processes p;
	size_t len = state_now(&p);

	p.ticket = o->ticket;
	if (grandchildren(&p))
		len = ipc_processes_length(p.count);
	tell_wisher(IPC_PROCESSES, &p, len);
}

/* For the metrics page, which shall not have to wait for us. */
static void
tell_changes(void)
{
	static struct ipc_processes told;
	static struct ipc_processes p;
	size_t len;

	if (control() == NULL || !control()->ready)
		return;
	len = state_now(&p);
	if (memcmp(&p, &told, sizeof p) == 0)
		return;
	told = p;
	tell_wisher(IPC_PROCESSES, &p, len);
}

static void
take_order(const struct ipc_order *o)
{
	static void (*const orders[])(const struct ipc_order *) = {
	    [ORDER_STATUS] = order_status, [ORDER_RELOAD] = order_reload,
	    [ORDER_PREVIEW] = order_reload, [ORDER_DRAIN] = order_drain,
	    [ORDER_REOPEN] = order_reopen, [ORDER_KILL] = order_kill,
	    [ORDER_RESTART] = handover_ask, [ORDER_NOTE] = order_note};

	orders[o->what](o);
}

static void
tell_compile_forbidden(pid_t pid)
{
	char call[SANDBOX_NAME];

	if (sandbox_forbidden(pid, call) != NULL)
		log_error("compile (pid %d) was ended: the system call '%s' is forbidden to it (SIGSYS)",
			  (int)pid, call);
}

void
parent_reap(void)
{
	struct child *c;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (rotate_hook_ended(pid, status) || handover_tried(pid, status))
			continue;
		if (pid == parent.compile_pid) {
			tell_compile_forbidden(pid);
			while (parent.compile.fd != -1)
				compile_ready();
			parent.compile_pid = 0;
			compile_next();
			continue;
		}
		for (unsigned i = 0; (c = parent_child(i)) != NULL; i++)
			if (pid == c->pid) {
				child_died(c, status);
				break;
			}
	}
}

static void
signal_ready(void)
{
	struct signalfd_siginfo info;

	while (read(parent.signals, &info, sizeof info) == sizeof info)
		switch (info.ssi_signo) {
		case SIGCHLD:
			parent_reap();
			break;
		case SIGHUP:
			reload();
			break;
		case SIGUSR1:
			renew_audit_file();
			break;
		case SIGUSR2:
			handover_ask(NULL);
			break;
		case SIGINT:
			drain(parent.options.foreground);
			break;
		case SIGTERM:
			drain(false);
			break;
		}
}

static bool
take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a log that may not grow */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGUSR2, SIG_DFL); /* was ignored: one that is new already need not be renewed */
	parent.signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return parent.signals != -1;
}

/* ---- running -------------------------------------------------------------------------------- */

static void
force(void)
{
	struct child *c;

	log_warning("not all ended in time, the rest is ended by force");
	parent.force_ms = 0;
	parent.forced = true;
	for (unsigned i = 0; (c = parent_child(i)) != NULL; i++)
		if (c->pid != 0 && (c->role != ROLE_LEDGER || parent.ledger_draining))
			kill(c->pid, SIGKILL);
}

/*
 * A worker beats every second as long as its loop turns. Looks are counted, and no time: a machine that was suspended,
 * or had no processor for us either, has not made them; and one that comes late says nothing.
 */
static void
look_at_workers(void)
{
	int64_t now = parent_now();
	bool late = now > parent.look_ms + LOOK_MS / 2;

	if (now < parent.look_ms)
		return;
	parent.look_ms = now + LOOK_MS;
	for (struct child *w = parent_next_worker(NULL); w != NULL; w = parent_next_worker(w)) {
		uint32_t beats = atomic_load(tally_beats(parent.counts, w->index));

		w->silent = w->ready && !late && beats == w->beats ? w->silent + 1 : 0;
		w->beats = beats;
		if (w->silent < SILENT_MOST)
			continue;
		log_error("worker %u (pid %d) has not turned its loop for %d s, it is ended",
			  w->index, (int)w->pid, SILENT_MOST * LOOK_MS / 1000);
		w->silent = 0;
		kill(w->pid, SIGKILL);
	}
}

/* The earlier one; 0 is none. */
static int64_t
sooner(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

static int
wait_ms(int64_t until)
{
	int64_t now = parent_now(), next = sooner(sooner(until, parent.force_ms), parent.look_ms);
	const struct child *c;

	if (parent.rolling == ROLL_WORKERS)
		next = sooner(next, parent.rolling_until_ms);
	next = sooner(sooner(next, handover_until()), notify_due());
	for (unsigned i = 0; (c = parent_child(i)) != NULL; i++)
		next = sooner(next, c->restart_ms);
	if (next == 0)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

/* One wait and all that came of it. until: 0 or the latest time to return. */
static void
round_once(int64_t until)
{
	struct pollfd fds[CHILDREN_MAX + 4];
	struct child *of[CHILDREN_MAX + 4] = {NULL};
	struct child *c;
	unsigned n = 0;

	fds[n++] = (struct pollfd){.fd = parent.signals, .events = POLLIN};
	fds[n++] = (struct pollfd){.fd = parent.compile_pid != 0 ? parent.compile.fd : -1,
				   .events = POLLIN};
	handover_watch(fds + n);
	n += 2;
	/* A child that is gone is told by SIGCHLD: its closed channel must not keep us awake. */
	for (unsigned i = 0; (c = parent_child(i)) != NULL; i++)
		if (c->pid != 0) {
			of[n] = c;
			fds[n++] = (struct pollfd){.fd = c->channel.fd, .events = POLLIN};
		}
	if (poll(fds, n, wait_ms(until)) == -1 && errno != EINTR) {
		log_error("cannot poll: %s", strerror(errno));
		return;
	}
	for (unsigned i = 4; i < n; i++)
		if ((fds[i].revents & POLLIN) != 0)
			child_ready(of[i]);
	if (parent.compile_pid != 0 && parent.compile.fd != -1 && fds[1].revents != 0)
		compile_ready();
	signal_ready();
	restart_due();
	takeover_turn();
	tell_changes();
	handover_turn(fds + 2);
	if (parent.force_ms != 0 && parent_now() >= parent.force_ms)
		force();
	look_at_workers();
	notify_alive();
}

static unsigned
processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

	return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

unsigned
parent_workers_wanted(const struct settings *s)
{
	unsigned n = s->workers != 0 ? s->workers : processors();

	return n < WORKERS_MAX ? n : WORKERS_MAX;
}

bool
parent_add_worker(unsigned index)
{
	struct child *w = &parent.workers[index];

	w->role = ROLE_WORKER;
	w->index = index;
	w->used = true;
	w->epoch = parent.epoch;
	w->books = w->bell = w->channel.fd = -1;
	if (free_grave() == NULL) { /* the ledger is behind */
		w->restart_ms = parent_now() + QUICK_DEATH_MS;
		return false;
	}
	if (start_worker(w))
		return true;
	parent_close_books(w);
	plan_restart(w);
	return false;
}

static bool
wait_ready(void)
{
	int64_t until = parent_now() + START_MS;

	while (!all_ready() && !parent.draining && parent_now() < until)
		round_once(until);
	if (parent.draining)
		return true; /* a signal during start: the end is on its way */
	if (!all_ready())
		log_error("not all processes are ready after %d s", START_MS / 1000);
	return all_ready();
}

static bool
start_children(void)
{
	parent.tally = tally_create(parent.settings->limits.sessions);
	parent.counts = parent.tally != -1 ? tally_map(parent.tally) : NULL;
	parent.desk = desk_create();
	parent.quotas = quota_create(parent.settings->limits.sessions);
	if (!counters_store(parent.settings->state.directory, &parent.hits_store, parent.hits_files)) {
		log_error("cannot make the store of counters: %s", strerror(errno));
		return false;
	}
	if (parent.counts == NULL || parent.desk == -1 || parent.quotas == -1 || !copies_open()) {
		log_error("cannot make the tally, the desk, the quotas and the page of copies: %s",
			  strerror(errno));
		return false;
	}
	parent.ledger = (struct child){.role = ROLE_LEDGER, .books = -1, .bell = -1};
	parent.ledger.channel.fd = -1;
	if (!start_ledger() || !parent_start_specialists())
		return false;
	for (unsigned i = 0; i < parent_workers_wanted(parent.settings); i++)
		if (!parent_add_worker(i))
			return false;
	return wait_ready();
}

static int
fail(int status)
{
	char byte = (char)status;
	struct child *c;

	bind_control_remove();
	for (unsigned i = 0; (c = parent_child(i)) != NULL; i++)
		if (c->pid != 0)
			kill(c->pid, SIGKILL);
	if (parent.options.ready_fd != -1 && write(parent.options.ready_fd, &byte, 1) != 1)
		log_debug("nobody waited for readiness");
	return status;
}

int
parent_check(const char *path)
{
	struct ipc_compiled result;
	int fds[2];

	parent.options.foreground = true;
	if (!sandbox_open())
		return EXIT_CANNOT_START;
	if (compile_wait(path, &result, fds) != COMPILE_OK)
		return EXIT_CONFIGURATION;
	printf("%s: ok, %u rule%s, %u warning%s\n", path, result.rules,
	       result.rules == 1 ? "" : "s", result.warnings, result.warnings == 1 ? "" : "s");
	return EXIT_CLEAN;
}

static bool
ended(void)
{
	struct child *c;

	for (unsigned i = 0; (c = parent_child(i)) != NULL; i++)
		if (c->pid != 0)
			return false;
	return parent.draining && parent.ledger.restart_ms == 0 && parent.compile_pid == 0 &&
	       !handover_tries();
}

static bool
bind_doors(void)
{
	const struct settings *s = parent.settings;

	if (s->control.socket[0] != '\0' && (parent.control = bind_control(s)) == -1)
		return false;
	return !s->metrics.enabled || (parent.metrics = bind_metrics(s, &parent.metrics_at)) != -1;
}

/* Once all that needs rights is bound and opened. */
bool
parent_confine(void)
{
	if (!parent.options.sandbox_given)
		sandbox_mode(parent.settings->sandbox);
	sandbox_warn();
	return sandbox_enter(SANDBOX_PARENT);
}

static int
run_until_end(void)
{
	while (!ended())
		round_once(0);
	bind_control_remove();
	log_notice("stopped");
	return parent.status;
}

/* We were a server before, of another program perhaps. */
static int
go_on(bool foreground)
{
	bool taken;

	if (!foreground)
		log_open("parent", false, log_most());
	taken = handover_take();
	if (!foreground) /* once more: that closed what was not handed over */
		log_open("parent", false, log_most());
	if (!taken)
		return EXIT_CANNOT_START;
	privileges_descriptors();
	if (!take_signals()) {
		log_error("cannot take signals: %s", strerror(errno));
		return EXIT_CANNOT_START;
	}
	takeover_begin();
	return run_until_end();
}

int
parent_run(const struct parent_options *o)
{
	struct ipc_compiled result;
	int fds[2];

	if (handover_received())
		return go_on(o->foreground);
	signal(SIGUSR2, SIG_IGN);
	parent.options = *o;
	if (!sandbox_open())
		return EXIT_CANNOT_START;
	parent.compile.fd = parent.control = parent.metrics = -1;
	parent.started_wall_ns = clock_wall_ns();
	for (unsigned i = 0; i < GRAVES; i++)
		parent.graves[i].books = -1;
	privileges_descriptors();
	if (compile_wait(o->path, &result, fds) != COMPILE_OK ||
	    !image_sealed(fds[0], sizeof(struct settings)) || !image_sealed(fds[1], 1) ||
	    !parent_keep_images(fds, result.rules))
		return fail(EXIT_CONFIGURATION);
	if (!bind_listeners(parent.settings, &parent.bound))
		return fail(EXIT_CANNOT_BIND);
	if (!bind_doors())
		return fail(EXIT_CANNOT_BIND);
	if ((parent.audit = open_audit()) == -1)
		return fail(EXIT_CANNOT_START);
	copies_opened(parent.audit);
	if (!o->foreground) /* until here the caller reads our words; from here on they are for
			       syslog */
		log_open("parent", false, log_most());
	if (!take_signals() || !privileges_account(parent.settings->user, &parent.account) ||
	    !parent_confine() || !start_children())
		return fail(EXIT_CANNOT_START);
	if (!parent.draining)
		announce();
	return run_until_end();
}
