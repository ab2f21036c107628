/*
 * daemon/main.c - sallyportd's command line, and going to the background. What runs is
 * daemon/parent.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "handover.h"
#include "parent.h"
#include "sandbox.h"

#define DEFAULT_FILE SYSCONFDIR "/sallyport.conf"

static const char usage[] =
    "usage: sallyportd [-f] [-t] [-q | -v] [-c FILE] [-s MODE] [--form]\n"
    "\n"
    "A policy-driven SOCKS firewall proxy. Reads FILE, binds its listeners and serves\n"
    "SOCKS4, 4a and 5 clients as the policy allows.\n"
    "\n"
    "  -c, --config FILE   the settings (default " DEFAULT_FILE ")\n"
    "  -f, --foreground    stay in the foreground, log to standard error\n"
    "  -t, --test          check FILE, print every problem, and exit\n"
    "  -s, --sandbox MODE  on, log or off, whatever the setting 'sandbox' says\n"
    "  -q, --quiet         log warnings and errors only\n"
    "  -v, --verbose       log more\n"
    "      --form          print what identifies the program in a hand-over, and exit\n"
    "  -V, --version       print the version and exit\n"
    "  -h, --help          print this and exit\n"
    "\n"
    "Signals: HUP reloads the policy, TERM drains and ends, USR1 opens the audit file again,\n"
    "USR2 hands over to the program file and settings of now, without interruption.\n"
    "Exit status: 0 ended as told (or the check found no error), 1 the configuration has\n"
    "errors, 2 wrong usage, 3 a listener cannot be bound, 4 another failure at start, 5 halted\n"
    "because records could not be written (audit.on-full).\n";

enum { OPTION_FORM = 256 };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"foreground", no_argument, NULL, 'f'},
    {"sandbox", required_argument, NULL, 's'},
    {"test", no_argument, NULL, 't'},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"form", no_argument, NULL, OPTION_FORM},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* The first process waits until the server is ready, so that a script knows what it started. */
static int
background(void)
{
	int fds[2], null;
	char status = EXIT_CANNOT_START;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1 || (pid = fork()) == -1) {
		fprintf(stderr, "sallyportd: cannot go to the background: %s\n", strerror(errno));
		exit(EXIT_CANNOT_START);
	}
	if (pid != 0) {
		close(fds[1]);
		if (read(fds[0], &status, 1) != 1)
			status = EXIT_CANNOT_START;
		exit(status);
	}
	close(fds[0]);
	setsid();
	if (chdir("/") == -1)
		perror("sallyportd: cannot change to /");
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null != -1) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	return fds[1];
}

static char *
absolute(const char *path)
{
	char *here, *full;

	if (path[0] == '/')
		return strdup(path);
	here = getcwd(NULL, 0);
	if (here == NULL || asprintf(&full, "%s/%s", here, path) == -1) {
		fprintf(stderr, "sallyportd: cannot tell where '%s' is: %s\n", path,
			strerror(errno));
		exit(EXIT_CANNOT_START);
	}
	free(here);
	return full;
}

static bool
sandbox_named(const char *word, struct parent_options *o)
{
	static const char *const words[] = {
	    [SETTINGS_SANDBOX_ON] = "on",
	    [SETTINGS_SANDBOX_LOG] = "log",
	    [SETTINGS_SANDBOX_OFF] = "off",
	};

	o->sandbox_given = true;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(word, words[i]) == 0) {
			sandbox_mode((enum settings_sandbox)i);
			return true;
		}
	fprintf(stderr, "sallyportd: a sandbox is 'on', 'log' or 'off', not '%s'\n", word);
	return false;
}

int
main(int argc, char **argv)
{
	struct parent_options o = {.path = DEFAULT_FILE, .ready_fd = -1};
	enum log_level most = LOGLEVEL_NOTICE;
	bool check = false, form = false;
	int c, status;

	handover_remember(argc, argv);
	while ((c = getopt_long(argc, argv, "c:fts:qvVh", options, NULL)) != -1)
		switch (c) {
		case 'c':
			o.path = optarg;
			break;
		case 'f':
			o.foreground = true;
			break;
		case 't':
			check = true;
			break;
		case 's':
			if (!sandbox_named(optarg, &o))
				return EXIT_WRONG_USAGE;
			break;
		case 'q':
			most = LOGLEVEL_WARNING;
			break;
		case 'v':
			most = most >= LOGLEVEL_INFO ? LOGLEVEL_DEBUG : LOGLEVEL_INFO;
			break;
		case OPTION_FORM:
			form = true;
			break;
		case 'V':
			puts("sallyportd " PACKAGE_VERSION);
			return EXIT_CLEAN;
		case 'h':
			fputs(usage, stdout);
			return EXIT_CLEAN;
		default:
			fputs("Try 'sallyportd --help'.\n", stderr);
			return EXIT_WRONG_USAGE;
		}
	if (optind < argc) {
		fprintf(stderr, "sallyportd: '%s' is not understood\nTry 'sallyportd --help'.\n",
			argv[optind]);
		return EXIT_WRONG_USAGE;
	}
	log_open("parent", true, most);
	if (check && ((status = parent_check(o.path)) != EXIT_CLEAN || !form))
		return status;
	if (form) {
		printf(HANDOVER_FORM_LINE, (unsigned long long)handover_form());
		return EXIT_CLEAN;
	}
	if (!o.foreground && !handover_received()) {
		o.path = absolute(o.path); /* a reload finds it again */
		o.ready_fd = background();
	}
	return parent_run(&o);
}
