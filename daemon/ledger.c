/*
 * daemon/ledger.c - see daemon/ledger.h: hears what workers tell in their books, writes it, and
 * only then gives the cards back. Unprivileged; opens no file; blocks on the audit file at most.
 *
 * Many lines go out in one write. While sessions come and go it looks at the books every few
 * milliseconds, so that a worker need not ring; when nothing was heard for a while it arms the
 * bells and sleeps. When the file cannot be written nothing is given back and the workers are told
 * to take no new card, so they refuse new sessions: that is how "no record, no session" holds. With
 * audit.on-full = "drop" records are counted and thrown away instead, and the count is a record. It
 * may be killed at any instruction: what it had heard and not written lies on its desk
 * (books/desk.h), where the next ledger goes on.
 */
#include "config.h"

#include "ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "books/books.h"
#include "books/desk.h"
#include "books/quota.h"
#include "books/record.h"
#include "books/tally.h"
#include "channel.h"
#include "compile.h"
#include "rules/rules.h"
#include "settings/settings.h"
#include "walk/endings.h"

#define LOOK_MS 4       /* between two looks while there is something to hear */
#define LOOKS_IN_VAIN 5 /* then the bells */
#define HEARD_A_ROUND 1024 /* of each worker: a backlog shall not keep from rotating, or from hearing the parent */
#define RETRY_MS 250    /* a file that cannot be written */
#define ORPHAN_MS 5000  /* the parent is gone: how long workers have to end */
#define SHELVES 128     /* books of live workers, and of dead ones not yet closed */
#define GENERATIONS 64
#define LATER 32
#define CHECKPOINT_MS 1000 /* a line is not unsigned for longer */
#define CHECKPOINT_LINES 1000
#define ASK_AGAIN_MS 60000 /* for a new file, if none came */
#define CLOCK_STEP_NS (NS_PER_S / 2)
#define SYNC_TOLD_MS 60000
#define SYNC_MS 1000    /* behind checkpoints, not more often: a disk may take 10 ms and more */
#define KNOWN_RULES 256 /* and listeners: what their lines have in common */
#define KNOWN_LISTENERS 64
#define KEY_ROOM (4 * RECORD_MAX) /* on the desk, for lines without which others cannot be proven */
#define NOTES 64
#define NOTES_REFUSED 32 /* of them: what nobody was allowed leaves room for what was done */

struct shelf {
	struct books *books; /* NULL: empty */
	int bell;
	/* the worker is dead */
	bool gone, all_heard;
	int status;     /* wait status */
	uint32_t at;    /* cards below are not open */
	unsigned ended; /* sessions */
};

struct generation {
	uint32_t number; /* 0: empty */
	void *settings_at, *policy_at;
	size_t settings_len, policy_len;
	struct policy *policy;
	int64_t sessions; /* started under it and not ended */
	struct record_words words;
};

/* Of rules and listeners that were in use lately; generation 0: empty. */
struct known_rule {
	uint32_t generation;
	int32_t rule;
	struct rule_terms terms;
	struct record_words words;
};

struct known_listener {
	uint32_t generation, listener;
	struct record_words words;
};

/* The first line under a key, as long as there was no room for it. */
struct beginning {
	bool due;
	const char *action, *reason, *text;
	uint64_t from; /* the first line of its file, if that is another */
};

static struct {
	struct channel channel;
	int epoll;
	struct tally *tally;
	struct quotas *quotas;
	struct tally_limits limits;
	struct desk *desk;
	struct desk_facts *facts; /* on the desk */
	struct shelf shelves[SHELVES];
	struct generation generations[GENERATIONS];
	struct generation *found; /* the last one, which is most often the next */
	struct known_rule rules[KNOWN_RULES];
	struct known_listener listeners[KNOWN_LISTENERS];
	uint32_t newest;
	bool ready, stop, orphan, colour;
	int64_t stop_ms;
	char hostname[256];
	struct message *later[LATER]; /* came while we waited for a policy */
	unsigned later_count;
	struct ipc_note notes[NOTES]; /* not told yet */
	unsigned note_count;
	/* the file */
	int64_t file_since_ns; /* wall: its first record */
	uint64_t file_seq;     /* the record that tells its key */
	int64_t asked_ms;      /* for another one; 0: not */
	off_t file_length;     /* at the last checkpoint */
	bool sync_due;
	int64_t synced_ms;     /* 0: not yet */
	int64_t sync_told_ms;  /* that it failed */
	int64_t wall_ahead_ns; /* of the monotonic clock */
	bool heard;            /* something that books_done is owed for */
	/* in this process only, a new one for each file; NULL: none */
	struct evp_pkey_st *key;
	struct beginning begin; /* of this key */
	uint8_t public_key[CHAIN_KEY];
	int64_t checkpoint_ms; /* the last one */
} ledger;

/* ---- generations ------------------------------------------------------------------------- */

static struct generation *
generation_find(uint32_t number)
{
	struct generation *g = ledger.found;

	if (number == 0 || (g != NULL && g->number == number))
		return number != 0 ? g : NULL;
	for (g = ledger.generations; g < ledger.generations + GENERATIONS; g++)
		if (g->number == number)
			return ledger.found = g;
	return NULL;
}

static void
generation_drop(struct generation *g)
{
	struct ipc_policy over = {g->number, 0};

	channel_send(&ledger.channel, IPC_POLICY_OVER, &over, sizeof over, NULL, 0);
	policy_close(g->policy);
	munmap(g->settings_at, g->settings_len);
	munmap(g->policy_at, g->policy_len);
	memset(g, 0, sizeof *g);
}

static bool
in_use(uint32_t number)
{
	for (int i = 0; i < SHELVES; i++) {
		const struct card *c;
		uint32_t at = 0;

		while (ledger.shelves[i].books != NULL &&
		       (c = books_next_open(ledger.shelves[i].books, &at)) != NULL)
			if (c->policy == number)
				return true;
	}
	return false;
}

/* What was kept for a ledger that is restarted, and no card names. */
static void
drop_unused(void)
{
	for (struct generation *g = ledger.generations; g < ledger.generations + GENERATIONS; g++)
		if (g->number != 0 && g->number + 1 < ledger.newest && !in_use(g->number))
			generation_drop(g);
}

/* An old policy stays while a session that started under it lives: its end names the rule. In a
 * ledger that is restarted nobody knows before all books are here. */
static struct generation *
generation_room(void)
{
	struct generation *room = NULL, *old = NULL;

	for (int i = 0; i < GENERATIONS; i++) {
		struct generation *g = &ledger.generations[i];

		if (ledger.ready && g->number != 0 && g->sessions <= 0 &&
		    g->number + 1 < ledger.newest)
			generation_drop(g);
		if (g->number == 0)
			room = g;
		else if (old == NULL || g->number < old->number)
			old = g;
	}
	if (room == NULL) {
		generation_drop(old);
		room = old;
	}
	return room;
}

static const struct settings *
settings_now(void)
{
	struct generation *g = generation_find(ledger.newest);

	return g != NULL ? g->settings_at : NULL;
}

/* ---- writing ------------------------------------------------------------------------------- */

static void
tell_state(uint32_t state, int error)
{
	struct ipc_audit_state body = {state, (uint32_t)error, ledger.facts->seq};

	channel_send(&ledger.channel, IPC_AUDIT_STATE, &body, sizeof body, NULL, 0);
}

static void
all_done(void)
{
	if (!ledger.heard)
		return;
	for (int i = 0; i < SHELVES; i++)
		if (ledger.shelves[i].books != NULL)
			books_done(ledger.shelves[i].books);
	ledger.heard = false;
}

static void
refuse(bool yes)
{
	for (int i = 0; i < SHELVES; i++)
		if (ledger.shelves[i].books != NULL)
			books_refuse(ledger.shelves[i].books, yes);
}

static bool
drops(void)
{
	const struct settings *s = settings_now();

	return s != NULL && s->audit.on_full == ON_FULL_DROP;
}

/* Milliseconds until what is written must reach the disk, as audit.sync wants it; -1: it need not.
 */
static int
sync_in(void)
{
	const struct settings *s = settings_now();
	int64_t since;

	if (!ledger.sync_due || s == NULL || s->audit.sync == SYNC_NONE)
		return -1;
	since = clock_mono_ns() / NS_PER_MS - ledger.synced_ms;
	if (s->audit.sync == SYNC_BATCH || ledger.synced_ms == 0 || since >= SYNC_MS)
		return 0;
	return (int)(SYNC_MS - since);
}

static void
sync_file(void)
{
	int64_t now = clock_mono_ns() / NS_PER_MS;
	int error;

	ledger.sync_due = false;
	ledger.synced_ms = now;
	if ((error = desk_sync(ledger.desk)) == 0)
		return;
	if (ledger.sync_told_ms == 0 || now - ledger.sync_told_ms >= SYNC_TOLD_MS)
		log_error("the audit file did not reach the disk: %s", strerror(error));
	ledger.sync_told_ms = now;
}

/* The file is left: its last checkpoint waits for nothing. */
static void
sync_last(void)
{
	if (sync_in() != -1)
		sync_file();
}

static bool
syncs_batches(void)
{
	const struct settings *s = settings_now();

	return s != NULL && s->audit.sync == SYNC_BATCH;
}

/* True when everything stands in the file (or may be dropped). */
static bool
flush(void)
{
	bool failing;
	int error;

	if (desk_empty(ledger.desk)) { /* which says nothing of the file */
		if (sync_in() == 0)
			sync_file();
		all_done();
		return true;
	}
	error = desk_write(ledger.desk);
	failing = error != 0;
	if (failing && drops() && desk_drop(ledger.desk) > 0)
		all_done();
	if (failing && ledger.facts->suspended_ns == 0) {
		ledger.facts->suspended_ns = clock_wall_ns();
		ledger.facts->suspend_error = (uint32_t)error;
	}
	if (failing != (ledger.facts->failing != 0))
		tell_state(!failing ? 0 : drops() ? 2 : 1, error);
	if (failing || ledger.facts->failing)
		refuse(failing && !drops());
	ledger.facts->failing = failing;
	if (failing && !desk_written(ledger.desk))
		return false;
	ledger.sync_due |= syncs_batches();
	if (!failing && sync_in() == 0)
		sync_file();
	all_done();
	desk_clear(ledger.desk);
	return true;
}

static char *
room_of(size_t least)
{
	char *room = desk_room(ledger.desk, least);

	return room != NULL || !flush() ? room : desk_room(ledger.desk, least);
}

/* Where a record can be written, NULL: no room, since the file takes nothing. */
static char *
room_for_one(void)
{
	return room_of(RECORD_MAX + KEY_ROOM);
}

/* What the next line brings about, if it brings about nothing but itself. */
static struct desk_effect
only_a_line(void)
{
	return (struct desk_effect){.seq = ledger.facts->seq + 1,
				    .unsigned_lines = ledger.facts->unsigned_lines + 1,
				    .policy_told = ledger.facts->policy_told,
				    .note_told = ledger.facts->note_told,
				    .worker = DESK_NOBODY};
}

static struct desk_effect
line_of(const struct books *b)
{
	struct desk_effect e = only_a_line();

	e.worker = books_worker(b);
	e.generation = books_generation(b);
	e.position = books_position(b);
	return e;
}

/* Idempotent: also for what a ledger before us laid on the desk and did not live to tell the books.
 */
static void
take_effect(struct books *b, const struct desk_effect *e)
{
	if (e->worker != books_worker(b) || e->generation != books_generation(b))
		return;
	books_keep(b, e->position);
	if (e->ended != 0)
		books_ended(b, e->ended - 1);
	if (e->buried)
		books_bury(b);
}

static bool
is_short(void)
{
	const struct settings *s = settings_now();

	return s != NULL && s->audit.format == FORMAT_SHORT;
}

static void on_policy(const struct message *m);

/* The signature goes into the line at `to`; returns its length. */
static size_t
sign_line(char *to, size_t len, uint64_t seq)
{
	struct text t = {.p = to, .len = len - 1, .cap = RECORD_MAX};
	struct chain_mark *mark = &ledger.facts->mark;

	if (!chain_sign(ledger.key, &t, mark->signature))
		return len;
	text_put_char(&t, '\n');
	mark->seq = seq;
	memcpy(mark->key, ledger.public_key, sizeof mark->key);
	return t.len;
}

/*
 * Lays a record that is not about a session; chain: what it tells of key and root, NULL: nothing.
 * With a root it is signed. False: no room.
 */
static bool
lay_plain(struct record_plain *r, struct desk_effect e, struct chain_tail *chain)
{
	struct generation *g = generation_find(ledger.newest);
	bool key = chain != NULL &&
		   (chain->has & (CHAIN_HAS_KEY | CHAIN_HAS_NEXT | CHAIN_HAS_END)) != 0;
	bool sign = chain != NULL && (chain->has & CHAIN_HAS_ROOT) != 0;
	char *to = key ? room_of(RECORD_MAX) : room_for_one();
	size_t len;

	if (to == NULL)
		return false; /* failing already, which the state tells */
	/* lines may have been dropped to make room */
	e.seq = ledger.facts->seq + 1;
	e.unsigned_lines = sign ? 0 : ledger.facts->unsigned_lines + 1;
	e.begins_key = chain != NULL && (chain->has & CHAIN_HAS_KEY) != 0;
	r->seq = e.seq;
	r->prev = ledger.facts->chain.last;
	r->chain = chain;
	if (r->at_ns == 0)
		r->at_ns = clock_wall_ns();
	r->hostname = ledger.hostname;
	r->version = PACKAGE_VERSION;
	r->policy_name = g != NULL ? policy_name(g->policy) : NULL;
	r->policy_hash = g != NULL ? policy_hash(g->policy) : NULL;
	r->colour = ledger.colour;
	if (sign)
		memcpy(chain->root, ledger.facts->chain.root, sizeof chain->root);
	len = is_short() ? record_plain_short(r, to) : record_plain_ecs(r, to);
	if (sign && !is_short())
		len = sign_line(to, len, e.seq);
	desk_lay(ledger.desk, len, &e);
	return true;
}

/* False: no room. */
static bool
write_with(const struct desk_effect *e, const char *action, const char *outcome, const char *reason,
	   const char *text)
{
	struct record_plain r = {
	    .action = action, .outcome = outcome, .reason = reason, .text = text};

	return lay_plain(&r, *e, NULL);
}

static bool
write_plain(const char *action, const char *outcome, const char *reason, const char *text)
{
	struct desk_effect e = only_a_line();

	return write_with(&e, action, outcome, reason, text);
}

/* The card goes away with it, and has an ending. */
static bool
is_last(enum books_event event)
{
	return event == EVENT_DENY || event == EVENT_FAIL || event == EVENT_END ||
	       event == EVENT_DESTINATION;
}

/* ---- signing ------------------------------------------------------------------------------ */

/* Signs all before it; action: checkpoint, or a record that is the last under this key. */
static void
sign_all(const char *action, struct chain_tail *chain)
{
	struct record_plain r = {.action = action, .outcome = "success"};

	if (ledger.key != NULL)
		chain->has |= CHAIN_HAS_ROOT;
	if (!lay_plain(&r, only_a_line(), chain))
		return;
	ledger.sync_due = true;
	ledger.checkpoint_ms = clock_mono_ns() / NS_PER_MS;
}

/* Milliseconds until one is due, -1: nothing to sign. */
static int
checkpoint_in(void)
{
	int64_t since;

	if (ledger.key == NULL || is_short() || ledger.facts->failing ||
	    ledger.facts->unsigned_lines == 0)
		return -1;
	since = clock_mono_ns() / NS_PER_MS - ledger.checkpoint_ms;
	if (ledger.facts->unsigned_lines >= CHECKPOINT_LINES || since >= CHECKPOINT_MS || since < 0)
		return 0;
	return (int)(CHECKPOINT_MS - since);
}

static void look_at_length(void);

static void
checkpoint(void)
{
	struct chain_tail chain = {0};

	look_at_length();
	sign_all("checkpoint", &chain);
}

/* False: no room. Until it is told nothing else is, so nothing is signed by a key that nobody knows. */
static bool
tell_key(void)
{
	const struct beginning *b = &ledger.begin;
	struct record_plain r = {
	    .action = b->action, .outcome = "success", .reason = b->reason, .text = b->text};
	struct chain_tail chain = {0};
	char shown[17];
	struct text t;

	if (ledger.key != NULL) {
		chain.has |= CHAIN_HAS_KEY;
		memcpy(chain.key, ledger.public_key, sizeof chain.key);
	}
	if (b->from <= ledger.facts->seq) {
		chain.has |= CHAIN_HAS_FROM;
		chain.from = b->from;
	}
	if (ledger.facts->mark.seq != 0) {
		chain.has |= CHAIN_HAS_LAST;
		chain.last = ledger.facts->mark;
	}
	if (!lay_plain(&r, only_a_line(), &chain))
		return false;
	ledger.begin.due = false;
	ledger.facts->begun = 1;
	ledger.file_seq = ledger.facts->seq;
	ledger.checkpoint_ms = clock_mono_ns() / NS_PER_MS;
	if (ledger.key == NULL || is_short())
		return true;
	/* the place outside of the ledger from where it can be checked */
	text_init(&t, shown, sizeof shown);
	text_put_hex(&t, ledger.public_key, 8);
	log_notice("audit key %s... signs from record %llu on", shown,
		   (unsigned long long)ledger.facts->seq);
	return true;
}

/* left: lines that stand before it in its file. */
static void
begin_key(const char *action, const char *reason, const char *text, unsigned left)
{
	ledger.begin =
	    (struct beginning){true, action, reason, text, ledger.facts->seq + 1 - left};
	tell_key();
}

static struct evp_pkey_st *
new_key(uint8_t public_key[CHAIN_KEY])
{
	struct evp_pkey_st *key = chain_key_new(public_key);

	if (key == NULL)
		log_error("cannot make a key, records are not signed");
	return key;
}

/* The last line under this key names the next, which is in force from here on. */
static void
change_key(void)
{
	struct chain_tail chain = {0};
	uint8_t public_key[CHAIN_KEY];
	struct evp_pkey_st *key = new_key(public_key);

	if (key != NULL) {
		chain.has |= CHAIN_HAS_NEXT;
		memcpy(chain.next, public_key, sizeof chain.next);
	}
	if (ledger.key != NULL && !ledger.begin.due)
		sign_all("checkpoint", &chain);
	chain_key_wipe(ledger.key);
	ledger.key = key;
	memcpy(ledger.public_key, public_key, sizeof ledger.public_key);
}

static void
close_key(void)
{
	struct chain_tail chain = {.has = CHAIN_HAS_END};

	if (ledger.begin.due && !tell_key())
		return; /* nor is there room for this */
	memcpy(chain.end, ledger.public_key, sizeof chain.end);
	if (ledger.key == NULL)
		chain.has = 0;
	sign_all("audit-stop", &chain);
	chain_key_wipe(ledger.key);
	ledger.key = NULL;
}

/*
 * The policy of a card. A worker may have it a moment before we looked at our channel, but the
 * parent told us first: it is there. Other messages wait, since we are in the middle of someone's
 * books.
 */
static struct generation *
generation_of(const struct card *c)
{
	struct generation *g = generation_find(c->policy);

	while (g == NULL && c->policy > ledger.newest && ledger.later_count < LATER) {
		struct message *m = malloc(sizeof *m);

		if (m == NULL || channel_receive(&ledger.channel, m) != 1) {
			free(m);
			return NULL; /* the end of the channel is seen again by read_channel */
		}
		if (m->type == IPC_POLICY) {
			on_policy(m);
			message_close_fds(m);
			free(m);
		} else {
			m->body = m->packet + sizeof(struct ipc_head);
			ledger.later[ledger.later_count++] = m;
		}
		g = generation_find(c->policy);
	}
	return g;
}

/* Which records of an allowed session its rule wants (POLICY `log`); denials and failures always.
 */
static bool
wanted(const struct rule_terms *terms, enum books_event event)
{
	enum { STARTS = 1, ENDS = 2 };

	switch (event) {
	case EVENT_START:
		return (terms->log & STARTS) != 0;
	case EVENT_END:
	case EVENT_PROGRESS:
	case EVENT_DESTINATION:
		return (terms->log & ENDS) != 0;
	default:
		return true;
	}
}

/* Of a BIND's door it is told what was true when it opened; the card may be further by now. */
static void
as_it_listened(const struct card_door *door, struct card *c)
{
	c->destination = door->expected;
	c->destination_port = door->port;
	c->rule = door->rule;
	c->policy = door->policy;
	c->dry_run = door->dry_run;
	c->strangers = 0;
	c->flags |= CARD_HAS_ADDRESS | CARD_HAS_REQUEST | CARD_HAS_NAT;
	c->flags &= (uint8_t)~CARD_REPLIED;
}

/* What lines of this rule have in common. */
static const struct known_rule *
known_rule(const struct generation *g, int32_t rule)
{
	struct known_rule *k = &ledger.rules[(uint32_t)rule % KNOWN_RULES];

	if (k->generation == g->number && k->rule == rule)
		return k;
	k->generation = g->number;
	k->rule = rule;
	policy_terms(g->policy, rule, &k->terms);
	record_rule(&k->words, k->terms.name, k->terms.ticket);
	return k;
}

/* What lines of this listener have in common. */
static const struct record_words *
known_listener(const struct generation *g, uint32_t listener, const struct record *r)
{
	struct known_listener *k = &ledger.listeners[listener % KNOWN_LISTENERS];

	if (k->generation == g->number && k->listener == listener)
		return &k->words;
	k->generation = g->number;
	k->listener = listener;
	record_observer(&k->words, r->hostname, r->version, r->listener);
	return &k->words;
}

/* The rule of a card, NULL: none. */
static const struct rule_terms *
say_rule(const struct generation *g, const struct card *c, struct record *r)
{
	size_t count = policy_rule_count(g->policy);
	bool known = c->rule >= RULE_SELF && c->rule < (int32_t)count;
	const struct known_rule *k;

	if (c->rule == RULE_NONE)
		return NULL;
	k = known_rule(g, known ? c->rule : RULE_DEFAULT);
	r->rule = k->terms.name;
	r->reference = k->terms.ticket;
	r->rule_words = &k->words;
	if (c->dry_run > 0 && c->dry_run <= count) {
		struct rule_terms dry;

		policy_terms(g->policy, (int32_t)(c->dry_run - 1), &dry);
		r->dry_run = dry.name;
	}
	return &k->terms;
}

/* At `to` there is room for a record. */
static void
write_card(struct books *b, const struct card *shared, enum books_event event,
	   const struct desk_effect *e, char *to)
{
	struct card copy, *c = &copy;
	const struct rule_terms *terms = NULL;
	const struct settings *s;
	struct generation *g;
	struct record r = {
	    .event = event,
	    .books = b,
	    .card = &copy,
	    .shared = shared,
	    .hostname = ledger.hostname,
	    .version = PACKAGE_VERSION,
	    .colour = ledger.colour,
	};

	/* what was checked must be what is told, and a worker may still write */
	memcpy((void *)&copy, (const void *)shared, sizeof copy);
	if (event == EVENT_BIND_LISTEN)
		as_it_listened(card_door(b, shared), c);
	g = generation_of(c);
	s = g != NULL ? g->settings_at : settings_now();
	r.at_ns = books_moment(b, shared, event);
	if (event == EVENT_PROGRESS)
		r.age_s = books_progressed(b, shared, copy.bytes);
	if (s != NULL && c->listener < s->listener_count && c->listener < SETTINGS_LISTENERS)
		r.listener = s->listeners[c->listener].name;
	if (g != NULL) {
		terms = say_rule(g, c, &r);
		r.policy_name = policy_name(g->policy);
		r.policy_hash = policy_hash(g->policy);
		r.policy_words = &g->words;
		r.observer_words = known_listener(g, c->listener, &r);
		g->sessions += event == EVENT_START ? 1 : event == EVENT_END ? -1 : 0;
		if (terms != NULL && terms->allow && !wanted(terms, event)) {
			take_effect(b, e); /* it is heard all the same */
			return;
		}
	}
	if (is_last(event))
		r.ending = endings[c->ending < END_COUNT ? c->ending : END_INTERNAL].word;
	if ((event == EVENT_DENY || event == EVENT_DESTINATION) && c->ending == END_DENIED)
		r.reason = rules_reason_word((enum rules_reason)c->reason);
	r.seq = e->seq;
	r.prev = ledger.facts->chain.last;
	desk_lay(ledger.desk, is_short() ? record_short(&r, to) : record_ecs(&r, to), e);
	take_effect(b, e);
}

/* ---- hearing --------------------------------------------------------------------------------- */

static bool
hear_shelf(struct shelf *shelf)
{
	struct books_heard h;
	bool any = false;
	char *to;

	for (unsigned n = 0; n < HEARD_A_ROUND && (to = room_for_one()) != NULL &&
			     books_hear(shelf->books, &h);
	     n++) {
		struct desk_effect e = line_of(shelf->books);

		ledger.heard = true;
		any = true;
		write_card(shelf->books, h.card, h.event, &e, to);
		if (ledger.facts->unsigned_lines >= CHECKPOINT_LINES && checkpoint_in() == 0)
			checkpoint();
	}
	return any;
}

/* The file takes nothing and nothing may be dropped. */
static bool
stuck(void)
{
	return ledger.facts->failing && !drops();
}

static bool
hear_all(void)
{
	bool any = false;

	for (int i = 0; i < SHELVES && !stuck(); i++)
		if (ledger.shelves[i].books != NULL)
			any |= hear_shelf(&ledger.shelves[i]);
	return any;
}

static bool
any_open(void)
{
	for (int i = 0; i < SHELVES; i++) {
		uint32_t at = 0;

		if (ledger.shelves[i].books != NULL &&
		    books_next_open(ledger.shelves[i].books, &at) != NULL)
			return true;
	}
	return false;
}

/* ---- a worker that died ------------------------------------------------------------------------
 */

static enum books_event
last_event(const struct card *c)
{
	if (card_is_destination(c))
		return EVENT_DESTINATION;
	return atomic_load(&c->state) == CARD_STARTED ? EVENT_END : EVENT_FAIL;
}

/* What it had of its rule's limits. */
static void
give_quota(struct card *c)
{
	for (size_t i = 0; i < sizeof c->quota / sizeof c->quota[0]; i++) {
		if (c->quota[i] != 0 && ledger.quotas != NULL)
			quota_give(ledger.quotas, c->quota[i]);
		c->quota[i] = 0;
	}
}

/* False: no room; the rest is for later. */
static bool
end_open_cards(struct shelf *s)
{
	struct card *c;
	char *to;

	while ((to = room_for_one()) != NULL) {
		struct desk_effect e = line_of(s->books);

		if ((c = books_next_open(s->books, &s->at)) == NULL)
			return true;
		c->ending = END_WORKER_CRASH;
		c->end_ns = clock_wall_ns();
		c->duration_ns = c->end_ns > c->start_ns ? (uint64_t)(c->end_ns - c->start_ns) : 0;
		tally_give_card(ledger.tally, &ledger.limits, c);
		give_quota(c);
		e.ended = books_index(s->books, c) + 1;
		write_card(s->books, c, last_event(c), &e, to);
		s->ended += !card_is_destination(c);
	}
	return false;
}

static void
close_shelf(struct shelf *s)
{
	epoll_ctl(ledger.epoll, EPOLL_CTL_DEL, s->bell, NULL);
	close(s->bell);
	books_unmap(s->books);
	*s = (struct shelf){0};
}

static bool
tell_crash(const struct shelf *s)
{
	struct desk_effect e = line_of(s->books);
	char text[128];
	struct text t;

	e.buried = true;
	text_init(&t, text, sizeof text);
	text_putf(&t, "worker %u ended by ", books_worker(s->books));
	if (WIFSIGNALED(s->status))
		text_putf(&t, "signal %d", WTERMSIG(s->status));
	else
		text_putf(&t, "itself with status %d", WEXITSTATUS(s->status));
	text_putf(&t, ", %u open session%s", s->ended, s->ended == 1 ? "" : "s");
	if (!write_with(&e, "worker-crash", "failure", "worker-crash", text))
		return false;
	take_effect(s->books, &e);
	return true;
}

/* Behind a hand-over, when its last session was over: nothing is to be told. */
static bool
left_well(const struct shelf *s)
{
	return WIFEXITED(s->status) && WEXITSTATUS(s->status) == 0 && s->ended == 0;
}

/* All it told, then the ends of what it left open, then that it died; a full file makes us come
 * again. */
static void
bury(struct shelf *s)
{
	struct ipc_books closed = {books_worker(s->books), books_generation(s->books)};

	if (!s->all_heard) {
		/* what it had ended itself is given back by the flush: the rest is open */
		if (hear_shelf(s) || !flush())
			return;
		s->all_heard = true;
	}
	if (!books_buried(s->books) && (!end_open_cards(s) || (!left_well(s) && !tell_crash(s))))
		return;
	if (!flush())
		return;
	close_shelf(s);
	channel_send(&ledger.channel, IPC_BOOKS_CLOSED, &closed, sizeof closed, NULL, 0);
}

/* True if some are not buried yet. */
static bool
bury_all(void)
{
	bool left = false;

	for (int i = 0; i < SHELVES; i++) {
		struct shelf *s = &ledger.shelves[i];

		if (s->books == NULL || !s->gone)
			continue;
		if (!stuck())
			bury(s);
		left |= s->books != NULL;
	}
	return left;
}

/* ---- messages
 * ------------------------------------------------------------------------------------ */

/* What is not heard would not be written. What was told waits where it is for our successor. */
static _Noreturn void
give_up(const char *why)
{
	log_error("%s", why);
	exit(1);
}

static void
on_tally(const struct message *m)
{
	if (m->fd_count != 2)
		return;
	ledger.tally = tally_map(m->fds[0]);
	ledger.desk = desk_map(m->fds[1]);
	if (ledger.desk != NULL)
		ledger.facts = desk_facts(ledger.desk);
}

static void
on_quotas(const struct message *m)
{
	if (ledger.quotas == NULL && (ledger.quotas = quota_map(m->fds[0])) == NULL)
		give_up("cannot map the quotas");
}

static bool
tell_load(const struct generation *g)
{
	size_t rules = policy_rule_count(g->policy);
	struct desk_effect e = only_a_line();
	char text[64];

	e.policy_told = g->number;
	snprintf(text, sizeof text, "%zu rule%s", rules, rules == 1 ? "" : "s");
	return write_with(&e, "policy-load", "success", NULL, text);
}

static void
on_policy(const struct message *m)
{
	const struct ipc_policy *body = m->body;
	struct generation g = {.number = body->generation}, *room = generation_room();

	g.settings_at = image_map(m->fds[0], &g.settings_len);
	g.policy_at = image_map(m->fds[1], &g.policy_len);
	if (g.settings_at == NULL || !settings_valid(g.settings_at, g.settings_len) ||
	    g.policy_at == NULL || (g.policy = policy_open(g.policy_at, g.policy_len)) == NULL)
		give_up("cannot map the policy");
	record_policy(&g.words, policy_name(g.policy), policy_hash(g.policy));
	*room = g;
	if (ledger.newest == 0) {
		const struct settings *s = g.settings_at;

		ledger.limits.prefix4 = s->limits.source_prefix4;
		ledger.limits.prefix6 = s->limits.source_prefix6;
	}
	if (g.number > ledger.newest)
		ledger.newest = g.number;
}

/* Apart from on_policy, which may come while a card is being told (generation_of). */
static void
tell_policies(void)
{
	while (ledger.ready && ledger.facts->policy_told < ledger.newest) {
		struct generation *g = generation_find(ledger.facts->policy_told + 1);

		if (g == NULL)
			ledger.facts->policy_told++;
		else if (!tell_load(g))
			return;
	}
}

/* ---- the file's age and size --------------------------------------------------------------- */

/* Of the first record, now if it tells none. */
static int64_t
first_time(int fd)
{
	static const char before[] = "{\"@timestamp\":\"";
	char line[64] = "";
	struct tm tm = {0};
	ssize_t n = pread(fd, line, sizeof line - 1, 0);

	if (n > (ssize_t)sizeof before && memcmp(line, before, sizeof before - 1) == 0 &&
	    strptime(line + sizeof before - 1, "%Y-%m-%dT%H:%M:%S", &tm) != NULL)
		return (int64_t)timegm(&tm) * NS_PER_S;
	return clock_wall_ns();
}

/* Milliseconds until the file is too old, -1: never. A file in which nothing happened is left as it
 * is. */
static int64_t
old_in(const struct settings *s)
{
	int64_t age_ms = (clock_wall_ns() - ledger.file_since_ns) / NS_PER_MS, most_ms;

	if (s->audit.rotate_every_s == 0 || ledger.facts->seq < ledger.file_seq + 2)
		return -1;
	most_ms = (int64_t)s->audit.rotate_every_s * 1000;
	return age_ms >= most_ms ? 0 : most_ms - age_ms;
}

static bool
is_full(const struct settings *s)
{
	struct stat st;

	return s->audit.rotate_size != 0 && fstat(desk_file(ledger.desk), &st) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size >= s->audit.rotate_size;
}

/* Somebody has taken away its last name: what is written to it nobody will read. */
static bool
is_removed(void)
{
	struct stat st;

	return fstat(desk_file(ledger.desk), &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0;
}

/* It only ever grows. That it did not is seen in the chain as well, but only by who looks there. */
static void
look_at_length(void)
{
	struct stat st;

	if (fstat(desk_file(ledger.desk), &st) == -1 || !S_ISREG(st.st_mode))
		return;
	if (st.st_size < ledger.file_length)
		log_error("somebody has cut the audit file: it had %lld bytes and has %lld",
			  (long long)ledger.file_length, (long long)st.st_size);
	ledger.file_length = st.st_size;
}

/* The parent has the right to the folder; we write on into the old file until the new one is here.
 */
static void
ask_for_file(void)
{
	const struct settings *s = settings_now();
	int64_t now = clock_mono_ns() / NS_PER_MS;
	bool removed;

	if (s == NULL || ledger.stop ||
	    (ledger.asked_ms != 0 && now - ledger.asked_ms < ASK_AGAIN_MS))
		return;
	removed = is_removed();
	if (!removed && !is_full(s) && old_in(s) != 0)
		return;
	if (removed)
		log_error("somebody has removed the audit file, and the records in it");
	ledger.asked_ms = now;
	channel_send(&ledger.channel, IPC_AUDIT_ROTATE, NULL, 0, NULL, 0);
}

/* How long there is nothing to do if nobody rings, -1: for ever. */
static int
idle_ms(void)
{
	const struct settings *s = settings_now();
	int64_t old = s != NULL ? old_in(s) : -1, all[] = {checkpoint_in(), sync_in(), old};
	int64_t least = INT32_MAX;

	if (old == 0 && ledger.asked_ms != 0) /* it was asked for */
		all[2] = ASK_AGAIN_MS;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if (all[i] != -1 && all[i] < least)
			least = all[i];
	return least == INT32_MAX ? -1 : (int)least;
}

/* ---- the clock ----------------------------------------------------------------------------- */

/* Times of records before and after are not to be compared: that is a record. */
static void
look_at_clock(void)
{
	int64_t ahead = clock_wall_ns() - clock_mono_ns(), step = ahead - ledger.wall_ahead_ns;
	char text[96];
	struct text t;

	ledger.wall_ahead_ns = ahead;
	if (step < CLOCK_STEP_NS && step > -CLOCK_STEP_NS)
		return;
	text_init(&t, text, sizeof text);
	text_put(&t, "the clock went ");
	text_put(&t, step > 0 ? "forward by " : "back by ");
	text_put_duration(&t, (uint64_t)(step > 0 ? step : -step));
	if (!write_plain("clock-step", "success", NULL, text))
		ledger.wall_ahead_ns -= step; /* next time */
}

/* A timer that never fires, but ends when the clock is set: else it would be noticed at the next
 * record only. */
static int
clock_watch(void)
{
	struct itimerspec never = {.it_value.tv_sec = INT64_MAX / NS_PER_S};
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd == -1 ||
	    timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) == -1)
		return -1;
	ev.data.fd = fd;
	return epoll_ctl(ledger.epoll, EPOLL_CTL_ADD, fd, &ev);
}

static bool
file_is_empty(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

/* The first line in a file that is another one than before. */
static void
begin_file(bool first, bool handed, bool removed, bool torn_off, unsigned left)
{
	if (!first && removed)
		begin_key("audit-rotate", "file-removed",
			  "somebody has removed the file before, and the records in it", left);
	else if (!first)
		begin_key("audit-rotate", NULL, NULL, left);
	else if (ledger.facts->begun && handed)
		begin_key("audit-start", "handover",
			  "the server has handed over to its successor, which signs with a new key",
			  left);
	else if (ledger.facts->begun)
		begin_key("audit-start", "ledger-restart",
			  "the ledger was restarted and signs with a new key", left);
	else if (torn_off)
		begin_key("audit-start", "no-end",
			  "the server before was killed: what it had not written is missing", left);
	else
		begin_key("audit-start", NULL, NULL, left);
}

static void
on_audit_file(const struct message *m)
{
	const struct ipc_audit_file *body = m->body;
	bool first = desk_file(ledger.desk) == -1, removed = !first && is_removed(), torn_off;
	unsigned left;
	int fd;

	/* our predecessor was further already */
	if (first && body->more > 0 && !desk_was_for(ledger.desk, m->fds[0])) {
		channel_send(&ledger.channel, IPC_AUDIT_TAKEN, NULL, 0, NULL, 0);
		return;
	}
	fd = fcntl(m->fds[0], F_DUPFD_CLOEXEC, 3);
	if (fd == -1) {
		log_error("cannot take the audit file: %s", strerror(errno));
		return;
	}
	if (first) {
		ledger.key = new_key(ledger.public_key);
	} else {
		flush(); /* what was heard before belongs to the old file */
		change_key();
		flush();
		sync_last();
	}
	left = file_is_empty(fd) ? desk_left(ledger.desk) : 0;
	torn_off = !file_is_empty(fd);
	desk_open(ledger.desk, fd);
	/* the mark of an end is the only one that a file tells */
	torn_off &= ledger.facts->seq != 0 && ledger.facts->mark.seq == 0;
	ledger.file_length = 0;
	ledger.file_since_ns = first_time(fd);
	ledger.asked_ms = 0;
	if (!first)
		channel_send(&ledger.channel, IPC_AUDIT_TAKEN, NULL, 0, NULL, 0);
	ledger.colour = isatty(fd) == 1 && getenv("NO_COLOR") == NULL;
	begin_file(first, body->handover != 0, removed, torn_off, left);
}

static void
on_books(const struct message *m)
{
	struct epoll_event ev = {.events = EPOLLIN};
	const struct desk_effect *e;

	for (int i = 0; i < SHELVES; i++) {
		struct shelf *s = &ledger.shelves[i];
		uint32_t at = 0;
		struct card *c;

		if (s->books != NULL)
			continue;
		*s = (struct shelf){.bell = fcntl(m->fds[1], F_DUPFD_CLOEXEC, 3)};
		s->books = books_map(m->fds[0], s->bell);
		if (s->books == NULL)
			give_up("cannot map the books of a worker");
		if ((e = desk_effect(ledger.desk)) != NULL)
			take_effect(s->books, e);
		books_refuse(s->books, stuck());
		ledger.heard = true; /* and, perhaps, not given back */
		ev.data.fd = s->bell;
		if (epoll_ctl(ledger.epoll, EPOLL_CTL_ADD, s->bell, &ev) == -1)
			give_up("cannot watch the bell of a worker");
		/* A ledger that was restarted: these started before its time. */
		while ((c = books_next_open(s->books, &at)) != NULL) {
			struct generation *g = generation_find(c->policy);

			if (g != NULL && atomic_load(&c->state) == CARD_STARTED)
				g->sessions++;
		}
		return;
	}
	give_up("no place for the books of another worker");
}

static void
on_worker_gone(const struct message *m)
{
	const struct ipc_worker_gone *body = m->body;

	for (int i = 0; i < SHELVES; i++) {
		struct shelf *s = &ledger.shelves[i];

		if (s->books == NULL || books_worker(s->books) != body->worker ||
		    books_generation(s->books) != body->generation)
			continue;
		s->gone = true;
		s->status = body->status;
	}
}

/* False: no room. */
static bool
tell_note(const struct ipc_note *n)
{
	struct desk_effect e = only_a_line();
	struct record_plain r = {
	    .action = n->kind == NOTE_ADMIN ? "admin-action" : "policy-refused",
	    .outcome = n->kind == NOTE_ADMIN && n->success ? "success" : "failure",
	    .text = n->text,
	    .at_ns = n->at_ns};
	char uid[16];

	e.note_told = n->number;
	if (n->kind == NOTE_ADMIN) {
		snprintf(uid, sizeof uid, "%u", n->uid);
		r.user = n->who;
		r.user_id = uid;
	}
	return lay_plain(&r, e, NULL);
}

/* Kept while the file takes nothing: what people did is told, if late. */
static void
tell_notes(void)
{
	unsigned told = 0;

	for (; ledger.ready && told < ledger.note_count; told++)
		if (ledger.notes[told].number > ledger.facts->note_told &&
		    !tell_note(&ledger.notes[told]))
			break;
	ledger.note_count -= told;
	memmove(ledger.notes, ledger.notes + told, ledger.note_count * sizeof ledger.notes[0]);
}

static void
on_note(const struct message *m)
{
	const struct ipc_note *n = m->body;
	bool refused = n->kind == NOTE_ADMIN && !n->success;

	if (ledger.note_count >= (refused ? NOTES_REFUSED : NOTES)) {
		log_error("no room for another record of what an admin %s",
			  refused ? "was refused" : "did");
		return;
	}
	/* work tells it, behind a policy that it may be about */
	memcpy(&ledger.notes[ledger.note_count++], m->body, sizeof ledger.notes[0]);
}

static void
on_drain(const struct message *m)
{
	const struct ipc_drain *body = m->body;

	ledger.stop = true;
	ledger.stop_ms = clock_mono_ns() / NS_PER_MS + body->within_ms;
}

static const struct {
	enum ipc_type type;
	void (*take)(const struct message *m);
} messages[] = {
    {IPC_TALLY, on_tally},   {IPC_QUOTAS, on_quotas},
    {IPC_POLICY, on_policy}, {IPC_AUDIT_FILE, on_audit_file},
    {IPC_BOOKS, on_books},   {IPC_WORKER_GONE, on_worker_gone},
    {IPC_NOTE, on_note},     {IPC_DRAIN, on_drain},
};

static void
take(const struct message *m)
{
	bool complete = ledger.tally != NULL && ledger.desk != NULL;

	if (m->type != IPC_TALLY && !complete) {
		log_error("told of '%s' before the tally", ipc_table[m->type].word);
		exit(1);
	}
	for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
		if (messages[i].type == m->type)
			messages[i].take(m);
	if (!ledger.ready && ledger.desk != NULL && ledger.newest != 0 &&
	    desk_file(ledger.desk) != -1) {
		ledger.ready = true;
		drop_unused();
		channel_send(&ledger.channel, IPC_READY, NULL, 0, NULL, 0);
	}
}

static void
read_channel(void)
{
	static struct message m;
	int got = -1;

	for (unsigned i = 0; i < ledger.later_count; i++) {
		take(ledger.later[i]);
		message_close_fds(ledger.later[i]);
		free(ledger.later[i]);
	}
	ledger.later_count = 0;
	while (!ledger.orphan && (got = channel_receive(&ledger.channel, &m)) == 1) {
		take(&m);
		message_close_fds(&m);
	}
	if (ledger.orphan || (got == -1 && errno == EAGAIN))
		return;
	/* The parent is gone; the workers see it too, and end their sessions. */
	epoll_ctl(ledger.epoll, EPOLL_CTL_DEL, ledger.channel.fd, NULL);
	ledger.orphan = true;
	if (!ledger.stop)
		ledger.stop_ms = clock_mono_ns() / NS_PER_MS + ORPHAN_MS;
	ledger.stop = true;
}

/* ---- the loop
 * --------------------------------------------------------------------------------------- */

static bool
arm_bells(void)
{
	bool quiet = true;

	for (int i = 0; i < SHELVES; i++)
		if (ledger.shelves[i].books != NULL && !books_sleep(ledger.shelves[i].books))
			quiet = false;
	return quiet;
}

static void
disarm_bells(void)
{
	for (int i = 0; i < SHELVES; i++)
		if (ledger.shelves[i].books != NULL)
			books_awake(ledger.shelves[i].books);
}

static void
wait_for(int ms)
{
	struct epoll_event events[16];
	uint64_t rings;
	int n = epoll_wait(ledger.epoll, events, 16, ms);

	for (int i = 0; i < n; i++)
		if (events[i].data.fd == ledger.channel.fd)
			read_channel();
		else if (read(events[i].data.fd, &rings, sizeof rings) == -1)
			continue; /* another took the ring: there is nothing to do but look */
}

static bool
finished(bool heard)
{
	bool empty = ledger.desk == NULL || desk_empty(ledger.desk);

	if (!ledger.stop || heard || !empty)
		return ledger.stop && clock_mono_ns() / NS_PER_MS >= ledger.stop_ms;
	return !any_open() || clock_mono_ns() / NS_PER_MS >= ledger.stop_ms;
}

/* The file takes records again: since when it did not, why, and what was lost. */
static void
tell_resumed(void)
{
	uint64_t lost = ledger.facts->dropped;
	int64_t since = ledger.facts->suspended_ns;
	struct record_plain r = {.action = "audit-suspend", .outcome = "failure", .at_ns = since};
	char text[96];
	struct text t;

	if (since == 0 || ledger.facts->failing)
		return;
	r.text = strerror((int)ledger.facts->suspend_error);
	text_init(&t, text, sizeof text);
	if (lost > 0)
		text_putf(&t, "%llu record%s dropped", (unsigned long long)lost,
			  lost == 1 ? " was" : "s were");
	else
		text_put(&t, "no record was lost");
	text_put(&t, ", written again after ");
	text_put_duration(&t, (uint64_t)(clock_wall_ns() > since ? clock_wall_ns() - since : 0));
	if (!lay_plain(&r, only_a_line(), NULL) ||
	    !write_plain("audit-resume", "success", NULL, text))
		return;
	flush();
	if (ledger.facts->failing) /* these two are written another time */
		return;
	ledger.facts->dropped -= lost;
	ledger.facts->suspended_ns = 0;
}

/* One round: all that was told until now. True: there was something. */
static bool
work(void)
{
	bool heard;

	if (!ledger.ready || (ledger.begin.due && !tell_key()))
		return false;
	look_at_clock();
	tell_policies();
	tell_notes();
	heard = hear_all();
	heard |= bury_all() && !stuck();
	if (ledger.later_count > 0)
		read_channel();
	tell_resumed();
	if (checkpoint_in() == 0)
		checkpoint();
	ask_for_file();
	return heard;
}

static void
run(void)
{
	unsigned in_vain = 0;

	for (;;) {
		bool heard = work(), all_out = !ledger.ready || flush();

		if (finished(heard))
			return;
		if (!all_out || (ledger.ready && ledger.facts->failing)) {
			wait_for(RETRY_MS);
			continue;
		}
		in_vain = heard ? 0 : in_vain + 1;
		if (in_vain < LOOKS_IN_VAIN || ledger.stop)
			wait_for(LOOK_MS);
		else if (arm_bells())
			wait_for(idle_ms());
		if (in_vain >= LOOKS_IN_VAIN)
			disarm_bells();
	}
}

/* The parent was killed, and perhaps some of its workers: nobody else can tell the ends of what
 * they left. */
static void
end_orphans(void)
{
	for (int i = 0; i < SHELVES; i++) {
		struct shelf *s = &ledger.shelves[i];

		if (s->books == NULL || stuck())
			continue;
		s->at = 0;
		if (flush())
			end_open_cards(s);
	}
}

int
ledger_run(int channel)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = channel};

	ledger.channel = (struct channel){channel, ROLE_LEDGER, ROLE_PARENT};
	ledger.epoll = epoll_create1(EPOLL_CLOEXEC);
	ledger.wall_ahead_ns = clock_wall_ns() - clock_mono_ns();
	fcntl(channel, F_SETFL, fcntl(channel, F_GETFL) | O_NONBLOCK);
	if (gethostname(ledger.hostname, sizeof ledger.hostname - 1) == -1)
		strcpy(ledger.hostname, "localhost");
	if (ledger.epoll == -1 || epoll_ctl(ledger.epoll, EPOLL_CTL_ADD, channel, &ev) == -1) {
		log_error("cannot set up the ledger: %s", strerror(errno));
		return 1;
	}
	if (clock_watch() == -1)
		log_debug("cannot watch the clock: %s", strerror(errno));
	run();
	if (!ledger.ready)
		return 1;
	if (ledger.orphan)
		end_orphans();
	close_key();
	if (!flush())
		return 1;
	sync_last();
	return 0;
}
