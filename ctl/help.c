/*
 * help.c - sallyctl help: what the code of a problem means, at length; and
 * sallyctl settings: the table that the server reads its file by.
 */
#include <ctype.h>
#include <string.h>

#include "ctl/ctl.h"

/* Codes are written as check shows them; a lower-case one is meant the same. */
static const char *
explanation(const char *word, char code[8])
{
	const char *text;
	size_t len = strlen(word);

	if (len == 0 || len >= 8)
		return NULL;
	for (size_t i = 0; i <= len; i++)
		code[i] = (char)toupper((unsigned char)word[i]);
	text = problem_explain(code);
	return text != NULL ? text : rules_problem_explain(code);
}

static void
put_command(const struct ctl_call *call, const struct ctl_command *command, struct buffer *out)
{
	struct buffer text = {0};

	if (command != NULL)
		options_help(command, &text);
	else
		usage_put(&text);
	if (call->json) {
		buffer_puts(out, "{\"text\":");
		buffer_put_json(out, text.p, text.len);
		buffer_puts(out, "}\n");
	} else {
		buffer_put(out, text.p, text.len);
	}
	buffer_free(&text);
}

static void
put_code(const struct ctl_call *call, const char *code, const char *text, struct buffer *out)
{
	const struct style *s = style_of(call);
	size_t len = strlen(text);

	if (call->json) {
		buffer_puts(out, "{\"code\":");
		buffer_put_json(out, code, strlen(code));
		buffer_puts(out, ",\"text\":");
		buffer_put_json(out, text, len);
		buffer_puts(out, "}\n");
		return;
	}
	buffer_putf(out, "%s%s%s\n%s", s->bold, code, s->off, text);
	if (len == 0 || text[len - 1] != '\n')
		buffer_puts(out, "\n");
}

int
help_run(struct ctl_call *call)
{
	const char *word = call->operand_count > 0 ? call->operands[0] : NULL, *text;
	const struct ctl_command *command = word != NULL ? command_find(word) : NULL;
	struct buffer out = {0};
	char code[8], shown[128];
	const char *near;
	struct text t;

	if (word == NULL || command != NULL) {
		put_command(call, command, &out);
		return ctl_done(&out, CTL_YES);
	}
	text = explanation(word, code);
	if (text == NULL) {
		text_init(&t, shown, sizeof shown);
		text_put_quoted(&t, word, strlen(word), 64);
		near = nearest_command(word);
		if (near != NULL)
			return ctl_fail(call,
					"no code and no command is called %s: did you mean '%s'?",
					shown, near);
		return ctl_fail(call, "no code and no command is called %s", shown);
	}
	put_code(call, code, text, &out);
	return ctl_done(&out, CTL_YES);
}

/* ---- settings --------------------------------------------------------------- */

static void
put_setting_json(const struct settings_row *r, struct buffer *out)
{
	const struct {
		const char *key, *value;
	} parts[] = {
	    {"{\"name\":", r->name},     {",\"type\":", r->type}, {",\"default\":", r->fallback},
	    {",\"bounds\":", r->bounds}, {",\"help\":", r->help},
	};

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		buffer_puts(out, parts[i].key);
		if (parts[i].value != NULL)
			buffer_put_json(out, parts[i].value, strlen(parts[i].value));
		else
			buffer_puts(out, "null");
	}
	buffer_puts(out, "}");
}

static bool
is_given(const char *s)
{
	return s != NULL && s[0] != '\0';
}

static void
put_setting(const struct ctl_call *call, const struct settings_row *r, struct buffer *out)
{
	const struct style *s = style_of(call);

	buffer_putf(out, "%s%s%s  %s", s->bold, r->name, s->off, r->type);
	if (is_given(r->fallback))
		buffer_putf(out, ", default %s", r->fallback);
	if (is_given(r->bounds))
		buffer_putf(out, ", %s", r->bounds);
	buffer_putf(out, "\n    %s\n", r->help);
}

/* A name, or the section that it opens: "audit" is of "audit.file". */
static bool
is_of(const char *name, const char *wanted)
{
	size_t len = wanted != NULL ? strlen(wanted) : 0;

	return wanted == NULL ||
	       (strncmp(name, wanted, len) == 0 && (name[len] == '\0' || name[len] == '.'));
}

static const char *
nearest_setting(const char *word)
{
	const char *names[256];
	const struct settings_row *r;
	unsigned n = 0;

	while (n + 1 < sizeof names / sizeof names[0] && (r = settings_row(n)) != NULL)
		names[n++] = r->name;
	names[n] = NULL;
	return text_nearest(word, names);
}

int
settings_run(struct ctl_call *call)
{
	const char *wanted = call->operand_count > 0 ? call->operands[0] : NULL;
	const struct settings_row *r;
	struct buffer out = {0};
	unsigned found = 0;
	char shown[128];
	const char *near;
	struct text t;

	if (call->json)
		buffer_puts(&out, "{\"settings\":[");
	for (unsigned i = 0; (r = settings_row(i)) != NULL; i++) {
		if (!is_of(r->name, wanted))
			continue;
		if (call->json && found > 0)
			buffer_puts(&out, ",");
		(call->json ? put_setting_json(r, &out) : put_setting(call, r, &out));
		found++;
	}
	if (call->json)
		buffer_puts(&out, "]}\n");
	if (found > 0)
		return ctl_done(&out, CTL_YES);
	buffer_free(&out);
	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, wanted, strlen(wanted), 64);
	near = nearest_setting(wanted);
	if (near != NULL)
		return ctl_fail(call, "no setting is called %s: did you mean '%s'?", shown, near);
	return ctl_fail(call, "no setting is called %s", shown);
}
