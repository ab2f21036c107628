/*
 * daemon/sandbox.c - see daemon/sandbox.h. Every process, once, before it touches a byte from
 * outside.
 *
 * Filters are lists of names (daemon/sandbox_calls.c); a call that is not named raises SIGSYS,
 * whose handler notes the number on a page shared with the parent, and dies of it. The handler can
 * neither be replaced nor survived: the filter forbids sigaction(SIGSYS) with death at once.
 * Arguments are looked at only where calls are rare: the kernel passes the frequent ones by bitmap.
 */
#include "config.h"

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/form.h"
#include "base/log.h"
#include "sandbox_calls.h"

/* ---- the page ------------------------------------------------------------------------------- */

/* A seat for each process that lives: written by itself, read by who waits for it. */
#define SEATS 2048
struct seat {
	_Atomic int32_t pid; /* 0: free */
	uint32_t profile, state;
	_Atomic uint32_t forbidden; /* 1 + the number of the system call; 0: none */
};

static struct {
	struct seat *page; /* NULL: not opened */
	int memfd;
	uint64_t filter; /* that the parent has, see sandbox_legacy; 0: none */
	uint32_t legacy; /* IPC_SANDBOX_ bits that were in force before it was executed anew */
	enum settings_sandbox mode;
	bool seccomp;
	int landlock; /* the kernel's ABI; 0: it has none */
	struct seat *own;
	enum sandbox_profile profile;
} box;

static struct seat *
seat_of(pid_t pid)
{
	for (unsigned i = 0; box.page != NULL && i < SEATS; i++)
		if (atomic_load(&box.page[i].pid) == pid)
			return &box.page[i];
	return NULL;
}

/* A free seat, or with left that of a process that died unobserved. */
static struct seat *
claim(pid_t pid, bool left)
{
	for (unsigned i = 0; i < SEATS; i++) {
		int32_t old = atomic_load(&box.page[i].pid);

		if (old != 0 && (!left || kill(old, 0) == 0 || errno != ESRCH))
			continue;
		if (atomic_compare_exchange_strong(&box.page[i].pid, &old, pid))
			return &box.page[i];
	}
	return NULL;
}

/* For this process. NULL if thousands died and nobody told: then it is confined all the same. */
static struct seat *
take_seat(void)
{
	pid_t pid = getpid();
	struct seat *p = seat_of(pid);

	if (p == NULL)
		p = claim(pid, false);
	if (p == NULL)
		p = claim(pid, true);
	if (p != NULL) {
		p->state = 0;
		atomic_store(&p->forbidden, 0);
	}
	return p;
}

uint32_t
sandbox_of(pid_t pid)
{
	const struct seat *p = seat_of(pid);

	return p != NULL ? p->state : 0;
}

bool
sandbox_next(unsigned *at, struct sandboxed *out)
{
	while (box.page != NULL && *at < SEATS) {
		const struct seat *p = &box.page[(*at)++];

		out->pid = atomic_load(&p->pid);
		out->state = p->state;
		if (out->pid == 0 || p->profile >= SANDBOX_PROFILES)
			continue;
		out->profile = (enum sandbox_profile)p->profile;
		return true;
	}
	return false;
}

const char *
sandbox_forbidden(pid_t pid, char name[SANDBOX_NAME])
{
	struct seat *p = seat_of(pid);
	uint32_t n;
	char *word;

	if (p == NULL)
		return NULL;
	n = atomic_load(&p->forbidden);
	atomic_store(&p->pid, 0);
	if (n == 0)
		return NULL;
	/* what stands there is the word of a process that has misbehaved: a number, no more */
	word = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)(n - 1));
	if (word != NULL)
		snprintf(name, SANDBOX_NAME, "%s", word);
	else
		snprintf(name, SANDBOX_NAME, "%u", n - 1);
	free(word);
	return name;
}

/* ---- the signal ----------------------------------------------------------------------------- */

/* Nobody waits for the parent who could say why. */
static void
last_words(int number)
{
	char line[] = "sallyportd: a system call that is forbidden was tried, number      \n";
	size_t at = sizeof line - 3;

	for (; number > 0 && line[at] == ' '; number /= 10)
		line[at--] = (char)('0' + number % 10);
	if (write(STDERR_FILENO, line, sizeof line - 1) == -1)
		return;
}

static void
on_forbidden(int signal_number, siginfo_t *info, void *context)
{
	(void)context;
	if (box.own != NULL && atomic_load(&box.own->pid) == getpid())
		atomic_store(&box.own->forbidden, (uint32_t)info->si_syscall + 1);
	if (box.profile == SANDBOX_PARENT)
		last_words(info->si_syscall);
	signal(signal_number, SIG_DFL); /* where that is forbidden: dead here already */
	raise(signal_number);
}

static bool
catch_forbidden(void)
{
	struct sigaction a = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	return sigaction(SIGSYS, &a, NULL) == 0 && sigprocmask(SIG_UNBLOCK, &set, NULL) == 0;
}

/* ---- seccomp -------------------------------------------------------------------------------- */

struct filter {
	scmp_filter_ctx at;
	uint32_t refused; /* what becomes of a call that is not allowed */
	int error;
};

static void
add(struct filter *f, uint32_t action, int call, unsigned n, const struct scmp_arg_cmp *args)
{
	int r;

	if (call < 0) /* not on this machine */
		return;
	r = seccomp_rule_add_array(f->at, action, call, n, args);
	if (r < 0 && f->error == 0)
		f->error = -r;
}

static void
allow_if(struct filter *f, int call, struct scmp_arg_cmp a)
{
	add(f, SCMP_ACT_ALLOW, call, 1, &a);
}

static void
allow_both(struct filter *f, int call, struct scmp_arg_cmp a, struct scmp_arg_cmp b)
{
	add(f, SCMP_ACT_ALLOW, call, 2, (struct scmp_arg_cmp[]){a, b});
}

static void
add_list(struct filter *f, uint32_t action, const int *calls)
{
	for (; *calls != SANDBOX_END; calls++)
		add(f, action, *calls, 0, NULL);
}

#ifdef SANITIZED
static void
allow_memory(struct filter *f)
{
	add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0, NULL);
	add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 0, NULL);
}
#else
/* No page is ever writable and executable, and none that was the one becomes the other. Libraries
 * that are opened late (NSS, OpenSSL's providers) are mapped as they are. */
static void
allow_memory(struct filter *f)
{
	allow_if(f, SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	allow_both(f, SCMP_SYS(mmap),
		   SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC),
		   SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, 0));
	allow_if(f, SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}
#endif

/* For reading only: what is written goes to descriptors that were handed over. */
static void
allow_open(struct filter *f)
{
#ifdef SANITIZED /* reports are written at the end */
	add(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 0, NULL);
	add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 0, NULL);
#else
	const scmp_datum_t bits = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;

	allow_if(f, SCMP_SYS(open), SCMP_A1(SCMP_CMP_MASKED_EQ, bits, O_RDONLY));
	allow_if(f, SCMP_SYS(openat), SCMP_A2(SCMP_CMP_MASKED_EQ, bits, O_RDONLY));
#endif
}

/* Streams are those of other servers, and of our own control socket: whom a client has taken shall not
 * ask there. An error, not the end: the C library tries one where it finds no log. */
static void
allow_log(struct filter *f)
{
	const scmp_datum_t type = 0xf; /* the rest of the argument are flags */

	if (f->refused == SCMP_ACT_LOG) {
		allow_if(f, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
		return;
	}
	allow_both(f, SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
		   SCMP_A1(SCMP_CMP_MASKED_EQ, type, SOCK_DGRAM));
	add(f, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 2,
	    (struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
				    SCMP_A1(SCMP_CMP_MASKED_EQ, type, SOCK_STREAM)});
}

static void
allow_sockets(struct filter *f, unsigned families)
{
	static const struct {
		unsigned bit;
		int family;
	} all[] = {{SANDBOX_UNIX, AF_UNIX},
		   {SANDBOX_INET, AF_INET},
		   {SANDBOX_INET, AF_INET6},
		   {SANDBOX_NETLINK, AF_NETLINK}};

	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		if ((families & all[i].bit) != 0)
			allow_if(f, SCMP_SYS(socket),
				 SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)all[i].family));
	if ((families & SANDBOX_LOG) != 0)
		allow_log(f);
}

/* Of the process itself only: to abort, and to be told of in the log by its own handler. */
static void
allow_signals(struct filter *f)
{
	scmp_datum_t self = (scmp_datum_t)getpid();

	allow_if(f, SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, self));
	allow_if(f, SCMP_SYS(kill), SCMP_A0(SCMP_CMP_EQ, self));
	/* the handler of SIGSYS is the last word */
	allow_if(f, SCMP_SYS(rt_sigaction), SCMP_A0(SCMP_CMP_NE, SIGSYS));
	if (f->refused != SCMP_ACT_LOG)
		add(f, SCMP_ACT_KILL_PROCESS, SCMP_SYS(rt_sigaction), 1,
		    (struct scmp_arg_cmp[]){SCMP_A0(SCMP_CMP_EQ, SIGSYS)});
}

static void
allow_prctl(struct filter *f)
{
	for (const int *o = sandbox_prctl; *o != SANDBOX_END; o++)
		allow_if(f, SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)*o));
}

static void
allow_ioctl(struct filter *f)
{
	for (const unsigned long *o = sandbox_ioctl; *o != 0; o++)
		allow_if(f, SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)*o));
}

#define A_THREAD (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)
static void
allow_threads(struct filter *f)
{
	/* clone3 hides its flags in memory; the C library takes this for an old kernel, and uses
	 * clone */
	add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL);
	allow_if(f, SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, A_THREAD, A_THREAD));
}

static void
name_allowed(struct filter *f, const struct sandbox_rules *r)
{
	allow_memory(f);
	allow_signals(f);
	allow_prctl(f);
	allow_ioctl(f);
	/* asking for limits, of oneself; setting them is over */
	allow_both(f, SCMP_SYS(prlimit64), SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0));
	if (r->opens && !r->writes)
		allow_open(f);
	if (r->writes) {
		add(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 0, NULL);
		add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 0, NULL);
	}
	allow_sockets(f, r->sockets);
	if (r->threads)
		allow_threads(f);
	for (size_t i = 0; i < SANDBOX_LISTS && r->calls[i] != NULL; i++)
		add_list(f, SCMP_ACT_ALLOW, r->calls[i]);
#ifdef SANITIZED
	add_list(f, SCMP_ACT_ALLOW, sandbox_sanitizers);
#endif
}

static int
load(const struct sandbox_rules *r)
{
	bool log = box.mode == SETTINGS_SANDBOX_LOG;
	struct filter f = {.refused = log ? SCMP_ACT_LOG : SCMP_ACT_TRAP};

	f.at = seccomp_init(r->all_but ? SCMP_ACT_ALLOW : f.refused);
	if (f.at == NULL)
		return ENOMEM;
	seccomp_attr_set(f.at, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	seccomp_attr_set(f.at, SCMP_FLTATR_CTL_NNP, 0); /* is set where it shall be */
	seccomp_attr_set(f.at, SCMP_FLTATR_CTL_LOG, 1);
	/* No foreign code runs here, and what old kernels add against it would slow every call. */
	seccomp_attr_set(f.at, SCMP_FLTATR_CTL_SSB, 1);
	seccomp_attr_set(f.at, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r->all_but)
		add_list(&f, f.refused, r->calls[0]);
	else
		name_allowed(&f, r);
	if (f.error == 0)
		f.error = -seccomp_load(f.at);
	seccomp_release(f.at);
	return f.error;
}

/* ---- Landlock ------------------------------------------------------------------------------- */

/* The kernel's own structures: the headers of a distribution may be older than its kernel. */
struct ruleset {
	uint64_t files, net, scopes;
};
struct __attribute__((packed)) beneath {
	uint64_t allowed;
	int32_t folder;
};
#define RULE_BENEATH 1
#define VERSION_ASKED 1

enum {
	FILES_READ = 1 << 2 | 1 << 3, /* files and folders */
	FILES_EXECUTE = 1 << 0,
	FILES_FIRST = (1 << 13) - 1, /* ABI 1 */
	FILES_REFER = 1 << 13,       /* 2 */
	FILES_TRUNCATE = 1 << 14,    /* 3 */
	FILES_DEVICE = 1 << 15,      /* 5: ioctl */
	/* read, write, remove, make, truncate a file */
	FILES_CACHE = FILES_READ | 1 << 1 | 1 << 5 | 1 << 8 | FILES_TRUNCATE,
	NET_TCP = 1 << 0 | 1 << 1,   /* 4: bind, connect */
	SCOPE_ALL = 1 << 0 | 1 << 1, /* 6: abstract sockets, signals */
};

static int
landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_ASKED);

	return abi > 0 && abi < 256 ? (int)abi : 0;
}

static uint64_t
files_handled(void)
{
	uint64_t all = FILES_FIRST;

#ifdef SANITIZED /* reports are written where nobody knows here */
	return FILES_EXECUTE;
#endif
	if (box.landlock >= 2)
		all |= FILES_REFER;
	if (box.landlock >= 3)
		all |= FILES_TRUNCATE;
	if (box.landlock >= 5)
		all |= FILES_DEVICE;
	return all;
}

/* A folder that this machine does not have need not be open. */
static bool
leave_open(int rules, const char *path, uint64_t allowed)
{
	struct beneath b = {.allowed = allowed};
	bool ok;

	b.folder = open(path, O_PATH | O_CLOEXEC);
	if (b.folder == -1 || b.allowed == 0) {
		if (b.folder != -1)
			close(b.folder);
		return true;
	}
	ok = syscall(SYS_landlock_add_rule, rules, RULE_BENEATH, &b, 0) == 0;
	if (!ok && errno == EINVAL) { /* a file: it has no entries to be read */
		b.allowed &= ~(uint64_t)(1 << 3);
		ok = syscall(SYS_landlock_add_rule, rules, RULE_BENEATH, &b, 0) == 0;
	}
	close(b.folder);
	return ok;
}

/* As libkrb5 finds it. */
static const char *
replay_cache(void)
{
	const char *folder = getenv("KRB5RCACHEDIR");

	return folder != NULL ? folder : "/var/tmp";
}

static int
shut(const struct sandbox_rules *r)
{
	struct ruleset handled = {.files = files_handled()};
	size_t size = sizeof handled.files;
	int rules, error = 0;

	if (box.landlock >= 4) {
		handled.net = r->tcp ? 0 : NET_TCP;
		size = offsetof(struct ruleset, scopes);
	}
	if (box.landlock >= 6) {
		handled.scopes = SCOPE_ALL;
		size = sizeof handled;
	}
	rules = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
	if (rules == -1)
		return errno;
	for (size_t i = 0; i < SANDBOX_FOLDERS && r->reads[i] != NULL; i++)
		if (!leave_open(rules, r->reads[i], handled.files & FILES_READ))
			error = errno;
	if (r->writes && !leave_open(rules, replay_cache(), handled.files & FILES_CACHE))
		error = errno;
	if (error == 0 && syscall(SYS_landlock_restrict_self, rules, 0) != 0)
		error = errno;
	close(rules);
	return error;
}

/* ---- all of it ------------------------------------------------------------------------------ */

#define PAGE_BYTES (SEATS * sizeof(struct seat))

static bool
open_page(int memfd)
{
	static const uint32_t trap = SECCOMP_RET_TRAP;

	box.memfd = memfd;
	box.page = memfd != -1
		       ? mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0)
		       : MAP_FAILED;
	if (box.page == MAP_FAILED) {
		box.page = NULL;
		log_error("no memory for the sandbox: %s", strerror(errno));
		return false;
	}
	box.seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &trap) == 0;
	box.landlock = landlock_abi();
	return true;
}

bool
sandbox_open(void)
{
	int fd = memfd_create("sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd != -1 && (ftruncate(fd, PAGE_BYTES) == -1 ||
			 fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)) {
		close(fd);
		fd = -1;
	}
	return open_page(fd);
}

struct sandbox_legacy
sandbox_legacy(void)
{
	return (struct sandbox_legacy){box.memfd, sandbox_of(getpid()), box.filter};
}

bool
sandbox_adopt(const struct sandbox_legacy *l)
{
	struct stat st;

	if (fstat(l->page, &st) == -1 || st.st_size != PAGE_BYTES) {
		log_error("the sandbox's page that was handed over is none");
		return false;
	}
	box.filter = l->filter;
	box.legacy = l->state;
	return open_page(l->page);
}

uint64_t
sandbox_form(void)
{
	uint64_t form = form_add(FORM_BEGIN, SEATS);

	form = form_add(form, sizeof(struct seat));
	form = form_add(form, offsetof(struct seat, state));
	form = form_add(form, offsetof(struct seat, forbidden));
	return form_add(form, SANDBOX_PROFILES);
}

void
sandbox_mode(enum settings_sandbox mode)
{
	box.mode = mode;
}

void
sandbox_warn(void)
{
	if (box.mode == SETTINGS_SANDBOX_OFF)
		log_warning("the sandbox is off (setting 'sandbox')");
	if (box.mode == SETTINGS_SANDBOX_LOG)
		log_warning("the sandbox only logs (setting 'sandbox')");
	if (box.mode == SETTINGS_SANDBOX_OFF)
		return;
	if (!box.seccomp)
		log_warning("this kernel has no seccomp: system calls are not confined");
	if (box.landlock == 0)
		log_warning("this kernel has no Landlock: files are confined by their modes only");
}

static uint32_t
rights_now(void)
{
	uint32_t state = 0;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		state |= IPC_SANDBOX_NO_NEW_PRIVS;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0)
		state |= IPC_SANDBOX_NO_DUMP;
	return state;
}

/* Who never forks shall not be able to. */
static void
no_children(const struct sandbox_rules *r)
{
#ifdef SANITIZED
	(void)r; /* the leak check does */
#else
	static const struct rlimit none = {0, 0};

	if (!r->all_but && !r->threads)
		setrlimit(RLIMIT_NPROC, &none);
#endif
}

/* Without root a filter costs the right to execute programs with rights of their own, on which
 * PAM's modules depend then (unix_chkpwd): those who may run them go without. */
static bool
can_filter(const struct sandbox_rules *r)
{
	if (!box.seccomp)
		return false;
	if (geteuid() == 0 || !r->all_but)
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

/* The parent's list and what becomes of a call that stands there. */
static uint64_t
filter_of(const struct sandbox_rules *r)
{
	uint64_t form = form_add(FORM_BEGIN, box.mode);

	for (const int *call = r->calls[0]; *call != SANDBOX_END; call++)
		form = form_add(form, (uint64_t)(int64_t)*call);
	return form;
}

/* An error, 0: the filter is in force, be it that it was already. */
static int
load_once(enum sandbox_profile profile, const struct sandbox_rules *r)
{
	int error;

	if (profile != SANDBOX_PARENT)
		return load(r);
	if (box.filter == filter_of(r))
		return 0;
	if ((error = load(r)) == 0)
		box.filter = filter_of(r);
	return error;
}

static uint32_t
seccomp_bit(void)
{
	return box.mode == SETTINGS_SANDBOX_LOG ? IPC_SANDBOX_SECCOMP_LOG : IPC_SANDBOX_SECCOMP;
}

bool
sandbox_enter(enum sandbox_profile profile)
{
	const struct sandbox_rules *r = &sandbox_rules[profile];
	uint32_t state = 0;
	int error = 0;

	if (box.page == NULL)
		return true;
	box.profile = profile;
	if ((box.own = take_seat()) != NULL)
		box.own->profile = profile;
	if (box.mode != SETTINGS_SANDBOX_OFF) {
		no_children(r);
		if (box.mode == SETTINGS_SANDBOX_ON && box.landlock > 0 && !r->all_but) {
			if ((error = shut(r)) == 0)
				state |= IPC_SANDBOX_LANDLOCK | (uint32_t)box.landlock << 8;
			else
				log_error("cannot confine by Landlock: %s", strerror(error));
		}
		if (error == 0 && can_filter(r)) {
			/* the filter of the parent is theirs already: one is enough */
			if (profile != SANDBOX_NURSERY && profile != SANDBOX_CHECKER_PAM &&
			    (!catch_forbidden() || (error = load_once(profile, r)) != 0))
				log_error("cannot confine by seccomp: %s", strerror(error));
			else
				state |= seccomp_bit();
		}
	}
	if (profile == SANDBOX_PARENT && box.filter != 0) /* the setting cannot take it away */
		state |= box.legacy & (IPC_SANDBOX_SECCOMP | IPC_SANDBOX_SECCOMP_LOG);
	if (box.own != NULL)
		box.own->state = state | rights_now();
	return error == 0;
}

const char *
sandbox_word(enum sandbox_profile profile)
{
	return sandbox_rules[profile].word;
}
