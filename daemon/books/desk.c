/*
 * books/desk.c - see books/desk.h. The ledger.
 *
 * The order of the stores is all there is to it: each is followed by one that makes it count, and
 * whoever maps the desk next finishes what was begun. The reader is a later process, so no store
 * needs more than program order.
 */
#include "config.h"

#include "books/desk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "books/record.h"

#define WAIT_MS 250 /* for a file that takes nothing at the moment */

struct shared {
	struct desk_facts facts;
	struct desk_effect effect;  /* of the line that ends at effect_at */
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

int
desk_create(void)
{
	int fd = memfd_create("desk", MFD_CLOEXEC | MFD_ALLOW_SEALING), error;

	if (fd == -1)
		return -1;
	if (ftruncate(fd, DESK_BYTES) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void
take_effect(struct shared *s)
{
	s->facts.seq = s->effect.seq;
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

void
desk_lay(struct desk *d, size_t len, const struct desk_effect *e)
{
	struct shared *s = d->on;

	uint32_t end = s->len + (uint32_t)len;

	s->effect_at =
	    0; /* what stood there has come true: half of it and half of ours would be neither */
	atomic_signal_fence(memory_order_seq_cst);
	s->effect = *e;
	atomic_store_explicit(&s->effect_at, end, memory_order_release);
	atomic_store_explicit(&s->len, end, memory_order_release);
	take_effect(s);
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
	uint32_t keep = s->at;
	unsigned lines;

	if (line_start(s, keep) != keep) { /* each line ends with its newline, so there is one */
		const char *end = memchr(s->lines + keep, '\n', s->len - keep);

		keep = end != NULL ? (uint32_t)(end - s->lines) + 1 : s->len;
	}
	lines = count_lines(s->lines + keep, s->len - keep);
	s->len = keep;
	s->facts.seq -= lines;
	s->facts.dropped += lines;
	return lines;
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

/* A server that starts again on the same file goes on counting where the last one stopped. */
static void
continue_numbers(struct desk *d)
{
	static const char mark[] = "\"audit\":{\"seq\":";
	char tail[2 * RECORD_MAX];
	struct stat st;
	ssize_t n;

	if (d->on->facts.seq != 0 || !is_regular(d->file, &st))
		return;
	n = pread(d->file, tail, sizeof tail,
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
			d->on->facts.seq = seq;
			return;
		}
	}
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

void
desk_open(struct desk *d, int fd)
{
	struct shared *s = d->on;

	if (d->file != -1)
		close(d->file);
	d->file = fd;
	s->at = found_in(s, fd);
	if (s->at == line_start(s, s->at)) {
		s->begun = 0;
		end_torn_line(fd);
	}
	continue_numbers(d);
}
