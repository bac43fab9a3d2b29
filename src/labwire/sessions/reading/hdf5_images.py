"""Stacks of images in the HDF5 files of a session, read one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from labwire.sessions.reading.hdf5 import load_h5py, stacks_in
from labwire.sessions.reading.image_runs import image_files_of

_SUFFIXES = (".h5", ".nxs", ".hdf5")
_USUAL = "entry/data/data"


class RecordedImages(Sequence[Any]):
    """The images of one file: ``len(images)``, ``images[7]`` is (height, width) in the detector's dtype.

    Args:
        path: The HDF5 file.
        dataset: Path of the stack in it, (images, height, width).
    """

    def __init__(self, path: Path, dataset: str) -> None:
        self.path, self.dataset = path, dataset
        self._file: Any = None

    def _stack(self) -> Any:
        if self._file is None:
            self._file = load_h5py().File(self.path, "r")
        return self._file[self.dataset]

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, height, width."""
        return self._stack().shape

    @property
    def dtype(self) -> Any:
        """Type of a pixel."""
        return self._stack().dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"{self.path.name} has {len(self)} images, {index} is not one of them")
        return self._stack()[index]

    def close(self) -> None:
        """Let go of the file. Safe to call twice."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<images of {self.path.name}:{self.dataset}>"


def images_in(folder: Path) -> dict[str, RecordedImages]:
    """Find the stacks of images of a session, by the path of their file; a file without one is left out.

    They are the files in its folder, by their path in it, and the master files of its runs, by their whole path; of a
    run without one, its data files.

    Raises:
        MissingExtraError: There are HDF5 files, and h5py is not installed.
    """
    found: dict[str, RecordedImages] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file()):
        with contextlib.suppress(OSError):  # being written, or damaged: the check tells
            if dataset := _find_stack(path):
                found[path.relative_to(folder).as_posix()] = RecordedImages(path, dataset)
    for path in image_files_of(folder):
        with contextlib.suppress(OSError):
            if dataset := _find_stack(path):
                found[str(path)] = RecordedImages(path, dataset)
    return found


def _find_stack(path: Path) -> str:
    stacks = [stack.name for stack in stacks_in(path)]
    return _USUAL if _USUAL in stacks else next(iter(stacks), "")
