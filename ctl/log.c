/*
 * log.c - sallyctl log: the ledger for people, a short line a record; with -f as it grows, also
 * over rotations.
 *
 * Reads the audit file itself and asks no server. A line that is no record is shown as it is,
 * quoted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/live.h"
#include "settings/settings.h"

#define CHUNK (256 * 1024)
#define LINE_MOST (1 << 20)  /* what is longer is no record */
#define LOOK_NS 200000000L   /* between two looks at a file that is followed */
#define SHOWN_BEFORE 10      /* lines, with -f */
#define FLUSH_AT (64 * 1024) /* of output, where there is more to read */

struct view {
	const struct ctl_call *call;
	const char *user, *rule, *event, *destination;
	struct prefix source, place; /* of --source and --destination */
	bool has_source, has_place;
	struct buffer out;
	bool broken; /* nobody reads us any more */
};

/* ---- how a record is shown --------------------------------------------------------------------
 */

enum tone { GOOD, WARN, BAD, QUIET, PLAIN };
enum what { TELLS_TARGET = 1, TELLS_BYTES = 2, TELLS_REASON = 4 };

static const struct action {
	const char *action, *word;
	enum tone tone;
	unsigned tells; /* 0: its message */
} actions[] = {
    {"session-start", "start", GOOD, TELLS_TARGET},
    {"session-deny", "deny", BAD, TELLS_TARGET | TELLS_REASON},
    {"session-fail", "fail", WARN, TELLS_TARGET | TELLS_REASON},
    {"session-end", "end", QUIET, TELLS_TARGET | TELLS_BYTES | TELLS_REASON},
    {"session-progress", "still", QUIET, TELLS_TARGET | TELLS_BYTES},
    {"udp-destination", "udp", PLAIN, TELLS_TARGET | TELLS_BYTES | TELLS_REASON},
    {"bind-listen", "door", PLAIN, TELLS_TARGET},
    {"bind-accept", "call", PLAIN, TELLS_TARGET},
    {"auth-success", "login", GOOD, TELLS_REASON},
    {"auth-failure", "reject", BAD, TELLS_REASON},
    {"lockout", "lock", BAD, TELLS_REASON},
    {"policy-load", "policy", GOOD, 0},
    {"policy-refused", "policy", WARN, 0},
    {"admin-action", "admin", WARN, 0},
    {"worker-crash", "crash", BAD, 0},
    {"audit-start", "audit", PLAIN, 0},
    {"audit-stop", "audit", PLAIN, 0},
    {"audit-rotate", "audit", PLAIN, 0},
    {"audit-suspend", "audit", BAD, 0},
    {"audit-resume", "audit", WARN, 0},
    {"checkpoint", "signed", QUIET, 0},
};

static const struct action *
action_find(const char *word)
{
	static const struct action other = {"", "note", PLAIN, 0};

	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(actions[i].action, word) == 0)
			return &actions[i];
	return &other;
}

static const char *
tone_begin(const struct style *s, enum tone tone)
{
	switch (tone) {
	case GOOD:
		return s->good;
	case WARN:
		return s->wait;
	case BAD:
		return s->bad;
	case QUIET:
		return s->dim;
	case PLAIN:
		break;
	}
	return "";
}

/* The record's time here: "2026-11-24 09:14:07". */
static void
put_when(struct buffer *out, const char *utc)
{
	struct tm tm = {0};
	char text[32];
	time_t t;

	if (strptime(utc, "%Y-%m-%dT%H:%M:%S", &tm) == NULL || (t = timegm(&tm)) == -1 ||
	    localtime_r(&t, &tm) == NULL || strftime(text, sizeof text, "%F %T", &tm) == 0)
		snprintf(text, sizeof text, "%-19s", "-");
	buffer_puts(out, text);
}

static void
put_end(struct buffer *out, const json_t *end, bool name)
{
	const char *ip = json_text(end, "ip");

	if (name && json_text(end, "domain")[0] != '\0')
		json_put_shown(end, "domain", out);
	else
		buffer_putf(out, strchr(ip, ':') != NULL ? "[%s]" : "%s", ip[0] != '\0' ? ip : "-");
	if (json_object_get(end, "port") != NULL)
		buffer_putf(out, ":%llu", (unsigned long long)json_count(end, "port"));
}

static void
put_amounts(struct buffer *out, const json_t *record)
{
	buffer_puts(out, "  ");
	buffer_put_size(out, json_count(json_object_get(record, "source"), "bytes"));
	buffer_puts(out, " up, ");
	buffer_put_size(out, json_count(json_object_get(record, "destination"), "bytes"));
	buffer_puts(out, " down, ");
	buffer_put_duration(out, json_count(json_object_get(record, "event"), "duration"));
}

static void
put_session(const struct style *s, const struct action *a, const json_t *record, struct buffer *out)
{
	const json_t *event = json_object_get(record, "event"),
		     *rule = json_object_get(record, "rule");

	put_end(out, json_object_get(record, "source"), false);
	if (json_text(json_object_get(record, "user"), "name")[0] != '\0') {
		buffer_putf(out, " %s", s->bold);
		json_put_shown(json_object_get(record, "user"), "name", out);
		buffer_puts(out, s->off);
	}
	if (a->tells & TELLS_TARGET) {
		buffer_putf(out, " %s>%s ", s->dim, s->off);
		put_end(out, json_object_get(record, "destination"), true);
	}
	if (json_text(rule, "id")[0] != '\0') {
		buffer_putf(out, "  %srule%s ", s->dim, s->off);
		json_put_shown(rule, "id", out);
	}
	if (a->tells & TELLS_BYTES)
		put_amounts(out, record);
	if (a->tells & TELLS_REASON && json_text(event, "reason")[0] != '\0') {
		buffer_puts(out, "  ");
		json_put_shown(event, "reason", out);
	}
}

static void
put_plain(const struct style *s, const char *action, const json_t *record, struct buffer *out)
{
	const json_t *user = json_object_get(record, "user"),
		     *policy = json_object_get(record, "policy");

	if (json_text(user, "name")[0] != '\0') {
		buffer_puts(out, s->bold);
		json_put_shown(user, "name", out);
		buffer_putf(out, "%s: ", s->off);
	} else
		buffer_puts(out, action);
	if (strncmp(action, "policy-", 7) == 0 && json_text(policy, "hash")[0] != '\0') {
		buffer_puts(out, " ");
		json_put_shown(policy, "hash", out);
	}
	if (json_text(record, "message")[0] != '\0') {
		buffer_puts(out, json_text(user, "name")[0] != '\0' ? "" : ": ");
		json_put_shown(record, "message", out);
	}
}

static void
put_record(struct view *v, const json_t *record, const char *action)
{
	const struct action *a = action_find(action);
	const struct style *s = style_of(v->call);

	buffer_puts(&v->out, s->dim);
	put_when(&v->out, json_text(record, "@timestamp"));
	buffer_putf(&v->out, "%s %s%-6s%s ", s->off, tone_begin(s, a->tone), a->word, s->off);
	if (a->tells != 0)
		put_session(s, a, record, &v->out);
	else
		put_plain(s, action, record, &v->out);
	buffer_puts(&v->out, "\n");
}

/* ---- which are shown ---------------------------------------------------------------------------
 */

static bool
same(const json_t *o, const char *key, const char *wanted)
{
	struct buffer bytes = {0};
	bool is;

	json_bytes(o, key, &bytes);
	is = bytes.len == strlen(wanted) && memcmp(bytes.p, wanted, bytes.len) == 0;
	buffer_free(&bytes);
	return is;
}

static bool
inside(const json_t *end, const struct prefix *p)
{
	const char *ip = json_text(end, "ip");
	struct addr a;

	return addr_parse(ip, strlen(ip), &a) && prefix_contains(p, &a);
}

/* The name or something below it. */
static bool
below(const json_t *end, const char *wanted)
{
	const char *name = json_text(end, "domain");
	size_t len = strlen(name), n = strlen(wanted);

	if (len > 0 && name[len - 1] == '.')
		len--;
	return len >= n && strncasecmp(name + len - n, wanted, n) == 0 &&
	       (len == n || name[len - n - 1] == '.');
}

static bool
is_wanted(const struct view *v, const json_t *record, const char *action)
{
	const json_t *destination = json_object_get(record, "destination");

	if (v->event != NULL ? strcmp(action, v->event) != 0 : strcmp(action, "checkpoint") == 0)
		return false; /* signatures are not news unless they are asked for */
	if (v->user != NULL && !same(json_object_get(record, "user"), "name", v->user))
		return false;
	if (v->rule != NULL && !same(json_object_get(record, "rule"), "id", v->rule))
		return false;
	if (v->has_source && !inside(json_object_get(record, "source"), &v->source))
		return false;
	if (v->destination == NULL)
		return true;
	return v->has_place ? inside(destination, &v->place) : below(destination, v->destination);
}

static bool
filters(const struct view *v)
{
	return v->user != NULL || v->rule != NULL || v->event != NULL || v->has_source ||
	       v->destination != NULL;
}

static void
flush(struct view *v)
{
	if (v->out.len > 0 && !ctl_write(&v->out))
		v->broken = true;
	v->out.len = 0;
}

static void
show(struct view *v, char *line, size_t len)
{
	json_t *record = json_loadb(line, len, 0, NULL);
	const char *action = json_text(json_object_get(record, "event"), "action");

	if (action[0] == '\0') {
		line[len] = '\0'; /* where its newline was */
		if (len > 0 && !filters(v) && !v->call->json) {
			put_shown(&v->out, line);
			buffer_puts(&v->out, "\n");
		}
	} else if (is_wanted(v, record, action)) {
		if (v->call->json) {
			buffer_put(&v->out, line, len);
			buffer_puts(&v->out, "\n");
		} else
			put_record(v, record, action);
	}
	json_decref(record);
	if (v->out.len >= FLUSH_AT)
		flush(v);
}

/* ---- reading ------------------------------------------------------------------------------------
 */

struct file {
	const char *path;
	int fd;
	struct buffer rest; /* of a line that is not whole yet */
};

static bool
cannot(const struct view *v, const char *path, int error)
{
	char shown[512];
	struct text t;

	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, path, strlen(path), 256);
	ctl_fail(v->call, "cannot read %s: %s", shown, strerror(error));
	return false;
}

/* All that stands there now. False: told. */
static bool
read_on(struct view *v, struct file *f)
{
	static char chunk[CHUNK];
	ssize_t n;

	while (!v->broken && (n = read(f->fd, chunk, sizeof chunk)) != 0) {
		size_t done = 0;

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return cannot(v, f->path, errno);
		buffer_put(&f->rest, chunk, (size_t)n);
		for (char *end;
		     (end = memchr(f->rest.p + done, '\n', f->rest.len - done)) != NULL;) {
			show(v, f->rest.p + done, (size_t)(end - f->rest.p) - done);
			done = (size_t)(end - f->rest.p) + 1;
		}
		memmove(f->rest.p, f->rest.p + done, f->rest.len - done);
		f->rest.len -= done;
		if (f->rest.len > LINE_MOST)
			f->rest.len = 0;
	}
	flush(v);
	return true;
}

/* Goes to where the last `lines` lines begin. */
static void
seek_last(int fd, uint64_t lines)
{
	static char chunk[CHUNK];
	off_t end = lseek(fd, 0, SEEK_END), at = end;

	while (at > 0) {
		size_t want = at < CHUNK ? (size_t)at : CHUNK;
		ssize_t n = pread(fd, chunk, want, at - (off_t)want);

		if (n != (ssize_t)want)
			break;
		at -= n;
		for (ssize_t i = n; i-- > 0;)
			if (chunk[i] == '\n' && at + i + 1 != end && lines-- <= 1) {
				lseek(fd, at + i + 1, SEEK_SET);
				return;
			}
	}
	lseek(fd, 0, SEEK_SET);
}

static bool
open_file(struct view *v, struct file *f)
{
	f->fd = strcmp(f->path, "-") == 0 ? dup(STDIN_FILENO) : open(f->path, O_RDONLY | O_CLOEXEC);
	return f->fd != -1 || cannot(v, f->path, errno);
}

/* Another file has the name, or this one became shorter. */
static bool
was_replaced(const struct file *f)
{
	struct stat here, there;

	if (fstat(f->fd, &here) == -1 || stat(f->path, &there) == -1)
		return false; /* between two files: the next look will tell */
	return here.st_dev != there.st_dev || here.st_ino != there.st_ino ||
	       there.st_size < lseek(f->fd, 0, SEEK_CUR);
}

/* Until it is interrupted or nobody reads it. */
static bool
follow(struct view *v, struct file *f)
{
	while (!v->broken) {
		int fd;

		nanosleep(&(struct timespec){0, LOOK_NS}, NULL);
		if (!read_on(v, f))
			return false;
		if (!was_replaced(f) || (fd = open(f->path, O_RDONLY | O_CLOEXEC)) == -1)
			continue;
		if (!read_on(v, f)) /* what was written between the two looks */
			return false;
		close(f->fd);
		f->fd = fd;
		f->rest.len = 0;
	}
	return true;
}

/* ---- the command --------------------------------------------------------------------------------
 */

static bool
take_filters(struct view *v)
{
	const char *source = option_value(v->call, "source");

	v->user = option_value(v->call, "user");
	v->rule = option_value(v->call, "rule");
	v->event = option_value(v->call, "event");
	v->destination = option_value(v->call, "destination");
	if (source != NULL && prefix_parse(source, strlen(source), &v->source) != PREFIX_OK) {
		ctl_fail(v->call, "'--source' takes an address or a network");
		return false;
	}
	v->has_source = source != NULL;
	v->has_place = v->destination != NULL &&
		       prefix_parse(v->destination, strlen(v->destination), &v->place) == PREFIX_OK;
	return true;
}

/* The file that the settings name. */
static bool
file_of_settings(const struct ctl_call *call, char *path, size_t size)
{
	struct settings *s = calloc(1, sizeof *s);
	bool ok = s != NULL && live_settings(call->file, s);

	if (ok)
		snprintf(path, size, "%s", s->audit.file);
	else
		ctl_fail(
		    call,
		    "the settings cannot be read: name the audit file, or the settings with -c");
	free(s);
	if (ok && strcmp(path, "stdout") == 0) {
		ctl_fail(call, "the records go to the server's standard output: there is no file");
		ok = false;
	}
	return ok;
}

static bool
show_file(struct view *v, const char *path, uint64_t lines, bool following)
{
	struct file f = {.path = path};
	bool ok;

	if (!open_file(v, &f))
		return false;
	if (lines > 0)
		seek_last(f.fd, lines);
	ok = read_on(v, &f) && (!following || follow(v, &f));
	if (ok && !v->broken && f.rest.len > 0) { /* a last line without an end */
		buffer_put(&f.rest, "\n", 1);
		show(v, f.rest.p, f.rest.len - 1);
		flush(v);
	}
	close(f.fd);
	buffer_free(&f.rest);
	return ok;
}

int
log_run(struct ctl_call *call)
{
	struct view v = {.call = call};
	bool following = option_on(call, "follow"), ok;
	const char *most = option_value(call, "lines");
	char path[SETTINGS_PATH];
	uint64_t lines = following ? SHOWN_BEFORE : 0;

	if (!take_filters(&v))
		return CTL_FAILED;
	if (most != NULL && (!text_parse_u64(most, strlen(most), UINT32_MAX, &lines) || lines == 0))
		return ctl_fail(call, "'--lines' takes a number from 1 on");
	if (following && call->operand_count > 1)
		return ctl_fail(call, "only one file can be followed");
	if (call->operand_count == 0) {
		ok = file_of_settings(call, path, sizeof path) &&
		     show_file(&v, path, lines, following);
	} else {
		ok = true;
		for (unsigned i = 0; i < call->operand_count && ok && !v.broken; i++)
			ok = show_file(&v, call->operands[i], lines, following);
	}
	buffer_free(&v.out);
	return ok ? CTL_YES : CTL_FAILED;
}
