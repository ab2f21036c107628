/*
 * tests/unit/suite.h - running one CUnit suite a program: prints each test, then
 * "N passed, N failed" as the last line; the exit status is nonzero on failure.
 */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include <stdio.h>

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>

/* In loops over tables: says which row, which CU_ASSERT cannot. */
#define CHECK_ROW(condition, row)                                                                  \
	do {                                                                                       \
		bool good_ = (condition);                                                          \
		if (!good_)                                                                        \
			printf("\n    row '%s': %s\n", (row), #condition);                         \
		CU_ASSERT(good_);                                                                  \
	} while (0)

static inline int
suite_run(const char *name, CU_TestInfo *tests)
{
	CU_SuiteInfo suites[] = {{name, NULL, NULL, NULL, NULL, tests}, CU_SUITE_INFO_NULL};
	unsigned failed, run;

	if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
		return 2;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	run = CU_get_number_of_tests_run();
	failed = CU_get_number_of_tests_failed();
	CU_cleanup_registry();
	printf("\n%u passed, %u failed\n", run - failed, failed);
	return failed != 0 || run == 0;
}

#endif
