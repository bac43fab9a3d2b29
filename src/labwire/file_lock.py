"""Who holds a file right now: an advisory lock (`flock`) that ends with the process that took it.

On a file system without locks, as on a system without them (Windows), nothing is ever seen as held.
"""

from __future__ import annotations

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None

_NOT_THERE_ELSEWHERE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


def try_lock(fd: int, *, wait: bool = False) -> bool:
    """Lock an open file till its descriptor is closed; False if another process, or another descriptor, holds it.

    Args:
        fd: Of the file.
        wait: Wait till nobody else holds it.
    """
    if fcntl is None:  # pragma: no cover - Windows
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file; False if it is not there, is a link, or cannot be opened."""
    try:
        fd = os.open(path, os.O_RDONLY | _NOT_THERE_ELSEWHERE)
    except OSError:
        return False
    try:
        return not try_lock(fd)
    finally:
        os.close(fd)
