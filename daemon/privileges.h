/*
 * daemon/privileges.h - who the processes are: the home of set*id(2) and of dropping capabilities.
 */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

struct account {
	bool drop; /* we are root: become uid and gid */
	uid_t uid;
	gid_t gid;
	char name[65];
};

/* Parent: who workers and ledger shall be. False: the account does not exist; logged. */
bool privileges_account(const char *user, struct account *out);
/*
 * A child: becomes the account for good, without capabilities or new privileges. False: logged. Without root it stays
 * who it is: what a unit has given the parent (AmbientCapabilities=) is dropped all the same, here and below.
 */
bool privileges_drop(const struct account *a);
/* COMPILE: may read what root may read (CAP_DAC_READ_SEARCH) and nothing else. False: logged. */
bool privileges_reader(void);
/*
 * The nursery and its checkers. With root: the nursery keeps what it takes to read files, to fork checkers that are
 * others and to end them; a checker that PAM runs in keeps what modules need (shadow, counters of failures, audit);
 * any other is the account, as privileges_drop. Without root they keep of that what the parent has.
 */
bool privileges_nursery(void);
bool privileges_pam(void);
/* A program of the admin's: of what root may do, only to read, write and give away files. False: logged. */
bool privileges_hook(void);
/* Parent: as many descriptors as the machine gives. */
void privileges_descriptors(void);
/* A child: closes all descriptors but 0-2 and keep. */
void privileges_close_all(int keep);

#endif
