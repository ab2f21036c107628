/*
 * books/desk.c - see books/desk.h. The ledger.
 *
 * The order of the stores is all there is to it: each is followed by one that makes it count, and
 * whoever maps the desk next finishes what was begun. The reader is a later process, so no store
 * needs more than program order.
 */
#include "config.h"

#include "books/desk.h"
#include "books/memory.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/form.h"
#include "base/log.h"
#include "books/record.h"

#define DESK_FORM 1 /* raised when what stands on it means something else in the same place */
#define WAIT_MS 250 /* for a file that takes nothing at the moment */

struct shared {
	struct desk_facts facts;
	struct desk_effect effect;  /* of the line that ends at effect_at */
	struct chain before;        /* as of the line before the first one here */
	_Atomic uint32_t effect_at; /* equal to len: the line is laid */
	_Atomic uint32_t len, at;   /* bytes of lines; how many are known to be in the file */
	_Atomic uint32_t begun;     /* the next three hold */
	uint64_t dev, ino;          /* the file */
	int64_t base; /* its length when the first byte of lines would have been its last */
	char lines[DESK_LINES];
};
_Static_assert(sizeof(struct shared) <= DESK_BYTES, "the desk is large enough");

struct desk {
	struct shared *on;
	int file;
};

uint64_t
desk_form(void)
{
	const uint64_t sizes[] = {DESK_FORM,
				  DESK_BYTES,
				  sizeof(struct shared),
				  sizeof(struct desk_facts),
				  sizeof(struct desk_effect),
				  sizeof(struct chain),
				  sizeof(struct chain_mark),
				  offsetof(struct shared, effect),
				  offsetof(struct shared, before),
				  offsetof(struct shared, len),
				  offsetof(struct shared, base),
				  offsetof(struct desk_facts, chain),
				  offsetof(struct desk_facts, dropped),
				  offsetof(struct desk_facts, suspended_ns),
				  offsetof(struct desk_facts, mark),
				  offsetof(struct desk_effect, chain),
				  offsetof(struct desk_effect, note_told),
				  offsetof(struct desk_effect, position)};

	return FORM_OF(sizes);
}

int
desk_create(void)
{
	return memory_create("desk", DESK_BYTES, NULL, 0);
}

static void
take_effect(struct shared *s)
{
	s->facts.seq = s->effect.seq;
	s->facts.note_told = s->effect.note_told;
	s->facts.chain = s->effect.chain;
	s->facts.unsigned_lines = s->effect.unsigned_lines;
	s->facts.policy_told = s->effect.policy_told;
}

struct desk *
desk_map(int fd)
{
	struct desk *d;
	struct shared *s;
	struct stat st;

	if (fstat(fd, &st) == -1 || st.st_size != DESK_BYTES)
		return NULL;
	s = mmap(NULL, DESK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (s == MAP_FAILED)
		return NULL;
	d = s->len <= DESK_LINES && s->at <= DESK_LINES ? malloc(sizeof *d) : NULL;
	if (d == NULL) {
		munmap(s, DESK_BYTES);
		return NULL;
	}
	*d = (struct desk){s, -1};
	if (s->at > s->len) /* it died while clearing */
		s->at = 0;
	if (desk_effect(d) != NULL)
		take_effect(s);
	return d;
}

void
desk_unmap(struct desk *d)
{
	if (d == NULL)
		return;
	if (d->file != -1)
		close(d->file);
	munmap(d->on, DESK_BYTES);
	free(d);
}

struct desk_facts *
desk_facts(struct desk *d)
{
	return &d->on->facts;
}

const struct desk_effect *
desk_effect(const struct desk *d)
{
	return d->on->len > 0 && d->on->effect_at == d->on->len ? &d->on->effect : NULL;
}

int
desk_file(const struct desk *d)
{
	return d->file;
}

/* ---- lines ------------------------------------------------------------------------------ */

char *
desk_room(struct desk *d, size_t least)
{
	return DESK_LINES - d->on->len >= least ? d->on->lines + d->on->len : NULL;
}

/* The lines end at `end`, and this holds. */
static void
make_so(struct shared *s, uint32_t end, const struct desk_effect *e)
{
	s->effect_at =
	    0; /* what stood there has come true: half of it and half of ours would be neither */
	atomic_signal_fence(memory_order_seq_cst);
	s->effect = *e;
	atomic_store_explicit(&s->effect_at, end, memory_order_release);
	atomic_store_explicit(&s->len, end, memory_order_release);
	take_effect(s);
}

void
desk_lay(struct desk *d, size_t len, const struct desk_effect *e)
{
	struct shared *s = d->on;
	struct desk_effect with = *e;

	with.chain = s->facts.chain;
	if (s->len == 0)
		s->before = with.chain;
	if (with.begins_key)
		chain_begin(&with.chain, with.chain.last);
	chain_add(&with.chain, s->lines + s->len, len - 1);
	make_so(s, s->len + (uint32_t)len, &with);
}

bool
desk_empty(const struct desk *d)
{
	return d->on->len == 0;
}

bool
desk_written(const struct desk *d)
{
	return d->on->at == d->on->len;
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

/* What it tells is of the ledger itself, and comes again: that it was dropped is no loss. */
static bool
is_own(const char *line, size_t len)
{
	static const char *const words[] = {"\"action\":\"checkpoint\"",
					    "\"action\":\"audit-suspend\"",
					    "\"action\":\"audit-resume\""};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (memmem(line, len < 300 ? len : 300, words[i], strlen(words[i])) != NULL)
			return true;
	return false;
}

/* The chain over the lines up to `end`, and how many of those behind it are a loss. */
static unsigned
look_again(const struct shared *s, uint32_t end, struct chain *chain)
{
	const char *p = s->lines, *stop = p + s->len, *newline;
	struct chain_tail tail;
	unsigned lost = 0;

	*chain = s->before;
	for (; p < stop && (newline = memchr(p, '\n', (size_t)(stop - p))) != NULL;
	     p = newline + 1) {
		size_t len = (size_t)(newline - p);

		if ((uint32_t)(p - s->lines) >= end) {
			lost += !is_own(p, len);
			continue;
		}
		if (chain_parse(p, len, &tail) && (tail.has & CHAIN_HAS_KEY) != 0)
			chain_begin(chain, chain->last);
		chain_add(chain, p, len);
	}
	return lost;
}

static uint32_t
line_start(const struct shared *s, uint32_t at)
{
	const char *newline = at > 0 ? memrchr(s->lines, '\n', at) : NULL;

	return newline != NULL ? (uint32_t)(newline - s->lines) + 1 : 0;
}

unsigned
desk_drop(struct desk *d)
{
	struct shared *s = d->on;
	struct desk_effect e = {.policy_told = s->facts.policy_told,
				.note_told = s->facts.note_told,
				.worker = DESK_NOBODY};
	uint32_t keep = s->at;
	unsigned lines, lost;

	if (line_start(s, keep) != keep) { /* each line ends with its newline, so there is one */
		const char *end = memchr(s->lines + keep, '\n', s->len - keep);

		keep = end != NULL ? (uint32_t)(end - s->lines) + 1 : s->len;
	}
	lines = count_lines(s->lines + keep, s->len - keep);
	lost = look_again(s, keep, &e.chain);
	e.seq = s->facts.seq - lines;
	e.unsigned_lines = s->facts.unsigned_lines > lines ? s->facts.unsigned_lines - lines : 1;
	make_so(s, keep, &e);
	s->facts.dropped += lost;
	return lines;
}

unsigned
desk_left(const struct desk *d)
{
	const struct shared *s = d->on;
	uint32_t at = line_start(s, s->at);

	return count_lines(s->lines + at, s->len - at);
}

void
desk_clear(struct desk *d)
{
	d->on->begun = 0;
	d->on->len = 0;
	d->on->at = 0;
}

/* ---- the file ----------------------------------------------------------------------------- */

static bool
is_regular(int fd, struct stat *st)
{
	return fstat(fd, st) == 0 && S_ISREG(st->st_mode);
}

/* From here on the length of the file tells how far we came. */
static void
begin(struct desk *d)
{
	struct shared *s = d->on;
	struct stat st;

	if (s->begun || !is_regular(d->file, &st))
		return;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->base = (int64_t)st.st_size - s->at;
	atomic_store_explicit(&s->begun, 1, memory_order_release);
}

int
desk_write(struct desk *d)
{
	struct shared *s = d->on;

	if (s->at < s->len)
		begin(d);
	while (s->at < s->len) {
		ssize_t n = write(d->file, s->lines + s->at, s->len - s->at);

		if (n > 0)
			s->at += (uint32_t)n;
		else if (n == -1 && errno == EAGAIN) {
			struct pollfd p = {.fd = d->file, .events = POLLOUT};

			poll(&p, 1, WAIT_MS);
			if ((p.revents & POLLOUT) == 0)
				return EAGAIN;
		} else if (n == -1 && errno != EINTR)
			return errno;
	}
	return 0;
}

int
desk_sync(struct desk *d)
{
	if (fdatasync(d->file) == 0 || errno == EINVAL || errno == EROFS)
		return 0;
	return errno;
}

/* A machine that died in the middle of a line: ours begin on a new one. */
static void
end_torn_line(int fd)
{
	struct stat st;
	char last = '\n';

	if (!is_regular(fd, &st) || st.st_size == 0)
		return;
	if (pread(fd, &last, 1, st.st_size - 1) != 1 || last == '\n')
		return;
	log_warning("the last line of the audit file is not whole, the next begins behind it");
	if (write(fd, "\n", 1) != 1)
		log_warning("cannot end it: %s", strerror(errno));
}

/* The number of the line, 0: it tells none. */
static uint64_t
number_of(const char *line, size_t len)
{
	struct chain_tail tail;

	return chain_parse(line, len, &tail) ? tail.seq : 0;
}

/* The last line that tells its number, and where the last one begins, numbered or not. */
static void
go_on_behind(struct desk_facts *f, const char *tail, size_t len)
{
	struct chain_tail last;
	size_t end = len;

	if (len == 0 || tail[len - 1] != '\n')
		return;
	while (end > 0 && f->seq == 0) {
		const char *newline = end > 1 ? memrchr(tail, '\n', end - 1) : NULL;
		size_t from = newline != NULL ? (size_t)(newline - tail) + 1 : 0;

		if (end == len)
			chain_add(&f->chain, tail + from, end - 1 - from);
		f->seq = number_of(tail + from, end - 1 - from);
		if (end == len && chain_parse(tail + from, end - 1 - from, &last) &&
		    (last.has & CHAIN_HAS_SIGNATURE) != 0 && (last.has & CHAIN_HAS_END) != 0) {
			f->mark.seq = last.seq;
			memcpy(f->mark.key, last.end, sizeof f->mark.key);
			memcpy(f->mark.signature, last.signature, sizeof f->mark.signature);
		}
		end = from;
	}
}

/* A server that starts again on the same file goes on where the last one stopped. */
static void
continue_numbers(struct desk *d)
{
	char tail[2 * RECORD_MAX];
	struct stat st;
	ssize_t n;

	if (d->on->facts.seq != 0 || !is_regular(d->file, &st))
		return;
	n = pread(d->file, tail, sizeof tail,
		  st.st_size > (off_t)sizeof tail ? st.st_size - (off_t)sizeof tail : 0);
	if (n > 0)
		go_on_behind(&d->on->facts, tail, (size_t)n);
}

/* How much of the lines stands in this file. */
static uint32_t
found_in(const struct shared *s, int fd)
{
	struct stat st;

	if (s->begun && is_regular(fd, &st) && st.st_dev == s->dev && st.st_ino == s->ino &&
	    st.st_size >= s->base) {
		int64_t n = (int64_t)st.st_size - s->base;

		return n < s->len ? (uint32_t)n : s->len;
	}
	return line_start(s, s->at);
}

bool
desk_was_for(const struct desk *d, int fd)
{
	const struct desk_facts *f = &d->on->facts;
	struct stat st;

	return f->file_ino == 0 || fstat(fd, &st) == -1 ||
	       (st.st_dev == f->file_dev && st.st_ino == f->file_ino);
}

void
desk_open(struct desk *d, int fd)
{
	struct shared *s = d->on;
	struct stat st;

	if (d->file != -1)
		close(d->file);
	d->file = fd;
	/* first of all: a successor goes on in this one, and finds by `at` what it must tell again */
	if (fstat(fd, &st) == 0) {
		s->facts.file_dev = st.st_dev;
		s->facts.file_ino = st.st_ino;
	}
	s->at = found_in(s, fd);
	if (s->at == line_start(s, s->at)) {
		s->begun = 0;
		end_torn_line(fd);
	}
	continue_numbers(d);
}
