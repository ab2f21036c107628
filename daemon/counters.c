/*
 * daemon/counters.c - see daemon/counters.h. The parent; blocks on opening two files at most.
 */
#include "counters.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "books/hits.h"
#include "store.h"


static struct counters_legacy kept;

struct counters_legacy *
counters_legacy(void)
{
	return &kept;
}

/* ---- the store ---------------------------------------------------------------------------- */

bool
counters_store(const char *folder, struct ipc_hits_store *what, int fds[2])
{
	*what = (struct ipc_hits_store){0};
	if (getrandom(&what->run, sizeof what->run, 0) != (ssize_t)sizeof what->run)
		return false;
	what->kept = store_open(folder, "rule-hits", fds);
	if (what->kept)
		return true;
	log_notice("counters of rules are not kept over a restart (setting 'state.directory')");
	return store_memory("rule-hits", fds);
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
