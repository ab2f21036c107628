/*
 * walk/authenticate_chap.c - SOCKS5 method 3, draft-ietf-aft-socks-chap-01 with HMAC-MD5: we send
 * a challenge, the client answers with its HMAC under the secret, the authenticator compares.
 *
 * The client may name itself with its first message or with its response. It gets no proof of who
 * we are: a challenge that it sends to us is passed over, as the draft allows.
 */
#include "walk/authenticate.h"

#include <string.h>
#include <sys/random.h>

#include "wire/chap.h"

/* Who the client is, from this message or from the one before. False: told twice, not alike. */
static bool
take_user(struct session *s, const struct chap_message *m, char user[256], size_t *len)
{
	*len = card_string(walk.books, s->card, CARD_USER, user);
	if (m->user_len == 0)
		return true;
	if (*len != 0)
		return *len == m->user_len && memcmp(user, m->user, *len) == 0;
	memcpy(user, m->user, m->user_len);
	*len = m->user_len;
	card_set_string(walk.books, s->card, CARD_USER, user, *len);
	return true;
}

static enum step
send_challenge(struct session *s, const struct chap_message *m)
{
	struct approach *a = s->approach;
	uint8_t out[CHAP_OFFER_MAX];
	size_t len;

	if (!m->has_algorithms || m->response_len > 0)
		return session_end(s, END_MALFORMED);
	if (!m->hmac_md5)
		return session_end(s, END_AUTH_FAILED);
	if (getrandom(a->challenge, sizeof a->challenge, 0) != sizeof a->challenge)
		return session_end(s, END_INTERNAL);
	len = chap_offer(out, a->challenge, sizeof a->challenge);
	a->turn = 1;
	return authenticate_say(s, out, len) ? STEP_NEXT : session_end(s, END_CLIENT_RESET);
}

static enum step
take_response(struct session *s, const struct chap_message *m, const char *user, size_t user_len)
{
	struct ipc_auth_ask ask = {
	    .kind = ASK_CHAP,
	    .user_len = (uint32_t)user_len,
	    .secret_len = m->response_len,
	    .token_len = sizeof s->approach->challenge,
	};
	struct ask_bytes bytes = {user, m->response, s->approach->challenge};

	if (m->has_algorithms || m->response_len != CHAP_RESPONSE_LEN || user_len == 0)
		return session_end(s, END_MALFORMED);
	return authenticate_ask(s, &ask, &bytes);
}

/* One message of the client. */
static enum step
hear(struct session *s)
{
	struct approach *a = s->approach;
	struct chap_message m;
	enum socks_fault fault;
	enum decode d;
	char user[256];
	size_t used, user_len;

	while ((d = chap_decode(authenticate_in(a), authenticate_in_len(a), &m, &fault, &used)) ==
	       DECODE_MORE) {
		enum step more = session_more(s);

		if (more != STEP_NEXT)
			return more;
	}
	if (d == DECODE_BAD || !take_user(s, &m, user, &user_len))
		return session_end(s, END_MALFORMED);
	authenticate_used(a, used);
	return a->turn == 0 ? send_challenge(s, &m) : take_response(s, &m, user, user_len);
}

static enum step
talk(struct session *s)
{
	enum step step;

	/* A response cannot be there before the challenge, but nothing stands against looking. */
	while ((step = hear(s)) == STEP_NEXT)
		;
	return step;
}

static size_t
verdict(uint8_t out[AUTHENTICATE_REFUSAL], bool good)
{
	chap_verdict(out, good ? 0 : 1);
	return CHAP_VERDICT;
}

const struct dialogue authenticate_chap = {METHOD_CHAP, AUTH_CHAP, talk, verdict, NULL, NULL};
