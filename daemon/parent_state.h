/*
 * daemon/parent_state.h - what the parent knows, for its own files only:
 *
 *   parent.c       the process: start, loop, signals, end
 *   children.c     who they are; starts, deaths, restarts, graves
 *   briefing.c     what each of them is told
 *   reload.c       COMPILE, policies taken and refused, images kept
 *   audit_files.c  the ledger's files: opened, renewed, passed on
 *   notes.c        what only the parent knows and what shall be a record
 *   wishes.c       what people ordered, and their answers
 *   status.c       the state of all processes, for control
 *   handover.c     giving all of it to a new program (its own header)
 *   takeover.c     the new program: other settings, new workers in the place of the old
 *
 * struct parent is handed over as it stands here: see handover_form in handover.c.
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
#define SLACK_MS 3000  /* behind a drain's deadline, before force */

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

struct copies_file;

/* ---- parent.c ---- */

int64_t parent_now(void); /* ms on the monotonic clock */
/* Puts the process into its profile, by the settings in force. */
bool parent_confine(void);
/* Whoever has died is waited for, and what follows from it is done. */
void parent_reap(void);
/* The server is told to end; each further time it has less time for it. */
void parent_drain(bool quickly);

/* ---- children.c ---- */

/* All children, running or not: the ledger, the specialists, the workers; NULL behind the last. */
struct child *children_at(unsigned i);
/* The worker behind this one, NULL: the first; NULL behind the last. */
struct child *children_next_worker(struct child *w);
/* Not those that leave. NULL: there is none. */
struct child *children_specialist(enum ipc_role role);
struct child *children_control(void); /* NULL: this server has none */
#define CHILD_NAME 32
/* As the log calls it. */
const char *children_name(const struct child *c, char buf[CHILD_NAME]);
/* False: it does not run, or cannot be told, and is ended if it has not left. */
bool children_send(struct child *c, enum ipc_type type, const void *body, size_t len, const int *fds, unsigned n);
/* Nothing happens where there is no control. */
void children_tell_control(enum ipc_type type, const void *body, size_t len);
/* False: there is no process. One that cannot be told all is ended, and planned again when it has died. */
bool children_start_ledger(void);
bool children_start_specialists(void); /* those that the settings want and that are not there yet */
/* How many workers these settings want. */
unsigned children_workers_wanted(const struct settings *s);
/* A new worker in this place. False: not at once, logged and planned. */
bool children_add_worker(unsigned index);
void children_close_books(struct child *w); /* its bell, too */
/* The ledger has written all that a dead worker left. */
void children_books_closed(const struct ipc_books *of);
/* It was waited for: its end is told, and what it left is kept or its place filled. */
void children_died(struct child *c, int status);
/* Starts those whose time has come. */
void children_restart_due(void);
/* At the end: when no worker is left, those that are not needed any more are told to end, and the ledger. */
void children_dismiss(void);

/* ---- briefing.c ---- */

/* All that one which has just been started is told. */
void briefing_ledger(void);
void briefing_specialist(struct child *c);
void briefing_worker(struct child *w);
/* The newest policy and its settings; to a worker with the memory to count in. */
void briefing_policy(struct child *c);
/* The worker counts no more under policies before this one. */
void briefing_hits_over(const struct child *w, uint32_t before);
/* To control: what it takes of the machine. */
void briefing_vitals(const struct child *c);
/* A file of the ledger for copies (daemon/copies.h); NULL: nothing is copied. */
void briefing_copy_file(const struct copies_file *f);

/* ---- reload.c ---- */

/* Before there is a loop: waits for COMPILE, and shows its problems. False: logged; true: the descriptors are ours. */
bool reload_wait(const char *path, struct ipc_compiled *result, int fds[2]);
/* By a signal or an order; at once, or when the one that runs is through. */
void reload_start(void);
/* Starts COMPILE, for whatever stands in `parent`. */
void reload_compile(bool colour);
/* Its channel can be read. */
void reload_hear(void);
/* True: it was COMPILE; the next one may have been started. */
bool reload_compile_ended(pid_t pid);
/* Maps the settings, and puts both in front of those that are kept; the descriptors are ours then. False: logged. */
bool reload_keep_images(const int fds[2], uint32_t rules);
/* No record will name the rules of this one any more. */
void reload_image_over(uint32_t number);
/* Tells all children of the newest images; old: the settings until now. */
void reload_spread(const struct ipc_compiled *result, const struct settings *old);
/* Of a worker or of control; what it was told may be an older one. */
void reload_policy_taken(struct child *c, const struct ipc_policy_taken *taken);
/* One has taken the policy or died over it: if it was the last, that is told. */
void reload_settle(void);
/* A reload that came to nothing: told to the log and the ledger. */
void reload_refused(const struct ipc_compiled *result);
/* Problems, as they were rendered for people; to where the log goes. */
void reload_show_problems(const struct buffer *b);

/* ---- audit_files.c ---- */

/* The file of the settings; -1 and errno: logged. */
int audit_files_open(void);
/* To a ledger that starts: those that it may go on in. */
void audit_files_show(void);
/* Another file, the one until now is moved out of the way. False and errno: logged, it goes on in that one. */
bool audit_files_renew(void);
/* The ledger wishes another one. */
void audit_files_rotate(void);
/* The ledger has done with the oldest of the former. */
void audit_files_taken(void);
/* The ledger cannot write, or can again. May end the server. */
void audit_files_state(const struct ipc_audit_state *state);

/* ---- notes.c ---- */

/* Makes it a record. */
void notes_add(struct ipc_note *n);
/* To a ledger that starts: the last ones again. */
void notes_repeat(void);
/* Who ordered what, and what came of it. */
void notes_record(const struct ipc_order *o, bool success, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- wishes.c ---- */

/* From control: done, or begun. */
void wishes_order(const struct ipc_order *o);
/* A place for what cannot be answered at once. NULL: there is none, which is answered. */
struct wish *wishes_add(const struct ipc_order *o, enum wish_state state);
/* The last that who ordered it hears; the ticket is put in here. */
void wishes_answer(const struct ipc_order *o, const struct ipc_answer *a);
/* Before the answer: `most` bytes of them at most, in pieces. */
void wishes_tell_problems(const struct ipc_order *to, const struct buffer *problems, size_t most);
/* COMPILE runs no more: begins the next reload or preview that waits. */
void wishes_next(void);
/* COMPILE starts: for those that wait for this kind of it. False: for nobody. */
bool wishes_begin(void);
/* It has told: to those it was started for, its problems; then one of: */
void wishes_compiled(void);
/* - answered: nothing is taken; error 0: there are problems */
void wishes_failed(const struct ipc_compiled *result, int error);
/* - the policy is on its way to all */
void wishes_taking(const struct ipc_compiled *result);
/* - workers are asked what it would change; the descriptors are borrowed */
void wishes_preview(const struct ipc_compiled *result, const int fds[2]);
/* All have the policy: answers those of wishes_taking. */
void wishes_taken(void);
/* What a worker was asked; result NULL: it died, and its sessions with it. */
void wishes_worker_answered(struct child *from, const struct ipc_killed *result);

/* ---- status.c ---- */

/* To who asks, by control. */
void status_answer(const struct ipc_order *o);
/* To control itself, if anything has changed. */
void status_tell(void);

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
