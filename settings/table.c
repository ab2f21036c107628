/*
 * settings/table.c - the one table of settings: name, type, default, bounds, help.
 *
 * What a setting is called, what it may be and what it is when not given stands
 * here and nowhere else. Times without "none" cannot be switched off. Pure.
 */
#include <stddef.h>
#include <stdio.h>

#include "base/text.h"
#include "settings/table.h"

#define AT(field) offsetof(struct settings, field)
#define OF_LISTENER(field) offsetof(struct settings_listener, field)
#define OF_COPY(field) offsetof(struct settings_copy, field)

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define MILLION UINT64_C(1000000)

static const char *const mismatch_words[] = {"refuse", "wait", NULL};
static const char *const format_words[] = {"ecs", "short", NULL};
static const char *const full_words[] = {"refuse", "halt", "drop", NULL};
static const char *const sync_words[] = {"none", "checkpoint", "batch", NULL};
static const char *const sandbox_words[] = {"on", "log", "off", NULL};
static const char *const framing_words[] = {"count", "newline", NULL};
/* in the order of their numbers: RFC 5424, table 1 */
static const char *const facility_words[] = {
    "kern",   "user",     "mail",   "daemon", "auth",   "syslog", "lpr",   "news",   "uucp",
    "cron",   "authpriv", "ftp",    "ntp",    "audit",  "alert",  "clock", "local0", "local1",
    "local2", "local3",   "local4", "local5", "local6", "local7", NULL};
static const char *const protection_words[] = {"none", "integrity", "confidentiality", NULL};

/* name, type, at, also, fallback, min, max, flags, words, help */
const struct setting settings_table[] = {
    {"listeners.*.address", SETTING_ADDRESS, OF_LISTENER(at.addr), 0, NULL, 0, 0, SETTING_REQUIRED,
     NULL, "address to listen on; 0.0.0.0 or :: for all"},
    {"listeners.*.port", SETTING_PORT, OF_LISTENER(at.port), 0, "1080", 0, 65535, SETTING_SECTION,
     NULL, "TCP port to listen on; 0: the kernel chooses"},
    {"listeners.*.optional", SETTING_BOOL, OF_LISTENER(optional), 0, "false", 0, 0, 0, NULL,
     "only warn if the machine lacks the address"},

    {"workers", SETTING_COUNT, AT(workers), 0, "0", 0, 64, 0, NULL,
     "processes that carry sessions; 0: one a processor"},
    {"user", SETTING_ACCOUNT, AT(user), 0, NULL, 0, 0, 0, NULL,
     "account that everything but the parent runs as; needed when started as root"},
    {"sandbox", SETTING_CHOICE, AT(sandbox), 0, "on", 0, 0, 0, sandbox_words,
     "confine each process to the system calls and files that it needs; \"log\": only tell of others"},
    {"egress.addresses", SETTING_ADDRESSES, AT(egress.addresses), AT(egress.count), NULL, 0,
     SETTINGS_LIST, SETTING_OURS, NULL, "source addresses of outgoing connections, one a family"},
    {"relay.pace-near", SETTING_BOOL, AT(pace_near), 0, "false", 0, 0, 0, NULL,
     "where the system's congestion control paces (BBR): also bulk to peers nearer than 1 ms"},

    {"timeouts.handshake", SETTING_TIME_MS, AT(timeouts.handshake), 0, "30 s", 10, HOUR, 0, NULL,
     "from accept to the last byte of the request"},
    {"timeouts.connect", SETTING_TIME_MS, AT(timeouts.connect), 0, "2 min", 10, HOUR, 0, NULL,
     "for the connection to the target, over all its addresses"},
    {"timeouts.bind", SETTING_TIME_MS, AT(timeouts.bind), 0, "2 min", 10, DAY, 0, NULL,
     "for the peer of a BIND to call"},
    {"timeouts.idle", SETTING_TIME_MS, AT(timeouts.idle), 0, "1 h", 10, 30 * DAY, SETTING_NONE,
     NULL, "without a byte in either direction; \"none\": no limit"},
    {"timeouts.udp-idle", SETTING_TIME_MS, AT(timeouts.udp_idle), 0, "5 min", 10, DAY, 0, NULL,
     "of a UDP association without a datagram"},
    {"timeouts.drain", SETTING_TIME_MS, AT(timeouts.drain), 0, "30 s", 0, DAY, 0, NULL,
     "for sessions to end by themselves when the server stops"},
    {"timeouts.handover", SETTING_TIME_MS, AT(timeouts.handover), 0, "1 h", 10, 30 * DAY,
     SETTING_NONE, NULL,
     "for the sessions of the old workers to end behind a restart without interruption; \"none\": no limit"},

    {"limits.sessions", SETTING_COUNT, AT(limits.sessions), 0, "100000", 1, 10 * MILLION, 0, NULL,
     "sessions in all"},
    {"limits.sessions-per-source", SETTING_COUNT, AT(limits.sessions_per_source), 0, "10000", 0,
     10 * MILLION, 0, NULL, "sessions of one source; a tenth of all by default; 0: no limit"},
    {"limits.handshakes", SETTING_COUNT, AT(limits.handshakes), 0, "20000", 1, 10 * MILLION, 0,
     NULL, "sessions that have not made their request yet"},
    {"limits.binds-per-source", SETTING_COUNT, AT(limits.binds_per_source), 0, "16", 0, MILLION, 0,
     NULL, "open BIND doors of one source; 0: no limit"},
    {"limits.associations-per-source", SETTING_COUNT, AT(limits.associations_per_source), 0, "64",
     0, MILLION, 0, NULL, "UDP associations of one source; 0: no limit"},
    {"limits.source-prefix4", SETTING_BITS, AT(limits.source_prefix4), 0, "32", 1, 32, 0, NULL,
     "bits of an IPv4 address that make a source"},
    {"limits.source-prefix6", SETTING_BITS, AT(limits.source_prefix6), 0, "64", 1, 128, 0, NULL,
     "bits of an IPv6 address that make a source"},

    {"dns.servers", SETTING_SERVERS, AT(dns.servers), AT(dns.count), NULL, 0, 8, 0, NULL,
     "name servers to ask; as in /etc/resolv.conf if not given"},
    {"dns.timeout", SETTING_TIME_MS, AT(dns.timeout_ms), 0, "2 s", 10, MINUTE, 0, NULL,
     "for one server to answer, in the first round"},
    {"dns.tries", SETTING_COUNT, AT(dns.tries), 0, "3", 1, 10, 0, NULL, "rounds over all servers"},
    {"dns.cache-entries", SETTING_COUNT, AT(dns.cache_entries), 0, "10000", 0, 10 * MILLION, 0,
     NULL, "names remembered by each worker; 0: none"},
    {"dns.cache-max-ttl", SETTING_TIME_S, AT(dns.cache_max_ttl), 0, "1 h", 0, 7 * DAY, 0, NULL,
     "longest time that an answer is remembered"},

    {"bind.ports", SETTING_PORTS, AT(bind.ports), 0, NULL, 1, 65535, 0, NULL,
     "ports for BIND doors; the kernel's choice if not given"},
    {"bind.on-mismatch", SETTING_CHOICE, AT(bind.on_mismatch), 0, "refuse", 0, 0, 0, mismatch_words,
     "when another peer calls than was announced: end, or wait for the right one"},
    {"bind.require-primary", SETTING_BOOL, AT(bind.require_primary), 0, "false", 0, 0, 0, NULL,
     "BIND only beside a live CONNECT of the same client to the same peer"},
    {"bind.address", SETTING_ADDRESS, AT(bind.address), AT(bind.has_address), NULL, 0, 0,
     SETTING_OURS, NULL, "address that BIND doors are opened on"},
    {"bind.advertise", SETTING_ADDRESS, AT(bind.advertise), AT(bind.has_advertise), NULL, 0, 0,
     SETTING_OURS, NULL, "address told to clients instead, behind a NAT"},
    {"udp.ports", SETTING_PORTS, AT(udp.ports), 0, NULL, 1, 65535, 0, NULL,
     "ports for UDP associations; the kernel's choice if not given"},
    {"udp.advertise", SETTING_ADDRESS, AT(udp.advertise), AT(udp.has_advertise), NULL, 0, 0,
     SETTING_OURS, NULL, "address told to clients instead, behind a NAT"},

    {"auth.pam.service", SETTING_SERVICE, AT(auth.pam_service), 0, "sallyport", 0, 0,
     SETTING_SECTION, NULL, "file in /etc/pam.d"},
    {"auth.file.path", SETTING_PATH, AT(auth.file_path), 0, NULL, 0, 0, SETTING_REQUIRED, NULL,
     "file of users and password hashes"},
    {"auth.gssapi.keytab", SETTING_PATH, AT(auth.gssapi_keytab), 0, "/etc/krb5.keytab", 0, 0,
     SETTING_SECTION, NULL, "keys of the service"},
    {"auth.gssapi.service", SETTING_SERVICE, AT(auth.gssapi_service), 0, "rcmd", 0, 0,
     SETTING_SECTION, NULL, "first part of the service's principal"},
    {"auth.gssapi.protection", SETTING_CHOICES, AT(auth.gssapi_protection), 0,
     "integrity confidentiality", 0, 0, SETTING_SECTION, protection_words,
     "protection levels that a client may choose"},
    {"auth.chap.path", SETTING_PATH, AT(auth.chap_path), 0, NULL, 0, 0, SETTING_REQUIRED, NULL,
     "file of users and CHAP secrets"},
    {"auth.ident.trusted", SETTING_PREFIXES, AT(auth.ident_trusted), AT(auth.ident_trusted_count),
     NULL, 0, SETTINGS_LIST, SETTING_REQUIRED, NULL, "clients whose ident answers are believed"},
    {"auth.ident.timeout", SETTING_TIME_MS, AT(auth.ident_timeout_ms), 0, "5 s", 10, 5 * MINUTE, 0,
     NULL, "for the client's ident server to answer"},
    {"auth.helpers", SETTING_COUNT, AT(auth.helpers), 0, "8", 1, 256, 0, NULL,
     "most processes that check passwords, tickets or groups, for each way of checking"},
    {"auth.timeout", SETTING_TIME_MS, AT(auth.timeout_ms), 0, "10 s", 10, 10 * MINUTE, 0, NULL,
     "for one check"},
    {"auth.queue", SETTING_COUNT, AT(auth.queue), 0, "1000", 1, 100000, 0, NULL,
     "checks that wait for a process; more are refused at once"},
    {"auth.failure-delay", SETTING_TIME_MS, AT(auth.failure_delay_ms), 0, "500 ms", 0, MINUTE, 0,
     NULL, "shortest time that a failed check takes, whatever made it fail"},
    {"auth.cache", SETTING_TIME_MS, AT(auth.cache_ms), 0, "none", SECOND, DAY, SETTING_NONE, NULL,
     "time that a good password is remembered and not checked again; \"none\": it is not"},
    {"auth.lockout.failures", SETTING_COUNT, AT(auth.lockout.failures), 0, "10", 0, 1000, 0, NULL,
     "failed checks that lock a user out; 0: never"},
    {"auth.lockout.source-failures", SETTING_COUNT, AT(auth.lockout.source_failures), 0, "50", 0,
     100000, 0, NULL, "failed checks that lock a source out, of whatever users; 0: never"},
    {"auth.lockout.within", SETTING_TIME_MS, AT(auth.lockout.within_ms), 0, "10 min", SECOND, DAY,
     0, NULL, "time in which they count"},
    {"auth.lockout.for", SETTING_TIME_MS, AT(auth.lockout.for_ms), 0, "15 min", SECOND, 30 * DAY, 0,
     NULL, "time that a lock-out lasts"},

    {"audit.file", SETTING_SINK, AT(audit.file), 0, "/var/log/sallyport/audit.ndjson", 0, 0, 0,
     NULL, "where records go; \"stdout\": the standard output"},
    {"audit.format", SETTING_CHOICE, AT(audit.format), 0, "ecs", 0, 0, 0, format_words,
     "full records, or a short line a session"},
    {"audit.on-full", SETTING_CHOICE, AT(audit.on_full), 0, "refuse", 0, 0, 0, full_words,
     "when a record cannot be written: refuse new sessions, stop the server, or drop records"},
    {"audit.rotate-size", SETTING_SIZE, AT(audit.rotate_size), 0, NULL, 4096, UINT64_C(1) << 40, 0,
     NULL, "size at which a new file is begun; never if not given"},
    {"audit.rotate-every", SETTING_TIME_S, AT(audit.rotate_every_s), 0, NULL, SECOND, 366 * DAY, 0,
     NULL, "age at which a new file is begun; never if not given"},
    {"audit.rotate-hook", SETTING_PATH, AT(audit.rotate_hook), 0, NULL, 0, 0, 0, NULL,
     "program that is run with the name of each file that was rotated"},
    {"audit.sync", SETTING_CHOICE, AT(audit.sync), 0, "checkpoint", 0, 0, 0, sync_words,
     "when records must have reached the disk: never waited for, with a checkpoint (at most one a "
     "second), or before the next are written"},
    {"audit.progress", SETTING_TIME_S, AT(audit.progress_s), 0, "15 min", SECOND, 30 * DAY,
     SETTING_NONE, NULL,
     "between two records of a session that lasts; \"none\": none but start and end"},
    {"audit.copies.*.to", SETTING_COPY, OF_COPY(kind), 0, NULL, 0, 0, SETTING_REQUIRED, NULL,
     "where this copy of the records goes: \"tcp:ADDRESS:PORT\", \"udp:ADDRESS:PORT\", "
     "\"unix:PATH\" (syslog) or \"journald\""},
    {"audit.copies.*.facility", SETTING_CHOICE, OF_COPY(facility), 0, "local0", 0, 0,
     SETTING_SECTION, facility_words, "facility of syslog that the records bear"},
    {"audit.copies.*.framing", SETTING_CHOICE, OF_COPY(framing), 0, "count", 0, 0, SETTING_SECTION,
     framing_words, "how one message ends in a stream: by its length before it, or by a newline"},
    {"state.directory", SETTING_PATH, AT(state.directory), 0, SETTINGS_STATE, 0, 0, 0, NULL,
     "folder for what outlives a restart, as the counters of rules; the default one only if it "
     "exists"},
    {"control.socket", SETTING_PATH, AT(control.socket), 0, "/run/sallyport/control", 0, 0,
     SETTING_SECTION, NULL, "where sallyctl reaches the server"},
    {"control.viewers", SETTING_ACCOUNTS, AT(control.viewers), AT(control.viewer_count), NULL, 0,
     SETTINGS_LIST, 0, NULL, "users and unix:GROUPs that may look"},
    {"control.operators", SETTING_ACCOUNTS, AT(control.operators), AT(control.operator_count), NULL,
     0, SETTINGS_LIST, 0, NULL, "users and unix:GROUPs that may also act"},
    {"metrics.address", SETTING_ADDRESS, AT(metrics.at.addr), 0, "127.0.0.1", 0, 0, SETTING_SECTION,
     NULL, "address of the metrics page"},
    {"metrics.port", SETTING_PORT, AT(metrics.at.port), 0, "9108", 0, 65535, SETTING_SECTION, NULL,
     "TCP port of the metrics page; 0: the kernel chooses"},
};

#define ROWS (sizeof(settings_table) / sizeof(settings_table[0]))
const unsigned settings_table_count = ROWS;

const char *
setting_type_word(enum setting_type type)
{
	static const char *const words[] = {
	    [SETTING_COUNT] = "a whole number",
	    [SETTING_BITS] = "a whole number",
	    [SETTING_TIME_MS] = "a time in quotes, as \"30 s\"",
	    [SETTING_TIME_S] = "a time in quotes, as \"30 s\"",
	    [SETTING_SIZE] = "a size in quotes, as \"64 MiB\"",
	    [SETTING_PORT] = "a port number",
	    [SETTING_PORTS] = "a range of ports in quotes, as \"30000-39999\"",
	    [SETTING_BOOL] = "true or false",
	    [SETTING_ACCOUNT] = "the name of an account in quotes",
	    [SETTING_SERVICE] = "the name of a service in quotes",
	    [SETTING_PATH] = "a path in quotes",
	    [SETTING_SINK] = "a path in quotes, or \"stdout\"",
	    [SETTING_COPY] = "a place in quotes, as \"tcp:192.0.2.7:6514\"",
	    [SETTING_ADDRESS] = "an address in quotes",
	    [SETTING_ADDRESSES] = "addresses in quotes within [ ]",
	    [SETTING_SERVERS] = "addresses in quotes within [ ]",
	    [SETTING_PREFIXES] = "prefixes in quotes within [ ]",
	    [SETTING_ACCOUNTS] = "users and unix:GROUPs in quotes within [ ]",
	    [SETTING_CHOICE] = "a word in quotes",
	    [SETTING_CHOICES] = "words in quotes within [ ]",
	};

	return words[type];
}

static const char *
put_scaled(uint64_t value, const char *const *units, const uint64_t *scales, char out[32])
{
	unsigned i = 0;

	while (units[i + 1] != NULL && value > 0 && value % scales[i + 1] == 0)
		i++;
	snprintf(out, 32, "\"%llu %s\"", (unsigned long long)(value / scales[i]), units[i]);
	return out;
}

const char *
setting_value_text(const struct setting *t, uint64_t value, char out[32])
{
	static const char *const times[] = {"ms", "s", "min", "h", "d", NULL};
	static const uint64_t time_scales[] = {1, SECOND, MINUTE, HOUR, DAY};
	static const char *const sizes[] = {"B", "KiB", "MiB", "GiB", NULL};
	static const uint64_t size_scales[] = {1, 1 << 10, 1 << 20, 1 << 30};

	if (t->type == SETTING_TIME_MS || t->type == SETTING_TIME_S)
		return put_scaled(value, times, time_scales, out);
	if (t->type == SETTING_SIZE)
		return put_scaled(value, sizes, size_scales, out);
	snprintf(out, 32, "%llu", (unsigned long long)value);
	return out;
}

/* What may stand there, for the manual: "1 to 64", "refuse, wait", "". */
static void
put_bounds(struct text *text, const struct setting *t)
{
	char number[32];

	if (t->words != NULL) {
		for (const char *const *w = t->words; *w != NULL; w++) {
			text_put(text, w == t->words ? "" : ", ");
			text_put(text, *w);
		}
		return;
	}
	if (t->max == 0)
		return;
	if (t->also != 0) {
		text_putf(text, "up to %u", (unsigned)t->max);
		return;
	}
	text_put(text, setting_value_text(t, t->min, number));
	text_put(text, " to ");
	text_put(text, setting_value_text(t, t->max, number));
	if (t->flags & SETTING_NONE)
		text_put(text, ", \"none\"");
}

const struct settings_row *
settings_row(unsigned i)
{
	static struct settings_row rows[ROWS];
	static char bounds[ROWS][256];
	struct text text;

	if (i >= ROWS)
		return NULL;
	if (rows[i].name == NULL) {
		const struct setting *t = &settings_table[i];

		text_init(&text, bounds[i], sizeof(bounds[i]));
		put_bounds(&text, t);
		rows[i].name = t->name;
		rows[i].type = setting_type_word(t->type);
		rows[i].fallback = t->fallback != NULL ? t->fallback : "";
		rows[i].bounds = bounds[i];
		rows[i].help = t->help;
	}
	return &rows[i];
}
