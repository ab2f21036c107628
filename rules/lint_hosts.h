/*
 * rules/lint_hosts.h - inside lint: patterns that are not what they seem.
 */
#ifndef RULES_LINT_HOSTS_H
#define RULES_LINT_HOSTS_H

#include "rules/model.h"

/*
 * What a regular expression is in truth. PLAIN: the pattern in out says the same. LOOSE: it also fits the
 * name in out, which hardly anybody meant. Else REGEX_NEEDED, as far as can be told.
 */
enum regex_sort { REGEX_NEEDED, REGEX_PLAIN, REGEX_LOOSE };
enum regex_sort regex_sort(const char *text, size_t len, char *out, size_t size);

#endif
