/*
 * auth/groups.c - the Unix groups of a user, by the name services. Runs in a checker; blocks as
 * long as they do.
 *
 * Only the groups that the policy names are looked up, by name: that costs as many questions as
 * there are such groups, however many the user is in.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"

#define ROOM_FIRST 4096
#define ROOM_MOST (16u << 20) /* a group of a million members */
#define GIDS_MOST 65536

/* Not an error: how getpwnam_r(3) and its kin say that there is none. */
static bool
means_none(int error)
{
	return error == 0 || error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

/* 1: found; 0: there is none; -1: cannot be told. *room is the caller's to free. */
static int
find_group(const char *name, struct group *g, char **room, size_t *size)
{
	struct group *found = NULL;
	int error;

	while ((error = getgrnam_r(name, g, *room, *size, &found)) == ERANGE && *size < ROOM_MOST) {
		char *more = realloc(*room, *size * 4);

		if (more == NULL)
			return -1;
		*room = more;
		*size *= 4;
	}
	return found != NULL ? 1 : means_none(error) ? 0 : -1;
}

static int
find_primary(const char *user, gid_t *gid)
{
	struct passwd pw, *found = NULL;
	char *room = NULL;
	size_t size = ROOM_FIRST;
	int error;

	do {
		char *more = realloc(room, size);

		if (more == NULL) {
			free(room);
			return -1;
		}
		room = more;
		error = getpwnam_r(user, &pw, room, size, &found);
		size *= 4;
	} while (error == ERANGE && size < ROOM_MOST);
	if (found != NULL)
		*gid = pw.pw_gid;
	free(room);
	return found != NULL ? 1 : means_none(error) ? 0 : -1;
}

static gid_t *
list_gids(const char *user, gid_t primary, int *count)
{
	int room = 64;
	gid_t *gids = NULL;

	for (;;) {
		gid_t *more = reallocarray(gids, (size_t)room, sizeof *gids);
		int n = room;

		if (more == NULL) {
			free(gids);
			return NULL;
		}
		gids = more;
		if (getgrouplist(user, primary, gids, &n) != -1) {
			*count = n;
			return gids;
		}
		if (room >= GIDS_MOST) {
			free(gids);
			return NULL;
		}
		room = n > room ? n : room * 2;
	}
}

static bool
among(gid_t gid, const gid_t *gids, int count)
{
	for (int i = 0; i < count; i++)
		if (gids[i] == gid)
			return true;
	return false;
}

bool
groups_look_up(const char *user, const char *const *groups, size_t count, bool *member)
{
	size_t size = ROOM_FIRST;
	char *room = NULL;
	gid_t primary = 0, *gids = NULL;
	int gid_count = 0, found = find_primary(user, &primary);
	bool known = found != -1;

	memset(member, 0, count * sizeof *member);
	if (found != 1)
		return known;
	gids = list_gids(user, primary, &gid_count);
	room = malloc(size);
	known = gids != NULL && room != NULL;
	for (size_t i = 0; known && i < count; i++) {
		struct group g;
		int got = find_group(groups[i], &g, &room, &size);

		known = got != -1;
		member[i] = got == 1 && among(g.gr_gid, gids, gid_count);
	}
	free(room);
	free(gids);
	return known;
}
