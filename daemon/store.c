/*
 * daemon/store.c - see daemon/store.h. The parent; blocks on opening files at most, and for a
 * moment on a predecessor that ends.
 */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "bind.h"
#include "settings/settings.h"

#define FILE_FLAGS (O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

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
open_file(const char *folder, const char *name, int which)
{
	char path[1200];
	int fd;

	snprintf(path, sizeof path, "%s/%s.%d", folder, name, which);
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

bool
store_open(const char *folder, const char *name, int fds[2])
{
	bool usual = strcmp(folder, SETTINGS_STATE) == 0;
	struct stat st;

	if (usual && (stat(folder, &st) == -1 || !S_ISDIR(st.st_mode)))
		return false; /* only where an installation has made it */
	if (!usual && mkdir(folder, 0750) == -1 && errno != EEXIST)
		log_warning("cannot make the folder '%s': %s", folder, strerror(errno));
	if ((fds[0] = open_file(folder, name, 0)) == -1)
		return false;
	if ((fds[1] = open_file(folder, name, 1)) != -1)
		return true;
	close(fds[0]);
	return false;
}

bool
store_memory(const char *name, int fds[2])
{
	for (int i = 0; i < 2; i++)
		if ((fds[i] = memfd_create(name, MFD_CLOEXEC)) == -1)
			return false;
	return true;
}
