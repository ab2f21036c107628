/*
 * rewrite.c - a file in the place of another, all of it or none: what reads it at any moment finds
 * the old bytes or the new ones, and so does who comes after a power cut.
 */
#include "config.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"

static bool
write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* As the old one: its mode, and its owner where that is not us already. */
static bool
dress(int fd, const char *path, mode_t fresh)
{
	struct stat old, new;

	if (stat(path, &old) == -1)
		return errno == ENOENT && fchmod(fd, fresh) == 0;
	if (fstat(fd, &new) == -1)
		return false;
	if ((old.st_uid != new.st_uid || old.st_gid != new.st_gid) &&
	    fchown(fd, old.st_uid, old.st_gid) == -1)
		return false;
	return fchmod(fd, old.st_mode & 07777 & ~(mode_t)S_IWOTH) == 0;
}

/* The name must last as the bytes do. */
static void
sync_folder(char *path)
{
	char *slash = strrchr(path, '/');
	int fd;

	if (slash != NULL)
		*slash = '\0';
	fd = open(slash == NULL   ? "."
		  : slash == path ? "/"
				  : path,
		  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return;
	fsync(fd);
	close(fd);
}

bool
rewrite(const char *path, const void *bytes, size_t len, unsigned fresh)
{
	char *real = realpath(path, NULL), *temporary; /* a link stays one */
	bool good;
	int fd, error;

	if (real == NULL && (errno != ENOENT || (real = strdup(path)) == NULL))
		return false;
	if (asprintf(&temporary, "%s.XXXXXX", real) < 0)
		abort();
	fd = mkostemp(temporary, O_CLOEXEC);
	good = fd != -1 && write_all(fd, bytes, len) && dress(fd, real, fresh) && fsync(fd) == 0 &&
	       rename(temporary, real) == 0;
	error = errno;
	if (fd != -1) {
		close(fd);
		if (!good)
			unlink(temporary);
	}
	if (good)
		sync_folder(real);
	free(temporary);
	free(real);
	errno = error;
	return good;
}
