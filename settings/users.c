/*
 * settings/users.c - see settings/users.h.
 *
 * Runs in COMPILE, in sallyctl and in the authenticator's front. Pure: bytes in, lines and
 * problems out; libcrypt is only asked which kinds of hash it can verify.
 */
#include "settings/users.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/secret.h"

const char *
users_name_fault(const char *name, size_t len)
{
	if (len == 0)
		return "the name is missing";
	if (len > USERS_NAME_MAX)
		return "the name is longer than 255 bytes";
	if (name[0] == '#')
		return "a name cannot start with '#'";
	if (name[0] == ' ' || name[len - 1] == ' ')
		return "a blank stands around the name";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
			return "the name holds a control character";
		else if (name[i] == ':')
			return "a name cannot hold ':'";
	return NULL;
}

/* How long the last field of a whole hash is; a setting without its hash verifies nothing. */
static const struct {
	const char *prefix;
	size_t last;
} hash_kinds[] = {
    {"$y$", 43},  {"$gy$", 43}, {"$7$", 43},  {"$6$", 86}, {"$5$", 43},    {"$2a$", 53},
    {"$2b$", 53}, {"$2x$", 53}, {"$2y$", 53}, {"$1$", 22}, {"$sha1$", 28}, {"$3$$", 32},
};

static bool
hash_whole(const char *hash, size_t len)
{
	for (size_t i = 0; i < sizeof hash_kinds / sizeof hash_kinds[0]; i++) {
		const char *prefix = hash_kinds[i].prefix, *last;

		if (strncmp(hash, prefix, strlen(prefix)) != 0)
			continue;
		last = strrchr(hash, '$');
		return len - (size_t)(last + 1 - hash) == hash_kinds[i].last;
	}
	if (hash[0] == '_') /* BSDi */
		return len == 20;
	return hash[0] == '$' || (len >= 13 && (len - 13) % 11 == 0); /* DES, bigcrypt */
}

const char *
users_hash_fault(const char *hash, size_t len, bool *weak)
{
	static const char fine[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./$_,=";
	int kind;

	*weak = false;
	if (len == 0)
		return "the hash is missing";
	if (hash[0] == '!' || hash[0] == '*')
		return NULL;
	if (strspn(hash, fine) != len)
		return "the hash holds a character that no hash has";
	kind = crypt_checksalt(hash);
	if (kind == CRYPT_SALT_INVALID)
		return "this is no password hash";
	if (kind == CRYPT_SALT_METHOD_DISABLED)
		return "this machine's libcrypt cannot verify this kind of hash";
	if (!hash_whole(hash, len))
		return hash[0] == '$' ? "the hash is not whole" : "this is no password hash";
	*weak = kind == CRYPT_SALT_METHOD_LEGACY || kind == CRYPT_SALT_TOO_CHEAP;
	return NULL;
}

const char *
users_mode_fault(enum users_kind kind, mode_t mode)
{
	if (!S_ISREG(mode))
		return "it is not a regular file";
	if ((mode & S_IROTH) != 0)
		return "others may read it";
	if ((mode & S_IWOTH) != 0)
		return "others may write it";
	if (kind == USERS_SECRETS && (mode & (S_IRWXG | S_IRWXO)) != 0)
		return "more than its owner may use it (it must have mode 0600)";
	if ((mode & S_IWGRP) != 0)
		return "its group may write it";
	return NULL;
}

/* One line, its end cut off already. False: a problem was told. */
static bool
parse_line(struct user_line *out, enum users_kind kind, char *line, size_t len, struct place at,
	   struct problems *p)
{
	char *colon = memchr(line, ':', len);
	const char *fault;
	bool weak = false;

	at.column = 1;
	at.width = (unsigned)(colon != NULL ? (size_t)(colon - line) : len);
	if (memchr(line, 0, len) != NULL)
		fault = "a NUL stands in the line";
	else if (colon == NULL)
		fault = "':' is missing behind the name";
	else
		fault = users_name_fault(line, (size_t)(colon - line));
	if (fault == NULL) {
		*colon = '\0';
		*out = (struct user_line){line, colon + 1, (size_t)(colon - line),
					  len - (size_t)(colon + 1 - line), at.line};
		at.column = (unsigned)(colon + 2 - line);
		at.width = (unsigned)out->value_len;
		if (kind == USERS_HASHES)
			fault = users_hash_fault(out->value, out->value_len, &weak);
		else if (out->value_len == 0)
			fault = "the secret is missing";
	}
	if (fault != NULL) {
		problems_add(p, "E314", at, "%s", fault);
		return false;
	}
	if (weak)
		problems_add(p, "W306", at, "the hash is of a kind that is easily guessed");
	return true;
}

static int
compare_names(const void *a, const void *b, void *lines)
{
	const struct user_line *x = (const struct user_line *)lines + *(const size_t *)a,
			       *y = (const struct user_line *)lines + *(const size_t *)b;
	int c = strcmp(x->name, y->name);

	return c != 0 ? c : (x->line > y->line) - (x->line < y->line);
}

static bool
sort_names(struct users *u, const char *file, struct problems *p)
{
	bool good = true;

	for (size_t i = 0; i < u->count; i++)
		u->by_name[i] = i;
	qsort_r(u->by_name, u->count, sizeof u->by_name[0], compare_names, u->lines);
	for (size_t i = 1; i < u->count; i++) {
		const struct user_line *a = &u->lines[u->by_name[i - 1]],
				       *b = &u->lines[u->by_name[i]];
		struct place at = {file, b->line, 1, (unsigned)b->name_len};

		if (strcmp(a->name, b->name) != 0)
			continue;
		problems_add(p, "E314", at, "this user stands in line %u already", a->line);
		good = false;
	}
	return good;
}

bool
users_parse(struct users *u, enum users_kind kind, const char *file, const void *text, size_t len,
	    struct problems *p)
{
	size_t rooms = 1;
	unsigned number = 0;
	bool good = true;
	char *at, *end;

	*u = (struct users){.len = len, .text = malloc(len + 1)};
	for (size_t i = 0; i < len; i++)
		rooms += ((const char *)text)[i] == '\n';
	u->lines = calloc(rooms, sizeof u->lines[0]);
	u->by_name = calloc(rooms, sizeof u->by_name[0]);
	if (u->text == NULL || u->lines == NULL || u->by_name == NULL)
		abort();
	if (len > 0)
		memcpy(u->text, text, len);
	u->text[len] = '\0';
	for (at = u->text; at < u->text + len; at = end + 1) {
		size_t n;

		end = memchr(at, '\n', (size_t)(u->text + len - at));
		if (end == NULL)
			end = u->text + len;
		n = (size_t)(end - at);
		if (n > 0 && at[n - 1] == '\r')
			n--;
		at[n] = '\0';
		number++;
		if (strspn(at, " \t") == n || at[0] == '#')
			continue;
		if (parse_line(&u->lines[u->count], kind, at, n,
			       (struct place){.file = file, .line = number}, p))
			u->count++;
		else
			good = false;
	}
	good = sort_names(u, file, p) && good;
	if (!good)
		users_free(u);
	return good;
}

const struct user_line *
users_find(const struct users *u, const char *name, size_t len)
{
	size_t low = 0, high = u->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct user_line *l = &u->lines[u->by_name[middle]];
		size_t least = l->name_len < len ? l->name_len : len;
		int c = memcmp(l->name, name, least);

		if (c == 0 && l->name_len == len)
			return l;
		if (c < 0 || (c == 0 && l->name_len < len))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool
user_disabled(const struct user_line *l)
{
	return l->value[0] == '!' || l->value[0] == '*';
}

void
users_free(struct users *u)
{
	if (u->text != NULL)
		secret_wipe_bytes(u->text, u->len);
	free(u->text);
	free(u->lines);
	free(u->by_name);
	*u = (struct users){0};
}
