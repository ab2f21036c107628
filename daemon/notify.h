/*
 * daemon/notify.h - telling systemd how we are (sd_notify(3)'s protocol). Written here, in a few lines,
 * so that the process with root's rights links no further library.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

/* "READY=1", "STOPPING=1", "STATUS=..."; nothing happens where no one listens. */
void notify_tell(const char *state);
/* "RELOADING=1" with the time that systemd wants beside it. */
void notify_reloading(void);
/*
 * The watchdog: in ms on the monotonic clock, when the next sign of life is due (0: nobody waits for one), at half
 * the time that is allowed (WATCHDOG_USEC); and the sign, if it is due by now.
 */
int64_t notify_due(void);
void notify_alive(void);

#endif
