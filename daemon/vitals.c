/*
 * daemon/vitals.c - see daemon/vitals.h. The parent opens, and reads nothing; control, which has
 * no rights, reads what the kernel tells.
 */
#include "vitals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "wire/ipc.h"

enum file { STAT, LIMITS, DESCRIPTORS };

static struct known {
	bool used;
	int fds[VITALS_FDS];
	struct vitals seen;
} all[IPC_PROCESSES_MAX];

/* ---- the parent ---------------------------------------------------------------------------- */

bool
vitals_open(pid_t pid, int fds[VITALS_FDS])
{
	/* O_PATH: how many there are, and not one of them */
	static const struct {
		const char *name;
		int flags;
	} files[VITALS_FDS] = {[STAT] = {"stat", O_RDONLY},
			       [LIMITS] = {"limits", O_RDONLY},
			       [DESCRIPTORS] = {"fd", O_PATH | O_DIRECTORY}};
	char path[64];

	for (int i = 0; i < VITALS_FDS; i++) {
		snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, files[i].name);
		fds[i] = open(path, files[i].flags | O_CLOEXEC);
		if (fds[i] != -1)
			continue;
		while (i-- > 0)
			close(fds[i]);
		return false;
	}
	return true;
}

/* ---- control ------------------------------------------------------------------------------- */

static void
forget(struct known *k)
{
	for (int i = 0; i < VITALS_FDS; i++)
		close(k->fds[i]);
	k->used = false;
}

/* Its place, or a free one; NULL: there is none. */
static struct known *
place_of(uint32_t role, uint32_t index)
{
	struct known *room = NULL;

	for (int i = 0; i < IPC_PROCESSES_MAX; i++) {
		struct known *k = &all[i];

		if (k->used && k->seen.role == role && k->seen.index == index)
			return k;
		if (!k->used && room == NULL)
			room = k;
	}
	return room;
}

void
vitals_take(const struct message *m)
{
	const struct ipc_vitals *body = m->body;
	struct known *k = place_of(body->role, body->index);

	if (k == NULL)
		return;
	if (k->used)
		forget(k);
	for (int i = 0; i < VITALS_FDS; i++)
		if ((k->fds[i] = fcntl(m->fds[i], F_DUPFD_CLOEXEC, 3)) == -1) {
			log_error("cannot keep what tells of a process: %s", strerror(errno));
			while (i-- > 0)
				close(k->fds[i]);
			return;
		}
	k->used = true;
	k->seen = (struct vitals){.role = body->role, .index = body->index};
}

/* The whole file as a string; false: the process is gone. */
static bool
read_all(int fd, char *to, size_t size)
{
	ssize_t n = pread(fd, to, size - 1, 0);

	if (n <= 0)
		return false;
	to[n] = '\0';
	return true;
}

/* proc_pid_stat(5), counted from 1; fields are only safe behind the name, which is in brackets. */
enum { FIELD_STATE = 3, FIELD_UTIME = 14, FIELD_STIME = 15, FIELD_VSIZE = 23, FIELD_RSS = 24 };

static bool
read_stat(int fd, struct vitals *v)
{
	char text[1024], *at;
	double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);

	if (!read_all(fd, text, sizeof text) || (at = strrchr(text, ')')) == NULL)
		return false;
	at += 2;
	v->cpu_s = 0;
	for (int field = FIELD_STATE; field <= FIELD_RSS && at != NULL; field++) {
		double value = strtod(at, NULL);

		if (field == FIELD_UTIME || field == FIELD_STIME)
			v->cpu_s += value / ticks;
		else if (field == FIELD_VSIZE)
			v->virtual = value;
		else if (field == FIELD_RSS)
			v->resident = value * page;
		at = strchr(at, ' ');
		at += at != NULL;
	}
	return true;
}

static double
read_most(int fd)
{
	static const char word[] = "Max open files";
	char text[4096], *at;
	double most;

	if (!read_all(fd, text, sizeof text) || (at = strstr(text, word)) == NULL)
		return -1;
	most = strtod(at + sizeof word - 1, NULL);
	return most > 0 ? most : -1;
}

void
vitals_look(void)
{
	for (int i = 0; i < IPC_PROCESSES_MAX; i++) {
		struct known *k = &all[i];
		struct stat st;

		if (!k->used)
			continue;
		if (!read_stat(k->fds[STAT], &k->seen)) {
			forget(k);
			continue;
		}
		k->seen.most_fds = read_most(k->fds[LIMITS]);
		/* how many, since Linux 6.2; before it was 0 */
		k->seen.open_fds = fstat(k->fds[DESCRIPTORS], &st) == 0 && st.st_size > 0
				       ? (double)st.st_size
				       : -1;
	}
}

const struct vitals *
vitals_next(unsigned *at)
{
	while (*at < IPC_PROCESSES_MAX)
		if (all[(*at)++].used)
			return &all[*at - 1].seen;
	return NULL;
}
