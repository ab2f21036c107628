/*
 * daemon/copies.c - see daemon/copies.h. The parent; blocks on opening files and on one folder at
 * most.
 */
#include "copies.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "books/lags.h"
#include "store.h"

#define FORMER (COPIES_FILES - 1)    /* that are looked for at the start */
#define STAMP "ddddddddTdddddd.dddZ" /* of rotate.c; d: a digit */
#define NAME 256

static struct copies_legacy copies = {.page = -1, .store = {-1, -1}};

struct copies_legacy *
copies_legacy(void)
{
	return &copies;
}

bool
copies_wanted(const struct settings *s)
{
	return s->audit.copy_count > 0 && s->audit.format == FORMAT_ECS &&
	       strcmp(s->audit.file, "stdout") != 0;
}

bool
copies_open(void)
{
	copies.page = lags_create();
	return copies.page != -1;
}

int
copies_page(void)
{
	return copies.page;
}

/* ---- one file ------------------------------------------------------------------------------- */

static void
let_go(struct copies_file *f)
{
	for (unsigned i = 0; i < f->count; i++)
		close(f->fds[i]);
	f->count = 0;
}

static void
drop_oldest(void)
{
	let_go(&copies.files[0]);
	copies.count--;
	memmove(copies.files, copies.files + 1, copies.count * sizeof copies.files[0]);
}

/* What the forwarder may not open itself; it may read and watch it by these. */
static bool
open_again(int audit, struct copies_file *f)
{
	char name[64];
	int watch;

	snprintf(name, sizeof name, "/proc/self/fd/%d", audit);
	f->fds[0] = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fds[0] == -1) {
		log_error("the audit file cannot be read, and so not copied: %s", strerror(errno));
		return false;
	}
	f->count = 1;
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch != -1 && inotify_add_watch(watch, name, IN_MODIFY) != -1) {
		f->fds[f->count++] = watch;
		return true;
	}
	log_warning("cannot watch the audit file (%s): copies look at it once a second",
		    strerror(errno));
	if (watch != -1)
		close(watch);
	return true;
}

static const struct copies_file *
keep(struct copies_file *f)
{
	if (copies.count == COPIES_FILES)
		drop_oldest();
	f->what.number = ++copies.numbers;
	copies.files[copies.count] = *f;
	return &copies.files[copies.count++];
}

const struct copies_file *
copies_opened(int audit)
{
	struct copies_file f = {0};
	struct stat st;

	copies.from = fstat(audit, &st) == 0 ? (uint64_t)st.st_size : 0;
	f.what.from = copies.from;
	if (!copies.following)
		return NULL;
	if (fstat(audit, &st) == -1 || !S_ISREG(st.st_mode)) {
		log_error("only an audit file that is a regular file can be copied");
		return NULL;
	}
	return open_again(audit, &f) ? keep(&f) : NULL;
}

/* ---- those of before ------------------------------------------------------------------------ */

static bool
is_stamp(const char *s)
{
	static const char form[] = STAMP;

	for (size_t i = 0; i + 1 < sizeof form; i++)
		if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return false;
	return s[sizeof form - 1] == '\0';
}

/* Into the list of the latest, oldest first; names sort by their time. */
static void
remember(char list[FORMER][NAME], unsigned *count, const char *name)
{
	unsigned at = *count;

	if (strlen(name) >= NAME)
		return;
	while (at > 0 && strcmp(list[at - 1], name) > 0)
		at--;
	if (*count == FORMER) {
		if (at == 0)
			return;
		memmove(list[0], list[1], (at - 1) * NAME);
		at--;
	} else {
		memmove(list[at + 1], list[at], (*count - at) * NAME);
		(*count)++;
	}
	memcpy(list[at], name, strlen(name) + 1);
}

static unsigned
look_for_former(DIR *folder, const char *base, char list[FORMER][NAME])
{
	size_t len = strlen(base);
	struct dirent *e;
	unsigned count = 0;

	while ((e = readdir(folder)) != NULL)
		if (strncmp(e->d_name, base, len) == 0 && e->d_name[len] == '.' &&
		    is_stamp(e->d_name + len + 1))
			remember(list, &count, e->d_name);
	return count;
}

static void
keep_former(int folder, const char *name)
{
	struct copies_file f = {.what = {.former = 1}, .count = 1};
	struct stat st;

	f.fds[0] = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	if (f.fds[0] == -1)
		return; /* on its way to somebody else */
	if (fstat(f.fds[0], &st) == 0 && S_ISREG(st.st_mode))
		keep(&f);
	else
		let_go(&f);
}

/* A copy may have been in one of those when the server stopped. */
static void
find_former(const char *path)
{
	static char list[FORMER][NAME];
	const char *base = strrchr(path, '/');
	char folder[SETTINGS_PATH];
	unsigned count;
	DIR *dir;

	if (base == NULL)
		return;
	snprintf(folder, sizeof folder, "%.*s/", (int)(base - path), path);
	if ((dir = opendir(folder)) == NULL)
		return;
	count = look_for_former(dir, base + 1, list);
	for (unsigned i = 0; i < count; i++)
		keep_former(dirfd(dir), list[i]);
	closedir(dir);
}

/* ---- the forwarder -------------------------------------------------------------------------- */

static bool
open_store(const char *folder)
{
	copies.kept = store_open(folder, "copies", copies.store);
	if (copies.kept)
		return true;
	log_notice("where copies of the ledger are is not kept over a restart (setting "
		   "'state.directory')");
	if (store_memory("copies", copies.store))
		return true;
	log_error("cannot make memory for the places of copies: %s", strerror(errno));
	return false;
}

/* The first one: the ledger may have written already. */
static bool
follow(const struct settings *s, int audit, bool at_start)
{
	uint64_t from = copies.from;

	if (!open_store(s->state.directory))
		return false;
	copies.following = true;
	find_former(s->audit.file);
	if (copies_opened(audit) != NULL && at_start)
		copies.files[copies.count - 1].what.from = from;
	return true;
}

bool
copies_start(const struct settings *s, int audit, bool at_start, struct ipc_copy_store *what,
	     int fds[3])
{
	if (!copies.following && !follow(s, audit, at_start))
		return false;
	*what = (struct ipc_copy_store){.kept = copies.kept};
	fds[0] = copies.store[0];
	fds[1] = copies.store[1];
	fds[2] = copies.page;
	return true;
}

const struct copies_file *
copies_next(unsigned *at)
{
	return *at < copies.count ? &copies.files[(*at)++] : NULL;
}

void
copies_done(uint64_t number)
{
	/* the one in use is never done */
	while (copies.count > 1 && copies.files[0].what.number <= number)
		drop_oldest();
}
