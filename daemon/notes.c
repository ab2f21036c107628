/*
 * daemon/notes.c - what only the parent knows and what shall be a record: an order, a reload that
 * was refused. Each is numbered, told to the ledger, and kept for one that is restarted. In the
 * parent's loop; never blocks.
 *
 * Only the ledger knows which of them are records: the last ones are told again, never looked up.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "parent_state.h"

/* Told again when the ledger is restarted: it knows which of them are records. */
void
notes_add(struct ipc_note *n)
{
	n->number = ++parent.note_count;
	n->at_ns = clock_wall_ns();
	parent.notes[n->number % NOTES] = *n;
	children_send(&parent.ledger, IPC_NOTE, n, sizeof *n, NULL, 0);
}

void
notes_repeat(void)
{
	uint64_t n = parent.note_count > NOTES ? parent.note_count - NOTES + 1 : 1;

	for (; n <= parent.note_count; n++)
		children_send(&parent.ledger, IPC_NOTE, &parent.notes[n % NOTES],
			      sizeof parent.notes[0], NULL, 0);
}

void
notes_record(const struct ipc_order *o, bool success, const char *fmt, ...)
{
	struct ipc_note body = {.kind = NOTE_ADMIN, .uid = o->uid, .success = success};
	char result[224];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(result, sizeof result, fmt, ap);
	va_end(ap);
	memcpy(body.who, o->who, sizeof body.who);
	snprintf(body.text, sizeof body.text, "%s: %s", o->words, result);
	log_notice("%s by %s (uid %u): %s", o->words, o->who, o->uid, result);
	notes_add(&body);
}
