/*
 * daemon/ledger.h - the ledger's process: the only writer of audit records. Unprivileged; may block on the
 * audit file, so nothing waits for it but through the books.
 */
#ifndef DAEMON_LEDGER_H
#define DAEMON_LEDGER_H

/* The memfd that outlives a ledger: its sequence number, zeroed at first. */
#define LEDGER_SEQUENCE_BYTES 4096

/*
 * Runs until told to drain or until the parent is gone. channel: SOCK_SEQPACKET to the parent, on which
 * IPC_TALLY, IPC_POLICY and IPC_AUDIT_FILE come first (then IPC_READY is answered), and IPC_BOOKS for each worker.
 * Returns the exit status.
 */
int ledger_run(int channel);

#endif
