/*
 * unit_sandbox.c - the real profiles: a child for each try enters its profile and makes one system
 * call. What is forbidden ends it by SIGSYS under its name; what its process lives on goes through.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

#include "base/log.h"
#include "sandbox.h"

enum { DONE = 0, REFUSED = 1, NOT_CONFINED = 2 };

#define ALL_BUT (1u << SANDBOX_PARENT | 1u << SANDBOX_NURSERY | 1u << SANDBOX_CHECKER_PAM)
#define ALL ((1u << SANDBOX_PROFILES) - 1)
#define NAMED (ALL & ~ALL_BUT)
#define OF(x) (1u << SANDBOX_##x)
#define WRITES OF(CHECKER_GSSAPI) /* the replay cache */

/* ---- tries: DONE, or REFUSED with errno --------------------------------------------------- */

static int
came(long r)
{
	return r == -1 ? REFUSED : DONE;
}

static int
try_execve(void)
{
	char *const none[] = {NULL};

	return came(execve("/bin/true", none, none));
}

static int
try_fork(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return came(pid);
}

static int
try_ptrace(void)
{
	return came(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int
try_mount(void)
{
	return came(mount("none", "/nowhere", "tmpfs", 0, NULL));
}

static int
try_bpf(void)
{
	return came(syscall(SYS_bpf, 0, NULL, 0));
}

static int
try_module(void)
{
	return came(syscall(SYS_init_module, NULL, 0, ""));
}

static int
try_unshare(void)
{
	return came(syscall(SYS_unshare, 0));
}

static int
try_io_uring(void)
{
	return came(syscall(SYS_io_uring_setup, 0, NULL));
}

static int
try_write_open(void)
{
	return came(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

static int
try_create(void)
{
	return came(open("/tmp/sallyport-unit-sandbox", O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
}

static int
try_unlink(void)
{
	return came(unlink("/nowhere/at-all"));
}

static int
try_rename(void)
{
	return came(rename("/nowhere/a", "/nowhere/b"));
}

static int
try_chmod(void)
{
	return came(chmod("/nowhere/at-all", 0777));
}

static int
try_setuid(void)
{
	return came(setuid(getuid()));
}

static int
try_kill_parent(void)
{
	return came(kill(getppid(), 0));
}

static int
try_packet_socket(void)
{
	return came(socket(AF_PACKET, SOCK_DGRAM, 0));
}

static int
try_tcp_socket(void)
{
	return came(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int
try_unix_socket(void)
{
	return came(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

static int
try_unix_stream(void)
{
	return came(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/* Of a descriptor that there is not: only the filter is asked. */
static int
try_cut(void)
{
	return came(ftruncate(-2, 0) == -1 && errno == EBADF ? 0 : -1);
}

static int
try_write_anywhere(void)
{
	return came(pwrite(-2, "x", 1, 0) == -1 && errno == EBADF ? 0 : -1);
}

static int
try_listen(void)
{
	return came(listen(-2, 1) == -1 && errno == EBADF ? 0 : -1);
}

static int
try_executable_memory(void)
{
	return came(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
			? -1
			: 0);
}

static int
try_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NOT_CONFINED : came(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

/* The last word is not to be taken away. */
static int
try_catch(void)
{
	return came(signal(SIGSYS, SIG_IGN) == SIG_ERR ? -1 : 0);
}

static int
try_core(void)
{
	struct {
		unsigned long soft, hard;
	} more = {4096, 4096};

	return came(syscall(SYS_prlimit64, 0, 4 /* RLIMIT_CORE */, &more, NULL));
}

static int
try_dumpable(void)
{
	return came(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int
try_foreign_memory(void)
{
	return came(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
}

static int
try_tiocsti(void)
{
	return came(syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x"));
}

static int
try_life(void)
{
	char *p = malloc(1 << 20), name[32];
	struct stat st;

	if (p == NULL || getpid() <= 0 || fstat(0, &st) == -1)
		return REFUSED;
	memset(p, 1, 1 << 20);
	free(p);
	prctl(PR_GET_NAME, name);
	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	log_debug("not seen");
	return fcntl(0, F_GETFL) == -1 ? REFUSED : DONE;
}

static int
try_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte;

	return fd == -1 || read(fd, &byte, 1) != 1 ? REFUSED : DONE;
}

static int
try_read_etc(void)
{
	return try_read("/etc/hosts");
}

/* Everybody may read it by its mode. */
static int
try_read_proc(void)
{
	return try_read("/proc/version");
}

static int
try_abstract_socket(void)
{
	struct sockaddr_un at = {AF_UNIX, "\0sallyport-unit-sandbox"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd == -1 ? NOT_CONFINED : came(connect(fd, (struct sockaddr *)&at, 25));
}

static void *
in_thread(void *with)
{
	return with;
}

static int
try_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, in_thread, NULL) != 0)
		return REFUSED;
	return pthread_join(t, NULL) == 0 ? DONE : REFUSED;
}

static int
try_relay(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c, pipes[2];
	int e = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN};
	socklen_t len = sizeof at;

	if (bind(l, (struct sockaddr *)&at, sizeof at) == -1 || listen(l, 1) == -1 ||
	    getsockname(l, (struct sockaddr *)&at, &len) == -1)
		return REFUSED;
	c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if ((connect(c, (struct sockaddr *)&at, sizeof at) == -1 && errno != EINPROGRESS) ||
	    accept4(l, NULL, NULL, SOCK_CLOEXEC) == -1 || pipe2(pipes, O_CLOEXEC) == -1 ||
	    epoll_ctl(e, EPOLL_CTL_ADD, c, &ev) == -1)
		return REFUSED;
	return splice(c, NULL, pipes[1], NULL, 100, SPLICE_F_NONBLOCK) == -1 && errno == EAGAIN
		   ? DONE
		   : REFUSED;
}

/* ---- the table ------------------------------------------------------------------------------ */

#ifdef SANITIZED /* what sanitizers call themselves cannot be tried in their builds */
#define UNLESS_SANITIZED(set) 0
#else
#define UNLESS_SANITIZED(set) (set)
#endif

static const struct row {
	const char *what, *call; /* as it is named by who waits */
	int (*attempt)(void);
	unsigned killed, refused, good; /* sets of profiles; in others it is not tried */
} rows[] = {
    {"life", NULL, try_life, 0, 0, ALL},
    {"mount", "mount", try_mount, ALL, 0, 0},
    {"bpf", "bpf", try_bpf, ALL, 0, 0},
    {"init_module", "init_module", try_module, ALL, 0, 0},
    {"unshare", "unshare", try_unshare, ALL, 0, 0},
    {"io_uring_setup", "io_uring_setup", try_io_uring, ALL, 0, 0},
    {"execve", "execve", try_execve, NAMED, 0, ALL_BUT},
    {"rename", "rename", try_rename, NAMED & ~WRITES, 0, 0},
    {"chmod", "chmod", try_chmod, NAMED, 0, 0},
    {"setuid", "setuid", try_setuid, NAMED, 0, ALL_BUT},
    {"TCP socket", "socket", try_tcp_socket,
     OF(LEDGER) | OF(CONTROL) | OF(AUTHENTICATOR) | OF(CHECKER_FILE), 0,
     OF(WORKER) | OF(FORWARDER) | OF(CHECKER_GROUPS) | WRITES | OF(COMPILE) | ALL_BUT},
    {"packet socket", "socket", try_packet_socket, NAMED, 0, 0},
    {"socket to the log", NULL, try_unix_socket, 0, 0, ALL},
    /* the control socket is one: nobody who hears clients gets there */
    {"stream of Unix", NULL, try_unix_stream, 0,
     OF(WORKER) | OF(LEDGER) | OF(AUTHENTICATOR) | OF(CHECKER_FILE),
     OF(CONTROL) | OF(CHECKER_GROUPS) | WRITES | OF(COMPILE) | ALL_BUT},
    {"a file cut", "ftruncate", try_cut, OF(WORKER) | OF(LEDGER) | OF(AUTHENTICATOR), 0, OF(CONTROL)},
    {"a file written within", "pwrite64", try_write_anywhere,
     OF(WORKER) | OF(LEDGER) | OF(AUTHENTICATOR), 0, OF(CONTROL)},
    {"listen", "listen", try_listen, NAMED & ~OF(WORKER), 0, OF(WORKER) | ALL_BUT},
    {"a relay", NULL, try_relay, 0, 0, OF(WORKER)},
    {"a file that it needs", NULL, try_read_etc, 0, 0, ALL & ~(OF(CHECKER_FILE) | OF(FORWARDER))},
    {"any file", "openat", try_read_etc, UNLESS_SANITIZED(OF(CHECKER_FILE) | OF(FORWARDER)), 0, 0},
    {"ptrace", "ptrace", try_ptrace, UNLESS_SANITIZED(ALL), 0, 0},
    {"process_vm_readv", "process_vm_readv", try_foreign_memory, UNLESS_SANITIZED(ALL), 0, 0},
    {"fork", "clone", try_fork, UNLESS_SANITIZED(NAMED), 0, ALL_BUT},
    {"open to write", "openat", try_write_open, UNLESS_SANITIZED(NAMED & ~WRITES), 0, ALL_BUT},
    {"open to create", "openat", try_create, UNLESS_SANITIZED(NAMED & ~WRITES), 0, 0},
    {"unlink", "unlink", try_unlink, UNLESS_SANITIZED(NAMED & ~WRITES), 0, 0},
    {"signal to the parent", "kill", try_kill_parent, UNLESS_SANITIZED(NAMED), 0, ALL_BUT},
    {"memory to write and to run", "mmap", try_executable_memory, UNLESS_SANITIZED(NAMED), 0, 0},
    {"memory made to run", "mprotect", try_make_executable, UNLESS_SANITIZED(NAMED), 0, 0},
    /* dead before any handler can tell which it was */
    {"no handler of SIGSYS", "", try_catch, UNLESS_SANITIZED(NAMED), 0, 0},
    {"a core", "prlimit64", try_core, UNLESS_SANITIZED(NAMED), 0, 0},
    {"dumpable again", "prctl", try_dumpable, UNLESS_SANITIZED(NAMED), 0, 0},
    {"words for a terminal", "ioctl", try_tiocsti, UNLESS_SANITIZED(NAMED), 0, 0},
    {"a thread", NULL, try_thread, 0, 0, OF(COMPILE) | ALL_BUT},
    /* the C library blocks all signals meanwhile, so none is caught */
    {"a thread", "", try_thread, UNLESS_SANITIZED(NAMED & ~(OF(COMPILE) | OF(CHECKER_FILE) | OF(FORWARDER))), 0, 0},
};

/* Of Landlock: refused with an error, by a kernel that has it. */
static const struct row files[] = {
    {"a file beside", NULL, try_read_proc, 0,
     UNLESS_SANITIZED(OF(WORKER) | OF(LEDGER) | OF(CONTROL) | OF(AUTHENTICATOR)),
     OF(COMPILE) | OF(CHECKER_GROUPS) | WRITES | ALL_BUT},
    {"a file elsewhere", NULL, try_create, 0, UNLESS_SANITIZED(WRITES), 0},
    {"an abstract socket of others", NULL, try_abstract_socket, 0, NAMED, ALL_BUT},
};

/* ---- trying --------------------------------------------------------------------------------- */

static int
attempt(enum sandbox_profile profile, const struct row *r, char call[SANDBOX_NAME])
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(30);
		if (!sandbox_enter(SANDBOX_PARENT) || !sandbox_enter(profile)) /* as it is */
			_exit(NOT_CONFINED);
		_exit(r->attempt());
	}
	if (pid == -1 || waitpid(pid, &status, 0) != pid)
		return -1;
	if (sandbox_forbidden(pid, call) == NULL)
		call[0] = '\0';
	return status;
}

static void
check_rows(const struct row *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (unsigned p = 0; p < SANDBOX_PROFILES; p++) {
			const struct row *r = &list[i];
			char call[SANDBOX_NAME], row[128];
			int status;

			if (((r->killed | r->refused | r->good) & 1u << p) == 0)
				continue;
			status = attempt((enum sandbox_profile)p, r, call);
			snprintf(row, sizeof row, "%s of %s: status %x call '%s'", r->what,
				 sandbox_word((enum sandbox_profile)p), (unsigned)status, call);
			if ((r->killed & 1u << p) != 0) {
				CHECK_ROW(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, row);
				CHECK_ROW(strcmp(call, r->call) == 0, row);
			} else {
				CHECK_ROW(WIFEXITED(status), row);
				CHECK_ROW(WEXITSTATUS(status) ==
					      ((r->refused & 1u << p) != 0 ? REFUSED : DONE),
					  row);
			}
		}
}

static void
each_profile_forbids(void)
{
	check_rows(rows, sizeof rows / sizeof rows[0]);
}

/* Someone outside of all sandboxes whom nobody inside shall reach. */
static void
files_and_neighbours(void)
{
	struct sockaddr_un at = {AF_UNIX, "\0sallyport-unit-sandbox"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	size_t count = sizeof files / sizeof files[0];

	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&at, 25), 0);
	if (abi < 6)
		count--; /* this kernel does not know of neighbours */
	if (abi > 0)
		check_rows(files, count);
	close(fd);
}

static int
hold(void)
{
	char byte;

	return read(STDIN_FILENO, &byte, 1) == 1 ? DONE : REFUSED;
}

/* What a process tells of itself is what the kernel says of it. */
static void
told_is_true(void)
{
	for (unsigned p = 0; p < SANDBOX_PROFILES; p++) {
		int fds[2], ready[2], status;
		char path[64], text[4096] = "", byte = 0, call[SANDBOX_NAME];
		struct sandboxed s = {0};
		unsigned at = 0;
		FILE *file;
		pid_t pid;

		CU_ASSERT_FATAL(pipe(fds) == 0 && pipe(ready) == 0);
		pid = fork();
		if (pid == 0) {
			dup2(fds[0], STDIN_FILENO);
			if (!sandbox_enter((enum sandbox_profile)p) || write(ready[1], "", 1) != 1)
				_exit(NOT_CONFINED);
			_exit(hold());
		}
		CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
		snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
		file = fopen(path, "re");
		CU_ASSERT_FATAL(file != NULL);
		CU_ASSERT(fread(text, 1, sizeof text - 1, file) > 0);
		fclose(file);
		while (sandbox_next(&at, &s) && s.pid != pid)
			;
		CU_ASSERT_EQUAL(s.pid, pid);
		CU_ASSERT_EQUAL((unsigned)s.profile, p);
		CU_ASSERT_EQUAL(s.state, sandbox_of(pid));
		CHECK_ROW(((s.state & IPC_SANDBOX_NO_NEW_PRIVS) != 0) ==
			      (strstr(text, "NoNewPrivs:\t1") != NULL),
			  sandbox_word((enum sandbox_profile)p));
		if (p != SANDBOX_NURSERY && p != SANDBOX_CHECKER_PAM) /* theirs is inherited */
			CHECK_ROW(((s.state & IPC_SANDBOX_SECCOMP) != 0) ==
				      (strstr(text, "Seccomp:\t2") != NULL),
				  sandbox_word((enum sandbox_profile)p));
		CU_ASSERT_EQUAL(write(fds[1], "x", 1), 1);
		CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
		CU_ASSERT_EQUAL(status, 0);
		CU_ASSERT(sandbox_forbidden(pid, call) == NULL);
		CU_ASSERT_EQUAL(sandbox_of(pid), 0);
		close(fds[0]);
		close(fds[1]);
		close(ready[0]);
		close(ready[1]);
	}
}

static void
modes(void)
{
	static const struct row mount_row = {.attempt = try_mount};
	char call[SANDBOX_NAME];
	int status;

	sandbox_mode(SETTINGS_SANDBOX_OFF);
	status = attempt(SANDBOX_WORKER, &mount_row, call);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == REFUSED);
	sandbox_mode(SETTINGS_SANDBOX_LOG);
	status = attempt(SANDBOX_WORKER, &mount_row, call);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == REFUSED);
	sandbox_mode(SETTINGS_SANDBOX_ON);
	status = attempt(SANDBOX_WORKER, &mount_row, call);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	CU_ASSERT_STRING_EQUAL(call, "mount");
}

/* The seats of those who died unobserved are taken again. */
static void
seats_come_back(void)
{
	static const struct row nothing = {.attempt = try_life};

	for (int i = 0; i < 2100; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			sandbox_mode(SETTINGS_SANDBOX_OFF);
			_exit(sandbox_enter(SANDBOX_LEDGER) ? 0 : 1);
		}
		if (waitpid(pid, NULL, 0) != pid)
			CU_FAIL("waitpid");
	}
	{
		char call[SANDBOX_NAME];
		static const struct row mount_row = {.attempt = try_mount};

		CU_ASSERT_EQUAL(attempt(SANDBOX_WORKER, &nothing, call), 0);
		attempt(SANDBOX_WORKER, &mount_row, call);
		CU_ASSERT_STRING_EQUAL(call, "mount");
	}
}

int
main(void)
{
	CU_TestInfo tests[] = {{"each profile forbids what it does not name", each_profile_forbids},
			       {"files and neighbours", files_and_neighbours},
			       {"what is told is true", told_is_true},
			       {"modes", modes},
			       {"seats come back", seats_come_back},
			       CU_TEST_INFO_NULL};

	log_open("test", true, LOGLEVEL_ERROR);
	if (!sandbox_open())
		return 1;
	return suite_run("sandbox", tests);
}
