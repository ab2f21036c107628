/*
 * daemon/wishes.c - what people ordered by the control socket: taken here, done here or where it
 * belongs, and answered when it has come about. In the parent's loop; waits for nothing: a wish has
 * a place and a state until it is answered.
 *
 * Control has parsed the orders and judged who may give them: nothing that people wrote is parsed
 * here.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "compile.h"
#include "handover.h"
#include "parent_state.h"

void
wishes_answer(const struct ipc_order *o, const struct ipc_answer *a)
{
	struct ipc_answer body = *a;

	body.ticket = o->ticket;
	children_tell_control(IPC_ANSWER, &body, sizeof body);
}

static void
wish_over(struct wish *w)
{
	const struct ipc_answer *a = &w->answer;
	bool done = a->result == ANSWER_DONE;
	const char *s = a->sessions == 1 ? "" : "s";

	if (w->order.what == ORDER_KILL)
		notes_record(&w->order, true, "%u session%s ended", a->sessions, s);
	else if (w->order.what == ORDER_RELOAD && done)
		notes_record(&w->order, true, "policy %02x%02x%02x%02x%02x%02x, %u session%s ended",
			     a->hash[0], a->hash[1], a->hash[2], a->hash[3], a->hash[4], a->hash[5],
			     a->sessions, s);
	else if (w->order.what == ORDER_RELOAD)
		notes_record(&w->order, false, "refused, %u error%s", a->errors,
			     a->errors == 1 ? "" : "s");
	wishes_answer(&w->order, a);
	w->state = WISH_NONE;
}

struct wish *
wishes_add(const struct ipc_order *o, enum wish_state state)
{
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_NONE)
			continue;
		*w = (struct wish){.state = state, .order = *o};
		w->answer.result = ANSWER_DONE;
		return w;
	}
	wishes_answer(o, &(struct ipc_answer){.result = ANSWER_BUSY});
	return NULL;
}

/* ---- reloads --------------------------------------------------------------------------------- */

bool
wishes_begin(void)
{
	bool any = false;

	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_NEXT || (w->order.what == ORDER_PREVIEW) != parent.preview)
			continue;
		w->state = WISH_COMPILES;
		any = true;
	}
	return any;
}

void
wishes_next(void)
{
	bool reloads = parent.reload_again, previews = false;

	if (parent.compile_pid != 0)
		return;
	parent.reload_again = false;
	for (unsigned i = 0; i < WISHES; i++) {
		const struct wish *w = &parent.wishes[i];

		reloads |= w->state == WISH_NEXT && w->order.what == ORDER_RELOAD;
		previews |= w->state == WISH_NEXT && w->order.what == ORDER_PREVIEW;
	}
	if (parent.draining) {
		parent.preview = true;
		wishes_begin();
		parent.preview = false;
		wishes_begin();
		wishes_failed(&(struct ipc_compiled){0}, ESHUTDOWN);
	} else if (reloads)
		reload_start();
	else if (previews) {
		parent.preview = true;
		wishes_begin();
		reload_compile(false);
	}
}

#define PROBLEMS_TOLD (128 * 1024)
#define PROBLEMS_TOLD_JSON (1024 * 1024) /* longer ones are told as text: half an object is none */

void
wishes_tell_problems(const struct ipc_order *to, const struct buffer *problems, size_t most)
{
	static union {
		struct ipc_answer_text head;
		char bytes[sizeof(struct ipc_answer_text) + IPC_MAX_TEXT];
	} body;

	if (problems->len < most)
		most = problems->len;
	for (size_t at = 0, n; at < most; at += n) {
		n = most - at < IPC_MAX_TEXT ? most - at : IPC_MAX_TEXT;
		body.head.ticket = to->ticket;
		memcpy(body.bytes + sizeof body.head, problems->p + at, n);
		children_tell_control(IPC_ANSWER_TEXT, &body, sizeof body.head + n);
	}
}

void
wishes_compiled(void)
{
	for (unsigned i = 0; i < WISHES; i++) {
		const struct wish *w = &parent.wishes[i];

		if (w->state != WISH_COMPILES)
			continue;
		if (w->order.json != 0 && parent.problems_json.len <= PROBLEMS_TOLD_JSON)
			wishes_tell_problems(&w->order, &parent.problems_json, PROBLEMS_TOLD_JSON);
		else
			wishes_tell_problems(&w->order, &parent.problems, PROBLEMS_TOLD);
	}
}

static void
compiled_into(struct ipc_answer *a, const struct ipc_compiled *result)
{
	a->errors = result->errors;
	a->warnings = result->warnings;
	a->rules = result->rules;
	memcpy(a->hash, result->hash, sizeof a->hash);
}

void
wishes_failed(const struct ipc_compiled *result, int error)
{
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_COMPILES)
			continue;
		compiled_into(&w->answer, result);
		w->answer.result = error == ESHUTDOWN ? ANSWER_DRAINING : ANSWER_FAILED;
		w->answer.error = (uint32_t)error;
		wish_over(w);
	}
}

void
wishes_taking(const struct ipc_compiled *result)
{
	for (unsigned i = 0; i < WISHES; i++)
		if (parent.wishes[i].state == WISH_COMPILES) {
			compiled_into(&parent.wishes[i].answer, result);
			parent.wishes[i].state = WISH_TAKING;
		}
}

/* All workers have the new policy. */
void
wishes_taken(void)
{
	for (unsigned i = 0; i < WISHES; i++)
		if (parent.wishes[i].state == WISH_TAKING) {
			parent.wishes[i].answer.sessions = parent.revoked;
			wish_over(&parent.wishes[i]);
		}
}

/* ---- what workers are asked ------------------------------------------------------------------ */

static void
ask_workers(struct wish *w, enum ipc_type type, const void *body, size_t len, const int *fds,
	    unsigned n)
{
	w->state = WISH_ASKED;
	for (struct child *c = children_next_worker(NULL); c != NULL; c = children_next_worker(c))
		if (c->ready && children_send(c, type, body, len, fds, n))
			w->asked |= UINT64_C(1) << c->index;
	if (w->asked == 0)
		wish_over(w);
}

void
wishes_preview(const struct ipc_compiled *result, const int fds[2])
{
	if (!image_sealed(fds[0], sizeof(struct settings)) || !image_sealed(fds[1], 1)) {
		wishes_failed(result, EINVAL);
		return;
	}
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];
		struct ipc_preview body = {w->ticket = ++parent.tickets};

		if (w->state != WISH_COMPILES)
			continue;
		compiled_into(&w->answer, result);
		ask_workers(w, IPC_PREVIEW, &body, sizeof body, fds, 2);
	}
}

/* result NULL: it died, and its sessions with it. */
void
wishes_worker_answered(struct child *from, const struct ipc_killed *result)
{
	uint64_t bit = UINT64_C(1) << from->index;

	if (from->role != ROLE_WORKER)
		return;
	for (unsigned i = 0; i < WISHES; i++) {
		struct wish *w = &parent.wishes[i];

		if (w->state != WISH_ASKED || (w->asked & bit) == 0 ||
		    (result != NULL && result->ticket != w->ticket))
			continue;
		w->asked &= ~bit;
		w->answer.sessions += result != NULL ? result->sessions : 0;
		if (w->asked == 0)
			wish_over(w);
	}
}

/* ---- the orders ------------------------------------------------------------------------------ */

static void
order_reload(const struct ipc_order *o)
{
	if (wishes_add(o, WISH_NEXT) != NULL)
		wishes_next();
}

static void
order_kill(const struct ipc_order *o)
{
	struct wish *w = wishes_add(o, WISH_ASKED);

	if (w == NULL)
		return;
	w->order.kill.ticket = w->ticket = ++parent.tickets;
	ask_workers(w, IPC_KILL, &w->order.kill, sizeof w->order.kill, NULL, 0);
}

static void
order_drain(const struct ipc_order *o)
{
	struct ipc_answer a = {.result = parent.draining ? ANSWER_DRAINING : ANSWER_DONE,
			       .within_ms = parent.settings->timeouts.drain};

	notes_record(o, !parent.draining,
		     parent.draining ? "draining already" : "sessions have %u ms to end",
		     a.within_ms);
	wishes_answer(o, &a);
	if (!parent.draining)
		parent_drain(false);
}

static void
order_reopen(const struct ipc_order *o)
{
	struct ipc_answer a = {.result = ANSWER_DONE};

	if (!audit_files_renew()) {
		a.result = ANSWER_FAILED;
		a.error = (uint32_t)errno;
		notes_record(o, false, "the audit file cannot be opened");
	} else
		notes_record(o, true, "the audit file was opened anew");
	wishes_answer(o, &a);
}

static void
order_note(const struct ipc_order *o)
{
	notes_record(o, false, "refused, %s", o->why);
}

void
wishes_order(const struct ipc_order *o)
{
	static void (*const orders[])(const struct ipc_order *) = {
	    [ORDER_STATUS] = status_answer, [ORDER_RELOAD] = order_reload,
	    [ORDER_PREVIEW] = order_reload, [ORDER_DRAIN] = order_drain,
	    [ORDER_REOPEN] = order_reopen,  [ORDER_KILL] = order_kill,
	    [ORDER_RESTART] = handover_ask, [ORDER_NOTE] = order_note};

	orders[o->what](o);
}
