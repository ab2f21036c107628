/*
 * tests/fuzz/fuzz_ipc.c - packets between our processes: a legal one fits its row of the
 * table from every side, and stops being legal with one byte more or less.
 *
 * Input: from, to, descriptors, a byte that says whether the head is made to fit, packet.
 */
#include "wire/ipc.h"

#include "fuzz.h"

#define LEAD 4

struct taken {
	enum ipc_type type;
	const void *body;
	size_t len;
};

static bool
check(const uint8_t *packet, size_t len, unsigned fds, unsigned from, unsigned to, struct taken *t)
{
	static const struct taken nothing;

	*t = nothing;
	return ipc_check(packet, len, fds, (enum ipc_role)from, (enum ipc_role)to, &t->type,
			 &t->body, &t->len);
}

static void
check_legal(const uint8_t *packet, size_t len, unsigned fds, unsigned from, unsigned to,
	    const struct taken *t)
{
	const struct ipc_rule *rule = &ipc_table[t->type];
	struct taken other;

	FUZZ_CHECK(t->type > IPC_NONE && t->type < IPC_TYPE_COUNT);
	FUZZ_CHECK(from < ROLE_COUNT && to < ROLE_COUNT);
	FUZZ_CHECK((rule->from >> from & 1) && (rule->to >> to & 1));
	FUZZ_CHECK(t->body == packet + sizeof(struct ipc_head));
	FUZZ_CHECK(t->len + sizeof(struct ipc_head) == len);
	FUZZ_CHECK(t->len >= rule->min && t->len <= rule->max);
	FUZZ_CHECK(fds >= rule->min_fds && fds <= rule->max_fds);
	FUZZ_CHECK(!check(packet, len - 1, fds, from, to, &other));
	FUZZ_CHECK(!check(packet, len, fds, to, from, &other));
	FUZZ_CHECK(!check(packet, len, IPC_MAX_FDS + 1, from, to, &other));
	if (t->type == IPC_LISTENERS) {
		struct ipc_listeners l;

		memcpy(&l, t->body, t->len);
		FUZZ_CHECK(l.count == fds && l.count <= 64);
		FUZZ_CHECK(t->len == ipc_listeners_length(l.count));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t block[sizeof(struct ipc_head) + IPC_MAX_BODY + 64];
	unsigned from, to, fds;
	struct taken t;
	uint8_t *packet;
	size_t len;

	if (size < LEAD || size - LEAD > sizeof block)
		return 0;
	from = data[0] % (ROLE_COUNT + 1);
	to = data[1] % (ROLE_COUNT + 1);
	fds = data[2] % (IPC_MAX_FDS + 2);
	len = size - LEAD;
	packet = block + sizeof block - len;
	memcpy(packet, data + LEAD, len);
	if (data[3] & 1 && len >= sizeof(struct ipc_head)) {
		struct ipc_head head = {data[LEAD] % (IPC_TYPE_COUNT + 1), 0,
					(uint32_t)(len - sizeof head)};

		memcpy(packet, &head, sizeof head);
	}
	if (check(packet, len, fds, from, to, &t))
		check_legal(packet, len, fds, from, to, &t);
	else
		FUZZ_CHECK(t.type == IPC_NONE && t.body == NULL && t.len == 0);
	return 0;
}
