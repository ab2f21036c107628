/*
 * passwd.c - sallyctl passwd: the users of auth.file, and their passwords.
 *
 * Lines of others stay byte for byte. Two that change the file at the same time do it one after
 * the other. A password is asked for without echo, or read from the standard input; it stands in
 * no argument, so no list of processes shows it, and is wiped when its hash is made.
 */
#include "config.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "ctl/ctl.h"
#include "settings/users.h"

#define SHOWN 512

struct job {
	const struct ctl_call *call;
	const char *name; /* NULL: list */
	char path[SETTINGS_PATH], shown[SHOWN];
	int fd; /* open and locked, where the file is to be changed; -1 */
	char *text;
	size_t len;
	struct users users;
	mode_t mode;
};

/* ---- the file --------------------------------------------------------------------- */

static bool
find_path(struct job *j)
{
	const char *given = option_value(j->call, "users");
	struct text t;

	if (given != NULL) {
		snprintf(j->path, sizeof j->path, "%s", given);
	} else {
		struct rules_load l;

		rules_load(&l, j->call->file, false, clock_wall_ns() / NS_PER_S);
		snprintf(j->path, sizeof j->path, "%s",
			 l.has_settings ? l.settings.auth.file_path : "");
		rules_load_free(&l);
	}
	text_init(&t, j->shown, sizeof j->shown);
	text_put_quoted(&t, j->path, strlen(j->path), SHOWN / 2);
	if (j->path[0] != '\0')
		return true;
	ctl_fail(j->call, "no file of users: %s has no auth.file.path (or use --users FILE)",
		 j->call->file);
	return false;
}

/* Locked, and still the file of that name: another may have put a new one there while we waited. */
static bool
open_locked(struct job *j, bool fresh)
{
	struct stat held, named;

	for (;;) {
		j->fd = open(j->path, O_RDWR | O_CLOEXEC | O_NOCTTY | (fresh ? O_CREAT : 0), 0600);
		if (j->fd == -1 || flock(j->fd, LOCK_EX) == -1 || fstat(j->fd, &held) == -1)
			return false;
		if (stat(j->path, &named) == 0 && named.st_dev == held.st_dev &&
		    named.st_ino == held.st_ino)
			return true;
		close(j->fd);
	}
}

static bool
read_all(struct job *j, int fd)
{
	size_t room = 0;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) == -1)
		return false;
	j->mode = st.st_mode;
	if (!S_ISREG(st.st_mode) || st.st_size > USERS_FILE_MAX) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		return false;
	}
	do {
		if (j->len == room) {
			room += (size_t)st.st_size + 4096;
			if ((j->text = realloc(j->text, room)) == NULL)
				abort();
		}
		n = read(fd, j->text + j->len, room - j->len);
		if (n > 0)
			j->len += (size_t)n;
	} while (n > 0 && j->len <= USERS_FILE_MAX);
	return n == 0;
}

static bool
parse(struct job *j)
{
	struct problems p;
	bool good;

	problems_init(&p);
	good = users_parse(&j->users, USERS_HASHES, j->path, j->text, j->len, &p);
	for (size_t i = 0; i < p.count && !good; i++)
		if (!p.list[i].warning) {
			ctl_fail(j->call, "%s line %u: %s%s", j->shown, p.list[i].place.line,
				 p.list[i].text,
				 p.errors > 1 ? " (and more, see 'sallyctl check')" : "");
			break;
		}
	problems_free(&p);
	return good;
}

enum purpose { TO_READ, TO_CHANGE, TO_ADD /* makes the file where there is none */ };

/* False: told. */
static bool
open_users(struct job *j, enum purpose purpose)
{
	const char *fault;
	bool good;
	int fd;

	if (purpose != TO_READ)
		good = open_locked(j, purpose == TO_ADD);
	else
		good = (j->fd = open(j->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) != -1;
	fd = j->fd;
	if (!good || !read_all(j, fd)) {
		ctl_fail(j->call, "cannot %s %s: %s", purpose != TO_READ ? "change" : "read",
			 j->shown, errno == EINVAL ? "it is not a regular file" : strerror(errno));
		return false;
	}
	if (!parse(j))
		return false;
	fault = users_mode_fault(USERS_HASHES, j->mode);
	if (fault != NULL)
		fprintf(stderr, "warning: the server will not use %s: %s\n", j->shown, fault);
	return true;
}

static void
close_users(struct job *j)
{
	if (j->fd != -1)
		close(j->fd);
	if (j->text != NULL)
		secret_wipe_bytes(j->text, j->len);
	free(j->text);
	users_free(&j->users);
}

/* The line of the user, with its end: where it starts and behind it. */
static void
line_at(const struct job *j, const struct user_line *l, size_t *from, size_t *to)
{
	const char *end;

	*from = (size_t)(l->name - j->users.text);
	end = memchr(j->text + *from, '\n', j->len - *from);
	*to = end != NULL ? (size_t)(end + 1 - j->text) : j->len;
}

static bool
put_back(struct job *j, const struct buffer *text)
{
	if (text->len <= USERS_FILE_MAX && rewrite(j->path, text->p, text->len, 0600))
		return true;
	ctl_fail(j->call, "cannot change %s: %s", j->shown,
		 text->len > USERS_FILE_MAX ? "it would be larger than 16 MiB" : strerror(errno));
	return false;
}

/* ---- the password ----------------------------------------------------------------- */

/* A line without its end. False: none, too long, or it holds a NUL. */
static bool
read_line(int fd, struct secret *out, const char **fault)
{
	char line[SECRET_MAX + 2];
	size_t len = 0;
	ssize_t n;

	*fault = "it is longer than 255 bytes";
	while (len < sizeof line && (n = read(fd, line + len, 1)) == 1 && line[len] != '\n')
		len++;
	if (len > 0 && line[len - 1] == '\r' && len < sizeof line)
		len--;
	if (len == 0)
		*fault = "it is empty";
	else if (memchr(line, 0, len) != NULL)
		*fault = "it holds a NUL";
	else if (secret_set(out, line, len))
		*fault = NULL;
	secret_wipe_bytes(line, sizeof line);
	return *fault == NULL;
}

static volatile sig_atomic_t interrupted;

static void
interrupt(int number)
{
	interrupted = number;
}

/* Without echo; the terminal is as before whatever happens, Ctrl-C included. */
static bool
read_silently(int tty, const char *words, size_t len, struct secret *out, const char **fault)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
	struct sigaction catch = {.sa_handler = interrupt}, old[5];
	struct pollfd typed = {.fd = tty, .events = POLLIN};
	struct termios before, silent;
	sigset_t held, open_to;
	bool good;

	if (tcgetattr(tty, &before) == -1) {
		*fault = strerror(errno);
		return false;
	}
	sigemptyset(&held);
	for (size_t i = 0; i < 5; i++) {
		sigaction(numbers[i], &catch, &old[i]);
		sigaddset(&held, numbers[i]);
	}
	sigprocmask(SIG_BLOCK, &held, &open_to); /* but for the wait: none comes in between */
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	silent.c_lflag |= ICANON;
	tcsetattr(tty, TCSAFLUSH, &silent);
	*fault = "interrupted";
	good = write(tty, words, len) == (ssize_t)len && ppoll(&typed, 1, NULL, &open_to) == 1 &&
	       read_line(tty, out, fault); /* a terminal gives whole lines */
	tcsetattr(tty, TCSAFLUSH, &before);
	if (write(tty, "\n", 1) != 1)
		good = false;
	for (size_t i = 0; i < 5; i++)
		sigaction(numbers[i], &old[i], NULL);
	sigprocmask(SIG_SETMASK, &open_to, NULL);
	if (interrupted != 0) {
		secret_wipe(out);
		raise(interrupted);
	}
	return good;
}

static bool
prompt(int tty, const char *words, const char *name, struct secret *out, const char **fault)
{
	char line[SHOWN];
	struct text t;

	text_init(&t, line, sizeof line);
	text_put(&t, words);
	if (name != NULL)
		text_put_quoted(&t, name, strlen(name), 255);
	text_put(&t, ": ");
	return read_silently(tty, line, t.len, out, fault);
}

static bool
ask_twice(int tty, const char *name, struct secret *out, const char **fault)
{
	struct secret again = {0};
	bool good = prompt(tty, "new password for ", name, out, fault) &&
		    prompt(tty, "once more", NULL, &again, fault);

	if (good && (secret_length(out) != secret_length(&again) ||
		     !secret_same(secret_reveal(out), secret_reveal(&again), secret_length(out)))) {
		*fault = "the two are not the same";
		good = false;
	}
	secret_wipe(&again);
	return good;
}

/* False: told. */
static bool
get_password(const struct ctl_call *call, const char *name, bool fresh, struct secret *out)
{
	const char *fault = NULL;
	bool good;
	int tty;

	if (!isatty(STDIN_FILENO)) {
		good = read_line(STDIN_FILENO, out, &fault);
	} else {
		tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (tty == -1)
			tty = dup(STDIN_FILENO);
		good = fresh ? ask_twice(tty, name, out, &fault)
			     : prompt(tty, "password of ", name, out, &fault);
		close(tty);
	}
	if (!good) {
		secret_wipe(out);
		ctl_fail(call, "no password: %s", fault != NULL ? fault : strerror(errno));
	}
	return good;
}

static bool
make_hash(const struct secret *password, char hash[CRYPT_OUTPUT_SIZE])
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *data = calloc(1, sizeof *data);
	const char *made = NULL;

	if (data != NULL && crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting) != NULL)
		made = crypt_rn(secret_reveal(password), setting, data, sizeof *data);
	if (made != NULL)
		snprintf(hash, CRYPT_OUTPUT_SIZE, "%s", made);
	if (data != NULL)
		secret_wipe_bytes(data, sizeof *data);
	free(data);
	return made != NULL;
}

static bool
hash_fits(const char *hash, const struct secret *password)
{
	struct crypt_data *data = calloc(1, sizeof *data);
	const char *made =
	    data != NULL ? crypt_rn(secret_reveal(password), hash, data, sizeof *data) : NULL;
	bool good =
	    made != NULL && strlen(made) == strlen(hash) && secret_same(made, hash, strlen(hash));

	if (data != NULL)
		secret_wipe_bytes(data, sizeof *data);
	free(data);
	return good;
}

/* ---- the verbs -------------------------------------------------------------------- */

static int
tell(const struct job *j, const char *key, bool yes, const char *words)
{
	struct buffer out = {0};
	char name[SHOWN];
	struct text t;

	if (j->call->json) {
		buffer_puts(&out, "{\"user\":");
		buffer_put_json(&out, j->name, strlen(j->name));
		buffer_putf(&out, ",\"%s\":%s}\n", key, yes ? "true" : "false");
	} else {
		text_init(&t, name, sizeof name);
		text_put_quoted(&t, j->name, strlen(j->name), 255);
		buffer_putf(&out, "%s %s\n", name, words);
	}
	return ctl_done(&out, yes ? CTL_YES : CTL_NO);
}

static int
add(struct job *j)
{
	const char *fault = users_name_fault(j->name, strlen(j->name));
	struct secret password = {0};
	char hash[CRYPT_OUTPUT_SIZE];
	const struct user_line *l;
	struct buffer out = {0};
	size_t from, to;
	bool good;

	if (fault != NULL)
		return ctl_fail(j->call, "this cannot be a user: %s", fault);
	if (!get_password(j->call, j->name, true, &password))
		return CTL_FAILED;
	good = make_hash(&password, hash);
	secret_wipe(&password);
	if (!good)
		return ctl_fail(j->call, "libcrypt cannot make a yescrypt hash");
	if (!open_users(j, TO_ADD))
		return CTL_FAILED;
	l = users_find(&j->users, j->name, strlen(j->name));
	from = to = j->len;
	if (l != NULL)
		line_at(j, l, &from, &to);
	buffer_put(&out, j->text, from);
	if (from > 0 && j->text[from - 1] != '\n')
		buffer_puts(&out, "\n");
	buffer_putf(&out, "%s:%s\n", j->name, hash);
	buffer_put(&out, j->text + to, j->len - to);
	good = put_back(j, &out);
	secret_wipe_bytes(out.p, out.len);
	buffer_free(&out);
	if (!good)
		return CTL_FAILED;
	return tell(j, l != NULL ? "changed" : "added", true,
		    l != NULL ? "has a new password" : "was added");
}

static int
del(struct job *j)
{
	const struct user_line *l;
	struct buffer out = {0};
	size_t from, to;
	bool good;

	if (!open_users(j, TO_CHANGE))
		return CTL_FAILED;
	l = users_find(&j->users, j->name, strlen(j->name));
	if (l == NULL)
		return tell(j, "removed", false, "is not there");
	line_at(j, l, &from, &to);
	buffer_put(&out, j->text, from);
	buffer_put(&out, j->text + to, j->len - to);
	good = put_back(j, &out);
	buffer_free(&out);
	return good ? tell(j, "removed", true, "was removed") : CTL_FAILED;
}

static int
check(struct job *j)
{
	struct secret password = {0};
	const struct user_line *l;
	bool good;

	if (!open_users(j, TO_READ) || !get_password(j->call, j->name, false, &password))
		return CTL_FAILED;
	l = users_find(&j->users, j->name, strlen(j->name));
	good = l != NULL && !user_disabled(l) && hash_fits(l->value, &password);
	secret_wipe(&password);
	return tell(j, "right", good,
		    good               ? "has this password"
		    : l == NULL        ? "is not there"
		    : user_disabled(l) ? "is disabled"
				       : "has another password");
}

static const char *
kind_of(const struct user_line *l)
{
	static const struct {
		const char *prefix, *word;
	} kinds[] = {
	    {"$y$", "yescrypt"},
	    {"$gy$", "gost-yescrypt"},
	    {"$7$", "scrypt"},
	    {"$2", "bcrypt"},
	    {"$6$", "sha512crypt"},
	    {"$5$", "sha256crypt"},
	    {"$sha1$", "sha1crypt"},
	    {"$md5", "sunmd5"},
	    {"$1$", "md5crypt"},
	    {"$3$", "nthash"},
	    {"!", "disabled"},
	    {"*", "disabled"},
	    {"", "des"},
	};
	size_t i = 0;

	while (strncmp(l->value, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
		i++;
	return kinds[i].word;
}

static int
list(struct job *j)
{
	struct buffer out = {0};
	size_t widest = 0;

	if (!open_users(j, TO_READ))
		return CTL_FAILED;
	for (size_t i = 0; i < j->users.count; i++)
		if (j->users.lines[i].name_len > widest)
			widest = j->users.lines[i].name_len;
	if (j->call->json)
		buffer_puts(&out, "{\"users\":[");
	for (size_t i = 0; i < j->users.count; i++) {
		const struct user_line *l = &j->users.lines[i];

		if (j->call->json) {
			buffer_putf(&out, "%s{\"name\":", i > 0 ? "," : "");
			buffer_put_json(&out, l->name, l->name_len);
			buffer_putf(&out, ",\"hash\":\"%s\",\"disabled\":%s}", kind_of(l),
				    user_disabled(l) ? "true" : "false");
		} else {
			put_shown(&out, l->name);
			buffer_putf(&out, "%*s  %s\n", (int)(widest - l->name_len), "", kind_of(l));
		}
	}
	if (j->call->json)
		buffer_puts(&out, "]}\n");
	return ctl_done(&out, CTL_YES);
}

static const struct {
	const char *word;
	unsigned operands; /* the word counts */
	int (*run)(struct job *);
} verbs[] = {{"add", 2, add}, {"del", 2, del}, {"check", 2, check}, {"list", 1, list}};

int
passwd_run(struct ctl_call *call)
{
	struct job j = {.call = call, .fd = -1};
	int status;

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(call->operands[0], verbs[i].word) != 0)
			continue;
		if (call->operand_count != verbs[i].operands)
			return ctl_fail(call, "usage: sallyctl passwd %s%s", verbs[i].word,
					verbs[i].operands == 2 ? " NAME" : "");
		j.name = call->operands[1];
		status = find_path(&j) ? verbs[i].run(&j) : CTL_FAILED;
		close_users(&j);
		return status;
	}
	return ctl_fail(call, "passwd knows add, del, check and list");
}
