/*
 * rules/read_services.c - services ("tcp/443", "udp/3478-3481") and users ("ann", "unix:staff").
 * Pure but for the model's memory.
 */
#include "rules/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define USER_MAX 255

/* ---- services ------------------------------------------------------------------ */

static bool
ports_parse(const char *s, size_t len, uint16_t *first, uint16_t *last)
{
	const char *dash = memchr(s, '-', len);
	uint64_t a, z;

	if (!text_parse_u64(s, dash ? (size_t)(dash - s) : len, 65535, &a))
		return false;
	z = a;
	if (dash && !text_parse_u64(dash + 1, (size_t)(s + len - dash - 1), 65535, &z))
		return false;
	*first = (uint16_t)a;
	*last = (uint16_t)z;
	return true;
}

static void
service_help(struct problem *one, const char *s, size_t len)
{
	const char *slash = strchr(s, '/');
	uint16_t first, last;

	if (ports_parse(s, len, &first, &last))
		problem_help(one, "did you mean \"tcp/%s\"?", s);
	else if (slash && slash - s == 3 &&
		 (!strncasecmp(s, "tcp", 3) || !strncasecmp(s, "udp", 3)) &&
		 ports_parse(slash + 1, len - 4, &first, &last))
		problem_help(one, "did you mean \"%s/%s\"?",
			     s[0] == 't' || s[0] == 'T' ? "tcp" : "udp", slash + 1);
	else
		problem_help(
		    one,
		    "write tcp/ or udp/ and a port or a range: \"tcp/443\", \"udp/3478-3481\"");
}

bool
service_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at)
{
	struct model_service *v;
	struct problem *one;
	uint16_t first, last;

	if (len < 5 || (memcmp(s, "tcp/", 4) && memcmp(s, "udp/", 4)) ||
	    !ports_parse(s + 4, len - 4, &first, &last)) {
		one = problems_add(r->p, "E212", at, "\"%s\" is no service", s);
		service_help(one, s, len);
		return false;
	}
	if (first == 0 || first > last) {
		one = problems_add(
		    r->p, "E212", at,
		    first ? "the ports of \"%s\" run backwards" : "\"%s\" has port 0", s);
		if (first)
			problem_help(one, "did you mean \"%.4s%u-%u\"?", s, last, first);
		else
			problem_help(
			    one,
			    "ports are 1 to 65535; only rules without \"service\" match port 0");
		return false;
	}
	v = vec_add(&b->services, sizeof(*v));
	v->udp = s[0] == 'u';
	v->first = first;
	v->last = last;
	return true;
}

static int
service_order(const void *a, const void *b)
{
	const struct model_service *x = a, *y = b;

	if (x->udp != y->udp)
		return x->udp - y->udp;
	if (x->first != y->first)
		return (int)x->first - y->first;
	return (int)x->last - y->last;
}

void
services_settle(struct vec *services)
{
	struct model_service *list = services->p;
	size_t i, kept = 0;

	if (services->count < 2)
		return;
	qsort(list, services->count, sizeof(*list), service_order);
	for (i = 1; i < services->count; i++) {
		if (list[i].udp == list[kept].udp &&
		    (unsigned)list[i].first <= list[kept].last + 1u) {
			if (list[i].last > list[kept].last)
				list[kept].last = list[i].last;
		} else {
			list[++kept] = list[i];
		}
	}
	services->count = kept + 1;
}

/* ---- users --------------------------------------------------------------------- */

static const char *
user_wrong(const char *s, size_t len)
{
	size_t i;

	if (len == 0)
		return "a name must stand here";
	if (len > USER_MAX)
		return "a name has 255 bytes at most";
	if (*s == '@')
		return "groups inside groups are named \"@group\"";
	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] <= 0x20 || (unsigned char)s[i] > 0x7e)
			return "a name is ASCII, without blanks";
	return NULL;
}

bool
user_literal(struct reader *r, struct builder *b, const char *s, size_t len, struct place at)
{
	bool unix_group = len >= 5 && !memcmp(s, "unix:", 5);
	const char *name = unix_group ? s + 5 : s,
		   *wrong = user_wrong(name, len - (size_t)(name - s));

	if (!wrong && !unix_group && (!strcmp(s, "anyone") || !strcmp(s, "known")))
		wrong = "this word belongs into \"who\" of a rule, alone";
	if (wrong) {
		problem_help(problems_add(r->p, "E213", at, "\"%s\" is no %s", s,
					  unix_group ? "Unix group" : "user"),
			     "%s", wrong);
		return false;
	}
	*(const char **)vec_add(unix_group ? &b->unix_groups : &b->users, sizeof(name)) =
	    model_string(r->m, name, len - (size_t)(name - s));
	return true;
}

static int
user_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t
users_settle(struct vec *users)
{
	const char **list = users->p;
	size_t i, kept = 0, before = users->count;

	if (before < 2)
		return 0;
	qsort(list, before, sizeof(*list), user_order);
	for (i = 1; i < before; i++)
		if (strcmp(list[kept], list[i]))
			list[++kept] = list[i];
	users->count = kept + 1;
	return before - users->count;
}
