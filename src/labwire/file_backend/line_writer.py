"""The thread that writes metrics, so that whoever measures never waits for a disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import msgspec

from labwire.bounded import BoundedQueue, Policy
from labwire.errors import DeadlineError, LabwireError, StateError
from labwire.file_backend.jsonl_file import JsonlFile, Line
from labwire.wire.envelope import EnvelopeType

_log = logging.getLogger(__name__)

TICK_S = 1.0
_DEPTH = 4096  # two minutes of lines at the usual rates, while a disk does not answer
_MOST_AT_ONCE = 512
_CLOSE_S = 10.0


class LineWriterCounters(msgspec.Struct, frozen=True):
    """What has been counted since the start."""

    received: int = 0
    dropped: int = 0
    """Lines that newer ones overtook before they were written: the disk does not keep up."""
    malformed: int = 0
    """Lines that have no JSON form."""


class LineWriter:
    """Append lines to their files, in a thread of its own.

    What has come while the last lines were written is written next, in batches of whole lines of at most
    ``io_buffer_size``: a quiet stream is visible at once, a busy one costs few system calls, and nothing ever waits for
    a buffer to fill.

    Args:
        files: Where the lines of each type go; they are open.
        on_tick: Called in the thread every `tick_s` or so.
        tick_s: See there, in seconds.
        policy: What happens when more lines wait than the queue holds.
    """

    def __init__(
        self,
        files: Mapping[EnvelopeType, JsonlFile],
        on_tick: Callable[[], None] | None = None,
        *,
        tick_s: float = TICK_S,
        policy: Policy = "drop_old",
    ) -> None:
        self._files = files
        self._on_tick, self._tick_s = on_tick, tick_s
        self._queue = BoundedQueue[Line](_DEPTH, policy)
        self._malformed = 0
        self._next_tick_s = 0.0
        self._thread = threading.Thread(target=self._run, name="labwire-lines", daemon=True)

    def start(self) -> Self:
        """Start writing."""
        self._thread.start()
        return self

    def put(self, line: Line) -> bool:
        """Hand over a line; False if it, or older ones in its stead, had to be dropped."""
        return self._queue.put(line)

    def counters(self) -> LineWriterCounters:
        """Tell what has been counted."""
        queue = self._queue.statistics()
        return LineWriterCounters(queue.received, queue.dropped, self._malformed)

    def close(self) -> None:
        """Write what waits, then stop. Safe to call twice."""
        self._queue.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            try:
                self._append(self._waiting())
                self._tick()
            except StateError:
                return  # closed, and everything is written
            except Exception:
                _log.exception("writing lines failed in a way that was not foreseen")

    def _waiting(self) -> list[Line]:
        # Everything that waits; nothing if nothing came until the next tick.
        lines: list[Line] = []
        try:
            lines.append(self._queue.get(max(0.0, self._next_tick_s - time.monotonic())))
            while len(lines) < _MOST_AT_ONCE:
                lines.append(self._queue.get(0))
        except DeadlineError:
            pass
        except StateError:
            if not lines:
                raise
        return lines

    def _append(self, lines: Sequence[Line]) -> None:
        for kind, file in self._files.items():
            if own := [line for line in lines if line.type == kind]:
                try:
                    file.append_all(own)
                except LabwireError:
                    self._one_by_one(file, own)

    def _one_by_one(self, file: JsonlFile, lines: Sequence[Line]) -> None:
        # One of them has no JSON form: the others are not lost with it.
        for line in lines:
            try:
                file.append_all([line])
            except LabwireError as error:
                self._malformed += 1
                _log.error("a line of %s was left out: %s", file.path.name, error)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + self._tick_s
            if self._on_tick is not None:
                self._on_tick()
