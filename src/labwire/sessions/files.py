"""Ways to write a file that leave it whole."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TEMPORARY = ".part"
"""Suffix of a file that is not ready: whoever finds one after a crash may delete it."""


def append_whole(fd: int, data: bytes | bytearray, end: int) -> int:
    """Append all of the bytes to a file, or none of them; return its new length.

    Args:
        fd: Open file, positioned at its end.
        data: What to append.
        end: Length of the file.

    Raises:
        OSError: The disk is full or fails; the file is as it was, as far as the system still allows.
    """
    done = 0
    try:
        with memoryview(data) as view:  # released even while an exception is kept, so that a bytearray can grow again
            while done < len(view):
                done += os.write(fd, view[done:])
    except OSError:
        with suppress(OSError):
            os.ftruncate(fd, end)
            os.lseek(fd, end, os.SEEK_SET)
        raise
    return end + len(data)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never half of it, even after a power failure.

    Raises:
        OSError: The disk is full or fails; the old file stands.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
