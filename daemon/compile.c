/*
 * daemon/compile.c - see daemon/compile.h. Blocks on files; has no rights but reading.
 */
#include "config.h"

#include "compile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "privileges.h"
#include "rules/rules.h"
#include "sandbox.h"

#define TIME_LIMIT_S 120

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int
image_seal(const char *name, const void *bytes, size_t len)
{
	const char *p = bytes;
	size_t left = len;
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd == -1)
		return -1;
	while (left > 0) {
		ssize_t n = write(fd, p, left);

		if (n <= 0)
			goto fail;
		p += n;
		left -= (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		return fd;
fail:
	log_error("cannot write the image of %s: %s", name, strerror(errno));
	close(fd);
	return -1;
}

bool
image_sealed(int fd, size_t least)
{
	struct stat st;

	return fcntl(fd, F_GET_SEALS) == SEALS && fstat(fd, &st) == 0 &&
	       (size_t)st.st_size >= least;
}

void *
image_map(int fd, size_t *len)
{
	struct stat st;
	void *at;

	if (fstat(fd, &st) == -1 || st.st_size <= 0)
		return NULL;
	*len = (size_t)st.st_size;
	at = mmap(NULL, *len, PROT_READ, MAP_SHARED, fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

static void
tell_text(const struct channel *c, enum ipc_type type, struct buffer *text)
{
	for (size_t at = 0; at < text->len; at += IPC_MAX_TEXT) {
		size_t n = text->len - at < IPC_MAX_TEXT ? text->len - at : IPC_MAX_TEXT;

		channel_send(c, type, text->p + at, n, NULL, 0);
	}
	buffer_free(text);
}

static void
tell_problems(const struct channel *c, struct rules_load *l, bool colour)
{
	struct buffer out = {0};

	if (l->problems.errors + l->problems.warnings == 0)
		return;
	problems_sort(&l->problems);
	problems_render(&l->problems, &l->sources, colour, &out);
	tell_text(c, IPC_PROBLEMS, &out);
	problems_render_json(&l->problems, &out);
	tell_text(c, IPC_PROBLEMS_JSON, &out);
}

static int
compile(const struct channel *c, const char *path, bool colour)
{
	static struct rules_load l;
	struct ipc_compiled done = {0};
	struct policy *opened = NULL;
	int fds[2] = {-1, -1}, ok;

	ok = rules_load(&l, path, true, clock_wall_ns() / NS_PER_S);
	done.errors = (uint32_t)l.problems.errors;
	done.warnings = (uint32_t)l.problems.warnings;
	done.rules = (uint32_t)l.rule_count;
	tell_problems(c, &l, colour);
	if (ok) {
		/* rules_load opened and checked it in full for its tests; this is for the hash */
		opened = policy_open_sealed(l.image, l.image_len);
		l.settings.auth.groups_named =
		    opened != NULL && policy_unix_groups(opened, NULL, 0) > 0;
		fds[0] = image_seal("settings", &l.settings, sizeof l.settings);
		fds[1] = image_seal("policy", l.image, l.image_len);
		ok = opened != NULL && fds[0] != -1 && fds[1] != -1;
		if (opened == NULL)
			log_error("the image that was compiled cannot be opened");
	}
	if (ok)
		memcpy(done.hash, policy_hash(opened), sizeof done.hash);
	done.ok = (uint32_t)ok;
	ok = channel_send(c, IPC_COMPILED, &done, sizeof done, fds, ok ? 2 : 0) && ok;
#ifdef SANITIZED                    /* else the kernel frees faster */
	prctl(PR_SET_PDEATHSIG, 0); /* the leak check wants to end in peace */
	policy_close(opened);
	rules_load_free(&l);
#endif
	return ok ? 0 : 1;
}

pid_t
compile_start(const char *path, bool colour, struct channel *channel)
{
	int fds[2];
	pid_t pid, parent = getpid();

	if (channel_pair(fds) == -1) {
		log_error("cannot make a channel: %s", strerror(errno));
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		struct channel up = {fds[1], ROLE_COMPILE, ROLE_PARENT};
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGINT, SIG_IGN); /* Ctrl-C is the parent's to answer */
		log_role("compile");
		prctl(PR_SET_NAME, "sally-compile");
		privileges_close_all(fds[1]);
		alarm(TIME_LIMIT_S);
		if (!privileges_reader())
			_exit(1);
		prctl(PR_SET_PDEATHSIG,
		      SIGKILL); /* behind the change of rights, which forgets it */
		if (getppid() != parent || !sandbox_enter(SANDBOX_COMPILE))
			_exit(1);
		exit(compile(&up, path, colour));
	}
	close(fds[1]);
	if (pid == -1) {
		log_error("cannot fork: %s", strerror(errno));
		close(fds[0]);
		return -1;
	}
	*channel = (struct channel){fds[0], ROLE_PARENT, ROLE_COMPILE};
	return pid;
}
