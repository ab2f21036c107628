/*
 * verify.c - sallyctl verify: is this ledger as it was written?  Reads the files in order of
 * rotation, once, in large pieces; the judgement is in proof.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/proof.h"

#define PIECE (1u << 20) /* of a file; no record is nearly as long */
#define BAR 30           /* columns */
#define BAR_MS 100

struct reader {
	struct proof *proof;
	char piece[2 * PIECE];
	size_t len;
	bool skipping; /* the rest of a line that is too long to be one */
	/* the bar */
	bool bar;
	uint64_t done, all;
	int64_t told_ms;
};

/* ---- the bar ------------------------------------------------------------------------------ */

static uint64_t
size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

static void
bar_show(struct reader *r)
{
	static const char full[] = "##############################";
	int64_t now = clock_mono_ns() / NS_PER_MS;
	uint64_t part = r->all > 0 && r->done < r->all ? r->done * BAR / r->all : BAR;

	if (!r->bar || now - r->told_ms < BAR_MS)
		return;
	r->told_ms = now;
	fprintf(
	    stderr, "\r[%.*s%*s] %3llu %%", (int)part, full, (int)(BAR - part), "",
	    (unsigned long long)(r->all > 0 && r->done < r->all ? r->done * 100 / r->all : 100));
	fflush(stderr);
}

static void
bar_clear(const struct reader *r)
{
	if (r->bar && r->told_ms != 0)
		fprintf(stderr, "\r%*s\r", BAR + 10, "");
}

/* ---- reading ------------------------------------------------------------------------------ */

/* All whole lines of the piece; what is left is moved to its front. */
static void
cut_lines(struct reader *r)
{
	char *p = r->piece, *end = p + r->len, *newline;

	while (p < end && (newline = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		if (!r->skipping)
			proof_line(r->proof, p, (size_t)(newline - p), true);
		r->skipping = false;
		p = newline + 1;
	}
	r->len = (size_t)(end - p);
	if (r->len > PIECE) { /* no record */
		if (!r->skipping)
			proof_line(r->proof, p, r->len, true);
		r->skipping = true;
		r->len = 0;
	}
	memmove(r->piece, p, r->len);
}

static bool
read_all(struct reader *r, int fd)
{
	ssize_t n;

	r->len = 0;
	r->skipping = false;
	for (;;) {
		n = read(fd, r->piece + r->len, PIECE);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		r->len += (size_t)n;
		r->done += (uint64_t)n;
		cut_lines(r);
		bar_show(r);
	}
	if (n == 0 && r->len > 0 && !r->skipping)
		proof_line(r->proof, r->piece, r->len, false);
	return n == 0;
}

static bool
read_file(const struct ctl_call *call, struct reader *r, const char *path)
{
	bool input = strcmp(path, "-") == 0;
	int fd = input ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	struct buffer shown = {0};
	bool good;
	int error;

	proof_file(r->proof, input ? "standard input" : path);
	good = fd != -1 && read_all(r, fd);
	error = errno;
	if (fd != -1)
		close(fd);
	if (good)
		return true;
	bar_clear(r);
	put_shown(&shown, path);
	ctl_fail(call, "cannot read '%s': %s", shown.p, strerror(error));
	buffer_free(&shown);
	return false;
}

/* ---- telling ------------------------------------------------------------------------------ */

static void
put_hex(struct buffer *out, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buffer_putf(out, "%02x", p[i]);
}

static void
put_count(struct buffer *out, uint64_t n, const char *one, const char *more)
{
	char text[COUNT_TEXT];

	buffer_putf(out, "%s %s", count_text(n, text), n == 1 ? one : more);
}

static void
put_place(struct buffer *out, const struct proof_place *at)
{
	put_shown(out, at->file);
	buffer_putf(out, ":%llu", (unsigned long long)at->line);
}

static void
put_fault(const struct ctl_call *call, const struct proof_result *r, struct buffer *out)
{
	const struct style *s = style_of(call);

	put_place(out, &r->at);
	buffer_putf(out, ": %s%s%s: ", s->bad, proof_word(r->fault), s->off);
	put_shown(out, r->text);
	buffer_puts(out, "\n");
	if (r->faults > 1) {
		put_count(out, r->faults - 1, "more place", "more places");
		buffer_puts(out, " behind it where something is wrong\n");
	}
}

static void
put_proven(const struct proof_result *r, struct buffer *out)
{
	char text[COUNT_TEXT];

	buffer_putf(out, "%s of ", count_text(r->proven, text));
	put_count(out, r->lines, "line", "lines");
	buffer_puts(out, " proven by ");
	put_count(out, r->checkpoints, "signature", "signatures");
	buffer_puts(out, "\n");
	if (r->unsigned_lines > 0) {
		put_count(out, r->unsigned_lines, "line", "lines");
		buffer_puts(out, " at the end not signed yet\n");
	}
	if (r->torn > 0) {
		put_count(out, r->torn, "line", "lines");
		buffer_puts(out, " cut off by a crash of the machine or a full disk, and told so\n");
	}
	if (r->fault == PROOF_WHOLE && !r->ended)
		buffer_puts(out, "it has no end: the server still writes it, was killed, or the "
				 "end was cut off\n");
}

static void
put_keys(const struct ctl_call *call, const struct proof_result *r, struct buffer *out)
{
	const struct style *s = style_of(call);

	for (size_t i = 0; i < r->key_count; i++) {
		const struct proof_key *k = &r->keys[i];

		buffer_putf(out, "%skey ", s->dim);
		put_hex(out, k->key, CHAIN_KEY);
		buffer_puts(out, " from ");
		put_place(out, &k->at);
		buffer_puts(out, k->named ? ", named by the one before\n" : ", of a new start\n");
		buffer_puts(out, s->off);
	}
}

static void
put_text(const struct ctl_call *call, const struct proof_result *r, struct buffer *out)
{
	const struct style *s = style_of(call);
	char from[COUNT_TEXT], to[COUNT_TEXT];

	if (r->fault == PROOF_WHOLE)
		buffer_putf(out, "%swhole%s: records %s to %s\n", s->good, s->off,
			    count_text(r->first_seq, from), count_text(r->last_seq, to));
	else
		put_fault(call, r, out);
	put_proven(r, out);
	put_keys(call, r, out);
}

static void
put_number(struct buffer *out, const char *key, uint64_t n)
{
	buffer_putf(out, ",\"%s\":%llu", key, (unsigned long long)n);
}

static void
put_place_json(struct buffer *out, const struct proof_place *at)
{
	buffer_puts(out, "\"file\":");
	buffer_put_json(out, at->file, strlen(at->file));
	put_number(out, "line", at->line);
	if (at->seq != 0)
		put_number(out, "seq", at->seq);
}

static void
put_json(const struct proof_result *r, struct buffer *out)
{
	buffer_putf(out, "{\"verdict\":\"%s\"", proof_word(r->fault));
	if (r->fault != PROOF_WHOLE) {
		buffer_puts(out, ",\"at\":{");
		put_place_json(out, &r->at);
		buffer_puts(out, ",\"text\":");
		buffer_put_json(out, r->text, strlen(r->text));
		buffer_puts(out, "}");
	}
	put_number(out, "faults", r->faults);
	put_number(out, "lines", r->lines);
	put_number(out, "records", r->records);
	put_number(out, "first", r->first_seq);
	put_number(out, "last", r->last_seq);
	put_number(out, "proven", r->proven);
	put_number(out, "signatures", r->checkpoints);
	put_number(out, "unsigned", r->unsigned_lines);
	put_number(out, "torn", r->torn);
	buffer_putf(out, ",\"ended\":%s,\"keys\":[", r->ended ? "true" : "false");
	for (size_t i = 0; i < r->key_count; i++) {
		buffer_putf(out, "%s{\"key\":\"", i > 0 ? "," : "");
		put_hex(out, r->keys[i].key, CHAIN_KEY);
		buffer_putf(out, "\",\"named\":%s,", r->keys[i].named ? "true" : "false");
		put_place_json(out, &r->keys[i].at);
		buffer_puts(out, "}");
	}
	buffer_puts(out, "]}\n");
}

/* ---- the command -------------------------------------------------------------------------- */

/* The first hex digits of the key that the first file must be signed with, as the log of the server
 * told it. */
static bool
key_matches(const struct proof_result *r, const char *wanted)
{
	char hex[2 * CHAIN_KEY + 1];

	if (r->key_count == 0)
		return false;
	for (size_t i = 0; i < CHAIN_KEY; i++)
		snprintf(hex + 2 * i, 3, "%02x", r->keys[0].key[i]);
	return strncmp(hex, wanted, strlen(wanted)) == 0;
}

static bool
key_is_good(const char *wanted)
{
	size_t len = strlen(wanted);

	return len >= 16 && len <= 2 * CHAIN_KEY && strspn(wanted, "0123456789abcdef") == len;
}

static int
tell(const struct ctl_call *call, const struct proof_result *r, const char *wanted)
{
	struct buffer out = {0};
	bool other = wanted != NULL && !key_matches(r, wanted);

	if (r->records == 0)
		return ctl_fail(call, "there is no record of a ledger in the form 'ecs' in it");
	if (call->json)
		put_json(r, &out);
	else
		put_text(call, r, &out);
	if (other && !call->json)
		buffer_puts(&out, "the first key is another one than was asked for\n");
	return ctl_done(&out, r->fault == PROOF_WHOLE && !other ? CTL_YES : CTL_NO);
}

int
verify_run(struct ctl_call *call)
{
	const char *wanted = option_value(call, "key");
	struct reader *r;
	bool good = true;
	int status = CTL_FAILED;

	if (wanted != NULL && !key_is_good(wanted))
		return ctl_fail(call, "a key is 16 to 64 hex digits in lower case");
	if ((r = calloc(1, sizeof *r)) == NULL)
		return ctl_fail(call, "no memory");
	r->proof = proof_new();
	r->bar = !call->json && isatty(STDERR_FILENO);
	for (unsigned i = 0; i < call->operand_count; i++)
		r->all += size_of(call->operands[i]);
	for (unsigned i = 0; i < call->operand_count && good; i++)
		good = read_file(call, r, call->operands[i]);
	bar_clear(r);
	if (good)
		status = tell(call, proof_end(r->proof), wanted);
	proof_free(r->proof);
	free(r);
	return status;
}
