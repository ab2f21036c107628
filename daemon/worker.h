/*
 * daemon/worker.h - the worker's process: all SOCKS traffic of its share of the clients.
 * Unprivileged, one event loop, never blocks, opens no file.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

/*
 * Runs until told to drain or until the parent is gone. channel: SOCK_SEQPACKET to the parent, on
 * which IPC_BOOKS, IPC_TALLY, IPC_LISTENERS, IPC_POLICY and then IPC_START come. Answers IPC_READY once it accepts.
 * Never returns but by exit status: 0 after a drain, 1 otherwise.
 */
int worker_run(int channel, unsigned index);

#endif
