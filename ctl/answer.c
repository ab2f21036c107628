/*
 * answer.c - how sallyctl speaks: product on stdout, refusals on stderr, colours
 * only on a terminal, nothing that could steer the terminal.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"

void (*ctl_leave)(void);

int
ctl_fail(const struct ctl_call *call, const char *fmt, ...)
{
	struct buffer out = {0};
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (ctl_leave != NULL)
		ctl_leave();
	if (call == NULL || !call->json) {
		if (call != NULL)
			fprintf(stderr, "sallyctl: %s: %s\n", call->command->name, line);
		else
			fprintf(stderr, "sallyctl: %s\n", line);
		return CTL_FAILED;
	}
	buffer_puts(&out, "{\"error\":");
	buffer_put_json(&out, line, strlen(line));
	buffer_puts(&out, "}\n");
	return ctl_done(&out, CTL_FAILED);
}

bool
ctl_write(const struct buffer *out)
{
	size_t done = 0;

	while (done < out->len) {
		ssize_t n = write(STDOUT_FILENO, out->p + done, out->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EPIPE) /* the reader has seen enough: no news */
				fprintf(stderr, "sallyctl: cannot write the answer: %s\n",
					strerror(errno));
			return false;
		}
		done += (size_t)n;
	}
	return true;
}

int
ctl_done(struct buffer *out, int status)
{
	bool ok = ctl_write(out);

	buffer_free(out);
	return ok ? status : CTL_FAILED;
}

const struct style *
style_of(const struct ctl_call *call)
{
	static const struct style plain = {"", "", "", "", "", ""};
	static const struct style colour = {"\033[1;32m", "\033[1;31m", "\033[1;33m",
					    "\033[1m",    "\033[2m",    "\033[0m"};

	return call->colour ? &colour : &plain;
}

/* One UTF-8 character: its length, 0 if it is none, and its number. */
static size_t
utf8_next(const unsigned char *s, uint32_t *out)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80             ? 1
		   : (s[0] & 0xe0) == 0xc0 ? 2
		   : (s[0] & 0xf0) == 0xe0 ? 3
		   : (s[0] & 0xf8) == 0xf0 ? 4
					   : 0;

	if (n < 2) {
		*out = s[0];
		return n;
	}
	*out = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		*out = *out << 6 | (s[i] & 0x3f);
	}
	return *out >= least[n] && *out <= 0x10ffff ? n : 0;
}

/* Characters that move, hide or turn round what a terminal shows. */
static bool
steers(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xd800 && c <= 0xdfff);
}

void
put_shown(struct buffer *out, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;
	uint32_t c;

	while (*p != '\0') {
		size_t n = utf8_next(p, &c);

		if (n > 0 && !steers(c)) {
			buffer_put(out, p, n);
			p += n;
			continue;
		}
		buffer_putf(out, "\\x%02x", *p++);
	}
}

const char *
count_text(uint64_t n, char buf[COUNT_TEXT])
{
	char *p = &buf[COUNT_TEXT - 1];
	unsigned digits = 0;

	*p = '\0';
	do {
		if (digits > 0 && digits % 3 == 0)
			*--p = ',';
		*--p = (char)('0' + n % 10);
		n /= 10;
		digits++;
	} while (n > 0);
	return p;
}
