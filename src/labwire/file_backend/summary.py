"""What a folder holds, in numbers, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from labwire.errors import LabwireError, NotFoundError
from labwire.file_backend.reader import STREAMS, FolderReader, Record
from labwire.picture import check_jpeg
from labwire.wire.envelope import Envelope, read_status

_FRAME = re.compile(r"frame(\d{16})\.(jpg|jpeg|png|bmp)")
_LATEST = ("latest.jpg", "latest.jpeg")
_JPEG = {".jpg", ".jpeg"}


class StreamSummary(msgspec.Struct, frozen=True):
    """One file of lines."""

    stream: str
    lines: int
    bad_lines: int
    """Lines that are no envelopes."""
    size_bytes: int
    tail_bytes: int
    """Of an unterminated line at its end: one that is being written, or the last one of a writer that was killed."""
    first_us: int | None
    """Microseconds since 1970-01-01 UTC, as `last_us`."""
    last_us: int | None
    rate_hz: float | None
    """Lines per second; None over less than a second."""
    longest_gap_s: float | None
    last: dict[str, Any] | None
    """Payload of the last line."""


class FolderSummary(msgspec.Struct, frozen=True):
    """A folder of the file backend."""

    folder: str
    streams: list[StreamSummary]
    frames: int
    """Numbered ones."""
    frame_bytes: int
    first_frame_us: int | None
    last_frame_us: int | None


class Problem(NamedTuple):
    """Something that is wrong in a folder."""

    file: str
    text: str


def summarize(folder: Path) -> FolderSummary:
    """Count what a folder holds.

    Raises:
        NotFoundError: There is no such folder.
    """
    _check_folder(folder)
    stamps, frame_bytes = list[int](), 0
    for stamp_us, path in _frames_in(folder):
        with suppress(FileNotFoundError):  # it made room for a newer one
            frame_bytes += path.stat().st_size
            stamps.append(stamp_us)
    return FolderSummary(
        folder=str(folder),
        streams=[_stream(folder, name) for name in STREAMS],
        frames=len(stamps),
        frame_bytes=frame_bytes,
        first_frame_us=min(stamps, default=None),
        last_frame_us=max(stamps, default=None),
    )


def find_problems(folder: Path) -> Iterator[Problem]:
    """Yield what is wrong in a folder: lines that are broken or out of order, frames that are not whole.

    Raises:
        NotFoundError: There is no such folder.
    """
    _check_folder(folder)
    for name in STREAMS:
        yield from _problems_of_stream(folder, name)
    latest = [folder / name for name in _LATEST if (folder / name).exists()]
    for path in [*(path for _, path in sorted(_frames_in(folder))), *latest]:
        if path.suffix in _JPEG and (wrong := _wrong_with_jpeg(path)):
            yield Problem(path.name, wrong)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {folder.absolute()}", path=str(folder))


def _stream(folder: Path, name: str) -> StreamSummary:
    lines, longest_us = 0, 0
    first: Record | None = None
    last: Record | None = None
    with FolderReader(folder) as reader:
        for record in reader.records(name):
            lines += 1
            first = first or record
            longest_us = max(longest_us, record.timestamp - last.timestamp) if last else 0
            last = record
        bad, offset, path = reader.bad_lines, reader.files[name].offset, reader.files[name].path
    size_bytes = path.stat().st_size if path.exists() else 0
    span_us = last.timestamp - first.timestamp if first and last else 0
    return StreamSummary(
        stream=name,
        lines=lines,
        bad_lines=bad,
        size_bytes=size_bytes,
        tail_bytes=max(0, size_bytes - offset),
        first_us=first.timestamp if first else None,
        last_us=last.timestamp if last else None,
        rate_hz=round((lines - 1) * 1e6 / span_us, 3) if span_us >= 1_000_000 else None,
        longest_gap_s=longest_us / 1e6 if lines > 1 else None,
        last=last.payload if last else None,
    )


def _problems_of_stream(folder: Path, name: str) -> Iterator[Problem]:
    file = f"{name}.jsonl"
    if not (folder / file).exists():
        yield Problem(file, "is missing")
        return
    bad: list[Problem] = []

    def note(_stream: str, offset: int, reason: str) -> None:
        bad.append(Problem(file, f"the line before byte {offset} is no envelope: {reason}"))

    last_us = -1
    with FolderReader(folder, on_bad=note) as reader:
        for record in reader.records(name):
            if wrong := _wrong_with(record, last_us):
                bad.append(Problem(file, f"the line before byte {record.offset} {wrong}"))
            last_us = max(last_us, record.timestamp)
        rest = (folder / file).stat().st_size - reader.files[name].offset
    yield from bad
    if rest > 0:
        yield Problem(file, f"ends in {rest} bytes without a newline: its writer is at work, or was killed")


def _wrong_with(record: Record, last_us: int) -> str:
    if record.type != record.stream:
        return f"is a {record.type} envelope"
    if record.timestamp <= last_us:
        return f"is not later than one before it: {record.timestamp} after {last_us}"
    if record.type == "status":
        try:
            read_status(Envelope(record.type, record.timestamp, record.payload))
        except LabwireError as error:
            return f"has no code and message: {error.message}"
    return ""


def _wrong_with_jpeg(path: Path) -> str:
    try:
        check_jpeg(path.read_bytes())
    except FileNotFoundError:
        return ""  # it made room for a newer one
    except LabwireError as error:
        return error.message
    return ""


def _frames_in(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.iterdir():
        if match := _FRAME.fullmatch(path.name):
            yield int(match[1]), path
