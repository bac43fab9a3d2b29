"""Which processes have a queue open, as far as this user may see them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path


def mapped_by(path: Path) -> set[int]:
    """Return the processes that have a file of shared memory mapped; not those that mapped one of that name before."""
    try:
        inode = str(path.stat(follow_symlinks=False).st_ino)
    except OSError:
        return set()
    return _processes(lambda process: _maps(process, str(path), inode))


def opened_by(target: str) -> set[int]:
    """Return the processes that have a descriptor with this target, as a POSIX message queue's is its name."""
    return _processes(lambda process: target in _targets(process))


def _processes(matches: Callable[[Path], bool]) -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit() and matches(Path("/proc", name))}


def _maps(process: Path, path: str, inode: str) -> bool:
    try:
        maps = (process / "maps").read_text(errors="replace")
    except OSError:  # ended meanwhile, or another user's
        return False
    lines = (line.split(None, 5) for line in maps.splitlines() if line.endswith(path))
    return any(fields[-1] == path and fields[4] == inode for fields in lines)


def _targets(process: Path) -> Iterator[str]:
    try:
        for fd in os.listdir(process / "fd"):
            try:
                yield os.readlink(process / "fd" / fd)
            except OSError:  # closed meanwhile
                continue
    except OSError:  # ended meanwhile, or another user's
        return
