/*
 * tests/bench/load.c - the load generator: reads its plan and runs one mode.
 *
 * One process, one event loop; run several for more processors. All its sessions come
 * from 127.128.0.0/9. Everything is bounded: an alarm ends a run that hangs (status 1).
 */
#include "config.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/plan.h"

static const struct mode {
	const char *name;
	int (*run)(const struct plan *);
	unsigned at_once;
} modes[] = {
    {"sessions", load_sessions, 32}, {"requests", load_requests, 64}, {"latency", load_latency, 1},
    {"bulk", load_bulk, 8},          {"idle", load_idle, 64},         {"limit", load_limit, 32},
    {"start", load_start, 1},        {"udp", load_udp, 16},
};

static const struct {
	const char *name;
	int value;
} words[] = {
    {"none", SPEAK_NOTHING}, {"4", SPEAK_SOCKS4}, {"4a", SPEAK_SOCKS4A}, {"5", SPEAK_SOCKS5},
    {"down", ORDER_DOWN},    {"up", ORDER_UP},    {"both", ORDER_BOTH},
};

static const char usage[] =
    "usage: load MODE -t ADDRESS:PORT [options] [-- PROXY-COMMAND]\n"
    "modes: sessions requests latency bulk idle limit start udp\n"
    "  -t ADDRESS:PORT  the first target        -n N   targets in a row (1)\n"
    "  -p ADDRESS:PORT  the proxy (none: direct)  -v 5|4|4a|none  what it speaks (5)\n"
    "  -k N   sessions at a time                -N N   sessions in all (idle, limit)\n"
    "  -f down|up|both  flow of bulk (down)     -w MS  warm-up   -d MS  measured stretch\n"
    "  -s N   source addresses (4096)           -S N   the first of them (0)\n"
    "  -b S   seconds after which it gives up (60)  -g  wait at gates for a line on stdin\n"
    "  -r FILE  sessions: write the client's end of each that was granted, stop behind -N of them\n";

static _Noreturn void
usage_die(const char *what)
{
	fprintf(stderr, "load: %s\n%s", what, usage);
	exit(2);
}

static struct sockaddr_in
read_endpoint(char *text)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	char *colon = strchr(text, ':');

	if (colon == NULL)
		usage_die("an endpoint is ADDRESS:PORT");
	*colon = '\0';
	if (inet_pton(AF_INET, text, &at.sin_addr) != 1)
		usage_die("not an IPv4 address");
	at.sin_port = htons((uint16_t)atoi(colon + 1));
	return at;
}

static unsigned
read_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n > 10000000)
		usage_die("not a number");
	return (unsigned)n;
}

static int
read_word(const char *text)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(words[i].name, text) == 0)
			return words[i].value;
	usage_die("unknown word");
}

static void
read_option(struct plan *plan, int option)
{
	switch (option) {
	case 't':
		plan->target = read_endpoint(optarg);
		break;
	case 'p':
		plan->via = read_endpoint(optarg);
		break;
	case 'v':
		plan->speak = (enum speak)read_word(optarg);
		break;
	case 'f':
		plan->flow = (enum order)read_word(optarg);
		break;
	case 'n':
		plan->targets = read_number(optarg);
		break;
	case 'k':
		plan->at_once = read_number(optarg);
		break;
	case 'N':
		plan->count = read_number(optarg);
		break;
	case 's':
		plan->sources = read_number(optarg);
		break;
	case 'S':
		plan->first_source = read_number(optarg);
		break;
	case 'w':
		plan->warm_ms = read_number(optarg);
		break;
	case 'd':
		plan->run_ms = read_number(optarg);
		break;
	case 'b':
		plan->bound_ms = read_number(optarg) * 1000;
		break;
	case 'g':
		plan->gated = true;
		break;
	case 'r':
		plan->record = fopen(optarg, "we");
		if (plan->record == NULL)
			gate_fail("cannot open the file of granted sessions");
		break;
	default:
		usage_die("unknown option");
	}
}

static const struct mode *
find_mode(const char *name)
{
	for (size_t i = 0; name != NULL && i < sizeof modes / sizeof *modes; i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	usage_die("unknown mode");
}

static void
on_alarm(int sig)
{
	static const char text[] = "load: the run took too long\n";

	(void)sig;
	(void)!write(STDERR_FILENO, text, sizeof text - 1);
	_exit(1);
}

int
main(int argc, char **argv)
{
	struct plan plan = {.speak = SPEAK_SOCKS5,
			    .targets = 1,
			    .sources = 4096,
			    .count = 1000,
			    .warm_ms = 300,
			    .run_ms = 2000,
			    .bound_ms = 60000,
			    .flow = ORDER_DOWN};
	const struct mode *mode = find_mode(argv[1]);
	struct rlimit limit;
	int option;

	optind = 2;
	while ((option = getopt(argc, argv, "t:p:v:f:n:k:N:s:S:w:d:b:gr:")) != -1)
		read_option(&plan, option);
	plan.command = argv + optind;
	if (plan.at_once == 0)
		plan.at_once = mode->at_once;
	if (plan.via.sin_port == 0)
		plan.speak = SPEAK_NOTHING;
	if (plan.target.sin_port == 0 || plan.targets == 0 || plan.sources == 0)
		usage_die("no target");
	if ((mode->run == load_start) != (argv[optind] != NULL))
		usage_die("a command goes with mode start");
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGALRM, on_alarm);
	alarm(plan.bound_ms / 1000);
	pattern_build();
	return mode->run(&plan);
}
