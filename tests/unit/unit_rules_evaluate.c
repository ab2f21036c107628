/*
 * tests/unit/unit_rules_evaluate.c - POLICY.md's semantics, number by number. Every row is asked of
 * rules_evaluate and of the plain scan.
 */
#include "config.h"

#include "base/name.h"
#include "rules/model.h"
#include "tests/unit/suite.h"
#include "tests/unit/unit_rules_image.h"

/* What a row does not say: connect, version 5, nameless, from 10.20.3.4, now; "-" is not known. */
struct row {
	const char *to;      /* "host:port"; NULL: name, address and port are not known */
	const char *address; /* what the name led to; NULL: not known yet (of an address: itself) */
	const char *want;    /* "allow RULE", "deny RULE REASON", "need RULE-less FACTS" */
	const char *user;    /* "pam ann", "ident bob", "userid bob"; "-" */
	const char *groups;  /* one; "-" not known, "!" could not be found out */
	const char *from, *at;
	uint8_t command, version;
};

static const struct {
	const char *word;
	uint32_t bit;
} fact_words[] = {
    {"client", FACT_CLIENT}, {"version", FACT_VERSION}, {"command", FACT_COMMAND},
    {"name", FACT_NAME},     {"address", FACT_ADDRESS}, {"port", FACT_PORT},
    {"time", FACT_TIME},     {"proven", FACT_PROVEN},   {"asserted", FACT_ASSERTED},
    {"groups", FACT_GROUPS},
};

static void
say(struct policy *p, const struct rules_answer *a, char *buf, size_t size)
{
	static const char *const verdicts[] = {"deny", "allow", "need"};
	struct rule_terms t;
	struct text out;

	text_init(&out, buf, size);
	text_put(&out, verdicts[a->verdict]);
	if (a->verdict == RULES_NEED) {
		for (size_t i = 0; i < sizeof(fact_words) / sizeof(fact_words[0]); i++)
			if (a->needs & fact_words[i].bit)
				text_putf(&out, " %s", fact_words[i].word);
		return;
	}
	policy_terms(p, a->rule, &t);
	text_putf(&out, " %s", t.name);
	if (a->reason != REASON_RULE)
		text_putf(&out, " %s", rules_reason_word(a->reason));
}

static void
set_user(struct rules_facts *f, const char *user)
{
	char word[16];
	uint8_t bit;
	const char *name;

	if (user == NULL)
		return;
	if (strcmp(user, "-") == 0) {
		f->known &= ~(uint32_t)(FACT_PROVEN | FACT_ASSERTED);
		return;
	}
	name = strchr(user, ' ');
	snprintf(word, sizeof(word), "%.*s", (int)(name - user), user);
	CU_ASSERT_TRUE_FATAL(facts_auth(word, &bit));
	if (bit & (AUTH_IDENT | AUTH_USERID)) {
		f->asserted_by = bit;
		f->asserted_user = name + 1;
	} else {
		f->proven_by = bit;
		f->proven_user = name + 1;
	}
}

static void
set_facts(const struct row *r, struct rules_facts *f, char *name, const char **group)
{
	const char *from = r->from != NULL ? r->from : "10.20.3.4";

	memset(f, 0, sizeof(*f));
	f->known = FACT_ALL;
	f->listener = -1;
	f->version = r->version != 0 ? r->version : 5;
	f->command = r->command != 0 ? r->command : RULES_CONNECT;
	f->time = TEST_NOW;
	CU_ASSERT_TRUE_FATAL(addr_parse(from, strlen(from), &f->client));
	if (r->at != NULL)
		CU_ASSERT_PTR_NULL_FATAL(facts_time(r->at, &f->time));
	if (r->to == NULL) {
		f->known &= ~(uint32_t)(FACT_NAME | FACT_ADDRESS | FACT_PORT);
	} else {
		CU_ASSERT_PTR_NULL_FATAL(facts_destination(r->to, f, name));
		f->known |= FACT_ALL;
		if (f->name != NULL && r->address == NULL)
			f->known &= ~(uint32_t)FACT_ADDRESS;
		else if (r->address != NULL)
			CU_ASSERT_TRUE_FATAL(
			    addr_parse(r->address, strlen(r->address), &f->address));
	}
	set_user(f, r->user);
	*group = r->groups;
	f->groups = group;
	if (r->groups != NULL && strcmp(r->groups, "-") == 0)
		f->known &= ~(uint32_t)FACT_GROUPS;
	else if (r->groups != NULL && strcmp(r->groups, "!") == 0)
		f->groups_failed = true;
	else if (r->groups != NULL)
		f->group_count = 1;
}

static void
check_row(struct policy *p, const struct row *r, const struct rules_self *self)
{
	char name[NAME_MAX_LEN + 1], fast[200], plain[200];
	struct rules_facts f;
	struct rules_answer a;
	const char *group;

	set_facts(r, &f, name, &group);
	f.self = self;
	rules_evaluate(p, &f, &a);
	say(p, &a, fast, sizeof(fast));
	rules_evaluate_linear(p, &f, &a);
	say(p, &a, plain, sizeof(plain));
	if (strcmp(fast, r->want) != 0 || strcmp(plain, r->want) != 0)
		printf("\n    to %s (%s) by %s: '%s', plainly '%s', not '%s'",
		       r->to != NULL ? r->to : "?", r->address != NULL ? r->address : "-",
		       r->user != NULL ? r->user : "nobody", fast, plain, r->want);
	CU_ASSERT_STRING_EQUAL(fast, r->want);
	CU_ASSERT_STRING_EQUAL(plain, r->want);
}

static void
check_rows(const char *text, const struct row *rows, const struct rules_self *self)
{
	struct loaded l;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	for (; rows->want != NULL; rows++)
		check_row(l.policy, rows, self);
	policy_unload(&l);
}

/* ---- 1: keys and values; defaults ------------------------------------------------------- */

static void
test_keys(void)
{
	static const char text[] =
	    "services: { web = [ \"tcp/80\", \"tcp/8000-8009\", \"udp/443\" ] }\n"
	    "rules: {\n"
	    "  ranged: { action = \"allow\"; from = \"10.0.0.0/8\"; from-except = \"10.9.0.0/16\"\n"
	    "    to = [ \"192.0.2.0/24\", \"2001:db8::/32\" ]; except = \"192.0.2.7\"; service = "
	    "\"web\" }\n"
	    "  old: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"198.51.100.1\"; version = "
	    "4 }\n"
	    "  in: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"198.51.100.2\"; command = "
	    "\"bind\" }\n"
	    "  dated: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"198.51.100.3\"; since = "
	    "\"2026-11-15\"; expires = \"2026-11-24\" }\n"
	    "  all: { action = \"deny\"; to = \"198.51.100.4\" }\n"
	    "}\n";
	static const struct row rows[] = {
	    {.to = "192.0.2.1:80", .want = "allow ranged"},
	    {.to = "192.0.2.0:8000", .want = "allow ranged"},
	    {.to = "192.0.2.255:8009", .want = "allow ranged"},
	    {.to = "[2001:db8::1]:80", .want = "allow ranged"},
	    {.to = "192.0.2.7:80", .want = "deny policy-default default"},
	    {.to = "192.0.2.6:80", .want = "allow ranged"},
	    {.to = "192.0.2.8:80", .want = "allow ranged"},
	    {.to = "192.0.3.0:80", .want = "deny policy-default default"},
	    {.to = "192.0.1.255:80", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:79", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:7999", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:8010", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:443", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:443", .command = RULES_UDP, .want = "allow ranged"},
	    {.to = "192.0.2.1:80", .command = RULES_UDP, .want = "deny policy-default default"},
	    /* connect and udp-associate by default, never bind */
	    {.to = "192.0.2.1:80", .command = RULES_BIND, .want = "deny policy-default default"},
	    {.to = "192.0.2.1:80", .from = "10.255.255.255", .want = "allow ranged"},
	    {.to = "192.0.2.1:80", .from = "11.0.0.0", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:80", .from = "10.9.0.0", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:80", .from = "10.10.0.0", .want = "allow ranged"},
	    /* 10: port 0 matches only rules without service */
	    {.to = "192.0.2.1:0", .want = "deny policy-default default"},
	    {.to = "198.51.100.1:0", .version = 4, .want = "allow old"},
	    {.to = "198.51.100.1:0", .want = "deny policy-default default"},
	    {.to = "198.51.100.2:0", .command = RULES_BIND, .want = "allow in"},
	    {.to = "198.51.100.2:0", .want = "deny policy-default default"},
	    /* both days included */
	    {.to = "198.51.100.3:1",
	     .at = "2026-11-14 23:59:59",
	     .want = "deny policy-default default"},
	    {.to = "198.51.100.3:1", .at = "2026-11-15 00:00:00", .want = "allow dated"},
	    {.to = "198.51.100.3:1", .at = "2026-11-24 23:59:59", .want = "allow dated"},
	    {.to = "198.51.100.3:1",
	     .at = "2026-11-25 00:00:00",
	     .want = "deny policy-default default"},
	    /* a deny rule is for all commands */
	    {.to = "198.51.100.4:1", .want = "deny all"},
	    {.to = "198.51.100.4:1", .command = RULES_BIND, .want = "deny all"},
	    {.to = "198.51.100.4:1", .command = RULES_UDP, .want = "deny all"},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

/* ---- 5: identity --------------------------------------------------------------------------- */

static void
test_identity(void)
{
	static const char text[] =
	    "groups: { staff = [ \"unix:staff\", \"eve\" ]; fired = [ \"unix:fired\" ] }\n"
	    "rules: {\n"
	    "  no-mallory: { action = \"deny\"; who = \"mallory\" }\n"
	    "  no-fired: { action = \"deny\"; who = \"@fired\"; to = \"192.0.2.9\" }\n"
	    "  proven: { action = \"allow\"; who = [ \"ann\", \"@staff\" ]; to = \"192.0.2.1\" }\n"
	    "  strong: { action = \"allow\"; who = \"ann\"; auth = \"gssapi\"; to = \"192.0.2.2\" "
	    "}\n"
	    "  claimed: { action = \"allow\"; who = \"bob\"; auth = [ \"ident\", \"userid\" ]; to "
	    "= \"192.0.2.3\" }\n"
	    "  any-name: { action = \"allow\"; who = \"known\"; to = \"192.0.2.4\" }\n"
	    "  open: { action = \"allow\"; who = \"anyone\"; from = \"10.0.0.0/8\"; to = [ "
	    "\"192.0.2.5\", \"192.0.2.9\" ] }\n"
	    "}\n";
	static const struct row rows[] = {
	    {.to = "192.0.2.1:1", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:1", .user = "pam ann", .want = "allow proven"},
	    {.to = "192.0.2.1:1", .user = "chap ann", .want = "allow proven"},
	    {.to = "192.0.2.1:1", .user = "file eve", .want = "allow proven"},
	    {.to = "192.0.2.1:1", .user = "pam Ann", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:1", .user = "pam staff", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:1", .user = "pam bob", .groups = "staff", .want = "allow proven"},
	    {.to = "192.0.2.1:1",
	     .user = "pam bob",
	     .groups = "ann",
	     .want = "deny policy-default default"},
	    {.to = "192.0.2.1:1", .user = "pam bob", .groups = "-", .want = "need groups"},
	    {.to = "192.0.2.1:1", .user = "pam ann", .groups = "-", .want = "allow proven"},
	    {.to = "192.0.2.1:1", .groups = "-", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:1", .user = "ident ann", .want = "deny policy-default default"},
	    {.to = "192.0.2.1:1",
	     .user = "userid ann",
	     .version = 4,
	     .want = "deny policy-default default"},
	    {.to = "192.0.2.2:1", .user = "pam ann", .want = "deny policy-default default"},
	    {.to = "192.0.2.2:1", .user = "gssapi ann", .want = "allow strong"},
	    {.to = "192.0.2.3:1", .user = "pam bob", .want = "deny policy-default default"},
	    {.to = "192.0.2.3:1", .user = "ident bob", .want = "allow claimed"},
	    {.to = "192.0.2.3:1", .user = "userid bob", .version = 4, .want = "allow claimed"},
	    {.to = "192.0.2.4:1", .want = "deny policy-default default"},
	    {.to = "192.0.2.4:1", .user = "pam zed", .want = "allow any-name"},
	    {.to = "192.0.2.4:1", .user = "ident zed", .want = "deny policy-default default"},
	    {.to = "192.0.2.5:1", .want = "allow open"},
	    {.to = "192.0.2.5:1", .user = "pam mallory", .want = "deny no-mallory"},
	    {.to = "192.0.2.5:1", .user = "ident mallory", .want = "allow open"},
	    {.to = "192.0.2.5:1", .user = "-", .want = "need proven"},
	    {.to = "192.0.2.3:1", .user = "-", .want = "need proven asserted"},
	    /* 4: a group that cannot be looked up lets no allow match, and every deny */
	    {.to = "192.0.2.1:1",
	     .user = "pam bob",
	     .groups = "!",
	     .want = "deny policy-default undetermined"},
	    {.to = "192.0.2.1:1", .user = "pam ann", .groups = "!", .want = "allow proven"},
	    {.to = "192.0.2.9:1",
	     .user = "pam bob",
	     .groups = "!",
	     .want = "deny no-fired undetermined"},
	    {.to = "192.0.2.9:1", .user = "pam bob", .groups = "fired", .want = "deny no-fired"},
	    {.to = "192.0.2.9:1", .groups = "!", .want = "allow open"},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

/* ---- 6: names -------------------------------------------------------------------------------- */

static void
test_names(void)
{
	static const char text[] =
	    "networks: { servers = [ \"10.9.0.0/16\" ] }\n"
	    "hosts: { single = [ \"regex:^intranet$\" ]; bad = [ \"*.bad.example\" ]; slow = [ "
	    "\"regex:(a+)+[bd]\" ] }\n"
	    "rules: {\n"
	    "  no-local: { action = \"deny\"; to = \"loopback\" }\n"
	    "  no-bad: { action = \"deny\"; to = \"bad\" }\n"
	    "  exact: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"erp.corp.example\"; "
	    "resolves-in = \"servers\"; service = \"tcp/443\" }\n"
	    "  below: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"*.saas.example\"; except "
	    "= [ \"evil.saas.example\", \"203.0.114.66\" ] }\n"
	    "  both: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \".apex.example\" }\n"
	    "  one: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"single\"; resolves-in = "
	    "\"any\" }\n"
	    "  slowly: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"slow\" }\n"
	    "  part: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"8.8.8.0/24\"; service = "
	    "\"tcp/53\" }\n"
	    "}\n";
	static const struct row rows[] = {
	    /* before DNS */
	    {.to = "erp.corp.example:443", .want = "need address"},
	    {.to = "erp.corp.example:80", .want = "deny policy-default default"},
	    {.to = "erp.corp.example:443",
	     .from = "11.0.0.1",
	     .want = "deny policy-default default"},
	    {.to = "x.bad.example:443", .want = "deny no-bad"},
	    {.to = "bad.example:443", .want = "deny policy-default default"},
	    {.to = "unknown.example:53", .want = "need address"},
	    {.to = "unknown.example:54", .want = "deny policy-default default"},
	    {.to = "evil.saas.example:1", .want = "deny policy-default default"},
	    /* with an answer */
	    {.to = "erp.corp.example:443", .address = "10.9.8.7", .want = "allow exact"},
	    {.to = "erp.corp.example:443",
	     .address = "8.8.8.8",
	     .want = "deny policy-default resolves-in"},
	    {.to = "erp.corp.example:443", .address = "127.0.0.1", .want = "deny no-local"},
	    {.to = "erp.corp.example:80",
	     .address = "8.8.8.8",
	     .want = "deny policy-default default"},
	    {.to = "a.erp.corp.example:443",
	     .address = "10.9.8.7",
	     .want = "deny policy-default default"},
	    {.to = "a.saas.example:1", .address = "8.8.4.4", .want = "allow below"},
	    {.to = "b.a.saas.example:1", .address = "8.8.4.4", .want = "allow below"},
	    {.to = "saas.example:1", .address = "8.8.4.4", .want = "deny policy-default default"},
	    {.to = "xsaas.example:1", .address = "8.8.4.4", .want = "deny policy-default default"},
	    {.to = "evil.saas.example:1",
	     .address = "8.8.4.4",
	     .want = "deny policy-default default"},
	    {.to = "a.saas.example:1",
	     .address = "203.0.114.66",
	     .want = "deny policy-default default"},
	    {.to = "a.saas.example:1",
	     .address = "10.1.1.1",
	     .want = "deny policy-default resolves-in"},
	    {.to = "apex.example:1", .address = "8.8.4.4", .want = "allow both"},
	    {.to = "www.apex.example:1", .address = "8.8.4.4", .want = "allow both"},
	    {.to = "intranet:1", .address = "10.1.1.1", .want = "allow one"},
	    {.to = "intranet2:1", .address = "10.1.1.1", .want = "deny policy-default default"},
	    /* an address literal never matches a host pattern, and a name may match by its address
	     */
	    {.to = "8.8.8.8:53", .want = "allow part"},
	    {.to = "unknown.example:53", .address = "8.8.8.8", .want = "allow part"},
	    /* 4: a pattern whose limit is hit */
	    {.to = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac:1",
	     .address = "8.8.4.4",
	     .want = "deny policy-default undetermined"},
	    {.to = "aaaab:1", .address = "8.8.4.4", .want = "allow slowly"},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

/* The policy's own resolves-in stands instead of `public`, not beside it. */
static void
test_names_lead_elsewhere(void)
{
	static const char text[] =
	    "policy: { name = \"inward\"; resolves-in = \"10.9.0.0/16\" }\n"
	    "rules: {\n"
	    "  erp: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"erp.example\" }\n"
	    "  web: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"www.example\"; "
	    "resolves-in = \"public\" }\n"
	    "}\n";
	static const struct row rows[] = {
	    {.to = "erp.example:1", .address = "10.9.1.1", .want = "allow erp"},
	    {.to = "erp.example:1",
	     .address = "8.8.4.4",
	     .want = "deny policy-default resolves-in"},
	    {.to = "www.example:1", .address = "8.8.4.4", .want = "allow web"},
	    {.to = "www.example:1",
	     .address = "10.9.1.1",
	     .want = "deny policy-default resolves-in"},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

static void
test_undecided_deny(void)
{
	static const char text[] =
	    "hosts: { slow = [ \"regex:(a+)+[bd]\" ] }\n"
	    "rules: {\n"
	    "  but: { action = \"deny\"; to = \"8.8.8.8\"; except = \"slow\" }\n"
	    "  no: { action = \"deny\"; to = \"slow\" }\n"
	    "  yes: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"any\"; except = \"slow\" "
	    "}\n"
	    "}\n";
	static const struct row rows[] = {
	    {.to = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac:1", .want = "deny no undetermined"},
	    {.to = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac:1",
	     .address = "8.8.8.8",
	     .want = "deny but undetermined"},
	    {.to = "ab:1", .address = "8.8.8.8", .want = "deny no"},
	    {.to = "b:1", .address = "8.8.4.4", .want = "allow yes"},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

/* ---- 7: addresses within addresses
 * --------------------------------------------------------------- */

static void
test_embedded(void)
{
	static const char text[] =
	    "rules: {\n"
	    "  no-ten: { action = \"deny\"; to = \"10.0.0.0/8\" }\n"
	    "  no-nat: { action = \"deny\"; to = \"64:ff9b::8.8.4.4\" }\n"
	    "  rest: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"any\" }\n"
	    "}\n";
	static const struct row rows[] = {
	    {.to = "[64:ff9b::808:808]:80", .want = "allow rest"},
	    {.to = "[64:ff9b::a01:203]:80", .want = "deny no-ten"},
	    {.to = "[64:ff9b::808:404]:80", .want = "deny no-nat"},
	    {.to = "[64:ff9b::7f00:1]:80", .want = "deny policy-default default"},
	    {.to = "[2002:a01:203::1]:80", .want = "deny no-ten"},
	    {.to = "[2002:808:808::1]:80", .want = "allow rest"},
	    /* Teredo carries the client's address inverted: 10.1.2.3 */
	    {.to = "[2001:0:1::f5fe:fdfc]:80", .want = "deny no-ten"},
	    {.to = "[2001:0:1::f7f7:f7f7]:80", .want = "allow rest"},
	    {.to = "[::ffff:10.1.2.3]:80", .want = "deny no-ten"},
	    {.to = "nat.example:80", .address = "64:ff9b::a01:203", .want = "deny no-ten"},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

/* ---- 8: self
 * ----------------------------------------------------------------------------------------- */

static void
test_self(void)
{
	static const char text[] =
	    "rules: { all: { action = \"allow\"; from = \"10.0.0.0/8\"; command = [ \"connect\", "
	    "\"bind\", \"udp-associate\" ]\n"
	    "  to = [ \"0.0.0.0/0\", \"::/0\", \"any\", \"unspecified\", \"loopback\" ] } }\n";
	static const struct row rows[] = {
	    {.to = "192.0.2.1:1080", .want = "deny builtin:self self"},
	    {.to = "192.0.2.1:1080", .command = RULES_UDP, .want = "deny builtin:self self"},
	    {.to = "192.0.2.1:1081", .want = "allow all"},
	    {.to = "192.0.2.2:1080", .want = "allow all"},
	    {.to = "127.0.0.1:9108", .want = "deny builtin:self self"},
	    {.to = "0.0.0.0:9108", .want = "deny builtin:self self"},
	    {.to = "127.0.0.2:9108", .want = "allow all"},
	    {.to = "192.0.2.77:3128", .want = "deny builtin:self self"},
	    {.to = "[2001:db8::77]:3128", .want = "deny builtin:self self"},
	    {.to = "127.9.9.9:3128", .want = "deny builtin:self self"},
	    {.to = "[::1]:3128", .want = "deny builtin:self self"},
	    {.to = "[::]:3128", .want = "deny builtin:self self"},
	    {.to = "192.0.2.78:3128", .want = "allow all"},
	    {.to = "[64:ff9b::c000:201]:1080", .want = "deny builtin:self self"},
	    {.to = "me.example:1080", .want = "need address"},
	    {.to = "me.example:1080", .address = "192.0.2.1", .want = "deny builtin:self self"},
	    {.want = NULL}};
	struct endpoint endpoints[3] = {
	    {addr_from_v4(0xc0000201), 1080}, {addr_loopback4, 9108}, {addr_any4, 3128}};
	struct addr locals[2] = {addr_from_v4(0xc000024d), addr_any6};
	struct rules_self self = {endpoints, 3, locals, 2};

	CU_ASSERT_TRUE_FATAL(addr_parse("2001:db8::77", 12, &locals[1]));
	check_rows(text, rows, &self);
}

/* ---- 9: bind and udp-associate
 * -------------------------------------------------------------------------- */

static void
test_bind(void)
{
	static const char text[] = "rules: {\n"
				   "  one: { action = \"allow\"; from = \"10.0.0.0/8\"; to = "
				   "\"192.0.2.1\"; command = \"bind\"; service = \"tcp/20\" }\n"
				   "  wild: { action = \"allow\"; from = \"10.1.0.0/16\"; to = "
				   "\"any\"; command = \"bind\" }\n"
				   "  un: { action = \"allow\"; from = \"10.2.0.0/16\"; to = "
				   "\"unspecified\"; command = \"bind\" }\n"
				   "  pub: { action = \"allow\"; from = \"10.3.0.0/16\"; to = "
				   "\"public\"; command = \"bind\" }\n"
				   "  no: { action = \"deny\"; from = \"10.4.0.0/16\" }\n"
				   "  dns: { action = \"allow\"; from = \"10.0.0.0/8\"; to = "
				   "\"any\"; service = \"udp/53\" }\n"
				   "}\n";
	static const struct row rows[] = {
	    {.to = "192.0.2.1:20", .command = RULES_BIND, .want = "allow one"},
	    {.to = "192.0.2.1:21", .command = RULES_BIND, .want = "deny policy-default default"},
	    {.to = "0.0.0.0:20", .command = RULES_BIND, .want = "deny policy-default default"},
	    {.to = "0.0.0.0:20", .from = "10.1.1.1", .command = RULES_BIND, .want = "allow wild"},
	    {.to = "[::]:20", .from = "10.1.1.1", .command = RULES_BIND, .want = "allow wild"},
	    {.to = "0.0.0.1:20",
	     .from = "10.1.1.1",
	     .command = RULES_BIND,
	     .want = "deny policy-default default"},
	    {.to = "0.0.0.0:20", .from = "10.1.1.1", .want = "deny policy-default default"},
	    {.to = "0.0.0.0:20", .from = "10.2.1.1", .command = RULES_BIND, .want = "allow un"},
	    {.to = "0.0.0.0:20",
	     .from = "10.3.1.1",
	     .command = RULES_BIND,
	     .want = "deny policy-default default"},
	    {.to = "8.8.8.8:20", .from = "10.3.1.1", .command = RULES_BIND, .want = "allow pub"},
	    {.to = "0.0.0.0:20", .from = "10.4.1.1", .command = RULES_BIND, .want = "deny no"},
	    /* a name that leads nowhere is no wildcard */
	    {.to = "x.example:20",
	     .address = "0.0.0.0",
	     .from = "10.1.1.1",
	     .command = RULES_BIND,
	     .want = "deny policy-default default"},
	    /* an association is granted while some datagram may be allowed */
	    {.to = NULL, .command = RULES_UDP, .want = "need address port"},
	    {.to = NULL, .command = RULES_UDP, .from = "10.4.1.1", .want = "deny no"},
	    {.to = NULL,
	     .command = RULES_UDP,
	     .from = "11.1.1.1",
	     .want = "deny policy-default default"},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

/* ---- 12: times
 * -----------------------------------------------------------------------------------------------
 */

static void
test_times(void)
{
	static const char text[] =
	    "times: { office = [ \"Mon-Fri 07:00-19:00 Europe/Berlin\" ]\n"
	    "  night = [ \"Fri 22:00-06:00 UTC\" ]; twice = [ \"Sun 02:00-03:00 Europe/Berlin\" ]; "
	    "late = [ \"Sat 20:00-24:00 UTC\" ] }\n"
	    "rules: {\n"
	    "  day: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"192.0.2.1\"; when = "
	    "\"office\" }\n"
	    "  night: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"192.0.2.2\"; when = "
	    "\"night\" }\n"
	    "  hour: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"192.0.2.3\"; when = "
	    "\"twice\" }\n"
	    "  late: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"192.0.2.4\"; when = "
	    "\"late\" }\n"
	    "}\n";
	static const char no[] = "deny policy-default default";
	const struct row rows[] = {
	    {.to = "192.0.2.1:1", .at = "2026-11-24 05:59:59", .want = no},
	    {.to = "192.0.2.1:1", .at = "2026-11-24 06:00:00", .want = "allow day"},
	    {.to = "192.0.2.1:1", .at = "2026-11-24 17:59:59", .want = "allow day"},
	    {.to = "192.0.2.1:1", .at = "2026-11-24 18:00:00", .want = no},
	    /* in summer the wall clock is two hours ahead */
	    {.to = "192.0.2.1:1", .at = "2026-07-01 05:00:00", .want = "allow day"},
	    {.to = "192.0.2.1:1", .at = "2026-07-01 04:59:59", .want = no},
	    {.to = "192.0.2.1:1", .at = "2026-07-01 17:00:00", .want = no},
	    {.to = "192.0.2.1:1", .at = "2026-11-28 10:00:00", .want = no},
	    /* behind the last listed change the closing rule holds: 2045-07-03 is a Monday */
	    {.to = "192.0.2.1:1", .at = "2045-07-03 05:00:00", .want = "allow day"},
	    {.to = "192.0.2.1:1", .at = "2045-07-03 04:59:59", .want = no},
	    {.to = "192.0.2.1:1", .at = "2045-01-02 05:59:59", .want = no},
	    {.to = "192.0.2.1:1", .at = "2045-01-02 06:00:00", .want = "allow day"},
	    /* over midnight, of the day it starts on: Friday 2026-11-27 */
	    {.to = "192.0.2.2:1", .at = "2026-11-27 21:59:59", .want = no},
	    {.to = "192.0.2.2:1", .at = "2026-11-27 22:00:00", .want = "allow night"},
	    {.to = "192.0.2.2:1", .at = "2026-11-28 05:59:59", .want = "allow night"},
	    {.to = "192.0.2.2:1", .at = "2026-11-28 06:00:00", .want = no},
	    {.to = "192.0.2.2:1", .at = "2026-11-27 05:00:00", .want = no},
	    /* 2026-10-25: 02:00-03:00 comes twice in Berlin, 00:00-02:00 UTC */
	    {.to = "192.0.2.3:1", .at = "2026-10-24 23:59:59", .want = no},
	    {.to = "192.0.2.3:1", .at = "2026-10-25 00:00:00", .want = "allow hour"},
	    {.to = "192.0.2.3:1", .at = "2026-10-25 01:59:59", .want = "allow hour"},
	    {.to = "192.0.2.3:1", .at = "2026-10-25 02:00:00", .want = no},
	    /* 2026-03-29: it does not come at all */
	    {.to = "192.0.2.3:1", .at = "2026-03-29 00:59:59", .want = no},
	    {.to = "192.0.2.3:1", .at = "2026-03-29 01:00:00", .want = no},
	    {.to = "192.0.2.4:1", .at = "2026-11-28 23:59:59", .want = "allow late"},
	    {.to = "192.0.2.4:1", .at = "2026-11-29 00:00:00", .want = no},
	    {.want = NULL}};

	check_rows(text, rows, NULL);
}

/* ---- the stages
 * ----------------------------------------------------------------------------------------------------
 */

static struct rules_answer
at_accept(struct policy *p, uint32_t client, int listener)
{
	struct rules_facts f = {
	    .known = FACT_CLIENT, .client = addr_from_v4(client), .listener = listener};
	struct rules_answer a, plain;

	rules_evaluate(p, &f, &a);
	rules_evaluate_linear(p, &f, &plain);
	CU_ASSERT_EQUAL(a.verdict, plain.verdict);
	CU_ASSERT_EQUAL(a.methods, plain.methods);
	CU_ASSERT_EQUAL(a.needs, plain.needs);
	return a;
}

static void
test_accept(void)
{
	static const char text[] = "rules: {\n"
				   "  dead: { action = \"allow\"; from = \"10.0.0.0/8\"; to = "
				   "\"any\"; service = \"udp/53\"; command = \"connect\" }\n"
				   "  pam: { action = \"allow\"; who = \"ann\"; auth = \"pam\"; "
				   "from = \"10.20.0.0/16\"; to = \"any\" }\n"
				   "  ident: { action = \"allow\"; who = \"bob\"; auth = "
				   "\"ident\"; from = \"10.50.0.0/16\"; to = \"any\" }\n"
				   "  wall: { action = \"deny\"; from = \"10.60.0.0/16\" }\n"
				   "  free: { action = \"allow\"; from = [ \"10.60.0.0/16\", "
				   "\"10.70.0.0/16\" ]; to = \"public\" }\n"
				   "  door: { action = \"allow\"; who = \"known\"; from = "
				   "\"10.80.0.0/16\"; to = \"any\"; listener = \"side\" }\n"
				   "}\n";
	struct loaded l;
	struct rules_answer a;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	a = at_accept(l.policy, 0x0a140101, -1);
	CU_ASSERT_EQUAL(a.verdict, RULES_NEED);
	CU_ASSERT_EQUAL(a.methods, AUTH_PAM);
	a = at_accept(l.policy, 0x0a320101, -1);
	CU_ASSERT_EQUAL(a.verdict, RULES_NEED);
	CU_ASSERT_EQUAL(a.methods, AUTH_IDENT);
	a = at_accept(l.policy, 0x0a3c0101, -1);
	CU_ASSERT_EQUAL(a.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(a.rule, 3);
	a = at_accept(l.policy, 0x0a460101, -1);
	CU_ASSERT_EQUAL(a.verdict, RULES_NEED);
	CU_ASSERT_EQUAL(a.methods, AUTH_NONE);
	/* no rule could ever allow it, not even the one whose service no command goes with */
	a = at_accept(l.policy, 0x0b000001, -1);
	CU_ASSERT_EQUAL(a.verdict, RULES_DENY);
	CU_ASSERT_EQUAL(a.rule, RULE_DEFAULT);
	CU_ASSERT_EQUAL(a.methods, 0);
	a = at_accept(l.policy, 0x0a500101, -1);
	CU_ASSERT_EQUAL(a.verdict, RULES_DENY);
	a = at_accept(l.policy, 0x0a500101, policy_listener(l.policy, "side"));
	CU_ASSERT_EQUAL(a.verdict, RULES_NEED);
	CU_ASSERT_EQUAL(a.methods, AUTH_PAM | AUTH_FILE | AUTH_GSSAPI | AUTH_CHAP);
	policy_unload(&l);
}

static void
test_dry_run(void)
{
	static const char text[] =
	    "rules: {\n"
	    "  tried: { action = \"deny\"; to = \"8.8.8.8\"; mode = \"dry-run\" }\n"
	    "  tried-too: { action = \"deny\"; to = \"8.8.8.0/24\"; mode = \"dry-run\" }\n"
	    "  loud: { action = \"deny\"; to = \"9.9.9.9\"; alert = true }\n"
	    "  real: { action = \"allow\"; from = \"10.0.0.0/8\"; to = \"any\" }\n"
	    "  never: { action = \"deny\"; to = \"8.8.4.4\"; mode = \"dry-run\" }\n"
	    "}\n";
	static const struct {
		const char *to;
		enum rules_verdict verdict;
		int32_t rule;
		uint32_t dry_run;
		bool alert;
	} rows[] = {{"8.8.8.8:1", RULES_PERMIT, 3, 1, false},
		    {"8.8.8.9:1", RULES_PERMIT, 3, 2, false},
		    {"8.8.4.4:1", RULES_PERMIT, 3, 0, false},
		    {"9.9.9.9:1", RULES_DENY, 2, 0, true}};
	struct loaded l;

	policy_load_text(&l, text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct row r = {.to = rows[i].to};
		char name[NAME_MAX_LEN + 1];
		struct rules_facts f;
		struct rules_answer a;
		const char *group;

		set_facts(&r, &f, name, &group);
		rules_evaluate(l.policy, &f, &a);
		CHECK_ROW(a.verdict == rows[i].verdict && a.rule == rows[i].rule, rows[i].to);
		CHECK_ROW(a.dry_run == rows[i].dry_run && a.alert == rows[i].alert, rows[i].to);
	}
	policy_unload(&l);
}

/* Many rules, and still only those are tested that can match. */
static void
test_many(void)
{
	struct buffer b = {0};
	struct loaded l;

	buffer_puts(&b, "rules: (\n");
	for (unsigned i = 0; i < 2000; i++)
		buffer_putf(
		    &b,
		    "{ name = \"r%u\"; action = \"allow\"; who = \"user%u\"; to = \"h%u.example\"; "
		    "service = \"tcp/443\" },\n",
		    i, i, i);
	buffer_puts(&b, "{ name = \"end\"; action = \"deny\" } )\n");
	policy_load_text(&l, b.p);
	buffer_free(&b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	CU_ASSERT(policy_worst_case(l.policy) <= 3);
	for (unsigned i = 0; i < 2000; i += 111) {
		char to[40], user[40], want[40], name[NAME_MAX_LEN + 1];
		struct row r = {.to = to, .address = "8.8.8.8", .user = user, .want = want};
		struct rules_answer a;
		struct rules_facts f;
		const char *group;

		snprintf(to, sizeof(to), "h%u.example:443", i);
		snprintf(user, sizeof(user), "pam user%u", i);
		snprintf(want, sizeof(want), "allow r%u", i);
		check_row(l.policy, &r, NULL);
		set_facts(&r, &f, name, &group);
		rules_evaluate(l.policy, &f, &a);
		CU_ASSERT(a.tested <= 2);
		f.known &= ~(uint32_t)FACT_ADDRESS;
		rules_evaluate(l.policy, &f, &a);
		CU_ASSERT(a.tested <= 2 && a.verdict == RULES_NEED);
		f.known = FACT_CLIENT;
		rules_evaluate(l.policy, &f, &a);
		CU_ASSERT(a.tested <= 2 && a.verdict == RULES_NEED);
	}
	policy_unload(&l);
}

/* Nor do rules that only a port or a listener tells apart crowd each other. */
static void
test_many_ports_and_listeners(void)
{
	struct rules_facts f = {.known = FACT_ALL, .version = 5, .command = RULES_CONNECT};
	struct rules_answer a, plain;
	struct buffer b = {0};
	struct loaded l;

	buffer_puts(&b, "rules: (\n");
	for (unsigned i = 0; i < 1000; i++)
		buffer_putf(&b,
			    "{ name = \"p%u\"; action = \"deny\"; service = [ \"tcp/%u-%u\", "
			    "\"udp/%u\" ] },\n"
			    "{ name = \"l%u\"; action = \"deny\"; listener = \"in%u\" },\n",
			    i, 10 * i + 1, 10 * i + 15, 10 * i + 7, i, i);
	buffer_puts(&b,
		    "{ name = \"end\"; action = \"allow\"; to = \"any\"; open-proxy = true } )\n");
	policy_load_text(&l, b.p);
	buffer_free(&b);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.policy);
	CU_ASSERT(policy_worst_case(l.policy) <= 4); /* two ports, a listener, the end */
	f.client = f.address = addr_from_v4(0x08080808);
	for (unsigned i = 0; i < 11000; i += 3) {
		f.port = (uint16_t)i;
		f.command = i % 2 ? RULES_UDP : RULES_CONNECT;
		f.listener = i % 5 ? (int)(i % 1000) : -1;
		rules_evaluate(l.policy, &f, &a);
		rules_evaluate_linear(l.policy, &f, &plain);
		CU_ASSERT(a.tested <= 4 && a.rule == plain.rule && a.verdict == plain.verdict);
		f.known &= ~(uint32_t)FACT_ADDRESS; /* before a lookup, too */
		rules_evaluate(l.policy, &f, &a);
		CU_ASSERT(a.tested <= 4);
		f.known = FACT_ALL;
	}
	policy_unload(&l);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"keys and values", test_keys},
			       {"identity", test_identity},
			       {"names", test_names},
			       {"where names lead by the policy's word", test_names_lead_elsewhere},
			       {"undecidable denials", test_undecided_deny},
			       {"addresses within addresses", test_embedded},
			       {"self", test_self},
			       {"bind and udp-associate", test_bind},
			       {"times", test_times},
			       {"at accept", test_accept},
			       {"dry-run and alert", test_dry_run},
			       {"many rules", test_many},
			       {"many ports and listeners", test_many_ports_and_listeners},
			       CU_TEST_INFO_NULL};

	return suite_run("rules: evaluate", tests);
}
