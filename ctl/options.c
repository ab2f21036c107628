/*
 * options.c - the options of a command, from its table: --name value, --name=value, -x value.
 *
 * An option that does not exist, comes twice or lacks its value is an error with
 * a hint, never a guess.  --help is made from the same table.
 */
#include <string.h>

#include "ctl/ctl.h"

static const struct ctl_option common[] = {
    {"config", 'c', "FILE", "a sallyport.conf or a policy; default " SYSCONFDIR "/sallyport.conf"},
    {"json", 0, NULL, "answer in JSON"},
    {"help", 'h', NULL, "this text"},
    {NULL, 0, NULL, NULL},
};
#define COMMON_COUNT (sizeof common / sizeof common[0] - 1)

static const struct ctl_option none[] = {{NULL, 0, NULL, NULL}};

static const struct ctl_option *
own_options(const struct ctl_command *command)
{
	return command->options != NULL ? command->options : none;
}

/* Row i over the command's own and the common options; NULL at the end. */
static const struct ctl_option *
option_at(const struct ctl_command *command, size_t i)
{
	const struct ctl_option *own = own_options(command);
	size_t n = 0;

	while (own[n].name != NULL)
		n++;
	if (i < n)
		return &own[i];
	return i - n < COMMON_COUNT ? &common[i - n] : NULL;
}

static int
find_long(const struct ctl_command *command, const char *name, size_t len)
{
	const struct ctl_option *o;

	for (size_t i = 0; (o = option_at(command, i)) != NULL; i++)
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return (int)i;
	return -1;
}

static int
find_letter(const struct ctl_command *command, char letter)
{
	const struct ctl_option *o;

	for (size_t i = 0; (o = option_at(command, i)) != NULL; i++)
		if (o->letter == letter && letter != 0)
			return (int)i;
	return -1;
}

static bool
unknown_option(const struct ctl_call *call, const char *arg, size_t len)
{
	const char *names[CTL_OPTIONS + 1];
	const struct ctl_option *o;
	char shown[128], word[64];
	struct text t;
	const char *near;
	size_t n = 0;

	for (; n < CTL_OPTIONS && (o = option_at(call->command, n)) != NULL; n++)
		names[n] = o->name;
	names[n] = NULL;
	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, arg, len, 64);
	text_init(&t, word, sizeof word);
	while (len > 0 && *arg == '-')
		arg++, len--;
	text_put_bytes(&t, arg, len);
	near = text_nearest(word, names);
	if (near != NULL)
		ctl_fail(call, "no option is called %s: did you mean '--%s'?", shown, near);
	else
		ctl_fail(call, "no option is called %s: see 'sallyctl %s --help'", shown,
			 call->command->name);
	return false;
}

/* Takes the option at index i of the table; value NULL: not attached. */
static bool
take(struct ctl_call *call, int i, const char *value, int *at, int argc, char **argv)
{
	const struct ctl_option *o = option_at(call->command, (size_t)i);

	if (call->values[i] != NULL) {
		ctl_fail(call, "'--%s' is given twice", o->name);
		return false;
	}
	if (o->value == NULL) {
		if (value != NULL)
			ctl_fail(call, "'--%s' takes no value", o->name);
		call->values[i] = o->name;
		return value == NULL;
	}
	if (value == NULL && *at + 1 < argc)
		value = argv[++*at];
	if (value == NULL) {
		ctl_fail(call, "'--%s' needs a value: %s", o->name, o->value);
		return false;
	}
	call->values[i] = value;
	return true;
}

static bool
take_long(struct ctl_call *call, int *at, int argc, char **argv)
{
	const char *arg = argv[*at] + 2, *equals = strchr(arg, '=');
	size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
	int i = find_long(call->command, arg, len);

	if (i < 0)
		return unknown_option(call, argv[*at], len + 2);
	return take(call, i, equals != NULL ? equals + 1 : NULL, at, argc, argv);
}

static bool
take_letter(struct ctl_call *call, int *at, int argc, char **argv)
{
	const char *arg = argv[*at];
	int i = find_letter(call->command, arg[1]);

	if (i < 0)
		return unknown_option(call, arg, strlen(arg));
	return take(call, i, arg[2] != '\0' ? arg + 2 : NULL, at, argc, argv);
}

static bool
take_operand(struct ctl_call *call, const char *arg)
{
	char shown[128];
	struct text t;

	if (call->operand_count < call->command->most) {
		call->operands[call->operand_count++] = arg;
		return true;
	}
	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, arg, strlen(arg), 64);
	ctl_fail(call, "nothing is expected here: %s: see 'sallyctl %s --help'", shown,
		 call->command->name);
	return false;
}

/* --json counts wherever it stands, so that an error before it is told in JSON, too. */
static bool
asks_json(int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

bool
options_parse(struct ctl_call *call, int argc, char **argv)
{
	bool only_operands = false, ok = true;

	call->json = asks_json(argc, argv);
	for (int i = 0; i < argc && ok; i++) {
		const char *a = argv[i];

		if (only_operands || a[0] != '-' || a[1] == '\0')
			ok = take_operand(call, a);
		else if (strcmp(a, "--") == 0)
			only_operands = true;
		else if (a[1] == '-')
			ok = take_long(call, &i, argc, argv);
		else
			ok = take_letter(call, &i, argc, argv);
	}
	call->file = option_value(call, "config");
	if (call->file == NULL)
		call->file = SYSCONFDIR "/sallyport.conf";
	if (ok && !option_on(call, "help") && call->operand_count < call->command->least) {
		ctl_fail(call, "%s is missing: see 'sallyctl %s --help'", call->command->operands,
			 call->command->name);
		ok = false;
	}
	return ok;
}

const char *
option_value(const struct ctl_call *call, const char *name)
{
	int i = find_long(call->command, name, strlen(name));

	return i < 0 ? NULL : call->values[i];
}

bool
option_on(const struct ctl_call *call, const char *name)
{
	return option_value(call, name) != NULL;
}

static void
help_row(const struct ctl_option *o, struct buffer *out)
{
	char left[64];
	struct text t;

	text_init(&t, left, sizeof left);
	if (o->letter != 0)
		text_putf(&t, "-%c, ", o->letter);
	text_putf(&t, "--%s", o->name);
	if (o->value != NULL)
		text_putf(&t, " %s", o->value);
	buffer_putf(out, "  %-24s %s\n", left, o->help);
}

void
options_help(const struct ctl_command *command, struct buffer *out)
{
	const struct ctl_option *o;

	buffer_putf(out, "usage: sallyctl %s [options]%s%s\n\n%s\n\noptions:\n", command->name,
		    command->operands[0] != '\0' ? " " : "", command->operands, command->about);
	for (size_t i = 0; (o = option_at(command, i)) != NULL; i++)
		help_row(o, out);
}
