"""Which processes have a queue open, as far as this user may see them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def mapped_by(path: Path) -> set[int]:
    """Return the processes that have a file of shared memory mapped; not those that mapped one of that name before."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return set()
    file = (f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}", str(status.st_ino))
    return _processes(lambda process: _maps(process, str(path), file))


def opened_by(target: str) -> set[int]:
    """Return the processes that have a POSIX message queue open, whose descriptor's target is its name.

    Only those in our IPC namespace: in another one, such as a container's, it is another queue.
    """
    namespace = os.readlink("/proc/self/ns/ipc")
    return _processes(lambda process: target in _targets(process) and _ipc_namespace(process) == namespace)


def _processes(matches: Callable[[Path], bool]) -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and matches(Path("/proc", name))}


def _ipc_namespace(process: Path) -> str:
    try:
        return os.readlink(process / "ns" / "ipc")
    except OSError:  # ended meanwhile, or another user's
        return ""


def _maps(process: Path, path: str, file: tuple[str, str]) -> bool:
    try:
        maps = (process / "maps").read_text(errors="replace")
    except OSError:  # ended meanwhile, or another user's
        return False
    lines = (line.split(None, 5) for line in maps.splitlines() if line.endswith(path))
    return any(fields[-1] == path and (fields[3], fields[4]) == file for fields in lines)


def _targets(process: Path) -> Iterator[str]:
    try:
        for fd in os.listdir(process / "fd"):
            try:
                yield os.readlink(process / "fd" / fd)
            except OSError:  # closed meanwhile
                continue
    except OSError:  # ended meanwhile, or another user's
        return
