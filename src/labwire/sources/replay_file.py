"""Finds the images in an HDF5 file, and reads them as they are stored.

A NeXus master file names its images in ``/entry/data``: a virtual dataset, links to data files, or the images
themselves. A chunk that holds one compressed image goes out as it is; it is neither expanded nor compressed again.
"""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import msgspec

from labwire.errors import DeviceError, NotFoundError, needs_extra
from labwire.wire.image_array import BSLZ4, BSZSTD, ITEM_BYTES, Array, array_of

Node: TypeAlias = Any
"""A file, group or dataset of h5py's, which has no types."""

IMAGES: Final = "/entry/data/data"
STORED: Final = "/entry/detector/image_stored"
"""Of our writers: 1 for each image that is there."""
LINKED: Final = "/entry/data"
_LINKED_NAME: Final = "data_"
_BITSHUFFLE: Final = 32008
_ALGORITHMS: Final = {2: BSLZ4, 3: BSZSTD}
_ALGORITHM_VALUE: Final = 4  # which of the filter's values tells the algorithm
_MAX_PARTS: Final = 100_000


class _Part(msgspec.Struct, frozen=True):
    """Images of one dataset, one after the other."""

    dataset: Node
    first: int
    images: int
    compression: str
    """Of a chunk that is one image; empty: read by HDF5."""


class ImageFile:
    """The images of a file.

    Args:
        path: Of the file.
        dataset: Path of the images in it; None: where NeXus has them, else the largest dataset of three dimensions.
        gaps: Images whose file is missing are read as the virtual dataset has them, instead of refusing all.

    Raises:
        DeviceError: It cannot be read, or a file that it refers to is missing.
        NotFoundError: There are no images in it.
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, path: str, dataset: str | None = None, *, gaps: bool = False) -> None:
        with needs_extra("images"):
            import h5py  # pyright: ignore[reportMissingTypeStubs]
            import hdf5plugin  # noqa: F401 # pyright: ignore[reportUnusedImport]  its filters
        self._h5py = cast("Any", h5py)
        self.path = path
        self._gaps = gaps
        self._opened: dict[str, Node] = {}
        try:
            self.file = self._open(path)
            found = self._find(dataset)
            self._parts = [part for one in found for part in self._parts_of(one)]
            shapes = {(part.dataset.shape[-2:], part.dataset.dtype.str) for part in self._parts}
        except BaseException:
            self.close()
            raise
        if len(shapes) != 1:
            self.close()
            raise DeviceError(f"{path}: its images have several sizes or types: {sorted(map(str, shapes))}", path=path)
        ((self.shape, self.dtype),) = shapes
        self._ends: list[int] = []
        for part in self._parts:
            self._ends.append((self._ends[-1] if self._ends else 0) + part.images)

    @property
    def image_count(self) -> int:
        """How many images there are."""
        return self._ends[-1] if self._ends else 0

    @property
    def stored_count(self) -> int | None:
        """How many of them were stored, and are no fill values; None: the file does not say."""
        stored = self.file.get(STORED)
        is_count = isinstance(stored, self._h5py.Dataset) and stored.ndim == 1 and stored.dtype.kind in "biu"
        return int(stored[()].sum()) if is_count else None

    def read(self, image_number: int) -> Array:
        """Return an image, (height, width), compressed if it is stored so.

        Raises:
            DeviceError: It cannot be read.
        """
        index = bisect.bisect_right(self._ends, image_number)
        part = self._parts[index]
        at = part.first + image_number - (self._ends[index] - part.images)
        try:
            if part.compression:
                mask, data = part.dataset.id.read_direct_chunk((at, 0, 0))
                if not mask:
                    return Array(self.shape, self.dtype, data, part.compression, ITEM_BYTES[self.dtype])
            return array_of(part.dataset[at] if part.dataset.ndim == 3 else part.dataset[()])
        except (OSError, RuntimeError, ValueError) as error:
            raise DeviceError(f"cannot read image {image_number} of {self.path}: {error}", path=self.path) from error

    def close(self) -> None:
        """Close all files. Safe to call twice."""
        while self._opened:
            _, file = self._opened.popitem()
            file.close()

    # --- where the images are

    def _open(self, path: str) -> Node:
        if path not in self._opened:
            try:
                self._opened[path] = self._h5py.File(path, "r", locking=False)
            except OSError as error:
                there = Path(path).exists()
                is_none = there and not self._h5py.is_hdf5(path)
                reason = "it is no HDF5 file" if is_none else str(error) if there else "there is no such file"
                raise DeviceError(f"cannot open {path}: {reason}", path=path) from error
        return self._opened[path]

    def _find(self, dataset: str | None) -> list[Node]:
        if dataset is not None:
            if (found := self._dataset(dataset)) is None:
                raise NotFoundError(f"{self.path} has no images at {dataset}", path=self.path)
            return [found]
        if found := self._dataset(IMAGES):
            return [found]
        if linked := self._linked():
            return linked
        found = self._largest()
        if found is None:
            raise NotFoundError(f"{self.path} has no dataset of two or three dimensions with numbers", path=self.path)
        return [found]

    def _dataset(self, path: str) -> Node | None:
        try:
            node = self.file.get(path)
        except (KeyError, OSError):
            return None
        return node if self._is_images(node) else None

    def _is_images(self, node: Node) -> bool:
        return (
            isinstance(node, self._h5py.Dataset) and node.ndim in {2, 3} and node.dtype.str in ITEM_BYTES and node.size
        )

    def _linked(self) -> list[Node]:
        """Return the images that older master files link to, one dataset for each file."""
        group = self.file.get(LINKED)
        if not isinstance(group, self._h5py.Group):
            return []
        names = sorted(name for name in group if name.startswith(_LINKED_NAME))
        found = [self._dataset(f"{LINKED}/{name}") for name in names]
        if None in found:
            gone = names[found.index(None)]
            link = group.get(gone, getlink=True)
            where = getattr(link, "filename", gone)
            raise DeviceError(f"{self.path} links to {where}, where there are no images", path=self.path)
        return found

    def _largest(self) -> Node | None:
        found: list[Node] = []

        def visit(_: str, node: Node) -> None:
            if self._is_images(node):
                found.append(node)

        self.file.visititems(visit)
        return max(found, key=lambda node: (node.ndim, node.size), default=None)

    # --- how they are read

    def _parts_of(self, dataset: Node) -> list[_Part]:
        if dataset.is_virtual and (parts := self._sources_of(dataset)):
            return parts
        count = 1 if dataset.ndim == 2 else dataset.shape[0]
        return [_Part(dataset, 0, count, _compression_of(dataset))]

    def _sources_of(self, dataset: Node) -> list[_Part]:
        """Return the datasets behind a virtual one, if it only strings them together; else nothing."""
        parts: list[tuple[int, _Part]] = []
        for source in dataset.virtual_sources():
            if len(parts) >= _MAX_PARTS:
                return []
            (first, *corner), (last, *far) = source.vspace.get_select_bounds()
            path = self.path if source.file_name == "." else str(Path(self.path).parent / source.file_name)
            if self._gaps and not Path(path).exists():
                return []
            inner = self._open(path).get(source.dset_name)
            if not self._is_images(inner):
                raise DeviceError(f"{path} has no images at {source.dset_name}", path=path)
            if source.src_space.get_select_type() == self._h5py.h5s.SEL_ALL:
                begin, end = 0, inner.shape[0] - 1
            else:
                (begin, *_), (end, *_) = source.src_space.get_select_bounds()
            whole = not any(corner) and [size + 1 for size in far] == list(dataset.shape[1:]) == list(inner.shape[1:])
            if not whole or inner.is_virtual or end - begin != last - first:
                return []
            parts.append((first, _Part(inner, begin, last - first + 1, _compression_of(inner))))
        parts.sort(key=lambda part: part[0])
        covered = 0
        for first, part in parts:
            if first != covered:
                return []  # a gap, where the virtual dataset has its fill value
            covered += part.images
        return [part for _, part in parts] if covered == dataset.shape[0] else []


def _compression_of(dataset: Node) -> str:
    if dataset.ndim != 3 or dataset.chunks != (1, *dataset.shape[1:]):
        return ""
    creation = dataset.id.get_create_plist()
    if creation.get_nfilters() != 1:
        return ""
    code, _, values, _ = creation.get_filter(0)
    if code != _BITSHUFFLE or len(values) <= _ALGORITHM_VALUE:
        return ""
    return _ALGORITHMS.get(values[_ALGORITHM_VALUE], "")
