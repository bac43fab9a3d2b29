"""One-dimensional float64 arrays in NumPy's format, appended to while a session runs."""

from __future__ import annotations

import os
import struct
import sys
from array import array
from contextlib import suppress
from pathlib import Path

from labwire.sessions.files import TEMPORARY, append_whole

HEADER_BYTES = 128
SUFFIX = "_timestamps.npy"
_MAGIC = b"\x93NUMPY\x01\x00"
_ITEM_BYTES = 8


def encode_header(count: int) -> bytes:
    """Encode the header of a float64 array of `count` items, always `HEADER_BYTES` long.

    Source: NumPy's .npy format, version 1.0: magic, length of the rest, a Python dict padded with spaces.
    """
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({count},), }}".encode()
    length = HEADER_BYTES - len(_MAGIC) - 2
    return _MAGIC + struct.pack("<H", length) + text.ljust(length - 1) + b"\n"


class TimestampFile:
    """Append timestamps to a .npy file.

    The data goes first and the number of items in the header second, so a reader at any moment finds a valid array that
    is at most a little short.

    Args:
        path: Where the array is to stand.
        ready: True: the file stands there from the first item. False: under a temporary name until `close`.
    """

    def __init__(self, path: Path, *, ready: bool) -> None:
        self._path = path
        self._written_to = path if ready else path.with_name(path.name + TEMPORARY)
        self._waiting = array("d")
        self._fd = os.open(self._written_to, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        self.count = 0
        """Items handed to the operating system."""
        try:
            self._end = append_whole(self._fd, encode_header(0), 0)
        except OSError:
            self._close_fd()
            raise

    def append(self, timestamp: float) -> None:
        """Take one item, in seconds; it waits in memory until `flush`."""
        self._waiting.append(timestamp)

    def flush(self) -> None:
        """Hand the items to the operating system; `write_count` makes them visible."""
        if self._waiting:
            self._end = append_whole(self._fd, _little_endian(self._waiting), self._end)
            self.count += len(self._waiting)
            self._waiting = array("d")

    def write_count(self) -> None:
        """Write the number of flushed items into the header."""
        os.pwrite(self._fd, encode_header(self.count), 0)

    def close(self) -> None:
        """Flush, write the count, close, and give the file its name."""
        try:
            self.flush()
            self.write_count()
        finally:
            self._close_fd()
        if self._written_to != self._path:
            self._written_to.replace(self._path)

    def abandon(self) -> None:
        """Close after a failure; what stands under a temporary name is deleted."""
        self._close_fd()
        if self._written_to != self._path:
            with suppress(OSError):
                self._written_to.unlink()

    def _close_fd(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _little_endian(items: array[float]) -> bytes:
    if sys.byteorder == "big":
        items = items[:]
        items.byteswap()
    return items.tobytes()


def read_timestamps(path: Path) -> array[float]:
    """Read the items that really stand in a file written by `TimestampFile`, whatever its header says.

    Raises:
        ValueError: It is no such file.
    """
    data = path.read_bytes()
    if not data.startswith(_MAGIC) or len(data) < HEADER_BYTES or b"'<f8'" not in data[:HEADER_BYTES]:
        raise ValueError(f"{path.name} is not an array of float64")
    count = (len(data) - HEADER_BYTES) // _ITEM_BYTES
    return array("d", struct.unpack_from(f"<{count}d", data, HEADER_BYTES))


def header_count(path: Path) -> int | None:
    """Return the number of items if the file is whole: header and length agree; None otherwise."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
            size = file.seek(0, os.SEEK_END)
    except OSError:
        return None
    count, rest = divmod(size - HEADER_BYTES, _ITEM_BYTES)
    return count if not rest and header == encode_header(count) else None
