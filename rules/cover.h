/*
 * rules/cover.h - does one rule hold for everything that another holds for? By inclusion of sets, key
 * by key. True is a proof; false says nothing. Pure; sallyctl.
 */
#ifndef RULES_COVER_H
#define RULES_COVER_H

#include "rules/model.h"

/* Whenever b would hold, a holds, for every session and at every stage of it. */
bool rule_covers(const struct model_rule *a, const struct model_rule *b);
/* One of the objects in a set names this user, or Unix group. */
bool set_names(const struct model_set *set, bool groups, const char *word);
/* A window within those of the same zone in a set; all names of a pattern within those of a set. */
bool window_covered(const struct model_set *set, const struct model_window *w);
bool pattern_covered(const struct model_set *set, const struct host_pattern *h);

#endif
