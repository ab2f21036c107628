/*
 * walk/authenticate_password.c - SOCKS5 method 2, RFC 1929: one message, one answer. The password
 * goes from the client's bytes to the authenticator and is wiped here.
 */
#include "walk/authenticate.h"

#include <string.h>

static enum step
talk(struct session *s)
{
	struct approach *a = s->approach;
	struct ipc_auth_ask ask = {.kind = ASK_PASSWORD};
	struct userpass up;
	struct ask_bytes bytes = {.user = up.user, .secret = up.pass};
	enum socks_fault fault;
	enum decode d;
	enum step step;
	size_t used;

	while ((d = userpass_decode(authenticate_in(a), authenticate_in_len(a), &up, &fault,
				    &used)) == DECODE_MORE) {
		enum step more = session_more(s);

		if (more != STEP_NEXT)
			return more;
	}
	if (d == DECODE_BAD)
		return session_end(s, END_MALFORMED);
	ask.user_len = up.user_len;
	ask.secret_len = up.pass_len;
	step = authenticate_ask(s, &ask, &bytes);
	explicit_bzero(&up, sizeof up);
	authenticate_used(a, used);
	return step;
}

static size_t
verdict(uint8_t out[AUTHENTICATE_REFUSAL], bool good)
{
	userpass_reply(out, good ? 0 : 1);
	return USERPASS_REPLY;
}

const struct dialogue authenticate_password = {
    METHOD_USERPASS, AUTH_PAM | AUTH_FILE, talk, verdict, NULL, NULL};
