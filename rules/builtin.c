/*
 * rules/builtin.c - the built-in networks of POLICY.md: words and exact ranges.
 *
 * Sorted, disjoint, inclusive; IPv4 stands in its mapped form, so it sorts between ::ffff:0:0
 * and what follows, and no IPv6 range runs across it. Pure tables.
 */
#include "config.h"

#include <string.h>

#include "rules/model.h"

#define V4(a, b, c, d)                                                                             \
	{                                                                                          \
		{                                                                                  \
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d                       \
		}                                                                                  \
	}
#define HALF(g) (g) >> 8, (g)&0xff
/* An address by its first two groups, the rest all zero or all one. */
#define LOW(g, h)                                                                                  \
	{                                                                                          \
		{                                                                                  \
			HALF(g), HALF(h), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0                       \
		}                                                                                  \
	}
#define FF 0xff
#define HIGH(g, h)                                                                                 \
	{                                                                                          \
		{                                                                                  \
			HALF(g), HALF(h), FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF, FF           \
		}                                                                                  \
	}
#define LAST6(n)                                                                                   \
	{                                                                                          \
		{                                                                                  \
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n                             \
		}                                                                                  \
	}
/* ::fffe:ffff:ffff and ::1:0:0:0, the neighbours of the mapped block */
#define BEFORE_MAPPED                                                                              \
	{                                                                                          \
		{                                                                                  \
			0, 0, 0, 0, 0, 0, 0, 0, 0, 0, FF, 0xfe, FF, FF, FF, FF                     \
		}                                                                                  \
	}
#define AFTER_MAPPED                                                                               \
	{                                                                                          \
		{                                                                                  \
			0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0                             \
		}                                                                                  \
	}

static const struct model_range everything[] = {
    {LAST6(0), BEFORE_MAPPED},
    {V4(0, 0, 0, 0), V4(255, 255, 255, 255)},
    {AFTER_MAPPED, HIGH(0xffff, 0xffff)},
};

static const struct model_range any_destination[] = {
    {LAST6(2), BEFORE_MAPPED},
    {V4(1, 0, 0, 0), V4(126, 255, 255, 255)},
    {V4(128, 0, 0, 0), V4(169, 253, 255, 255)},
    {V4(169, 255, 0, 0), V4(223, 255, 255, 255)},
    {V4(240, 0, 0, 0), V4(255, 255, 255, 254)},
    {AFTER_MAPPED, HIGH(0xfe7f, 0xffff)},
    {LOW(0xfec0, 0), HIGH(0xfeff, 0xffff)},
};

static const struct model_range public_networks[] = {
    {V4(1, 0, 0, 0), V4(9, 255, 255, 255)},
    {V4(11, 0, 0, 0), V4(100, 63, 255, 255)},
    {V4(100, 128, 0, 0), V4(126, 255, 255, 255)},
    {V4(128, 0, 0, 0), V4(169, 253, 255, 255)},
    {V4(169, 255, 0, 0), V4(172, 15, 255, 255)},
    {V4(172, 32, 0, 0), V4(191, 255, 255, 255)},
    {V4(192, 0, 1, 0), V4(192, 0, 1, 255)},
    {V4(192, 0, 3, 0), V4(192, 88, 98, 255)},
    {V4(192, 88, 100, 0), V4(192, 167, 255, 255)},
    {V4(192, 169, 0, 0), V4(198, 17, 255, 255)},
    {V4(198, 20, 0, 0), V4(198, 51, 99, 255)},
    {V4(198, 51, 101, 0), V4(203, 0, 112, 255)},
    {V4(203, 0, 114, 0), V4(223, 255, 255, 255)},
    /* 64:ff9b::/96, NAT64: judged a second time by the address inside */
    {LOW(0x64, 0xff9b), {{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, FF, FF, FF, FF}}},
    {LOW(0x2000, 0), HIGH(0x2000, 0xffff)},
    {LOW(0x2001, 0x0200), HIGH(0x2001, 0x0db7)},
    {LOW(0x2001, 0x0db9), HIGH(0x2001, 0xffff)},
    {LOW(0x2003, 0), HIGH(0x3ffe, 0xffff)},
    {LOW(0x3fff, 0x1000), HIGH(0x3fff, 0xffff)},
};

static const struct model_range private_networks[] = {
    {V4(10, 0, 0, 0), V4(10, 255, 255, 255)},   {V4(100, 64, 0, 0), V4(100, 127, 255, 255)},
    {V4(172, 16, 0, 0), V4(172, 31, 255, 255)}, {V4(192, 168, 0, 0), V4(192, 168, 255, 255)},
    {LOW(0xfc00, 0), HIGH(0xfdff, 0xffff)},
};

static const struct model_range loopback[] = {
    {LAST6(1), LAST6(1)},
    {V4(127, 0, 0, 0), V4(127, 255, 255, 255)},
};

static const struct model_range link_local[] = {
    {V4(169, 254, 0, 0), V4(169, 254, 255, 255)},
    {LOW(0xfe80, 0), HIGH(0xfebf, 0xffff)},
};

static const struct model_range multicast[] = {
    {V4(224, 0, 0, 0), V4(239, 255, 255, 255)},
    {V4(255, 255, 255, 255), V4(255, 255, 255, 255)},
    {LOW(0xff00, 0), HIGH(0xffff, 0xffff)},
};

static const struct model_range unspecified[] = {
    {LAST6(0), LAST6(0)},
    {V4(0, 0, 0, 0), V4(0, 255, 255, 255)},
};

#define TABLE(t) t, sizeof(t) / sizeof((t)[0])

static const struct {
	const char *word;
	const struct model_range *ranges;
	size_t count;
} builtins[BUILTIN_COUNT] = {
    [BUILTIN_ANY] = {"any", TABLE(any_destination)},
    [BUILTIN_PUBLIC] = {"public", TABLE(public_networks)},
    [BUILTIN_PRIVATE] = {"private", TABLE(private_networks)},
    [BUILTIN_LOOPBACK] = {"loopback", TABLE(loopback)},
    [BUILTIN_LINK_LOCAL] = {"link-local", TABLE(link_local)},
    [BUILTIN_MULTICAST] = {"multicast", TABLE(multicast)},
    [BUILTIN_UNSPECIFIED] = {"unspecified", TABLE(unspecified)},
};

size_t
builtin_ranges(enum builtin b, bool destination, const struct model_range **out)
{
	if (b == BUILTIN_ANY && !destination) {
		*out = everything;
		return sizeof(everything) / sizeof(everything[0]);
	}
	*out = builtins[b].ranges;
	return builtins[b].count;
}

int
builtin_find(const char *word)
{
	for (int b = 0; b < BUILTIN_COUNT; b++)
		if (strcmp(word, builtins[b].word) == 0)
			return b;
	return -1;
}

const char *
builtin_word(enum builtin b)
{
	return builtins[b].word;
}
