/*
 * wire/control.h - what sallyctl and the server say to each other on the control socket.
 *
 * A request is one line: a flat JSON object, {"command":"kill","user":"alice"}. The answer is
 * lines of JSON objects; the last one has the key "done", and with "error" and "code" if it was
 * refused. Then the next request may come. A request is decoded by this table, strictly: no
 * unknown key, no key twice, nothing nested, no NUL; at most CONTROL_REQUEST bytes with its
 * newline. Pure; both sides.
 *
 * Strings are bytes, as in records: \u00XX stands for the byte XX, higher ones are refused.
 */
#ifndef WIRE_CONTROL_H
#define WIRE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

#define CONTROL_REQUEST 4096 /* bytes, newline included */
#define CONTROL_VALUE 256    /* of a string, NUL included */

enum control_command {
	CONTROL_STATUS, CONTROL_SESSIONS, CONTROL_RULES, CONTROL_KILL, CONTROL_RELOAD, CONTROL_DRAIN, CONTROL_REOPEN,
	CONTROL_METRICS, CONTROL_TOP, CONTROL_RESTART, CONTROL_COMMANDS
};

enum control_field {
	CONTROL_ID, CONTROL_USER, CONTROL_RULE, CONTROL_SOURCE, CONTROL_DESTINATION, CONTROL_SORT, /* strings */
	CONTROL_OLDER, CONTROL_YOUNGER, /* seconds */
	CONTROL_LIMIT, /* a number */
	CONTROL_PREVIEW, CONTROL_OPENMETRICS, CONTROL_DESTINATIONS, CONTROL_JSON, /* true or false */
	CONTROL_FIELDS
};

struct control_request {
	enum control_command command;
	uint32_t given; /* 1 << enum control_field */
	union {
		char string[CONTROL_VALUE]; /* no NUL within, length by strlen */
		uint64_t number;
		bool yes;
	} value[CONTROL_FIELDS]; /* zero where not given */
};

struct control_row { const char *word; bool operator; uint32_t fields; /* that it may have */ };
extern const struct control_row control_commands[CONTROL_COMMANDS];
const char *control_field_word(enum control_field f);

enum control_verdict {
	CONTROL_OK, CONTROL_MALFORMED, CONTROL_NO_COMMAND, CONTROL_UNKNOWN_COMMAND, CONTROL_UNKNOWN_KEY,
	CONTROL_BAD_VALUE, CONTROL_TOO_LONG
};
/* The line is without its newline. *out is fully written only by CONTROL_OK. */
enum control_verdict control_parse(const char *line, size_t len, struct control_request *out);
const char *control_verdict_word(enum control_verdict v); /* for people: "it is no JSON object" */
/* The line of a request, newline included; t->cut: it does not fit (never with CONTROL_REQUEST bytes of room
 * unless strings are nearly all control bytes). */
void control_format(const struct control_request *r, struct text *t);
static inline bool
control_given(const struct control_request *r, enum control_field f)
{
	return (r->given >> f & 1) != 0;
}
/* For building one. False: the string is too long. */
bool control_set_string(struct control_request *r, enum control_field f, const char *s);
void control_set_number(struct control_request *r, enum control_field f, uint64_t n);
void control_set(struct control_request *r, enum control_field f);

#endif
