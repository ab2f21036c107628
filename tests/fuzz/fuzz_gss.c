/*
 * tests/fuzz/fuzz_gss.c - a stream of frames of SOCKS5's method 1: any chopping gives the same
 * frames, nothing is read beyond the bytes, what is still needed is never less than what turns out,
 * and a frame that was read is written again as it was. The first byte says which type is expected.
 */
#include "wire/gss.h"

#include "fuzz.h"

static enum decode
decode(const uint8_t *data, size_t len, enum gss_type expected, struct gss_frame *f,
       enum socks_fault *fault, size_t *need)
{
	enum decode result = gss_decode(fuzz_at_end(data, len), len, expected, f, fault, need);

	FUZZ_CHECK((result == DECODE_BAD) == (*fault != FAULT_NONE));
	FUZZ_CHECK((result == DECODE_BAD) == (*need == 0));
	FUZZ_CHECK(result != DECODE_MORE || (*need > len && *need <= GSS_FRAME_MOST));
	FUZZ_CHECK(result != DECODE_OK || (*need >= GSS_ABORT && *need <= len));
	FUZZ_CHECK(result != DECODE_OK || f->type == expected || f->type == GSS_FRAME_ABORT);
	return result;
}

static void
same_again(const uint8_t *data, const struct gss_frame *f, size_t used)
{
	uint8_t head[GSS_HEAD];

	if (f->type == GSS_FRAME_ABORT) {
		FUZZ_CHECK(used == GSS_ABORT && f->len == 0);
		gss_abort(head);
		FUZZ_CHECK(memcmp(head, data, GSS_ABORT) == 0);
		return;
	}
	FUZZ_CHECK(f->len > 0 && used == GSS_HEAD + (size_t)f->len);
	gss_head(head, (enum gss_type)f->type, f->len);
	FUZZ_CHECK(memcmp(head, data, GSS_HEAD) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum gss_type expected;

	if (size == 0)
		return 0;
	expected = (enum gss_type)(1 + data[0] % 3);
	data++;
	size = size - 1 > FUZZ_MAX ? FUZZ_MAX : size - 1;
	for (;;) {
		struct gss_frame whole, part;
		enum socks_fault fault, part_fault;
		size_t need, part_need;
		enum decode result = decode(data, size, expected, &whole, &fault, &need);

		if (result == DECODE_OK)
			same_again(data, &whole, need);
		for (size_t len = 0; len < size; len++) {
			enum decode now =
			    decode(data, len, expected, &part, &part_fault, &part_need);

			FUZZ_CHECK(now == result || now == DECODE_MORE);
			FUZZ_CHECK(now != DECODE_MORE || need == 0 || part_need <= need);
			if (now == DECODE_MORE)
				continue;
			FUZZ_CHECK(part_fault == fault && part_need == need);
			FUZZ_CHECK(part.type == whole.type && part.len == whole.len);
		}
		if (result != DECODE_OK)
			return 0;
		data += need;
		size -= need;
	}
}
