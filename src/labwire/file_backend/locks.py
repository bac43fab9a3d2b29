"""Advisory locks (flock): on a file while a line is written, on a folder against a second writer."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

from labwire.errors import StateError

_LOCKS = Path("/proc/locks")
_TRIES = 10
_PAUSE_S = 0.005
# Network file systems without a lock daemon, and file systems that have no locks at all.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def try_lock(fd: int) -> bool:
    """Take the exclusive lock on an open file, without waiting; False if somebody else holds a lock on it.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Let go of the lock on an open file."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def holder_of(fd: int) -> int | None:
    """Return the process that holds a lock on an open file, None if the system does not tell."""
    here = os.fstat(fd)
    device = f"{os.major(here.st_dev):02x}:{os.minor(here.st_dev):02x}"
    holders: dict[str, int] = {}
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:  # 1: FLOCK  ADVISORY  WRITE 4711 fe:00:131077 0 EOF
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK":
            where, _, inode = fields[5].rpartition(":")
            if inode == str(here.st_ino) and fields[4].isdigit():
                holders[where] = int(fields[4])
    # Layered file systems show another device there than stat does.
    return holders.get(device) or next(iter(holders.values()), None)


class PatientLock:
    """The lock of a file that is written to: tried for at most 50 ms, never waited for.

    Whoever kept it through one wait is not waited for again until it was seen free. A file system that has no locks is
    not asked again.
    """

    def __init__(self) -> None:
        self.conflicts = 0
        """How often it could not be taken."""
        self.news: tuple[str, dict[str, Any]] | None = None
        """What has changed with the last `take`: ``lock_conflict`` (``pid``) or ``lock_free``; the caller clears it."""
        self._is_kept = False
        self._possible = True

    def take(self, fd: int) -> bool:
        """Take the lock on an open file; False if somebody else holds it, or there is none."""
        if not self._possible:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._is_kept:
                return True  # as nearly always
            taken = True
        except BlockingIOError:
            taken = self._try_again(fd)
        except OSError:
            self._possible = False
            return False
        if taken == self._is_kept:
            self._is_kept = not taken
            self.news = ("lock_free", {}) if taken else ("lock_conflict", {"pid": holder_of(fd)})
        self.conflicts += not taken
        return taken

    def _try_again(self, fd: int) -> bool:
        for _ in range(0 if self._is_kept else _TRIES):
            time.sleep(_PAUSE_S)
            if try_lock(fd):
                return True
        return False


class FolderLock:
    """The lock that makes one writer of a folder; no file is made for it. It ends with the process.

    Args:
        folder: An existing folder.

    Raises:
        StateError: Another writer has it; the message names its process.
        OSError: The folder cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._fd: int | None = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            taken = try_lock(self._fd)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                self.close()
                raise
            taken = True  # nothing can be done there
        if not taken:
            pid = holder_of(self._fd)
            self.close()
            who = "another process" if pid is None else "this process" if pid == os.getpid() else f"process {pid}"
            raise StateError(
                f"{folder} is being written to by {who}; stop it, or choose another base_directory",
                folder=str(folder),
                pid=pid,
            )

    def close(self) -> None:
        """Let others have the folder. Safe to call twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
