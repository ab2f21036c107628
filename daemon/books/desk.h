/*
 * books/desk.h - the ledger's desk: lines that are on their way into the audit file, in a memfd that outlives the
 * ledger, so that one that is killed at any instruction leaves neither a lost record nor a double one nor half a line.
 *
 * A line is laid on the desk together with what becomes true by it (its number, how far the books are heard): one
 * store makes both so. What is on the desk is written in that order; how much of it stands in the file is told by
 * the file's own length, so a successor goes on in the middle of a line. That holds for a regular file; of a pipe or
 * terminal nobody can know, and there what was being written is written again.
 * One process at a time has it mapped. It blocks on the file only.
 */
#ifndef BOOKS_DESK_H
#define BOOKS_DESK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/chain.h"

#define DESK_LINES (256 * 1024) /* bytes of lines */
#define DESK_BYTES (DESK_LINES + 4096)
#define DESK_NOBODY UINT32_MAX

/* What becomes true with a line; of books only if worker is not DESK_NOBODY. */
struct desk_effect {
	uint64_t seq;	      /* the line's number */
	struct chain chain;   /* with this line: set by desk_lay */
	uint32_t unsigned_lines; /* since the last checkpoint */
	uint32_t begins_key;  /* the line tells a new key, see chain_begin */
	uint32_t policy_told; /* generation of the last policy-load record */
	uint64_t note_told;   /* number of the last ipc_note that is a record */
	uint32_t worker, generation;
	uint64_t position; /* books_keep */
	uint32_t ended;	   /* books_ended: index + 1, 0: none */
	uint32_t buried;   /* books_bury */
};

/* In the shared memory; the owner may change failing and dropped, and what stands below them. */
struct desk_facts {
	uint64_t seq;
	struct chain chain; /* as of the last line */
	uint32_t policy_told, unsigned_lines;
	uint64_t note_told;
	uint64_t dropped;
	uint32_t failing;
	uint32_t begun;		/* a ledger before this one has written */
	int64_t suspended_ns;	/* since when the file takes nothing, or took nothing until now; 0: it did */
	uint32_t suspend_error;
	uint64_t file_dev, file_ino; /* the file that is written to; 0: none yet */
	struct chain_mark mark; /* the last checkpoint; seq 0: none is known */
};

struct desk;

int desk_create(void);		/* memfd, -1 and errno */
uint64_t desk_form(void);	/* base/form.h */
struct desk *desk_map(int fd);	/* NULL: not one, or no memory */
void desk_unmap(struct desk *d); /* closes the file */
struct desk_facts *desk_facts(struct desk *d);
/* The effect of the last line, which a ledger that died may not have brought about; NULL: there is no line. */
const struct desk_effect *desk_effect(const struct desk *d);

/* The file to write to from now on; owned. A line that is not whole in the former is told again, whole, here. */
void desk_open(struct desk *d, int fd);
int desk_file(const struct desk *d); /* -1: none */
/* A desk that was left by another: true unless what lies on it was on its way into another file. */
bool desk_was_for(const struct desk *d, int fd);

/* Where a line of up to `least` bytes can be put, NULL: no room. */
char *desk_room(struct desk *d, size_t least);
/* It is there, `len` bytes with its newline. */
void desk_lay(struct desk *d, size_t len, const struct desk_effect *e);
bool desk_empty(const struct desk *d);
bool desk_written(const struct desk *d); /* all that is on it stands in the file */
/* Zero, or the errno that keeps some of it from the file (EAGAIN: it did not take any for a while). */
int desk_write(struct desk *d);
/* What is written reaches the disk. Zero, or why not; what is no file is fine. It may take its time. */
int desk_sync(struct desk *d);
/* All is written and everyone who is owed was told so. */
void desk_clear(struct desk *d);
/*
 * Throws away all but a line that is begun; returns how many lines. Their numbers are given again. As dropped are
 * counted those that tell of something else than the ledger itself.
 */
unsigned desk_drop(struct desk *d);
/* How many lines will be written to a file that is opened now before any other. */
unsigned desk_left(const struct desk *d);

#endif
