/*
 * daemon/status.c - which processes there are and how they are, as control shows it: to who asks,
 * and for the metrics page whenever it has changed, so that nobody has to wait for the parent. In
 * the parent's loop; never blocks, and changes nothing.
 */
#include <string.h>
#include <unistd.h>

#include "parent_state.h"
#include "sandbox.h"

static enum ipc_process_state
state_of(const struct child *c)
{
	if (c->pid == 0)
		return PROCESS_DOWN;
	return c->leaving ? PROCESS_LEAVING : c->ready ? PROCESS_READY : PROCESS_STARTING;
}

static struct ipc_process
process_of(const struct child *c)
{
	return (struct ipc_process){
	    .role = c->role,
	    .index = c->index,
	    .pid = c->pid,
	    .state = state_of(c),
	    .restarts = c->restarts,
	    .sandbox = c->pid != 0 ? sandbox_of(c->pid) : 0,
	    .started_ns = c->started_wall_ns,
	};
}

static size_t
state_now(struct ipc_processes *p)
{
	const struct child *c;

	memset(p, 0, sizeof *p);
	p->loaded_ns = parent.loaded_ns;
	p->generation = parent.images[0].number;
	p->reloads_taken = parent.reloads_taken;
	p->reloads_refused = parent.reloads_refused;
	p->audit_state = parent.audit_state.state;
	p->audit_error = parent.audit_state.error;
	p->draining = parent.draining;
	p->handovers = parent.epoch;
	p->count = 1;
	p->list[0] = (struct ipc_process){.role = ROLE_PARENT,
					  .pid = getpid(),
					  .state = PROCESS_READY,
					  .sandbox = sandbox_of(getpid()),
					  .started_ns = parent.started_wall_ns};
	for (unsigned i = 0; (c = children_at(i)) != NULL && p->count < IPC_PROCESSES_MAX; i++)
		p->list[p->count++] = process_of(c);
	return ipc_processes_length(p->count);
}

/* The nursery and its checkers, as far as there is room: they are not ours, but what confines them
 * is to be seen as well. */
static bool
grandchildren(struct ipc_processes *p)
{
	uint32_t before = p->count;
	struct sandboxed s;
	unsigned at = 0;

	while (p->count < IPC_PROCESSES_MAX && sandbox_next(&at, &s)) {
		bool checker =
		    s.profile == SANDBOX_CHECKER_FILE || s.profile == SANDBOX_CHECKER_GROUPS ||
		    s.profile == SANDBOX_CHECKER_GSSAPI || s.profile == SANDBOX_CHECKER_PAM;

		if (!checker && s.profile != SANDBOX_NURSERY)
			continue;
		p->list[p->count++] =
		    (struct ipc_process){.role = checker ? ROLE_CHECKER : ROLE_NURSERY,
					 .pid = s.pid,
					 .state = PROCESS_READY,
					 .sandbox = s.state};
	}
	return p->count != before;
}

void
status_answer(const struct ipc_order *o)
{
	static struct ipc_processes p;
	size_t len = state_now(&p);

	p.ticket = o->ticket;
	if (grandchildren(&p))
		len = ipc_processes_length(p.count);
	children_tell_control(IPC_PROCESSES, &p, len);
}

/* For the metrics page, which shall not have to wait for us. */
void
status_tell(void)
{
	static struct ipc_processes told;
	static struct ipc_processes p;
	size_t len;

	if (children_control() == NULL || !children_control()->ready)
		return;
	len = state_now(&p);
	if (memcmp(&p, &told, sizeof p) == 0)
		return;
	told = p;
	children_tell_control(IPC_PROCESSES, &p, len);
}
