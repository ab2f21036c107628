/*
 * wire/syslog.c - see wire/syslog.h. Pure.
 */
#include "wire/syslog.h"

#include <string.h>

#define HOSTNAME_MAX 255 /* RFC 5424, 6 */
#define MSGID_MAX 32
#define SEQUENCE_MAX 2147483647u /* 7.3.1; behind it comes 1 */

/* PRINTUSASCII; "-" if there is nothing. */
static void
put_word(struct text *t, struct field_value v, size_t most)
{
	char bytes[HOSTNAME_MAX];
	size_t n = field_bytes(v, bytes, most);

	text_put_char(t, ' ');
	if (n == 0)
		text_put_char(t, '-');
	for (size_t i = 0; i < n; i++)
		text_put_char(t, bytes[i] > 0x20 && bytes[i] <= 0x7e ? bytes[i] : '?');
}

static void
put_head(struct text *t, const struct syslog_form *s, const struct fields *f)
{
	uint64_t seq = fields_seq(f);

	text_putf(t, "<%u>1 ", (s->facility & 31) * 8 + (unsigned)fields_severity(f));
	if (fields_time(f) != 0)
		text_put_bytes(t, f->of[FIELD_TIME].p, f->of[FIELD_TIME].len);
	else
		text_put_char(t, '-');
	put_word(t, f->of[FIELD_HOSTNAME], HOSTNAME_MAX);
	text_putf(t, " %.48s", s->app);
	if (s->procid != 0)
		text_putf(t, " %u", s->procid);
	else
		text_put(t, " -");
	put_word(t, f->of[FIELD_ACTION], MSGID_MAX);
	if (seq != 0)
		text_putf(t, " [meta sequenceId=\"%u\"] ",
			  (unsigned)((seq - 1) % SEQUENCE_MAX + 1));
	else
		text_put(t, " - ");
}

bool
syslog_put(struct text *t, const struct syslog_form *s, const struct fields *f, const char *line,
	   size_t len)
{
	char head[SYSLOG_HEAD], count[24];
	struct text h, c;
	size_t all;

	text_init(&h, head, sizeof head);
	text_init(&c, count, sizeof count);
	put_head(&h, s, f);
	if (s->framing == SYSLOG_COUNTED)
		text_putf(&c, "%zu ", h.len + len);
	all = c.len + h.len + len + (s->framing == SYSLOG_LINES);
	if (all >= t->cap - t->len)
		return false;
	text_put_bytes(t, count, c.len);
	text_put_bytes(t, head, h.len);
	text_put_bytes(t, line, len);
	if (s->framing == SYSLOG_LINES)
		text_put_char(t, '\n');
	return true;
}
