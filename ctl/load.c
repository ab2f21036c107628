/*
 * load.c - the file that a command judges: loaded, opened, its problems told.
 *
 * May block on files.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/ctl.h"

bool
file_opens(const char *path, int *error)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	*error = 0;
	if (fd == -1) {
		*error = errno;
		return false;
	}
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		*error = EISDIR;
	close(fd);
	return *error == 0;
}

void
problems_put(const struct ctl_call *call, const struct rules_load *l, struct buffer *out)
{
	if (call->json) {
		problems_render_json(&l->problems, out);
		buffer_puts(out, "\n");
	} else {
		problems_render(&l->problems, &l->sources, call->colour, out);
	}
}

/* Why the file cannot be used: in JSON on stdout, else on stderr; a policy with errors judges
 * nobody. */
static void
refuse(const struct ctl_call *call, const struct rules_load *l)
{
	struct buffer out = {0};

	problems_put(call, l, &out);
	if (call->json)
		ctl_write(&out);
	else
		fwrite(out.p, 1, out.len, stderr);
	buffer_free(&out);
	if (!call->json)
		ctl_fail(call, "nothing is judged by a file with errors");
}

bool
load_policy(const struct ctl_call *call, struct rules_load *l, struct policy **policy)
{
	char shown[512];
	struct text t;
	int error;

	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, call->file, strlen(call->file), 256);
	if (!file_opens(call->file, &error)) {
		ctl_fail(call, "cannot read %s: %s", shown, strerror(error));
		return false;
	}
	if (!rules_load(l, call->file, false, clock_wall_ns() / NS_PER_S)) {
		refuse(call, l);
		rules_load_free(l);
		return false;
	}
	*policy = policy_open(l->image, l->image_len);
	if (*policy == NULL) {
		ctl_fail(call, "the policy that was compiled from %s cannot be opened", shown);
		rules_load_free(l);
		return false;
	}
	return true;
}

void
load_free(struct rules_load *l, struct policy *policy)
{
	policy_close(policy);
	rules_load_free(l);
}
