/*
 * batch.c - explain --batch: a session a line in (NDJSON), a verdict a line out.
 *
 * Line n of the answer belongs to line n of the question, always, also for a bad
 * one.  Answers leave before the next read that could wait, so that a program can
 * hold a conversation over a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/inquiry.h"

#define LINE_MAX_BYTES (1u << 20)
#define OUT_FLUSH (256u * 1024)
/*
 * `passed` costs a look at every rule before the deciding one, for each line: a small policy's is
 * told always, a large one's when asked for.
 */
#define PASSED_RULES 32

struct batch {
	const struct ctl_call *call;
	const struct court *court;
	struct inquiry inquiry;
	struct described described;
	struct buffer out;
	char at[64]; /* the last `at` and its instant: lines tend to share it */
	int64_t at_time;
	bool passed;
	bool bad;
	bool stopped; /* nobody reads us any more */
};

static void
put_error(struct batch *b, const char *text)
{
	buffer_puts(&b->out, "{\"error\":");
	buffer_put_json(&b->out, text, strlen(text));
	buffer_puts(&b->out, "}\n");
	b->bad = true;
}

/* ---- one value of the object ------------------------------------------------ */

static bool
read_string(json_t *value, const char **out)
{
	if (!json_is_string(value))
		return false;
	*out = json_string_value(value);
	return true;
}

static bool
read_words(json_t *value, struct words *out)
{
	json_t *one;
	size_t i;

	if (!json_is_array(value))
		return false;
	json_array_foreach(value, i, one)
	{
		if (!json_is_string(one))
			return false;
		words_add(out, json_string_value(one));
	}
	return true;
}

static bool
read_resolves(json_t *value, struct inquiry *q)
{
	q->resolves_given = true;
	return read_words(value, &q->resolves);
}

static bool
read_version(json_t *value, struct inquiry *q)
{
	if (!json_is_integer(value))
		return false;
	q->version_given = true;
	q->version = json_integer_value(value);
	return true;
}

static bool
read_groups(json_t *value, struct inquiry *q)
{
	return read_words(value, &q->groups);
}

/* The keys: a string that goes straight to its place, or a reader. */
static const struct batch_key {
	const char *name;
	size_t offset;
	bool (*read)(json_t *, struct inquiry *);
	const char *what;
} keys[] = {
    {"from", offsetof(struct inquiry, from), NULL, "a string"},
    {"to", offsetof(struct inquiry, to), NULL, "a string"},
    {"user", offsetof(struct inquiry, user), NULL, "a string"},
    {"groups", 0, read_groups, "an array of strings"},
    {"auth", offsetof(struct inquiry, auth), NULL, "a string"},
    {"command", offsetof(struct inquiry, command), NULL, "a string"},
    {"version", 0, read_version, "an integer"},
    {"listener", offsetof(struct inquiry, listener), NULL, "a string"},
    {"resolves", 0, read_resolves, "an array of strings"},
    {"at", offsetof(struct inquiry, at), NULL, "a string"},
};
#define KEY_COUNT (sizeof keys / sizeof keys[0])

static const struct batch_key *
find_key(const char *name)
{
	for (size_t i = 0; i < KEY_COUNT; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

static bool
read_key(struct inquiry *q, const char *name, json_t *value, struct text *error)
{
	const struct batch_key *k = find_key(name);
	bool ok;

	if (k == NULL) {
		text_put(error, "unknown key ");
		text_put_quoted(error, name, strlen(name), 64);
		return false;
	}
	if (json_is_null(value))
		return true;
	if (k->read != NULL)
		ok = k->read(value, q);
	else
		ok = read_string(value, (const char **)(void *)((char *)q + k->offset));
	if (!ok)
		text_putf(error, "%s is not %s", name, k->what);
	return ok;
}

static bool
read_object(struct inquiry *q, json_t *object, struct text *error)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object)) {
		text_put(error, "a line is one JSON object");
		return false;
	}
	json_object_foreach(object, name, value) if (!read_key(q, name, value, error)) return false;
	return true;
}

/* ---- one line ----------------------------------------------------------------- */

static void
forget(struct inquiry *q)
{
	struct words groups = q->groups, resolves = q->resolves;

	memset(q, 0, sizeof *q);
	q->groups = groups;
	q->resolves = resolves;
	q->groups.count = q->resolves.count = 0;
}

/* As inquiry_describe, but an `at` that the line before had, too, is not worked out again. */
static bool
describe(struct batch *b, struct text *error)
{
	struct inquiry *q = &b->inquiry;
	const char *at = q->at;
	bool same = at != NULL && at[0] != '\0' && strcmp(at, b->at) == 0;
	int64_t now = same ? b->at_time : clock_wall_ns() / NS_PER_S;

	if (same)
		q->at = NULL;
	if (!inquiry_describe(q, b->court, now, &b->described, error))
		return false;
	if (!same && at != NULL && strlen(at) < sizeof b->at) {
		memcpy(b->at, at, strlen(at) + 1);
		b->at_time = b->described.facts.time;
	}
	return true;
}

static void
judge(struct batch *b)
{
	struct described *d = &b->described;
	struct rules_explanation e;

	rules_explain(b->court->policy, &d->facts, d->resolved, d->resolves, d->resolve_count,
		      b->passed, &e);
	verdict_put_json(&b->out, b->court, &e);
	buffer_puts(&b->out, "\n");
	rules_explanation_free(&e);
}

static void
take_line(struct batch *b, const char *line, size_t len)
{
	json_error_t json_error;
	json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &json_error);
	char buf[512];
	struct text error;

	text_init(&error, buf, sizeof buf);
	if (object == NULL) {
		text_putf(&error, "not JSON: %s",
			  json_error_code(&json_error) == json_error_null_character
			      ? "a string holds \\u0000"
			      : json_error.text);
		put_error(b, buf);
		return;
	}
	forget(&b->inquiry);
	if (read_object(&b->inquiry, object, &error) && describe(b, &error))
		judge(b);
	else
		put_error(b, buf);
	json_decref(object);
}

/* ---- the stream ----------------------------------------------------------------- */

static void
flush(struct batch *b)
{
	if (!b->stopped && b->out.len > 0 && !ctl_write(&b->out))
		b->stopped = true;
	b->out.len = 0;
}

/* Takes all whole lines of buf; returns the bytes used. */
static size_t
take_lines(struct batch *b, const char *buf, size_t len)
{
	size_t used = 0;
	const char *end;

	while (!b->stopped && (end = memchr(buf + used, '\n', len - used)) != NULL) {
		take_line(b, buf + used, (size_t)(end - buf) - used);
		used = (size_t)(end - buf) + 1;
		if (b->out.len >= OUT_FLUSH)
			flush(b);
	}
	return used;
}

/* The rest of a line that is longer than any may be. */
static size_t
skip_line(const char *buf, size_t len, bool *skipping)
{
	const char *end = memchr(buf, '\n', len);

	if (end == NULL)
		return len;
	*skipping = false;
	return (size_t)(end - buf) + 1;
}

static int
read_stream(struct batch *b, int fd, char *buf)
{
	size_t len = 0, used;
	bool skipping = false;

	for (;;) {
		ssize_t n = read(fd, buf + len, LINE_MAX_BYTES - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		len += (size_t)n;
		used = skipping ? skip_line(buf, len, &skipping) : 0;
		if (!skipping)
			used += take_lines(b, buf + used, len - used);
		memmove(buf, buf + used, len - used);
		len -= used;
		if (len == LINE_MAX_BYTES) {
			put_error(b, "the line is longer than 1 MiB");
			skipping = true;
			len = 0;
		}
		flush(b);
		if (b->stopped)
			return 0;
	}
	if (len > 0 && !skipping)
		take_line(b, buf, len);
	flush(b);
	return 0;
}

static void
batch_free(struct batch *b, char *buf)
{
	words_free(&b->inquiry.groups);
	words_free(&b->inquiry.resolves);
	described_free(&b->described);
	buffer_free(&b->out);
	free(buf);
}

int
batch_run(const struct ctl_call *call, const struct court *court, const char *path)
{
	struct batch b = {.call = call, .court = court};
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), error;
	char *buf;

	if (fd == -1)
		return ctl_fail(call, "cannot read the batch: %s", strerror(errno));
	buf = malloc(LINE_MAX_BYTES);
	if (buf == NULL)
		abort();
	b.passed = option_on(call, "passed") || policy_rule_count(court->policy) <= PASSED_RULES;
	error = read_stream(&b, fd, buf);
	if (!is_stdin)
		close(fd);
	batch_free(&b, buf);
	if (error != 0)
		return ctl_fail(call, "cannot read the batch: %s", strerror(error));
	return b.bad || b.stopped ? CTL_FAILED : CTL_YES;
}
