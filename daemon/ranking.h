/*
 * daemon/ranking.h - who and what the server is busy with, for `sallyctl top`: the open sessions of all workers, added
 * up by user, source, destination and rule, and the rules by how often they match.
 *
 * One look at all cards serves everyone who asks within a second, and is taken in turns, so that a hundred thousand
 * sessions hold up nobody. Bounded by the number of cards.
 */
#ifndef DAEMON_RANKING_H
#define DAEMON_RANKING_H

struct caller;
/* The command `top`. */
void ranking_begin(struct caller *c);

#endif
