/*
 * rules/image.h - the layout of a policy image, and the opened policy.
 *
 * An image is one position-independent block: a header with a table of sections, each an
 * array of little fixed structs or numbers that point into other sections by index. Written by
 * compile.c, checked whole by image.c, read by everybody else here. Inside the rules room only.
 * Lists by object are kept as "firsts": list i is items first[i] up to first[i + 1].
 */
#ifndef RULES_IMAGE_H
#define RULES_IMAGE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "rules/model.h"

#define IMAGE_MAGIC "SPRULES\n"
#define IMAGE_FORMAT 2u
#define IMAGE_HASH 32

/* A key's value: 0 not given; one object by number; or a place in the pool: count, then numbers. */
#define SET_NONE 0u
#define SET_ONE 0x80000000u
/* Networks that every image has. */
#define NETWORK_ANY_FROM 0u /* in from: every address; it has no ranges */
#define NETWORK_ANY_TO 1u   /* as a destination: has ranges, and holds for BIND's wildcard */

#define AUTH_PROVEN (AUTH_PAM | AUTH_FILE | AUTH_GSSAPI | AUTH_CHAP)
#define AUTH_ASSERTED (AUTH_IDENT | AUTH_USERID)

/*
 * A matcher serves evaluations in which at least the facts of its blind mask are unknown. It
 * knows only the first of the rules that cannot be told apart then, so early questions stay cheap.
 */
enum matcher { MATCHER_FULL, MATCHER_NAME, MATCHER_GRANT, MATCHER_EARLY, MATCHER_COUNT };
extern const uint32_t matcher_blind[MATCHER_COUNT];

/* In the order in which blind matchers stop to use them. */
enum anchor_kind {
	ANCHOR_FROM,
	ANCHOR_LISTENER,
	ANCHOR_WHO,
	ANCHOR_SERVICE,
	ANCHOR_HOST,
	ANCHOR_TO,
	ANCHOR_KINDS
};

enum image_section {
	SECTION_STRINGS,        /* char: NUL-terminated texts; offset 0 is "" */
	SECTION_RULES,          /* struct image_rule */
	SECTION_TAILS,          /* struct image_tail */
	SECTION_TERMS,          /* struct image_terms */
	SECTION_NOTES,          /* struct image_notes */
	SECTION_POOL,           /* u32: sets of more than one object */
	SECTION_LISTENERS,      /* u32: name */
	SECTION_WORDS,          /* u32: string; host names, users and Unix groups */
	SECTION_WORD_SLOTS,     /* u32: hash table: word_slot(), 0 empty */
	SECTION_NETWORK_FIRST4, /* u32 */
	SECTION_NETWORK_FIRST6, /* u32 */
	SECTION_RANGES4,        /* struct image_range4, sorted within a network */
	SECTION_RANGES6,        /* struct image_range6 */
	SECTION_HOST_FIRST,     /* u32 */
	SECTION_HOST_PATTERNS,  /* u32: word << 2 | enum host_kind, or HOST_PATTERN_REGEX | regex;
				   sorted */
	SECTION_REGEXES,        /* u32: string */
	SECTION_SERVICE_FIRST,  /* u32: list 2 i is tcp, 2 i + 1 udp of service i */
	SECTION_PORTS,          /* struct image_ports */
	SECTION_GROUP_FIRST,    /* u32: list 2 i users, 2 i + 1 Unix groups of group i */
	SECTION_GROUP_WORDS,    /* u32: word, sorted within a list */
	SECTION_TIME_FIRST,     /* u32 */
	SECTION_WINDOWS,        /* struct image_window */
	SECTION_ZONES,          /* struct image_zone */
	SECTION_TRANSITIONS,    /* struct image_transition, sorted within a zone */
	SECTION_FROM_STARTS4,   /* u32: sorted; from here on ... */
	SECTION_FROM_NODES4,    /* u32: ... this is the smallest prefix: node + 1, 0 none */
	SECTION_FROM_STARTS6,   /* struct addr */
	SECTION_FROM_NODES6,
	SECTION_TO_STARTS4,
	SECTION_TO_NODES4,
	SECTION_TO_STARTS6,
	SECTION_TO_NODES6,
	SECTION_PORT_STARTS4, /* ports as addresses: port_key() */
	SECTION_PORT_NODES4,
	SECTION_PORT_STARTS6, /* none */
	SECTION_PORT_NODES6,
	SECTION_NODES,        /* struct image_node */
	SECTION_NODE_ANCHORS, /* u32: anchor */
	SECTION_WORD_FIRST,   /* u32 */
	SECTION_WORD_ANCHORS, /* u32: anchor */
	SECTION_LISTENER_ANCHORS, /* u32, by listener: anchor + 1, 0 none */
	/* One of each a matcher; equal ones share their bytes: */
	SECTION_SUBSET,                                    /* u32: its rules; none: all rules */
	SECTION_ALWAYS = SECTION_SUBSET + MATCHER_COUNT,   /* u32: rules without an anchor */
	SECTION_ASSERTED = SECTION_ALWAYS + MATCHER_COUNT, /* u32: anchored by who, take asserted */
	SECTION_UNIX =
	    SECTION_ASSERTED + MATCHER_COUNT, /* u32: anchored by who, name Unix groups */
	SECTION_POST_FIRST =
	    SECTION_UNIX + MATCHER_COUNT, /* u32, by anchor; up to the last one used */
	SECTION_POSTS = SECTION_POST_FIRST + MATCHER_COUNT, /* u32: rules anchored there */
	SECTION_COUNT = SECTION_POSTS + MATCHER_COUNT,
};

#define HOST_PATTERN_REGEX 0x80000000u

struct image_header {
	char magic[8];
	uint8_t hash[IMAGE_HASH]; /* SHA-256 of everything behind it */
	uint64_t len;
	uint32_t format, header_size;
	uint32_t name; /* string */
	uint32_t worst_case;
	uint32_t anchor_first[ANCHOR_KINDS + 1]; /* anchors are numbered by kind */
	uint32_t needs;                          /* facts that any rule can ask for */
	struct {
		uint64_t offset, count;
	} sections[SECTION_COUNT];
};

enum {
	RULE_ALLOW = 1,
	RULE_DRY_RUN = 2,
	RULE_ALERT = 4,
	RULE_TO_GIVEN = 8, /* also set where `to` names only objects that are empty */
};
enum { WHO_KIND_ANYONE, WHO_KIND_KNOWN, WHO_KIND_SET };

struct image_rule {
	uint32_t name, ticket; /* strings */
	uint32_t line;
	uint16_t column, flags;
	uint32_t who, from, to_networks, to_hosts, service; /* sets */
	uint32_t tail, terms, notes;
	uint8_t auth, who_kind;
	uint8_t commands; /* bits 1 << RULES_CONNECT ...; without those that `service` rules out */
	uint8_t versions; /* bits 1 << 4, 1 << 5 */
};

/* What few rules say; shared by the rules that say the same. */
struct image_tail {
	uint32_t from_except, listeners, except_networks, except_hosts, when,
	    resolves_in;        /* sets */
	int64_t since, expires; /* IMAGE_NO_SINCE, IMAGE_NO_EXPIRES: not given */
};
#define IMAGE_NO_SINCE INT64_MIN
#define IMAGE_NO_EXPIRES INT64_MAX

struct image_terms {
	uint64_t bandwidth_per_session, bandwidth_per_user, idle_ms, lifetime_ms;
	double rate_per_user;
	uint32_t sessions, sessions_per_user, sessions_per_source, drain_ms, route;
	uint8_t log, udp_replies, on_revoke, egress; /* egress: 1 IPv4, 2 IPv6 */
	struct addr egress4, egress6;
};

struct image_notes {
	uint32_t owner, why, file; /* strings */
};

struct image_range4 {
	uint32_t first, last;
};
struct image_range6 {
	struct addr first, last;
};
struct image_ports {
	uint16_t first, last;
};
struct image_window {
	uint8_t days, pad;
	uint16_t start, end; /* minutes; end <= start: of the next day */
	uint16_t zone;
};
struct image_transition {
	int64_t at;
	int32_t offset; /* local time - UTC from here on, seconds */
	uint32_t pad;
};
struct image_zone {
	uint32_t first, count; /* transitions; the first one's instant is INT64_MIN */
	int64_t rule_from;     /* from here on the rule holds; INT64_MAX: never */
	struct zone_rule rule;
};
/* A prefix, with the anchors that contain it; parents contain children. */
struct image_node {
	uint32_t parent; /* node + 1, always a smaller node; 0 none */
	uint32_t first;  /* of node_anchors; one more node stands at the end */
};

/* ---- the opened policy ------------------------------------------------------ */

struct prefix_index {
	const uint32_t *starts4, *nodes4, *nodes6;
	const struct addr *starts6;
	uint32_t count4, count6;
};

struct posts {
	const uint32_t *subset, *always, *asserted, *unix_groups, *first, *rules;
	uint32_t subset_count, always_count, asserted_count, unix_count, rule_count, anchor_count;
	bool uses[ANCHOR_KINDS];
};

struct list {
	const uint32_t *at, *end;
};

struct policy {
	const struct image_header *header;
	const char *strings;
	const struct image_rule *rules;
	const struct image_tail *tails;
	const struct image_terms *terms;
	const struct image_notes *notes;
	const uint32_t *pool, *listeners, *words, *word_slots;
	const uint32_t *network_first4, *network_first6;
	const struct image_range4 *ranges4;
	const struct image_range6 *ranges6;
	const uint32_t *host_first, *host_patterns, *regexes;
	const uint32_t *service_first, *group_first, *group_words, *time_first;
	const struct image_ports *ports;
	const struct image_window *windows;
	const struct image_zone *zones;
	const struct image_transition *transitions;
	struct prefix_index from_index, to_index, port_index;
	const struct image_node *nodes;
	const uint32_t *node_anchors, *word_first, *word_anchors, *listener_anchors;
	uint32_t word_mask; /* of a slot */
	struct posts posts[MATCHER_COUNT];
	uint32_t rule_count, listener_count, word_count, word_slot_count, network_count, host_count,
	    regex_count, service_count, group_count, time_count, zone_count, pool_count,
	    anchor_count;

	/* scratch */
	pcre2_code **codes;
	pcre2_match_data *match_data;
	pcre2_match_context *match_context;
	uint8_t *regex_answer; /* enum regex_answer, of the name of this evaluation */
	uint32_t *regex_asked; /* numbers answered, so that they can be forgotten */
	uint32_t regex_asked_count;
	struct list *lists;
	uint32_t list_count, list_cap;
};

enum image_trust {
	IMAGE_FOREIGN,  /* check everything */
	IMAGE_UNHASHED, /* everything but the hash: for the fuzzer, which writes its own bytes */
	IMAGE_SEALED,   /* somebody has checked it, and nobody can have changed it since */
};
struct policy *image_open(const void *image, size_t len, enum image_trust trust);
void image_hash(const void *image, size_t len, uint8_t out[IMAGE_HASH]);
size_t image_element_size(enum image_section s);

/* The members of a set: how many, and where they stand. one: room for a set of one. */
static inline uint32_t
set_members(const struct policy *p, uint32_t set, const uint32_t **out, uint32_t *one)
{
	*out = one;
	if (set == SET_NONE)
		return 0;
	if (set & SET_ONE) {
		*one = set & ~SET_ONE;
		return 1;
	}
	*out = &p->pool[set + 1];
	return p->pool[set];
}

/* ---- three values ------------------------------------------------------------ */

enum tri { TRI_NO, TRI_YES, TRI_UNKNOWN };

/*
 * One rule being judged. What all facts together cannot tell (semantics 4) counts as
 * the answer that refuses: the rule fails if it allows and holds if it denies. Judged a second time
 * the other way round, the rule shows whether that was what mattered.
 */
struct judging {
	bool undecided_holds; /* an undecidable test goes so that the rule holds */
	bool ignore_resolves; /* as if every name led where it may */
	bool met_undecided, met_resolves;
	uint32_t needs;   /* unknown facts that were asked for */
	uint32_t methods; /* ways to be known that can make `who` hold */
};

static inline enum tri
judge_undecided(struct judging *j)
{
	j->met_undecided = true;
	return j->undecided_holds ? TRI_YES : TRI_NO;
}

/* match_address.c: is the address in the network, or in one of a set */
bool network_has(const struct policy *p, uint32_t network, const struct addr *a);
bool networks_have(const struct policy *p, uint32_t set, const struct addr *a);
bool networks_name(const struct policy *p, uint32_t set, uint32_t network);
/* The node of the smallest indexed prefix around an address, + 1; 0: none. */
uint32_t prefix_find(const struct prefix_index *x, const struct addr *a);
/* A port is looked for as if it were an IPv4 address, so that one index serves all. */
static inline uint32_t
port_key(bool udp, uint16_t port)
{
	return (uint32_t)udp << 16 | port;
}
/* builtin:self: TRI_UNKNOWN with *needs while address or port are not known. */
enum tri self_holds(const struct rules_facts *f, uint32_t *needs);

/* match_name.c */
#define NAME_HITS 132
struct name_hits {
	uint32_t word[NAME_HITS]; /* word << 1 | 1 if it is the whole name */
	unsigned count;
};
uint32_t word_hash_back(uint32_t hash, const char *s, size_t len); /* from the last byte */
/* How many low bits of a slot are the word + 1; the rest is of its hash, so most others are told
 * apart without a look at their text. */
static inline unsigned
word_bits(uint32_t word_count)
{
	return word_count == 0 ? 1 : 32 - (unsigned)__builtin_clz(word_count);
}
static inline uint32_t
word_slot(uint32_t hash, uint32_t word, unsigned bits)
{
	return bits == 32 ? word + 1 : hash << bits | (word + 1);
}
#define WORD_HASH 2166136261u
uint32_t word_find(const struct policy *p, const char *s, size_t len); /* word + 1, 0: none */
void name_look_up(const struct policy *p, const char *name, size_t len, struct name_hits *h);
/* They say TRI_UNKNOWN where a pattern's limit was hit: it cannot be told. */
enum tri hosts_have(struct policy *p, uint32_t set, const struct rules_facts *f,
		    const struct name_hits *h);
enum tri regex_holds(struct policy *p, uint32_t regex, const char *name, size_t len);
void regex_forget(struct policy *p); /* a new name comes */

/* match_time.c */
bool time_has(const struct policy *p, uint32_t time, int64_t at);
bool times_have(const struct policy *p, uint32_t set, int64_t at);

/* match_who.c: who and auth of a rule */
struct who_view { /* the words of this evaluation's identities; word + 1, 0 none */
	uint32_t proven, asserted;
};
/* A word (+ 1, 0 none) among the users (list 0) or Unix groups (1) of a set. */
bool groups_list(const struct policy *p, uint32_t set, unsigned list, uint32_t word);
void who_look_up(const struct policy *p, const struct rules_facts *f, struct who_view *v);
enum tri who_holds(const struct policy *p, const struct image_rule *r, const struct rules_facts *f,
		   const struct who_view *v, struct judging *j);

/* evaluate.c: the destination as it stands, without the IPv4 address inside it (semantics 7) */
void evaluate_outer(struct policy *p, const struct rules_facts *facts, struct rules_answer *out);

#endif
