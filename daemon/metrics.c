/*
 * daemon/metrics.c - the metrics page of the control process, see daemon/controller.h: what the
 * workers have counted in their books, as OpenMetrics or in the older text form of Prometheus.
 * Labels come from closed sets only.
 *
 * The page is served by libmicrohttpd, driven by our loop: a client that hangs is cut, many are
 * refused, and no worker notices either.
 */
#include "config.h"

#include "controller.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "counting.h"
#include "vitals.h"
#include "walk/endings.h"

#define PAGE_CLIENTS 32
#define PAGE_TIMEOUT_S 10       /* without a byte */
#define PAGE_REQUEST_MS 20000   /* for a request and its answer, however many bytes drip */
#define PAGE_LOOK_MS 1000       /* while there are clients */
#define PAGE_MEMORY (16 * 1024) /* of one client's request */
#define LABELS 256

enum kind { GAUGE, COUNTER, HISTOGRAM };

struct page {
	struct buffer *out;
	bool openmetrics;
	const char *name; /* of the metric that is being told */
	enum kind kind;
	struct meters meters; /* of all workers */
	/* what the cards say */
	uint64_t sessions[METER_COMMANDS];
	uint64_t cards, waiting; /* of them, ended and not yet written */
};

/* ---- lines ---------------------------------------------------------------------------------- */

static void
begin(struct page *p, const char *name, enum kind kind, const char *help)
{
	static const char *const words[] = {"gauge", "counter", "histogram"};
	/* the family of a counter has no suffix in OpenMetrics, and has it in the older form */
	const char *suffix = kind == COUNTER && !p->openmetrics ? "_total" : "";

	p->name = name;
	p->kind = kind;
	buffer_putf(p->out, "# HELP sallyport_%s%s %s\n# TYPE sallyport_%s%s %s\n", name, suffix,
		    help, name, suffix, words[kind]);
}

/* labels: as they stand within the braces, or "". */
static void
put(struct page *p, const char *labels, double value)
{
	buffer_putf(p->out, "sallyport_%s%s%s%s%s %.17g\n", p->name,
		    p->kind == COUNTER ? "_total" : "", labels[0] != '\0' ? "{" : "", labels,
		    labels[0] != '\0' ? "}" : "", value);
}

static void put_labelled(struct page *p, double value, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
put_labelled(struct page *p, double value, const char *fmt, ...)
{
	char labels[LABELS];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(labels, sizeof labels, fmt, ap);
	va_end(ap);
	put(p, labels, value);
}

static void
put_histogram(struct page *p, const char *labels, const struct meters *m, enum meter_time which)
{
	const struct meter_histogram *h = &m->times[which];
	const uint64_t *bounds = meter_bounds(which);
	const char *comma = labels[0] != '\0' ? "," : "", *open = comma[0] != '\0' ? "{" : "",
		   *close = comma[0] != '\0' ? "}" : "";
	double unit = meter_unit(which);
	uint64_t count = 0;

	for (int i = 0; i < METER_BUCKETS; i++) {
		count += meter_read(&h->bucket[i]);
		buffer_putf(p->out, "sallyport_%s_bucket{%s%sle=\"%.10g\"} %" PRIu64 "\n", p->name,
			    labels, comma, (double)bounds[i] / unit, count);
	}
	count += meter_read(&h->bucket[METER_BUCKETS]);
	buffer_putf(p->out, "sallyport_%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", p->name, labels,
		    comma, count);
	buffer_putf(p->out, "sallyport_%s_sum%s%s%s %.17g\n", p->name, open, labels, close,
		    (double)meter_read(&h->sum) / unit);
	buffer_putf(p->out, "sallyport_%s_count%s%s%s %" PRIu64 "\n", p->name, open, labels, close,
		    count);
}

static void
put_label(struct buffer *b, const char *s)
{
	for (; *s != '\0'; s++)
		if (*s == '\\' || *s == '"')
			buffer_putf(b, "\\%c", *s);
		else
			buffer_put(b, *s == '\n' ? "\\n" : s, *s == '\n' ? 2 : 1);
}

/* ---- what they are --------------------------------------------------------------------------- */

static const char *const commands[METER_COMMANDS] = {"none", "connect", "bind", "udp-associate"};

static void
put_build(struct page *p)
{
	begin(p, "build_info", GAUGE, "The version that runs, as a label of 1.");
	put(p, "version=\"" PACKAGE_VERSION "\"", 1);
}

static void
put_policy(struct page *p)
{
	const struct policy *policy = controller.newest->policy;
	char hash[16];
	struct text t;

	text_init(&t, hash, sizeof hash);
	text_put_hex(&t, policy_hash(policy), 6);
	begin(p, "policy_info", GAUGE, "The policy in force, as labels of 1.");
	buffer_puts(p->out, "sallyport_policy_info{name=\"");
	put_label(p->out, policy_name(policy));
	buffer_putf(p->out, "\",hash=\"%s\"} 1\n", hash);
	begin(p, "policy_rules", GAUGE, "Rules of the policy in force.");
	put(p, "", (double)policy_rule_count(policy));
	begin(p, "policy_worst_case_rules", GAUGE, "Rules tested at most for any session.");
	put(p, "", policy_worst_case(policy));
	begin(p, "policy_reloads", COUNTER, "Reloads since the start, by what came of them.");
	put(p, "result=\"taken\"", controller.processes.reloads_taken);
	put(p, "result=\"refused\"", controller.processes.reloads_refused);
	begin(p, "handovers", COUNTER, "How often another program took over since the start.");
	put(p, "", controller.processes.handovers);
}

#define RULES_SHOWN 5000 /* in the order of the policy; default and self always */

/* Behind the rules come what decides where none does. */
static struct rule_terms
terms_at(const struct policy *policy, uint32_t i, uint32_t count)
{
	struct rule_terms terms = {0};

	policy_terms(policy,
		     i < count    ? (int32_t)i
		     : i == count ? RULE_DEFAULT
				  : RULE_SELF,
		     &terms);
	return terms;
}

static void
put_rules(struct page *p)
{
	const struct policy *policy = controller.newest->policy;
	size_t all = policy_rule_count(policy);
	uint32_t count = (uint32_t)(all < RULES_SHOWN ? all : RULES_SHOWN);
	struct hits_count c;

	if (!counting_look())
		return;
	begin(p, "rule_matches", COUNTER, "Verdicts by the rule that gave them.");
	for (uint32_t i = 0; i < count + 2; i++) {
		struct rule_terms terms = terms_at(policy, i, count);

		c = (struct hits_count){0};
		counting_of(terms.name, &c);
		put_labelled(p, (double)c.matches, "rule=\"%s\",verdict=\"%s\"", terms.name,
			     terms.allow ? "allow" : "deny");
		if (terms.dry_run)
			put_labelled(p, (double)c.dry_run, "rule=\"%s\",verdict=\"dry-run\"",
				     terms.name);
	}
	begin(p, "rule_last_match_timestamp_seconds", GAUGE,
	      "When a rule matched last, since 1970; no line if it never did.");
	for (uint32_t i = 0; i < count + 2; i++) {
		struct rule_terms terms = terms_at(policy, i, count);

		if (counting_of(terms.name, &c) && c.last_ns > 0)
			put_labelled(p, (double)c.last_ns / 1e9, "rule=\"%s\"", terms.name);
	}
}

static void
put_connections(struct page *p)
{
	static const char *const reasons[METER_REFUSALS] = {"limit", "policy", "ledger",
							    "descriptors"};
	const struct settings *s = controller_settings();
	uint32_t count = s->listener_count < METER_LISTENERS ? s->listener_count : METER_LISTENERS;

	begin(p, "connections_accepted", COUNTER, "Clients that came in.");
	for (uint32_t i = 0; i < count; i++)
		put_labelled(p, (double)meter_read(&p->meters.accepted[i]), "listener=\"%s\"",
			     s->listeners[i].name);
	begin(p, "connections_refused", COUNTER, "Clients refused before a byte was read.");
	for (uint32_t i = 0; i < count; i++)
		for (int r = 0; r < METER_REFUSALS; r++)
			put_labelled(p, (double)meter_read(&p->meters.refused[i][r]),
				     "listener=\"%s\",reason=\"%s\"", s->listeners[i].name,
				     reasons[r]);
}

static void
put_sessions(struct page *p)
{
	static const char *const verdicts[3] = {"allowed", "denied", "failed"};

	begin(p, "sessions", GAUGE, "Sessions that are open or on their way there.");
	for (int c = 0; c < METER_COMMANDS; c++)
		put_labelled(p, (double)p->sessions[c], "command=\"%s\"", commands[c]);
	begin(p, "sessions_started", COUNTER,
	      "Requests by verdict; failed: allowed, but the target was not reached.");
	for (int c = 0; c < METER_COMMANDS; c++)
		for (int v = 0; v < 3; v++)
			put_labelled(p, (double)meter_read(&p->meters.outcome[c][v]),
				     "command=\"%s\",verdict=\"%s\"", commands[c], verdicts[v]);
}

/* Several endings may share a word: they are one. */
static void
put_endings(struct page *p)
{
	begin(p, "sessions_ended", COUNTER, "Sessions that had started, by why they ended.");
	for (int c = 1; c < METER_COMMANDS; c++)
		for (int e = 1; e < END_COUNT && e < METER_ENDINGS; e++) {
			uint64_t n = 0;
			bool first = true;

			for (int o = 1; o < END_COUNT && o < METER_ENDINGS; o++) {
				if (strcmp(endings[o].word, endings[e].word) != 0)
					continue;
				first &= o >= e;
				n += meter_read(&p->meters.ended[c][o]);
			}
			if (first)
				put_labelled(p, (double)n, "command=\"%s\",reason=\"%s\"",
					     commands[c], endings[e].word);
		}
}

static void
put_times(struct page *p)
{
	static const struct {
		enum meter_time which;
		const char *name, *help;
	} rows[] = {
	    {TIME_IDENT, "ident_seconds", "Time of an ident lookup."},
	    {TIME_DNS, "dns_seconds", "Time to resolve the name of a destination."},
	    {TIME_CONNECT, "connect_seconds", "Time to reach the destination."},
	    {TIME_FIRST_BYTE, "first_byte_seconds",
	     "Time from the reply to the destination's first byte."},
	};

	begin(p, "handshake_seconds", HISTOGRAM, "Time for a client to say what it wants.");
	put_histogram(p, "version=\"4\"", &p->meters, TIME_HANDSHAKE4);
	put_histogram(p, "version=\"5\"", &p->meters, TIME_HANDSHAKE5);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		begin(p, rows[i].name, HISTOGRAM, rows[i].help);
		put_histogram(p, "", &p->meters, rows[i].which);
	}
	begin(p, "session_duration_seconds", HISTOGRAM, "How long sessions lasted.");
	for (int c = 1; c < METER_COMMANDS; c++) {
		char labels[LABELS];

		snprintf(labels, sizeof labels, "command=\"%s\"", commands[c]);
		put_histogram(p, labels, &p->meters, TIME_SESSION + c - 1);
	}
}

static void
put_counted(struct page *p, enum books_counter which, const char *labels)
{
	put(p, labels, (double)controller_count(which));
}

static void
put_identities(struct page *p)
{
	static const char *const methods[METER_PROOFS] = {
	    [PROOF_PASSWORD] = "password", [PROOF_CHAP] = "chap", [PROOF_GSSAPI] = "gssapi"};
	static const char *const attempts[METER_ATTEMPTS] = {[ATTEMPT_GOOD] = "success",
							     [ATTEMPT_REFUSED] = "failure",
							     [ATTEMPT_UNAVAILABLE] = "unavailable"};
	static const char *const lookups[METER_LOOKUPS] = {[LOOKUP_USER] = "user",
							   [LOOKUP_OTHER] = "other",
							   [LOOKUP_NOTHING] = "unreachable",
							   [LOOKUP_SKIPPED] = "skipped"};
	char labels[LABELS];

	begin(p, "auth_attempts", COUNTER, "Attempts to prove who a client is, by the method.");
	for (int m = 0; m < METER_PROOFS; m++)
		for (int r = 0; r < METER_ATTEMPTS; r++)
			put_labelled(p, (double)meter_read(&p->meters.attempts[m][r]),
				     "method=\"%s\",result=\"%s\"", methods[m], attempts[r]);
	begin(p, "auth_seconds", HISTOGRAM, "How long the authenticator's word was waited for.");
	for (int m = 0; m < METER_PROOFS; m++) {
		snprintf(labels, sizeof labels, "method=\"%s\"", methods[m]);
		put_histogram(p, labels, &p->meters, TIME_AUTH + m);
	}
	begin(p, "auth_queue_length", GAUGE,
	      "Questions to the authenticator without an answer yet.");
	put_counted(p, COUNT_ASKED, "");
	begin(p, "ident_lookups", COUNTER, "Hosts asked who their client is, by what they said.");
	for (int r = 0; r < METER_LOOKUPS; r++)
		put_labelled(p, (double)meter_read(&p->meters.lookups[r]), "result=\"%s\"",
			     lookups[r]);
}

static void
put_decisions(struct page *p)
{
	begin(p, "decisions", COUNTER, "Final verdicts.");
	put_counted(p, COUNT_DECISIONS, "");
	begin(p, "decision_seconds", HISTOGRAM, "Time to judge; one final verdict in 64 is timed.");
	put_histogram(p, "", &p->meters, TIME_DECISION);
	begin(p, "decision_rules_tested", HISTOGRAM, "Rules tested for a final verdict.");
	put_histogram(p, "", &p->meters, METER_TESTED);
	begin(p, "bind_strangers", COUNTER, "Peers that called a BIND and were not expected.");
	put_counted(p, COUNT_STRANGERS, "");
}

static void
put_traffic(struct page *p)
{
	static const struct {
		enum books_counter which;
		const char *labels;
	} datagrams[] = {
	    {COUNT_UP_PASSED, "direction=\"up\",result=\"passed\""},
	    {COUNT_UP_STRANGER, "direction=\"up\",result=\"stranger\""},
	    {COUNT_UP_MALFORMED, "direction=\"up\",result=\"malformed\""},
	    {COUNT_UP_DENIED, "direction=\"up\",result=\"denied\""},
	    {COUNT_UP_LIMIT, "direction=\"up\",result=\"limit\""},
	    {COUNT_UP_FAILED, "direction=\"up\",result=\"failed\""},
	    {COUNT_DOWN_PASSED, "direction=\"down\",result=\"passed\""},
	    {COUNT_DOWN_UNSOLICITED, "direction=\"down\",result=\"unsolicited\""},
	    {COUNT_DOWN_LIMIT, "direction=\"down\",result=\"limit\""},
	    {COUNT_DOWN_FAILED, "direction=\"down\",result=\"failed\""},
	};
	static const char *const transports[2] = {"tcp", "udp"}, *const ways[2] = {"up", "down"};

	begin(p, "bytes", COUNTER, "Bytes relayed, told when their session is over.");
	for (int t = 0; t < 2; t++)
		for (int w = 0; w < 2; w++)
			put_labelled(p, (double)meter_read(&p->meters.bytes[t][w]),
				     "direction=\"%s\",transport=\"%s\"", ways[w], transports[t]);
	begin(p, "datagrams", COUNTER, "Datagrams of UDP associations.");
	for (size_t i = 0; i < sizeof datagrams / sizeof datagrams[0]; i++)
		put_counted(p, datagrams[i].which, datagrams[i].labels);
	begin(p, "dns_queries", COUNTER, "Names looked up.");
	put_counted(p, COUNT_DNS_QUERIES, "result=\"asked\"");
	put_counted(p, COUNT_DNS_CACHED, "result=\"cached\"");
	put_counted(p, COUNT_DNS_FAILED, "result=\"failed\"");
}

static void
put_audit(struct page *p)
{
	static const char *const events[EVENT_COUNT] = {[EVENT_START] = "session-start",
							[EVENT_DENY] = "session-deny",
							[EVENT_FAIL] = "session-fail",
							[EVENT_END] = "session-end",
							[EVENT_AUTH_SUCCESS] = "auth-success",
							[EVENT_AUTH_FAILURE] = "auth-failure",
							[EVENT_LOCKOUT] = "lockout",
							[EVENT_BIND_LISTEN] = "bind-listen",
							[EVENT_BIND_ACCEPT] = "bind-accept",
							[EVENT_PROGRESS] = "session-progress",
							[EVENT_DESTINATION] = "udp-destination"};
	static const char *const states[] = {"ok", "refusing", "dropping"};

	_Static_assert(EVENT_COUNT <= METER_EVENTS, "each event is counted");
	begin(p, "audit_records", COUNTER, "Records of sessions that workers have told.");
	for (int e = 1; e < EVENT_COUNT; e++)
		if (events[e] != NULL)
			put_labelled(p, (double)meter_read(&p->meters.events[e]), "event=\"%s\"",
				     events[e]);
	begin(p, "audit_state", GAUGE, "1 for the state that the ledger is in.");
	for (uint32_t i = 0; i < 3; i++)
		put_labelled(p, controller.processes.audit_state == i, "state=\"%s\"", states[i]);
	begin(p, "audit_ring_used_ratio", GAUGE,
	      "Share of the room for records that waits to be written.");
	for (int i = 0; i < SHELVES_MAX; i++) {
		struct books *b = controller.views[i].books;

		if (b != NULL)
			put_labelled(p, controller.views[i].waiting, "worker=\"%u\"",
				     books_worker(b));
	}
}

/* Of one kind for all copies. */
static void
put_each_copy(struct page *p, double (*of)(const struct lag *, double seconds))
{
	const struct settings *s = controller_settings();
	double seconds;
	struct lag lag;

	for (uint32_t i = 0; controller_copy(i, &lag, &seconds); i++)
		put_labelled(p, of(&lag, seconds), "copy=\"%s\"", s->audit.copies[i].name);
}

static double
copy_records(const struct lag *lag, double seconds)
{
	(void)seconds;
	return (double)lag->records;
}

static double
copy_bytes(const struct lag *lag, double seconds)
{
	(void)seconds;
	return (double)lag->bytes;
}

static double
copy_seconds(const struct lag *lag, double seconds)
{
	(void)lag;
	return seconds;
}

static double
copy_sent(const struct lag *lag, double seconds)
{
	(void)seconds;
	return (double)lag->sent;
}

static double
copy_dropped(const struct lag *lag, double seconds)
{
	(void)seconds;
	return (double)lag->dropped;
}

static void
put_copies(struct page *p)
{
	const struct settings *s = controller_settings();
	double seconds;
	struct lag lag;

	if (s->audit.copy_count == 0)
		return;
	begin(p, "audit_copy_lag_records", GAUGE, "Records that a copy of the ledger has not.");
	put_each_copy(p, copy_records);
	begin(p, "audit_copy_lag_bytes", GAUGE, "Bytes of the ledger that a copy has not.");
	put_each_copy(p, copy_bytes);
	begin(p, "audit_copy_lag_seconds", GAUGE,
	      "Age of the oldest record that a copy has not, 0 if it has all.");
	put_each_copy(p, copy_seconds);
	begin(p, "audit_copy_sent", COUNTER,
	      "Records sent to a copy; those that were sent again, too.");
	put_each_copy(p, copy_sent);
	begin(p, "audit_copy_dropped", COUNTER, "Records that a copy will never get.");
	put_each_copy(p, copy_dropped);
	begin(p, "audit_copy_state", GAUGE, "1 for the state that a copy is in.");
	for (uint32_t i = 0; controller_copy(i, &lag, &seconds); i++)
		for (uint32_t state = 0; state < LAG_STATES; state++)
			put_labelled(p, lag.state == state, "copy=\"%s\",state=\"%s\"",
				     s->audit.copies[i].name, lag_word(state));
}

static void
put_workers(struct page *p)
{
	uint64_t restarts = 0;

	begin(p, "worker_restarts", COUNTER, "Workers that died and were restarted.");
	for (uint32_t i = 0; i < controller.processes.count; i++)
		if (controller.processes.list[i].role == ROLE_WORKER)
			restarts += controller.processes.list[i].restarts;
	put(p, "", (double)restarts);
	begin(p, "event_loop_lag_seconds", HISTOGRAM, "How late a worker's loop was.");
	for (int i = 0; i < SHELVES_MAX; i++) {
		struct books *b = controller.views[i].books;
		char labels[LABELS];

		if (b == NULL)
			continue;
		snprintf(labels, sizeof labels, "worker=\"%u\"", books_worker(b));
		put_histogram(p, labels, books_meters(b), TIME_LAG);
	}
}

/* The usual names, without our prefix, but one of each for each of our processes. */
static void
put_vital(struct page *p, const char *name, bool counter, const char *help,
	  double (*of)(const struct vitals *))
{
	const char *suffix = counter && !p->openmetrics ? "_total" : "";
	const struct vitals *v;
	unsigned at = 0;

	buffer_putf(p->out, "# HELP process_%s%s %s\n# TYPE process_%s%s %s\n", name, suffix, help,
		    name, suffix, counter ? "counter" : "gauge");
	while ((v = vitals_next(&at)) != NULL) {
		double value = of(v);

		if (value < 0)
			continue; /* the kernel does not tell it */
		buffer_putf(p->out, "process_%s%s{role=\"%s\"", name, counter ? "_total" : "",
			    answer_role(v->role));
		if (v->role == ROLE_WORKER)
			buffer_putf(p->out, ",worker=\"%u\"", v->index);
		buffer_putf(p->out, "} %.17g\n", value);
	}
}

static double
vital_cpu(const struct vitals *v)
{
	return v->cpu_s;
}

static double
vital_resident(const struct vitals *v)
{
	return v->resident;
}

static double
vital_virtual(const struct vitals *v)
{
	return v->virtual;
}

static double
vital_open(const struct vitals *v)
{
	return v->open_fds;
}

static double
vital_most(const struct vitals *v)
{
	return v->most_fds;
}

static double
vital_start(const struct vitals *v)
{
	const struct ipc_processes *all = &controller.processes;

	for (uint32_t i = 0; i < all->count; i++)
		if (all->list[i].role == v->role && all->list[i].index == v->index)
			return (double)all->list[i].started_ns / 1e9;
	return -1;
}

static void
put_process(struct page *p)
{
	vitals_look();
	put_vital(p, "cpu_seconds", true, "Processor time, of the kernel and of its own.",
		  vital_cpu);
	put_vital(p, "resident_memory_bytes", false, "Memory that is really there.",
		  vital_resident);
	put_vital(p, "virtual_memory_bytes", false, "Memory that is mapped.", vital_virtual);
	put_vital(p, "open_fds", false, "Open descriptors.", vital_open);
	put_vital(p, "max_fds", false, "Descriptors that it may have open.", vital_most);
	put_vital(p, "start_time_seconds", false, "When it was started, since 1970.", vital_start);
}

/* ---- gathering --------------------------------------------------------------------------------
 */

static void
look_at_cards(struct page *p, struct view *v)
{
	const struct card *c;
	uint32_t at = 0;
	uint64_t waiting = 0;

	while ((c = books_next_open(v->books, &at)) != NULL) {
		if (c->end_ns != 0)
			waiting++;
		else if (!card_is_destination(c))
			p->sessions[c->command % METER_COMMANDS]++;
	}
	v->waiting = (double)waiting / books_capacity(v->books);
}

void
metrics_put(struct buffer *out, bool openmetrics)
{
	static void (*const parts[])(struct page *) = {
	    put_build,   put_rules,  put_policy,     put_connections, put_sessions,
	    put_endings, put_times,  put_identities, put_decisions,   put_traffic,
	    put_audit,   put_copies, put_workers,    put_process};
	static struct page p;

	memset(&p, 0, sizeof p);
	p.out = out;
	p.openmetrics = openmetrics;
	meters_sum(&p.meters, &controller.past_meters);
	for (int i = 0; i < SHELVES_MAX; i++) {
		struct view *v = &controller.views[i];

		if (v->books == NULL)
			continue;
		meters_sum(&p.meters, books_meters(v->books));
		look_at_cards(&p, v);
	}
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		parts[i](&p);
	if (openmetrics)
		buffer_puts(out, "# EOF\n");
}

/* ---- the page -----------------------------------------------------------------------------------
 */

struct guest {
	struct MHD_Connection *connection; /* NULL: free */
	int64_t since_ms;                  /* it came, or had its last answer */
};

static struct {
	struct MHD_Daemon *daemon;
	struct watch watch;
	struct timer timer;
	struct guest guests[PAGE_CLIENTS];
} page;

static void
guest_came_or_left(void *unused, struct MHD_Connection *connection, void **guest,
		   enum MHD_ConnectionNotificationCode what)
{
	struct guest *g = *guest;

	(void)unused;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED && g != NULL)
		g->connection = NULL;
	if (what != MHD_CONNECTION_NOTIFY_STARTED)
		return;
	for (g = page.guests; g < page.guests + PAGE_CLIENTS; g++)
		if (g->connection == NULL) {
			*g = (struct guest){connection, loop_now()};
			*guest = g;
			return;
		}
}

static void
guest_answered(void *unused, struct MHD_Connection *connection, void **state,
	       enum MHD_RequestTerminationCode how)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct guest *g = info != NULL ? info->socket_context : NULL;

	(void)unused;
	(void)state;
	(void)how;
	if (g != NULL)
		g->since_ms = loop_now();
}

/* The library's own limit is for those who are silent: who sends a byte now and then would stay, and
 * keep others out. */
static void
cut_late_guests(void)
{
	for (struct guest *g = page.guests; g < page.guests + PAGE_CLIENTS; g++) {
		const union MHD_ConnectionInfo *info;

		if (g->connection == NULL || loop_now() - g->since_ms < PAGE_REQUEST_MS)
			continue;
		info = MHD_get_connection_info(g->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
		if (info != NULL)
			shutdown(info->connect_fd, SHUT_RDWR);
	}
}

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned status, const char *type, struct buffer *text)
{
	struct MHD_Response *r =
	    MHD_create_response_from_buffer(text->len, text->p, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (r == NULL) {
		buffer_free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result
plain(struct MHD_Connection *connection, unsigned status, const char *text)
{
	struct buffer out = {0};

	buffer_puts(&out, text);
	return answer(connection, status, "text/plain; charset=utf-8", &out);
}

static enum MHD_Result
asked(void *unused, struct MHD_Connection *connection, const char *url, const char *method,
      const char *version, const char *body, size_t *body_len, void **state)
{
	static int seen;
	const char *accept;
	struct buffer out = {0};
	bool openmetrics;

	(void)unused;
	(void)version;
	(void)body;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return plain(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
			     "only GET\n"); /* no body is read */
	if (*state == NULL) {               /* the head only; a later call has the whole request */
		*state = &seen;
		return MHD_YES;
	}
	if (*body_len > 0) {
		*body_len = 0;
		return MHD_YES;
	}
	if (strcmp(url, "/metrics") != 0)
		return plain(connection, MHD_HTTP_NOT_FOUND, "see /metrics\n");
	accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
	openmetrics = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
	metrics_put(&out, openmetrics);
	return answer(connection, MHD_HTTP_OK,
		      openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
				  : "text/plain; version=0.0.4; charset=utf-8",
		      &out);
}

static void run_page(void);

static void
page_due(struct timer *t)
{
	(void)t;
	run_page();
}

static void
page_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	run_page();
}

static void
run_page(void)
{
	MHD_UNSIGNED_LONG_LONG ms;

	cut_late_guests();
	MHD_run(page.daemon);
	MHD_run(page.daemon); /* only the next run sees that one who left made room for another */
	timer_stop(&page.timer);
	if (MHD_get_timeout(page.daemon, &ms) == MHD_YES)
		timer_set(&page.timer,
			  loop_now() + (int64_t)(ms < PAGE_LOOK_MS ? ms : PAGE_LOOK_MS), page_due);
}

static void
complain(void *unused, const char *fmt, va_list ap)
{
	char line[512];

	(void)unused;
	vsnprintf(line, sizeof line, fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_info("the metrics page: %s", line);
}

void
metrics_serve(int fd)
{
	const union MHD_DaemonInfo *info;

	if (page.daemon != NULL) {
		close(fd);
		return;
	}
	page.daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, asked,
				       NULL, MHD_OPTION_EXTERNAL_LOGGER, complain, NULL,
				       MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				       (unsigned)PAGE_CLIENTS, MHD_OPTION_CONNECTION_TIMEOUT,
				       (unsigned)PAGE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				       (size_t)PAGE_MEMORY, MHD_OPTION_NOTIFY_CONNECTION,
				       guest_came_or_left, NULL, MHD_OPTION_NOTIFY_COMPLETED,
				       guest_answered, NULL, MHD_OPTION_END);
	info =
	    page.daemon != NULL ? MHD_get_daemon_info(page.daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (info == NULL || watch_add(&page.watch, info->epoll_fd, EPOLLIN, page_ready) == -1) {
		log_error("cannot serve the metrics page: %s", strerror(errno));
		return;
	}
	run_page();
}
