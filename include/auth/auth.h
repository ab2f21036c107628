/*
 * auth/auth.h - who are you: check_* is the truth about a user, in the authenticator's checkers,
 * where it may block; what only computes (CHAP, lock-outs, the memory of good passwords) runs in
 * the authenticator itself.
 *
 * Nothing here logs, forks or opens a socket; a verdict and a reason go back. The rooms below it
 * are base and wire.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/secret.h"
#include "wire/gss.h"

enum auth_verdict { AUTH_GOOD, AUTH_REFUSED, AUTH_UNAVAILABLE };
enum auth_why { /* behind AUTH_REFUSED and AUTH_UNAVAILABLE */
	WHY_NOTHING, WHY_UNKNOWN_USER, WHY_WRONG_SECRET, WHY_ACCOUNT, WHY_BROKEN, WHY_TICKET,
};

/* ---- files ---------------------------------------------------------------- */

/* Is it the password of this hash of crypt(5)? Takes as long as the hash wants. One with a NUL never is. */
enum auth_verdict check_file(const char *hash, const struct secret *password);
/* A hash that nobody's password has, at today's usual cost: to take as long for a user that does not exist. */
const char *check_file_dummy(void);

/* ---- CHAP: draft-ietf-aft-socks-chap, HMAC-MD5 (RFC 2104) ------------------ */

#define CHAP_RESPONSE 16
/* Is response the keyed digest of the challenge? Constant time; also for secrets of no user (secret NULL: never). */
enum auth_verdict check_chap(const char *secret, size_t secret_len, const void *challenge, size_t challenge_len,
			     const void *response, size_t response_len);

/* ---- PAM ------------------------------------------------------------------ */

/*
 * Password and account of user by this service; PAM_RHOST is the client's address. Blocks as long as the modules do.
 * user: NUL-terminated. what: the function and words of PAM that failed, for the log (static or PAM's), never a secret.
 */
/* Where services are looked for instead of the system's folders; NULL: there. Kept, not copied. For tests. */
void check_pam_folder(const char *folder);
/* There is a file for it; without one PAM would take that of 'other', which nobody wrote for us. */
bool pam_service_exists(const char *service);
enum auth_verdict check_pam(const char *service, const char *user, const struct secret *password,
			    const struct addr *client, enum auth_why *why, const char **what);

/* ---- GSSAPI (RFC 1961; Kerberos) -------------------------------------------- */

#define GSSAPI_UNFINISHED 64 /* contexts that wait for their client's next token */
/*
 * Takes the keys from the bytes of a keytab, and is the acceptor of `service` on any host from then on. False, and why
 * in *what.
 */
bool gssapi_begin(const void *keytab, size_t len, const char *service, const char **what);
struct gssapi_said { /* good until the next call */
	bool more; /* AUTH_GOOD, but the client has to say more, to `context` */
	uint32_t context;
	char user[256]; /* the principal, without the default realm */
	size_t user_len;
	const void *token; /* for the client; token_len 0: none */
	size_t token_len;
	struct gss_context made;
};
/*
 * The client's next token. context: 0, or what was said before. Blocks for its files (replay cache, krb5.conf). One
 * that is not finished is given up at until_ms (any one clock), and the oldest of too many.
 */
enum auth_verdict check_gssapi(uint32_t context, const void *token, size_t len, int64_t now_ms, int64_t until_ms,
			       struct gssapi_said *out, enum auth_why *why, const char **what);

/* ---- Unix groups ---------------------------------------------------------- */

/*
 * member[i]: user is in groups[i], by the name services. A user or group that they do not know is in nothing. Blocks.
 * False: they could not be asked, so nothing is known.
 */
bool groups_look_up(const char *user, const char *const *groups, size_t count, bool *member);

/* ---- lock-outs ------------------------------------------------------------ */

/* Failures of users and of sources (masked networks), in a bounded table. One owner, milliseconds of any one clock. */
struct lockout;
struct lockout_bounds {
	uint32_t user_failures, source_failures; /* 0: never */
	uint32_t within_ms, for_ms;
};
struct lockout *lockout_new(void); /* NULL: no memory or no random numbers */
void lockout_free(struct lockout *l);
struct lockout_state {
	bool locked;   /* one of the two is */
	bool now;      /* lockout_failed: by this failure */
	unsigned step; /* 0-3: how near to a lock, for a back-off */
};
/* source: masked already. */
struct lockout_state lockout_look(struct lockout *l, const struct lockout_bounds *b, const char *user, size_t len,
				  const struct addr *source, int64_t now_ms);
struct lockout_state lockout_failed(struct lockout *l, const struct lockout_bounds *b, const char *user, size_t len,
				    const struct addr *source, int64_t now_ms);
/* The user's failures are forgotten, those of the source are not: its next user may be another. */
void lockout_succeeded(struct lockout *l, const char *user, size_t len);

/* ---- the memory of good passwords ------------------------------------------ */

/* Keyed digests under a random key of this process, in a bounded table; never a password. */
struct remembered;
struct remembered *remembered_new(void); /* NULL: as lockout_new */
void remembered_free(struct remembered *r);
void remembered_forget(struct remembered *r); /* all of it */
/* of: what the answer depended on beside user and password (the hash, the service, the client). */
bool remembered_has(struct remembered *r, const char *user, size_t len, const struct secret *password,
		    const void *of, size_t of_len, int64_t now_ms);
void remembered_put(struct remembered *r, const char *user, size_t len, const struct secret *password,
		    const void *of, size_t of_len, int64_t until_ms);

#endif
