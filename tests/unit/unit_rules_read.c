/*
 * tests/unit/unit_rules_read.c - every file of tests/policy/bad and good against the exact text
 * that is shown for it; the examples of etc; every code of the room is provoked and explained.
 * `unit_rules_read --write` writes the texts anew; then read them.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "rules/model.h"
#include "suite.h"

#define NOW 1795478400 /* 2026-11-24 00:00 UTC */

static struct buffer seen; /* all texts, for the codes in them */
static bool writing;

static const char *
files_dir(void)
{
	const char *dir = getenv("srcdir");

	return dir ? dir : SRCDIR;
}

/* Loads one file and shows all problems; the caller frees l and out. */
static bool
show(struct rules_load *l, const char *path, struct buffer *out)
{
	bool ok = rules_load(l, path, false, NOW);

	if (ok)
		ok = rules_tests(l);
	problems_render(&l->problems, &l->sources, false, out);
	buffer_put(out, "", 1);
	return ok;
}

static char *
read_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 18);

	if (!text)
		abort();
	if (f) {
		text[fread(text, 1, (1 << 18) - 1, f)] = '\0';
		fclose(f);
	}
	return text;
}

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		abort();
}

static void
check_file(const char *dir, const char *name, bool good)
{
	char path[4096], expected[4096], *want;
	struct buffer out = {0};
	struct rules_load l;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(expected, sizeof(expected), "%s/%.*s.txt", dir, (int)strlen(name) - 5, name);
	ok = show(&l, path, &out);
	CHECK_ROW(ok == good, name);
	CHECK_ROW((l.problems.errors == 0) == good, name);
	if (writing && out.p[0])
		write_text(expected, out.p);
	want = read_text(expected);
	CHECK_ROW(!strcmp(want, out.p), name);
	if (strcmp(want, out.p))
		printf("%s", out.p);
	buffer_puts(&seen, out.p);
	free(want);
	buffer_free(&out);
	rules_load_free(&l);
}

static void
check_folder(const char *folder, bool good, unsigned least)
{
	struct dirent **list;
	char dir[2048];
	int i, n;

	snprintf(dir, sizeof(dir), "%s/tests/policy/%s", files_dir(), folder);
	n = scandir(dir, &list, NULL, alphasort);
	CU_ASSERT_FATAL(n > 0);
	for (i = 0; i < n; i++) {
		const char *dot = strrchr(list[i]->d_name, '.');

		if (dot && !strcmp(dot, ".conf")) {
			check_file(dir, list[i]->d_name, good);
			least -= least > 0;
		}
		free(list[i]);
	}
	free(list);
	CU_ASSERT_EQUAL(least, 0);
}

static void
test_bad_files(void)
{
	check_folder("bad", false, 30);
}

static void
test_good_files(void)
{
	check_folder("good", true, 4);
}

/* A code that no file provokes is a code that nobody has seen; one without words helps nobody. */
static void
test_codes(void)
{
	static const char *const elsewhere[] = {
	    "E290", "E291", /* the compiler's: a machine's lack */
	    "W401", "W402", "W403", "W404", "W405",
	    "W406", "W407", "W408", "W409", NULL}; /* lint's */
	char code[8], shown[16];
	unsigned n, known = 0;
	const char *s;
	size_t i;

	buffer_put(&seen, "", 1);
	for (n = 0; n < 2000; n++) {
		snprintf(code, sizeof(code), "%c%03u", n < 1000 ? 'E' : 'W', n % 1000);
		if (!rules_problem_explain(code))
			continue;
		known++;
		for (i = 0; elsewhere[i] && strcmp(elsewhere[i], code); i++)
			;
		snprintf(shown, sizeof(shown), "[%s]", code);
		CHECK_ROW(elsewhere[i] || strstr(seen.p, shown), code);
	}
	CU_ASSERT(known > 30);
	for (s = seen.p; (s = strstr(s, "[")) != NULL; s++)
		if ((s[1] == 'E' || s[1] == 'W') && s[2] == '2' && s[5] == ']') {
			snprintf(code, sizeof(code), "%.4s", s + 1);
			CHECK_ROW(rules_problem_explain(code) != NULL, code);
		}
	CU_ASSERT_PTR_NULL(rules_problem_explain("E2"));
	CU_ASSERT_PTR_NULL(rules_problem_explain(""));
}

static void
check_example(const char *name, size_t rules, bool settings)
{
	struct buffer out = {0};
	struct rules_load l;
	char path[2048];

	snprintf(path, sizeof(path), "%s/etc/%s", files_dir(), name);
	CHECK_ROW(show(&l, path, &out), name);
	CHECK_ROW(l.problems.errors == 0, name);
	CHECK_ROW(l.rule_count == rules, name);
	CHECK_ROW(l.has_settings == settings, name);
	if (l.problems.errors)
		printf("%s", out.p);
	buffer_free(&out);
	rules_load_free(&l);
}

static void
test_examples(void)
{
	check_example("examples/perimeter/sallyport.conf", 13, true);
	check_example("examples/perimeter/policy.conf", 13, false);
	check_example("quickstart.conf", 1, true);
}

static void
test_server_needs_settings(void)
{
	struct rules_load l;
	char path[2048];

	snprintf(path, sizeof(path), "%s/tests/policy/good/list.conf", files_dir());
	CU_ASSERT_FALSE(rules_load(&l, path, true, NOW));
	CU_ASSERT_EQUAL(l.problems.errors, 1);
	CU_ASSERT_STRING_EQUAL(l.problems.list[0].code, "E225");
	CU_ASSERT_PTR_NULL(l.image);
	rules_load_free(&l);
	/* A tool may look at a policy whose tests fail, a server takes none. */
	snprintf(path, sizeof(path), "%s/tests/policy/bad/set-failing.conf", files_dir());
	CU_ASSERT_TRUE(rules_load(&l, path, false, NOW));
	rules_load_free(&l);
	CU_ASSERT_FALSE(rules_load(&l, path, true, NOW));
	CU_ASSERT_EQUAL(l.problems.errors, 1);
	CU_ASSERT_STRING_EQUAL(l.problems.list[0].code, "E228");
	CU_ASSERT_PTR_NULL(l.image);
	rules_load_free(&l);
	CU_ASSERT_FALSE(rules_load(&l, "/nonexistent/sallyport.conf", true, NOW));
	CU_ASSERT_STRING_EQUAL(l.problems.list[0].code, "E101");
	rules_load_free(&l);
}

/* ---- the model of good/everything.conf ------------------------------------------- */

static struct rules_load everything;

static const struct object *
object(const char *name)
{
	const struct object *o;

	for (o = everything.model->objects; o; o = o->next)
		if (o->name && !strcmp(o->name, name))
			return o;
	return NULL;
}

static void
check_objects(void)
{
	const struct object *o = object("inside");
	char first[ADDR_TEXT];

	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	/* ::1, 2001:db8:1::/48, 10/8, 127/8, 172.16/12, 192.168.7.1 */
	CU_ASSERT_EQUAL(o->range_count, 6);
	CU_ASSERT_EQUAL(o->table_count, 1);
	CU_ASSERT_EQUAL(o->member_count, 2);
	CU_ASSERT_TRUE(o->used && object("branches")->used);
	addr_format(&o->ranges[0].first, first);
	CU_ASSERT_STRING_EQUAL(first, "::1");
	o = object("bad");
	CU_ASSERT_EQUAL(o->host_count, 5);
	CU_ASSERT_STRING_EQUAL(o->hosts[0].text, "bad.example");
	CU_ASSERT_EQUAL(o->hosts[0].kind, HOST_BELOW);
	CU_ASSERT_STRING_EQUAL(o->hosts[3].text, "caps.example");
	CU_ASSERT_EQUAL(object("web")->host_count, 6);
	o = object("web-all");
	CU_ASSERT_EQUAL(o->service_count, 2);
	CU_ASSERT_FALSE(o->used);
	o = object("staff");
	CU_ASSERT_EQUAL(o->user_count, 4); /* ann once, carl, root, zo#e */
	CU_ASSERT_STRING_EQUAL(o->users[1], "carl");
	CU_ASSERT_STRING_EQUAL(o->users[3], "zo#e");
	CU_ASSERT_STRING_EQUAL(o->unix_groups[0], "root");
	o = object("office");
	CU_ASSERT_EQUAL(o->window_count, 2);
	CU_ASSERT_EQUAL(o->windows[0].days, 0x1f);
	CU_ASSERT_EQUAL(o->windows[1].days, 0x71);
	CU_ASSERT_EQUAL(o->windows[1].end, 1440);
}

static void
check_terms(const struct model_rule *r)
{
	const struct rule_terms *t = &r->terms;

	CU_ASSERT_TRUE(t->allow && t->alert && !t->dry_run);
	CU_ASSERT_STRING_EQUAL(t->owner, "Jürgen");
	CU_ASSERT_STRING_EQUAL(t->file, "everything.conf");
	CU_ASSERT_EQUAL(t->log, 1);
	CU_ASSERT_EQUAL(t->udp_replies, 1);
	CU_ASSERT_EQUAL(t->on_revoke, 2);
	CU_ASSERT_EQUAL(t->drain_ms, 60000);
	CU_ASSERT_TRUE(t->has_egress4 && t->has_egress6);
	CU_ASSERT_EQUAL(t->sessions, 1000);
	CU_ASSERT_EQUAL(t->sessions_per_user, 20);
	CU_ASSERT_EQUAL(t->sessions_per_source, 30);
	CU_ASSERT_DOUBLE_EQUAL(t->rate_per_user, 10, 1e-9);
	CU_ASSERT_EQUAL(t->bandwidth_per_session, 200000000);
	CU_ASSERT_EQUAL(t->bandwidth_per_user, 1000000000);
	CU_ASSERT_EQUAL(t->idle_ms, 300000);
	CU_ASSERT_EQUAL(t->lifetime_ms, 28800000);
}

static void
check_rule(const struct model_rule *r)
{
	CU_ASSERT_EQUAL(r->who_kind, WHO_SET);
	CU_ASSERT_EQUAL(r->who.object_count, 2);
	CU_ASSERT_EQUAL(r->auth, 63);
	CU_ASSERT_EQUAL(r->from.object_count, 2);
	CU_ASSERT_EQUAL(r->to.object_count,
			4); /* web, outer, the literal networks, the literal hosts */
	CU_ASSERT_EQUAL(r->to.builtins, 1u << BUILTIN_ANY);
	CU_ASSERT_EQUAL(r->to.word_count, 8);
	CU_ASSERT_EQUAL(r->except.builtins, 1u << BUILTIN_PRIVATE);
	CU_ASSERT_EQUAL(r->service.object_count, 2);
	CU_ASSERT_EQUAL(r->commands, 0x0e);
	CU_ASSERT_EQUAL(r->versions, 0x30);
	CU_ASSERT_EQUAL(r->resolves_in.builtins, 1u << BUILTIN_PUBLIC);
	CU_ASSERT_EQUAL(r->resolves_in.object_count, 1);
	CU_ASSERT_EQUAL(r->listener_count, 2);
	CU_ASSERT_EQUAL(r->since, 1767225600);   /* 2026-01-01 */
	CU_ASSERT_EQUAL(r->expires, 1924992000); /* the day after 2030-12-31 */
	CU_ASSERT_FALSE(r->open_proxy || r->dry_run);
}

static void
test_everything(void)
{
	char path[2048];
	const struct model_rule *r;
	const struct model_test *t;

	snprintf(path, sizeof(path), "%s/tests/policy/good/everything.conf", files_dir());
	CU_ASSERT_TRUE_FATAL(rules_load(&everything, path, false, NOW));
	CU_ASSERT_STRING_EQUAL(everything.model->name, "all-of-it");
	CU_ASSERT_EQUAL_FATAL(everything.model->rule_count, 2);
	check_objects();
	check_rule(&everything.model->rules[0]);
	check_terms(&everything.model->rules[0]);
	r = &everything.model->rules[1];
	CU_ASSERT_TRUE(r->dry_run && r->terms.dry_run && !r->allow);
	CU_ASSERT_EQUAL(r->who_kind, WHO_KNOWN);
	CU_ASSERT_EQUAL(r->auth, AUTH_PAM | AUTH_FILE | AUTH_GSSAPI | AUTH_CHAP);
	CU_ASSERT_EQUAL(r->versions, 1u << 4);
	CU_ASSERT_EQUAL(r->commands, 0x0e);
	CU_ASSERT_EQUAL(r->resolves_in.object_count, 1); /* the policy's */
	CU_ASSERT_EQUAL_FATAL(everything.model->test_count, 3);
	t = &everything.model->tests[0];
	CU_ASSERT_EQUAL(t->facts.time, 1795510830); /* 10:00:30 in Berlin is 09:00:30 */
	CU_ASSERT_EQUAL(t->facts.known, FACT_ALL & ~FACT_ADDRESS);
	CU_ASSERT_EQUAL(t->facts.proven_by, AUTH_PAM);
	CU_ASSERT_EQUAL(t->resolve_count, 2);
	CU_ASSERT_EQUAL(everything.model->tests[1].facts.known, FACT_ALL);
	CU_ASSERT_TRUE(everything.model->tests[2].resolves_given);
	CU_ASSERT_EQUAL(everything.model->tests[2].resolve_count, 0);
	rules_load_free(&everything);
}

int
main(int argc, char **argv)
{
	CU_TestInfo tests[] = {{"bad files", test_bad_files},
			       {"good files", test_good_files},
			       {"codes", test_codes},
			       {"examples", test_examples},
			       {"server needs settings", test_server_needs_settings},
			       {"everything", test_everything},
			       CU_TEST_INFO_NULL};
	int status;

	writing = argc > 1 && !strcmp(argv[1], "--write");
	status = suite_run("rules/read", tests);
	buffer_free(&seen);
	return status;
}
