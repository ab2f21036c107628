/*
 * tests/fuzz/fuzz_proof.c - ledgers: bytes of any kind are judged without harm; and nothing can be
 * done to the lines of a true ledger, however small, that leaves it whole, but to leave off what
 * stands before a key.
 *
 * Input: a byte that says which. Even: the text of a ledger. Odd: three bytes each for what is done
 * to a line.
 */
#include "ctl/proof.h"
#include "wire/chain.h"

#include "fuzz.h"

#define LINES 16
#define SECOND_KEY 8 /* its first line */
#define MOST (2 * LINES)
#define ROOM 1024

struct line {
	char text[ROOM];
	size_t len;
};

static struct line truth[LINES];

/* Two keys, the second named by the first; checkpoints in the middle and at the end of each. */
static void
write_line(unsigned i, struct chain *chain, struct evp_pkey_st *key, const uint8_t own[CHAIN_KEY],
	   const uint8_t next[CHAIN_KEY])
{
	struct chain_tail tail = {.seq = i + 1, .has = CHAIN_HAS_PREV};
	uint8_t signature[CHAIN_SIGNATURE];
	struct line *l = &truth[i];
	unsigned in_file = i % SECOND_KEY;
	struct text t;

	memcpy(tail.prev, chain->last, CHAIN_PREV);
	if (in_file == 0) {
		tail.has |= CHAIN_HAS_KEY;
		memcpy(tail.key, own, CHAIN_KEY);
		chain_begin(chain, chain->last);
	}
	if (in_file == 4 || in_file == SECOND_KEY - 1) {
		tail.has |= CHAIN_HAS_ROOT;
		memcpy(tail.root, chain->root, CHAIN_HASH);
	}
	if (in_file == SECOND_KEY - 1) {
		tail.has |= i == LINES - 1 ? CHAIN_HAS_END : CHAIN_HAS_NEXT;
		memcpy(tail.next, next, CHAIN_KEY);
		memcpy(tail.end, own, CHAIN_KEY);
	}
	text_init(&t, l->text, sizeof l->text);
	text_putf(&t, "{\"n\":\"line %u\"", i);
	chain_put(&t, &tail);
	if ((tail.has & CHAIN_HAS_ROOT) != 0)
		FUZZ_CHECK(chain_sign(key, &t, signature));
	l->len = t.len;
	chain_add(chain, l->text, l->len);
}

static void
write_truth(void)
{
	uint8_t first[CHAIN_KEY], second[CHAIN_KEY];
	struct evp_pkey_st *a = chain_key_new(first), *b = chain_key_new(second);
	struct chain chain = {{0}, {0}};

	FUZZ_CHECK(a != NULL && b != NULL);
	for (unsigned i = 0; i < LINES; i++)
		write_line(i, &chain, i < SECOND_KEY ? a : b, i < SECOND_KEY ? first : second,
			   second);
	chain_key_wipe(a);
	chain_key_wipe(b);
}

static enum proof_fault
check(struct proof *p, size_t lines)
{
	const struct proof_result *r = proof_end(p);
	enum proof_fault fault = r->fault;

	FUZZ_CHECK(r->lines == lines);
	FUZZ_CHECK(r->records <= r->lines && r->proven <= r->lines);
	FUZZ_CHECK((fault == PROOF_WHOLE) == (r->faults == 0));
	FUZZ_CHECK(fault == PROOF_WHOLE ||
		   (r->at.line >= 1 && r->at.line <= lines && r->at.file != NULL));
	FUZZ_CHECK(strlen(r->text) < sizeof r->text &&
		   (fault == PROOF_WHOLE) == (r->text[0] == '\0'));
	FUZZ_CHECK(r->key_count <= r->records);
	proof_free(p);
	return fault;
}

static void
judge_text(const uint8_t *data, size_t size)
{
	struct proof *p = proof_new();
	const char *at = (const char *)data, *end = at + size, *newline;
	struct chain_tail tail;
	size_t lines = 0;

	proof_file(p, "a");
	for (; at < end; at = newline + 1, lines++) {
		char again[ROOM * 4];
		struct text t;
		size_t len;

		newline = memchr(at, '\n', (size_t)(end - at));
		len = (size_t)((newline != NULL ? newline : end) - at);
		proof_line(p, at, len, newline != NULL);
		if (chain_parse(at, len, &tail) && (tail.has & CHAIN_HAS_SIGNATURE) == 0) {
			/* what is accepted is what is written */
			text_init(&t, again, sizeof again);
			chain_put(&t, &tail);
			FUZZ_CHECK(t.len < len && memcmp(at + len - t.len, again, t.len) == 0);
		}
		if (newline == NULL) {
			lines++;
			break;
		}
		if (lines % 7 == 6)
			proof_file(p, "b");
	}
	check(p, lines);
}

struct edited {
	struct line lines[MOST];
	size_t count;
};

static void
insert(struct edited *e, size_t at, const struct line *l)
{
	struct line copy = *l;

	if (e->count == MOST)
		return;
	memmove(e->lines + at + 1, e->lines + at, (e->count - at) * sizeof e->lines[0]);
	e->lines[at] = copy;
	e->count++;
}

static void
leave_out(struct edited *e, size_t at)
{
	e->count--;
	memmove(e->lines + at, e->lines + at + 1, (e->count - at) * sizeof e->lines[0]);
}

static void
edit(struct edited *e, uint8_t op, uint8_t which, uint8_t arg)
{
	size_t at, to;
	struct line moved;

	if (e->count == 0)
		return;
	at = which % e->count;
	to = arg % e->count;
	moved = e->lines[at];
	switch (op % 4) {
	case 0: /* a byte */
		moved.text[(size_t)arg * 7 % moved.len] ^= (char)(1 + op / 4);
		e->lines[at] = moved;
		break;
	case 1:
		leave_out(e, at);
		break;
	case 2:
		insert(e, to, &moved);
		break;
	case 3:
		leave_out(e, at);
		insert(e, to < e->count ? to : e->count, &moved);
		break;
	}
}

static bool
same(const struct line *a, const struct line *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

/* A part of the truth up to its end that begins with a key. */
static bool
is_true(const struct edited *e)
{
	if (e->count != LINES && e->count != LINES - SECOND_KEY)
		return false;
	for (size_t i = 0; i < e->count; i++)
		if (!same(&e->lines[i], &truth[LINES - e->count + i]))
			return false;
	return true;
}

static void
judge_edited(const uint8_t *data, size_t size)
{
	static struct edited e;
	struct proof *p = proof_new();
	enum proof_fault fault;

	/* all but the last line, which stands: what is cut off behind nobody can see */
	memcpy(e.lines, truth, sizeof truth);
	e.count = LINES - 1;
	for (unsigned i = 0; i < 5 && size >= 3; i++, data += 3, size -= 3)
		edit(&e, data[0], data[1], data[2]);
	if (e.count == MOST)
		e.count--;
	e.lines[e.count++] = truth[LINES - 1];
	proof_file(p, "a");
	for (size_t i = 0; i < e.count; i++)
		proof_line(p, e.lines[i].text, e.lines[i].len, true);
	fault = check(p, e.count);
	FUZZ_CHECK((fault == PROOF_WHOLE) == is_true(&e));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (truth[0].len == 0)
		write_truth();
	if (size == 0)
		return 0;
	if (data[0] & 1)
		judge_edited(data + 1, size - 1);
	else
		judge_text(data + 1, size - 1);
	return 0;
}
