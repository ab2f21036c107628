/*
 * daemon/bind.c - see daemon/bind.h. The parent at start, perhaps as root.
 */
#include "bind.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "net/conn.h"

#define PREDECESSOR_MS 2000
#define FIRST_PASSED 3 /* SD_LISTEN_FDS_START */
#define CONTROL_BACKLOG 64
#define BACKLOG 65535 /* the kernel takes the smaller of this and net.core.somaxconn */

struct passed { /* a socket from the service manager */
	int fd;
	char name[SETTINGS_NAME];
	struct endpoint at;
	bool taken;
};

static unsigned
passed_sockets(struct passed list[SETTINGS_LISTENERS])
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"),
		   *names = getenv("LISTEN_FDNAMES");
	uint64_t for_pid, count;
	unsigned n = 0;

	if (pid == NULL || fds == NULL || !text_parse_u64(pid, strlen(pid), UINT32_MAX, &for_pid) ||
	    for_pid != (uint64_t)getpid() ||
	    !text_parse_u64(fds, strlen(fds), SETTINGS_LISTENERS, &count))
		return 0;
	for (uint64_t i = 0; i < count; i++) {
		struct passed *p = &list[n];
		size_t len = names != NULL ? strcspn(names, ":") : 0;

		memset(p, 0, sizeof *p);
		p->fd = FIRST_PASSED + (int)i;
		fcntl(p->fd, F_SETFD, FD_CLOEXEC);
		if (len > 0 && len < sizeof p->name)
			memcpy(p->name, names, len);
		if (names != NULL)
			names += names[len] == ':' ? len + 1 : len;
		if (conn_local(p->fd, &p->at))
			n++;
		else
			log_warning("descriptor %d from the service manager is no socket of ours",
				    p->fd);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return n;
}

/* By name, or by the very address. */
static int
take_passed(struct passed *list, unsigned count, const struct settings_listener *l)
{
	for (int by_name = 1; by_name >= 0; by_name--)
		for (unsigned i = 0; i < count; i++) {
			bool same = by_name ? strcmp(list[i].name, l->name) == 0
					    : addr_equal(&list[i].at.addr, &l->at.addr) &&
						  list[i].at.port == l->at.port;

			if (list[i].taken || !same)
				continue;
			list[i].taken = true;
			return list[i].fd;
		}
	return -1;
}

static bool impatient; /* the server runs: nothing waits for a predecessor */

bool
bind_wait_for_predecessor(void)
{
	static int64_t until;
	const struct timespec pause = {0, 20 * NS_PER_MS};
	int64_t now = clock_mono_ns();

	if (impatient)
		return false;
	if (until == 0)
		until = now + PREDECESSOR_MS * NS_PER_MS;
	if (now >= until)
		return false;
	nanosleep(&pause, NULL);
	return true;
}

static int
bind_one(const struct settings_listener *l)
{
	struct sockaddr_storage ss;
	socklen_t len = conn_sockaddr(&l->at, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, error;

	if (fd == -1)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (ss.ss_family ==
	    AF_INET6) /* :: and 0.0.0.0 are two listeners, each judged by its own name */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&ss, len) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static bool
make_ready(int fd)
{
	int on = 1, off = 0;

	/* Accepted sockets inherit these: no system call for each session. Their first bytes are
	 * answered at once, so that the acknowledgement goes with the answer. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != -1 &&
	       listen(fd, BACKLOG) == 0;
}

/* False: it is not to be had; told. fd -1: it is bound here. */
static bool
take_listener(const struct settings_listener *l, uint32_t number, int fd, struct bound *out)
{
	struct ipc_listener *to = &out->listeners.list[out->listeners.count];
	char at[ENDPOINT_TEXT];

	if (fd == -1)
		while ((fd = bind_one(l)) == -1 && errno == EADDRINUSE &&
		       bind_wait_for_predecessor())
			;
	if (fd == -1 || !make_ready(fd) || !conn_local(fd, &to->at)) {
		int error = errno;

		endpoint_format(&l->at, at);
		if (fd != -1)
			close(fd);
		if (l->optional)
			log_warning("cannot bind optional listener '%s' to '%s': %s", l->name, at,
				    strerror(error));
		else
			log_error("cannot bind listener '%s' to '%s': %s", l->name, at,
				  strerror(error));
		return l->optional;
	}
	endpoint_format(&to->at, at);
	log_info("listener '%s' is bound to '%s'", l->name, at);
	to->listener = number;
	out->fds[out->listeners.count++] = fd;
	return true;
}

static bool
any_bound(const struct bound *b)
{
	if (b->listeners.count == 0)
		log_error("no listener could be bound");
	return b->listeners.count > 0;
}

bool
bind_listeners(const struct settings *s, struct bound *out)
{
	struct passed passed[SETTINGS_LISTENERS];
	unsigned passed_count = passed_sockets(passed);
	bool ok = true;

	memset(out, 0, sizeof *out);
	for (uint32_t i = 0; i < s->listener_count; i++) {
		int fd = take_passed(passed, passed_count, &s->listeners[i]);

		out->passed[out->listeners.count] = fd != -1;
		ok &= take_listener(&s->listeners[i], i, fd, out);
	}
	for (unsigned i = 0; i < passed_count; i++)
		if (!passed[i].taken) {
			log_warning(
			    "socket '%s' from the service manager is no listener of the settings",
			    passed[i].name);
			close(passed[i].fd);
		}
	return ok && any_bound(out);
}

/* ---- the same while the server runs --------------------------------------------------------- */

static bool
same_place(const struct endpoint *a, const struct endpoint *b)
{
	return addr_equal(&a->addr, &b->addr) && a->port == b->port;
}

/* The socket that is open for it already, by its number in `from`; -1: none. */
static int
open_already(const struct settings_listener *l, const struct settings *old,
	     const struct bound *from)
{
	for (uint32_t i = 0; i < from->listeners.count; i++) {
		const struct ipc_listener *b = &from->listeners.list[i];
		const struct settings_listener *was = &old->listeners[b->listener];

		if (from->passed[i] ? strcmp(was->name, l->name) == 0 || same_place(&b->at, &l->at)
				    : same_place(&was->at, &l->at))
			return (int)i;
	}
	return -1;
}

static bool
holds(const struct bound *b, int fd)
{
	for (uint32_t i = 0; i < b->listeners.count; i++)
		if (b->fds[i] == fd)
			return true;
	return false;
}

void
bind_leave(const struct bound *from, const struct bound *but)
{
	for (uint32_t i = 0; i < from->listeners.count; i++)
		if (!holds(but, from->fds[i]))
			close(from->fds[i]);
}

bool
bind_anew(const struct settings *s, const struct settings *old, const struct bound *from,
	  struct bound *out)
{
	bool ok = true;

	impatient = true;
	memset(out, 0, sizeof *out);
	for (uint32_t i = 0; i < s->listener_count; i++) {
		const struct settings_listener *l = &s->listeners[i];
		int at = l->retired ? -1 : open_already(l, old, from);
		uint32_t n = out->listeners.count;

		if (l->retired)
			continue;
		if (at == -1 || holds(out, from->fds[at])) {
			ok &= take_listener(l, i, -1, out);
			continue;
		}
		out->listeners.list[n] = (struct ipc_listener){i, from->listeners.list[at].at};
		out->passed[n] = from->passed[at];
		out->fds[n] = from->fds[at];
		out->listeners.count++;
	}
	if (ok && any_bound(out))
		return true;
	bind_leave(out, from);
	return false;
}

/* ---- the control socket -------------------------------------------------------------------- */

static struct bind_legacy control;

struct bind_legacy
bind_legacy(void)
{
	return control;
}

void
bind_adopt(const struct bind_legacy *l)
{
	control = *l;
}

static mode_t
control_mode(const struct settings *s)
{
	return s->control.viewer_count + s->control.operator_count > 0 ? 0666 : 0660;
}

static bool
control_address(const char *path, struct sockaddr_un *out)
{
	memset(out, 0, sizeof *out);
	out->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof out->sun_path) {
		log_error("the path of the control socket is too long: '%s' (at most %zu bytes)",
			  path, sizeof out->sun_path - 1);
		return false;
	}
	memcpy(out->sun_path, path, strlen(path) + 1);
	return true;
}

/* /run is empty after a start of the machine. */
static void
make_folder(const char *path)
{
	char folder[SETTINGS_PATH];
	const char *slash = strrchr(path, '/');
	size_t len = slash != NULL ? (size_t)(slash - path) : 0;

	if (len == 0 || len >= sizeof folder)
		return;
	memcpy(folder, path, len);
	folder[len] = '\0';
	if (mkdir(folder, 0755) == 0)
		log_info("made the folder '%s'", folder);
}

/* 0: somebody listens there. */
static int
knock(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

	if (fd == -1)
		return errno;
	error = connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 ? 0 : errno;
	close(fd);
	return error;
}

/* True: there is nothing any more at this path. */
static bool
clear_stale(const struct sockaddr_un *at)
{
	struct stat st;
	int error;

	if (lstat(at->sun_path, &st) == -1)
		return errno == ENOENT;
	if (!S_ISSOCK(st.st_mode)) {
		log_error("the control socket '%s' would replace a file that is no socket",
			  at->sun_path);
		return false;
	}
	while ((error = knock(at)) == 0 && bind_wait_for_predecessor())
		;
	if (error == ENOENT)
		return true;
	if (error == ECONNREFUSED)
		return unlink(at->sun_path) == 0 || errno == ENOENT;
	if (error == 0)
		log_error("another server listens on the control socket '%s'", at->sun_path);
	else
		log_error("cannot tell whether the control socket '%s' is used: %s", at->sun_path,
			  strerror(error));
	return false;
}

static bool
control_listen(int fd, const struct sockaddr_un *at, mode_t mode)
{
	mode_t mask = umask(0777 & ~mode);
	bool bound = bind(fd, (const struct sockaddr *)at, sizeof *at) == 0;
	struct stat st;

	umask(mask);
	if (!bound || lstat(at->sun_path, &st) == -1)
		return false;
	control.dev = st.st_dev;
	control.ino = st.st_ino;
	memcpy(control.path, at->sun_path, strlen(at->sun_path) + 1);
	return listen(fd, CONTROL_BACKLOG) == 0;
}

int
bind_control(const struct settings *s)
{
	struct sockaddr_un at;
	int fd;

	if (!control_address(s->control.socket, &at))
		return -1;
	make_folder(at.sun_path);
	if (!clear_stale(&at))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd != -1 && control_listen(fd, &at, control_mode(s)))
		return fd;
	log_error("cannot listen on the control socket '%s': %s", at.sun_path, strerror(errno));
	if (fd != -1)
		close(fd);
	bind_control_remove();
	return -1;
}

static bool
still_ours(void)
{
	struct stat st;

	return control.path[0] != '\0' && lstat(control.path, &st) == 0 &&
	       st.st_dev == control.dev && st.st_ino == control.ino;
}

/* The folder may belong to the account of our children: by a descriptor, so that what is changed is
 * what was looked at, and no file that a link leads to. */
void
bind_control_mode(const struct settings *s)
{
	char name[64];
	struct stat st;
	int fd;

	if (!still_ours() || (fd = open(control.path, O_PATH | O_NOFOLLOW | O_CLOEXEC)) == -1)
		return;
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	if (fstat(fd, &st) == 0 && st.st_dev == control.dev && st.st_ino == control.ino &&
	    chmod(name, control_mode(s)) == -1)
		log_error("cannot change the mode of '%s': %s", control.path, strerror(errno));
	close(fd);
}

void
bind_control_remove(void)
{
	if (still_ours() && unlink(control.path) == -1)
		log_warning("cannot remove '%s': %s", control.path, strerror(errno));
	control.path[0] = '\0';
}

int
bind_control_move(const struct settings *s)
{
	struct bind_legacy old = control, new;
	int fd;

	impatient = true;
	control.path[0] = '\0';
	fd = bind_control(s);
	new = control;
	control = old;
	if (fd == -1)
		return -1;
	bind_control_remove();
	control = new;
	return fd;
}

int
bind_metrics(const struct settings *s, struct endpoint *at)
{
	struct settings_listener l = {.at = s->metrics.at};
	int fd = bind_one(&l);
	char text[ENDPOINT_TEXT];

	if (fd != -1 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != -1 &&
	    listen(fd, CONTROL_BACKLOG) == 0 && conn_local(fd, at))
		return fd;
	endpoint_format(&l.at, text);
	log_error("cannot bind the metrics page to '%s': %s", text, strerror(errno));
	if (fd != -1)
		close(fd);
	return -1;
}
