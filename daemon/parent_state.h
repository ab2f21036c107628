/*
 * daemon/parent_state.h - what the parent knows, for its own files only:
 *
 *   parent.c    start and end, the children, reloads, people's wishes
 *   handover.c  giving all of it to a new program (its own header)
 *   takeover.c  the new program: other settings, new workers in the place of the old
 *
 * struct parent is handed over as it stands here: see handover_form, and HANDOVER_FORM in handover.c.
 */
#ifndef DAEMON_PARENT_STATE_H
#define DAEMON_PARENT_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "bind.h"
#include "books/tally.h"
#include "channel.h"
#include "parent.h"
#include "privileges.h"
#include "roles.h"
#include "rotate.h"
#include "settings/settings.h"
#include "vitals.h"
#include "wire/ipc.h"

#define WORKERS_MAX 64
#define SPECIALISTS_MAX (ROLE_COUNT + 16) /* those that leave are among them */
#define CHILDREN_MAX (1 + SPECIALISTS_MAX + WORKERS_MAX)
#define IMAGES_KEPT 48 /* generations that a restarted ledger may need to name rules; it knows up to 64 */
#define GRAVES 64     /* with 64 live workers all that a ledger can hold */
#define WISHES 32
#define NOTES 64
#define ROTATIONS 16
#define START_MS 20000 /* for all children to be ready */

struct child {
	enum ipc_role role;
	unsigned index;
	uint32_t epoch; /* the parent's, when it was started */
	pid_t pid;      /* 0: not running */
	struct channel channel;
	bool used;     /* of workers: the place is taken */
	bool leaving;  /* behind a hand-over: it ends by itself and has no successor in its place */
	bool replaced; /* it ends for a successor, which is started when it has */
	bool ready;
	bool taking;         /* a policy was sent that it has not taken yet */
	uint32_t generation; /* of its books */
	int books, bell;
	int64_t started_ms, restart_ms; /* restart_ms 0: none planned */
	unsigned quick_deaths, restarts;
	int64_t started_wall_ns;
	bool seen; /* there are vitals */
	int vitals[VITALS_FDS];
	uint32_t beats; /* of a worker, at the last look; and looks that saw no more */
	unsigned silent;
};

struct generation {
	uint32_t number;
	int settings, policy;
	uint32_t rules;
};

/* What a person ordered and has not been answered: a reload, something that workers are asked, a hand-over. */
enum wish_state {
	WISH_NONE,
	WISH_NEXT /* reload */,
	WISH_COMPILES,
	WISH_TAKING,
	WISH_ASKED,
	WISH_RESTARTS
};
struct wish {
	enum wish_state state;
	struct ipc_order order;
	struct ipc_answer answer;
	uint64_t ticket; /* ours, of what workers are asked */
	uint64_t asked;  /* workers that have not answered */
};

/* What a worker that is gone left: kept until the ledger has written it, since that one may be dead
 * as well. */
struct grave {
	struct ipc_worker_gone gone;
	bool told; /* to the ledger */
	int books, bell; /* books -1: empty */
};

/* A file that the ledger may still write to, until it has taken the next one. */
struct former {
	int fd;
	char name[ROTATE_NAME]; /* where we moved it to; "": somebody else did */
};

/* Of a hand-over that has just come about: where the new program stands. */
enum rolling { ROLL_NONE, ROLL_SETTINGS /* are compiled */, ROLL_WORKERS /* new ones start */ };

struct parent {
	struct parent_options options;
	struct account account;
	const struct settings *settings;
	struct generation images[IMAGES_KEPT]; /* newest first */
	unsigned image_count;
	struct bound bound;
	int signals, tally, desk, quotas, audit;
	struct ipc_hits_store hits_store;
	int hits_files[2];
	struct tally *counts;
	struct child ledger, workers[WORKERS_MAX], specialists[SPECIALISTS_MAX];
	unsigned specialist_count;
	struct grave graves[GRAVES];
	/* a reload in progress */
	pid_t compile_pid;
	struct channel compile;
	struct buffer problems;
	struct buffer problems_json;
	bool reload_again;
	uint32_t revoked;
	bool preview; /* what is compiled is not to be taken */
	/* people's wishes */
	int control, metrics; /* listen; -1: none */
	struct endpoint metrics_at;
	struct wish wishes[WISHES];
	uint64_t tickets;
	uint32_t reloads_taken, reloads_refused;
	int64_t loaded_ns, started_wall_ns;
	struct ipc_audit_state audit_state;
	struct ipc_note notes[NOTES];	 /* the last ones, for a ledger that is restarted */
	uint64_t note_count;		 /* ever */
	struct former former[ROTATIONS]; /* oldest first; behind the last comes `audit` */
	unsigned former_count;
	bool renew_again;
	/* hand-overs */
	uint32_t epoch; /* how many there were */
	enum rolling rolling;
	int64_t rolling_until_ms; /* then it is told that it takes long */
	bool rolling_refused;	  /* the settings and the policy are those of before */
	bool ledger_handed;	  /* the ledger that comes next is told why */
	/* the end */
	bool draining, ledger_draining, forced, announced;
	unsigned stop_signals;
	int64_t force_ms, look_ms;
	int status;
};
extern struct parent parent;

/* ---- parent.c ---- */

int64_t parent_now(void);
/* The worker behind this one, NULL: the first; NULL behind the last. */
struct child *parent_next_worker(struct child *w);
/* All children, running or not: the ledger, the specialists, the workers; NULL behind the last. */
struct child *parent_child(unsigned i);
/* Not those that leave. NULL: there is none. */
struct child *parent_specialist(enum ipc_role role);
bool parent_send(struct child *c, enum ipc_type type, const void *body, size_t len, const int *fds, unsigned n);
void parent_close_books(struct child *w);
/* A new worker in this place. False: not at once, logged and planned. */
bool parent_add_worker(unsigned index);
bool parent_start_specialists(void); /* those that the settings want and that are not there yet */
/* How many workers these settings want. */
unsigned parent_workers_wanted(const struct settings *s);
/* Maps the settings, and puts both in front of those that are kept; the descriptors are ours then. False: logged. */
bool parent_keep_images(const int fds[2], uint32_t rules);
/* Tells all children of the newest images; old: the settings until now. */
void parent_spread_policy(const struct ipc_compiled *result, const struct settings *old);
/* A reload that came to nothing: told to the log, the ledger and systemd. */
void parent_tell_refused(const struct ipc_compiled *result);
void parent_compile(bool colour);
/* Puts the process into its profile, by the settings in force. */
bool parent_confine(void);
void parent_reap(void);
/* Problems, as they were rendered for people; to where the log goes. */
void parent_show_problems(const struct buffer *b);
/* Who ordered what, and what came of it. */
void parent_record(const struct ipc_order *o, bool success, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
struct wish *parent_wish(const struct ipc_order *o, enum wish_state state); /* NULL: answered */
void parent_answer(const struct ipc_order *o, const struct ipc_answer *a);
void parent_tell_problems(const struct ipc_order *to, const struct buffer *problems, size_t most);

/* Makes it a record; told again when the ledger is restarted, which knows which of them are records. */
void parent_note(struct ipc_note *n);

/* ---- takeover.c ---- */

/* Everything stands in `parent`: renews all but the parent, and begins with the settings. */
void takeover_begin(void);
/* What COMPILE said while parent.rolling is ROLL_SETTINGS; fds NULL: nothing that could be used. They are ours. */
void takeover_settings(const struct ipc_compiled *result, const int *fds);
/* In each round: goes on when the new processes are ready. */
void takeover_turn(void);
/* A worker is gone: an authenticator that only those asked that leave may be without work. */
void takeover_worker_gone(void);
/* One that was leaving has left: its place is free. */
void takeover_gone(struct child *c);
/* The server is told to end before it is complete. */
void takeover_stop(void);

#endif
