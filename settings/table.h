/*
 * settings/table.h - one row a setting: the reader, the manual and --help all use
 * this table. Private to this room.
 */
#ifndef SETTINGS_TABLE_H
#define SETTINGS_TABLE_H

#include "settings/settings.h"

enum setting_type {
	SETTING_COUNT,     /* uint32_t */
	SETTING_BITS,      /* uint8_t: the length of a prefix */
	SETTING_TIME_MS,   /* uint32_t, milliseconds */
	SETTING_TIME_S,    /* uint32_t, seconds */
	SETTING_SIZE,      /* uint64_t, bytes */
	SETTING_PORT,      /* uint16_t */
	SETTING_PORTS,     /* struct settings_ports */
	SETTING_BOOL,      /* bool */
	SETTING_ACCOUNT,   /* char[SETTINGS_NAME] */
	SETTING_SERVICE,   /* char[64]: of PAM or Kerberos */
	SETTING_PATH,      /* char[SETTINGS_PATH] */
	SETTING_SINK,      /* the same, or "stdout" */
	SETTING_COPY,      /* of struct settings_copy: where to */
	SETTING_ADDRESS,   /* struct addr; also: bool */
	SETTING_ADDRESSES, /* struct addr[]; also: uint32_t count */
	SETTING_SERVERS,   /* struct endpoint[]; also: count */
	SETTING_PREFIXES,  /* struct prefix[]; also: count */
	SETTING_ACCOUNTS,  /* char[][SETTINGS_NAME + 5]; also: count */
	SETTING_CHOICE,    /* an enum: the number of the word */
	SETTING_CHOICES,   /* uint32_t: bit 1 << number for each word */
};

struct setting {
	const char *name; /* "timeouts.idle"; "*" stands for any name */
	enum setting_type type;
	uint32_t at;          /* offset in struct settings, or in its listener or copy */
	uint32_t also;        /* offset of the count or flag; 0: none */
	const char *fallback; /* as the admin would write it, without quotes; NULL: none */
	uint64_t min, max;    /* of numbers and quantities; of lists: max entries */
	unsigned flags;
	const char *const *words; /* of choices, NULL-terminated */
	const char *help;
};

enum {
	SETTING_REQUIRED = 1, /* its section needs it */
	SETTING_SECTION = 2,  /* the default holds only where its section is given */
	SETTING_NONE = 4,     /* "none" is 0 */
	SETTING_OURS = 8,     /* an address of this machine: not the unspecified one */
};

extern const struct setting settings_table[];
extern const unsigned settings_table_count;

const char *setting_type_word(enum setting_type type); /* "a time" */
/* As the admin writes it: "2 min", "1 GiB", "4711". Returns out. */
const char *setting_value_text(const struct setting *t, uint64_t value, char out[32]);

#endif
