"""Meters: what a group of processes used, and what else the machine did.

A Group is a set of processes in cgroups of their own (version 1 or 2); where
none can be made, the process tree below its first process, from /proc. Nothing
here starts a measurement: see scenarios.py.
"""

import ctypes
import fcntl
import glob
import os
import resource
import signal
import socket
import struct
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
DESCRIPTORS = 20000  # what each proxy gets
VERSIONS = {1, 2}  # of cgroups to try: see --cgroup


def read(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return f.read()


def read_number(path):
    return int(read(path))


def read_table(path):
    """Lines of "word number" as a dict."""
    pairs = (line.split()[:2] for line in read(path).splitlines())
    return {word.rstrip(":"): int(number) for word, number in pairs}


def cgroup_mounts():
    """Controller -> folder to make cgroups in; "unified" is version 2."""
    own = {}
    for line in read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(",") if names else ["unified"]:
            own[name] = path
    found = {}
    for line in read("/proc/mounts").splitlines():
        _, place, kind, options = line.split()[:4]
        if kind == "cgroup2":
            found["unified"] = place
        elif kind == "cgroup":
            for name in {"cpuacct", "memory"} & set(options.split(",")):
                inside = place + own.get(name, "").rstrip("/")
                found[name] = inside if os.path.isdir(inside) else place
    return found


class Cgroup:
    """One group's folders; raises OSError where they cannot be made."""

    def __init__(self, name):
        mounts = cgroup_mounts()
        self.folders = []
        self.cpu = self.memory = None
        self.version = 0
        try:
            for controller in ("cpuacct", "memory") if 1 in VERSIONS else ():
                if controller in mounts:
                    self._make_v1(controller, mounts[controller], name)
            if self.cpu is None and "unified" in mounts and 2 in VERSIONS:
                self._make_v2(mounts["unified"], name)
        except OSError:
            self.remove()
            raise
        if self.cpu is None:
            self.remove()
            raise OSError("no cgroup that counts CPU")

    def _make_v1(self, controller, place, name):
        folder = os.path.join(place, name)
        os.mkdir(folder)
        self.folders.append(folder)
        self.version = 1
        if controller == "cpuacct":
            self.cpu = folder
        else:
            self.memory = folder

    def _make_v2(self, place, name):
        try:  # every group counts CPU; only an enabled controller counts memory
            with open(os.path.join(place, "cgroup.subtree_control"), "w", encoding="ascii") as f:
                f.write("+memory")
        except OSError:
            pass
        folder = os.path.join(place, name)
        os.mkdir(folder)
        self.folders.append(folder)
        self.cpu = folder
        self.version = 2
        if os.path.exists(os.path.join(folder, "memory.stat")):
            self.memory = folder

    def join(self, pid):
        for folder in self.folders:
            with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write(str(pid))

    def pids(self):
        return [int(pid) for pid in read(os.path.join(self.cpu, "cgroup.procs")).split()]

    def cpu_seconds(self):
        if self.version == 1:
            return read_number(os.path.join(self.cpu, "cpuacct.usage")) / 1e9
        return read_table(os.path.join(self.cpu, "cpu.stat"))["usage_usec"] / 1e6

    def kernel_bytes(self):
        """Kernel memory charged to the group, socket buffers included; None: not counted."""
        if self.memory is None:
            return None
        if self.version == 1:
            names = ("memory.kmem.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes")
            return sum(read_number(os.path.join(self.memory, name)) for name in names)
        stat = read_table(os.path.join(self.memory, "memory.stat"))
        parts = ("slab", "kernel_stack", "pagetables", "percpu")
        kernel = stat.get("kernel", sum(stat.get(part, 0) for part in parts))
        return kernel + stat.get("sock", 0)

    def remove(self):
        for folder in self.folders:
            for _ in range(100):
                try:
                    os.rmdir(folder)
                    break
                except OSError:
                    time.sleep(0.02)
        self.folders = []


def process_stat(pid):
    """Fields of /proc/PID/stat behind the name: [0] state, [1] ppid, [3] session ..."""
    return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()


class Tree:
    """The processes below one, where no cgroup can be made."""

    version = 0
    memory = None

    def __init__(self):
        self.roots = []
        self.gone = 0.0

    def join(self, pid):
        self.roots.append(pid)

    def _stats(self):
        stats = {}
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    stats[int(name)] = process_stat(name)
                except (OSError, IndexError):
                    pass
        return stats

    def _members(self, stats):
        # each root leads a session of its own: also finds what was orphaned
        members = {pid for pid in stats if pid in self.roots or int(stats[pid][3]) in self.roots}
        grown = True
        while grown:
            more = {pid for pid in stats if int(stats[pid][1]) in members} - members
            members |= more
            grown = bool(more)
        return members

    def pids(self):
        return sorted(self._members(self._stats()))

    def cpu_seconds(self):
        stats = self._stats()
        # utime, stime, and those of children that were waited for
        ticks = sum(sum(map(int, stats[pid][11:15])) for pid in self._members(stats))
        return ticks / TICK

    def kernel_bytes(self):
        return None

    def remove(self):
        pass


class Group:
    """Processes that are started, metered and ended together."""

    def __init__(self, name):
        try:
            self.set = Cgroup(f"sallyport-bench-{os.getpid()}-{name}")
        except OSError:
            self.set = Tree()
        self.children = []

    def spawn(self, argv, processors=None, descriptors=None, **streams):
        def settle():
            if not isinstance(self.set, Tree):
                self.set.join(os.getpid())
            if processors is not None:
                os.sched_setaffinity(0, processors)
            if descriptors is not None:
                hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                most = min(descriptors, hard) if hard > 0 else descriptors
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

        child = subprocess.Popen(argv, start_new_session=True, preexec_fn=settle, **streams)
        if isinstance(self.set, Tree):
            self.set.join(child.pid)
        self.children.append(child)
        KNOWN[child.pid] = child
        return child

    def cpu_seconds(self):
        return self.set.cpu_seconds()

    def user_bytes(self):
        """Proportional set size of all processes."""
        total = 0
        for pid in self.set.pids():
            try:
                for line in read(f"/proc/{pid}/smaps_rollup").splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1]) * 1024
            except OSError:
                pass
        return total

    def kernel_bytes(self):
        return self.set.kernel_bytes()

    def end(self, patience=5.0):
        """SIGTERM, then SIGKILL what is left; only processes of this group."""
        for sig, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 2.0)):
            for child in self.children:
                if child.poll() is None:
                    child.send_signal(sig)
            if sig == signal.SIGKILL:
                for pid in self.set.pids():
                    try:
                        os.kill(pid, sig)
                    except OSError:
                        pass
            bound = time.monotonic() + wait
            while time.monotonic() < bound:
                for child in self.children:
                    child.poll()
                if not self.set.pids():
                    break
                time.sleep(0.01)
        reap_orphans()
        self.set.remove()


KNOWN = {}  # pid -> what started it


def adopt_orphans():
    """Makes this process the parent of what its children leave behind, so that it is reaped."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def reap_orphans():
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        child = KNOWN.pop(ended.si_pid, None)
        if child is not None:
            child.poll()
        else:
            os.waitpid(ended.si_pid, 0)


def softirq_seconds():
    """CPU of ksoftirqd: network work that was put off; nobody else's."""
    total = 0.0
    for pid in SOFTIRQ_PIDS:
        try:
            total += int(read(f"/proc/{pid}/schedstat").split()[0]) / 1e9
        except (OSError, ValueError):
            pass
    return total


def find_softirq():
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            if read(path).startswith("ksoftirqd/"):
                found.append(path.split("/")[2])
        except OSError:
            pass
    return found


SOFTIRQ_PIDS = find_softirq()


def find_machine_meter():
    """The root cgroup's CPU file: counted like our groups, no ticks, no rounding. A container
    has only a part of the machine there; then None."""
    for line in read("/proc/mounts").splitlines():
        _, place, kind, options = line.split()[:4]
        if kind == "cgroup" and "cpuacct" in options.split(","):
            if os.path.exists(f"{place}/release_agent"):  # only in a true root
                return f"{place}/cpuacct.usage"
        if kind == "cgroup2" and not os.path.exists(f"{place}/cgroup.type"):
            path = f"{place}/cpu.stat"
            if os.path.exists(path) and "cpuacct" not in cgroup_mounts():
                return path
    return None


MACHINE_METER = find_machine_meter()


def machine_seconds():
    """CPU used by everything on the machine, and what a hypervisor took away."""
    fields = [int(n) / TICK for n in read("/proc/stat").split("\n", 1)[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    if MACHINE_METER is None:
        return user + nice + system + irq + softirq + steal
    if MACHINE_METER.endswith("cpu.stat"):
        return read_table(MACHINE_METER)["usage_usec"] / 1e6 + steal
    return read_number(MACHINE_METER) / 1e9 + steal


def slab_bytes():
    """Bytes of all kernel objects in use on this machine; None if not to be read."""
    try:
        lines = read("/proc/slabinfo").splitlines()[2:]
    except OSError:
        return None
    total = 0
    for line in lines:
        fields = line.split()
        total += int(fields[1]) * int(fields[3])
    info = read("/proc/meminfo")
    for word in ("KernelStack:", "PageTables:"):
        total += int(info.split(word)[1].split()[0]) * 1024
    return total


CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"


def new_network(congestion):
    """Moves this process into an empty network with its own loopback, so that no socket in
    TIME-WAIT of an earlier run is in the way; False where that is not allowed. congestion: the
    congestion control that all begin with there; "system": as this machine has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, 0x8913, request))[1]
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
    try:
        with open("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w", encoding="ascii") as f:
            f.write("1000000")
    except OSError:
        pass
    if congestion != "system":
        try:
            with open(CONGESTION, "w", encoding="ascii") as f:
                f.write(congestion)
        except OSError as e:
            raise SystemExit(f"bench: congestion control {congestion}: {e.strerror}") from None
    return True


def wait_for_time_wait(bound=70.0):
    """Without a network of our own: until few sockets stand in TIME-WAIT."""
    end = time.monotonic() + bound
    room = read_number("/proc/sys/net/ipv4/tcp_max_tw_buckets")
    while time.monotonic() < end:
        standing = read("/proc/net/sockstat").split(" tw ")[1].split()[0]
        if int(standing) < room // 10:
            return
        time.sleep(0.5)


def read_table_kib(word):
    """A line of /proc/meminfo, in KiB."""
    return int(read("/proc/meminfo").split(word + ":")[1].split()[0])


def describe():
    """Where the CPU of the groups comes from, in words."""
    try:
        probe = Cgroup(f"sallyport-bench-{os.getpid()}-probe")
    except OSError:
        return "from /proc"
    probe.remove()
    return f"from cgroups, version {probe.version}"
