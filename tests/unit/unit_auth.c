/*
 * unit_auth.c - the room auth: hashes of every kind, CHAP, lock-outs in their own time, and the
 * memory of good passwords.
 */
#include <crypt.h>
#include <string.h>

#include "suite.h"

#include "auth/auth.h"

static struct secret
secret(const char *bytes, size_t len)
{
	struct secret s = {0};

	secret_set(&s, bytes, len);
	return s;
}

#define SECRET(text) (&(struct secret[]){secret(text, sizeof(text) - 1)}[0])

static void
test_hashes(void)
{
	/* kind and cost for crypt_gensalt(3) */
	static const struct kind {
		const char *prefix;
		unsigned long cost;
	} kinds[] = {{"$y$", 1},    {"$gy$", 1},   {"$7$", 6}, {"$2b$", 4},
		     {"$6$", 1000}, {"$5$", 1000}, {"$1$", 0}};

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		char setting[CRYPT_GENSALT_OUTPUT_SIZE], hash[CRYPT_OUTPUT_SIZE];
		struct crypt_data data = {0};
		const char *word = kinds[i].prefix;

		CHECK_ROW(crypt_gensalt_rn(word, kinds[i].cost, NULL, 0, setting, sizeof setting) !=
			      NULL,
			  word);
		snprintf(hash, sizeof hash, "%s",
			 crypt_rn("pass word", setting, &data, sizeof data));
		CHECK_ROW(check_file(hash, SECRET("pass word")) == AUTH_GOOD, word);
		CHECK_ROW(check_file(hash, SECRET("pass wore")) == AUTH_REFUSED, word);
		CHECK_ROW(check_file(hash, SECRET("")) == AUTH_REFUSED, word);
		CHECK_ROW(check_file(hash, SECRET("pass word\0x")) == AUTH_REFUSED, word);
		CHECK_ROW(check_file(setting, SECRET("pass word")) != AUTH_GOOD, word);
	}
	CU_ASSERT_EQUAL(check_file("", SECRET("x")), AUTH_UNAVAILABLE);
	CU_ASSERT_EQUAL(check_file("*0", SECRET("x")), AUTH_UNAVAILABLE);
	CU_ASSERT_EQUAL(check_file("!", SECRET("x")), AUTH_UNAVAILABLE);
	CU_ASSERT(strncmp(check_file_dummy(), "$y$", 3) == 0);
	CU_ASSERT_PTR_EQUAL(check_file_dummy(), check_file_dummy());
	CU_ASSERT_EQUAL(check_file(check_file_dummy(), SECRET("x")), AUTH_REFUSED);
}

/* RFC 2202, test cases 1 to 3 and 6. */
static void
test_chap(void)
{
	unsigned char key[80], data[50];
	static const char long_data[] = "Test Using Larger Than Block-Size Key - Hash Key First";

	memset(key, 0x0b, 16);
	CU_ASSERT_EQUAL(
	    check_chap((char *)key, 16, "Hi There", 8,
		       "\x92\x94\x72\x7a\x36\x38\xbb\x1c\x13\xf4\x8e\xf8\x15\x8b\xfc\x9d", 16),
	    AUTH_GOOD);
	CU_ASSERT_EQUAL(
	    check_chap("Jefe", 4, "what do ya want for nothing?", 28,
		       "\x75\x0c\x78\x3e\x6a\xb0\xb5\x03\xea\xa8\x6e\x31\x0a\x5d\xb7\x38", 16),
	    AUTH_GOOD);
	memset(key, 0xaa, sizeof key);
	memset(data, 0xdd, sizeof data);
	CU_ASSERT_EQUAL(
	    check_chap((char *)key, 16, data, 50,
		       "\x56\xbe\x34\x52\x1d\x14\x4c\x88\xdb\xb8\xc7\x33\xf0\xe8\xb3\xf6", 16),
	    AUTH_GOOD);
	CU_ASSERT_EQUAL(
	    check_chap((char *)key, 80, long_data, sizeof long_data - 1,
		       "\x6b\x1a\xb7\xfe\x4b\xd7\xbf\x8f\x0b\x62\xe6\xce\x61\xb9\xd0\xcd", 16),
	    AUTH_GOOD);
	CU_ASSERT_EQUAL(
	    check_chap("Jefe", 4, "what do ya want for nothing?", 28,
		       "\x75\x0c\x78\x3e\x6a\xb0\xb5\x03\xea\xa8\x6e\x31\x0a\x5d\xb7\x39", 16),
	    AUTH_REFUSED);
	CU_ASSERT_EQUAL(check_chap("Jefe", 4, "what do ya want for nothing?", 28, "\x75", 1),
			AUTH_REFUSED);
	CU_ASSERT_EQUAL(check_chap("Jefe", 4, "x", 1, "", 0), AUTH_REFUSED);
	/* no user: not even with the digest that the stand-in gives */
	CU_ASSERT_EQUAL(check_chap(NULL, 0, "x", 1, "0123456789abcdef", 16), AUTH_REFUSED);
	/* no challenge of ours: not even with its right digest */
	CU_ASSERT_EQUAL(
	    check_chap("", 0, "", 0,
		       "\x74\xe6\xf7\x29\x8a\x9c\x2d\x16\x89\x35\xf5\x8c\x00\x1b\xad\x88", 16),
	    AUTH_REFUSED);
}

static const struct lockout_bounds bounds = {4, 12, 1000, 5000};

static void
test_lockout_user(void)
{
	struct lockout *l = lockout_new();
	struct addr from = addr_from_v4(0x0a000001), other = addr_from_v4(0x0a000002);
	static const unsigned steps[] = {1, 2, 3};

	CU_ASSERT_PTR_NOT_NULL_FATAL(l);
	CU_ASSERT_FALSE(lockout_look(l, &bounds, "ann", 3, &from, 1).locked);
	for (unsigned i = 0; i < 3; i++) {
		struct lockout_state s = lockout_failed(l, &bounds, "ann", 3, &from, 100 + i);

		CU_ASSERT_FALSE(s.locked || s.now);
		CU_ASSERT_EQUAL(s.step, steps[i]);
	}
	CU_ASSERT(lockout_failed(l, &bounds, "ann", 3, &from, 200).now);
	CU_ASSERT(lockout_look(l, &bounds, "ann", 3, &other, 201).locked);     /* from anywhere */
	CU_ASSERT_FALSE(lockout_failed(l, &bounds, "ann", 3, &from, 202).now); /* told once */
	CU_ASSERT_FALSE(lockout_look(l, &bounds, "an", 2, &from, 203).locked);
	lockout_succeeded(l, "ann", 3); /* a check that had begun before */
	CU_ASSERT(lockout_look(l, &bounds, "ann", 3, &other, 5199).locked);
	CU_ASSERT_FALSE(lockout_look(l, &bounds, "ann", 3, &other, 5200).locked);
	CU_ASSERT_EQUAL(lockout_look(l, &bounds, "ann", 3, &other, 5200).step, 0);
	lockout_free(l);
}

/* Failures that are old do not count, nor those before a success. */
static void
test_lockout_time(void)
{
	struct lockout *l = lockout_new();
	struct addr from = addr_from_v4(0x0a000001);

	for (int64_t t = 0; t < 20; t++) /* three within a second, never four */
		CU_ASSERT_FALSE(lockout_failed(l, &(struct lockout_bounds){4, 0, 1000, 5000}, "ann",
					       3, &from, t * 334)
				    .locked);
	for (unsigned i = 0; i < 3; i++)
		lockout_failed(l, &bounds, "bob", 3, &from, 10000);
	lockout_succeeded(l, "bob", 3);
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_FALSE(lockout_failed(l, &bounds, "bob", 3, &from, 10001).now);
	CU_ASSERT(lockout_failed(l, &bounds, "bob", 3, &from, 10002).now);
	lockout_free(l);
}

static void
test_lockout_source(void)
{
	struct lockout *l = lockout_new();
	struct addr from = addr_from_v4(0x0a000001), other = addr_from_v4(0x0a000002);
	char name[16];
	bool now = false;

	for (unsigned i = 0; i < 12; i++) {
		CU_ASSERT_FALSE(now);
		snprintf(name, sizeof name, "u%u", i);
		now = lockout_failed(l, &bounds, name, strlen(name), &from, 1).now;
		lockout_succeeded(l, "mine", 4); /* an account of one's own helps nothing */
	}
	CU_ASSERT(now);
	CU_ASSERT(lockout_look(l, &bounds, "ann", 3, &from, 2).locked);
	CU_ASSERT_FALSE(lockout_look(l, &bounds, "ann", 3, &other, 2).locked);
	CU_ASSERT_FALSE(
	    lockout_look(l, &(struct lockout_bounds){0, 0, 1000, 5000}, "ann", 3, &from, 2).locked);
	lockout_free(l);
}

/* A million made-up names: bounded, and who is locked stays so. */
static void
test_lockout_flood(void)
{
	struct lockout *l = lockout_new();
	struct addr from = addr_from_v4(0x0a000001);
	const struct lockout_bounds b = {4, 0, 1000000, 1000000};
	char name[16];

	for (unsigned i = 0; i < 4; i++)
		lockout_failed(l, &b, "ann", 3, &from, 1);
	for (unsigned i = 0; i < 200000; i++) {
		snprintf(name, sizeof name, "u%u", i);
		lockout_failed(l, &b, name, strlen(name), &from, 2 + i / 1000);
	}
	CU_ASSERT(lockout_look(l, &b, "ann", 3, &from, 1000).locked);
	lockout_free(l);
}

static void
test_remembered(void)
{
	struct remembered *r = remembered_new();

	CU_ASSERT_PTR_NOT_NULL_FATAL(r);
	CU_ASSERT_FALSE(remembered_has(r, "ann", 3, SECRET("x"), "file", 4, 1));
	remembered_put(r, "ann", 3, SECRET("x"), "file", 4, 100);
	CU_ASSERT(remembered_has(r, "ann", 3, SECRET("x"), "file", 4, 99));
	CU_ASSERT_FALSE(remembered_has(r, "ann", 3, SECRET("x"), "file", 4, 100));
	CU_ASSERT_FALSE(remembered_has(r, "ann", 3, SECRET("y"), "file", 4, 1));
	CU_ASSERT_FALSE(remembered_has(r, "an", 2, SECRET("nx"), "file", 4, 1));
	CU_ASSERT_FALSE(remembered_has(r, "annx", 4, SECRET(""), "file", 4, 1));
	CU_ASSERT_FALSE(remembered_has(r, "ann", 3, SECRET("xf"), "ile", 3, 1));
	CU_ASSERT_FALSE(remembered_has(r, "ann", 3, SECRET("x"), "pam!", 4, 1));
	remembered_forget(r);
	CU_ASSERT_FALSE(remembered_has(r, "ann", 3, SECRET("x"), "file", 4, 1));
	/* more than there is room for: the newest is known */
	for (unsigned i = 0; i < 50000; i++)
		remembered_put(r, (char *)&i, sizeof i, SECRET("x"), "", 0, 1000 + i);
	for (unsigned i = 49999; i < 50000; i++)
		CU_ASSERT(remembered_has(r, (char *)&i, sizeof i, SECRET("x"), "", 0, 1));
	remembered_free(r);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"hashes", test_hashes},
	    {"CHAP", test_chap},
	    {"lock-out of a user", test_lockout_user},
	    {"lock-out in time", test_lockout_time},
	    {"lock-out of a source", test_lockout_source},
	    {"lock-out under a flood", test_lockout_flood},
	    {"good passwords remembered", test_remembered},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("auth", tests);
}
