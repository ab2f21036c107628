/*
 * books/bookmarks.c - see books/bookmarks.h. The forwarder.
 */
#include "books/bookmarks.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/chain.h"
#include "wire/fields.h"

#define MAGIC 0x4d61726b73303100u
#define VERSION 1u

struct kept { /* a file, whole */
	uint64_t magic;
	uint32_t version, reserved;
	uint64_t sequence;
	uint8_t hash[CHAIN_HASH]; /* of all of it, with zeros here */
	char names[BOOKMARKS][BOOKMARK_NAME];
	struct bookmark places[BOOKMARKS];
};

/* ---- places --------------------------------------------------------------------------------- */

struct bookmark
bookmark_at(const char *line, size_t len, uint64_t at, uint64_t seq)
{
	struct bookmark b = {.at = at, .seq = seq};
	struct chain c = {0};

	chain_add(&c, line, len);
	memcpy(b.hash, c.last, sizeof b.hash);
	return b;
}

bool
bookmark_given(const struct bookmark *b)
{
	static const struct bookmark none;

	return memcmp(b->hash, none.hash, sizeof none.hash) != 0;
}

static bool
is_line(const struct bookmark *b, const char *line, const char *end)
{
	struct bookmark found = bookmark_at(line, (size_t)(end - line), b->at, b->seq);

	return memcmp(found.hash, b->hash, sizeof found.hash) == 0;
}

bool
bookmark_in(const struct bookmark *b, int fd)
{
	char text[2 * FIELDS_LINE];
	size_t want = b->at != 0 && b->at < sizeof text ? (size_t)b->at : sizeof text;
	const char *start, *end;
	ssize_t n;

	if (!bookmark_given(b) || b->at > INT64_MAX)
		return false;
	n = pread(fd, text, want, b->at == 0 ? 0 : (off_t)(b->at - want));
	if (b->at == 0) {
		end = n > 0 ? memchr(text, '\n', (size_t)n) : NULL;
		return end != NULL && is_line(b, text, end);
	}
	if (n != (ssize_t)want || text[want - 1] != '\n')
		return false;
	start = memrchr(text, '\n', want - 1);
	if (start == NULL && want < b->at)
		return false; /* no line is so long */
	return is_line(b, start != NULL ? start + 1 : text, text + want - 1);
}

struct bookmark *
bookmarks_find(struct bookmarks *b, const char *name)
{
	for (unsigned i = 0; i < BOOKMARKS && name[0] != '\0'; i++)
		if (strcmp(b->names[i], name) == 0)
			return &b->places[i];
	return NULL;
}

struct bookmark *
bookmarks_of(struct bookmarks *b, const char *name)
{
	struct bookmark *found = bookmarks_find(b, name);

	for (unsigned i = 0; i < BOOKMARKS && found == NULL; i++) {
		if (b->names[i][0] != '\0' || strlen(name) >= BOOKMARK_NAME)
			continue;
		memcpy(b->names[i], name, strlen(name) + 1);
		b->places[i] = (struct bookmark){0};
		found = &b->places[i];
	}
	return found;
}

void
bookmarks_drop(struct bookmarks *b, const char *name)
{
	struct bookmark *place = bookmarks_find(b, name);

	if (place == NULL)
		return;
	memset(b->names[place - b->places], 0, BOOKMARK_NAME);
	*place = (struct bookmark){0};
}

/* ---- files ---------------------------------------------------------------------------------- */

static void
hash_of(const struct kept *k, uint8_t out[CHAIN_HASH])
{
	struct kept plain = *k;
	struct chain c = {0};

	memset(plain.hash, 0, sizeof plain.hash);
	chain_add(&c, (const char *)&plain, sizeof plain);
	memcpy(out, c.last, CHAIN_HASH);
}

static bool
is_whole(const struct kept *k)
{
	uint8_t hash[CHAIN_HASH];

	hash_of(k, hash);
	if (k->magic != MAGIC || k->version != VERSION || memcmp(hash, k->hash, sizeof hash) != 0)
		return false;
	for (unsigned i = 0; i < BOOKMARKS; i++)
		if (memchr(k->names[i], '\0', BOOKMARK_NAME) == NULL)
			return false;
	return true;
}

bool
bookmarks_read(struct bookmarks *b, const int fds[2])
{
	bool any = false, good = false;

	memset(b, 0, sizeof *b);
	for (int i = 0; i < 2; i++) {
		struct kept k;
		ssize_t n = pread(fds[i], &k, sizeof k, 0);

		any |= n > 0;
		if (n != (ssize_t)sizeof k || !is_whole(&k) || k.sequence <= b->sequence)
			continue;
		good = true;
		b->sequence = k.sequence;
		memcpy(b->names, k.names, sizeof b->names);
		memcpy(b->places, k.places, sizeof b->places);
	}
	return good || !any;
}

static bool
write_whole(int fd, const struct kept *k)
{
	ssize_t n;

	while ((n = pwrite(fd, k, sizeof *k, 0)) == -1 && errno == EINTR)
		;
	if (n != -1 && n != (ssize_t)sizeof *k)
		errno = ENOSPC;
	return n == (ssize_t)sizeof *k && ftruncate(fd, sizeof *k) == 0;
}

bool
bookmarks_write(struct bookmarks *b, const int fds[2], bool sync)
{
	struct kept k;
	int fd = fds[(b->sequence + 1) & 1]; /* while one is being written the other is whole */

	memset(&k, 0, sizeof k);
	k.magic = MAGIC;
	k.version = VERSION;
	k.sequence = b->sequence + 1;
	memcpy(k.names, b->names, sizeof k.names);
	memcpy(k.places, b->places, sizeof k.places);
	hash_of(&k, k.hash);
	if (!write_whole(fd, &k) || (sync && fdatasync(fd) == -1))
		return false;
	b->sequence++;
	return true;
}
