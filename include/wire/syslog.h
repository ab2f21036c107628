/*
 * wire/syslog.h - records as syslog messages (RFC 5424), and how they stand in a stream (RFC 6587).
 *
 *   <132>1 2026-11-24T09:14:07.482913Z px1 sallyportd 4711 session-deny [meta sequenceId="184497"] {...}
 *
 * Header and structured data are made from the record itself; the message is its line as it stands, so that what
 * arrives can be verified like the ledger. Pure.
 */
#ifndef WIRE_SYSLOG_H
#define WIRE_SYSLOG_H

#include "base/text.h"
#include "wire/fields.h"

enum syslog_framing {
	SYSLOG_COUNTED, /* "1042 <132>1 ...": RFC 6587, 3.4.1 */
	SYSLOG_LINES,	/* a newline behind it: 3.4.2 */
	SYSLOG_ALONE,	/* the only one in its datagram: RFC 5426 */
};

struct syslog_form {
	unsigned facility; /* 0-23 */
	enum syslog_framing framing;
	const char *app; /* APP-NAME */
	unsigned procid; /* 0: none */
};

#define SYSLOG_HEAD 512			       /* no header is longer, with count and structured data */
#define SYSLOG_MAX (SYSLOG_HEAD + FIELDS_LINE) /* nor a message */

/* One message behind what t has; line without its newline, and fit (fields_line_fit). False: t has no room, and is as
 * it was. */
bool syslog_put(struct text *t, const struct syslog_form *s, const struct fields *f, const char *line, size_t len);

#endif
