/*
 * tests/bench/pattern.c - messages and streams whose every byte can be checked.
 *
 * The stream repeats a row of a prime number of mixed 64-bit words, so that no
 * block, page or buffer size divides its period: bytes that are lost, doubled,
 * or moved by a round number show. A slice of the row is compared with memcmp:
 * the check must not cost more than the reading. Pure; used by load and target.
 */
#include "config.h"

#include <string.h>

#include "tests/bench/pattern.h"

#define WORDS 16411u /* prime; the row stays in a cache */
#define PERIOD (WORDS * 8)
#define ORDER_MAGIC 0x53616c6c794f7264ull
#define ANSWER_MAGIC 0x53616c6c79416e73ull

static union {
	uint64_t words[WORDS];
	uint8_t bytes[PERIOD + CHUNK];
} row;

static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static void
message_write(uint8_t to[MESSAGE], uint64_t kind, uint64_t tag, uint64_t value)
{
	uint64_t words[MESSAGE / 8] = {kind, tag, value};
	unsigned i;

	for (i = 3; i < MESSAGE / 8; i++)
		words[i] = mix(words[i - 1] ^ tag ^ kind);
	memcpy(to, words, MESSAGE);
}

void
order_write(uint8_t to[MESSAGE], enum order what, uint64_t tag)
{
	message_write(to, ORDER_MAGIC, tag, (uint64_t)what);
}

int
order_read(const uint8_t from[MESSAGE], uint64_t *tag)
{
	uint8_t expected[MESSAGE];
	uint64_t what;

	memcpy(tag, from + 8, 8);
	memcpy(&what, from + 16, 8);
	if (what < ORDER_ECHO || what > ORDER_STOP)
		return 0;
	message_write(expected, ORDER_MAGIC, *tag, what);
	return memcmp(expected, from, MESSAGE) == 0 ? (int)what : 0;
}

void
answer_write(uint8_t to[MESSAGE], uint64_t tag, uint64_t count)
{
	message_write(to, ANSWER_MAGIC, tag, count);
}

bool
answer_is(const uint8_t from[MESSAGE], uint64_t tag, uint64_t count)
{
	uint8_t expected[MESSAGE];

	answer_write(expected, tag, count);
	return memcmp(expected, from, MESSAGE) == 0;
}

void
pattern_build(void)
{
	unsigned i;

	for (i = 0; i < WORDS; i++)
		row.words[i] = mix(i);
	for (i = 0; i < CHUNK; i++)
		row.bytes[PERIOD + i] = row.bytes[i];
}

static const uint8_t *
row_at(uint64_t tag, uint64_t count)
{
	return row.bytes + (tag % PERIOD + count) % PERIOD;
}

/* The slow way of one byte: it may belong to the mark that ends a stream. */
static bool
check_byte(struct pattern_in *in, uint8_t byte)
{
	uint8_t expected = *row_at(in->tag, in->count);
	unsigned place = (unsigned)(in->count % BLOCK);

	if (in->ended)
		return false;
	if (in->inverted > 0 || (place == BLOCK - 8 && byte != expected)) {
		expected = (uint8_t)~expected;
		in->ended = ++in->inverted == 8;
	}
	in->count++;
	return byte == expected;
}

bool
pattern_check(struct pattern_in *in, const uint8_t *bytes, size_t n)
{
	size_t part;

	for (; n > 0; bytes += part, n -= part) {
		part = n < CHUNK ? n : CHUNK;
		if (!in->ended && in->inverted == 0 &&
		    memcmp(bytes, row_at(in->tag, in->count), part) == 0) {
			in->count += part;
			continue;
		}
		for (size_t i = 0; i < part; i++)
			if (!check_byte(in, bytes[i]))
				return false;
	}
	return true;
}

size_t
pattern_next(struct pattern_out *out, const uint8_t **bytes)
{
	uint64_t left = CHUNK;

	if (out->stopping) {
		if (out->count >= out->limit - 8) {
			for (unsigned i = 0; i < 8; i++)
				out->mark[i] = (uint8_t) ~*row_at(out->tag, out->limit - 8 + i);
			*bytes = out->mark + (out->count - (out->limit - 8));
			return (size_t)(out->limit - out->count);
		}
		left = out->limit - 8 - out->count;
	}
	*bytes = row_at(out->tag, out->count);
	return left < CHUNK ? (size_t)left : CHUNK;
}

void
pattern_sent(struct pattern_out *out, size_t n)
{
	out->count += n;
	out->ended = out->stopping && out->count == out->limit;
}

void
pattern_stop(struct pattern_out *out)
{
	if (out->stopping)
		return;
	out->stopping = true;
	out->limit = (out->count + BLOCK - 1) / BLOCK * BLOCK + BLOCK;
}
