/*
 * trial.h - one test of a policy's `tests` section, put to the policy.
 */
#ifndef CTL_TRIAL_H
#define CTL_TRIAL_H

#include "ctl/inquiry.h"
#include "rules/model.h"

struct trial {
	bool passed;
	enum rules_verdict verdict;
	char rule[64 + 16]; /* that decided; "" if none did */
	char text[256];     /* what was expected and what came, for people; "" if passed */
};

void trial_run(const struct court *court, const struct model_test *test, struct trial *out);
/* Runs all; a failed one becomes an error with the place of what was expected. Returns how many
 * failed. */
size_t trials_judge(const struct court *court, struct problems *problems);

#endif
