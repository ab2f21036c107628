/*
 * wire/journal.h - records as entries of journald, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one
 * datagram of fields; a value that holds a newline is told by its length.
 *
 * MESSAGE is a sentence for people. SALLYPORT_ fields have the bytes that the record stands for, so that
 * `journalctl SALLYPORT_USER=ann` finds them; SALLYPORT_RECORD is the line as it stands. Pure.
 */
#ifndef WIRE_JOURNAL_H
#define WIRE_JOURNAL_H

#include "base/text.h"
#include "wire/fields.h"

#define JOURNAL_MAX (4 * FIELDS_LINE) /* no entry is longer */

/* One entry into t, which is empty and has JOURNAL_MAX bytes of room. False: it does not fit. */
bool journal_put(struct text *t, const char *identifier, unsigned facility, const struct fields *f, const char *line,
		 size_t len);

#endif
