"""Write a file so that whoever reads it sees the old one or the new one, never a part."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE, linux/fs.h


def write_new(path: Path, data: bytes | memoryview) -> None:
    """Write a new file; what is there under that name goes first, and nothing is left if it cannot be written whole.

    Raises:
        OSError: It cannot be written.
    """
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]  # a disk that gets full takes a part, and says so at the next write
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def replace_file(new: Path, target: Path) -> None:
    """Put `new` in the place of `target`, atomically for readers; both are in the same folder.

    Raises:
        OSError: It cannot be done.
    """
    # os.replace makes ext4 write the data to the disk at once, which takes milliseconds; an exchange does not. What it
    # gives up is the content after a power cut, and the next picture replaces that anyway.
    if _exchange(new, target):
        new.unlink()
    else:
        new.replace(target)


def _exchange(new: Path, target: Path) -> bool:
    # False: no such target yet, or the system or the file system cannot do it.
    if _renameat2 is None or target.is_dir():
        return False
    return _renameat2(_HERE, os.fsencode(new), _HERE, os.fsencode(target), _EXCHANGE) == 0


def _find_renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    try:
        function = ctypes.CDLL(None).renameat2  # glibc 2.28 and newer
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    function.restype = ctypes.c_int
    return function


_renameat2 = _find_renameat2()
