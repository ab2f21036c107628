/*
 * daemon/forwarder.c - see daemon/forwarder.h: the process. Unprivileged, opens no file; blocks on
 * its two files of bookmarks at most.
 *
 * Wakes when a file of the ledger was written to, and then looks at most every 16 ms: the kernel
 * makes one event of many writes as long as none is read. Where each copy is stands on the page
 * after each look, so that a forwarder which dies costs nothing but what was on its way; in the
 * files it stands within a second.
 */
#include "forwarder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "channel.h"
#include "compile.h"
#include "copies.h"

#define LOOK_MS 16    /* between two looks at the files */
#define BLIND_MS 1000 /* where nothing tells of writes */
#define TELL_MS 100
#define ASK_MS 250 /* what was taken of what is on its way */
#define SAVE_MS 1000
#define ROUND_MS 20    /* at the end */
#define ORPHAN_MS 7000 /* the parent is gone; the ledger writes its last within five seconds */
#define QUIET_MS 1500
#define NICE 5

static struct {
	struct channel channel;
	struct watch watch;
	struct volume volumes[COPIES_FILES]; /* oldest first */
	unsigned volume_count;
	struct copy copies[SETTINGS_COPIES];
	struct lags *page;
	int store[2];
	bool kept, asked, ready, told, stop, orphan, unsaved;
	struct bookmarks book;
	struct timer look, tell, save;
	int64_t looked_ms, stop_ms, grown_ms;
	struct { /* the ledger's last record, as of a size */
		uint64_t file, size, seq;
	} head;
} forwarder = {.store = {-1, -1}};

/* ---- files ---------------------------------------------------------------------------------- */

static uint64_t
size_of(const struct volume *s)
{
	struct stat st;

	return fstat(s->fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static struct volume *
volume_of(uint64_t number)
{
	for (unsigned i = 0; i < forwarder.volume_count; i++)
		if (forwarder.volumes[i].what.number == number)
			return &forwarder.volumes[i];
	return NULL;
}

/* NULL: it is the one in use. */
static struct volume *
after(const struct volume *s)
{
	unsigned i = (unsigned)(s - forwarder.volumes) + 1;

	return i < forwarder.volume_count ? &forwarder.volumes[i] : NULL;
}

/* What stands there from here on belongs to the ledger: another one may have used the file before.
 */
static struct spot
start_of(const struct volume *s, const struct bookmark *mark)
{
	bool follows = s > forwarder.volumes && s[-1].what.former != 0;

	return (struct spot){
	    .file = s->what.number, .offset = follows ? 0 : s->what.from, .mark = *mark};
}

ssize_t
volume_line(struct spot *p, char line[FIELDS_LINE])
{
	const struct volume *s = volume_of(p->file);
	ssize_t n = s != NULL ? pread(s->fd, line, FIELDS_LINE, (off_t)p->offset) : -1;
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;

	return end != NULL ? end - line : -1;
}

const struct volume *
volume_at(struct spot *p)
{
	const struct volume *s = volume_of(p->file);

	if (s == NULL && forwarder.volume_count > 0) {
		s = forwarder.volumes;
		*p = start_of(s, &p->mark);
	}
	return s;
}

bool
volume_next(struct spot *p)
{
	const struct volume *s = volume_of(p->file), *next = s != NULL ? after(s) : NULL;
	char line[FIELDS_LINE];

	/* the ledger writes to one file at a time: the next has grown, so this one is whole */
	if (next == NULL || size_of(next) <= (next->what.former ? 0 : next->what.from))
		return false;
	if (volume_line(p, line) == -1 && size_of(s) < p->offset + FIELDS_LINE)
		*p = start_of(next, &p->mark);
	return true; /* or more was written to this one meanwhile */
}

static uint64_t
last_seq(const struct volume *s, uint64_t size)
{
	char tail[2 * FIELDS_LINE];
	size_t want = size < sizeof tail ? (size_t)size : sizeof tail;
	ssize_t n = pread(s->fd, tail, want, (off_t)(size - want));
	const char *end = n > 0 ? memrchr(tail, '\n', (size_t)n) : NULL;
	struct fields f;

	while (end != NULL) {
		const char *before = end > tail ? memrchr(tail, '\n', (size_t)(end - tail)) : NULL,
			   *line = before != NULL ? before + 1 : tail;

		if (fields_read(line, (size_t)(end - line), &f))
			return fields_seq(&f);
		end = before;
	}
	return 0;
}

uint64_t
ledger_head(void)
{
	for (unsigned i = forwarder.volume_count; i-- > 0;) {
		const struct volume *s = &forwarder.volumes[i];
		uint64_t size = size_of(s), seq;

		if (s->what.number == forwarder.head.file && size == forwarder.head.size)
			return forwarder.head.seq;
		if ((seq = last_seq(s, size)) == 0)
			continue;
		forwarder.head.file = s->what.number;
		forwarder.head.size = size;
		return forwarder.head.seq = seq;
	}
	return 0;
}

uint64_t
ledger_behind(const struct spot *p)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < forwarder.volume_count; i++) {
		const struct volume *s = &forwarder.volumes[i];
		uint64_t size = size_of(s), from = s->what.number < p->file    ? size
						   : s->what.number == p->file ? p->offset
						   : s->what.former            ? 0
									       : s->what.from;

		sum += size > from ? size - from : 0;
	}
	return sum;
}

/* ---- what is not needed any more ------------------------------------------------------------ */

static void
close_oldest(void)
{
	struct volume *s = forwarder.volumes;
	struct watch watches[COPIES_FILES];

	close(s->fd);
	watch_close(&s->watch);
	forwarder.volume_count--;
	memmove(s, s + 1, forwarder.volume_count * sizeof *s);
	/* the loop knows a watch by where it stands */
	for (unsigned i = 0; i < forwarder.volume_count; i++) {
		watches[i] = s[i].watch;
		s[i].watch.fd = -1;
		if (watches[i].fd != -1)
			watch_move(&watches[i], &s[i].watch, EPOLLIN | EPOLLET);
	}
}

static void
close_done(void)
{
	struct ipc_copy_done body = {0};
	uint64_t needed = UINT64_MAX;

	for (int i = 0; i < SETTINGS_COPIES; i++) {
		const struct copy *c = &forwarder.copies[i];

		if (c->to.name[0] != '\0' && c->settled.file < needed)
			needed = c->settled.file;
	}
	while (forwarder.told && forwarder.volume_count > 1 &&
	       forwarder.volumes[0].what.number < needed) {
		body.number = forwarder.volumes[0].what.number;
		close_oldest();
	}
	if (body.number != 0)
		channel_send(&forwarder.channel, IPC_COPY_DONE, &body, sizeof body, NULL, 0);
}

/* ---- telling and saving --------------------------------------------------------------------- */

static void
save(void)
{
	forwarder.unsaved = false;
	if (!bookmarks_write(&forwarder.book, forwarder.store, forwarder.kept && forwarder.stop))
		log_warning("cannot save where copies of the ledger are: %s", strerror(errno));
}

static void
save_due(struct timer *t)
{
	(void)t;
	if (forwarder.unsaved)
		save();
}

/* True: something is on its way. */
static bool
tell_copy(struct copy *c)
{
	struct bookmark *kept = bookmarks_of(&forwarder.book, c->to.name);
	int i = lags_place(forwarder.page, c->to.name);
	bool again = copy_settle(c);

	c->lag.told_ns = loop_wall_ns();
	if (i != -1) {
		lags_mark(forwarder.page, i, &c->settled.mark);
		lags_put(forwarder.page, i, &c->lag);
	}
	if (kept != NULL && memcmp(kept, &c->settled.mark, sizeof *kept) != 0) {
		*kept = c->settled.mark;
		forwarder.unsaved = true;
	}
	return again;
}

static void tell_due(struct timer *t);

static void
tell(void)
{
	bool again = false;

	for (int i = 0; i < SETTINGS_COPIES; i++)
		if (forwarder.copies[i].to.name[0] != '\0')
			again |= tell_copy(&forwarder.copies[i]);
	close_done();
	if (forwarder.unsaved && !timer_armed(&forwarder.save))
		timer_set(&forwarder.save, loop_now() + SAVE_MS, save_due);
	if (again && !timer_armed(&forwarder.tell))
		timer_set(&forwarder.tell, loop_now() + ASK_MS, tell_due);
}

static void
tell_due(struct timer *t)
{
	(void)t;
	tell();
}

void
forwarder_changed(void)
{
	if (!timer_armed(&forwarder.tell) || forwarder.tell.due_ms > loop_now() + TELL_MS)
		timer_set(&forwarder.tell, loop_now() + TELL_MS, tell_due);
}

/* ---- looking -------------------------------------------------------------------------------- */

static void look_due(struct timer *t);

static void
look(void)
{
	char events[1024];
	bool blind = false;

	forwarder.looked_ms = loop_now();
	timer_stop(&forwarder.look);
	for (unsigned i = 0; i < forwarder.volume_count; i++) {
		struct volume *s = &forwarder.volumes[i];

		blind |= s->watch.fd == -1 && after(s) == NULL;
		while (s->watch.fd != -1 && read(s->watch.fd, events, sizeof events) > 0)
			forwarder.grown_ms = loop_now();
	}
	for (int i = 0; i < SETTINGS_COPIES; i++)
		if (forwarder.copies[i].to.name[0] != '\0')
			copy_pump(&forwarder.copies[i]);
	forwarder_changed();
	if (blind && !forwarder.stop)
		timer_set(&forwarder.look, loop_now() + BLIND_MS, look_due);
}

static void
look_due(struct timer *t)
{
	(void)t;
	look();
}

static void
look_soon(void)
{
	int64_t due = forwarder.looked_ms + LOOK_MS;

	if (loop_now() >= due)
		look();
	else if (!timer_armed(&forwarder.look) || forwarder.look.due_ms > due)
		timer_set(&forwarder.look, due, look_due);
}

static void
written(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	look_soon();
}

/* ---- the settings --------------------------------------------------------------------------- */

/* Where the records of this life of the server begin. */
static struct spot
first_spot(void)
{
	struct volume *s = forwarder.volumes;
	struct bookmark none = {0};

	while (after(s) != NULL && s->what.former != 0)
		s++;
	return (struct spot){.file = s->what.number, .offset = s->what.from, .mark = none};
}

/* Behind what stands there now. */
static struct spot
last_spot(void)
{
	const struct volume *s = &forwarder.volumes[forwarder.volume_count - 1];

	return (struct spot){.file = s->what.number, .offset = size_of(s)};
}

/* The line before a place is its mark; a place in the middle of a line is behind that. */
static void
find_mark(struct spot *p)
{
	const struct volume *s = volume_of(p->file);
	char tail[2 * FIELDS_LINE];
	size_t want = p->offset < sizeof tail ? (size_t)p->offset : sizeof tail;
	ssize_t n = want > 0 ? pread(s->fd, tail, want, (off_t)(p->offset - want)) : 0;
	const char *end, *before;
	struct fields f;

	if (n != (ssize_t)want || want == 0)
		return;
	p->within = tail[want - 1] != '\n';
	if ((end = memrchr(tail, '\n', want)) == NULL)
		return;
	before = end > tail ? memrchr(tail, '\n', (size_t)(end - tail)) : NULL;
	before = before != NULL ? before + 1 : tail;
	fields_read(before, (size_t)(end - before), &f);
	p->mark = bookmark_at(before, (size_t)(end - before),
			      p->offset - want + (uint64_t)(end + 1 - tail), fields_seq(&f));
}

/* Where a copy went on from; false: that is nowhere to be found. */
static bool
found(const struct bookmark *mark, struct spot *p)
{
	for (unsigned i = forwarder.volume_count; i-- > 0;)
		if (bookmark_in(mark, forwarder.volumes[i].fd)) {
			*p = (struct spot){.file = forwarder.volumes[i].what.number,
					   .offset = mark->at,
					   .mark = *mark};
			return true;
		}
	return false;
}

/* The number of the first record at a place, 0: none. */
static uint64_t
first_seq(struct spot p)
{
	char line[FIELDS_LINE];
	struct fields f;
	ssize_t len = volume_line(&p, line);

	return len != -1 && fields_read(line, (size_t)len, &f) ? fields_seq(&f) : 0;
}

/* The file is gone, or it is another ledger: what is left behind that place, else this life's
 * records. That some are missing is seen when the next is read. */
static struct spot
after_gap(const struct bookmark *mark)
{
	struct spot p = start_of(forwarder.volumes, mark);

	if (first_seq(p) <= mark->seq)
		p = first_spot();
	p.mark = *mark;
	return p;
}

static void
add(struct copy *c, const struct settings_copy *to, bool at_start)
{
	int slot = lags_place(forwarder.page, to->name);
	const struct bookmark *kept = bookmarks_find(&forwarder.book, to->name);
	struct bookmark mark = {0};
	struct spot p;

	memset(&c->lag, 0, sizeof c->lag);
	if (slot != -1) {
		lags_get(forwarder.page, slot, &c->lag);
		if (c->lag.name[0] != '\0') /* a forwarder before us */
			mark = lags_marked(forwarder.page, slot);
	}
	if (!bookmark_given(&mark) && kept != NULL)
		mark = *kept;
	if (!bookmark_given(&mark)) {
		p = at_start ? first_spot() : last_spot();
		find_mark(&p);
	} else if (!found(&mark, &p))
		p = after_gap(&mark);
	memcpy(c->lag.name, to->name, sizeof to->name);
	if (slot != -1)
		lags_put(forwarder.page, slot, &c->lag);
	copy_begin(c, to, &p);
}

static void
remove_copy(struct copy *c)
{
	int slot = lags_place(forwarder.page, c->to.name);

	if (slot != -1)
		lags_drop(forwarder.page, slot);
	bookmarks_drop(&forwarder.book, c->to.name);
	forwarder.unsaved = true;
	copy_end(c);
}

static const struct settings_copy *
wanted(const struct settings *s, const char *name)
{
	for (uint32_t i = 0; i < s->audit.copy_count; i++)
		if (strcmp(s->audit.copies[i].name, name) == 0)
			return &s->audit.copies[i];
	return NULL;
}

static struct copy *
copy_of(const char *name)
{
	for (int i = 0; i < SETTINGS_COPIES; i++)
		if (strcmp(forwarder.copies[i].to.name, name) == 0)
			return &forwarder.copies[i];
	return NULL;
}

/* What is of an earlier life and not wanted any more. */
static void
forget_others(const struct settings *s)
{
	for (int i = 0; i < BOOKMARKS; i++) {
		char *name = forwarder.book.names[i];
		struct lag lag;

		if (name[0] != '\0' && wanted(s, name) == NULL) {
			bookmarks_drop(&forwarder.book, name);
			forwarder.unsaved = true;
		}
		lags_get(forwarder.page, i, &lag);
		if (lag.name[0] != '\0' && wanted(s, lag.name) == NULL)
			lags_drop(forwarder.page, i);
	}
}

static void
take_settings(const struct settings *s)
{
	bool at_start = !forwarder.told;

	for (int i = 0; i < SETTINGS_COPIES; i++) {
		struct copy *c = &forwarder.copies[i];
		const struct settings_copy *to = wanted(s, c->to.name);

		if (c->to.name[0] == '\0')
			continue;
		if (to == NULL)
			remove_copy(c);
		else if (memcmp(to, &c->to, sizeof *to) != 0)
			copy_change(c, to);
	}
	forget_others(s);
	for (uint32_t i = 0; i < s->audit.copy_count; i++)
		if (copy_of(s->audit.copies[i].name) == NULL)
			add(copy_of(""), &s->audit.copies[i], at_start);
	forwarder.told = true;
	look();
}

/* ---- what the parent tells ------------------------------------------------------------------ */

static void
on_policy(const struct message *m)
{
	size_t len = 0;
	struct settings *s = image_map(m->fds[0], &len);
	const struct ipc_policy *body = m->body;
	struct ipc_policy_taken taken = {.generation = body->generation};

	forwarder.asked = true;
	if (s == NULL)
		log_error("cannot map the settings: %s", strerror(errno));
	else if (!settings_valid(s, len) || forwarder.volume_count == 0 ||
		 forwarder.page == NULL)
		log_error("nothing can be copied");
	else if (forwarder_wanted(s) || forwarder.told)
		take_settings(s);
	if (s != NULL)
		munmap(s, len);
	channel_send(&forwarder.channel, IPC_POLICY_TAKEN, &taken, sizeof taken, NULL, 0);
}

static void
on_store(const struct message *m)
{
	const struct ipc_copy_store *body = m->body;

	for (int i = 0; i < 2; i++)
		forwarder.store[i] = fcntl(m->fds[i], F_DUPFD_CLOEXEC, 3);
	forwarder.kept = body->kept != 0;
	if (!bookmarks_read(&forwarder.book, forwarder.store))
		log_warning("the file that tells where copies are is damaged: they begin anew");
	forwarder.page = lags_map(m->fds[2], true);
	if (forwarder.page == NULL)
		log_error("cannot map the page of copies");
}

static void
on_file(const struct message *m)
{
	struct volume *s;

	if (forwarder.volume_count ==
	    COPIES_FILES) /* who is there yet loses what he has not read */
		close_oldest();
	s = &forwarder.volumes[forwarder.volume_count++];
	memcpy(&s->what, m->body, sizeof s->what);
	s->fd = fcntl(m->fds[0], F_DUPFD_CLOEXEC, 3);
	s->watch.fd = -1;
	if (m->fd_count == 2) {
		int fd = fcntl(m->fds[1], F_DUPFD_CLOEXEC, 3);

		if (fd == -1 || watch_add(&s->watch, fd, EPOLLIN | EPOLLET, written) == -1)
			log_warning("cannot watch the audit file: %s", strerror(errno));
	}
	if (forwarder.told)
		look_soon();
}

static void
on_drain(const struct message *m)
{
	const struct ipc_drain *body = m->body;

	forwarder.stop = true;
	forwarder.stop_ms = loop_now() + body->within_ms;
}

static const struct {
	enum ipc_type type;
	void (*take)(const struct message *m);
} messages[] = {
    {IPC_POLICY, on_policy},
    {IPC_COPY_STORE, on_store},
    {IPC_COPY_FILE, on_file},
    {IPC_DRAIN, on_drain},
};

static void
be_orphan(void)
{
	watch_remove(&forwarder.watch);
	forwarder.orphan = true;
	if (!forwarder.stop)
		forwarder.stop_ms = loop_now() + ORPHAN_MS;
	forwarder.grown_ms = loop_now();
	forwarder.stop = true;
}

static void
channel_ready(struct watch *w, uint32_t events)
{
	static struct message m;
	int got;

	(void)w;
	(void)events;
	while ((got = channel_receive(&forwarder.channel, &m)) == 1) {
		for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++)
			if (messages[i].type == m.type)
				messages[i].take(&m);
		message_close_fds(&m);
	}
	if (got == 0 || errno != EAGAIN) {
		be_orphan();
		return;
	}
	if (!forwarder.ready && forwarder.asked) {
		forwarder.ready = true;
		channel_send(&forwarder.channel, IPC_READY, NULL, 0, NULL, 0);
	}
}

/* ---- the end -------------------------------------------------------------------------------- */

static bool
all_idle(void)
{
	for (int i = 0; i < SETTINGS_COPIES; i++)
		if (forwarder.copies[i].to.name[0] != '\0' && !copy_idle(&forwarder.copies[i]))
			return false;
	return !forwarder.orphan || loop_now() - forwarder.grown_ms >= QUIET_MS;
}

static void
end(void)
{
	for (int i = 0; i < SETTINGS_COPIES; i++)
		if (forwarder.copies[i].to.name[0] != '\0')
			copy_last(&forwarder.copies[i]);
	if (forwarder.page == NULL)
		return;
	tell();
	save();
}

/* Those who carry sessions go first where there is too little processor time. */
bool
forwarder_prepare(int channel, const struct account *a)
{
	(void)channel;
	(void)a;
	if (setpriority(PRIO_PROCESS, 0, NICE) == -1)
		log_debug("cannot be nice: %s", strerror(errno));
	return true;
}

bool
forwarder_wanted(const struct settings *s)
{
	return copies_wanted(s);
}

int
forwarder_run(int channel)
{
	forwarder.channel = (struct channel){channel, ROLE_FORWARDER, ROLE_PARENT};
	for (int i = 0; i < SETTINGS_COPIES; i++)
		forwarder.copies[i].watch.fd = -1;
	fcntl(channel, F_SETFL, fcntl(channel, F_GETFL) | O_NONBLOCK);
	if (!loop_open() || watch_add(&forwarder.watch, channel, EPOLLIN, channel_ready) == -1) {
		log_error("cannot set up the event loop: %s", strerror(errno));
		return 1;
	}
	while (!forwarder.stop)
		loop_round(-1);
	do {
		look();
		loop_round(ROUND_MS);
	} while (loop_now() < forwarder.stop_ms && !all_idle());
	end();
	return 0;
}
