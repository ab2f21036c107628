/*
 * pam_asks.c - a module of PAM for the tests: asks what its argument says, a letter a question, and
 * is content if it gets exactly the answers that it may get.
 *
 * p: a prompt without echo; e: one with echo; i, x: words to the user; 2: two prompts in one call.
 * The first prompt must get "secret"; every later question, and one with echo, must be refused.
 */
#include <security/pam_modules.h>
#include <stdlib.h>
#include <string.h>

static int
ask(pam_handle_t *pam, int style, int n, char **answer)
{
	const struct pam_message m = {style, "?"};
	const struct pam_message *list[2] = {&m, &m};
	struct pam_response *r = NULL;
	const void *item = NULL;
	const struct pam_conv *conv;
	int status;

	if (pam_get_item(pam, PAM_CONV, &item) != PAM_SUCCESS || item == NULL)
		return PAM_SERVICE_ERR;
	conv = item;
	status = conv->conv(n, list, &r, conv->appdata_ptr);
	*answer = status == PAM_SUCCESS && r != NULL ? r[0].resp : NULL;
	return status;
}

int
pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	int prompts = 0;

	(void)flags;
	for (const char *q = argc > 0 ? argv[0] : ""; *q != '\0'; q++) {
		int style = *q == 'e'   ? PAM_PROMPT_ECHO_ON
			    : *q == 'i' ? PAM_TEXT_INFO
			    : *q == 'x' ? PAM_ERROR_MSG
					: PAM_PROMPT_ECHO_OFF;
		char *answer = NULL;
		int status = ask(pam, style, *q == '2' ? 2 : 1, &answer);

		if (*q == 'i' || *q == 'x') {
			if (status != PAM_SUCCESS || answer != NULL)
				return PAM_AUTH_ERR;
		} else if (*q == 'p' && prompts++ == 0) {
			if (status != PAM_SUCCESS || answer == NULL ||
			    strcmp(answer, "secret") != 0)
				return PAM_AUTH_ERR;
		} else if (status == PAM_SUCCESS)
			return PAM_AUTH_ERR; /* it was given a second time, or to be shown */
		free(answer);
	}
	return PAM_SUCCESS;
}

int
pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	(void)pam;
	(void)flags;
	(void)argc;
	(void)argv;
	return PAM_SUCCESS;
}
