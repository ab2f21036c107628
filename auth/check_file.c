/*
 * auth/check_file.c - a password against a hash of crypt(5): yescrypt and whatever else libcrypt
 * verifies. Runs in a checker; blocks for as long as the hash costs. Knows no file: the hash comes
 * with the question.
 */
#include <crypt.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"

enum auth_verdict
check_file(const char *hash, const struct secret *password)
{
	static struct crypt_data data;
	size_t len = strlen(hash);
	enum auth_verdict verdict = AUTH_REFUSED;
	const char *made;

	/* The cost is paid in any case; what stands behind a NUL would not count. */
	made = crypt_rn(secret_reveal(password), hash, &data, sizeof data);
	if (made == NULL)
		verdict = AUTH_UNAVAILABLE;
	else if (strlen(made) == len && secret_same(made, hash, len) && !secret_has_nul(password))
		verdict = AUTH_GOOD;
	secret_wipe_bytes(&data, sizeof data);
	return verdict;
}

const char *
check_file_dummy(void)
{
	static char made[CRYPT_OUTPUT_SIZE];
	static struct crypt_data data;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *hash;

	if (made[0] != '\0')
		return made;
	if (crypt_gensalt_rn(NULL, 0, NULL, 0, setting, sizeof setting) == NULL ||
	    (hash = crypt_rn("", setting, &data, sizeof data)) == NULL)
		return "*0";
	memcpy(made, hash, strlen(hash) + 1);
	return made;
}
