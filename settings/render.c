/*
 * settings/render.c - problems as POLICY.md shows them: the place, the line, the
 * carets, the help; or the same as JSON.
 *
 * Runs in COMPILE and in sallyctl. Pure. A source line reaches the terminal with
 * tabs as blanks and everything invisible escaped, so that what is shown is what
 * stands there and the carets stand below it.
 */
#include <string.h>

#include "base/problems.h"
#include "base/text.h"
#include "settings/source.h"

#define SHOWN 120 /* columns of a source line; a longer one is shown in part */
#define BEFORE 40 /* of which at least these stand before the carets */
#define TAB_STOP 8
#define LEAST_DIGITS 2 /* the frame of a short file stands where that of a longer one does */

struct paint {
	const char *error, *warning, *frame, *strong, *off;
};

static const struct paint plain = {"", "", "", "", ""};
static const struct paint colours = {"\033[1;31m", "\033[1;33m", "\033[1;34m", "\033[1m",
				     "\033[0m"};

/* The text of a line, from 1, without its end. False: there is no such line. */
static bool
line_of(const struct source *src, unsigned line, const char **start, const char **end)
{
	const char *p = src->text, *stop = src->text + src->len;

	while (--line > 0) {
		p = memchr(p, '\n', (size_t)(stop - p));
		if (p == NULL)
			return false;
		p++;
	}
	*start = p;
	*end = memchr(p, '\n', (size_t)(stop - p));
	if (*end == NULL)
		*end = stop;
	else if (*end > p && (*end)[-1] == '\r')
		(*end)--;
	return true;
}

/* Adds the character at p as it is shown; returns its bytes. column counts what is shown. */
static size_t
put_shown(struct buffer *out, const char *p, const char *end, unsigned *column)
{
	unsigned char c = (unsigned char)*p;
	unsigned point, n;

	if (c == '\t') {
		unsigned blanks = TAB_STOP - *column % TAB_STOP;

		buffer_putf(out, "%*s", (int)blanks, "");
		*column += blanks;
		return 1;
	}
	n = utf8_at(p, end, &point);
	if (n == 0 || point < 0x20 || point == 0x7f || point == 0xfeff || utf8_hides(point)) {
		n = n > 0 ? n : 1;
		for (unsigned i = 0; i < n; i++, *column += 4)
			buffer_putf(out, "\\x%02x", (unsigned)(unsigned char)p[i]);
		return n;
	}
	buffer_put(out, p, n);
	(*column)++;
	return n;
}

/* Texts and names of files: nothing in them may steer the terminal either. */
static void
put_quiet(struct buffer *out, const char *s)
{
	const char *end = s + strlen(s);
	unsigned column = 0;

	while (s < end) {
		if (*s == '\t') {
			buffer_puts(out, "\\x09");
			s++;
		} else {
			s += put_shown(out, s, end, &column);
		}
	}
}

/* A line as shown, and the columns (from 0) where the carets start and end. */
struct shown {
	struct buffer text;
	unsigned from, to, columns;
};

/* Byte numbers of the part that is shown: all of it, or a window around the place. */
static void
choose_window(size_t len, size_t at, size_t *from, size_t *to)
{
	*from = 0;
	*to = len;
	if (len <= SHOWN)
		return;
	*from = at > BEFORE ? at - BEFORE : 0;
	if (*from + SHOWN > len)
		*from = len - SHOWN;
	*to = *from + SHOWN;
}

static void
show_line(struct shown *s, const char *start, const char *end, const struct place *at)
{
	size_t len = (size_t)(end - start), from, to, mark = at->column > 0 ? at->column - 1 : 0;
	const char *p, *stop;

	if (mark > len)
		mark = len;
	choose_window(len, mark, &from, &to);
	while (from > 0 && from < mark && ((unsigned char)start[from] & 0xc0) == 0x80)
		from++;
	if (from > 0) {
		buffer_puts(&s->text, "...");
		s->columns = 3;
	}
	s->from = s->columns;
	for (p = start + from, stop = start + to; p < stop;) {
		size_t here = (size_t)(p - start);

		if (here <= mark)
			s->from = s->columns;
		p += put_shown(&s->text, p, end, &s->columns);
		if (here < mark + at->width)
			s->to = s->columns;
	}
	if (mark == len) /* behind the last byte: the end of the file, mostly */
		s->from = s->to = s->columns;
	if (to < len)
		buffer_puts(&s->text, "...");
	if (s->to <= s->from)
		s->to = s->from + 1;
}

static unsigned
digits_of(unsigned v)
{
	unsigned n = 1;

	while (v >= 10) {
		v /= 10;
		n++;
	}
	return n;
}

/* Digits of the widest line number of the report, so that its frames stand below each other. */
static unsigned
gutter_of(const struct problems *p)
{
	unsigned widest = LEAST_DIGITS;

	for (size_t i = 0; i < p->count; i++)
		if (digits_of(p->list[i].place.line) > widest)
			widest = digits_of(p->list[i].place.line);
	return widest;
}

static void
put_repeated(struct buffer *out, char c, unsigned n)
{
	while (n-- > 0)
		buffer_put(out, &c, 1);
}

static void
render_line(const struct problem *one, const struct source *src, unsigned gutter,
	    const struct paint *paint, struct buffer *out)
{
	struct shown s = {0};
	const char *start, *end;

	if (!line_of(src, one->place.line, &start, &end))
		return;
	show_line(&s, start, end, &one->place);
	buffer_putf(out, "%s%*s |%s\n", paint->frame, (int)gutter, "", paint->off);
	buffer_putf(out, "%s%*u |%s ", paint->frame, (int)gutter, one->place.line, paint->off);
	buffer_put(out, s.text.p, s.text.len);
	buffer_putf(out, "\n%s%*s |%s ", paint->frame, (int)gutter, "", paint->off);
	put_repeated(out, ' ', s.from);
	buffer_puts(out, one->warning ? paint->warning : paint->error);
	put_repeated(out, '^', s.to - s.from);
	buffer_putf(out, "%s\n", paint->off);
	buffer_free(&s.text);
}

static void
put_place(struct buffer *out, const struct place *at)
{
	put_quiet(out, at->file);
	if (at->line > 0)
		buffer_putf(out, ":%u:%u", at->line, at->column);
}

static void
render_help(const struct problem *one, unsigned gutter, const struct paint *paint,
	    struct buffer *out)
{
	if (one->help == NULL && one->seen.file == NULL)
		return;
	buffer_putf(out, "%s%*s =%s help: ", paint->frame, (int)gutter, "", paint->off);
	put_quiet(out, one->help != NULL ? one->help : "see there");
	if (one->seen.file != NULL) {
		buffer_puts(out, "  (");
		put_place(out, &one->seen);
		buffer_puts(out, ")");
	}
	buffer_puts(out, "\n");
}

static void
render_one(const struct problem *one, const struct sources *s, unsigned gutter,
	   const struct paint *paint, struct buffer *out)
{
	const struct place *at = &one->place;
	const struct source *src;

	buffer_putf(out, "%s%s[%s]%s%s: ", one->warning ? paint->warning : paint->error,
		    one->warning ? "warning" : "error", one->code, paint->off, paint->strong);
	put_quiet(out, one->text);
	buffer_putf(out, "%s\n", paint->off);
	if (at->file != NULL) {
		buffer_putf(out, "%s%*s-->%s ", paint->frame, (int)gutter + 1, "", paint->off);
		put_place(out, at);
		buffer_puts(out, "\n");
		src = s != NULL ? source_find(s, at->file) : NULL;
		if (src != NULL && at->line > 0)
			render_line(one, src, gutter, paint, out);
	}
	render_help(one, gutter, paint, out);
	buffer_puts(out, "\n");
}

static void
put_count(struct buffer *out, size_t n, const char *word)
{
	buffer_putf(out, "%zu %s%s", n, word, n == 1 ? "" : "s");
	if (n > PROBLEMS_KEEP)
		buffer_putf(out, " (the first %d are shown)", PROBLEMS_KEEP);
}

void
problems_render_list(const struct problems *p, const struct sources *s, bool colour,
		     struct buffer *out)
{
	const struct paint *paint = colour ? &colours : &plain;
	unsigned gutter = gutter_of(p);

	for (size_t i = 0; i < p->count; i++)
		render_one(&p->list[i], s, gutter, paint, out);
}

void
problems_render(const struct problems *p, const struct sources *s, bool colour, struct buffer *out)
{
	problems_render_list(p, s, colour, out);
	if (p->errors > 0)
		put_count(out, p->errors, "error");
	if (p->errors > 0 && p->warnings > 0)
		buffer_puts(out, ", ");
	if (p->warnings > 0)
		put_count(out, p->warnings, "warning");
	if (p->count > 0)
		buffer_puts(out, "\n");
}

static void
put_json_or_null(struct buffer *out, const char *s)
{
	if (s == NULL)
		buffer_puts(out, "null");
	else
		buffer_put_json(out, s, strlen(s));
}

static void
render_json_list(const struct problems *p, bool warning, struct buffer *out)
{
	const char *between = "";

	for (size_t i = 0; i < p->count; i++) {
		const struct problem *one = &p->list[i];

		if (one->warning != warning)
			continue;
		buffer_putf(out, "%s{\"code\":\"%s\",\"file\":", between, one->code);
		put_json_or_null(out, one->place.file);
		buffer_putf(out, ",\"line\":%u,\"column\":%u,\"text\":", one->place.line,
			    one->place.column);
		put_json_or_null(out, one->text);
		buffer_puts(out, ",\"help\":");
		put_json_or_null(out, one->help);
		buffer_puts(out, "}");
		between = ",";
	}
}

void
problems_put_warnings_json(const struct problems *p, struct buffer *out)
{
	buffer_puts(out, "[");
	render_json_list(p, true, out);
	buffer_puts(out, "]");
}

void
problems_render_json(const struct problems *p, struct buffer *out)
{
	buffer_puts(out, "{\"errors\":[");
	render_json_list(p, false, out);
	buffer_puts(out, "],\"warnings\":[");
	render_json_list(p, true, out);
	buffer_puts(out, "]");
	if (p->errors > PROBLEMS_KEEP)
		buffer_putf(out, ",\"more_errors\":%zu", p->errors - PROBLEMS_KEEP);
	if (p->warnings > PROBLEMS_KEEP)
		buffer_putf(out, ",\"more_warnings\":%zu", p->warnings - PROBLEMS_KEEP);
	buffer_puts(out, "}");
}
