"""The file below an HDF5 file: it may fail, HDF5 may not.

HDF5 that cannot write its own metadata, because the disk is full, cannot close the file either, and may end the process
when it tries. So HDF5 writes through this: an error in the pixels is passed on, which HDF5 survives; an error in its
metadata is kept, HDF5 goes on as if nothing had happened, and whoever closes the file finds that it is not good.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

BALLAST_BYTES = 1 << 20
"""What a run keeps of a disk that gets full, to close with it the file under way."""


class Ballast:
    """Disk space that is given back when the disk is full.

    Args:
        fd: Of a file without a name, or one that may be lost; closed with this.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.posix_fallocate(fd, 0, BALLAST_BYTES)

    def drop(self) -> bool:
        """Give the space back; False if that has been done already."""
        if self._fd < 0:
            return False
        fd, self._fd = self._fd, -1
        os.close(fd)
        return True


class DiskFile:
    """A file as h5py wants it: ``h5py.File(DiskFile(fd, ballast), "w")``. Not for two threads at once.

    Args:
        fd: Of the file, readable and writable; closed with this.
        ballast: Given up before metadata is.
    """

    def __init__(self, fd: int, ballast: Ballast | None = None) -> None:
        self.error: OSError | None = None
        """Why the file is not good."""
        self.pixels: int = 0
        """Address of what is being written as pixels, see `address_of`."""
        self.pixels_bytes: int = 0
        """How many."""
        self.pixels_at: int = -1
        """Where they were put."""
        self.full: OSError | None = None
        """Why pixels could not be written."""
        self._fd = fd
        self._ballast = ballast
        self._at = 0

    # --- what h5py calls

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position."""
        self._at = offset + (os.fstat(self._fd).st_size if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read; what was never written is zero."""
        view = memoryview(buffer).cast("B")
        size = len(view)
        while view:
            count = os.preadv(self._fd, [view], self._at)
            if not count:
                view[:] = bytes(len(view))
                count = len(view)
            self._at += count
            view = view[count:]
        return size

    def read(self, size: int) -> bytes:
        """Read so many bytes."""
        room = bytearray(size)
        self.readinto(room)
        return bytes(room)

    def write(self, buffer: Any) -> int:
        """Write all of it."""
        view = memoryview(buffer).cast("B")
        size, at = len(view), self._at
        is_pixels = bool(self.pixels) and size == self.pixels_bytes and address_of(buffer) == self.pixels
        if is_pixels:
            self.pixels_at = at
        while view:
            try:
                count = os.pwrite(self._fd, view, at)
            except OSError as error:
                if is_pixels:
                    self.full = error
                    raise
                if self._ballast and self._ballast.drop():
                    continue
                self.error = self.error or error
                break
            at += count
            view = view[count:]
        self._at += size
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size."""
        size = self._at if size is None else size
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            self.error = self.error or error
        return size

    def flush(self) -> None:
        """Do nothing: nothing is held back here."""

    # --- for the owner

    def begin_sync(self, size: int) -> None:
        """Have the disk begin with the bytes that were written last, without waiting: less is left for `sync`."""
        # On Linux this advice begins to write what is not on the disk yet, and drops only what is.
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._fd, self._at - size, size, os.POSIX_FADV_DONTNEED)

    def sync(self) -> None:
        """Wait till the disk has it."""
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self.error = self.error or error

    def close(self) -> None:
        """Close the descriptor; safe to call twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.close(fd)
            except OSError as error:  # some file systems tell only here what they could not write
                self.error = self.error or error


def address_of(buffer: Any) -> int:
    """Return where bytes are in memory."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    except TypeError:  # it is read-only; numpy takes five times as long
        import numpy as np

        return int(np.frombuffer(buffer, np.uint8).ctypes.data)
