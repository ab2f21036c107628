/*
 * daemon/counting.c - see daemon/counting.h. Control's process; blocks on its two files at most.
 *
 * The parent is told that a worker's memory may go only when what stood there is saved; so this
 * process may be killed at any moment, and its successor goes on with the same numbers.
 */
#include "counting.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "compile.h"
#include "books/hits_book.h"
#include "controller.h"

#define SAVE_MS 60000 /* what is counted */
#define SOON_MS 100   /* what is over: more of it may come at once */
#define AGAIN_MS 5000 /* it could not be saved */
#define WAITING 512   /* the parent keeps 256 */
#define LOOKS 1024    /* rules a turn */

static struct {
	struct hits_book *book; /* NULL: none */
	bool kept;              /* in files, over a restart */
	int files[2];
	uint64_t waiting[WAITING]; /* over and not saved yet */
	unsigned waiting_count;
	struct timer timer;
} counting = {.files = {-1, -1}};

/* ---- saving ---------------------------------------------------------------------------------- */

static void
tell_added(uint64_t id)
{
	struct ipc_hits_id body = {id};

	channel_send(&controller.channel, IPC_HITS_ADDED, &body, sizeof body, NULL, 0);
}

static bool
save(void)
{
	if (!hits_book_save(counting.book, counting.kept, clock_wall_ns())) {
		log_warning("cannot save the counters of rules: %s", strerror(errno));
		return false;
	}
	for (unsigned i = 0; i < counting.waiting_count; i++)
		tell_added(counting.waiting[i]);
	counting.waiting_count = 0;
	return true;
}

static void
save_again(struct timer *t)
{
	timer_set(t, loop_now() + (save() ? SAVE_MS : AGAIN_MS), save_again);
}

/* ---- what the parent tells ------------------------------------------------------------------- */

void
counting_store(const struct message *m)
{
	const struct ipc_hits_store *body = m->body;
	enum hits_found found;

	if (counting.book != NULL)
		return;
	for (int i = 0; i < 2; i++)
		counting.files[i] = fcntl(m->fds[i], F_DUPFD_CLOEXEC, 3);
	counting.kept = body->kept != 0;
	counting.book = hits_book_open(counting.files, body->run, clock_wall_ns(), &found);
	if (counting.book == NULL) {
		log_error("no memory for the counters of rules");
		return;
	}
	if (found == HITS_BAD)
		log_warning("the file of the rules' counters is damaged: they begin anew");
	else if (found == HITS_NEW && counting.kept)
		log_notice("the counters of rules begin");
	timer_set(&counting.timer, loop_now() + SAVE_MS, save_again);
}

struct names { /* of a page's policy */
	const struct message *m;
	struct policy *policy; /* NULL: not opened yet */
	void *at; /* NULL: it is one that the process holds anyway */
	size_t len;
};

static void
open_policy(struct names *n)
{
	const struct ipc_hits *body = n->m->body;
	struct edition *e = controller_edition(body->generation);

	if (e != NULL) {
		n->policy = e->policy;
		return;
	}
	n->at = image_map(n->m->fds[1], &n->len);
	if (n->at != NULL)
		n->policy = policy_open_sealed(n->at, n->len);
}

static const char *
name_of(void *with, int32_t rule)
{
	struct names *n = with;
	struct rule_terms terms;

	if (n->policy == NULL && n->at == NULL)
		open_policy(n);
	if (n->policy == NULL)
		return "";
	policy_terms(n->policy, rule, &terms);
	return terms.name != NULL ? terms.name : "";
}

void
counting_page(const struct message *m)
{
	const struct ipc_hits *body = m->body;
	struct names names = {.m = m};

	if (counting.book == NULL)
		return;
	if (!hits_book_page(counting.book, body->id, body->generation, m->fds[0], name_of, &names,
			    clock_wall_ns()))
		tell_added(body->id);
	if (names.at == NULL)
		return;
	policy_close(names.policy);
	munmap(names.at, names.len);
}

void
counting_over(const struct message *m)
{
	const struct ipc_hits_id *body = m->body;

	if (counting.book == NULL || !hits_book_over(counting.book, body->id))
		return;
	if (counting.waiting_count == WAITING)
		save();
	if (counting.waiting_count < WAITING)
		counting.waiting[counting.waiting_count++] = body->id;
	timer_set(&counting.timer, loop_now() + SOON_MS, save_again);
}

void
counting_end(void)
{
	if (counting.book == NULL)
		return;
	save();
	hits_book_free(counting.book);
	counting.book = NULL;
}

/* ---- telling -----------------------------------------------------------------------------------
 */

static void
put_string(struct text *t, const char *key, const char *s)
{
	if (s == NULL || s[0] == '\0')
		return;
	text_putf(t, ",\"%s\":", key);
	text_put_json(t, s, strlen(s), 200);
}

static void
put_when(struct text *t, const char *key, int64_t ns)
{
	text_putf(t, ",\"%s\":", key);
	if (ns <= 0) {
		text_put(t, "null");
		return;
	}
	text_put_char(t, '"');
	text_put_time(t, ns);
	text_put_char(t, '"');
}

static void
put_counts(struct text *t, const char *name)
{
	struct hits_total total = {0};

	hits_book_total(counting.book, name, &total);
	text_putf(t, ",\"matches\":%llu,\"dry_run\":%llu", (unsigned long long)total.count.matches,
		  (unsigned long long)total.count.dry_run);
	put_when(t, "last", total.count.last_ns);
	put_when(t, "since", total.since_ns);
}

static void
put_rule(struct caller *c, int32_t rule)
{
	struct rule_terms terms;
	struct text t;

	policy_terms(controller.newest->policy, rule, &terms);
	caller_line(c, &t);
	text_put(&t, "{\"rule\":");
	text_put_json(&t, terms.name, strlen(terms.name), 64);
	text_putf(&t, ",\"action\":\"%s\",\"mode\":\"%s\"", terms.allow ? "allow" : "deny",
		  terms.dry_run ? "dry-run" : "enforce");
	put_counts(&t, terms.name);
	if (rule >= 0) {
		put_string(&t, "file", terms.file);
		text_putf(&t, ",\"line\":%u", terms.line);
		put_string(&t, "owner", terms.owner);
		put_string(&t, "ticket", terms.ticket);
	}
	text_put_char(&t, '}');
	caller_put(c, &t);
}

/* Not in the policy any more, and it did match. */
static void
put_gone(struct caller *c, const char *name)
{
	struct hits_total total = {0};
	struct text t;

	if (strcmp(name, "builtin:self") == 0 || strcmp(name, "policy-default") == 0)
		return; /* told before */
	if (policy_rule_find(controller.newest->policy, name) != RULE_NONE ||
	    !hits_book_total(counting.book, name, &total) ||
	    (total.count.matches == 0 && total.count.dry_run == 0))
		return;
	caller_line(c, &t);
	text_put(&t, "{\"rule\":");
	text_put_json(&t, name, strlen(name), 64);
	text_put(&t, ",\"gone\":true");
	put_counts(&t, name);
	text_put_char(&t, '}');
	caller_put(c, &t);
}

/* The rules in the order of the policy, then what decides where none does, then those that are
 * gone. */
static bool
rules_more(struct caller *c)
{
	uint32_t count = (uint32_t)policy_rule_count(controller.newest->policy);
	unsigned looks = 0;
	const char *name;
	struct text t;

	if (c->stamp != controller.newest->number) {
		caller_refuse(c, "changed", "a new policy came while its rules were told");
		return false;
	}
	for (; c->at < count - RULE_SELF; c->at++) {
		if (caller_full(c) || looks++ >= LOOKS)
			return true;
		put_rule(c, c->at < count ? (int32_t)c->at : (int32_t)(count - c->at) - 1);
	}
	for (;;) {
		size_t at = (size_t)c->count;

		if (caller_full(c) || looks++ >= LOOKS)
			return true;
		if ((name = hits_book_next(counting.book, &at)) == NULL)
			break;
		put_gone(c, name);
		c->count = at;
	}
	caller_line(c, &t);
	text_put(&t, "{\"done\":true");
	put_when(&t, "since", hits_book_since(counting.book));
	text_putf(&t, ",\"kept\":%s}", counting.kept ? "true" : "false");
	caller_done(c, &t);
	return false;
}

bool
counting_look(void)
{
	if (counting.book != NULL)
		hits_book_look(counting.book);
	return counting.book != NULL;
}

bool
counting_of(const char *rule, struct hits_count *out)
{
	struct hits_total total = {0};

	if (counting.book == NULL || !hits_book_total(counting.book, rule, &total))
		return false;
	*out = total.count;
	return true;
}

void
counting_list(struct caller *c)
{
	if (counting.book == NULL || controller.newest == NULL) {
		caller_refuse(c, "unavailable", "nothing is counted at the moment");
		return;
	}
	hits_book_look(counting.book);
	c->at = 0;
	c->count = 0;
	c->stamp = controller.newest->number;
	c->more = rules_more;
}
