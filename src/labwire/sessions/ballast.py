"""A few megabytes held back on the disk, so that a session can still be closed properly when the disk is full."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

FILE_NAME = ".ballast"
_BYTES = 4 << 20  # the index and summary of an 8 GB log, and every header and manifest


def take_ballast(folder: Path) -> None:
    """Reserve the space; without room for it the session goes on without."""
    with suppress(OSError):
        fd = os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, _BYTES)
            else:  # pragma: no cover - macOS, Windows
                os.write(fd, bytes(_BYTES))
        finally:
            os.close(fd)


def drop_ballast(folder: Path) -> bool:
    """Give the space back; False if there was none."""
    try:
        (folder / FILE_NAME).unlink()
    except OSError:
        return False
    return True
