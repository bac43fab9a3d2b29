"""Arrays in shared memory: the worker writes a file under /dev/shm, the receiver maps it and unlinks it at once.

*Source:* instrument-ipc, "Future Enhancements": separate shared memory region for waveforms. Linux.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from labwire.errors import LimitError, ProtocolError, ResourceError, TooLargeError, UsageError, needs_extra
from labwire.wire.instrument_extras import WaveformHandle

if TYPE_CHECKING:
    import numpy as np

FOLDER = "/dev/shm"  # noqa: S108 (shared memory, with names that cannot be foreseen and mode 0600)
MAX_WAVEFORM_BYTES = 512 << 20
"""Largest single array."""
MAX_OUTSTANDING_BYTES = 1 << 30
"""What a worker may have written that nobody has fetched yet."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*_\d+")
_KINDS = "biufc"  # bool, signed, unsigned, float, complex: what is plain numbers
_MAX_DIMENSIONS = 16


class WaveformWriter:
    """Writes arrays for a server that fetches them.

    Args:
        prefix: All files begin with it; the server removes what is left of it when the worker is dead.
        most_bytes: Bound of what is written and not fetched.
    """

    def __init__(self, prefix: str, most_bytes: int = MAX_OUTSTANDING_BYTES) -> None:
        if not _NAME.fullmatch(f"{prefix}_0"):
            raise UsageError(f"{prefix!r} cannot begin the name of a file in shared memory")
        self._prefix, self._most_bytes = prefix, most_bytes
        self._written: dict[str, int] = {}
        self._count = 0

    def write(self, array: np.ndarray[Any, Any]) -> WaveformHandle:
        """Write an array.

        Args:
            array: Plain numbers of any shape.

        Raises:
            UsageError: It does not hold plain numbers.
            TooLargeError: It is above `MAX_WAVEFORM_BYTES`.
            LimitError: Too much of what was written before has not been fetched.
            ResourceError: Shared memory is full.
        """
        if array.dtype.kind not in _KINDS:
            raise UsageError(f"an array of {array.dtype} cannot be sent: only of numbers")
        size = array.nbytes
        if size > MAX_WAVEFORM_BYTES:
            raise TooLargeError(
                f"an array of {size} bytes is above the limit of {MAX_WAVEFORM_BYTES} bytes",
                size_bytes=size,
                limit_bytes=MAX_WAVEFORM_BYTES,
            )
        self._make_room(size)
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        name = f"{self._prefix}_{self._count}"
        self._count += 1
        self._written[name] = size
        _write_file(name, little.reshape(-1).view("u1").data if size else memoryview(b""))
        return WaveformHandle(name, little.dtype.str, little.shape)

    def remove_all(self) -> None:
        """Remove what nobody has fetched: the server is gone."""
        for name in self._written:
            _unlink(name)
        self._written.clear()

    def _make_room(self, size: int) -> None:
        if sum(self._written.values()) + size <= self._most_bytes:
            return
        self._written = {name: n for name, n in self._written.items() if os.path.lexists(_path(name))}
        waiting = sum(self._written.values())
        if waiting + size > self._most_bytes:
            raise LimitError(
                f"{len(self._written)} arrays of {waiting} bytes in all wait to be fetched; another {size} bytes "
                f"are above the limit of {self._most_bytes} bytes",
                waiting_bytes=waiting,
                limit_bytes=self._most_bytes,
            )


def open_waveform(
    handle: WaveformHandle, *, prefix: str = "", limit_bytes: int = MAX_WAVEFORM_BYTES
) -> np.ndarray[Any, Any]:
    """Map an array and remove its name, so that its memory is freed when the array is dropped.

    The file is removed also when it is refused.

    Args:
        handle: What the worker sent.
        prefix: What its file's name must begin with.
        limit_bytes: Largest array taken.

    Returns:
        A writable array; nobody else sees what is written into it.

    Raises:
        ProtocolError: The handle names no file of this prefix, or what it says does not fit the file.
        TooLargeError: It is above the limit.
        ResourceError: The file is gone or cannot be mapped.
    """
    with needs_extra("waveforms"):
        import numpy as np
    fd = _open(_checked(handle, prefix))
    try:
        _unlink(handle.file)
        dtype, size = _read_layout(handle, np)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size != size:
            raise ProtocolError(f"waveform {handle.file} has {found.st_size} bytes, its handle says {size}")
        if size > limit_bytes:
            raise TooLargeError(
                f"waveform {handle.file} of {size} bytes is above the limit of {limit_bytes} bytes",
                size_bytes=size,
                limit_bytes=limit_bytes,
            )
        if not size:
            return np.empty(handle.shape, dtype)
        return np.frombuffer(_map(fd, size, handle.file), dtype).reshape(handle.shape)
    finally:
        os.close(fd)


def release_waveform(handle: WaveformHandle, *, prefix: str = "") -> None:
    """Free an array that nobody wants any more: that of a response which came too late.

    Raises:
        ProtocolError: The handle names no file of this prefix.
    """
    _unlink(_checked(handle, prefix))


def remove_left(prefix: str) -> int:
    """Remove what a dead worker left, also what it was writing; return how many files that were."""
    pattern = re.compile(re.escape(prefix) + r"_\d+")
    left = [name for name in os.listdir(FOLDER) if prefix and pattern.fullmatch(name)]
    for name in left:
        _unlink(name)
    return len(left)


def _read_layout(handle: WaveformHandle, numpy: Any) -> tuple[Any, int]:
    try:
        dtype = numpy.dtype(handle.dtype)
    except (TypeError, ValueError, SyntaxError) as error:
        raise ProtocolError(f"waveform {handle.file}: {handle.dtype[:40]!r} is no type of numbers") from error
    if dtype.kind not in _KINDS:
        raise ProtocolError(f"waveform {handle.file}: {handle.dtype[:40]!r} is no type of numbers")
    if len(handle.shape) > _MAX_DIMENSIONS or any(length < 0 for length in handle.shape):
        raise ProtocolError(f"waveform {handle.file}: {handle.shape!r} is no shape")
    size = cast("int", dtype.itemsize)
    for length in handle.shape:
        size *= length
    return dtype, size


def _checked(handle: WaveformHandle, prefix: str) -> str:
    if not _NAME.fullmatch(handle.file) or not handle.file.startswith(prefix):
        raise ProtocolError(f"{handle.file[:80]!r} is no waveform of {prefix or 'a worker'!r}")
    return handle.file


def _open(name: str) -> int:
    try:
        return os.open(_path(name), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ResourceError(f"waveform {name} cannot be opened: {error.strerror}; it is fetched once only") from error


def _map(fd: int, size: int, name: str) -> mmap.mmap:
    try:
        return mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    except (OSError, ValueError) as error:
        raise ResourceError(f"waveform {name} of {size} bytes cannot be mapped: {error}") from error


def _write_file(name: str, data: memoryview) -> None:
    try:
        fd = os.open(_path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ResourceError(f"waveform {name} cannot be made: {error.strerror}") from error
    try:
        while data:
            # Written, not mapped: full shared memory is then an error here, and not the end of this process.
            data = data[os.write(fd, data) :]
    except OSError as error:
        _unlink(name)
        raise ResourceError(f"waveform {name} cannot be written: {error.strerror}; is {FOLDER} full?") from error
    finally:
        os.close(fd)


def _path(name: str) -> str:
    return f"{FOLDER}/{name}"


def _unlink(name: str) -> None:
    try:
        Path(FOLDER, name).unlink()
    except FileNotFoundError:
        pass  # fetched, or removed by the other side
