/* Tests of net/contacts.c: found by what was asked for, by who answers, and in the order of use. */
#include "net/contacts.h"

#include <stdlib.h>
#include <string.h>

#include "suite.h"

struct owner {
	struct contact contact;
	bool accepts;
	char name[16];
};

static struct addr
address(uint32_t n)
{
	return addr_from_v4(0x0a000000u + n);
}

static bool
accepts(const struct contact *c)
{
	return ((const struct owner *)(const void *)c)->accepts;
}

static struct owner *
add(struct contacts *t, const char *name, uint32_t n, uint16_t port)
{
	struct owner *o = calloc(1, sizeof *o);

	CU_ASSERT_PTR_NOT_NULL_FATAL(o);
	o->contact.port = port;
	o->contact.addr = address(n);
	if (name != NULL) {
		strcpy(o->name, name);
		o->contact.name = o->name;
		o->contact.name_len = (uint8_t)strlen(name);
	}
	CU_ASSERT_TRUE_FATAL(contacts_add(t, &o->contact));
	return o;
}

static void
clear(struct contacts *t)
{
	while (t->oldest != NULL) {
		struct contact *c = t->oldest;

		contacts_remove(t, c);
		free(c);
	}
	CU_ASSERT_EQUAL(t->count, 0);
	CU_ASSERT_PTR_NULL(t->newest);
	contacts_free(t);
}

static void
test_asked(void)
{
	struct contacts t = {0};
	struct addr a = address(1);
	struct owner *name, *literal;

	CU_ASSERT_PTR_NULL(contacts_find(&t, NULL, 0, &a, 53));
	name = add(&t, "a.test", 0, 53);
	literal = add(&t, NULL, 1, 53);
	CU_ASSERT_PTR_EQUAL(contacts_find(&t, "a.test", 6, &a, 53), &name->contact);
	CU_ASSERT_PTR_EQUAL(contacts_find(&t, NULL, 0, &a, 53), &literal->contact);
	CU_ASSERT_PTR_NULL(contacts_find(&t, "a.test", 6, &a, 54));
	CU_ASSERT_PTR_NULL(contacts_find(&t, "a.tes", 5, &a, 53));
	CU_ASSERT_PTR_NULL(contacts_find(&t, NULL, 0, &a, 54));
	a = address(2);
	CU_ASSERT_PTR_NULL(contacts_find(&t, NULL, 0, &a, 53));
	clear(&t);
}

static void
test_answers(void)
{
	struct contacts t = {0};
	struct owner *name = add(&t, "a.test", 0, 53), *literal = add(&t, NULL, 7, 80);
	struct endpoint from = {address(7), 53};
	struct addr led = address(7);

	CU_ASSERT_PTR_NULL(contacts_answer(&t, &from, accepts)); /* nobody is reached yet */
	contacts_reach(&t, &literal->contact, &led);
	CU_ASSERT_PTR_NULL(contacts_answer(&t, &from, accepts));
	literal->accepts = true;
	CU_ASSERT_PTR_EQUAL(contacts_answer(&t, &from, accepts), &literal->contact);
	contacts_reach(&t, &name->contact, &led);
	CU_ASSERT_PTR_EQUAL(contacts_answer(&t, &from, accepts), &name->contact);
	from.port = 80;
	CU_ASSERT_PTR_EQUAL(contacts_answer(&t, &from, accepts), &literal->contact);
	led = address(8);
	contacts_reach(&t, &name->contact, &led); /* it leads elsewhere now */
	from.port = 53;
	CU_ASSERT_PTR_EQUAL(contacts_answer(&t, &from, accepts), &literal->contact);
	contacts_remove(&t, &literal->contact);
	free(literal);
	CU_ASSERT_PTR_NULL(contacts_answer(&t, &from, accepts));
	from.addr = address(8);
	CU_ASSERT_PTR_EQUAL(contacts_answer(&t, &from, accepts), &name->contact);
	clear(&t);
}

static void
test_order_of_use(void)
{
	struct contacts t = {0};
	struct owner *a = add(&t, NULL, 1, 1), *b = add(&t, NULL, 2, 1), *c = add(&t, NULL, 3, 1);

	CU_ASSERT_PTR_EQUAL(t.oldest, &a->contact);
	contacts_touch(&t, &a->contact);
	CU_ASSERT_PTR_EQUAL(t.oldest, &b->contact);
	CU_ASSERT_PTR_EQUAL(t.newest, &a->contact);
	contacts_touch(&t, &a->contact);
	contacts_touch(&t, &c->contact);
	CU_ASSERT_PTR_EQUAL(t.oldest, &b->contact);
	CU_ASSERT_PTR_EQUAL(t.oldest->newer, &a->contact);
	CU_ASSERT_PTR_EQUAL(t.newest, &c->contact);
	clear(&t);
}

/* Against a plain list, through growth and removal. */
static void
test_many(void)
{
	enum { MANY = 3000 };
	static struct owner *all[MANY];
	struct contacts t = {0};
	unsigned wrong = 0;

	for (uint32_t i = 0; i < MANY; i++) {
		struct addr a = address(i);

		all[i] = add(&t, NULL, i, (uint16_t)(1 + i % 3));
		if (i % 2 == 0)
			contacts_reach(&t, &all[i]->contact, &a);
	}
	CU_ASSERT_EQUAL(t.count, MANY);
	for (uint32_t i = 0; i < MANY; i += 5) {
		contacts_remove(&t, &all[i]->contact);
		free(all[i]);
		all[i] = NULL;
	}
	for (uint32_t i = 0; i < MANY; i++) {
		struct endpoint e = {address(i), (uint16_t)(1 + i % 3)};
		struct contact *want = all[i] != NULL ? &all[i]->contact : NULL;

		wrong += contacts_find(&t, NULL, 0, &e.addr, e.port) != want;
		wrong += contacts_answer(&t, &e, accepts) != (i % 2 == 0 ? want : NULL);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	clear(&t);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"asked", test_asked}, {"answers", test_answers}, {"order of use", test_order_of_use},
	    {"many", test_many},   CU_TEST_INFO_NULL,
	};

	return suite_run("contacts", tests);
}
