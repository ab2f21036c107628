/*
 * rules/witness.h - sessions that a rule is meant for, made from the rule itself: put to the policy
 * they show what becomes of it. A witness that the rule decides proves that it can. sallyctl.
 */
#ifndef RULES_WITNESS_H
#define RULES_WITNESS_H

#include "base/name.h"
#include "rules/model.h"

#define WITNESS_NAMES 6
#define WITNESS_ADDRESSES 12

struct witness { /* all facts by value or into the model */
	struct rules_facts facts;
	char name[NAME_MAX_LEN + 1];
};

/*
 * Calls with sessions that fit the rule, until one is enough (true) or there are no more; at most a few
 * hundred. now: about when they should be. A rule that only a pattern could name may have none.
 */
typedef bool witness_call(void *data, const struct witness *w);
bool witness_each(struct policy *p, const struct model_rule *rule, int64_t now, witness_call *call,
		  void *data);
/* The same of clients, or to addresses, that another rule does not hold for. */
enum witness_side { WITNESS_CLIENTS, WITNESS_DESTINATIONS };
bool witness_each_beside(struct policy *p, const struct model_rule *rule,
			 const struct model_rule *other, enum witness_side side, int64_t now,
			 witness_call *call, void *data);
/* Names that fit the host patterns of a set: as many as fit, at most WITNESS_NAMES. */
size_t witness_names(const struct model_set *set, char names[WITNESS_NAMES][NAME_MAX_LEN + 1]);

#endif
