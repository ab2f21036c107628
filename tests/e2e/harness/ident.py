"""Ident servers (RFC 1413) on port 113 of an address of the test's own: real oidentd, and
scripted ones that do what no good server does."""
import socket
import subprocess
import threading

import pytest

from harness.net import die_with_parent
from harness.wait import PATIENCE, until

PORT = 113


class Identd:
    """answer(query, connection) gives the bytes to send, or None to say nothing and hold the
    connection open; the server closes after an answer."""

    def __init__(self, address, answer):
        self.answer = answer
        self.queries = []
        self.peers = []
        self.ended = 0  # connections that the asking side has closed while we held them
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind((address, PORT))
        except PermissionError:
            self._listener.close()
            pytest.skip("needs root for port 113")
        self._listener.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        connection.settimeout(PATIENCE)
        try:
            query = b""
            while not query.endswith(b"\n"):
                more = connection.recv(1024)
                if not more:
                    return
                query += more
            self.queries.append(query)
            answer = self.answer(query, connection)
            if answer is None:
                if connection.recv(1) == b"":
                    self.ended += 1
            else:
                connection.sendall(answer)
        except OSError:
            self.ended += 1
        finally:
            connection.close()

    def close(self):
        # wakes the accept
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def says(user, system="UNIX"):
    """A server that calls every client so."""
    def answer(query, _):
        return query.strip() + f" : USERID : {system} : {user}\r\n".encode("latin-1")
    return answer


class Oidentd:
    """The real one, asked by nobody but the test's server."""

    def __init__(self, address, *options):
        self._process = subprocess.Popen(
            ["oidentd", "--foreground", "--nosyslog", "--address", address, "--user", "0",
             "--group", "0", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent)

        def listens():
            assert self._process.poll() is None, "oidentd ended"
            with socket.socket() as sock:
                return sock.connect_ex((address, PORT)) == 0
        until(listens, "oidentd to listen")

    def close(self):
        self._process.terminate()
        self._process.wait()
