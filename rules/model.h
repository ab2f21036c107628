/*
 * rules/model.h - a checked policy in memory, between reading (load.c and friends: tree -> model)
 * and compiling (compile.c: model -> image). Also what show, test and lint read.
 * Inside the rules room only. COMPILE and sallyctl; allocates freely (one arena, freed as a whole).
 * Texts may point into the tree and the sources, which must outlive the model (struct rules_load sees to it).
 *
 * Objects are flat here: nesting is resolved by the reader, so a set holds final values only. A
 * set that rules share (a named object) is one struct, so that the compiler can intern it.
 */
#ifndef RULES_MODEL_H
#define RULES_MODEL_H

#include "base/arena.h"
#include "rules/rules.h"

/* Built-in networks by number, besides prefixes: `any` differs between from and to. */
enum builtin { BUILTIN_ANY, BUILTIN_PUBLIC, BUILTIN_PRIVATE, BUILTIN_LOOPBACK, BUILTIN_LINK_LOCAL,
	       BUILTIN_MULTICAST, BUILTIN_UNSPECIFIED, BUILTIN_COUNT };

struct model_range { struct addr first, last; }; /* inclusive; IPv4 and IPv6 never in one range */

enum host_kind { HOST_EXACT, HOST_BELOW, HOST_BOTH, HOST_REGEX };
struct host_pattern {
	enum host_kind kind;
	const char *text; /* canonical (lower case), without "*." or "." or "regex:" */
	size_t len;
	struct place place;
};

struct model_service { bool udp; uint16_t first, last; };

/* Times: minutes of the week in a zone. day 0 Monday. end may lie beyond the day (over midnight). */
struct model_window { uint8_t days; /* bit 0 Monday */ uint16_t start, end; /* minutes 0-1440; end<=start: next day */
		      const char *zone; /* IANA name */ };

/*
 * Zones of the system's zoneinfo, read by hand so that neither TZ nor libc's clock is touched (zones.c, the
 * reader's side). Plain values without pointers but `changes`: the compiler copies them into the image,
 * and zone_rule_offset works on the image's copy.
 */
struct zone_change { int64_t at; int32_t offset; }; /* from this second on local time = UTC + offset */
struct zone_edge { /* when the closing rule changes, in local time before the change */
	uint8_t form; /* 'M' month/week/day, 'J' day 1-365 without Feb 29, '0' day 0-365 */
	uint8_t month, week; uint16_t day;
	int32_t second; /* of that day; may be negative or beyond a day */
};
struct zone_rule { int32_t standard, summer; bool has_summer; struct zone_edge begin, end; };
#define ZONE_LAST_YEAR 2037 /* changes are listed up to the end of it, then the rule holds */
struct zone {
	struct zone_change *changes; size_t count; /* ascending; the first at INT64_MIN */
	int64_t rule_from; /* the rule holds from here (INT64_MAX: there is none, the last change holds) */
	struct zone_rule rule;
};
/* IANA name or UTC; "posix/", "right/" and paths are not names. False: this system knows no such zone. */
bool zone_known(const char *name, size_t len);
bool zone_load(const char *name, struct zone *out); /* zone_free; False: not there or not well formed */
void zone_free(struct zone *z);
int32_t zone_rule_offset(const struct zone_rule *r, int64_t t); /* t: UTC seconds */
int32_t zone_offset(const struct zone *z, int64_t t);
/* A local civil time to UTC seconds: of two the earlier, and for one that is skipped the offset before the gap. */
int64_t zone_to_utc(const struct zone *z, int64_t local_s);
int64_t civil_days(int year, unsigned month, unsigned day); /* days since 1970-01-01 of a valid date */
bool civil_valid(int year, unsigned month, unsigned day);

enum object_kind { OBJECT_NETWORK, OBJECT_HOST, OBJECT_SERVICE, OBJECT_GROUP, OBJECT_TIME };

/*
 * One named object, or the anonymous set of a rule's literals. Flattened: nested objects and tables are
 * merged in. Order is not kept; sorted and de-duplicated by the reader (ranges merged, canonical).
 */
struct model_remark;
struct object {
	enum object_kind kind;
	const char *name; /* NULL: literals of a rule */
	struct place place;
	bool used;
	uint32_t number; /* the compiler's own */
	/* by kind */
	struct model_range *ranges; size_t range_count;	   /* NETWORK */
	struct host_pattern *hosts; size_t host_count;	   /* HOST */
	struct model_service *services; size_t service_count; /* SERVICE */
	const char **users; size_t user_count;		   /* GROUP: plain user names, sorted by strcmp */
	const char **unix_groups; size_t unix_count;	   /* GROUP: unix:NAME */
	struct model_window *windows; size_t window_count; /* TIME */
	const char **tables; size_t table_count;	   /* file: paths merged in, for reload and show */
	const char **members; size_t member_count;	   /* as written, for show and lint */
	struct place *member_places;
	/* What the reader notes for later warnings; NULL: nothing. Holds for nested objects too. */
	const struct model_remark *wide; /* a literal prefix shorter than a special range that it contains */
	const struct model_remark *open; /* a network that confines nobody: public, or shorter than /8 (/16) */
	struct object *next;
};
struct model_remark { struct place place; const char *text, *about; };

/* One key's value: named objects, built-ins and one anonymous set of literals; any of them may hold.
 * A key that was not given has given == false and holds. */
struct model_set {
	bool given;
	struct object **objects; size_t object_count; /* includes the anonymous ones; networks and hosts mixed in `to` */
	uint32_t builtins;			      /* 1 << enum builtin */
	struct place place;
	const char **words; size_t word_count; /* as written, for show */
};

struct model_rule {
	const char *name;
	struct place place;
	uint32_t index;
	bool allow, dry_run, open_proxy;
	/* who: WHO_ANYONE also the nameless; WHO_KNOWN any accepted identity; WHO_SET who.objects */
	enum { WHO_ANYONE, WHO_KNOWN, WHO_SET } who_kind;
	struct model_set who;
	uint32_t auth; /* AUTH_ bits accepted; already the default where not given; 0 where who is ANYONE */
	bool auth_given;
	struct model_set from, from_except, to, except, service, when, resolves_in; /* resolves_in: the policy's where not given */
	const char **listeners; size_t listener_count; /* 0: any */
	uint8_t commands;				/* bits 1 << RULES_CONNECT ...; default filled in */
	bool commands_given;
	uint8_t versions; /* bits 1 << 4, 1 << 5; both by default */
	bool has_since, has_expires, has_review;
	int64_t since, expires, review; /* UTC seconds: first second in; first second out (day after expires); review day start */
	struct rule_terms terms; /* name, owner, ... all that is only carried */
};

/* A test of `tests { }`, and what explain --batch reads: all facts by value. */
struct model_test {
	const char *name;
	struct place place, rule_place, expect_place;
	const char *user, *from, *to, *listener, *rule, *at, *command; /* text as written; NULL: not given */
	uint32_t auth; uint8_t version;
	const char **groups; size_t group_count;
	bool resolves_given; struct addr *resolves; size_t resolve_count;
	bool expect_allow;
	/* parsed */
	struct rules_facts facts; /* FACT_ALL but ADDRESS for names; strings point into the arena; listener resolved when run */
};

/* What came of a test (tests.c): run by check, by `sallyctl test` and by a server before it takes a policy. */
struct model_trial {
	bool passed;
	enum rules_verdict verdict;
	const char *rule; /* that decided, in the image; "" if none did */
	char expected[128], came[160]; /* in words: `allow by "web"`, `it gets deny by "rest"` */
};
void rules_test_run(struct policy *p, const struct model_test *test, struct model_trial *out);

struct rules_model {
	struct arena arena;
	const char *name; /* policy.name or "" */
	struct model_set resolves_in;
	struct object *objects; /* all, named and anonymous, in file order */
	struct model_rule *rules; size_t rule_count;
	struct model_test *tests; size_t test_count;
	const char **listeners; size_t listener_count; /* names known; NULL when no settings (names in rules are then interned by the compiler) */
	bool has_listeners;
};

void *model_alloc(struct rules_model *m, size_t size); /* zeroed; aborts on no memory */
const char *model_string(struct rules_model *m, const char *s, size_t len);
void model_free(struct rules_model *m);
uint32_t model_hash(const void *bytes, size_t len); /* for tables in memory */

/* Reader (read.c ...): tree -> model; all problems at once. settings NULL: a policy by itself. NULL only if unusable. */
struct rules_model *model_read(struct tree *policy, const struct settings *settings, struct sources *sources,
			       int64_t now, struct problems *p);
/* Compiler (compile.c): model -> image (malloc'd). False with problems added (too large, a zone without rules). */
bool model_compile(const struct rules_model *m, void **image, size_t *len, struct problems *p);

/* The ranges of a built-in, by place: as a destination or in from. (builtin.c, the compiler's side) */
size_t builtin_ranges(enum builtin b, bool destination, const struct model_range **out);
int builtin_find(const char *word); /* enum builtin, or -1 */
const char *builtin_word(enum builtin b);

/* Shared by tests, explain and batch: texts to facts. NULL, or what is wrong (static or in err). */
const char *facts_time(const char *text, int64_t *out); /* YYYY-MM-DD HH:MM[:SS] [ZONE] or RFC 3339 */
/* "host:port", "1.2.3.4:80", "[::1]:80": fills name/address and port; name_buf NAME_MAX_LEN+1. */
const char *facts_destination(const char *text, struct rules_facts *f, char *name_buf);
bool facts_auth(const char *word, uint8_t *bit);
bool facts_command(const char *word, uint8_t *command);
const char *facts_auth_word(uint8_t bit); /* "pam"; "?" if it is none */
const char *facts_command_word(unsigned command);

#endif
