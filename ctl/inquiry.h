/*
 * inquiry.h - one session as an admin describes it, and as the rules see it.
 *
 * explain's options, a line of explain --batch and what both answer.  The words
 * are the same everywhere: from, to, user, groups, auth, command, version,
 * listener, resolves, at.
 */
#ifndef CTL_INQUIRY_H
#define CTL_INQUIRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/name.h"
#include "base/text.h"
#include "ctl/self.h"
#include "rules/rules.h"

struct words {
	const char **list;
	size_t count, cap;
};
void words_add(struct words *w, const char *word);
void words_free(struct words *w);

struct inquiry { /* texts as written; NULL: not given */
	const char *from, *to, *user, *auth, *command, *listener, *at;
	long long version; /* if version_given */
	bool version_given, resolves_given;
	struct words groups, resolves;
};

/* What the inquiries of one run are put to. */
struct court {
	struct policy *policy;
	const struct rules_load *load;
	struct self self;
};
void court_open(struct court *c, struct policy *policy, const struct rules_load *load);
void court_close(struct court *c);

struct described { /* an inquiry as facts; strings are those of the inquiry */
	struct rules_facts facts;
	char name[NAME_MAX_LEN + 1];
	bool resolved;
	struct addr *resolves;
	size_t resolve_count, resolve_cap;
};
/* False: *error says what is wrong (bounded, quoted). now: seconds, for want of `at`. */
bool inquiry_describe(const struct inquiry *q, const struct court *court, int64_t now,
		      struct described *out, struct text *error);
void described_free(struct described *d);

/* The object of POLICY.md, without a newline. */
void verdict_put_json(struct buffer *out, const struct court *court,
		      const struct rules_explanation *e);
const char *verdict_word(enum rules_verdict v);

/* why.c: why a passed-over rule did not hold, in words. */
void why_put(struct buffer *out, const struct court *court, const struct described *d,
	     const struct rules_explanation *e, const struct rules_passed *passed);

/* session.c: a live session, as the server lists it */
struct ctl_call;
struct json_t;
struct live_session {
	struct json_t *row;
	char policy[16]; /* the first digits of the hash of the policy in force */
	char *owned[4];
	size_t owned_count;
	struct words groups; /* that were looked up here */
};
/* Fills what the inquiry does not say yet; what it takes belongs to *s. False: told; session_free all the same. */
bool session_ask(struct live_session *s, const struct ctl_call *call, const char *id,
		 struct inquiry *q);
/* Before the answer, for people; in JSON: members to put behind others. */
void session_put(const struct live_session *s, const struct inquiry *q, bool in_force,
		 struct buffer *out);
void session_put_json(const struct live_session *s, bool in_force, struct buffer *out);
void session_free(struct live_session *s);

/* batch.c */
int batch_run(const struct ctl_call *call, const struct court *court, const char *path);

#endif
