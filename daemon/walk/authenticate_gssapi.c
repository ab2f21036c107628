/*
 * walk/authenticate_gssapi.c - SOCKS5 method 1, RFC 1961: tokens go to and fro between the client
 * and the authenticator until a context is made, then both agree on how what follows is protected.
 * The worker; never blocks: it gets the context as a session key (wire/gss.h).
 *
 * A client that asks for no protection gets none only where auth.gssapi.protection says so; one
 * that asks for integrity may be given confidentiality, and can say no to that.
 */
#include "walk/authenticate.h"

#include <stdlib.h>
#include <string.h>

#include "net/protect.h"

struct gssapi_talk {
	struct protect *protect; /* the context is made: what is left to say is the level */
	uint32_t context;        /* of the authenticator's, that is not made yet */
	uint8_t *in;             /* what came and is not used up */
	size_t in_len, in_room;
	size_t out_len;
	uint8_t *out; /* the answer, as a frame */
};

void
authenticate_gssapi_leave(struct approach *a)
{
	struct gssapi_talk *g = a->gssapi;

	if (g == NULL)
		return;
	protect_free(g->protect);
	free(g->in);
	free(g->out);
	free(g);
	a->gssapi = NULL;
}

/* ---- what comes --------------------------------------------------------------------------- */

/* No more room is taken than about what has really come, whatever a frame announces. */
static bool
collect(struct approach *a)
{
	struct gssapi_talk *g = a->gssapi;
	size_t len = authenticate_in_len(a), room = g->in_room;
	uint8_t *more;

	while (room < g->in_len + len)
		room = room == 0 ? APPROACH_IN : room * 2;
	if (room > g->in_room) {
		if ((more = realloc(g->in, room)) == NULL)
			return false;
		g->in = more;
		g->in_room = room;
	}
	if (len > 0)
		memcpy(g->in + g->in_len, authenticate_in(a), len);
	g->in_len += len;
	authenticate_used(a, len);
	return true;
}

static void
used(struct gssapi_talk *g, size_t n)
{
	g->in_len -= n;
	memmove(g->in, g->in + n, g->in_len);
}

/* STEP_NEXT: here it is, *n bytes of what came. */
static enum step
next_frame(struct session *s, enum gss_type expected, struct gss_frame *f, size_t *n)
{
	struct gssapi_talk *g = s->approach->gssapi;
	enum socks_fault fault;
	enum step step;

	for (;;) {
		if (!collect(s->approach))
			return session_end(s, END_LIMIT);
		switch (gss_decode(g->in, g->in_len, expected, f, &fault, n)) {
		case DECODE_BAD:
			return session_end(s, END_MALFORMED);
		case DECODE_OK:
			return f->type == GSS_FRAME_ABORT ? session_end(s, END_CLIENT_CLOSED)
							  : STEP_NEXT;
		case DECODE_MORE:
			break;
		}
		if ((step = session_more(s)) != STEP_NEXT)
			return step;
	}
}

/* ---- the context ---------------------------------------------------------------------------- */

static enum step
hear_token(struct session *s)
{
	struct gssapi_talk *g = s->approach->gssapi;
	struct ipc_auth_ask ask = {.kind = ASK_GSSAPI, .context = g->context};
	struct ask_bytes bytes = {0};
	struct gss_frame f;
	size_t n;
	enum step step = next_frame(s, GSS_FRAME_TOKEN, &f, &n);

	if (step != STEP_NEXT)
		return step;
	ask.token_len = f.len;
	bytes.token = f.token;
	step = authenticate_ask(s, &ask, &bytes);
	used(g, n);
	return step;
}

/* MORE or OK: the frame for the client, and what to go on with. An empty one says that we are
 * ready. */
static bool
take(struct session *s, const struct ipc_auth_answer *answer, const char *behind)
{
	struct gssapi_talk *g = s->approach->gssapi;

	behind += answer->user_len + answer->groups_len;
	free(g->out);
	g->out = malloc(GSS_HEAD + (size_t)answer->token_len);
	if (g->out == NULL)
		return false;
	gss_head(g->out, GSS_FRAME_TOKEN, (uint16_t)answer->token_len);
	memcpy(g->out + GSS_HEAD, behind, answer->token_len);
	g->out_len = GSS_HEAD + (size_t)answer->token_len;
	g->context = answer->context;
	if (answer->result == ANSWER_MORE)
		return answer->context != 0;
	g->protect = protect_new(behind + answer->token_len, answer->exported_len);
	return g->protect != NULL;
}

static enum step
go_on(struct session *s)
{
	struct gssapi_talk *g = s->approach->gssapi;

	return authenticate_say(s, g->out, g->out_len) ? STEP_NEXT
						       : session_end(s, END_CLIENT_RESET);
}

/* ---- the level (RFC 1961 section 4) --------------------------------------------------------- */

/* What is granted to a client that asks for this; -1: nothing that it could take. */
static int
choose(uint32_t allowed, int asked)
{
	bool integrity = (allowed & PROTECTION_INTEGRITY) != 0;
	bool confidentiality = (allowed & PROTECTION_CONFIDENTIALITY) != 0;

	switch (asked) {
	case GSS_LEVEL_NONE:
		return (allowed & PROTECTION_NONE) != 0 ? GSS_LEVEL_NONE : -1;
	case GSS_LEVEL_INTEGRITY:
		if (integrity)
			return GSS_LEVEL_INTEGRITY;
		return confidentiality ? GSS_LEVEL_CONFIDENTIALITY : -1;
	case GSS_LEVEL_SELECTIVE:
		if (!confidentiality)
			return integrity ? GSS_LEVEL_INTEGRITY : -1;
		return GSS_LEVEL_CONFIDENTIALITY;
	case GSS_LEVEL_CONFIDENTIALITY:
		return confidentiality ? GSS_LEVEL_CONFIDENTIALITY : -1;
	}
	return -1;
}

/* What the client has sent behind its level message is the first of what is so protected. */
static enum step
begin_level(struct session *s, enum gss_level level)
{
	struct approach *a = s->approach;
	struct gssapi_talk *g = a->gssapi;

	s->card->protection = (uint8_t)(1 + level);
	a->talking = false;
	if (level == GSS_LEVEL_NONE) {
		if (g->in_len > sizeof a->in)
			return session_end(s, END_MALFORMED);
		memcpy(a->in, g->in, g->in_len);
		a->in_len = g->in_len;
		a->in_used = 0;
	} else {
		if (!protect_feed(g->protect, g->in, g->in_len))
			return session_end(s, END_LIMIT);
		s->pump.protect = g->protect;
		g->protect = NULL;
	}
	authenticate_gssapi_leave(a);
	return STEP_NEXT;
}

static enum step
hear_level(struct session *s)
{
	struct gssapi_talk *g = s->approach->gssapi;
	uint8_t out[PROTECT_MORE + 1];
	struct gss_frame f;
	size_t n, len;
	bool plain;
	int asked, level;
	enum step step = next_frame(s, GSS_FRAME_LEVEL, &f, &n);

	if (step != STEP_NEXT)
		return step;
	asked = protect_read_level(g->protect, f.token, f.len, &plain);
	used(g, n);
	if (asked < GSS_LEVEL_NONE || asked > GSS_LEVEL_SELECTIVE)
		return session_end(s, END_MALFORMED);
	level = choose(walk.settings->auth.gssapi_protection, asked);
	if (level == -1)
		return session_end(s, END_DENIED);
	len = protect_grant(g->protect, (enum gss_level)level, plain, out);
	if (len == 0)
		return session_end(s, END_INTERNAL);
	if (!authenticate_say(s, out, len))
		return session_end(s, END_CLIENT_RESET);
	return begin_level(s, (enum gss_level)level);
}

/* ---- the dialogue ------------------------------------------------------------------------------
 */

static enum step
talk(struct session *s)
{
	struct approach *a = s->approach;

	if (a->gssapi == NULL && (a->gssapi = calloc(1, sizeof *a->gssapi)) == NULL)
		return session_end(s, END_LIMIT);
	return a->gssapi->protect == NULL ? hear_token(s) : hear_level(s);
}

static size_t
verdict(uint8_t out[AUTHENTICATE_REFUSAL], bool good)
{
	(void)good; /* that is told by the last token */
	gss_abort(out);
	return GSS_ABORT;
}

const struct dialogue authenticate_gssapi = {METHOD_GSSAPI, AUTH_GSSAPI, talk,
					     verdict,       take,        go_on};
