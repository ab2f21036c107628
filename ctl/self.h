/*
 * self.h - what counts as the server itself for `builtin:self`, told from its settings.
 */
#ifndef CTL_SELF_H
#define CTL_SELF_H

#include "rules/rules.h"

struct self {
	struct rules_self value;
	struct endpoint endpoints[SETTINGS_LISTENERS + 1]; /* listeners and metrics */
	struct addr *locals;
};

/*
 * The machine's addresses are asked for only where a listener is bound to the wildcard.  `self`
 * must not move afterwards: value points into it.
 */
void self_open(struct self *self, const struct settings *settings);
void self_close(struct self *self);

#endif
