"""Wait until one of a few files changes: inotify where there is one, else by looking."""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

LOOK_S = 0.05
"""How long to wait between two looks where nobody tells of changes."""

_SELDOM_S = 1.0  # a look all the same: changes made on another computer are told of to nobody
_MASK = 0x2 | 0x4 | 0x400 | 0x800  # IN_MODIFY, IN_ATTRIB, IN_DELETE_SELF, IN_MOVE_SELF: sys/inotify.h
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC if hasattr(os, "O_CLOEXEC") else 0
_EVENTS_BYTES = 1 << 16


class FileWatch:
    """Wait for changes of files; each may be missing, and may be replaced at any time.

    What was missed costs at most a second: events are a reason to look, never what is relied on, so that an overflowing
    queue loses nothing.

    Args:
        paths: The files.
        use_events: False: only look, as on network file systems.
    """

    def __init__(self, paths: Sequence[Path], *, use_events: bool = True) -> None:
        self._paths = paths
        self._fd = _inotify.init(_FLAGS) if use_events and _inotify else -1
        self._silent = False
        self._watched: dict[Path, int] = {}

    def wait(self, timeout_s: float) -> bool:
        """Return when something has changed, or it is time to look; False if nothing tells of a change."""
        if self._fd < 0:
            time.sleep(min(timeout_s, LOOK_S))
            return True  # who is never told has missed nothing
        watched = self._watch_all()
        if watched != self._watched:
            self._watched = watched
            return True  # what came before it was watched was told to nobody
        rarely = not self._silent and all(number >= 0 for number in watched.values())
        ready, _, _ = select.select([self._fd], [], [], min(timeout_s, _SELDOM_S if rarely else LOOK_S))
        if ready:
            self._silent = False
            os.read(self._fd, _EVENTS_BYTES)
        return bool(ready)

    def missed(self) -> None:
        """Take it that something had changed and no event told: look more often until one does."""
        self._silent = True

    def close(self) -> None:
        """Stop watching. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _watch_all(self) -> dict[Path, int]:
        # Asked for again before each wait: the name may lead to another file by now, which gives another number.
        assert _inotify
        return {path: _inotify.add_watch(self._fd, os.fsencode(path), _MASK) for path in self._paths}


class _Inotify(NamedTuple):
    init: Callable[[int], int]
    add_watch: Callable[[int, bytes, int], int]


def _find_inotify() -> _Inotify | None:
    try:
        library = ctypes.CDLL(None)
        functions = _Inotify(library.inotify_init1, library.inotify_add_watch)
    except (AttributeError, OSError, TypeError):
        return None
    return functions


_inotify = _find_inotify()
