"""Reads the audit file as it grows and answers questions about its records."""
import json
import os

from harness.wait import until


class Ledger:
    def __init__(self, path):
        self.path = path
        self._offset = 0
        self._inode = None
        self._records = []
        self._lines = []
        self._rest = b""

    def lines(self):
        """Every whole line so far, as bytes without the newline."""
        self._read()
        return list(self._lines)

    def records(self):
        self._read()
        return list(self._records)

    def _read(self):
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode:  # the first, or it was rotated
                    self._inode = status.st_ino
                    self._offset, self._rest = 0, b""
                    self._records, self._lines = [], []
                if status.st_size < self._offset:
                    raise AssertionError(f"{self.path} became shorter")
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._lines.append(line)
            self._records.append(json.loads(line.decode("ascii")))

    def find(self, predicate):
        return [r for r in self.records() if predicate(r)]

    def wait(self, predicate, what="a record", count=1, seconds=None):
        """The first record for which predicate holds; a list if count is not 1."""
        def found():
            got = self.find(predicate)
            return got if len(got) >= count else None

        def told():
            tail = "\n  ".join(line.decode() for line in self.lines()[-8:])
            return f"{what} in {self.path}; it has {len(self.lines())} records, the last:\n  {tail}"
        got = until(found, told, seconds)
        return got[0] if count == 1 else got

    def of(self, client, action=None, seconds=None):
        """The (last) record of the session whose client socket has this local address."""
        port = client.port
        return self.wait(lambda r: r.get("source", {}).get("port") == port
                         and (action is None or r["event"]["action"] == action),
                         f"{action or 'a record'} of client port {port}", seconds=seconds)

    def last_of(self, client, seconds=None):
        """The record that closed the client's session: end, deny or fail."""
        last = ("session-end", "session-deny", "session-fail")
        port = client.port
        return self.wait(lambda r: r.get("source", {}).get("port") == port
                         and r["event"]["action"] in last,
                         f"the last record of client port {port}", seconds=seconds)

    def sessions(self):
        """{session id: [records]} of everything about sessions."""
        table = {}
        for record in self.records():
            session = record.get("socks", {}).get("session")
            if session:
                table.setdefault(session, []).append(record)
        return table
