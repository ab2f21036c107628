/*
 * daemon/counters.c - see daemon/counters.h. The parent; blocks on opening two files at most.
 */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "bind.h"
#include "books/hits.h"
#include "settings/settings.h"

#define COUNTERS_MOST 256 /* with 64 workers: three reloads that control has not seen */
#define FILE_FLAGS (O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static struct {
	struct counters list[COUNTERS_MOST];
	uint64_t last_id;
} kept;

/* ---- the store's files ------------------------------------------------------------------- */

static bool
is_ours(int fd, const char *path)
{
	struct stat st;

	/* one name only: nobody has put a link to another file of ours there */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    st.st_nlink == 1 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return true;
	log_warning("'%s' is not a file that only we may write", path);
	return false;
}

static bool
lock(int fd)
{
	int held;

	while ((held = flock(fd, LOCK_EX | LOCK_NB)) == -1 && errno == EWOULDBLOCK &&
	       bind_wait_for_predecessor())
		;
	return held == 0;
}

static int
open_file(const char *folder, int which)
{
	char path[1200];
	int fd;

	snprintf(path, sizeof path, "%s/rule-hits.%d", folder, which);
	fd = open(path, FILE_FLAGS, 0600);
	if (fd == -1)
		log_warning("cannot open '%s': %s", path, strerror(errno));
	else if (!is_ours(fd, path)) {
		close(fd);
		fd = -1;
	} else if (which == 0 && !lock(fd)) {
		log_warning("'%s' is in use by another server", path);
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool
open_files(const char *folder, int fds[2])
{
	bool usual = strcmp(folder, SETTINGS_STATE) == 0;
	struct stat st;

	if (usual && (stat(folder, &st) == -1 || !S_ISDIR(st.st_mode)))
		return false; /* only where an installation has made it */
	if (!usual && mkdir(folder, 0750) == -1 && errno != EEXIST)
		log_warning("cannot make the folder '%s': %s", folder, strerror(errno));
	if ((fds[0] = open_file(folder, 0)) == -1)
		return false;
	if ((fds[1] = open_file(folder, 1)) != -1)
		return true;
	close(fds[0]);
	return false;
}

bool
counters_store(const char *folder, struct ipc_hits_store *what, int fds[2])
{
	*what = (struct ipc_hits_store){.kept = open_files(folder, fds)};
	if (getrandom(&what->run, sizeof what->run, 0) != (ssize_t)sizeof what->run)
		return false;
	if (what->kept)
		return true;
	log_notice("counters of rules are not kept over a restart (setting 'state.directory')");
	for (int i = 0; i < 2; i++)
		if ((fds[i] = memfd_create("rule-hits", MFD_CLOEXEC)) == -1)
			return false;
	return true;
}

/* ---- the workers' memory ------------------------------------------------------------------- */

static void
let_go(struct counters *c)
{
	close(c->hits);
	close(c->policy);
	*c = (struct counters){.hits = -1, .policy = -1};
}

/* An empty place; if control has been away for too long, the oldest counts that are over are lost.
 */
static struct counters *
place(void)
{
	struct counters *oldest = NULL;

	for (unsigned i = 0; i < COUNTERS_MOST; i++) {
		struct counters *c = &kept.list[i];

		if (c->what.id == 0)
			return c;
		if (c->over && (oldest == NULL || c->what.id < oldest->what.id))
			oldest = c;
	}
	if (oldest == NULL)
		return NULL;
	log_warning("counts of rules are lost: nobody has added them up");
	let_go(oldest);
	return oldest;
}

const struct counters *
counters_make(unsigned worker, uint32_t generation, uint32_t rules, int policy)
{
	struct counters *c = place(), new = {.what = {kept.last_id + 1, worker, generation}};

	if (c == NULL)
		return NULL;
	new.hits = hits_create(rules);
	new.policy = fcntl(policy, F_DUPFD_CLOEXEC, 3);
	if (new.hits == -1 || new.policy == -1) {
		log_error("cannot make the memory for counters: %s", strerror(errno));
		if (new.hits != -1)
			close(new.hits);
		if (new.policy != -1)
			close(new.policy);
		return NULL;
	}
	kept.last_id++;
	*c = new;
	return c;
}

const struct counters *
counters_over(unsigned worker, uint32_t before, unsigned *at)
{
	while (*at < COUNTERS_MOST) {
		struct counters *c = &kept.list[(*at)++];

		if (c->what.id == 0 || c->over || c->what.worker != worker ||
		    c->what.generation >= before)
			continue;
		c->over = true;
		return c;
	}
	return NULL;
}

const struct counters *
counters_next(unsigned *at)
{
	while (*at < COUNTERS_MOST)
		if (kept.list[(*at)++].what.id != 0)
			return &kept.list[*at - 1];
	return NULL;
}

void
counters_close(uint64_t id)
{
	for (unsigned i = 0; i < COUNTERS_MOST && id != 0; i++)
		if (kept.list[i].what.id == id && kept.list[i].over)
			let_go(&kept.list[i]);
}
