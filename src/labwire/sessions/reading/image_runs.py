"""Runs of detectors in a session: what its writers noted of each, and the images in their files.

The files stand where the writers put them, usually outside the session's folder.
"""

from __future__ import annotations

import contextlib
import glob
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from labwire.sessions.manifest import Manifest
from labwire.sessions.reading.hdf5 import count_images, count_unfinished, has_h5py

_NUMBERED = re.compile(r"(.*_data_)(\d+)\.h5")
"""Name of a data file, as our writers give it."""


class RunNote(msgspec.Struct, frozen=True):
    """One line that a writer, or a detector, noted of a run."""

    run_number: int
    images: int
    run_name: str = ""
    missing: int = 0
    failed: int = 0
    files: list[str] = []
    file_count: int = 0
    master_file: str = ""
    acknowledged: int | None = None
    """Of a detector: images that writers said they have; None if they do not say."""
    cancelled: bool = False

    @property
    def is_writers(self) -> bool:
        """Whether it is the note of somebody who stored images."""
        return bool(self.files or self.master_file)


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


def image_files_of(folder: Path) -> Iterator[Path]:
    """Yield the files that show the images of a session's runs: the master file of each, or else its data files.

    A run has no master file if its writer was killed and nobody has finished the file since, or if none was wanted.
    Its data files are then those that its writers noted, and those beside them with the same name and other numbers.
    """
    by_run: dict[tuple[int, str], list[RunNote]] = {}
    for _, run in runs_of(folder):
        if run.is_writers:
            by_run.setdefault((run.run_number, run.run_name), []).append(run)
    for notes in by_run.values():
        noted = {path for note in notes for path in _files_of(note)}
        masters = {Path(note.master_file) for note in notes if note.master_file}
        beside: set[Path] = set()
        for start in {path.parent / match[1] for path in noted if (match := _NUMBERED.fullmatch(path.name))}:
            masters.add(start.with_name(f"{start.name.removesuffix('_data_')}_master.h5"))
            beside.update(start.parent.glob(f"{glob.escape(start.name)}*.h5"))
        there = [path for path in sorted(masters) if path.is_file()]
        yield from there or (path for path in sorted(noted | beside) if path.is_file())


def check_runs(folder: Path, known: Manifest | None = None) -> RunsFound:
    """Open the images' files of all runs of a session, and count.

    Args:
        folder: Of the session.
        known: Its manifest: where its writers store, for runs that one of them did not live to note.
    """
    images, problems = 0, list[str]()
    missing = {"writer": 0, "detector": 0}
    notes = list(runs_of(folder))
    for stream, run in notes:
        missing["writer" if run.is_writers else "detector"] += run.missing + run.failed
        found, problem = _check_note(run)
        images += found
        if problem:
            problems.append(f"{stream}: run {run.run_number}: {problem}")
    folders = folders_of_writers(known) if has_h5py() else []
    for stream, run in notes:
        untold = _find_untold(run, notes, folders)
        images += untold.images
        missing["detector"] += untold.acknowledged - untold.images  # below 0: stored, and dead before it could say so
        if untold.lost:
            problems.append(f"{stream}: run {run.run_number}: {untold.text}")
    return RunsFound(images, max(missing.values()), problems)


def _check_note(run: RunNote) -> tuple[int, str]:
    """Return how many images are in the files that a writer noted, and what is wrong."""
    if not run.files:
        return 0, ""
    gone = [name for name in (*run.files, run.master_file) if name and not Path(name).is_file()]
    if gone:
        return 0, f"{len(gone)} of its files are not here, {gone[0]} for one"
    if not has_h5py():
        return 0, "its files were not opened: HDF5 needs h5py (pip install 'labwire[images]')"
    found = sum(count_images(path) for path in _files_of(run))
    return found, "" if found == run.images else f"{run.images} images were stored, {found} are there"


def _files_of(run: RunNote) -> list[Path]:
    """Return the data files of a writer's run; of very many, its line names the first ones only.

    The files of a run go to its writers in turn, so the numbers of one writer's files lie equally far apart.
    """
    named = [Path(name) for name in run.files]
    if run.file_count <= len(named):
        return named
    first = _NUMBERED.fullmatch(named[0].name)
    numbers = [int(match[2]) for path in named if (match := _NUMBERED.fullmatch(path.name))]
    if first is None or len(numbers) < 2:
        return [Path(run.master_file)] if run.master_file else named
    step = math.gcd(*(number - numbers[0] for number in numbers[1:]))
    beside = named[0].parent.glob(f"{glob.escape(first[1])}*.h5")
    found = ((path, _NUMBERED.fullmatch(path.name)) for path in sorted(beside))
    return [path for path, match in found if match and step and (int(match[2]) - numbers[0]) % step == 0]


# --- runs that a writer did not live to note


class _Untold(NamedTuple):
    """Images of a run that were acknowledged by a writer which did not note them: it died before the run ended."""

    acknowledged: int = 0
    images: int = 0
    """In finished files that no writer noted."""
    unfinished: tuple[Path, ...] = ()

    @property
    def lost(self) -> int:
        """Images that were acknowledged and are in no finished file."""
        return max(0, self.acknowledged - self.images)

    @property
    def text(self) -> str:
        """Tell it."""
        said = f"{self.acknowledged} images were acknowledged by a writer that died before it noted them: "
        said += f"{self.images} are in its files, {self.lost} are not"
        if self.unfinished:
            said += f"; what it did not finish holds {sum(map(count_unfinished, self.unfinished))}: "
            said += ", ".join(map(str, self.unfinished))
            said += f"; `labwire images repair {self.unfinished[0].parent}` finishes what can be"
        return said


def folders_of_writers(known: Manifest | None) -> list[Path]:
    """Return where the writers of a session store; none if one of them is on another computer."""
    writers = [one for one in known.streams.values() if one.about.get("folder")] if known else []
    folders = {folder for one in writers if isinstance(folder := one.about["folder"], str)}
    return [] if any(one.host for one in writers) else sorted(map(Path, folders))


def _find_untold(run: RunNote, notes: list[tuple[str, RunNote]], folders: list[Path]) -> _Untold:
    """Find what writers acknowledged and did not note, by the run's name: that of its files, perhaps with its number.

    Args:
        run: As the detector noted it.
        notes: Of all runs.
        folders: Where writers store.
    """
    same = (run.run_number, run.run_name)
    told = [note for _, note in notes if note.is_writers and (note.run_number, note.run_name) == same]
    acknowledged = (run.acknowledged or 0) - sum(note.images for note in told)
    prefix = glob.escape(run.run_name.removeprefix(f"{run.run_number}:"))
    if acknowledged <= 0 or run.cancelled or not folders or not prefix:
        return _Untold()
    noted = {path for note in told for path in _files_of(note)}
    images, unfinished = 0, list[Path]()
    for folder in folders:
        images += sum(count_images(path) for path in folder.glob(f"{prefix}_data_*.h5") if path not in noted)
        unfinished += sorted(folder.glob(f"{prefix}_data_*.h5.*.tmp"))
    return _Untold(acknowledged, images, tuple(unfinished))
