"""One data file of a run: the images' compressed bytes as they came, each as one HDF5 chunk."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from labwire.errors import LabwireError, ProtocolError
from labwire.images.compression import decompress
from labwire.images.disk_file import Ballast, DiskFile, address_of
from labwire.images.hdf5_tree import Node, group, is_link_name, load_h5py, make_dataset, put, why_not
from labwire.images.image_columns import ImageColumns
from labwire.images.journal import Journal, Stored
from labwire.images.output_folder import FileFailedError, OutputFolder
from labwire.images.run_plan import RunPlan
from labwire.wire.image_array import Array, flat_view
from labwire.wire.image_message import ImageMessage

MAX_MISSING_SHOWN: Final = 100
"""Numbers of missing images that are told; their count is exact."""
DATA: Final = "entry/data/data"
KEEPS_LENGTH: Final = 100_000
"""Up to so many images a file has room for all that were announced, also for those that are missing at its end."""
_NOT_FILTERED: Final = 1
"""Filter mask: the first filter was left out."""


class ChannelShape(NamedTuple):
    """What the images of a channel are."""

    path: str
    """Of the data set, in the file."""
    dtype: str
    shape: tuple[int, int]
    fill: int

    @classmethod
    def of(cls, dataset: Node) -> ChannelShape:
        """Describe a data set of images."""
        _, height, width = dataset.shape
        return cls(str(dataset.name), dataset.dtype.str, (height, width), dataset.fillvalue)


class ColumnShape(NamedTuple):
    """What came with the images, in one column."""

    path: str
    """In ``/entry``."""
    dtype: str
    inner: tuple[int, ...]
    """What one image has."""
    units: str
    fill: float


class FinishedFile(NamedTuple):
    """A data file that has its name."""

    path: str
    file_index: int
    present: frozenset[int]
    """Places of the images that are in it."""
    channels: dict[str, ChannelShape]
    columns: list[ColumnShape]

    @property
    def images(self) -> int:
        """How many images are in it."""
        return len(self.present)

    def missing(self, count: int) -> tuple[int, list[int]]:
        """Return how many of the first `count` places are empty, and the first of these."""
        empty = (place for place in range(count) if place not in self.present)
        return count - len(self.present), list(itertools.islice(empty, MAX_MISSING_SHOWN))


class DataFile:
    """A data file under its temporary name, until `finish` gives it its own.

    Args:
        folder: Where.
        plan: The run.
        file_index: Which file of the run, from 0.
        ballast: Disk space to close the file with.
        sync: Wait for the disk when it is finished.
        flush_s: Seconds between two moments from which on a killed writer's file can be read; 0: never.
        journal: Keep a journal beside it, from which a killed writer's file can be finished.

    Raises:
        FileFailedError: It cannot be created.
    """

    def __init__(
        self,
        folder: OutputFolder,
        plan: RunPlan,
        file_index: int,
        *,
        ballast: Ballast | None = None,
        sync: bool = False,
        flush_s: float = 0.0,
        journal: bool = True,
    ) -> None:
        self.index = file_index
        self.name = plan.data_name(file_index)
        self.stored_bytes = 0
        self._folder = folder
        self._plan = plan
        self._sync = sync
        self._flush_s = flush_s
        self._flush_due_s = 0.0
        self._temporary = f"{self.name}.{time.time_ns():x}.tmp" if journal else repaired_name(self.name)
        self._journal = Journal(folder, self._temporary, plan) if journal else None
        try:
            self._disk, self._file = self._begin(ballast)
        except BaseException:
            self._drop_journal()
            raise
        self._datasets: dict[str, _Images] = {}
        self._columns = ImageColumns(plan.spots)
        self._closed = False
        self._lean = False  # the disk is full: nothing is written that can be done without
        self._present: set[int] = set()

    @property
    def path(self) -> str:
        """Where the file will be."""
        return str(self._folder.path / self.name)

    @property
    def count(self) -> int:
        """Images that are in it."""
        return len(self._present)

    @property
    def complete(self) -> bool:
        """Whether all images that were announced for it are in it."""
        return bool(self._plan.announced) and len(self._present) == self._plan.images_in(self.index)

    @property
    def length(self) -> int:
        """Images that it will have room for, missing ones included."""
        announced = self._plan.images_in(self.index) if self._plan.announced else 0
        return announced if 0 < announced <= KEEPS_LENGTH else max(self._present, default=-1) + 1

    def write(self, index: int, message: ImageMessage) -> int:
        """Store an image; return how many bytes it took.

        Args:
            index: Its place in the file.
            message: The image.

        Raises:
            FileFailedError: The disk does not take it; images that are in the file are not touched by that.
            ProtocolError: The image does not fit into this run.
        """
        if index in self._present:
            raise ProtocolError(f"it is in {self.name} already; the first one is kept")
        arrays = self._channels(message)
        # All channels are looked at before the first is written: an image is in the file as a whole or not at all.
        chunks = {channel: self._dataset(channel, array).chunk_of(index, array) for channel, array in arrays.items()}
        stored = {channel: Stored(chunk.array, self._write_chunk(index, chunk)) for channel, chunk in chunks.items()}
        if self._journal is not None:
            try:
                self._journal.note(index, message, stored)
            except FileFailedError:
                self._lean = True
                raise
        size = 0
        for array, _ in stored.values():
            size += len(array.data)
        self._present.add(index)
        self.stored_bytes += size
        self._columns.put(index, message)
        self._flush()
        return size

    def _begin(self, ballast: Ballast | None) -> tuple[DiskFile, Node]:
        disk = DiskFile(self._folder.create(self._temporary), ballast)
        try:
            return disk, load_h5py().File(disk, "w")
        except BaseException:
            disk.close()
            self._folder.remove(self._temporary)
            raise

    def _channels(self, message: ImageMessage) -> dict[str, Array]:
        if not message.data:
            raise ProtocolError("it has no pixels")
        wanted = (self._plan.start.image_size_y, self._plan.start.image_size_x)
        for channel, array in message.data.items():
            if array.shape != wanted:
                raise ProtocolError(
                    f"channel {channel[:40]!r} has {_size(array.shape)} pixels, and START says {_size(wanted)}"
                )
        return message.data

    def _dataset(self, channel: str, array: Array) -> _Images:
        images = self._datasets.get(channel)
        if images is None:
            first = not self._datasets
            if not first and (len(self._datasets) >= _MAX_CHANNELS or not is_link_name(channel)):
                raise ProtocolError(f"there is no room for a channel {channel[:40]!r}")
            path = DATA if first else f"{DATA}_{channel}"
            images = self._datasets[channel] = _Images(self._file, path, array, self._plan, self)
            if is_link_name(channel):
                images.dataset.attrs["channel"] = channel
        return images

    def check(self, what: str) -> None:
        """Raise if the disk has not taken all that was written."""
        if self._disk.error is not None:
            raise FileFailedError(self._disk.error.errno, self.path, what) from self._disk.error

    def _write_chunk(self, index: int, chunk: _Chunk) -> int:
        dataset, data, plain = chunk.dataset, chunk.array.data, chunk.plain
        disk = self._disk
        disk.pixels, disk.pixels_bytes, disk.pixels_at = address_of(data), len(data), -1
        try:
            dataset.id.write_direct_chunk((index, 0, 0), data, _NOT_FILTERED if plain else 0)
        except (OSError, RuntimeError) as error:
            cause = disk.full or disk.error
            number = cause.errno if cause else getattr(error, "errno", None)
            disk.full = None
            self._lean = True
            raise FileFailedError(number, self.path, "write an image") from error
        finally:
            disk.pixels = 0
        self.check("write an image")
        if self._sync:
            disk.begin_sync(len(data))
        return disk.pixels_at

    def _flush(self) -> None:
        if not self._flush_s:
            return
        now_s = time.monotonic()
        if now_s < self._flush_due_s:
            return
        self._file.flush()
        self.check("flush")
        self._flush_due_s = time.monotonic() + self._flush_s

    # --- the end

    def finish(self, *, overwrite: bool) -> FinishedFile:
        """Write what came with the images, close the file, give it its name.

        Raises:
            FileFailedError: It could not be written. What can be mended of it keeps its temporary name.
        """
        length = self.length
        columns: list[ColumnShape] = []
        channels = {channel: ChannelShape.of(images.dataset) for channel, images in self._datasets.items()}
        try:
            columns = list(self._write_columns(length))
            for images in self._datasets.values():
                images.set_length(length)
        except (OSError, RuntimeError, LabwireError):
            if self._disk.error is None:
                raise
        self._close()
        self.check("close")
        self._folder.publish(self._temporary, self.name, overwrite=overwrite, sync=self._sync)
        self._drop_journal()
        return FinishedFile(self.path, self.index, frozenset(self._present), channels, columns)

    def _write_columns(self, length: int) -> Iterator[ColumnShape]:
        entry = group(self._file, "entry", "NXentry")
        group(entry, "data", "NXdata").attrs["signal"] = "data"
        first = self._plan.images_per_file * self.index
        for images in self._datasets.values():
            # The numbers of the first and last image, from 1, as other programs for such files want them.
            images.dataset.attrs["image_nr_low"] = first + 1
            images.dataset.attrs["image_nr_high"] = first + length
        group(entry, "detector")
        for filled in self._columns.take(length, stored_only=self._lean):
            folder, _, name = filled.path.rpartition("/")
            group(entry, folder.partition("/")[0])
            put(group(entry, folder), name, filled.values, filled.units)
            inner = filled.values.shape[1:]
            yield ColumnShape(filled.path, filled.values.dtype.str, inner, filled.units, filled.fill)

    def discard(self) -> int:
        """Close the file, and remove it unless it can be repaired; return how many images it has then. Never raises."""
        if not self._closed:
            with contextlib.suppress(OSError, RuntimeError, LabwireError):
                self._close()
        self._disk.close()
        if self._journal is not None and self._present:
            self._journal.close()
            return self.count
        self._folder.remove(self._temporary)
        self._drop_journal()
        return 0

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.remove()

    def _close(self) -> None:
        self._datasets.clear()
        self._file.close()
        self._closed = True
        if self._sync:
            self._disk.sync()
        self._disk.close()


class _Chunk(NamedTuple):
    dataset: Node
    array: Array
    plain: bool
    """The bytes have not gone through the data set's filters."""


def repaired_name(name: str) -> str:
    """Return the temporary name of a file that is being mended."""
    return f"{name}.repair.tmp"


class _Images:
    """The data set of one channel."""

    def __init__(self, file: Node, path: str, array: Array, plan: RunPlan, owner: DataFile) -> None:
        array = _storable(array)
        self._like = array
        most = plan.images_in(owner.index)
        self._rows = most if plan.announced else min(most, _ROWS)
        fill = fill_value(array.dtype, plan.start.error_value)
        shape, chunk = (self._rows, *array.shape), (1, *array.shape)
        self.dataset = make_dataset(file, path, array, shape, chunk, fill, most)
        owner.check("begin")

    def chunk_of(self, index: int, array: Array) -> _Chunk:
        if array.dtype != self._like.dtype:
            raise ProtocolError(f"its pixels are {array.dtype}, and those of the file {self._like.dtype}")
        plain = False
        if array.compression != self._like.compression or why_not(array):
            array, plain = _storable(array, expand=True), bool(self._like.compression)
        self.make_room(index)
        return _Chunk(self.dataset, array, plain)

    def make_room(self, index: int) -> None:
        if index >= self._rows:  # a run of unknown length: HDF5 looks at every row that is cut off at the end
            self.set_length(min(max(index + 1, 2 * self._rows), self.dataset.maxshape[0]))

    def set_length(self, length: int) -> None:
        if self._rows != length:
            self._rows = length
            self.dataset.id.set_extent((length, *self.dataset.shape[1:]))


_MAX_CHANNELS: Final = 16
_ROWS: Final = 1024
"""Rows that a data set begins with where nobody said how many images there will be."""


def _storable(array: Array, *, expand: bool = False) -> Array:
    # What HDF5 has no filter for is expanded: it is still better to have the image.
    if not expand and not why_not(array):
        return array
    import numpy as np

    pixels = np.ascontiguousarray(decompress(array))
    return Array(pixels.shape, pixels.dtype.str, flat_view(pixels))


def fill_value(dtype: str, error_value: int | None) -> int:
    """Return what stands where an image is missing: the detector's own mark of bad pixels, if it fits.

    Else the largest unsigned or the lowest signed number, which detectors use for that.
    """
    kind, bits = dtype[1], 8 * int(dtype[2:])
    if kind == "f":
        return 0 if error_value is None else error_value
    low, high = (0, (1 << bits) - 1) if kind == "u" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    if error_value is not None and low <= error_value <= high:
        return error_value
    return high if kind == "u" else low


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, reversed(shape)))
