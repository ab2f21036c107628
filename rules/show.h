/*
 * rules/show.h - a checked policy in words: what a rule does, as one English sentence, and what its
 * objects hold. Of the model, so it says what was read, defaults filled in. Pure; sallyctl.
 */
#ifndef RULES_SHOW_H
#define RULES_SHOW_H

#include "base/text.h"
#include "rules/model.h"

/* "Allows @staff, proven, from branches to connect to any address on web." */
void rule_sentence(const struct model_rule *rule, struct buffer *out);
/* "limit sessions-per-user 20, lifetime 8 h; alert"; nothing where all is as by default. */
void rule_put_terms(const struct model_rule *rule, struct buffer *out);
/* The commands that are left when the services and versions of the rule are looked at; bits 1 << RULES_CONNECT ... */
unsigned rule_commands(const struct model_rule *rule);
/* All sets of a rule, by the name of their key; i from 0, NULL at the end. */
const struct model_set *rule_set(const struct model_rule *rule, unsigned i, const char **key);

/* Value i of an object as it would be written, tables merged in and nested objects resolved. */
size_t object_count(const struct object *o);
void object_put_value(const struct object *o, size_t i, struct buffer *out);
const char *object_word(enum object_kind kind); /* "network" */

void day_put(int64_t at, struct buffer *out); /* "2026-11-24" */

#endif
