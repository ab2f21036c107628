/*
 * base/log.h - the operational log: for the keeper of the machine, never per
 * session above debug level, never the audit ledger.
 *
 * "error first, subject in 'single quotes'", lower case, no full stop.
 * To stderr in the foreground, else to syslog(3). Every %s that came from outside is
 * quoted by the caller; control bytes are escaped here once more all the same.
 * One call site logs at most 10 lines in 5 s; the rest is counted and told.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOGLEVEL_ERROR, LOGLEVEL_WARNING, LOGLEVEL_NOTICE, LOGLEVEL_INFO, LOGLEVEL_DEBUG };

struct log_site { /* one per call site, zeroed */
	long long window_ns;
	unsigned count, suppressed;
};

/* role: "parent", "worker 0", ... shown in each line; copied. */
void log_open(const char *role, bool foreground, enum log_level most);
void log_role(const char *role);
void log_write(struct log_site *site, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
enum log_level log_most(void);

#define log_at(level, ...)                                                                         \
	do {                                                                                       \
		static struct log_site log_site_;                                                  \
		if ((level) <= log_most())                                                         \
			log_write(&log_site_, (level), __VA_ARGS__);                               \
	} while (0)
#define log_error(...) log_at(LOGLEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_at(LOGLEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_at(LOGLEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_at(LOGLEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOGLEVEL_DEBUG, __VA_ARGS__)

#endif
