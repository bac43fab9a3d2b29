"""Open the files of a session, each by the rules of its format."""

from __future__ import annotations

import importlib.util
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

from labwire.errors import LabwireError
from labwire.operations.session_check import FileCheck
from labwire.picture import check_jpeg
from labwire.sessions import manifest
from labwire.sessions.ballast import FILE_NAME as BALLAST
from labwire.sessions.files import TEMPORARY
from labwire.sessions.log.mcap_scan import Report, ignore_progress
from labwire.sessions.pictures.mp4_format import FRAGMENT_HEAD_BYTES, is_ours, scan_fragments
from labwire.sessions.player import player_format
from labwire.sessions.player.pldata import read_records
from labwire.sessions.player.timestamps import SUFFIX as TIMESTAMPS_SUFFIX
from labwire.sessions.player.timestamps import header_count, read_timestamps
from labwire.sessions.reading.hdf5 import has_h5py, stacks_in

_REPORT_EVERY = 10_000
_ARRAYS_SUFFIX = ".arrays"

Check: TypeAlias = Callable[[Path, Report], tuple[int | None, str]]
"""Opens a file; returns what it counted and what is wrong."""


def check_file(folder: Path, path: Path, report: Report = ignore_progress) -> FileCheck | None:
    """Open one file; None if another's check covers it.

    Args:
        folder: Of the session.
        path: The file, in it.
        report: Hears of progress; may raise to end the work.
    """
    name, size_bytes = path.relative_to(folder).as_posix(), path.stat().st_size
    if path.name.endswith(TIMESTAMPS_SUFFIX) or (path.suffix == _ARRAYS_SUFFIX and path.with_suffix(".jsonl").exists()):
        return None
    kind, check = _kind_of(path)
    if check is None:
        unfinished = path.name.endswith(TEMPORARY) or path.name == BALLAST
        return FileCheck(name, kind, size_bytes, None, not unfinished, "was never finished" if unfinished else "")
    try:
        items, wrong = check(path, report)
    except (OSError, ValueError) as error:
        return FileCheck(name, kind, size_bytes, None, ok=False, note=f"cannot be opened: {error}")
    return FileCheck(name, kind, size_bytes, items, not wrong or wrong.startswith(_NOT_OPENED), wrong)


def _kind_of(path: Path) -> tuple[str, Check | None]:
    if path.name in {manifest.FILE_NAME, player_format.INFO_FILE}:
        return "info", _check_json
    kinds: dict[str, tuple[str, Check]] = {
        ".pldata": ("data", _check_pldata),
        ".mp4": ("video", _check_video),
        ".jsonl": ("lines", _check_lines),
        ".h5": ("images", _check_hdf5),
        ".nxs": ("images", _check_hdf5),
    }
    return kinds.get(path.suffix, ("other", None))


def _check_json(path: Path, _report: Report) -> tuple[int | None, str]:
    msgspec.json.decode(path.read_bytes())
    return None, ""


def _check_pldata(path: Path, report: Report) -> tuple[int | None, str]:
    """Every datum is whole, and its timestamp is the one in the file beside it."""
    size = path.stat().st_size
    timestamps_path = path.with_name(path.stem + TIMESTAMPS_SUFFIX)
    count = header_count(timestamps_path)
    timestamps = read_timestamps(timestamps_path) if count is not None else None
    number = end = different = 0
    if size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for record in read_records(data):
                if timestamps is not None and number < len(timestamps):
                    different += timestamps[number] != record.timestamp
                number, end = number + 1, record.end
                if number % _REPORT_EVERY == 0:
                    report(end, size)
    if end != size:
        return number, f"torn: {size - end} bytes behind the last whole datum"
    if count is None:
        return number, f"{timestamps_path.name} is missing or not whole"
    if count != number:
        return number, f"{number} data, but {count} timestamps"
    return number, f"{different} timestamps are not those of the data" if different else ""


def _check_video(path: Path, report: Report) -> tuple[int | None, str]:
    """Every picture is a whole JPEG, and has a timestamp."""
    with path.open("rb") as file:
        if not is_ours(file.fileno()):
            return _check_foreign_video(path)
        scan = scan_fragments(file.fileno())
        broken = 0
        ends = [fragment.offset for fragment in scan.fragments[1:]] + [scan.end]
        for number, (fragment, end) in enumerate(zip(scan.fragments, ends, strict=True)):
            start = fragment.offset + FRAGMENT_HEAD_BYTES
            file.seek(start)
            try:
                check_jpeg(file.read(end - start))
            except LabwireError:
                broken += 1
            report(number, len(ends))
    count = len(scan.fragments)
    if not scan.finished:
        return count, "its index is missing: it was cut off"
    if broken:
        return count, f"{broken} pictures are no whole JPEG"
    timestamps = header_count(path.with_name(path.stem + TIMESTAMPS_SUFFIX))
    return count, "" if timestamps == count else f"{count} pictures, but {timestamps} timestamps"


_NOT_OPENED = "not opened: "


def _check_foreign_video(path: Path) -> tuple[int | None, str]:
    if importlib.util.find_spec("av") is None:
        return None, f"{_NOT_OPENED}a video of another program needs PyAV (pip install 'labwire[record]')"
    import av

    with av.open(str(path)) as container:  # its errors are OSError or ValueError, too
        streams = container.streams.video
        return (streams[0].frames or None, "") if streams else (None, "it has no video")


class _Array(msgspec.Struct):
    offset: int
    bytes: int


class _Line(msgspec.Struct):
    array: _Array | None = None


def _check_lines(path: Path, report: Report) -> tuple[int | None, str]:
    """Every line is a JSON object, and every array that one names lies in the file of arrays."""
    arrays = path.with_suffix(_ARRAYS_SUFFIX)
    arrays_bytes = arrays.stat().st_size if arrays.exists() else 0
    count = torn = outside = done_bytes = 0
    size = path.stat().st_size
    with path.open("rb") as file:
        for line in file:
            done_bytes += len(line)
            try:
                row = msgspec.json.decode(line, type=_Line)
            except msgspec.DecodeError:
                torn += 1
                continue
            count += 1
            if row.array is not None:
                outside += row.array.offset + row.array.bytes > arrays_bytes
            if count % _REPORT_EVERY == 0:
                report(done_bytes, size)
    if torn:
        return count, f"{torn} lines are no whole JSON object"
    return count, f"{outside} arrays are not in {arrays.name}" if outside else ""


def _check_hdf5(path: Path, _report: Report) -> tuple[int | None, str]:
    """Every stack of images opens, and its last image can be read."""
    if not has_h5py():
        return None, f"{_NOT_OPENED}HDF5 needs h5py (pip install 'labwire[images]')"
    stacks = list(stacks_in(path))
    images = sum(stack.length for stack in stacks if not stack.is_virtual)
    return images, next((stack.error for stack in stacks if stack.error), "")
