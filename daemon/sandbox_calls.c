/*
 * daemon/sandbox_calls.c - see daemon/sandbox_calls.h. Pure data.
 *
 * What is named here is what the process is seen to call, and what the C library calls in its name
 * on another architecture or in another version; nothing is named because it is harmless.
 */
#include "config.h"

#include "sandbox_calls.h"

#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#define LIST(name, ...) static const int name[] = {__VA_ARGS__, SANDBOX_END}

/* Memory, time, waiting, oneself. */
LIST(common, SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
     SCMP_SYS(close_range), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(lseek),
     SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(futex),
     SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getppid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
     SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
     SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime),
     SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
     SCMP_SYS(getrandom), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(sched_yield),
     SCMP_SYS(sched_getaffinity), SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(rseq),
     SCMP_SYS(set_robust_list), SCMP_SYS(getrlimit), SCMP_SYS(ugetrlimit), SCMP_SYS(fcntl),
     SCMP_SYS(fcntl64), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg),
     SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recv), SCMP_SYS(send));

/* The event loop of worker, control and ledger. */
LIST(loop, SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
     SCMP_SYS(epoll_pwait), SCMP_SYS(dup), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
     SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(accept4), SCMP_SYS(shutdown),
     SCMP_SYS(getrusage));

/* Files that are looked up by libraries: NSS, OpenSSL's configuration. */
LIST(lookup, SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(fstatfs), SCMP_SYS(statfs), SCMP_SYS(access),
     SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
     SCMP_SYS(getdents64), SCMP_SYS(pread64), SCMP_SYS(getcwd), SCMP_SYS(connect));

/* The walk. */
LIST(worker, SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(splice), SCMP_SYS(pipe2),
     SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg));

/* The audit file is written at its end and never cut; mlock: the key of the chain is never swapped. */
LIST(appending, SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(mlock), SCMP_SYS(mlock2),
     SCMP_SYS(munlock));

/* The two files of the rules' counters. */
LIST(writing, SCMP_SYS(pwrite64), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(ftruncate));

/* Copies of the ledger: its files by descriptor, and whom they go to. */
LIST(forwarding, SCMP_SYS(pread64), SCMP_SYS(connect));

/* To be told when somebody sets the clock. */
LIST(timer, SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime));

/* Asking NSS, in whatever way its modules do. */
LIST(asking, SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(eventfd2), SCMP_SYS(epoll_create1),
     SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(getsockopt),
     SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(shutdown),
     SCMP_SYS(bind), SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg), SCMP_SYS(dup), SCMP_SYS(dup2),
     SCMP_SYS(dup3), SCMP_SYS(pipe2), SCMP_SYS(getgroups), SCMP_SYS(getresuid), SCMP_SYS(getresgid),
     SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(flock));

/* The replay cache of Kerberos. */
LIST(cache, SCMP_SYS(pwrite64), SCMP_SYS(fsync), SCMP_SYS(fdatasync), SCMP_SYS(ftruncate),
     SCMP_SYS(fchmod), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat2),
     SCMP_SYS(mkdir));

/* COMPILE: images, its time limit, the thread that reads beside it. */
LIST(compile, SCMP_SYS(memfd_create), SCMP_SYS(alarm), SCMP_SYS(setitimer), SCMP_SYS(ftruncate),
     SCMP_SYS(chdir), SCMP_SYS(fchdir));

/* Collects the nursery at its end. */
LIST(collect, SCMP_SYS(wait4), SCMP_SYS(waitid));

#ifdef SANITIZED /* the leak check stops its own process so */
#define UNLESS_SANITIZED(call)
#else
#define UNLESS_SANITIZED(call) call,
#endif

/* No server needs these, and no module of PAM: they change the machine, or look into other
 * processes. */
LIST(never, SCMP_SYS(acct), SCMP_SYS(add_key), SCMP_SYS(adjtimex), SCMP_SYS(afs_syscall),
     SCMP_SYS(bpf), SCMP_SYS(chroot), SCMP_SYS(clock_adjtime), SCMP_SYS(clock_settime),
     SCMP_SYS(create_module), SCMP_SYS(delete_module), SCMP_SYS(fanotify_init),
     SCMP_SYS(finit_module), SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fsopen),
     SCMP_SYS(fspick), SCMP_SYS(get_kernel_syms), SCMP_SYS(init_module), SCMP_SYS(io_uring_enter),
     SCMP_SYS(io_uring_register), SCMP_SYS(io_uring_setup), SCMP_SYS(ioperm), SCMP_SYS(iopl),
     SCMP_SYS(kcmp), SCMP_SYS(kexec_file_load), SCMP_SYS(kexec_load), SCMP_SYS(lookup_dcookie),
     SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(modify_ldt), SCMP_SYS(mount),
     SCMP_SYS(mount_setattr), SCMP_SYS(move_mount), SCMP_SYS(move_pages), SCMP_SYS(nfsservctl),
     SCMP_SYS(open_by_handle_at), SCMP_SYS(open_tree), SCMP_SYS(perf_event_open),
     SCMP_SYS(personality), SCMP_SYS(pivot_root), SCMP_SYS(process_vm_readv),
     SCMP_SYS(process_vm_writev), SCMP_SYS(query_module), SCMP_SYS(quotactl), SCMP_SYS(quotactl_fd),
     SCMP_SYS(reboot), SCMP_SYS(setdomainname), SCMP_SYS(sethostname), SCMP_SYS(setns),
     SCMP_SYS(settimeofday), SCMP_SYS(stime), SCMP_SYS(swapoff), SCMP_SYS(swapon),
     SCMP_SYS(_sysctl), SCMP_SYS(sysfs), SCMP_SYS(syslog), SCMP_SYS(umount), SCMP_SYS(umount2),
     SCMP_SYS(unshare), SCMP_SYS(uselib), SCMP_SYS(userfaultfd), SCMP_SYS(ustat), SCMP_SYS(vhangup),
     SCMP_SYS(vm86), SCMP_SYS(vm86old), UNLESS_SANITIZED(SCMP_SYS(ptrace))
     SCMP_SYS(process_madvise));

const int sandbox_sanitizers[] = {SCMP_SYS(clone),
				  SCMP_SYS(clone3),
				  SCMP_SYS(wait4),
				  SCMP_SYS(ptrace),
				  SCMP_SYS(tkill),
				  SCMP_SYS(kill),
				  SCMP_SYS(tgkill),
				  SCMP_SYS(rt_sigaction),
				  SCMP_SYS(getdents),
				  SCMP_SYS(getdents64),
				  SCMP_SYS(readlink),
				  SCMP_SYS(readlinkat),
				  SCMP_SYS(stat),
				  SCMP_SYS(lstat),
				  SCMP_SYS(unlink),
				  SCMP_SYS(mkdir),
				  SCMP_SYS(prctl),
				  SCMP_SYS(prlimit64),
				  SCMP_SYS(setrlimit),
				  SCMP_SYS(getrusage),
				  SCMP_SYS(access),
				  SCMP_SYS(rt_sigpending),
				  SCMP_SYS(pipe),
				  SCMP_SYS(pipe2),
				  SCMP_SYS(process_vm_readv),
				  SCMP_SYS(ioctl),
				  SCMP_SYS(open),
				  SCMP_SYS(openat),
				  SCMP_SYS(pread64),
				  SCMP_SYS(dup2),
				  SCMP_SYS(getcwd),
				  SCMP_SYS(personality),
				  SCMP_SYS(fdatasync),
				  SCMP_SYS(sched_setaffinity),
				  SANDBOX_END};

/* PR_CAPBSET_READ: NSS's module of systemd, through libcap */
const int sandbox_prctl[] = {PR_SET_NAME,      PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_NO_NEW_PRIVS,
			     PR_SET_PDEATHSIG, PR_SET_VMA,  PR_CAPBSET_READ, SANDBOX_END};
const unsigned long sandbox_ioctl[] = {FIONREAD, FIONBIO, TIOCOUTQ, TCGETS, TIOCGWINSZ, 0};

/* What libraries read: the resolver's files, accounts, OpenSSL's configuration and providers. A
 * file that is replaced is another one for Landlock, so folders stand here. */
#define SYSTEM_FOLDERS                                                                             \
	"/etc", "/usr", "/lib", "/lib64", "/dev/urandom", "/dev/null", "/run/systemd/resolve"

const struct sandbox_rules sandbox_rules[SANDBOX_PROFILES] = {
    [SANDBOX_PARENT] = {.word = "parent", .all_but = true, .calls = {never}},
    [SANDBOX_NURSERY] = {.word = "nursery", .all_but = true, .calls = {never}},
    [SANDBOX_CHECKER_PAM] = {.word = "checker pam", .all_but = true, .calls = {never}},
    [SANDBOX_WORKER] = {.word = "worker",
			.calls = {common, loop, lookup, worker},
			.opens = true,
			.tcp = true,
			.sockets = SANDBOX_LOG | SANDBOX_INET | SANDBOX_NETLINK,
			.reads = {SYSTEM_FOLDERS}},
    [SANDBOX_LEDGER] = {.word = "ledger",
			.calls = {common, loop, lookup, appending, timer},
			.opens = true,
			.sockets = SANDBOX_LOG,
			.reads = {SYSTEM_FOLDERS}},
    [SANDBOX_CONTROL] = {.word = "control",
			 .calls = {common, loop, lookup, writing, asking},
			 .opens = true,
			 .sockets = SANDBOX_UNIX,
			 .reads = {SYSTEM_FOLDERS, "/var/lib", "/run"}},
    [SANDBOX_AUTHENTICATOR] = {.word = "authenticator",
			       .calls = {common, lookup, collect},
			       .opens = true,
			       .sockets = SANDBOX_LOG,
			       .reads = {SYSTEM_FOLDERS}},
    [SANDBOX_FORWARDER] = {.word = "forwarder",
			   .calls = {common, loop, writing, forwarding},
			   .tcp = true,
			   .sockets = SANDBOX_UNIX | SANDBOX_INET},
    [SANDBOX_CHECKER_FILE] = {.word = "checker file",
			      .calls = {common, lookup},
			      .sockets = SANDBOX_LOG},
    [SANDBOX_CHECKER_GROUPS] = {.word = "checker groups",
				.calls = {common, lookup, asking},
				.opens = true,
				.tcp = true,
				.sockets = SANDBOX_UNIX | SANDBOX_INET | SANDBOX_NETLINK,
				.reads = {"/"}},
    [SANDBOX_CHECKER_GSSAPI] = {.word = "checker gssapi",
				.calls = {common, lookup, asking, cache},
				.opens = true,
				.writes = true,
				.tcp = true,
				.sockets = SANDBOX_UNIX | SANDBOX_INET | SANDBOX_NETLINK,
				.reads = {"/"}},
    [SANDBOX_COMPILE] = {.word = "compile",
			 .calls = {common, lookup, asking, compile},
			 .opens = true,
			 .threads = true,
			 .tcp = true,
			 .sockets = SANDBOX_UNIX | SANDBOX_INET | SANDBOX_NETLINK,
			 .reads = {"/"}},
};
