/*
 * daemon/handover.h - a new program in the place of the running one, without a client noticing. The parent.
 *
 * SIGUSR2, or an operator: the program file is opened, and tried in a child: does it load the configuration, and is the
 * memory that our processes share of the same form for it? Then all that the parent knows is written into a sealed
 * memfd, descriptors are kept open, and the parent executes that file: the process, its number, its children and what
 * the service manager knows of it stay. What the new program does is told in takeover.c. If anything is wrong before
 * that, the running server goes on as if nothing had happened.
 */
#ifndef DAEMON_HANDOVER_H
#define DAEMON_HANDOVER_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/ipc.h"

/* At the very start: which file this program is, and how it was called. */
void handover_remember(int argc, char **argv);
/* The form of all that is handed over, and that our processes share; two programs of which it differs have to be
 * restarted. */
uint64_t handover_form(void);
/* What `sallyportd --form` prints. */
#define HANDOVER_FORM_LINE "form %016llx\n"

/* By a signal (NULL), or as an operator ordered. Refused at once: logged, and answered. */
void handover_ask(const struct ipc_order *o);
/* For poll, two of them. */
void handover_watch(struct pollfd fds[2]);
/* Behind poll: hears the program that is tried; gives all to it when it may. Does not return if it did. */
void handover_turn(const struct pollfd fds[2]);
/* True: it was the one that is tried. */
bool handover_tried(pid_t pid, int status);
bool handover_tries(void);
int64_t handover_until(void); /* as now_ms: there is something to do by then; 0: nothing */
/* The server ends: nothing is handed over any more. */
void handover_stop(void);

/* True: this process was a server before it was executed, and parent_state.h's `parent` is what that one knew. */
bool handover_received(void);
/* Takes it. False: it cannot be; logged, and the children see their parent go. */
bool handover_take(void);

#endif
