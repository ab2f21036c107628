/*
 * daemon/copy.c - see daemon/forwarder.h: one copy of the ledger. The forwarder; never blocks.
 *
 * What was sent by TCP is settled when the peer's kernel has had it for a while, since what a
 * program has not read when it dies is lost with it; of a Unix socket the kernel tells what was
 * read. When a connection breaks, what was not settled is sent again: a record may come twice then,
 * which its number shows, and none is left out. Of UDP nothing is known, but that a datagram was
 * refused; that one is sent again.
 */
#include "forwarder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "copies.h"
#include "net/conn.h"
#include "wire/journal.h"
#include "wire/syslog.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define BATCH (64 * 1024)
#define TURN_BYTES (256 * 1024) /* then others have their turn */
#define CONNECT_MS 10000
#define BACKOFF_LEAST_MS 500
#define BACKOFF_MOST_MS 30000
#define GOOD_LIFE_MS 5000 /* of a connection: the next back-off is short again */
#define PROBE_MS 200      /* for a refusal of UDP to come back */
#define SETTLE_MS 500
#define STALLED_MS 10000
#define AGAIN_MS 250        /* the socket takes none, and may not tell when it does */
#define UNREAD_RECORDS 1000 /* at a Unix socket: then all must be read once, so that it is known   \
			     */
#define UNREAD_BYTES (1024 * 1024)
#define UNREAD_MS 20
#define WATCHED (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

#define OF_TIMER(t) ((struct copy *)(void *)((char *)(t)-offsetof(struct copy, timer)))

static void connect_now(struct copy *c);
static void broken(struct copy *c, int error);

static bool
is_up(const struct copy *c)
{
	return c->watch.fd != -1 && !c->connecting;
}

static void
set_state(struct copy *c, enum lag_state state, int error)
{
	c->lag.state = (uint32_t)state;
	c->lag.error = (uint32_t)error;
	forwarder_changed();
}

/* ---- what is on its way --------------------------------------------------------------------- */

static struct flight *
flight_at(struct copy *c, unsigned i)
{
	return &c->flights[(c->flight_first + i) % FLIGHTS];
}

/* When there are many, the last two become one. */
static void
flight_add(struct copy *c)
{
	struct flight f = {c->queued, c->next, loop_now()};

	if (c->flight_count == FLIGHTS)
		c->flight_count--;
	*flight_at(c, c->flight_count++) = f;
}

/* Up to where the peer has acknowledged; a Unix socket tells only when all was read. */
static void
ask_taken(struct copy *c)
{
	size_t unsent = conn_unsent(c->watch.fd);
	uint64_t taken = c->taken;

	if (c->to.kind == COPY_TCP)
		taken = unsent <= c->passed ? c->passed - unsent : 0;
	else if (unsent == 0)
		taken = c->passed;
	if (taken > c->taken || (c->queued == c->taken && !c->blocked))
		c->moved_ms = loop_now();
	if (taken > c->taken)
		c->taken = taken;
}

static void
settle(struct copy *c, int64_t least_ms)
{
	if (!is_up(c) || c->to.kind == COPY_UDP)
		return;
	ask_taken(c);
	while (c->flight_count > 0) {
		struct flight *f = flight_at(c, 0);

		if (f->end > c->taken || loop_now() - f->written_ms < least_ms)
			return;
		c->settled = f->behind;
		c->flight_first = (c->flight_first + 1) % FLIGHTS;
		c->flight_count--;
	}
}

static int64_t
settle_ms(const struct copy *c)
{
	return c->to.kind == COPY_TCP ? SETTLE_MS : 0;
}

/* What the receiver has, settled or not. */
static struct spot
taken_spot(struct copy *c)
{
	struct spot p = c->settled;

	for (unsigned i = 0; i < c->flight_count && flight_at(c, i)->end <= c->taken; i++)
		p = flight_at(c, i)->behind;
	return p;
}

/* ---- telling how far it is ------------------------------------------------------------------ */

static void
tell_stalled(struct copy *c, bool waits)
{
	bool stalled = waits && loop_now() - c->moved_ms >= STALLED_MS;

	if (c->lag.state == LAG_OK && stalled) {
		log_warning("copy '%s' takes no records: %s", c->to.name, c->where);
		set_state(c, LAG_STALLED, 0);
	} else if (c->lag.state == LAG_STALLED && !stalled) {
		log_notice("copy '%s' takes records again", c->to.name);
		set_state(c, LAG_OK, 0);
	}
}

static void
count_lag(struct copy *c)
{
	struct spot p = taken_spot(c);
	uint64_t head = ledger_head(), seq;
	char line[FIELDS_LINE];
	struct fields f;
	ssize_t len;

	volume_at(&p);
	for (int files = 0; (len = volume_line(&p, line)) == -1 && files < COPIES_FILES; files++)
		if (!volume_next(&p))
			break;
	c->lag.records = 0;
	c->lag.oldest_ns = 0;
	c->lag.bytes = ledger_behind(&p);
	c->lag.seq = p.mark.seq;
	if (len == -1)
		return;
	fields_read(line, (size_t)len, &f);
	seq = fields_seq(&f) != 0 ? fields_seq(&f) : p.mark.seq + 1;
	if (!bookmark_given(&c->next.mark) && p.offset == 0 && p.file == c->next.file)
		/* it has nothing yet: this is where it goes on, also in another life */
		c->next.mark = c->settled.mark = bookmark_at(line, (size_t)len, 0, seq - 1);
	c->lag.records = head >= seq ? head - seq + 1 : 1;
	c->lag.oldest_ns = fields_time(&f);
}

bool
copy_settle(struct copy *c)
{
	bool waits;

	settle(c, settle_ms(c));
	waits = is_up(c) && (c->blocked || c->queued > c->taken);
	tell_stalled(c, waits);
	count_lag(c);
	return waits || c->flight_count > 0;
}

/* ---- reading and sending -------------------------------------------------------------------- */

static void
drop(struct copy *c, uint64_t n, const char *why)
{
	c->lag.dropped += n;
	if (n > 0)
		log_warning("copy '%s': %" PRIu64 " record%s left out, %s", c->to.name, n,
			    n == 1 ? " was" : "s were", why);
	forwarder_changed();
}

/* The next lines of the ledger, as many as there is room for. 0: there are none now. */
static size_t
read_lines(struct copy *c, char chunk[BATCH])
{
	uint64_t file = c->next.file;
	const struct volume *s;
	ssize_t n;

	if (volume_at(&c->next) != NULL && c->next.file != file)
		c->settled = c->next;
	do {
		if ((s = volume_at(&c->next)) == NULL)
			return 0;
		n = pread(s->fd, chunk, BATCH, (off_t)c->next.offset);
		if (n > 0 && memchr(chunk, '\n', (size_t)n) != NULL)
			return (size_t)n;
		if (n >= FIELDS_LINE) { /* a line that is none, and has no end yet */
			c->next.within = true;
			c->next.offset += (uint64_t)n;
			continue;
		}
	} while (n >= FIELDS_LINE || volume_next(&c->next));
	return 0;
}

/* The next one of them, without its newline; NULL: there is no whole one. The place goes behind it.
 */
static const char *
next_line(struct copy *c, const char *chunk, size_t have, size_t *at, size_t *len, struct fields *f)
{
	struct spot *p = &c->next;

	while (*at < have) {
		const char *line = chunk + *at, *end = memchr(line, '\n', have - *at);
		bool within = p->within;
		uint64_t seq;

		if (end == NULL)
			return NULL;
		*len = (size_t)(end - line);
		*at += *len + 1;
		p->offset += *len + 1;
		p->within = false;
		if (!within && fields_line_fit(line, *len)) {
			fields_read(line, *len, f);
			seq = fields_seq(f) != 0 ? fields_seq(f) : p->mark.seq;
			if (bookmark_given(&p->mark) && seq > p->mark.seq + 1)
				drop(c, seq - p->mark.seq - 1, "their file is gone");
			p->mark = bookmark_at(line, *len, p->offset, seq);
			return line;
		}
		if (!within)
			drop(c, 1, "it is no line of text");
	}
	return NULL;
}

static struct syslog_form
form_of(const struct copy *c)
{
	return (struct syslog_form){
	    .facility = c->to.facility,
	    .framing = !c->stream                         ? SYSLOG_ALONE
		       : c->to.framing == FRAMING_NEWLINE ? SYSLOG_LINES
							  : SYSLOG_COUNTED,
	    .app = "sallyportd",
	    .procid = (unsigned)getppid(),
	};
}

static void
try_again(struct timer *t)
{
	copy_pump(OF_TIMER(t));
}

/* Of a Unix socket it is known only when all was read: what would have to be sent again must not
 * grow for ever. */
static bool
too_much_unread(struct copy *c)
{
	uint64_t most = c->stream ? UNREAD_BYTES : UNREAD_RECORDS;

	if ((c->to.kind != COPY_UNIX && c->to.kind != COPY_JOURNAL) || c->queued - c->taken < most)
		return false;
	ask_taken(c);
	if (c->queued == c->taken)
		return false;
	c->blocked = true;
	timer_set(&c->timer, loop_now() + UNREAD_MS, try_again);
	return true;
}

/* -- a stream -- */

/* Lines into out, which is empty. False: there are none. */
static bool
fill(struct copy *c)
{
	static char chunk[BATCH];
	struct syslog_form form = form_of(c);
	size_t have = read_lines(c, chunk), at = 0, len;
	struct spot before = c->next;
	const char *line;
	struct fields f;
	struct text t;

	text_init(&t, c->out, BATCH);
	while ((line = next_line(c, chunk, have, &at, &len, &f)) != NULL) {
		if (!syslog_put(&t, &form, &f, line, len)) {
			c->next = before; /* the next batch begins with it */
			break;
		}
		before = c->next;
		c->lag.sent++;
	}
	if (t.len == 0)
		return false;
	c->out_len = t.len;
	c->out_at = 0;
	c->queued += t.len;
	flight_add(c);
	return true;
}

/* False: the socket takes no more, or is broken. */
static bool
flush(struct copy *c)
{
	while (c->out_at < c->out_len) {
		ssize_t n =
		    send(c->watch.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == ENOBUFS)) {
			c->blocked = true;
			return false;
		}
		if (n == -1) {
			broken(c, errno);
			return false;
		}
		c->out_at += (size_t)n;
		c->passed += (uint64_t)n;
	}
	c->out_len = c->out_at = 0;
	return true;
}

/* Returns how many bytes; 0: there is no more, or it waits. */
static size_t
stream_some(struct copy *c)
{
	size_t n;

	if (!flush(c) || too_much_unread(c) || !fill(c))
		return 0;
	n = c->out_len;
	return flush(c) ? n : 0;
}

/* -- datagrams -- */

/* One record. 0, or an errno. */
static int
send_one(struct copy *c, const struct fields *f, const char *line, size_t len)
{
	static char datagram[JOURNAL_MAX];
	struct syslog_form form = form_of(c);
	struct text t;
	ssize_t n;

	text_init(&t, datagram, sizeof datagram);
	if (!(c->to.kind == COPY_JOURNAL
		  ? journal_put(&t, "sallyport-audit", c->to.facility, f, line, len)
		  : syslog_put(&t, &form, f, line, len)))
		return EMSGSIZE;
	while ((n = send(c->watch.fd, t.p, t.len, MSG_NOSIGNAL)) == -1 && errno == EINTR)
		;
	return n == -1 ? errno : 0;
}

static bool
must_wait(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

/* Of UDP the network has said that nobody is there: the last one was for nobody. */
static void
refused(struct copy *c, int error)
{
	if (c->to.kind == COPY_UDP && c->may_refuse)
		c->settled = c->next = c->before;
	c->may_refuse = false;
	broken(c, error);
}

/* The place is before a line that was not sent. */
static void
not_sent(struct copy *c, int error)
{
	if (!must_wait(error)) {
		refused(c, error);
		return;
	}
	timer_set(&c->timer, loop_now() + AGAIN_MS, try_again);
}

/* Of UDP nothing more will be known. */
static void
datagrams_sent(struct copy *c, size_t count)
{
	if (c->to.kind == COPY_UDP) {
		c->settled = c->next;
		c->moved_ms = count > 0 || !c->blocked ? loop_now() : c->moved_ms;
	} else if (count > 0) {
		c->queued += count;
		c->passed = c->queued;
		flight_add(c);
	}
}

/* As stream_some. */
static size_t
datagrams_some(struct copy *c)
{
	static char chunk[BATCH];
	size_t have, at = 0, count = 0, most = c->probing ? 1 : SIZE_MAX, len;
	const char *line;
	struct fields f;
	int error = 0;

	if ((c->probing && c->may_refuse) || too_much_unread(c))
		return 0; /* what becomes of the first is waited for, or of the others */
	have = read_lines(c, chunk);
	while (count < most) {
		struct spot before = c->next;

		if ((line = next_line(c, chunk, have, &at, &len, &f)) == NULL)
			break;
		if ((error = send_one(c, &f, line, len)) != 0 && error != EMSGSIZE) {
			c->next = before;
			break;
		}
		if (error == EMSGSIZE)
			drop(c, 1, "it is too large for a datagram");
		else {
			c->lag.sent++;
			c->before = before;
			c->may_refuse = true;
		}
		count++;
	}
	c->blocked = must_wait(error);
	datagrams_sent(c, count);
	if (error != 0 && error != EMSGSIZE) {
		not_sent(c, error);
		return 0;
	}
	return count > 0 ? at : 0;
}

/* ---- pumping -------------------------------------------------------------------------------- */

static void
another_turn(struct turn *t)
{
	copy_pump((struct copy *)(void *)((char *)t - offsetof(struct copy, turn)));
}

static void
be_up(struct copy *c)
{
	char since[64];
	struct text text;

	c->probing = false;
	c->moved_ms = c->up_ms = loop_now();
	if (c->told_down) {
		text_init(&text, since, sizeof since);
		text_put_duration(&text, (uint64_t)(loop_now() - c->down_ms) * NS_PER_MS);
		log_notice("copy '%s' is reached again after %s: %s, %" PRIu64 " record%s behind",
			   c->to.name, since, c->where, c->lag.records,
			   c->lag.records == 1 ? "" : "s");
	} else
		log_info("copy '%s' is reached: %s", c->to.name, c->where);
	c->told_down = false;
	set_state(c, LAG_OK, 0);
	copy_pump(c);
}

static void
probed(struct timer *t)
{
	be_up(OF_TIMER(t));
}

void
copy_pump(struct copy *c)
{
	size_t sum = 0, n = 1;

	if (!is_up(c))
		return;
	c->blocked = false;
	while (n > 0 && sum < TURN_BYTES && is_up(c)) {
		n = c->stream ? stream_some(c) : datagrams_some(c);
		sum += n;
	}
	forwarder_changed();
	if (!is_up(c))
		return;
	if (c->probing) {
		if (!timer_armed(&c->timer))
			timer_set(&c->timer, loop_now() + PROBE_MS, probed);
	} else if (n > 0)
		turn_ask(&c->turn, another_turn);
}

/* ---- the connection ------------------------------------------------------------------------- */

static void
forget_stream(struct copy *c)
{
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_at = 0;
	c->queued = c->passed = c->taken = 0;
	c->flight_first = c->flight_count = 0;
	if (c->to.kind != COPY_UDP)
		c->next = c->settled;
}

static void
hang_up(struct copy *c)
{
	timer_stop(&c->timer);
	turn_cancel(&c->turn);
	watch_close(&c->watch);
	forget_stream(c);
	c->connecting = c->probing = c->blocked = c->stream = false;
}

static void
back_off_over(struct timer *t)
{
	connect_now(OF_TIMER(t));
}

static void
broken(struct copy *c, int error)
{
	bool lived = is_up(c) && !c->probing && loop_now() - c->up_ms >= GOOD_LIFE_MS;

	settle(c, settle_ms(c));
	hang_up(c);
	if (!c->told_down) {
		log_warning("copy '%s' cannot be reached: %s: %s; it is tried again", c->to.name,
			    c->where, error == 0 ? "closed" : strerror(error));
		c->down_ms = loop_now();
	}
	c->told_down = true;
	c->backoff_ms = lived || c->backoff_ms == 0 ? BACKOFF_LEAST_MS : 2 * c->backoff_ms;
	if (c->backoff_ms > BACKOFF_MOST_MS)
		c->backoff_ms = BACKOFF_MOST_MS;
	set_state(c, LAG_DOWN, error == 0 ? ECONNRESET : error);
	timer_set(&c->timer, loop_now() + c->backoff_ms, back_off_over);
}

static void
too_late(struct timer *t)
{
	broken(OF_TIMER(t), ETIMEDOUT);
}

static void
reached(struct copy *c)
{
	timer_stop(&c->timer);
	c->connecting = false;
	if (c->stream && (c->out = malloc(BATCH)) == NULL) {
		broken(c, ENOMEM);
		return;
	}
	c->moved_ms = loop_now();
	c->may_refuse = false;
	/* of UDP it is known only when nobody refuses */
	c->probing = c->to.kind == COPY_UDP;
	if (c->probing)
		copy_pump(c);
	else
		be_up(c);
}

/* What it says is thrown away. False: it has closed. */
static bool
listen_to(struct copy *c, int *error)
{
	char said[4096];
	ssize_t n;

	while ((n = recv(c->watch.fd, said, sizeof said, 0)) != -1 || errno == EINTR)
		if (n == 0 && c->stream) {
			*error = 0;
			return false;
		}
	*error = errno;
	return *error == EAGAIN;
}

static void
ready(struct watch *w, uint32_t events)
{
	struct copy *c = (struct copy *)(void *)((char *)w - offsetof(struct copy, watch));
	int error;

	if (c->connecting) {
		if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0)
			return;
		if ((error = conn_result(w->fd)) != 0)
			broken(c, error);
		else
			reached(c);
		return;
	}
	if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0 && !listen_to(c, &error)) {
		if (c->stream)
			broken(c, error);
		else
			refused(c, error);
		return;
	}
	if ((events & EPOLLOUT) != 0 && c->blocked)
		copy_pump(c);
}

static void
connect_now(struct copy *c)
{
	int fd;

	c->stream = c->to.kind == COPY_TCP;
	if (c->to.kind == COPY_TCP)
		fd = conn_start(&c->to.at, NULL);
	else if (c->to.kind == COPY_UDP)
		fd = conn_udp(&c->to.at);
	else
		fd =
		    conn_unix(c->to.kind == COPY_JOURNAL ? JOURNAL_SOCKET : c->to.path, &c->stream);
	if (fd == -1 || watch_add(&c->watch, fd, WATCHED, ready) == -1) {
		int error = errno;

		if (fd != -1)
			close(fd);
		broken(c, error);
		return;
	}
	if (c->to.kind != COPY_TCP) {
		reached(c);
		return;
	}
	conn_keep_alive(fd);
	c->connecting = true;
	timer_set(&c->timer, loop_now() + CONNECT_MS, too_late);
}

/* ---- its life ------------------------------------------------------------------------------- */

void
copy_begin(struct copy *c, const struct settings_copy *to, const struct spot *place)
{
	struct lag lag = c->lag; /* what was counted before us */

	*c = (struct copy){.lag = lag, .next = *place, .settled = *place};
	memcpy(&c->to, to, sizeof *to); /* padding, too: it is compared */
	c->watch.fd = -1;
	settings_copy_text(to, c->where);
	memcpy(c->lag.name, to->name, sizeof to->name);
	set_state(c, LAG_CONNECTING, 0);
	connect_now(c);
}

void
copy_change(struct copy *c, const struct settings_copy *to)
{
	hang_up(c);
	memcpy(&c->to, to, sizeof *to);
	settings_copy_text(to, c->where);
	c->told_down = false;
	c->backoff_ms = 0;
	set_state(c, LAG_CONNECTING, 0);
	connect_now(c);
}

void
copy_end(struct copy *c)
{
	hang_up(c);
	*c = (struct copy){.watch.fd = -1};
}

bool
copy_idle(struct copy *c)
{
	if (c->lag.state == LAG_DOWN || c->lag.state == LAG_STALLED)
		return true;
	if (!is_up(c) || c->probing)
		return false;
	settle(c, settle_ms(c));
	count_lag(c);
	return c->lag.records == 0 && c->queued == c->taken;
}

void
copy_last(struct copy *c)
{
	settle(c, 0);
	hang_up(c);
}
