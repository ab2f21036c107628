/*
 * books/hits_book.c - see books/hits_book.h. The control process; blocks on its two files at most.
 */
#include "books/hits_book.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rules/rules.h"

#define BOOK_MAGIC 0x53616c6c79486974u
#define BOOK_VERSION 1u
#define MOST_NAMES (1u << 20)
#define MOST_PAGES 1024u
#define ADDED_KEPT 512u /* ids that the parent may give once more; it keeps 256 */

struct head {
	uint64_t magic;
	uint32_t version, names;
	uint64_t sequence, run;
	int64_t since_ns, written_ns;
	uint32_t added, reserved;
	uint8_t hash[SHA256_DIGEST_LENGTH]; /* of all, with zeros here */
};

struct kept { /* a name in the file */
	char name[HITS_NAME];
	uint64_t added_matches, added_dry_run; /* in pages that are gone */
	uint64_t live_matches, live_dry_run;   /* in pages that were there */
	int64_t last_ns, since_ns;
};

struct entry {
	char name[HITS_NAME];
	struct hits_count added; /* of pages that are gone */
	struct hits_count total; /* as of the last look */
	int64_t since_ns;
	bool present; /* in the newest policy */
};

/* The names of a policy: which entry each rule is. */
struct edition {
	uint32_t policy, users;
	uint32_t count; /* of rules, RULE_SELF and RULE_DEFAULT before them */
	uint32_t *entry_of;
	struct edition *next;
};

struct page {
	uint64_t id;
	struct hits *hits;
	struct edition *edition;
};

struct hits_book {
	int fds[2];
	uint64_t run, sequence; /* of the last save */
	int64_t since_ns;
	bool fresh; /* a new window: what comes first was there from its begin */
	struct entry *entries;
	uint32_t count, room;
	uint32_t *slots; /* by the hash of the name: entry + 1, 0: free */
	uint32_t slot_mask;
	struct edition *editions;
	uint32_t newest; /* policy */
	struct page *pages;
	uint32_t page_count, page_room;
	uint64_t added[ADDED_KEPT];
	uint64_t added_count;                /* ever; the last ADDED_KEPT stand in `added` */
	uint8_t saved[SHA256_DIGEST_LENGTH]; /* hash of what was saved, but for sequence and time */
};

/* ---- names --------------------------------------------------------------------------------- */

static uint32_t
hash_of(const char *name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return (uint32_t)(h ^ h >> 32);
}

static uint32_t *
slot_of(const struct hits_book *b, const char *name)
{
	uint32_t at = hash_of(name) & b->slot_mask;

	while (b->slots[at] != 0 && strcmp(b->entries[b->slots[at] - 1].name, name) != 0)
		at = (at + 1) & b->slot_mask;
	return &b->slots[at];
}

static struct entry *
find(const struct hits_book *b, const char *name)
{
	uint32_t at = b->slots != NULL ? *slot_of(b, name) : 0;

	return at != 0 ? &b->entries[at - 1] : NULL;
}

static bool
grow(struct hits_book *b)
{
	uint32_t room = b->room == 0 ? 256 : b->room * 2;
	struct entry *entries = realloc(b->entries, room * sizeof *entries);
	uint32_t *slots;

	if (entries == NULL)
		return false;
	b->entries = entries;
	slots = calloc(2 * (size_t)room, sizeof *slots);
	if (slots == NULL)
		return false;
	free(b->slots);
	b->slots = slots;
	b->slot_mask = 2 * room - 1;
	b->room = room;
	for (uint32_t i = 0; i < b->count; i++)
		*slot_of(b, entries[i].name) = i + 1;
	return true;
}

/* NULL: too many, or too long. */
static struct entry *
enter(struct hits_book *b, const char *name, int64_t since_ns)
{
	struct entry *e = find(b, name);

	if (e != NULL)
		return e;
	if (name[0] == '\0' || strlen(name) >= HITS_NAME || b->count >= MOST_NAMES ||
	    (b->count == b->room && !grow(b)))
		return NULL;
	e = &b->entries[b->count++];
	memset(e, 0, sizeof *e);
	strncpy(e->name, name, HITS_NAME - 1);
	e->since_ns = since_ns;
	*slot_of(b, name) = b->count;
	return e;
}

/* ---- editions ------------------------------------------------------------------------------ */

static void
edition_free(struct hits_book *b, struct edition *e)
{
	struct edition **at = &b->editions;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	free(e->entry_of);
	free(e);
}

static void
be_newest(struct hits_book *b, const struct edition *e)
{
	if (e->policy < b->newest)
		return;
	b->newest = e->policy;
	for (struct edition *old = b->editions, *next; old != NULL; old = next) {
		next = old->next;
		if (old->users == 0 && old != e)
			edition_free(b, old);
	}
	for (uint32_t i = 0; i < b->count; i++)
		b->entries[i].present = false;
	for (uint32_t i = 0; i < e->count; i++)
		if (e->entry_of[i] != 0)
			b->entries[e->entry_of[i] - 1].present = true;
}

static struct edition *
edition_of(struct hits_book *b, uint32_t policy, uint32_t rules, hits_name_of *name_of, void *with,
	   int64_t now_ns)
{
	struct edition *e = b->editions;

	while (e != NULL && e->policy != policy)
		e = e->next;
	if (e != NULL)
		return e->count == rules - RULE_SELF ? e : NULL;
	if ((e = calloc(1, sizeof *e)) == NULL)
		return NULL;
	e->policy = policy;
	e->count = rules - RULE_SELF;
	e->entry_of = calloc(e->count, sizeof *e->entry_of);
	if (e->entry_of == NULL) {
		free(e);
		return NULL;
	}
	for (uint32_t i = 0; i < e->count; i++) {
		const struct entry *entry = enter(b, name_of(with, (int32_t)i + RULE_SELF),
						  b->fresh ? b->since_ns : now_ns);

		e->entry_of[i] = entry != NULL ? (uint32_t)(entry - b->entries) + 1 : 0;
	}
	b->fresh = false;
	e->next = b->editions;
	b->editions = e;
	be_newest(b, e);
	return e;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static bool
was_added(const struct hits_book *b, uint64_t id)
{
	for (uint32_t i = 0; i < ADDED_KEPT && i < b->added_count; i++)
		if (b->added[i] == id)
			return true;
	return false;
}

static bool
keep_page(struct hits_book *b, const struct page *p)
{
	struct page *pages;

	if (b->page_count == b->page_room) {
		uint32_t room = b->page_room == 0 ? 64 : b->page_room * 2;

		pages = room <= MOST_PAGES ? realloc(b->pages, room * sizeof *pages) : NULL;
		if (pages == NULL)
			return false;
		b->pages = pages;
		b->page_room = room;
	}
	p->edition->users++;
	b->pages[b->page_count++] = *p;
	return true;
}

bool
hits_book_page(struct hits_book *b, uint64_t id, uint32_t policy, int fd, hits_name_of *name_of,
	       void *with, int64_t now_ns)
{
	struct page p = {.id = id};

	if (was_added(b, id))
		return false;
	if ((p.hits = hits_map(fd, false)) == NULL)
		return true; /* not to be read, and so not to be thrown away either */
	p.edition = edition_of(b, policy, hits_rules(p.hits), name_of, with, now_ns);
	if (p.edition == NULL || !keep_page(b, &p))
		hits_unmap(p.hits);
	return true;
}

static void
add(struct hits_count *to, const struct hits_count *more)
{
	to->matches += more->matches;
	to->dry_run += more->dry_run;
	if (more->last_ns > to->last_ns)
		to->last_ns = more->last_ns;
}

static void
add_page(struct hits_book *b, const struct page *p, bool for_good)
{
	struct hits_count c;
	int32_t rule = RULE_SELF;

	for (; hits_next(p->hits, &rule, &c); rule++) {
		uint32_t entry = p->edition->entry_of[rule - RULE_SELF];

		if (entry != 0)
			add(for_good ? &b->entries[entry - 1].added : &b->entries[entry - 1].total,
			    &c);
	}
}

bool
hits_book_over(struct hits_book *b, uint64_t id)
{
	struct page *p = b->pages, *last;
	struct edition *e;

	while (p < b->pages + b->page_count && p->id != id)
		p++;
	if (p == b->pages + b->page_count)
		return false;
	add_page(b, p, true);
	b->added[b->added_count++ % ADDED_KEPT] = id;
	hits_unmap(p->hits);
	e = p->edition;
	if (--e->users == 0 && e->policy != b->newest)
		edition_free(b, e);
	last = &b->pages[--b->page_count];
	*p = *last;
	return true;
}

void
hits_book_look(struct hits_book *b)
{
	for (uint32_t i = 0; i < b->count; i++)
		b->entries[i].total = b->entries[i].added;
	for (uint32_t i = 0; i < b->page_count; i++)
		add_page(b, &b->pages[i], false);
}

bool
hits_book_total(const struct hits_book *b, const char *name, struct hits_total *out)
{
	const struct entry *e = find(b, name);

	if (e == NULL)
		return false;
	*out = (struct hits_total){e->total, e->since_ns};
	return true;
}

const char *
hits_book_next(const struct hits_book *b, size_t *at)
{
	return *at < b->count ? b->entries[(*at)++].name : NULL;
}

int64_t
hits_book_since(const struct hits_book *b)
{
	return b->since_ns;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

/* Of a rule that is gone without ever having matched nothing is to be said. */
static bool
worth_keeping(const struct entry *e)
{
	return e->present || e->total.matches != 0 || e->total.dry_run != 0;
}

static size_t
bytes_of(uint32_t names, uint32_t added)
{
	return sizeof(struct head) + added * sizeof(uint64_t) + (size_t)names * sizeof(struct kept);
}

static void
put_entry(struct kept *k, const struct entry *e)
{
	memset(k, 0, sizeof *k);
	memcpy(k->name, e->name, sizeof k->name);
	k->added_matches = e->added.matches;
	k->added_dry_run = e->added.dry_run;
	k->live_matches = e->total.matches - e->added.matches;
	k->live_dry_run = e->total.dry_run - e->added.dry_run;
	k->last_ns = e->total.last_ns;
	k->since_ns = e->since_ns;
}

/* The whole book, malloc'd, with zeros for sequence, time and hash. */
static struct head *
draw(const struct hits_book *b, size_t *len)
{
	uint32_t names = 0,
		 added = b->added_count < ADDED_KEPT ? (uint32_t)b->added_count : ADDED_KEPT;
	struct head *head;
	struct kept *k;

	for (uint32_t i = 0; i < b->count; i++)
		names += worth_keeping(&b->entries[i]);
	*len = bytes_of(names, added);
	if ((head = calloc(1, *len)) == NULL)
		return NULL;
	head->magic = BOOK_MAGIC;
	head->version = BOOK_VERSION;
	head->names = names;
	head->run = b->run;
	head->since_ns = b->since_ns;
	head->added = added;
	memcpy(head + 1, b->added, added * sizeof b->added[0]);
	k = (struct kept *)(void *)((uint64_t *)(void *)(head + 1) + added);
	for (uint32_t i = 0; i < b->count; i++)
		if (worth_keeping(&b->entries[i]))
			put_entry(k++, &b->entries[i]);
	return head;
}

static bool
write_all(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;
	size_t at = 0;

	while (at < len) {
		ssize_t n = pwrite(fd, p + at, len - at, (off_t)at);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = ENOSPC;
			return false;
		}
		at += (size_t)n;
	}
	return ftruncate(fd, (off_t)len) == 0;
}

bool
hits_book_save(struct hits_book *b, bool sync, int64_t now_ns)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	struct head *head;
	size_t len;
	bool ok;

	hits_book_look(b);
	if ((head = draw(b, &len)) == NULL)
		return false;
	SHA256((const unsigned char *)head, len, hash);
	if (b->sequence != 0 && memcmp(hash, b->saved, sizeof hash) == 0) {
		free(head);
		return true;
	}
	head->sequence = b->sequence + 1;
	head->written_ns = now_ns;
	SHA256((const unsigned char *)head, len, head->hash);
	/* in turn: while one is being written the other is whole */
	ok = write_all(b->fds[head->sequence & 1], head, len) &&
	     (!sync || fdatasync(b->fds[head->sequence & 1]) == 0);
	if (ok) {
		b->sequence = head->sequence;
		memcpy(b->saved, hash, sizeof hash);
	}
	free(head);
	return ok;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* NULL: none; *empty: there is not even a byte. malloc'd. */
static struct head *
read_file(int fd, size_t *len, bool *empty)
{
	struct stat st;
	struct head *head;
	size_t at = 0;
	ssize_t n = 0;

	*empty = false;
	if (fstat(fd, &st) == -1 || st.st_size < 0)
		return NULL;
	*empty = st.st_size == 0;
	if ((size_t)st.st_size < sizeof *head ||
	    (size_t)st.st_size > bytes_of(MOST_NAMES, ADDED_KEPT) ||
	    (head = malloc((size_t)st.st_size)) == NULL)
		return NULL;
	*len = (size_t)st.st_size;
	while (at < *len && (n = pread(fd, (char *)head + at, *len - at, (off_t)at)) > 0)
		at += (size_t)n;
	if (at == *len)
		return head;
	free(head);
	return NULL;
}

static bool
is_whole(struct head *head, size_t len)
{
	uint8_t told[SHA256_DIGEST_LENGTH], hash[SHA256_DIGEST_LENGTH];

	if (head->magic != BOOK_MAGIC || head->version != BOOK_VERSION ||
	    head->names > MOST_NAMES || head->added > ADDED_KEPT ||
	    bytes_of(head->names, head->added) != len)
		return false;
	memcpy(told, head->hash, sizeof told);
	memset(head->hash, 0, sizeof head->hash);
	SHA256((const unsigned char *)head, len, hash);
	return memcmp(told, hash, sizeof hash) == 0;
}

static bool
take_entry(struct hits_book *b, const struct kept *k, bool same_run)
{
	struct entry *e;

	if (memchr(k->name, '\0', sizeof k->name) == NULL || find(b, k->name) != NULL ||
	    (e = enter(b, k->name, k->since_ns)) == NULL)
		return false;
	e->added = (struct hits_count){k->added_matches, k->added_dry_run, k->last_ns};
	if (!same_run) {
		e->added.matches += k->live_matches;
		e->added.dry_run += k->live_dry_run;
	}
	return true;
}

static bool
take(struct hits_book *b, const struct head *head)
{
	const uint64_t *added = (const uint64_t *)(const void *)(head + 1);
	const struct kept *k = (const struct kept *)(const void *)(added + head->added);
	bool same_run = head->run == b->run;

	b->sequence = head->sequence;
	b->since_ns = head->since_ns;
	b->fresh = false;
	for (uint32_t i = 0; i < head->added && same_run; i++)
		b->added[b->added_count++] = added[i];
	for (uint32_t i = 0; i < head->names; i++)
		if (!take_entry(b, &k[i], same_run))
			return false;
	return true;
}

static enum hits_found
read_files(struct hits_book *b)
{
	struct head *best = NULL, *head;
	bool all_empty = true, empty;
	enum hits_found found;
	size_t len;

	for (int i = 0; i < 2; i++) {
		head = read_file(b->fds[i], &len, &empty);
		all_empty &= empty;
		if (head == NULL || !is_whole(head, len) ||
		    (best != NULL && best->sequence > head->sequence)) {
			free(head);
			continue;
		}
		free(best);
		best = head;
	}
	if (best == NULL)
		return all_empty ? HITS_NEW : HITS_BAD;
	found = take(b, best) ? HITS_OLD : HITS_BAD;
	free(best);
	return found;
}

static void
empty_out(struct hits_book *b)
{
	for (uint32_t i = 0; i < b->page_count; i++)
		hits_unmap(b->pages[i].hits);
	while (b->editions != NULL)
		edition_free(b, b->editions);
	free(b->pages);
	free(b->entries);
	free(b->slots);
}

static struct hits_book *
book_new(const int fds[2], uint64_t run, int64_t now_ns)
{
	struct hits_book *b = calloc(1, sizeof *b);

	if (b == NULL)
		return NULL;
	b->fds[0] = fds[0];
	b->fds[1] = fds[1];
	b->run = run;
	b->since_ns = now_ns;
	b->fresh = true;
	return b;
}

struct hits_book *
hits_book_open(const int fds[2], uint64_t run, int64_t now_ns, enum hits_found *found)
{
	struct hits_book *b = book_new(fds, run, now_ns);

	if (b == NULL)
		return NULL;
	*found = read_files(b);
	if (*found != HITS_BAD)
		return b;
	hits_book_free(b); /* nothing of it is believed */
	return book_new(fds, run, now_ns);
}

void
hits_book_free(struct hits_book *b)
{
	if (b == NULL)
		return;
	empty_out(b);
	free(b);
}
