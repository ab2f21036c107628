"""The memory of a process, seen from outside (as root)."""


def holds(pid, secret):
    """Is it anywhere in the memory of the process?"""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if "w" not in rights:
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            if end - start > 1 << 30:
                continue  # AddressSanitizer's own
            memory.seek(start)
            try:
                if secret in memory.read(end - start):
                    return True
            except OSError:
                continue  # not backed
    return False
