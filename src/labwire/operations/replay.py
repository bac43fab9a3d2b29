"""Operations of a replay: where it is, pause, go on, seek, speed."""

from __future__ import annotations

from abc import abstractmethod

import msgspec

from labwire.errors import UsageError
from labwire.operations.service import Service, operation

PLAYING, PAUSED, ENDED = "playing", "paused", "ended"


class ReplayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A replay at one moment; published as ``replay.state``."""

    session: str
    """What is replayed: the folder."""
    state: str
    """``playing``, ``paused`` or ``ended``."""
    time_s: float
    """Where it is, in seconds since the start of the session."""
    duration_s: float
    speed: float
    loops: int
    """How often it began anew."""
    messages: int
    """Messages put on the bus."""
    lost: int
    """Messages that the bus did not take, and pictures that are in no video."""
    late_median_us: float | None = None
    """How much later than recorded the last messages went out, microseconds; None before the first."""
    late_p99_us: float | None = None
    late_max_us: float | None = None


class Replay(Service):
    """Play a session, or a recording of Pupil Core, back onto a bus."""

    service = "replay"

    @operation(changes=False)
    @abstractmethod
    def status(self) -> ReplayStatus:
        """Tell where the replay is, and how well it keeps the time."""

    @operation()
    @abstractmethod
    def pause(self) -> ReplayStatus:
        """Stop here until `resume`."""

    @operation()
    @abstractmethod
    def resume(self) -> ReplayStatus:
        """Go on; from the beginning if it has ended."""

    @operation(errors=(UsageError,))
    @abstractmethod
    def seek(self, time_s: float) -> ReplayStatus:
        """Go on from another moment, or stay paused there.

        Args:
            time_s: Seconds since the start of the session.
        """

    @operation(errors=(UsageError,))
    @abstractmethod
    def speed(self, factor: float) -> ReplayStatus:
        """Go on faster or slower.

        Args:
            factor: 2 is twice as fast; from 0.01 to 1000.
        """
