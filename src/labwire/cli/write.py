"""``labwire write``: store the images of detectors' streams."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from labwire.bounded import BoundedQueue
from labwire.cli.connection import JsonFlag
from labwire.cli.output import remark, write_json, write_line
from labwire.cli.write_text import Line, told
from labwire.errors import DeadlineError, UsageError
from labwire.images.config import MasterFormat

if TYPE_CHECKING:
    from labwire.images.writer import ImageWriter

_LOOK_S = 0.5
_WAITING_EVENTS = 1000
_FORCED = 128 + signal.SIGINT


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Storing:
    """How the images are stored."""

    format: MasterFormat = "NXmxVDS"
    """Master file with a virtual dataset (NXmxVDS), with links (NXmxLegacy), or none (NXmxOnlyData)."""
    overwrite: bool | None = None
    """Replace files of the same names, or never; by default the detector decides."""
    discard: Annotated[bool, Parameter(negative="")] = False
    """Store nothing, but acknowledge everything: for measuring."""
    sync: Annotated[bool, Parameter(negative="")] = False
    """Wait for the disk before a file gets its name."""
    buffer_mib: Annotated[int, Parameter(validator=Number(gte=1, lte=1 << 20))] = 256
    """Most memory for images that wait for the disk, in MiB, for each connection."""


USUAL = Storing()


def write(
    address: str,
    /,
    *more: str,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    connections: Annotated[int, Parameter(validator=Number(gte=1, lte=32))] = 1,
    runs: Annotated[int, Parameter(validator=Number(gte=1))] | None = None,
    storing: Storing = USUAL,
    json: JsonFlag = False,
) -> int:
    """Store the images of detectors' streams as NeXus files, and acknowledge them.

    It connects, and connects again, until Ctrl-C; then it finishes the files under way and says what is missing.
    The exit status is 1 if a run was not stored whole.

    Args:
        address: Where a detector listens: tcp://HOST:PORT, or zmq+tcp://HOST:PORT for ZeroMQ.
        more: Other detectors, or other sockets of the same.
        output: Folder for the files; the detector's file_prefix says where in it.
        connections: Connections to each TCP stream, which share its images file by file.
        runs: End after so many runs; one that is refused is one of them.
        storing: How the images are stored.
        json: Print each run's result as one line of JSON.
    """
    from labwire.images.config import WriterConfig
    from labwire.images.writer import ImageWriter

    addresses = (address, *more)
    if len(set(addresses)) != len(addresses):
        raise UsageError("an address is given twice; for several connections to one detector: --connections N")
    events: BoundedQueue[tuple[str, dict[str, Any]]] = BoundedQueue(_WAITING_EVENTS, "drop_old")

    def hear(kind: str, data: dict[str, Any]) -> None:
        events.put((kind, data))

    options = asdict(storing)
    configs = [WriterConfig(address=one, folder=str(output), connections=connections, **options) for one in addresses]
    return _Watch([ImageWriter(config, hear) for config in configs], events, runs, as_json=json).run()


class _Watch:
    """Writers at work, and the lines that tell of them."""

    def __init__(
        self,
        writers: list[ImageWriter],
        events: BoundedQueue[tuple[str, dict[str, Any]]],
        runs: int | None,
        *,
        as_json: bool,
    ) -> None:
        self._writers = writers
        self._events = events
        self._runs = runs
        self._as_json = as_json
        self._line = Line(sys.stderr if sys.stderr.isatty() and not as_json else None)
        self._bad = False
        self._quiet: set[str] = set()
        """Addresses that could not be reached, which has been told."""

    def run(self) -> int:
        try:
            for writer in self._writers:
                writer.start()
            while not self._is_done():
                self._show(_LOOK_S)
                self._line.show([writer.statistics() for writer in self._writers])
        except KeyboardInterrupt:
            self._line.clear()
            busy = {run for writer in self._writers for run in writer.statistics().writing}
            if busy:
                remark(f"labwire: stopping; finishing the files of run {', '.join(map(str, sorted(busy)))}")
        try:
            self._end()
        except KeyboardInterrupt:
            remark("labwire: ended by force; files under way keep their temporary names")
            sys.stdout.flush()
            os._exit(_FORCED)  # a disk that does not answer holds threads that nothing else ends
        return 1 if self._bad else 0

    def _end(self) -> None:
        for writer in self._writers:
            writer.stop()
        for writer in self._writers:
            while not writer.join(_LOOK_S):
                self._show(0)
        self._show(0)
        self._line.clear()

    def _is_done(self) -> bool:
        if self._runs is None:
            return False
        counters = [stream.taker.counters for writer in self._writers for stream in writer.streams]
        return all(counter.runs + counter.refused >= self._runs for counter in counters)

    def _show(self, timeout_s: float) -> None:
        """Show what has happened, waiting for the first thing that does."""
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                kind, data = self._events.get(max(0.0, until_s - time.monotonic()))
            except DeadlineError:
                return
            self._line.clear()
            self._tell(kind, data)
            until_s = 0.0

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        if kind == "run_refused" or (kind == "run_finished" and not data["ok"]):
            self._bad = True
        if kind in {"not_connected", "connection_lost"}:
            if data["source"] in self._quiet:
                return
            self._quiet.add(data["source"])
        elif kind == "connected":
            self._quiet.discard(data["source"])
        if kind in {"run_finished", "run_refused"}:
            if self._as_json:
                write_json({"event": kind, **data})
            else:
                write_line(told(kind, data))
        elif not self._as_json or kind not in {"connected", "run_started"}:
            remark(f"labwire: {told(kind, data)}")
