/*
 * live.h - asking a running server by its control socket (wire/control.h).
 */
#ifndef CTL_LIVE_H
#define CTL_LIVE_H

#include <jansson.h>

#include "ctl/ctl.h"
#include "wire/control.h"

struct settings;
/* The settings in the file, its policy unread; false: it cannot be read, or is no sallyport.conf. */
bool live_settings(const char *file, struct settings *s);

struct live {
	const struct ctl_call *call;
	char path[1024]; /* of the socket */
	int fd;
	char *in; /* what has come; at..len is not read yet */
	size_t at, len, cap;
};

#define LIVE_OPTION {"socket", 0, "PATH", "the server's control socket; default: as the settings say"}

/* Connects and sends the request; false: told. Then live_next until the answer is over, and live_close. */
bool live_ask(struct live *l, const struct ctl_call *call, const struct control_request *r);
/*
 * One line of the answer, the caller's to json_decref; *raw, if not NULL: its text, good until the next call. NULL:
 * the connection broke (told).
 */
json_t *live_next(struct live *l, const char **raw);
bool live_over(const json_t *line); /* the last one */
/* The last line says that it was refused: tells why, returns CTL_FAILED; else CTL_YES. */
int live_verdict(const struct live *l, const json_t *last);
/* Another request on the same connection; false: told. */
bool live_again(struct live *l, const struct control_request *r);
bool live_ended(const struct live *l); /* by the server, between two answers */
void live_close(struct live *l);
/* Is there a server behind the call's socket, or that of the settings (NULL: none)? Says nothing. */
bool live_there(const struct ctl_call *call, const char *socket);
/*
 * Reloads; what is to be told (the server's problems, too) goes to out. CTL_YES: the server has taken it; CTL_NO: it
 * refused; CTL_FAILED: it could not be asked (told).
 */
int live_reload(const struct ctl_call *call, bool preview, struct buffer *out);

/* Takes --user, --rule and their like from the options into the request; false: told. */
bool live_field(const struct ctl_call *call, struct control_request *r, enum control_field f);
/* "3 d", "41 s", a plain number of seconds or a quantity as in settings, in seconds; false: told. */
bool live_age(const struct ctl_call *call, struct control_request *r, enum control_field f,
	      const char *option);

/* "" where it is absent. */
const char *json_text(const json_t *o, const char *key);
/* The bytes that the server meant: it tells each byte from outside as one character. */
void json_bytes(const json_t *o, const char *key, struct buffer *out);
/* The same for a terminal. */
void json_put_shown(const json_t *o, const char *key, struct buffer *out);
uint64_t json_count(const json_t *o, const char *key);

/* The commands. */
int status_run(struct ctl_call *call);
int sessions_run(struct ctl_call *call);
int rules_run(struct ctl_call *call);
int log_run(struct ctl_call *call);
int metrics_run(struct ctl_call *call);
int top_run(struct ctl_call *call);
int kill_run(struct ctl_call *call);
int reload_run(struct ctl_call *call);
int restart_run(struct ctl_call *call);
int drain_run(struct ctl_call *call);
int reopen_run(struct ctl_call *call);

#endif
