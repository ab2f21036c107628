/*
 * settings/value.c - one value of each type, checked and stored: a function a type, and one
 * table of them. Runs in COMPILE and in sallyctl. Pure.
 */
#include <string.h>

#include "base/text.h"
#include "settings/value.h"

/* One value on its way into the struct. */
struct value {
	const struct value_sink *to;
	const struct setting *row;
	const struct node *node; /* NULL: the default is read */
	unsigned char *base;     /* struct settings, one listener, or one copy */
	const char *s;           /* a string, of the node or of the default */
	size_t len;
};

static void *
field(const struct value *v)
{
	return v->base + v->row->at;
}

/* A problem of the value; NULL for a default, which has none (the tests see to it). */
#define complain(v, code, ...)                                                                     \
	((v)->node == NULL                                                                         \
	     ? NULL                                                                                \
	     : problems_add((v)->to->problems, (code), (v)->node->value, __VA_ARGS__))

static const char *
last_word(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL ? dot + 1 : name;
}

static void
tell_type(const struct value *v)
{
	complain(v, "E301", "'%s' takes %s, this is %s", last_word(v->row->name),
		 setting_type_word(v->row->type), node_kind_word(v->node));
}

static void
tell_bounds(const struct value *v)
{
	char low[32], high[32];

	complain(v, "E302", "'%s' goes from %s to %s", last_word(v->row->name),
		 setting_value_text(v->row, v->row->min, low),
		 setting_value_text(v->row, v->row->max, high));
}

static bool
within_bounds(const struct value *v, uint64_t n)
{
	if (n >= v->row->min && n <= v->row->max)
		return true;
	tell_bounds(v);
	return false;
}

/* ---- plain values: each takes a string (v->s) and stores it, or complains ---- */

static void
store_number(const struct value *v, uint64_t n)
{
	switch (v->row->type) {
	case SETTING_BITS:
		*(uint8_t *)field(v) = (uint8_t)n;
		break;
	case SETTING_PORT:
		*(uint16_t *)field(v) = (uint16_t)n;
		break;
	case SETTING_SIZE:
		*(uint64_t *)field(v) = n;
		break;
	case SETTING_TIME_S:
		*(uint32_t *)field(v) = (uint32_t)(n / 1000);
		break;
	default:
		*(uint32_t *)field(v) = (uint32_t)n;
	}
}

static void
set_integer(const struct value *v)
{
	uint64_t n;

	if (v->node == NULL) {
		if (text_parse_u64(v->s, v->len, v->row->max, &n))
			store_number(v, n);
	} else if (v->node->integer < 0) {
		tell_bounds(v);
	} else if (within_bounds(v, (uint64_t)v->node->integer)) {
		store_number(v, (uint64_t)v->node->integer);
	}
}

static void
set_bool(const struct value *v)
{
	*(bool *)field(v) = v->node != NULL ? v->node->boolean : strcmp(v->s, "true") == 0;
}

static void
set_quantity(const struct value *v)
{
	bool size = v->row->type == SETTING_SIZE;
	uint64_t n;

	if ((v->row->flags & SETTING_NONE) && v->len == 4 && memcmp(v->s, "none", 4) == 0) {
		store_number(v, 0);
		return;
	}
	if (size ? !quantity_bytes(v->s, v->len, &n) : !quantity_ms(v->s, v->len, &n)) {
		problem_help(complain(v, "E303", "this is no %s", size ? "size" : "time"), "%s%s",
			     size ? "a number and B, KiB, MiB or GiB: \"64 MiB\""
				  : "a number and ms, s, min, h or d: \"30 s\"",
			     v->row->flags & SETTING_NONE ? ", or \"none\"" : "");
		return;
	}
	if (within_bounds(v, n))
		store_number(v, n);
}

static bool
parse_ports(const char *s, size_t len, struct settings_ports *out)
{
	const char *dash = memchr(s, '-', len);
	size_t first = dash != NULL ? (size_t)(dash - s) : len;
	uint64_t low, high;

	if (!text_parse_u64(s, first, 65535, &low) || low == 0)
		return false;
	high = low;
	if (dash != NULL && !text_parse_u64(dash + 1, len - first - 1, 65535, &high))
		return false;
	out->first = (uint16_t)low;
	out->last = (uint16_t)high;
	return low <= high;
}

static void
set_ports(const struct value *v)
{
	struct settings_ports ports;

	if (parse_ports(v->s, v->len, &ports))
		*(struct settings_ports *)field(v) = ports;
	else
		problem_help(complain(v, "E313", "this is no range of ports"),
			     "two ports from 1 to 65535, the lower one first: \"30000-39999\"");
}

/* Letters, digits and a few signs: a name of an account, group or service. */
static bool
is_plain_name(const char *s, size_t len, size_t max)
{
	if (len == 0 || len > max || s[0] == '-' || s[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_' || c == '.' || (c == '$' && i == len - 1)))
			return false;
	}
	return true;
}

static void
set_name(const struct value *v)
{
	size_t max = v->row->type == SETTING_ACCOUNT ? SETTINGS_NAME - 1 : 63;

	if (!is_plain_name(v->s, v->len, max)) {
		problem_help(complain(v, "E306", "this is no name of %s",
				      v->row->type == SETTING_ACCOUNT ? "an account" : "a service"),
			     "letters, digits, '-', '_' and '.', at most %zu", max);
		return;
	}
	memcpy(field(v), v->s, v->len + 1);
}

static void
set_path(const struct value *v)
{
	const char *dir = v->to->dir;
	size_t room = SETTINGS_PATH, used = 0;
	char *out = field(v);

	if (v->len == 0) {
		complain(v, "E312", "'%s' is empty", last_word(v->row->name));
		return;
	}
	if (v->s[0] != '/' && !(v->row->type == SETTING_SINK && strcmp(v->s, "stdout") == 0))
		used = strlen(dir) + (dir[strlen(dir) - 1] != '/');
	if (used + v->len >= room) {
		complain(v, "E310", "the path is longer than %d bytes", SETTINGS_PATH - 1);
		return;
	}
	if (used > 0) {
		memcpy(out, dir, strlen(dir));
		out[used - 1] = '/';
	}
	memcpy(out + used, v->s, v->len + 1);
}

static bool
read_address(const struct value *v, struct addr *out)
{
	if (!addr_parse(v->s, v->len, out)) {
		problem_help(
		    complain(v, "E304", "this is no address"),
		    "\"192.0.2.1\" or \"2001:db8::1\", without port, zone or leading zeros");
		return false;
	}
	if ((v->row->flags & SETTING_OURS) && addr_is_unspecified(out)) {
		complain(v, "E304", "this address is none that a peer could reach");
		return false;
	}
	return true;
}

static void
set_address(const struct value *v)
{
	struct addr a;

	if (!read_address(v, &a))
		return;
	*(struct addr *)field(v) = a;
	if (v->row->also != 0)
		*(bool *)(v->base + v->row->also) = true;
}

/* "ADDRESS:PORT" of somebody who can be reached. */
static bool
parse_peer(const char *s, size_t len, struct endpoint *out)
{
	return endpoint_parse(s, len, out) && out->port != 0 && !addr_is_unspecified(&out->addr);
}

static bool
parse_copy(const char *s, size_t len, struct settings_copy *out)
{
	size_t colon = strcspn(s, ":"), rest = len > colon ? len - colon - 1 : 0;
	const char *where = s + len - rest;

	memset(&out->at, 0, sizeof out->at);
	memset(out->path, 0, sizeof out->path);
	if (strcmp(s, "journald") == 0) {
		out->kind = COPY_JOURNAL;
		return true;
	}
	if (colon == 4 && memcmp(s, "unix", 4) == 0) {
		out->kind = COPY_UNIX;
		if (rest < 2 || rest >= sizeof out->path || where[0] != '/' ||
		    memchr(where, '\0', rest) != NULL)
			return false;
		memcpy(out->path, where, rest);
		return true;
	}
	if (colon != 3 || (memcmp(s, "udp", 3) != 0 && memcmp(s, "tcp", 3) != 0))
		return false;
	out->kind = s[0] == 'u' ? COPY_UDP : COPY_TCP;
	return parse_peer(where, rest, &out->at);
}

static void
set_copy(const struct value *v)
{
	struct settings_copy *c = (struct settings_copy *)(void *)v->base;

	if (!parse_copy(v->s, v->len, c))
		problem_help(
		    complain(v, "E315", "this is no place that records can be copied to"),
		    "\"tcp:192.0.2.7:6514\", \"udp:[2001:db8::7]:514\", \"unix:/dev/log\" or "
		    "\"journald\"; an address, no name");
}

/* All of them, for help: "a", "b" or "c". */
static void
list_words(const char *const *words, struct text *t)
{
	for (const char *const *w = words; *w != NULL; w++) {
		if (w != words)
			text_put(t, w[1] != NULL ? ", " : " or ");
		text_putf(t, "\"%s\"", *w);
	}
}

/* The number of the word; -1 with a problem. */
static int
read_word(const struct value *v)
{
	const char *near;
	struct problem *one;
	char list[320];
	struct text t;

	for (int i = 0; v->row->words[i] != NULL; i++)
		if (strlen(v->row->words[i]) == v->len &&
		    memcmp(v->row->words[i], v->s, v->len) == 0)
			return i;
	one = complain(v, "E305", "'%s' is none of the words it may be", last_word(v->row->name));
	near = text_nearest(v->s, v->row->words);
	if (near != NULL) {
		problem_help(one, "did you mean \"%s\"?", near);
	} else {
		text_init(&t, list, sizeof list);
		list_words(v->row->words, &t);
		problem_help(one, "it is %s", list);
	}
	return -1;
}

static void
set_choice(const struct value *v)
{
	int word = read_word(v);

	if (word >= 0)
		*(unsigned *)field(v) = (unsigned)word;
}

/* ---- lists ---- */

static bool
read_account(const struct value *v, char out[SETTINGS_NAME + 5])
{
	size_t skip = v->len > 5 && memcmp(v->s, "unix:", 5) == 0 ? 5 : 0;

	if (!is_plain_name(v->s + skip, v->len - skip, SETTINGS_NAME - 1)) {
		problem_help(complain(v, "E306", "this is no user and no group"),
			     "a user's name, or \"unix:\" and the name of a group");
		return false;
	}
	memcpy(out, v->s, v->len + 1);
	return true;
}

static bool
read_server(const struct value *v, struct endpoint *out)
{
	if (addr_parse(v->s, v->len, &out->addr)) {
		out->port = 53;
		return true;
	}
	if (endpoint_parse(v->s, v->len, out) && out->port != 0)
		return true;
	problem_help(
	    complain(v, "E304", "this is no address of a name server"),
	    "\"192.0.2.1\", \"192.0.2.1:5353\", \"2001:db8::1\" or \"[2001:db8::1]:5353\"");
	return false;
}

static bool
read_prefix(const struct value *v, struct prefix *out)
{
	char text[PREFIX_TEXT];
	enum prefix_error e = prefix_parse(v->s, v->len, out);
	struct problem *one;

	if (e == PREFIX_OK)
		return true;
	one = complain(v, "E304",
		       e == PREFIX_HOST_BITS ? "bits are set behind the prefix's length"
					     : "this is no prefix");
	if (e == PREFIX_HOST_BITS) {
		prefix_format(out, text);
		problem_help(one, "did you mean \"%s\"?", text);
	} else {
		problem_help(one, "\"10.0.0.0/8\" or \"2001:db8::/32\", without leading zeros, "
				  "netmask or range");
	}
	return false;
}

/* Into slot i of the list; false: nothing was stored. *size: bytes of a slot. */
static bool
set_slot(const struct value *v, unsigned i, size_t *size)
{
	unsigned char *list = field(v);

	switch (v->row->type) {
	case SETTING_ADDRESSES:
		*size = sizeof(struct addr);
		return read_address(v, (struct addr *)field(v) + i);
	case SETTING_SERVERS:
		*size = sizeof(struct endpoint);
		return read_server(v, (struct endpoint *)field(v) + i);
	case SETTING_PREFIXES:
		*size = sizeof(struct prefix);
		return read_prefix(v, (struct prefix *)field(v) + i);
	default:
		*size = SETTINGS_NAME + 5;
		return read_account(v, (char *)list + i * *size);
	}
}

/* The slot repeats an earlier one: told, and not kept. */
static bool
is_repeated(const struct value *v, unsigned i, size_t size)
{
	unsigned char *list = field(v);

	for (unsigned j = 0; j < i; j++) {
		if (memcmp(list + j * size, list + i * size, size) != 0)
			continue;
		complain(v, "W301", "this value stands here twice");
		memset(list + i * size, 0, size);
		return true;
	}
	return false;
}

static void
set_element(const struct value *v)
{
	uint32_t *count;
	size_t size = 0;
	int word;

	if (v->row->type == SETTING_CHOICES) {
		word = read_word(v);
		if (word >= 0)
			*(uint32_t *)field(v) |= 1u << word;
		return;
	}
	count = (uint32_t *)(void *)(v->base + v->row->also);
	if (*count == v->row->max) {
		complain(v, "E311", "'%s' takes at most %u values", last_word(v->row->name),
			 (unsigned)v->row->max);
		return;
	}
	if (set_slot(v, *count, &size) && !is_repeated(v, *count, size))
		(*count)++;
}

static void
set_string_of(struct value v, const struct node *n, void (*set)(const struct value *))
{
	v.node = n;
	v.s = n->string.s;
	v.len = n->string.len;
	set(&v);
}

static void
set_list(const struct value *v)
{
	const struct node *n = v->node;

	if (n->kind == NODE_STRING) { /* one value needs no brackets */
		set_string_of(*v, n, set_element);
		return;
	}
	if (n->count == 0)
		problem_help(complain(v, "E312", "'%s' is empty", last_word(v->row->name)),
			     "leave it out instead");
	for (const struct node *m = n->first; m != NULL; m = m->next) {
		struct value one = *v;

		one.node = m;
		if (m->kind == NODE_STRING)
			set_string_of(*v, m, set_element);
		else if (n->kind == NODE_LIST || n->first->kind == m->kind)
			tell_type(&one); /* of an array's odd one the tree has told */
	}
}

/* The default of a list of words: "integrity confidentiality". */
static void
set_default_list(const struct value *v)
{
	struct value one = *v;

	for (const char *p = v->s; *p != '\0'; p += one.len + (p[one.len] == ' ')) {
		one.s = p;
		one.len = strcspn(p, " ");
		set_element(&one);
	}
}

/* ---- by type ---- */

/* How a type is written, and who stores it. */
static const struct {
	enum node_kind kind; /* NODE_ARRAY: a list of strings or one string */
	void (*set)(const struct value *v);
} types[] = {
    [SETTING_COUNT] = {NODE_INT, set_integer},       [SETTING_BITS] = {NODE_INT, set_integer},
    [SETTING_TIME_MS] = {NODE_STRING, set_quantity}, [SETTING_TIME_S] = {NODE_STRING, set_quantity},
    [SETTING_SIZE] = {NODE_STRING, set_quantity},    [SETTING_PORT] = {NODE_INT, set_integer},
    [SETTING_PORTS] = {NODE_STRING, set_ports},      [SETTING_BOOL] = {NODE_BOOL, set_bool},
    [SETTING_ACCOUNT] = {NODE_STRING, set_name},     [SETTING_SERVICE] = {NODE_STRING, set_name},
    [SETTING_PATH] = {NODE_STRING, set_path},        [SETTING_SINK] = {NODE_STRING, set_path},
    [SETTING_COPY] = {NODE_STRING, set_copy},        [SETTING_ADDRESS] = {NODE_STRING, set_address},
    [SETTING_ADDRESSES] = {NODE_ARRAY, set_list},    [SETTING_SERVERS] = {NODE_ARRAY, set_list},
    [SETTING_PREFIXES] = {NODE_ARRAY, set_list},     [SETTING_ACCOUNTS] = {NODE_ARRAY, set_list},
    [SETTING_CHOICE] = {NODE_STRING, set_choice},    [SETTING_CHOICES] = {NODE_ARRAY, set_list},
};

void
value_read(const struct value_sink *to, const struct setting *row, unsigned char *base,
	   const struct node *n)
{
	struct value v = {.to = to, .row = row, .node = n, .base = base};
	bool list = types[row->type].kind == NODE_ARRAY;
	struct problem *one;
	char text[32];

	if (n->kind != types[row->type].kind &&
	    !(list && (n->kind == NODE_LIST || n->kind == NODE_STRING))) {
		if (n->kind == NODE_INT && n->integer > 0 && n->integer <= INT_MAX &&
		    (row->type == SETTING_TIME_MS || row->type == SETTING_TIME_S)) {
			one = complain(&v, "E301", "'%s' has no unit", last_word(row->name));
			problem_help(one, "did you mean %s?",
				     setting_value_text(row, (uint64_t)n->integer * 1000, text));
			return;
		}
		tell_type(&v);
		return;
	}
	if (row->type == SETTING_CHOICES)
		*(uint32_t *)field(&v) = 0; /* what is given replaces the default */
	if (n->kind == NODE_STRING) {
		v.s = n->string.s;
		v.len = n->string.len;
	}
	types[row->type].set(&v);
}

void
value_default(const struct value_sink *to, const struct setting *row, unsigned char *base)
{
	struct value v = {.to = to, .row = row, .base = base, .s = row->fallback};

	if (row->fallback == NULL)
		return;
	v.len = strlen(v.s);
	if (types[row->type].kind == NODE_ARRAY)
		set_default_list(&v);
	else
		types[row->type].set(&v);
}
