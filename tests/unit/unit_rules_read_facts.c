/*
 * tests/unit/unit_rules_read_facts.c - texts to facts: destinations, instants, words; zones and the
 * calendar against libc's own.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/name.h"
#include "base/text.h"
#include "rules/model.h"
#include "suite.h"

static void
test_destinations(void)
{
	static const struct {
		const char *text, *name, *address;
		unsigned port;
	} good[] = {
	    {"a.example:443", "a.example", NULL, 443},
	    {"A.Example.:0", "a.example", NULL, 0},
	    {"1.2.3.4:80", NULL, "1.2.3.4", 80},
	    {"1.2.3.4.:80", NULL, "1.2.3.4", 80},
	    {"[2001:db8::1]:65535", NULL, "2001:db8::1", 65535},
	    {"[::ffff:1.2.3.4]:1", NULL, "1.2.3.4", 1},
	    {"localhost:80", "localhost", NULL, 80},
	};
	static const char *const bad[] = {"",
					  "a.example",
					  "a.example:",
					  ":80",
					  "a.example:65536",
					  "a.example:080",
					  "a.example:+80",
					  "2001:db8::1:80",
					  "[2001:db8::1]",
					  "[1.2.3.4:80",
					  "127.1:80",
					  "0x7f000001:80",
					  "a..example:80",
					  "a b:80",
					  "[a.example]:80",
					  "a.example:80 ",
					  "[]:80"};
	char name[NAME_MAX_LEN + 1], address[ADDR_TEXT];
	struct rules_facts f;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		memset(&f, 0xff, sizeof(f));
		f.known = 0;
		CHECK_ROW(!facts_destination(good[i].text, &f, name), good[i].text);
		CHECK_ROW(f.port == good[i].port, good[i].text);
		CHECK_ROW(!f.name == !good[i].name, good[i].text);
		if (f.name)
			CHECK_ROW(!strcmp(f.name, good[i].name) && f.name_len == strlen(f.name) &&
				      f.known == (FACT_NAME | FACT_PORT),
				  good[i].text);
		else {
			addr_format(&f.address, address);
			CHECK_ROW(!strcmp(address, good[i].address) &&
				      f.known == (FACT_NAME | FACT_PORT | FACT_ADDRESS),
				  good[i].text);
		}
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memset(&f, 0, sizeof(f));
		CHECK_ROW(facts_destination(bad[i], &f, name) != NULL, bad[i]);
	}
}

static void
test_times(void)
{
	static const struct {
		const char *text;
		int64_t at;
	} good[] = {
	    {"1970-01-01 00:00", 0},
	    {"2026-11-24 10:00", 1795514400},
	    {"2026-11-24 10:00:01", 1795514401},
	    {"2026-11-24 10:00 UTC", 1795514400},
	    {"2026-11-24 10:00 Europe/Berlin", 1795510800},
	    {"2026-07-24 10:00:05 Europe/Berlin", 1784880005},
	    {"2026-11-24T10:00:00Z", 1795514400},
	    {"2026-11-24t10:00:00z", 1795514400},
	    {"2026-11-24T10:00:00.123456Z", 1795514400},
	    {"2026-11-24T10:00:00+01:00", 1795510800},
	    {"2026-11-24T10:00:00-05:30", 1795534200},
	    {"2026-11-24 10:00:00Z", 1795514400},
	    {"2028-02-29 00:00", 1835395200},
	    /* twice: the first; not at all: the offset before the gap */
	    {"2026-10-25 02:30 Europe/Berlin", 1792888200},
	    {"2026-03-29 02:30 Europe/Berlin", 1774747800},
	};
	static const char *const bad[] = {"",
					  "2026-11-24",
					  "2026-11-24 10",
					  "2026-11-24 10:0",
					  "2026-11-24T10:00",
					  "2026-11-24T10:00:00",
					  "2026-02-29 10:00",
					  "2026-13-01 10:00",
					  "2026-11-24 24:00",
					  "2026-11-24 10:60",
					  "2026-11-24 10:00 ",
					  "2026-11-24 10:00 Nowhere/City",
					  "2026-11-24 10:00 ../../etc/passwd",
					  "2026-11-24T10:00:00+1:00",
					  "2026-11-24T10:00:00+01:00x",
					  "2026-11-24T10:00:00+24:00",
					  "26-11-24 10:00",
					  "2026-11-24 10:00Europe/Berlin",
					  "1969-12-31 10:00",
					  "2026-11-24 10:00 posix/UTC"};
	int64_t at;
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		at = -1;
		CHECK_ROW(!facts_time(good[i].text, &at), good[i].text);
		CHECK_ROW(at == good[i].at, good[i].text);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_ROW(facts_time(bad[i], &at) != NULL, bad[i]);
}

/* The zone asked for last is kept: another one, a wrong one and none must not get it. */
static void
test_zone_is_kept(void)
{
	int64_t at = 0;
	int i;

	for (i = 0; i < 3; i++) {
		CU_ASSERT_PTR_NULL(facts_time("2026-11-24 10:00 Europe/Berlin", &at));
		CU_ASSERT_EQUAL(at, 1795510800);
		CU_ASSERT_PTR_NULL(facts_time("2026-07-24 10:00 Europe/Berlin", &at));
		CU_ASSERT_EQUAL(at, 1784880000);
		CU_ASSERT_PTR_NOT_NULL(facts_time("2026-11-24 10:00 Europe/Nowhere", &at));
		CU_ASSERT_PTR_NULL(facts_time("2026-11-24 10:00", &at));
		CU_ASSERT_EQUAL(at, 1795514400);
		CU_ASSERT_PTR_NULL(facts_time("2026-11-24 10:00 America/New_York", &at));
		CU_ASSERT_EQUAL(at, 1795532400);
		CU_ASSERT_PTR_NULL(facts_time("2026-11-24 10:00 UTC", &at));
		CU_ASSERT_EQUAL(at, 1795514400);
	}
}

static void
test_words(void)
{
	uint8_t v = 0;

	CU_ASSERT_TRUE(facts_auth("gssapi", &v) && v == AUTH_GSSAPI);
	CU_ASSERT_TRUE(facts_auth("userid", &v) && v == AUTH_USERID);
	CU_ASSERT_FALSE(facts_auth("none", &v));
	CU_ASSERT_TRUE(facts_command("bind", &v) && v == RULES_BIND);
	CU_ASSERT_TRUE(facts_command("udp-associate", &v) && v == RULES_UDP);
	CU_ASSERT_FALSE(facts_command("udp", &v));
}

static void
test_calendar(void)
{
	int64_t day = civil_days(1970, 1, 1);
	int y;
	unsigned m, d;

	CU_ASSERT_EQUAL(day, 0);
	for (y = 1970; y < 2110; y++)
		for (m = 1; m <= 12; m++)
			for (d = 1; d <= 31; d++)
				if (civil_valid(y, m, d) && civil_days(y, m, d) != day++) {
					CU_FAIL("a day is skipped");
					return;
				}
	CU_ASSERT_EQUAL(day, civil_days(2110, 1, 1));
	CU_ASSERT_FALSE(civil_valid(2100, 2, 29) || civil_valid(2026, 4, 31) ||
			civil_valid(2026, 0, 1) || civil_valid(2026, 1, 0) ||
			civil_valid(1969, 12, 31));
	CU_ASSERT_TRUE(civil_valid(2000, 2, 29));
}

/* Our reading of zoneinfo against libc's, every 7 hours and beside each change, over 90 years. */
static void
check_zone(const char *name)
{
	/* Morocco's changes follow the moon; after ZONE_LAST_YEAR its closing rule has to do. */
	int64_t end = strcmp(name, "Africa/Casablanca") ? 2840000000 : 2145916800;
	struct zone z;
	int64_t t;
	unsigned wrong = 0;
	size_t i;

	CHECK_ROW(zone_known(name, strlen(name)), name);
	CHECK_ROW(zone_load(name, &z), name);
	setenv("TZ", name, 1);
	tzset();
	for (t = 0; t < end && wrong == 0; t += 7 * 3600) {
		time_t at = (time_t)t;
		struct tm tm;

		localtime_r(&at, &tm);
		wrong += zone_offset(&z, t) != tm.tm_gmtoff;
	}
	for (i = 1; i < z.count; i++) {
		int64_t beside[] = {z.changes[i].at - 1, z.changes[i].at};
		size_t j;

		for (j = 0; j < 2; j++) {
			time_t at = (time_t)beside[j];
			struct tm tm;

			localtime_r(&at, &tm);
			wrong += at > 0 && zone_offset(&z, beside[j]) != tm.tm_gmtoff;
		}
	}
	CHECK_ROW(wrong == 0, name);
	zone_free(&z);
}

static void
test_zones(void)
{
	static const char *const names[] = {"Europe/Berlin",
					    "Europe/Dublin",
					    "America/New_York",
					    "America/St_Johns",
					    "Australia/Lord_Howe",
					    "Pacific/Chatham",
					    "Asia/Kolkata",
					    "Africa/Casablanca",
					    "America/Sao_Paulo",
					    "Asia/Tehran",
					    "Pacific/Apia",
					    "Etc/GMT+5",
					    "UTC"};
	static const char *const bad[] = {"",
					  "utc",
					  "Nowhere",
					  "Europe",
					  "/etc/passwd",
					  "../zoneinfo/UTC",
					  "Europe//Berlin",
					  "Europe/Berlin/",
					  "posix/Europe/Berlin",
					  "right/UTC",
					  "localtime",
					  "tzdata.zi",
					  "Europe/../UTC",
					  "Europe/Berlin\n"};
	char *old = getenv("TZ");
	size_t i;

	old = old ? strdup(old) : NULL;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		check_zone(names[i]);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_ROW(!zone_known(bad[i], strlen(bad[i])), bad[i]);
	if (old)
		setenv("TZ", old, 1);
	else
		unsetenv("TZ");
	free(old);
}

/* POSIX closing rules in all three forms, at their edges. */
static void
test_closing_rule(void)
{
	/* first Sunday in April 3:00 to first Sunday in October 2:00 is winter: the south */
	const struct zone_rule south = {
	    36000, 39600, true, {'M', 10, 1, 0, 7200}, {'M', 4, 1, 0, 10800}};
	const struct zone_rule julian = {0, 3600, true, {'J', 0, 0, 60, 0}, {'0', 0, 0, 300, 0}};
	int64_t march = civil_days(2040, 3, 1) * 86400;

	CU_ASSERT_EQUAL(zone_rule_offset(&south, civil_days(2040, 1, 1) * 86400), 39600);
	CU_ASSERT_EQUAL(zone_rule_offset(&south, civil_days(2040, 7, 1) * 86400), 36000);
	CU_ASSERT_EQUAL(zone_rule_offset(&south, civil_days(2040, 10, 6) * 86400 + 16 * 3600),
			39600);
	CU_ASSERT_EQUAL(zone_rule_offset(&south, civil_days(2040, 10, 6) * 86400 + 16 * 3600 - 1),
			36000);
	/* J60 is March 1 in every year, leap or not; day 300 counts February 29 */
	CU_ASSERT_EQUAL(zone_rule_offset(&julian, march - 1), 0);
	CU_ASSERT_EQUAL(zone_rule_offset(&julian, march), 3600);
	CU_ASSERT_EQUAL(zone_rule_offset(&julian, (civil_days(2040, 1, 1) + 300) * 86400 - 3601),
			3600);
	CU_ASSERT_EQUAL(zone_rule_offset(&julian, (civil_days(2040, 1, 1) + 300) * 86400 - 3600),
			0);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"destinations", test_destinations},
			       {"times", test_times},
			       {"the last zone is kept", test_zone_is_kept},
			       {"words", test_words},
			       {"calendar", test_calendar},
			       {"zones", test_zones},
			       {"closing rules", test_closing_rule},
			       CU_TEST_INFO_NULL};

	return suite_run("rules/facts", tests);
}
