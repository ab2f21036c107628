"""A machine of the test's own: a throw-away copy of this one, in which systemd runs.

Its files are those of this machine; what is written goes to memory and is gone at the end. It has its
own processes, network (loopback alone), cgroups and host name, and boots a minimal target. Needs root,
and a kernel with overlayfs and cgroup2; why_not tells.
"""
import os
import shutil
import subprocess
import tempfile

from harness import net
from harness.wait import until

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# $1: a folder for it all, $2: what the machine shall see in /srv, $3: the name of its cgroup
OUTER = """
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/cgroup" "$1/upper" "$1/work" "$1/root"
mount -t cgroup2 cgroup2 "$1/cgroup"
mkdir "$1/cgroup/$3"
echo $$ >"$1/cgroup/$3/cgroup.procs"
umount "$1/cgroup"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$1/root"
mount --bind "$2" "$1/root/srv"
exec unshare --mount --pid --uts --ipc --cgroup --net --fork --kill-child sh -ec "$4" sh "$1/root"
"""

INNER = """
ip link set lo up
hostname throw-away
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
	touch "dev/$name"
	mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
: >etc/fstab
rm -f usr/sbin/policy-rc.d
pivot_root . mnt
umount -l /mnt
exec env -i container=test PATH="$PATH" /lib/systemd/systemd --system --unit=basic.target --show-status=no
"""


def why_not():
    """None, or what this machine lacks for it."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.path.exists("/lib/systemd/systemd"):
        return "there is no systemd"
    probe = ('mount -t tmpfs tmpfs /mnt && mkdir /mnt/a /mnt/u /mnt/w /mnt/c && mount -t cgroup2 none '
             '/mnt/c && [ -w /mnt/c/cgroup.procs ] && mount -t overlay -o '
             'lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w none /mnt/a')
    done = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "--propagation",
                           "private", "sh", "-c", probe], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else "cannot copy this machine: " + done.stderr.strip()


def is_systemd(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read() == "systemd\n"
    except OSError:  # gone: it was to mount something
        return False


class Machine:
    """boots; run() and ok() run commands inside; close() ends all of it."""

    def __init__(self, shared):
        self.folder = tempfile.mkdtemp(prefix="sallyport-machine-")
        self.name = os.path.basename(self.folder)
        with open(os.path.join(shared, f"{self.name}.console"), "wb") as console:
            self._holder = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-ec", OUTER, "sh",
                 self.folder, shared, self.name, INNER], stdin=subprocess.DEVNULL, stdout=console,
                stderr=console, preexec_fn=net.die_with_parent)
        self.init = None
        try:
            self._boot(console.name)
        except BaseException:
            self.close()
            raise

    def _boot(self, console):
        def text():
            with open(console, encoding="utf-8", errors="replace") as file:
                return file.read()

        def booted():
            assert self._holder.poll() is None, text()
            self.init = next(filter(is_systemd, net.children(self._holder.pid)), None)
            return self.init and self.run("systemctl", "is-active", "basic.target").stdout == "active\n"
        until(booted, lambda: "the machine to boot; it says\n" + text(), 60, every=0.1)

    def command(self, *args):
        return ["nsenter", "--target", str(self.init), "--mount", "--pid", "--uts", "--ipc", "--net",
                "--cgroup", "--wd", "env", "-i", f"PATH={PATH}", "DEBIAN_FRONTEND=noninteractive",
                "LANG=C.UTF-8", *args]

    def run(self, *args, seconds=120, **kwargs):
        return subprocess.run(self.command(*args), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=seconds, check=False, **kwargs)

    def ok(self, *args, seconds=120):
        """Standard output of a command that must succeed."""
        done = self.run(*args, seconds=seconds)
        assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def path(self, name):
        """A file of the machine as a path of ours."""
        return f"/proc/{self.init}/root{name}"

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def journal(self):
        return self.run("journalctl", "--no-pager", "-o", "cat", "-n", "60").stdout

    def close(self):
        self._holder.kill()  # and so pid 1, and so all that is inside
        self._holder.wait()
        if self.init:
            until(lambda: not net.alive(self.init), "the machine to end")
        gone = 'mount -t cgroup2 none "$1"; [ ! -d "$1/$2" ] || find "$1/$2" -depth -type d -exec rmdir {} +'

        def removed():
            return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", gone,
                                   "sh", self.folder, self.name], capture_output=True,
                                  check=False).returncode == 0
        until(removed, "its cgroup to be empty")
        shutil.rmtree(self.folder)
