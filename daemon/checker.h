/*
 * daemon/checker.h - a checker: the process in which a password, an account or a group is really
 * looked at. It may block, and is killed for it at the deadline; one question at a time.
 */
#ifndef DAEMON_CHECKER_H
#define DAEMON_CHECKER_H

#include <stdbool.h>
#include <stddef.h>

#include "privileges.h"
#include "rules/rules.h"
#include "settings/settings.h"

/* Each kind is a pool of its own, so that one that hangs delays no other. */
enum checker_kind { CHECKER_FILE, CHECKER_PAM, CHECKER_GROUPS, CHECKER_GSSAPI, CHECKER_KINDS };

const char *checker_word(enum checker_kind kind);
/* In the process, before it: the keytab that a checker of GSSAPI takes its keys from. */
void checker_keytab(const void *bytes, size_t len);
/* The process, from right behind the fork on; its exit status. Gives up the rights that its kind does not need. */
int checker_run(int channel, enum checker_kind kind, const struct account *a, const struct settings *s,
		const struct policy *p);

#endif
