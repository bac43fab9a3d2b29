"""How full the disk is, and space that is kept for the lines that say so."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path

MAX_FLOOR_BYTES = 512 << 20
_FLOOR_SHARE = 20  # of the disk, at most: one twentieth
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that mean: no room."""


def disk_floor_bytes(folder: Path) -> int:
    """Return how many bytes of the disk numbered frames leave free: 512 MiB, or a twentieth of a small disk.

    Raises:
        OSError: The folder is not there.
    """
    disk = os.statvfs(folder)
    return min(MAX_FLOOR_BYTES, disk.f_blocks * disk.f_frsize // _FLOOR_SHARE)


def free_bytes(folder: Path) -> int:
    """Return how many bytes of the disk are free for this user.

    Raises:
        OSError: The folder is not there.
    """
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def reserve(fd: int, start: int, size_bytes: int) -> bool:
    """Take space of the disk behind the end of a file, without making it longer; False where that is not possible.

    A reader sees nothing of it, and whoever truncates the file gives it back.
    """
    return _fallocate is not None and _fallocate(fd, _KEEP_SIZE, start, size_bytes) == 0


def _find_fallocate() -> Callable[[int, int, int, int], int] | None:
    try:
        function = ctypes.CDLL(None).fallocate64  # glibc
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    function.restype = ctypes.c_int
    return function


_fallocate = _find_fallocate()
