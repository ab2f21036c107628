/*
 * walk/ask.h - questions to the authenticator (wire/ipc.h, IPC_AUTH_ASK) and who waits for which answer.
 *
 * A question lives in its owner. Each has a ticket; an answer finds it by that, and one whose owner
 * has left finds nobody. The channel is the worker's: it gives the sending function and hands in what comes.
 */
#ifndef WALK_ASK_H
#define WALK_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/ipc.h"

struct question {
	uint64_t ticket; /* 0: nothing is asked */
	struct question *next;
	/* Called once, from the loop. answer NULL: the authenticator is gone. behind: the answer's bytes. */
	void (*answered)(struct question *q, const struct ipc_auth_answer *answer, const char *behind);
};

/* The bytes of a question; NULL where its length is 0. */
struct ask_bytes { const void *user, *secret, *token; };
/*
 * Asks; ticket and lengths are set in *ask by the caller but for the ticket, which is ours. The bytes are wiped of our
 * buffers once sent. False: there is no authenticator, or too many questions wait for it.
 */
bool ask_put(struct question *q, struct ipc_auth_ask *ask, const struct ask_bytes *bytes);
/* How many questions have no answer yet. */
unsigned ask_waiting(void);
/* The owner is gone, or wants no answer any more; also when nothing was asked. */
void ask_forget(struct question *q);

/* -- the worker's side -- */
enum ask_sent { ASK_SENT, ASK_LATER /* would block: ask_writable */, ASK_GONE };
/* A new channel (the old one's questions are answered NULL), or NULL: there is none. */
void ask_channel(enum ask_sent (*send)(enum ipc_type type, const void *body, size_t len));
void ask_writable(void);
void ask_answered(const struct ipc_auth_answer *answer); /* checked by ipc_check */

#endif
