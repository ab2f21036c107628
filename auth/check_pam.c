/*
 * auth/check_pam.c - a password by PAM, and whether the account may be used now. Runs in a checker
 * alone; blocks as long as the modules do, and is killed with them at the deadline.
 *
 * The conversation answers a prompt without echo with the password, once; any other question is
 * refused, so a module that asks for a new password or a second factor in a second prompt fails
 * and does not get the same words again. What modules tell the user goes nowhere: there is nobody
 * who could read it.
 */
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"

static const char *services; /* NULL: the system's folders */

struct talk {
	const struct secret *password;
	bool given;
};

static void
free_replies(struct pam_response *replies, int n)
{
	for (int i = 0; i < n; i++)
		if (replies[i].resp != NULL) {
			secret_wipe_bytes(replies[i].resp, strlen(replies[i].resp));
			free(replies[i].resp);
		}
	free(replies);
}

static bool
reply(struct talk *t, const struct pam_message *m, struct pam_response *out)
{
	switch (m->msg_style) {
	case PAM_PROMPT_ECHO_OFF:
		if (t->given)
			return false;
		t->given = true;
		out->resp = strdup(secret_reveal(t->password)); /* the module's to free */
		return out->resp != NULL;
	case PAM_ERROR_MSG:
	case PAM_TEXT_INFO:
		return true;
	default:
		return false;
	}
}

static int
converse(int n, const struct pam_message **messages, struct pam_response **out, void *talk)
{
	struct pam_response *replies;

	if (n <= 0 || n > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	replies = calloc((size_t)n, sizeof *replies);
	if (replies == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < n; i++)
		if (!reply(talk, messages[i], &replies[i])) {
			free_replies(replies, n);
			return PAM_CONV_ERR;
		}
	*out = replies;
	return PAM_SUCCESS;
}

/* The answer is held back elsewhere (auth.failure-delay), by a clock that blocks nobody. */
static void
no_delay(int status, unsigned microseconds, void *talk)
{
	(void)status;
	(void)microseconds;
	(void)talk;
}

static enum auth_verdict
verdict_of(int status, enum auth_why *why)
{
	switch (status) {
	case PAM_SUCCESS:
		*why = WHY_NOTHING;
		return AUTH_GOOD;
	case PAM_USER_UNKNOWN:
		*why = WHY_UNKNOWN_USER;
		return AUTH_REFUSED;
	case PAM_AUTH_ERR:
	case PAM_CRED_INSUFFICIENT:
	case PAM_CONV_ERR:
	case PAM_CONV_AGAIN:
	case PAM_SYSTEM_ERR: /* how pam_exec says no: or its guesses would never be counted */
		*why = WHY_WRONG_SECRET;
		return AUTH_REFUSED;
	case PAM_MAXTRIES:
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_AUTHTOK_EXPIRED:
	case PAM_CRED_EXPIRED:
	case PAM_PERM_DENIED:
		*why = WHY_ACCOUNT;
		return AUTH_REFUSED;
	default:
		*why = WHY_BROKEN;
		return AUTH_UNAVAILABLE;
	}
}

static int
set_items(pam_handle_t *pam, const struct addr *client)
{
	union {
		void (*function)(int, unsigned, void *);
		const void *item;
	} delay = {no_delay};
	char host[ADDR_TEXT];
	int status;

	addr_format(client, host);
	status = pam_set_item(pam, PAM_RHOST, host);
	if (status == PAM_SUCCESS)
		status = pam_set_item(pam, PAM_TTY, "socks"); /* some modules want one */
	if (status == PAM_SUCCESS)
		status = pam_set_item(pam, PAM_FAIL_DELAY, delay.item);
	return status;
}

/* A module may have changed the name; we know the user by the one that was asked for. */
static bool
same_user(pam_handle_t *pam, const char *user)
{
	const void *now = NULL;

	return pam_get_item(pam, PAM_USER, &now) == PAM_SUCCESS && now != NULL &&
	       strcmp(now, user) == 0;
}

void
check_pam_folder(const char *folder)
{
	services = folder;
}

bool
pam_service_exists(const char *service)
{
	const char *const folders[] = {services != NULL ? services : "/etc/pam.d",
				       services != NULL ? services : "/usr/lib/pam.d"};
	char path[512];

	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", folders[i], service);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

enum auth_verdict
check_pam(const char *service, const char *user, const struct secret *password,
	  const struct addr *client, enum auth_why *why, const char **what)
{
	struct talk talk = {password, false};
	struct pam_conv conv = {converse, &talk};
	pam_handle_t *pam = NULL;
	enum auth_verdict verdict;
	int status;

	*what = "";
	if (secret_has_nul(password)) { /* a C string would stop there */
		*why = WHY_WRONG_SECRET;
		return AUTH_REFUSED;
	}
	if (!pam_service_exists(service)) {
		*why = WHY_BROKEN;
		*what = "there is no such service in /etc/pam.d";
		return AUTH_UNAVAILABLE;
	}
	status = services != NULL ? pam_start_confdir(service, user, &conv, services, &pam)
				  : pam_start(service, user, &conv, &pam);
	if (status != PAM_SUCCESS || pam == NULL) {
		*why = WHY_BROKEN;
		*what = "pam_start";
		return AUTH_UNAVAILABLE;
	}
	status = set_items(pam, client);
	if (status == PAM_SUCCESS)
		status = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (status == PAM_SUCCESS)
		status = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	verdict = verdict_of(status, why);
	if (verdict == AUTH_GOOD && !same_user(pam, user)) {
		verdict = AUTH_REFUSED;
		*why = WHY_ACCOUNT;
		*what = "a module changed the name of the user";
	} else if (verdict != AUTH_GOOD)
		*what = pam_strerror(pam, status);
	pam_end(pam, status);
	return verdict;
}
