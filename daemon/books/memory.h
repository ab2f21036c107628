/*
 * books/memory.h - memory that processes share: a memfd of a fixed size, which nobody can resize, so that a broken
 * process cannot take pages away under another.
 */
#ifndef BOOKS_MEMORY_H
#define BOOKS_MEMORY_H

#include <stddef.h>

/* name: as /proc shows it. Begins with the head_len bytes at head (NULL: none), the rest is zero. The descriptor is the
 * caller's; -1 and errno. */
int memory_create(const char *name, size_t size, const void *head, size_t head_len);

#endif
