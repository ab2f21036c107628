/* Tests of base/text.c: bounds, quoting, times, quantities, distances. */
#include "base/text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "suite.h"

static void
test_bounds(void)
{
	char buf[8], guard[6] = "#####";
	struct text t;

	text_init(&t, buf, sizeof buf);
	CU_ASSERT_STRING_EQUAL(buf, "");
	text_put(&t, "abc");
	text_put_char(&t, 'd');
	text_put_u64(&t, 56);
	CU_ASSERT_STRING_EQUAL(buf, "abcd56");
	CU_ASSERT_FALSE(t.cut);
	text_put(&t, "7");
	CU_ASSERT_FALSE(t.cut);
	text_put(&t, "");
	CU_ASSERT_FALSE(t.cut);
	text_put(&t, "8");
	CU_ASSERT(t.cut);
	CU_ASSERT_STRING_EQUAL(buf, "abcd567");
	CU_ASSERT_EQUAL(t.len, 7);

	text_init(&t, guard, 3);
	text_putf(&t, "%d", 12345);
	CU_ASSERT(t.cut);
	CU_ASSERT_EQUAL(t.len, 2);
	CU_ASSERT_EQUAL(memcmp(guard, "12\0##", 5), 0);
	text_putf(&t, "%s", "");
	CU_ASSERT_EQUAL(t.len, 2);

	text_init(&t, guard, 1);
	text_put(&t, "x");
	text_putf(&t, "x");
	CU_ASSERT(t.cut && t.len == 0 && guard[0] == '\0' && guard[1] == '2');

	text_init(&t, NULL, 0);
	text_put(&t, "x");
	text_putf(&t, "%s", "x");
	text_put_json(&t, "x", 1, 1);
	CU_ASSERT(t.cut && t.len == 0);
}

static void
test_numbers(void)
{
	char buf[64];
	struct text t;
	const uint8_t bytes[] = {0x00, 0x9f, 0x2c, 0xff};

	text_init(&t, buf, sizeof buf);
	text_put_u64(&t, 0);
	text_put_char(&t, ' ');
	text_put_u64(&t, UINT64_MAX);
	text_put_char(&t, ' ');
	text_put_hex(&t, bytes, sizeof bytes);
	text_putf(&t, " %s-%04d", "x", 7);
	CU_ASSERT_STRING_EQUAL(buf, "0 18446744073709551615 009f2cff x-0007");
	CU_ASSERT_EQUAL(t.len, strlen(buf));
}

/* Back from a JSON string of our kind to bytes; SIZE_MAX if it is not one. */
static size_t
unquote_json(const char *s, unsigned char *out)
{
	size_t n = 0;

	if (*s++ != '"')
		return SIZE_MAX;
	for (; *s != '"'; s++) {
		unsigned v;

		if (*s < 0x20 || *s > 0x7e)
			return SIZE_MAX;
		if (*s != '\\') {
			out[n++] = (unsigned char)*s;
		} else if (s[1] == '"' || s[1] == '\\') {
			out[n++] = (unsigned char)*++s;
		} else if (sscanf(s, "\\u00%2x", &v) == 1) {
			out[n++] = (unsigned char)v;
			s += 5;
		} else {
			return SIZE_MAX;
		}
	}
	return s[1] == '\0' ? n : SIZE_MAX;
}

static void
test_json(void)
{
	unsigned char all[256], back[256];
	char buf[4096], one[16];
	struct buffer b = {0};
	struct text t;

	for (unsigned i = 0; i < 256; i++) {
		char want[16];

		all[i] = (unsigned char)i;
		text_init(&t, one, sizeof one);
		text_put_json(&t, &all[i], 1, 1);
		if (i == '"' || i == '\\')
			snprintf(want, sizeof want, "\"\\%c\"", (char)i);
		else if (i >= 0x20 && i <= 0x7e)
			snprintf(want, sizeof want, "\"%c\"", (char)i);
		else
			snprintf(want, sizeof want, "\"\\u%04x\"", i);
		CHECK_ROW(strcmp(one, want) == 0, want);
	}
	text_init(&t, buf, sizeof buf);
	text_put_json(&t, all, 256, 256);
	CU_ASSERT_FALSE(t.cut);
	CU_ASSERT_EQUAL(unquote_json(buf, back), 256);
	CU_ASSERT_EQUAL(memcmp(all, back, 256), 0);
	buffer_put_json(&b, all, 256);
	CU_ASSERT_STRING_EQUAL(b.p, buf);
	CU_ASSERT_EQUAL(b.len, t.len);
	buffer_free(&b);
}

static void
test_json_limits(void)
{
	char buf[32];
	struct text t;

	text_init(&t, buf, sizeof buf);
	text_put_json(&t, "abcdef", 6, 4);
	CU_ASSERT_STRING_EQUAL(buf, "\"abcd...\"");
	text_init(&t, buf, sizeof buf);
	text_put_json(&t, "abcd", 4, 4);
	CU_ASSERT_STRING_EQUAL(buf, "\"abcd\"");
	text_init(&t, buf, sizeof buf);
	text_put_json(&t, "\n\n", 2, 1);
	CU_ASSERT_STRING_EQUAL(buf, "\"\\u000a...\"");
	text_init(&t, buf, sizeof buf);
	text_put_json(&t, NULL, 0, 10);
	CU_ASSERT_STRING_EQUAL(buf, "\"\"");
	text_init(&t, buf, 5);
	text_put_json(&t, "\001\001", 2, 2);
	CU_ASSERT(t.cut);
	CU_ASSERT_EQUAL(strlen(buf), 4);
}

static void
test_quoted(void)
{
	char buf[64];
	struct text t;

	text_init(&t, buf, sizeof buf);
	text_put_quoted(&t, "it's \"a\"\\\n\0\x1b\xff", 13, 64);
	CU_ASSERT_STRING_EQUAL(buf, "'it\\'s \"a\"\\\\\\x0a\\x00\\x1b\\xff'");
	text_init(&t, buf, sizeof buf);
	text_put_quoted(&t, "abcdef", 6, 3);
	CU_ASSERT_STRING_EQUAL(buf, "'abc...'");
}

static const char *
time_text(int64_t ns)
{
	static char buf[TEXT_TIME];
	struct text t;

	text_init(&t, buf, sizeof buf);
	text_put_time(&t, ns);
	CU_ASSERT_FALSE(t.cut);
	return buf;
}

static void
test_time(void)
{
	CU_ASSERT_STRING_EQUAL(time_text(0), "1970-01-01T00:00:00.000000Z");
	CU_ASSERT_STRING_EQUAL(time_text(999), "1970-01-01T00:00:00.000000Z");
	CU_ASSERT_STRING_EQUAL(time_text(-1), "1969-12-31T23:59:59.999999Z");
	CU_ASSERT_STRING_EQUAL(time_text(1795511647482913999), "2026-11-24T09:14:07.482913Z");
	CU_ASSERT_STRING_EQUAL(time_text(951782400000000000), "2000-02-29T00:00:00.000000Z");
	CU_ASSERT_STRING_EQUAL(time_text(INT64_MAX), "2262-04-11T23:47:16.854775Z");
	CU_ASSERT_STRING_EQUAL(time_text(INT64_MIN), "1677-09-21T00:12:43.145224Z");
	/* each day of four centuries around now, against the C library */
	for (int64_t day = -106000; day < 106000; day += 1) {
		time_t s = (time_t)(day * 86400 + 86399 - (day & 1023));
		char want[TEXT_TIME];
		struct tm tm;

		gmtime_r(&s, &tm);
		strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S.000000Z", &tm);
		CHECK_ROW(strcmp(time_text((int64_t)s * 1000000000), want) == 0, want);
	}
}

static void
test_quantities(void)
{
	static const struct {
		uint64_t v;
		const char *size, *duration;
	} rows[] = {
	    {0, "0 B", "0 ns"},
	    {1, "1 B", "1 ns"},
	    {1023, "1023 B", "1 us"},
	    {1024, "1 KiB", "1 us"},
	    {1434, "1.4 KiB", "1.4 us"},
	    {10239, "9.9 KiB", "10 us"},
	    {10240, "10 KiB", "10 us"},
	    {41000000, "39 MiB", "41 ms"},
	    {3200000000, "2.9 GiB", "3.2 s"},
	    {59999999999, "55 GiB", "59 s"},
	    {90000000000, "83 GiB", "1.5 min"},
	    {7200000000000, "6.5 TiB", "2 h"},
	    {129600000000000, "117 TiB", "1.5 d"},
	    {UINT64_MAX, "15 EiB", "213503 d"},
	};
	struct buffer b = {0};
	char buf[32], both[64];
	struct text t;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		text_init(&t, buf, sizeof buf);
		text_put_size(&t, rows[i].v);
		CHECK_ROW(strcmp(buf, rows[i].size) == 0, rows[i].size);
		text_init(&t, buf, sizeof buf);
		text_put_duration(&t, rows[i].v);
		CHECK_ROW(strcmp(buf, rows[i].duration) == 0, rows[i].duration);
		buffer_put_size(&b, rows[i].v);
		buffer_puts(&b, ", ");
		buffer_put_duration(&b, rows[i].v);
		snprintf(both, sizeof both, "%s, %s", rows[i].size, rows[i].duration);
		CHECK_ROW(strcmp(b.p, both) == 0, both);
		b.len = 0;
	}
	buffer_free(&b);
}

static void
test_buffer(void)
{
	struct buffer b = {0};
	size_t want = 0;
	char *kept;

	buffer_put(&b, "", 0);
	CU_ASSERT_STRING_EQUAL(b.p, "");
	for (int i = 0; i < 1000; i++) {
		buffer_puts(&b, "abc");
		buffer_putf(&b, "%d;", i);
		want += strlen("abc0;") + (i > 9) + (i > 99);
	}
	CU_ASSERT_EQUAL(b.len, want);
	CU_ASSERT_EQUAL(strlen(b.p), want);
	CU_ASSERT(b.cap > b.len);
	CU_ASSERT_EQUAL(memcmp(b.p + b.len - 8, ";abc999;", 8), 0);
	buffer_putf(&b, "%*d", 100000, 7);
	CU_ASSERT_EQUAL(b.len, want + 100000);
	CU_ASSERT_STRING_EQUAL(b.p + b.len - 2, " 7");
	buffer_free(&b);
	CU_ASSERT(b.p == NULL && b.len == 0 && b.cap == 0);
	buffer_puts(&b, "again");
	CU_ASSERT_STRING_EQUAL(b.p, "again");
	buffer_free(&b);

	kept = buffer_keep(&b);
	CU_ASSERT_STRING_EQUAL(kept, "");
	free(kept);
	buffer_puts(&b, "kept");
	kept = buffer_keep(&b);
	CU_ASSERT_EQUAL(b.len, 0);
	buffer_puts(&b, "more");
	CU_ASSERT_STRING_EQUAL(kept, "kept");
	CU_ASSERT_STRING_EQUAL(b.p, "more");
	free(kept);
	buffer_free(&b);
}

static void
test_distance(void)
{
	static const struct {
		const char *a, *b;
		unsigned distance;
	} rows[] = {
	    {"", "", 0},
	    {"a", "", 1},
	    {"abc", "abc", 0},
	    {"ABC", "abc", 0},
	    {"htps", "https", 1},
	    {"hpptm", "httpm", 2},
	    {"acton", "action", 1},
	    {"wrod", "word", 1},
	    {"ca", "abc", 3},
	    {"kitten", "sitting", 3},
	    {"abcdef", "badcfe", 3},
	    {"resolve-in", "resolves-in", 1},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned d = rows[i].distance;

		CHECK_ROW(text_distance(rows[i].a, rows[i].b, 9) == d, rows[i].a);
		CHECK_ROW(text_distance(rows[i].b, rows[i].a, 9) == d, rows[i].a);
		CHECK_ROW(text_distance(rows[i].a, rows[i].b, d) == d, rows[i].a);
		if (d > 0)
			CHECK_ROW(text_distance(rows[i].a, rows[i].b, d - 1) == d, rows[i].a);
	}
}

static void
test_nearest(void)
{
	static const char *const keys[] = {"action", "who",     "auth",        "from",
					   "to",     "service", "when",        "https",
					   "http",   "web",     "resolves-in", NULL};
	static const char *const none[] = {NULL};
	char lengthy[400];

	CU_ASSERT_STRING_EQUAL(text_nearest("htps", keys), "https");
	CU_ASSERT_STRING_EQUAL(text_nearest("HTTP", keys), "http");
	CU_ASSERT_STRING_EQUAL(text_nearest("atcion", keys), "action");
	CU_ASSERT_STRING_EQUAL(text_nearest("servcie", keys), "service");
	CU_ASSERT_STRING_EQUAL(text_nearest("resolve_in", keys), "resolves-in");
	CU_ASSERT_STRING_EQUAL(text_nearest("form", keys), "from");
	CU_ASSERT_STRING_EQUAL(text_nearest("wb", keys), "web");
	CU_ASSERT_PTR_NULL(text_nearest("x", keys));
	CU_ASSERT_PTR_NULL(text_nearest("", keys));
	CU_ASSERT_PTR_NULL(text_nearest("destination", keys));
	CU_ASSERT_PTR_NULL(text_nearest("http", none));
	memset(lengthy, 'a', sizeof lengthy - 1);
	lengthy[sizeof lengthy - 1] = '\0';
	CU_ASSERT_PTR_NULL(text_nearest(lengthy, keys));
	CU_ASSERT_EQUAL(text_distance(lengthy, lengthy, 5), 6);
}

static void
test_hex_digits(void)
{
	for (int c = 0; c < 256; c++)
		CU_ASSERT(text_hex_digit((char)c) ==
			  (isxdigit(c) ? (int)strtol((char[]){(char)c, 0}, NULL, 16) : -1));
}

static void
test_decimal(void)
{
	static const char *const wrong[] = {
	    "",
	    "-1",
	    "+1",
	    " 1",
	    "1 ",
	    "01",
	    "00",
	    "1.0",
	    "0x1",
	    "18446744073709551616",
	    "99999999999999999999999",
	    "a",
	    "1a",
	};
	uint64_t v = 7;

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CHECK_ROW(!text_parse_u64(wrong[i], strlen(wrong[i]), UINT64_MAX, &v), wrong[i]);
	CU_ASSERT_EQUAL(v, 7);
	CU_ASSERT(text_parse_u64("0", 1, 0, &v) && v == 0);
	CU_ASSERT(text_parse_u64("65535", 5, 65535, &v) && v == 65535);
	CU_ASSERT_FALSE(text_parse_u64("65536", 5, 65535, &v));
	CU_ASSERT(text_parse_u64("18446744073709551615", 20, UINT64_MAX, &v) && v == UINT64_MAX);
	CU_ASSERT(text_parse_u64("1239", 3, 1000, &v) && v == 123);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"bounds", test_bounds},
	    {"numbers", test_numbers},
	    {"JSON of all bytes", test_json},
	    {"JSON limits", test_json_limits},
	    {"quoted for people", test_quoted},
	    {"time", test_time},
	    {"sizes and durations", test_quantities},
	    {"buffer", test_buffer},
	    {"distance", test_distance},
	    {"nearest", test_nearest},
	    {"decimal", test_decimal},
	    {"hexadecimal digits", test_hex_digits},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("text", tests);
}
