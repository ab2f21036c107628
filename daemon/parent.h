/*
 * daemon/parent.h - the parent: binds ports, forks the others, supervises, reloads. It keeps root's rights
 * where it has them, so it parses nothing: what it knows comes as typed values from COMPILE.
 */
#ifndef DAEMON_PARENT_H
#define DAEMON_PARENT_H

#include <stdbool.h>

enum { EXIT_CLEAN = 0, EXIT_CONFIGURATION = 1, EXIT_WRONG_USAGE = 2, EXIT_CANNOT_BIND = 3, EXIT_CANNOT_START = 4,
       EXIT_HALTED = 5 /* audit.on-full = "halt" */ };

struct parent_options {
	const char *path;
	bool foreground;
	/* Told once, with 0 when ready or an exit status when not; -1: nobody waits. */
	int ready_fd;
	bool sandbox_given; /* on the command line, and set: the setting does not hold */
};

/* Reads the configuration, prints every problem, nothing else: EXIT_CLEAN or EXIT_CONFIGURATION. */
int parent_check(const char *path);
/* Runs until it is told to end. Returns the exit status. */
int parent_run(const struct parent_options *o);

#endif
