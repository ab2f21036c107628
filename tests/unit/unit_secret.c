/*
 * unit_secret.c - secrets are counted, wiped, moved without a copy left, and compared whole.
 */
#include <string.h>

#include "suite.h"

#include "base/secret.h"

static bool
all_zero(const void *p, size_t len)
{
	const unsigned char *b = p;

	while (len > 0 && *b == 0) {
		b++;
		len--;
	}
	return len == 0;
}

static void
test_set(void)
{
	char longest[SECRET_MAX + 1];
	struct secret s = {0};

	memset(longest, 'x', sizeof longest);
	CU_ASSERT(secret_set(&s, "pass\0word", 9));
	CU_ASSERT_EQUAL(secret_length(&s), 9);
	CU_ASSERT(secret_has_nul(&s));
	CU_ASSERT(secret_set(&s, "hello", 5)); /* nothing of the longer one is left */
	CU_ASSERT_FALSE(secret_has_nul(&s));
	CU_ASSERT_STRING_EQUAL(secret_reveal(&s), "hello");
	CU_ASSERT(all_zero(secret_reveal(&s) + 5, SECRET_MAX - 5));
	CU_ASSERT(secret_set(&s, longest, SECRET_MAX));
	CU_ASSERT_EQUAL(strlen(secret_reveal(&s)), SECRET_MAX);
	CU_ASSERT_FALSE(secret_set(&s, longest, SECRET_MAX + 1));
	CU_ASSERT(all_zero(&s, sizeof s));
	CU_ASSERT(secret_set(&s, NULL, 0));
	CU_ASSERT_EQUAL(secret_length(&s), 0);
}

static void
test_move(void)
{
	struct secret a = {0}, b = {0};

	secret_set(&a, "hello", 5);
	secret_move(&b, &a);
	CU_ASSERT(all_zero(&a, sizeof a));
	CU_ASSERT_STRING_EQUAL(secret_reveal(&b), "hello");
	secret_move(&b, &b);
	CU_ASSERT_STRING_EQUAL(secret_reveal(&b), "hello");
	secret_wipe(&b);
	CU_ASSERT(all_zero(&b, sizeof b));
}

static void
test_same(void)
{
	unsigned char a[64], b[64];

	memset(a, 7, sizeof a);
	memcpy(b, a, sizeof b);
	CU_ASSERT(secret_same(a, b, sizeof a));
	CU_ASSERT(secret_same(a, b, 0));
	for (size_t i = 0; i < sizeof a; i++)
		for (unsigned bit = 1; bit < 256; bit <<= 1) {
			b[i] ^= (unsigned char)bit;
			CU_ASSERT_FALSE(secret_same(a, b, sizeof a));
			CU_ASSERT(secret_same(a, b, i));
			b[i] ^= (unsigned char)bit;
		}
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"set", test_set},
	    {"move and wipe", test_move},
	    {"compare", test_same},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("secret", tests);
}
