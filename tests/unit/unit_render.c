/*
 * tests/unit/unit_render.c - every file of tests/settings/bad against the exact text that
 * is shown for it; JSON, colours, counts, and places at the edges.
 * `unit_render --write` writes the texts anew; then read them.
 */
#include <dirent.h>

#include "suite.h"
#include "unit_settings_files.h"

static bool writing;

static char *
read_text(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 16);
	size_t n;

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	if (f == NULL) {
		printf("\n    cannot read '%s'\n", path);
		return text;
	}
	n = fread(text, 1, (1 << 16) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void
write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0)
		abort();
}

static void
check_bad(const char *dir, const char *name)
{
	static struct loaded l;
	struct buffer out = {0};
	char path[4096];
	char *want;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	loaded_file(&l, path);
	if (strncmp(name, "set-", 4) == 0)
		loaded_settings(&l);
	problems_sort(&l.problems);
	problems_render(&l.problems, &l.sources, false, &out);
	buffer_put(&out, "", 1);
	snprintf(path, sizeof(path), "%s/%.*s.txt", dir, (int)strlen(name) - 5, name);
	if (writing)
		write_text(path, out.p);
	want = read_text(path);
	CHECK_ROW(l.problems.errors > 0, name);
	CHECK_ROW(strcmp(out.p, want) == 0, name);
	if (strcmp(out.p, want) != 0)
		printf("%s", out.p);
	free(want);
	buffer_free(&out);
	loaded_free(&l);
}

static void
test_bad_files(void)
{
	char dir[2048];
	struct dirent *e;
	unsigned count = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "%s/tests/settings/bad", files_dir());
	d = opendir(dir);
	CU_ASSERT_PTR_NOT_NULL_FATAL(d);
	while ((e = readdir(d)) != NULL) {
		const char *dot = strrchr(e->d_name, '.');

		if (dot == NULL || strcmp(dot, ".conf") != 0)
			continue;
		check_bad(dir, e->d_name);
		count++;
	}
	closedir(d);
	CU_ASSERT(count >= 20);
}

static const char *
render(struct loaded *l, bool colour, bool json)
{
	static char text[32768];
	struct buffer out = {0};

	if (json)
		problems_render_json(&l->problems, &out);
	else
		problems_render(&l->problems, &l->sources, colour, &out);
	snprintf(text, sizeof(text), "%.*s", (int)out.len, out.p != NULL ? out.p : "");
	buffer_free(&out);
	return text;
}

static void
test_json(void)
{
	static struct loaded l;
	static const char text[] = "a = \"\\q\"\n";
	struct place nowhere = {0};

	loaded_text(&l, text, strlen(text));
	problems_add(&l.problems, "W301", nowhere, "a \"quoted\" word");
	CU_ASSERT_STRING_EQUAL(
	    render(&l, false, true),
	    "{\"errors\":[{\"code\":\"E114\",\"file\":\"t.conf\",\"line\":1,\"column\":6,"
	    "\"text\":\"a backslash before 'q' means nothing sure\",\"help\":\"write "
	    "\\\\\\\\ for a backslash; known are \\\\\\\\ \\\\\\\" \\\\n \\\\r \\\\t \\\\f "
	    "\\\\xNN\"}],\"warnings\":[{\"code\":\"W301\",\"file\":null,\"line\":0,\"column\":0,"
	    "\"text\":\"a \\\"quoted\\\" word\",\"help\":null}]}");
	loaded_free(&l);
	loaded_text(&l, "", 0);
	CU_ASSERT_STRING_EQUAL(render(&l, false, true), "{\"errors\":[],\"warnings\":[]}");
	CU_ASSERT_STRING_EQUAL(render(&l, false, false), "");
	loaded_free(&l);
}

static void
test_places(void)
{
	static struct loaded l;
	static const char text[] = "one\n\ttwo\nthree";
	struct place at = {"t.conf", 3, 6, 1};
	struct place whole = {"t.conf", 0, 0, 0}, far = {"t.conf", 9, 1, 1}, none = {0};

	loaded_text(&l, "", 0);
	source_text(&l.sources, "u.conf", NULL, text, strlen(text));
	at.file = "u.conf";
	problems_add(&l.problems, "E101", none, "nowhere");
	problem_help(problems_add(&l.problems, "E103", whole, "a whole file"), "do something");
	problems_add(&l.problems, "E110", far, "behind the end");
	problems_add(&l.problems, "W101", at, "behind the last byte");
	at.line = 2, at.column = 2, at.width = 99;
	problem_seen(problems_add(&l.problems, "W101", at, "too wide"), whole);
	CU_ASSERT_STRING_EQUAL(render(&l, false, false), "error[E101]: nowhere\n\n"
							 "error[E103]: a whole file\n"
							 "   --> t.conf\n"
							 "   = help: do something\n\n"
							 "error[E110]: behind the end\n"
							 "   --> t.conf:9:1\n\n"
							 "warning[W101]: behind the last byte\n"
							 "   --> u.conf:3:6\n"
							 "   |\n"
							 " 3 | three\n"
							 "   |      ^\n\n"
							 "warning[W101]: too wide\n"
							 "   --> u.conf:2:2\n"
							 "   |\n"
							 " 2 |         two\n"
							 "   |         ^^^\n"
							 "   = help: see there  (t.conf)\n\n"
							 "3 errors, 2 warnings\n");
	loaded_free(&l);
}

static void
test_colour(void)
{
	static struct loaded l;

	loaded_text(&l, "a = ;\n", 6);
	CU_ASSERT_STRING_EQUAL(render(&l, true, false),
			       "\033[1;31merror[E110]\033[0m\033[1m: no value stands behind "
			       "this\033[0m\n"
			       "\033[1;34m   -->\033[0m t.conf:1:3\n"
			       "\033[1;34m   |\033[0m\n"
			       "\033[1;34m 1 |\033[0m a = ;\n"
			       "\033[1;34m   |\033[0m   \033[1;31m^\033[0m\n\n"
			       "1 error\n");
	loaded_free(&l);
}

/* The frame is as wide as the widest line number of the report, and at least two digits. */
static void
test_gutter(void)
{
	static struct loaded l;
	static char text[4096];
	struct place at = {"u.conf", 17, 2, 3};

	for (unsigned i = 0; i < 1000; i++)
		strcat(text, "abc\n");
	loaded_text(&l, "", 0);
	source_text(&l.sources, "u.conf", NULL, text, strlen(text));
	problem_help(problems_add(&l.problems, "W101", at, "a"), "b");
	CU_ASSERT_STRING_EQUAL(render(&l, false, false), "warning[W101]: a\n"
							 "   --> u.conf:17:2\n"
							 "   |\n"
							 "17 | abc\n"
							 "   |  ^^\n"
							 "   = help: b\n\n"
							 "1 warning\n");
	at.line = 1000;
	problems_add(&l.problems, "W101", at, "c");
	CU_ASSERT_STRING_EQUAL(render(&l, false, false), "warning[W101]: a\n"
							 "     --> u.conf:17:2\n"
							 "     |\n"
							 "  17 | abc\n"
							 "     |  ^^\n"
							 "     = help: b\n\n"
							 "warning[W101]: c\n"
							 "     --> u.conf:1000:2\n"
							 "     |\n"
							 "1000 | abc\n"
							 "     |  ^^\n\n"
							 "2 warnings\n");
	loaded_free(&l);
}

/* A file may be called anything; its name and what is told of it steer no terminal. */
static void
test_quiet(void)
{
	static struct loaded l;
	struct place at = {"a\033[2J\n\xe2\x80\xae\t\xff\xc3\xa4.conf", 0, 0, 0};

	loaded_text(&l, "", 0);
	problem_help(problems_add(&l.problems, "E101", at, "b\rc\x7f"), "d\xc2\x9b");
	CU_ASSERT_STRING_EQUAL(render(&l, false, false),
			       "error[E101]: b\\x0dc\\x7f\n"
			       "   --> a\\x1b[2J\\x0a\\xe2\\x80\\xae\\x09\\xff\xc3\xa4.conf\n"
			       "   = help: d\\xc2\\x9b\n\n"
			       "1 error\n");
	loaded_free(&l);
}

static void
test_count(void)
{
	static struct loaded l;
	struct place nowhere = {0};
	const char *text, *last;

	loaded_text(&l, "", 0);
	for (unsigned i = 0; i < 137; i++)
		problems_add(&l.problems, "E110", nowhere, "number %u", i);
	problems_add(&l.problems, "W101", nowhere, "a warning");
	text = render(&l, false, false);
	last = strstr(text, "137 errors");
	CU_ASSERT_PTR_NOT_NULL_FATAL(last);
	CU_ASSERT_STRING_EQUAL(last, "137 errors (the first 100 are shown), 1 warning\n");
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "number 99\n"));
	CU_ASSERT_PTR_NULL(strstr(text, "number 100\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(render(&l, false, true), "],\"more_errors\":37}"));
	loaded_free(&l);
}

static void
test_explain(void)
{
	CU_ASSERT_PTR_NOT_NULL(problem_explain("E112"));
	CU_ASSERT_PTR_NOT_NULL(problem_explain("W301"));
	CU_ASSERT_PTR_NULL(problem_explain("E999"));
	CU_ASSERT_PTR_NULL(problem_explain(""));
}

int
main(int argc, char **argv)
{
	CU_TestInfo tests[] = {{"the table of bad files", test_bad_files},
			       {"JSON", test_json},
			       {"places at the edges", test_places},
			       {"the width of the frame", test_gutter},
			       {"names and texts steer no terminal", test_quiet},
			       {"colours", test_colour},
			       {"the first hundred, then a count", test_count},
			       {"codes are explained", test_explain},
			       CU_TEST_INFO_NULL};

	writing = argc > 1 && strcmp(argv[1], "--write") == 0;
	return suite_run("render", tests);
}
