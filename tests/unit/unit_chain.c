/*
 * unit_chain.c - the members at the end of an audit line, the chain over lines and the signatures
 * (wire/chain.c).
 */
#include "wire/chain.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static void
fill(uint8_t *p, size_t len, uint8_t from)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(from + i);
}

static struct chain_tail
whole_tail(unsigned has)
{
	struct chain_tail t = {.seq = 4711, .has = has, .from = 4709, .last.seq = 4700};

	fill(t.prev, sizeof t.prev, 0xf0);
	fill(t.key, sizeof t.key, 1);
	fill(t.last.key, sizeof t.last.key, 2);
	fill(t.last.signature, sizeof t.last.signature, 3);
	fill(t.root, sizeof t.root, 4);
	fill(t.next, sizeof t.next, 5);
	fill(t.end, sizeof t.end, 6);
	return t;
}

static void
test_form(void)
{
	struct chain_tail tail = whole_tail(CHAIN_HAS_PREV), back;
	char line[2048];
	struct text t;

	text_init(&t, line, sizeof line);
	text_put(&t, "{\"a\":1");
	chain_put(&t, &tail);
	CU_ASSERT_STRING_EQUAL(line,
			       "{\"a\":1,\"audit\":{\"seq\":4711,\"prev\":\"f0f1f2f3f4f5f6f7\"}}");
	CU_ASSERT_TRUE(chain_parse(line, t.len, &back));
	CU_ASSERT_EQUAL(back.seq, 4711);
	CU_ASSERT_EQUAL(back.has, CHAIN_HAS_PREV);
	CU_ASSERT_EQUAL(memcmp(back.prev, tail.prev, sizeof back.prev), 0);
}

/* Whatever members there are comes back, and nothing else is accepted. */
static void
test_round(void)
{
	static const unsigned all = CHAIN_HAS_KEY | CHAIN_HAS_FROM | CHAIN_HAS_LAST |
				    CHAIN_HAS_ROOT | CHAIN_HAS_NEXT | CHAIN_HAS_END |
				    CHAIN_HAS_PREV;

	for (unsigned has = 0; has <= all; has++) {
		struct chain_tail tail = whole_tail(has & all), back;
		char line[2048];
		struct text t;

		text_init(&t, line, sizeof line);
		text_put(&t, "{\"x\":\"y,\\\"audit\\\":{\\\"seq\\\":1}}\"");
		chain_put(&t, &tail);
		CU_ASSERT_TRUE_FATAL(chain_parse(line, t.len, &back));
		CU_ASSERT_EQUAL(back.has, tail.has);
		if (tail.has & CHAIN_HAS_LAST)
			CU_ASSERT_EQUAL(memcmp(&back.last, &tail.last, sizeof back.last), 0);
		if (tail.has & CHAIN_HAS_FROM)
			CU_ASSERT_EQUAL(back.from, 4709);
		CU_ASSERT_FALSE(chain_parse(line, t.len - 1, &back));
		line[t.len] = ' ';
		CU_ASSERT_FALSE(chain_parse(line, t.len + 1, &back));
	}
}

static void
test_not(void)
{
	static const char *const rows[] = {
	    "",
	    "x",
	    "{}",
	    "{\"a\":1}",
	    "{\"a\":1,\"audit\":{\"seq\":}}",
	    "{\"a\":1,\"audit\":{\"seq\":01}}",
	    "{\"a\":1,\"audit\":{\"seq\":-1}}",
	    "{\"a\":1,\"audit\":{\"seq\":9223372036854775808}}",
	    "{\"a\":1,\"audit\":{\"seq\":1}",
	    "{\"a\":1,\"audit\":{\"seq\":1}}}",
	    "\"a\":1,\"audit\":{\"seq\":1}}",
	    "{\"a\":1,\"audit\":{\"seq\":1,\"prev\":\"F0f1f2f3f4f5f6f7\"}}",
	    "{\"a\":1,\"audit\":{\"seq\":1,\"prev\":\"f0f1f2f3f4f5f6f\"}}",
	    "{\"a\":1,\"audit\":{\"seq\":1,\"prev\":\"f0f1f2f3f4f5f6f7f8\"}}",
	    "{\"a\":1,\"audit\":{\"seq\":1,\"other\":1}}",
	    "{\"a\":1,\"audit\":{\"seq\":1,\"last\":{\"seq\":1}}}",
	    "{\"a\":1, \"audit\":{\"seq\":1}}",
	    "{\"a\":1,\\\"audit\":{\"seq\":1}}",
	};
	struct chain_tail tail;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK_ROW(!chain_parse(rows[i], strlen(rows[i]), &tail), rows[i]);
	CU_ASSERT_TRUE(chain_parse("{\"a\":1,\"audit\":{\"seq\":0}}", 25, &tail));
}

/* What the header says, done by another way. */
static void
test_chain(void)
{
	uint8_t last[32], root[32] = {0}, both[64];
	struct chain c = {{0}, {0}};
	unsigned n;

	EVP_Digest("one", 3, last, &n, EVP_sha256(), NULL);
	memcpy(both, root, 32);
	memcpy(both + 32, last, 32);
	EVP_Digest(both, 64, root, &n, EVP_sha256(), NULL);
	chain_begin(&c, c.last);
	chain_add(&c, "one", 3);
	CU_ASSERT_EQUAL(memcmp(c.last, last, 32), 0);
	CU_ASSERT_EQUAL(memcmp(c.root, root, 32), 0);
	/* a new key begins with what the line tells of the one before */
	memset(both, 0, 32);
	memcpy(both, last, 8);
	EVP_Digest("two", 3, last, &n, EVP_sha256(), NULL);
	memcpy(both + 32, last, 32);
	EVP_Digest(both, 64, root, &n, EVP_sha256(), NULL);
	chain_begin(&c, c.last);
	chain_add(&c, "two", 3);
	CU_ASSERT_EQUAL(memcmp(c.root, root, 32), 0);
}

static void
test_signature(void)
{
	struct chain_tail tail = whole_tail(CHAIN_HAS_PREV | CHAIN_HAS_ROOT), back;
	uint8_t key[CHAIN_KEY], other[CHAIN_KEY], signature[CHAIN_SIGNATURE];
	struct evp_pkey_st *k = chain_key_new(key), *o = chain_key_new(other);
	char line[2048], small[100];
	struct text t;

	CU_ASSERT_TRUE_FATAL(k != NULL && o != NULL);
	text_init(&t, line, sizeof line);
	text_put(&t, "{\"a\":1");
	chain_put(&t, &tail);
	CU_ASSERT_TRUE(chain_sign(k, &t, signature));
	CU_ASSERT_TRUE_FATAL(chain_parse(line, t.len, &back));
	CU_ASSERT_EQUAL(back.has, tail.has | CHAIN_HAS_SIGNATURE);
	CU_ASSERT_EQUAL(memcmp(back.signature, signature, sizeof signature), 0);
	CU_ASSERT_TRUE(chain_verify(key, back.signature, line, back.signed_len));
	CU_ASSERT_FALSE(chain_verify(other, back.signature, line, back.signed_len));
	line[5] = '2';
	CU_ASSERT_FALSE(chain_verify(key, back.signature, line, back.signed_len));
	/* no room for it: the line stays as it was */
	text_init(&t, small, sizeof small);
	text_put(&t, "{\"a\":1");
	chain_put(&t, &(struct chain_tail){.seq = 1});
	CU_ASSERT_FALSE(chain_sign(k, &t, signature));
	CU_ASSERT_STRING_EQUAL(small, "{\"a\":1,\"audit\":{\"seq\":1}}");
	chain_key_wipe(k);
	chain_key_wipe(o);
	chain_key_wipe(NULL);
}

int
main(void)
{
	static CU_TestInfo tests[] = {{"form", test_form},      {"round", test_round},
				      {"not", test_not},        {"chain", test_chain},
				      {"sign", test_signature}, CU_TEST_INFO_NULL};

	return suite_run("chain", tests);
}
