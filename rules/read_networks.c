/*
 * rules/read_networks.c - prefixes in strict notation to ranges; every other way to write one is
 * told together with the way that is read. Pure but for the model's memory.
 */
#include "rules/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

bool
looks_like_network(const char *s, size_t len)
{
	bool host = false;
	size_t i;

	if (len > 6 && !memcmp(s, "regex:", 6))
		return false;
	if (memchr(s, '/', len) || memchr(s, ':', len))
		return true;
	/* 10.1.2, 0x7f000001 and 10.0.0.1-10.0.0.9 are tries at addresses: no top-level name has
	 * only digits. */
	for (i = 0; i < len; i++)
		host |= !((s[i] >= '0' && s[i] <= '9') || s[i] == '.' || s[i] == '-');
	return !host ||
	       (s[0] == '0' && len > 2 && (s[1] == 'x' || s[1] == 'X') && !memchr(s, '.', len));
}

/* A prefix as a person would write it: a lone address without its length. */
static void
prefix_show(const struct prefix *p, char buf[PREFIX_TEXT])
{
	if (p->len == 128)
		addr_format(&p->addr, buf);
	else
		prefix_format(p, buf);
}

/* ---- help ---------------------------------------------------------------------- */

static void
help_netmask(struct problem *one, const char *s)
{
	const char *slash = strchr(s, '/');
	struct addr base, mask;
	struct prefix p;
	char buf[PREFIX_TEXT];
	uint32_t m;

	if (!slash || !addr_parse(s, (size_t)(slash - s), &base) || !addr_is4(&base) ||
	    !addr_parse(slash + 1, strlen(slash + 1), &mask) || !addr_is4(&mask) ||
	    (~addr_v4(&mask) & (~addr_v4(&mask) + 1)) != 0) {
		problem_help(one, "write the length of the prefix: \"10.0.0.0/8\"");
		return;
	}
	m = ~addr_v4(&mask);
	p.len = (uint8_t)(128 - (m ? 32 - __builtin_clz(m) : 0));
	p.addr = addr_mask(&base, p.len);
	prefix_show(&p, buf);
	problem_help(one, "did you mean \"%s\"?", buf);
}

/* The fewest prefixes that make up first to last, if they are few enough to be told. */
static void
help_range(struct problem *one, const char *s)
{
	const char *dash = strchr(s, '-');
	struct addr first, last;
	char buf[6 * (PREFIX_TEXT + 4)];
	struct text t;
	uint64_t a, z;
	unsigned n = 0;

	text_init(&t, buf, sizeof(buf));
	if (dash && addr_parse(s, (size_t)(dash - s), &first) && addr_is4(&first) &&
	    addr_parse(dash + 1, strlen(dash + 1), &last) && addr_is4(&last)) {
		for (a = addr_v4(&first), z = addr_v4(&last); a <= z && n <= 6; n++) {
			unsigned bits = 0;
			char one_text[PREFIX_TEXT];
			struct prefix p;

			while (bits < 32 && !(a & (1ull << bits)) && a + (2ull << bits) - 1 <= z)
				bits++;
			p.addr = addr_from_v4((uint32_t)a);
			p.len = (uint8_t)(128 - bits);
			prefix_show(&p, one_text);
			text_putf(&t, "%s\"%s\"", n ? ", " : "", one_text);
			a += 1ull << bits;
		}
	}
	if (n >= 1 && n <= 6)
		problem_help(one, "write it as prefixes: %s", buf);
	else
		problem_help(one, "write it as prefixes, such as \"10.0.0.0/30\"");
}

/* Leading zeros dropped: the decimal reading, which is what nearly everybody means. */
static void
help_octal(struct problem *one, const char *s)
{
	char buf[PREFIX_TEXT], *o = buf;
	struct prefix p;

	while (*s && o < buf + sizeof(buf) - 1) {
		bool starts = o == buf || o[-1] == '.' || o[-1] == '/';

		while (starts && *s == '0' && s[1] >= '0' && s[1] <= '9')
			s++;
		*o++ = *s++;
	}
	*o = '\0';
	if (prefix_parse(buf, (size_t)(o - buf), &p) == PREFIX_OK)
		problem_help(one, "some programs read such numbers as octal; did you mean \"%s\"?",
			     buf);
	else
		problem_help(
		    one, "some programs read such numbers as octal; write them without the zero");
}

static void
help_mapped(struct problem *one, const char *s)
{
	const char *slash = strchr(s, '/');
	struct prefix p;
	struct addr a;
	char buf[PREFIX_TEXT];
	uint64_t len = 128;

	if (!addr_parse(s, slash ? (size_t)(slash - s) : strlen(s), &a) ||
	    (slash && (!text_parse_u64(slash + 1, strlen(slash + 1), 128, &len) || len < 96))) {
		problem_help(one, "write the IPv4 address or prefix itself");
		return;
	}
	p.len = (uint8_t)len;
	p.addr = addr_mask(&a, p.len);
	prefix_show(&p, buf);
	problem_help(one, "IPv4 is judged as IPv4; did you mean \"%s\"?", buf);
}

static void
tell(struct reader *r, enum prefix_error error, const char *s, const struct prefix *p,
     struct place at)
{
	char buf[PREFIX_TEXT];
	struct problem *one;

	switch (error) {
	case PREFIX_HOST_BITS:
		one = problems_add(r->p, "E209", at,
				   "\"%s\" has bits set behind the length of its prefix", s);
		prefix_show(p, buf);
		problem_help(one, "did you mean \"%s\"?", buf);
		break;
	case PREFIX_BAD_LENGTH:
		one = problems_add(r->p, "E209", at, "\"%s\" has no proper length", s);
		problem_help(one, "a length is 0 to 32 for IPv4, 0 to 128 for IPv6");
		break;
	case PREFIX_OCTAL:
		help_octal(
		    problems_add(r->p, "E209", at, "\"%s\" has a number with a leading zero", s),
		    s);
		break;
	case PREFIX_NETMASK:
		help_netmask(problems_add(r->p, "E209", at, "\"%s\" is written with a netmask", s),
			     s);
		break;
	case PREFIX_RANGE:
		help_range(problems_add(r->p, "E209", at, "\"%s\" is a range, not a prefix", s), s);
		break;
	case PREFIX_MAPPED:
		help_mapped(
		    problems_add(r->p, "E209", at, "\"%s\" is an IPv4 address written as IPv6", s),
		    s);
		break;
	default:
		one = problems_add(r->p, "E209", at, "\"%s\" is no address or prefix", s);
		if (strchr(s, '.') && !strchr(s, ':') && !looks_like_network(s, strlen(s)))
			problem_help(one,
				     "names of hosts stand in hosts: { }, and in rules in \"to\"");
		else
			problem_help(one,
				     "write \"10.1.2.3\", \"10.0.0.0/8\" or \"2001:db8::/32\"");
	}
}

/* ---- remarks ------------------------------------------------------------------- */

static const struct {
	enum builtin which;
	struct prefix prefix;
} special[] = {
    {BUILTIN_LOOPBACK, {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127}}, 104}},
    {BUILTIN_LOOPBACK, {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}, 128}},
    {BUILTIN_LINK_LOCAL, {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 169, 254}}, 112}},
    {BUILTIN_LINK_LOCAL, {{{0xfe, 0x80}}, 10}},
    {BUILTIN_MULTICAST, {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 224}}, 100}},
    {BUILTIN_MULTICAST, {{{0xff}}, 8}},
    {BUILTIN_UNSPECIFIED, {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0}}, 104}},
    {BUILTIN_UNSPECIFIED, {{{0}}, 128}},
};

static struct model_remark *
remark(struct reader *r, struct place at, const char *s, size_t len)
{
	struct model_remark *m = model_alloc(r->m, sizeof(*m));

	m->place = at;
	m->text = model_string(r->m, s, len);
	return m;
}

/* "loopback, link-local and multicast": the special ranges inside p that are longer; "" if none. */
static void
special_inside(const struct prefix *p, struct text *out)
{
	const char *names[BUILTIN_COUNT];
	size_t i, n = 0;

	for (i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
		const char *name = builtin_word(special[i].which);

		if (p->len < special[i].prefix.len && prefix_contains(p, &special[i].prefix.addr) &&
		    (n == 0 || names[n - 1] != name))
			names[n++] = name;
	}
	for (i = 0; i < n; i++)
		text_putf(out, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " and ", names[i]);
}

/* What later warnings and the open-proxy guard want to know of a prefix as it is written. */
static void
remarks(struct reader *r, struct builder *b, const struct prefix *p, const char *s, size_t len,
	struct place at)
{
	bool four = p->len >= 96 && addr_is4(&p->addr);
	unsigned bits = four ? p->len - 96u : p->len;
	struct model_remark *wide;
	char about[80];
	struct text t;

	if (!b->open && bits < (four ? 8 : 16))
		b->open = remark(r, at, s, len);
	if (b->wide)
		return;
	text_init(&t, about, sizeof(about));
	special_inside(p, &t);
	if (t.len == 0)
		return;
	b->wide = wide = remark(r, at, s, len);
	wide->about = model_string(r->m, about, t.len);
}

/* ---- values -------------------------------------------------------------------- */

bool
network_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at)
{
	struct addr first[2], last[2];
	enum prefix_error error;
	struct prefix p;
	unsigned i, n;

	error = prefix_parse(s, len, &p);
	if (error != PREFIX_OK) {
		tell(r, error, s, &p, at);
		return false;
	}
	if (!b->wide || !b->open)
		remarks(r, b, &p, s, len, at);
	n = prefix_ranges(&p, first, last);
	for (i = 0; i < n; i++) {
		struct model_range *range = vec_add(&b->ranges, sizeof(*range));

		range->first = first[i];
		range->last = last[i];
	}
	return true;
}

void
network_builtin(struct builder *b, int which, const struct model_remark *open)
{
	const struct model_range *list;
	size_t n = builtin_ranges((enum builtin)which, true, &list), i;

	for (i = 0; i < n; i++)
		*(struct model_range *)vec_add(&b->ranges, sizeof(*list)) = list[i];
	if (open && !b->open)
		b->open = open;
}

static int
range_order(const void *a, const void *b)
{
	const struct model_range *x = a, *y = b;
	int d = addr_compare(&x->first, &y->first);

	return d ? d : addr_compare(&x->last, &y->last);
}

static struct addr
after(const struct addr *a)
{
	struct addr next = *a;
	int i;

	for (i = 15; i >= 0 && ++next.b[i] == 0; i--)
		;
	return next;
}

size_t
networks_settle(struct vec *ranges)
{
	struct model_range *list = ranges->p;
	size_t i, kept = 0, twice = 0;

	if (ranges->count < 2)
		return 0;
	for (i = 1; i < ranges->count && range_order(&list[i - 1], &list[i]) <= 0; i++)
		;
	if (i < ranges->count)
		qsort(list, ranges->count, sizeof(*list), range_order);
	for (i = 1; i < ranges->count; i++) {
		struct addr next = after(&list[kept].last);

		twice += range_order(&list[i - 1], &list[i]) == 0;

		/* Neighbours become one, but never IPv4 with IPv6. */
		if (addr_is4(&list[i].first) == addr_is4(&list[kept].first) &&
		    (addr_compare(&list[i].first, &next) <= 0 ||
		     addr_compare(&list[i].first, &list[kept].last) <= 0)) {
			if (addr_compare(&list[i].last, &list[kept].last) > 0)
				list[kept].last = list[i].last;
		} else {
			list[++kept] = list[i];
		}
	}
	ranges->count = kept + 1;
	return twice;
}
