/*
 * net/ident.c - see net/ident.h. The worker; never blocks. What comes is a stranger's: at most
 * 1,000 bytes of it are read, within one time limit for all.
 */
#include "net/ident.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn.h"
#include "net/loop.h"

struct inquiry {
	struct watch watch;
	struct timer timer;
	struct endpoint client, ours;
	ident_answered *answered;
	void *owner;
	bool asked;
	size_t len;
	char in[IDENT_ANSWER_MAX];
};

/* ---- hosts that are left alone for a while ------------------------------------------- */

#define SILENT_HOSTS 256 /* one place each: who comes later takes it */

static struct {
	struct addr host;
	int64_t until_ms;
} silent[SILENT_HOSTS];

static size_t
place_of(const struct addr *host)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < sizeof host->b; i++)
		h = (h ^ host->b[i]) * 16777619u;
	return h % SILENT_HOSTS;
}

static void
note_silence(const struct addr *host)
{
	size_t i = place_of(host);

	silent[i].host = *host;
	silent[i].until_ms = loop_now() + IDENT_REFUSED_MS;
}

static bool
is_silent(const struct addr *host)
{
	size_t i = place_of(host);

	return loop_now() < silent[i].until_ms && addr_compare(&silent[i].host, host) == 0;
}

/* ---- one inquiry --------------------------------------------------------------------- */

void
ident_forget(struct inquiry *q)
{
	if (q == NULL)
		return;
	timer_stop(&q->timer);
	watch_close(&q->watch);
	loop_free_later(q);
}

static void
finish(struct inquiry *q, const struct ident_answer *answer)
{
	ident_answered *answered = q->answered;
	void *owner = q->owner;

	ident_forget(q);
	answered(owner, answer);
}

/* Refused, unreachable, or silent until the time was over. */
static void
finish_silent(struct inquiry *q)
{
	note_silence(&q->client.addr);
	finish(q, NULL);
}

static void
expired(struct timer *t)
{
	finish_silent((struct inquiry *)((char *)t - offsetof(struct inquiry, timer)));
}

static bool
send_query(struct inquiry *q)
{
	char query[IDENT_QUERY_MAX];
	size_t len = ident_query(query, q->client.port, q->ours.port);

	q->asked = true;
	return send(q->watch.fd, query, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* All that is there. False: nothing more will come, or no room is left for it. */
static bool
take(struct inquiry *q)
{
	while (q->len < sizeof q->in) {
		ssize_t n = recv(q->watch.fd, q->in + q->len, sizeof q->in - q->len, 0);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == -1 && errno == EAGAIN;
		q->len += (size_t)n;
	}
	return false;
}

static void
ready(struct watch *w, uint32_t events)
{
	struct inquiry *q = (struct inquiry *)((char *)w - offsetof(struct inquiry, watch));
	struct ident_answer answer;
	bool more;

	if (!q->asked && (events & (EPOLLERR | EPOLLHUP)) != 0) {
		finish_silent(q);
		return;
	}
	if (!q->asked && (events & EPOLLOUT) != 0 && !send_query(q)) {
		finish(q, NULL);
		return;
	}
	if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) == 0)
		return;
	more = take(q);
	ident_decode(q->in, q->len, q->client.port, q->ours.port, &answer);
	if (answer.result == IDENT_MORE && more)
		return;
	finish(q, answer.result == IDENT_MORE || answer.result == IDENT_BAD ? NULL : &answer);
}

struct inquiry *
ident_ask(const struct endpoint *client, const struct endpoint *ours, uint32_t timeout_ms,
	  ident_answered *answered, void *owner)
{
	struct endpoint at = {client->addr, IDENT_PORT};
	struct inquiry *q;
	int fd;

	if (is_silent(&client->addr))
		return NULL;
	fd = conn_start(&at, &ours->addr);
	if (fd == -1) {
		if (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH)
			note_silence(&client->addr);
		return NULL;
	}
	q = malloc(sizeof *q);
	if (q == NULL || watch_add(&q->watch, fd, WATCH_TCP, ready) == -1) {
		free(q);
		close(fd);
		return NULL;
	}
	q->timer.link = NULL;
	q->client = *client;
	q->ours = *ours;
	q->answered = answered;
	q->owner = owner;
	q->asked = false;
	q->len = 0;
	timer_set(&q->timer, loop_now() + timeout_ms, expired);
	return q;
}
