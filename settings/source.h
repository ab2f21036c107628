/*
 * settings/source.h - what the tree reader needs of a source beyond the public
 * contract (settings/tree.h). Private to this room.
 */
#ifndef SETTINGS_SOURCE_H
#define SETTINGS_SOURCE_H

#include <sys/stat.h>

#include "settings/tree.h"

/*
 * As source_read, but a file whose bytes have faults that reading can pass over (a BOM,
 * control characters, bad UTF-8) is still returned, its problems added.  what may be NULL.
 */
struct source *source_open(struct sources *s, const char *path, const char *display,
			   struct place at, struct stat *what, struct problems *p);
/* A text that no file holds; takes a copy. dir NULL: it may include nothing. */
struct source *source_text(struct sources *s, const char *display, const char *dir,
			   const void *text, size_t len);
/* Problems of the bytes of a text: BOM, control characters, UTF-8. */
void source_check(const struct source *src, struct problems *p);
/* Length of the UTF-8 sequence at p, 0 if it is none; *point is the character. */
unsigned utf8_at(const char *p, const char *end, unsigned *point);
/* Invisible or direction-changing characters: what is read is not what is shown. */
bool utf8_hides(unsigned point);

#endif
