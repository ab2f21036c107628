/*
 * books/memory.c - see books/memory.h. The parent; never blocks.
 */
#include "books/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int
memory_create(const char *name, size_t size, const void *head, size_t head_len)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), error;

	if (fd == -1)
		return -1;
	if (ftruncate(fd, (off_t)size) == 0 &&
	    (head_len == 0 || pwrite(fd, head, head_len, 0) == (ssize_t)head_len) &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}
