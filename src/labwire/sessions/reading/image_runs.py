"""Runs of detectors in a session: what its writers noted of each, and the images in their files.

The files stand where the writers put them, usually outside the session's folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from labwire.sessions.reading.hdf5 import has_h5py, stacks_in


class RunNote(msgspec.Struct, frozen=True):
    """One line that a writer, or a detector, noted of a run."""

    run_number: int
    images: int
    missing: int = 0
    failed: int = 0
    files: list[str] = []
    file_count: int = 0
    master_file: str = ""


class RunsFound(NamedTuple):
    """What the runs of a session come to."""

    images: int
    """Images that are in the files."""
    missing: int
    """Images that did not come, or could not be stored."""
    problems: list[str]


def runs_of(folder: Path) -> Iterator[tuple[str, RunNote]]:
    """Yield what was noted of runs in a session, each with the name of the stream that noted it."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                with contextlib.suppress(msgspec.DecodeError):  # other lines, or a torn one
                    yield path.stem, msgspec.json.decode(line, type=RunNote)


def check_runs(folder: Path) -> RunsFound:
    """Open the images' files of all runs of a session, and count."""
    images, problems = 0, list[str]()
    missing = {"writer": 0, "detector": 0}
    can_open = has_h5py()
    for stream, run in runs_of(folder):
        missing["writer" if run.files or run.master_file else "detector"] += run.missing + run.failed
        if not run.files:
            continue
        where = f"{stream}: run {run.run_number}"
        gone = [name for name in (*run.files, run.master_file) if name and not Path(name).is_file()]
        if gone:
            problems.append(f"{where}: {len(gone)} of its files are not here, {gone[0]} for one")
        elif not can_open:
            problems.append(f"{where}: its files were not opened: HDF5 needs h5py (pip install 'labwire[images]')")
        else:
            found = _count_images(run)
            images += found
            if found != run.images:
                problems.append(f"{where}: {run.images} images were stored, {found} are there")
    return RunsFound(images, max(missing.values()), problems)


def _count_images(run: RunNote) -> int:
    """Return how many images are in the files of a run; its master file tells where a line does not name them all."""
    if run.file_count > len(run.files):
        return max(_stacks(Path(run.master_file), virtual=True), default=0)
    return sum(sum(_stacks(Path(name), virtual=False)) for name in run.files)


def _stacks(path: Path, *, virtual: bool) -> list[int]:
    """Return the lengths of the stacks of images in a file; 0 for one whose last image cannot be read."""
    with contextlib.suppress(OSError):
        return [0 if stack.error else stack.length for stack in stacks_in(path) if stack.is_virtual == virtual]
    return []
