/*
 * tests/unit/unit_bench_pattern.c - the benchmark's streams must not hide an error.
 *
 * A load generator whose check passes everything would praise a proxy that loses
 * bytes; so each kind of damage is done here once and must be seen.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "tests/bench/pattern.h"

#define STREAM (16 * BLOCK)

static uint8_t stream[STREAM];
static size_t length;

/* Writes a whole stream of six blocks or some more, in pieces of at most `piece`. */
static void
stream_build(uint64_t tag, size_t piece)
{
	struct pattern_out out = {.tag = tag};
	const uint8_t *bytes;
	size_t n;

	length = 0;
	while (!out.ended) {
		if (out.count > 4 * BLOCK + 1000)
			pattern_stop(&out);
		n = pattern_next(&out, &bytes);
		if (n > piece)
			n = piece;
		memcpy(stream + length, bytes, n);
		length += n;
		pattern_sent(&out, n);
	}
}

static bool
stream_passes(uint64_t tag, size_t piece)
{
	struct pattern_in in = {.tag = tag};
	size_t at, n;

	for (at = 0; at < length; at += n) {
		n = length - at < piece ? length - at : piece;
		if (!pattern_check(&in, stream + at, n))
			return false;
	}
	return in.ended && in.count == length;
}

static void
test_whole(void)
{
	static const size_t pieces[] = {1, 7, 8, 64, 4095, BLOCK, BLOCK + 1, 3 * BLOCK};

	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		stream_build(i * 7919, pieces[i]);
		CU_ASSERT_EQUAL(length % BLOCK, 0);
		for (size_t j = 0; j < sizeof pieces / sizeof *pieces; j++)
			CU_ASSERT_TRUE(stream_passes(i * 7919, pieces[j]));
	}
}

static void
test_each_flipped_byte(void)
{
	stream_build(3, 4096);
	for (size_t i = 0; i<length; i += i> length - 32 ? 1 : 997) {
		stream[i] ^= 0x10;
		CU_ASSERT_FALSE(stream_passes(3, BLOCK));
		stream[i] ^= 0x10;
	}
}

static void
test_lost_and_doubled(void)
{
	static const size_t sizes[] = {1, 8, 4096, 16384, BLOCK, 2 * BLOCK};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		stream_build(11, 4096);
		length -= sizes[i];
		memmove(stream + 50000, stream + 50000 + sizes[i], length - 50000);
		CU_ASSERT_FALSE(stream_passes(11, 4096));
		stream_build(11, 4096);
		memmove(stream + 50000 + sizes[i], stream + 50000, length - 50000);
		length += sizes[i];
		CU_ASSERT_FALSE(stream_passes(11, 4096));
	}
}

static void
test_swapped_blocks(void)
{
	static uint8_t block[BLOCK];

	stream_build(5, BLOCK);
	memcpy(block, stream, BLOCK);
	memcpy(stream, stream + BLOCK, BLOCK);
	memcpy(stream + BLOCK, block, BLOCK);
	CU_ASSERT_FALSE(stream_passes(5, BLOCK));
}

static void
test_ends(void)
{
	struct pattern_in in = {.tag = 9};

	stream_build(9, BLOCK);
	length -= 1;
	CU_ASSERT_FALSE(stream_passes(9, BLOCK));
	length -= BLOCK - 1;
	CU_ASSERT_FALSE(stream_passes(9, BLOCK));
	length += BLOCK;
	stream[length++] = 0;
	CU_ASSERT_FALSE(stream_passes(9, BLOCK));
	CU_ASSERT_TRUE(pattern_check(&in, stream, length - 1));
	CU_ASSERT_FALSE(pattern_check(&in, stream + length - 1, 1));
}

static void
test_other_stream(void)
{
	stream_build(1, BLOCK);
	CU_ASSERT_TRUE(stream_passes(1, BLOCK));
	CU_ASSERT_FALSE(stream_passes(2, BLOCK));
}

static void
test_messages(void)
{
	uint8_t message[MESSAGE];
	uint64_t tag;

	order_write(message, ORDER_UP, 42);
	CU_ASSERT_EQUAL(order_read(message, &tag), ORDER_UP);
	CU_ASSERT_EQUAL(tag, 42);
	for (unsigned i = 0; i < MESSAGE; i++) {
		message[i] ^= 1;
		CU_ASSERT_EQUAL(order_read(message, &tag), 0);
		message[i] ^= 1;
	}
	answer_write(message, 42, 1000);
	CU_ASSERT_TRUE(answer_is(message, 42, 1000));
	CU_ASSERT_FALSE(answer_is(message, 43, 1000));
	CU_ASSERT_FALSE(answer_is(message, 42, 1001));
	for (unsigned i = 0; i < MESSAGE; i++) {
		message[i] ^= 0x80;
		CU_ASSERT_FALSE(answer_is(message, 42, 1000));
		message[i] ^= 0x80;
	}
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"a whole stream passes however it is cut", test_whole},
	    {"each flipped byte is seen", test_each_flipped_byte},
	    {"lost and doubled bytes are seen", test_lost_and_doubled},
	    {"swapped blocks are seen", test_swapped_blocks},
	    {"a stream ends at its mark and nowhere else", test_ends},
	    {"another stream's bytes are seen", test_other_stream},
	    {"orders and answers", test_messages},
	    CU_TEST_INFO_NULL,
	};

	pattern_build();
	return suite_run("pattern", tests);
}
