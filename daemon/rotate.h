/*
 * daemon/rotate.h - moving a full audit file out of the way, and the admin's program that then takes care of it
 * (audit.rotate-hook). The parent's; only the hook's own process waits for anything.
 */
#ifndef DAEMON_ROTATE_H
#define DAEMON_ROTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ROTATE_NAME 1100 /* a path of SETTINGS_PATH and what is put behind it */

/*
 * If `fd` is the regular file that still stands at `path`, that is renamed: path.20261124T091407.318Z; no name
 * is given twice, they sort in order, and nothing is ever overwritten. False and errno: it cannot be renamed. True and
 * name[0] == 0: there was nothing to rename; so of an empty file.
 */
bool rotate_away(const char *path, int fd, char name[ROTATE_NAME]);

/*
 * Runs `program` with the file's name as its only argument: one at a time, the others wait, up to 64. It has the
 * parent's user and, of root's rights, only those over files; no terminal, no descriptors, a short environment, no way
 * to get more rights, and an hour. What it says goes to standard error in the foreground, else nowhere; how it ends is
 * logged if that is not well.
 */
void rotate_hook(const char *program, const char *file, bool foreground);
/* What runs and what waits, for the program that takes over (daemon/handover.h). */
#define ROTATE_HOOKS 64
struct rotate_errand {
	char program[ROTATE_NAME], file[ROTATE_NAME];
	bool foreground;
};
struct rotate_legacy {
	pid_t pid; /* of the first one; 0: it does not run */
	unsigned count;
	struct rotate_errand waiting[ROTATE_HOOKS];
};
void rotate_bequeath(struct rotate_legacy *to);
void rotate_adopt(const struct rotate_legacy *from);
/* True: it was the hook; the next one may have been started. */
bool rotate_hook_ended(pid_t pid, int status);

#endif
