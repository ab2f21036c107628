/*
 * ctl.h - what the commands of sallyctl share: the call, the answer, the styles.
 *
 * A command is a row in the table of main.c and one file.  It gets its options
 * parsed, prints its product on stdout and returns an exit status; why it could
 * not be done goes to stderr (or, with --json, as {"error":...} to stdout).
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "rules/rules.h"

enum { CTL_YES = 0, CTL_NO = 1, CTL_FAILED = 2 }; /* exit status, POLICY.md "The admin's tool" */

struct ctl_option {
	const char *name;  /* without dashes; NULL ends a table */
	char letter;       /* 0: none */
	const char *value; /* its word in --help; NULL: a switch */
	const char *help;
};

#define CTL_OPTIONS 32 /* of one command, common ones included */
#define CTL_OPERANDS 1024 /* files, for one */

struct ctl_call;
struct ctl_command {
	const char *name, *operands; /* operands as shown in --help, "" if none */
	const char *summary, *about; /* one line; the paragraphs of --help */
	const struct ctl_option *options;
	unsigned least, most; /* operands */
	int (*run)(struct ctl_call *);
};

struct ctl_call {
	const struct ctl_command *command;
	const char *values[CTL_OPTIONS]; /* by option_at(); a switch that is on: its name */
	const char *operands[CTL_OPERANDS];
	unsigned operand_count;
	const char *file; /* -c, or the default */
	bool json, colour;
};

/* options.c */
bool options_parse(struct ctl_call *call, int argc, char **argv);        /* false: told */
const char *option_value(const struct ctl_call *call, const char *name); /* NULL: not given */
bool option_on(const struct ctl_call *call, const char *name);
void options_help(const struct ctl_command *command, struct buffer *out);

/* main.c */
extern const struct ctl_command ctl_commands[];
const struct ctl_command *command_find(const char *name);
const char *nearest_command(const char *word); /* NULL: none is near */
void usage_put(struct buffer *out); /* the tool's own --help */

/* answer.c */
int ctl_fail(const struct ctl_call *call, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));    /* tells, returns CTL_FAILED */
/* Gives the terminal back before something is told; NULL: nobody has it. */
extern void (*ctl_leave)(void);
bool ctl_write(const struct buffer *out);     /* to stdout; false: told */
int ctl_done(struct buffer *out, int status); /* writes and frees; status, or CTL_FAILED */

struct style {
	const char *good, *bad, *wait, *bold, *dim, *off;
};
const struct style *style_of(const struct ctl_call *call);
/* Text of a policy file for a terminal: UTF-8 stays, control and reordering characters do not. */
void put_shown(struct buffer *out, const char *s);
/* "1,234,567" */
#define COUNT_TEXT 32
const char *count_text(uint64_t n, char buf[COUNT_TEXT]);

/* load.c */
/* Loads the call's file; false: problems or the reason were told. *policy is open until load_free.
 */
bool load_policy(const struct ctl_call *call, struct rules_load *l, struct policy **policy);
void load_free(struct rules_load *l, struct policy *policy);
bool file_opens(const char *path, int *error); /* false: the -c file itself cannot be read */
void problems_put(const struct ctl_call *call, const struct rules_load *l, struct buffer *out);

/* rewrite.c */
/* These bytes in place of the file's, in one step; mode and owner stay (fresh: the mode where there is none). False:
 * errno, and nothing has changed. */
bool rewrite(const char *path, const void *bytes, size_t len, unsigned fresh);

/* The commands. */
int check_run(struct ctl_call *call);
int explain_run(struct ctl_call *call);
int lint_run(struct ctl_call *call);
int show_run(struct ctl_call *call);
int test_run(struct ctl_call *call);
int verify_run(struct ctl_call *call);
int help_run(struct ctl_call *call);
int settings_run(struct ctl_call *call);
int table_run(struct ctl_call *call);
int passwd_run(struct ctl_call *call);

#endif
