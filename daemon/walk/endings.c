/*
 * walk/endings.c - the table of endings, see walk/endings.h. Pure data.
 *
 * Codes: PROTOCOL "SOCKS4 and 4a" and "SOCKS5". A code of 0 for SOCKS5 is never sent: such an
 * ending leaves nobody to tell, or nothing that may be said (not-socks).
 */
#include "walk/endings.h"

#include "books/books.h"

#define ROW(ending, word, socks4, socks5, event) [ending] = {word, socks4, socks5, event}

const struct ending_row endings[END_COUNT] = {
    ROW(END_NONE, "none", 91, 1, EVENT_FAIL),
    ROW(END_CLIENT_CLOSED, "client-closed", 0, 0, EVENT_FAIL),
    ROW(END_TARGET_CLOSED, "target-closed", 91, 1, EVENT_FAIL),
    ROW(END_CLIENT_RESET, "client-reset", 0, 0, EVENT_FAIL),
    ROW(END_TARGET_RESET, "target-reset", 91, 5, EVENT_FAIL),
    ROW(END_REFUSED, "refused", 91, 5, EVENT_FAIL),
    ROW(END_UNREACHABLE, "unreachable", 91, 4, EVENT_FAIL),
    ROW(END_NETWORK_UNREACHABLE, "unreachable", 91, 3, EVENT_FAIL),
    ROW(END_CONNECT_TIMEOUT, "connect-timeout", 91, 6, EVENT_FAIL),
    ROW(END_HOST_TIMEOUT, "connect-timeout", 91, 4, EVENT_FAIL),
    ROW(END_NAME_NOT_FOUND, "name-not-found", 91, 4, EVENT_DENY),
    ROW(END_DNS_FAILED, "dns-failed", 91, 1, EVENT_DENY),
    ROW(END_DENIED, "denied", 91, 2, EVENT_DENY),
    ROW(END_AUTH_FAILED, "auth-failed", 91, 1, EVENT_DENY),
    ROW(END_AUTH_UNAVAILABLE, "auth-unavailable", 91, 1, EVENT_DENY),
    ROW(END_IDENT_UNREACHABLE, "ident-unreachable", 92, 2, EVENT_DENY),
    ROW(END_IDENT_MISMATCH, "ident-mismatch", 93, 2, EVENT_DENY),
    ROW(END_MALFORMED, "malformed", 91, 1, EVENT_DENY),
    ROW(END_COMMAND, "malformed", 91, 7, EVENT_DENY),
    ROW(END_ATYP, "malformed", 91, 8, EVENT_DENY),
    ROW(END_NO_METHOD, "denied", 91, 2, EVENT_DENY),
    ROW(END_NOT_SOCKS, "not-socks", 0, 0, EVENT_DENY),
    ROW(END_HANDSHAKE_TIMEOUT, "handshake-timeout", 91, 1, EVENT_FAIL),
    ROW(END_IDLE, "idle", 91, 1, EVENT_FAIL),
    ROW(END_LIFETIME, "lifetime", 91, 1, EVENT_FAIL),
    ROW(END_LIMIT, "limit", 91, 1, EVENT_DENY),
    ROW(END_BIND_TIMEOUT, "bind-timeout", 91, 6, EVENT_FAIL),
    ROW(END_BIND_MISMATCH, "bind-mismatch", 91, 2, EVENT_FAIL),
    ROW(END_REVOKED, "revoked", 91, 2, EVENT_DENY),
    ROW(END_KILLED, "killed", 91, 1, EVENT_FAIL),
    ROW(END_SHUTDOWN, "shutdown", 91, 1, EVENT_FAIL),
    ROW(END_WORKER_CRASH, "worker-crash", 0, 0, EVENT_FAIL),
    ROW(END_INTERNAL, "internal", 91, 1, EVENT_FAIL),
};
