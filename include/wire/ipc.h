/*
 * wire/ipc.h - messages between our processes: one table of type, direction, sizes and
 * descriptors allowed. Both ends check every message against it (ARCHITECTURE.md).
 *
 * One SOCK_SEQPACKET packet is one message: struct ipc_head, then the body as it stands
 * (same machine, same build: host order, plain structs). The bodies that have text or arrays
 * at the end carry the true length in the packet.
 */
#ifndef WIRE_IPC_H
#define WIRE_IPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define IPC_FORM 1 /* raised when a body means something else in the same bytes */

enum ipc_role {
	ROLE_PARENT, ROLE_WORKER, ROLE_LEDGER, ROLE_COMPILE, ROLE_AUTHENTICATOR, ROLE_CONTROL,
	ROLE_FORWARDER, /* sends copies of the ledger */
	ROLE_NURSERY, ROLE_CHECKER, /* the authenticator's own: who forks and opens files for it, who may block */
	ROLE_COUNT
};

enum ipc_type {
	IPC_NONE,
	/* parent -> worker, ledger, control */
	IPC_BOOKS,	  /* ipc_books; 2 fds: books memfd, bell eventfd. worker: its own; ledger: one per worker.
			   * control: 1 fd, the memfd for reading only */
	IPC_TALLY,	  /* empty; tally memfd (shared limits); to the ledger also the memfd of its
			   * desk, see ledger.h. worker: 1 fd, ledger: 2; control: 1, for reading only */
	IPC_QUOTAS,	  /* empty; 1 fd: the memfd of books/quota.h. worker, ledger */
	IPC_LISTENERS,	  /* ipc_listeners; count fds. worker */
	IPC_POLICY,	  /* ipc_policy; 2 fds: settings memfd, policy memfd; to a worker a third: the memfd in which
			   * it counts under this policy (books/hits.h). worker, ledger, authenticator, control, forwarder */
	IPC_START,	  /* empty: begin accepting. worker */
	IPC_DRAIN,	  /* ipc_drain: stop accepting, end all at the deadline, then exit 0. worker, ledger */
	IPC_LEAVE,	  /* ipc_leave: take no more clients, go on with those that are there, exit 0 behind the last. worker,
			   * control */
	IPC_WORKER_GONE,  /* ipc_worker_gone. ledger: end its open sessions with worker-crash, unless it ended well; control:
			   * forget them */
	IPC_AUDIT_FILE,	  /* ipc_audit_file; 1 fd, opened O_APPEND by the parent. ledger */
	/* parent -> control */
	IPC_HITS_STORE,	  /* ipc_hits_store; 2 fds: the two files of books/hits_book.h, or memfds. Before any IPC_HITS */
	IPC_HITS,	  /* ipc_hits; 2 fds: a worker's memfd of books/hits.h, and its policy memfd */
	IPC_HITS_OVER,	  /* ipc_hits_id: nothing is counted there any more */
	IPC_VITALS,	  /* ipc_vitals; 3 fds, for looking only: stat, limits and fd of a process in /proc, see daemon/vitals.h */
	IPC_COPY_PAGE,	  /* empty; 1 fd: the memfd of books/lags.h, for reading only */
	/* parent -> forwarder */
	IPC_COPY_STORE,	  /* ipc_copy_store; 3 fds: the two files of books/bookmarks.h, or memfds; the memfd of books/lags.h.
			   * Before any IPC_COPY_FILE */
	IPC_COPY_FILE,	  /* ipc_copy_file; 1 or 2 fds: a file of the ledger, for reading only; an inotify that tells of
			   * writes to it (without one it is looked at now and then). Oldest first */
	/* forwarder -> parent */
	IPC_COPY_DONE,	  /* ipc_copy_done: files up to this one are not needed any more */
	/* control -> parent */
	IPC_HITS_ADDED,	  /* ipc_hits_id: it stands in the store, the memory may go */
	/* parent -> worker, authenticator */
	IPC_AUTH_CHANNEL, /* ipc_books: which worker; 1 fd: the channel between that worker and the authenticator. Told
			   * again when one of the two was restarted; the old channel is over then */
	/* worker -> authenticator */
	IPC_AUTH_ASK,	  /* ipc_auth_ask and its bytes */
	IPC_AUTH_FORGET,  /* ipc_auth_forget: the client has left, no answer is wanted */
	/* authenticator -> worker */
	IPC_AUTH_ANSWER,  /* ipc_auth_answer and its bytes */
	/* authenticator -> nursery */
	IPC_NURSERY_POLICY, /* ipc_policy; 2 fds: settings memfd, policy memfd */
	IPC_CHECKER_WANTED, /* ipc_checker: fork one */
	IPC_CHECKER_END,    /* ipc_checker: kill it */
	/* nursery -> authenticator */
	IPC_CHECKER,	  /* ipc_checker; 1 fd: the channel to it */
	IPC_CHECKER_GONE, /* ipc_checker: it is dead, or could not be forked */
	IPC_SECRETS,	  /* ipc_secrets; 1 fd: what stands in the file, sealed; 0 fds: it cannot be used (logged) */
	/* authenticator -> checker and back: one at a time */
	IPC_CHECK,   /* ipc_auth_ask and its bytes; ticket: the authenticator's own; for a hash: token */
	IPC_CHECKED, /* ipc_auth_answer and its bytes */
	/* people's wishes: control -> parent, and what came of them */
	IPC_DOOR,	  /* ipc_door; 1 fd that listens: the control socket, or the metrics page. parent -> control */
	IPC_ORDER,	  /* ipc_order. control -> parent */
	IPC_ANSWER_TEXT,  /* ipc_answer_text and text: part of the problems of a reload. parent -> control */
	IPC_ANSWER,	  /* ipc_answer: the order is done, or why not. parent -> control */
	IPC_PROCESSES,	  /* ipc_processes: the answer to ORDER_STATUS, and with ticket 0 whenever it changes. parent -> control */
	IPC_KILL,	  /* ipc_kill: end these sessions. parent -> worker */
	IPC_KILLED,	  /* ipc_killed. worker -> parent */
	IPC_PREVIEW,	  /* ipc_preview; 2 fds as IPC_POLICY: how many sessions would this end? parent -> worker */
	IPC_PREVIEWED,	  /* ipc_killed. worker -> parent */
	IPC_NOTE,	  /* ipc_note: to be a record. Told again to a ledger that was restarted. parent -> ledger */
	/* worker, ledger -> parent */
	IPC_READY,	  /* empty */
	IPC_POLICY_TAKEN, /* ipc_policy_taken. worker, ledger, control, forwarder */
	IPC_AUDIT_STATE,  /* ipc_audit_state. ledger */
	IPC_AUDIT_ROTATE, /* empty: the file is full or old, a new one is wanted. ledger */
	IPC_AUDIT_TAKEN,  /* empty: the oldest file that was told and not answered so is done, the next is in use. ledger */
	IPC_BOOKS_CLOSED, /* ipc_books: all is written of this dead worker. ledger */
	IPC_POLICY_OVER,  /* ipc_policy: no open session has it in its records, a successor need not know it. ledger */
	/* compile -> parent */
	IPC_COMPILED,	  /* ipc_compiled; 0 fds or 2 (settings, policy) */
	IPC_PROBLEMS,	  /* text, part of the rendered list of problems */
	IPC_PROBLEMS_JSON, /* the same list for programs */
	IPC_TYPE_COUNT
};

struct ipc_head { uint16_t type; uint16_t reserved; uint32_t length; /* of the body */ };

struct ipc_books { uint32_t worker; uint32_t generation; /* counts the worker's restarts */ };
struct ipc_listener { uint32_t listener; /* index in settings.listeners */ struct endpoint at; /* as really bound */ };
struct ipc_listeners { uint32_t count; uint32_t reserved; struct ipc_listener list[64]; };
struct ipc_policy { uint32_t generation; uint32_t reserved; };
struct ipc_hits_store { uint64_t run; /* names this life of the server */ uint32_t kept; /* 1: files, 0: memory only */ uint32_t reserved; };
struct ipc_hits { uint64_t id; /* within the run, never twice */ uint32_t worker; uint32_t generation; /* of the policy */ };
struct ipc_hits_id { uint64_t id; };
struct ipc_copy_store { uint32_t kept; /* 1: files, 0: memory only */ uint32_t reserved; };
struct ipc_copy_file {
	uint64_t number; /* from 1, in the order of the ledger; never twice in the life of the server */
	uint64_t from;	 /* what stands before is of a former life of the server */
	uint32_t former; /* 1: all of it is, and nothing is written to it any more */
	uint32_t reserved;
};
struct ipc_copy_done { uint64_t number; };
struct ipc_vitals { uint32_t role, index; };
struct ipc_policy_taken { uint32_t generation; uint32_t revoked; };
struct ipc_drain { uint32_t within_ms; };
struct ipc_leave { uint32_t within_ms; /* then the rest ends; 0: no limit */ };
struct ipc_worker_gone { uint32_t worker; uint32_t generation; int32_t status; /* wait status */ };
/* A ledger that is restarted gets all files that its predecessor may have written to, oldest first. */
struct ipc_audit_file { uint32_t more; /* follow at once */ uint32_t handover; /* 1: it was ended for a hand-over */ };
struct ipc_audit_state { uint32_t state; /* 0 ok, 1 refusing, 2 dropping */ uint32_t error; /* errno */ uint64_t seq; };

/* What a worker asks. Behind it stand user, secret and token, each of the length told; no NUL. */
enum ipc_auth_kind {
	ASK_PASSWORD = 1, /* user, secret: the password (RFC 1929) */
	ASK_CHAP,	  /* user; secret: the client's response; token: our challenge */
	ASK_GSSAPI,	  /* token: the client's; context: 0 at first, then that of the answer MORE */
	ASK_GROUPS,	  /* user: of an asserted identity; only its groups are wanted */
};
struct ipc_auth_ask {
	uint64_t ticket;  /* the worker's own; comes back in the answer */
	struct endpoint client;
	uint32_t kind;	  /* enum ipc_auth_kind */
	uint32_t methods; /* AUTH_ bits (rules.h) that would do: for a password pam and file, one or both */
	uint32_t context;
	uint32_t user_len, secret_len, token_len;
};
enum ipc_auth_result { ANSWER_OK = 1, ANSWER_REFUSED, ANSWER_UNAVAILABLE, ANSWER_MORE /* GSSAPI: send token, ask again */ };
/* Why, for records and log; never for the client. */
enum ipc_auth_reason {
	REASONED_NOTHING, REASONED_UNKNOWN_USER, REASONED_WRONG_SECRET, REASONED_ACCOUNT, /* expired, locked, not now, not from there */
	REASONED_LOCKED_OUT, REASONED_BAD_NAME, REASONED_NOT_CONFIGURED, REASONED_BUSY, REASONED_TIMEOUT, REASONED_BROKEN,
	REASONED_TICKET, /* GSSAPI does not take it */
	REASONED_COUNT
};
/* Behind it stand user, groups (NUL-terminated names), token and exported. */
struct ipc_auth_answer {
	uint64_t ticket;
	uint32_t result;       /* enum ipc_auth_result */
	uint32_t proven_by;    /* one AUTH_ bit; ASK_GROUPS: 0 */
	uint32_t locked;       /* this failure locked the user or source out: record it */
	uint32_t groups_failed; /* the groups could not be looked up: they are undetermined */
	uint32_t context;
	uint32_t user_len;     /* as the policy shall see it */
	uint32_t group_count, groups_len; /* Unix groups that the policy in force names */
	uint32_t token_len;    /* GSSAPI: for the client */
	uint32_t exported_len; /* GSSAPI, OK: struct gss_context (wire/gss.h) */
	uint32_t reason;       /* enum ipc_auth_reason */
};
/* An answer that was on its way already may come all the same. */
struct ipc_auth_forget { uint64_t ticket; };

struct ipc_checker { uint32_t slot, kind; int32_t pid, status; /* status: of IPC_CHECKER_GONE */ };
enum ipc_secrets_file { SECRETS_USERS, SECRETS_CHAP, SECRETS_KEYTAB /* stays with the nursery and its checkers */, SECRETS_COUNT };
struct ipc_secrets {
	uint32_t which;	     /* enum ipc_secrets_file */
	uint32_t generation; /* of the policy whose settings name it */
	uint32_t usable;     /* keytab: it was taken, though it is not shown */
	uint32_t reserved;
};

struct ipc_compiled { uint32_t ok; uint32_t errors, warnings, rules; uint8_t hash[32]; };

enum ipc_door_kind { DOOR_CONTROL = 1, DOOR_METRICS };
struct ipc_door { uint32_t kind; struct endpoint at; /* metrics: as really bound */ };

/* Texts within these are NUL-terminated. */
enum ipc_order_what {
	ORDER_STATUS = 1, ORDER_RELOAD, ORDER_PREVIEW, ORDER_DRAIN, ORDER_REOPEN, ORDER_KILL, ORDER_RESTART,
	ORDER_NOTE /* nothing is to be done: `what` was refused with `why`, record it; no answer */
};
enum ipc_kill_by { KILL_ID = 1, KILL_USER, KILL_RULE };
#define IPC_KILL_RULES 64
struct ipc_kill {
	uint64_t ticket;
	uint32_t by;	     /* enum ipc_kill_by */
	uint32_t rule_count; /* a rule has a number in each policy that a session may have started under */
	struct { uint32_t generation; int32_t rule; } rules[IPC_KILL_RULES];
	char id[16], user[256];
};
struct ipc_order {
	uint64_t ticket; /* control's own; comes back */
	uint32_t what;	 /* enum ipc_order_what */
	uint32_t uid;	 /* whose wish it is */
	char who[64];	 /* the name of that account */
	char words[256]; /* the command as it was given, for the record */
	char why[128];	 /* ORDER_NOTE: why it was refused */
	uint32_t json;	 /* ORDER_RELOAD, ORDER_PREVIEW: problems are wanted as JSON */
	uint32_t reserved;
	struct ipc_kill kill; /* ORDER_KILL; its ticket is the parent's business */
};
struct ipc_answer_text { uint64_t ticket; };
enum ipc_answer_result { ANSWER_DONE = 1, ANSWER_FAILED, ANSWER_BUSY, ANSWER_DRAINING };
struct ipc_answer {
	uint64_t ticket;
	uint32_t result;    /* enum ipc_answer_result */
	uint32_t error;	    /* errno of ANSWER_FAILED, 0: the files have errors */
	uint32_t sessions;  /* that ended, or would end */
	uint32_t errors, warnings, rules;
	uint32_t within_ms; /* ORDER_DRAIN, ORDER_RESTART */
	uint8_t hash[32];
	uint32_t workers;   /* ORDER_RESTART: new ones */
	char why[160];	    /* ORDER_RESTART, ANSWER_FAILED: ended by NUL */
};
enum ipc_process_state { PROCESS_DOWN, PROCESS_STARTING, PROCESS_READY, PROCESS_LEAVING /* behind a hand-over */ };
enum {
	IPC_SANDBOX_SECCOMP = 1,
	IPC_SANDBOX_SECCOMP_LOG = 2, /* nothing is forbidden, what would be is logged by the kernel */
	IPC_SANDBOX_LANDLOCK = 4,
	IPC_SANDBOX_NO_NEW_PRIVS = 8,
	IPC_SANDBOX_NO_DUMP = 16,
};
struct ipc_process {
	uint32_t role, index; /* enum ipc_role */
	int32_t pid;
	uint32_t state;	  /* enum ipc_process_state */
	uint32_t restarts, sandbox; /* IPC_SANDBOX_ bits; the ABI of Landlock in bits 8-15 */
	int64_t started_ns; /* wall */
};
#define IPC_PROCESSES_MAX 80
struct ipc_processes {
	uint64_t ticket;
	int64_t loaded_ns; /* wall, the policy in force */
	uint32_t generation;
	uint32_t reloads_taken, reloads_refused; /* since the start */
	uint32_t audit_state, audit_error;	 /* as ipc_audit_state */
	uint32_t draining;
	uint32_t handovers; /* since the start */
	uint32_t count;
	struct ipc_process list[IPC_PROCESSES_MAX]; /* the parent first */
};
struct ipc_killed { uint64_t ticket; uint32_t sessions; uint32_t reserved; };
struct ipc_preview { uint64_t ticket; };
enum ipc_note_kind {
	NOTE_ADMIN,	/* admin-action: what was ordered, by whom, and whether it was done */
	NOTE_REFUSED,	/* policy-refused: a reload that failed; the old policy stays. uid, success, who: nothing */
};
struct ipc_note {
	uint64_t number; /* from 1; a record is made of each once */
	int64_t at_ns;	 /* wall */
	uint32_t kind, uid, success, reserved;
	char who[64], text[512]; /* ended by NUL */
};

/* The true length of ipc_listeners with so many in its list; longer or shorter ones are illegal. */
size_t ipc_listeners_length(uint32_t count);
size_t ipc_processes_length(uint32_t count); /* the same */

#define IPC_MAX_BODY (136 * 1024) /* two GSSAPI tokens of 64 KiB, and more */
#define IPC_MAX_TEXT 16384
#define IPC_MAX_USER 255
#define IPC_MAX_SECRET 255
#define IPC_MAX_GROUPS 4096 /* bytes */
#define IPC_MAX_TOKEN 65535
#define IPC_MAX_FDS 64

struct ipc_rule {
	const char *word;
	uint16_t from, to; /* sets: 1 << enum ipc_role */
	uint32_t min, max; /* body bytes */
	uint8_t min_fds, max_fds;
};
extern const struct ipc_rule ipc_table[IPC_TYPE_COUNT];

/* What messages look like (base/form.h). */
uint64_t ipc_form(void);
/* May `from` tell `to` this? The sender asks before it sends, the receiver (ipc_check) again. */
bool ipc_legal(enum ipc_type type, const void *body, size_t len, unsigned fds, enum ipc_role from, enum ipc_role to);
/* True if a packet of `len` bytes with `fds` descriptors from role to role is legal; *type and *body point
 * into the packet. Bodies are only aligned to 8 if the packet is. */
bool ipc_check(const void *packet, size_t len, unsigned fds, enum ipc_role from, enum ipc_role to,
	       enum ipc_type *type, const void **body, size_t *body_len);

#endif
