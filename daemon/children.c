/*
 * daemon/children.c - the parent's children: which there are, how they come to be, their deaths,
 * restarts and graves, and who is told to end when nobody needs him any more. The home of their
 * fork. In the parent's loop; waits for nothing: a restart has its time, and is made when the loop
 * comes by.
 *
 * A child has all rights of the parent until `become` has taken them from it; until then it hears
 * nothing and does nothing for anybody. What it is told is the business of daemon/briefing.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "books/books.h"
#include "books/tally.h"
#include "counters.h"
#include "parent_state.h"
#include "sandbox.h"
#include "vitals.h"

#define LEDGER_DRAIN_MS 5000
#define COPIES_DRAIN_MS 5000 /* for copies that are reached to take the last records */
#define LAST_TRIES 5         /* of a ledger that dies at the end */
#define QUICK_DEATH_MS 5000  /* a child that lives less is backed off */
#define BACKOFF_MOST_MS 30000
#define SESSIONS_UNLIMITED 200000

struct child *
children_next_worker(struct child *w)
{
	const struct child *end = parent.workers + WORKERS_MAX;

	w = w == NULL ? parent.workers : w + 1;
	while (w < end && !w->used)
		w++;
	return w < end ? w : NULL;
}

struct child *
children_at(unsigned i)
{
	struct child *w;

	if (i == 0)
		return &parent.ledger;
	i--;
	if (i < parent.specialist_count)
		return &parent.specialists[i];
	i -= parent.specialist_count;
	for (w = children_next_worker(NULL); w != NULL && i > 0; w = children_next_worker(w))
		i--;
	return w;
}

const char *
children_name(const struct child *c, char buf[CHILD_NAME])
{
	if (c->role == ROLE_WORKER)
		snprintf(buf, CHILD_NAME, "%s %u", roles[c->role].word, c->index);
	else
		snprintf(buf, CHILD_NAME, "%s", roles[c->role].word);
	return buf;
}

struct child *
children_specialist(enum ipc_role role)
{
	for (unsigned i = 0; i < parent.specialist_count; i++)
		if (parent.specialists[i].role == role && !parent.specialists[i].leaving)
			return &parent.specialists[i];
	return NULL;
}

struct child *
children_control(void)
{
	return children_specialist(ROLE_CONTROL);
}

bool
children_send(struct child *c, enum ipc_type type, const void *body, size_t len, const int *fds,
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
	log_error("cannot tell %s, it is ended: %s", children_name(c, name), strerror(errno));
	kill(c->pid, SIGKILL);
	return false;
}

void
children_tell_control(enum ipc_type type, const void *body, size_t len)
{
	if (children_control() != NULL)
		children_send(children_control(), type, body, len, NULL, 0);
}

/* ---- books and graves ------------------------------------------------------------------------ */

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

void
children_close_books(struct child *w)
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
		children_close_books(w);
		return;
	}
	*g = (struct grave){*gone, told, w->books, w->bell};
	w->books = w->bell = -1;
}

void
children_books_closed(const struct ipc_books *of)
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

/* ---- starting -------------------------------------------------------------------------------- */

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
	static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXFSZ};

	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN); /* signals are the parent's business */
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* something is told at once; by then the parent has looked, which it may not be able to later */
	poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
	children_name(c, role);
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
		briefing_vitals(c);
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
		log_warning("%s keeps dying, restarted in %" PRId64 " ms", children_name(c, name),
			    wait);
}

/* As restarts after deaths, but at once and uncounted. */
static void
restart_now(struct child *c)
{
	c->quick_deaths = 0;
	c->restart_ms = parent_now();
}

bool
children_start_ledger(void)
{
	if (!spawn(&parent.ledger))
		return false;
	briefing_ledger();
	return true;
}

/* Settings and policy, and what else each needs. As children_start_ledger. */
static bool
start_specialist(struct child *c)
{
	if (!spawn(c))
		return false;
	briefing_specialist(c);
	return true;
}

bool
children_start_specialists(void)
{
	static const enum ipc_role all[] = {ROLE_AUTHENTICATOR, ROLE_CONTROL, ROLE_FORWARDER};

	for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++) {
		const struct role *r = &roles[all[i]];
		struct child *c = &parent.specialists[parent.specialist_count];

		if (r->run == NULL || parent.specialist_count == SPECIALISTS_MAX ||
		    children_specialist(all[i]) != NULL ||
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

/* As children_start_ledger. */
static bool
start_worker(struct child *w)
{
	if (!make_books(w) || !spawn(w))
		return false;
	briefing_worker(w);
	return true;
}

static unsigned
processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

	return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

unsigned
children_workers_wanted(const struct settings *s)
{
	unsigned n = s->workers != 0 ? s->workers : processors();

	return n < WORKERS_MAX ? n : WORKERS_MAX;
}

bool
children_add_worker(unsigned index)
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
	children_close_books(w);
	plan_restart(w);
	return false;
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void
tell_death(const struct child *c, int status)
{
	char name[CHILD_NAME], call[SANDBOX_NAME];

	if (sandbox_forbidden(c->pid, call) != NULL)
		log_error("%s (pid %d) was ended: the system call '%s' is forbidden to it (SIGSYS)",
			  children_name(c, name), (int)c->pid, call);
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_error("%s (pid %d) was ended: it tried a forbidden system call (SIGSYS)",
			  children_name(c, name), (int)c->pid);
	else if (c->replaced && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		log_debug("%s (pid %d) was ended for its successor", children_name(c, name),
			  (int)c->pid);
	else if (WIFSIGNALED(status))
		log_error("%s (pid %d) was ended by signal %d (%s)", children_name(c, name),
			  (int)c->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 0 && (c->leaving || c->replaced))
		log_info("%s (pid %d) has left", children_name(c, name), (int)c->pid);
	else if (WEXITSTATUS(status) != 0 || !parent.draining)
		log_error("%s (pid %d) ended with status %d", children_name(c, name), (int)c->pid,
			  WEXITSTATUS(status));
}

static bool
workers_left(void)
{
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (w->pid != 0)
			return true;
	return false;
}

/* The last record is written. */
static void
dismiss_forwarder(void)
{
	struct ipc_drain body = {COPIES_DRAIN_MS};
	struct child *c = children_specialist(ROLE_FORWARDER);

	if (c == NULL || parent.forced)
		return;
	c->restart_ms = 0;
	parent.force_ms = parent_now() + COPIES_DRAIN_MS + SLACK_MS;
	children_send(c, IPC_DRAIN, &body, sizeof body, NULL, 0);
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
		children_send(c, IPC_DRAIN, &body, sizeof body, NULL, 0);
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
	children_send(&parent.ledger, IPC_DRAIN, &body, sizeof body, NULL, 0);
}

void
children_dismiss(void)
{
	if (workers_left())
		return;
	dismiss_specialists();
	drain_ledger();
}

static void
worker_died(struct child *w, int status)
{
	struct ipc_worker_gone gone = {w->index, w->generation, status};
	bool clean = parent.draining && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool old = w->leaving || w->epoch != parent.epoch; /* others have taken its place */

	tally_present(parent.counts, w->index, false);
	briefing_hits_over(w, UINT32_MAX);
	if (!clean)
		children_send(&parent.ledger, IPC_WORKER_GONE, &gone, sizeof gone, NULL, 0);
	if (children_control() != NULL)
		children_send(children_control(), IPC_WORKER_GONE, &gone, sizeof gone, NULL, 0);
	wishes_worker_answered(w, NULL);
	dig_grave(w, &gone, !clean);
	w->generation++;
	if (w->taking) {
		w->taking = false;
		reload_settle();
	}
	if (old)
		takeover_gone(w);
	else if (!parent.draining)
		plan_restart(w);
	takeover_worker_gone();
	if (parent.draining)
		children_dismiss();
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
		reload_settle();
}

static void
close_vitals(struct child *c)
{
	for (int i = 0; c->seen && i < VITALS_FDS; i++)
		close(c->vitals[i]);
	c->seen = false;
}

void
children_died(struct child *c, int status)
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

void
children_restart_due(void)
{
	int64_t now = parent_now();
	struct child *l = &parent.ledger;

	if (l->restart_ms != 0 && now >= l->restart_ms) {
		l->restart_ms = 0;
		if (!children_start_ledger())
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
			log_notice("%s was restarted (pid %d)", children_name(c, name),
				   (int)c->pid);
	}
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w)) {
		if (w->restart_ms == 0 || now < w->restart_ms)
			continue;
		w->restart_ms = 0;
		if (free_grave() ==
		    NULL) { /* the ledger has to write what the dead ones left, first */
			w->restart_ms = now + QUICK_DEATH_MS;
			continue;
		}
		if (!start_worker(w)) {
			children_close_books(w);
			plan_restart(w);
		} else
			log_notice("worker %u was restarted (pid %d)", w->index, (int)w->pid);
	}
}
