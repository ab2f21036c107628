/*
 * unit_record.c - audit records as text (daemon/books/record.c): exact lines, escaping, and
 * that whatever stands in a card, a line is one line of valid JSON.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "books/books.h"
#include "books/record.h"
#include "suite.h"

static struct books *books;
static int books_fd = -1;
static char line[RECORD_MAX];

static const uint8_t hash[32] = {0x9f, 0x2c, 0x41, 0xaa, 0x07, 0xbe, 0xff};

static int
suite_open(void)
{
	books_fd = books_create(2, 0, 10, 7);
	books = books_map(books_fd, -1);
	return books == NULL;
}

static int
suite_close(void)
{
	books_unmap(books);
	close(books_fd);
	return 0;
}

static struct addr
address(const char *s)
{
	struct addr a = {{0}};

	if (!addr_parse(s, strlen(s), &a))
		abort();
	return a;
}

/* 2033-05-18T03:33:20Z: after the birth of these books, so the id is the time's own */
#define AT (2000000000LL * NS_PER_S + 482913000LL)

static struct card *
sample(void)
{
	struct card *c = card_take(books, AT);

	c->serial = 2 << 16 | 5;
	c->version = 5;
	c->command = 1;
	c->auth = 1;
	c->source = address("10.20.3.4");
	c->source_port = 52114;
	c->nat = address("192.0.2.17");
	c->nat_port = 40112;
	c->destination = address("10.9.8.7");
	c->destination_port = 443;
	c->flags = CARD_HAS_NAT | CARD_HAS_ADDRESS | CARD_HAS_REQUEST | CARD_REPLIED;
	c->told_ns = AT + NS_PER_MS;
	c->end_ns = AT + 2 * NS_PER_S;
	c->duration_ns = 2 * NS_PER_S;
	card_set_string(books, c, CARD_NAME, "erp.corp.example", 16);
	card_set_string(books, c, CARD_USER, "alice", 5);
	return c;
}

static struct record
about(const struct card *c, enum books_event event)
{
	struct record r = {.event = event,
			   .at_ns = AT,
			   .books = books,
			   .card = c,
			   .hostname = "px1",
			   .version = "0.1.0",
			   .listener = "inside",
			   .rule = "fin-erp",
			   .reference = "CHG-20418",
			   .policy_name = "perimeter-fra",
			   .policy_hash = hash,
			   .seq = 184497};

	return r;
}

/* The line, parsed; fails the test if it is not one line of ASCII JSON. Caller's to decref. */
static json_t *
parsed(size_t len)
{
	json_error_t error;
	json_t *j;
	size_t i;

	CU_ASSERT_TRUE_FATAL(len > 1 && len < RECORD_MAX);
	CU_ASSERT_EQUAL(line[len - 1], '\n');
	for (i = 0; i + 1 < len; i++)
		if (line[i] < 0x20 || line[i] > 0x7e)
			break;
	CU_ASSERT_EQUAL(i, len - 1);
	j = json_loadb(line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
	if (j == NULL)
		printf("%s: %.*s", error.text, (int)len, line);
	CU_ASSERT_PTR_NOT_NULL_FATAL(j);
	return j;
}

static json_t *
member_of(json_t *j, const char *path)
{
	char copy[128], *word, *rest = copy;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((word = strsep(&rest, ".")) != NULL)
		j = json_object_get(j, word);
	return j;
}

static const char *
text_of(json_t *j, const char *path)
{
	const char *s = json_string_value(member_of(j, path));

	return s != NULL ? s : "";
}

/* The sample of AUDIT.md, but for time, id and chain. */
static void
test_start(void)
{
	struct card *c = sample();
	struct record r = about(c, EVENT_START);
	size_t len = record_ecs(&r, line);

	json_decref(parsed(len));
	CU_ASSERT_STRING_EQUAL(
	    line,
	    "{\"@timestamp\":\"2033-05-18T03:33:20.482913Z\",\"ecs\":{\"version\":\"8.11.0\"},"
	    "\"event\":{\"kind\":\"event\",\"category\":[\"network\",\"session\"],"
	    "\"type\":[\"connection\",\"start\",\"allowed\"],\"action\":\"session-start\","
	    "\"outcome\":\"success\",\"id\":\"078TJJH1W84005-1\"},\"user\":{\"name\":\"alice\"},"
	    "\"source\":{\"ip\":\"10.20.3.4\",\"port\":52114,\"nat\":{\"ip\":\"192.0.2.17\","
	    "\"port\":40112}},\"destination\":{\"domain\":\"erp.corp.example\","
	    "\"ip\":\"10.9.8.7\",\"port\":443},\"network\":{\"transport\":\"tcp\","
	    "\"type\":\"ipv4\",\"protocol\":\"socks\"},\"observer\":{\"hostname\":\"px1\","
	    "\"product\":\"sallyport\",\"version\":\"0.1.0\",\"ingress\":{\"interface\":"
	    "{\"name\":\"inside\"}}},\"rule\":{\"id\":\"fin-erp\",\"reference\":\"CHG-20418\"},"
	    "\"socks\":{\"session\":\"078TJJH1W84005\",\"version\":5,\"command\":\"connect\","
	    "\"auth\":\"pam\",\"assurance\":\"proven\",\"reply\":0},"
	    "\"policy\":{\"name\":\"perimeter-fra\",\"hash\":\"9f2c41aa07be\"},"
	    "\"audit\":{\"seq\":184497}}\n");
	card_drop(books, c);
}

static void
test_end(void)
{
	struct card *c = sample();
	struct record r = about(c, EVENT_END);
	json_t *j;

	c->up = 123456789012345ULL;
	c->down = 42;
	c->us[STAGE_HANDSHAKE] = 1;
	c->us[STAGE_DNS] = 12034;
	c->us[STAGE_CONNECT] = 170;
	c->us[STAGE_FIRST_BYTE] = 3000000;
	r.ending = "client-closed";
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.action"), "session-end");
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.id"), "078TJJH1W84005-2");
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.start"), "2033-05-18T03:33:20.482913Z");
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.end"), "2033-05-18T03:33:22.482913Z");
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.reason"), "client-closed");
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "event.duration")), 2000000000);
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "source.bytes")), 123456789012345LL);
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "destination.bytes")), 42);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"ms\":{\"handshake\":0.001,\"dns\":12.034,"
					    "\"connect\":0.17,\"first_byte\":3000}},\"policy\""));
	json_decref(j);
	card_drop(books, c);
}

/* Of one destination of a UDP association: the session's id, an event id of its own. */
static void
test_destination(void)
{
	struct card *parent = sample(), *c;
	struct record r;
	char id[BOOKS_ID];
	json_t *j;

	parent->command = 3;
	c = card_take_destination(books, parent, 1, AT + NS_PER_S);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	c->serial = 2 << 16 | 6;
	c->end_ns = AT + 2 * NS_PER_S;
	c->duration_ns = NS_PER_S;
	c->destination = address("10.9.8.7");
	c->destination_port = 53;
	c->flags = CARD_HAS_ADDRESS | CARD_HAS_REQUEST;
	c->up = 640;
	c->down = 12;
	c->datagrams[0] = 10;
	c->datagrams[1] = 5000000000LL;
	r = about(c, EVENT_DESTINATION);
	r.ending = "client-closed";
	j = parsed(record_ecs(&r, line));
	books_id(books, parent, id);
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.action"), "udp-destination");
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.outcome"), "success");
	CU_ASSERT_STRING_EQUAL(text_of(j, "socks.session"), id);
	CU_ASSERT_STRING_NOT_EQUAL(text_of(j, "event.id"), id);
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.start"), "2033-05-18T03:33:21.482913Z");
	CU_ASSERT_STRING_EQUAL(text_of(j, "network.transport"), "udp");
	CU_ASSERT_STRING_EQUAL(text_of(j, "user.name"), "alice");
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "source.packets")), 10);
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "destination.packets")), 5000000000LL);
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "source.bytes")), 640);
	CU_ASSERT_PTR_NULL(strstr(line, "\"dropped\""));
	json_decref(j);
	r.ending = "denied";
	r.reason = "rule";
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.outcome"), "failure");
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "\"type\":[\"connection\",\"denied\"]"));
	CU_ASSERT_STRING_EQUAL(text_of(j, "policy.reason"), "rule");
	json_decref(j);
	parent->dropped = 77;
	r = about(parent, EVENT_END);
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "socks.dropped")), 77);
	json_decref(j);
	card_drop(books, c);
	card_drop(books, parent);
}

/* Nothing is known but the client: no empty objects, nothing made up. */
static void
test_bare(void)
{
	struct card *c = card_take(books, AT);
	struct record r = {.event = EVENT_FAIL,
			   .at_ns = AT,
			   .books = books,
			   .card = c,
			   .ending = "not-socks",
			   .seq = 1};
	json_t *j;

	c->source = address("::1");
	c->source_port = 9;
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_STRING_EQUAL(text_of(j, "source.ip"), "::1");
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.reason"), "not-socks");
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.outcome"), "failure");
	CU_ASSERT_STRING_EQUAL(text_of(j, "socks.auth"), "none");
	CU_ASSERT_STRING_EQUAL(text_of(j, "observer.product"), "sallyport");
	CU_ASSERT_PTR_NULL(member_of(j, "destination"));
	CU_ASSERT_PTR_NULL(member_of(j, "user"));
	CU_ASSERT_PTR_NULL(member_of(j, "rule"));
	CU_ASSERT_PTR_NULL(member_of(j, "policy"));
	CU_ASSERT_PTR_NULL(member_of(j, "socks.reply"));
	CU_ASSERT_PTR_NULL(member_of(j, "socks.version"));
	CU_ASSERT_PTR_NULL(member_of(j, "network.type"));
	json_decref(j);
	card_drop(books, c);
}

static void
test_deny(void)
{
	struct card *c = sample();
	struct record r = about(c, EVENT_DENY);
	json_t *j;

	c->reply = 2;
	c->auth = 0;
	r.ending = "denied";
	r.reason = "resolves-in";
	card_set_string(books, c, CARD_USERID, "root", 4);
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_STRING_EQUAL(text_of(j, "policy.reason"), "resolves-in");
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "socks.reply")), 2);
	CU_ASSERT_STRING_EQUAL(text_of(j, "socks.userid"), "root");
	CU_ASSERT_STRING_EQUAL(text_of(j, "socks.assurance"), "none");
	CU_ASSERT_EQUAL(json_array_size(member_of(j, "event.type")), 2);
	json_decref(j);
	c->auth = 32;
	c->command = 9;
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_STRING_EQUAL(text_of(j, "socks.auth"), "userid");
	CU_ASSERT_STRING_EQUAL(text_of(j, "socks.assurance"), "asserted");
	CU_ASSERT_STRING_EQUAL(text_of(j, "socks.command"), "9");
	json_decref(j);
	card_drop(books, c);
}

/* Bytes of every kind in every string: one line, valid, and told byte by byte. */
static void
test_escaping(void)
{
	struct card *c = sample();
	struct record r = about(c, EVENT_DENY);
	const char *evil = "a\n\"},\\{\"x\":\"\x1b[31m\x7f\x80\xff b";
	json_t *j;

	card_set_string(books, c, CARD_NAME, evil, strlen(evil));
	card_set_string(books, c, CARD_USER, "a\0b", 3);
	card_set_string(books, c, CARD_USERID, evil, strlen(evil));
	r.rule = evil;
	r.reference = evil;
	r.ending = "denied";
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_PTR_NOT_NULL(strstr(line,
				      "\"domain\":\"a\\u000a\\\"},\\\\{\\\"x\\\":\\\"\\u001b[31m"
				      "\\u007f\\u0080\\u00ff b\""));
	json_decref(j);
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "{\"name\":\"a\\u0000b\"}"));
	record_short(&r, line);
	CU_ASSERT_PTR_NULL(strchr(line, '\x1b'));
	CU_ASSERT_PTR_EQUAL(strchr(line, '\n'), line + strlen(line) - 1);
	card_drop(books, c);
}

static json_t *
told(const struct card *c, enum books_event event, const char *ending)
{
	struct record r = about(c, event);

	r.ending = ending;
	r.age_s = 1800;
	return parsed(record_ecs(&r, line));
}

static bool
has(json_t *j, const char *path, const char *text)
{
	if (strcmp(text_of(j, path), text) == 0)
		return true;
	printf("%s is '%s', not '%s'\n", path, text_of(j, path), text);
	return false;
}

/* At the time of a proof nothing is known of where the session will lead, whatever the card says
 * by now. */
static void
test_proofs(void)
{
	static const struct {
		enum books_event event;
		const char *action, *type, *outcome, *id;
	} rows[] = {
	    {EVENT_AUTH_SUCCESS, "auth-success", "start", "success", "078TJJH1W84005-3"},
	    {EVENT_AUTH_FAILURE, "auth-failure", "start", "failure", "078TJJH1W84005-4"},
	    {EVENT_LOCKOUT, "lockout", "info", "failure", "078TJJH1W84005-5"},
	};
	struct card *c = sample();
	size_t i;

	for (i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		json_t *j = told(c, rows[i].event, NULL);

		CU_ASSERT_TRUE(has(j, "event.action", rows[i].action));
		CU_ASSERT_TRUE(has(j, "event.outcome", rows[i].outcome));
		CU_ASSERT_TRUE(has(j, "event.id", rows[i].id));
		CU_ASSERT_STRING_EQUAL(
		    json_string_value(json_array_get(member_of(j, "event.category"), 0)),
		    "authentication");
		CU_ASSERT_EQUAL(json_array_size(member_of(j, "event.category")), 1);
		CU_ASSERT_STRING_EQUAL(
		    json_string_value(json_array_get(member_of(j, "event.type"), 0)), rows[i].type);
		CU_ASSERT_TRUE(has(j, "user.name", "alice"));
		CU_ASSERT_TRUE(has(j, "source.ip", "10.20.3.4"));
		CU_ASSERT_TRUE(has(j, "socks.auth", "pam"));
		CU_ASSERT_PTR_NULL(member_of(j, "destination"));
		CU_ASSERT_PTR_NULL(member_of(j, "rule"));
		CU_ASSERT_PTR_NULL(member_of(j, "source.nat"));
		CU_ASSERT_PTR_NULL(member_of(j, "socks.command"));
		CU_ASSERT_PTR_NULL(member_of(j, "socks.reply"));
		CU_ASSERT_PTR_NULL(member_of(j, "event.reason"));
		CU_ASSERT_TRUE(has(j, "policy.hash", "9f2c41aa07be"));
		json_decref(j);
	}
	card_drop(books, c);
}

static void
test_progress(void)
{
	struct card *c = sample();
	json_t *j;

	c->up = 11;
	c->down = 22;
	j = told(c, EVENT_PROGRESS, NULL);
	CU_ASSERT_TRUE(has(j, "event.action", "session-progress"));
	CU_ASSERT_TRUE(has(j, "event.id", "078TJJH1W84005-8-1800"));
	CU_ASSERT_TRUE(has(j, "event.start", "2033-05-18T03:33:20.482913Z"));
	CU_ASSERT_PTR_NULL(member_of(j, "event.end"));
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "event.duration")), 1800 * NS_PER_S);
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "source.bytes")), 11);
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "destination.bytes")), 22);
	CU_ASSERT_TRUE(has(j, "destination.domain", "erp.corp.example"));
	json_decref(j);
	j = told(c, EVENT_BIND_LISTEN, NULL);
	CU_ASSERT_TRUE(has(j, "event.action", "bind-listen"));
	CU_ASSERT_TRUE(has(j, "event.id", "078TJJH1W84005-6"));
	CU_ASSERT_TRUE(has(j, "source.nat.ip", "192.0.2.17"));
	json_decref(j);
	j = told(c, EVENT_BIND_ACCEPT, NULL);
	CU_ASSERT_TRUE(has(j, "event.action", "bind-accept"));
	CU_ASSERT_TRUE(has(j, "event.id", "078TJJH1W84005-7"));
	CU_ASSERT_TRUE(has(j, "destination.ip", "10.9.8.7"));
	CU_ASSERT_PTR_NULL(member_of(j, "socks.strangers"));
	json_decref(j);
	c->strangers = 3;
	j = told(c, EVENT_END, "target-closed");
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "socks.strangers")), 3);
	json_decref(j);
	card_drop(books, c);
}

static void
test_short_events(void)
{
	struct card *c = sample();
	struct record r = about(c, EVENT_AUTH_SUCCESS);

	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line, "03:33:20 login 10.20.3.4:52114 alice   known by pam\n");
	r.event = EVENT_AUTH_FAILURE;
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line, "03:33:20 wrong 10.20.3.4:52114 alice   not proven\n");
	r.event = EVENT_LOCKOUT;
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(
	    line, "03:33:20 lock  10.20.3.4:52114 alice   locked out after too many failures\n");
	r.event = EVENT_PROGRESS;
	r.age_s = 900;
	c->up = c->down = 1024;
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line, "03:33:20 still 10.20.3.4:52114 alice > erp.corp.example:443"
				     "                rule fin-erp          1 KiB up, 1 KiB down, "
				     "15 min\n");
	r.event = EVENT_BIND_LISTEN;
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line, "03:33:20 door  10.20.3.4:52114 alice > erp.corp.example:443"
				     "                rule fin-erp          at "
				     "192.0.2.17:40112\n");
	card_drop(books, c);
}

/* The longest of everything still is one valid line below RECORD_MAX, with all keys. */
static void
test_longest(void)
{
	struct card *c = sample();
	struct record r = about(c, EVENT_END);
	char bytes[512];
	json_t *j;

	memset(bytes, 1, sizeof(bytes) - 1);
	bytes[511] = '\0';
	c->up = c->down = c->duration_ns = UINT64_MAX / 4;
	memset(c->us, 0xff, sizeof(c->us));
	card_set_string(books, c, CARD_NAME, bytes, 255);
	card_set_string(books, c, CARD_USER, bytes, 255);
	card_set_string(books, c, CARD_USERID, bytes, 255);
	r.hostname = r.listener = r.rule = r.reference = r.policy_name = r.version = bytes;
	r.ending = r.reason = bytes;
	r.seq = UINT64_MAX / 2;
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "audit.seq")), INT64_MAX);
	CU_ASSERT_EQUAL(json_string_length(member_of(j, "destination.domain")), 40 + 3);
	json_decref(j);
	r.colour = true;
	CU_ASSERT_TRUE(record_short(&r, line) < RECORD_MAX);
	CU_ASSERT_EQUAL(line[strlen(line) - 1], '\n');

	/* one long string by itself is told whole */
	r = about(c, EVENT_END);
	c->user_len = c->userid_len = 0;
	j = parsed(record_ecs(&r, line));
	CU_ASSERT_EQUAL(json_string_length(member_of(j, "destination.domain")), 255);
	json_decref(j);
	card_drop(books, c);
}

/* Any bytes at all in a card, as a broken worker could leave it. */
static void
test_garbage(void)
{
	unsigned seed = 12345, i;

	for (i = 0; i < 3000; i++) {
		struct card *c = sample();
		struct record r = about(c, (enum books_event)(1 + i % (EVENT_COUNT - 1)));
		unsigned char *p = (unsigned char *)c;
		size_t k;

		for (k = 0; k < sizeof(*c); k++) {
			seed = seed * 1664525 + 1013904223;
			p[k] = (unsigned char)(seed >> 24);
		}
		r.ending = "internal";
		json_decref(parsed(record_ecs(&r, line)));
		CU_ASSERT_TRUE(record_short(&r, line) < RECORD_MAX);
		card_drop(books, c);
	}
}

static void
test_short(void)
{
	struct card *c = sample();
	struct record r = about(c, EVENT_START);

	c->source = address("127.0.0.1");
	c->source_port = 51200;
	c->destination = address("93.184.216.34");
	c->auth = 0;
	c->user_len = 0;
	card_set_string(books, c, CARD_NAME, "example.com", 11);
	r.rule = "this-machine";
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line, "03:33:20 open  127.0.0.1:51200       > example.com:443 "
				     "(93.184.216.34)     rule this-machine     socks5\n");
	r.event = EVENT_END;
	r.ending = "client-closed";
	c->up = 1400;
	c->down = 5 << 20;
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line,
			       "03:33:20 close 127.0.0.1:51200       > example.com:443        "
			       "             rule this-machine     1.3 KiB up, 5 MiB down, 2 s  "
			       "client-closed\n");
	r.event = EVENT_DENY;
	r.ending = "denied";
	r.rule = "policy-default";
	r.reason = "default";
	c->name_len = 0;
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line,
			       "03:33:20 deny  127.0.0.1:51200       > 93.184.216.34:443      "
			       "             rule policy-default   denied: no rule allows it\n");
	r.event = EVENT_FAIL;
	r.ending = "not-socks";
	r.rule = r.reason = NULL;
	c->flags = 0;
	r.colour = true;
	record_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line,
			       "\033[2m03:33:20\033[0m \033[33mfail \033[0m 127.0.0.1:51200      "
			       "\033[2m > \033[0m\033[1m-\033[0m                                   "
			       "\033[33mnot-socks\033[0m\n");
	card_drop(books, c);
}

static void
test_plain(void)
{
	struct record_plain r = {.action = "policy-load",
				 .outcome = "success",
				 .text = "3 rules\n\"x\"",
				 .at_ns = AT,
				 .hostname = "px1",
				 .version = "0.1.0",
				 .policy_name = "p",
				 .policy_hash = hash,
				 .seq = 2};
	json_t *j = parsed(record_plain_ecs(&r, line));

	CU_ASSERT_STRING_EQUAL(text_of(j, "event.action"), "policy-load");
	CU_ASSERT_STRING_EQUAL(text_of(j, "message"), "3 rules\n\"x\"");
	CU_ASSERT_STRING_EQUAL(text_of(j, "policy.hash"), "9f2c41aa07be");
	CU_ASSERT_EQUAL(json_integer_value(member_of(j, "audit.seq")), 2);
	json_decref(j);
	record_plain_short(&r, line);
	CU_ASSERT_STRING_EQUAL(line,
			       "03:33:20 load  policy in force: p 9f2c41aa07be: 3 rules.\"x\"\n");
	r.action = "something-new";
	r.reason = "why";
	r.text = NULL;
	j = parsed(record_plain_ecs(&r, line));
	CU_ASSERT_STRING_EQUAL(text_of(j, "event.reason"), "why");
	json_decref(j);
}

/* -- the examples of sallyport-audit(5): one of each event, together a whole ledger --------------
 */

static struct {
	struct chain chain;
	struct chain_mark mark;
	struct evp_pkey_st *key;
	uint8_t public_key[CHAIN_KEY];
	uint64_t seq;
} example;

static void
example_line(size_t len)
{
	fwrite(line, 1, len, stdout);
	chain_add(&example.chain, line, len - 1);
}

static void
example_plain(const char *action, const char *outcome, const char *reason, const char *text,
	      struct chain_tail *chain)
{
	struct record_plain r = {.action = action,
				 .outcome = outcome,
				 .reason = reason,
				 .text = text,
				 .at_ns = AT + (int64_t)example.seq * NS_PER_S,
				 .hostname = "px1",
				 .version = "0.1.0",
				 .policy_name = "perimeter-fra",
				 .policy_hash = hash,
				 .seq = ++example.seq,
				 .prev = example.chain.last,
				 .chain = chain};
	size_t len;
	struct text t;

	if (strcmp(action, "admin-action") == 0) {
		r.user = "ann";
		r.user_id = "1001";
	}
	if (chain != NULL && (chain->has & CHAIN_HAS_ROOT) != 0)
		memcpy(chain->root, example.chain.root, CHAIN_HASH);
	len = record_plain_ecs(&r, line);
	if (chain != NULL && (chain->has & CHAIN_HAS_ROOT) != 0) {
		t = (struct text){.p = line, .len = len - 1, .cap = sizeof line};
		chain_sign(example.key, &t, example.mark.signature);
		text_put_char(&t, '\n');
		len = t.len;
		example.mark.seq = r.seq;
		memcpy(example.mark.key, example.public_key, CHAIN_KEY);
	}
	if (chain != NULL && (chain->has & CHAIN_HAS_KEY) != 0)
		chain_begin(&example.chain, example.chain.last);
	example_line(len);
}

static void
example_event(const struct card *c, enum books_event event, const char *ending, const char *reason)
{
	struct record r = about(c, event);

	r.at_ns = AT + (int64_t)example.seq * NS_PER_S;
	r.ending = ending;
	r.reason = reason;
	r.age_s = 900;
	r.seq = ++example.seq;
	r.prev = example.chain.last;
	if (event == EVENT_FAIL || event == EVENT_DENY) {
		r.rule = "policy-default";
		r.reference = NULL;
	}
	example_line(record_ecs(&r, line));
}

static void
example_key(const char *action)
{
	struct chain_tail chain = {.has = CHAIN_HAS_KEY};

	if (example.mark.seq != 0) {
		chain.has |= CHAIN_HAS_LAST;
		chain.last = example.mark;
	}
	memcpy(chain.key, example.public_key, CHAIN_KEY);
	example_plain(action, "success", NULL, NULL, &chain);
}

static void
example_sessions(void)
{
	struct card *c = sample(), *d;

	example_event(c, EVENT_AUTH_SUCCESS, NULL, NULL);
	example_event(c, EVENT_START, NULL, NULL);
	c->up = 4711;
	c->down = 123456;
	example_event(c, EVENT_PROGRESS, NULL, NULL);
	c->us[STAGE_HANDSHAKE] = 412;
	c->us[STAGE_AUTH] = 3120;
	c->us[STAGE_DNS] = 1034;
	c->us[STAGE_CONNECT] = 870;
	c->us[STAGE_FIRST_BYTE] = 2204;
	example_event(c, EVENT_END, "client-closed", NULL);
	c->flags = CARD_HAS_REQUEST | CARD_REPLIED;
	c->reply = 2;
	c->up = c->down = 0;
	memset(c->us + STAGE_DNS, 0, sizeof c->us - STAGE_DNS * sizeof c->us[0]);
	example_event(c, EVENT_DENY, "denied", "default");
	c->auth = 0;
	c->flags = 0;
	c->version = c->command = c->name_len = c->user_len = 0;
	memset(c->us, 0, sizeof c->us);
	example_event(c, EVENT_FAIL, "handshake-timeout", NULL);
	c->version = 5;
	card_set_string(books, c, CARD_USER, "alice", 5);
	example_event(c, EVENT_AUTH_FAILURE, NULL, NULL);
	example_event(c, EVENT_LOCKOUT, NULL, NULL);
	card_drop(books, c);
	c = sample();
	c->command = 2;
	c->name_len = 0;
	c->nat_port = 40113;
	example_event(c, EVENT_BIND_LISTEN, NULL, NULL);
	example_event(c, EVENT_BIND_ACCEPT, NULL, NULL);
	c->command = 3;
	d = card_take_destination(books, c, 1, AT + NS_PER_S);
	d->serial = c->serial + 1;
	d->destination = address("10.9.8.53");
	d->destination_port = 53;
	d->flags = CARD_HAS_ADDRESS | CARD_HAS_REQUEST;
	d->up = 640;
	d->down = 5120;
	d->datagrams[0] = d->datagrams[1] = 10;
	d->end_ns = AT + 3 * NS_PER_S;
	d->duration_ns = 2 * NS_PER_S;
	example_event(d, EVENT_DESTINATION, "client-closed", NULL);
	card_drop(books, d);
	card_drop(books, c);
}

static int
examples(void)
{
	struct chain_tail chain = {.has = CHAIN_HAS_ROOT | CHAIN_HAS_NEXT};
	struct evp_pkey_st *first;

	if (suite_open() != 0)
		return 2;
	first = example.key = chain_key_new(example.public_key);
	example_key("audit-start");
	example_plain("policy-load", "success", NULL, "212 rules", NULL);
	example_sessions();
	example_plain("policy-refused", "failure", NULL, "2 errors, the old policy stays", NULL);
	example_plain("admin-action", "success", NULL, "reload: refused, 2 errors", NULL);
	example_plain("worker-crash", "failure", "worker-crash",
		      "worker 1 ended by signal 11, 3 open sessions", NULL);
	example_plain("clock-step", "success", NULL, "the clock went back by 2.1 s", NULL);
	example_plain("audit-suspend", "failure", NULL, "No space left on device", NULL);
	example_plain("audit-resume", "success", NULL,
		      "no record was lost, written again after 41 s", NULL);
	example.key = chain_key_new(chain.next);
	{
		struct evp_pkey_st *second = example.key;

		example.key = first;
		example_plain("checkpoint", "success", NULL, NULL, &chain);
		example.key = second;
	}
	memcpy(example.public_key, chain.next, CHAIN_KEY);
	example_key("audit-rotate");
	chain = (struct chain_tail){.has = CHAIN_HAS_ROOT | CHAIN_HAS_END};
	memcpy(chain.end, example.public_key, CHAIN_KEY);
	example_plain("audit-stop", "success", NULL, NULL, &chain);
	chain_key_wipe(first);
	chain_key_wipe(example.key);
	return suite_close();
}

/* Words that were told once make the same line as their parts, also one that is told shorter. */
static void
test_words(void)
{
	struct record_words observer, rule, policy;
	char parts[RECORD_MAX], reference[300], user[255];
	struct card *c = sample();
	struct record r = about(c, EVENT_DENY);

	r.reason = "rule";
	r.policy_name = "when there is room";
	memset(reference, 0x7f, sizeof(reference) - 1);
	reference[sizeof(reference) - 1] = '\0';
	for (int round = 0; round < 3; round++) {
		size_t len;

		if (round == 1)
			r.reference = reference;
		if (round == 2) { /* all of it needs six bytes for each */
			memset(user, 1, sizeof(user));
			for (int which = 0; which < 3; which++)
				card_set_string(books, c, (enum card_string)which, user,
						sizeof(user));
			r.rule = r.dry_run = r.hostname = r.listener = reference;
			r.policy_name = "a name that is told shorter, when there is no room for it";
		}
		record_observer(&observer, r.hostname, r.version, r.listener);
		record_rule(&rule, r.rule, r.reference);
		record_policy(&policy, r.policy_name, r.policy_hash);
		/* what is too long is not kept */
		CU_ASSERT_EQUAL(rule.len > 0, round < 1);
		CU_ASSERT_EQUAL(observer.len > 0, round < 2);
		CU_ASSERT_TRUE(policy.len > 0);
		r.observer_words = r.rule_words = r.policy_words = NULL;
		len = record_ecs(&r, parts);
		CU_ASSERT_EQUAL(memmem(parts, len, "room", 4) == NULL, round == 2);
		r.observer_words = &observer;
		r.rule_words = &rule;
		r.policy_words = &policy;
		CU_ASSERT_EQUAL(record_ecs(&r, line), len);
		CU_ASSERT_EQUAL(memcmp(line, parts, len), 0);
		json_decref(parsed(len));
	}
	card_drop(books, c);
}

int
main(int argc, char **argv)
{
	static CU_TestInfo tests[] = {{"start", test_start},
				      {"end", test_end},
				      {"bare", test_bare},
				      {"deny", test_deny},
				      {"escaping", test_escaping},
				      {"longest", test_longest},
				      {"garbage", test_garbage},
				      {"short", test_short},
				      {"plain", test_plain},
				      {"proofs", test_proofs},
				      {"progress", test_progress},
				      {"destination", test_destination},
				      {"short_events", test_short_events},
				      {"words", test_words},
				      CU_TEST_INFO_NULL};
	int status;

	setenv("TZ", "UTC", 1);
	tzset();
	if (argc == 2 && strcmp(argv[1], "--examples") == 0)
		return examples();
	if (suite_open() != 0)
		return 2;
	status = suite_run("record", tests);
	suite_close();
	return status;
}
