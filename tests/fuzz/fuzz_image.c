/*
 * tests/fuzz/fuzz_image.c - an image is damaged as the bytes say (three for the place, one for
 * what stands there then) and opened as if its hash were good: it opens or not, and if it does,
 * every question is answered without a fault.
 */
#include "config.h"

#include "fuzz.h"
#include "rules/image.h"
#include "tests/unit/unit_rules_random.h"

static uint8_t *whole; /* undamaged */
static size_t whole_len;

static void
make_image(void)
{
	struct dice d = {.state = 4711};
	struct random_policy *r = random_policy_new(&d, 30);
	struct problems problems;
	void *image;

	problems_init(&problems);
	FUZZ_CHECK(model_compile(&r->model, &image, &whole_len, &problems));
	whole = image;
	problems_free(&problems);
	random_policy_free(r);
}

static void
ask(struct policy *p, struct dice *d)
{
	struct random_self self;
	struct rules_facts f;
	struct rules_answer a;
	struct rules_explanation e;
	struct rule_terms t;
	const char *groups[2];

	random_facts(d, &f, groups, &self);
	rules_evaluate(p, &f, &a);
	policy_terms(p, a.rule, &t);
	FUZZ_CHECK(t.name != NULL && strlen(t.name) + strlen(t.owner) + strlen(t.file) < whole_len);
	rules_evaluate_linear(p, &f, &a);
	rules_explain(p, &f, true, &f.client, 1, true, &e);
	rules_explanation_free(&e);
	f.known = roll(d, FACT_ALL + 1);
	rules_evaluate(p, &f, &a);
	policy_listener(p, "outside");
	policy_rule_find(p, "r3");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice d = {.state = 0x1234567};
	struct policy *p;
	uint8_t *copy;

	if (whole == NULL)
		make_image();
	copy = malloc(whole_len);
	FUZZ_CHECK(copy != NULL);
	memcpy(copy, whole, whole_len);
	for (; size >= 4; data += 4, size -= 4) {
		size_t at = (size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2];

		copy[at % whole_len] = data[3];
	}
	p = image_open(copy, whole_len, IMAGE_UNHASHED);
	for (unsigned i = 0; p != NULL && i < 8; i++)
		ask(p, &d);
	policy_close(p);
	p = policy_open(copy, whole_len);
	FUZZ_CHECK((p != NULL) == (memcmp(copy, whole, whole_len) == 0));
	policy_close(p);
	free(copy);
	return 0;
}
