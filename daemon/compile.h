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

/* A memfd of these bytes that nobody can change any more. -1: logged. */
int image_seal(const char *name, const void *bytes, size_t len);
/* It is of at least `least` bytes and can neither shrink nor change. */
bool image_sealed(int fd, size_t least);
/* All of it, for reading, in *len bytes. NULL: it is empty, or cannot be mapped. */
void *image_map(int fd, size_t *len);

#endif
