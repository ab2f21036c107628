"""Waiting for something to become true, with a limit and a message; never sleeping for luck."""
import os
import time

# sanitizers and a busy machine slow everything down
PATIENCE = float(os.environ.get("E2E_PATIENCE", "20"))


def until(condition, what, seconds=None, every=0.01):
    """Calls condition until it returns something true, which is returned."""
    end = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            text = what() if callable(what) else what
            raise AssertionError(f"waited in vain for {text}")
        time.sleep(every)
