"""Operations on the bus: last values and statistics."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, TypeAlias

import msgspec

from labwire.operations.service import Service, operation


class LastValue(msgspec.Struct, frozen=True):
    """The newest message of a topic. Raw parts are not kept."""

    topic: str
    payload: dict[Any, Any]
    received_monotonic_s: float
    """When the bus passed it on, on the monotonic clock of the rig's computer."""


LastValues: TypeAlias = list[LastValue]


class TopicStats(msgspec.Struct, frozen=True):
    """Traffic of one topic in the last second."""

    topic: str
    messages_hz: float
    bytes_hz: float
    total: int
    """Messages since the rig started."""


class ReaderStats(msgspec.Struct, frozen=True):
    """One connection to the sub port."""

    peer: str
    """Address of the reader: ``127.0.0.1:49152``."""
    bytes_behind: int | None
    """Bytes that the system holds for it, unsent; None where the system does not tell."""
    behind_s: float = 0.0
    """How long it has been behind without a break."""


class GapReport(msgspec.Struct, frozen=True):
    """Messages that a labwire reader knows it missed."""

    reader: str
    topic: str
    missed: int


class BusStats(msgspec.Struct, frozen=True):
    """The bus in the last second; published as ``bus.stats``."""

    timestamp: float
    """Rig time, seconds."""
    messages_hz: float
    bytes_hz: float
    messages: int
    """Messages since the rig started, as the steward saw them."""
    topics: list[TopicStats]
    readers: list[ReaderStats]
    gaps: list[GapReport]
    """Reported by labwire readers since the rig started; foreign readers are not observable."""
    slow_subscribers_cut: int
    malformed: int
    """Messages whose payload nobody could read."""
    noisy_notifiers: list[str] = []
    """Actors above ten notifications a second."""
    foreign_readers: str = "not observable: only bytes behind and cuts are known of them"


StatsHistory: TypeAlias = list[BusStats]


class BusOperations(Service):
    """See the bus."""

    service = "bus"

    @operation(changes=False)
    @abstractmethod
    def last(self, prefix: str = "") -> LastValues:
        """Return the newest message of each topic that begins with `prefix`.

        Args:
            prefix: Topic prefix; empty means all. Topics under ``notify.`` and ``logging.`` are kept too.
        """

    @operation(changes=False)
    @abstractmethod
    def stats(self) -> BusStats:
        """Return the traffic of the last second."""

    @operation(changes=False)
    @abstractmethod
    def history(self) -> StatsHistory:
        """Return the traffic of the last five minutes, second by second; of each second the busiest topics."""
