/*
 * settings/quantity.c - "30 s", "1 GiB", "200 Mbit/s", "10 /min": a whole number, at
 * most one blank, a unit. The unit is never guessed (POLICY.md "Quantities"). Pure.
 */
#include <string.h>

#include "base/text.h"
#include "settings/settings.h"

struct unit {
	const char *name;
	uint64_t scale;
};

static const struct unit times[] = {{"ms", 1},      {"s", 1000},     {"min", 60000},
				    {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {{"B", 1},
				    {"KiB", UINT64_C(1) << 10},
				    {"MiB", UINT64_C(1) << 20},
				    {"GiB", UINT64_C(1) << 30},
				    {NULL, 0}};
static const struct unit speeds[] = {
    {"bit/s", 1}, {"kbit/s", 1000}, {"Mbit/s", 1000000}, {"Gbit/s", 1000000000}, {NULL, 0}};
static const struct unit rates[] = {{"/s", 60}, {"/min", 1}, {NULL, 0}};

static bool
parse(const char *s, size_t len, const struct unit *units, uint64_t *value)
{
	size_t digits = 0, unit;
	uint64_t n;

	while (digits < len && s[digits] >= '0' && s[digits] <= '9')
		digits++;
	unit = digits + (digits < len && s[digits] == ' ');
	if (!text_parse_u64(s, digits, UINT64_MAX, &n))
		return false;
	for (; units->name != NULL; units++) {
		if (strlen(units->name) != len - unit ||
		    memcmp(units->name, s + unit, len - unit) != 0)
			continue;
		return !__builtin_mul_overflow(n, units->scale, value);
	}
	return false;
}

bool
quantity_ms(const char *s, size_t len, uint64_t *ms)
{
	return parse(s, len, times, ms);
}

bool
quantity_bytes(const char *s, size_t len, uint64_t *bytes)
{
	return parse(s, len, sizes, bytes);
}

bool
quantity_bits(const char *s, size_t len, uint64_t *bits_per_s)
{
	return parse(s, len, speeds, bits_per_s);
}

bool
quantity_rate(const char *s, size_t len, double *per_s)
{
	uint64_t per_min;

	if (!parse(s, len, rates, &per_min))
		return false;
	*per_s = (double)per_min / 60;
	return true;
}
