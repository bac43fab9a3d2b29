"""Hands events out on a thread of its own, so that a slow or broken receiver holds up nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from labwire.bounded import BoundedQueue
from labwire.wire.instrument_message import Command, CommandResponse

DEPTH = 10_000

_LIMITED = ("protocol_error", "late_response", "queue_full")
MOST_PER_S = 20
"""Events of one kind that are told of one instrument in a second, for kinds that garbage can cause by the thousand."""

OnEvent: TypeAlias = Callable[[str, str, dict[str, Any]], None]

_log = logging.getLogger(__name__)


class Reporter:
    """A thread that calls `on_event`, in order; when it is far too slow, the oldest events are dropped and counted.

    Args:
        on_event: Called with kind, name of the instrument, and data.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._queue: BoundedQueue[tuple[str, str, dict[str, Any]]] = BoundedQueue(DEPTH, "drop_old")
        self._thread = threading.Thread(target=self._run, name="labwire-instrument-events", daemon=True)
        self._thread.start()

    def report(self, kind: str, name: str, data: dict[str, Any]) -> None:
        """Tell an event, from any thread."""
        self._queue.put((kind, name, data))

    def close(self) -> None:
        """Hand out what is left, then end. Safe to call twice."""
        self._queue.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        dropped = 0
        for kind, name, data in self._queue:
            try:
                self._on_event(kind, name, data)
            except Exception:
                _log.exception("on_event failed for %s of instrument %s", kind, name)
            if (now_dropped := self._queue.statistics().dropped) != dropped:
                _log.error("%d events of instruments were dropped: on_event is too slow", now_dropped - dropped)
                dropped = now_dropped


class InstrumentReports:
    """What is told of one instrument: its events, of those that come by the thousand a part, and its results.

    Args:
        name: Name of the instrument.
        report: Where its events go: kind, name, data.
        on_result: Called with its name, each command and response, and when they were sent and done.
    """

    def __init__(self, name: str, report: OnEvent, on_result: Callable[..., None] | None) -> None:
        self._name, self._report, self._on_result = name, report, on_result
        self._limits = {kind: EventLimit() for kind in _LIMITED}

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Tell an event, unless there were too many of its kind in this second."""
        admitted = self._limits[kind].admit(data, time.monotonic()) if kind in self._limits else data
        if admitted is not None:
            self._report(kind, self._name, admitted)

    def tell_result(self, command: Command, response: CommandResponse, sent_s: float, done_s: float) -> None:
        """Tell a result; what goes wrong in the callback is logged."""
        try:
            if self._on_result:
                self._on_result(self._name, command, response, sent_s, done_s)
        except Exception:
            _log.exception("on_result failed for %s of instrument %s", command.verb, self._name)


class EventLimit:
    """Leaves out events of one kind when there are too many in a second, and says how many it left out."""

    def __init__(self) -> None:
        self._second = self._told = self._left_out = 0

    def admit(self, data: dict[str, Any], now_s: float) -> dict[str, Any] | None:
        """Return what to tell, None for nothing; ``left_out`` in it counts what was not told since the last one.

        Args:
            data: Of the event.
            now_s: The monotonic clock.
        """
        second = int(now_s)
        if second != self._second:
            self._second, self._told = second, 0
        self._told += 1
        if self._told > MOST_PER_S:
            self._left_out += 1
            return None
        left_out, self._left_out = self._left_out, 0
        return {**data, "left_out": left_out} if left_out else data
