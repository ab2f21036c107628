/*
 * daemon/counters.h - the parent's keeping of the rules' counters (books/hits.h): it makes the memory for each worker
 * and policy, holds it until control has added it to the store, and opens the store's files, which an unprivileged
 * process could not. It looks into neither.
 */
#ifndef DAEMON_COUNTERS_H
#define DAEMON_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/ipc.h"

struct counters {
	struct ipc_hits what; /* id 0: empty */
	bool over;	      /* the worker counts there no more */
	int hits, policy;
};

/* All that is kept, for the program that takes over (daemon/handover.h). */
#define COUNTERS_MOST 256 /* with 64 workers: three reloads that control has not seen */
struct counters_legacy {
	struct counters list[COUNTERS_MOST];
	uint64_t last_id;
};
struct counters_legacy *counters_legacy(void); /* to be read, or to be written before anything else */

/*
 * Opens the two files of the store in `folder`, made if need be (the default folder only if it exists); fds are
 * memfds where files are not to be had, which the log then says. False and errno: not even memfds.
 */
bool counters_store(const char *folder, struct ipc_hits_store *what, int fds[2]);
/* Memory for a worker under a policy (the descriptor is borrowed); NULL and a line in the log: none. */
const struct counters *counters_make(unsigned worker, uint32_t generation, uint32_t rules, int policy);
/* All that the worker had under policies before this one is over; the next of those, from *at on (0 at first). */
const struct counters *counters_over(unsigned worker, uint32_t before, unsigned *at);
/* The next that is kept, from *at on; NULL behind the last. */
const struct counters *counters_next(unsigned *at);
/* Added, or nobody wants it. */
void counters_close(uint64_t id);

#endif
