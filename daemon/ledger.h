/*
 * daemon/ledger.h - the ledger's process: the only writer of audit records. Unprivileged; may block on the
 * audit file, so nothing waits for it but through the books.
 */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

/*
 * Runs until told to drain or until the parent is gone. channel: SOCK_SEQPACKET to the parent, on which
 * IPC_TALLY (with the desk), IPC_POLICY, IPC_BOOKS for each worker and IPC_AUDIT_FILE come first (then IPC_READY is
 * answered). The file comes last: what it is written must know of all books.
 * Returns the exit status.
 */
int ledger_run(int channel);

#endif
