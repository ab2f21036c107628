/*
 * daemon/takeover.c - the other half of a hand-over (daemon/handover.h): a program that has just
 * become the parent of a running server renews all but itself. In the parent's loop; waits for
 * nothing.
 *
 * The ledger is ended at once, its successor goes on from the desk. The configuration is compiled;
 * what a reload cannot change is taken now: sockets, accounts, folders, the number of workers. New
 * workers and specialists start beside the old ones, and only when all are ready are the old
 * workers told to take no more clients. Their sessions stay with them, and the authenticator that
 * these ask stays as long as one of them. At last control goes, when it has answered.
 *
 * What cannot be taken (errors in the files, a socket that is in use) leaves everything as it was
 * handed over: the new program then serves with the settings and the policy of the old one.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "compile.h"
#include "counters.h"
#include "notify.h"
#include "parent_state.h"
#include "sandbox.h"

#define FORWARDER_MS 500 /* for what it has sent to be taken */
#define CONTROL_LEAVE_MS 5000 /* for answers that are on their way */

static bool
is_old(const struct child *c)
{
	return c->epoch != parent.epoch;
}

/* ---- settings ------------------------------------------------------------------------------ */

static int
number_of(const struct settings *s, const char *name)
{
	for (uint32_t i = 0; i < s->listener_count; i++)
		if (strcmp(s->listeners[i].name, name) == 0)
			return (int)i;
	return -1;
}

static bool
any_leaves(void)
{
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (w->leaving)
			return true;
	return false;
}

/* The number it had, or of one that nobody can have come in by any more, or the next; -1: none is
 * left. */
static int
place_of(const struct settings *s, const char *name, const bool *vacant)
{
	int known = number_of(s, name);

	for (uint32_t i = 0; known == -1 && i < s->listener_count; i++)
		if (vacant[i])
			known = (int)i;
	if (known == -1 && s->listener_count < SETTINGS_LISTENERS)
		known = (int)s->listener_count;
	return known;
}

/*
 * Sessions know their listener by its number, so a name keeps its number, and one that is gone
 * keeps its place as long as an old worker may have clients of it.
 */
static bool
number_listeners(struct settings *s, const struct settings *old)
{
	const struct settings wanted = *s;
	bool vacant[SETTINGS_LISTENERS] = {false}, reuse = !any_leaves();

	s->listener_count = old->listener_count;
	memcpy(s->listeners, old->listeners, sizeof s->listeners);
	for (uint32_t i = 0; i < s->listener_count; i++) {
		vacant[i] = reuse && s->listeners[i].retired;
		s->listeners[i].retired = true;
	}
	for (uint32_t i = 0; i < wanted.listener_count; i++) {
		int at = place_of(s, wanted.listeners[i].name, vacant);

		if (at == -1) {
			log_error("too many listeners, with those that old sessions came in by");
			return false;
		}
		s->listeners[at] = wanted.listeners[i];
		vacant[at] = false;
		s->listener_count += (uint32_t)at == s->listener_count;
	}
	return true;
}

/* What even this cannot change: what was handed over is counted by it, or written. */
static void
keep_what_counts(struct settings *s, const struct settings *old)
{
	if (s->limits.source_prefix4 != old->limits.source_prefix4 ||
	    s->limits.source_prefix6 != old->limits.source_prefix6)
		log_notice("a changed limits.source-prefix waits for a stop and a start");
	s->limits.source_prefix4 = old->limits.source_prefix4;
	s->limits.source_prefix6 = old->limits.source_prefix6;
	if (s->audit.format != old->audit.format)
		log_notice("a changed audit.format waits for a stop and a start");
	s->audit.format = old->audit.format;
}

/* The settings' image with the numbers that are in use; -1: logged. */
static int
renumbered(int fd)
{
	struct settings *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	int out = -1;

	if (s == MAP_FAILED)
		return -1;
	if (settings_valid(s, sizeof *s) && number_listeners(s, parent.settings)) {
		keep_what_counts(s, parent.settings);
		out = image_seal("settings", s, sizeof *s);
	}
	munmap(s, sizeof *s);
	return out;
}

/* What the new settings want open and the old ones had not; -1: nothing. */
struct opened {
	struct bound bound;
	bool control_moved;
	int control, metrics;
	struct endpoint metrics_at;
	struct account account;
};

static bool
same_metrics(const struct settings *s)
{
	const struct settings *old = parent.settings;

	return s->metrics.enabled == old->metrics.enabled &&
	       addr_equal(&s->metrics.at.addr, &old->metrics.at.addr) &&
	       s->metrics.at.port == old->metrics.at.port;
}

static bool
open_doors(const struct settings *s, struct opened *o)
{
	if (!same_metrics(s) && s->metrics.enabled &&
	    (o->metrics = bind_metrics(s, &o->metrics_at)) == -1)
		return false;
	o->control_moved = strcmp(s->control.socket, parent.settings->control.socket) != 0;
	/* last of all: this one cannot be taken back */
	return !o->control_moved || s->control.socket[0] == '\0' ||
	       (o->control = bind_control_move(s)) != -1;
}

static bool
open_all(const struct settings *s, struct opened *o)
{
	*o = (struct opened){.control = -1, .metrics = -1};
	if (!privileges_account(s->user, &o->account) ||
	    !bind_anew(s, parent.settings, &parent.bound, &o->bound))
		return false;
	if (open_doors(s, o))
		return true;
	if (o->metrics != -1)
		close(o->metrics);
	bind_leave(&o->bound, &parent.bound);
	return false;
}

static void
replace_fd(int *old, int new)
{
	if (*old != -1)
		close(*old);
	*old = new;
}

/* s: the new ones; parent.settings are still those of before. */
static void
use(const struct settings *s, const struct opened *o)
{
	bind_leave(&parent.bound, &o->bound);
	parent.bound = o->bound;
	parent.account = o->account;
	if (!same_metrics(s)) {
		replace_fd(&parent.metrics, o->metrics);
		parent.metrics_at = o->metrics_at;
	}
	if (!o->control_moved)
		return;
	if (o->control == -1)
		bind_control_remove();
	replace_fd(&parent.control, o->control);
}

/* Counters go on in the folder that is named now. */
static void
move_store(const char *folder)
{
	struct ipc_hits_store store;
	int fds[2];

	if (!counters_store(folder, &store, fds)) {
		log_error("cannot make the store of counters: %s", strerror(errno));
		return;
	}
	parent.hits_store = store;
	for (int i = 0; i < 2; i++)
		replace_fd(&parent.hits_files[i], fds[i]);
}

/* False: nothing has changed; logged. The descriptors are gone in any case. */
static bool
take_settings(const struct ipc_compiled *result, const int *fds, struct settings *old)
{
	int merged[2] = {-1, fds[1]};
	const struct settings *s = MAP_FAILED;
	struct opened o;
	bool ok = false;

	*old = *parent.settings;
	if (image_sealed(fds[0], sizeof *s) && image_sealed(fds[1], 1) &&
	    (merged[0] = renumbered(fds[0])) != -1)
		s = mmap(NULL, sizeof *s, PROT_READ, MAP_SHARED, merged[0], 0);
	close(fds[0]);
	if (s != MAP_FAILED && open_all(s, &o)) {
		use(s, &o);
		ok = reload_keep_images(merged, result->rules);
	}
	if (s != MAP_FAILED)
		munmap((void *)(uintptr_t)s, sizeof *s);
	if (ok)
		return true;
	close(fds[1]);
	if (merged[0] != -1)
		close(merged[0]);
	return false;
}

/* ---- new processes ------------------------------------------------------------------------- */

static void
forget_specialist(struct child *c)
{
	struct child *end = parent.specialists + parent.specialist_count;

	memmove(c, c + 1, (size_t)(end - c - 1) * sizeof *c);
	parent.specialist_count--;
}

static void
forget_worker(struct child *w)
{
	children_close_books(w);
	*w = (struct child){.role = ROLE_WORKER,
			    .index = w->index,
			    .generation = w->generation,
			    .books = -1,
			    .bell = -1};
	w->channel.fd = -1;
}

/* The authenticator of the old workers stays for them; what is dead at the moment stays away. */
static void
part_with_old(void)
{
	for (unsigned i = parent.specialist_count; i-- > 0;) {
		struct child *c = &parent.specialists[i];

		if (c->role != ROLE_AUTHENTICATOR || c->leaving || !is_old(c))
			continue;
		c->leaving = true;
		c->restart_ms = 0;
		if (c->pid == 0)
			forget_specialist(c);
	}
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (w->pid == 0)
			forget_worker(w);
}

static struct child *
free_worker(void)
{
	for (struct child *w = parent.workers; w < parent.workers + WORKERS_MAX; w++)
		if (!w->used)
			return w;
	return NULL;
}

static unsigned
new_workers(void)
{
	unsigned n = 0;

	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		n += !is_old(w);
	return n;
}

/* As many as there are places; the rest when old ones have left theirs. */
static void
start_workers(void)
{
	unsigned n = new_workers(), wanted = children_workers_wanted(parent.settings);
	struct child *w;

	for (; n < wanted && (w = free_worker()) != NULL; n++)
		children_add_worker((unsigned)(w - parent.workers));
	if (n < wanted)
		log_info("%u of %u workers: more when old ones have left", n, wanted);
}

void
takeover_gone(struct child *c)
{
	if (c->role != ROLE_WORKER) {
		forget_specialist(c);
		return;
	}
	forget_worker(c);
	if (parent.rolling != ROLL_SETTINGS && !parent.draining)
		start_workers();
}

void
takeover_begin(void)
{
	struct child *l = &parent.ledger;

	parent.epoch++;
	parent.rolling = ROLL_SETTINGS;
	parent.preview = false;
	parent.ledger_handed = true;
	parent_reap(); /* who died while there was no parent to see it */
	if (l->pid != 0) {
		l->replaced = true;
		kill(l->pid, SIGKILL);
	}
	reload_compile(false);
}

/* They have no errors, but this machine does not give what they want; which was told. */
static void
tell_not_taken(void)
{
	struct ipc_note body = {.kind = NOTE_REFUSED,
				.text =
				    "new settings could not be put in force, the old policy stays"};

	parent.reloads_refused++;
	log_error("the new settings could not be put in force, settings and policy stay");
	notes_add(&body);
}

void
takeover_settings(const struct ipc_compiled *result, const int *fds)
{
	static struct settings old;
	bool taken = fds != NULL && take_settings(result, fds, &old);

	part_with_old();
	if (!parent_confine()) { /* as at a start: unconfined it must not go on */
		parent.status = EXIT_CANNOT_START;
		kill(getpid(), SIGTERM);
	}
	parent.rolling_refused = !taken;
	if (!taken && fds == NULL)
		reload_refused(result);
	else if (!taken)
		tell_not_taken();
	else if (strcmp(old.state.directory, parent.settings->state.directory) != 0)
		move_store(parent.settings->state.directory);
	parent.rolling = ROLL_WORKERS;
	parent.rolling_until_ms = parent_now() + START_MS;
	if (taken)
		reload_spread(result, &old);
	if (!children_start_specialists())
		log_error("not all processes that the configuration wants could be started");
	start_workers();
}

/* ---- the change ---------------------------------------------------------------------------- */

/* All that will serve. */
static bool
all_new_ready(void)
{
	struct child *c;

	for (unsigned i = 0; (c = children_at(i)) != NULL; i++)
		if (!c->leaving && !c->ready && !(c->role == ROLE_WORKER && is_old(c)))
			return false;
	return true;
}

static unsigned
let_workers_go(void)
{
	struct ipc_leave body = {parent.settings->timeouts.handover};
	unsigned n = 0;

	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (is_old(w) && !w->leaving) {
			w->leaving = true;
			children_send(w, IPC_LEAVE, &body, sizeof body, NULL, 0);
			n++;
		}
	return n;
}

/* They keep nothing that the next one would not be told; only the forwarder has places to write down. */
static void
renew_specialists(void)
{
	const struct ipc_drain soon = {FORWARDER_MS};

	for (unsigned i = 0; i < parent.specialist_count; i++) {
		struct child *c = &parent.specialists[i];

		if (c->leaving || c->pid == 0 || !is_old(c) || c->role == ROLE_CONTROL)
			continue;
		c->replaced = true;
		c->leaving =
		    roles[c->role].wanted != NULL && !roles[c->role].wanted(parent.settings);
		if (c->role == ROLE_FORWARDER)
			children_send(c, IPC_DRAIN, &soon, sizeof soon, NULL, 0);
		else
			kill(c->pid, SIGKILL);
	}
}

/* It is answered on its way; then its successor takes the next callers from the same sockets. */
static void
let_control_go(void)
{
	struct ipc_leave body = {CONTROL_LEAVE_MS};
	struct child *c = children_specialist(ROLE_CONTROL);

	if (c == NULL || c->pid == 0 || !is_old(c))
		return;
	c->replaced = true;
	c->leaving = parent.control == -1 && parent.metrics == -1; /* nobody will ask any more */
	children_send(c, IPC_LEAVE, &body, sizeof body, NULL, 0);
}

static void
answer_wishes(const struct ipc_answer *a)
{
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_RESTARTS)
			continue;
		if (a->result == ANSWER_DONE)
			notes_record(&w->order, true, "%u new worker%s", a->workers,
				     a->workers == 1 ? "" : "s");
		else
			notes_record(&w->order, false, "%s", a->why);
		wishes_answer(&w->order, a);
		w->state = WISH_NONE;
	}
}

static void
complete(void)
{
	unsigned left = let_workers_go(), n = new_workers();
	static const struct ipc_answer kept = {
	    .result = ANSWER_FAILED,
	    .why = "the program has taken over, but not the configuration: the old one stays"};
	struct ipc_answer done = {
	    .result = ANSWER_DONE, .within_ms = parent.settings->timeouts.handover, .workers = n};

	parent.rolling = ROLL_NONE;
	log_notice("handed over: %u new worker%s, %u old one%s with the open sessions", n,
		   n == 1 ? "" : "s", left, left == 1 ? "" : "s");
	notify_tell(parent.audit_state.state == 0 ? "READY=1\nSTATUS=ready" : "READY=1");
	answer_wishes(parent.rolling_refused ? &kept : &done);
	renew_specialists();
	let_control_go();
	takeover_worker_gone();
}

void
takeover_turn(void)
{
	static const struct ipc_answer late = {
	    .result = ANSWER_FAILED,
	    .why = "not all new processes are ready yet; until they are, the old workers serve"};

	if (parent.rolling != ROLL_WORKERS)
		return;
	if (all_new_ready())
		complete();
	else if (parent.rolling_until_ms != 0 && parent_now() >= parent.rolling_until_ms) {
		parent.rolling_until_ms = 0;
		log_error("not all new processes are ready after %d s, the old workers go on",
			  START_MS / 1000);
		answer_wishes(&late);
	}
}

static bool
has_workers(uint32_t epoch)
{
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (w->epoch == epoch && w->pid != 0)
			return true;
	return false;
}

void
takeover_worker_gone(void)
{
	struct ipc_drain body = {0};

	for (unsigned i = 0; i < parent.specialist_count; i++) {
		struct child *c = &parent.specialists[i];

		if (c->leaving && c->role == ROLE_AUTHENTICATOR && !has_workers(c->epoch))
			children_send(c, IPC_DRAIN, &body, sizeof body, NULL, 0);
	}
}

void
takeover_stop(void)
{
	static const struct ipc_answer stopped = {.result = ANSWER_DRAINING,
						  .why = "the server is on its way down"};

	parent.rolling = ROLL_NONE;
	answer_wishes(&stopped);
}
