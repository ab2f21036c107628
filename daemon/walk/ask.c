/*
 * walk/ask.c - see walk/ask.h. The worker; never blocks: what the channel does not take at once
 * waits here, within a limit. Holds passwords as long as that and wipes them.
 */
#include "walk/ask.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 256
#define UNSENT_MOST 1024

struct unsent {
	struct unsent *next;
	enum ipc_type type;
	uint64_t ticket;
	size_t len;
	char body[];
};

static struct {
	enum ask_sent (*send)(enum ipc_type type, const void *body,
			      size_t len); /* NULL: no channel */
	uint64_t last_ticket;
	struct question *buckets[BUCKETS];
	struct unsent *first, **end;
	unsigned unsent_count, waiting;
} asking = {.end = &asking.first};

/* ---- who waits ----------------------------------------------------------------------- */

static struct question **
find(uint64_t ticket)
{
	struct question **at = &asking.buckets[ticket % BUCKETS];

	while (*at != NULL && (*at)->ticket != ticket)
		at = &(*at)->next;
	return at;
}

static void
wait_for(struct question *q)
{
	struct question **bucket;

	q->ticket = ++asking.last_ticket;
	bucket = &asking.buckets[q->ticket % BUCKETS];
	q->next = *bucket;
	*bucket = q;
	asking.waiting++;
}

static struct question *
take(uint64_t ticket)
{
	struct question **at = find(ticket), *q = *at;

	if (q == NULL)
		return NULL;
	*at = q->next;
	q->ticket = 0;
	asking.waiting--;
	return q;
}

/* ---- what the channel does not take yet ---------------------------------------------- */

static void
wipe(struct unsent *u)
{
	explicit_bzero(u->body, u->len);
	free(u);
}

static void
drop_first(void)
{
	struct unsent *u = asking.first;

	asking.first = u->next;
	if (asking.first == NULL)
		asking.end = &asking.first;
	asking.unsent_count--;
	wipe(u);
}

static bool
keep(enum ipc_type type, uint64_t ticket, const void *body, size_t len)
{
	struct unsent *u;

	if (asking.unsent_count >= UNSENT_MOST || (u = malloc(sizeof *u + len)) == NULL)
		return false;
	*u = (struct unsent){.type = type, .ticket = ticket, .len = len};
	memcpy(u->body, body, len);
	*asking.end = u;
	asking.end = &u->next;
	asking.unsent_count++;
	return true;
}

/* A question that was never sent needs no word that it is forgotten. */
static bool
drop_unsent(uint64_t ticket)
{
	for (struct unsent **at = &asking.first, *u; (u = *at) != NULL; at = &u->next)
		if (u->ticket == ticket && u->type == IPC_AUTH_ASK) {
			*at = u->next;
			if (u->next == NULL)
				asking.end = at;
			asking.unsent_count--;
			wipe(u);
			return true;
		}
	return false;
}

static bool
send_or_keep(enum ipc_type type, uint64_t ticket, const void *body, size_t len)
{
	if (asking.send == NULL)
		return false;
	if (asking.first == NULL)
		switch (asking.send(type, body, len)) {
		case ASK_SENT:
			return true;
		case ASK_GONE:
			return false;
		case ASK_LATER:
			break;
		}
	return keep(type, ticket, body, len);
}

void
ask_writable(void)
{
	while (asking.first != NULL && asking.send != NULL) {
		const struct unsent *u = asking.first;

		if (asking.send(u->type, u->body, u->len) != ASK_SENT)
			return; /* if it is gone, the worker will say so */
		drop_first();
	}
}

/* ---- questions and answers ----------------------------------------------------------- */

static void
append(char **at, const void *bytes, uint32_t len)
{
	if (len > 0)
		memcpy(*at, bytes, len);
	*at += len;
}

unsigned
ask_waiting(void)
{
	return asking.waiting;
}

bool
ask_put(struct question *q, struct ipc_auth_ask *ask, const struct ask_bytes *bytes)
{
	static char body[sizeof *ask + IPC_MAX_USER + IPC_MAX_SECRET + IPC_MAX_TOKEN];
	char *at = body + sizeof *ask;
	bool sent;

	if (ask->user_len > IPC_MAX_USER || ask->secret_len > IPC_MAX_SECRET ||
	    ask->token_len > IPC_MAX_TOKEN)
		return false;
	wait_for(q);
	ask->ticket = q->ticket;
	memcpy(body, ask, sizeof *ask);
	append(&at, bytes->user, ask->user_len);
	append(&at, bytes->secret, ask->secret_len);
	append(&at, bytes->token, ask->token_len);
	sent = send_or_keep(IPC_AUTH_ASK, q->ticket, body, (size_t)(at - body));
	explicit_bzero(body, (size_t)(at - body));
	if (!sent)
		take(q->ticket);
	return sent;
}

void
ask_forget(struct question *q)
{
	struct ipc_auth_forget forget = {q->ticket};

	if (q->ticket == 0)
		return;
	take(q->ticket);
	if (!drop_unsent(forget.ticket))
		send_or_keep(IPC_AUTH_FORGET, forget.ticket, &forget, sizeof forget);
}

void
ask_answered(const struct ipc_auth_answer *answer)
{
	struct question *q = take(answer->ticket);

	if (q != NULL)
		q->answered(q, answer, (const char *)(answer + 1));
}

/* Only those up to `last`: who is told may ask again, and asks the new channel. */
static struct question *
take_one(struct question **bucket, uint64_t last)
{
	for (struct question *q = *bucket; q != NULL; q = q->next)
		if (q->ticket <= last)
			return take(q->ticket);
	return NULL;
}

void ask_channel(enum ask_sent (*send)(enum ipc_type type, const void *body, size_t len))
{
	uint64_t last = asking.last_ticket;
	struct question *q;

	while (asking.first != NULL)
		drop_first();
	asking.send = send;
	for (size_t i = 0; i < BUCKETS; i++)
		while ((q = take_one(&asking.buckets[i], last)) != NULL)
			q->answered(q, NULL, NULL);
}
