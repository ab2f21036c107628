/* Tests of base/problems.c: counting, keeping, order. */
#include "base/problems.h"

#include <string.h>

#include "suite.h"

static struct place
at(const char *file, unsigned line, unsigned column)
{
	return (struct place){file, line, column, 1};
}

static void
test_one(void)
{
	struct problems p;
	struct problem *one;

	problems_init(&p);
	CU_ASSERT(p.count == 0 && p.errors == 0 && p.warnings == 0);
	one = problems_add(&p, "E203", at("policy.conf", 17, 25), "no service is called \"%s\"",
			   "htps");
	CU_ASSERT_PTR_NOT_NULL_FATAL(one);
	CU_ASSERT_PTR_NULL(one->help);
	problem_help(one, "did you mean \"%s\"?", "http");
	problem_help(one, "did you mean \"%s\"?", "https");
	problem_seen(one, at("policy.conf", 9, 3));
	CU_ASSERT_STRING_EQUAL(one->code, "E203");
	CU_ASSERT_FALSE(one->warning);
	CU_ASSERT_STRING_EQUAL(one->text, "no service is called \"htps\"");
	CU_ASSERT_STRING_EQUAL(one->help, "did you mean \"https\"?");
	CU_ASSERT(one->place.line == 17 && one->place.column == 25 && one->seen.line == 9);
	one = problems_add(&p, "W301", (struct place){0}, "never matches");
	CU_ASSERT(one->warning && one->place.file == NULL && one->seen.file == NULL);
	CU_ASSERT(p.count == 2 && p.errors == 1 && p.warnings == 1);
	problem_help(NULL, "%s", "nobody listens");
	problem_seen(NULL, at("x", 1, 1));
	problems_free(&p);
	CU_ASSERT(p.list == NULL && p.count == 0 && p.errors == 0);
	problems_free(&p);
}

static void
test_many(void)
{
	struct problems p;
	struct problem *first;

	problems_init(&p);
	first = problems_add(&p, "W100", at("a", 1, 1), "w");
	for (unsigned i = 0; i < 250; i++) {
		struct problem *w = problems_add(&p, "W100", at("a", i, 1), "warning %u", i);

		CU_ASSERT_EQUAL(w != NULL, i + 1 < PROBLEMS_KEEP);
	}
	for (unsigned i = 0; i < 250; i++) {
		struct problem *e = problems_add(&p, "E100", at("a", i, 1), "error %u", i);

		CU_ASSERT_EQUAL(e != NULL, i < PROBLEMS_KEEP);
	}
	CU_ASSERT(p.errors == 250 && p.warnings == 251);
	CU_ASSERT_EQUAL(p.count, 2 * PROBLEMS_KEEP);
	CU_ASSERT_PTR_EQUAL(first, &p.list[0]); /* an entry handed out stays where it is */
	CU_ASSERT_STRING_EQUAL(p.list[p.count - 1].text, "error 99");
	problems_sort(&p);
	for (size_t i = 1; i < p.count; i++)
		CU_ASSERT(p.list[i - 1].place.line <= p.list[i].place.line);
	problems_free(&p);
}

static void
test_sort(void)
{
	/* the same name in another string is the same file */
	char other_b[] = "b.conf";
	struct problems p;
	char order[32] = "";

	problems_init(&p);
	problems_sort(&p);
	problems_add(&p, "E1", at("b.conf", 9, 1), "5");
	problems_add(&p, "E1", at("a.conf", 1, 1), "7");
	problems_add(&p, "W1", at(other_b, 2, 7), "2");
	problems_add(&p, "E1", at("b.conf", 2, 7), "3");
	problems_add(&p, "E1", at("b.conf", 2, 3), "1");
	problems_add(&p, "W1", at(NULL, 0, 0), "8");
	problems_add(&p, "W1", at("b.conf", 2, 7), "4");
	problems_add(&p, "E1", at("a.conf", 1, 0), "6");
	problems_add(&p, "E1", at(NULL, 0, 0), "9");
	problems_sort(&p);
	for (size_t i = 0; i < p.count; i++)
		strcat(order, p.list[i].text);
	CU_ASSERT_STRING_EQUAL(order, "123456789");
	problems_free(&p);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"one", test_one},
	    {"many", test_many},
	    {"sort", test_sort},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("problems", tests);
}
