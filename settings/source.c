/*
 * settings/source.c - one file's text: opened, judged as a file, judged as bytes.
 *
 * Runs in COMPILE and in sallyctl; may block on files. Only regular files that
 * nobody else may write are read, and what is not plain UTF-8 text is refused
 * here, before any parser sees it (POLICY.md "Files").
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "settings/source.h"

#define SOURCE_MAX ((size_t)256 << 20) /* offsets in the tree are 32 bits wide */
#define BYTE_FAULTS 10                 /* told of one file; a binary file has thousands */

static void *
need(void *p)
{
	if (p == NULL)
		abort();
	return p;
}

void
sources_init(struct sources *s)
{
	*s = (struct sources){0};
	s->last = &s->first;
}

void
sources_free(struct sources *s)
{
	struct source *one, *next;

	for (one = s->first; one != NULL; one = next) {
		next = one->next;
		free(one->name);
		free(one->path);
		free(one->dir);
		free(one->text);
		free(one);
	}
	sources_init(s);
}

struct source *
source_find(const struct sources *s, const char *name)
{
	for (struct source *one = s->first; one != NULL; one = one->next)
		if (strcmp(one->name, name) == 0)
			return one;
	return NULL;
}

static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return need(strdup("."));
	return need(strndup(path, slash == path ? 1 : (size_t)(slash - path)));
}

static struct source *
source_new(struct sources *s, const char *path, const char *display)
{
	struct source *one = need(calloc(1, sizeof(*one)));

	one->name = need(strdup(display));
	one->path = need(strdup(path));
	one->dir = folder_of(path);
	one->text = need(calloc(1, 1));
	*s->last = one;
	s->last = &one->next;
	return one;
}

struct source *
source_text(struct sources *s, const char *display, const char *dir, const void *text, size_t len)
{
	struct source *one = source_new(s, display, display);

	free(one->dir);
	one->dir = dir != NULL ? need(strdup(dir)) : NULL;
	one->text = need(realloc(one->text, len + 1));
	if (len > 0)
		memcpy(one->text, text, len);
	one->text[len] = '\0';
	one->len = len;
	return one;
}

unsigned
utf8_at(const char *p, const char *end, unsigned *point)
{
	static const unsigned least[5] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *u = (const unsigned char *)p;
	unsigned n = u[0] < 0x80 ? 1 : u[0] < 0xc2 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;

	if (n == 0 || u[0] > 0xf4 || (size_t)(end - p) < n)
		return 0;
	*point = n == 1 ? u[0] : u[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		*point = *point << 6 | (u[i] & 0x3f);
	}
	if (*point < least[n] || *point > 0x10ffff || (*point >= 0xd800 && *point <= 0xdfff))
		return 0;
	return n;
}

bool
utf8_hides(unsigned point)
{
	return (point >= 0x80 && point < 0xa0) || (point >= 0x202a && point <= 0x202e) ||
	       (point >= 0x2066 && point <= 0x2069) || point == 0x2028 || point == 0x2029;
}

static bool
is_plain(unsigned char c)
{
	return (c >= 0x20 && c < 0x7f) || c == '\t' || c == '\n';
}

/* The fault at p, as a code; *width its bytes. NULL: none, and *width bytes are fine. */
static const char *
fault_at(const char *p, const char *end, unsigned *width)
{
	unsigned char c = (unsigned char)*p;
	unsigned point, n;

	*width = 1;
	if (c == '\r' && p + 1 < end && p[1] == '\n')
		return NULL;
	if (c < 0x80)
		return is_plain(c) ? NULL : "E107";
	n = utf8_at(p, end, &point);
	if (n == 0)
		return "E108";
	*width = n;
	return utf8_hides(point) ? "E107" : NULL;
}

static void
tell_fault(const char *code, struct place at, const char *p, struct problems *out)
{
	unsigned point = 0;

	if (strcmp(code, "E108") == 0) {
		problem_help(problems_add(out, code, at, "this is not UTF-8"),
			     "files are UTF-8; is this one written in Latin-1?");
		return;
	}
	if (*p == '\0') {
		problems_add(out, code, at, "a NUL byte is no text");
		return;
	}
	utf8_at(p, p + at.width, &point);
	if (*p == '\r')
		problem_help(problems_add(out, code, at, "a carriage return without a line feed"),
			     "lines end with LF or CR LF");
	else
		problem_help(problems_add(out, code, at, "a control character, U+%04X", point),
			     "only tab and line ends may stand in a file");
}

/* All the bytes from p on with the same fault: one problem. */
static unsigned
fault_run(const char *p, const char *end, const char *code, unsigned width)
{
	unsigned run = width;

	while (p + run < end) {
		const char *next = fault_at(p + run, end, &width);

		if (next == NULL || strcmp(next, code) != 0)
			break;
		run += width;
	}
	return run;
}

void
source_check(const struct source *src, struct problems *p)
{
	const char *end = src->text + src->len, *start = src->text, *c = src->text;
	struct place at = {src->name, 1, 1, 3};
	unsigned told = 0;

	if (src->len >= 3 && memcmp(c, "\xef\xbb\xbf", 3) == 0) {
		problem_help(problems_add(p, "E106", at, "the file starts with a byte order mark"),
			     "save it as UTF-8 without BOM");
		c += 3;
	}
	while (c < end && told < BYTE_FAULTS) {
		const char *code;

		if (is_plain((unsigned char)*c)) {
			if (*c++ == '\n') {
				at.line++;
				start = c;
			}
			continue;
		}
		code = fault_at(c, end, &at.width);
		if (code != NULL) {
			at.column = (unsigned)(c - start) + 1;
			at.width = fault_run(c, end, code, at.width);
			tell_fault(code, at, c, p);
			told++;
		}
		c += at.width;
	}
}

static bool
read_all(int fd, struct source *src, size_t size)
{
	size_t cap = size + 2;

	src->text = need(realloc(src->text, cap));
	for (;;) {
		ssize_t n = read(fd, src->text + src->len, cap - 1 - src->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || src->len + (size_t)n > SOURCE_MAX) {
			src->text[src->len] = '\0';
			if (n > 0)
				errno = EFBIG;
			return n == 0;
		}
		src->len += (size_t)n;
		if (src->len == cap - 1)
			src->text = need(realloc(src->text, cap *= 2));
	}
}

/* The file is the problem: its name with no line, and where it was named. */
static void
tell_file(struct problems *p, const char *code, const char *name, struct place at, const char *text,
	  const char *help)
{
	struct place whole = {name, 0, 0, 0};
	struct problem *one = problems_add(p, code, whole, "%s", text);

	problem_help(one, "%s", help);
	if (at.file != NULL)
		problem_seen(one, at);
}

static bool
judge_file(const struct stat *st, const char *name, struct place at, struct problems *p)
{
	if (!S_ISREG(st->st_mode)) {
		tell_file(p, "E103", name, at, "not a regular file",
			  "folders, devices, pipes and sockets are not read");
		return false;
	}
	if (st->st_mode & S_IWOTH) {
		tell_file(p, "E104", name, at, "the file is writable by others",
			  "chmod o-w takes the right away");
		return false;
	}
	if ((unsigned long long)st->st_size > SOURCE_MAX) {
		tell_file(p, "E105", name, at, "the file is larger than 256 MiB",
			  "split it into several");
		return false;
	}
	return true;
}

static void
tell_unreadable(struct problems *p, const struct source *src, struct place at, int error)
{
	if (at.file == NULL)
		at.file = src->name;
	problems_add(p, "E101", at, "cannot read '%s': %s", src->name, strerror(error));
}

struct source *
source_open(struct sources *s, const char *path, const char *display, struct place at,
	    struct stat *what, struct problems *p)
{
	bool other = s->instead_of != NULL && strcmp(path, s->instead_of) == 0;
	struct source *src = source_new(s, other ? s->instead : path, other ? s->instead : display);
	struct stat st;
	bool good = false;
	/* Not blocking: a pipe in the place of a file must not hold us. */
	int fd = open(src->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd == -1) {
		tell_unreadable(p, src, at, errno);
		return NULL;
	}
	if (fstat(fd, &st) == -1)
		tell_unreadable(p, src, at, errno);
	else if (judge_file(&st, src->name, at, p)) {
		good = read_all(fd, src, (size_t)st.st_size);
		if (!good)
			tell_unreadable(p, src, at, errno);
	}
	close(fd);
	if (!good)
		return NULL;
	if (what != NULL)
		*what = st;
	source_check(src, p);
	return src;
}

struct source *
source_read(struct sources *s, const char *path, const char *display, struct place at,
	    enum source_kind kind, struct problems *p)
{
	size_t before = p->errors;
	struct source *src = source_open(s, path, display, at, NULL, p);

	(void)kind; /* the bytes of tables and of libconfig files obey the same rules */
	return p->errors == before ? src : NULL;
}
