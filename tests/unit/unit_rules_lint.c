/*
 * tests/unit/unit_rules_lint.c - the proofs of lint: a rule that is said to be covered never
 * decides a session, at no stage; sets of addresses; what regular expressions are; witnesses.
 * SALLYPORT_PAIRS=N, SALLYPORT_SEED=S as in unit_rules_evaluate_random.
 */
#include "config.h"

#include "rules/cover.h"
#include "rules/lint_hosts.h"
#include "rules/ranges.h"
#include "rules/shadow.h"
#include "rules/witness.h"
#include "tests/unit/suite.h"
#include "tests/unit/unit_rules_image.h"
#include "tests/unit/unit_rules_random.h"

#define FACTS_A_PAIR 300

static unsigned long long covered, compared;

static unsigned long long
number_from(const char *name, unsigned long long fallback)
{
	const char *s = getenv(name);

	return s == NULL || *s == '\0' ? fallback : strtoull(s, NULL, 10);
}

static int
host_order(const void *a, const void *b)
{
	const struct host_pattern *x = a, *y = b;
	int d = strcmp(x->text, y->text);

	return d ? d : (x->kind > y->kind) - (x->kind < y->kind);
}

static int
word_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* As the reader leaves them. */
static void
sort_objects(struct random_policy *r)
{
	for (size_t i = 0; i < r->object_count; i++) {
		struct object *o = r->objects[i];

		if (o->host_count > 1)
			qsort(o->hosts, o->host_count, sizeof(*o->hosts), host_order);
		if (o->user_count > 1)
			qsort(o->users, o->user_count, sizeof(*o->users), word_order);
		if (o->unix_count > 1)
			qsort(o->unix_groups, o->unix_count, sizeof(*o->unix_groups), word_order);
	}
}

/* The second rule is the first with a few keys of its own, so that inclusion is often near. */
static void
make_kin(struct random_policy *r, struct dice *d)
{
	struct model_rule *a = &r->model.rules[0], *b = &r->model.rules[1], own = *b;
	struct model_set none = {0};

	a->dry_run = false;
	*b = *a;
	b->index = 1;
	b->name = own.name;
	for (unsigned changes = roll(d, 5); changes-- > 0;) {
		switch (roll(d, 9)) {
		case 0:
			b->who_kind = own.who_kind;
			b->who = own.who;
			b->auth = own.auth;
			break;
		case 1:
			b->from = own.from;
			break;
		case 2:
			b->to = own.to.given || !b->allow ? own.to : b->to;
			break;
		case 3:
			b->service = own.service;
			b->commands = own.commands;
			break;
		case 4:
			b->when = own.when;
			break;
		case 5:
			b->except = own.except;
			break;
		case 6:
			b->from_except = own.from_except;
			b->versions = own.versions;
			break;
		case 7:
			b->allow = !b->allow && b->to.given;
			b->resolves_in = b->allow ? own.resolves_in : none;
			break;
		case 8: /* one of the objects only */
			if (b->to.object_count > 1)
				b->to.object_count--;
			else if (b->from.object_count > 1)
				b->from.object_count--;
			break;
		}
	}
	if (one_in(d, 4))
		a->except = a->from_except = none;
}

static bool
never_decides(struct policy *p, struct dice *d)
{
	const char *groups[2];
	struct random_self self;
	struct rules_answer a;
	struct rules_facts f;

	for (unsigned i = 0; i < FACTS_A_PAIR; i++) {
		random_facts(d, &f, groups, &self);
		if (f.version == 4 && f.command == RULES_UDP)
			f.version = 5; /* SOCKS4 has none */
		if (one_in(d, 4)) {
			f.known &=
			    ~(uint32_t)(one_in(d, 2) ? FACT_ADDRESS : FACT_ADDRESS | FACT_GROUPS);
		}
		rules_evaluate(p, &f, &a);
		compared++;
		if (a.rule == 1) {
			printf("\n    known %x command %d version %d port %d name %s\n", f.known,
			       f.command, f.version, f.port, f.name ? f.name : "-");
			return false;
		}
	}
	return true;
}

static bool
pair_good(struct dice *d)
{
	struct random_policy *r = random_policy_new(d, 2);
	struct problems problems;
	struct policy *p;
	bool good = true;
	void *image;
	size_t len;

	make_kin(r, d);
	sort_objects(r);
	if (rule_covers(&r->model.rules[0], &r->model.rules[1])) {
		covered++;
		r->model.rules[1].dry_run = false;
		problems_init(&problems);
		good = model_compile(&r->model, &image, &len, &problems);
		p = good ? policy_open(image, len) : NULL;
		good = p && never_decides(p, d);
		policy_close(p);
		if (image)
			free(image);
		problems_free(&problems);
	}
	random_policy_free(r);
	return good;
}

static void
test_covered_never_decides(void)
{
	struct dice d = {.state = number_from("SALLYPORT_SEED", 20261124)};
	unsigned long long most = number_from("SALLYPORT_PAIRS", 300000) / 30;
	unsigned failures = 0;

	for (unsigned long long i = 0; i < most && failures < 3; i++)
		failures += !pair_good(&d);
	printf("\n    %llu pairs of rules, %llu covered, %llu sessions  ", most, covered, compared);
	CU_ASSERT_EQUAL(failures, 0);
	CU_ASSERT(covered > most / 20);
}

/* ---- several rules together ------------------------------------------------------------ */

static struct model_set *
set_of(struct random_policy *r, struct object *o)
{
	struct model_set *set = random_block(r, sizeof(*set));

	set->given = true;
	set->objects = random_block(r, sizeof(*set->objects));
	set->objects[set->object_count++] = o;
	return set;
}

static struct object *
copy_object(struct random_policy *r, const struct object *o)
{
	struct object *copy = random_block(r, sizeof(*copy));

	*copy = *o;
	return copy;
}

/* One half of a range or of a list in each of two rules; false: the key cannot be cut. */
static bool
cut_ports(struct random_policy *r, struct dice *d, struct model_rule *a, struct model_rule *b)
{
	uint16_t at = (uint16_t)(1 + roll(d, 65534));
	struct object *low = random_block(r, sizeof(*low)), *high = random_block(r, sizeof(*high));

	low->kind = high->kind = OBJECT_SERVICE;
	low->services = random_block(r, 2 * sizeof(*low->services));
	high->services = random_block(r, 2 * sizeof(*high->services));
	for (unsigned udp = 0; udp < 2; udp++) {
		low->services[low->service_count++] = (struct model_service){udp, 1, at};
		high->services[high->service_count++] =
		    (struct model_service){udp, (uint16_t)(at + 1), 65535};
	}
	a->service = *set_of(r, low);
	b->service = *set_of(r, high);
	return true;
}

static bool
cut_from(struct random_policy *r, struct dice *d, struct model_rule *a, struct model_rule *b)
{
	struct object *o = random_block(r, sizeof(*o));

	o->kind = OBJECT_NETWORK;
	o->ranges = random_block(r, sizeof(*o->ranges));
	o->ranges[o->range_count++] = random_range(d);
	a->from = *set_of(r, o);
	a->from_except = (struct model_set){0};
	b->from = (struct model_set){0};
	b->from_except = a->from;
	return true;
}

static bool
cut_to(struct random_policy *r, struct dice *d, struct model_rule *a, struct model_rule *b)
{
	struct object *o, *rest;

	(void)d;
	if (a->to.object_count == 0 || a->to.builtins)
		return false;
	o = a->to.objects[a->to.object_count - 1];
	if (a->to.object_count == 1 && o->range_count + o->host_count < 2)
		return false;
	rest = copy_object(r, o);
	if (a->to.object_count > 1) {
		a->to.object_count--;
		b->to = *set_of(r, rest);
	} else {
		rest->range_count = rest->range_count > 0;
		rest->host_count = rest->host_count > 0;
		a->to = *set_of(r, rest);
		rest = copy_object(r, o);
		rest->range_count -= rest->range_count > 0;
		rest->host_count -= rest->host_count > 0;
		rest->ranges += o->range_count > 0;
		rest->hosts += o->host_count > 0;
		b->to = *set_of(r, rest);
	}
	return true;
}

static bool
cut_except(struct random_policy *r, struct dice *d, struct model_rule *a, struct model_rule *b)
{
	struct object *o = random_object(r, d, one_in(d, 2) ? OBJECT_HOST : OBJECT_NETWORK);

	if (b->to.given || o->range_count + o->host_count == 0)
		return false;
	a->to = *set_of(r, o);
	a->except = (struct model_set){0};
	b->except = a->to;
	return !a->allow;
}

static bool
cut_when(struct random_policy *r, struct dice *d, struct model_rule *a, struct model_rule *b)
{
	struct object *day = random_block(r, sizeof(*day)),
		      *night = random_block(r, sizeof(*night));
	uint16_t start = (uint16_t)(60 * (1 + roll(d, 10))), end = (uint16_t)(start + 60);

	day->kind = night->kind = OBJECT_TIME;
	day->windows = random_block(r, sizeof(*day->windows));
	night->windows = random_block(r, sizeof(*night->windows));
	day->windows[day->window_count++] = (struct model_window){127, start, end, "Europe/Berlin"};
	night->windows[night->window_count++] =
	    (struct model_window){127, end, start, "Europe/Berlin"};
	a->when = *set_of(r, day);
	b->when = *set_of(r, night);
	return true;
}

static bool
cut_who(struct random_policy *r, struct dice *d, struct model_rule *a, struct model_rule *b)
{
	struct object *rest;

	(void)d;
	if (a->who_kind == WHO_KNOWN && a->auth & (a->auth - 1)) {
		a->auth &= a->auth - 1;
		b->auth &= ~a->auth;
		return true;
	}
	if (a->who_kind != WHO_SET || a->who.object_count != 1 ||
	    a->who.objects[0]->user_count == 0 || a->who.objects[0]->unix_count == 0)
		return false;
	rest = copy_object(r, a->who.objects[0]);
	rest->user_count = 0;
	a->who = *set_of(r, rest);
	rest = copy_object(r, b->who.objects[0]);
	rest->unix_count = 0;
	b->who = *set_of(r, rest);
	return true;
}

static bool
cut_small(struct random_policy *r, struct dice *d, struct model_rule *a, struct model_rule *b)
{
	(void)r;
	switch (roll(d, 3)) {
	case 0:
		a->versions &= 1 << 4;
		b->versions &= 1 << 5;
		return a->versions && b->versions;
	case 1:
		a->commands &= 1 << RULES_CONNECT;
		b->commands &= ~(1 << RULES_CONNECT);
		return a->commands && b->commands;
	default:
		if (a->has_since || a->has_expires)
			return false;
		a->has_expires = b->has_since = true;
		a->expires = b->since = 1795000000;
		return true;
	}
}

/* The last rule, cut into the ones before it, again and again; now and then one is spoiled. */
static void
make_pieces(struct random_policy *r, struct dice *d)
{
	static bool (*const cuts[])(struct random_policy *, struct dice *, struct model_rule *,
				    struct model_rule *) = {
	    cut_ports, cut_from, cut_to, cut_except, cut_when, cut_who, cut_small};
	struct model_rule *v = r->model.rules, *last = &v[r->model.rule_count - 1];
	size_t pieces = 1, i;
	struct model_rule own;

	v[0] = *last;
	for (unsigned tries = 0; tries < 12 && pieces + 1 < r->model.rule_count; tries++) {
		i = roll(d, (uint32_t)pieces);
		own = v[i];
		v[pieces] = v[i];
		if (cuts[roll(d, sizeof(cuts) / sizeof(cuts[0]))](r, d, &v[i], &v[pieces]))
			pieces++;
		else
			v[i] = own;
	}
	for (i = 0; i + 1 < r->model.rule_count; i++) {
		if (i >= pieces)
			v[i].dry_run = true; /* no shadow */
		else
			v[i].dry_run = one_in(d, 40);
		if (i < pieces && one_in(d, 4)) {
			v[i].allow = !v[i].allow && v[i].to.given;
			if (one_in(d, 2))
				v[i].resolves_in = (struct model_set){0};
		}
	}
	for (i = 0; i < r->model.rule_count; i++)
		v[i].index = (uint32_t)i;
	last->dry_run = false;
}

/* From `now` on, and at every stage. */
static bool
last_never_decides(struct policy *p, struct dice *d, int64_t now)
{
	static const uint32_t stages[] = {
	    FACT_ALL,
	    FACT_ALL & ~(uint32_t)FACT_ADDRESS,
	    FACT_ALL & ~(uint32_t)(FACT_ADDRESS | FACT_GROUPS),
	    FACT_ALL & ~(uint32_t)(FACT_ADDRESS | FACT_ASSERTED | FACT_GROUPS),
	    FACT_ALL & ~(uint32_t)(FACT_NAME | FACT_ADDRESS | FACT_PORT),
	    FACT_CLIENT | FACT_VERSION | FACT_TIME,
	    FACT_CLIENT | FACT_TIME,
	};
	int32_t last = (int32_t)policy_rule_count(p) - 1;
	const char *groups[2];
	struct random_self self;
	struct rules_answer a;
	struct rules_facts f;

	for (unsigned i = 0; i < FACTS_A_PAIR; i++) {
		random_facts(d, &f, groups, &self);
		if (f.version == 4 && f.command == RULES_UDP)
			f.version = 5;
		if (f.time < now)
			f.time = now + (now - f.time) % (400 * 86400);
		f.known = PICK(d, stages);
		rules_evaluate(p, &f, &a);
		compared++;
		if (a.rule == last) {
			printf("\n    known %x command %d version %d port %d name %s\n", f.known,
			       f.command, f.version, f.port, f.name ? f.name : "-");
			return false;
		}
	}
	return true;
}

static unsigned long long found[4], together;

static bool
shadow_good(struct dice *d)
{
	struct random_policy *r = random_policy_new(d, 2 + roll(d, 6));
	const struct model_rule *last = &r->model.rules[r->model.rule_count - 1];
	int64_t now = one_in(d, 2) ? 1 : 1794000000;
	uint64_t work = 100000000;
	struct shadow_proof proof;
	struct problems problems;
	enum shadow shadow;
	struct policy *p;
	bool good = false;
	void *image;
	size_t len;

	make_pieces(r, d);
	sort_objects(r);
	problems_init(&problems);
	if (model_compile(&r->model, &image, &len, &problems) &&
	    (p = policy_open(image, len)) != NULL) {
		shadow = shadow_find(p, &r->model, last, now, &work, &proof);
		found[shadow]++;
		together += shadow == SHADOW_WHOLE && proof.count > 1;
		good = (shadow != SHADOW_WHOLE && shadow != SHADOW_EMPTY) ||
		       last_never_decides(p, d, now);
		policy_close(p);
		free(image);
	}
	problems_free(&problems);
	random_policy_free(r);
	return good;
}

/* What is said to lie in the shadow never decides; and mostly it is one or the other. */
static void
test_shadow_never_decides(void)
{
	struct dice d = {.state = number_from("SALLYPORT_SEED", 20261121)};
	unsigned long long most = number_from("SALLYPORT_PAIRS", 300000) / 100, failures = 0, i;

	compared = 0;
	for (i = 0; i < most && failures < 3; i++) {
		uint64_t seed = d.state;

		if (!shadow_good(&d)) {
			printf("    seed %llu\n", (unsigned long long)seed);
			failures++;
		}
	}
	printf("\n    %llu rules: %llu in the shadow (%llu of several), %llu not, %llu hold for "
	       "nothing, %llu undecided; %llu sessions  ",
	       most, found[SHADOW_WHOLE], together, found[SHADOW_LIT], found[SHADOW_EMPTY],
	       found[SHADOW_UNDECIDED], compared);
	CU_ASSERT_EQUAL(failures, 0);
	CU_ASSERT(together > most / 10 && found[SHADOW_LIT] > most / 10);
	CU_ASSERT(found[SHADOW_UNDECIDED] < most / 8);
}

/* ---- sets of addresses ---------------------------------------------------------------- */

static struct ranges
random_ranges(struct dice *d)
{
	static struct object o;
	static struct model_range v[4];
	static struct object *list[1] = {&o};
	struct model_set set = {.given = true, .objects = list, .object_count = 1};

	o.kind = OBJECT_NETWORK;
	o.ranges = v;
	for (o.range_count = 0; o.range_count < 3;)
		v[o.range_count++] = random_range(d);
	if (one_in(d, 2))
		set.builtins = 1u << roll(d, BUILTIN_COUNT);
	return ranges_of(&set, one_in(d, 2));
}

static void
test_ranges(void)
{
	struct dice d = {.state = 7};

	for (unsigned i = 0; i < 3000; i++) {
		struct ranges a = random_ranges(&d), b = random_ranges(&d), less = {0}, both = {0},
			      all = {0};
		bool within = ranges_within(&a, &b), meet = ranges_meet(&a, &b), good = true;

		ranges_join(&less, &a);
		ranges_join(&both, &a);
		ranges_join(&all, &a);
		ranges_subtract(&less, &b);
		ranges_intersect(&both, &b);
		ranges_join(&all, &b);
		for (unsigned k = 0; k < 20; k++) {
			struct addr one = random_address(&d);
			bool in_a = ranges_have(&a, &one), in_b = ranges_have(&b, &one);

			good &= ranges_have(&less, &one) == (in_a && !in_b);
			good &= ranges_have(&both, &one) == (in_a && in_b);
			good &= ranges_have(&all, &one) == (in_a || in_b);
			good &= !(in_a && !in_b && within) && !(in_a && in_b && !meet);
		}
		good &= within == (less.count == 0) && meet == (both.count > 0);
		CU_ASSERT(good);
		ranges_free(&a);
		ranges_free(&b);
		ranges_free(&less);
		ranges_free(&both);
		ranges_free(&all);
	}
}

/* ---- regular expressions ---------------------------------------------------------------- */

static void
test_regexes(void)
{
	static const struct {
		const char *regex;
		enum regex_sort sort;
		const char *said;
	} rows[] = {
	    {"^www[.]a[.]example$", REGEX_PLAIN, "www.a.example"},
	    {"WWW\\.a\\.example", REGEX_PLAIN, "www.a.example"},
	    {"^.*[.]a[.]example$", REGEX_PLAIN, "*.a.example"},
	    {".+\\.a\\.example$", REGEX_PLAIN, "*.a.example"},
	    {"^(.*[.])?a[.]example$", REGEX_PLAIN, ".a.example"},
	    {"^(?:.+\\.)?a\\.example$", REGEX_PLAIN, ".a.example"},
	    {"^www.a.example$", REGEX_LOOSE, "wwwxa.example"},
	    {".*a[.]example", REGEX_LOOSE, "evila.example"},
	    {".*[.]a.example", REGEX_LOOSE, "axexample"},
	    {".*example", REGEX_NEEDED, NULL},
	    {"^intranet$", REGEX_NEEDED, NULL},
	    {"^[a-z]+[.]a[.]example$", REGEX_NEEDED, NULL},
	    {"^a+[.]example$", REGEX_NEEDED, NULL},
	    {"^a.?example$", REGEX_NEEDED, NULL},
	    {"^(a|b)[.]example$", REGEX_NEEDED, NULL},
	    {"a[.]example|b[.]example", REGEX_NEEDED, NULL},
	    {"^a[.]exa\\dmple$", REGEX_NEEDED, NULL},
	    {".*?[.]a[.]example", REGEX_NEEDED, NULL},
	    {"^", REGEX_NEEDED, NULL},
	    {"$", REGEX_NEEDED, NULL},
	    {"", REGEX_NEEDED, NULL},
	    {"a\\", REGEX_NEEDED, NULL},
	    {"a[.", REGEX_NEEDED, NULL},
	    {"a[.]example\\$", REGEX_NEEDED, NULL},
	};
	char said[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum regex_sort sort =
		    regex_sort(rows[i].regex, strlen(rows[i].regex), said, sizeof(said));

		CHECK_ROW(sort == rows[i].sort, rows[i].regex);
		CHECK_ROW(!rows[i].said || !strcmp(said, rows[i].said), rows[i].regex);
	}
}

static void
test_names_of_regexes(void)
{
	static const char *const good[][2] = {
	    {"^[a-z0-9-]+[.]eu[0-9]{1,2}[.]crm[.]example$", "a.eu0.crm.example"},
	    {"(?:www|web)\\d?\\.a\\.example", "www.a.example"},
	    {"(a|b){3}[.]example", "aaa.example"},
	    {"\\w+[.]Example", "x.example"},
	    {"((a(b|c))*d)+.example", "d"
				      "xexample"},
	};
	static const char *const bad[] = {"[^a].example", "(?=a)b", "(a", "a)",     "[[:alpha:]]",
					  "\\bwww",       "a**b(",  "[a", "1.2.3.4"};
	char names[WITNESS_NAMES][NAME_MAX_LEN + 1];
	struct host_pattern h = {.kind = HOST_REGEX};
	struct object o = {.kind = OBJECT_HOST, .hosts = &h, .host_count = 1}, *list[] = {&o};
	struct model_set set = {.given = true, .objects = list, .object_count = 1};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		h.text = good[i][0];
		h.len = strlen(h.text);
		CHECK_ROW(witness_names(&set, names) == 1, h.text);
		CHECK_ROW(!strcmp(names[0], good[i][1]), h.text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		h.text = bad[i];
		h.len = strlen(h.text);
		if (witness_names(&set, names) == 1) /* roughly read, but never broken */
			CHECK_ROW(strlen(names[0]) > 0, h.text);
	}
}

/* ---- witnesses ---------------------------------------------------------------------------- */

struct asked {
	struct policy *p;
	int32_t rule;
	unsigned count;
};

static bool
fits(void *data, const struct witness *w)
{
	struct asked *a = data;
	bool unknown;

	a->count++;
	return rules_first_failure(a->p, a->rule, &w->facts, &unknown) == NULL;
}

/* Whatever keys a rule has, a session is found that fits it. */
static void
test_witnesses_fit(void)
{
	static const char text[] =
	    "hosts: { h = [ \"*.a.example\", \"regex:^[a-z]+[.]b[.]example$\" ] }\n"
	    "groups: { g = [ \"unix:staff\" ] }\n"
	    "rules: {\n"
	    "a: { action = \"allow\"; to = \"h\"; who = \"@g\"; service = \"tcp/22\" }\n"
	    "b: { action = \"allow\"; to = \"any\"; except = \"public\"; command = \"bind\" }\n"
	    "c: { action = \"allow\"; to = \"h\"; resolves-in = \"10.1.2.3\"; from = \"::1\" }\n"
	    "d: { action = \"deny\"; when = \"Sun 23:00-01:00 America/New_York\"; version = 4 }\n"
	    "e: { action = \"deny\"; who = \"known\"; auth = \"userid\"; service = \"udp/53\" }\n"
	    "f: { action = \"deny\"; since = \"2030-01-01\"; expires = \"2030-01-01\" }\n"
	    "g: { action = \"deny\"; from = \"private\"; from-except = \"10.0.0.0/8\"; "
	    "listener = \"x\" }\n"
	    "h: { action = \"deny\"; to = \"regex:^b[.]c$\"; who = [ \"ann\", \"@g\" ]; "
	    "auth = [ \"ident\", \"pam\" ] }\n"
	    "}\n";
	struct loaded l;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	for (size_t i = 0; i < l.load.model->rule_count; i++) {
		struct asked a = {l.policy, (int32_t)i, 0};
		const struct model_rule *r = &l.load.model->rules[i];

		CHECK_ROW(witness_each(l.policy, r, TEST_NOW, fits, &a), r->name);
		CHECK_ROW(a.count > 0 && a.count < 20, r->name);
	}
	policy_unload(&l);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"sets of addresses", test_ranges},
			       {"what is covered never decides", test_covered_never_decides},
			       {"what lies in the shadow never decides", test_shadow_never_decides},
			       {"what regular expressions are", test_regexes},
			       {"names that fit regular expressions", test_names_of_regexes},
			       {"witnesses fit their rule", test_witnesses_fit},
			       CU_TEST_INFO_NULL};

	return suite_run("rules: lint", tests);
}
