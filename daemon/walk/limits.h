/*
 * walk/limits.h - a rule's `limit`: sessions, sessions-per-user, sessions-per-source, rate-per-user and the two
 * bandwidths. Exact across workers (books/quota.h). A rule without these words costs one look at its terms.
 *
 * Taken when the verdict is in (CONNECT, BIND, UDP ASSOCIATE alike), before anything is opened; given back by
 * account_close. An association of UDP counts once for each rule that its destinations go by, as long as one of them
 * does; its datagrams beyond a bandwidth are dropped. A client without a user counts per user by its source; a source is masked as limits.source-prefix says.
 */
#ifndef WALK_LIMITS_H
#define WALK_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct card;
struct session;

/* False: one is reached, and nothing is taken: the session ends with END_LIMIT. rule: of walk.policy; RULE_* below 0: none.
 * Sets s->pump.gate if there is a bandwidth. */
bool limits_enter(struct session *s, int32_t rule);
/* Gives back what was taken; once more does nothing. */
void limits_leave(struct session *s);

/* -- destinations of an association -- */
/* Names a rule that counts, over reloads; 0: it counts nothing. */
uint64_t limits_rule(int32_t rule);
/* As limits_enter without bandwidth; what was taken is noted in the destination's card. */
bool limits_enter_destination(const struct session *s, struct card *destination, int32_t rule);
/* It goes: another one of the same rule (NULL: there is none) has from now on what it had. */
void limits_leave_destination(struct card *destination, struct card *heir);
/* Its rule's bandwidths; *out NULL: none. False: no memory. The caller's to free. */
struct limits_line;
bool limits_line(const struct session *s, int32_t rule, struct limits_line **out);
/* True: the datagram may pass; direction 0: from the client. l NULL: always. */
bool limits_pass(struct limits_line *l, int direction, size_t bytes);

#endif
