/*
 * books/lags.c - see books/lags.h. Made by the parent, written by the forwarder, read by control.
 * Never blocks.
 */
#include "books/lags.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/form.h"
#include "books/memory.h"

#define LAGS_MAGIC 0x4c61677330303100u
#define LOOKS 1000 /* at a place that is being written again and again */

#define TURNS 4

/*
 * Of several the one holds whose turn it is by the version; the next is written to. Of lags there are more than two, so that a
 * reader is not too late when another was written while it looked. A bookmark is read only when nobody writes.
 */
struct place {
	_Atomic uint32_t lag_version, mark_version;
	struct lag lags[TURNS];
	struct bookmark marks[2];
};

struct page {
	uint64_t magic;
	struct place places[BOOKMARKS];
};

struct lags {
	struct page *page;
};

uint64_t
lags_form(void)
{
	const uint64_t sizes[] = {LAGS_MAGIC,
				  BOOKMARKS,
				  TURNS,
				  LAG_STATES,
				  sizeof(struct place),
				  sizeof(struct page),
				  sizeof(struct lag),
				  sizeof(struct bookmark),
				  offsetof(struct lag, seq),
				  offsetof(struct lag, sent),
				  offsetof(struct place, marks)};

	return FORM_OF(sizes);
}

int
lags_create(void)
{
	static const uint64_t magic = LAGS_MAGIC;

	return memory_create("copies", sizeof(struct page), &magic, sizeof magic);
}

struct lags *
lags_map(int fd, bool writable)
{
	int protection = PROT_READ | (writable ? PROT_WRITE : 0);
	struct lags *l = NULL;
	struct page *page;
	struct stat st;

	if (fstat(fd, &st) == -1 || st.st_size != (off_t)sizeof *page)
		return NULL;
	page = mmap(NULL, sizeof *page, protection, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return NULL;
	if (page->magic == LAGS_MAGIC)
		l = malloc(sizeof *l);
	if (l == NULL) {
		munmap(page, sizeof *page);
		return NULL;
	}
	l->page = page;
	return l;
}

void
lags_unmap(struct lags *l)
{
	if (l == NULL)
		return;
	munmap(l->page, sizeof *l->page);
	free(l);
}

void
lags_get(const struct lags *l, int i, struct lag *out)
{
	const struct place *p = &l->page->places[i];

	for (unsigned look = 0; look < LOOKS; look++) {
		uint32_t version = atomic_load_explicit(&p->lag_version, memory_order_acquire);

		memcpy(out, &p->lags[version % TURNS], sizeof *out);
		atomic_thread_fence(memory_order_acquire);
		/* Its turn to be written comes behind the version before. */
		if (atomic_load_explicit(&p->lag_version, memory_order_relaxed) - version < TURNS - 1)
			break;
		sched_yield();
	}
	out->name[sizeof out->name - 1] = '\0';
}

void
lags_put(struct lags *l, int i, const struct lag *lag)
{
	struct place *p = &l->page->places[i];
	uint32_t next = atomic_load_explicit(&p->lag_version, memory_order_relaxed) + 1;

	atomic_thread_fence(memory_order_release);
	memcpy(&p->lags[next % TURNS], lag, sizeof *lag);
	atomic_store_explicit(&p->lag_version, next, memory_order_release);
}

int
lags_place(const struct lags *l, const char *name)
{
	struct lag lag;
	int empty = -1;

	for (int i = BOOKMARKS; i-- > 0;) {
		lags_get(l, i, &lag);
		if (strcmp(lag.name, name) == 0)
			return i;
		if (lag.name[0] == '\0')
			empty = i;
	}
	return empty;
}

void
lags_mark(struct lags *l, int i, const struct bookmark *b)
{
	struct place *p = &l->page->places[i];
	uint32_t next = atomic_load_explicit(&p->mark_version, memory_order_relaxed) + 1;

	p->marks[next & 1] = *b;
	atomic_store_explicit(&p->mark_version, next, memory_order_release);
}

struct bookmark
lags_marked(const struct lags *l, int i)
{
	const struct place *p = &l->page->places[i];

	return p->marks[atomic_load_explicit(&p->mark_version, memory_order_acquire) & 1];
}

void
lags_drop(struct lags *l, int i)
{
	static const struct lag none;
	static const struct bookmark nowhere;

	lags_mark(l, i, &nowhere);
	lags_put(l, i, &none);
}

const char *
lag_word(uint32_t state)
{
	static const char *const words[LAG_STATES] = {[LAG_CONNECTING] = "connecting",
						      [LAG_OK] = "ok",
						      [LAG_STALLED] = "stalled",
						      [LAG_DOWN] = "down"};

	return state < LAG_STATES ? words[state] : "?";
}
