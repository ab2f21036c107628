"""Addresses and processes of this machine."""
import collections
import contextlib
import ctypes
import fcntl
import os
import random
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness.wait import until

CLONE_NEWNET = 0x40000000


def fresh_address():
    """An address of 127.0.0.0/8 that nobody else uses: parallel tests never meet on a port."""
    while True:
        address = "127.%d.%d.%d" % (random.randint(20, 250), random.randint(0, 255),
                                    random.randint(1, 254))
        with socket.socket() as sock:
            try:
                sock.bind((address, 1080))
                return address
            except OSError:
                continue


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
            return True
    except OSError:
        return False


def free_port6():
    """A free port of ::1 below the range that the kernel gives to outgoing connections."""
    while True:
        port = random.randint(10000, 32000)
        with socket.socket(socket.AF_INET6) as sock:
            try:
                sock.bind(("::1", port))
                return port
            except OSError:
                continue


def children(pid):
    """Process ids of the children of pid."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry))
    return found


def alive(pid):
    """Runs (or at least is no zombie)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def may_look(pid):
    """Our processes are not dumpable: only root sees their descriptors."""
    return os.access(f"/proc/{pid}/fd", os.R_OK | os.X_OK)


def descriptors(pid):
    """What each open descriptor of pid is: ["socket:[123]", "/dev/null", ...]"""
    found = []
    if alive(pid) and not may_look(pid):
        pytest.skip("needs root to look into a worker")
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue
    return found


def memory_kib(pid, line="VmRSS"):
    """Resident memory in KiB: private and shared, or what another line of status says."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        for text in file:
            if text.startswith(f"{line}:"):
                return int(text.split()[1])
    return 0


def queued(*pids):
    """Seconds that all threads of these processes were ready and had no processor."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                    total += int(file.read().split()[1])
            except OSError:
                continue  # it has ended, or this kernel does not count
    return total / 1e9


class NetNamespace:
    """A network of its own, with loopback up.  `run` calls a function with the calling thread
    inside; processes and sockets made there stay there.  Needs root."""

    def __init__(self):
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"],
                                        stdin=subprocess.DEVNULL)
        self._outside = []  # where those are who are inside now: one may be within another
        mine = os.stat("/proc/self/ns/net").st_ino
        from harness.wait import until
        until(lambda: os.stat(f"/proc/{self._holder.pid}/ns/net").st_ino != mine,
              "a network namespace")
        self._theirs = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.ip("link", "set", "lo", "up")

    def ip(self, *args):
        subprocess.run(["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "ip", *args],
                       check=True)

    def __enter__(self):
        self._outside.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        _setns(self._theirs)
        return self

    def __exit__(self, *_):
        outside = self._outside.pop()
        _setns(outside)
        os.close(outside)

    def close(self):
        self._holder.terminate()
        self._holder.wait()
        os.close(self._theirs)


class Road:
    """A long way between two namespaces: each packet takes `seconds`.  near and far are the
    addresses of its ends."""

    near, far = "10.99.0.1", "10.99.0.2"

    def __init__(self, here, there, seconds):
        self.seconds = seconds
        self.ends = [self._end(here, self.near), self._end(there, self.far)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    @staticmethod
    def _end(space, address):
        with space:
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            # TUNSETIFF with IFF_TUN | IFF_NO_PI: bare IP packets
            fcntl.ioctl(end, 0x400454ca, struct.pack("16sH22x", b"road", 0x1001))
        space.ip("addr", "add", f"{address}/24", "dev", "road")
        space.ip("link", "set", "road", "up")
        return end

    def _carry(self):
        on_the_way = collections.deque()
        while not self._stop.is_set():
            wait = max(0.0, on_the_way[0][0] - time.monotonic()) if on_the_way else 0.05
            for end in select.select(self.ends, [], [], wait)[0]:
                other = self.ends[1 - self.ends.index(end)]
                on_the_way.append((time.monotonic() + self.seconds, other, os.read(end, 65536)))
            while on_the_way and on_the_way[0][0] <= time.monotonic():
                _, to, packet = on_the_way.popleft()
                with contextlib.suppress(OSError):  # it is full, or on its way down: lost
                    os.write(to, packet)

    def close(self):
        self._stop.set()
        self._thread.join()
        for end in self.ends:
            os.close(end)


LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """In a child about to exec: an interrupted test run leaves no server behind."""
    LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def _setns(fd):
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def taken(sock):
    """Waits until all that was sent has come to the other end's kernel."""
    def empty():
        return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0] == 0
    until(empty, "what was sent to come")
