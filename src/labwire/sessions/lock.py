"""Who records right now: a lock on the session's log that ends with the process that holds it.

Advisory `flock`; where the system has none (Windows), nothing is ever seen as held.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None


def try_lock(fd: int) -> bool:
    """Lock an open file for this process until the descriptor is closed; False if somebody else holds it."""
    if fcntl is None:  # pragma: no cover - Windows
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file; False if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)
