"""Make a cut-off file of JSON Lines whole: whoever recorded into the session was killed in the middle of a line."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

_CHUNK_BYTES = 1 << 16


def is_whole_jsonl(path: Path) -> bool:
    """Whether a file ends with a whole line, or is empty."""
    with path.open("rb") as file:
        return _lines_end(file.fileno()) == os.fstat(file.fileno()).st_size


def repair_jsonl(path: Path) -> int | None:
    """Make a file end with a whole line; what is whole stays as it is.

    Returns:
        How many bytes of a torn line were cut off; 0 if a whole line only lacked its newline; None if nothing was done.

    Raises:
        OSError: The disk fails.
    """
    with path.open("r+b") as file:
        fd = file.fileno()
        size, end = os.fstat(fd).st_size, _lines_end(fd)
        if end == size:
            return None
        file.seek(end)
        if _is_json(file.read()):
            os.pwrite(fd, b"\n", size)
            return 0
        os.ftruncate(fd, end)
        return size - end


def count_lines(path: Path) -> int:
    """Return how many lines a file has."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""))


def _lines_end(fd: int) -> int:
    """Return where the last newline ends, in bytes; 0 if there is none."""
    start = os.fstat(fd).st_size
    while start > 0:
        chunk_start = max(0, start - _CHUNK_BYTES)
        found = os.pread(fd, start - chunk_start, chunk_start).rfind(b"\n")
        if found >= 0:
            return chunk_start + found + 1
        start = chunk_start
    return 0


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return False
    return True
