/*
 * daemon/reload.c - settings and policies: COMPILE is started and heard, what it hands over is
 * taken or refused, all children are told of it, and the images that records may still name are
 * kept. In the parent's loop, where nothing is waited for; only before there is a loop reload_wait
 * waits for COMPILE.
 *
 * Nothing is parsed here, and nothing is taken that is not sealed. What is refused changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "compile.h"
#include "notify.h"
#include "parent_state.h"
#include "sandbox.h"

/* ---- COMPILE --------------------------------------------------------------------------------- */

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
		buffer_put(m.type == IPC_PROBLEMS ? &parent.problems : &parent.problems_json,
			   m.body, m.len);
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
reload_show_problems(const struct buffer *b)
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

static void
tell_compile_forbidden(pid_t pid)
{
	char call[SANDBOX_NAME];

	if (sandbox_forbidden(pid, call) != NULL)
		log_error("compile (pid %d) was ended: the system call '%s' is forbidden to it (SIGSYS)",
			  (int)pid, call);
}

bool
reload_wait(const char *path, struct ipc_compiled *result, int fds[2])
{
	struct channel c;
	pid_t pid = compile_start(path, isatty(STDERR_FILENO) == 1, &c);
	enum compiled r;
	int status;

	if (pid == -1)
		return false;
	while ((r = compile_hear(&c, result, fds)) == COMPILE_MORE)
		;
	close(c.fd);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	reload_show_problems(&parent.problems);
	buffer_free(&parent.problems);
	buffer_free(&parent.problems_json);
	tell_compile_forbidden(pid);
	if (r == COMPILE_FAILED && result->errors == 0 && !result->ok)
		log_error("the configuration could not be read (%s %d)",
			  WIFSIGNALED(status) ? "signal" : "status",
			  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return r == COMPILE_OK;
}

/* ---- images ---------------------------------------------------------------------------------- */

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
reload_keep_images(const int fds[2], uint32_t rules)
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

void
reload_image_over(uint32_t number)
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

/* ---- reload ---------------------------------------------------------------------------------- */

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

void
reload_compile(bool colour)
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

void
reload_start(void)
{
	if (parent.draining)
		return;
	if (parent.compile_pid != 0) {
		parent.reload_again = true;
		return;
	}
	parent.preview = false;
	/* for people who wait at sallyctl it is drawn without */
	reload_compile(!wishes_begin() && parent.options.foreground && isatty(STDERR_FILENO) == 1);
}

void
reload_refused(const struct ipc_compiled *result)
{
	struct ipc_note body = {.kind = NOTE_REFUSED};

	parent.reloads_refused++;
	log_error("reload refused, the old policy stays: %u error%s", result->errors,
		  result->errors == 1 ? "" : "s");
	snprintf(body.text, sizeof body.text, "%u error%s, the old policy stays", result->errors,
		 result->errors == 1 ? "" : "s");
	notes_add(&body);
}

static void
reload_failed(const struct ipc_compiled *result)
{
	reload_refused(result);
	notify_tell("READY=1");
	wishes_failed(result, 0);
}

void
reload_settle(void)
{
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (w->taking)
			return;
	for (unsigned i = 0; i < parent.specialist_count; i++)
		if (parent.specialists[i].taking)
			return;
	if (parent.revoked > 0)
		log_notice("the new policy ended %u session%s", parent.revoked,
			   parent.revoked == 1 ? "" : "s");
	if (parent.rolling == ROLL_NONE) /* else that is told when all is renewed */
		notify_tell("READY=1");
	wishes_taken();
}

void
reload_policy_taken(struct child *c, const struct ipc_policy_taken *taken)
{
	if (c->role == ROLE_WORKER)
		briefing_hits_over(c, taken->generation);
	if (taken->generation != parent.images[0].number || !c->taking)
		return;
	c->taking = false;
	parent.revoked += taken->revoked;
	reload_settle();
}

/* Control knows who may still order, the forwarder from where on a new copy gets all. */
static bool
answers(enum ipc_role role)
{
	return role == ROLE_CONTROL || role == ROLE_FORWARDER;
}

void
reload_spread(const struct ipc_compiled *result, const struct settings *old)
{
	parent.revoked = 0;
	parent.reloads_taken++;
	bind_control_mode(parent.settings);
	wishes_taking(result);
	briefing_policy(&parent.ledger); /* it must know the rules before it hears of them */
	if (strcmp(old->audit.file, parent.settings->audit.file) != 0)
		audit_files_renew();
	for (unsigned i = 0; i < parent.specialist_count; i++)
		if (parent.specialists[i].pid != 0)
			briefing_policy(&parent.specialists[i]);
	if (!children_start_specialists()) /* those that the old configuration did not want */
		log_error("not all processes that the new configuration wants could be started");
	for (unsigned i = 0; i < parent.specialist_count; i++)
		parent.specialists[i].taking =
		    parent.specialists[i].pid != 0 && answers(parent.specialists[i].role);
	for (struct child *w = children_next_worker(NULL); w != NULL; w = children_next_worker(w))
		if (w->pid != 0) {
			briefing_policy(w);
			w->taking = true;
		}
	log_notice("reloaded '%s': policy %02x%02x%02x%02x%02x%02x, %u rule%s, %u warning%s",
		   parent.options.path, result->hash[0], result->hash[1], result->hash[2],
		   result->hash[3], result->hash[4], result->hash[5], result->rules,
		   result->rules == 1 ? "" : "s", result->warnings,
		   result->warnings == 1 ? "" : "s");
	reload_settle();
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
	if (merged[0] == -1 || !reload_keep_images(merged, result->rules)) {
		if (merged[0] != -1)
			close(merged[0]);
		close(fds[1]);
		reload_failed(result);
		return;
	}
	reload_spread(result, &old);
}

void
reload_hear(void)
{
	struct ipc_compiled result;
	int fds[2];
	enum compiled r = compile_hear(&parent.compile, &result, fds);

	if (r == COMPILE_MORE)
		return;
	close(parent.compile.fd);
	parent.compile.fd = -1;
	if (!parent.preview)
		reload_show_problems(&parent.problems);
	wishes_compiled();
	buffer_free(&parent.problems);
	buffer_free(&parent.problems_json);
	if (parent.draining || parent.preview) {
		if (parent.draining)
			wishes_failed(&result, ESHUTDOWN);
		else if (r == COMPILE_OK)
			wishes_preview(&result, fds);
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

bool
reload_compile_ended(pid_t pid)
{
	if (pid != parent.compile_pid)
		return false;
	tell_compile_forbidden(pid);
	while (parent.compile.fd != -1)
		reload_hear();
	parent.compile_pid = 0;
	wishes_next();
	return true;
}
