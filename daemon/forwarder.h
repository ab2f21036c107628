/*
 * daemon/forwarder.h - the process that copies the ledger to syslog and to the journal (settings audit.copies): it
 * reads behind the ledger in the ledger's own files, so a copy that is slow or down holds up neither the ledger nor
 * another copy, and nothing is queued but what stands in the file. Copies are never the truth.
 *
 *   forwarder.c  the process: the volumes, the settings, when there is something to do
 *   copy.c       one copy: its connection, its place in the ledger, what is on its way
 */
#ifndef DAEMON_FORWARDER_H
#define DAEMON_FORWARDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "books/lags.h"
#include "net/loop.h"
#include "privileges.h"
#include "settings/settings.h"
#include "wire/fields.h"
#include "wire/ipc.h"

/* Runs until told to drain or until the parent is gone. Returns the exit status. */
int forwarder_run(int channel);
bool forwarder_prepare(int channel, const struct account *a);
bool forwarder_wanted(const struct settings *s);

/* ---- within the process ---- */

struct volume { /* a file of the ledger, for reading */
	struct ipc_copy_file what;
	int fd; /* -1: none */
	struct watch watch;
};

struct spot { /* in the ledger */
	uint64_t file; /* its number */
	uint64_t offset;
	bool within;	      /* a line that is passed over up to its end */
	struct bookmark mark; /* the line before */
};

/* ---- forwarder.c ---- */

/* The file that a place is in; one that was given up meanwhile is left for the oldest that there is. NULL: there is
 * no file. */
const struct volume *volume_at(struct spot *p);
/* Goes on into the next file if this one is read to its end and nothing more will come. */
bool volume_next(struct spot *p);
/* The line at a place, in *line up to its newline; its length without that. -1: there is none yet. */
ssize_t volume_line(struct spot *p, char line[FIELDS_LINE]);
/* The number of the ledger's last record, 0: none. */
uint64_t ledger_head(void);
/* Bytes from a place to the end of the ledger. */
uint64_t ledger_behind(const struct spot *p);
/* The numbers and the page are to be told anew soon. */
void forwarder_changed(void);

/* ---- copy.c ---- */

#define FLIGHTS 64

struct flight { /* what was written to a stream, and is perhaps not taken yet */
	uint64_t end; /* bytes of the stream up to its end */
	struct spot behind;
	int64_t written_ms;
};

struct copy {
	struct settings_copy to; /* name "": none */
	char where[SETTINGS_COPY_TEXT];
	struct lag lag; /* as it is told */
	struct watch watch;
	struct timer timer; /* of the connection: deadline, back-off, probe */
	struct turn turn;
	bool stream, connecting, probing, blocked, told_down;
	int64_t up_ms, down_ms, backoff_ms;
	struct spot next;    /* to be read */
	struct spot settled; /* the receiver has all before it; it is gone back to when a connection breaks */
	struct spot before;  /* of a datagram: the last one, which a refusal is about */
	bool may_refuse;      /* a datagram was sent since the last refusal */
	/* a stream */
	char *out;
	size_t out_len, out_at;
	uint64_t queued, passed, taken; /* bytes of this connection: put into out; given to the kernel; acknowledged */
	struct flight flights[FLIGHTS];
	unsigned flight_first, flight_count;
	int64_t moved_ms; /* something was taken, or nothing was there to take */
};

/* place: where it begins. */
void copy_begin(struct copy *c, const struct settings_copy *to, const struct spot *place);
/* Another place to send to, or another form; goes on with what was not settled. */
void copy_change(struct copy *c, const struct settings_copy *to);
void copy_end(struct copy *c);
/* There may be something to send. */
void copy_pump(struct copy *c);
/* What was taken since; true: it is to be asked again soon. */
bool copy_settle(struct copy *c);
/* At the end: it has all, or cannot have it now. The last word: all that was taken is settled. */
bool copy_idle(struct copy *c);
void copy_last(struct copy *c);

#endif
