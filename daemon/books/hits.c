/*
 * books/hits.c - see books/hits.h. Made by the parent, written by one worker, read by control.
 * Only pages of rules that ever matched cost memory.
 */
#include "books/hits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/form.h"
#include "books/memory.h"
#include "rules/rules.h"

#define HITS_MAGIC 0x4869747330303100u
#define HEAD_BYTES 64u
#define PAGE 4096u
#define BUILTIN 2u /* rows before the first rule's: self, default */
#define MOST_RULES (1u << 26)

struct row {
	_Atomic uint64_t matches, dry_run;
	_Atomic int64_t last_match, last_dry_run;
};

struct head {
	uint64_t magic;
	uint32_t rules, reserved;
};

struct hits {
	void *at;
	size_t mapped;
	struct row *rows;
	uint32_t count; /* of rows */
	int fd;         /* the reader's own, to ask where there is anything; else -1 */
};

static size_t
bytes_of(uint32_t rules)
{
	return HEAD_BYTES + ((size_t)rules + BUILTIN) * sizeof(struct row);
}

uint64_t
hits_form(void)
{
	uint64_t form = form_add(FORM_BEGIN, HITS_MAGIC);

	form = form_add(form, sizeof(struct head));
	form = form_add(form, sizeof(struct row));
	return form_add(form, bytes_of(1000));
}

int
hits_create(uint32_t rules)
{
	struct head head = {HITS_MAGIC, rules, 0};

	if (rules > MOST_RULES) {
		errno = EFBIG;
		return -1;
	}
	return memory_create("hits", bytes_of(rules), &head, sizeof head);
}

struct hits *
hits_map(int fd, bool writable)
{
	int protection = PROT_READ | (writable ? PROT_WRITE : 0);
	const struct head *head;
	struct hits *h = NULL;
	struct stat st;
	uint32_t rules;

	if (fstat(fd, &st) == -1 || st.st_size < (off_t)bytes_of(0))
		return NULL;
	head = mmap(NULL, (size_t)st.st_size, protection, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED)
		return NULL;
	rules = head->rules;
	if (head->magic == HITS_MAGIC && rules <= MOST_RULES &&
	    bytes_of(rules) == (size_t)st.st_size)
		h = malloc(sizeof *h);
	if (h == NULL) {
		munmap((void *)(uintptr_t)head, (size_t)st.st_size);
		return NULL;
	}
	h->at = (void *)(uintptr_t)head;
	h->mapped = (size_t)st.st_size;
	h->rows = (struct row *)(void *)((char *)h->at + HEAD_BYTES);
	h->count = rules + BUILTIN;
	h->fd = writable ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return h;
}

void
hits_unmap(struct hits *h)
{
	if (h == NULL)
		return;
	munmap(h->at, h->mapped);
	if (h->fd != -1)
		close(h->fd);
	free(h);
}

uint32_t
hits_rules(const struct hits *h)
{
	return h->count - BUILTIN;
}

/* NULL: RULE_NONE, or a rule that this policy has not. */
static struct row *
row_of(const struct hits *h, int32_t rule)
{
	int64_t at = (int64_t)rule - RULE_SELF;

	return at >= 0 && at < h->count ? &h->rows[at] : NULL;
}

/* One writer: no read-modify-write is needed. */
static void
add(_Atomic uint64_t *n, uint64_t more)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

void
hits_match(struct hits *h, int32_t rule, int64_t wall_ns)
{
	struct row *r = row_of(h, rule);

	if (r == NULL)
		return;
	add(&r->matches, 1);
	atomic_store_explicit(&r->last_match, wall_ns, memory_order_relaxed);
}

void
hits_dry_run(struct hits *h, int32_t rule, int64_t wall_ns)
{
	struct row *r = row_of(h, rule);

	if (r == NULL)
		return;
	add(&r->dry_run, 1);
	atomic_store_explicit(&r->last_dry_run, wall_ns, memory_order_relaxed);
}

void
hits_unmatch(struct hits *h, int32_t rule)
{
	struct row *r = row_of(h, rule);

	if (r != NULL && atomic_load_explicit(&r->matches, memory_order_relaxed) > 0)
		add(&r->matches, UINT64_MAX);
}

struct hits_count
hits_read(const struct hits *h, int32_t rule)
{
	struct row *r = row_of(h, rule);
	struct hits_count c = {0};
	int64_t dry;

	if (r == NULL)
		return c;
	c.matches = atomic_load_explicit(&r->matches, memory_order_relaxed);
	c.dry_run = atomic_load_explicit(&r->dry_run, memory_order_relaxed);
	c.last_ns = atomic_load_explicit(&r->last_match, memory_order_relaxed);
	dry = atomic_load_explicit(&r->last_dry_run, memory_order_relaxed);
	if (dry > c.last_ns)
		c.last_ns = dry;
	return c;
}

/* The first row from `at` on that lies, or begins, where something was written; count: none. */
static uint32_t
skip_holes(const struct hits *h, uint32_t at)
{
	off_t offset = (off_t)(HEAD_BYTES + (size_t)at * sizeof(struct row));
	off_t data = h->fd != -1 ? lseek(h->fd, offset, SEEK_DATA) : offset;

	if (data == -1)
		return errno == ENXIO ? h->count : at;
	return data <= offset ? at : (uint32_t)(((size_t)data - HEAD_BYTES) / sizeof(struct row));
}

bool
hits_next(const struct hits *h, int32_t *rule, struct hits_count *out)
{
	uint32_t at = (uint32_t)(*rule - RULE_SELF);

	for (bool first = true; at < h->count; at++, first = false) {
		size_t offset = HEAD_BYTES + at * sizeof(struct row);

		/* at each page: a hole that is looked at would become memory */
		if ((first || offset % PAGE < sizeof(struct row)) &&
		    (at = skip_holes(h, at)) >= h->count)
			return false;
		*rule = (int32_t)at + RULE_SELF;
		*out = hits_read(h, *rule);
		if (out->matches != 0 || out->dry_run != 0)
			return true;
	}
	return false;
}
