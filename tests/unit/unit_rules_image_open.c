/*
 * tests/unit/unit_rules_image_open.c - images: what they tell, that they are the same each time,
 * and that a damaged one never opens, or never faults when somebody made its hash good again.
 */
#include "config.h"

#include "rules/image.h"
#include "tests/unit/suite.h"
#include "tests/unit/unit_rules_image.h"

static const char text[] =
    "policy: { name = \"little\" }\n"
    "networks: { inner = [ \"10.0.0.0/8\", \"fd00::/8\" ] }\n"
    "hosts: { site = [ \"site.example\", \"*.deep.example\", \"regex:^crm[0-9]+[.]example$\" ] }\n"
    "services: { web = [ \"tcp/80\", \"tcp/443\" ]; voice = [ \"udp/3478-3481\" ] }\n"
    "groups: { staff = [ \"unix:staff\", \"ann\" ] }\n"
    "times: { office = [ \"Mon-Fri 07:00-19:00 Europe/Berlin\" ] }\n"
    "rules: {\n"
    "  one: { action = \"allow\"; who = \"@staff\"; from = \"inner\"; to = \"site\"; service = "
    "\"web\"; when = \"office\"\n"
    "    limit: { sessions = 10; sessions-per-user = 3; rate-per-user = \"10 /s\"; "
    "bandwidth-per-user = \"8 Mbit/s\";\n"
    "             idle = \"5 min\"; lifetime = \"8 h\" }\n"
    "    egress = [ \"192.0.2.1\", \"2001:db8::1\" ]; udp-replies = \"any\"; on-revoke = \"drain "
    "60 s\"\n"
    "    owner = \"net\"; ticket = \"T-1\"; why = \"because\"; alert = true; log = \"end\" }\n"
    "  two: { action = \"deny\"; to = [ \"loopback\", \"10.1.2.3\" ]; service = [ \"voice\", "
    "\"tcp/22\" ]; mode = \"dry-run\" }\n"
    "  three: { action = \"allow\"; from = \"10.1.0.0/16\"; to = \"public\"; except = "
    "\"203.0.114.0/24\" }\n"
    "}\n";

static void
test_terms(void)
{
	struct loaded l;
	struct rule_terms t;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	CU_ASSERT_STRING_EQUAL(policy_name(l.policy), "little");
	CU_ASSERT_EQUAL(policy_rule_count(l.policy), 3);
	CU_ASSERT_EQUAL(policy_rule_find(l.policy, "three"), 2);
	CU_ASSERT_EQUAL(policy_rule_find(l.policy, "four"), RULE_NONE);
	policy_terms(l.policy, 0, &t);
	CU_ASSERT_STRING_EQUAL(t.name, "one");
	CU_ASSERT_STRING_EQUAL(t.owner, "net");
	CU_ASSERT_STRING_EQUAL(t.ticket, "T-1");
	CU_ASSERT_STRING_EQUAL(t.why, "because");
	CU_ASSERT_EQUAL(t.line, 8);
	CU_ASSERT(t.allow && t.alert && !t.dry_run);
	CU_ASSERT_EQUAL(t.log, 2);
	CU_ASSERT_EQUAL(t.udp_replies, 2);
	CU_ASSERT_EQUAL(t.on_revoke, 2);
	CU_ASSERT_EQUAL(t.drain_ms, 60000);
	CU_ASSERT_EQUAL(t.sessions, 10);
	CU_ASSERT_EQUAL(t.sessions_per_user, 3);
	CU_ASSERT_EQUAL(t.sessions_per_source, 0);
	CU_ASSERT(t.rate_per_user > 9.99 && t.rate_per_user < 10.01);
	CU_ASSERT_EQUAL(t.bandwidth_per_user, 8000000);
	CU_ASSERT_EQUAL(t.idle_ms, 300000);
	CU_ASSERT_EQUAL(t.lifetime_ms, 8 * 3600 * 1000);
	CU_ASSERT(t.has_egress4 && t.has_egress6);
	CU_ASSERT_EQUAL(addr_v4(&t.egress4), 0xc0000201);
	CU_ASSERT_EQUAL(t.auth, AUTH_PAM | AUTH_FILE | AUTH_GSSAPI | AUTH_CHAP);
	policy_terms(l.policy, 1, &t);
	CU_ASSERT(!t.allow && !t.alert && t.dry_run && !t.has_egress4);
	CU_ASSERT_STRING_EQUAL(t.owner, "");
	policy_terms(l.policy, RULE_DEFAULT, &t);
	CU_ASSERT_STRING_EQUAL(t.name, "policy-default");
	policy_terms(l.policy, RULE_SELF, &t);
	CU_ASSERT_STRING_EQUAL(t.name, "builtin:self");
	policy_terms(l.policy, 3, &t);
	CU_ASSERT_STRING_EQUAL(t.name, "");
	policy_unload(&l);
}

static void
test_same_bytes(void)
{
	struct loaded l;
	struct problems problems;
	void *image;
	size_t len;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	problems_init(&problems);
	CU_ASSERT_TRUE_FATAL(model_compile(l.load.model, &image, &len, &problems));
	CU_ASSERT_EQUAL_FATAL(len, l.load.image_len);
	CU_ASSERT(memcmp(image, l.load.image, len) == 0);
	free(image);
	problems_free(&problems);
	policy_unload(&l);
}

/* Asks an image a few things, whatever it says. */
static void
use(struct policy *p)
{
	static const char *const names[] = {"site.example", "a.deep.example", "crm7.example", "x"};
	static const char *const groups[] = {"staff"};
	struct rules_explanation e;
	struct rules_answer a;
	struct rule_terms t;

	for (unsigned i = 0; i < 4; i++) {
		struct rules_facts f = {.known = i == 3 ? FACT_CLIENT : FACT_ALL,
					.client = addr_from_v4(0x0a010203),
					.version = 5,
					.command = (uint8_t)(1 + i % 3),
					.name = names[i],
					.name_len = strlen(names[i]),
					.address = addr_from_v4(0x08080808),
					.port = 443,
					.time = TEST_NOW,
					.proven_user = "ann",
					.proven_by = AUTH_PAM,
					.groups = groups,
					.group_count = 1};

		rules_evaluate(p, &f, &a);
		policy_terms(p, a.rule, &t);
		rules_explain(p, &f, true, &f.address, 1, true, &e);
		rules_explanation_free(&e);
	}
	policy_listener(p, "nobody");
	policy_rule_find(p, "nobody");
}

static void
test_flipped_bytes(void)
{
	struct loaded l;
	uint8_t *copy;
	size_t opened = 0, len;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	len = l.load.image_len;
	copy = malloc(len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
	for (size_t i = 0; i < len; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct policy *p;

			memcpy(copy, l.load.image, len);
			copy[i] ^= (uint8_t)(1 << bit);
			p = policy_open(copy, len);
			CU_ASSERT_PTR_NULL(p);
			policy_close(p);
			if (bit % 3 != i % 3)
				continue;
			/* With a hash made good again: it opens or not, and never faults. */
			p = image_open(copy, len, IMAGE_UNHASHED);
			opened += p != NULL;
			if (p != NULL)
				use(p);
			policy_close(p);
		}
	}
	/* Most of the bytes are texts, numbers and hashes that may be anything. */
	CU_ASSERT(opened > len / 10);
	free(copy);
	policy_unload(&l);
}

static void
test_chopped(void)
{
	struct loaded l;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	for (size_t n = 0; n < l.load.image_len; n++) {
		uint8_t *copy = malloc(n + 1);

		CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
		memcpy(copy, l.load.image, n);
		CU_ASSERT_PTR_NULL(policy_open(copy, n));
		free(copy);
	}
	CU_ASSERT_PTR_NULL(policy_open(NULL, 0));
	policy_unload(&l);
}

static void
test_sealed(void)
{
	struct loaded l;
	struct policy *p;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	p = policy_open_sealed(l.load.image, l.load.image_len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(p);
	CU_ASSERT(memcmp(policy_hash(p), policy_hash(l.policy), 32) == 0);
	use(p);
	policy_close(p);
	policy_unload(&l);
}

static double
bytes_a_rule(const char *pattern, size_t rules)
{
	struct buffer b = {0};
	struct loaded l;
	double bytes = 1e9;

	buffer_puts(&b, "networks: { branches = [ \"10.0.0.0/8\" ] }\nrules: (\n");
	for (size_t i = 0; i < rules; i++) {
		buffer_putf(&b,
			    "%s{ name = \"rule-%06zu\"; action = \"allow\"; owner = \"net\"; "
			    "ticket = \"CHG-%06zu\"; ",
			    i > 0 ? ",\n" : "", i, i);
		for (const char *s = pattern; *s != '\0'; s++) {
			if (*s == '#')
				buffer_putf(&b, "%zu", i);
			else if (*s == '@')
				buffer_putf(&b, "%zu.%zu", i >> 8 & 255, i & 255);
			else
				buffer_put(&b, s, 1);
		}
		buffer_puts(&b, " }");
	}
	buffer_puts(&b, "\n)\n");
	policy_load_text(&l, b.p);
	buffer_free(&b);
	if (l.policy != NULL)
		bytes = (double)l.load.image_len / (double)rules;
	policy_unload(&l);
	return bytes;
}

/* PERFORMANCE.md: at most 200 bytes a rule. */
static void
test_size(void)
{
	static const char *const patterns[] = {
	    "from = \"10.1.@\"; to = \"h#.site.example\"; service = \"tcp/443\"",
	    "from = \"branches\"; to = \"203.0.@\"; service = \"tcp/443\"",
	    "who = \"user#\"; to = \"any\"; service = \"tcp/443\"",
	    "who = \"user#\"; from = \"10.1.@\"; to = \"h#.site.example\"",
	};

	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		double bytes = bytes_a_rule(patterns[i], 5000);

		if (bytes > 200)
			printf("\n    %.0f bytes a rule: %s", bytes, patterns[i]);
		CU_ASSERT(bytes <= 200);
	}
}

int
main(void)
{
	CU_TestInfo tests[] = {{"terms", test_terms},
			       {"the same model gives the same bytes", test_same_bytes},
			       {"sealed", test_sealed},
			       {"chopped at each byte", test_chopped},
			       {"each bit flipped", test_flipped_bytes},
			       {"bytes a rule", test_size},
			       CU_TEST_INFO_NULL};

	return suite_run("rules: images", tests);
}
