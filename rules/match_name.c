/*
 * rules/match_name.c - does a host name match the patterns of a host object.
 *
 * The words of a policy (names behind exact, `*.` and `.` patterns, users, groups) stand in one
 * hash table. A name is looked up once, by each of its suffixes; an object then only compares
 * numbers. Regular expressions are asked once a name, with limits. Runs in workers.
 */
#include "config.h"

#include <string.h>

#include "rules/image.h"

enum regex_answer { REGEX_NOT_ASKED, REGEX_NO, REGEX_YES, REGEX_LIMIT };

/* FNV-1a from the last byte to the first, so that the hashes of all suffixes come in one pass. */
uint32_t
word_hash_back(uint32_t hash, const char *s, size_t len)
{
	while (len > 0)
		hash = (hash ^ (uint8_t)s[--len]) * 16777619u;
	return hash;
}

static uint32_t
slot_find(const struct policy *p, uint32_t hash, const char *s, size_t len)
{
	uint32_t i = (uint32_t)(((uint64_t)hash * p->word_slot_count) >> 32), slot;
	uint32_t tag = word_slot(hash, UINT32_MAX, word_bits(p->word_count)) & ~p->word_mask;

	while ((slot = p->word_slots[i]) != 0) {
		uint32_t word = slot & p->word_mask;
		const char *text = p->strings + p->words[word - 1];

		if ((slot & ~p->word_mask) == tag && strncmp(text, s, len) == 0 &&
		    text[len] == '\0')
			return word;
		i = i + 1 == p->word_slot_count ? 0 : i + 1;
	}
	return 0;
}

uint32_t
word_find(const struct policy *p, const char *s, size_t len)
{
	return slot_find(p, word_hash_back(WORD_HASH, s, len), s, len);
}

void
name_look_up(const struct policy *p, const char *name, size_t len, struct name_hits *h)
{
	uint32_t hash = WORD_HASH;
	size_t end = len;

	h->count = 0;
	for (size_t i = len; i-- > 0;) {
		if (i > 0 && name[i - 1] != '.')
			continue;
		hash = word_hash_back(hash, name + i, end - i);
		end = i;

		uint32_t word = slot_find(p, hash, name + i, len - i);

		if (word != 0 && h->count < NAME_HITS)
			h->word[h->count++] = (word - 1) << 1 | (i == 0);
	}
}

enum tri
regex_holds(struct policy *p, uint32_t regex, const char *name, size_t len)
{
	static const enum tri told[] = {
	    [REGEX_NO] = TRI_NO, [REGEX_YES] = TRI_YES, [REGEX_LIMIT] = TRI_UNKNOWN};
	int rc;

	if (p->regex_answer[regex] == REGEX_NOT_ASKED) {
		rc = pcre2_match(p->codes[regex], (PCRE2_SPTR)name, len, 0, 0, p->match_data,
				 p->match_context);
		p->regex_answer[regex] = rc >= 0                     ? REGEX_YES
					 : rc == PCRE2_ERROR_NOMATCH ? REGEX_NO
								     : REGEX_LIMIT;
		p->regex_asked[p->regex_asked_count++] = regex;
	}
	return told[p->regex_answer[regex]];
}

void
regex_forget(struct policy *p)
{
	while (p->regex_asked_count > 0)
		p->regex_answer[p->regex_asked[--p->regex_asked_count]] = REGEX_NOT_ASKED;
}

/* Is there a pattern of this word, of a kind that fits? */
static bool
pattern_find(const uint32_t *v, uint32_t n, uint32_t hit)
{
	uint32_t word = hit >> 1, low = 0;
	bool whole = hit & 1;

	for (uint32_t high = n; low < high;) {
		uint32_t middle = low + (high - low) / 2;

		if (v[middle] < word << 2)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < n && v[low] >> 2 == word; low++) {
		uint32_t kind = v[low] & 3;

		if (kind == HOST_BOTH || (kind == HOST_EXACT) == whole)
			return true;
	}
	return false;
}

static enum tri
host_has(struct policy *p, uint32_t host, const struct rules_facts *f, const struct name_hits *h)
{
	const uint32_t *v = p->host_patterns + p->host_first[host];
	uint32_t n = p->host_first[host + 1] - p->host_first[host];
	enum tri result = TRI_NO;

	for (unsigned i = 0; i < h->count; i++)
		if (pattern_find(v, n, h->word[i]))
			return TRI_YES;
	/* Regular expressions stand at the end. */
	while (n > 0 && v[n - 1] & HOST_PATTERN_REGEX) {
		enum tri one = regex_holds(p, v[--n] & ~HOST_PATTERN_REGEX, f->name, f->name_len);

		if (one == TRI_YES)
			return TRI_YES;
		if (one == TRI_UNKNOWN)
			result = TRI_UNKNOWN;
	}
	return result;
}

enum tri
hosts_have(struct policy *p, uint32_t set, const struct rules_facts *f, const struct name_hits *h)
{
	const uint32_t *v;
	uint32_t one, n = set_members(p, set, &v, &one);
	enum tri result = TRI_NO;

	for (uint32_t i = 0; i < n; i++) {
		enum tri t = host_has(p, v[i], f, h);

		if (t == TRI_YES)
			return TRI_YES;
		if (t == TRI_UNKNOWN)
			result = TRI_UNKNOWN;
	}
	return result;
}
