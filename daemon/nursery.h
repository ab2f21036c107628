/*
 * daemon/nursery.h - the part of the authenticator that keeps rights: it forks the checkers, ends
 * them, and opens the files of users and secrets. It hears the authenticator alone, in messages of
 * fixed size, and never what a client said.
 */
#ifndef DAEMON_NURSERY_H
#define DAEMON_NURSERY_H

#include "privileges.h"

#define CHECKERS_A_KIND 256 /* the bound of auth.helpers */

/* Forks it. leave: a descriptor that it must not keep. Returns our end of the channel, or -1: logged. */
int nursery_start(int leave, const struct account *a);

#endif
