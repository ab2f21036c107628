/*
 * main.c - sallyctl: the admin's tool.  The table of commands, and which one was meant.
 *
 * Most of it reads files, talks to nobody and needs no privilege; the commands of live.h ask the
 * running server by its control socket.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/live.h"

#define OPERAND_CODE "[CODE|COMMAND]"
#define OPERANDS_PASSWD "add NAME|del NAME|check NAME|list"
#define OPERANDS_TABLE "list|test NAME VALUE|replace NAME FILE"

static const struct ctl_option explain_options[] = {
    {"from", 0, "ADDRESS", "the client's address"},
    {"to", 0, "HOST:PORT", "the destination: a name or an address, IPv6 in brackets"},
    {"user", 0, "NAME", "who the client is known to be; comes with --auth"},
    {"groups", 0, "NAME,...", "the user's Unix groups"},
    {"auth", 0, "WAY", "how: pam, file, gssapi, chap, ident or userid"},
    {"command", 0, "WORD", "connect (default), bind or udp-associate"},
    {"version", 0, "4|5", "of SOCKS; default 5"},
    {"listener", 0, "NAME", "where the client came in"},
    {"resolves", 0, "ADDRESS,...", "what the name resolves to; '' if to nothing"},
    {"at", 0, "TIME", "'2026-11-24 10:00 Europe/Berlin' or RFC 3339; default now"},
    {"session", 0, "ID", "a session that is open at the running server; the others change it"},
    {"socket", 0, "PATH", "with --session: the server's control socket"},
    {"batch", 0, "FILE", "a session a line in JSON; '-' is standard input"},
    {"passed", 0, NULL, "in a batch: tell the rules passed over for a large policy, too"},
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option show_options[] = {
    {"expand", 0, NULL, "also what the objects that the rules name hold"},
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option live_options[] = {LIVE_OPTION, {NULL, 0, NULL, NULL}};

static const struct ctl_option sessions_options[] = {
    {"user", 0, "NAME", "only of this user"},
    {"source", 0, "NETWORK", "only from this address or network"},
    {"destination", 0, "PLACE", "only to this address or network, or this name and below it"},
    {"rule", 0, "NAME", "only those that this rule allowed"},
    {"older-than", 0, "TIME", "only those that are older: '90 s', '2 h'"},
    {"younger-than", 0, "TIME", "only those that are younger"},
    {"sort", 0, "KEY", "age (default), user, source, destination, rule, bytes, up or down"},
    {"limit", 0, "N", "at most so many, after sorting"},
    {"destinations", 0, NULL, "and the destinations of UDP associations, a line each"},
    LIVE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option rules_options[] = {
    {"hits", 0, NULL, "how often each has matched, most first"},
    {"unused", 0, NULL, "only those that never matched"},
    {"sort", 0, "KEY", "policy, hits, last or name"},
    LIVE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option kill_options[] = {
    {"user", 0, "NAME", "all sessions of this user"},
    {"rule", 0, "NAME", "all sessions that this rule allowed"},
    LIVE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option log_options[] = {
    {"follow", 'f', NULL, "go on as the file grows, also when it is rotated"},
    {"lines", 'n', "N", "only the last N lines of each file; with -f 10"},
    {"user", 0, "NAME", "only of this user"},
    {"source", 0, "NETWORK", "only from this address or network"},
    {"destination", 0, "PLACE", "only to this address or network, or this name and below it"},
    {"rule", 0, "NAME", "only where this rule decided"},
    {"event", 0, "WORD", "only such records: session-deny, admin-action ..."},
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option metrics_options[] = {
    {"openmetrics", 0, NULL, "in the form of OpenMetrics"},
    LIVE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option top_options[] = {
    {"once", 0, NULL, "print one picture as plain text"},
    {"batch", 0, "N", "print N of them"},
    {"interval", 0, "TIME", "between two looks; default 2 s"},
    {"sort", 0, "KEY", "rate, sessions, bytes or matches"},
    {"rows", 0, "N", "of each list, in plain text; default 10"},
    LIVE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option reload_options[] = {
    {"preview", 0, NULL, "only tell what would come of it"},
    LIVE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option verify_options[] = {
    {"key", 0, "HEX", "the first key must begin with these digits, 16 or more"},
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option table_options[] = {
    {"no-reload", 0, NULL, "replace: leave the running server alone"},
    LIVE_OPTION,
    {NULL, 0, NULL, NULL},
};

static const struct ctl_option passwd_options[] = {
    {"users", 0, "FILE", "the file of users; default: auth.file.path of the settings"},
    {NULL, 0, NULL, NULL},
};

const struct ctl_command ctl_commands[] = {
    {"check", "", "check the files and tell every error",
     "Checks a sallyport.conf or a policy with everything it includes, and runs its\n"
     "tests. Exit status 0 if the server would load it, 1 if not.",
     NULL, 0, 0, check_run},
    {"explain", "", "what the policy says of a session, and why",
     "Judges one session as the server would: the verdict, the rule that decided and,\n"
     "for each rule passed over, the first condition that failed. A name is judged by\n"
     "the addresses given with --resolves; nothing is looked up.\n"
     "Exit status 0 if the session is allowed, 1 if not.\n"
     "\n"
     "With --session, a session of the running server is judged as it is known there, under\n"
     "the policy of the files, which is told if it is not the one in force.\n"
     "\n"
     "With --batch, each line of FILE is a JSON object with the same words as keys\n"
     "(arrays for groups and resolves, an integer for version), and each line of the\n"
     "answer is the verdict in JSON. Exit status 0, or 2 if a line was bad.",
     explain_options, 0, 0, explain_run},
    {"show", "[RULE...]", "the rules, a sentence each",
     "Shows the rules as they are read, defaults filled in, a sentence each, with owner,\n"
     "ticket and what else they carry; with names, only those rules.",
     show_options, 0, CTL_OPERANDS, show_run},
    {"lint", "", "what the policy says and hardly means",
     "Looks for rules that can never match, rules that say the same, denials by name\n"
     "that an address walks around, allow rules that ask nobody who it is, regular\n"
     "expressions that are not what they seem, unused objects, and dates that have\n"
     "passed. What cannot be decided is told as such.\n"
     "Exit status 0 if nothing was found, 1 if there are findings.",
     NULL, 0, 0, lint_run},
    {"table", OPERANDS_TABLE, "ask tables and replace them",
     "list: the tables that the policy reads, and the objects that they stand in.\n"
     "test: is VALUE in the object NAME, and by which line? VALUE is an address or a\n"
     "prefix, the name of a host, tcp/443, a user or unix:GROUP, or a time.\n"
     "replace: FILE takes the place of the table that NAME reads, if the policy is good\n"
     "with it; all errors of FILE are told. The table's mode and owner stay. A running\n"
     "server with a control socket (setting 'control') is told to reload.\n"
     "NAME is an object (with its section where several have the name: groups.staff, or\n"
     "@staff) or a table as the policy writes it (file:tables/feed.txt).\n"
     "Exit status 0 if VALUE is there or the table was replaced, 1 if not.",
     table_options, 1, 3, table_run},
    {"test", "", "run the tests that stand in the policy",
     "Runs the tests of the policy's tests section and shows what came out.\n"
     "Exit status 0 if all passed, 1 if one failed.",
     NULL, 0, 0, test_run},
    {"status", "", "how the running server is",
     "Asks the running server for its processes, its policy, its ledger, and how much of\n"
     "its limits is in use. For viewers and operators (setting 'control').",
     live_options, 0, 0, status_run},
    {"sessions", "", "the sessions that are open now",
     "Lists the sessions of the running server, the oldest first. With --json a line in\n"
     "JSON for each. For viewers and operators.",
     sessions_options, 0, 0, sessions_run},
    {"rules", "", "the rules in force, and how often each matched",
     "Lists the rules of the running server's policy. With --hits: how often each has decided,\n"
     "how often it would have (mode dry-run), and when it last did; kept by name, over reloads "
     "and\n"
     "restarts (setting 'state.directory'). For viewers and operators.",
     rules_options, 0, 0, rules_run},
    {"kill", "[SESSION]", "end sessions",
     "Ends one session by its identifier, or all of a user or a rule; they end with\n"
     "'killed'. Exit status 1 if there was none. For operators.",
     kill_options, 0, 1, kill_run},
    {"log", "[FILE...]", "the ledger, a short line a record",
     "Shows audit files for people: the one that the settings name, or each FILE ('-' is\n"
     "the standard input). With --json the records that are chosen, as they are.",
     log_options, 0, CTL_OPERANDS, log_run},
    {"metrics", "", "what the running server has counted",
     "Shows the metrics of the running server as its page for Prometheus does, in the text\n"
     "form of Prometheus or of OpenMetrics. For viewers and operators.",
     metrics_options, 0, 0, metrics_run},
    {"top", "", "what the running server is busy with",
     "Shows, on the whole screen and again and again, the running server's rates, and the users,\n"
     "sources, destinations and rules that its open sessions belong to, the busiest first, and\n"
     "what is denied most. Keys: 1 to 6 and Tab choose what is shown, s how it is sorted, h helps,\n"
     "q leaves. With --once or --batch plain text. For viewers and operators.",
     top_options, 0, 0, top_run},
    {"reload", "", "make the server read its configuration again",
     "Tells the running server to read its configuration, and shows what it found: the\n"
     "same as 'sallyctl check'. Sessions that are forbidden now are ended. Exit status 0\n"
     "if the server has taken it, 1 if the files have errors and the old policy stays.\n"
     "With --preview nothing is taken; only told is what would be. For operators.",
     reload_options, 0, 0, reload_run},
    {"restart", "", "renew the server without interruption",
     "The running server starts its program file anew, with all settings as the files have them\n"
     "now: no client is refused meanwhile, and open sessions go on in the old processes, for\n"
     "'timeouts.handover' at most. The new program is tried first. Exit status 0 if it has\n"
     "taken over, 1 if it cannot and the server goes on as it was. For operators.",
     live_options, 0, 0, restart_run},
    {"drain", "", "stop the server when its sessions are over",
     "The running server takes no new clients, gives its sessions the time of\n"
     "'timeouts.drain' to end, and stops. For operators.",
     live_options, 0, 0, drain_run},
    {"reopen", "", "open the audit file anew",
     "Makes the running server open its audit file again, after that was moved away.\n"
     "For operators.",
     live_options, 0, 0, reopen_run},
    {"verify", "FILE...", "whether a ledger is as it was written",
     "Reads audit files, in order of rotation, and says that they are whole, or names the\n"
     "first line that was changed, cut, moved, removed or added, and how much is proven\n"
     "all the same. '-' is standard input. The keys are in the files: compare one with\n"
     "the log of the server, where it told the key, by --key.\n"
     "Exit status 0 if the ledger is whole, 1 if not, 2 if it could not be read.",
     verify_options, 1, CTL_OPERANDS, verify_run},
    {"passwd", OPERANDS_PASSWD, "the users and passwords of auth.file",
     "add: a new user, or a new password for one. del: removes the user. check: is it the\n"
     "password of NAME? list: the users, and the kind of hash that each has.\n"
     "The password is asked for on the terminal, or is the first line of the standard\n"
     "input where that is no terminal; it is kept as a yescrypt hash. The file changes in\n"
     "one step, its mode and owner stay, and a running server takes it at once.\n"
     "Exit status 0 if it was done or the password is right, 1 if not.",
     passwd_options, 1, 2, passwd_run},
    {"settings", "[NAME]", "every setting of sallyport.conf, with its default",
     "Lists the settings of sallyport.conf: name, type, default, bounds and meaning;\n"
     "with NAME that one, or the section of that name.",
     NULL, 0, 1, settings_run},
    {"help", OPERAND_CODE, "explain the code of a problem, or a command",
     "Explains a code such as E203 that 'sallyctl check' has shown, or a command.\n"
     "Without an operand it lists the commands.",
     NULL, 0, 1, help_run},
    {NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

const struct ctl_command *
command_find(const char *name)
{
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

void
usage_put(struct buffer *out)
{
	buffer_puts(out, "usage: sallyctl COMMAND [options]\n"
			 "       sallyctl --version\n"
			 "\n"
			 "commands:\n");
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
		buffer_putf(out, "  %-10s %s\n", c->name, c->summary);
	buffer_puts(out, "\n"
			 "Each takes -c FILE (a sallyport.conf or a policy; default\n" SYSCONFDIR
			 "/sallyport.conf), --json and --help.\n"
			 "Exit status: 0 yes or clean, 1 no or findings, 2 could not be done.\n");
}

const char *
nearest_command(const char *word)
{
	const char *names[64];
	size_t n = 0;

	for (; ctl_commands[n].name != NULL && n + 1 < sizeof names / sizeof names[0]; n++)
		names[n] = ctl_commands[n].name;
	names[n] = NULL;
	return text_nearest(word, names);
}

static int
no_command(const char *word)
{
	const char *near = nearest_command(word);
	char shown[128];
	struct text t;

	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, word, strlen(word), 64);
	if (near != NULL)
		return ctl_fail(NULL, "no command is called %s: did you mean '%s'?", shown, near);
	return ctl_fail(NULL, "no command is called %s: see 'sallyctl --help'", shown);
}

static int
about_the_tool(const char *word)
{
	struct buffer out = {0};

	if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		buffer_puts(&out, "sallyctl " PACKAGE_VERSION "\n");
	else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		usage_put(&out);
	else
		return no_command(word);
	return ctl_done(&out, CTL_YES);
}

static bool
wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (no == NULL || no[0] == '\0') &&
	       (term == NULL || strcmp(term, "dumb") != 0);
}

int
main(int argc, char **argv)
{
	struct ctl_call call = {0};
	struct buffer out = {0};

	if (argc < 2) {
		usage_put(&out);
		fwrite(out.p, 1, out.len, stderr);
		buffer_free(&out);
		return CTL_FAILED;
	}
	call.command = command_find(argv[1]);
	if (call.command == NULL)
		return about_the_tool(argv[1]);
	if (!options_parse(&call, argc - 2, argv + 2))
		return CTL_FAILED;
	call.colour = !call.json && wants_colour();
	if (option_on(&call, "help")) {
		options_help(call.command, &out);
		return ctl_done(&out, CTL_YES);
	}
	return call.command->run(&call);
}
