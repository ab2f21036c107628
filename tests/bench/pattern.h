/*
 * tests/bench/pattern.h - what load and target say to each other.
 *
 * A connection to the target opens with an order of 64 bytes. ORDER_ECHO is
 * answered by 64 bytes and may be followed by more of its kind. The others start
 * a stream of blocks of position-dependent words, checked byte for byte by the
 * receiver; the last eight bytes of the last block are inverted, so an end needs
 * no FIN and a cut is seen. ORDER_STOP asks a target to end its stream;
 * a stream to the target that has ended is answered with the count of its bytes.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE 64
#define BLOCK 65536u
/* The largest slice pattern_next gives; more does not fit a cache beside its copy. */
#define CHUNK (2 * BLOCK)

enum order { ORDER_ECHO = 1, ORDER_DOWN, ORDER_UP, ORDER_BOTH, ORDER_STOP };

void order_write(uint8_t to[MESSAGE], enum order what, uint64_t tag);
/* Returns the order and its tag, or 0 when one of the 64 bytes is wrong. */
int order_read(const uint8_t from[MESSAGE], uint64_t *tag);
void answer_write(uint8_t to[MESSAGE], uint64_t tag, uint64_t count);
bool answer_is(const uint8_t from[MESSAGE], uint64_t tag, uint64_t count);

/* The receiving end of a stream; start it with { .tag = tag }. */
struct pattern_in {
	uint64_t tag, count;
	unsigned inverted; /* bytes of the end mark seen */
	bool ended;
};

/* The sending end. */
struct pattern_out {
	uint64_t tag, count, limit;
	bool stopping, ended;
	uint8_t mark[8];
};

void pattern_build(void); /* once, before any other */
/* Takes n received bytes; false when one of them is not what was sent. */
bool pattern_check(struct pattern_in *in, const uint8_t *bytes, size_t n);
/* The next bytes to send, at least one unless the stream has ended. */
size_t pattern_next(struct pattern_out *out, const uint8_t **bytes);
void pattern_sent(struct pattern_out *out, size_t n);
/* Ends the stream after one more block. */
void pattern_stop(struct pattern_out *out);

#endif
