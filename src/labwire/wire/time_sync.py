"""Pupil Time Sync, version 1: whose clock is followed, and how it is asked for the time.

The nodes of a ZRE group each announce a rank and the port of a time service. The highest rank is the clock master; the
others ask its service: four bytes ``sync``, answered by eight bytes, a little-endian double, its time in seconds.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Hashable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from labwire.errors import ProtocolError

SYNC: Final = b"sync"
ANSWER_BYTES: Final = 8
GROUP_SUFFIX: Final = "-time_sync-v1"

_BIAS_WEIGHT, _MASTER_WEIGHT, _SYNCED_WEIGHT = 4.0, 2.0, 1.0
_TIME = struct.Struct("<d")
_MAX_TEXT_BYTES = 64

K = TypeVar("K", bound=Hashable)


class Announcement(NamedTuple):
    """What a node shouts to its group."""

    rank: float
    port: int
    """TCP port of its time service."""


def rank_of(*, bias: float, has_been_master: bool, has_been_synced: bool, tie_breaker: float) -> float:
    """Return the rank of a node.

    Args:
        bias: How much it should be master: 1 is usual.
        has_been_master: It has been the clock master since it started.
        has_been_synced: It has followed a master since it started.
        tie_breaker: A random number, 0 to below 1.
    """
    return _BIAS_WEIGHT * bias + _MASTER_WEIGHT * has_been_master + _SYNCED_WEIGHT * has_been_synced + tie_breaker


def encode_announcement(announcement: Announcement) -> list[bytes]:
    """Return the two frames of an announcement."""
    return [repr(announcement.rank).encode(), repr(announcement.port).encode()]


def decode_announcement(frames: Sequence[bytes]) -> Announcement:
    """Return the announcement in some frames.

    Raises:
        ProtocolError: They hold none.
    """
    try:
        rank_text, port_text = (frame[:_MAX_TEXT_BYTES].decode("ascii") for frame in frames)
        announcement = Announcement(float(rank_text), int(port_text))
    except ValueError as error:  # too many or too few frames, no text, no numbers
        raise ProtocolError(f"no announcement of Pupil Time Sync v1: {list(frames)!r:.80}") from error
    if not math.isfinite(announcement.rank) or not 0 < announcement.port < 1 << 16:
        raise ProtocolError(f"no announcement of Pupil Time Sync v1: {announcement}")
    return announcement


def encode_time(time_s: float) -> bytes:
    """Return the answer to ``sync``."""
    return _TIME.pack(time_s)


def decode_time(answer: bytes) -> float:
    """Return the time in an answer, in seconds.

    Raises:
        ProtocolError: It has not eight bytes, or they are no finite number.
    """
    if len(answer) != ANSWER_BYTES or not math.isfinite(time_s := _TIME.unpack(answer)[0]):
        raise ProtocolError(f"no time of Pupil Time Sync v1: {answer!r:.80}")
    return time_s


class Election(Generic[K]):
    """Who is the clock master: the node of the highest rank. What is not known to announce anything is no candidate."""

    def __init__(self) -> None:
        self._members: dict[K, Announcement] = {}

    def announce(self, member: K, announcement: Announcement) -> None:
        """Note what a member has announced."""
        self._members[member] = announcement

    def leave(self, member: K) -> None:
        """Forget a member; who is not known is no mistake."""
        self._members.pop(member, None)

    def leader(self, own_rank: float | None) -> tuple[K, Announcement] | None:
        """Return the master and what it announced; None if it is this node, or nobody.

        Args:
            own_rank: Rank of this node; None if it cannot be master.
        """
        best = max(self._members.items(), key=lambda one: one[1].rank, default=None)
        if best is None or (own_rank is not None and own_rank >= best[1].rank):
            return None
        return best
