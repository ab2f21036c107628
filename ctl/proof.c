/*
 * proof.c - see proof.h.
 *
 * A line that does not fit behind the one before is a suspect, and is judged when the next is
 * there: which of the two fits tells whether it was changed or added, and what the line before has
 * to do with it.
 */
#include "ctl/proof.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD 8192 /* no line is longer */

struct seen {
	bool there, parsed, whole, first_of_file;
	bool good; /* of a suspect: its signature is right */
	struct chain_tail tail;
	uint8_t hash[CHAIN_HASH];
	struct proof_place at;
};

struct proof {
	struct proof_result result;
	struct proof_place here;
	bool first_of_file;
	/* the last line that was taken */
	struct proof_place last;
	struct chain chain;
	bool any, closed, signed_well;
	bool lax; /* it was changed: that the next does not link to it is known */
	uint64_t expected;
	/* the one that did not fit behind it */
	struct seen suspect;
	/* the end of a file without a newline: perhaps the next one begins with all of it */
	char held[HELD];
	size_t held_len; /* 0: none */
	struct proof_place held_at;
	bool held_first;
	/* signatures */
	bool has_key, has_next, root_known;
	uint8_t key[CHAIN_KEY], next[CHAIN_KEY];
	struct chain_mark mark;
	uint64_t pending; /* lines since the last checkpoint */
	struct proof_place pending_from;
	struct proof_place first;
	bool first_explained;
	/* the first fault is another one if this record comes yet */
	uint64_t watch;
	enum proof_fault watch_means;
	struct proof_key *keys;
	size_t keys_room;
};

const char *
proof_word(enum proof_fault fault)
{
	static const char *const words[] = {
	    [PROOF_WHOLE] = "whole", [PROOF_CHANGED] = "changed", [PROOF_CUT] = "cut",
	    [PROOF_MOVED] = "moved", [PROOF_REMOVED] = "removed", [PROOF_ADDED] = "added"};

	return words[fault];
}

struct proof *
proof_new(void)
{
	struct proof *p = calloc(1, sizeof *p);

	if (p == NULL)
		abort();
	return p;
}

void
proof_free(struct proof *p)
{
	free(p->keys);
	free(p);
}

void
proof_file(struct proof *p, const char *name)
{
	p->here = (struct proof_place){.file = name};
	p->first_of_file = true;
}

/* ---- faults ----------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void
fault(struct proof *p, enum proof_fault what, struct proof_place at, const char *fmt, ...)
{
	struct proof_result *r = &p->result;
	va_list ap;

	/* what stood since the last checkpoint is not proven by any that comes */
	p->pending = 0;
	p->root_known = false;
	if (r->faults++ > 0)
		return;
	r->fault = what;
	r->at = at;
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof r->text, fmt, ap);
	va_end(ap);
	p->watch = 0;
}

#define N(n) ((unsigned long long)(n))

/* "record 5", "records 5 to 9" */
static const char *
records(uint64_t from, uint64_t to, char buf[64])
{
	if (from == to)
		snprintf(buf, 64, "record %llu", N(from));
	else
		snprintf(buf, 64, "records %llu to %llu", N(from), N(to));
	return buf;
}

static void
watch_for(struct proof *p, uint64_t seq, enum proof_fault means)
{
	if (p->result.faults != 1)
		return;
	p->watch = seq;
	p->watch_means = means;
}

static void
look_out(struct proof *p, const struct seen *now)
{
	struct proof_result *r = &p->result;

	if (p->watch == 0 || !now->parsed || now->tail.seq != p->watch)
		return;
	r->fault = p->watch_means;
	if (p->watch_means == PROOF_MOVED)
		snprintf(r->text, sizeof r->text,
			 "record %llu belongs here; it stands in line %llu of %s", N(p->watch),
			 N(now->at.line), now->at.file);
	else
		snprintf(r->text, sizeof r->text,
			 "a second record %llu, which does not belong here; the first stands in "
			 "line %llu of %s",
			 N(p->watch), N(now->at.line), now->at.file);
	p->watch = 0;
}

/* ---- taking a line ---------------------------------------------------------------------- */

static bool
links(const uint8_t hash[CHAIN_HASH], const struct seen *s)
{
	return (s->tail.has & CHAIN_HAS_PREV) != 0 && memcmp(s->tail.prev, hash, CHAIN_PREV) == 0;
}

static bool
follows(const struct proof *p, const struct seen *s)
{
	return s->there && s->parsed && s->tail.seq == p->expected && links(p->chain.last, s);
}

static void
keep_key(struct proof *p, const struct seen *s)
{
	struct proof_result *r = &p->result;

	if (r->key_count == p->keys_room) {
		p->keys_room = p->keys_room * 2 + 8;
		p->keys = realloc(p->keys, p->keys_room * sizeof *p->keys);
		if (p->keys == NULL)
			abort();
	}
	p->keys[r->key_count].at = s->at;
	p->keys[r->key_count].named = p->has_next && memcmp(p->next, s->tail.key, CHAIN_KEY) == 0;
	memcpy(p->keys[r->key_count].key, s->tail.key, CHAIN_KEY);
	r->key_count++;
	r->keys = p->keys;
}

static void
take_key(struct proof *p, const struct seen *s)
{
	uint64_t from = (s->tail.has & CHAIN_HAS_FROM) != 0 ? s->tail.from : s->tail.seq;
	char which[64];

	keep_key(p, s);
	if (!p->first_explained && p->first.seq > from)
		fault(p, PROOF_CUT, p->first, "the beginning of %s is missing: %s", p->first.file,
		      records(from, p->first.seq - 1, which));
	else if (!p->first_explained && p->first.seq < from)
		fault(p, PROOF_CUT, p->first, "the beginning of %s is missing", p->first.file);
	p->first_explained = true;
	if ((s->tail.has & CHAIN_HAS_LAST) != 0 && p->mark.seq == s->tail.last.seq &&
	    p->mark.seq != 0 &&
	    memcmp(p->mark.signature, s->tail.last.signature, CHAIN_SIGNATURE) != 0)
		fault(p, PROOF_CHANGED, s->at,
		      "it carries another checkpoint %llu than the one that stands there",
		      N(p->mark.seq));
	memcpy(p->key, s->tail.key, CHAIN_KEY);
	p->has_key = true;
	p->has_next = false;
	chain_begin(&p->chain, s->tail.prev);
	p->root_known = true;
}

/* Before the line is added to the chain. True: its signature is right. */
static bool
check_signature(struct proof *p, const struct seen *s, const char *line)
{
	char which[64];

	if (!chain_verify(p->key, s->tail.signature, line, s->tail.signed_len)) {
		fault(p, PROOF_CHANGED, s->at, "its signature is not right");
		return false;
	}
	if (p->root_known && memcmp(p->chain.root, s->tail.root, CHAIN_HASH) != 0)
		fault(p, PROOF_CHANGED, p->pending > 0 ? p->pending_from : s->at,
		      "something in %s was changed, and the links behind it made anew",
		      records(p->pending > 0 ? p->pending_from.seq : s->tail.seq, s->tail.seq,
			      which));
	p->result.proven += p->pending + 1;
	p->pending = 0;
	p->result.checkpoints++;
	p->mark.seq = s->tail.seq;
	memcpy(p->mark.signature, s->tail.signature, CHAIN_SIGNATURE);
	p->has_next = (s->tail.has & CHAIN_HAS_NEXT) != 0;
	memcpy(p->next, s->tail.next, CHAIN_KEY);
	/* from here on it is known again, whatever was before */
	memcpy(p->chain.root, s->tail.root, CHAIN_HASH);
	p->root_known = true;
	return true;
}

static void
take(struct proof *p, const struct seen *s, const char *line, size_t len)
{
	bool good = false;

	if (!p->any) {
		p->first = s->at;
		p->result.first_seq = s->tail.seq;
	}
	if (p->closed && (s->tail.has & CHAIN_HAS_KEY) == 0)
		fault(p, PROOF_ADDED, s->at,
		      "it stands behind the end of what was signed with its key");
	if ((s->tail.has & CHAIN_HAS_KEY) != 0)
		take_key(p, s);
	if ((s->tail.has & CHAIN_HAS_SIGNATURE) != 0 && (s->tail.has & CHAIN_HAS_ROOT) != 0 &&
	    p->has_key) {
		good = check_signature(p, s, line);
	} else if (p->root_known) {
		if (p->pending++ == 0)
			p->pending_from = s->at;
	}
	chain_add(&p->chain, line, len);
	p->any = true;
	p->lax = false;
	p->signed_well = good;
	p->closed = good && (s->tail.has & (CHAIN_HAS_NEXT | CHAIN_HAS_END)) != 0;
	p->result.ended = p->closed;
	p->expected = s->tail.seq + 1;
	p->last = s->at;
	p->result.last_seq = s->tail.seq;
	p->result.records++;
}

/* ---- judging ---------------------------------------------------------------------------- */

/* What becomes of the suspect. */
enum verdict { LEAVE_OUT, TAKE_AS_IS, TAKE_CHANGED, TAKE_TORN };

static enum verdict
judge_unreadable(struct proof *p, const struct seen *s, const struct seen *now)
{
	if (follows(p, now)) {
		fault(p, PROOF_ADDED, s->at,
		      "it is no record, and the next follows the one before it");
		return LEAVE_OUT;
	}
	if (now->there && now->parsed && (now->tail.has & CHAIN_HAS_KEY) != 0 &&
	    now->tail.seq == p->expected && links(s->hash, now)) {
		p->result.torn++;
		return TAKE_TORN;
	}
	if (!s->whole)
		fault(p, PROOF_CUT, s->at, "%s ends in the middle of it", s->at.file);
	else
		fault(p, PROOF_CHANGED, s->at, "it is no record any more");
	return TAKE_CHANGED;
}

/* The number is right, the link to the line before is not. */
static enum verdict
judge_link(struct proof *p, const struct seen *s, const struct seen *now)
{
	if (follows(p, now)) {
		fault(p, PROOF_ADDED, s->at,
		      "a second record %llu, which does not follow the line before",
		      N(s->tail.seq));
		return LEAVE_OUT;
	}
	if (!p->signed_well && (s->good || (now->there && links(s->hash, now)))) {
		fault(p, PROOF_CHANGED, p->last, "what follows was written behind another line");
		return TAKE_AS_IS;
	}
	fault(p, PROOF_CHANGED, s->at, "it is not the line that was written");
	return TAKE_CHANGED;
}

static enum verdict
judge_gap(struct proof *p, const struct seen *s, const struct seen *now)
{
	uint64_t from = p->expected, to = s->tail.seq - 1;
	char which[64];

	if (links(p->chain.last, s)) {
		fault(p, PROOF_CHANGED, s->at, "its number was changed: it is record %llu",
		      N(p->expected));
		return TAKE_CHANGED;
	}
	if (follows(p, now)) {
		fault(p, PROOF_MOVED, s->at, "record %llu does not belong here", N(s->tail.seq));
		watch_for(p, s->tail.seq, PROOF_ADDED);
		return LEAVE_OUT;
	}
	records(from, to, which);
	if (s->first_of_file && !p->closed)
		fault(p, PROOF_CUT, p->last, "the end of %s is missing: %s", p->last.file, which);
	else if (s->first_of_file)
		fault(p, PROOF_REMOVED, s->at, "%s missing between %s and %s: a file?", which,
		      p->last.file, s->at.file);
	else
		fault(p, PROOF_REMOVED, s->at, "%s missing before it", which);
	watch_for(p, from, PROOF_MOVED);
	return TAKE_AS_IS;
}

/* A number that was there already. */
static enum verdict
judge_again(struct proof *p, const struct seen *s, const struct seen *now)
{
	if (follows(p, now)) {
		fault(p, PROOF_ADDED, s->at, "a second record %llu", N(s->tail.seq));
		return LEAVE_OUT;
	}
	if (links(p->chain.last, s)) {
		fault(p, PROOF_CHANGED, s->at, "its number was changed: it is record %llu",
		      N(p->expected));
		return TAKE_CHANGED;
	}
	if (s->first_of_file) {
		fault(p, PROOF_MOVED, s->at,
		      "%s begins with record %llu, but %s ends with %llu: are they of one "
		      "ledger, and in order of rotation?",
		      s->at.file, N(s->tail.seq), p->last.file, N(p->expected - 1));
		return TAKE_AS_IS;
	}
	if (now->there && now->parsed && now->tail.seq == s->tail.seq + 1 && links(s->hash, now)) {
		fault(p, PROOF_ADDED, s->at, "a second record %llu, and more that follow it",
		      N(s->tail.seq));
		return TAKE_AS_IS;
	}
	fault(p, PROOF_CHANGED, s->at, "it is not the line that was written");
	return TAKE_CHANGED;
}

static enum verdict
judge(struct proof *p, const struct seen *s, const struct seen *now)
{
	if (!s->parsed)
		return judge_unreadable(p, s, now);
	if (s->tail.seq == p->expected)
		return judge_link(p, s, now);
	return s->tail.seq > p->expected ? judge_gap(p, s, now) : judge_again(p, s, now);
}

/* The suspect's text is gone by now; what is needed of it was kept. */
static void
settle(struct proof *p, const struct seen *now)
{
	struct seen s = p->suspect;
	struct proof_place pending_from = p->pending_from;
	uint64_t pending = p->pending;
	bool root_known = p->root_known;
	enum verdict v = judge(p, &s, now);

	p->suspect.there = false;
	if (v == LEAVE_OUT) { /* nothing is lost by it */
		p->pending = pending;
		p->pending_from = pending_from;
		p->root_known = root_known;
		return;
	}
	memcpy(p->chain.last, s.hash, CHAIN_HASH);
	if (v == TAKE_TORN)
		return;
	if (s.parsed && (s.tail.has & CHAIN_HAS_KEY) != 0)
		take_key(p, &s);
	p->root_known = p->closed = p->signed_well = p->result.ended = false;
	p->has_next = s.good && (s.tail.has & CHAIN_HAS_NEXT) != 0;
	memcpy(p->next, s.tail.next, CHAIN_KEY);
	p->lax = v == TAKE_CHANGED;
	p->expected = v == TAKE_AS_IS ? s.tail.seq + 1 : p->expected + 1;
	p->last = s.at;
	p->result.records += s.parsed;
	p->result.last_seq = p->expected - 1;
}

static bool
fits(const struct proof *p, const struct seen *s)
{
	if (!s->parsed)
		return false;
	if (!p->any)
		return true;
	return s->tail.seq == p->expected && (p->lax || links(p->chain.last, s));
}

static void
hash_line(const char *line, size_t len, uint8_t out[CHAIN_HASH])
{
	struct chain c = {{0}, {0}};

	chain_add(&c, line, len);
	memcpy(out, c.last, CHAIN_HASH);
}

static void
one_line(struct proof *p, const char *line, size_t len, bool whole, struct proof_place at, bool first)
{
	struct seen now = {.there = true, .whole = whole, .first_of_file = first};

	now.parsed = chain_parse(line, len, &now.tail) && (now.tail.has & CHAIN_HAS_PREV) != 0;
	now.at = at;
	now.at.seq = now.parsed ? now.tail.seq : 0;
	look_out(p, &now);
	if (p->suspect.there)
		settle(p, &now);
	if (fits(p, &now)) {
		take(p, &now, line, len);
		return;
	}
	if (!p->any) { /* not a record yet: where it begins, nobody can say */
		fault(p, PROOF_CHANGED, now.at, "it is no record of a ledger with a chain");
		return;
	}
	hash_line(line, len, now.hash);
	now.good = now.parsed && (now.tail.has & CHAIN_HAS_SIGNATURE) != 0 && p->has_key &&
		   chain_verify(p->key, now.tail.signature, line, now.tail.signed_len);
	p->suspect = now;
}

/* A disk that was full in the middle of a line: it stands whole in the next file. */
static void
settle_held(struct proof *p, const char *next, size_t len)
{
	size_t n = p->held_len;

	p->held_len = 0;
	if (n > 0 && len >= n && memcmp(next, p->held, n) == 0)
		p->result.torn++;
	else if (n > 0)
		one_line(p, p->held, n, false, p->held_at, p->held_first);
}

void
proof_line(struct proof *p, const char *line, size_t len, bool whole)
{
	bool first = p->first_of_file;

	p->here.line++;
	p->result.lines++;
	p->first_of_file = false;
	settle_held(p, line, len);
	if (whole || len > HELD) {
		one_line(p, line, len, whole, p->here, first);
		return;
	}
	memcpy(p->held, line, len);
	p->held_len = len;
	p->held_at = p->here;
	p->held_first = first;
}

const struct proof_result *
proof_end(struct proof *p)
{
	static const struct seen nothing;
	struct proof_result *r = &p->result;

	settle_held(p, "", 0);
	if (p->suspect.there)
		settle(p, &nothing);
	if (p->any && !p->has_key)
		fault(p, PROOF_CUT, p->first, "the beginning of %s is missing: no line tells a key",
		      p->first.file);
	r->unsigned_lines = p->pending;
	return r;
}
