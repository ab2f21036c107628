/*
 * rules/lint_hosts.c - reads the regular expressions that people write for host names: a start,
 * then labels. Only what is read to the last byte is judged. Pure; sallyctl.
 */
#include "rules/lint_hosts.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct start {
	const char *regex, *plain, *loose; /* loose: what may stand right before the labels */
};

/* Longest first. A pattern must match the whole name, so ^ and $ say nothing. */
static const struct start starts[] = {
    {"(?:.*[.])?", ".", NULL}, {"(?:.+[.])?", ".", NULL}, {"(?:.*\\.)?", ".", NULL},
    {"(?:.+\\.)?", ".", NULL}, {"(.*[.])?", ".", NULL},   {"(.+[.])?", ".", NULL},
    {"(.*\\.)?", ".", NULL},   {"(.+\\.)?", ".", NULL},   {".+[.]", "*.", NULL},
    {".+\\.", "*.", NULL},     {".*[.]", "*.", NULL},     {".*\\.", "*.", NULL},
    {".+", NULL, "evil"},      {".*", NULL, "evil"},      {"", "", NULL},
};

static bool
label_byte(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* Labels with their dots to out; where a dot is not escaped, a NUL and *loose. 0: more than that.
 */
static size_t
read_labels(const char *p, const char *end, char *out, size_t size, bool *loose)
{
	size_t n = 0;

	*loose = false;
	while (p < end && n + 1 < size) {
		size_t left = (size_t)(end - p);

		if (label_byte(*p) && (left < 2 || !strchr("*+?{", p[1]))) {
			out[n++] = (char)tolower((unsigned char)*p++);
		} else if (left >= 2 && p[0] == '\\' && p[1] == '.') {
			out[n++] = '.';
			p += 2;
		} else if (left >= 3 && !memcmp(p, "[.]", 3)) {
			out[n++] = '.';
			p += 3;
		} else if (*p == '.' && (left < 2 || !strchr("*+?{", p[1]))) {
			out[n++] = '\0'; /* any character */
			*loose = true;
			p++;
		} else {
			return 0;
		}
	}
	out[n] = '\0';
	if (p < end || n == 0 || !label_byte(out[0]))
		return 0;
	return *loose || strchr(out, '.') ? n : 0; /* one label has no other notation */
}

/* A letter where the first such dot was meant, the others dots: www.a.example, wwwxa.example. */
static void
spell_loose(char *labels, size_t len)
{
	char stand = 'x';
	size_t i;

	for (i = 0; i < len; i++)
		if (labels[i] == '\0') {
			labels[i] = stand;
			stand = '.';
		}
}

static bool
braces_after(const char *p, const char *end)
{
	return p < end && strchr("*+?{", *p) != NULL;
}

enum regex_sort
regex_sort(const char *text, size_t len, char *out, size_t size)
{
	const char *p = text, *end = text + len;
	const struct start *start = starts;
	bool loose;
	char labels[256];
	size_t n;

	if (p < end && *p == '^')
		p++;
	if (p < end && end[-1] == '$' && (end - p < 2 || end[-2] != '\\'))
		end--;
	while ((size_t)(end - p) < strlen(start->regex) ||
	       memcmp(p, start->regex, strlen(start->regex)) != 0)
		start++;
	p += strlen(start->regex);
	n = braces_after(p, end) ? 0 : read_labels(p, end, labels, sizeof(labels), &loose);
	if (n == 0)
		return REGEX_NEEDED;
	spell_loose(labels, n);
	if (loose || start->loose) {
		snprintf(out, size, "%s%s", start->loose ? start->loose : "", labels);
		return REGEX_LOOSE;
	}
	snprintf(out, size, "%s%s", start->plain, labels);
	return REGEX_PLAIN;
}
