/*
 * net/dial.c - see net/dial.h. The worker; never blocks.
 */
#include "net/dial.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "net/conn.h"

static void next_attempt(struct dial *d);

/* Which failure tells the user most: a host that answered "no" says more than a missing route. */
static int
weight(int error)
{
	switch (error) {
	case 0:
		return 0;
	case ENETUNREACH:
	case EAFNOSUPPORT:
	case EADDRNOTAVAIL:
		return 1;
	case EHOSTUNREACH:
		return 2;
	case ETIMEDOUT:
		return 3;
	case ECONNREFUSED:
	case ECONNRESET:
		return 5;
	}
	return 4;
}

static void
note_error(struct dial *d, int error)
{
	if (weight(error) > weight(d->error))
		d->error = error;
}

static void
finish(struct dial *d, struct dial_attempt *winner, uint32_t events)
{
	timer_stop(&d->stagger);
	for (unsigned i = 0; i < DIAL_AT_ONCE; i++)
		if (&d->attempts[i] != winner)
			watch_close(d->attempts[i].watch);
	if (winner != NULL) {
		d->winner = winner->which;
		if (winner->watch != d->target) {
			int fd = winner->watch->fd;

			if (watch_move(winner->watch, d->target, WATCH_TCP) == -1) {
				note_error(d, errno);
				close(fd);
			}
			d->target->ready = d->target_ready;
		}
	}
	d->done(d, events);
}

static void
attempt_events(struct dial_attempt *a, uint32_t events)
{
	struct dial *d = a->dial;

	if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0)
		return;
	if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
		int error = conn_result(a->watch->fd);

		note_error(d, error != 0 ? error : ECONNRESET);
		watch_close(a->watch);
		next_attempt(d);
		return;
	}
	finish(d, a, events);
}

static void
attempt_ready(struct watch *w, uint32_t events)
{
	attempt_events((struct dial_attempt *)w, events);
}

void
dial_first_ready(struct dial *d, uint32_t events)
{
	attempt_events(&d->attempts[0], events);
}

static struct dial_attempt *
oldest(struct dial *d)
{
	struct dial_attempt *found = NULL;

	for (unsigned i = 0; i < DIAL_AT_ONCE; i++) {
		struct dial_attempt *a = &d->attempts[i];

		if (a->watch->fd != -1 && (found == NULL || a->which < found->which))
			found = a;
	}
	return found;
}

static struct dial_attempt *
vacant(struct dial *d)
{
	for (unsigned i = 0; i < DIAL_AT_ONCE; i++)
		if (d->attempts[i].watch->fd == -1)
			return &d->attempts[i];
	return NULL;
}

static void
stagger_fired(struct timer *t)
{
	struct dial *d = (struct dial *)((char *)t - offsetof(struct dial, stagger));

	/* Every place hangs and more addresses wait: all are to be tried, so the oldest gives way.
	 */
	if (vacant(d) == NULL) {
		note_error(d, ETIMEDOUT);
		watch_close(oldest(d)->watch);
	}
	next_attempt(d);
}

static void
tell_failure(struct turn *t)
{
	finish((struct dial *)((char *)t - offsetof(struct dial, tell)), NULL, 0);
}

static bool
begin(struct dial *d, struct dial_attempt *a)
{
	struct endpoint to = {d->to[d->next], d->port};
	int fd = conn_start(&to, addr_is4(&to.addr) ? d->from4 : d->from6);

	a->which = d->next++;
	if (fd == -1) {
		note_error(d, errno);
		return false;
	}
	if (watch_add(a->watch, fd, WATCH_TCP,
		      a->watch == d->target ? d->target_ready : attempt_ready) == -1) {
		note_error(d, errno);
		close(fd);
		return false;
	}
	return true;
}

static void
next_attempt(struct dial *d)
{
	timer_stop(&d->stagger);
	while (d->next < d->count) {
		struct dial_attempt *a = vacant(d);

		if (a == NULL || begin(d, a)) {
			if (d->next < d->count)
				timer_set(&d->stagger,
					  loop_now() + (vacant(d) != NULL ? DIAL_STAGGER_MS
									  : DIAL_CROWDED_MS),
					  stagger_fired);
			return;
		}
	}
	if (oldest(d) == NULL)
		turn_ask(&d->tell, tell_failure); /* the caller may still be inside dial_start */
}

void
dial_start(struct dial *d)
{
	d->next = 0;
	d->error = 0;
	for (unsigned i = 0; i < DIAL_AT_ONCE; i++) {
		struct dial_attempt *a = &d->attempts[i];

		a->dial = d;
		a->own.fd = -1;
		a->watch = i == 0 ? d->target : &a->own;
	}
	d->target->fd = -1;
	d->stagger.link = NULL;
	d->tell.queued = false;
	next_attempt(d);
}

void
dial_stop(struct dial *d)
{
	timer_stop(&d->stagger);
	turn_cancel(&d->tell);
	for (unsigned i = 0; i < DIAL_AT_ONCE; i++)
		watch_close(d->attempts[i].watch);
}
