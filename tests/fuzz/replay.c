/*
 * tests/fuzz/replay.c - runs a fuzzer's function without libFuzzer: over each file of
 * its corpus and some thousands of mutations, the same ones each time. Prints
 * "N passed, N failed"; a failure ends the run and tells the input.
 *
 * replay_NAME takes $srcdir/tests/fuzz/corpus/NAME; or the files given as arguments,
 * as they are, to see a finding again.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "fuzz.h"

#define FILES_MAX 256
#define INPUT_MAX 4096
#define MUTATIONS 6000

struct input {
	char name[256];
	uint8_t *bytes;
	size_t len;
};

static struct {
	struct input corpus[FILES_MAX];
	size_t count;
	/* being run */
	const char *name;
	unsigned mutation; /* 0: the file itself */
	const uint8_t *bytes;
	size_t len;
	unsigned passed;
} replay;

/* Only for faults of our own making in one thread: stdio is as whole as it was at the call. */
static void
on_fault(int number)
{
	printf("\nsignal %d on '%s', mutation %u, %zu bytes:\n", number, replay.name,
	       replay.mutation, replay.len);
	for (size_t i = 0; i < replay.len; i++)
		printf("%02x", replay.bytes[i]);
	printf("\n\n%u passed, 1 failed\n", replay.passed);
	fflush(stdout);
	_exit(1);
}

static void
run(const struct input *file, unsigned mutation, const uint8_t *bytes, size_t len)
{
	/* a block of its own size, as libFuzzer gives */
	uint8_t *exact = malloc(len > 0 ? len : 1);

	if (exact == NULL)
		abort();
	if (len > 0)
		memcpy(exact, bytes, len);
	replay.name = file->name;
	replay.mutation = mutation;
	replay.bytes = exact;
	replay.len = len;
	LLVMFuzzerTestOneInput(exact, len);
	replay.passed++;
	free(exact);
}

static bool
load(const char *path, const char *name)
{
	struct input *in = &replay.corpus[replay.count];
	FILE *f = fopen(path, "rb");

	if (f == NULL || replay.count == FILES_MAX) {
		if (f != NULL)
			fclose(f);
		return false;
	}
	snprintf(in->name, sizeof in->name, "%s", name);
	in->bytes = malloc(INPUT_MAX);
	if (in->bytes == NULL)
		abort();
	in->len = fread(in->bytes, 1, INPUT_MAX, f);
	fclose(f);
	replay.count++;
	return true;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

/* In the order of names: folders have none, and the mutations depend on it. */
static bool
load_folder(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	bool good = true;

	if (dir == NULL)
		return false;
	while ((e = readdir(dir)) != NULL) {
		char file[4096 + sizeof e->d_name];

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		good &= load(file, e->d_name);
	}
	closedir(dir);
	qsort(replay.corpus, replay.count, sizeof *replay.corpus, by_name);
	return good && replay.count > 0;
}

/* --- mutations --- */

static uint64_t
next_random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x >> 16;
}

static size_t
below(size_t n)
{
	return n == 0 ? 0 : (size_t)(next_random() % n);
}

static size_t
flip_bit(uint8_t *b, size_t len)
{
	if (len > 0)
		b[below(len)] ^= (uint8_t)(1u << below(8));
	return len;
}

static size_t
set_byte(uint8_t *b, size_t len)
{
	static const uint8_t edges[] = {0,    1,    2,    3,   4,   5,   0x7f,
					0x80, 0xfe, 0xff, '.', ':', '0', ' '};

	if (len > 0)
		b[below(len)] = edges[below(sizeof edges)];
	return len;
}

static size_t
set_any(uint8_t *b, size_t len)
{
	if (len > 0)
		b[below(len)] = (uint8_t)next_random();
	return len;
}

static size_t
cut(uint8_t *b, size_t len)
{
	size_t at = below(len), n = below(len - at + 1);

	memmove(b + at, b + at + n, len - at - n);
	return len - n;
}

static size_t
repeat(uint8_t *b, size_t len)
{
	size_t at = below(len), n = below(len - at + 1);

	if (len + n > INPUT_MAX)
		return len;
	memmove(b + at + n, b + at, len - at);
	return len + n;
}

static size_t
insert_run(uint8_t *b, size_t len)
{
	size_t at = below(len + 1), n = 1 + below(below(8) == 0 ? 300 : 4);

	if (len + n > INPUT_MAX)
		return len;
	memmove(b + at + n, b + at, len - at);
	memset(b + at, (int)(next_random() & 0xff), n);
	return len + n;
}

static size_t
splice(uint8_t *b, size_t len)
{
	const struct input *other = &replay.corpus[below(replay.count)];
	size_t at = below(len + 1), from = below(other->len), n = other->len - from;

	if (n > INPUT_MAX - at)
		n = INPUT_MAX - at;
	memcpy(b + at, other->bytes + from, n);
	return at + n;
}

static size_t (*const ways[])(uint8_t *b, size_t len) = {
    flip_bit, set_byte, set_any, cut, repeat, insert_run, splice,
};

static void
run_mutations(void)
{
	static uint8_t bytes[INPUT_MAX];

	for (unsigned i = 0; i < MUTATIONS; i++) {
		const struct input *file = &replay.corpus[i % replay.count];
		size_t len = file->len, times = 1 + below(4);

		memcpy(bytes, file->bytes, len);
		while (times-- > 0)
			len = ways[below(sizeof ways / sizeof *ways)](bytes, len);
		run(file, i + 1, bytes, len);
	}
}

static bool
load_corpus(const char *program)
{
	const char *name = strstr(program, "replay_"), *srcdir = getenv("srcdir");
	char path[4096];

	if (name == NULL)
		return false;
	snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s", srcdir != NULL ? srcdir : SRCDIR,
		 name + strlen("replay_"));
	if (load_folder(path))
		return true;
	fprintf(stderr, "cannot read the corpus '%s': %s\n", path, strerror(errno));
	return false;
}

int
main(int argc, char **argv)
{
	static const int faults[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
		signal(faults[i], on_fault);
	for (int i = 1; i < argc; i++)
		if (!load(argv[i], argv[i])) {
			fprintf(stderr, "cannot read '%s'\n", argv[i]);
			return 2;
		}
	if (argc == 1 && !load_corpus(program_invocation_short_name)) {
		printf("0 passed, 1 failed\n");
		return 1;
	}
	for (size_t i = 0; i < replay.count; i++)
		run(&replay.corpus[i], 0, replay.corpus[i].bytes, replay.corpus[i].len);
	if (argc == 1)
		run_mutations();
	for (size_t i = 0; i < replay.count; i++)
		free(replay.corpus[i].bytes);
	printf("%u passed, 0 failed\n", replay.passed);
	return 0;
}
