/*
 * settings/users.h - the files of users: `name:hash` (auth.file) or `name:secret` (auth.chap), one
 * a line, '#' before a comment. Read by COMPILE and sallyctl, which tell what is wrong, and by the
 * authenticator.
 *
 * A problem never quotes a line: hashes and secrets stay where they are.
 */
#ifndef SETTINGS_USERS_H
#define SETTINGS_USERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/problems.h"

enum users_kind { USERS_HASHES, USERS_SECRETS };

struct user_line {
	const char *name, *value; /* NUL-terminated; into the text */
	size_t name_len, value_len;
	unsigned line;
};
struct users {
	char *text; /* ours */
	size_t len;
	struct user_line *lines; /* in the order of the file */
	size_t *by_name;	 /* indexes into lines, sorted by name; users_find */
	size_t count;
};

#define USERS_NAME_MAX 255
#define USERS_FILE_MAX (16u << 20)

/*
 * Every problem goes into p, file as the place's name. False: an error; *u is then empty. Hashes that are valid and
 * weak (DES, MD5) are warnings. A value that starts with '!' or '*' is a user who cannot log in.
 */
bool users_parse(struct users *u, enum users_kind kind, const char *file, const void *text, size_t len,
		 struct problems *p);
/* NULL: no such user. */
const struct user_line *users_find(const struct users *u, const char *name, size_t len);
bool user_disabled(const struct user_line *l);
void users_free(struct users *u); /* and wipes; all zero is fine, too */

/* What is wrong with the name or the value, in words; NULL: nothing. */
const char *users_name_fault(const char *name, size_t len);
const char *users_hash_fault(const char *hash, size_t len, bool *weak);
/* "others may read it": why a file of this mode is refused; NULL: it is not. */
const char *users_mode_fault(enum users_kind kind, mode_t mode);

#endif
