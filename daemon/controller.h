/*
 * daemon/controller.h - the control process: what people ask on the control socket and on the metrics page is
 * parsed here, without privilege. It looks at the workers' books for itself (for reading only), asks the
 * parent for everything else, and touches no worker.
 *
 *   controller.c  the process, and what the parent tells it
 *   callers.c     the clients of the control socket: who they are, their lines, their deadlines
 *   metrics.c     the metrics page and its text
 *   answers.c     the table of commands and what each says
 */
#ifndef DAEMON_CONTROLLER_H
#define DAEMON_CONTROLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "books/books.h"
#include "books/lags.h"
#include "books/tally.h"
#include "channel.h"
#include "net/loop.h"
#include "rules/rules.h"
#include "settings/settings.h"
#include "wire/control.h"
#include "wire/ipc.h"

/* Runs until told to drain or until the parent is gone. Returns the exit status. */
int controller_run(int channel);

/* ---- within the process ---- */

#define SHELVES_MAX 128
#define GENERATIONS_MAX 64

struct view { /* the books of a live worker */
	struct books *books; /* NULL: none */
	uint32_t stamp;	     /* another one with each books that stand here */
	double waiting;	     /* share of its cards, when the metrics were told last */
};

struct edition { /* a policy that was in force while some session started */
	uint32_t number; /* 0: empty */
	void *settings_at, *policy_at;
	size_t settings_len, policy_len;
	struct policy *policy;
};

struct controller {
	struct channel channel;
	struct view views[SHELVES_MAX];
	struct edition editions[GENERATIONS_MAX];
	struct edition *newest; /* NULL: none yet */
	struct tally *tally;
	struct lags *lags; /* of the copies of the ledger */
	uint64_t past[COUNT_MAX]; /* counters of workers that are gone ... */
	struct meters past_meters; /* ... and these */
	struct ipc_processes processes; /* as the parent told last */
	struct endpoint metrics_at;
	bool ready, leaving, over;
	struct timer leave_timer;
};
extern struct controller controller;

const struct settings *controller_settings(void); /* those in force */
struct edition *controller_edition(uint32_t number);
/* The rule's name under the policy of the card; "" if that is forgotten. */
const char *controller_rule(const struct card *c);
/* A counter over all workers, those that died included. */
uint64_t controller_count(enum books_counter which);

/*
 * How far the nth copy of the settings is, *seconds how old its oldest record is that was not copied; false: there is no
 * such copy. While nobody copies it is down, and all since then may be missing.
 */
bool controller_copy(uint32_t n, struct lag *lag, double *seconds);

/* ---- metrics.c ---- */

/* All metrics as text: OpenMetrics, or the older form of Prometheus. */
void metrics_put(struct buffer *out, bool openmetrics);
/* Serves them on this listening socket, which is ours from now on. */
void metrics_serve(int fd);

/* ---- callers.c ---- */

#define CALLER_OUT (64 * 1024)

struct caller;
/* Goes on with an answer that did not fit at once: writes lines with caller_line until caller_full. False: it is
 * complete. */
typedef bool caller_more(struct caller *c);

struct caller {
	struct watch watch;
	struct timer timer;
	struct turn turn;
	struct caller *next, **link;
	uid_t uid;
	bool operator;
	bool closing;	/* after what is written */
	bool again; /* it has had an answer before */
	char in[CONTROL_REQUEST];
	size_t in_len;
	char *out; /* CALLER_OUT bytes, lines for the client */
	size_t out_len, out_at;
	/* the request that is being answered */
	bool busy;
	struct control_request request;
	caller_more *more; /* NULL: nothing to go on with */
	uint64_t ticket;   /* that the parent answers; 0: none */
	unsigned view;	   /* of sessions: where it stands */
	uint32_t at;
	uint64_t count, destinations;
	uint32_t stamp; /* of the view looked at, so that a successor's books are not taken for it */
	struct prefix source, destination; /* of filters, where they are addresses */
	bool destination_address;
	/* what the parent said, or a long text: told piece by piece */
	struct buffer text;
	size_t text_at;
	const char *text_key;
	struct ipc_answer answer;
};

void callers_open(int fd); /* the listening socket; its descriptor is ours */
/* No more of them come in; those who are here are answered, and go. */
void callers_leave(void);
bool callers_left(void); /* nobody is here any more */
/* New viewers and operators: those who may no more are cut. */
void callers_settings(void);
/*
 * Answers: caller_line begins a line with room for CONTROL_LINE bytes, newline included; caller_put sends it, cut
 * or not (so keep to the room). caller_full: no room for another line; the caller_more is called again when the client
 * has taken some. Outside of a caller_more there is room for at least one line.
 */
#define CONTROL_LINE 4096
bool caller_full(const struct caller *c);
void caller_line(struct caller *c, struct text *t);
void caller_put(struct caller *c, struct text *t);
/* The answer is complete: the line that was begun is its last. caller_refuse: why (a sentence) and its code (a word). */
void caller_done(struct caller *c, struct text *t);
void caller_refuse(struct caller *c, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Tells the parent, who answers by the ticket; o->what and what belongs to it are given. */
void caller_order(struct caller *c, struct ipc_order *o, const char *words);
/* A wish that was refused, for the ledger. */
void caller_note(struct caller *c, const char *words, const char *why);
/* It was told something from outside of its own events. */
void caller_wake(struct caller *c);
struct caller *caller_of(uint64_t ticket); /* NULL: it has left */

/* ---- answers.c ---- */

/* Begins the answer to c->request. */
void answer_begin(struct caller *c);
/* The word of a role. */
const char *answer_role(uint32_t role);
/* What the parent said. */
void answer_text(const struct message *m);
void answer_told(const struct message *m);
void answer_processes(const struct message *m);

#endif
