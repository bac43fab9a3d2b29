"""One server for each instrument name: a lock that ends with its process, and the removal of what a dead one left.

The names of queues are global (instrument-ipc, "Queue Architecture"), so a second server of a name would take the first
one's queues away. Linux.
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from labwire.errors import RefusedError, ResourceError
from labwire.instruments.linux import check_linux
from labwire.instruments.queues.contract import request_name, response_name
from labwire.instruments.queues.inspection import remove_stale
from labwire.instruments.queues.shared_memory import FOLDER
from labwire.names import check_actor_name

_MODE: Final = 0o700
_MAX_LINE_BYTES: Final = 64
_PID_LIMIT_S: Final = 0.5
_PID_RETRY_S: Final = 0.001


class NameLock:
    """Holds the name of an instrument until it is released, or this process ends.

    Like this::

        with NameLock("DMM1") as lock:
            lock.clean()
            ...  # serve it

    Args:
        name: Of the instrument.

    Raises:
        RefusedError: A living process serves it already; the message and ``data["pid"]`` tell which.
        ResourceError: There is no safe folder for the lock, or this is not Linux.
    """

    _file, _taken = "instrument_{}.lock", "is served already, by process"
    _advice = "end that one, or give this instrument another name"

    def __init__(self, name: str) -> None:
        check_linux("serving an instrument")
        self.name = check_actor_name(name)
        self._path = runtime_folder() / self._file.format(self.name)
        self._fd: int | None = self._lock()

    def _lock(self) -> int:
        import fcntl  # not on every system, while this module is imported on all

        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                pid = _pid_in(fd)
                os.close(fd)
                raise RefusedError(
                    f"instrument {self.name} {self._taken} {pid or '?'} ({_command_of(pid)}): {self._advice}",
                    pid=pid,
                ) from error
            if _is_still(self._path, fd):
                os.ftruncate(fd, 0)
                os.pwrite(fd, b"%d\n" % os.getpid(), 0)
                return fd
            os.close(fd)  # released, and so removed, between our two steps

    def clean(self) -> list[str]:
        """Remove what a dead server of this name left: queues that nobody has open, arrays in shared memory.

        Returns:
            What was removed, for the log.
        """
        removed = remove_stale(names=(request_name(self.name), response_name(self.name)))
        pattern = re.compile(rf"labwire_(\d+)_{re.escape(self.name)}_\d+_\d+")
        for name in os.listdir(FOLDER):
            found = pattern.fullmatch(name)
            if found and int(found[1]) != os.getpid():
                try:
                    (FOLDER / name).unlink(missing_ok=True)
                except PermissionError:  # another user's server of the same name, which has its own lock
                    continue
                removed.append(str(FOLDER / name))
        return removed

    def release(self) -> None:
        """Give the name back. Safe to call twice."""
        fd, self._fd = self._fd, None
        if fd is not None:
            self._path.unlink(missing_ok=True)
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class WorkerLock(NameLock):
    """Holds the place of the worker that is started by hand: a second one would take every other command of the first.

    Args:
        name: Of the instrument.

    Raises:
        RefusedError: There is one already; the message and ``data["pid"]`` tell which.
        ResourceError: There is no safe folder for the lock, or this is not Linux.
    """

    _file, _taken, _advice = "worker_{}.lock", "has a worker already, process", "end that one first"


def runtime_folder() -> Path:
    """Return this user's folder for locks; the same for all their processes, whatever their environment says.

    Raises:
        ResourceError: It is not this user's alone, as if somebody else had made it first.
    """
    user = os.getuid()
    root = Path(f"/run/user/{user}")
    folder = root / "labwire" if _is_own(root) else Path(f"/tmp/labwire-{user}")  # noqa: S108  # checked below
    try:
        folder.mkdir(mode=_MODE, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"the folder for locks, {folder}, cannot be made: {error.strerror}") from error
    if not _is_own(folder):
        raise ResourceError(f"the folder for locks, {folder}, must belong to this user alone (mode 0700): remove it")
    return folder


def _is_own(folder: Path) -> bool:
    try:
        status = folder.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == _MODE


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _pid_in(fd: int) -> int:
    """Return the process that holds a lock, as its file says; 0 if the file says nothing.

    Who has just locked it has yet to write that: until then the file is empty, or names a dead process.
    """
    until_s = time.monotonic() + _PID_LIMIT_S
    while True:
        line = os.pread(fd, _MAX_LINE_BYTES, 0).strip()
        pid = int(line) if line.isdigit() else 0
        if (pid and Path(f"/proc/{pid}").exists()) or time.monotonic() > until_s:
            return pid
        time.sleep(_PID_RETRY_S)


def _command_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "not to be seen from here"
    return b" ".join(words).decode(errors="replace").strip()[:120] or "no command"
