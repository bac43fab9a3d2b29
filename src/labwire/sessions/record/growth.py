"""How long the disk lasts: by how the running session grows, and before one by what it would have taken in."""

from __future__ import annotations

from collections.abc import Sequence

from labwire.sessions.config import RecorderConfig

_JPEG = b"\xff\xd8"
_RECORD_BYTES = 40
"""What the log and the Player's files add to a message, about."""


class Forecast:
    """Count what a session would take in, while none runs.

    Each message goes into the log and, if there is one, the Player's folder; a picture that is a JPEG goes into its
    video as it is. How small a video makes other pictures nobody knows before: then there is no forecast.

    Args:
        config: How sessions are recorded.
    """

    def __init__(self, config: RecorderConfig) -> None:
        self._pictures = tuple(prefix.encode() for prefix in config.pictures)
        self._copies = 2 if config.player_folder else 1
        self.grown_bytes = 0
        """What sessions would have grown by so far."""
        self.not_known = 0
        """Pictures so far of which nobody knows what they would take."""

    def add(self, parts: Sequence[bytes]) -> None:
        """Count a message that a session would have recorded."""
        size = sum(map(len, parts))
        if len(parts) > 2 and parts[0].startswith(self._pictures):
            if not parts[2].startswith(_JPEG):
                self.not_known += 1
            self.grown_bytes += size
        else:
            self.grown_bytes += self._copies * (size + _RECORD_BYTES)


class DiskTime:
    """Tell from look to look how long the disk lasts at the rate since the look before."""

    def __init__(self) -> None:
        self._before = ("", 0, 0.0)

    def hours(self, what: str, grown_bytes: int, left_bytes: int, *, now_s: float) -> float | None:
        """Return the hours that are left; None while nothing grows, or something else grew at the look before.

        Args:
            what: What grows: a session, or nothing yet.
            grown_bytes: How large it is now.
            left_bytes: What the disk may still take.
            now_s: Now, on the monotonic clock.
        """
        before, before_bytes, before_s = self._before
        self._before = what, grown_bytes, now_s
        grown = grown_bytes - before_bytes
        if what != before or not before_bytes or grown <= 0 or now_s <= before_s:
            return None
        return max(0, left_bytes) * (now_s - before_s) / grown / 3600
