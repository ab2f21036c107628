/*
 * tests/fuzz/fuzz_control.c - requests of the control socket: what is taken says the same when it
 * is written again and read again, keeps to its command's keys, and ends its strings.
 */
#include "wire/control.h"

#include "fuzz.h"

static void
check_strings(const struct control_request *r)
{
	for (int f = CONTROL_ID; f <= CONTROL_DESTINATION; f++)
		FUZZ_CHECK(memchr(r->value[f].string, 0, CONTROL_VALUE) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[8 * CONTROL_REQUEST];
	static struct control_request r, again;
	enum control_verdict v;
	struct text t;

	if (size > FUZZ_MAX)
		return 0;
	v = control_parse((const char *)fuzz_at_end(data, size), size, &r);
	FUZZ_CHECK(control_verdict_word(v)[0] != '\0');
	if (v != CONTROL_OK)
		return 0;
	FUZZ_CHECK(r.command < CONTROL_COMMANDS);
	FUZZ_CHECK((r.given & ~control_commands[r.command].fields) == 0);
	check_strings(&r);
	text_init(&t, line, sizeof line);
	control_format(&r, &t);
	FUZZ_CHECK(!t.cut && t.len > 0 && line[t.len - 1] == '\n');
	FUZZ_CHECK(memchr(line, '\n', t.len - 1) == NULL);
	if (t.len > CONTROL_REQUEST)
		return 0; /* bytes that were escapes already may become longer */
	FUZZ_CHECK(control_parse(line, t.len - 1, &again) == CONTROL_OK);
	FUZZ_CHECK(again.command == r.command && again.given == r.given);
	FUZZ_CHECK(memcmp(again.value, r.value, sizeof r.value) == 0);
	return 0;
}
