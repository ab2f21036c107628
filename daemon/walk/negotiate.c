/*
 * walk/negotiate.c - which SOCKS it is, and for SOCKS5 which method (RFC 1928 section 3): the
 * strongest that the client offers, that some rule still possible for it accepts, and that there is
 * a backend for.
 */
#include "walk/session.h"

#include <sys/socket.h>

/* Strongest first (PROTOCOL "SOCKS5"), with the identities that each can prove. */
static const struct {
	uint8_t method;
	uint32_t proves;
} strength[] = {
    {METHOD_GSSAPI, AUTH_GSSAPI},
    {METHOD_CHAP, AUTH_CHAP},
    {METHOD_USERPASS, AUTH_PAM | AUTH_FILE},
    {METHOD_NONE, AUTH_NONE | AUTH_IDENT},
};

/* Of the identities that rules accept, those that this client can be given at all. */
static uint32_t
possible(const struct session *s, uint32_t accepted)
{
	uint32_t able = AUTH_NONE | authenticate_configured();

	if ((accepted & AUTH_IDENT) != 0 && identify_trusted(s))
		able |= AUTH_IDENT;
	return accepted & able;
}

static uint8_t
choose(const struct socks5_methods *offered, uint32_t accepted)
{
	for (size_t i = 0; i < sizeof strength / sizeof strength[0]; i++)
		if (socks5_offers(offered, strength[i].method) &&
		    (accepted & strength[i].proves) != 0)
			return strength[i].method;
	return METHOD_UNACCEPTABLE;
}

static enum step
greet(struct session *s)
{
	struct approach *a = s->approach;
	struct socks5_methods offered;
	enum socks_fault fault;
	uint8_t reply[SOCKS5_METHOD_REPLY];
	enum decode d;
	size_t used;

	while ((d = socks5_greeting_decode(a->in + a->in_used, a->in_len - a->in_used, &offered,
					   &fault, &used)) == DECODE_MORE) {
		enum step more = session_more(s);

		if (more != STEP_NEXT)
			return more;
	}
	if (d == DECODE_BAD)
		return session_end(s, END_MALFORMED);
	a->in_used += used;
	a->facts.known |= FACT_VERSION;
	a->facts.version = 5;
	a->facts.listener = session_listener(s);
	rules_evaluate(walk.policy, &a->facts, &a->answer);
	a->methods = a->answer.verdict == RULES_DENY ? 0 : possible(s, a->answer.methods);
	a->asserted_matters = (a->answer.needs & (FACT_ASSERTED | FACT_GROUPS)) != 0;
	a->method = choose(&offered, a->methods);
	if (a->method == METHOD_UNACCEPTABLE) {
		if (a->answer.verdict != RULES_DENY) { /* no rule takes it as it is */
			a->answer.verdict = RULES_DENY;
			a->answer.rule = RULE_DEFAULT;
			a->answer.reason = REASON_DEFAULT;
			a->answer.alert = 0;
		}
		decide_note(s, &a->answer);
		return session_end(s, END_NO_METHOD);
	}
	a->greeted = true;
	socks5_method_reply(reply, a->method);
	if (send(session_client(s)->fd, reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply)
		return session_end(s, END_CLIENT_RESET);
	return STEP_NEXT;
}

enum step
negotiate_step(struct session *s)
{
	struct approach *a = s->approach;

	while (a->in_len == 0) {
		enum step more = session_more(s);

		if (more != STEP_NEXT)
			return more;
	}
	switch (a->in[0]) {
	case 4:
		s->card->version = 4;
		a->facts.known |= FACT_VERSION;
		a->facts.version = 4;
		return STEP_NEXT;
	case 5:
		s->card->version = 5;
		return greet(s);
	}
	return session_end(s, END_NOT_SOCKS);
}
