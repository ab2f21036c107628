/*
 * daemon/parent.c - see daemon/parent.h. The process itself: its start, its loop, what it hears,
 * its signals, its end; the rest of it stands in the files that daemon/parent_state.h lists. Waits
 * in poll only; signals come by signalfd.
 *
 * Order at start: COMPILE, bind, ledger, workers; each must be ready before the next. At the end
 * the other way round: workers drain, then the ledger writes what is left.
 */
#include "parent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
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

#define LOOK_MS 10000 /* at the workers' beats */
#define SILENT_MOST 3 /* looks without one */

struct parent parent;

int64_t
parent_now(void)
{
	return clock_mono_ns() / NS_PER_MS;
}

/* ---- what children say ----------------------------------------------------------------------- */

static void
announce(void)
{
	char line[1024], at[ENDPOINT_TEXT];
	unsigned workers = 0;
	struct text t;

	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
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

	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
		if (!c->ready)
			return false;
	return true;
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
			log_error("illegal message from %s, it is ended", children_name(c, name));
			kill(c->pid, SIGKILL);
			return;
		}
		if (m.type == IPC_READY)
			child_is_ready(c);
		else if (m.type == IPC_POLICY_TAKEN && c->role != ROLE_LEDGER)
			reload_policy_taken(c, m.body);
		else if (m.type == IPC_HITS_ADDED)
			counters_close(((const struct ipc_hits_id *)m.body)->id);
		else if (m.type == IPC_COPY_DONE)
			copies_done(((const struct ipc_copy_done *)m.body)->number);
		else if (m.type == IPC_AUDIT_ROTATE)
			audit_files_rotate();
		else if (m.type == IPC_AUDIT_TAKEN)
			audit_files_taken();
		else if (m.type == IPC_BOOKS_CLOSED)
			children_books_closed(m.body);
		else if (m.type == IPC_POLICY_OVER)
			reload_image_over(((const struct ipc_policy *)m.body)->generation);
		else if (m.type == IPC_AUDIT_STATE)
			audit_files_state(m.body);
		else if (m.type == IPC_ORDER)
			wishes_order(m.body);
		else if (m.type == IPC_KILLED || m.type == IPC_PREVIEWED)
			wishes_worker_answered(c, m.body);
		message_close_fds(&m);
	}
}

/* ---- signals --------------------------------------------------------------------------------- */

void
parent_drain(bool quickly)
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
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w)) {
		w->restart_ms = 0;
		children_send(w, IPC_DRAIN, &body, sizeof body, NULL, 0);
	}
	children_dismiss();
}

void
parent_reap(void)
{
	struct child *c;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (rotate_hook_ended(pid, status) || handover_tried(pid, status) ||
		    reload_compile_ended(pid))
			continue;
		for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
			if (pid == c->pid) {
				children_died(c, status);
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
			reload_start();
			break;
		case SIGUSR1:
			audit_files_renew();
			break;
		case SIGUSR2:
			handover_ask(NULL);
			break;
		case SIGINT:
			parent_drain(parent.options.foreground);
			break;
		case SIGTERM:
			parent_drain(false);
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

/* ---- running --------------------------------------------------------------------------------- */

static void
force(void)
{
	struct child *c;

	log_warning("not all ended in time, the rest is ended by force");
	parent.force_ms = 0;
	parent.forced = true;
	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
		if (c->pid != 0 && (c->role != ROLE_LEDGER || parent.ledger_draining))
			kill(c->pid, SIGKILL);
}

/*
 * A worker beats every second as long as its loop turns. Looks are counted, and no time: a machine
 * that was suspended, or had no processor for us either, has not made them; and one that comes late
 * says nothing.
 */
static void
look_at_workers(void)
{
	int64_t now = parent_now();
	bool late = now > parent.look_ms + LOOK_MS / 2;

	if (now < parent.look_ms)
		return;
	parent.look_ms = now + LOOK_MS;
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w)) {
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
	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
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
	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
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
		reload_hear();
	signal_ready();
	children_restart_due();
	takeover_turn();
	status_tell();
	handover_turn(fds + 2);
	if (parent.force_ms != 0 && parent_now() >= parent.force_ms)
		force();
	look_at_workers();
	notify_alive();
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
	if (!counters_store(parent.settings->state.directory, &parent.hits_store,
			    parent.hits_files)) {
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
	if (!children_start_ledger() || !children_start_specialists())
		return false;
	for (unsigned i = 0; i < children_workers_wanted(parent.settings); i++)
		if (!children_add_worker(i))
			return false;
	return wait_ready();
}

static int
fail(int status)
{
	char byte = (char)status;
	struct child *c;

	bind_control_remove();
	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
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
	if (!reload_wait(path, &result, fds))
		return EXIT_CONFIGURATION;
	printf("%s: ok, %u rule%s, %u warning%s\n", path, result.rules,
	       result.rules == 1 ? "" : "s", result.warnings, result.warnings == 1 ? "" : "s");
	return EXIT_CLEAN;
}

static bool
ended(void)
{
	struct child *c;

	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
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
	if (!reload_wait(o->path, &result, fds) || !image_sealed(fds[0], sizeof(struct settings)) ||
	    !image_sealed(fds[1], 1) || !reload_keep_images(fds, result.rules))
		return fail(EXIT_CONFIGURATION);
	if (!bind_listeners(parent.settings, &parent.bound))
		return fail(EXIT_CANNOT_BIND);
	if (!bind_doors())
		return fail(EXIT_CANNOT_BIND);
	if ((parent.audit = audit_files_open()) == -1)
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
