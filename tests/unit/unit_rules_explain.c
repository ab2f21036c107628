/*
 * tests/unit/unit_rules_explain.c - explain: the verdict over all answers of a name, and for each
 * rule passed over the first key that failed.
 */
#include "config.h"

#include "rules/model.h"
#include "tests/unit/suite.h"
#include "tests/unit/unit_rules_image.h"

static const char text[] =
    "networks: { servers = [ \"10.9.0.0/16\" ]; bad = [ \"203.0.114.0/24\" ] }\n"
    "rules: {\n"
    "  no-bad: { action = \"deny\"; to = \"bad\" }\n"
    "  no-doh: { action = \"deny\"; to = \"dns.example\"; mode = \"dry-run\" }\n"
    "  admin: { action = \"allow\"; who = \"root\"; to = \"any\" }\n"
    "  strong: { action = \"allow\"; who = \"ann\"; auth = \"gssapi\"; to = \"any\" }\n"
    "  far: { action = \"allow\"; who = \"ann\"; from = \"172.16.0.0/12\"; to = \"any\" }\n"
    "  not-here: { action = \"allow\"; who = \"ann\"; from-except = \"10.20.0.0/16\"; to = \"any\" "
    "}\n"
    "  back: { action = \"allow\"; who = \"ann\"; listener = \"side\"; to = \"any\" }\n"
    "  else: { action = \"allow\"; who = \"ann\"; to = \"192.0.2.1\" }\n"
    "  but: { action = \"allow\"; who = \"ann\"; to = \"any\"; except = \"*.example\" }\n"
    "  port: { action = \"allow\"; who = \"ann\"; to = \"any\"; service = \"tcp/22\" }\n"
    "  in: { action = \"allow\"; who = \"ann\"; to = \"any\"; command = \"bind\" }\n"
    "  four: { action = \"allow\"; who = \"ann\"; to = \"any\"; version = 4 }\n"
    "  night: { action = \"allow\"; who = \"ann\"; to = \"any\"; when = \"Mon-Sun 22:00-06:00 "
    "UTC\" }\n"
    "  erp: { action = \"allow\"; who = \"ann\"; to = \"erp.example\"; resolves-in = \"servers\" "
    "}\n"
    "  soon: { action = \"allow\"; who = \"ann\"; to = \"any\"; since = \"2027-01-01\" }\n"
    "  gone: { action = \"allow\"; who = \"ann\"; to = \"any\"; expires = \"2026-01-01\" }\n"
    "  last: { action = \"allow\"; who = \"ann\"; to = \"8.8.0.0/16\" }\n"
    "}\n";

static struct rules_facts
ann(const char *name)
{
	return (struct rules_facts){.known = FACT_ALL & ~(uint32_t)FACT_ADDRESS,
				    .client = addr_from_v4(0x0a140304),
				    .listener = -1,
				    .version = 5,
				    .command = RULES_CONNECT,
				    .name = name,
				    .name_len = strlen(name),
				    .port = 443,
				    .time = TEST_NOW,
				    .proven_user = "ann",
				    .proven_by = AUTH_PAM};
}

static void
test_failures(void)
{
	static const char *const failed[] = {
	    "to",       "mode",        "who",    "auth",    "from",    "from-except",
	    "listener", "to",          "except", "service", "command", "version",
	    "when",     "resolves-in", "since",  "expires", NULL};
	struct loaded l;
	struct rules_facts f = ann("erp.example");
	struct rules_explanation e;
	struct addr a = addr_from_v4(0x08080808);
	size_t i;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	rules_explain(l.policy, &f, true, &a, 1, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_PERMIT);
	CU_ASSERT_EQUAL(e.answer.rule, policy_rule_find(l.policy, "last"));
	CU_ASSERT_EQUAL(e.address_count, 1);
	CU_ASSERT_EQUAL_FATAL(e.passed_count, 16);
	for (i = 0; failed[i] != NULL; i++) {
		CU_ASSERT_EQUAL(e.passed[i].rule, (int32_t)i);
		/* the second is a denial by name: this is another name */
		CHECK_ROW(strcmp(e.passed[i].failed, i == 1 ? "to" : failed[i]) == 0, failed[i]);
	}
	rules_explanation_free(&e);
	f.name = "dns.example";
	f.name_len = strlen(f.name);
	rules_explain(l.policy, &f, true, &a, 1, true, &e);
	CU_ASSERT_STRING_EQUAL(e.passed[1].failed, "mode");
	CU_ASSERT_EQUAL(e.answer.dry_run, 2);
	rules_explanation_free(&e);
	policy_unload(&l);
}

static void
test_answers(void)
{
	struct loaded l;
	struct rules_facts f = ann("www.example");
	struct rules_explanation e;
	struct addr many[3] = {addr_from_v4(0xcb007201), addr_from_v4(0x08080404),
			       addr_from_v4(0x08080808)};

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	/* not resolved: it depends on DNS */
	rules_explain(l.policy, &f, false, NULL, 0, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_NEED);
	CU_ASSERT_EQUAL(e.answer.needs, FACT_ADDRESS);
	CU_ASSERT_EQUAL(e.answer.rule, RULE_NONE);
	rules_explanation_free(&e);
	/* no such name */
	rules_explain(l.policy, &f, true, NULL, 0, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(e.answer.reason, REASON_UNDETERMINED);
	CU_ASSERT_EQUAL(e.answer.rule, RULE_DEFAULT);
	CU_ASSERT_EQUAL(e.address_count, 0);
	rules_explanation_free(&e);
	/* allowed if any is; the rule is that of the first allowed one */
	rules_explain(l.policy, &f, true, many, 3, false, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_PERMIT);
	CU_ASSERT_EQUAL(e.address_count, 3);
	CU_ASSERT_EQUAL(e.addresses[0].answer.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(e.addresses[0].answer.rule, 0);
	CU_ASSERT_EQUAL(e.addresses[1].answer.verdict, RULES_PERMIT);
	CU_ASSERT_EQUAL(e.passed_count, 0);
	rules_explanation_free(&e);
	/* none is: the rule that denied the first */
	rules_explain(l.policy, &f, true, many, 1, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(e.answer.rule, 0);
	CU_ASSERT_EQUAL(e.passed_count, 0);
	rules_explanation_free(&e);
	/* denied without a lookup: the answers are not even looked at */
	f.proven_user = NULL;
	rules_explain(l.policy, &f, true, many, 3, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(e.answer.rule, RULE_DEFAULT);
	CU_ASSERT_EQUAL(e.address_count, 0);
	rules_explanation_free(&e);
	policy_unload(&l);
}

/* In need, rules behind the first certain one are not reached, so they are not passed over. */
static void
test_passed_in_need(void)
{
	static const char policy[] =
	    "rules: {\n"
	    "no: { action = \"deny\"; from = \"192.168.0.0/16\" }\n"
	    "dry: { action = \"deny\"; mode = \"dry-run\" }\n"
	    "maybe: { action = \"allow\"; to = \"*.example\" }\n"
	    "rest: { action = \"deny\" }\n"
	    "behind: { action = \"deny\"; from = \"192.168.0.0/16\" }\n"
	    "}\n";
	struct rules_facts f = ann("erp.example");
	struct rules_explanation e;
	struct loaded l;

	policy_load_text(&l, policy);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	rules_explain(l.policy, &f, false, NULL, 0, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_NEED);
	CU_ASSERT_EQUAL_FATAL(e.passed_count, 2);
	CU_ASSERT_EQUAL(e.passed[0].rule, 0);
	CU_ASSERT_STRING_EQUAL(e.passed[0].failed, "from");
	CU_ASSERT_EQUAL(e.passed[1].rule, 1);
	CU_ASSERT_STRING_EQUAL(e.passed[1].failed, "mode");
	rules_explanation_free(&e);
	policy_unload(&l);
}

static void
test_reasons(void)
{
	struct loaded l;
	struct rules_facts f = ann("erp.example");
	struct rules_explanation e;
	struct addr a = addr_from_v4(0x09090909);
	bool unknown;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	rules_explain(l.policy, &f, true, &a, 1, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(e.answer.reason, REASON_RESOLVES_IN);
	CU_ASSERT_EQUAL(e.passed_count, policy_rule_count(l.policy));
	rules_explanation_free(&e);
	/* an embedded address: the rules are told as they met the one inside */
	f.name = NULL;
	f.name_len = 0;
	f.known = FACT_ALL;
	CU_ASSERT_TRUE_FATAL(addr_parse("64:ff9b::203.0.114.9", 20, &f.address));
	f.time = TEST_NOW + 13 * 3600; /* `night` allows the outer one */
	rules_explain(l.policy, &f, false, NULL, 0, true, &e);
	CU_ASSERT_EQUAL(e.answer.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(e.answer.rule, 0);
	rules_explanation_free(&e);
	/* what is not known is told as unknown */
	f.known &= ~(uint32_t)FACT_PROVEN;
	CU_ASSERT_STRING_EQUAL(rules_first_failure(l.policy, 2, &f, &unknown), "who");
	CU_ASSERT_TRUE(unknown);
	CU_ASSERT_PTR_NULL(rules_first_failure(l.policy, 99, &f, &unknown));
	policy_unload(&l);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"the first key that fails", test_failures},
			       {"answers of DNS", test_answers},
			       {"reasons", test_reasons},
			       {"passed over while in need", test_passed_in_need},
			       CU_TEST_INFO_NULL};

	return suite_run("rules: explain", tests);
}
