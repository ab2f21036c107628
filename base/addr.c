/*
 * base/addr.c - see base/addr.h. Any process; pure, never blocks or allocates.
 *
 * Parsing is done here and not by inet_pton(3): the text need not end in NUL, a
 * table has a million lines, and the reader wants to know what was wrong.
 */
#include "base/addr.h"

#include <endian.h>
#include <string.h>

#include "base/text.h"

static const uint8_t mapped_head[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

const struct addr addr_any4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}};
const struct addr addr_any6 = {{0}};
const struct addr addr_loopback4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}};
const struct addr addr_loopback6 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

struct halves {
	uint64_t high, low;
};

static struct halves
halves_of(const struct addr *a)
{
	struct halves h;

	memcpy(&h, a->b, sizeof h);
	h.high = be64toh(h.high);
	h.low = be64toh(h.low);
	return h;
}

static struct addr
from_halves(struct halves h)
{
	struct addr a;

	h.high = htobe64(h.high);
	h.low = htobe64(h.low);
	memcpy(a.b, &h, sizeof h);
	return a;
}

/* The bits that lie behind the first len of 128. */
static struct halves
host_bits(unsigned len)
{
	struct halves h = {0, 0};

	if (len < 64)
		h.high = UINT64_MAX >> len;
	if (len <= 64)
		h.low = UINT64_MAX;
	else if (len < 128)
		h.low = UINT64_MAX >> (len - 64);
	return h;
}

bool
addr_is4(const struct addr *a)
{
	struct halves h = halves_of(a);

	return h.high == 0 && h.low >> 32 == 0xffff;
}

uint32_t
addr_v4(const struct addr *a)
{
	return (uint32_t)halves_of(a).low;
}

struct addr
addr_from_v4(uint32_t host_order)
{
	return from_halves((struct halves){0, UINT64_C(0xffff00000000) | host_order});
}

struct addr
addr_from_bytes4(const uint8_t b[4])
{
	struct addr a;

	memcpy(a.b, mapped_head, sizeof mapped_head);
	memcpy(a.b + 12, b, 4);
	return a;
}

struct addr
addr_from_bytes16(const uint8_t b[16])
{
	struct addr a;

	memcpy(a.b, b, 16);
	return a;
}

int
addr_compare(const struct addr *a, const struct addr *b)
{
	struct halves x = halves_of(a), y = halves_of(b);

	if (x.high != y.high)
		return x.high < y.high ? -1 : 1;
	return (x.low > y.low) - (x.low < y.low);
}

bool
addr_equal(const struct addr *a, const struct addr *b)
{
	return memcmp(a->b, b->b, sizeof a->b) == 0;
}

bool
addr_is_unspecified(const struct addr *a)
{
	return addr_equal(a, &addr_any4) || addr_equal(a, &addr_any6);
}

bool
addr_is_loopback(const struct addr *a)
{
	if (addr_is4(a))
		return a->b[12] == 127;
	return addr_equal(a, &addr_loopback6);
}

/* --- text to address --- */

/* One octet of a dotted quad at s; its digits are counted in *used. */
static bool
parse_octet(const char *s, size_t len, size_t *used, uint8_t *out)
{
	size_t digits = 0;
	uint64_t v;

	while (digits < len && s[digits] >= '0' && s[digits] <= '9')
		digits++;
	*used = digits;
	if (!text_parse_u64(s, digits, 255, &v))
		return false;
	*out = (uint8_t)v;
	return true;
}

static bool
parse4(const char *s, size_t len, uint8_t out[4])
{
	for (int i = 0; i < 4; i++) {
		size_t used;

		if (i > 0) {
			if (len == 0 || *s != '.')
				return false;
			s++, len--;
		}
		if (!parse_octet(s, len, &used, &out[i]))
			return false;
		s += used, len -= used;
	}
	return len == 0;
}

/* A group of 1-4 hex digits at s; returns how many digits, 0 if it is none. */
static size_t
parse_group(const char *s, size_t len, uint8_t out[2])
{
	unsigned v = 0;
	size_t n = 0;

	while (n < len && text_hex_digit(s[n]) >= 0) {
		if (n == 4)
			return 0;
		v = v << 4 | (unsigned)text_hex_digit(s[n++]);
	}
	out[0] = (uint8_t)(v >> 8);
	out[1] = (uint8_t)v;
	return n;
}

/*
 * RFC 4291 2.2: groups with at most one "::", which stands for at least one
 * group; the last two groups may be a dotted quad.
 */
static bool
parse6(const char *s, size_t len, uint8_t out[16])
{
	uint8_t b[16] = {0};
	size_t at = 0, gap = SIZE_MAX;
	const char *end = s + len;

	if (len >= 2 && s[0] == ':' && s[1] == ':') {
		gap = 0;
		s += 2;
	}
	while (s < end) {
		size_t n;

		if (at == 16)
			return false;
		n = parse_group(s, (size_t)(end - s), b + at);
		if (n > 0 && s + n < end && s[n] == '.') {
			if (at > 12 || !parse4(s, (size_t)(end - s), b + at))
				return false;
			at += 4;
			break;
		}
		if (n == 0)
			return false;
		at += 2;
		s += n;
		if (s == end)
			break;
		if (*s++ != ':' || s == end)
			return false;
		if (*s == ':') {
			if (gap != SIZE_MAX)
				return false;
			gap = at;
			s++;
		}
	}
	if (gap == SIZE_MAX) {
		if (at != 16)
			return false;
		memcpy(out, b, 16);
		return true;
	}
	if (at == 16)
		return false;
	memset(out, 0, 16);
	memcpy(out, b, gap);
	memcpy(out + 16 - (at - gap), b + gap, at - gap);
	return true;
}

bool
addr_parse(const char *text, size_t len, struct addr *out)
{
	uint8_t four[4];

	if (memchr(text, ':', len) != NULL)
		return parse6(text, len, out->b);
	if (!parse4(text, len, four))
		return false;
	*out = addr_from_bytes4(four);
	return true;
}

/* --- address to text --- */

/* Less than 1000. */
static inline char *
put_small(char *p, unsigned v)
{
	if (v >= 100)
		*p++ = (char)('0' + v / 100);
	if (v >= 10)
		*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

static char *
put_port(char *p, unsigned v)
{
	if (v < 1000)
		return put_small(p, v);
	p = put_small(p, v / 100);
	*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

static char *
put_group(char *p, unsigned v)
{
	static const char digits[] = "0123456789abcdef";
	bool started = false;

	for (int shift = 12; shift >= 0; shift -= 4) {
		unsigned d = v >> shift & 15;

		if (d == 0 && !started && shift > 0)
			continue;
		started = true;
		*p++ = digits[d];
	}
	return p;
}

static char *
format4(char *p, const uint8_t b[4])
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			*p++ = '.';
		p = put_small(p, b[i]);
	}
	return p;
}

/* RFC 5952 4.2: "::" for the longest run of two or more zero groups, the first of equals. */
static void
longest_zeros(const unsigned group[8], int *first, int *count)
{
	*first = -1;
	*count = 1;
	for (int i = 0; i < 8; i++) {
		int n = 0;

		while (i + n < 8 && group[i + n] == 0)
			n++;
		if (n > *count) {
			*first = i;
			*count = n;
		}
		i += n;
	}
}

static char *
format6(char *p, const uint8_t b[16])
{
	unsigned group[8];
	int first, count;

	for (int i = 0; i < 8; i++)
		group[i] = (unsigned)b[2 * i] << 8 | b[2 * i + 1];
	longest_zeros(group, &first, &count);
	for (int i = 0; i < 8; i++) {
		if (i == first) {
			*p++ = ':';
			*p++ = ':';
			i += count - 1;
			continue;
		}
		if (i > 0 && i != first + count)
			*p++ = ':';
		p = put_group(p, group[i]);
	}
	return p;
}

size_t
addr_format(const struct addr *a, char buf[ADDR_TEXT])
{
	char *p = addr_is4(a) ? format4(buf, a->b + 12) : format6(buf, a->b);

	*p = '\0';
	return (size_t)(p - buf);
}

/* --- endpoints --- */

bool
endpoint_parse(const char *text, size_t len, struct endpoint *out)
{
	struct endpoint e;
	const char *host = text, *colon = memrchr(text, ':', len);
	size_t host_len;
	uint64_t port;

	if (colon == NULL ||
	    !text_parse_u64(colon + 1, (size_t)(text + len - colon - 1), 65535, &port))
		return false;
	host_len = (size_t)(colon - text);
	if (host_len >= 2 && host[0] == '[') {
		if (host[host_len - 1] != ']')
			return false;
		host++;
		host_len -= 2;
		if (memchr(host, ':', host_len) == NULL)
			return false;
	} else if (memchr(host, ':', host_len) != NULL) {
		return false;
	}
	if (!addr_parse(host, host_len, &e.addr))
		return false;
	e.port = (uint16_t)port;
	*out = e;
	return true;
}

size_t
endpoint_format(const struct endpoint *e, char buf[ENDPOINT_TEXT])
{
	bool brackets = !addr_is4(&e->addr);
	char *p = buf;

	if (brackets)
		*p++ = '[';
	p += addr_format(&e->addr, p);
	if (brackets)
		*p++ = ']';
	*p++ = ':';
	p = put_port(p, e->port);
	*p = '\0';
	return (size_t)(p - buf);
}

/* --- translation addresses --- */

bool
addr_embedded(const struct addr *a, struct addr *inner)
{
	static const struct {
		uint8_t head[12];
		uint8_t head_len, at, flip;
	} forms[] = {
	    {{0x00, 0x64, 0xff, 0x9b}, 12, 12, 0},   /* NAT64, RFC 6052 */
	    {{0x20, 0x02}, 2, 2, 0},                 /* 6to4, RFC 3056 */
	    {{0x20, 0x01, 0x00, 0x00}, 4, 12, 0xff}, /* Teredo, RFC 4380 4 */
	};

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		uint8_t four[4];

		if (memcmp(a->b, forms[i].head, forms[i].head_len) != 0)
			continue;
		for (int j = 0; j < 4; j++)
			four[j] = a->b[forms[i].at + j] ^ forms[i].flip;
		*inner = addr_from_bytes4(four);
		return true;
	}
	return false;
}

/* --- prefixes --- */

struct addr
addr_mask(const struct addr *a, unsigned len)
{
	struct halves h = halves_of(a), host = host_bits(len);

	h.high &= ~host.high;
	h.low &= ~host.low;
	return from_halves(h);
}

/* Numbers and dots, one of the numbers with a leading zero: meant as octal or not, nobody can tell.
 */
static bool
looks_octal(const char *s, size_t len)
{
	bool zero = false;

	for (size_t i = 0; i < len; i++) {
		bool starts = i == 0 || s[i - 1] == '.';

		if ((s[i] < '0' || s[i] > '9') && s[i] != '.')
			return false;
		if (starts && s[i] == '0' && i + 1 < len && s[i + 1] != '.')
			zero = true;
	}
	return zero;
}

static enum prefix_error
address_error(const char *s, size_t len)
{
	const char *dash = memchr(s, '-', len);
	const char *quad = memrchr(s, ':', len);
	struct addr a;

	if (dash != NULL) {
		size_t before = (size_t)(dash - s);

		while (before > 0 && s[before - 1] == ' ')
			before--;
		return addr_parse(s, before, &a) ? PREFIX_RANGE : PREFIX_BAD_ADDRESS;
	}
	/* the dotted end of an IPv6 address may have the zeros */
	if (quad != NULL && memchr(quad, '.', (size_t)(s + len - quad)) != NULL) {
		len -= (size_t)(quad + 1 - s);
		s = quad + 1;
	}
	return looks_octal(s, len) ? PREFIX_OCTAL : PREFIX_BAD_ADDRESS;
}

/* What stands behind the slash, as a length of 0 to most. */
static enum prefix_error
parse_length(const char *s, size_t len, unsigned most, uint8_t *out)
{
	uint8_t four[4];
	uint64_t v;

	if (text_parse_u64(s, len, most, &v)) {
		*out = (uint8_t)v;
		return PREFIX_OK;
	}
	if (parse4(s, len, four))
		return PREFIX_NETMASK;
	if (memchr(s, '.', len) == NULL && looks_octal(s, len))
		return PREFIX_OCTAL;
	return PREFIX_BAD_LENGTH;
}

enum prefix_error
prefix_parse(const char *text, size_t len, struct prefix *out)
{
	const char *slash = memchr(text, '/', len);
	size_t addr_len = slash == NULL ? len : (size_t)(slash - text);
	enum prefix_error error;
	struct prefix p;
	unsigned bits;

	if (!addr_parse(text, addr_len, &p.addr))
		return address_error(text, addr_len);
	bits = addr_is4(&p.addr) ? 32 : 128;
	if (bits == 32 && memchr(text, ':', addr_len) != NULL)
		return PREFIX_MAPPED;
	p.len = (uint8_t)bits;
	if (slash != NULL) {
		/* 10.0.0.0/24-10.0.9.0/24 is a range too */
		if (memchr(slash, '-', (size_t)(text + len - slash)) != NULL)
			return PREFIX_RANGE;
		error = parse_length(slash + 1, (size_t)(text + len - slash - 1), bits, &p.len);
		if (error != PREFIX_OK)
			return error;
	}
	p.len = (uint8_t)(p.len + 128 - bits);
	out->len = p.len;
	out->addr = addr_mask(&p.addr, p.len);
	return addr_equal(&out->addr, &p.addr) ? PREFIX_OK : PREFIX_HOST_BITS;
}

static bool
prefix_is4(const struct prefix *p)
{
	return p->len >= 96 && addr_is4(&p->addr);
}

size_t
prefix_format(const struct prefix *p, char buf[PREFIX_TEXT])
{
	size_t len = addr_format(&p->addr, buf);
	char *end = buf + len;

	*end++ = '/';
	end = put_small(end, prefix_is4(p) ? p->len - 96u : p->len);
	*end = '\0';
	return (size_t)(end - buf);
}

bool
prefix_contains(const struct prefix *p, const struct addr *a)
{
	struct addr masked;

	if (p->len < 96 && addr_is4(a))
		return false;
	masked = addr_mask(a, p->len);
	return addr_equal(&masked, &p->addr);
}

struct addr
prefix_first(const struct prefix *p)
{
	return addr_mask(&p->addr, p->len);
}

struct addr
prefix_last(const struct prefix *p)
{
	struct halves h = halves_of(&p->addr), host = host_bits(p->len);

	h.high |= host.high;
	h.low |= host.low;
	return from_halves(h);
}

unsigned
prefix_ranges(const struct prefix *p, struct addr first[2], struct addr last[2])
{
	const struct halves before4 = {0, UINT64_C(0xfffeffffffff)};
	const struct halves after4 = {0, UINT64_C(0x1000000000000)};

	first[0] = prefix_first(p);
	last[0] = prefix_last(p);
	if (p->len >= 96 || addr_compare(&first[0], &addr_any4) > 0 ||
	    addr_compare(&last[0], &addr_any4) < 0)
		return 1;
	last[1] = last[0];
	last[0] = from_halves(before4);
	first[1] = from_halves(after4);
	return 2;
}
