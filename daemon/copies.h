/*
 * daemon/copies.h - the parent's part of copying the ledger (settings audit.copies): it opens the files of the ledger
 * once more, for reading only, keeps them until the forwarder needs them no more, and hands them over with what
 * tells of writes to them. It reads none of them, and the ledger notices nothing.
 */
#ifndef DAEMON_COPIES_H
#define DAEMON_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "settings/settings.h"
#include "wire/ipc.h"

#define COPIES_FILES 9 /* that are kept for copies which are behind: the one in use, and eight that were rotated */

struct copies_file {
	struct ipc_copy_file what;
	int fds[2];	/* for reading; inotify */
	unsigned count; /* of them: without an inotify 1 */
};

/* All of it, for the program that takes over (daemon/handover.h). */
struct copies_legacy {
	struct copies_file files[COPIES_FILES]; /* oldest first */
	unsigned count;
	uint64_t numbers;
	uint64_t from;	/* of the file in use */
	bool following; /* there is or was a forwarder */
	int page;	/* -1: not made */
	int store[2];
	bool kept; /* the store is in files */
};
struct copies_legacy *copies_legacy(void); /* to be read, or to be written before anything else */

bool copies_wanted(const struct settings *s);
/* Makes the page that tells how far copies are; false and errno. */
bool copies_open(void);
int copies_page(void);
/*
 * A file of the ledger has just been opened, and nothing is written to it yet. Returns what the forwarder is to be
 * given, NULL: nothing; good until the next call.
 */
const struct copies_file *copies_opened(int audit);
/*
 * A forwarder starts. The first one makes us open the store, and the files before this as far as they stand beside it;
 * at_start: the server starts as well, else copies begin with what is written from now on. False: logged.
 */
bool copies_start(const struct settings *s, int audit, bool at_start, struct ipc_copy_store *what, int fds[3]);
/* The next file that is kept, oldest first, from *at on (0 at first); NULL behind the last. */
const struct copies_file *copies_next(unsigned *at);
/* Files up to this one are not needed any more. */
void copies_done(uint64_t number);

#endif
