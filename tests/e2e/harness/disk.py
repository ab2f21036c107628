"""Disks that are small, full, or stand still: real file systems, which needs root.

Small is one in memory; the other is ext4 in a file, which the kernel can freeze: whoever writes there
waits until it is thawed, and cannot even be killed."""
import os
import subprocess

import pytest


def _run(*command):
    return subprocess.run(command, check=False, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


class Disk:
    """A folder that is a file system of its own."""

    def __init__(self, folder):
        self.folder = folder
        self._ballast = os.path.join(folder, "ballast")

    def path(self, name):
        return os.path.join(self.folder, name)

    def fill(self):
        """Leaves no block to others."""
        space = os.statvfs(self.folder)
        size, at = space.f_bavail * space.f_frsize, 0
        with open(self._ballast, "wb") as file:
            while size:
                try:
                    os.posix_fallocate(file.fileno(), at, size)
                    at += size
                except OSError:
                    size //= 2

    def make_room(self):
        os.unlink(self._ballast)

    def close(self):
        # a server of the test may still be ending
        subprocess.run(["umount", "-l", self.folder], check=True)


class MemoryDisk(Disk):
    def __init__(self, folder, size):
        os.makedirs(folder)
        if os.geteuid() != 0 or not _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=755",
                                         "sallyport-e2e", folder):
            pytest.skip("needs root that may mount")
        super().__init__(folder)


class SlowDisk(Disk):
    """Ext4 with a journal, in a file."""

    def __init__(self, folder, size):
        os.makedirs(folder)
        image = folder + ".image"
        with open(image, "wb") as file:
            file.truncate(size)
        if os.geteuid() != 0 or not _run("mkfs.ext4", "-q", "-F", "-m", "0", image) or \
                not _run("mount", "-o", "loop", image, folder):
            pytest.skip("needs root that may mount a file")
        os.chmod(folder, 0o755)
        self.frozen = False
        super().__init__(folder)

    def freeze(self):
        subprocess.run(["fsfreeze", "-f", self.folder], check=True)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            subprocess.run(["fsfreeze", "-u", self.folder], check=True)
        self.frozen = False

    def close(self):
        self.thaw()
        super().close()


def waits_for_disk(pid):
    """The process is in the kernel and no signal ends it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "D"
    except OSError:
        return False
