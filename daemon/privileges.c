/*
 * daemon/privileges.c - see daemon/privileges.h. Parent at start, children right after fork.
 */
#include "config.h"

#include "privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <syslog.h>
#include <unistd.h>

#include "base/log.h"

static bool
look_up(const char *name, struct account *out)
{
	struct passwd *pw = getpwnam(name);

	if (pw == NULL)
		return false;
	out->uid = pw->pw_uid;
	out->gid = pw->pw_gid;
	snprintf(out->name, sizeof out->name, "%s", name);
	return true;
}

bool
privileges_account(const char *user, struct account *out)
{
	memset(out, 0, sizeof *out);
	out->drop = geteuid() == 0;
	if (!out->drop) {
		struct passwd *me = getpwuid(geteuid());

		if (user[0] != '\0' && (me == NULL || strcmp(me->pw_name, user) != 0))
			log_notice("user '%s' is not used: only root can change to it", user);
		return true;
	}
	if (user[0] != '\0') {
		if (look_up(user, out))
			return true;
		log_error("no account is called '%s' (setting 'user')", user);
		return false;
	}
	if (look_up("sallyport", out))
		return true;
	if (look_up("nobody", out)) {
		log_notice("no account is called 'sallyport', workers run as 'nobody'");
		return true;
	}
	log_error("neither 'sallyport' nor 'nobody' is an account: set 'user'");
	return false;
}

static bool
no_more(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1) {
		log_error("cannot give up new privileges: %s", strerror(errno));
		return false;
	}
#ifdef SANITIZED
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* the leak check traces its own process */
#else
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	return true;
}

#define KEPT_MOST 16

/*
 * No more capabilities than these, and of these only what we have: a unit or a container may have
 * left us less. Without root there mostly is nothing, but a unit may have given some.
 */
static bool
narrow(const int *kept, size_t count, capng_type_t sets)
{
	bool have[KEPT_MOST], bounds;

	if (count > KEPT_MOST || capng_get_caps_process() != 0) {
		log_error("cannot learn which capabilities there are");
		return false;
	}
	for (size_t i = 0; i < count; i++)
		have[i] = capng_have_capability(CAPNG_PERMITTED, (unsigned)kept[i]) == 1;
	bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) == 1;
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < count; i++)
		if (have[i])
			capng_update(CAPNG_ADD, sets, (unsigned)kept[i]);
	/* now, while CAP_SETPCAP is still there; without it no new privileges are as good */
	if (bounds && capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		log_debug("cannot narrow the bounding set of capabilities");
	if (capng_apply(CAPNG_SELECT_CAPS) < 0) {
		log_error("cannot drop all capabilities but those that are needed");
		return false;
	}
	return true;
}

#define IN_FORCE (CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET)

bool
privileges_drop(const struct account *a)
{
	if (!a->drop)
		return narrow(NULL, 0, IN_FORCE) && no_more();
	if (setgroups(0, NULL) == -1 || setresgid(a->gid, a->gid, a->gid) == -1) {
		log_error("cannot change to the group of '%s': %s", a->name, strerror(errno));
		return false;
	}
	/* The bounding set can only be emptied while CAP_SETPCAP is still there. */
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_BOUNDS) < 0)
		log_debug("cannot empty the bounding set of capabilities");
	if (setresuid(a->uid, a->uid, a->uid) == -1) {
		log_error("cannot change to user '%s': %s", a->name, strerror(errno));
		return false;
	}
	capng_clear(CAPNG_SELECT_BOTH);
	if (a->uid != 0 && capng_apply(CAPNG_SELECT_CAPS) < 0) {
		log_error("cannot drop capabilities");
		return false;
	}
	if (a->uid != 0 && setuid(0) == 0) {
		log_error("user '%s' can become root again", a->name);
		return false;
	}
	return no_more();
}

bool
privileges_reader(void)
{
	static const int reading[] = {CAP_DAC_READ_SEARCH};
	struct account nobody;

	if (geteuid() != 0)
		return narrow(reading, 1, IN_FORCE) && no_more();
	if (!look_up("nobody", &nobody)) {
		nobody.uid = 65534;
		nobody.gid = 65534;
	}
	capng_clear(CAPNG_SELECT_BOTH);
	capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_DAC_READ_SEARCH);
	if (capng_change_id((int)nobody.uid, (int)nobody.gid,
			    CAPNG_DROP_SUPP_GRP | CAPNG_CLEAR_BOUNDING) < 0) {
		log_error("cannot drop all rights but reading");
		return false;
	}
	return no_more();
}

/* Modules may execute programs, and without root these need rights of their own (unix_chkpwd): new
 * privileges stay possible here, other than in no_more, unless the sandbox has taken them. */
static bool
keep(const int *kept, size_t count)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
#ifndef SANITIZED
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	return narrow(kept, count, IN_FORCE);
}

bool
privileges_nursery(void)
{
	static const int kept[] = {CAP_CHOWN,       CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
				   CAP_FOWNER,      CAP_SETUID,       CAP_SETGID,
				   CAP_AUDIT_WRITE, CAP_KILL,         CAP_SETPCAP};

	return keep(kept, sizeof kept / sizeof kept[0]);
}

bool
privileges_pam(void)
{
	static const int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
				   CAP_SETUID, CAP_SETGID,       CAP_AUDIT_WRITE};

	return keep(kept, sizeof kept / sizeof kept[0]);
}

bool
privileges_hook(void)
{
	static const int over_files[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER};
	const size_t count = sizeof over_files / sizeof over_files[0];

	if (geteuid() == 0)
		return narrow(over_files, count, IN_FORCE) && no_more();
	/* a program of another user than root only gets what is in the ambient set, too */
	if (!narrow(over_files, count, IN_FORCE | CAPNG_INHERITABLE))
		return false;
	for (size_t i = 0; i < count; i++)
		prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, over_files[i], 0, 0);
	return no_more();
}

void
privileges_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

void
privileges_close_all(int keep)
{
	/* Its number will be used again: a line for syslog must not go to a client. It is opened
	 * anew. */
	closelog();
	if (keep > 3)
		close_range(3, (unsigned)keep - 1, 0);
	close_range((unsigned)(keep < 3 ? 3 : keep + 1), ~0U, 0);
}
