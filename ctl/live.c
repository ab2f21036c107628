/*
 * live.c - asking a running server, see live.h: where its socket is, a request, lines of JSON.
 *
 * May block as long as the server works on the answer.
 */
#include "ctl/live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "settings/settings.h"

#define DEFAULT_SOCKET "/run/sallyport/control"
#define LINE_MOST (1 << 20) /* no server of ours sends a longer one */

/* ---- where it is --------------------------------------------------------------------------- */

bool
live_settings(const char *file, struct settings *s)
{
	struct place nowhere = {0};
	struct problems problems;
	struct sources sources;
	struct tree *tree;
	bool ok = false;

	sources_init(&sources);
	problems_init(&problems);
	tree = tree_load(&sources, file, file, nowhere, &problems);
	if (tree != NULL && node_get(tree_root(tree), "listeners") != NULL) {
		settings_read(tree_root(tree), tree_source(tree)->dir, s, &problems);
		ok = true;
	}
	if (tree != NULL) {
		tree_settle(tree, &problems);
		tree_free(tree);
	}
	problems_free(&problems);
	sources_free(&sources);
	return ok;
}

static bool
socket_of_file(const char *file, char *out, size_t size)
{
	struct settings *s = calloc(1, sizeof *s);
	bool ok = s != NULL && live_settings(file, s);

	if (ok)
		snprintf(out, size, "%s", s->control.socket);
	free(s);
	return ok;
}

static bool
find_socket(struct live *l)
{
	const struct ctl_call *call = l->call;
	const char *given = option_value(call, "socket");
	char shown[512];
	struct text t;
	bool ok;

	if (given != NULL) {
		snprintf(l->path, sizeof l->path, "%s", given);
		return true;
	}
	l->path[0] = '\0';
	ok = socket_of_file(call->file, l->path, sizeof l->path);
	if (ok && l->path[0] != '\0')
		return true;
	if (option_value(call, "config") == NULL) { /* it may be for its keeper's eyes only */
		snprintf(l->path, sizeof l->path, "%s", DEFAULT_SOCKET);
		return true;
	}
	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, call->file, strlen(call->file), 256);
	if (ok)
		ctl_fail(call, "%s has no 'control': its server listens on no control socket",
			 shown);
	else
		ctl_fail(call, "cannot read the settings in %s: see 'sallyctl check'", shown);
	return false;
}

/* ---- talking ------------------------------------------------------------------------------- */

static bool
no_server(const struct live *l, int error)
{
	char shown[512];
	struct text t;

	text_init(&t, shown, sizeof shown);
	text_put_quoted(&t, l->path, strlen(l->path), 256);
	if (error == ENOENT || error == ECONNREFUSED)
		ctl_fail(l->call, "no server answers at %s: %s", shown,
			 error == ENOENT ? "there is no such socket" : "nobody listens there");
	else
		ctl_fail(l->call, "cannot reach the server at %s: %s", shown, strerror(error));
	return false;
}

/* 0, or why not. */
static int
try_reach(struct live *l)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	if (strlen(l->path) >= sizeof at.sun_path)
		return ENAMETOOLONG;
	memcpy(at.sun_path, l->path, strlen(l->path) + 1);
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd == -1 || connect(l->fd, (struct sockaddr *)&at, sizeof at) == -1)
		return errno;
	return 0;
}

static bool
reach(struct live *l)
{
	int error = try_reach(l);

	return error == 0 || no_server(l, error);
}

/* A server that may not be asked is one, too: that is told when it is asked. */
bool
live_there(const struct ctl_call *call, const char *socket)
{
	const char *given = option_value(call, "socket"), *path = given != NULL ? given : socket;
	struct live l = {.call = call, .fd = -1};
	int error = ENOENT;

	if (path != NULL && path[0] != '\0') {
		snprintf(l.path, sizeof l.path, "%s", path);
		error = try_reach(&l);
	}
	live_close(&l);
	return error != ENOENT && error != ECONNREFUSED;
}

bool
live_again(struct live *l, const struct control_request *r)
{
	char line[CONTROL_REQUEST + 1];
	struct text t;
	size_t done = 0;

	text_init(&t, line, sizeof line);
	control_format(r, &t);
	if (t.cut) {
		ctl_fail(l->call, "the request is too long");
		return false;
	}
	while (done < t.len) {
		ssize_t n = send(l->fd, line + done, t.len - done, MSG_NOSIGNAL);

		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			break; /* it may have said why: that is read next */
		done += (size_t)n;
	}
	return true;
}

bool
live_ask(struct live *l, const struct ctl_call *call, const struct control_request *r)
{
	memset(l, 0, sizeof *l);
	l->call = call;
	l->fd = -1;
	if (find_socket(l) && reach(l) && live_again(l, r))
		return true;
	live_close(l);
	return false;
}

bool
live_ended(const struct live *l)
{
	char byte;

	return recv(l->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void
live_close(struct live *l)
{
	if (l->fd != -1)
		close(l->fd);
	l->fd = -1;
	free(l->in);
	l->in = NULL;
}

/* More bytes behind those that are not read yet. */
static bool
hear(struct live *l)
{
	ssize_t n;

	if (l->at > 0) {
		memmove(l->in, l->in + l->at, l->len - l->at);
		l->len -= l->at;
		l->at = 0;
	}
	if (l->len == l->cap) {
		if (l->cap >= LINE_MOST)
			return false;
		l->cap = l->cap == 0 ? 65536 : l->cap * 2;
		l->in = realloc(l->in, l->cap);
		if (l->in == NULL)
			abort();
	}
	do {
		n = recv(l->fd, l->in + l->len, l->cap - l->len, 0);
	} while (n == -1 && errno == EINTR);
	if (n <= 0)
		return false;
	l->len += (size_t)n;
	return true;
}

json_t *
live_next(struct live *l, const char **raw)
{
	size_t seen = l->at;
	json_t *line;
	char *end;

	while ((end = l->len > seen ? memchr(l->in + seen, '\n', l->len - seen) : NULL) == NULL) {
		size_t unread = l->len - l->at;

		if (!hear(l)) {
			ctl_fail(l->call, "the server ended the connection before it had answered");
			return NULL;
		}
		seen = unread;
	}
	*end = '\0';
	if (raw != NULL)
		*raw = l->in + l->at;
	line = json_loads(l->in + l->at, 0, NULL);
	l->at = (size_t)(end - l->in) + 1;
	if (!json_is_object(line)) {
		json_decref(line);
		ctl_fail(l->call, "what answers at the control socket is no server of ours");
		return NULL;
	}
	return line;
}

bool
live_over(const json_t *line)
{
	return json_object_get(line, "done") != NULL;
}

int
live_verdict(const struct live *l, const json_t *last)
{
	const char *error = json_text(last, "error");

	return error[0] == '\0' ? CTL_YES : ctl_fail(l->call, "%s", error);
}

/* ---- words --------------------------------------------------------------------------------- */

const char *
json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

void
json_bytes(const json_t *o, const char *key, struct buffer *out)
{
	const unsigned char *p = (const unsigned char *)json_text(o, key);

	for (; *p != '\0'; p++) {
		unsigned char byte = p[0];

		if ((p[0] & 0xfc) == 0xc0 && (p[1] & 0xc0) == 0x80) { /* U+0080 to U+00FF */
			byte = (unsigned char)(p[0] << 6 | (p[1] & 0x3f));
			p++;
		}
		buffer_put(out, &byte, 1);
	}
}

void
json_put_shown(const json_t *o, const char *key, struct buffer *out)
{
	struct buffer bytes = {0};

	json_bytes(o, key, &bytes);
	buffer_put(&bytes, "", 1);
	put_shown(out, bytes.p);
	buffer_free(&bytes);
}

uint64_t
json_count(const json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n > 0 ? (uint64_t)n : 0;
}

bool
live_field(const struct ctl_call *call, struct control_request *r, enum control_field f)
{
	const char *word = control_field_word(f), *value = option_value(call, word);

	if (value == NULL)
		return true;
	if (value[0] != '\0' && control_set_string(r, f, value))
		return true;
	ctl_fail(call, "the value of '--%s' is %s", word, value[0] == '\0' ? "empty" : "too long");
	return false;
}

bool
live_age(const struct ctl_call *call, struct control_request *r, enum control_field f,
	 const char *option)
{
	const char *value = option_value(call, option);
	uint64_t n;

	if (value == NULL)
		return true;
	if (text_parse_u64(value, strlen(value), INT64_MAX, &n))
		control_set_number(r, f, n);
	else if (quantity_ms(value, strlen(value), &n))
		control_set_number(r, f, n / 1000);
	else {
		ctl_fail(call, "'--%s' takes a time, as '90 s' or '2 h'", option);
		return false;
	}
	return true;
}
