/*
 * tests/fuzz/replay_text.c - see tests/fuzz/text.h. Prints "N passed, N failed" of the folders; one
 * without a file has failed.
 */
#include <dirent.h>

#include "text.h"

static void
replay_bytes(uint8_t *data, size_t len)
{
	size_t step = len / replay_text.cuts + 1;

	LLVMFuzzerTestOneInput(data, len);
	for (size_t i = 0; i < len; i += step) {
		uint8_t kept = data[i];

		LLVMFuzzerTestOneInput(data, i);
		data[i] = (uint8_t)replay_text.changes[i % replay_text.change_count];
		LLVMFuzzerTestOneInput(data, len);
		data[i] = kept;
	}
}

static void
replay_file(const char *path)
{
	FILE *f = fopen(path, "r");
	uint8_t *data = malloc(65536);
	size_t len;

	if (f == NULL || data == NULL)
		abort();
	len = fread(data, 1, 65536, f);
	fclose(f);
	if (len > 0)
		replay_bytes(data, len);
	free(data);
}

static bool
is_wanted(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_type == DT_REG &&
	       (replay_text.but == NULL || (dot != NULL && strcmp(dot, replay_text.but) != 0));
}

static unsigned
replay_folder(const char *srcdir, const char *name)
{
	char path[4096];
	unsigned count = 0;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "%s/%s", srcdir, name);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (!is_wanted(e))
			continue;
		snprintf(path, sizeof path, "%s/%s/%s", srcdir, name, e->d_name);
		replay_file(path);
		count++;
	}
	if (d != NULL)
		closedir(d);
	return count;
}

int
main(void)
{
	const char *srcdir = getenv("srcdir");
	unsigned failed = 0, passed = 0;

	for (const char *const *f = replay_text.folders; *f != NULL; f++) {
		if (replay_folder(srcdir != NULL ? srcdir : SRCDIR, *f) > 0)
			passed++;
		else
			failed++;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
