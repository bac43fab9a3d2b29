"""How long the disk lasts: by how the running session grows, and before one by what it would have taken in."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from labwire.sessions.config import RecorderConfig

_JPEG = b"\xff\xd8"
_DETECTOR, _STATE = b"detector.", b".state"
_WRITER = b"writer."
_MAX_WRITERS = 100
_OVER_S = 10.0
"""A rate is that of so long: images and messages come in bursts."""
_RECORD_BYTES = 40
"""What the log and the Player's files add to a message, about."""


class Forecast:
    """Count what a session would take in, while none runs.

    Each message goes into the log and, if there is one, the Player's folder; a picture that is a JPEG goes into its
    video as it is. How small a video makes other pictures nobody knows before, nor what a detector will send in a run:
    then there is no forecast.

    Args:
        config: How sessions are recorded.
    """

    def __init__(self, config: RecorderConfig) -> None:
        self._pictures = tuple(prefix.encode() for prefix in config.pictures)
        self._copies = 2 if config.player_folder else 1
        self.grown_bytes = 0
        """What sessions would have grown by so far."""
        self.not_known = 0
        """Messages so far of something of which nobody knows what it would take."""

    def add(self, parts: Sequence[bytes]) -> None:
        """Count a message that a session would have recorded."""
        size = sum(map(len, parts))
        if len(parts) > 2 and parts[0].startswith(self._pictures):
            if not parts[2].startswith(_JPEG):
                self.not_known += 1
            self.grown_bytes += size
        else:
            self.grown_bytes += self._copies * (size + _RECORD_BYTES)
            if parts[0].startswith(_DETECTOR) and parts[0].endswith(_STATE):
                self.not_known += 1


class _WriterState(msgspec.Struct, frozen=True):
    stored_bytes: int
    folder: str


class ImageWriters:
    """What writers of images store on the disk of the recordings: they are processes of their own, but tell it.

    Args:
        root: A folder on that disk.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._decoder = msgspec.msgpack.Decoder(_WriterState)
        self._told: dict[bytes, _WriterState] = {}
        self._here: dict[str, bool] = {}
        """Of folders that could be looked at."""

    @property
    def stored_bytes(self) -> int:
        """All of them together, so far. It looks at their folders: one that does not answer must not stop the bus."""
        told = list(self._told.values())
        looked = {one.folder: self._is_here(one.folder) for one in told}
        self._here = {folder: is_here for folder, is_here in looked.items() if is_here is not None}
        return sum(one.stored_bytes for one in told if looked[one.folder])

    def note(self, parts: Sequence[bytes]) -> None:
        """Look at a message, on the thread that reads the bus: is it ``writer.<name>.state``?"""
        if len(parts) != 2 or not parts[0].startswith(_WRITER) or not parts[0].endswith(_STATE):
            return
        try:
            told = self._decoder.decode(parts[1])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return  # of somebody else
        if parts[0] in self._told or len(self._told) < _MAX_WRITERS:
            self._told[parts[0]] = told

    def _is_here(self, folder: str) -> bool | None:
        if folder in self._here:
            return self._here[folder]
        try:
            return Path(folder).stat().st_dev == self._root.stat().st_dev
        except (OSError, ValueError):
            return None  # on another computer, or not made yet


class DiskTime:
    """Tell from look to look how long the disk lasts at the rate of the last seconds."""

    def __init__(self) -> None:
        self._what = ""
        self._looks: deque[tuple[int, float]] = deque()

    def hours(self, what: str, grown_bytes: int, left_bytes: int, *, now_s: float) -> float | None:
        """Return the hours that are left; None while nothing grows, or something else grew at the look before.

        Args:
            what: What grows: a session, or nothing yet.
            grown_bytes: How large it is now.
            left_bytes: What the disk may still take.
            now_s: Now, on the monotonic clock.
        """
        if what != self._what:
            self._what = what
            self._looks.clear()
        while len(self._looks) > 1 and now_s - self._looks[0][1] > _OVER_S:
            self._looks.popleft()
        first_bytes, first_s = self._looks[0] if self._looks else (0, now_s)
        if grown_bytes < first_bytes:  # somebody began anew
            self._looks.clear()
        self._looks.append((grown_bytes, now_s))
        grown = grown_bytes - first_bytes
        if not first_bytes or grown <= 0 or now_s <= first_s:
            return None
        return max(0, left_bytes) * (now_s - first_s) / grown / 3600
