/*
 * settings/machine.c - what the settings name and this machine lacks: warnings, as the
 * files may be checked on another machine than the one they are for.
 *
 * Runs in COMPILE and in sallyctl; asks the name services and stats files, so it
 * may block.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "settings/settings.h"
#include "settings/users.h"

static const struct node *
member(const struct node *group, const char *key)
{
	const struct node *n = group != NULL && group->kind == NODE_GROUP ? group->first : NULL;

	while (n != NULL && strcmp(n->name, key) != 0)
		n = n->next;
	return n;
}

static void
check_account(const struct node *n, struct problems *p)
{
	const char *name = n->string.s;
	bool group = strncmp(name, "unix:", 5) == 0;

	if (group ? getgrnam(name + 5) != NULL : getpwnam(name) != NULL)
		return;
	problems_add(p, group ? "W303" : "W302", n->value, "this machine has no %s '%.64s'",
		     group ? "group" : "account", group ? name + 5 : name);
}

static void
check_accounts(const struct node *n, struct problems *p)
{
	if (n == NULL)
		return;
	if (n->kind == NODE_STRING)
		check_account(n, p);
	else if (n->kind <= NODE_ARRAY)
		for (const struct node *m = n->first; m != NULL; m = m->next)
			if (m->kind == NODE_STRING)
				check_account(m, p);
}

/* path: as it was stored; "" if its section is not given. */
static void
check_file(const struct node *section, const char *key, const char *path, struct problems *p)
{
	const struct node *n = member(section, key);
	struct stat st;

	if (path[0] == '\0' || section == NULL || stat(path, &st) == 0)
		return;
	problems_add(p, "W304", n != NULL ? n->value : section->key, "cannot find '%s': %s", path,
		     strerror(errno));
}

/* What stands in it only the server can tell. */
static void
check_keytab(const struct node *section, const char *path, struct problems *p)
{
	const struct node *n = member(section, "keytab");
	const char *fault;
	struct stat st;

	check_file(section, "keytab", path, p);
	if (section == NULL || path[0] == '\0' || stat(path, &st) == -1 ||
	    (fault = users_mode_fault(USERS_HASHES, st.st_mode)) == NULL)
		return;
	problems_add(p, "W305", n != NULL ? n->value : section->key,
		     "the server will not use '%s': %s", path, fault);
}

/* As many bytes as the file had when it was looked at; NULL and errno if it has others. */
static char *
read_whole(int fd, size_t size)
{
	char *text = malloc(size + 1);
	size_t len = 0;
	ssize_t n = 0;

	while (text != NULL && len <= size && (n = read(fd, text + len, size + 1 - len)) > 0)
		len += (size_t)n;
	if (text != NULL && (n == -1 || len != size)) {
		free(text);
		errno = n == -1 ? errno : EAGAIN;
		text = NULL;
	}
	return text;
}

/* What stands in it is an error of the files; that it is missing or too open, of the machine. */
static void
check_users(const struct node *section, const char *path, enum users_kind kind, struct problems *p)
{
	const struct node *n = member(section, "path");
	struct place at = n != NULL ? n->value : (struct place){0};
	struct users users;
	struct stat st;
	const char *fault;
	char *text;
	int fd;

	if (section == NULL || path[0] == '\0' || stat(path, &st) == -1)
		return;
	fault = users_mode_fault(kind, st.st_mode);
	if (fault == NULL && st.st_size > USERS_FILE_MAX)
		fault = "it is larger than 16 MiB";
	if (fault != NULL) {
		problems_add(p, "W305", at, "the server will not use '%s': %s", path, fault);
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	text = fd != -1 ? read_whole(fd, (size_t)st.st_size) : NULL;
	if (text == NULL)
		problems_add(p, "W305", at, "cannot look into '%s': %s", path, strerror(errno));
	else if (users_parse(&users, kind, path, text, (size_t)st.st_size, p))
		users_free(&users);
	if (text != NULL)
		secret_wipe_bytes(text, (size_t)st.st_size);
	free(text);
	if (fd != -1)
		close(fd);
}

static void
check_service(const struct node *section, const char *service, struct problems *p)
{
	static const char *const folders[] = {"/etc/pam.d", "/usr/lib/pam.d"};
	const struct node *n = member(section, "service");
	char path[128];

	if (section == NULL || service[0] == '\0')
		return;
	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", folders[i], service);
		if (access(path, F_OK) == 0)
			return;
	}
	problems_add(p, "W307", n != NULL ? n->value : section->key,
		     "this machine has no PAM service '%s': there is no /etc/pam.d/%s", service,
		     service);
}

void
settings_machine(const struct node *root, const struct settings *s, struct problems *p)
{
	const struct node *auth = member(root, "auth"), *control = member(root, "control");

	check_accounts(member(root, "user"), p);
	check_accounts(member(control, "viewers"), p);
	check_accounts(member(control, "operators"), p);
	check_file(member(auth, "file"), "path", s->auth.file_path, p);
	check_file(member(auth, "chap"), "path", s->auth.chap_path, p);
	check_users(member(auth, "file"), s->auth.file_path, USERS_HASHES, p);
	check_users(member(auth, "chap"), s->auth.chap_path, USERS_SECRETS, p);
	check_service(member(auth, "pam"), s->auth.pam_service, p);
	check_keytab(member(auth, "gssapi"), s->auth.gssapi_keytab, p);
}
