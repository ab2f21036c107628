/*
 * daemon/sandbox.h - what a process may still ask of the kernel once it has begun: seccomp and Landlock, a profile
 * for each role. The home of both; rights and limits of the account stand in daemon/privileges.h.
 *
 * A profile names the system calls that its process makes; any other ends it by SIGSYS, and whoever waits for it can
 * say which it was (sandbox_forbidden). Landlock leaves it the files that it reads, and takes signals to others.
 */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "settings/settings.h"
#include "wire/ipc.h"

enum sandbox_profile {
	/* all but what no server needs; inherited by all others, and by what PAM's modules execute */
	SANDBOX_PARENT,
	SANDBOX_NURSERY,     /* nothing beyond the parent's: it forks what PAM's modules run in */
	SANDBOX_CHECKER_PAM, /* the same: modules may do what modules do */
	/* from here on only what is named */
	SANDBOX_WORKER,
	SANDBOX_LEDGER,
	SANDBOX_CONTROL,
	SANDBOX_AUTHENTICATOR,
	SANDBOX_FORWARDER,
	SANDBOX_CHECKER_FILE,
	SANDBOX_CHECKER_GROUPS,
	SANDBOX_CHECKER_GSSAPI,
	SANDBOX_COMPILE,
	SANDBOX_PROFILES
};

/*
 * The parent, before any fork: looks at what this kernel has, and makes the page that all share. False: no memory;
 * logged. Before this, sandbox_enter does nothing.
 */
bool sandbox_open(void);
/*
 * The same in a parent that was executed anew (daemon/handover.h): the page is the one of before, and the filter of before
 * is in force as long as this process lives, so the like of it is not loaded again; without a limit to what is put one
 * upon the other, the kernel would refuse it some day.
 */
struct sandbox_legacy {
	int page;	 /* memfd */
	uint32_t state;	 /* IPC_SANDBOX_ bits */
	uint64_t filter; /* identifies it; 0: none */
};
struct sandbox_legacy sandbox_legacy(void); /* to hand over; the descriptor stays ours */
bool sandbox_adopt(const struct sandbox_legacy *l); /* instead of sandbox_open. False: logged */
uint64_t sandbox_form(void);			    /* base/form.h */
/* From here on; children inherit it. On until told. */
void sandbox_mode(enum settings_sandbox mode);
/* What this kernel lacks is logged as a warning; in the parent, once. */
void sandbox_warn(void);

/*
 * In the process itself, behind its change of rights. False: it could not be confined, which the caller must not
 * survive; logged. What the kernel does not have at all is no failure: sandbox_of tells.
 */
bool sandbox_enter(enum sandbox_profile profile);
const char *sandbox_word(enum sandbox_profile profile);

/* What is in force in a process (IPC_SANDBOX_ bits), as it told when it was confined; 0: nothing. */
uint32_t sandbox_of(pid_t pid);
/* All that are confined and that the caller has not forked itself: the nth with its role; false: no more. */
struct sandboxed {
	pid_t pid;
	enum sandbox_profile profile;
	uint32_t state;
};
bool sandbox_next(unsigned *at, struct sandboxed *out);
/*
 * Of a process that has died: the name of the system call that it was ended for, NULL: for none. Its place on the page
 * is free from here on.
 */
#define SANDBOX_NAME 48
const char *sandbox_forbidden(pid_t pid, char name[SANDBOX_NAME]);

#endif
