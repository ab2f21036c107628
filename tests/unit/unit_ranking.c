/* Tests of daemon/ranking.c: sums, rates and order over the books of two workers; a hundred
 * thousand sessions. */
#include "ranking.h"

#include <jansson.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "controller.h"
#include "counting.h"
#include "suite.h"
#include "unit_rules_image.h"

/* ---- what it stands on: control, in small -------------------------------------------------- */

struct controller controller;
static struct settings settings = {.limits = {.sessions = 1000000}};
static int fds[2];
static struct books *writer[2];
static struct buffer told;
static unsigned turns;

const struct settings *
controller_settings(void)
{
	return &settings;
}

const char *
controller_rule(const struct card *c)
{
	return c->rule == 0 ? "first" : "second";
}

uint64_t
controller_count(enum books_counter which)
{
	return which == COUNT_STARTED ? 7 : 0;
}

bool
counting_look(void)
{
	return true;
}

bool
counting_of(const char *rule, struct hits_count *out)
{
	*out = (struct hits_count){.matches = strcmp(rule, "policy-default") == 0 ? 12 : 0};
	return true;
}

bool
caller_full(const struct caller *c)
{
	(void)c;
	return false;
}

void
caller_line(struct caller *c, struct text *t)
{
	static char line[CONTROL_LINE];

	(void)c;
	text_init(t, line, sizeof line);
}

void
caller_put(struct caller *c, struct text *t)
{
	(void)c;
	CU_ASSERT_FALSE(t->cut);
	buffer_put(&told, t->p, t->len);
	buffer_puts(&told, "\n");
}

void
caller_done(struct caller *c, struct text *t)
{
	caller_put(c, t);
	buffer_free(&c->text);
	c->more = NULL;
}

void
caller_refuse(struct caller *c, const char *code, const char *fmt, ...)
{
	(void)fmt;
	buffer_puts(&told, code);
	c->more = NULL;
}

/* ---- asking -------------------------------------------------------------------------------- */

static struct loaded policy;
static struct edition edition;

/* Two workers, of so many sessions each. */
static void
open_all(uint32_t sessions)
{
	int tally = tally_create(10);

	policy_load_text(
	    &policy,
	    "rules: { first: { action = \"allow\"; from = \"127.0.0.1\"; to = \"any\" } }");
	CU_ASSERT_FATAL(policy.policy != NULL && tally != -1);
	edition = (struct edition){.number = 1, .policy = policy.policy};
	memset(&controller, 0, sizeof controller);
	controller.newest = &edition;
	controller.tally = tally_view(tally);
	close(tally);
	CU_ASSERT_PTR_NOT_NULL_FATAL(controller.tally);
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = books_create(i, 1, sessions, 42);
		writer[i] = books_map(fds[i], -1);
		controller.views[i].books = books_view(fds[i]);
		controller.views[i].stamp++;
		CU_ASSERT_FATAL(writer[i] != NULL && controller.views[i].books != NULL);
	}
}

static void
close_all(void)
{
	for (unsigned i = 0; i < 2; i++) {
		books_unmap(writer[i]);
		books_unmap(controller.views[i].books);
		close(fds[i]);
	}
	tally_unmap(controller.tally);
	policy_unload(&policy);
}

static struct card *
session(unsigned worker, const char *user, const char *name, uint32_t source, int32_t rule)
{
	struct card *c = card_take(writer[worker], clock_wall_ns() - 60 * NS_PER_S);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	c->command = 1;
	c->rule = rule;
	c->destination_port = 443;
	memcpy(c->source.b, &source, sizeof source);
	card_set_string(writer[worker], c, CARD_USER, user, strlen(user));
	card_set_string(writer[worker], c, CARD_NAME, name, strlen(name));
	atomic_store(&c->state, CARD_STARTED);
	return c;
}

/* The answer as an object: totals, and the lists as arrays. The look is a new one. */
static json_t *
ask(const char *sort, unsigned limit)
{
	struct caller c = {.request = {.command = CONTROL_TOP}};
	json_t *all = NULL, *line;

	usleep(1000 * 1000);
	told.len = 0;
	turns = 0;
	control_set_string(&c.request, CONTROL_SORT, sort);
	control_set_number(&c.request, CONTROL_LIMIT, limit);
	for (ranking_begin(&c); c.more != NULL && c.more(&c); turns++)
		continue;
	buffer_put(&told, "", 1);
	for (char *at = told.p, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
		line = json_loadb(at, (size_t)(end - at), 0, NULL);
		CU_ASSERT_PTR_NOT_NULL_FATAL(line);
		if (all == NULL)
			all = json_incref(json_object_get(line, "top"));
		else if (json_object_get(line, "list") != NULL) {
			const char *list = json_string_value(json_object_get(line, "list"));

			if (json_object_get(all, list) == NULL)
				json_object_set_new(all, list, json_array());
			json_array_append(json_object_get(all, list), line);
		}
		json_decref(line);
	}
	CU_ASSERT_PTR_NOT_NULL_FATAL(all);
	return all;
}

static json_t *
row(json_t *all, const char *list, size_t i)
{
	return json_array_get(json_object_get(all, list), i);
}

static const char *
name_of(json_t *all, const char *list, size_t i)
{
	const char *s = json_string_value(json_object_get(row(all, list, i), "name"));

	return s != NULL ? s : "(none)";
}

static double
value_of(json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

/* ---- tests --------------------------------------------------------------------------------- */

static void
test_sums(void)
{
	struct card *a, *b, *opening;
	json_t *all;

	open_all(100);
	a = session(0, "ann", "a.example", 1, 0);
	b = session(1, "ann", "b.example", 2, 1);
	session(1, "bob", "b.example", 2, 1);
	opening = session(0, "", "c.example", 3, 0);
	atomic_store(&opening->state, CARD_OPEN);
	a->up = 1000;
	b->down = 5000;
	all = ask("sessions", 10);
	CU_ASSERT_EQUAL(value_of(all, "open"), 3);
	CU_ASSERT_EQUAL(value_of(all, "opening"), 1);
	CU_ASSERT_PTR_NULL(json_object_get(all, "rates")); /* nobody had looked before */
	CU_ASSERT_EQUAL(value_of(json_object_get(all, "distinct"), "users"), 3);
	CU_ASSERT_EQUAL(value_of(json_object_get(all, "distinct"), "destinations"), 3);
	CU_ASSERT_STRING_EQUAL(name_of(all, "users", 0), "ann");
	CU_ASSERT_EQUAL(value_of(row(all, "users", 0), "up"), 1000);
	CU_ASSERT_EQUAL(value_of(row(all, "users", 0), "down"), 5000);
	CU_ASSERT_EQUAL(value_of(row(all, "users", 0), "down_rate"), 0); /* it may be long ago */
	CU_ASSERT_STRING_EQUAL(name_of(all, "destinations", 0), "b.example:443");
	CU_ASSERT_STRING_EQUAL(name_of(all, "rules", 0), "second");
	CU_ASSERT_EQUAL(json_array_size(json_object_get(all, "denials")), 1);
	CU_ASSERT_STRING_EQUAL(name_of(all, "denials", 0), "policy-default");
	json_decref(all);

	a->up += 30000;
	b->down += 1;
	all = ask("rate", 1);
	CU_ASSERT_STRING_EQUAL(name_of(all, "destinations", 0), "a.example:443");
	CU_ASSERT(value_of(row(all, "destinations", 0), "up_rate") > 5000);
	CU_ASSERT(value_of(row(all, "destinations", 0), "up_rate") <= 30100);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(all, "destinations")), 1);
	CU_ASSERT(value_of(json_object_get(all, "rates"), "bytes_up") > 5000);
	CU_ASSERT_EQUAL(value_of(json_object_get(all, "rates"), "started"), 0);
	json_decref(all);
	all = ask("bytes", 1);
	CU_ASSERT_STRING_EQUAL(name_of(all, "destinations", 0), "a.example:443");
	CU_ASSERT_EQUAL(value_of(row(all, "destinations", 0), "up_rate"), 0);
	json_decref(all);
	close_all();
}

/* The place of a session that is over is another one's: what the first had moved is not taken off.
 */
static void
test_cards_that_are_used_again(void)
{
	struct card *c, *other;
	json_t *all;

	open_all(100);
	c = session(0, "ann", "a.example", 1, 0);
	c->up = 1000000;
	json_decref(ask("rate", 10));
	card_drop(writer[0], c);
	other = session(0, "bob", "b.example", 1, 0);
	CU_ASSERT_PTR_EQUAL(c, other);
	other->start_ns = clock_wall_ns();
	other->up = 5000;
	all = ask("rate", 10);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(all, "users")), 1);
	CU_ASSERT_STRING_EQUAL(name_of(all, "users", 0), "bob");
	CU_ASSERT(value_of(row(all, "users", 0), "up_rate") > 1000);
	CU_ASSERT(value_of(row(all, "users", 0), "up_rate") <= 5000);
	json_decref(all);
	close_all();
}

static void
test_unknown_order(void)
{
	struct caller c = {.request = {.command = CONTROL_TOP}};

	open_all(10);
	told.len = 0;
	control_set_string(&c.request, CONTROL_SORT, "age");
	ranking_begin(&c);
	buffer_put(&told, "", 1);
	CU_ASSERT_STRING_EQUAL(told.p, "bad-value");
	CU_ASSERT(c.more == NULL);
	close_all();
}

#define MANY 50000 /* of each worker */

static void
test_a_hundred_thousand(void)
{
	char user[32], name[64];
	json_t *all;
	double sum = 0;

	open_all(MANY);
	for (uint32_t i = 0; i < 2 * MANY; i++) {
		snprintf(user, sizeof user, "user-%u", i % 1000);
		snprintf(name, sizeof name, "host-%u.example", i);
		session(i % 2, user, name, 0x0a000000 + i, (int32_t)(i % 2))->up = i;
	}
	all = ask("bytes", 200);
	CU_ASSERT_EQUAL(value_of(all, "open"), 2 * MANY);
	CU_ASSERT_EQUAL(value_of(json_object_get(all, "distinct"), "users"), 1000);
	CU_ASSERT_EQUAL(value_of(json_object_get(all, "distinct"), "sources"), 2 * MANY);
	CU_ASSERT_EQUAL(value_of(json_object_get(all, "distinct"), "destinations"), 2 * MANY);
	CU_ASSERT_EQUAL(json_array_size(json_object_get(all, "destinations")), 200);
	CU_ASSERT_STRING_EQUAL(name_of(all, "destinations", 0), "host-99999.example:443");
	CU_ASSERT_STRING_EQUAL(name_of(all, "destinations", 199), "host-99800.example:443");
	for (size_t i = 0; i < 2; i++)
		sum += value_of(row(all, "rules", i), "sessions");
	CU_ASSERT_EQUAL(sum, 2 * MANY);
	CU_ASSERT(turns >= 2 * MANY / 4096); /* others had their turn in between */
	json_decref(all);
	close_all();
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"sums", test_sums},
	    {"cards that are used again", test_cards_that_are_used_again},
	    {"unknown order", test_unknown_order},
	    {"a hundred thousand", test_a_hundred_thousand},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("ranking", tests);
}
