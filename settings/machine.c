/*
 * settings/machine.c - what the settings name and this machine lacks: warnings, as the
 * files may be checked on another machine than the one they are for.
 *
 * Runs in COMPILE and in sallyctl; asks the name services and stats files, so it
 * may block.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "settings/settings.h"

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

void
settings_machine(const struct node *root, const struct settings *s, struct problems *p)
{
	const struct node *auth = member(root, "auth"), *control = member(root, "control");

	check_accounts(member(root, "user"), p);
	check_accounts(member(control, "viewers"), p);
	check_accounts(member(control, "operators"), p);
	check_file(member(auth, "file"), "path", s->auth.file_path, p);
	check_file(member(auth, "chap"), "path", s->auth.chap_path, p);
	check_file(member(auth, "gssapi"), "keytab", s->auth.gssapi_keytab, p);
}
