/*
 * daemon/briefing.c - what the parent tells its children: to a new one all that its work takes, to
 * those that live what has changed. In the parent's loop; never blocks.
 *
 * Each is given what its work takes, and nothing else. Who is to look at memory only gets a
 * descriptor that can neither write to it nor be opened again for that.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "copies.h"
#include "counters.h"
#include "parent_state.h"
#include "vitals.h"

static void
send_policy(struct child *c, const struct generation *g)
{
	struct ipc_policy body = {g->number, 0};

	children_send(c, IPC_POLICY, &body, sizeof body, (int[]){g->settings, g->policy}, 2);
}

/* ---- counters of rules (daemon/counters.h) --------------------------------------------------- */

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
	children_send(to, IPC_HITS, &c->what, sizeof c->what, (int[]){hits, c->policy}, 2);
	close(hits);
	if (c->over)
		children_send(to, IPC_HITS_OVER, &id, sizeof id, NULL, 0);
}

void
briefing_hits_over(const struct child *w, uint32_t before)
{
	struct child *k = children_control();
	const struct counters *c;
	unsigned at = 0;

	while ((c = counters_over(w->index, before, &at)) != NULL) {
		struct ipc_hits_id id = {c->what.id};

		if (k == NULL)
			counters_close(id.id);
		else
			children_send(k, IPC_HITS_OVER, &id, sizeof id, NULL, 0);
	}
}

static void
tell_hits(struct child *k)
{
	const struct counters *c;
	unsigned at = 0;

	children_send(k, IPC_HITS_STORE, &parent.hits_store, sizeof parent.hits_store,
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
	children_send(w, IPC_POLICY, &body, sizeof body, (int[]){g->settings, g->policy, c->hits},
		      3);
	if (children_control() != NULL)
		send_hits(children_control(), c);
}

void
briefing_policy(struct child *c)
{
	if (c->role == ROLE_WORKER)
		send_worker_policy(c, &parent.images[0]);
	else
		send_policy(c, &parent.images[0]);
}

/* ---- what is looked at ----------------------------------------------------------------------- */

static void
send_books(struct child *to, const struct child *of)
{
	struct ipc_books body = {of->index, of->generation};

	children_send(to, IPC_BOOKS, &body, sizeof body, (int[]){of->books, of->bell}, 2);
}

static void
show_to(struct child *c, enum ipc_type type, const void *body, size_t len, int memfd)
{
	int fd = c->pid != 0 ? reader_of(memfd) : -1;

	if (fd == -1)
		return;
	children_send(c, type, body, len, &fd, 1);
	close(fd);
}

static void
show_files(enum ipc_role role, unsigned index, const int fds[VITALS_FDS])
{
	struct ipc_vitals body = {role, index};

	if (children_control() != NULL)
		children_send(children_control(), IPC_VITALS, &body, sizeof body, fds, VITALS_FDS);
}

/* What it takes of the machine. Control may read that of others only if it is given it. */
void
briefing_vitals(const struct child *c)
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
show_books(const struct child *worker)
{
	struct ipc_books body = {worker->index, worker->generation};

	if (children_control() != NULL && worker->books != -1)
		show_to(children_control(), IPC_BOOKS, &body, sizeof body, worker->books);
}

/* ---- all that a new one is told -------------------------------------------------------------- */

void
briefing_copy_file(const struct copies_file *f)
{
	struct child *c = children_specialist(ROLE_FORWARDER);

	if (f != NULL && c != NULL)
		children_send(c, IPC_COPY_FILE, &f->what, sizeof f->what, f->fds, f->count);
}

static void
send_grave(struct child *to, const struct grave *g)
{
	struct ipc_books body = {g->gone.worker, g->gone.generation};

	children_send(to, IPC_BOOKS, &body, sizeof body, (int[]){g->books, g->bell}, 2);
	if (g->told)
		children_send(to, IPC_WORKER_GONE, &g->gone, sizeof g->gone, NULL, 0);
}

void
briefing_ledger(void)
{
	struct child *l = &parent.ledger;

	children_send(l, IPC_TALLY, NULL, 0, (int[]){parent.tally, parent.desk}, 2);
	children_send(l, IPC_QUOTAS, NULL, 0, &parent.quotas, 1);
	for (unsigned i = parent.image_count; i-- > 0;)
		send_policy(l, &parent.images[i]);
	for (unsigned i = 0; i < GRAVES; i++)
		if (parent.graves[i].books != -1)
			send_grave(l, &parent.graves[i]);
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (w->books != -1)
			send_books(l, w);
	audit_files_show();
	notes_repeat();
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
	children_send(a, IPC_AUTH_CHANNEL, &body, sizeof body, &fds[0], 1);
	children_send(w, IPC_AUTH_CHANNEL, &body, sizeof body, &fds[1], 1);
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
	for (unsigned i = 0; (other = children_at(i)) != NULL; i++)
		briefing_vitals(other);
	for (other = children_next_worker(NULL); other != NULL; other = children_next_worker(other))
		show_books(other); /* these tell which policies are still named */
	for (unsigned i = parent.image_count; i-- > 0;)
		send_policy(c, &parent.images[i]);
	for (size_t i = 0; i < sizeof doors / sizeof doors[0]; i++)
		if (doors[i].fd != -1)
			children_send(c, IPC_DOOR, &doors[i].door, sizeof doors[i].door,
				      &doors[i].fd, 1);
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
	children_send(c, IPC_COPY_STORE, &store, sizeof store, fds, 3);
	while ((f = copies_next(&at)) != NULL)
		briefing_copy_file(f);
}

void
briefing_specialist(struct child *c)
{
	if (c->role == ROLE_FORWARDER)
		tell_forwarder(c);
	if (c->role == ROLE_CONTROL) {
		show_control(c);
		tell_hits(c);
	} else
		briefing_policy(c);
	if (c->role == ROLE_AUTHENTICATOR)
		for (struct child *w = children_next_worker(NULL); w != NULL;
		     w = children_next_worker(w))
			join_authenticator(w);
}

void
briefing_worker(struct child *w)
{
	const struct ipc_listeners *l = &parent.bound.listeners;

	send_books(&parent.ledger, w); /* before it can tell anything */
	show_books(w);
	send_books(w, w);
	children_send(w, IPC_TALLY, NULL, 0, &parent.tally, 1);
	children_send(w, IPC_QUOTAS, NULL, 0, &parent.quotas, 1);
	children_send(w, IPC_LISTENERS, l, ipc_listeners_length(l->count), parent.bound.fds,
		      l->count);
	briefing_policy(w);
	join_authenticator(w);
	children_send(w, IPC_START, NULL, 0, NULL, 0);
}
