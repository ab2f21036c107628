/*
 * tests/unit/unit_tree.c - trees: structure, places, includes, files that are refused, big
 * groups and lists, and the agreement with libconfig.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "settings/branch.h"
#include "suite.h"
#include "unit_settings_files.h"

/* A tree as one line: names, kinds and values. */
static void
put_node(struct text *t, const struct node *n)
{
	static const char *const open[] = {"{", "(", "["}, *const close[] = {"}", ")", "]"};

	if (n->name != NULL)
		text_putf(t, "%s=", n->name);
	switch (n->kind) {
	case NODE_STRING:
		text_put_quoted(t, n->string.s, n->string.len, 100);
		break;
	case NODE_INT:
		text_putf(t, "%lld", (long long)n->integer);
		break;
	case NODE_FLOAT:
		text_putf(t, "%g", n->real);
		break;
	case NODE_BOOL:
		text_put(t, n->boolean ? "true" : "false");
		break;
	default:
		text_put(t, open[n->kind]);
		for (const struct node *m = n->first; m != NULL; m = m->next) {
			CU_ASSERT_PTR_EQUAL(m->parent, n);
			put_node(t, m);
			text_put(t, m->next != NULL ? " " : "");
		}
		text_put(t, close[n->kind]);
	}
}

static const char *
shape(struct loaded *l)
{
	static char out[4096];
	struct text t;

	text_init(&t, out, sizeof(out));
	put_node(&t, tree_root(l->tree));
	return out;
}

static const struct {
	const char *text, *shape, *codes;
} rows[] = {
    {"", "{}", ""},
    {"a=1", "{a=1}", ""},
    {"a=1;b:2,c=3 d=4", "{a=1 b=2 c=3 d=4}", ""},
    {"a={b=[ ] c=( ) d={ }}", "{a={b=[] c=() d={}}}", ""},
    {"a=(1,\"x\",[true,false],{b=1.5})", "{a=(1 'x' [true false] {b=1.5})}", ""},
    {"a=\"x\\ty\\\\\"", "{a='x\\x09y\\\\'}", ""},
    /* faults: what can be saved is there, and what follows is read */
    {"a=;b=2", "{b=2}", "E110 1:2"},
    {"a=x;b=2", "{a='x' b=2}", "E110 1:3"},
    {"a b=2", "{b=2}", "E110 1:1"},
    {"a {b=1} c=2", "{a={b=1} c=2}", "E110 1:3"},
    {"a=\"x\nb=2", "{a='x' b=2}", "E112 1:3"},
    {"a=\"x;\nb=2", "{a='x' b=2}", "E112 1:3"},
    {"g={a=\"x}\nb=2", "{g={a='x'} b=2}", "E112 1:6"},
    {"a=[\"x\"\nb=2", "{a=['x'] b=2}", "E118 1:3"},
    {"a=[\"x\" \"y\"]b=2", "{a=['x' 'y'] b=2}", "E113 1:8"},
    {"a=[\"x\" 1 ]b=2", "{a=['x' 1] b=2}", "E110 1:8, E119 1:8"},
    {"a=[1,]b=2", "{a=[1] b=2}", "E110 1:5"},
    {"a=[,]b=2", "{a=[] b=2}", "E110 1:4"},
    {"a=(1];b=2", "{a=(1) b=2}", "E110 1:5"},
    {"a=(b=1);c=2", "{a=(1) c=2}", "E110 1:4"},
    {"a={b=1\n", "{a={b=1}}", "E118 1:3"},
    {"a=1}\nb=2", "{a=1 b=2}", "E110 1:4"},
    {"a=1;;b=2", "{a=1 b=2}", "E110 1:5"},
    {"a=1 2\nb=3", "{a=1 b=3}", "E110 1:5"},
    {"a=1;a=2", "{a=1 a=2}", "E117 1:5"},
    {"a={b=1;b=2;b=3}", "{a={b=1 b=2 b=3}}", "E117 1:8, E117 1:12"},
    {"a=\"x\"\"y\"b=2", "{a='x' b=2}", "E113 1:6"},
    {"! a=1\nb=2", "{a=1 b=2}", "E110 1:1"},
    {"a=1 /* b=2", "{a=1}", "E111 1:5"},
    {"g={a=1 /* }\nb=2", "{g={a=1}}", "E111 1:8"},
    {"a=10.0.0.0/8\nb=2", "{b=2}", "E116 1:3"},
    {"a=\"\xc3\xbc\" why=\"\xc3\xbc\"", "{a='\\xc3\\xbc' why='\\xc3\\xbc'}", "E109 1:4"},
    {"@include \"x\"", "{}", "E120 1:10"},
    {"\xef\xbb\xbf"
     "a=1",
     "{a=1}", "E106 1:1"},
};

static void
test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct loaded l;

		loaded_text(&l, rows[i].text, strlen(rows[i].text));
		CHECK_ROW(strcmp(shape(&l), rows[i].shape) == 0, rows[i].text);
		CHECK_ROW(strcmp(loaded_codes(&l), rows[i].codes) == 0, rows[i].text);
		if (strcmp(shape(&l), rows[i].shape) != 0 ||
		    strcmp(loaded_codes(&l), rows[i].codes) != 0)
			printf("    got %s, %s\n", shape(&l), loaded_codes(&l));
		loaded_free(&l);
	}
}

static void
test_good_files(void)
{
	static const char *const files[] = {"tests/settings/good/syntax.conf",
					    "tests/settings/good/crlf.conf",
					    "tests/settings/good/empty.conf",
					    "tests/settings/good/comment-at-end.conf",
					    "tests/settings/good/include.conf",
					    "etc/quickstart.conf",
					    "etc/sallyport.conf",
					    "etc/examples/perimeter/sallyport.conf",
					    "etc/examples/perimeter/policy.conf"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct loaded l;
		char path[2048];

		snprintf(path, sizeof(path), "%s/%s", files_dir(), files[i]);
		loaded_file(&l, path);
		CHECK_ROW(l.tree != NULL && l.problems.count == 0, files[i]);
		loaded_free(&l);
	}
}

static void
test_include(void)
{
	struct loaded l;
	struct node *deep;
	char path[2048];

	snprintf(path, sizeof(path), "%s/tests/settings/good/include.conf", files_dir());
	loaded_file(&l, path);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.tree);
	/* B before a before b: the order of bytes */
	CU_ASSERT_STRING_EQUAL(
	    shape(&l), "{first=1 from-B=1 from-a=1 from-b=1 group={one=1 inner={deep=['x']} "
		       "two=2 after='x'} last=2}");
	deep = node_get(node_get(node_get(tree_root(l.tree), "group"), "inner"), "deep");
	CU_ASSERT_PTR_NOT_NULL_FATAL(deep);
	CU_ASSERT_STRING_EQUAL(deep->value.file, "inc/sub/inner.conf");
	CU_ASSERT_EQUAL(deep->value.column, 52);
	CU_ASSERT_STRING_EQUAL(deep->source->name, "inc/sub/inner.conf");
	/* what an include names starts where the main file stands */
	CU_ASSERT_STRING_EQUAL(deep->source->dir, tree_source(l.tree)->dir);
	CU_ASSERT_PTR_EQUAL(source_find(&l.sources, "inc/sub/inner.conf"), deep->source);
	loaded_free(&l);
}

/* A file of our own in a folder of our own. */
static const char *
made_file(const char *dir, const char *name, const char *text, mode_t mode)
{
	static char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
	CU_ASSERT_EQUAL(chmod(path, mode), 0);
	return path;
}

static void
check_file(const char *path, const char *codes)
{
	struct loaded l;

	loaded_file(&l, path);
	CHECK_ROW(strcmp(loaded_codes(&l), codes) == 0, path);
	loaded_free(&l);
}

static void
test_files(void)
{
	char dir[] = "/tmp/unit_tree.XXXXXX", path[256];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	check_file(made_file(dir, "open.conf", "a=1\n", 0646), "E104 0:0");
	check_file(made_file(dir, "good.conf", "a=1\n", 0664), "");
	check_file(made_file(dir, "main.conf", "@include \"open.conf\"\nb=;\n", 0644),
		   "E104 0:0, E110 2:2");
	check_file(
	    made_file(dir, "all.conf", "@include \"g*.conf\"\n@include \"[g]ood.conf\"\n", 0644),
	    "E117 1:1");
	check_file(made_file(dir, "self.conf", "@include \"./self.conf\"\n", 0644), "E121 1:10");
	snprintf(path, sizeof(path), "%s/none.conf", dir);
	check_file(path, "E101 0:0");
	check_file(dir, "E103 0:0");
	snprintf(path, sizeof(path), "%s/pipe", dir);
	CU_ASSERT_EQUAL(mkfifo(path, 0600), 0);
	check_file(path, "E103 0:0"); /* and does not wait for a writer */
	unlink(path);
	for (const char *const *n = (const char *const[]){"open.conf", "good.conf", "main.conf",
							  "all.conf", "self.conf", NULL};
	     *n != NULL; n++) {
		snprintf(path, sizeof(path), "%s/%s", dir, *n);
		unlink(path);
	}
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

/* Eleven files, each naming the next: one too many. */
static void
test_depth(void)
{
	char dir[] = "/tmp/unit_tree.XXXXXX", name[32], text[64], path[256];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	for (unsigned i = 0; i <= 11; i++) {
		snprintf(name, sizeof(name), "%u.conf", i);
		snprintf(text, sizeof(text), "@include \"%u.conf\"\n", i + 1);
		made_file(dir, name, i < 11 ? text : "a=1\n", 0600);
	}
	snprintf(path, sizeof(path), "%s/0.conf", dir);
	check_file(path, "E122 1:10");
	snprintf(path, sizeof(path), "%s/1.conf", dir);
	check_file(path, "");
	for (unsigned i = 0; i <= 11; i++) {
		snprintf(path, sizeof(path), "%s/%u.conf", dir, i);
		unlink(path);
	}
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

/* Bytes of tables are judged by the same rules; nothing is returned on an error. */
static void
test_table(void)
{
	char dir[] = "/tmp/unit_tree.XXXXXX";
	struct place nowhere = {0};
	struct sources s;
	struct problems p;
	const char *path;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	sources_init(&s);
	problems_init(&p);
	path = made_file(dir, "t.txt", "10.0.0.0/8\r\n# ok\n", 0644);
	CU_ASSERT_PTR_NOT_NULL(source_read(&s, path, "t.txt", nowhere, SOURCE_TABLE, &p));
	path = made_file(dir, "t.txt", "10.0.0.0/8\n\x01\n", 0644);
	CU_ASSERT_PTR_NULL(source_read(&s, path, "t.txt", nowhere, SOURCE_TABLE, &p));
	CU_ASSERT_EQUAL(p.count, 1);
	CU_ASSERT_STRING_EQUAL(p.list[0].code, "E107");
	CU_ASSERT_EQUAL(p.list[0].place.line, 2);
	unlink(path);
	rmdir(dir);
	problems_free(&p);
	sources_free(&s);
}

/* More members than one piece has, around every multiple of it; includes none. */
static void
test_big(void)
{
	static const unsigned sizes[] = {15, 16, 17, 32, 33, 63, 64, 65, 127, 128, 129, 1000};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buffer b = {0};
		struct loaded l;
		struct node *rules, *list;

		buffer_puts(&b, "rules: { # all\n");
		for (unsigned n = 0; n < sizes[i]; n++)
			buffer_putf(&b, " r%u: { to = [ \"a%u\", \"}\" ]; n = %u } /* } */%s", n, n,
				    n, n % 3 ? ";" : "\n");
		buffer_puts(&b, "\n}; list = (\n");
		for (unsigned n = 0; n < sizes[i]; n++)
			buffer_putf(&b, "%s { n = %u /* ) */ }", n > 0 ? " , # (\n" : "", n);
		buffer_puts(&b, " ) deep = ( 0, { few = 1; many: {\n");
		for (unsigned n = 0; n < sizes[i]; n++)
			buffer_putf(&b, "m%u = %u%s", n, n, n % 2 ? "; " : " # }\n");
		buffer_puts(&b, "} /* } */ } ) after = ( ( 1 ), 2 )\n");
		loaded_text(&l, b.p, b.len);
		CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
		rules = node_get(tree_root(l.tree), "rules");
		list = node_get(tree_root(l.tree), "list");
		CU_ASSERT_PTR_NOT_NULL_FATAL(rules);
		CU_ASSERT_PTR_NOT_NULL_FATAL(list);
		CU_ASSERT_EQUAL(rules->count, sizes[i]);
		CU_ASSERT_EQUAL(list->count, sizes[i]);
		CU_ASSERT_EQUAL(node_get(list->last, "n")->integer, (int)sizes[i] - 1);
		loaded_free(&l);
		buffer_free(&b);
	}
}

/* Large enough to be compared in a thread, while names are looked up here. */
static void
test_large(void)
{
	char dir[] = "/tmp/unit_tree.XXXXXX";
	struct place nowhere = {0};
	struct buffer b = {0};
	struct loaded l = {0};
	const char *path;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	buffer_puts(&b, "rules: (");
	for (unsigned n = 0; n < 20000; n++)
		buffer_putf(&b, "%s{ name = \"rule %u\"; n = %u }\n", n > 0 ? "," : "", n, n);
	buffer_put(&b, ")", 2);
	path = made_file(dir, "large.conf", b.p, 0644);
	sources_init(&l.sources);
	problems_init(&l.problems);
	l.tree = tree_load(&l.sources, path, "large.conf", nowhere, &l.problems);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.tree);
	CU_ASSERT_PTR_NOT_NULL(l.tree->pending);
	for (struct node *n = node_get(tree_root(l.tree), "rules")->first; n != NULL; n = n->next)
		CU_ASSERT_PTR_NOT_NULL_FATAL(node_get(n, "name"));
	tree_settle(l.tree, &l.problems);
	CU_ASSERT_PTR_NULL(l.tree->pending);
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	loaded_free(&l);
	buffer_free(&b);
	unlink(path);
	rmdir(dir);
}

/* A duplicate far from its twin, and one that an index has to find. */
static void
test_duplicates(void)
{
	struct buffer b = {0};
	struct loaded l;

	for (unsigned n = 0; n < 5000; n++)
		buffer_putf(&b, "r%u=1\n", n);
	buffer_puts(&b, "r0=2\nr4999=2\nr5000=2\nr5000=3\n");
	loaded_text(&l, b.p, b.len);
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "E117 5001:1, E117 5002:1, E117 5004:1");
	CU_ASSERT_EQUAL(l.problems.list[1].seen.line, 5000);
	CU_ASSERT_EQUAL(node_get(tree_root(l.tree), "r0")->integer, 1); /* the first one */
	loaded_free(&l);
	buffer_free(&b);
}

static void
test_unknown(void)
{
	static const char *const known[] = {"action", "service", NULL};
	static const char text[] = "action=1 servce=2 zzz=3 zzz=4";
	struct loaded l;
	struct node *root;

	loaded_text(&l, text, strlen(text));
	root = tree_root(l.tree);
	CU_ASSERT_PTR_NOT_NULL(node_get(root, "action"));
	CU_ASSERT_PTR_NULL(node_get(root, "actio"));
	node_unknown(root, "rule 'x'", known, &l.problems);
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "E102 1:10, E102 1:19, E117 1:25");
	CU_ASSERT_STRING_EQUAL(l.problems.list[0].text, "unknown key 'servce' in rule 'x'");
	CU_ASSERT_STRING_EQUAL(l.problems.list[0].help, "did you mean \"service\"?");
	CU_ASSERT_PTR_NULL(l.problems.list[1].help);
	node_unknown(root, "rule 'x'", known, &l.problems);
	CU_ASSERT_EQUAL(l.problems.count, 3); /* told once */
	loaded_free(&l);
}

static void
test_nesting(void)
{
	struct buffer b = {0};
	struct loaded l;

	buffer_puts(&b, "a=");
	for (unsigned i = 0; i < 64; i++)
		buffer_puts(&b, "(");
	for (unsigned i = 0; i < 64; i++)
		buffer_puts(&b, ")");
	loaded_text(&l, b.p, b.len);
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	loaded_free(&l);
	b.len = 0;
	for (unsigned i = 0; i < 100000; i++)
		buffer_puts(&b, "a={");
	loaded_text(&l, b.p, b.len);
	CU_ASSERT_STRING_EQUAL(l.problems.list[0].code, "E123");
	loaded_free(&l);
	buffer_free(&b);
}

/* A reader of ours that reads wrong is found out: the tree, or the text behind it, is changed. */
static void
expect_disagreement(const char *text, size_t value_at, const char *patch, bool want)
{
	struct loaded l;

	loaded_text(&l, text, strlen(text));
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	memcpy(l.sources.first->text + value_at, patch, strlen(patch));
	agree_check(l.tree, &l.problems);
	CHECK_ROW((l.problems.errors == 1) == want, text);
	CHECK_ROW(!want || strcmp(l.problems.list[0].code, "E130") == 0, text);
	/* the same in a thread */
	l.tree->pending = agree_start(l.tree);
	CU_ASSERT_PTR_NOT_NULL(l.tree->pending);
	tree_settle(l.tree, &l.problems);
	CU_ASSERT_PTR_NULL(l.tree->pending);
	CHECK_ROW(l.problems.errors == (want ? 2 : 0), text);
	if (want) {
		CU_ASSERT_STRING_EQUAL(l.problems.list[1].text, l.problems.list[0].text);
		CU_ASSERT_STRING_EQUAL(l.problems.list[1].help, l.problems.list[0].help);
	}
	l.tree->pending = agree_start(l.tree); /* tree_free waits for it */
	loaded_free(&l);
}

static void
test_agreement(void)
{
	static const char text[] = "a = 1; b = ( \"xyz\", { c = true; } ) # end 12\n";
	static const char comment[] = "/*\n@include \"/etc/passwd\"\n*/ a = 1";
	struct buffer big = {0};
	struct loaded l;

	expect_disagreement(text, 4, "1", false);
	expect_disagreement(text, 4, "2", true);
	expect_disagreement(text, 0, "c", true);
	expect_disagreement(text, 14, "y", true);
	expect_disagreement(text, 18, ";", true);
	expect_disagreement(text, 22, " ", true); /* no name: "{   = true" */
	expect_disagreement(text, 33, "/*", true);
	expect_disagreement(text, 5, " #", true);
	expect_disagreement(text, 38, "/*", false); /* within the comment */
	expect_disagreement("g = { }   \nh = 1", 8, "/*", true);
	expect_disagreement("g = [ 1, 2, 3 ]", 7, " ", true);
	/* at the cut between two pieces */
	for (unsigned i = 0; i < 100; i++)
		buffer_putf(&big, "r%02u = 1   \n", i);
	buffer_put(&big, "", 1);
	expect_disagreement(big.p, 11 * (BRANCH_MANY - 1) + 8, "/*", true);
	expect_disagreement(big.p, 11 * (BRANCH_MANY - 1) + 8, "{", true);
	expect_disagreement(big.p, 11 * BRANCH_MANY + 1, "x", true);
	expect_disagreement(big.p, 11 * 63 + 8, "/*", true);
	expect_disagreement(big.p, 11 * 63 + 8, "\"", true);
	expect_disagreement(big.p, 11 * 63 + 8, "{", true);
	expect_disagreement(big.p, 11 * 63 + 8, "#", false);
	expect_disagreement(big.p, 11 * 64 + 1, "x", true);
	expect_disagreement(big.p, 11 * 99 + 8, "/*", true);
	buffer_free(&big);
	/* an '@include' at the start of a line within a comment opens nothing */
	loaded_text(&l, comment, strlen(comment));
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	memcpy(l.sources.first->text, "  ", 2);
	agree_check(l.tree, &l.problems);
	CU_ASSERT_STRING_EQUAL(l.problems.list[0].code, "E130");
	CU_ASSERT_PTR_NOT_NULL(strstr(l.problems.list[0].text, "syntax error"));
	loaded_free(&l);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"texts, good and bad", test_rows},
			       {"good files", test_good_files},
			       {"includes", test_include},
			       {"files that are refused", test_files},
			       {"includes too deep", test_depth},
			       {"tables", test_table},
			       {"big groups and lists", test_big},
			       {"a large file", test_large},
			       {"duplicates", test_duplicates},
			       {"unknown keys", test_unknown},
			       {"nesting", test_nesting},
			       {"libconfig would not agree", test_agreement},
			       CU_TEST_INFO_NULL};

	return suite_run("tree", tests);
}
