/*
 * top.c - sallyctl top: what the server is busy with, on the whole screen or as plain text.
 *
 * The server adds up (daemon/ranking.h), so the answer is small however many sessions there are.
 * While it works on one, keys are heard all the same. Names come from outside: they are shown as
 * put_shown has them, cut to their column.
 */
#include <curses.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <wchar.h>

#include "base/clock.h"
#include "ctl/live.h"
#include "settings/settings.h"

#define PLAIN_WIDTH 100
#define PLAIN_ROWS 10
#define INTERVAL_MS 2000
#define LEAST_MS 1000 /* no look of the server is newer */
#define MOST_MS 3600000
#define PATIENCE 10   /* a refresh waits so many times as long as the answer took */
#define SILENCE_S 20  /* of a server that has begun to answer */
#define NAME_LEAST 16 /* columns of numbers are left out before a name gets narrower */
#define NUMBER_WIDTH 10
#define HEAD_LINES 5

enum list { USERS, SOURCES, DESTINATIONS, RULES, DENIALS, LISTS, OVERVIEW = LISTS, VIEWS };
static const char *const list_words[VIEWS] = {"users", "sources", "destinations",
					      "rules", "denials", "overview"};
static const char *const orders[] = {"rate", "sessions", "bytes", "matches"};
#define ORDERS (sizeof orders / sizeof orders[0])

struct row {
	char *name;
	uint64_t sessions, up, down, matches;
	double up_rate, down_rate, match_rate;
	bool deny;
};

struct shot {
	json_t *totals;
	json_t *all; /* --json: the totals, and each list as an array */
	struct row *rows[LISTS];
	size_t count[LISTS];
};

struct top {
	const struct ctl_call *call;
	struct live live;
	bool connected;
	struct shot shot;
	unsigned view, order;
	int64_t interval_ms, asked_ms, took_ms;
	uint64_t rows;
	bool paused, help;
};

static bool on_screen;

/* ---- what the server tells ----------------------------------------------------------------- */

static void
shot_free(struct shot *s)
{
	json_decref(s->totals);
	json_decref(s->all);
	for (int l = 0; l < LISTS; l++) {
		for (size_t i = 0; i < s->count[l]; i++)
			free(s->rows[l][i].name);
		free(s->rows[l]);
	}
	memset(s, 0, sizeof *s);
}

/* Bytes from outside, for a terminal. */
static char *
shown(const json_t *o, const char *key)
{
	struct buffer out = {0};
	char *s;

	json_put_shown(o, key, &out);
	s = buffer_keep(&out);
	buffer_free(&out);
	return s;
}

static double
number(const json_t *o, const char *key)
{
	double n = json_number_value(json_object_get(o, key));

	return n > 0 ? n : 0;
}

static void
take_row(struct shot *s, const json_t *o)
{
	const char *word = json_text(o, "list");
	int l = 0;

	while (l < LISTS && strcmp(list_words[l], word) != 0)
		l++;
	if (l == LISTS)
		return; /* a newer server knows more */
	s->rows[l] = reallocarray(s->rows[l], s->count[l] + 1, sizeof *s->rows[l]);
	if (s->rows[l] == NULL)
		abort();
	s->rows[l][s->count[l]++] = (struct row){
	    .name = shown(o, "name"),
	    .sessions = json_count(o, "sessions"),
	    .up = json_count(o, "up"),
	    .down = json_count(o, "down"),
	    .matches = json_count(o, "matches"),
	    .up_rate = number(o, "up_rate"),
	    .down_rate = number(o, "down_rate"),
	    .match_rate = number(o, "match_rate"),
	    .deny = strcmp(json_text(o, "action"), "deny") == 0,
	};
}

/* For programs: as the server tells it. */
static void
keep(struct shot *s, json_t *line, const json_t *totals)
{
	const char *word = json_text(line, "list");

	if (s->all == NULL) {
		s->all = json_deep_copy(totals);
		for (int l = 0; l < LISTS; l++)
			json_object_set_new(s->all, list_words[l], json_array());
		return;
	}
	for (int l = 0; l < LISTS; l++)
		if (strcmp(word, list_words[l]) == 0)
			json_array_append(json_object_get(s->all, list_words[l]), line);
	json_object_del(line, "list");
}

static void
take_line(struct shot *s, json_t *line, bool json)
{
	json_t *totals = json_object_get(line, "top");

	if (totals == NULL && s->totals == NULL)
		return; /* the end, with an error */
	if (totals != NULL && s->totals == NULL)
		s->totals = json_incref(totals);
	else if (!json)
		take_row(s, line);
	if (json)
		keep(s, line, totals);
}

static int64_t
now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

static bool
ask(struct top *t)
{
	struct control_request r = {.command = CONTROL_TOP};
	struct timeval silence = {.tv_sec = SILENCE_S};

	control_set_number(&r, CONTROL_LIMIT, t->rows);
	control_set_string(&r, CONTROL_SORT, orders[t->order]);
	t->asked_ms = now_ms();
	if (t->connected && live_ended(&t->live)) { /* a hand-over, perhaps: another one answers */
		live_close(&t->live);
		t->connected = false;
	}
	if (t->connected)
		return live_again(&t->live, &r);
	if (!live_ask(&t->live, t->call, &r))
		return false;
	setsockopt(t->live.fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
	t->connected = true;
	return true;
}

/* The whole answer; false: told. Waits for it. */
static bool
hear(struct top *t)
{
	struct shot next = {0};
	json_t *line;
	bool good;

	while ((line = live_next(&t->live, NULL)) != NULL && !live_over(line)) {
		take_line(&next, line, t->call->json);
		json_decref(line);
	}
	good = line != NULL && live_verdict(&t->live, line) == CTL_YES;
	json_decref(line);
	shot_free(&t->shot);
	t->shot = next;
	t->took_ms = now_ms() - t->asked_ms;
	return good;
}

static bool
has_rates(const struct shot *s)
{
	return json_object_get(s->totals, "rates") != NULL;
}

/* ---- lines --------------------------------------------------------------------------------- */

enum look { PLAIN, TITLE, GOOD, BAD, DIM };

struct page {
	int width, height; /* height 0: no end */
	int lines;
	const struct style *style; /* plain text */
	struct buffer *out;        /* NULL: the screen */
};

/* So much of it as there are columns; what this terminal cannot show becomes '?'. Returns the
 * columns. */
static int
clip(struct buffer *out, const char *s, int width)
{
	mbstate_t state = {0};
	int columns = 0;

	while (*s != '\0') {
		wchar_t c;
		size_t n = mbrtowc(&c, s, MB_LEN_MAX, &state);
		int w = n == (size_t)-1 || n == (size_t)-2 ? -1 : wcwidth(c);

		if (w < 0) {
			memset(&state, 0, sizeof state);
			c = L'?';
			n = 1;
			w = 1;
		}
		if (columns + w > width)
			break;
		if (c == L'?')
			buffer_puts(out, "?");
		else
			buffer_put(out, s, n);
		columns += w;
		s += n;
	}
	return columns;
}

static void
put_on_screen(struct page *p, const char *s, enum look look)
{
	static const attr_t looks[] = {A_NORMAL, A_BOLD, A_NORMAL, A_BOLD, A_DIM};
	short pair = look == GOOD ? 1 : look == BAD ? 2 : look == TITLE ? 3 : 0;

	attrset(looks[look] | (attr_t)(has_colors() ? COLOR_PAIR(pair) : 0));
	mvaddstr(p->lines, 0, s);
	attrset(A_NORMAL);
}

static void
put_line(struct page *p, const char *s, enum look look)
{
	struct buffer line = {0};

	if (p->height > 0 && p->lines >= p->height)
		return;
	clip(&line, s, p->width);
	buffer_put(&line, "", 1);
	if (p->out == NULL)
		put_on_screen(p, line.p, look);
	else {
		const char *on = look == TITLE ? p->style->bold
				 : look == BAD ? p->style->bad
				 : look == DIM ? p->style->dim
					       : "";

		buffer_putf(p->out, "%s%s%s\n", on, line.p, on[0] != '\0' ? p->style->off : "");
	}
	p->lines++;
	buffer_free(&line);
}

static void put_linef(struct page *p, enum look look, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
put_linef(struct page *p, enum look look, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	put_line(p, line, look);
}

/* ---- numbers ------------------------------------------------------------------------------- */

#define WORD 32

static const char *
size_word(double bytes, char out[WORD])
{
	struct text t;

	text_init(&t, out, WORD);
	text_put_size(&t, (uint64_t)bytes);
	return out;
}

static const char *
rate_word(double rate, char out[WORD])
{
	if (rate >= 100)
		count_text((uint64_t)(rate + 0.5), out);
	else
		snprintf(out, WORD, "%.1f", rate);
	return out;
}

_Static_assert(WORD >= COUNT_TEXT, "a count is a word");

/* ---- the head ------------------------------------------------------------------------------ */

static const char *
uptime(const json_t *o, char out[64])
{
	struct text t;

	text_init(&t, out, 64);
	text_put_duration(&t, json_count(o, "uptime") * NS_PER_S);
	return out;
}

static void
put_head(struct page *p, const struct top *t)
{
	const json_t *o = t->shot.totals, *rates = json_object_get(o, "rates");
	const char *ledger = json_text(o, "ledger");
	bool ok = strcmp(ledger, "ok") == 0;
	char a[WORD], b[WORD], c[WORD], d[WORD], e[WORD], up[64], *policy = shown(o, "policy");

	put_linef(p, ok ? TITLE : BAD, "sallyport  up %s  policy %.60s  ledger %s%s%s",
		  uptime(o, up), policy, ledger,
		  json_is_true(json_object_get(o, "draining")) ? "  draining" : "",
		  t->paused ? "  paused" : "");
	free(policy);
	put_linef(p, PLAIN,
		  "sessions   %s open, %s opening, of %s   handshakes %s   destinations of UDP %s",
		  count_text(json_count(o, "open"), a), count_text(json_count(o, "opening"), b),
		  count_text(json_count(o, "most"), c), count_text(json_count(o, "handshakes"), d),
		  count_text(json_count(o, "udp_destinations"), e));
	if (rates == NULL) {
		put_line(p, "a second   (no two looks yet)", DIM);
		put_line(p, "", PLAIN);
		return;
	}
	put_linef(p, PLAIN, "a second   new %s  denied %s  failed %s  ended %s  refused %s",
		  rate_word(number(rates, "started"), a), rate_word(number(rates, "denied"), b),
		  rate_word(number(rates, "failed"), c), rate_word(number(rates, "ended"), d),
		  rate_word(number(rates, "refused_limit") + number(rates, "refused_policy") +
				number(rates, "refused_ledger") +
				number(rates, "refused_descriptors"),
			    e));
	put_linef(p, PLAIN, "           up %s  down %s  datagrams up %s  down %s  decisions %s",
		  size_word(number(rates, "bytes_up"), a),
		  size_word(number(rates, "bytes_down"), b),
		  rate_word(number(rates, "datagrams_up"), c),
		  rate_word(number(rates, "datagrams_down"), d),
		  rate_word(number(rates, "decisions"), e));
}

/* ---- a list -------------------------------------------------------------------------------- */

enum column { SESSIONS, UP_RATE, DOWN_RATE, UP, DOWN, MATCH_RATE, MATCHES, NO_COLUMN };

static const char *const heads[NO_COLUMN] = {"SESSIONS", "UP/S",      "DOWN/S", "UP",
					     "DOWN",     "MATCHES/S", "MATCHES"};
#define COLUMNS 6
/* The last are left out first. */
static const enum column columns[LISTS][COLUMNS] = {
    [USERS] = {SESSIONS, UP_RATE, DOWN_RATE, UP, DOWN, NO_COLUMN},
    [SOURCES] = {SESSIONS, UP_RATE, DOWN_RATE, UP, DOWN, NO_COLUMN},
    [DESTINATIONS] = {SESSIONS, UP_RATE, DOWN_RATE, UP, DOWN, NO_COLUMN},
    [RULES] = {MATCH_RATE, MATCHES, SESSIONS, UP_RATE, DOWN_RATE, NO_COLUMN},
    [DENIALS] = {MATCH_RATE, MATCHES, NO_COLUMN, NO_COLUMN, NO_COLUMN, NO_COLUMN}};

static const char *
cell(const struct row *r, enum column c, char out[WORD])
{
	switch (c) {
	case SESSIONS:
		return count_text(r->sessions, out);
	case UP_RATE:
		return size_word(r->up_rate, out);
	case DOWN_RATE:
		return size_word(r->down_rate, out);
	case UP:
		return size_word((double)r->up, out);
	case DOWN:
		return size_word((double)r->down, out);
	case MATCH_RATE:
		return rate_word(r->match_rate, out);
	case MATCHES:
		return count_text(r->matches, out);
	case NO_COLUMN:
		break;
	}
	return "";
}

/* The name, padded, and what stands behind it. */
static void
put_row(struct page *p, const char *name, int width, const struct row *r, const enum column *list,
	int count)
{
	struct buffer line = {0};
	char word[WORD];
	int used = clip(&line, name, width);

	buffer_putf(&line, "%*s", width - used, "");
	for (int i = 0; i < count; i++)
		buffer_putf(&line, " %*s", NUMBER_WIDTH - 1,
			    r != NULL ? cell(r, list[i], word) : heads[list[i]]);
	buffer_put(&line, "", 1);
	put_line(p, line.p, r == NULL ? TITLE : r->deny ? BAD : PLAIN);
	buffer_free(&line);
}

static void
put_list(struct page *p, const struct top *t, enum list l, size_t rows)
{
	static const char *const titles[LISTS] = {"USER", "SOURCE", "DESTINATION", "RULE",
						  "DENIAL"};
	const struct shot *s = &t->shot;
	int count = 0, width;
	char title[64], all[COUNT_TEXT];

	while (count < COLUMNS && columns[l][count] != NO_COLUMN)
		count++;
	while (count > 1 && p->width - count * NUMBER_WIDTH < NAME_LEAST)
		count--;
	width = p->width - count * NUMBER_WIDTH;
	if (l != RULES && l != DENIALS)
		snprintf(
		    title, sizeof title, "%s (%s)", titles[l],
		    count_text(json_count(json_object_get(s->totals, "distinct"), list_words[l]),
			       all));
	else
		snprintf(title, sizeof title, "%s", titles[l]);
	put_row(p, title, width, NULL, columns[l], count);
	for (size_t i = 0; i < rows && i < s->count[l]; i++)
		put_row(p, s->rows[l][i].name, width, &s->rows[l][i], columns[l], count);
}

/* ---- plain text ---------------------------------------------------------------------------- */

static void
put_plain(const struct top *t, struct buffer *out)
{
	struct page p = {.width = PLAIN_WIDTH, .out = out, .style = style_of(t->call)};

	put_head(&p, t);
	for (int l = 0; l < LISTS; l++) {
		put_line(&p, "", PLAIN);
		put_list(&p, t, l, (size_t)t->rows);
	}
}

static void
wait_until(int64_t ms)
{
	int64_t left;

	while ((left = ms - now_ms()) > 0)
		poll(NULL, 0, (int)left);
}

/* So many, one after the other; the first has had a look before it, so it has rates. */
static int
print(struct top *t, uint64_t count)
{
	struct buffer out = {0};

	for (uint64_t i = 0; i < count; i++) {
		if (i > 0)
			wait_until(t->asked_ms + t->interval_ms);
		if (!ask(t) || !hear(t))
			return CTL_FAILED;
		if (i == 0 && !has_rates(&t->shot)) {
			wait_until(t->asked_ms + LEAST_MS);
			if (!ask(t) || !hear(t))
				return CTL_FAILED;
		}
		if (i > 0 && !t->call->json)
			buffer_puts(&out, "\n");
		if (t->call->json) {
			char *text = json_dumps(t->shot.all, JSON_COMPACT);

			buffer_putf(&out, "%s\n", text);
			free(text);
		} else
			put_plain(t, &out);
		if (!ctl_write(&out))
			return CTL_FAILED;
		out.len = 0;
	}
	buffer_free(&out);
	return CTL_YES;
}

/* ---- the screen ---------------------------------------------------------------------------- */

static void
leave_screen(void)
{
	if (on_screen)
		endwin();
	on_screen = false;
}

static volatile sig_atomic_t over;

static void
end_signal(int signal)
{
	(void)signal;
	over = 1;
}

static bool
enter_screen(const struct top *t)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction end = {.sa_handler = end_signal};

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		ctl_fail(t->call, "this is no terminal: 'sallyctl top --once' prints plain text");
		return false;
	}
	if (newterm(NULL, stdout, stdin) == NULL) {
		ctl_fail(t->call, "this terminal is not known (TERM): 'sallyctl top --once' prints "
				  "plain text");
		return false;
	}
	on_screen = true;
	ctl_leave = leave_screen;
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		sigaction(ends[i], &end, NULL);
	cbreak();
	noecho();
	nodelay(stdscr, TRUE);
	keypad(stdscr, TRUE);
	curs_set(0);
	if (t->call->colour && has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_GREEN, -1);
		init_pair(2, COLOR_RED, -1);
		init_pair(3, COLOR_CYAN, -1);
	}
	return true;
}

static void
draw_tabs(struct page *p, const struct top *t)
{
	struct buffer line = {0};

	for (unsigned i = 0; i < VIEWS; i++) {
		unsigned v = i == 0 ? OVERVIEW : i - 1;

		buffer_putf(&line, v == t->view ? "[%u %s] " : "%u %s ", i + 1, list_words[v]);
	}
	buffer_putf(&line, "by %s, every %g s, h: help", orders[t->order],
		    (double)t->interval_ms / 1000);
	buffer_put(&line, "", 1);
	put_line(p, line.p, DIM);
	buffer_free(&line);
}

static void
draw_help(struct page *p)
{
	static const char *const lines[] = {
	    "",
	    "1-6, Tab    overview, users, sources, destinations, rules, denials",
	    "s           sort by rate, sessions, bytes, matches",
	    "+ -         refresh less or more often",
	    "space, p    hold the picture; again: go on",
	    "r           look now",
	    "h, ?        this page",
	    "q           leave",
	    "",
	    "SESSIONS are open now. UP and DOWN are the bytes of those; /S: a second.",
	    "A rule's MATCHES are all that it has decided; a denial is a rule that denies.",
	    "The server looks at all sessions at most once a second.",
	};

	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		put_line(p, lines[i], PLAIN);
}

static void
draw(const struct top *t)
{
	struct page p = {.width = COLS, .height = LINES};
	int room;

	erase();
	if (t->shot.totals == NULL)
		put_line(&p, "sallyport: asking the server", DIM);
	else {
		put_head(&p, t);
		draw_tabs(&p, t);
		room = LINES - HEAD_LINES;
		if (t->help)
			draw_help(&p);
		else if (t->view < LISTS)
			put_list(&p, t, t->view, (size_t)(room > 1 ? room - 1 : 0));
		else
			for (int l = 0; l < LISTS; l++) {
				int mine = room / LISTS + (l < room % LISTS);

				put_list(&p, t, l, (size_t)(mine > 1 ? mine - 1 : 0));
				p.lines = HEAD_LINES + room / LISTS * (l + 1) +
					  (l + 1 < room % LISTS ? l + 1 : room % LISTS);
			}
	}
	refresh();
}

/* As many as the screen has, a few more for when it grows. */
static uint64_t
rows_wanted(void)
{
	return LINES > 10 ? (uint64_t)LINES : 10;
}

/* True: the server is to be asked at once. */
static bool
press(struct top *t, int key)
{
	switch (key) {
	case 'q':
	case 'Q':
		over = 1;
		break;
	case 'h':
	case '?':
		t->help = !t->help;
		break;
	case 's':
		t->order = (t->order + 1) % ORDERS;
		return true;
	case 'r':
		return true;
	case 'p':
	case ' ':
		t->paused = !t->paused;
		return !t->paused;
	case '+':
		t->interval_ms = t->interval_ms * 2 < MOST_MS ? t->interval_ms * 2 : MOST_MS;
		break;
	case '-':
		t->interval_ms = t->interval_ms / 2 > LEAST_MS ? t->interval_ms / 2 : LEAST_MS;
		break;
	case '\t':
	case KEY_RIGHT:
		t->view = t->view == OVERVIEW ? 0 : t->view + 1;
		break;
	case KEY_BTAB:
	case KEY_LEFT:
		t->view = t->view == 0 ? OVERVIEW : t->view - 1;
		break;
	case KEY_RESIZE:
		t->rows = rows_wanted();
		return true;
	default:
		if (key >= '1' && key <= '6')
			t->view = key == '1' ? OVERVIEW : (unsigned)(key - '2');
	}
	return false;
}

/* When to look again: seldom enough that the server has something else to do. */
static int64_t
due(const struct top *t)
{
	int64_t wait = t->took_ms * PATIENCE;

	return t->asked_ms + (wait > t->interval_ms ? wait : t->interval_ms);
}

/* Until a key, an answer, or the next look. */
static void
wait_for_something(const struct top *t, bool asking)
{
	struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
				{.fd = t->live.fd, .events = POLLIN}};
	int64_t left = due(t) - now_ms();
	int ms = asking || t->paused ? -1 : left > 0 ? (int)left : 0;

	poll(fds, asking ? 2 : 1, ms);
	if ((fds[0].revents & (POLLHUP | POLLERR)) != 0 && (fds[0].revents & POLLIN) == 0)
		over = 1; /* the terminal is gone */
}

static bool
answer_there(const struct top *t)
{
	struct pollfd fd = {.fd = t->live.fd, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static int
watch(struct top *t)
{
	bool asking = false, at_once = true;
	int key;

	if (!enter_screen(t))
		return CTL_FAILED;
	t->rows = rows_wanted();
	while (!over) {
		if (!asking && (at_once || (!t->paused && now_ms() >= due(t)))) {
			if (!ask(t))
				return CTL_FAILED;
			asking = true;
			at_once = false;
		}
		draw(t);
		wait_for_something(t, asking);
		while ((key = getch()) != ERR)
			at_once |= press(t, key);
		if (asking && !over && answer_there(t)) {
			if (!hear(t))
				return CTL_FAILED;
			asking = false;
			at_once |= !has_rates(&t->shot) && now_ms() >= t->asked_ms + LEAST_MS;
		}
	}
	leave_screen();
	return CTL_YES;
}

/* ---- the command --------------------------------------------------------------------------- */

static bool
take_number(const struct ctl_call *call, const char *option, uint64_t most, uint64_t *out)
{
	const char *value = option_value(call, option);

	if (value == NULL)
		return true;
	if (text_parse_u64(value, strlen(value), most, out) && *out > 0)
		return true;
	ctl_fail(call, "'--%s' takes a number from 1 to %llu", option, (unsigned long long)most);
	return false;
}

static bool
take_interval(struct top *t)
{
	const char *value = option_value(t->call, "interval");
	uint64_t n;

	if (value == NULL)
		return true;
	if (text_parse_u64(value, strlen(value), MOST_MS / 1000, &n))
		n *= 1000;
	else if (!quantity_ms(value, strlen(value), &n) || n > MOST_MS)
		n = 0;
	if (n < LEAST_MS) {
		ctl_fail(t->call, "'--interval' takes a time from 1 s to 1 h");
		return false;
	}
	t->interval_ms = (int64_t)n;
	return true;
}

static bool
take_order(struct top *t)
{
	const char *value = option_value(t->call, "sort");

	if (value == NULL)
		return true;
	for (t->order = 0; t->order < ORDERS; t->order++)
		if (strcmp(value, orders[t->order]) == 0)
			return true;
	ctl_fail(t->call, "'--sort' is rate, sessions, bytes or matches");
	return false;
}

int
top_run(struct ctl_call *call)
{
	struct top t = {.call = call,
			.live = {.fd = -1},
			.view = OVERVIEW,
			.rows = PLAIN_ROWS,
			.interval_ms = INTERVAL_MS};
	uint64_t batch = option_on(call, "once") || call->json ? 1 : 0;
	int status;

	if (!take_interval(&t) || !take_order(&t) || !take_number(call, "batch", 1000000, &batch) ||
	    !take_number(call, "rows", 200, &t.rows))
		return CTL_FAILED;
	setlocale(LC_CTYPE, "");
	status = batch > 0 ? print(&t, batch) : watch(&t);
	leave_screen();
	shot_free(&t.shot);
	live_close(&t.live);
	return status;
}
