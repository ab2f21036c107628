/*
 * settings/settings.h - the server's settings as one plain value.
 *
 * struct settings holds no pointer, so COMPILE can put it into a sealed memfd and
 * every process can map it. One table (settings/table.c) gives each setting its
 * name, type, default, bounds and help; the manual and `sallyctl check` read the same table.
 */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "settings/tree.h"

#define SETTINGS_NAME 65  /* identifiers with NUL */
#define SETTINGS_PATH 1024 /* absolute paths with NUL */
#define SETTINGS_STATE "/var/lib/sallyport" /* default of state.directory */
#define SETTINGS_LISTENERS 64
#define SETTINGS_COPIES 8
#define SETTINGS_SOCKET 108 /* path of a Unix socket with NUL */
#define SETTINGS_MAGIC 0x53504c59u
#define SETTINGS_VERSION 1u

struct settings_listener {
	char name[SETTINGS_NAME];
	struct endpoint at; /* port 0: the kernel chooses (tests); wildcard allowed */
	bool optional;	    /* cannot be bound: a warning, not an error */
	bool retired; /* not a setting: closed by a hand-over, kept for sessions that came in by it (by the parent) */
};

enum settings_sync { SYNC_NONE, SYNC_CHECKPOINT, SYNC_BATCH };
enum settings_on_full { ON_FULL_REFUSE, ON_FULL_HALT, ON_FULL_DROP };
enum settings_format { FORMAT_ECS, FORMAT_SHORT };
/* The first is what holds before settings are known. */
enum settings_sandbox { SETTINGS_SANDBOX_ON, SETTINGS_SANDBOX_LOG, SETTINGS_SANDBOX_OFF };
enum settings_mismatch { MISMATCH_REFUSE, MISMATCH_WAIT };
enum { PROTECTION_NONE = 1, PROTECTION_INTEGRITY = 2, PROTECTION_CONFIDENTIALITY = 4 };

enum settings_copy_kind { COPY_JOURNAL, COPY_UNIX, COPY_UDP, COPY_TCP };
enum settings_framing { FRAMING_COUNT, FRAMING_NEWLINE };

struct settings_copy { /* of the ledger */
	char name[SETTINGS_NAME];
	enum settings_copy_kind kind;
	struct endpoint at;	    /* UDP, TCP */
	char path[SETTINGS_SOCKET]; /* UNIX */
	uint32_t facility;	    /* as RFC 5424 numbers them */
	enum settings_framing framing; /* in a stream */
};

struct settings_ports { uint16_t first, last; }; /* 0,0: the kernel's choice */

#define SETTINGS_LIST 32

struct settings {
	uint32_t magic, version, size;

	uint32_t listener_count;
	struct settings_listener listeners[SETTINGS_LISTENERS];

	uint32_t workers; /* 0: one a processor; at most 64 */
	char user[SETTINGS_NAME]; /* "" : not given */
	enum settings_sandbox sandbox;

	struct {
		uint32_t count;
		struct addr addresses[SETTINGS_LIST];
	} egress;
	bool pace_near; /* bulk to near peers keeps the pace of the system's congestion control */

	struct { /* milliseconds; 0: no limit (idle and handover only) */
		uint32_t handshake, connect, bind, idle, udp_idle, drain, handover;
	} timeouts;

	struct { /* counts; 0: no limit (per-source only) */
		uint32_t sessions, sessions_per_source, handshakes, binds_per_source,
		    associations_per_source;
		uint8_t source_prefix4, source_prefix6; /* mask of a "source": 32 and 64 */
	} limits;

	struct {
		uint32_t count;
		struct endpoint servers[8]; /* none: /etc/resolv.conf; port 53 if not given */
		uint32_t timeout_ms, tries;
		uint32_t cache_entries;	 /* 0: no cache */
		uint32_t cache_max_ttl; /* seconds */
	} dns;

	struct {
		struct settings_ports ports;
		enum settings_mismatch on_mismatch;
		bool has_address, has_advertise, require_primary;
		struct addr address, advertise;
	} bind;
	struct {
		struct settings_ports ports;
		bool has_advertise;
		struct addr advertise;
	} udp;

	struct {
		char pam_service[64];		 /* "" : pam not configured */
		char file_path[SETTINGS_PATH];	 /* "" : none */
		char gssapi_keytab[SETTINGS_PATH]; /* "" : none */
		char gssapi_service[64];
		uint32_t gssapi_protection; /* PROTECTION_ bits */
		char chap_path[SETTINGS_PATH];
		uint32_t ident_trusted_count; /* 0: ident is never asked */
		struct prefix ident_trusted[SETTINGS_LIST];
		uint32_t ident_timeout_ms, helpers, timeout_ms;
		struct { uint32_t failures, within_ms, for_ms, source_failures; } lockout;
		uint32_t failure_delay_ms, queue, cache_ms; /* cache 0: none */
		bool groups_named; /* not a setting: the policy beside these names Unix groups (by COMPILE) */
	} auth;

	struct {
		char file[SETTINGS_PATH]; /* absolute, or "stdout"; default /var/log/sallyport/audit.ndjson */
		enum settings_format format;
		enum settings_on_full on_full;
		uint64_t rotate_size; /* bytes; 0: never */
		uint32_t rotate_every_s; /* 0: never */
		char rotate_hook[SETTINGS_PATH]; /* "": none */
		enum settings_sync sync;
		uint32_t progress_s; /* between two records of a session that lasts; 0: none */
		uint32_t copy_count;
		struct settings_copy copies[SETTINGS_COPIES];
	} audit;

	struct {
		char directory[SETTINGS_PATH];
	} state;

	struct {
		char socket[SETTINGS_PATH]; /* "" : none */
		uint32_t viewer_count, operator_count;
		char viewers[SETTINGS_LIST][SETTINGS_NAME + 5]; /* "ann" or "unix:adm" */
		char operators[SETTINGS_LIST][SETTINGS_NAME + 5];
	} control;
	struct {
		bool enabled;
		struct endpoint at;
	} metrics;
};

void settings_defaults(struct settings *s);
/*
 * Reads every section of the root that is a setting (POLICY.md's sections - policy, networks,
 * hosts, services, groups, times, rules, tests, upstreams - are left unused for the rules room).
 * Problems into p; s is fully written in any case. dir: folder of the settings file.
 */
void settings_read(struct node *root, const char *dir, struct settings *s, struct problems *p);
/*
 * Warnings for accounts, groups and files that good settings name and this machine lacks (POLICY.md:
 * `check` judges the files, not the machine). After settings_read, with the same root.
 */
void settings_machine(const struct node *root, const struct settings *s, struct problems *p);
/* The sections that are settings, NULL-terminated: what node_unknown at the root must know besides the policy's. */
const char *const *settings_words(void);
/* As it was written: "tcp:192.0.2.7:6514". */
#define SETTINGS_COPY_TEXT (SETTINGS_SOCKET + 8)
void settings_copy_text(const struct settings_copy *c, char out[SETTINGS_COPY_TEXT]);
/* What the value looks like (base/form.h). */
uint64_t settings_form(void);
/* A mapped image is what this build wrote. */
bool settings_valid(const void *image, size_t len);
/* The words of POLICY.md's "Quantities": "30 s", "1 GiB". False: not one. */
bool quantity_ms(const char *s, size_t len, uint64_t *ms);
bool quantity_bytes(const char *s, size_t len, uint64_t *bytes);
bool quantity_bits(const char *s, size_t len, uint64_t *bits_per_s);
bool quantity_rate(const char *s, size_t len, double *per_s);
/* The table, for manuals and --help: name, type, default, bounds, help; row i or NULL at the end. */
struct settings_row { const char *name, *type, *fallback, *bounds, *help; };
const struct settings_row *settings_row(unsigned i);

#endif
