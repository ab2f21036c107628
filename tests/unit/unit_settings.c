/*
 * tests/unit/unit_settings.c - the struct that settings become: defaults, every setting,
 * the examples; what is bad stands in tests/settings/bad (unit_render).
 */
#include <limits.h>

#include "suite.h"
#include "unit_settings_files.h"

static struct loaded l;

static void
load(const char *name)
{
	char path[2048];

	snprintf(path, sizeof(path), "%s/%s", files_dir(), name);
	loaded_file(&l, path);
	CU_ASSERT_PTR_NOT_NULL_FATAL(l.tree);
	loaded_settings(&l);
}

static void
load_text(const char *text)
{
	loaded_text(&l, text, strlen(text));
	settings_read(tree_root(l.tree), "/etc", &l.settings, &l.problems);
}

static bool
is_addr(const struct addr *a, const char *text)
{
	char buf[ADDR_TEXT];

	addr_format(a, buf);
	return strcmp(buf, text) == 0;
}

static bool
is_endpoint(const struct endpoint *e, const char *text)
{
	char buf[ENDPOINT_TEXT];

	endpoint_format(e, buf);
	return strcmp(buf, text) == 0;
}

/* Every default against the text that the table shows for it. */
static void
test_defaults(void)
{
	static struct settings s;

	memset(&s, 0xff, sizeof(s));
	settings_defaults(&s);
	CU_ASSERT_TRUE(settings_valid(&s, sizeof(s)));
	CU_ASSERT_EQUAL(s.listener_count, 0);
	CU_ASSERT_EQUAL(s.workers, 0);
	CU_ASSERT_STRING_EQUAL(s.user, "");
	CU_ASSERT_EQUAL(s.timeouts.handshake, 30000);
	CU_ASSERT_EQUAL(s.timeouts.connect, 120000);
	CU_ASSERT_EQUAL(s.timeouts.bind, 120000);
	CU_ASSERT_EQUAL(s.timeouts.idle, 3600000);
	CU_ASSERT_EQUAL(s.timeouts.udp_idle, 300000);
	CU_ASSERT_EQUAL(s.timeouts.drain, 30000);
	CU_ASSERT_EQUAL(s.timeouts.handover, 3600000);
	CU_ASSERT_EQUAL(s.limits.sessions, 100000);
	CU_ASSERT_EQUAL(s.limits.sessions_per_source, 10000);
	CU_ASSERT_EQUAL(s.limits.handshakes, 20000);
	CU_ASSERT_EQUAL(s.limits.binds_per_source, 16);
	CU_ASSERT_EQUAL(s.limits.associations_per_source, 64);
	CU_ASSERT_EQUAL(s.limits.source_prefix4, 32);
	CU_ASSERT_EQUAL(s.limits.source_prefix6, 64);
	CU_ASSERT_EQUAL(s.dns.count, 0);
	CU_ASSERT_EQUAL(s.dns.timeout_ms, 2000);
	CU_ASSERT_EQUAL(s.dns.tries, 3);
	CU_ASSERT_EQUAL(s.dns.cache_entries, 10000);
	CU_ASSERT_EQUAL(s.dns.cache_max_ttl, 3600);
	CU_ASSERT(s.bind.ports.first == 0 && s.bind.ports.last == 0 && !s.bind.has_address);
	CU_ASSERT_EQUAL(s.bind.on_mismatch, MISMATCH_REFUSE);
	CU_ASSERT_STRING_EQUAL(s.auth.pam_service, "");
	CU_ASSERT_STRING_EQUAL(s.auth.gssapi_keytab, "");
	CU_ASSERT_EQUAL(s.auth.gssapi_protection, 0);
	CU_ASSERT_EQUAL(s.auth.helpers, 8);
	CU_ASSERT_EQUAL(s.auth.timeout_ms, 10000);
	CU_ASSERT_EQUAL(s.auth.ident_timeout_ms, 5000);
	CU_ASSERT_EQUAL(s.auth.lockout.failures, 10);
	CU_ASSERT_EQUAL(s.auth.lockout.within_ms, 600000);
	CU_ASSERT_EQUAL(s.auth.lockout.for_ms, 900000);
	CU_ASSERT_STRING_EQUAL(s.audit.file, "/var/log/sallyport/audit.ndjson");
	CU_ASSERT_EQUAL(s.audit.format, FORMAT_ECS);
	CU_ASSERT_EQUAL(s.audit.on_full, ON_FULL_REFUSE);
	CU_ASSERT_EQUAL(s.audit.rotate_size, 0);
	CU_ASSERT_STRING_EQUAL(s.control.socket, "");
	CU_ASSERT_FALSE(s.metrics.enabled);
}

static void
test_perimeter(void)
{
	const struct settings *s = &l.settings;
	char dir[PATH_MAX], path[PATH_MAX + 8];

	load("etc/examples/perimeter/sallyport.conf");
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	CU_ASSERT_EQUAL_FATAL(s->listener_count, 2);
	CU_ASSERT_STRING_EQUAL(s->listeners[0].name, "inside");
	CU_ASSERT(is_endpoint(&s->listeners[0].at, "10.20.0.1:1080"));
	CU_ASSERT_FALSE(s->listeners[0].optional);
	CU_ASSERT(is_endpoint(&s->listeners[1].at, "[2001:db8:20::1]:1080"));
	CU_ASSERT_TRUE(s->listeners[1].optional);
	CU_ASSERT_STRING_EQUAL(s->user, "sallyport");
	CU_ASSERT_EQUAL(s->egress.count, 2);
	CU_ASSERT(is_addr(&s->egress.addresses[0], "192.0.2.17"));
	CU_ASSERT(is_addr(&s->egress.addresses[1], "2001:db8:f::17"));
	CU_ASSERT_STRING_EQUAL(s->auth.pam_service, "sallyport");
	snprintf(path, sizeof(path), "%s/etc/examples/perimeter", files_dir());
	CU_ASSERT_PTR_NOT_NULL_FATAL(realpath(path, dir));
	snprintf(path, sizeof(path), "%s/users", dir);
	CU_ASSERT_STRING_EQUAL(s->auth.file_path, path); /* beside the settings, absolute */
	CU_ASSERT_STRING_EQUAL(s->auth.gssapi_keytab, "/etc/sallyport/krb5.keytab");
	CU_ASSERT_STRING_EQUAL(s->auth.gssapi_service, "rcmd");
	CU_ASSERT_EQUAL(s->auth.gssapi_protection,
			PROTECTION_INTEGRITY | PROTECTION_CONFIDENTIALITY);
	CU_ASSERT_EQUAL(s->auth.ident_trusted_count, 1);
	CU_ASSERT_EQUAL(s->limits.sessions_per_source, 2000);
	CU_ASSERT(s->bind.ports.first == 30000 && s->bind.ports.last == 39999);
	CU_ASSERT_EQUAL(s->bind.on_mismatch, MISMATCH_WAIT);
	CU_ASSERT(s->udp.ports.first == 40000 && s->udp.ports.last == 49999);
	CU_ASSERT_EQUAL(s->audit.rotate_size, UINT64_C(1) << 30);
	CU_ASSERT_STRING_EQUAL(s->control.socket, "/run/sallyport/control");
	CU_ASSERT(s->control.viewer_count == 1 && strcmp(s->control.viewers[0], "unix:adm") == 0);
	CU_ASSERT(s->control.operator_count == 1 && strcmp(s->control.operators[0], "root") == 0);
	CU_ASSERT_TRUE(s->metrics.enabled);
	CU_ASSERT(is_endpoint(&s->metrics.at, "127.0.0.1:9108"));
	loaded_free(&l);
}

static void
test_quickstart(void)
{
	load("etc/quickstart.conf");
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	CU_ASSERT_EQUAL(l.settings.listener_count, 2);
	CU_ASSERT_STRING_EQUAL(l.settings.audit.file, "stdout");
	CU_ASSERT_EQUAL(l.settings.audit.format, FORMAT_SHORT);
	CU_ASSERT_STRING_EQUAL(l.settings.control.socket, "");
	loaded_free(&l);
}

static void
test_all(void)
{
	const struct settings *s = &l.settings;

	load("tests/settings/good/set-all.conf");
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	CU_ASSERT(is_endpoint(&s->listeners[0].at, "127.0.0.1:1080"));
	CU_ASSERT(is_endpoint(&s->listeners[1].at, "[::]:0"));
	CU_ASSERT_EQUAL(s->workers, 4);
	CU_ASSERT_EQUAL(s->timeouts.handshake, 500);
	CU_ASSERT_EQUAL(s->timeouts.connect, 60000);
	CU_ASSERT_EQUAL(s->timeouts.idle, 0);
	CU_ASSERT_EQUAL(s->timeouts.drain, 0);
	CU_ASSERT_EQUAL(s->timeouts.handover, 0);
	CU_ASSERT_EQUAL(s->limits.sessions, 5);
	CU_ASSERT_EQUAL(s->limits.sessions_per_source, 0);
	CU_ASSERT_EQUAL(s->limits.handshakes, 7);
	CU_ASSERT_EQUAL(s->limits.source_prefix4, 24);
	CU_ASSERT_EQUAL(s->limits.source_prefix6, 48);
	CU_ASSERT_EQUAL_FATAL(s->dns.count, 4);
	CU_ASSERT(is_endpoint(&s->dns.servers[0], "127.0.0.1:53"));
	CU_ASSERT(is_endpoint(&s->dns.servers[1], "127.0.0.1:5353"));
	CU_ASSERT(is_endpoint(&s->dns.servers[2], "[::1]:54"));
	CU_ASSERT(is_endpoint(&s->dns.servers[3], "[::1]:53"));
	CU_ASSERT_EQUAL(s->dns.timeout_ms, 3000);
	CU_ASSERT_EQUAL(s->dns.tries, 2);
	CU_ASSERT_EQUAL(s->dns.cache_entries, 0);
	CU_ASSERT_EQUAL(s->dns.cache_max_ttl, 120);
	CU_ASSERT(s->bind.ports.first == 30000 && s->bind.ports.last == 30000);
	CU_ASSERT_TRUE(s->bind.require_primary);
	CU_ASSERT(s->bind.has_address && is_addr(&s->bind.address, "10.0.0.1"));
	CU_ASSERT(s->bind.has_advertise && is_addr(&s->bind.advertise, "192.0.2.9"));
	CU_ASSERT(s->udp.has_advertise && is_addr(&s->udp.advertise, "2001:db8::9"));
	CU_ASSERT_STRING_EQUAL(s->auth.pam_service,
			       "sallyport"); /* an empty section: its defaults */
	CU_ASSERT_STRING_EQUAL(s->auth.gssapi_keytab, "/etc/krb5.keytab");
	CU_ASSERT_EQUAL(s->auth.gssapi_protection, PROTECTION_NONE);
	CU_ASSERT_EQUAL(s->auth.ident_trusted_count, 1);
	CU_ASSERT_EQUAL(s->auth.ident_trusted[0].len, 104);
	CU_ASSERT_EQUAL(s->auth.ident_timeout_ms, 1000);
	CU_ASSERT_EQUAL(s->auth.lockout.failures, 0);
	CU_ASSERT_EQUAL(s->auth.lockout.for_ms, 86400000);
	CU_ASSERT_STRING_EQUAL(s->auth.chap_path, "/etc/chap");
	CU_ASSERT_EQUAL(s->audit.on_full, ON_FULL_HALT);
	CU_ASSERT_EQUAL(s->control.viewer_count, 2);
	CU_ASSERT_STRING_EQUAL(s->control.socket, "/run/sallyport/control");
	CU_ASSERT(is_endpoint(&s->metrics.at, "127.0.0.1:0"));
	loaded_free(&l);
}

#define LISTENER "listeners: { a: { address = \"127.0.0.1\" } }\n"

static const struct {
	const char *text, *codes;
} rows[] = {
    {LISTENER, ""},
    {LISTENER "rules: { } networks: 5 policy = \"x\"", ""}, /* not ours */
    {LISTENER "workers = 64", ""},
    {LISTENER "workers = 65", "E302 2:11"},
    {LISTENER "workers = -1", "E302 2:11"},
    {LISTENER "workers = 5000000000L", "E302 2:11"},
    {LISTENER "workers = 2.0", "E301 2:11"},
    {LISTENER "workers = \"2\"", "E301 2:11"},
    {LISTENER "workers = [ 2 ]", "E301 2:11"},
    {LISTENER "timeouts = 5", "E301 2:12"},
    {LISTENER "timeouts = { idle = \"30 d\" }", ""},
    {LISTENER "timeouts = { idle = \"31 d\" }", "E302 2:21"},
    {LISTENER "timeouts = { idle = \"0 s\" }", "E302 2:21"},
    {LISTENER "timeouts = { idle = 30 }", "E301 2:21"},
    {LISTENER "timeouts = { idle = \"none\"; connect = \"none\" }", "E303 2:39"},
    {LISTENER "audit: { rotate-size = \"1 B\" }", "E302 2:24"},
    {LISTENER "audit: { file = \"\" }", "E312 2:17"},
    {LISTENER "audit: { copies: { a: { to = \"journald\" } } }", ""},
    {LISTENER "audit: { copies: { a: { to = \"udp:[::1]:514\"; facility = \"audit\" } } }", ""},
    {LISTENER "audit: { copies: { a: { to = \"unix:/dev/log\"; framing = \"newline\" } } }", ""},
    {LISTENER "audit: { copies: { a: { to = \"tcp:localhost:514\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"tcp:127.0.0.1\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"tcp:127.0.0.1:0\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"tcp:0.0.0.0:514\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"tls:127.0.0.1:514\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"unix:dev/log\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"unix:/\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"unix\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = \"journal\" } } }", "E315 2:30"},
    {LISTENER "audit: { copies: { a: { to = 5 } } }", "E301 2:30"},
    {LISTENER "audit: { copies: { a: { } } }", "E309 2:20"},
    {LISTENER "audit: { copies: { } }", "E312 2:18"},
    {LISTENER "audit: { copies = \"journald\" }", "E301 2:19"},
    {LISTENER "audit: { copies: { a = 1 } }", "E301 2:24"},
    {LISTENER "audit: { copies: { a: { to = \"udp:127.0.0.1:514\"; framing = \"count\" } } }",
     "E317 2:51"},
    {LISTENER "audit: { copies: { a: { to = \"journald\"; facility = \"local8\" } } }",
     "E305 2:53"},
    {LISTENER "audit: { format = \"short\"; copies: { a: { to = \"journald\" } } }", "E316 2:28"},
    {LISTENER "audit: { file = \"stdout\"; copies: { a: { to = \"journald\" } } }", "E316 2:27"},
    {LISTENER "bind: { ports = \"65535\" }", ""},
    {LISTENER "bind: { ports = \"1-65536\" }", "E313 2:17"},
    {LISTENER "bind: { ports = \"1-\" }", "E313 2:17"},
    {LISTENER "bind: { ports = \"-1\" }", "E313 2:17"},
    {LISTENER "bind: { ports = \"5-4\" }", "E313 2:17"},
    {LISTENER "dns: { servers = [ ] }", "E312 2:18"},
    {LISTENER "dns: { servers = \"::1\" }", ""},
    {LISTENER "dns: { servers = [ \"::1:53\" ] }", ""}, /* an address, odd but true */
    {LISTENER "dns: { servers = [ \"[::1]\" ] }", "E304 2:20"},
    {LISTENER "dns: { servers = [ \"1.1.1.1\", \"1.1.1.2\", \"1.1.1.3\", \"1.1.1.4\", \"1.1.1.5\", "
	      "\"1.1.1.6\", \"1.1.1.7\", \"1.1.1.8\", \"1.1.1.9\" ] }",
     "E311 2:108"},
    {LISTENER "egress: { addresses = [ \"10.0.0.1\", \"::ffff:10.0.0.2\" ] }", "E311 2:23"},
    {LISTENER "auth: { ident: { } }", "E309 2:9"},
    {LISTENER "auth: { file: { } chap: { path = 5 } }", "E309 2:9, E301 2:34"},
    {LISTENER "auth: { gssapi: { protection = [ ] } }", "E312 2:32"},
    {LISTENER "auth: { pan: { } }", "E102 2:9"},
    {LISTENER "metrics: { prot = 1 }", "E102 2:12"},
    {LISTENER "workers = 1 workers = 2", "E117 2:13"},
    {"listeners: { a: { address = \"127.0.0.1\" } b: { address = \"::ffff:127.0.0.1\" } }",
     "E307 1:43"},
    {"listeners: { a: { } }", "E309 1:14"},
    {"listeners: 5", "E301 1:12"},
    {"", "E308 1:1"},
};

static void
test_copies(void)
{
	const struct settings_copy *c = l.settings.audit.copies;
	char text[SETTINGS_COPY_TEXT];

	load_text(LISTENER
		  "audit: { copies: { siem: { to = \"tcp:[2001:db8::7]:6514\"; facility = "
		  "\"local7\"; framing = \"newline\" } near: { to = \"unix:/dev/log\" } j: { to "
		  "= \"journald\" } u: { to = \"udp:192.0.2.7:514\"; facility = \"kern\" } } }");
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	CU_ASSERT_EQUAL_FATAL(l.settings.audit.copy_count, 4);
	CU_ASSERT(strcmp(c[0].name, "siem") == 0 && c[0].kind == COPY_TCP && c[0].facility == 23 &&
		  c[0].framing == FRAMING_NEWLINE);
	CU_ASSERT(c[1].kind == COPY_UNIX && strcmp(c[1].path, "/dev/log") == 0 &&
		  c[1].facility == 16 && c[1].framing == FRAMING_COUNT);
	CU_ASSERT(c[2].kind == COPY_JOURNAL && c[3].kind == COPY_UDP && c[3].facility == 0);
	settings_copy_text(&c[0], text);
	CU_ASSERT_STRING_EQUAL(text, "tcp:[2001:db8::7]:6514");
	settings_copy_text(&c[1], text);
	CU_ASSERT_STRING_EQUAL(text, "unix:/dev/log");
	settings_copy_text(&c[2], text);
	CU_ASSERT_STRING_EQUAL(text, "journald");
	settings_copy_text(&c[3], text);
	CU_ASSERT_STRING_EQUAL(text, "udp:192.0.2.7:514");
	loaded_free(&l);
}

/* A path as long as a socket's may be, and one byte more; as many copies as there may be, and one
 * more. */
static void
test_copies_at_the_edge(void)
{
	char text[2048], path[SETTINGS_SOCKET + 1];
	struct text t;

	for (size_t len = SETTINGS_SOCKET - 1; len <= SETTINGS_SOCKET; len++) {
		memset(path, 'x', sizeof path);
		path[0] = '/';
		path[len] = '\0';
		snprintf(text, sizeof text,
			 LISTENER "audit: { copies: { a: { to = \"unix:%s\" } } }", path);
		load_text(text);
		CU_ASSERT_STRING_EQUAL(loaded_codes(&l), len < SETTINGS_SOCKET ? "" : "E315 2:30");
		loaded_free(&l);
	}
	for (unsigned n = SETTINGS_COPIES; n <= SETTINGS_COPIES + 1; n++) {
		text_init(&t, text, sizeof text);
		text_put(&t, LISTENER "audit: { copies: {\n");
		for (unsigned i = 0; i < n; i++)
			text_putf(&t, "c%u: { to = \"journald\" }\n", i);
		text_put(&t, "} }");
		load_text(text);
		CU_ASSERT_EQUAL(l.settings.audit.copy_count, SETTINGS_COPIES);
		CU_ASSERT_STRING_EQUAL(loaded_codes(&l), n == SETTINGS_COPIES ? "" : "E311 11:1");
		loaded_free(&l);
	}
}

static void
test_rows(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		load_text(rows[i].text);
		CHECK_ROW(strcmp(loaded_codes(&l), rows[i].codes) == 0, rows[i].text);
		if (strcmp(loaded_codes(&l), rows[i].codes) != 0)
			printf("    got %s\n", loaded_codes(&l));
		CHECK_ROW(settings_valid(&l.settings, sizeof(l.settings)), rows[i].text);
		loaded_free(&l);
	}
}

/* What is not ours stays unused for the rules room; what is ours is used. */
static void
test_used(void)
{
	load_text(LISTENER "rules: { } workers = 1 nonsense = 2");
	for (const struct node *n = tree_root(l.tree)->first; n != NULL; n = n->next)
		CHECK_ROW(n->used == (strcmp(n->name, "listeners") == 0 ||
				      strcmp(n->name, "workers") == 0),
			  n->name);
	loaded_free(&l);
}

static void
test_too_many_listeners(void)
{
	struct buffer b = {0};

	buffer_puts(&b, "listeners: {\n");
	for (unsigned i = 0; i < 66; i++)
		buffer_putf(&b, "l%u: { address = \"127.0.0.1\"; port = 0 }\n", i);
	buffer_puts(&b, "}\n");
	loaded_text(&l, b.p, b.len);
	settings_read(tree_root(l.tree), "/", &l.settings, &l.problems);
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "E311 66:1, E311 67:1");
	CU_ASSERT_EQUAL(l.settings.listener_count, SETTINGS_LISTENERS);
	loaded_free(&l);
	buffer_free(&b);
}

static void
test_long_path(void)
{
	struct buffer b = {0};

	buffer_puts(&b, LISTENER "audit: { file = \"");
	for (unsigned i = 0; i < SETTINGS_PATH - 6; i++)
		buffer_puts(&b, "x");
	buffer_puts(&b, "\" }\n");
	load_text(b.p); /* /etc/xxx...: one byte less than the room */
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "");
	CU_ASSERT_EQUAL(strlen(l.settings.audit.file), SETTINGS_PATH - 1);
	loaded_free(&l);
	b.len -= 4;
	buffer_puts(&b, "x\" }\n");
	load_text(b.p);
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l), "E310 2:17");
	loaded_free(&l);
	buffer_free(&b);
}

/* The manual's rows: each with a name, a type and help, and the bounds as text. */
static void
test_table(void)
{
	const struct settings_row *row;
	unsigned i, words = 0;

	for (i = 0; (row = settings_row(i)) != NULL; i++) {
		const char *const *w = settings_words();

		CU_ASSERT(row->name[0] != '\0' && row->type[0] != '\0' && row->help[0] != '\0');
		CU_ASSERT_PTR_NOT_NULL(row->fallback);
		while (*w != NULL && strncmp(*w, row->name, strcspn(row->name, ".")) != 0)
			w++;
		CHECK_ROW(*w != NULL, row->name);
		if (strcmp(row->name, "timeouts.idle") == 0) {
			CU_ASSERT_STRING_EQUAL(row->bounds, "\"10 ms\" to \"30 d\", \"none\"");
			words++;
		} else if (strcmp(row->name, "audit.on-full") == 0) {
			CU_ASSERT_STRING_EQUAL(row->bounds, "refuse, halt, drop");
			words++;
		} else if (strcmp(row->name, "workers") == 0) {
			CU_ASSERT_STRING_EQUAL(row->bounds, "0 to 64");
			words++;
		}
	}
	CU_ASSERT(i > 40);
	CU_ASSERT_EQUAL(words, 3);
	CU_ASSERT_PTR_NULL(settings_row(i));
}

static void
test_valid(void)
{
	static struct settings s;

	settings_defaults(&s);
	CU_ASSERT_TRUE(settings_valid(&s, sizeof(s)));
	CU_ASSERT_FALSE(settings_valid(&s, sizeof(s) - 1));
	s.version++;
	CU_ASSERT_FALSE(settings_valid(&s, sizeof(s)));
	s.version--;
	s.listener_count = SETTINGS_LISTENERS + 1;
	CU_ASSERT_FALSE(settings_valid(&s, sizeof(s)));
	s.listener_count = 0;
	s.magic = 0;
	CU_ASSERT_FALSE(settings_valid(&s, sizeof(s)));
}

/* What this machine lacks is a warning, at its place. */
static void
test_machine(void)
{
	load_text(LISTENER "user = \"no-such-user-here\"\n"
			   "control: { viewers = [ \"unix:no-such-group\", \"root\" ]\n"
			   "operators = \"no-such-user\" }\n"
			   "auth: { file: { path = \"/\" }\n"
			   "chap: { path = \"/no/such/file\" }\n"
			   "pam: { service = \"no-such-service\" } }\n");
	settings_machine(tree_root(l.tree), &l.settings, &l.problems);
	CU_ASSERT_STRING_EQUAL(loaded_codes(&l),
			       "W302 2:8, W303 3:24, W302 4:13, W305 5:24, W304 6:16, W307 7:18");
	CU_ASSERT_EQUAL(l.problems.errors, 0);
	loaded_free(&l);
}

int
main(void)
{
	CU_TestInfo tests[] = {{"defaults", test_defaults},
			       {"the perimeter example", test_perimeter},
			       {"the quickstart", test_quickstart},
			       {"every setting given", test_all},
			       {"texts, good and bad", test_rows},
			       {"copies of the ledger", test_copies},
			       {"copies at the edge", test_copies_at_the_edge},
			       {"what is ours is used", test_used},
			       {"too many listeners", test_too_many_listeners},
			       {"the longest path", test_long_path},
			       {"the table", test_table},
			       {"a mapped image", test_valid},
			       {"what this machine lacks", test_machine},
			       CU_TEST_INFO_NULL};

	return suite_run("settings", tests);
}
