/*
 * tests/unit/unit_rules_builtin.c - the ranges of the built-in networks against prefixes written
 * the way POLICY.md writes them, at and beside every border.
 */
#include "config.h"

#include <string.h>

#include "rules/model.h"
#include "tests/unit/suite.h"

#define MOST 32

/* A built-in as POLICY.md says it: in one of `in` and in none of `out`. */
struct spec {
	enum builtin b;
	bool destination;
	const char *in[MOST], *out[MOST];
};

static const struct spec specs[] = {
    {BUILTIN_ANY, false, {"0.0.0.0/0", "::/0"}, {NULL}},
    {BUILTIN_ANY,
     true,
     {"0.0.0.0/0", "::/0"},
     {"127.0.0.0/8", "::1", "169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "255.255.255.255",
      "ff00::/8", "0.0.0.0/8", "::"}},
    {BUILTIN_PUBLIC,
     true,
     {"0.0.0.0/0", "2000::/3", "64:ff9b::/96"},
     {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
      "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
      "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "2001::/23",
      "2001:db8::/32", "2002::/16", "3fff::/20"}},
    {BUILTIN_PRIVATE,
     true,
     {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"},
     {NULL}},
    {BUILTIN_LOOPBACK, true, {"127.0.0.0/8", "::1"}, {NULL}},
    {BUILTIN_LINK_LOCAL, true, {"169.254.0.0/16", "fe80::/10"}, {NULL}},
    {BUILTIN_MULTICAST, true, {"224.0.0.0/4", "255.255.255.255", "ff00::/8"}, {NULL}},
    {BUILTIN_UNSPECIFIED, true, {"0.0.0.0/8", "::"}, {NULL}},
};

/* ::/0 cannot hold an IPv4 address here, though IPv4 is kept in its mapped form. */
static bool
listed(const char *const *list, const struct addr *a)
{
	struct prefix p;

	for (unsigned i = 0; i < MOST && list[i] != NULL; i++) {
		CU_ASSERT_FATAL(prefix_parse(list[i], strlen(list[i]), &p) == PREFIX_OK);
		if (addr_is4(a) == addr_is4(&p.addr) && prefix_contains(&p, a))
			return true;
	}
	return false;
}

static bool
has(const struct model_range *v, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (addr_compare(&v[i].first, a) <= 0 && addr_compare(a, &v[i].last) <= 0)
			return true;
	return false;
}

static struct addr
beside(const struct addr *a, int step)
{
	struct addr out = *a;

	for (int i = 15; step != 0 && i >= 0; i--) {
		out.b[i] = (uint8_t)(out.b[i] + step);
		if (out.b[i] != (step > 0 ? 0 : 255))
			break;
	}
	return out;
}

static void
check_at(const struct spec *s, const struct addr *border)
{
	const struct model_range *v;
	size_t n = builtin_ranges(s->b, s->destination, &v);

	for (int step = -1; step <= 1; step++) {
		struct addr a = beside(border, step);
		char text[ADDR_TEXT];
		bool want = listed(s->in, &a) && !listed(s->out, &a);

		addr_format(&a, text);
		if (has(v, n, &a) != want)
			printf("\n    %s: %s should be %s", builtin_word(s->b), text,
			       want ? "in" : "out");
		CU_ASSERT_EQUAL(has(v, n, &a), want);
	}
}

static void
test_borders(void)
{
	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		for (size_t k = 0; k < sizeof(specs) / sizeof(specs[0]); k++) {
			for (unsigned j = 0; j < 2 * MOST; j++) {
				const char *text =
				    j < MOST ? specs[k].in[j] : specs[k].out[j - MOST];
				struct addr first, last;
				struct prefix p;

				if (text == NULL)
					continue;
				CU_ASSERT_FATAL(prefix_parse(text, strlen(text), &p) == PREFIX_OK);
				first = prefix_first(&p);
				last = prefix_last(&p);
				check_at(&specs[i], &first);
				check_at(&specs[i], &last);
			}
		}
	}
}

static void
test_shape(void)
{
	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		const struct model_range *v;
		size_t n = builtin_ranges(specs[i].b, specs[i].destination, &v);

		for (size_t k = 0; k < n; k++) {
			CU_ASSERT(addr_compare(&v[k].first, &v[k].last) <= 0);
			CU_ASSERT_EQUAL(addr_is4(&v[k].first), addr_is4(&v[k].last));
			CU_ASSERT(k == 0 || addr_compare(&v[k - 1].last, &v[k].first) < 0);
		}
	}
}

static void
test_words(void)
{
	static const char *const words[] = {"any",        "public",    "private",    "loopback",
					    "link-local", "multicast", "unspecified"};

	for (int b = 0; b < BUILTIN_COUNT; b++) {
		CU_ASSERT_STRING_EQUAL(builtin_word((enum builtin)b), words[b]);
		CU_ASSERT_EQUAL(builtin_find(words[b]), b);
	}
	CU_ASSERT_EQUAL(builtin_find("Any"), -1);
	CU_ASSERT_EQUAL(builtin_find(""), -1);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"borders", test_borders},
			       {"sorted, disjoint, one family a range", test_shape},
			       {"words", test_words},
			       CU_TEST_INFO_NULL};

	return suite_run("rules: built-in networks", tests);
}
