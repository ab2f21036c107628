/*
 * books/record.c - see books/record.h: what the ledger writes of a session, as NDJSON by the
 * Elastic Common Schema (AUDIT.md: fixed key order, ASCII) or as one line for a terminal.
 * Runs in the ledger; pure but for the time zone of the short form; never blocks.
 *
 * Strings that came from outside are told up to a limit. A line that would still be too long is
 * told again with shorter strings; what is not a string always fits.
 */
#include "books/record.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LIT(t, s) text_put_bytes((t), "" s, sizeof(s) - 1)

/* How many bytes of a string are told; the second when the first makes too long a line. */
static const size_t string_limits[] = {255, 40};

/* What a record of the event tells beside who and when. */
enum {
	TELL_TARGET = 1, /* command, destination, rule, addresses used */
	TELL_REPLY = 2,  /* the success reply */
	TELL_BYTES = 4,  /* with start and duration */
	TELL_END = 8,    /* event.end */
	TELL_MS = 16,    /* what the stages took */
};
#define TELL_OVER (TELL_TARGET | TELL_BYTES | TELL_END | TELL_MS)

struct event_row {
	const char *opening; /* of "event", up to the id */
	size_t opening_len;
	const char *action, *outcome, *number;
	const char *word, *colour; /* short form */
	unsigned tells;
};

#define SESSION "\"network\",\"session\""
#define AUTHENTICATION "\"authentication\""
#define OPENING(action, category, type, outcome)                                                   \
	",\"event\":{\"kind\":\"event\",\"category\":[" category "],\"type\":[" type               \
	"],\"action\":\"" action "\",\"outcome\":\"" outcome "\",\"id\":\""
#define ROW(action, category, type, outcome, ...)                                                  \
	{                                                                                          \
		OPENING(action, category, type, outcome),                                          \
		    sizeof(OPENING(action, category, type, outcome)) - 1, action, outcome,         \
		    __VA_ARGS__                                                                    \
	}

/* Category and type as ECS allows them together (ecs.version). */
static const struct event_row events[EVENT_COUNT] = {
    [EVENT_NONE] = ROW("none", SESSION, "\"info\"", "unknown", "0", "none", "", 0),
    [EVENT_START] = ROW("session-start", SESSION, "\"connection\",\"start\",\"allowed\"", "success",
			"1", "open", "\033[32m", TELL_TARGET | TELL_REPLY),
    [EVENT_DENY] = ROW("session-deny", SESSION, "\"connection\",\"denied\"", "failure", "1", "deny",
		       "\033[1;31m", TELL_TARGET | TELL_MS),
    [EVENT_FAIL] = ROW("session-fail", SESSION, "\"connection\",\"end\"", "failure", "1", "fail",
		       "\033[33m", TELL_TARGET | TELL_MS),
    [EVENT_END] = ROW("session-end", SESSION, "\"connection\",\"end\"", "success", "2", "close",
		      "\033[36m", TELL_OVER),
    [EVENT_AUTH_SUCCESS] =
	ROW("auth-success", AUTHENTICATION, "\"start\"", "success", "3", "login", "\033[32m", 0),
    [EVENT_AUTH_FAILURE] =
	ROW("auth-failure", AUTHENTICATION, "\"start\"", "failure", "4", "wrong", "\033[1;31m", 0),
    [EVENT_LOCKOUT] =
	ROW("lockout", AUTHENTICATION, "\"info\"", "failure", "5", "lock", "\033[1;31m", 0),
    [EVENT_BIND_LISTEN] = ROW("bind-listen", SESSION, "\"connection\",\"info\"", "success", "6",
			      "door", "\033[32m", TELL_TARGET),
    [EVENT_BIND_ACCEPT] = ROW("bind-accept", SESSION, "\"connection\",\"info\"", "success", "7",
			      "call", "\033[32m", TELL_TARGET),
    /* its number is followed by the age that it tells */
    [EVENT_PROGRESS] = ROW("session-progress", SESSION, "\"connection\",\"info\"", "success", "8",
			   "still", "\033[36m", TELL_TARGET | TELL_BYTES),
    [EVENT_DESTINATION] = ROW("udp-destination", SESSION, "\"connection\",\"info\"", "success", "9",
			      "udp", "\033[36m", TELL_OVER),
};

/* A destination that was denied is told by the same event. */
static const struct event_row destination_denied =
    ROW("udp-destination", SESSION, "\"connection\",\"denied\"", "failure", "9", "udp",
	"\033[1;31m", TELL_OVER);

static const struct event_row *
row_of(const struct record *r)
{
	if (r->event == EVENT_DESTINATION && r->reason != NULL && *r->reason != '\0')
		return &destination_denied;
	return &events[r->event < EVENT_COUNT ? r->event : EVENT_NONE];
}

const char *
record_action(enum books_event e)
{
	return e < EVENT_COUNT ? events[e].action : events[EVENT_NONE].action;
}

/* The bits of a card's auth, lowest first: rules.h AUTH_PAM, AUTH_FILE, ... */
static const struct {
	const char *word, *assurance;
} ways[] = {{"pam", "proven"},  {"file", "proven"},    {"gssapi", "proven"},
	    {"chap", "proven"}, {"ident", "asserted"}, {"userid", "asserted"}};

/* What a GSSAPI session has agreed on, by level. */
static const char *const protections[] = {"none", "integrity", "confidentiality"};

static unsigned
way_of(const struct card *c)
{
	unsigned i;

	for (i = 0; i < COUNT(ways); i++)
		if (c->auth & 1u << i)
			break;
	return i;
}

static const char *const commands[] = {NULL, "connect", "bind", "udp-associate"};

static size_t
string_of(const struct record *r, enum card_string which, char buf[256])
{
	return card_string(r->books, r->shared != NULL ? r->shared : r->card, which, buf);
}

static bool
given(const char *s)
{
	return s != NULL && *s != '\0';
}

/* -- ECS ------------------------------------------------------------------------------------ */

static void
put_time(struct text *t, int64_t ns)
{
	text_put_char(t, '"');
	text_put_time(t, ns < 0 ? 0 : ns); /* a broken worker's card may hold anything */
	text_put_char(t, '"');
}

/* A long of ECS has a sign. */
static void
put_long(struct text *t, uint64_t v)
{
	text_put_u64(t, v > INT64_MAX ? INT64_MAX : v);
}

/* Opens an object at its first member and separates the others; both are constants. */
#define MEMBER(t, any, object, name)                                                               \
	do {                                                                                       \
		if (any)                                                                           \
			LIT(t, ",\"" name "\":");                                                  \
		else                                                                               \
			LIT(t, ",\"" object "\":{\"" name "\":");                                  \
		(any) = true;                                                                      \
	} while (0)

static void
close_object(struct text *t, bool any)
{
	if (any)
		text_put_char(t, '}');
}

static void
put_string(struct text *t, const char *s, size_t limit)
{
	text_put_json(t, s, strlen(s), limit);
}

static void
put_address(struct text *t, const struct addr *a)
{
	char buf[1 + ADDR_TEXT] = "\"";
	size_t len = 1 + addr_format(a, buf + 1);

	buf[len++] = '"'; /* where the NUL was */
	text_put_bytes(t, buf, len);
}

static void
put_event(struct text *t, const struct record *r, const char *id)
{
	const struct card *c = r->card;
	const struct event_row *e = row_of(r);
	bool still = r->event == EVENT_PROGRESS;

	text_put_bytes(t, e->opening, e->opening_len);
	text_put_bytes(t, id, BOOKS_ID - 1);
	text_put_char(t, '-');
	text_put(t, e->number);
	if (still) {
		text_put_char(t, '-');
		text_put_u64(t, r->age_s);
	}
	text_put_char(t, '"');
	if (e->tells & (TELL_BYTES | TELL_END)) {
		LIT(t, ",\"start\":");
		put_time(t, c->start_ns);
	}
	if (e->tells & TELL_END) {
		LIT(t, ",\"end\":");
		put_time(t, c->end_ns);
	}
	if (e->tells & (TELL_BYTES | TELL_END)) {
		LIT(t, ",\"duration\":");
		put_long(t, still ? r->age_s * (uint64_t)NS_PER_S : c->duration_ns);
	}
	if (given(r->ending)) {
		LIT(t, ",\"reason\":");
		put_string(t, r->ending, 64);
	}
	text_put_char(t, '}');
}

static void
put_user(struct text *t, const struct record *r, size_t limit)
{
	char user[256];
	size_t len = string_of(r, CARD_USER, user);

	if (len == 0)
		return;
	LIT(t, ",\"user\":{\"name\":");
	text_put_json(t, user, len, limit);
	text_put_char(t, '}');
}

static void
put_source(struct text *t, const struct record *r)
{
	unsigned tells = row_of(r)->tells;
	const struct card *c = r->card;

	LIT(t, ",\"source\":{\"ip\":");
	put_address(t, &c->source);
	LIT(t, ",\"port\":");
	text_put_u64(t, c->source_port);
	if (tells & TELL_TARGET && c->flags & CARD_HAS_NAT) {
		LIT(t, ",\"nat\":{\"ip\":");
		put_address(t, &c->nat);
		LIT(t, ",\"port\":");
		text_put_u64(t, c->nat_port);
		text_put_char(t, '}');
	}
	if (tells & TELL_BYTES) {
		LIT(t, ",\"bytes\":");
		put_long(t, c->up);
		if (c->command == 3) {
			LIT(t, ",\"packets\":");
			put_long(t, c->datagrams[0]);
		}
	}
	text_put_char(t, '}');
}

static void
put_destination(struct text *t, const struct record *r, size_t limit)
{
	const struct card *c = r->card;
	char name[256];
	size_t len = string_of(r, CARD_NAME, name);
	bool any = false;

	if (len > 0) {
		MEMBER(t, any, "destination", "domain");
		text_put_json(t, name, len, limit);
	}
	if (c->flags & CARD_HAS_ADDRESS) {
		MEMBER(t, any, "destination", "ip");
		put_address(t, &c->destination);
	}
	if (c->flags & CARD_HAS_REQUEST) {
		MEMBER(t, any, "destination", "port");
		text_put_u64(t, c->destination_port);
	}
	if (row_of(r)->tells & TELL_BYTES) {
		MEMBER(t, any, "destination", "bytes");
		put_long(t, c->down);
		if (c->command == 3) {
			MEMBER(t, any, "destination", "packets");
			put_long(t, c->datagrams[1]);
		}
	}
	close_object(t, any);
}

static void
put_network(struct text *t, const struct record *r)
{
	const struct card *c = r->card;

	LIT(t, ",\"network\":{\"transport\":");
	if (c->command == 3)
		LIT(t, "\"udp\"");
	else
		LIT(t, "\"tcp\"");
	if (row_of(r)->tells & TELL_TARGET && c->flags & CARD_HAS_ADDRESS) {
		if (addr_is4(&c->destination))
			LIT(t, ",\"type\":\"ipv4\"");
		else
			LIT(t, ",\"type\":\"ipv6\"");
	}
	LIT(t, ",\"protocol\":\"socks\"}");
}

static void
put_observer(struct text *t, const char *hostname, const char *version, const char *listener)
{
	bool any = false;

	if (given(hostname)) {
		MEMBER(t, any, "observer", "hostname");
		put_string(t, hostname, 64);
	}
	MEMBER(t, any, "observer", "product");
	LIT(t, "\"sallyport\"");
	if (given(version)) {
		MEMBER(t, any, "observer", "version");
		put_string(t, version, 32);
	}
	if (given(listener)) {
		MEMBER(t, any, "observer", "ingress");
		LIT(t, "{\"interface\":{\"name\":");
		put_string(t, listener, 64);
		LIT(t, "}}");
	}
	close_object(t, any);
}

static void
put_rule(struct text *t, const char *rule, const char *reference, size_t limit)
{
	bool any = false;

	if (given(rule)) {
		MEMBER(t, any, "rule", "id");
		put_string(t, rule, 64);
	}
	if (given(reference)) {
		MEMBER(t, any, "rule", "reference");
		put_string(t, reference, limit);
	}
	close_object(t, any);
}

/* Milliseconds as JSON has them: no zeros at the end. */
static void
put_ms(struct text *t, uint32_t us)
{
	char digits[4] = {'.', (char)('0' + us / 100 % 10), (char)('0' + us / 10 % 10),
			  (char)('0' + us % 10)};
	size_t len = sizeof(digits);

	text_put_u64(t, us / 1000);
	while (len > 1 && digits[len - 1] == '0')
		len--;
	if (len > 1)
		text_put_bytes(t, digits, len);
}

static void
put_stage_times(struct text *t, const struct card *c)
{
	static const char *const stages[STAGE_TIMES] = {
	    [STAGE_HANDSHAKE] = "\"handshake\":", [STAGE_AUTH] = "\"auth\":",
	    [STAGE_IDENT] = "\"ident\":",         [STAGE_DNS] = "\"dns\":",
	    [STAGE_CONNECT] = "\"connect\":",     [STAGE_FIRST_BYTE] = "\"first_byte\":"};
	bool any = false;
	unsigned i;

	for (i = 0; i < STAGE_TIMES; i++) {
		if (c->us[i] == 0)
			continue;
		if (any)
			text_put_char(t, ',');
		else
			LIT(t, ",\"ms\":{");
		any = true;
		text_put(t, stages[i]);
		put_ms(t, c->us[i]);
	}
	close_object(t, any);
}

static void
put_command(struct text *t, uint8_t command)
{
	text_put_char(t, '"');
	if (command < COUNT(commands) && commands[command] != NULL)
		text_put(t, commands[command]);
	else
		text_put_u64(t, command);
	text_put_char(t, '"');
}

static void
put_socks(struct text *t, const struct record *r, const char *session, size_t limit)
{
	const struct card *c = r->card;
	unsigned tells = row_of(r)->tells;
	unsigned way = way_of(c);
	char userid[256];
	size_t len = string_of(r, CARD_USERID, userid);

	LIT(t, ",\"socks\":{\"session\":\"");
	text_put_bytes(t, session, BOOKS_ID - 1);
	text_put_char(t, '"');
	if (c->version != 0) {
		LIT(t, ",\"version\":");
		text_put_u64(t, c->version);
	}
	if (tells & TELL_TARGET && c->command != 0) {
		LIT(t, ",\"command\":");
		put_command(t, c->command);
	}
	if (len > 0) {
		LIT(t, ",\"userid\":");
		text_put_json(t, userid, len, limit);
	}
	LIT(t, ",\"auth\":\"");
	text_put(t, way < COUNT(ways) ? ways[way].word : "none");
	LIT(t, "\",\"assurance\":\"");
	text_put(t, way < COUNT(ways) ? ways[way].assurance : "none");
	text_put_char(t, '"');
	if (c->protection > 0 && c->protection <= COUNT(protections)) {
		LIT(t, ",\"protection\":\"");
		text_put(t, protections[c->protection - 1]);
		text_put_char(t, '"');
	}
	if (tells & TELL_REPLY || (tells & TELL_TARGET && c->flags & CARD_REPLIED)) {
		LIT(t, ",\"reply\":");
		text_put_u64(t, c->reply);
	}
	if (c->command == 3 && r->event == EVENT_END) {
		LIT(t, ",\"dropped\":");
		put_long(t, c->dropped);
	}
	if (c->strangers > 0) {
		LIT(t, ",\"strangers\":");
		text_put_u64(t, c->strangers);
	}
	if (given(r->dry_run)) {
		LIT(t, ",\"dry_run\":");
		put_string(t, r->dry_run, 64);
	}
	if (tells & TELL_MS)
		put_stage_times(t, c);
	text_put_char(t, '}');
}

/* The policy in force: name and the first 12 hex digits of its hash. True: the object is open. */
static bool
put_policy(struct text *t, const char *name, const uint8_t *hash, size_t limit)
{
	bool any = false;

	if (given(name)) {
		MEMBER(t, any, "policy", "name");
		put_string(t, name, limit);
	}
	if (hash != NULL) {
		MEMBER(t, any, "policy", "hash");
		text_put_char(t, '"');
		text_put_hex(t, hash, 6);
		text_put_char(t, '"');
	}
	return any;
}

/* And why it said what it said. */
static void
end_policy(struct text *t, bool any, const char *reason)
{
	if (given(reason)) {
		MEMBER(t, any, "policy", "reason");
		put_string(t, reason, 32);
	}
	close_object(t, any);
}

static void
put_audit(struct text *t, uint64_t seq, const uint8_t *prev, const struct chain_tail *more)
{
	struct chain_tail tail;

	seq = seq > INT64_MAX ? INT64_MAX : seq; /* a long of ECS has a sign */
	if (more == NULL && prev != NULL) {
		chain_put_prev(t, seq, prev);
		text_put_char(t, '\n');
		return;
	}
	tail = more != NULL ? *more : (struct chain_tail){0};
	tail.seq = seq;
	if (prev != NULL) {
		memcpy(tail.prev, prev, sizeof tail.prev);
		tail.has |= CHAIN_HAS_PREV;
	}
	chain_put(t, &tail);
	text_put_char(t, '\n');
}

static void
put_head(struct text *t, int64_t at_ns)
{
	LIT(t, "{\"@timestamp\":");
	put_time(t, at_ns);
	LIT(t, ",\"ecs\":{\"version\":\"8.11.0\"}");
}

/* -- words that many lines have ------------------------------------------------------------- */

static void
words_begin(struct text *t, struct record_words *w)
{
	text_init(t, w->text, sizeof w->text);
}

static void
words_end(const struct text *t, struct record_words *w)
{
	w->len = t->cut ? 0 : (uint16_t)t->len;
}

void
record_observer(struct record_words *w, const char *hostname, const char *version,
		const char *listener)
{
	struct text t;

	words_begin(&t, w);
	put_observer(&t, hostname, version, listener);
	words_end(&t, w);
}

void
record_rule(struct record_words *w, const char *rule, const char *reference)
{
	struct text t;

	words_begin(&t, w);
	put_rule(&t, rule, reference, string_limits[0]);
	words_end(&t, w);
}

void
record_policy(struct record_words *w, const char *name, const uint8_t *hash)
{
	struct text t;

	words_begin(&t, w);
	put_policy(&t, name, hash, string_limits[0]);
	words_end(&t, w);
}

/* False: they must be told by their parts, since there are none, or strings must be shorter. */
static bool
put_words(struct text *t, const struct record_words *w, size_t limit)
{
	if (w == NULL || w->len == 0 || limit != string_limits[0])
		return false;
	text_put_bytes(t, w->text, w->len);
	return true;
}

/* -- records of sessions -------------------------------------------------------------------- */

size_t
record_ecs(const struct record *r, char *buf)
{
	char id[BOOKS_ID], session[BOOKS_ID];
	unsigned tells = row_of(r)->tells;
	struct text t;
	size_t i;

	books_id(r->books, r->card, id);
	if (card_is_destination(r->card))
		books_session_id(r->books, r->card, session);
	else
		memcpy(session, id, sizeof session);
	for (i = 0; i < COUNT(string_limits); i++) {
		size_t limit = string_limits[i];
		bool any = true;

		text_init(&t, buf, RECORD_MAX);
		put_head(&t, r->at_ns);
		put_event(&t, r, id);
		put_user(&t, r, limit);
		put_source(&t, r);
		if (tells & TELL_TARGET)
			put_destination(&t, r, limit);
		put_network(&t, r);
		if (!put_words(&t, r->observer_words, limit))
			put_observer(&t, r->hostname, r->version, r->listener);
		if (tells & TELL_TARGET && !put_words(&t, r->rule_words, limit))
			put_rule(&t, r->rule, r->reference, limit);
		put_socks(&t, r, session, limit);
		if (!put_words(&t, r->policy_words, limit))
			any = put_policy(&t, r->policy_name, r->policy_hash, limit);
		end_policy(&t, any, r->reason);
		put_audit(&t, r->seq, r->prev, NULL);
		if (!t.cut)
			break;
	}
	return t.len;
}

/* -- records that are not about a session --------------------------------------------------- */

struct plain_row {
	const char *action, *category, *type;
	const char *word, *colour, *said; /* short form */
};

static const struct plain_row plain_rows[] = {
    {"audit-start", "process", "start", "start", "\033[1m", "the ledger is open"},
    {"audit-stop", "process", "end", "stop", "\033[1m", "the ledger is closed"},
    {"audit-suspend", "file", "info", "lost", "\033[1;31m", "records could not be written"},
    {"audit-resume", "file", "info", "write", "\033[1m", "records are written again"},
    {"audit-rotate", "file", "change", "file", "\033[1m", "a new audit file"},
    {"checkpoint", "process", "info", "sign", "\033[2m", "all until here is signed"},
    {"clock-step", "host", "change", "clock", "\033[1;33m", "the clock was set"},
    {"policy-load", "configuration", "change", "load", "\033[1m", "policy in force"},
    {"policy-refused", "configuration", "info", "keep", "\033[1;33m",
     "new policy refused, the old one stays"},
    {"admin-action", "configuration", "info", "admin", "\033[1;36m", ""},
    {"worker-crash", "process", "end", "crash", "\033[1;31m", "a worker died"},
};

static const struct plain_row *
plain_row(const char *action)
{
	static const struct plain_row other = {"", "process", "info", "note", "", ""};
	size_t i;

	for (i = 0; i < COUNT(plain_rows); i++)
		if (strcmp(plain_rows[i].action, action) == 0)
			return &plain_rows[i];
	return &other;
}

static void
put_plain_event(struct text *t, const struct record_plain *r)
{
	const struct plain_row *row = plain_row(r->action);

	LIT(t, ",\"event\":{\"kind\":\"event\",\"category\":[\"");
	text_put(t, row->category);
	LIT(t, "\"],\"type\":[\"");
	text_put(t, row->type);
	LIT(t, "\"],\"action\":");
	put_string(t, r->action, 32);
	LIT(t, ",\"outcome\":");
	put_string(t, r->outcome, 16);
	if (given(r->reason)) {
		LIT(t, ",\"reason\":");
		put_string(t, r->reason, 64);
	}
	text_put_char(t, '}');
}

size_t
record_plain_ecs(const struct record_plain *r, char *buf)
{
	struct text t;
	size_t i;

	for (i = 0; i < COUNT(string_limits); i++) {
		size_t limit = string_limits[i];

		text_init(&t, buf, RECORD_MAX);
		put_head(&t, r->at_ns);
		put_plain_event(&t, r);
		if (given(r->text)) {
			LIT(&t, ",\"message\":");
			put_string(&t, r->text, limit * 4);
		}
		if (given(r->user)) {
			LIT(&t, ",\"user\":{\"name\":");
			put_string(&t, r->user, limit);
			LIT(&t, ",\"id\":");
			put_string(&t, r->user_id, 16);
			text_put_char(&t, '}');
		}
		put_observer(&t, r->hostname, r->version, NULL);
		end_policy(&t, put_policy(&t, r->policy_name, r->policy_hash, limit), NULL);
		put_audit(&t, r->seq, r->prev, r->chain);
		if (!t.cut)
			break;
	}
	return t.len;
}

/* -- short: for people at a terminal -------------------------------------------------------- */

#define DIM "\033[2m"
#define BOLD "\033[1m"
#define PLAIN "\033[0m"

#define CLIENT_WIDTH 21 /* 255.255.255.255:65535 */
#define TARGET_WIDTH 34
#define RULE_WIDTH 20

struct line {
	struct text t;
	bool colour;
	size_t column, mark; /* columns that people see; where the field began */
};

static void
say_colour(struct line *l, const char *escape)
{
	if (l->colour)
		text_put(&l->t, escape);
}

/* Everything is ASCII here, so a byte is a column. */
static void
say(struct line *l, const char *s)
{
	size_t before = l->t.len;

	text_put(&l->t, s);
	l->column += l->t.len - before;
}

/* Bytes from outside: without marks where they are plain, else quoted. */
static void
say_name(struct line *l, const char *s, size_t len)
{
	size_t before = l->t.len, i;

	for (i = 0; i < len; i++)
		if (s[i] <= 0x20 || s[i] >= 0x7f || s[i] == '\'' || s[i] == '\\')
			break;
	if (i == len && len <= 255)
		text_put_bytes(&l->t, s, len);
	else
		text_put_quoted(&l->t, s, len, 255);
	l->column += l->t.len - before;
}

/* A sentence: what is not printable is shown as a dot. */
static void
say_sentence(struct line *l, const char *s)
{
	for (; *s != '\0'; s++, l->column++)
		text_put_char(&l->t, *s >= 0x20 && *s <= 0x7e ? *s : '.');
}

static void
say_endpoint(struct line *l, const struct addr *a, uint16_t port)
{
	struct endpoint e = {*a, port};
	char buf[ENDPOINT_TEXT];

	endpoint_format(&e, buf);
	say(l, buf);
}

static void
field_begin(struct line *l)
{
	l->mark = l->column;
}

static void
field_end(struct line *l, size_t width)
{
	while (l->column - l->mark < width)
		say(l, " ");
}

static void
say_head(struct line *l, int64_t at_ns, const char *word, const char *colour)
{
	time_t seconds = (time_t)(at_ns / NS_PER_S);
	char now[16];
	struct tm tm;

	say_colour(l, DIM);
	if (localtime_r(&seconds, &tm) == NULL || strftime(now, sizeof(now), "%H:%M:%S", &tm) == 0)
		memcpy(now, "--:--:--", 9);
	say(l, now);
	say_colour(l, PLAIN);
	say(l, " ");
	say_colour(l, colour);
	field_begin(l);
	say(l, word);
	field_end(l, 5);
	say_colour(l, PLAIN);
	say(l, " ");
}

static void
say_client(struct line *l, const struct record *r)
{
	const struct card *c = r->card;
	char user[256];
	size_t len = string_of(r, CARD_USER, user);

	field_begin(l);
	say_endpoint(l, &c->source, c->source_port);
	if (len > 0) {
		say(l, " ");
		say_colour(l, BOLD);
		say_name(l, user, len);
		say_colour(l, PLAIN);
	}
	field_end(l, CLIENT_WIDTH);
}

static void
say_target(struct line *l, const struct record *r)
{
	const struct card *c = r->card;
	char name[256], address[ADDR_TEXT];
	size_t len = string_of(r, CARD_NAME, name);

	field_begin(l);
	say_colour(l, BOLD);
	if (len > 0) {
		char port[8];

		say_name(l, name, len);
		snprintf(port, sizeof(port), ":%u", c->destination_port);
		say(l, port);
	} else if (c->flags & CARD_HAS_ADDRESS) {
		say_endpoint(l, &c->destination, c->destination_port);
	} else {
		say(l, "-");
	}
	say_colour(l, PLAIN);
	if (len > 0 && c->flags & CARD_HAS_ADDRESS && r->event == EVENT_START) {
		addr_format(&c->destination, address);
		say_colour(l, DIM);
		say(l, " (");
		say(l, address);
		say(l, ")");
		say_colour(l, PLAIN);
	}
	field_end(l, TARGET_WIDTH);
	say(l, "  ");
}

static void
say_rule(struct line *l, const struct record *r)
{
	if (!given(r->rule))
		return;
	field_begin(l);
	say_colour(l, DIM);
	say(l, "rule ");
	say_colour(l, PLAIN);
	say_name(l, r->rule, strlen(r->rule));
	field_end(l, RULE_WIDTH);
	say(l, "  ");
}

static void
say_protocol(struct line *l, const struct card *c)
{
	char word[16];

	if (c->version == 0)
		return;
	snprintf(word, sizeof(word), "socks%u", c->version);
	say_colour(l, DIM);
	say(l, word);
	if (c->command > 1 && c->command < COUNT(commands)) {
		say(l, " ");
		say(l, commands[c->command]);
	}
	say_colour(l, PLAIN);
}

static void
say_amounts(struct line *l, const struct record *r)
{
	const struct card *c = r->card;
	struct text *t = &l->t;

	text_put_size(t, c->up);
	say_colour(l, DIM);
	LIT(t, " up, ");
	say_colour(l, PLAIN);
	text_put_size(t, c->down);
	say_colour(l, DIM);
	LIT(t, " down, ");
	say_colour(l, PLAIN);
	text_put_duration(t, r->event == EVENT_PROGRESS ? r->age_s * (uint64_t)NS_PER_S
							: c->duration_ns);
	LIT(t, "  ");
}

/* What there is to say of a proof. */
static void
say_way(struct line *l, const struct record *r)
{
	static const char *const said[EVENT_COUNT] = {[EVENT_AUTH_SUCCESS] = "known by ",
						      [EVENT_AUTH_FAILURE] = "not proven",
						      [EVENT_LOCKOUT] =
							  "locked out after too many failures"};
	unsigned way = way_of(r->card);

	if (r->event >= EVENT_COUNT || said[r->event] == NULL)
		return;
	say(l, said[r->event]);
	if (r->event == EVENT_AUTH_SUCCESS)
		say(l, way < COUNT(ways) ? ways[way].word : "nothing");
}

/* Why the policy said no, where it was not simply a rule. */
static const char *const denials[][2] = {
    {"default", "no rule allows it"},
    {"resolves-in", "the name leads where it may not"},
    {"undetermined", "could not be determined"},
    {"self", "this server itself"},
};

/* The ending's own word: it is the same in reply, log, metric and manual (PROTOCOL.md). */
static void
say_ending(struct line *l, const char *ending, const char *reason)
{
	size_t i;

	say_name(l, ending, strlen(ending));
	if (!given(reason))
		return;
	for (i = 0; i < COUNT(denials); i++)
		if (strcmp(denials[i][0], reason) == 0) {
			say(l, ": ");
			say(l, denials[i][1]);
		}
}

static size_t
line_end(struct line *l)
{
	/* no blanks at the end; a line that was cut is still a line */
	while (l->t.len > 0 && l->t.p[l->t.len - 1] == ' ')
		l->t.len--;
	if (l->t.len > RECORD_MAX - 2)
		l->t.len = RECORD_MAX - 2;
	l->t.p[l->t.len++] = '\n';
	l->t.p[l->t.len] = '\0';
	return l->t.len;
}

size_t
record_short(const struct record *r, char *buf)
{
	const struct event_row *e = row_of(r);
	struct line l = {.colour = r->colour};
	bool good = strcmp(e->outcome, "success") == 0;

	text_init(&l.t, buf, RECORD_MAX);
	say_head(&l, r->at_ns, e->word, e->colour);
	say_client(&l, r);
	if (e->tells & TELL_TARGET) {
		say_colour(&l, DIM);
		say(&l, " > ");
		say_colour(&l, PLAIN);
		say_target(&l, r);
		say_rule(&l, r);
	} else {
		say(&l, "   ");
		say_way(&l, r);
	}
	if (r->event == EVENT_START)
		say_protocol(&l, r->card);
	if (r->event == EVENT_BIND_LISTEN) {
		say(&l, "at ");
		say_endpoint(&l, &r->card->nat, r->card->nat_port);
	}
	if (e->tells & TELL_BYTES)
		say_amounts(&l, r);
	if (given(r->ending)) {
		if (!good)
			say_colour(&l, e->colour);
		say_ending(&l, r->ending, r->reason);
		if (!good)
			say_colour(&l, PLAIN);
	}
	return line_end(&l);
}

size_t
record_plain_short(const struct record_plain *r, char *buf)
{
	const struct plain_row *row = plain_row(r->action);
	struct line l = {.colour = r->colour};

	text_init(&l.t, buf, RECORD_MAX);
	say_head(&l, r->at_ns, row->word, row->colour);
	if (given(r->user)) {
		say_name(&l, r->user, strlen(r->user));
		say(&l, ": ");
		say_sentence(&l, given(r->text) ? r->text : "");
		return line_end(&l);
	}
	say(&l, row->said);
	if (given(r->policy_name)) {
		say(&l, ": ");
		say_name(&l, r->policy_name, strlen(r->policy_name));
	}
	if (r->policy_hash != NULL) {
		say_colour(&l, DIM);
		say(&l, given(r->policy_name) ? " " : ": ");
		text_put_hex(&l.t, r->policy_hash, 6);
		say_colour(&l, PLAIN);
	}
	if (given(r->text)) {
		say(&l, ": ");
		say_sentence(&l, r->text);
	}
	return line_end(&l);
}
