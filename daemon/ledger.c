/*
 * daemon/ledger.c - see daemon/ledger.h: hears what workers tell in their books, writes it, and only then
 * gives the cards back. Unprivileged; opens no file; blocks on the audit file at most.
 *
 * Many lines go out in one write. While sessions come and go it looks at the books every few milliseconds,
 * so that a worker need not ring; when nothing was heard for a while it arms the bells and sleeps.
 * When the file cannot be written nothing is given back and the workers are told to take no new card, so
 * they refuse new sessions: that is how "no record, no session" holds. With audit.on-full = "drop" records
 * are counted and thrown away instead, and the count is a record.
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
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "books/books.h"
#include "books/record.h"
#include "books/tally.h"
#include "channel.h"
#include "rules/rules.h"
#include "settings/settings.h"
#include "walk/endings.h"

#define OUT_BYTES (256 * 1024)
#define LOOK_MS 4	  /* between two looks while there is something to hear */
#define LOOKS_IN_VAIN 5	  /* then the bells */
#define RETRY_MS 250	  /* a file that cannot be written */
#define ORPHAN_MS 5000	  /* the parent is gone: how long workers have to end */
#define SHELVES 128	  /* books of live workers, and of dead ones not yet closed */
#define GENERATIONS 64
#define LATER 32

struct sequence { /* in the memfd that outlives us */
	uint64_t seq;
	uint32_t policy_told; /* generation of the last policy-load record */
};

struct shelf {
	struct books *books; /* NULL: empty */
	int bell;
};

struct generation {
	uint32_t number; /* 0: empty */
	void *settings_at, *policy_at;
	size_t settings_len, policy_len;
	struct policy *policy;
	int64_t sessions; /* started under it and not ended */
};

static struct {
	struct channel channel;
	int epoll, file;
	struct tally *tally;
	struct tally_limits limits;
	struct sequence *sequence;
	struct shelf shelves[SHELVES];
	struct generation generations[GENERATIONS];
	uint32_t newest;
	bool ready, failing, stop, orphan, colour;
	int64_t stop_ms;
	char hostname[256];
	char out[OUT_BYTES]; /* whole lines, from the first that is not whole in the file */
	size_t out_len, torn; /* torn: bytes of the first line that stand there already */
	uint64_t seq;	      /* of the last line in out; sequence->seq: of the last in the file */
	uint64_t dropped;
	struct message *later[LATER]; /* came while we waited for a policy */
	unsigned later_count;
	bool heard; /* something that books_done is owed for */
} ledger;

/* ---- generations ------------------------------------------------------------------------- */

static struct generation *
generation_find(uint32_t number)
{
	for (int i = 0; i < GENERATIONS; i++)
		if (number != 0 && ledger.generations[i].number == number)
			return &ledger.generations[i];
	return NULL;
}

static void
generation_drop(struct generation *g)
{
	policy_close(g->policy);
	munmap(g->settings_at, g->settings_len);
	munmap(g->policy_at, g->policy_len);
	memset(g, 0, sizeof *g);
}

/* An old policy stays while a session that started under it lives: its end names the rule. */
static struct generation *
generation_room(void)
{
	struct generation *room = NULL, *old = NULL;

	for (int i = 0; i < GENERATIONS; i++) {
		struct generation *g = &ledger.generations[i];

		if (g->number != 0 && g->sessions <= 0 && g->number + 1 < ledger.newest)
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

static void *
map_image(int fd, size_t *len)
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) == -1 || st.st_size <= 0)
		return NULL;
	*len = (size_t)st.st_size;
	at = mmap(NULL, *len, PROT_READ, MAP_SHARED, fd, 0);
	return at == MAP_FAILED ? NULL : at;
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
	struct ipc_audit_state body = {state, (uint32_t)error, ledger.sequence->seq};

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

static unsigned
count_lines(const char *p, size_t len)
{
	unsigned n = 0;
	const char *end;

	for (; len > 0 && (end = memchr(p, '\n', len)) != NULL; n++) {
		len -= (size_t)(end - p) + 1;
		p = end + 1;
	}
	return n;
}

/* `at` bytes of out stand in the file: keep from the start of the first line that is not whole there. */
static void
written(size_t at)
{
	const char *newline = at > 0 ? memrchr(ledger.out, '\n', at) : NULL;
	size_t whole = newline != NULL ? (size_t)(newline - ledger.out) + 1 : 0;

	ledger.sequence->seq += count_lines(ledger.out, whole);
	memmove(ledger.out, ledger.out + whole, ledger.out_len - whole);
	ledger.out_len -= whole;
	ledger.torn = at - whole;
}

/* audit.on-full = "drop": all but a line that is begun; their numbers are given again. */
static void
drop_lines(void)
{
	const char *end = memchr(ledger.out, '\n', ledger.out_len);
	size_t keep = ledger.torn > 0 && end != NULL ? (size_t)(end - ledger.out) + 1 : 0;
	unsigned lines = count_lines(ledger.out + keep, ledger.out_len - keep);

	ledger.dropped += lines;
	ledger.seq -= lines;
	ledger.out_len = keep;
	all_done();
}

/* Zero or the error; *at: how far it came. */
static int
write_out(size_t *at)
{
	while (*at < ledger.out_len) {
		ssize_t n = write(ledger.file, ledger.out + *at, ledger.out_len - *at);

		if (n > 0)
			*at += (size_t)n;
		else if (n == -1 && errno == EAGAIN) {
			struct pollfd p = {.fd = ledger.file, .events = POLLOUT};

			poll(&p, 1, RETRY_MS);
			if ((p.revents & POLLOUT) == 0)
				return EAGAIN;
		} else if (n == -1 && errno != EINTR)
			return errno;
	}
	return 0;
}

/* True when everything stands in the file (or may be dropped). */
static bool
flush(void)
{
	size_t at = ledger.torn;
	bool failing;
	int error;

	if (ledger.out_len == 0) { /* which says nothing of the file */
		all_done();
		return true;
	}
	error = write_out(&at);
	failing = error != 0;
	written(at);
	if (failing && drops())
		drop_lines();
	if (failing != ledger.failing) {
		tell_state(!failing ? 0 : drops() ? 2 : 1, error);
		refuse(failing && !drops());
	}
	ledger.failing = failing;
	if (ledger.out_len > 0)
		return false;
	all_done();
	return true;
}

static bool
room_for_one(void)
{
	return OUT_BYTES - ledger.out_len >= RECORD_MAX || flush();
}

static bool
is_short(void)
{
	const struct settings *s = settings_now();

	return s != NULL && s->audit.format == FORMAT_SHORT;
}

static void on_policy(const struct message *m);

static void
write_plain(const char *action, const char *outcome, const char *reason, const char *text)
{
	struct generation *g = generation_find(ledger.newest);
	struct record_plain r = {
	    .action = action,
	    .outcome = outcome,
	    .reason = reason,
	    .text = text,
	    .at_ns = clock_wall_ns(),
	    .hostname = ledger.hostname,
	    .version = PACKAGE_VERSION,
	    .policy_name = g != NULL ? policy_name(g->policy) : NULL,
	    .policy_hash = g != NULL ? policy_hash(g->policy) : NULL,
	    .colour = ledger.colour,
	};

	if (!room_for_one())
		return; /* failing already, which the state tells */
	r.seq = ++ledger.seq;
	ledger.out_len += is_short() ? record_plain_short(&r, ledger.out + ledger.out_len)
				     : record_plain_ecs(&r, ledger.out + ledger.out_len);
}

static int64_t
time_of(const struct card *c, enum books_event event)
{
	return event == EVENT_START ? c->told_ns : c->end_ns;
}

/*
 * The policy of a card. A worker may have it a moment before we looked at our channel, but the parent told us
 * first: it is there. Other messages wait, since we are in the middle of someone's books.
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

static void
write_card(const struct books *b, const struct card *shared, enum books_event event)
{
	struct card copy, *c = &copy;
	struct generation *g;
	const struct settings *s;
	struct rule_terms terms = {0};
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
	g = generation_of(c);
	s = g != NULL ? g->settings_at : settings_now();
	r.at_ns = time_of(c, event);
	if (s != NULL && c->listener < s->listener_count && c->listener < SETTINGS_LISTENERS)
		r.listener = s->listeners[c->listener].name;
	if (g != NULL) {
		bool known = c->rule >= RULE_SELF && c->rule < (int32_t)policy_rule_count(g->policy);

		policy_terms(g->policy, known ? c->rule : RULE_DEFAULT, &terms);
		r.rule = terms.name;
		r.reference = terms.ticket;
		r.policy_name = policy_name(g->policy);
		r.policy_hash = policy_hash(g->policy);
		g->sessions += event == EVENT_START ? 1 : event == EVENT_END ? -1 : 0;
	}
	if (event != EVENT_START)
		r.ending = endings[c->ending < END_COUNT ? c->ending : END_INTERNAL].word;
	if (event == EVENT_DENY && c->ending == END_DENIED)
		r.reason = rules_reason_word((enum rules_reason)c->reason);
	r.seq = ++ledger.seq;
	ledger.out_len += is_short() ? record_short(&r, ledger.out + ledger.out_len)
				     : record_ecs(&r, ledger.out + ledger.out_len);
}

/* ---- hearing --------------------------------------------------------------------------------- */

static bool
hear_shelf(struct shelf *shelf)
{
	struct books_heard h;
	bool any = false;

	while (room_for_one() && books_hear(shelf->books, &h)) {
		ledger.heard = true;
		any = true;
		write_card(shelf->books, h.card, h.event);
	}
	return any;
}

static bool
hear_all(void)
{
	bool any = false;

	for (int i = 0; i < SHELVES && (!ledger.failing || drops()); i++)
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

/* ---- a worker that died ------------------------------------------------------------------------ */

static unsigned
end_open_cards(struct books *b)
{
	struct card *c;
	uint32_t at = 0;
	unsigned ended = 0;

	while ((c = books_next_open(b, &at)) != NULL) {
		bool started = atomic_load(&c->state) == CARD_STARTED;

		while (!room_for_one())
			poll(NULL, 0, RETRY_MS); /* nothing may be lost: wait for the file */
		c->ending = END_WORKER_CRASH;
		c->end_ns = clock_wall_ns();
		c->duration_ns = c->end_ns > c->start_ns ? (uint64_t)(c->end_ns - c->start_ns) : 0;
		if ((c->flags & CARD_COUNTED) != 0)
			tally_give(ledger.tally, &ledger.limits, &c->source,
			    (c->flags & CARD_HANDSHAKE) != 0);
		c->flags &= (uint8_t)~(CARD_COUNTED | CARD_HANDSHAKE);
		write_card(b, c, started ? EVENT_END : EVENT_FAIL);
		ended++;
	}
	return ended;
}

static void
close_shelf(struct shelf *s)
{
	epoll_ctl(ledger.epoll, EPOLL_CTL_DEL, s->bell, NULL);
	close(s->bell);
	books_unmap(s->books);
	s->books = NULL;
}

static void
worker_gone(const struct ipc_worker_gone *gone)
{
	char text[128];
	struct text t;

	tally_present(ledger.tally, gone->worker, false);
	for (int i = 0; i < SHELVES; i++) {
		struct shelf *s = &ledger.shelves[i];
		unsigned open;

		if (s->books == NULL || books_worker(s->books) != gone->worker ||
		    books_generation(s->books) != gone->generation)
			continue;
		while (hear_shelf(s) || ledger.out_len > 0)
			if (!flush())
				poll(NULL, 0, RETRY_MS);
		text_init(&t, text, sizeof text);
		text_putf(&t, "worker %u ended by ", gone->worker);
		if (WIFSIGNALED(gone->status))
			text_putf(&t, "signal %d", WTERMSIG(gone->status));
		else
			text_putf(&t, "itself with status %d", WEXITSTATUS(gone->status));
		open = end_open_cards(s->books);
		text_putf(&t, ", %u open session%s", open, open == 1 ? "" : "s");
		write_plain("worker-crash", "failure", "worker-crash", text);
		while (!flush())
			poll(NULL, 0, RETRY_MS);
		close_shelf(s);
	}
}

/* ---- messages ------------------------------------------------------------------------------------ */

static void
on_tally(const struct message *m)
{
	if (m->fd_count != 2)
		return;
	ledger.tally = tally_map(m->fds[0]);
	ledger.sequence = mmap(NULL, LEDGER_SEQUENCE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[1], 0);
	if (ledger.sequence == MAP_FAILED)
		ledger.sequence = NULL;
	else
		ledger.seq = ledger.sequence->seq;
}

static void
tell_load(const struct generation *g)
{
	size_t rules = policy_rule_count(g->policy);
	char text[64];

	ledger.sequence->policy_told = g->number;
	snprintf(text, sizeof text, "%zu rule%s", rules, rules == 1 ? "" : "s");
	write_plain("policy-load", "success", NULL, text);
}

static void
on_policy(const struct message *m)
{
	const struct ipc_policy *body = m->body;
	struct generation g = {.number = body->generation}, *room = generation_room();

	g.settings_at = map_image(m->fds[0], &g.settings_len);
	g.policy_at = map_image(m->fds[1], &g.policy_len);
	if (g.settings_at == NULL || !settings_valid(g.settings_at, g.settings_len) ||
	    g.policy_at == NULL || (g.policy = policy_open(g.policy_at, g.policy_len)) == NULL) {
		log_error("bad policy image, generation %u", g.number);
		if (g.settings_at != NULL)
			munmap(g.settings_at, g.settings_len);
		if (g.policy_at != NULL)
			munmap(g.policy_at, g.policy_len);
		return;
	}
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
	while (ledger.file != -1 && ledger.sequence->policy_told < ledger.newest) {
		uint32_t number = ledger.sequence->policy_told + 1;
		struct generation *g = generation_find(number);

		if (g != NULL)
			tell_load(g);
		ledger.sequence->policy_told = number;
	}
}

/* A ledger or machine that died in the middle of a line: ours begin on a new one. */
static void
end_torn_line(void)
{
	struct stat st;
	char last = '\n';

	if (fstat(ledger.file, &st) == -1 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return;
	if (pread(ledger.file, &last, 1, st.st_size - 1) != 1 || last == '\n')
		return;
	log_warning("the last line of the audit file is not whole, the next begins behind it");
	if (write(ledger.file, "\n", 1) != 1)
		log_warning("cannot end it: %s", strerror(errno));
}

/* A server that starts again on the same file goes on counting where the last one stopped. */
static void
continue_numbers(void)
{
	static const char mark[] = "\"audit\":{\"seq\":";
	char tail[2 * RECORD_MAX];
	struct stat st;
	ssize_t n;

	if (ledger.sequence->seq != 0 || fstat(ledger.file, &st) == -1 || !S_ISREG(st.st_mode))
		return;
	n = pread(ledger.file, tail, sizeof tail,
		  st.st_size > (off_t)sizeof tail ? st.st_size - (off_t)sizeof tail : 0);
	for (ssize_t at = n - (ssize_t)sizeof mark; at >= 0; at--) {
		size_t from = (size_t)at + sizeof mark - 1, to = from;
		uint64_t seq;

		if (memcmp(tail + at, mark, sizeof mark - 1) != 0)
			continue;
		while (to < (size_t)n && tail[to] >= '0' && tail[to] <= '9')
			to++;
		/* a quotation mark inside a string is escaped, so this is no text of a client */
		if (to < (size_t)n && (tail[to] == '}' || tail[to] == ',') &&
		    text_parse_u64(tail + from, to - from, UINT64_MAX / 2, &seq)) {
			ledger.seq = ledger.sequence->seq = seq;
			return;
		}
	}
}

static void
on_audit_file(const struct message *m)
{
	bool first = ledger.file == -1;

	if (!first) {
		flush(); /* what was heard before belongs to the old file */
		close(ledger.file);
		ledger.torn = 0; /* a line that is not whole there is told again, whole, here */
	}
	ledger.file = fcntl(m->fds[0], F_DUPFD_CLOEXEC, 3);
	end_torn_line();
	if (first)
		continue_numbers();
	ledger.colour = isatty(ledger.file) == 1 && getenv("NO_COLOR") == NULL;
	write_plain(first ? "audit-start" : "audit-rotate", "success", NULL, NULL);
	tell_policies();
}

static void
on_books(const struct message *m)
{
	struct epoll_event ev = {.events = EPOLLIN};

	for (int i = 0; i < SHELVES; i++) {
		struct shelf *s = &ledger.shelves[i];
		uint32_t at = 0;
		struct card *c;

		if (s->books != NULL)
			continue;
		s->bell = fcntl(m->fds[1], F_DUPFD_CLOEXEC, 3);
		s->books = books_map(m->fds[0], s->bell);
		if (s->books == NULL) {
			log_error("cannot map the books of a worker");
			close(s->bell);
			return;
		}
		books_refuse(s->books, ledger.failing && !drops());
		ev.data.fd = s->bell;
		epoll_ctl(ledger.epoll, EPOLL_CTL_ADD, s->bell, &ev);
		/* A ledger that was restarted: these started before its time. */
		while ((c = books_next_open(s->books, &at)) != NULL) {
			struct generation *g = generation_find(c->policy);

			if (g != NULL && atomic_load(&c->state) == CARD_STARTED)
				g->sessions++;
		}
		return;
	}
	log_error("no place for the books of another worker");
}

static void
on_worker_gone(const struct message *m)
{
	worker_gone(m->body);
}

static void
on_policy_refused(const struct message *m)
{
	const struct ipc_compiled *body = m->body;
	char text[64];

	snprintf(text, sizeof text, "%u error%s, the old policy stays", body->errors,
	    body->errors == 1 ? "" : "s");
	write_plain("policy-refused", "failure", NULL, text);
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
    {IPC_TALLY, on_tally},	     {IPC_POLICY, on_policy},
    {IPC_AUDIT_FILE, on_audit_file}, {IPC_BOOKS, on_books},
    {IPC_WORKER_GONE, on_worker_gone}, {IPC_POLICY_REFUSED, on_policy_refused},
    {IPC_DRAIN, on_drain},
};

static void
take(const struct message *m)
{
	bool complete = ledger.tally != NULL && ledger.sequence != NULL;

	if (m->type != IPC_TALLY && !complete) {
		log_error("told of '%s' before the tally", ipc_table[m->type].word);
		exit(1);
	}
	for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
		if (messages[i].type == m->type)
			messages[i].take(m);
	if (m->type == IPC_POLICY)
		tell_policies();
	if (!ledger.ready && ledger.sequence != NULL && ledger.newest != 0 && ledger.file != -1) {
		ledger.ready = true;
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

/* ---- the loop --------------------------------------------------------------------------------------- */

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
	if (!ledger.stop || heard || ledger.out_len > 0)
		return ledger.stop && clock_mono_ns() / NS_PER_MS >= ledger.stop_ms;
	return !any_open() || clock_mono_ns() / NS_PER_MS >= ledger.stop_ms;
}

/* Records were thrown away and the file takes some again: how many is a record, too. */
static void
tell_dropped(void)
{
	uint64_t before = ledger.dropped;
	char text[64];

	if (before == 0 || (ledger.failing && !drops()))
		return;
	snprintf(text, sizeof text, "%llu records were dropped", (unsigned long long)before);
	write_plain("audit-resume", "success", NULL, text);
	flush();
	/* if it was dropped like the others, it was no loss */
	ledger.dropped = ledger.dropped > before ? ledger.dropped - 1 : 0;
}

static void
run(void)
{
	unsigned in_vain = 0;

	for (;;) {
		bool heard = ledger.ready && hear_all(), all_out;

		tell_policies();
		if (ledger.later_count > 0)
			read_channel();
		tell_dropped();
		all_out = ledger.out_len == 0 || (ledger.file != -1 && flush());
		if (finished(heard))
			return;
		if (!all_out || ledger.failing) {
			wait_for(RETRY_MS);
			continue;
		}
		in_vain = heard ? 0 : in_vain + 1;
		if (in_vain < LOOKS_IN_VAIN || ledger.stop)
			wait_for(LOOK_MS);
		else if (arm_bells())
			wait_for(-1);
		if (in_vain >= LOOKS_IN_VAIN)
			disarm_bells();
	}
}

int
ledger_run(int channel)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = channel};

	ledger.channel = (struct channel){channel, ROLE_LEDGER, ROLE_PARENT};
	ledger.file = -1;
	ledger.epoll = epoll_create1(EPOLL_CLOEXEC);
	fcntl(channel, F_SETFL, fcntl(channel, F_GETFL) | O_NONBLOCK);
	if (gethostname(ledger.hostname, sizeof ledger.hostname - 1) == -1)
		strcpy(ledger.hostname, "localhost");
	if (ledger.epoll == -1 || epoll_ctl(ledger.epoll, EPOLL_CTL_ADD, channel, &ev) == -1) {
		log_error("cannot set up the ledger: %s", strerror(errno));
		return 1;
	}
	run();
	write_plain("audit-stop", "success", NULL, NULL);
	flush();
	return ledger.out_len == 0 ? 0 : 1;
}
