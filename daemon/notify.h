/*
 * daemon/notify.h - telling systemd how we are (sd_notify(3)'s protocol). Written here, in 30 lines,
 * so that the process with root's rights links no further library.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=..."; nothing happens where no one listens. */
void notify_tell(const char *state);
/* "RELOADING=1" with the time that systemd wants beside it. */
void notify_reloading(void);

#endif
