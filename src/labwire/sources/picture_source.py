"""What every source of pictures can do."""

from __future__ import annotations

from typing import Protocol

import msgspec

from labwire.picture import Picture


class SourceDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a source delivers; sizes and rates are 0 until it was opened, and where nobody knows them."""

    kind: str
    """``video`` or ``camera``."""
    name: str
    """Path of the file or of the device."""
    width: int = 0
    """Pixels."""
    height: int = 0
    """Pixels."""
    fps: float = 0.0
    codec: str = ""
    """What the pictures are compressed with where they come from."""
    as_it_came: bool = False
    """JPEG is passed on byte for byte, as the camera or the file has it."""


class PictureSource(Protocol):
    """A source of pictures. One thread opens and reads; any thread may close.

    A class that stands here raises `labwire.errors.DeviceError` when its device or file does not work; whoever reads
    may then open it again. Index and timestamps of its pictures rise over all of that; an index that is left out is a
    picture that it had to drop.
    """

    @property
    def malformed(self) -> int:
        """Pictures that came but could not be read, since the source was made."""
        ...

    def open(self) -> None:
        """Open the device or file; nothing happens if it is open.

        Raises:
            DeviceError: It does not work; the message names it and says what to do.
        """
        ...

    def read(self) -> Picture | None:
        """Wait for the next picture and return it; None when there will be no more, or `close` was called.

        Raises:
            DeviceError: It stopped working.
        """
        ...

    def close(self) -> None:
        """Let go of the device or file; a `read` that waits returns None within 0.1 s. Safe to call twice."""
        ...

    def describe(self) -> SourceDescription:
        """Tell what it delivers."""
        ...
