/*
 * unit_users.c - files of users: what is read, what is wrong and where, modes; a problem never
 * shows the line.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "suite.h"

#include "settings/users.h"

#define YESCRYPT "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
#define SHA512                                                                                     \
	"$6$saltstring$nk7Qohr7tOmwY2mX639VRP.Lyvj3uhcgpatqHuLC867qfS"                             \
	"HKq1LDuKa/h7Es9Nv0aL08pbF.cnQlRqhaoKT/D."
#define MD5 "$1$deadbeef$Q7g0UO4hRC0mgQUQ/qkjZ0"

static char told[4096];

static bool
parse(struct users *u, enum users_kind kind, const char *text, size_t len)
{
	struct problems p;
	bool good;

	problems_init(&p);
	good = users_parse(u, kind, "users", text, len, &p);
	told[0] = '\0';
	for (size_t i = 0; i < p.count; i++) {
		const struct problem *one = &p.list[i];
		size_t n = strlen(told);

		snprintf(told + n, sizeof told - n, "%s%s %u:%u %s", n > 0 ? "; " : "", one->code,
			 one->place.line, one->place.column, one->text);
	}
	CU_ASSERT_EQUAL(good, p.errors == 0);
	problems_free(&p);
	return good;
}

static const struct bad {
	const char *text, *told;
} bad[] = {
    {"ann", "E314 1:1 ':' is missing behind the name"},
    {":" MD5, "E314 1:1 the name is missing"},
    {"ann:", "E314 1:5 the hash is missing"},
    {"ann:secret", "E314 1:5 this is no password hash"},
    {"ann:$y$j9T$F5Jx5fExrKuPp53xLKQ..1", "E314 1:5 the hash is not whole"},
    {"ann:" YESCRYPT "x", "E314 1:5 the hash is not whole"},
    {"ann:" YESCRYPT ":", "E314 1:5 the hash holds a character that no hash has"},
    {"ann:" YESCRYPT " ", "E314 1:5 the hash holds a character that no hash has"},
    {"ann:$99$what$ever", "E314 1:5 this is no password hash"},
    {" ann:" YESCRYPT, "E314 1:1 a blank stands around the name"},
    {"ann :" YESCRYPT, "E314 1:1 a blank stands around the name"},
    {"a\tn:" YESCRYPT, "E314 1:1 the name holds a control character"},
    {"ann:*\n\n# x\nbob:*\nann:*\n", "E314 5:1 this user stands in line 1 already"},
    {"ann\nbob\n",
     "E314 1:1 ':' is missing behind the name; E314 2:1 ':' is missing behind the name"},
};

static void
test_bad(void)
{
	struct users u;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		CHECK_ROW(!parse(&u, USERS_HASHES, bad[i].text, strlen(bad[i].text)), bad[i].text);
		CHECK_ROW(strcmp(told, bad[i].told) == 0, bad[i].text);
		CHECK_ROW(u.text == NULL && u.count == 0, bad[i].text);
	}
	CU_ASSERT_FALSE(parse(&u, USERS_HASHES, "a\0n:*", 5));
	CU_ASSERT_STRING_EQUAL(told, "E314 1:1 a NUL stands in the line");
}

static void
test_good(void)
{
	static const char text[] = "# users\r\n\n  \nann:" YESCRYPT "\r\nbob:" SHA512
				   "\nb:!" YESCRYPT "\n\xc3\xa4nn:*\na:" MD5;
	const struct user_line *l;
	struct users u;

	CU_ASSERT_FATAL(parse(&u, USERS_HASHES, text, sizeof text - 1));
	CU_ASSERT_STRING_EQUAL(told, "W306 8:3 the hash is of a kind that is easily guessed");
	CU_ASSERT_EQUAL(u.count, 5);
	l = users_find(&u, "ann", 3);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l);
	CU_ASSERT_STRING_EQUAL(l->value, YESCRYPT);
	CU_ASSERT_EQUAL(l->line, 4);
	CU_ASSERT_FALSE(user_disabled(l));
	l = users_find(&u, "b", 1);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l);
	CU_ASSERT(user_disabled(l));
	CU_ASSERT_PTR_NOT_NULL(users_find(&u, "\xc3\xa4nn", 4));
	CU_ASSERT_PTR_NOT_NULL(users_find(&u, "a", 1));
	CU_ASSERT_PTR_NOT_NULL(users_find(&u, "bob", 3));
	CU_ASSERT_PTR_NULL(users_find(&u, "bo", 2));
	CU_ASSERT_PTR_NULL(users_find(&u, "bobb", 4));
	CU_ASSERT_PTR_NULL(users_find(&u, "ann\0x", 5)); /* counted, not cut */
	CU_ASSERT_PTR_NULL(users_find(&u, "", 0));
	CU_ASSERT_PTR_NULL(users_find(&u, "# users", 7));
	users_free(&u);
	CU_ASSERT(parse(&u, USERS_HASHES, "", 0));
	CU_ASSERT_EQUAL(u.count, 0);
	CU_ASSERT_PTR_NULL(users_find(&u, "ann", 3));
	users_free(&u);
	CU_ASSERT(parse(&u, USERS_SECRETS, "ann: a:b # c \n", 14));
	CU_ASSERT_STRING_EQUAL(u.lines[0].value, " a:b # c ");
	users_free(&u);
	CU_ASSERT_FALSE(parse(&u, USERS_SECRETS, "ann:\n", 5));
	CU_ASSERT_STRING_EQUAL(told, "E314 1:5 the secret is missing");
}

/* Thousands of users, found each, and none that is not there. */
static void
test_many(void)
{
	enum { MANY = 5000 };
	char *text = malloc(MANY * 32), name[32];
	size_t len = 0;
	struct users u;

	for (unsigned i = 0; i < MANY; i++)
		len += (size_t)sprintf(text + len, "u%u:*\n", i * 7919 % MANY);
	CU_ASSERT_FATAL(parse(&u, USERS_HASHES, text, len));
	for (unsigned i = 0; i < MANY + 100; i++) {
		const struct user_line *l;

		snprintf(name, sizeof name, "u%u", i);
		l = users_find(&u, name, strlen(name));
		CU_ASSERT_EQUAL(l != NULL, i < MANY);
		CU_ASSERT(l == NULL || strcmp(l->name, name) == 0);
	}
	users_free(&u);
	free(text);
}

static void
test_modes(void)
{
	static const struct mode {
		mode_t mode;
		bool hashes, secrets;
	} modes[] = {
	    {S_IFREG | 0600, true, true},   {S_IFREG | 0400, true, true},
	    {S_IFREG | 0640, true, false},  {S_IFREG | 0660, false, false},
	    {S_IFREG | 0644, false, false}, {S_IFREG | 0602, false, false},
	    {S_IFDIR | 0600, false, false}, {S_IFIFO | 0600, false, false},
	};

	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		CU_ASSERT_EQUAL(users_mode_fault(USERS_HASHES, modes[i].mode) == NULL,
				modes[i].hashes);
		CU_ASSERT_EQUAL(users_mode_fault(USERS_SECRETS, modes[i].mode) == NULL,
				modes[i].secrets);
	}
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"bad lines", test_bad}, {"good lines", test_good}, {"many", test_many},
	    {"modes", test_modes},   CU_TEST_INFO_NULL,
	};

	return suite_run("users", tests);
}
