/*
 * walk/open.c - open: the door that the request asked for, one file a command.
 */
#include "walk/session.h"

enum step
open_step(struct session *s)
{
	static enum step (*const doors[])(struct session *) = {
	    [SOCKS_CONNECT] = connect_step, [SOCKS_BIND] = bind_step, [SOCKS_UDP] = associate_step};

	return doors[s->card->command](s);
}
