/*
 * unit_authenticator.c - the real authenticator process with its nursery and checkers, asked over
 * a socket pair as workers ask it: passwords from a file, CHAP, PAM, groups, what hangs, what is
 * full, what is forgotten, lock-outs, and files that change.
 */
#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "suite.h"

#include "authenticator.h"
#include "base/clock.h"
#include "base/log.h"
#include "channel.h"
#include "compile.h"
#include "rules/rules.h"

#define PATIENCE_MS 20000

static char folder[] = "/tmp/sallyport-auth-XXXXXX";
static struct channel parent, worker;
static pid_t process;
static struct message m;
static int log_fd;

/* ---- files ---------------------------------------------------------------- */

static const char *
path_of(const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *p = paths[next++ % 4];

	snprintf(p, 256, "%s/%s", folder, name);
	return p;
}

static void
write_file(const char *name, mode_t mode, const char *fmt, ...)
{
	char path[256], fresh[300];
	va_list ap;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	snprintf(fresh, sizeof fresh, "%s.new", path);
	f = fopen(fresh, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fchmod(fileno(f), mode);
	fclose(f);
	CU_ASSERT_EQUAL(rename(fresh, path), 0);
}

/* Cheap, so that the tests are about the process and not about yescrypt. */
static const char *
hash_of(const char *password)
{
	static char made[8][CRYPT_OUTPUT_SIZE];
	static unsigned next;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE], *to = made[next++ % 8];
	static struct crypt_data data;

	crypt_gensalt_rn("$y$", 1, NULL, 0, setting, sizeof setting);
	snprintf(to, CRYPT_OUTPUT_SIZE, "%s", crypt_rn(password, setting, &data, sizeof data));
	return to;
}

static bool
log_has(const char *words)
{
	static char text[262144];
	ssize_t n = pread(log_fd, text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return strstr(text, words) != NULL;
}

/* ---- the process ---------------------------------------------------------- */

static void
send_images(const char *settings, const char *policy)
{
	static uint32_t generation;
	struct ipc_policy body = {++generation, 0};
	struct rules_load l;
	int fds[2];

	write_file("conf", 0600,
		   "listeners: { a: { address = \"127.0.0.1\" } }\n%s\n%s\n"
		   "rules: { all: { action = \"allow\"; from = \"loopback\"; to = \"any\" } }\n",
		   settings, policy);
	if (!rules_load(&l, path_of("conf"), true, 0)) {
		for (size_t i = 0; i < l.problems.count; i++)
			printf("%s %s\n", l.problems.list[i].code, l.problems.list[i].text);
		CU_FAIL_FATAL("the configuration is not good");
	}
	fds[0] = image_seal("settings", &l.settings, sizeof l.settings);
	fds[1] = image_seal("policy", l.image, l.image_len);
	CU_ASSERT(channel_send(&parent, IPC_POLICY, &body, sizeof body, fds, 2));
	close(fds[0]);
	close(fds[1]);
	rules_load_free(&l);
}

static bool
hear(const struct channel *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, PATIENCE_MS) == 1 && channel_receive(c, &m) == 1;
}

static void
join_worker(void)
{
	struct ipc_books which = {3, 0};
	int fds[2];

	if (worker.fd > 0)
		close(worker.fd);
	CU_ASSERT_EQUAL_FATAL(channel_pair(fds), 0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	worker = (struct channel){fds[1], ROLE_WORKER, ROLE_AUTHENTICATOR};
	CU_ASSERT(channel_send(&parent, IPC_AUTH_CHANNEL, &which, sizeof which, fds, 1));
	close(fds[0]);
}

static void
start(const char *settings, const char *policy)
{
	int fds[2];

	CU_ASSERT_EQUAL_FATAL(channel_pair(fds), 0);
	fflush(NULL);
	if (ftruncate(log_fd, 0) == -1)
		abort();
	process = fork();
	if (process == 0) {
		struct account nobody = {
		    .drop = geteuid() == 0, .uid = 65534, .gid = 65534, .name = "nobody"};

		close(fds[0]);
		dup2(log_fd, STDERR_FILENO);
		log_open("authenticator", true, LOGLEVEL_INFO);
		if (!authenticator_prepare(fds[1], &nobody) || !privileges_drop(&nobody))
			_exit(1);
		_exit(authenticator_run(fds[1], 0));
	}
	close(fds[1]);
	parent = (struct channel){fds[0], ROLE_PARENT, ROLE_AUTHENTICATOR};
	send_images(settings, policy);
	CU_ASSERT_FATAL(hear(&parent));
	CU_ASSERT_EQUAL(m.type, IPC_READY);
	join_worker();
}

static void
stop(void)
{
	struct ipc_drain body = {0};
	int status = -1;

	CU_ASSERT(channel_send(&parent, IPC_DRAIN, &body, sizeof body, NULL, 0));
	waitpid(process, &status, 0);
	CU_ASSERT_EQUAL(status, 0);
	close(parent.fd);
	close(worker.fd);
	worker.fd = -1;
}

/* ---- questions ------------------------------------------------------------ */

struct question {
	enum ipc_auth_kind kind;
	uint32_t methods;
	const char *user, *secret, *from;
	size_t secret_len, token_len;
	const void *token;
};

static void
ask(uint64_t ticket, const struct question *q)
{
	static _Alignas(8) char body[sizeof(struct ipc_auth_ask) + 1024];
	struct ipc_auth_ask head = {.ticket = ticket, .kind = q->kind, .methods = q->methods};
	const char *from = q->from != NULL ? q->from : "192.0.2.7";
	size_t n = sizeof head;

	CU_ASSERT(addr_parse(from, strlen(from), &head.client.addr));
	head.user_len = (uint32_t)strlen(q->user);
	head.secret_len = (uint32_t)(q->secret_len != 0  ? q->secret_len
				     : q->secret != NULL ? strlen(q->secret)
							 : 0);
	head.token_len = (uint32_t)q->token_len;
	memcpy(body, &head, sizeof head);
	memcpy(body + n, q->user, head.user_len);
	n += head.user_len;
	if (head.secret_len > 0)
		memcpy(body + n, q->secret, head.secret_len);
	n += head.secret_len;
	if (head.token_len > 0)
		memcpy(body + n, q->token, head.token_len);
	CU_ASSERT(channel_send(&worker, IPC_AUTH_ASK, body, n + head.token_len, NULL, 0));
}

static const struct ipc_auth_answer *
answer(void)
{
	static struct ipc_auth_answer none;

	if (!hear(&worker) || m.type != IPC_AUTH_ANSWER)
		return &none;
	return m.body;
}

static const struct ipc_auth_answer *
try(const char *user, const char *password, uint32_t methods)
{
	static uint64_t ticket = 1000;
	const struct ipc_auth_answer *a;

	ask(++ticket,
	    &(struct question){
		.kind = ASK_PASSWORD, .methods = methods, .user = user, .secret = password});
	a = answer();
	CU_ASSERT_EQUAL(a->ticket, ticket);
	return a;
}

/* Files are taken when the nursery has been told of them: asked again until it is so. */
static bool
soon(const char *user, const char *password, uint32_t methods, uint32_t result)
{
	int64_t until = clock_mono_ns() + PATIENCE_MS * NS_PER_MS;

	while (clock_mono_ns() < until) {
		if (try(user, password, methods)->result == result)
			return true;
		poll(NULL, 0, 20);
	}
	return false;
}

static const char *
with_file(const char *more)
{
	static char text[1024];

	snprintf(text, sizeof text, "auth: { file: { path = \"%s\" }; %s }", path_of("users"),
		 more);
	return text;
}

#define QUICK "failure-delay = \"0 s\"; lockout: { failures = 0; source-failures = 0 };"

/* ---- tests ---------------------------------------------------------------- */

static void
test_file(void)
{
	const struct ipc_auth_answer *a;

	write_file("users", 0600, "# who\nann:%s\nbob:%s\nold:!%s\n", hash_of("secret"),
		   hash_of("other"), hash_of("secret"));
	start(with_file(QUICK), "");
	a = try("ann", "secret", AUTH_FILE | AUTH_PAM);
	CU_ASSERT_EQUAL(a->result, ANSWER_OK);
	CU_ASSERT_EQUAL(a->proven_by, AUTH_FILE);
	CU_ASSERT_EQUAL(a->user_len, 3);
	CU_ASSERT(memcmp(a + 1, "ann", 3) == 0);
	CU_ASSERT_EQUAL(a->group_count, 0);
	a = try("ann", "other", AUTH_FILE);
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(a->reason, REASONED_WRONG_SECRET);
	CU_ASSERT_EQUAL(a->locked, 0);
	a = try("nobody-there", "secret", AUTH_FILE);
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(a->reason, REASONED_UNKNOWN_USER);
	a = try("nobody-there", "other", AUTH_FILE); /* whoever's hash stood in */
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	a = try("old", "secret", AUTH_FILE);
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(a->reason, REASONED_ACCOUNT);
	a = try("ann", "", AUTH_FILE);
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	a = try("ann\n", "secret", AUTH_FILE);
	CU_ASSERT_EQUAL(a->reason, REASONED_BAD_NAME);
	a = try("ann", "secret", AUTH_PAM); /* not configured */
	CU_ASSERT_EQUAL(a->result, ANSWER_UNAVAILABLE);
	ask(7, &(struct question){.kind = ASK_PASSWORD,
				  .methods = AUTH_FILE,
				  .user = "ann",
				  .secret = "secret\0behind",
				  .secret_len = 13});
	CU_ASSERT_EQUAL(answer()->result, ANSWER_REFUSED);
	CU_ASSERT(
	    log_has("authentication failure for user 'ann' from '192.0.2.7': wrong password"));
	CU_ASSERT_FALSE(log_has("secret\n"));
	stop();
}

static void
test_file_changes(void)
{
	write_file("users", 0600, "ann:%s\n", hash_of("one"));
	start(with_file(QUICK), "");
	CU_ASSERT_EQUAL(try("ann", "one", AUTH_FILE)->result, ANSWER_OK);
	write_file("users", 0600, "ann:%s\n", hash_of("two"));
	CU_ASSERT(soon("ann", "two", AUTH_FILE, ANSWER_OK));
	CU_ASSERT_EQUAL(try("ann", "one", AUTH_FILE)->result, ANSWER_REFUSED);
	/* a bad line: told with its place, and what was read before stays */
	write_file("users", 0600, "ann:%s\nbob\n", hash_of("three"));
	for (int i = 0; i < 1000 && !log_has("line 2: ':' is missing"); i++)
		poll(NULL, 0, 20);
	CU_ASSERT(log_has("is not taken, what was read before stays: 1 error"));
	CU_ASSERT_EQUAL(try("ann", "two", AUTH_FILE)->result, ANSWER_OK);
	/* too open */
	write_file("users", 0644, "ann:%s\n", hash_of("four"));
	for (int i = 0; i < 1000 && !log_has("others may read it"); i++)
		poll(NULL, 0, 20);
	CU_ASSERT_EQUAL(try("ann", "two", AUTH_FILE)->result, ANSWER_OK);
	chmod(path_of("users"), 0600);
	CU_ASSERT(soon("ann", "four", AUTH_FILE, ANSWER_OK));
	unlink(path_of("users"));
	for (int i = 0; i < 1000 && !log_has("No such file"); i++)
		poll(NULL, 0, 20);
	CU_ASSERT(log_has("No such file"));
	CU_ASSERT_EQUAL(try("ann", "four", AUTH_FILE)->result, ANSWER_OK);
	write_file("users", 0600, "bob:%s\n", hash_of("five"));
	CU_ASSERT(soon("bob", "five", AUTH_FILE, ANSWER_OK));
	CU_ASSERT_EQUAL(try("ann", "four", AUTH_FILE)->result, ANSWER_REFUSED);
	stop();
}

static void
test_file_missing(void)
{
	unlink(path_of("users"));
	start(with_file(QUICK), "");
	CU_ASSERT_EQUAL(try("ann", "one", AUTH_FILE)->result, ANSWER_UNAVAILABLE);
	CU_ASSERT(log_has("No such file"));
	write_file("users", 0600, "ann:%s\n", hash_of("one"));
	CU_ASSERT(soon("ann", "one", AUTH_FILE, ANSWER_OK));
	stop();
}

static CU_TestInfo tests[] = {
    {"file", test_file},
    {"file changes", test_file_changes},
    {"file missing", test_file_missing},
    CU_TEST_INFO_NULL,
};

int
main(void)
{
	int failed;

	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(folder) == NULL || chmod(folder, 0755) == -1)
		return 2;
	log_fd = open(path_of("log"), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	failed = suite_run("authenticator", tests);
	if (failed == 0) {
		char command[300];

		snprintf(command, sizeof command, "%s", folder);
		for (size_t i = 0; i < 4; i++)
			unlink(path_of(((const char *const[]){"conf", "users", "log", "chap"})[i]));
		rmdir(folder);
	}
	return failed;
}
