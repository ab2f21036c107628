/*
 * rules/shadow.h - do the rules before a rule hold, all together, for everything that it holds for? By cutting
 * what the rule holds for into cells that no rule before it divides, and taking those away that one of them
 * holds for. What is left over gives a session, which is put to the policy. sallyctl; allocates.
 */
#ifndef RULES_SHADOW_H
#define RULES_SHADOW_H

#include "rules/model.h"

enum shadow {
	SHADOW_WHOLE,	  /* proved: it decides no session, at no stage, from `now` on */
	SHADOW_LIT,	  /* a session was found that it decides */
	SHADOW_EMPTY,	  /* its own keys leave nothing for it to hold for */
	SHADOW_UNDECIDED, /* neither, or it would take too long */
};

#define SHADOW_CASTERS 512 /* rules that are looked at for one */

struct shadow_proof {
	const struct model_rule *by[SHADOW_CASTERS]; /* WHOLE: rules that hold together, in order */
	size_t count;
};

/* work: what is left for all rules of a run, counted down; none is left: undecided. */
enum shadow shadow_find(struct policy *p, const struct rules_model *m, const struct model_rule *rule,
			int64_t now, uint64_t *work, struct shadow_proof *out);

#endif
