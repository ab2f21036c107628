/*
 * base/log.c - see base/log.h. Any process. May block as long as stderr or
 * /dev/log does; a line is one write, so lines of several processes do not mix.
 *
 * Foreground lines have one of three forms: short and coloured on a terminal,
 * with a <level> for the journal, dated in anything else.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define WINDOW_NS (5 * NS_PER_S)
#define WINDOW_LINES 10
#define MESSAGE_MAX 2048

enum log_form { FORM_DATED, FORM_TERMINAL, FORM_JOURNAL, FORM_SYSLOG };

static const struct {
	const char *word, *colour;
	int priority;
} levels[] = {
    [LOGLEVEL_ERROR] = {"error", "\033[1;31m", LOG_ERR},
    [LOGLEVEL_WARNING] = {"warning", "\033[33m", LOG_WARNING},
    [LOGLEVEL_NOTICE] = {"notice", "\033[36m", LOG_NOTICE},
    [LOGLEVEL_INFO] = {"info", "", LOG_INFO},
    [LOGLEVEL_DEBUG] = {"debug", "\033[2m", LOG_DEBUG},
};

static struct {
	char role[32];
	enum log_form form;
	enum log_level most;
} state = {"", FORM_DATED, LOGLEVEL_INFO};

/* systemd names the stream that it gave us; stderr may since be something else. */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char mine[64];
	struct stat st;

	if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
		return false;
	snprintf(mine, sizeof mine, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(stream, mine) == 0;
}

static enum log_form
form_of_stderr(void)
{
	if (stderr_is_journal())
		return FORM_JOURNAL;
	return isatty(STDERR_FILENO) ? FORM_TERMINAL : FORM_DATED;
}

void
log_open(const char *role, bool foreground, enum log_level most)
{
	log_role(role);
	state.most = most;
	if (foreground) {
		state.form = form_of_stderr();
		return;
	}
	/* at once: a role that confines itself cannot open it later */
	openlog(program_invocation_short_name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	state.form = FORM_SYSLOG;
}

void
log_role(const char *role)
{
	snprintf(state.role, sizeof state.role, "%s", role);
}

enum log_level
log_most(void)
{
	return state.most;
}

/* A line of this site may go out; *missed is how many before it did not and were not told of yet.
 */
static bool
site_may(struct log_site *site, unsigned *missed)
{
	long long now = clock_mono_ns();

	*missed = 0;
	if (site->count == 0 || now - site->window_ns >= WINDOW_NS) {
		*missed = site->suppressed;
		site->window_ns = now;
		site->count = site->suppressed = 0;
	}
	if (site->count >= WINDOW_LINES) {
		site->suppressed++;
		return false;
	}
	site->count++;
	return true;
}

static void
put_escaped(struct text *t, const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 0x20 && c <= 0x7e)
			text_put_char(t, *s);
		else
			text_putf(t, "\\x%02x", c);
	}
}

static void
put_date(struct text *t)
{
	char now[TEXT_TIME];
	struct text n;

	text_init(&n, now, sizeof now);
	text_put_time(&n, clock_wall_ns());
	text_put_bytes(t, now, strlen("2026-11-24T09:14:07"));
	text_put(t, "Z ");
}

static void
put_head(struct text *t, enum log_level level)
{
	const char *colour = levels[level].colour;

	if (state.form == FORM_JOURNAL)
		text_putf(t, "<%d>", levels[level].priority);
	if (state.form == FORM_DATED)
		put_date(t);
	if (state.role[0] != '\0') {
		text_put(t, state.role);
		text_put(t, state.form == FORM_DATED ? " " : ": ");
	}
	if (state.form == FORM_DATED)
		text_putf(t, "%s: ", levels[level].word);
	if (state.form == FORM_TERMINAL)
		text_putf(t, "%s%s%s: ", colour, levels[level].word,
			  *colour != '\0' ? "\033[0m" : "");
}

static void
put_line(const struct text *line)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, line->p, line->len);
	while (n < 0 && errno == EINTR);
}

void
log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
{
	char message[MESSAGE_MAX], out[4 * MESSAGE_MAX + 256];
	int saved = errno;
	struct text line;
	unsigned missed;
	va_list ap;
	int n;

	if (level > state.most || !site_may(site, &missed))
		return;
	va_start(ap, fmt);
	errno = saved; /* for %m */
	n = vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	text_init(&line, out, sizeof out);
	put_head(&line, level);
	put_escaped(&line, n < 0 ? fmt : message);
	if (n >= (int)sizeof message)
		text_put(&line, "...");
	if (missed > 0)
		text_putf(&line, " (%u more like this were left out)", missed);
	if (state.form == FORM_SYSLOG) {
		syslog(LOG_DAEMON | levels[level].priority, "%s", out);
	} else {
		text_put_char(&line, '\n');
		put_line(&line);
	}
	errno = saved;
}
