"""Read a file of lines while somebody else writes it: whole lines only, over rotation and truncation."""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from labwire.wire.envelope import MAX_LINE_BYTES

_CHUNK_BYTES = 1 << 20
_MARK_BYTES = 64


class RawLine(NamedTuple):
    """One terminated line."""

    data: bytes
    """Without its newline."""
    offset: int
    """Where the next line begins, in bytes from the start of the file."""


class LineReader:
    """Take the lines of a file that have come since the last look.

    >>> reader = LineReader(Path("core_metrics.jsonl"))
    >>> reader.take()  # there is no such file yet
    []

    A line is taken when it has its newline. A file that was renamed or removed is read to its end, then the new one
    from its start. A file that was cut is read from its start; that is noticed even if it has grown past the old place
    meanwhile, because what stood before that place stands there no more.

    Args:
        path: The file; it need not be there yet.
        offset: Where to begin, as `RawLine.offset` told; a place inside a line begins at the next one.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = max(0, offset)
        self.restarts = 0
        """How often the file was renamed, removed or cut by somebody."""
        self.too_long = 0
        """Lines that were longer than a line can be, and were left out."""
        self._file: FileIO | None = None
        self._replaced = False
        self._mark = b""
        self._skipping = offset > 0  # until it is known that a line begins here

    def take(self, most_bytes: int = 16 * _CHUNK_BYTES) -> list[RawLine]:
        """Return the lines that have come; after about so many bytes it stops, and the rest comes with the next call.

        Raises:
            OSError: The file is there and cannot be read.
        """
        lines: list[RawLine] = []
        start = self.offset
        while self._open():
            more = self._take_chunk()
            lines += more
            if not more and not self._reopen_if_replaced():
                break
            if abs(self.offset - start) >= most_bytes:
                break
        return lines

    def close(self) -> None:
        """Close the file. Safe to call twice; another `take` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        if self._file is None:
            try:
                self._file = FileIO(self.path)
            except FileNotFoundError:
                return False
        return True

    def _take_chunk(self) -> list[RawLine]:
        file, size_bytes = self._file, _CHUNK_BYTES
        assert file
        while True:
            begin = self.offset - len(self._mark)
            file.seek(begin)
            data = file.read(len(self._mark) + size_bytes) or b""
            if data[: len(self._mark)] != self._mark or self._is_behind_the_end(file):
                self._restart()
                continue
            data = data[len(self._mark) :]
            end = data.rfind(b"\n") + 1
            if end or len(data) < size_bytes:
                return self._lines(data[:end])
            if size_bytes > MAX_LINE_BYTES:
                self._leave_out(len(data))
                size_bytes = _CHUNK_BYTES
                continue
            size_bytes = min(4 * size_bytes, MAX_LINE_BYTES + 1)

    def _is_behind_the_end(self, file: FileIO) -> bool:
        return not self._mark and self.offset > 0 and os.fstat(file.fileno()).st_size < self.offset

    def _lines(self, data: bytes) -> list[RawLine]:
        if not data:
            return []
        pieces = data.split(b"\n")[:-1]
        if self._skipping and not self._begins_a_line():
            self.offset += len(pieces.pop(0)) + 1
        self._skipping = False
        lines: list[RawLine] = []
        for piece in pieces:
            self.offset += len(piece) + 1
            lines.append(RawLine(piece, self.offset))
        self._mark = data[-_MARK_BYTES:]
        return lines

    def _begins_a_line(self) -> bool:
        file = self._file
        assert file
        file.seek(self.offset - 1)
        return file.read(1) == b"\n"

    def _leave_out(self, size_bytes: int) -> None:
        self.too_long += not self._skipping
        self.offset += size_bytes
        self._mark, self._skipping = b"", True

    def _restart(self) -> None:
        self.offset, self._mark, self._skipping = 0, b"", False
        self.restarts += 1

    def _reopen_if_replaced(self) -> bool:
        file = self._file
        assert file
        try:
            same = os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False  # it is read on: a new one may come, or its writer has not noticed yet
        if same:
            return False
        if self._replaced:
            self.close()
            self._restart()
        self._replaced = not self._replaced  # the first time, look once more: its writer may not have noticed yet
        return True
