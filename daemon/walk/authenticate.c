/*
 * walk/authenticate.c - the dialogue of the method that was chosen. With SOCKS4, and with SOCKS5's
 * method "none", nothing is said: what is then known is that nobody has proved anything.
 */
#include "walk/session.h"

enum step
authenticate_step(struct session *s)
{
	struct approach *a = s->approach;

	a->facts.known |= FACT_PROVEN;
	a->facts.proven_user = NULL;
	a->facts.proven_by = 0;
	return STEP_NEXT;
}
