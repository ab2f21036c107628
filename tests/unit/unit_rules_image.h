/*
 * tests/unit/unit_rules_image.h - policies for the tests of image, evaluate and explain: text
 * written to a file of its own, loaded, compiled and opened.
 */
#ifndef TESTS_UNIT_RULES_IMAGE_H
#define TESTS_UNIT_RULES_IMAGE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "rules/rules.h"

#define TEST_NOW 1795514400 /* 2026-11-24 10:00 UTC */

struct loaded {
	struct rules_load load;
	struct policy *policy;
};

/* Loads a file; prints every problem and gives NULL in policy if there was an error. */
static inline void
policy_load_file(struct loaded *l, const char *path)
{
	struct buffer b = {0};

	memset(l, 0, sizeof(*l));
	if (rules_load(&l->load, path, false, TEST_NOW)) {
		l->policy = policy_open(l->load.image, l->load.image_len);
		return;
	}
	problems_render(&l->load.problems, &l->load.sources, false, &b);
	printf("\n%.*s\n", (int)b.len, b.p == NULL ? "" : b.p);
	buffer_free(&b);
}

static inline void
policy_load_text(struct loaded *l, const char *text)
{
	char path[] = "/tmp/unit_rules_XXXXXX";
	int fd = mkstemp(path);

	memset(l, 0, sizeof(*l));
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		printf("\ncannot write %s\n", path);
		return;
	}
	close(fd);
	policy_load_file(l, path);
	unlink(path);
}

static inline void
policy_unload(struct loaded *l)
{
	policy_close(l->policy);
	rules_load_free(&l->load);
}

#endif
