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

#include "auth/auth.h"
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
		   "rules: { %s all: { action = \"allow\"; from = \"loopback\"; to = \"any\" } }\n",
		   settings, policy,
		   policy[0] != '\0'
		       ? "some: { action = \"deny\"; who = [ \"@some\", \"@more\" ]; to = \"any\" }"
		       : "");
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

static const char *
auth(const char *fmt, ...)
{
	static char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return text;
}

static void
test_chap(void)
{
	static const char challenge[] = "a challenge \0 of bytes";
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct question q = {.kind = ASK_CHAP,
			     .methods = AUTH_CHAP,
			     .user = "ann",
			     .token = challenge,
			     .token_len = sizeof challenge,
			     .secret = (const char *)digest,
			     .secret_len = 16};
	const struct ipc_auth_answer *a;
	unsigned len;

	write_file("chap", 0600, "# secrets may hold ':' and blanks\nann:s: cret \n");
	start(auth("auth: { chap: { path = \"%s\" }; %s }", path_of("chap"), QUICK), "");
	HMAC(EVP_md5(), "s: cret ", 8, (const unsigned char *)challenge, sizeof challenge, digest,
	     &len);
	ask(1, &q);
	a = answer();
	CU_ASSERT_EQUAL(a->result, ANSWER_OK);
	CU_ASSERT_EQUAL(a->proven_by, AUTH_CHAP);
	digest[15] ^= 1;
	ask(2, &q);
	a = answer();
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(a->reason, REASONED_WRONG_SECRET);
	digest[15] ^= 1;
	q.secret_len = 15; /* a part of it */
	ask(3, &q);
	CU_ASSERT_EQUAL(answer()->result, ANSWER_REFUSED);
	q.secret_len = 16;
	q.user = "bob";
	ask(4, &q);
	a = answer();
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(a->reason, REASONED_UNKNOWN_USER);
	/* a file of secrets is its owner's alone */
	write_file("chap", 0640, "ann:other\n");
	for (int i = 0; i < 1000 && !log_has("it must have mode 0600"); i++)
		poll(NULL, 0, 20);
	q.user = "ann";
	ask(5, &q);
	CU_ASSERT_EQUAL(answer()->result, ANSWER_OK);
	stop();
}

static void
test_groups(void)
{
	const struct ipc_auth_answer *a;
	struct passwd *pw = getpwnam("root");
	struct group *g = getgrgid(pw->pw_gid);
	const char *groups;

	write_file("users", 0600, "root:%s\nann:%s\n", hash_of("secret"), hash_of("secret"));
	start(with_file(QUICK),
	      "groups: { some = [ \"unix:root\", \"unix:no-such-group\", \"unix:nogroup\" ];\n"
	      "more = [ \"unix:root\", \"bob\" ]; unused = [ \"unix:daemon\" ] }");
	a = try("root", "secret", AUTH_FILE);
	CU_ASSERT_EQUAL(a->result, ANSWER_OK);
	CU_ASSERT_EQUAL(a->groups_failed, 0);
	CU_ASSERT_EQUAL(a->group_count, 1);
	groups = (const char *)(a + 1) + a->user_len;
	CU_ASSERT_EQUAL(a->groups_len, strlen(g->gr_name) + 1);
	CU_ASSERT_STRING_EQUAL(groups, g->gr_name);
	a = try("ann", "secret", AUTH_FILE); /* no account of this machine */
	CU_ASSERT_EQUAL(a->result, ANSWER_OK);
	CU_ASSERT_EQUAL(a->groups_failed, 0);
	CU_ASSERT_EQUAL(a->group_count, 0);
	ask(9, &(struct question){.kind = ASK_GROUPS, .user = "root"});
	a = answer();
	CU_ASSERT_EQUAL(a->result, ANSWER_OK);
	CU_ASSERT_EQUAL(a->proven_by, 0);
	CU_ASSERT_EQUAL(a->group_count, 1);
	stop();
}

/* Groups that nobody named are not looked up, and no process is there for it. */
static void
test_groups_unnamed(void)
{
	write_file("users", 0600, "root:%s\n", hash_of("secret"));
	start(with_file(QUICK), "");
	ask(9, &(struct question){.kind = ASK_GROUPS, .user = "root"});
	CU_ASSERT_EQUAL(answer()->group_count, 0);
	stop();
}

/* ---- PAM ------------------------------------------------------------------ */

/* A real service of real modules: pam_exec runs what we write. */
static void
write_service(const char *auth_script, const char *account)
{
	write_file("script", 0755, "#!/bin/sh\n%s\n", auth_script);
	write_file("sallyport-test", 0644,
		   "auth required pam_exec.so expose_authtok quiet %s\naccount required %s\n",
		   path_of("script"), account);
}

#define READ_PASSWORD "read -r word\n"
#define ONLY_SECRET READ_PASSWORD "test \"$word\" = secret && test \"$PAM_RHOST\" = 192.0.2.7"

static const char *
with_pam(const char *more)
{
	return auth("auth: { pam: { service = \"sallyport-test\" }; %s }", more);
}

static void
test_pam(void)
{
	const struct ipc_auth_answer *a;

	write_service(ONLY_SECRET, "pam_permit.so");
	start(with_pam(QUICK), "");
	a = try("ann", "secret", AUTH_PAM | AUTH_FILE);
	CU_ASSERT_EQUAL(a->result, ANSWER_OK);
	CU_ASSERT_EQUAL(a->proven_by, AUTH_PAM);
	a = try("ann", "wrong", AUTH_PAM);
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(try("ann", "", AUTH_PAM)->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(try("ann", "secret", AUTH_FILE)->result, ANSWER_UNAVAILABLE);
	ask(7, &(struct question){.kind = ASK_PASSWORD,
				  .methods = AUTH_PAM,
				  .user = "ann",
				  .secret = "secret\0behind",
				  .secret_len = 13});
	CU_ASSERT_EQUAL(answer()->result, ANSWER_REFUSED);
	/* the right password, and an account that may not be used */
	write_service(ONLY_SECRET, "pam_deny.so");
	a = try("ann", "secret", AUTH_PAM);
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	/* the service goes away: nobody is taken, and nobody is counted for it */
	unlink(path_of("sallyport-test"));
	a = try("ann", "secret", AUTH_PAM);
	CU_ASSERT_EQUAL(a->result, ANSWER_UNAVAILABLE);
	CU_ASSERT(log_has("there is no such service"));
	stop();
}

/* Two modules that share the password. */
static void
test_pam_modules(void)
{
	write_service(READ_PASSWORD "test \"$word\" = secret", "pam_permit.so");
	write_file("sallyport-test", 0644,
		   "auth required pam_exec.so expose_authtok quiet %s\n"
		   "auth required pam_exec.so expose_authtok quiet %s\n"
		   "account required pam_permit.so\n",
		   path_of("script"), path_of("script"));
	start(with_pam(QUICK), "");
	CU_ASSERT_EQUAL(try("ann", "secret", AUTH_PAM)->result, ANSWER_OK);
	CU_ASSERT_EQUAL(try("ann", "other", AUTH_PAM)->result, ANSWER_REFUSED);
	stop();
}

/* What a module may be told: the password at the first prompt without echo, and nothing else. */
static void
test_pam_questions(void)
{
	static const char *const questions[] = {"p", "ixpx", "pp", "pe", "e", "ep", "2", "pppp"};

	start(with_pam(QUICK), "");
	for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
		write_file("sallyport-test", 0644,
			   "auth required " PAM_ASKS " %s\naccount required pam_permit.so\n",
			   questions[i]);
		CHECK_ROW(try("ann", "secret", AUTH_PAM)->result == ANSWER_OK, questions[i]);
	}
	write_file("sallyport-test", 0644,
		   "auth required " PAM_ASKS " p\naccount required pam_permit.so\n");
	CU_ASSERT_EQUAL(try("ann", "other", AUTH_PAM)->result, ANSWER_REFUSED);
	stop();
}

static bool
running(unsigned number) /* sleep NUMBER.PID; the brackets keep the shell's own line out */
{
	char command[100];

	snprintf(command, sizeof command, "pgrep -f '[s]leep %u.%d' > /dev/null", number,
		 (int)getpid());
	return system(command) == 0;
}

/* A module that hangs for one user: others go on, the file goes on, its process and what it has
 * started are ended, and the next ones are served. */
static void
test_pam_hangs(void)
{
	const struct ipc_auth_answer *a;
	char command[300];

	write_file("users", 0600, "bob:%s\n", hash_of("secret"));
	snprintf(command, sizeof command,
		 READ_PASSWORD "case $PAM_USER in slow*) exec sleep 3456.%d ;; esac\n"
			       "test \"$word\" = secret",
		 (int)getpid());
	write_service(command, "pam_permit.so");
	start(auth("auth: { pam: { service = \"sallyport-test\" }; file: { path = \"%s\" };"
		   " helpers = 4; timeout = \"1 s\"; %s }",
		   path_of("users"), QUICK),
	      "");
	for (uint64_t i = 1; i <= 3; i++) /* two may run, half of the pool; the third waits */
		ask(i, &(struct question){.kind = ASK_PASSWORD,
					  .methods = AUTH_PAM,
					  .user = "slow",
					  .secret = "secret"});
	CU_ASSERT_EQUAL(try("bob", "secret", AUTH_FILE)->result, ANSWER_OK);
	ask(20, &(struct question){.kind = ASK_PASSWORD,
				   .methods = AUTH_PAM,
				   .user = "ann",
				   .secret = "secret",
				   .from = "192.0.2.8"});
	a = answer(); /* before any of the slow */
	CU_ASSERT_EQUAL(a->ticket, 20);
	CU_ASSERT_EQUAL(a->result, ANSWER_OK);
	for (unsigned i = 0, seen = 0; i < 3; i++) {
		a = answer();
		CU_ASSERT_EQUAL(a->result, ANSWER_UNAVAILABLE);
		CU_ASSERT_EQUAL(a->reason, REASONED_TIMEOUT);
		CU_ASSERT(a->ticket >= 1 && a->ticket <= 3 && !(seen & 1u << a->ticket));
		seen |= 1u << a->ticket;
	}
	CU_ASSERT_EQUAL(try("ann", "secret", AUTH_PAM)->result, ANSWER_OK);
	for (int i = 0; i < 500 && running(3456); i++)
		poll(NULL, 0, 20);
	CU_ASSERT_FALSE(running(3456));
	stop();
}

/* ---- limits --------------------------------------------------------------- */

static void
test_queue(void)
{
	unsigned results[5] = {0};

	write_service(READ_PASSWORD "exec sleep 60", "pam_permit.so");
	start(with_pam("helpers = 1; queue = 2; timeout = \"700 ms\";" QUICK), "");
	for (uint64_t i = 1; i <= 10; i++) {
		char user[8];

		snprintf(user, sizeof user, "u%u", (unsigned)i);
		ask(i, &(struct question){.kind = ASK_PASSWORD,
					  .methods = AUTH_PAM,
					  .user = user,
					  .secret = "secret"});
	}
	for (unsigned i = 0; i < 10; i++) {
		const struct ipc_auth_answer *a = answer();

		CU_ASSERT_EQUAL(a->result, ANSWER_UNAVAILABLE);
		results[a->reason == REASONED_BUSY ? 0 : a->reason == REASONED_TIMEOUT ? 1 : 2]++;
	}
	CU_ASSERT(results[0] >= 7); /* two wait, at most one more runs */
	CU_ASSERT(results[1] >= 2);
	CU_ASSERT_EQUAL(results[2], 0);
	CU_ASSERT(log_has("more are refused"));
	stop();
}

static void
test_forget(void)
{
	struct ipc_auth_forget one = {2};

	write_service(READ_PASSWORD "case $PAM_USER in slow*) sleep 1 ;; esac\n"
				    "test \"$word\" = secret",
		      "pam_permit.so");
	start(with_pam("helpers = 1;" QUICK), "");
	for (uint64_t i = 1; i <= 3; i++)
		ask(i, &(struct question){.kind = ASK_PASSWORD,
					  .methods = AUTH_PAM,
					  .user = i == 1 ? "slow" : "ann",
					  .secret = "secret"});
	CU_ASSERT(channel_send(&worker, IPC_AUTH_FORGET, &one, sizeof one, NULL, 0));
	CU_ASSERT_EQUAL(answer()->ticket, 1);
	CU_ASSERT_EQUAL(answer()->ticket, 3);
	/* a worker that dies, and its successor: what the first had asked reaches nobody */
	ask(4, &(struct question){
		   .kind = ASK_PASSWORD, .methods = AUTH_PAM, .user = "slow", .secret = "secret"});
	join_worker();
	ask(5, &(struct question){
		   .kind = ASK_PASSWORD, .methods = AUTH_PAM, .user = "ann", .secret = "secret"});
	CU_ASSERT_EQUAL(answer()->ticket, 5);
	stop();
}

static void
test_lockout(void)
{
	const struct ipc_auth_answer *a;

	write_file("users", 0600, "ann:%s\nbob:%s\n", hash_of("secret"), hash_of("secret"));
	start(with_file("failure-delay = \"10 ms\";"
			"lockout: { failures = 3; source-failures = 5; for = \"3 s\" }"),
	      "");
	CU_ASSERT_EQUAL(try("ann", "x", AUTH_FILE)->locked, 0);
	CU_ASSERT_EQUAL(try("ann", "x", AUTH_FILE)->locked, 0);
	a = try("ann", "x", AUTH_FILE);
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(a->locked, 1);
	CU_ASSERT(log_has("from '192.0.2.7': wrong password, locked out from now on"));
	a = try("ann", "secret", AUTH_FILE); /* right, and too late */
	CU_ASSERT_EQUAL(a->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(a->reason, REASONED_LOCKED_OUT);
	CU_ASSERT_EQUAL(a->locked, 0);
	CU_ASSERT_EQUAL(try("bob", "secret", AUTH_FILE)->result, ANSWER_OK);
	CU_ASSERT_EQUAL(try("who", "x", AUTH_FILE)->locked, 0);
	CU_ASSERT_EQUAL(try("who2", "x", AUTH_FILE)->locked, 1); /* the source: five */
	CU_ASSERT_EQUAL(try("bob", "secret", AUTH_FILE)->result, ANSWER_REFUSED);
	ask(8, &(struct question){.kind = ASK_PASSWORD,
				  .methods = AUTH_FILE,
				  .user = "bob",
				  .secret = "secret",
				  .from = "192.0.2.9"});
	CU_ASSERT_EQUAL(answer()->result, ANSWER_OK);
	CU_ASSERT(soon("ann", "secret", AUTH_FILE, ANSWER_OK)); /* it ends by itself */
	stop();
}

/* Whatever made it fail: not before the delay. */
static void
test_delay(void)
{
	static const char *const users[] = {"ann", "nobody", "", "ann\x01"};

	write_file("users", 0600, "ann:%s\n", hash_of("secret"));
	start(
	    with_file("failure-delay = \"300 ms\"; lockout: { failures = 0; source-failures = 0 }"),
	    "");
	for (unsigned i = 0; i < 4; i++) {
		int64_t from = clock_mono_ns();

		CU_ASSERT_EQUAL(try(users[i], "wrong", AUTH_FILE)->result, ANSWER_REFUSED);
		CU_ASSERT(clock_mono_ns() - from >= 295 * NS_PER_MS);
	}
	stop();
}

static void
test_cache(void)
{
	char command[300];
	struct stat st;

	snprintf(command, sizeof command, "echo x >> %s\n" READ_PASSWORD "test \"$word\" = secret",
		 path_of("count"));
	write_service(command, "pam_permit.so");
	start(with_pam("cache = \"1 h\";" QUICK), "");
	for (int i = 0; i < 5; i++)
		CU_ASSERT_EQUAL(try("ann", "secret", AUTH_PAM)->result, ANSWER_OK);
	CU_ASSERT_EQUAL(try("ann", "wrong", AUTH_PAM)->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(try("ann", "wrong", AUTH_PAM)->result, ANSWER_REFUSED);
	CU_ASSERT_EQUAL(try("ann", "secret", AUTH_PAM)->result, ANSWER_OK);
	CU_ASSERT_EQUAL(stat(path_of("count"), &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 2 * 3); /* once good, twice bad */
	stop();
	/* of the file: with a new hash the old password is forgotten */
	write_file("users", 0600, "ann:%s\n", hash_of("one"));
	start(with_file("cache = \"1 h\";" QUICK), "");
	CU_ASSERT_EQUAL(try("ann", "one", AUTH_FILE)->result, ANSWER_OK);
	CU_ASSERT_EQUAL(try("ann", "one", AUTH_FILE)->result, ANSWER_OK);
	write_file("users", 0600, "ann:%s\n", hash_of("two"));
	CU_ASSERT(soon("ann", "two", AUTH_FILE, ANSWER_OK));
	CU_ASSERT_EQUAL(try("ann", "one", AUTH_FILE)->result, ANSWER_REFUSED);
	stop();
}

/* Many checks: checkers are replaced, nobody notices. New settings: the same. */
static void
test_renewal(void)
{
	write_file("users", 0600, "ann:*\n");
	start(with_file("helpers = 1;" QUICK), "");
	for (int i = 0; i < 20; i++)
		CU_ASSERT_EQUAL(try("ann", "x", AUTH_FILE)->result, ANSWER_REFUSED);
	write_service(READ_PASSWORD "test \"$word\" = secret", "pam_permit.so");
	send_images(with_pam(QUICK), "");
	CU_ASSERT(soon("ann", "secret", AUTH_PAM, ANSWER_OK));
	CU_ASSERT_EQUAL(try("ann", "x", AUTH_FILE)->result, ANSWER_UNAVAILABLE);
	stop();
}

/* The front is killed: the nursery and all checkers go with it. */
static void
test_killed(void)
{
	char command[300];

	snprintf(command, sizeof command, READ_PASSWORD "exec sleep 7654.%d", (int)getpid());
	write_service(command, "pam_permit.so");
	start(with_pam(QUICK), "");
	ask(1, &(struct question){
		   .kind = ASK_PASSWORD, .methods = AUTH_PAM, .user = "ann", .secret = "secret"});
	for (int i = 0; i < 500 && !running(7654); i++)
		poll(NULL, 0, 20);
	kill(process, SIGKILL);
	waitpid(process, NULL, 0);
	for (int i = 0; i < 500 && running(7654); i++)
		poll(NULL, 0, 20);
	CU_ASSERT_FALSE(running(7654));
	close(parent.fd);
	close(worker.fd);
	worker.fd = -1;
}

/* A worker that sends what is not legal is not heard any more; others are. */
static void
test_illegal(void)
{
	struct ipc_head bad = {IPC_POLICY, 0, 0};
	struct pollfd p;

	write_file("users", 0600, "ann:%s\n", hash_of("secret"));
	start(with_file(QUICK), "");
	CU_ASSERT_EQUAL(write(worker.fd, &bad, sizeof bad), (ssize_t)sizeof bad);
	p = (struct pollfd){.fd = worker.fd, .events = POLLIN};
	CU_ASSERT_EQUAL(poll(&p, 1, PATIENCE_MS), 1);
	CU_ASSERT_EQUAL(channel_receive(&worker, &m), 0);
	join_worker();
	CU_ASSERT_EQUAL(try("ann", "secret", AUTH_FILE)->result, ANSWER_OK);
	stop();
}

static CU_TestInfo tests[] = {
    {"file", test_file},
    {"file changes", test_file_changes},
    {"file missing", test_file_missing},
    {"chap", test_chap},
    {"groups", test_groups},
    {"groups that nobody named", test_groups_unnamed},
    {"pam", test_pam},
    {"pam with two modules", test_pam_modules},
    {"questions of pam", test_pam_questions},
    {"pam hangs", test_pam_hangs},
    {"a full queue", test_queue},
    {"forgotten", test_forget},
    {"lock-out", test_lockout},
    {"delay of failures", test_delay},
    {"good passwords remembered", test_cache},
    {"renewal", test_renewal},
    {"killed", test_killed},
    {"illegal", test_illegal},
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
	check_pam_folder(folder);
	failed = suite_run("authenticator", tests);
	if (failed == 0) {
		static const char *const names[] = {"conf",   "users",          "log",  "chap",
						    "script", "sallyport-test", "count"};

		for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
			unlink(path_of(names[i]));
		rmdir(folder);
	}
	return failed;
}
