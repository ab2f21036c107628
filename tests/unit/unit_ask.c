/* Tests of walk/ask.c: tickets, answers, a channel that is full, gone or new. */
#include "walk/ask.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/suite.h"

/* ---- a channel -------------------------------------------------------------------------- */

#define SENT_MOST 2048

static struct {
	enum ask_sent says;
	unsigned room; /* messages that it takes until it is full; says ASK_SENT only */
	unsigned count;
	struct {
		enum ipc_type type;
		uint64_t ticket;
		size_t len;
		char body[600];
	} sent[SENT_MOST];
} wire;

static enum ask_sent
wire_send(enum ipc_type type, const void *body, size_t len)
{
	uint64_t ticket;

	if (wire.says != ASK_SENT)
		return wire.says;
	if (wire.room == 0)
		return ASK_LATER;
	wire.room--;
	memcpy(&ticket, body, sizeof ticket); /* first in both */
	wire.sent[wire.count].type = type;
	wire.sent[wire.count].ticket = ticket;
	wire.sent[wire.count].len = len;
	memcpy(wire.sent[wire.count].body, body, len < 600 ? len : 600);
	wire.count++;
	return ASK_SENT;
}

static void
wire_new(unsigned room)
{
	wire.says = ASK_SENT;
	wire.room = room;
	wire.count = 0;
	ask_channel(wire_send);
}

/* ---- who asks ----------------------------------------------------------------------------- */

struct asker {
	struct question question;
	unsigned answers, gone;
	uint32_t result;
	char behind[16];
	bool again; /* asks the new channel at once when the old one is gone */
};

static bool ask(struct asker *a, const char *user, const char *secret);

static void
answered(struct question *q, const struct ipc_auth_answer *answer, const char *behind)
{
	struct asker *a = (struct asker *)q;

	CU_ASSERT_EQUAL(q->ticket, 0);
	if (answer == NULL) {
		a->gone++;
		if (a->again) {
			a->again = false;
			CU_ASSERT(ask(a, "again", ""));
		}
		return;
	}
	a->answers++;
	a->result = answer->result;
	memcpy(a->behind, behind, answer->user_len);
}

static bool
ask(struct asker *a, const char *user, const char *secret)
{
	struct ipc_auth_ask of = {.kind = ASK_PASSWORD,
				  .user_len = (uint32_t)strlen(user),
				  .secret_len = (uint32_t)strlen(secret)};
	struct ask_bytes bytes = {.user = user, .secret = secret};

	a->question.answered = answered;
	return ask_put(&a->question, &of, &bytes);
}

static void
answer(uint64_t ticket, uint32_t result, const char *user)
{
	struct {
		struct ipc_auth_answer head;
		char behind[16];
	} m = {.head = {.ticket = ticket, .result = result, .user_len = (uint32_t)strlen(user)}};

	memcpy(m.behind, user, strlen(user));
	ask_answered(&m.head);
}

/* ---- the tests ------------------------------------------------------------------------------ */

static void
test_no_channel(void)
{
	struct asker a = {0};

	ask_channel(NULL);
	CU_ASSERT_FALSE(ask(&a, "ann", "secret"));
	CU_ASSERT_EQUAL(a.question.ticket, 0);
	ask_forget(&a.question);
	wire_new(0);
	wire.says = ASK_GONE;
	CU_ASSERT_FALSE(ask(&a, "ann", "secret"));
	CU_ASSERT(a.answers == 0 && a.gone == 0);
}

static void
test_bytes(void)
{
	struct ipc_auth_ask of = {.kind = ASK_CHAP, .user_len = 3, .secret_len = 2, .token_len = 4};
	struct ask_bytes bytes = {"ann", "\0s", "tokn"};
	struct ipc_auth_ask sent;
	struct asker a = {.question.answered = answered};

	wire_new(1);
	CU_ASSERT(ask_put(&a.question, &of, &bytes));
	memcpy(&sent, wire.sent[0].body, sizeof sent);
	CU_ASSERT(wire.sent[0].type == IPC_AUTH_ASK && wire.sent[0].len == sizeof sent + 9);
	CU_ASSERT(sent.ticket == a.question.ticket && sent.ticket != 0 && sent.kind == ASK_CHAP);
	CU_ASSERT_EQUAL(memcmp(wire.sent[0].body + sizeof sent, "ann\0stokn", 9), 0);
	of.user_len = IPC_MAX_USER + 1;
	ask_forget(&a.question);
	CU_ASSERT_FALSE(ask_put(&a.question, &of, &bytes));
}

/* In any order, each to its own; a stranger's ticket to nobody. */
static void
test_answers(void)
{
	static struct asker askers[600];
	uint64_t tickets[600];

	memset(askers, 0, sizeof askers);
	wire_new(1000);
	for (unsigned i = 0; i < 600; i++) {
		CU_ASSERT(ask(&askers[i], "u", "p"));
		tickets[i] = askers[i].question.ticket;
	}
	answer(tickets[599] + 1, ANSWER_OK, "x");
	answer(0, ANSWER_OK, "x");
	for (unsigned i = 0; i < 600; i++) {
		char name[16];
		unsigned at = i * 7 % 600; /* 7 and 600 have no common part: each once */

		snprintf(name, sizeof name, "u%u", at);
		answer(tickets[at], ANSWER_REFUSED, name);
	}
	for (unsigned i = 0; i < 600; i++) {
		char name[16] = "";

		snprintf(name, sizeof name, "u%u", i);
		CU_ASSERT(askers[i].answers == 1 && askers[i].gone == 0);
		CU_ASSERT(askers[i].result == ANSWER_REFUSED);
		CU_ASSERT_EQUAL(memcmp(askers[i].behind, name, strlen(name)), 0);
		answer(tickets[i], ANSWER_OK, "x"); /* twice: nobody waits */
		CU_ASSERT_EQUAL(askers[i].answers, 1);
	}
}

static void
test_forgotten(void)
{
	struct asker a = {0};
	uint64_t ticket;

	wire_new(10);
	ask(&a, "ann", "secret");
	ticket = a.question.ticket;
	ask_forget(&a.question);
	CU_ASSERT(wire.count == 2 && wire.sent[1].type == IPC_AUTH_FORGET);
	CU_ASSERT(wire.sent[1].ticket == ticket &&
		  wire.sent[1].len == sizeof(struct ipc_auth_forget));
	answer(ticket, ANSWER_OK, "ann");
	ask_forget(&a.question);
	CU_ASSERT(a.answers == 0 && a.gone == 0 && wire.count == 2);
}

/* What it does not take at once goes out in order; what is forgotten meanwhile never does. */
static void
test_full(void)
{
	struct asker a = {0}, b = {0}, c = {0}, d = {0};
	uint64_t tickets[3];

	wire_new(1);
	CU_ASSERT(ask(&a, "a", "1") && ask(&b, "b", "2") && ask(&c, "c", "3") && ask(&d, "d", "4"));
	tickets[0] = a.question.ticket;
	tickets[1] = b.question.ticket;
	tickets[2] = c.question.ticket;
	CU_ASSERT_EQUAL(wire.count, 1);
	ask_forget(&d.question); /* the last of the line */
	ask_forget(&b.question); /* the first */
	ask_forget(&a.question); /* sent already: its word goes out behind */
	ask_writable();
	CU_ASSERT_EQUAL(wire.count, 1);
	wire.room = 1;
	ask_writable();
	CU_ASSERT(wire.count == 2 && wire.sent[1].ticket == tickets[2]);
	wire.room = 10;
	ask_writable();
	CU_ASSERT(wire.count == 3 && wire.sent[2].type == IPC_AUTH_FORGET);
	CU_ASSERT_EQUAL(wire.sent[2].ticket, tickets[0]);
	answer(tickets[1], ANSWER_OK, "b");
	answer(tickets[2], ANSWER_OK, "c");
	CU_ASSERT(b.answers == 0 && c.answers == 1 && d.gone == 0);
	ask(&a, "a", "1"); /* the line is empty: at once */
	CU_ASSERT_EQUAL(wire.count, 4);
	ask_forget(&a.question);
}

static void
test_bounded(void)
{
	static struct asker askers[1200];
	unsigned taken = 0;

	memset(askers, 0, sizeof askers);
	wire_new(0);
	while (taken < 1200 && ask(&askers[taken], "u", "p"))
		taken++;
	CU_ASSERT_EQUAL(taken, 1024);
	CU_ASSERT_EQUAL(askers[taken].question.ticket, 0);
	wire_new(2000); /* what waited for the old one is not sent to the new */
	CU_ASSERT_EQUAL(wire.count, 0);
	for (unsigned i = 0; i < taken; i++)
		CU_ASSERT(askers[i].gone == 1 && askers[i].answers == 0);
}

static void
test_renewed(void)
{
	struct asker a = {.again = true}, b = {0};
	uint64_t old;

	wire_new(10);
	ask(&a, "a", "1");
	ask(&b, "b", "2");
	old = a.question.ticket;
	wire_new(10);
	CU_ASSERT(a.gone == 1 && b.gone == 1);
	CU_ASSERT(wire.count == 1 && wire.sent[0].ticket == a.question.ticket);
	CU_ASSERT(a.question.ticket > old && b.question.ticket == 0);
	answer(old, ANSWER_OK, "a");
	CU_ASSERT_EQUAL(a.answers, 0);
	answer(a.question.ticket, ANSWER_OK, "a");
	CU_ASSERT_EQUAL(a.answers, 1);
	ask_channel(NULL);
	CU_ASSERT(a.gone == 1 && b.gone == 1);
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"no channel", test_no_channel}, {"bytes", test_bytes},
	    {"answers", test_answers},       {"forgotten", test_forgotten},
	    {"a full channel", test_full},   {"bounded", test_bounded},
	    {"a new channel", test_renewed}, CU_TEST_INFO_NULL,
	};

	return suite_run("ask", tests);
}
