/*
 * daemon/authenticator.h - the authenticator: answers the workers who a client is. Its front never
 * blocks and has no rights; what may block runs in checkers (daemon/checker.h), which the nursery
 * (daemon/nursery.h) forks and ends.
 */
#ifndef DAEMON_AUTHENTICATOR_H
#define DAEMON_AUTHENTICATOR_H

#include <stdbool.h>

#include "privileges.h"
#include "settings/settings.h"

/* Settings with a way to prove who one is, or a policy that names Unix groups. */
bool authenticator_wanted(const struct settings *s);
/* Forks the nursery, while there are rights that it can keep. False: logged. */
bool authenticator_prepare(int channel, const struct account *a);
/* The front, until the parent ends it. */
int authenticator_run(int channel, unsigned index);

#endif
