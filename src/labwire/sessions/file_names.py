"""Names of the files in a session's folder."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection

VIDEO_NAMES = frozenset({"world", "eye0", "eye1"})
"""Base names that Pupil Player takes for videos."""
DATA_NAMES = frozenset({"pupil", "gaze", "notify", "annotation", "fixations", "blinks", "surfaces", "head_pose"})
"""Base names that Pupil Player takes for data."""

_MAX_FILE_NAME_CHARS = 64
_NOT_SAFE = re.compile(r"[^A-Za-z0-9_-]+")
_WINDOWS_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)")


def safe_file_name(text: str) -> str:
    """Turn any text into a name that every file system takes; two texts may get the same."""
    name = _NOT_SAFE.sub("_", text)[:_MAX_FILE_NAME_CHARS].strip("_-") or "unnamed"
    return f"_{name}" if _WINDOWS_DEVICES.fullmatch(name) else name


class FileNames:
    """The base names taken in one session folder.

    A video and a data file may not share one: both would want ``<name>_timestamps.npy``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[str] = set()  # lower case: some file systems ignore it

    def is_free(self, name: str) -> bool:
        """Tell whether nobody has claimed a name."""
        return name.lower() not in self._taken

    def claim(self, wanted: str, *, reserved: Collection[str] = ()) -> str:
        """Return `wanted`, or with a number behind it if it is taken or reserved for another kind of file."""
        base = safe_file_name(wanted)
        name, number = base, 1
        with self._lock:
            while name.lower() in self._taken or name in reserved:
                number += 1
                name = f"{base}_{number}"
            self._taken.add(name.lower())
        return name
