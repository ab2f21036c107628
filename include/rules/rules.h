/*
 * rules/rules.h - the one door of the policy engine (POLICY.md is its contract).
 *
 * Facts in, verdict out. No sockets, no clock, no DNS, no logging here. Loading and
 * compiling run in COMPILE and sallyctl and may allocate freely; rules_evaluate runs
 * in workers on a mapped image, never allocates, never blocks.
 */
#ifndef RULES_RULES_H
#define RULES_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/problems.h"
#include "settings/settings.h"
#include "settings/tree.h"

/* ---- facts ---------------------------------------------------------------- */

enum rules_command { RULES_CONNECT = 1, RULES_BIND = 2, RULES_UDP = 3 }; /* the SOCKS5 CMD codes */

/* What is known already. Absent is also knowledge: FACT_NAME with name NULL means "there is no name". */
enum {
	FACT_CLIENT = 1 << 0,	/* client, listener (both known from accept on) */
	FACT_VERSION = 1 << 1,
	FACT_COMMAND = 1 << 2,
	FACT_NAME = 1 << 3,	/* name or NULL: an address literal was asked for */
	FACT_ADDRESS = 1 << 4,	/* address */
	FACT_PORT = 1 << 5,
	FACT_TIME = 1 << 6,	/* time */
	FACT_PROVEN = 1 << 7,	/* proven_user or NULL */
	FACT_ASSERTED = 1 << 8, /* asserted by ident: ident_user or NULL (SOCKS4 USERID: userid, known with VERSION) */
	FACT_GROUPS = 1 << 9,	/* the Unix groups of the proven or asserted user */
	FACT_ALL = (1 << 10) - 1,
};

/* Ways to be known, a set. The first four are proven (POLICY.md `auth`). */
enum {
	AUTH_PAM = 1, AUTH_FILE = 2, AUTH_GSSAPI = 4, AUTH_CHAP = 8, AUTH_IDENT = 16, AUTH_USERID = 32,
	AUTH_NONE = 64, /* nameless: only in rules_answer.methods */
};

/* builtin:self - what counts as this server itself; the caller keeps it. */
struct rules_self {
	const struct endpoint *endpoints; /* listeners, metrics; wildcard addresses allowed */
	size_t endpoint_count;
	const struct addr *locals; /* this machine's addresses, for wildcard listeners; sorted by addr_compare */
	size_t local_count;
};

struct rules_facts {
	uint32_t known;
	struct addr client;
	int listener; /* index from rules_listener, -1: none or unnamed */
	uint8_t version; /* 4, 5 */
	uint8_t command; /* enum rules_command */
	uint8_t proven_by, asserted_by; /* one AUTH_ bit each, 0: nobody; a USERID that ident confirms: both of its bits */
	const char *name; /* canonical (name_canonical NAME_HOST), NUL-terminated; NULL: none */
	size_t name_len;
	struct addr address;
	uint16_t port;
	int64_t time; /* seconds since 1970, UTC */
	const char *proven_user, *asserted_user; /* NUL-terminated */
	const char *const *groups;
	size_t group_count;
	bool groups_failed; /* the lookup failed: group conditions are undetermined */
	const struct rules_self *self; /* NULL: not checked */
};

/* ---- answers -------------------------------------------------------------- */

enum rules_verdict { RULES_DENY, RULES_PERMIT, RULES_NEED };
enum rules_reason { REASON_RULE, REASON_DEFAULT, REASON_RESOLVES_IN, REASON_UNDETERMINED, REASON_SELF,
	REASON_NO_PRIMARY /* given by the walk: bind.require-primary */ };
#define RULE_DEFAULT (-1) /* policy-default */
#define RULE_SELF (-2)	  /* builtin:self */
#define RULE_NONE (-3)	  /* NEED: no rule decided */

struct rules_answer {
	enum rules_verdict verdict;
	enum rules_reason reason;
	int32_t rule;	  /* index in file order, or RULE_* */
	uint32_t needs;	  /* NEED: FACT_ bits without which it cannot be decided */
	uint32_t methods; /* AUTH_ bits that some still possible allow rule accepts (AUTH_NONE: some takes the nameless) */
	uint32_t kinds;	  /* AUTH_ bits that some rule asks for that is uncertain, a deny as well */
	uint32_t tested;  /* candidate rules verified, for metrics */
	uint32_t dry_run; /* rules in mode dry-run that would have decided before; first one's index + 1, 0: none */
	uint8_t alert;	  /* the deciding rule asks for an operational line */
};

struct policy; /* a mapped image and its scratch; one per process, not shared by threads */

/*
 * The one decision function. NEED only while facts are unknown; with FACT_ALL known it is
 * PERMIT or DENY. Unknown is refused (semantics 4). May be called at any time with any set of facts.
 * A certain answer stays what it is, whatever the unknown facts turn out to be. NEED always means that
 * some allow rule is still possible; so UDP ASSOCIATE (FACT_NAME, FACT_ADDRESS, FACT_PORT unknown, command
 * RULES_UDP) is granted on PERMIT, and on NEED once needs holds nothing but those three.
 * While FACT_ASSERTED is unknown an asserted identity may come, a USERID only if the version may be 4.
 * The fact of a name with an address: judged together (semantics 6). A destination that carries an IPv4 address
 * (NAT64, 6to4, Teredo) is judged twice (semantics 7). groups belong to the session, whoever is asked for.
 */
void rules_evaluate(struct policy *p, const struct rules_facts *facts, struct rules_answer *out);

const char *rules_reason_word(enum rules_reason r); /* "rule", "default", "resolves-in", ... */

/* ---- images --------------------------------------------------------------- */

/*
 * Opens an image (position-independent, read-only, must stay mapped). Every offset is checked once
 * here, so a flipped byte ends in NULL, never in a fault later. NULL: not a valid image.
 */
struct policy *policy_open(const void *image, size_t len);
/*
 * The same for a memfd that is sealed against writing and that policy_open has opened once already (by COMPILE, who
 * made it): skips the checks, so that a reload stalls no worker. Only the frame is looked at.
 */
struct policy *policy_open_sealed(const void *image, size_t len);
void policy_close(struct policy *p); /* frees scratch, not the image */
/* What images of this program look like (base/form.h). */
uint64_t policy_form(void);

const char *policy_name(const struct policy *p);	/* policy.name or "" */
const uint8_t *policy_hash(const struct policy *p);	/* SHA-256, 32 bytes: the identity in every record */
size_t policy_rule_count(const struct policy *p);
uint32_t policy_worst_case(const struct policy *p); /* at most this many rules are tested for any session */
int policy_listener(const struct policy *p, const char *name); /* index for facts.listener, -1 */
int32_t policy_rule_find(const struct policy *p, const char *name); /* index, or RULE_NONE */

/* The Unix groups that the policy names, each once: up to cap of them, pointing into the image. Returns how many there are. */
size_t policy_unix_groups(const struct policy *p, const char **names, size_t cap);

/* What a rule says beyond yes and no; pointers into the image, "" where not given. */
struct rule_terms {
	const char *name, *owner, *ticket, *why;
	const char *file; unsigned line, column;
	bool allow, alert, dry_run;
	uint8_t log;		/* 3 both, 1 start, 2 end */
	uint8_t udp_replies;	/* 0 contacted, 1 address, 2 any */
	uint8_t on_revoke;	/* 0 sever, 1 keep, 2 drain */
	uint32_t drain_ms;
	uint32_t auth;		/* AUTH_ bits */
	const char *route;	/* "" or "direct": direct */
	bool has_egress4, has_egress6;
	struct addr egress4, egress6;
	uint32_t sessions, sessions_per_user, sessions_per_source; /* 0: none given */
	double rate_per_user;	/* per second; 0: none */
	uint64_t bandwidth_per_session, bandwidth_per_user; /* bit/s; 0: none */
	uint64_t idle_ms, lifetime_ms;			    /* 0: none */
};
/* rule: an index, or RULE_DEFAULT / RULE_SELF (then only name is set). */
void policy_terms(const struct policy *p, int32_t rule, struct rule_terms *out);

/* ---- loading (COMPILE, sallyctl) ------------------------------------------ */

struct rules_load {
	struct sources sources;	 /* texts that problems point into */
	struct problems problems;
	bool has_settings;	/* the file was a sallyport.conf (has listeners) */
	struct settings settings;
	void *image; /* malloc'd; NULL if there was any error */
	size_t image_len;
	size_t rule_count;
	struct tree *tree, *policy_tree; /* the same where the rules stand in the settings file */
	struct rules_model *model; /* the checked policy, for show, test, lint; NULL if it could not be read */
};
/*
 * Reads FILE (a sallyport.conf or a policy by itself), checks everything, compiles. True: no error, image set.
 * need_settings: the server asks: a policy by itself is an error, and so is a failing test. now: seconds, for since/expires warnings.
 */
bool rules_load(struct rules_load *l, const char *path, bool need_settings, int64_t now);
/* As rules_load(l, path, false, now), but where the policy reads the table at that path it gets `file` instead. */
bool rules_load_instead(struct rules_load *l, const char *path, int64_t now, const char *table, const char *file);
/*
 * Runs the `tests` of a loaded policy on its image. Each that fails becomes an error (E228) in l->problems.
 * True: all passed. The image stays; a server does not take it after false.
 */
bool rules_tests(struct rules_load *l);
void rules_load_free(struct rules_load *l);
/* `sallyctl help E203`: what a code of this room (E2xx, W2xx) means, at length; NULL if there is no such code. */
const char *rules_problem_explain(const char *code);

/* ---- explaining ----------------------------------------------------------- */

struct rules_passed {
	int32_t rule;
	const char *failed; /* the key that failed: "to", "who", ...; "mode": a dry run that matches */
	bool unsure;        /* a dry run that might match: it would take an address to know */
};
struct rules_explained_address { struct addr address; struct rules_answer answer; };
struct rules_explanation {
	struct rules_answer answer; /* as a session would get it: semantics 6 over all addresses */
	struct rules_explained_address *addresses;
	size_t address_count;
	struct rules_passed *passed; /* rules before the deciding one, in order, with the first failing key */
	size_t passed_count;
};
/*
 * facts: as at decide, without FACT_ADDRESS when a name is given. resolves: the name's answers (count 0 with
 * resolved true: the name does not exist). Allocates into *out; rules_explanation_free.
 */
void rules_explain(struct policy *p, const struct rules_facts *facts, bool resolved,
		   const struct addr *resolves, size_t resolve_count, bool want_passed,
		   struct rules_explanation *out);
void rules_explanation_free(struct rules_explanation *e);

/*
 * Why `rule` does not hold for these facts: the first failing key in the order of POLICY.md's table, NULL if it
 * holds (a rule in mode dry-run may). unknown: nothing fails for certain, and the key told is the first that waits
 * for a fact. For the address as it stands: of a destination within a destination (semantics 7) ask twice.
 */
const char *rules_first_failure(struct policy *p, int32_t rule, const struct rules_facts *facts, bool *unknown);
/* The oracle: the plain top-to-bottom scan; must always equal rules_evaluate. */
void rules_evaluate_linear(struct policy *p, const struct rules_facts *facts, struct rules_answer *out);

#endif
