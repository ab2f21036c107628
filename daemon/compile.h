/*
 * daemon/compile.h - COMPILE: a process of short life that reads the configuration and hands back one
 * sealed image each of settings and policy, or the list of problems. The parent parses nothing.
 */
#ifndef DAEMON_COMPILE_H
#define DAEMON_COMPILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "channel.h"

/* Forks it; *channel is the parent's end, to receive IPC_PROBLEMS... and IPC_COMPILED. -1: logged. */
pid_t compile_start(const char *path, bool colour, struct channel *channel);

#endif
