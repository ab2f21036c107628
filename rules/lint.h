/*
 * rules/lint.h - what is right by the language and yet hardly meant. sallyctl.
 *
 * A finding is proved; what could be neither proved nor disproved stands under undecided.
 */
#ifndef RULES_LINT_H
#define RULES_LINT_H

#include "rules/rules.h"

struct lint {
	struct problems findings, undecided; /* warnings, W2xx and W4xx; places point into the load's sources */
};

/* l: loaded without errors, and p its image. now: seconds, as for rules_load. lint_free. */
void rules_lint(const struct rules_load *l, struct policy *p, int64_t now, struct lint *out);
void lint_free(struct lint *lint);

#endif
