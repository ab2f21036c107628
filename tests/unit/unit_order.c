/*
 * tests/unit/unit_order.c - RFC 6724 section 10.2's examples (those whose rules we keep), and the
 * interleaving of RFC 8305 section 4.
 */
#include <CUnit/Basic.h>
#include <stdio.h>
#include <string.h>

#include "net/order.h"

struct line {
	const char *to, *source; /* source NULL: no route */
};

static const struct {
	const char *what;
	struct line in[6];
	const char *out[6];
} table[] = {
    {"matching scope",
     {{"2001:db8:1::1", "2001:db8:1::2"}, {"198.51.100.121", "169.254.13.78"}},
     {"2001:db8:1::1", "198.51.100.121"}},
    {"matching scope, IPv4",
     {{"2001:db8:1::1", "fe80::1"}, {"198.51.100.121", "198.51.100.117"}},
     {"198.51.100.121", "2001:db8:1::1"}},
    {"higher precedence",
     {{"10.1.2.3", "10.1.2.4"}, {"2001:db8:1::1", "2001:db8:1::2"}},
     {"2001:db8:1::1", "10.1.2.3"}},
    {"matching label",
     {{"2002:c633:6401::1", "2002:c633:6401::2"}, {"2001:db8:1::1", "2002:c633:6401::2"}},
     {"2002:c633:6401::1", "2001:db8:1::1"}},
    {"precedence of labels",
     {{"2002:c633:6401::1", "2002:c633:6401::2"}, {"2001:db8:1::1", "2001:db8:1::2"}},
     {"2001:db8:1::1", "2002:c633:6401::1"}},
    {"no route is last",
     {{"2001:db8:1::1", NULL}, {"198.51.100.1", "198.51.100.2"}},
     {"198.51.100.1", "2001:db8:1::1"}},
    {"unique local below IPv4",
     {{"fd00::1", "2001:db8::2"}, {"198.51.100.1", "198.51.100.2"}},
     {"198.51.100.1", "fd00::1"}},
    {"families take turns",
     {{"2001:db8::1", "2001:db8::f"},
      {"2001:db8::2", "2001:db8::f"},
      {"2001:db8::3", "2001:db8::f"},
      {"198.51.100.1", "198.51.100.9"},
      {"198.51.100.2", "198.51.100.9"}},
     {"2001:db8::1", "198.51.100.1", "2001:db8::2", "198.51.100.2", "2001:db8::3"}},
    {"the server's order stands",
     {{"198.51.100.9", "198.51.100.1"},
      {"198.51.100.3", "198.51.100.1"},
      {"198.51.100.7", "198.51.100.1"}},
     {"198.51.100.9", "198.51.100.3", "198.51.100.7"}},
};

static struct addr
address(const char *text)
{
	struct addr a = {{0}};

	CU_ASSERT_FATAL(addr_parse(text, strlen(text), &a));
	return a;
}

static void
test_table(void)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct addr list[6], sources[6] = {{{0}}};
		_Bool has[6] = {0};
		size_t n = 0;

		for (; n < 6 && table[i].in[n].to != NULL; n++) {
			list[n] = address(table[i].in[n].to);
			has[n] = table[i].in[n].source != NULL;
			if (has[n])
				sources[n] = address(table[i].in[n].source);
		}
		order_with_sources(list, sources, has, n);
		for (size_t k = 0; k < n; k++) {
			char text[ADDR_TEXT];

			addr_format(&list[k], text);
			if (strcmp(text, table[i].out[k]) != 0)
				printf("\n%s: place %zu is %s, not %s\n", table[i].what, k, text,
				       table[i].out[k]);
			CU_ASSERT_STRING_EQUAL(text, table[i].out[k]);
		}
	}
}

static void
test_kernel(void)
{
	/* Whatever this machine's routes are, every address stays, once. */
	struct addr list[3] = {address("127.0.0.1"), address("::1"), address("127.0.0.2")};
	int seen = 0;

	order_addresses(list, 3);
	for (int i = 0; i < 3; i++) {
		struct addr a = address("127.0.0.1"), b = address("::1"), c = address("127.0.0.2");

		seen |= addr_equal(&list[i], &a) << 0 | addr_equal(&list[i], &b) << 1 |
			addr_equal(&list[i], &c) << 2;
	}
	CU_ASSERT_EQUAL(seen, 7);
}

int
main(void)
{
	unsigned failed;
	CU_pSuite s;

	CU_initialize_registry();
	s = CU_add_suite("order", NULL, NULL);
	CU_add_test(s, "RFC 6724 and RFC 8305 examples", test_table);
	CU_add_test(s, "with the kernel's routes nothing is lost", test_kernel);
	CU_basic_run_tests();
	failed = CU_get_number_of_tests_failed();
	printf("%u passed, %u failed\n", CU_get_number_of_tests_run() - failed, failed);
	CU_cleanup_registry();
	return failed != 0;
}
