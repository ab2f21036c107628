/*
 * walk/limits.h - a rule's `limit`: sessions, sessions-per-user, sessions-per-source, rate-per-user and the two
 * bandwidths. Exact across workers (books/quota.h). A rule without these words costs one look at its terms.
 *
 * Taken when the verdict is in (CONNECT, BIND, UDP ASSOCIATE alike), before anything is opened; given back by
 * account_close. A client without a user counts per user by its source; a source is masked as limits.source-prefix says.
 */
#ifndef WALK_LIMITS_H
#define WALK_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct session;

/* False: one is reached, and nothing is taken: the session ends with END_LIMIT. rule: of walk.policy; RULE_* below 0: none.
 * Sets s->pump.gate if there is a bandwidth. */
bool limits_enter(struct session *s, int32_t rule);
/* Gives back what was taken; once more does nothing. */
void limits_leave(struct session *s);

#endif
