/*
 * walk/request.c - what the client wants: the SOCKS4, 4a or SOCKS5 request, whole or not at all.
 */
#include "walk/session.h"

static enum ending
ending_of(const struct socks_request *r)
{
	switch (r->fault) {
	case FAULT_COMMAND:
		return END_COMMAND;
	case FAULT_ATYP:
		return END_ATYP;
	default:
		return END_MALFORMED;
	}
}

static void
tell_destination(struct card *c, const struct socks_request *r)
{
	c->flags |= CARD_HAS_REQUEST;
	c->destination_port = r->port;
	if (r->kind == NAME_ADDRESS) {
		c->destination = r->addr;
		c->flags |= CARD_HAS_ADDRESS;
	}
	if (r->sent_len > 0)
		card_set_string(walk.books, c, CARD_NAME, r->sent, r->sent_len);
}

static void
tell_card(struct session *s, const struct socks_request *r)
{
	struct card *c = s->card;

	c->command = r->command;
	if (r->command != SOCKS_UDP)
		tell_destination(c, r);
	if (r->userid_len > 0)
		card_set_string(walk.books, c, CARD_USERID, r->userid, r->userid_len);
	/* What the client took, without our own asking. */
	c->us[STAGE_HANDSHAKE] =
	    (uint32_t)((loop_now_ns() - s->start_ns) / 1000) - c->us[STAGE_AUTH];
}

static enum decode
decode(struct session *s, size_t *used)
{
	struct approach *a = s->approach;
	const uint8_t *at = a->in + a->in_used;
	size_t len = a->in_len - a->in_used;

	if (s->card->version == 4)
		return socks4_decode(at, len, &a->request, used);
	return socks5_request_decode(at, len, &a->request, used);
}

enum step
request_step(struct session *s)
{
	struct approach *a = s->approach;
	struct socks_request *r = &a->request;
	size_t used = 0;
	enum decode d;

	while ((d = decode(s, &used)) == DECODE_MORE) {
		enum step more = session_more(s);

		if (more != STEP_NEXT)
			return more;
	}
	a->in_used += used;
	if (d == DECODE_BAD) {
		if (used > 0)
			tell_card(s, r);
		return session_end(s, ending_of(r));
	}
	tell_card(s, r);
	tally_handshake_done(walk.tally);
	s->card->flags &= (uint8_t)~CARD_HANDSHAKE;
	if (r->command == SOCKS_UDP && r->version != 5)
		return session_end(s, END_COMMAND);

	a->facts.known |= FACT_COMMAND | FACT_NAME | FACT_PORT | FACT_TIME;
	a->facts.command = r->command;
	a->facts.port = r->port;
	a->facts.time = loop_wall_ns() / 1000000000;
	if (r->command == SOCKS_UDP) { /* where it will send to is not told yet */
		a->facts.known &= ~(uint32_t)(FACT_NAME | FACT_PORT);
	} else if (r->kind == NAME_ADDRESS) {
		a->facts.known |= FACT_ADDRESS;
		a->facts.address = r->addr;
	} else {
		a->facts.name = r->name;
		a->facts.name_len = r->name_len;
	}
	timer_set(&s->timer, loop_now() + walk.settings->timeouts.connect, s->timer.fire);
	if ((session_client(s)->spare & END_FIN_SEEN) != 0)
		session_fin(s);
	return STEP_NEXT;
}
