/*
 * tests/unit/unit_quantity.c - numbers with their units, and nothing else.
 */
#include <string.h>

#include "settings/settings.h"
#include "suite.h"

static const struct {
	const char *text;
	bool good;
	uint64_t value;
} times[] = {
    {"0 ms", true, 0},
    {"250 ms", true, 250},
    {"30 s", true, 30000},
    {"30s", true, 30000},
    {"2 min", true, 120000},
    {"8 h", true, 28800000},
    {"7 d", true, 604800000},
    {"30", false, 0},
    {"s", false, 0},
    {" 30 s", false, 0},
    {"30  s", false, 0},
    {"30 s ", false, 0},
    {"030 s", false, 0},
    {"-1 s", false, 0},
    {"1.5 h", false, 0},
    {"30 S", false, 0},
    {"30 sec", false, 0},
    {"", false, 0},
    {"18446744073709551615 ms", true, UINT64_MAX},
    {"18446744073709551615 s", false, 0},
    {"18446744073709551616 ms", false, 0},
};

static void
test_times(void)
{
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		uint64_t ms = 0;

		CHECK_ROW(quantity_ms(times[i].text, strlen(times[i].text), &ms) == times[i].good,
			  times[i].text);
		CHECK_ROW(!times[i].good || ms == times[i].value, times[i].text);
	}
}

static void
test_sizes(void)
{
	uint64_t n;

	CU_ASSERT(quantity_bytes("512 B", 5, &n) && n == 512);
	CU_ASSERT(quantity_bytes("64 KiB", 6, &n) && n == 65536);
	CU_ASSERT(quantity_bytes("3 MiB", 5, &n) && n == 3 << 20);
	CU_ASSERT(quantity_bytes("1 GiB", 5, &n) && n == 1 << 30);
	CU_ASSERT_FALSE(quantity_bytes("1 GB", 4, &n));
	CU_ASSERT_FALSE(quantity_bytes("1 KB", 4, &n));
	CU_ASSERT_FALSE(quantity_bytes("1 s", 3, &n));
	CU_ASSERT_FALSE(quantity_bytes("17179869184 GiB", 15, &n));
	CU_ASSERT_TRUE(quantity_bytes("1 GiBxxx", 5, &n)); /* the length counts, not a NUL */
}

static void
test_speeds(void)
{
	uint64_t n;
	double r;

	CU_ASSERT(quantity_bits("200 Mbit/s", 10, &n) && n == 200000000);
	CU_ASSERT(quantity_bits("1 bit/s", 7, &n) && n == 1);
	CU_ASSERT(quantity_bits("5 kbit/s", 8, &n) && n == 5000);
	CU_ASSERT(quantity_bits("10 Gbit/s", 9, &n) && n == 10000000000);
	CU_ASSERT_FALSE(quantity_bits("10 MB/s", 7, &n));
	CU_ASSERT(quantity_rate("10 /s", 5, &r));
	CU_ASSERT_DOUBLE_EQUAL(r, 10, 0);
	CU_ASSERT(quantity_rate("30 /min", 7, &r));
	CU_ASSERT_DOUBLE_EQUAL(r, 0.5, 0);
	CU_ASSERT(quantity_rate("10/s", 4, &r));
	CU_ASSERT_FALSE(quantity_rate("10 s", 4, &r));
	CU_ASSERT_FALSE(quantity_rate("10 /h", 5, &r));
}

int
main(void)
{
	CU_TestInfo tests[] = {{"times", test_times},
			       {"sizes", test_sizes},
			       {"speeds and rates", test_speeds},
			       CU_TEST_INFO_NULL};

	return suite_run("quantity", tests);
}
