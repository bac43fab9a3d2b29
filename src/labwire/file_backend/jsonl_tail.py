"""The end of a file of lines: its last whole line, and what stands behind it unterminated."""

from __future__ import annotations

import os
from typing import NamedTuple

from labwire.errors import LabwireError
from labwire.wire.envelope import MAX_LINE_BYTES, decode_envelope

_CHUNK_BYTES = 1 << 16


class Tail(NamedTuple):
    """The end of a file."""

    last_line: bytes
    """The last terminated line, without its newline; empty if there is none."""
    lines_end: int
    """Where the terminated lines end, in bytes from the start of the file."""
    rest: bytes
    """What stands behind them: the torn line of a writer that was killed, or of a disk that was full."""


def read_tail(fd: int) -> Tail:
    """Read the end of an open file.

    Raises:
        OSError: It cannot be read.
    """
    start = size = os.fstat(fd).st_size
    data = b""
    while start > 0 and data.count(b"\n") <= 1 and len(data) <= MAX_LINE_BYTES:
        chunk_start = max(0, start - _CHUNK_BYTES)
        data = os.pread(fd, start - chunk_start, chunk_start) + data
        start = chunk_start
    lines, _, rest = data.rpartition(b"\n")
    return Tail(lines.rpartition(b"\n")[2], size - len(rest), rest)


def repair_tail(fd: int, tail: Tail) -> int:
    """Make a file that is open for appending end with a newline; return how many bytes were cut off.

    A rest that is a whole envelope only lacks its newline and is kept; one that is longer than a line can be is no torn
    line, but somebody's data, and is kept as well.

    Raises:
        OSError: It cannot be written.
    """
    if not tail.rest:
        return 0
    if len(tail.rest) > MAX_LINE_BYTES or timestamp_of(tail.rest) is not None:
        os.write(fd, b"\n")
        return 0
    os.ftruncate(fd, tail.lines_end)
    return len(tail.rest)


def timestamp_of(line: bytes) -> int | None:
    """Return the timestamp of a line in microseconds since 1970-01-01 UTC, None if it is no envelope."""
    try:
        return decode_envelope(line).timestamp
    except LabwireError:
        return None
