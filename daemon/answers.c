/*
 * daemon/answers.c - what the control socket answers, see daemon/controller.h: a table of commands.
 *
 * What can be seen in the books is told at once; for the rest the parent is asked, and what it says
 * comes to answer_told and its like. Each line is bounded: strings are told up to a length, and
 * long texts in pieces.
 */
#include "config.h"

#include "controller.h"
#include "counting.h"
#include "ranking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "walk/endings.h"
#include "wire/socks.h"

#define LOOKS 4096 /* cards a turn */
#define PIECE 640  /* bytes of a text in a line: each may become six */

static void
put_text(struct text *t, const char *key, const char *s)
{
	text_putf(t, ",\"%s\":", key);
	text_put_json(t, s, strlen(s), CONTROL_VALUE);
}

static void
put_when(struct text *t, const char *key, int64_t wall_ns)
{
	text_putf(t, ",\"%s\":\"", key);
	text_put_time(t, wall_ns);
	text_put_char(t, '"');
}

static void
put_age(struct text *t, const char *key, int64_t wall_ns)
{
	int64_t age = clock_wall_ns() - wall_ns;

	text_putf(t, ",\"%s\":%lld", key, (long long)(age > 0 ? age / NS_PER_S : 0));
}

/* ---- texts, piece by piece ----------------------------------------------------------------- */

static bool
text_more(struct caller *c)
{
	struct text t;

	while (c->text_at < c->text.len) {
		size_t n = c->text.len - c->text_at < PIECE ? c->text.len - c->text_at : PIECE;

		if (caller_full(c))
			return true;
		caller_line(c, &t);
		text_putf(&t, "{\"%s\":", c->text_key);
		text_put_json(&t, c->text.p + c->text_at, n, PIECE);
		text_put(&t, "}");
		caller_put(c, &t);
		c->text_at += n;
	}
	return false;
}

/* ---- status -------------------------------------------------------------------------------- */

static void
ask_status(struct caller *c)
{
	struct ipc_order o = {.what = ORDER_STATUS};

	caller_order(c, &o, "status");
}

static void
put_server(struct caller *c, const struct ipc_processes *p)
{
	struct text t;

	caller_line(c, &t);
	text_put(&t, "{\"server\":{\"version\":\"" PACKAGE_VERSION "\"");
	text_putf(&t, ",\"pid\":%d", p->list[0].pid);
	put_when(&t, "started", p->list[0].started_ns);
	put_age(&t, "uptime", p->list[0].started_ns);
	text_putf(&t, ",\"draining\":%s,\"handovers\":%u}}", p->draining ? "true" : "false",
		  p->handovers);
	caller_put(c, &t);
}

static void
put_policy(struct caller *c, const struct ipc_processes *p)
{
	const struct edition *e = controller.newest;
	struct text t;

	caller_line(c, &t);
	text_put(&t, "{\"policy\":{\"hash\":\"");
	text_put_hex(&t, policy_hash(e->policy), 6);
	text_put(&t, "\"");
	put_text(&t, "name", policy_name(e->policy));
	text_putf(&t, ",\"rules\":%zu,\"worst_case\":%u", policy_rule_count(e->policy),
		  policy_worst_case(e->policy));
	put_when(&t, "loaded", p->loaded_ns);
	text_putf(&t, ",\"reloads\":{\"taken\":%u,\"refused\":%u}}}", p->reloads_taken,
		  p->reloads_refused);
	caller_put(c, &t);
}

static void
put_ledger(struct caller *c, const struct ipc_processes *p)
{
	static const char *const words[] = {"ok", "refusing", "dropping"};
	const struct settings *s = controller_settings();
	struct text t;

	caller_line(c, &t);
	text_putf(&t, "{\"ledger\":{\"state\":\"%s\"",
		  p->audit_state < 3 ? words[p->audit_state] : "?");
	put_text(&t, "file", s->audit.file);
	if (p->audit_state != 0)
		put_text(&t, "error", strerror((int)p->audit_error));
	text_put(&t, "}}");
	caller_put(c, &t);
}

static void
put_copy(struct caller *c, const struct settings_copy *to, const struct lag *lag, double seconds)
{
	char where[SETTINGS_COPY_TEXT];
	struct text t;

	settings_copy_text(to, where);
	caller_line(c, &t);
	text_putf(&t, "{\"copy\":{\"name\":\"%s\",\"state\":\"%s\"", to->name,
		  lag_word(lag->state));
	put_text(&t, "to", where);
	if (lag->state == LAG_DOWN && lag->error != 0)
		put_text(&t, "error", strerror((int)lag->error));
	text_putf(&t, ",\"lag\":{\"records\":%llu,\"bytes\":%llu,\"seconds\":%.3f",
		  (unsigned long long)lag->records, (unsigned long long)lag->bytes, seconds);
	if (lag->oldest_ns > 0)
		put_when(&t, "oldest", lag->oldest_ns);
	text_putf(&t, "},\"seq\":%llu,\"sent\":%llu,\"dropped\":%llu}}",
		  (unsigned long long)lag->seq, (unsigned long long)lag->sent,
		  (unsigned long long)lag->dropped);
	caller_put(c, &t);
}

static void
put_copies(struct caller *c)
{
	const struct settings *s = controller_settings();
	double seconds;
	struct lag lag;

	for (uint32_t i = 0; controller_copy(i, &lag, &seconds); i++)
		put_copy(c, &s->audit.copies[i], &lag, seconds);
}

static void
put_limits(struct caller *c)
{
	const struct settings *s = controller_settings();
	struct text t;

	caller_line(c, &t);
	text_putf(&t, "{\"limits\":{\"sessions\":{\"used\":%u,\"most\":%u}",
		  tally_sessions(controller.tally), s->limits.sessions);
	text_putf(&t, ",\"handshakes\":{\"used\":%u,\"most\":%u}}}",
		  tally_handshakes(controller.tally), s->limits.handshakes);
	caller_put(c, &t);
}

static void
put_counts(struct caller *c)
{
	static const struct {
		const char *key;
		enum books_counter which;
	} rows[] = {{"accepted", COUNT_ACCEPTED},
		    {"started", COUNT_STARTED},
		    {"denied", COUNT_DENIED},
		    {"failed", COUNT_FAILED},
		    {"ended", COUNT_ENDED},
		    {"refused_limit", COUNT_REFUSED_LIMIT},
		    {"refused_policy", COUNT_REFUSED_POLICY},
		    {"refused_ledger", COUNT_REFUSED_LEDGER},
		    {"refused_descriptors", COUNT_REFUSED_FILES},
		    {"bytes_up", COUNT_BYTES_UP},
		    {"bytes_down", COUNT_BYTES_DOWN}};
	struct text t;

	caller_line(c, &t);
	text_put(&t, "{\"counts\":{");
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		text_putf(&t, "%s\"%s\":%llu", i > 0 ? "," : "", rows[i].key,
			  (unsigned long long)controller_count(rows[i].which));
	text_put(&t, "}}");
	caller_put(c, &t);
}

const char *
answer_role(uint32_t role)
{
	static const char *const words[ROLE_COUNT] = {[ROLE_PARENT] = "parent",
						      [ROLE_WORKER] = "worker",
						      [ROLE_LEDGER] = "ledger",
						      [ROLE_COMPILE] = "compile",
						      [ROLE_AUTHENTICATOR] = "authenticator",
						      [ROLE_CONTROL] = "control",
						      [ROLE_FORWARDER] = "forwarder",
						      [ROLE_NURSERY] = "nursery",
						      [ROLE_CHECKER] = "checker"};

	return role < ROLE_COUNT ? words[role] : "?";
}

/* What is in force, not what is configured. */
static void
put_sandbox(struct text *t, uint32_t state)
{
	text_putf(t, ",\"sandbox\":{\"seccomp\":\"%s\",\"landlock\":%u,\"no_new_privs\":%s,\"dumpable\":%s}",
		  (state & IPC_SANDBOX_SECCOMP) != 0	   ? "on"
		  : (state & IPC_SANDBOX_SECCOMP_LOG) != 0 ? "log"
							   : "off",
		  (state & IPC_SANDBOX_LANDLOCK) != 0 ? state >> 8 & 0xff : 0,
		  (state & IPC_SANDBOX_NO_NEW_PRIVS) != 0 ? "true" : "false",
		  (state & IPC_SANDBOX_NO_DUMP) != 0 ? "false" : "true");
}

static void
put_process(struct caller *c, const struct ipc_process *p)
{
	static const char *const states[] = {"down", "starting", "ready", "leaving"};
	struct text t;

	caller_line(c, &t);
	text_putf(&t, "{\"process\":{\"role\":\"%s\"", answer_role(p->role));
	if (p->role == ROLE_WORKER)
		text_putf(&t, ",\"index\":%u", p->index);
	text_putf(&t, ",\"pid\":%d,\"state\":\"%s\",\"restarts\":%u", p->pid,
		  p->state < 4 ? states[p->state] : "?", p->restarts);
	if (p->started_ns != 0) {
		put_when(&t, "started", p->started_ns);
		put_age(&t, "uptime", p->started_ns);
	}
	put_sandbox(&t, p->sandbox);
	text_put(&t, "}}");
	caller_put(c, &t);
}

void
answer_processes(const struct message *m)
{
	const struct ipc_processes *p = m->body;
	struct caller *c = caller_of(p->ticket);
	struct text t;

	memcpy(&controller.processes, p, m->len);
	if (c == NULL || p->count == 0)
		return;
	put_server(c, p);
	put_policy(c, p);
	put_ledger(c, p);
	put_copies(c);
	put_limits(c);
	put_counts(c);
	for (uint32_t i = 0; i < p->count; i++)
		put_process(c, &p->list[i]); /* 80 of 250 bytes: there is room */
	caller_line(c, &t);
	text_put(&t, "{\"done\":true}");
	caller_done(c, &t);
	caller_wake(c);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static bool
metrics_more(struct caller *c)
{
	struct text t;

	if (text_more(c))
		return true;
	caller_line(c, &t);
	text_put(&t, "{\"done\":true}");
	caller_done(c, &t);
	return false;
}

static void
tell_metrics(struct caller *c)
{
	metrics_put(&c->text, c->request.value[CONTROL_OPENMETRICS].yes);
	c->text_at = 0;
	c->text_key = "metrics";
	c->more = metrics_more;
}

/* ---- sessions ------------------------------------------------------------------------------ */

/* The name itself, or something below it; as it was sent, but for case. */
static bool
within(const char *name, size_t len, const char *wanted)
{
	size_t n = strlen(wanted);

	if (len > 0 && name[len - 1] == '.')
		len--;
	return len >= n && strncasecmp(name + len - n, wanted, n) == 0 &&
	       (len == n || name[len - n - 1] == '.');
}

static bool
is_wanted(const struct caller *c, const struct books *b, const struct card_seen *s)
{
	const struct control_request *r = &c->request;
	const struct card *card = &s->card;
	uint64_t age = (uint64_t)((clock_wall_ns() - card->start_ns) / NS_PER_S);
	char id[BOOKS_ID];

	if (control_given(r, CONTROL_USER) &&
	    strcmp(s->strings[CARD_USER], r->value[CONTROL_USER].string) != 0)
		return false;
	if (control_given(r, CONTROL_SOURCE) && !prefix_contains(&c->source, &card->source))
		return false;
	if (control_given(r, CONTROL_OLDER) && age < r->value[CONTROL_OLDER].number)
		return false;
	if (control_given(r, CONTROL_YOUNGER) && age >= r->value[CONTROL_YOUNGER].number)
		return false;
	if (control_given(r, CONTROL_DESTINATION) &&
	    (c->destination_address ? (card->flags & CARD_HAS_ADDRESS) == 0 ||
					  !prefix_contains(&c->destination, &card->destination)
				    : !within(s->strings[CARD_NAME], card->name_len,
					      r->value[CONTROL_DESTINATION].string)))
		return false;
	if (control_given(r, CONTROL_RULE) &&
	    strcmp(controller_rule(card), r->value[CONTROL_RULE].string) != 0)
		return false;
	if (!control_given(r, CONTROL_ID))
		return true;
	books_session_id(b, card, id);
	return strcasecmp(id, r->value[CONTROL_ID].string) == 0;
}

static void
put_ends(struct text *t, const struct books *b, const struct card_seen *s, const struct card *place)
{
	const struct card *c = &s->card;
	char at[ADDR_TEXT];

	addr_format(&c->source, at);
	text_putf(t, ",\"source\":{\"ip\":\"%s\",\"port\":%u,\"bytes\":%llu}", at, c->source_port,
		  (unsigned long long)c->up);
	text_putf(t, ",\"destination\":{\"port\":%u,\"bytes\":%llu", c->destination_port,
		  (unsigned long long)c->down);
	if (c->name_len > 0) {
		text_put(t, ",\"domain\":");
		text_put_json(t, s->strings[CARD_NAME], c->name_len, CONTROL_VALUE);
	}
	if ((c->flags & CARD_HAS_ADDRESS) != 0) {
		addr_format(&c->destination, at);
		text_putf(t, ",\"ip\":\"%s\"", at);
	}
	/* that of a BIND tells of the peer that called */
	if (c->command == SOCKS_BIND && (c->flags & CARD_HAS_NAT) != 0)
		text_putf(t, ",\"asked_port\":%u", card_door(b, place)->port);
	text_put_char(t, '}');
}

static const char *
command_word(uint8_t command)
{
	static const char *const words[] = {"", "connect", "bind", "udp-associate"};

	return command < 4 ? words[command] : "";
}

/* By the identity that the rule has taken. */
static const char *
auth_word(uint8_t auth)
{
	static const char *const words[] = {"pam", "file", "gssapi", "chap", "ident", "userid"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if ((auth >> i & 1) != 0)
			return words[i];
	return "";
}

static int64_t
decided_ns(const struct card *c, bool started)
{
	return started && c->told_ns != 0 ? c->told_ns : c->start_ns;
}

static void
put_session(struct caller *c, const struct books *b, const struct card_seen *s,
	    const struct card *place)
{
	const struct settings *settings = controller_settings();
	const struct card *card = &s->card;
	bool destination = card_is_destination(card),
	     started = destination || atomic_load_explicit(&card->state, memory_order_relaxed) ==
					  CARD_STARTED;
	char id[BOOKS_ID];
	struct text t;

	books_session_id(b, card, id);
	caller_line(c, &t);
	text_putf(&t, "{\"session\":\"%s\",\"state\":\"%s\"", id,
		  destination ? "destination"
		  : started   ? "open"
			      : "opening");
	put_when(&t, "started", card->start_ns);
	put_age(&t, "age", card->start_ns);
	put_text(&t, "user", s->strings[CARD_USER]);
	put_ends(&t, b, s, place);
	put_text(&t, "rule", started ? controller_rule(card) : "");
	put_text(&t, "listener",
		 card->listener < settings->listener_count && card->listener < SETTINGS_LISTENERS
		     ? settings->listeners[card->listener].name
		     : "");
	put_text(&t, "command", command_word(card->command));
	put_text(&t, "auth", auth_word(card->auth));
	put_when(&t, "decided", decided_ns(card, started));
	text_putf(&t, ",\"version\":%u,\"worker\":%u}", card->version, books_worker(b));
	caller_put(c, &t);
}

static bool
sessions_more(struct caller *c)
{
	static struct card_seen seen;
	unsigned looks = 0;
	struct text t;

	for (; c->view < SHELVES_MAX; c->view++, c->at = 0) {
		struct view *v = &controller.views[c->view];
		const struct card *card;

		if (c->at == 0)
			c->stamp = v->stamp;
		while (v->books != NULL && v->stamp == c->stamp) {
			if (caller_full(c) || looks++ >= LOOKS)
				return true;
			if ((card = books_next_open(v->books, &c->at)) == NULL)
				break;
			if (!card_look(v->books, card, &seen) ||
			    (card_is_destination(&seen.card) &&
			     !c->request.value[CONTROL_DESTINATIONS].yes) ||
			    !is_wanted(c, v->books, &seen))
				continue;
			put_session(c, v->books, &seen, card);
			if (card_is_destination(&seen.card))
				c->destinations++;
			else
				c->count++;
		}
	}
	caller_line(c, &t);
	text_putf(&t, "{\"done\":true,\"sessions\":%llu", (unsigned long long)c->count);
	if (control_given(&c->request, CONTROL_ID)) { /* to say what judges it now */
		text_put(&t, ",\"policy\":\"");
		text_put_hex(&t, policy_hash(controller.newest->policy), 6);
		text_put_char(&t, '"');
	}
	if (c->request.value[CONTROL_DESTINATIONS].yes)
		text_putf(&t, ",\"destinations\":%llu", (unsigned long long)c->destinations);
	text_put_char(&t, '}');
	caller_done(c, &t);
	return false;
}

static void
list_sessions(struct caller *c)
{
	const struct control_request *r = &c->request;
	const char *source = r->value[CONTROL_SOURCE].string,
		   *destination = r->value[CONTROL_DESTINATION].string;

	if (control_given(r, CONTROL_SOURCE) &&
	    prefix_parse(source, strlen(source), &c->source) != PREFIX_OK) {
		caller_refuse(c, "bad-value", "the source is no address and no network");
		return;
	}
	c->destination_address =
	    prefix_parse(destination, strlen(destination), &c->destination) == PREFIX_OK;
	c->view = 0;
	c->at = 0;
	c->count = c->destinations = 0;
	c->more = sessions_more;
}

/* ---- orders -------------------------------------------------------------------------------- */

static void
order_reload(struct caller *c)
{
	bool preview =
	    control_given(&c->request, CONTROL_PREVIEW) && c->request.value[CONTROL_PREVIEW].yes;
	struct ipc_order o = {.what = preview ? ORDER_PREVIEW : ORDER_RELOAD,
			      .json = c->request.value[CONTROL_JSON].yes};

	caller_order(c, &o, preview ? "reload --preview" : "reload");
}

static void
order_drain(struct caller *c)
{
	struct ipc_order o = {.what = ORDER_DRAIN};

	caller_order(c, &o, "drain");
}

static void
order_reopen(struct caller *c)
{
	struct ipc_order o = {.what = ORDER_REOPEN};

	caller_order(c, &o, "reopen");
}

static void
order_restart(struct caller *c)
{
	struct ipc_order o = {.what = ORDER_RESTART};

	caller_order(c, &o, "restart");
}

/* The rule's number in each policy that a session may have started under. */
static void
rule_numbers(struct ipc_kill *k, const char *name)
{
	for (int i = 0; i < GENERATIONS_MAX && k->rule_count < IPC_KILL_RULES; i++) {
		const struct edition *e = &controller.editions[i];
		int32_t rule = e->number != 0 ? policy_rule_find(e->policy, name) : RULE_NONE;

		if (rule == RULE_NONE)
			continue;
		k->rules[k->rule_count].generation = e->number;
		k->rules[k->rule_count++].rule = rule;
	}
}

static bool
kill_what(struct caller *c, struct ipc_kill *k)
{
	const struct control_request *r = &c->request;
	const char *id = r->value[CONTROL_ID].string, *rule = r->value[CONTROL_RULE].string;
	int64_t ms;
	uint32_t low;

	if (control_given(r, CONTROL_USER)) {
		k->by = KILL_USER;
		snprintf(k->user, sizeof k->user, "%s", r->value[CONTROL_USER].string);
		return true;
	}
	if (control_given(r, CONTROL_RULE)) {
		k->by = KILL_RULE;
		rule_numbers(k, rule);
		if (k->rule_count == 0)
			caller_refuse(c, "not-found", "no rule has that name");
		return k->rule_count > 0;
	}
	k->by = KILL_ID;
	for (size_t i = 0; i + 1 < sizeof k->id && id[i] != '\0'; i++)
		k->id[i] = id[i] >= 'a' && id[i] <= 'z' ? (char)(id[i] - 'a' + 'A') : id[i];
	if (strlen(id) != BOOKS_ID - 1 || !books_id_parse(k->id, &ms, &low)) {
		caller_refuse(c, "bad-value", "that is no identifier of a session");
		return false;
	}
	return true;
}

static void
order_kill(struct caller *c)
{
	struct ipc_order o = {.what = ORDER_KILL};
	const struct control_request *r = &c->request;
	uint32_t given = r->given;
	char words[CONTROL_VALUE + 32];

	if (given == 0 || (given & (given - 1)) != 0) {
		caller_refuse(c, "bad-value", "one of session, user and rule must be given");
		return;
	}
	if (!kill_what(c, &o.kill))
		return;
	if (o.kill.by == KILL_ID)
		snprintf(words, sizeof words, "kill %s", o.kill.id);
	else if (o.kill.by == KILL_USER)
		snprintf(words, sizeof words, "kill --user %s", o.kill.user);
	else
		snprintf(words, sizeof words, "kill --rule %s", r->value[CONTROL_RULE].string);
	caller_order(c, &o, words);
}

/* ---- what became of them ------------------------------------------------------------------- */

void
answer_text(const struct message *m)
{
	const struct ipc_answer_text *head = m->body;
	struct caller *c = caller_of(head->ticket);

	if (c != NULL)
		buffer_put(&c->text, (const char *)m->body + sizeof *head, m->len - sizeof *head);
}

static const char *
why_not(const struct ipc_answer *a)
{
	if (a->why[0] != '\0')
		return a->why;
	if (a->error != 0)
		return strerror((int)a->error);
	return a->errors > 0 ? "the files have errors" : "the files could not be read";
}

static void
put_done(struct caller *c)
{
	const struct ipc_answer *a = &c->answer;
	struct text t;

	caller_line(c, &t);
	text_put(&t, "{\"done\":true");
	if (a->result != ANSWER_DONE) {
		text_put(&t, ",\"code\":\"failed\"");
		put_text(&t, "error", why_not(a));
	}
	switch (c->request.command) {
	case CONTROL_RELOAD:
		text_putf(&t, ",\"errors\":%u,\"warnings\":%u,\"rules\":%u,\"sessions\":%u",
			  a->errors, a->warnings, a->rules, a->sessions);
		text_put(&t, ",\"hash\":\"");
		text_put_hex(&t, a->hash, 6);
		text_put_char(&t, '"');
		break;
	case CONTROL_KILL:
		text_putf(&t, ",\"sessions\":%u", a->sessions);
		break;
	case CONTROL_DRAIN:
		text_putf(&t, ",\"within_ms\":%u", a->within_ms);
		break;
	case CONTROL_RESTART:
		text_putf(&t, ",\"within_ms\":%u,\"workers\":%u,\"sessions\":%u", a->within_ms,
			  a->workers, a->sessions);
		break;
	default:
		break;
	}
	text_put(&t, "}");
	caller_done(c, &t);
}

static bool
told_more(struct caller *c)
{
	if (text_more(c))
		return true;
	put_done(c);
	return false;
}

void
answer_told(const struct message *m)
{
	const struct ipc_answer *a = m->body;
	struct caller *c = caller_of(a->ticket);

	if (c == NULL)
		return;
	if (a->result == ANSWER_BUSY)
		caller_refuse(c, "busy", "the server has too many other orders");
	else if (a->result == ANSWER_DRAINING)
		caller_refuse(c, "draining", "the server is on its way down");
	else {
		c->ticket = 0;
		c->answer = *a;
		c->text_at = 0;
		c->text_key = "problems";
		c->more = told_more;
	}
	caller_wake(c);
}

/* ---- the table ----------------------------------------------------------------------------- */

void
answer_begin(struct caller *c)
{
	static void (*const begin[CONTROL_COMMANDS])(struct caller *) = {
	    [CONTROL_STATUS] = ask_status,   [CONTROL_SESSIONS] = list_sessions,
	    [CONTROL_RULES] = counting_list, [CONTROL_KILL] = order_kill,
	    [CONTROL_RELOAD] = order_reload, [CONTROL_DRAIN] = order_drain,
	    [CONTROL_REOPEN] = order_reopen, [CONTROL_RESTART] = order_restart,
	    [CONTROL_METRICS] = tell_metrics,
	    [CONTROL_TOP] = ranking_begin};
	const struct control_row *row = &control_commands[c->request.command];

	if (!row->operator|| c->operator) {
		begin[c->request.command](c);
		return;
	}
	caller_note(c, row->word, "a viewer may not do that");
	caller_refuse(c, "denied", "'%s' is for operators: you are a viewer of this server",
		      row->word);
}
