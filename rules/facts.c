/*
 * rules/facts.c - texts of people to facts: what tests, explain and batch read. Pure but for the
 * zone that a time may name.
 */
#include "rules/model.h"

#include <string.h>

#include "base/name.h"
#include "base/text.h"

/* ---- destinations -------------------------------------------------------------- */

/* 127.1, 0x7f000001, 10.0.0.256: resolvers take some of these for addresses (semantics 7). */
static bool
ends_in_number(const char *host, size_t len)
{
	size_t label = len;

	while (label > 0 && host[label - 1] != '.')
		label--;
	if (label == len || host[label] < '0' || host[label] > '9')
		return false;
	return strspn(host, "0123456789abcdefABCDEFxX.") >= len;
}

const char *
facts_destination(const char *text, struct rules_facts *f, char *name_buf)
{
	size_t len = strlen(text), host_len;
	const char *colon = strrchr(text, ':');
	struct endpoint e;
	uint64_t port;

	if (text[0] == '[') {
		if (!endpoint_parse(text, len, &e))
			return "an IPv6 destination is written \"[2001:db8::1]:443\"";
		f->name = NULL;
		f->name_len = 0;
		f->address = e.addr;
		f->port = e.port;
		f->known |= FACT_NAME | FACT_ADDRESS | FACT_PORT;
		return NULL;
	}
	if (!colon)
		return "a port is required: \"host:443\"";
	host_len = (size_t)(colon - text);
	if (memchr(text, ':', host_len))
		return "an IPv6 destination is written \"[2001:db8::1]:443\"";
	if (!text_parse_u64(colon + 1, len - host_len - 1, 65535, &port))
		return "the port is a number from 0 to 65535";
	f->name = NULL;
	f->name_len = 0;
	switch (name_canonical(text, host_len, name_buf, &f->name_len, &f->address)) {
	case NAME_HOST:
		f->name = name_buf;
		f->known &= ~(uint32_t)FACT_ADDRESS;
		break;
	case NAME_ADDRESS:
		f->name_len = 0;
		f->known |= FACT_ADDRESS;
		break;
	default:
		return ends_in_number(text, host_len)
			   ? "a name that ends in a number is no host name, and this is no address"
			   : "the destination is no host name and no address";
	}
	f->port = (uint16_t)port;
	f->known |= FACT_NAME | FACT_PORT;
	return NULL;
}

/* ---- instants ------------------------------------------------------------------ */

static bool
number(const char **s, unsigned digits, char end, unsigned *out)
{
	const char *p = *s;

	*out = 0;
	while (digits--) {
		if (*p < '0' || *p > '9')
			return false;
		*out = *out * 10 + (unsigned)(*p++ - '0');
	}
	if (end && *p++ != end)
		return false;
	*s = p;
	return true;
}

/* "Z", "+01:00" */
static bool
offset_parse(const char *s, int64_t *out)
{
	int sign = *s == '-' ? -1 : 1;
	unsigned h, m;

	*out = 0;
	if ((*s == 'Z' || *s == 'z') && !s[1])
		return true;
	if ((*s != '+' && *s != '-') || (s++, !number(&s, 2, ':', &h)) ||
	    !number(&s, 2, '\0', &m) || *s || h > 23 || m > 59)
		return false;
	*out = sign * (int64_t)(h * 3600 + m * 60);
	return true;
}

/*
 * The zone that was asked for last, or NULL: a batch names the same one in every line, and to load
 * it takes reading a file. For one thread, as all of the tools and COMPILE are.
 */
static const struct zone *
zone_last(const char *name)
{
	static struct zone last;
	static char last_name[128];
	size_t len = strlen(name);

	if (len > 0 && !strcmp(name, last_name))
		return &last;
	if (len >= sizeof(last_name) || !zone_known(name, len))
		return NULL;
	if (last_name[0])
		zone_free(&last);
	last_name[0] = '\0';
	if (!zone_load(name, &last))
		return NULL;
	memcpy(last_name, name, len + 1);
	return &last;
}

static const char *
zone_apply(const char *name, int64_t local, int64_t *out)
{
	const struct zone *z = zone_last(name);

	if (!z)
		return "no time zone has this name";
	*out = zone_to_utc(z, local);
	return NULL;
}

const char *
facts_time(const char *text, int64_t *out)
{
	static const char form[] = "write \"2026-11-24 10:00\", with a zone behind it if it is not "
				   "UTC, or \"2026-11-24T10:00:00Z\"";
	unsigned y, mo, d, h, mi, s = 0;
	bool rfc3339;
	int64_t offset;

	if (!number(&text, 4, '-', &y) || !number(&text, 2, '-', &mo) ||
	    !number(&text, 2, '\0', &d) || (*text != ' ' && *text != 'T' && *text != 't'))
		return form;
	rfc3339 = *text++ != ' ';
	if (!number(&text, 2, ':', &h) || !number(&text, 2, '\0', &mi))
		return form;
	if (*text == ':') {
		text++;
		if (!number(&text, 2, '\0', &s))
			return form;
	} else if (rfc3339) {
		return form;
	}
	if (!civil_valid((int)y, mo, d) || h > 23 || mi > 59 || s > 60)
		return "there is no such day or time of day";
	*out = civil_days((int)y, mo, d) * 86400 + h * 3600 + mi * 60 + s;
	if (*text == '.' && text[1] >= '0' && text[1] <= '9')
		text += 1 + strspn(text + 1, "0123456789");
	if (!*text)
		return rfc3339 ? form : NULL;
	if (offset_parse(text, &offset)) { /* RFC 3339 allows a blank in the place of the T */
		*out -= offset;
		return NULL;
	}
	if (rfc3339 || *text++ != ' ' || !*text)
		return form;
	return zone_apply(text, *out, out);
}
