"""The temporary folder of a server's exports. What one that was killed left is removed when the next one starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from labwire.errors import DeviceError
from labwire.file_lock import try_lock

PREFIX = "labwire-exports-"
_TRIES = 10


class ExportFolder:
    """A new folder among the system's temporary files, locked while its server lives.

    Raises:
        DeviceError: It cannot be made.
    """

    def __init__(self) -> None:
        for _ in range(_TRIES):
            try:
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
            except OSError as error:
                raise DeviceError(f"cannot make a folder for exports: {error}") from error
            fd = _locked(self.path)
            if fd is not None and self.path.is_dir():  # or a server that has just started took it for one that was left
                self._fd = fd
                return
            if fd is not None:
                os.close(fd)
        raise DeviceError(f"cannot keep a folder for exports in {tempfile.gettempdir()}: somebody removes it")

    def remove(self) -> None:
        """Remove it with all that is in it; used once."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)


def remove_left() -> None:
    """Remove the folders of this user's servers that live no more."""
    with contextlib.suppress(OSError):  # there is no such place: then nothing was left
        for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            fd = _locked(path)
            if fd is None:
                continue
            try:
                if os.fstat(fd).st_uid == os.getuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds the lock of a folder; None: it is none, or somebody else holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    if try_lock(fd):
        return fd
    os.close(fd)
    return None
