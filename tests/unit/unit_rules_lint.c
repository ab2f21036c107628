/*
 * tests/unit/unit_rules_lint.c - the proofs of lint: a rule that is said to be covered never
 * decides a session, at no stage; sets of addresses; what regular expressions are; witnesses.
 * SALLYPORT_PAIRS=N, SALLYPORT_SEED=S as in unit_rules_evaluate_random.
 */
#include "config.h"

#include "rules/cover.h"
#include "rules/lint_hosts.h"
#include "rules/ranges.h"
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
			       {"what regular expressions are", test_regexes},
			       {"names that fit regular expressions", test_names_of_regexes},
			       {"witnesses fit their rule", test_witnesses_fit},
			       CU_TEST_INFO_NULL};

	return suite_run("rules: lint", tests);
}
