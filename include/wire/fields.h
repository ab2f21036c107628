/*
 * wire/fields.h - the members of a record that are told beside it where the ledger is copied to: when, what,
 * who, from where, to where. Reads a line of the ledger as it stands, without memory of its own.
 *
 * A line that is no record (a torn one, which stands in the ledger all the same) has none of them. Pure.
 */
#ifndef WIRE_FIELDS_H
#define WIRE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIELDS_LINE 8192 /* longer lines are no records; newline included, see books/record.h */

enum field {
	FIELD_TIME, FIELD_ACTION, FIELD_OUTCOME, FIELD_REASON, FIELD_MESSAGE, FIELD_USER, FIELD_SOURCE_IP,
	FIELD_SOURCE_PORT, FIELD_DOMAIN, FIELD_DESTINATION_IP, FIELD_DESTINATION_PORT, FIELD_HOSTNAME, FIELD_RULE,
	FIELD_SESSION, FIELD_SEQ, FIELD_COUNT
};

struct field_value { /* p NULL: not there */
	const char *p; /* into the line: a number, or a string without its quotes and still escaped */
	size_t len;
};

struct fields {
	struct field_value of[FIELD_COUNT];
};

/* Without the newline. False: that is no record, and *out has nothing. */
bool fields_read(const char *line, size_t len, struct fields *out);
/* The bytes that it stands for, at most cap; returns how many. */
size_t field_bytes(struct field_value v, char *to, size_t cap);
/* Nanoseconds since 1970 of FIELD_TIME, 0: none. */
int64_t fields_time(const struct fields *f);
uint64_t fields_seq(const struct fields *f); /* 0: none */
bool field_is(struct field_value v, const char *word);

/* As syslog and the journal number them. */
enum severity { SEVERITY_CRITICAL = 2, SEVERITY_ERROR, SEVERITY_WARNING, SEVERITY_NOTICE, SEVERITY_INFO };
enum severity fields_severity(const struct fields *f);

/* Printable ASCII of a length that a record may have: nothing else is copied. */
bool fields_line_fit(const char *line, size_t len);

#endif
