"""What a worker writes to standard output and error: JSON lines of its log, and whatever else something prints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from labwire.instruments.worker.log import read_line
from labwire.stderr_lines import StderrLines

_READ_BYTES = 65_536
_LAST_READS = 16  # a process that outlives its parent may go on writing


class WorkerOutput:
    """Reads a pipe that does not block, and reports each line.

    Args:
        fd: The pipe's end.
        report: Called with each line: its JSON, or ``message`` if it is none.
    """

    def __init__(self, fd: int, report: Callable[[dict[str, Any]], None]) -> None:
        self.fd = fd
        self._report = report
        self._lines = StderrLines()

    @property
    def last(self) -> str:
        """The newest line, as text for people: of a log record what it says."""
        record = read_line(self._lines.last)
        return record.getMessage() if record else self._lines.last

    def read(self) -> bool:
        """Report what there is now; False if nothing more will come."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return True
        for line in self._lines.take(data, time.monotonic()):
            self._report(_parse(line))
        return bool(data)

    def read_rest(self) -> None:
        """Report what an ended process has left."""
        for _ in range(_LAST_READS):
            if not self.read():
                return


def _parse(line: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {"message": line}
