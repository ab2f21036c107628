/*
 * daemon/audit_files.c - the ledger's files as the parent sees them, which alone has the right to
 * their folder: it opens and renames them, passes them on, and keeps them open until the ledger has
 * done with them. In the parent's loop; blocks on the folder's file system at most.
 *
 * Never reads a record, never writes one, and closes no file that the ledger may still write to.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "copies.h"
#include "notify.h"
#include "parent_state.h"

#define AUDIT_FLAGS (O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY)

int
audit_files_open(void)
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

	children_send(&parent.ledger, IPC_AUDIT_FILE, &body, sizeof body, &fd, 1);
}

void
audit_files_show(void)
{
	for (unsigned i = 0; i < parent.former_count; i++)
		send_audit_file(parent.former[i].fd, parent.former_count - i);
	send_audit_file(parent.audit, 0);
}

/*
 * Kept open here for a ledger that is restarted: it goes on in the same file, whatever its name is
 * by now. One that nobody has moved away is moved away.
 */
bool
audit_files_renew(void)
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
	if ((fd = audit_files_open()) == -1)
		return false; /* records go on into the old one */
	if (old->name[0] != '\0')
		log_notice("the audit file was moved to '%s'", old->name);
	old->fd = parent.audit;
	parent.former_count++;
	parent.audit = fd;
	briefing_copy_file(copies_opened(fd)); /* before a record can be in it */
	send_audit_file(fd, 0);
	return true;
}

void
audit_files_rotate(void)
{
	if (!parent.draining && audit_files_renew())
		log_debug("a new audit file");
}

/* The ledger has done with the oldest of the former: it is the admin's program's. */
void
audit_files_taken(void)
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
		audit_files_renew();
	}
}

void
audit_files_state(const struct ipc_audit_state *state)
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
		parent_drain(true);
	}
}
