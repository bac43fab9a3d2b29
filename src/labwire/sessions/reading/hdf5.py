"""HDF5, with the filters that detectors use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from labwire.errors import needs_extra


class Stack(NamedTuple):
    """A stack of images in a file."""

    name: str
    length: int
    is_virtual: bool
    """It only points to images in other files."""
    error: str = ""
    """Why its last image cannot be read; empty if it can."""


_STORED = "entry/detector/image_stored"
"""Of our writers: 1 for each place of the file that has its image."""
_PIXELS = "entry/data/data"


def has_h5py() -> bool:
    """Tell whether HDF5 files can be opened here."""
    return find_spec("h5py") is not None


def load_h5py() -> Any:
    """Return the module h5py, its filters registered.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra("images"):
        h5py: Any = import_module("h5py")
    with contextlib.suppress(ImportError):
        import_module("hdf5plugin")
    return h5py


def stacks_in(path: Path) -> Iterator[Stack]:
    """Yield the stacks of images in a file, (images, height, width); the last image of each is read.

    Raises:
        OSError: It is no HDF5 file.
    """
    h5py = load_h5py()
    found: list[Stack] = []

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and len(item.shape or ()) == 3:
            error = ""
            try:
                if item.shape[0]:
                    item[-1]
            except (OSError, ValueError) as reason:
                error = f"{name} cannot be read: {reason}"
            found.append(Stack(name, item.shape[0], item.is_virtual, error))

    with h5py.File(path, "r") as file:
        file.visititems(look)
    yield from found


def count_images(path: Path) -> int:
    """Return how many images are in a file: places that were kept for images which did not come do not count.

    A file whose images cannot be read, and one that cannot be opened, has none.
    """
    try:
        stacks = list(stacks_in(path))
        if any(stack.error for stack in stacks):
            return 0
        with load_h5py().File(path, "r") as file:
            if _STORED in file:
                return int(file[_STORED][()].sum())
        return max((stack.length for stack in stacks), default=0)
    except OSError:
        return 0


def count_unfinished(path: Path) -> int:
    """Return how many images are in a file that its writer did not finish; 0 if it cannot be opened."""
    with contextlib.suppress(OSError, KeyError), load_h5py().File(path, "r") as file:
        return int(file[_PIXELS].id.get_num_chunks())
    return 0
