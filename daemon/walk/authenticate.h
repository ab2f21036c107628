/*
 * walk/authenticate.h - what the dialogues of the methods share. A dialogue reads the client's next message (whole, or it
 * waits), and either answers it, ends the session, or puts the credentials before the authenticator; the
 * authenticator's word is then taken by authenticate.c, for all of them alike.
 */
#ifndef WALK_AUTHENTICATE_H
#define WALK_AUTHENTICATE_H

#include "walk/session.h"

struct dialogue {
	uint8_t method;	 /* SOCKS5 METHOD */
	uint32_t proves; /* AUTH_ bits, one or more */
	/* As a stage's step, each time there is something new; not while the authenticator is asked. */
	enum step (*talk)(struct session *s);
	/* The method's last word to the client; returns its length. */
	size_t (*verdict)(uint8_t out[AUTHENTICATE_REFUSAL], bool good);
	/*
	 * Both NULL where a good verdict ends the dialogue. take: of ANSWER_MORE, and of ANSWER_OK when the identity is
	 * taken, what stands behind them; false: it cannot be used. go_on: has the client told of it, then talk has its turn
	 * again; talk clears approach.talking when all is said.
	 */
	bool (*take)(struct session *s, const struct ipc_auth_answer *answer, const char *behind);
	enum step (*go_on)(struct session *s);
};
extern const struct dialogue authenticate_password, authenticate_chap, authenticate_gssapi;

/* What came of the client and is not used up yet. */
static inline const uint8_t *
authenticate_in(const struct approach *a)
{
	return a->in + a->in_used;
}
static inline size_t
authenticate_in_len(const struct approach *a)
{
	return a->in_len - a->in_used;
}
/* These bytes of it are used up: they are wiped, and their room is there again. */
void authenticate_used(struct approach *a, size_t used);
/* authenticate_gssapi.c: the approach ends, or the dialogue. */
void authenticate_gssapi_leave(struct approach *a);
/* False: it did not go out. */
bool authenticate_say(struct session *s, const uint8_t *bytes, size_t len);
/*
 * Asks whether this is who he says he is: kind and lengths are the caller's, the rest of *ask is filled in here. The
 * user is recorded. For `return authenticate_ask(...)`.
 */
enum step authenticate_ask(struct session *s, struct ipc_auth_ask *ask, const struct ask_bytes *bytes);

#endif
