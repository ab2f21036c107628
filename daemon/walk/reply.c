/*
 * walk/reply.c - what the client is told: success only after the start record stands in the books
 * ("no record, no session"), or why not.
 */
#include "walk/session.h"

#include <sys/socket.h>

#include "net/protect.h"

static size_t
reply_bytes(const struct session *s, uint8_t code, const struct endpoint *at,
	    uint8_t out[SOCKS5_REPLY_MAX])
{
	if (s->card->version == 4) {
		socks4_reply(out, code, at);
		return SOCKS4_REPLY;
	}
	return socks5_reply(out, code, at);
}

static bool
tell(struct session *s, const uint8_t *bytes, size_t len)
{
	return send(session_client(s)->fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len;
}

bool
reply_send(struct session *s, uint8_t code, const struct endpoint *at)
{
	uint8_t out[SOCKS5_REPLY_MAX], frame[SOCKS5_REPLY_MAX + PROTECT_MORE];
	size_t len = reply_bytes(s, code, at, out);

	if (s->pump.protect == NULL)
		return tell(s, out, len);
	len = protect_frame(s->pump.protect, out, len, frame);
	return len > 0 && tell(s, frame, len);
}

enum step
reply_step(struct session *s)
{
	struct card *c = s->card;
	const struct endpoint *told = &s->approach->told;
	struct rules_answer answer;

	/* A new policy may have come while we connected. */
	if (s->judged != walk.generation && !decide_again(s, &answer)) {
		decide_note(s, &answer);
		return session_end(s, END_DENIED);
	}
	if (c->command != SOCKS_BIND) { /* whose door is told already; this is the peer */
		c->nat = told->addr;
		c->nat_port = told->port;
	}
	c->reply = c->version == 4 ? 90 : 0;
	c->flags |= CARD_HAS_NAT | CARD_REPLIED;
	c->told_ns = loop_wall_ns();
	account_count(COUNT_STARTED, 1);
	account_times(s);
	books_tell(walk.books, c, EVENT_START);
	/* From here on it is a session: what goes wrong now is its end, not a refusal. */
	s->stage = AT_RELAY;
	if (!reply_send(s, c->reply, told))
		return session_end(s, END_CLIENT_RESET);
	s->stage = AT_REPLY;
	return STEP_NEXT;
}

/* The code for a SOCKS5 client that waits for another message than the reply. */
static bool
refuse_greeting(struct session *s)
{
	uint8_t out[SOCKS5_METHOD_REPLY];

	if (s->ending != END_NO_METHOD && s->ending != END_MALFORMED && s->ending != END_LIMIT)
		return false;
	socks5_method_reply(out, METHOD_UNACCEPTABLE);
	if (!tell(s, out, sizeof out))
		return false;
	s->card->reply = METHOD_UNACCEPTABLE;
	s->card->flags |= CARD_REPLIED;
	return true;
}

/* Within a method's dialogue the client waits for the method's own word. */
static bool
refuse_dialogue(struct session *s)
{
	uint8_t out[AUTHENTICATE_REFUSAL];
	size_t len = authenticate_refusal(s, out);

	if (!tell(s, out, len))
		return false;
	s->card->reply = out[len - 1];
	s->card->flags |= CARD_REPLIED;
	return true;
}

bool
reply_refusal(struct session *s)
{
	const struct ending_row *row = &endings[s->ending];
	uint8_t code;

	code = s->card->version == 4 ? row->socks4 : row->socks5;
	if (s->card->version == 0 || code == 0)
		return false;
	if (s->card->version == 5 && !s->approach->greeted)
		return refuse_greeting(s);
	if (s->approach->talking)
		return refuse_dialogue(s);
	if (!reply_send(s, code, NULL))
		return false;
	s->card->reply = code;
	s->card->flags |= CARD_REPLIED;
	return true;
}
