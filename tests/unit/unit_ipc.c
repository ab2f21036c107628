/* Tests of wire/ipc.c: every row of the table from both sides, and what is not in it. */
#include "wire/ipc.h"

#include "chop.h"
#include "suite.h"

#define TO(role) (1u << ROLE_##role)

/* The contract once more, written by hand: who says what, how long, with how many descriptors. */
static const struct row {
	enum ipc_type type;
	unsigned from, to;
	size_t min, max;
	unsigned min_fds, max_fds;
} rows[] = {
    {IPC_BOOKS, TO(PARENT), TO(WORKER) | TO(LEDGER), 8, 8, 2, 2},
    {IPC_BOOKS, TO(PARENT), TO(CONTROL), 8, 8, 1, 1},
    {IPC_TALLY, TO(PARENT), TO(WORKER) | TO(CONTROL), 0, 0, 1, 1},
    {IPC_TALLY, TO(PARENT), TO(LEDGER), 0, 0, 2, 2},
    {IPC_QUOTAS, TO(PARENT), TO(WORKER) | TO(LEDGER), 0, 0, 1, 1},
    {IPC_POLICY, TO(PARENT), TO(WORKER), 8, 8, 3, 3},
    {IPC_POLICY, TO(PARENT), TO(LEDGER) | TO(AUTHENTICATOR) | TO(CONTROL) | TO(FORWARDER), 8, 8, 2, 2},
    {IPC_COPY_PAGE, TO(PARENT), TO(CONTROL), 0, 0, 1, 1},
    {IPC_COPY_STORE, TO(PARENT), TO(FORWARDER), 8, 8, 3, 3},
    {IPC_COPY_FILE, TO(PARENT), TO(FORWARDER), 24, 24, 1, 2},
    {IPC_COPY_DONE, TO(FORWARDER), TO(PARENT), 8, 8, 0, 0},
    {IPC_HITS_STORE, TO(PARENT), TO(CONTROL), 16, 16, 2, 2},
    {IPC_HITS, TO(PARENT), TO(CONTROL), 16, 16, 2, 2},
    {IPC_HITS_OVER, TO(PARENT), TO(CONTROL), 8, 8, 0, 0},
    {IPC_VITALS, TO(PARENT), TO(CONTROL), 8, 8, 3, 3},
    {IPC_HITS_ADDED, TO(CONTROL), TO(PARENT), 8, 8, 0, 0},
    {IPC_START, TO(PARENT), TO(WORKER), 0, 0, 0, 0},
    {IPC_DRAIN, TO(PARENT), TO(WORKER) | TO(LEDGER) | TO(AUTHENTICATOR) | TO(CONTROL) | TO(FORWARDER), 4, 4, 0, 0},
    {IPC_LEAVE, TO(PARENT), TO(WORKER) | TO(CONTROL), 4, 4, 0, 0},
    {IPC_WORKER_GONE, TO(PARENT), TO(LEDGER) | TO(CONTROL), 12, 12, 0, 0},
    {IPC_AUDIT_FILE, TO(PARENT), TO(LEDGER), 8, 8, 1, 1},
    {IPC_READY, TO(WORKER) | TO(LEDGER) | TO(AUTHENTICATOR) | TO(CONTROL) | TO(FORWARDER), TO(PARENT), 0, 0, 0, 0},
    {IPC_POLICY_TAKEN, TO(WORKER) | TO(LEDGER) | TO(CONTROL) | TO(FORWARDER), TO(PARENT), 8, 8, 0, 0},
    {IPC_AUDIT_STATE, TO(LEDGER), TO(PARENT), 16, 16, 0, 0},
    {IPC_BOOKS_CLOSED, TO(LEDGER), TO(PARENT), 8, 8, 0, 0},
    {IPC_POLICY_OVER, TO(LEDGER), TO(PARENT), 8, 8, 0, 0},
    {IPC_AUTH_CHANNEL, TO(PARENT), TO(WORKER) | TO(AUTHENTICATOR), 8, 8, 1, 1},
    {IPC_AUTH_FORGET, TO(WORKER), TO(AUTHENTICATOR), 8, 8, 0, 0},
    {IPC_NURSERY_POLICY, TO(AUTHENTICATOR), TO(NURSERY), 8, 8, 2, 2},
    {IPC_CHECKER_WANTED, TO(AUTHENTICATOR), TO(NURSERY), 16, 16, 0, 0},
    {IPC_CHECKER_END, TO(AUTHENTICATOR), TO(NURSERY), 16, 16, 0, 0},
    {IPC_CHECKER, TO(NURSERY), TO(AUTHENTICATOR), 16, 16, 1, 1},
    {IPC_CHECKER_GONE, TO(NURSERY), TO(AUTHENTICATOR), 16, 16, 0, 0},
    {IPC_SECRETS, TO(NURSERY), TO(AUTHENTICATOR), 16, 16, 0, 1},
    {IPC_DOOR, TO(PARENT), TO(CONTROL), 24, 24, 1, 1},
    {IPC_ANSWER_TEXT, TO(PARENT), TO(CONTROL), 9, 8 + 16384, 0, 0},
    {IPC_ANSWER, TO(PARENT), TO(CONTROL), 232, 232, 0, 0},
    {IPC_KILLED, TO(WORKER), TO(PARENT), 16, 16, 0, 0},
    {IPC_PREVIEW, TO(PARENT), TO(WORKER), 8, 8, 2, 2},
    {IPC_PREVIEWED, TO(WORKER), TO(PARENT), 16, 16, 0, 0},
    {IPC_NOTE, TO(PARENT), TO(LEDGER), 608, 608, 0, 0},
    {IPC_AUDIT_ROTATE, TO(LEDGER), TO(PARENT), 0, 0, 0, 0},
    {IPC_AUDIT_TAKEN, TO(LEDGER), TO(PARENT), 0, 0, 0, 0},
    {IPC_PROBLEMS, TO(COMPILE), TO(PARENT), 1, 16384, 0, 0},
    {IPC_PROBLEMS_JSON, TO(COMPILE), TO(PARENT), 1, 16384, 0, 0},
};

struct packet {
	_Alignas(8) uint8_t bytes[sizeof(struct ipc_head) + IPC_MAX_BODY + 16];
	size_t len;
};

static void
build(struct packet *p, unsigned type, const void *body, size_t len)
{
	struct ipc_head head = {(uint16_t)type, 0, (uint32_t)len};

	memset(p, 0, sizeof *p);
	memcpy(p->bytes, &head, sizeof head);
	if (body != NULL)
		memcpy(p->bytes + sizeof head, body, len);
	p->len = sizeof head + len;
}

static bool
legal(const struct packet *p, unsigned fds, unsigned from, unsigned to)
{
	uint8_t *exact = exact_copy(p->bytes, p->len);
	enum ipc_type type = IPC_NONE;
	const void *body = NULL;
	size_t len = 0;
	bool is = ipc_check(exact, p->len, fds, (enum ipc_role)from, (enum ipc_role)to, &type,
			    &body, &len);

	if (is) {
		CU_ASSERT(body == exact + sizeof(struct ipc_head));
		CU_ASSERT_EQUAL(len, p->len - sizeof(struct ipc_head));
		CU_ASSERT_EQUAL((int)type, p->bytes[0] | p->bytes[1] << 8);
	} else {
		CU_ASSERT(type == IPC_NONE && body == NULL && len == 0);
	}
	free(exact);
	return is;
}

static void
test_roles(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (unsigned from = 0; from <= ROLE_COUNT; from++)
			for (unsigned to = 0; to <= ROLE_COUNT; to++) {
				bool want = rows[i].from >> from & 1 && rows[i].to >> to & 1;
				struct packet p;

				build(&p, rows[i].type, NULL, rows[i].min);
				CHECK_ROW(legal(&p, rows[i].min_fds, from, to) == want,
					  ipc_table[rows[i].type].word);
			}
}

static unsigned
one_of(unsigned set)
{
	unsigned role = 0;

	while (!(set >> role & 1))
		role++;
	return role;
}

static void
test_sizes(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned from = one_of(rows[i].from), to = one_of(rows[i].to);
		const char *word = ipc_table[rows[i].type].word;
		struct packet p;

		for (size_t len = 0; len <= 64; len++) {
			build(&p, rows[i].type, NULL, len);
			CHECK_ROW(legal(&p, rows[i].min_fds, from, to) ==
				      (len >= rows[i].min && len <= rows[i].max),
				  word);
		}
		build(&p, rows[i].type, NULL, rows[i].max);
		CHECK_ROW(legal(&p, rows[i].min_fds, from, to), word);
		build(&p, rows[i].type, NULL, rows[i].max + 1);
		CHECK_ROW(!legal(&p, rows[i].min_fds, from, to), word);
	}
}

static void
test_descriptors(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (unsigned fds = 0; fds <= IPC_MAX_FDS + 1; fds++) {
			struct packet p;

			build(&p, rows[i].type, NULL, rows[i].min);
			CHECK_ROW(legal(&p, fds, one_of(rows[i].from), one_of(rows[i].to)) ==
				      (fds >= rows[i].min_fds && fds <= rows[i].max_fds),
				  ipc_table[rows[i].type].word);
		}
}

static void
test_listeners(void)
{
	struct ipc_listeners body = {0};
	struct packet p;

	CU_ASSERT_EQUAL(ipc_listeners_length(64), sizeof body);
	for (unsigned count = 0; count <= 64; count++) {
		size_t len = ipc_listeners_length(count);

		body.count = count;
		build(&p, IPC_LISTENERS, &body, len);
		CU_ASSERT(legal(&p, count, ROLE_PARENT, ROLE_WORKER));
		CU_ASSERT_FALSE(legal(&p, count + 1, ROLE_PARENT, ROLE_WORKER));
		CU_ASSERT_FALSE(legal(&p, count, ROLE_PARENT, ROLE_LEDGER));
		CU_ASSERT_FALSE(legal(&p, count, ROLE_WORKER, ROLE_PARENT));
		build(&p, IPC_LISTENERS, &body, len - 1);
		CU_ASSERT_FALSE(legal(&p, count, ROLE_PARENT, ROLE_WORKER));
		body.count = count + 1;
		build(&p, IPC_LISTENERS, &body, len);
		CU_ASSERT_FALSE(legal(&p, count, ROLE_PARENT, ROLE_WORKER));
		CU_ASSERT_FALSE(legal(&p, count + 1, ROLE_PARENT, ROLE_WORKER));
	}
	body.count = UINT32_MAX;
	build(&p, IPC_LISTENERS, &body, sizeof body);
	CU_ASSERT_FALSE(legal(&p, 64, ROLE_PARENT, ROLE_WORKER));
	build(&p, IPC_LISTENERS, NULL, 4);
	CU_ASSERT_FALSE(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
}

static void
test_compiled(void)
{
	struct packet p;

	build(&p, IPC_COMPILED, NULL, sizeof(struct ipc_compiled));
	CU_ASSERT_EQUAL(sizeof(struct ipc_compiled), 48);
	for (unsigned fds = 0; fds < 4; fds++)
		CU_ASSERT_EQUAL(legal(&p, fds, ROLE_COMPILE, ROLE_PARENT), fds == 0 || fds == 2);
	CU_ASSERT_FALSE(legal(&p, 2, ROLE_WORKER, ROLE_PARENT));
	CU_ASSERT_FALSE(legal(&p, 2, ROLE_PARENT, ROLE_COMPILE));
	build(&p, IPC_COMPILED, NULL, sizeof(struct ipc_compiled) - 1);
	CU_ASSERT_FALSE(legal(&p, 2, ROLE_COMPILE, ROLE_PARENT));
}

static void
test_heads(void)
{
	struct packet p;

	build(&p, IPC_START, NULL, 0);
	CU_ASSERT(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
	for (size_t len = 0; len < sizeof(struct ipc_head); len++) {
		p.len = len;
		CU_ASSERT_FALSE(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
	}
	build(&p, IPC_DRAIN, NULL, 4);
	p.len -= 1; /* says 4, brings 3 */
	CU_ASSERT_FALSE(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
	p.len += 2;
	CU_ASSERT_FALSE(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
	build(&p, IPC_START, NULL, 0);
	p.bytes[2] = 1; /* reserved */
	CU_ASSERT_FALSE(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
	build(&p, IPC_NONE, NULL, 0);
	for (unsigned from = 0; from < ROLE_COUNT; from++)
		for (unsigned to = 0; to < ROLE_COUNT; to++)
			CU_ASSERT_FALSE(legal(&p, 0, from, to));
	build(&p, IPC_TYPE_COUNT, NULL, 0);
	CU_ASSERT_FALSE(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
	build(&p, 0xffff, NULL, 0);
	CU_ASSERT_FALSE(legal(&p, 0, ROLE_PARENT, ROLE_WORKER));
}

static bool
ask_legal(struct ipc_auth_ask ask, size_t tail, unsigned from, unsigned to)
{
	static struct packet p;

	build(&p, IPC_AUTH_ASK, NULL, sizeof ask + tail);
	memcpy(p.bytes + sizeof(struct ipc_head), &ask, sizeof ask);
	return legal(&p, 0, from, to);
}

static void
test_ask(void)
{
	struct ipc_auth_ask ask = {
	    .kind = ASK_PASSWORD, .user_len = 255, .secret_len = 255, .token_len = 65535};
	size_t all = 255 + 255 + 65535;

	CU_ASSERT(ask_legal(ask, all, ROLE_WORKER, ROLE_AUTHENTICATOR));
	CU_ASSERT_FALSE(ask_legal(ask, all, ROLE_AUTHENTICATOR, ROLE_WORKER));
	CU_ASSERT_FALSE(ask_legal(ask, all, ROLE_WORKER, ROLE_PARENT));
	CU_ASSERT_FALSE(ask_legal(ask, all - 1, ROLE_WORKER, ROLE_AUTHENTICATOR));
	ask.user_len = 256;
	ask.secret_len = 254;
	CU_ASSERT_FALSE(ask_legal(ask, all, ROLE_WORKER, ROLE_AUTHENTICATOR));
	ask.user_len = 254;
	ask.secret_len = 256;
	CU_ASSERT_FALSE(ask_legal(ask, all, ROLE_WORKER, ROLE_AUTHENTICATOR));
	ask = (struct ipc_auth_ask){.kind = ASK_GROUPS, .user_len = UINT32_MAX, .secret_len = 2};
	CU_ASSERT_FALSE(ask_legal(ask, 1, ROLE_WORKER, ROLE_AUTHENTICATOR));
	for (uint32_t kind = 0; kind <= ASK_GROUPS + 1; kind++) {
		ask = (struct ipc_auth_ask){.kind = kind};
		CU_ASSERT_EQUAL(ask_legal(ask, 0, ROLE_WORKER, ROLE_AUTHENTICATOR),
				kind >= ASK_PASSWORD && kind <= ASK_GROUPS);
	}
}

static bool
answer_legal(struct ipc_auth_answer answer, const char *tail, size_t len)
{
	static struct packet p;

	build(&p, IPC_AUTH_ANSWER, NULL, sizeof answer + len);
	memcpy(p.bytes + sizeof(struct ipc_head), &answer, sizeof answer);
	memcpy(p.bytes + sizeof(struct ipc_head) + sizeof answer, tail, len);
	return legal(&p, 0, ROLE_AUTHENTICATOR, ROLE_WORKER);
}

static void
test_answer(void)
{
	struct ipc_auth_answer a = {
	    .result = ANSWER_OK, .user_len = 3, .group_count = 2, .groups_len = 6};

	CU_ASSERT(answer_legal(a, "annx\0yyy", 9));
	CU_ASSERT_FALSE(answer_legal(a, "annx\0yyy", 8));
	CU_ASSERT_FALSE(answer_legal(a, "annx\0yyyy", 9)); /* the last has no end */
	CU_ASSERT_FALSE(answer_legal(a, "ann\0xyyy", 9));  /* an empty name */
	CU_ASSERT_FALSE(answer_legal(a, "annxyyyy\0", 9)); /* one only */
	a.group_count = 1;
	CU_ASSERT(answer_legal(a, "annxyyyy", 9));
	a.result = 0;
	CU_ASSERT_FALSE(answer_legal(a, "annxyyyy", 9));
	a.result = ANSWER_MORE + 1;
	CU_ASSERT_FALSE(answer_legal(a, "annxyyyy", 9));
	a = (struct ipc_auth_answer){.result = ANSWER_REFUSED};
	CU_ASSERT(answer_legal(a, "", 0));
	a.user_len = 256;
	CU_ASSERT_FALSE(answer_legal(a, "", 0));
}

static bool
body_legal(enum ipc_type type, const void *body, size_t len, unsigned from, unsigned to)
{
	static struct packet p;

	build(&p, type, body, len);
	return legal(&p, 0, from, to);
}

static void
test_kill(void)
{
	struct ipc_kill k = {.by = KILL_USER, .user = "ann"};

#define LEGAL() body_legal(IPC_KILL, &k, sizeof k, ROLE_PARENT, ROLE_WORKER)
	CU_ASSERT(LEGAL());
	CU_ASSERT_FALSE(body_legal(IPC_KILL, &k, sizeof k, ROLE_CONTROL, ROLE_WORKER));
	CU_ASSERT_FALSE(body_legal(IPC_KILL, &k, sizeof k - 1, ROLE_PARENT, ROLE_WORKER));
	for (uint32_t by = 0; by <= KILL_RULE + 1; by++) {
		k.by = by;
		CU_ASSERT_EQUAL(LEGAL(), by >= KILL_ID && by <= KILL_RULE);
	}
	k = (struct ipc_kill){.by = KILL_RULE, .rule_count = IPC_KILL_RULES};
	CU_ASSERT(LEGAL());
	k.rule_count++;
	CU_ASSERT_FALSE(LEGAL());
	k = (struct ipc_kill){.by = KILL_ID};
	memset(k.id, 'A', sizeof k.id); /* no end */
	CU_ASSERT_FALSE(LEGAL());
	k = (struct ipc_kill){.by = KILL_USER};
	memset(k.user, 'A', sizeof k.user);
	CU_ASSERT_FALSE(LEGAL());
#undef LEGAL
}

static void
test_order(void)
{
	struct ipc_order o = {.what = ORDER_STATUS};

#define LEGAL() body_legal(IPC_ORDER, &o, sizeof o, ROLE_CONTROL, ROLE_PARENT)
	CU_ASSERT(LEGAL());
	CU_ASSERT_FALSE(body_legal(IPC_ORDER, &o, sizeof o, ROLE_WORKER, ROLE_PARENT));
	for (uint32_t what = 0; what <= ORDER_NOTE + 1; what++) {
		o.what = what;
		o.kill.by = KILL_ID;
		CU_ASSERT_EQUAL(LEGAL(), what >= ORDER_STATUS && what <= ORDER_NOTE);
	}
	o = (struct ipc_order){.what = ORDER_KILL}; /* of what? */
	CU_ASSERT_FALSE(LEGAL());
	o.kill.by = KILL_USER;
	CU_ASSERT(LEGAL());
	memset(o.kill.user, 'A', sizeof o.kill.user);
	CU_ASSERT_FALSE(LEGAL());
	for (int which = 0; which < 3; which++) {
		o = (struct ipc_order){.what = ORDER_DRAIN};
		memset(which == 0   ? o.who
		       : which == 1 ? o.words
				    : o.why,
		       'A',
		       which == 0   ? sizeof o.who
		       : which == 1 ? sizeof o.words
				    : sizeof o.why);
		CU_ASSERT_FALSE(LEGAL());
	}
#undef LEGAL
}

static void
test_processes(void)
{
	static struct ipc_processes room[2]; /* one is longer than the longest */
	struct ipc_processes *p = &room[0];

	CU_ASSERT_EQUAL(ipc_processes_length(0), 48);
	CU_ASSERT_EQUAL(ipc_processes_length(IPC_PROCESSES_MAX), sizeof *p);
	for (uint32_t n = 0; n <= IPC_PROCESSES_MAX; n++) {
		p->count = n;
		CU_ASSERT(body_legal(IPC_PROCESSES, p, ipc_processes_length(n), ROLE_PARENT,
				     ROLE_CONTROL));
		CU_ASSERT_FALSE(body_legal(IPC_PROCESSES, p, ipc_processes_length(n) - 1,
					   ROLE_PARENT, ROLE_CONTROL));
		CU_ASSERT_FALSE(body_legal(IPC_PROCESSES, p, ipc_processes_length(n + 1),
					   ROLE_PARENT, ROLE_CONTROL));
	}
	p->count = UINT32_MAX;
	CU_ASSERT_FALSE(body_legal(IPC_PROCESSES, p, sizeof *p, ROLE_PARENT, ROLE_CONTROL));
}

static bool
has_row(int type)
{
	/* these have tests of their own */
	if (type == IPC_LISTENERS || type == IPC_COMPILED || type == IPC_AUTH_ASK ||
	    type == IPC_AUTH_ANSWER || type == IPC_CHECK || type == IPC_CHECKED ||
	    type == IPC_ORDER || type == IPC_KILL || type == IPC_PROCESSES)
		return true;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].type == (enum ipc_type)type)
			return true;
	return false;
}

static void
test_table(void)
{
	for (int type = 0; type < IPC_TYPE_COUNT; type++) {
		const struct ipc_rule *rule = &ipc_table[type];

		CU_ASSERT_PTR_NOT_NULL_FATAL(rule->word);
		CHECK_ROW(type == IPC_NONE || has_row(type), rule->word);
		CHECK_ROW(rule->min <= rule->max && rule->max <= IPC_MAX_BODY, rule->word);
		CHECK_ROW(rule->min_fds <= rule->max_fds && rule->max_fds <= IPC_MAX_FDS,
			  rule->word);
		CHECK_ROW((rule->from & rule->to) == 0, rule->word);
		CHECK_ROW((rule->from == 0) == (type == IPC_NONE), rule->word);
		for (int other = 0; other < type; other++)
			CHECK_ROW(strcmp(rule->word, ipc_table[other].word) != 0, rule->word);
	}
}

int
main(void)
{
	static CU_TestInfo tests[] = {
	    {"roles", test_roles},
	    {"sizes", test_sizes},
	    {"descriptors", test_descriptors},
	    {"listeners", test_listeners},
	    {"compiled", test_compiled},
	    {"ask", test_ask},
	    {"answer", test_answer},
	    {"kill", test_kill},
	    {"order", test_order},
	    {"processes", test_processes},
	    {"heads", test_heads},
	    {"table", test_table},
	    CU_TEST_INFO_NULL,
	};

	return suite_run("ipc", tests);
}
