/*
 * daemon/sandbox_calls.h - the profiles as data, for daemon/sandbox.c only.
 */
#ifndef DAEMON_SANDBOX_CALLS_H
#define DAEMON_SANDBOX_CALLS_H

#include <stdbool.h>

#include "sandbox.h"

#define SANDBOX_END (-9999)
#define SANDBOX_LISTS 6
#define SANDBOX_FOLDERS 10

/* Families of sockets; LOG: datagrams of Unix, which is how one speaks to syslog. */
enum { SANDBOX_UNIX = 1, SANDBOX_INET = 2, SANDBOX_NETLINK = 4, SANDBOX_LOG = 8 };

struct sandbox_rules {
	const char *word;
	bool all_but; /* calls[0] is what is forbidden; else calls are what is allowed */
	const int *calls[SANDBOX_LISTS];
	bool opens;		/* files, for reading */
	bool writes;		/* and for writing: the replay cache of Kerberos, where Landlock leaves it */
	bool threads;
	bool tcp;		/* to bind and to connect */
	unsigned sockets;	/* that may be made */
	const char *reads[SANDBOX_FOLDERS]; /* what Landlock leaves open */
};
extern const struct sandbox_rules sandbox_rules[SANDBOX_PROFILES];

extern const int sandbox_prctl[];	    /* options */
extern const unsigned long sandbox_ioctl[]; /* requests; 0 behind the last */
extern const int sandbox_sanitizers[];	    /* what only sanitizers call */

#endif
