/*
 * settings/settings.c - sections of a settings file into one plain struct, by the
 * table. Runs in COMPILE and in sallyctl; opens nothing (realpath of the folder
 * aside). Every problem is told, and the struct is whole in any case.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "base/text.h"
#include "settings/table.h"

#define KNOWN_MAX 32 /* keys of one section */

struct reader {
	struct settings *settings;
	struct problems *problems;
	char dir[PATH_MAX];                               /* absolute, where relative paths start */
	const struct node *listeners[SETTINGS_LISTENERS]; /* where each was written */
};

/* One value on its way into the struct. */
struct value {
	struct reader *reader;
	const struct setting *row;
	const struct node *node; /* NULL: the default is read */
	unsigned char *base;     /* struct settings, or one listener */
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
	     : problems_add((v)->reader->problems, (code), (v)->node->value, __VA_ARGS__))

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
	const char *dir = v->reader->dir;
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

/* The number of the word; -1 with a problem. */
static int
read_word(const struct value *v)
{
	const char *near;
	struct problem *one;

	for (int i = 0; v->row->words[i] != NULL; i++)
		if (strlen(v->row->words[i]) == v->len &&
		    memcmp(v->row->words[i], v->s, v->len) == 0)
			return i;
	one = complain(v, "E305", "'%s' is none of the words it may be", last_word(v->row->name));
	near = text_nearest(v->s, v->row->words);
	if (near != NULL) {
		problem_help(one, "did you mean \"%s\"?", near);
	} else {
		const char *const *w = v->row->words;

		problem_help(one, "it is \"%s\"%s%s%s%s%s%s", w[0],
			     w[2] != NULL ? ", \"" : " or \"", w[1], "\"",
			     w[2] != NULL ? " or \"" : "", w[2] != NULL ? w[2] : "",
			     w[2] != NULL ? "\"" : "");
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
    [SETTING_ADDRESS] = {NODE_STRING, set_address},  [SETTING_ADDRESSES] = {NODE_ARRAY, set_list},
    [SETTING_SERVERS] = {NODE_ARRAY, set_list},      [SETTING_PREFIXES] = {NODE_ARRAY, set_list},
    [SETTING_ACCOUNTS] = {NODE_ARRAY, set_list},     [SETTING_CHOICE] = {NODE_STRING, set_choice},
    [SETTING_CHOICES] = {NODE_ARRAY, set_list},
};

static void
set_from_node(struct reader *r, const struct setting *row, unsigned char *base,
	      const struct node *n)
{
	struct value v = {.reader = r, .row = row, .node = n, .base = base};
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

static void
set_default(struct reader *r, const struct setting *row, unsigned char *base)
{
	struct value v = {.reader = r, .row = row, .base = base, .s = row->fallback};

	if (row->fallback == NULL)
		return;
	v.len = strlen(v.s);
	if (types[row->type].kind == NODE_ARRAY)
		set_default_list(&v);
	else
		types[row->type].set(&v);
}

void
settings_defaults(struct settings *s)
{
	struct reader r = {.settings = s, .dir = "/"};

	memset(s, 0, sizeof(*s));
	s->magic = SETTINGS_MAGIC;
	s->version = SETTINGS_VERSION;
	s->size = sizeof(*s);
	for (unsigned i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];

		if (!(row->flags & SETTING_SECTION) && strncmp(row->name, "listeners.", 10) != 0)
			set_default(&r, row, (unsigned char *)s);
	}
}

bool
settings_valid(const void *image, size_t len)
{
	const struct settings *s = image;

	return len >= sizeof(*s) && s->magic == SETTINGS_MAGIC && s->version == SETTINGS_VERSION &&
	       s->size == sizeof(*s) && s->listener_count <= SETTINGS_LISTENERS &&
	       s->egress.count <= SETTINGS_LIST && s->dns.count <= 8 &&
	       s->auth.ident_trusted_count <= SETTINGS_LIST &&
	       s->control.viewer_count <= SETTINGS_LIST &&
	       s->control.operator_count <= SETTINGS_LIST;
}

/* ---- sections ---- */

/* What stands in the table's name behind "prefix."; NULL: another section's row. */
static const char *
below(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	if (len == 0)
		return name;
	return strncmp(name, prefix, len) == 0 && name[len] == '.' ? name + len + 1 : NULL;
}

/* The row for a key of a section; NULL and *section: there are rows below it. */
static const struct setting *
find_row(const char *prefix, const char *key, bool *section)
{
	size_t len = strlen(key);

	*section = false;
	for (unsigned i = 0; i < settings_table_count; i++) {
		const char *rest = below(settings_table[i].name, prefix);

		if (rest == NULL || strncmp(rest, key, len) != 0)
			continue;
		if (rest[len] == '\0')
			return &settings_table[i];
		*section = *section || rest[len] == '.';
	}
	return NULL;
}

/* The keys of a section, for did-you-mean. words has KNOWN_MAX, text the room for them. */
static void
known_keys(const char *prefix, const char **words, char text[KNOWN_MAX][32])
{
	unsigned n = 0;

	for (unsigned i = 0; i < settings_table_count && n < KNOWN_MAX - 1; i++) {
		const char *rest = below(settings_table[i].name, prefix);
		size_t len = rest != NULL ? strcspn(rest, ".") : 0;

		if (len == 0 || len >= 32)
			continue;
		if (n > 0 && strlen(words[n - 1]) == len && strncmp(words[n - 1], rest, len) == 0)
			continue;
		memcpy(text[n], rest, len);
		text[n][len] = '\0';
		words[n] = text[n];
		n++;
	}
	words[n] = NULL;
}

static const struct node *
member(const struct node *group, const char *key)
{
	for (const struct node *n = group->first; n != NULL; n = n->next)
		if (n->name != NULL && strcmp(n->name, key) == 0)
			return n;
	return NULL;
}

/* Rows of a given section that were not given themselves. */
static void
fill_section(struct reader *r, const struct node *group, const char *prefix, const char *what,
	     unsigned char *base)
{
	for (unsigned i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];
		const char *key = below(row->name, prefix);

		if (key == NULL || strchr(key, '.') != NULL || member(group, key) != NULL)
			continue;
		if (row->flags & SETTING_SECTION)
			set_default(r, row, base);
		if (row->flags & SETTING_REQUIRED)
			problem_help(problems_add(r->problems, "E309",
						  group->name != NULL ? group->key : group->value,
						  "%s needs '%s'", what, key),
				     "%s", row->help);
	}
}

static bool
demand_group(struct reader *r, const struct node *n)
{
	if (n->kind == NODE_GROUP)
		return true;
	problem_help(problems_add(r->problems, "E301", n->value,
				  "'%s' is a section in { }, this is %s", n->name,
				  node_kind_word(n)),
		     "%s: { ... }", n->name);
	return false;
}

/* One section and those within it. what: for messages. */
static void
read_section(struct reader *r, struct node *group, const char *prefix, const char *what,
	     unsigned char *base)
{
	const char *words[KNOWN_MAX];
	char text[KNOWN_MAX][32], full[96];

	for (struct node *n = group->first; n != NULL; n = n->next) {
		bool section;
		const struct setting *row = find_row(prefix, n->name, &section);

		if (n->used || (row == NULL && !section))
			continue; /* used: a duplicate, told already */
		n->used = true;
		if (row != NULL) {
			set_from_node(r, row, base, n);
		} else if (demand_group(r, n)) {
			struct text name;

			text_init(&name, full, sizeof(full));
			text_putf(&name, "%s.%s", prefix, n->name);
			read_section(r, n, full, n->name, base);
		}
	}
	known_keys(prefix, words, text);
	node_unknown(group, what, words, r->problems);
	fill_section(r, group, prefix, what, base);
}

/* ---- listeners ---- */

static void
refuse_twin(struct reader *r, const struct settings_listener *mine, const struct node *n)
{
	for (uint32_t i = 0; i < r->settings->listener_count; i++) {
		const struct settings_listener *other = &r->settings->listeners[i];
		struct problem *one;

		if (other == mine || mine->at.port == 0 || other->at.port != mine->at.port ||
		    !addr_equal(&other->at.addr, &mine->at.addr))
			continue;
		one = problems_add(r->problems, "E307", n->key,
				   "listener '%s' has the address and port of '%s'", n->name,
				   other->name);
		problem_help(one, "the other one is here");
		problem_seen(one, r->listeners[i]->key);
		return;
	}
}

static void
read_listener(struct reader *r, struct node *n)
{
	struct settings *s = r->settings;
	struct settings_listener *l;
	char what[SETTINGS_NAME + 16];
	size_t before = r->problems->errors;
	struct text text;

	if (!name_is_identifier(n->name, strlen(n->name))) {
		problem_help(
		    problems_add(r->problems, "E306", n->key, "this is no name for a listener"),
		    "a letter, then letters, digits, '-' and '_', at most 64 in all");
		return;
	}
	if (s->listener_count == SETTINGS_LISTENERS) {
		problems_add(r->problems, "E311", n->key, "there are more than %d listeners",
			     SETTINGS_LISTENERS);
		return;
	}
	if (!demand_group(r, n))
		return;
	r->listeners[s->listener_count] = n;
	l = &s->listeners[s->listener_count++];
	memcpy(l->name, n->name, strlen(n->name) + 1);
	text_init(&text, what, sizeof(what));
	text_putf(&text, "listener '%s'", n->name);
	read_section(r, n, "listeners.*", what, (unsigned char *)l);
	if (r->problems->errors == before)
		refuse_twin(r, l, n);
}

static void
read_listeners(struct reader *r, struct node *root, struct node *group)
{
	const struct node *at = group != NULL ? group : root;

	if (group != NULL && !demand_group(r, group))
		return;
	for (struct node *n = group != NULL ? group->first : NULL; n != NULL; n = n->next) {
		if (n->used)
			continue;
		n->used = true;
		read_listener(r, n);
	}
	if (at == root || at->count == 0)
		problem_help(problems_add(r->problems, "E308", at->value, "there is no listener"),
			     "listeners: { inside: { address = \"10.0.0.1\"; port = 1080 } }");
}

/* ---- the whole ---- */

const char *const *
settings_words(void)
{
	static const char *const words[] = {"listeners", "workers", "user",    "egress", "timeouts",
					    "limits",    "dns",     "bind",    "udp",    "auth",
					    "audit",     "control", "metrics", NULL};

	return words;
}

static void
read_root(struct reader *r, struct node *root)
{
	unsigned char *base = (unsigned char *)r->settings;
	struct node *listeners = NULL;

	for (struct node *n = root->first; n != NULL; n = n->next) {
		bool section;
		const struct setting *row = find_row("", n->name, &section);

		if (n->used || (row == NULL && !section))
			continue;
		n->used = true;
		if (strcmp(n->name, "listeners") == 0)
			listeners = n;
		else if (row != NULL)
			set_from_node(r, row, base, n);
		else if (demand_group(r, n))
			read_section(r, n, n->name, n->name, base);
	}
	r->settings->metrics.enabled = member(root, "metrics") != NULL;
	read_listeners(r, root, listeners);
}

/* One source address a family: a second would never be used. */
static void
check_egress(struct reader *r, const struct node *root)
{
	const struct node *egress = member(root, "egress");
	const struct node *list = egress != NULL ? member(egress, "addresses") : NULL;
	const struct addr *a = r->settings->egress.addresses;

	for (uint32_t i = 1; i < r->settings->egress.count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (addr_is4(&a[i]) != addr_is4(&a[j]))
				continue;
			problem_help(problems_add(r->problems, "E311", list->value,
						  "'addresses' has two of one family"),
				     "one IPv4 and one IPv6 address at most");
			return;
		}
	}
}

void
settings_read(struct node *root, const char *dir, struct settings *s, struct problems *p)
{
	struct reader r = {.settings = s, .problems = p};

	if (dir == NULL || realpath(dir, r.dir) == NULL)
		memcpy(r.dir, "/", 2);
	settings_defaults(s);
	read_root(&r, root);
	check_egress(&r, root);
}
