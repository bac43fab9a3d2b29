"""Where sessions lie: choosing a new folder, finding one again, listing them all."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from labwire.clock import epoch_us
from labwire.errors import DeviceError, InvalidNameError, LabwireError, NotFoundError
from labwire.file_lock import is_locked
from labwire.names import check_session_name
from labwire.operations.recordable import StreamCounters
from labwire.operations.recording import SessionSummary
from labwire.sessions import events
from labwire.sessions import manifest as manifests
from labwire.sessions.log.bus_log import FILE_NAME as LOG_FILE
from labwire.sessions.log.bus_log import STREAM as LOG_STREAM

_MAX_DEPTH = 8  # of a session below the root
_MAX_NUMBER = 100_000
PRUNED_SUFFIX = ".pruned"
"""Of a session's folder that is being removed."""


def free_bytes(path: Path) -> int:
    """Return the free space of the file system that holds a path, or its nearest parent that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def today() -> str:
    """Return the name of a session without a name: the date, ``YYYY_MM_DD``."""
    return time.strftime("%Y_%m_%d")


def create_session_folder(root: Path, name: str) -> tuple[Path, str]:
    """Make the folder of a new session: ``root/name/NNN`` with the number above the highest.

    Args:
        root: Of all recordings; made if it is not there.
        name: Session name; empty means today's date.

    Returns:
        The folder (absolute, links resolved) and the session's name.

    Raises:
        InvalidNameError: The name breaks the grammar, lies inside another session, or a link leads it out of the root.
        DeviceError: The folder cannot be made.
    """
    name = check_session_name(name) or today()
    try:
        root.mkdir(parents=True, exist_ok=True)
        root = root.resolve(strict=True)
        parent = root
        for part in name.split("/"):
            parent = _enter(root, parent, part, name)
        for number in range(_next_number(parent), _MAX_NUMBER):
            folder = parent / f"{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder, name
    except OSError as error:
        raise DeviceError(f"cannot make a folder for {name!r} in {root}: {error.strerror}", path=str(root)) from error
    raise DeviceError(f"{root / name} holds {_MAX_NUMBER} sessions already: use another name", path=str(root / name))


def _next_number(parent: Path) -> int:
    """Return the number above the highest: that of a session that was removed is not given again while others stand.

    One entry is looked at after the other and none is kept: a folder may hold the sessions of months.
    """
    highest = -1
    with os.scandir(parent) as entries:
        for entry in entries:
            digits = entry.name.removesuffix(PRUNED_SUFFIX)
            if not (digits.isascii() and digits.isdecimal()) or (number := int(digits)) <= highest:
                continue
            if entry.is_dir(follow_symlinks=False) and (digits != entry.name or _is_session(Path(entry.path))):
                highest = number
    return 1 + highest


def _enter(root: Path, parent: Path, part: str, name: str) -> Path:
    """Make one part of a session's name below `parent`, and see that it really lies inside the root."""
    folder = parent / part
    folder.mkdir(exist_ok=True)
    if not folder.resolve(strict=True).is_relative_to(root):
        raise InvalidNameError(f"{name!r} leads out of {root} through the link {folder}", name=name)
    if _is_session(folder):
        raise InvalidNameError(f"{name!r} lies inside the session {folder.relative_to(root)}: use another", name=name)
    return folder


def find_session(root: Path, session: str) -> Path:
    """Return the folder of a session that `list_sessions` names.

    Args:
        root: Of all recordings.
        session: Name and running number: ``pilot/003``.

    Raises:
        InvalidNameError: The name breaks the grammar.
        NotFoundError: There is no such session below the root.
    """
    folder = root / check_session_name(session)
    if session and folder.is_dir() and folder.resolve().is_relative_to(root.resolve()) and _is_session(folder):
        return folder.resolve()
    raise NotFoundError(f"no session {session!r} in {root}: `labwire sessions list` shows them", session=session)


def list_sessions(root: Path) -> list[SessionSummary]:
    """List the sessions below a root, newest first. What is in one that has not ended properly is not counted."""
    summaries = [_summarize(root, folder) for folder in _session_folders(root, 0)]
    return sorted(summaries, key=lambda summary: (summary.start_epoch_us, summary.name), reverse=True)


def find_interrupted(root: Path, within_s: float) -> SessionSummary | None:
    """Return the newest session below `root` if a crash cut it off a moment ago; else None.

    Args:
        root: Of all recordings.
        within_s: How long ago its log may have grown last, seconds.
    """
    newest = next(iter(list_sessions(root)), None)
    if newest is None or newest.state != manifests.BROKEN:
        return None
    try:
        ended_us = int((Path(newest.path) / LOG_FILE).stat().st_mtime * 1e6)
    except OSError:
        return None
    return newest if epoch_us() - ended_us <= within_s * 1e6 else None


def _is_session(folder: Path) -> bool:
    return (folder / manifests.FILE_NAME).is_file() or (folder / LOG_FILE).is_file()


def _session_folders(folder: Path, depth: int) -> Iterator[Path]:
    if folder.name.endswith(PRUNED_SUFFIX):
        return
    if depth and _is_session(folder):
        yield folder
        return
    if depth < _MAX_DEPTH:
        for below in _subfolders(folder):
            yield from _session_folders(below, depth + 1)


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _summarize(root: Path, folder: Path) -> SessionSummary:
    name = folder.relative_to(root).as_posix()
    size_bytes = _size_of(folder)
    try:
        manifest = manifests.read_manifest(folder)
    except LabwireError:  # killed in its first moment, or damaged: it shows up in the list and a repair looks after it
        start_us = int(folder.stat().st_mtime * 1e6)
        return SessionSummary(name, str(folder), start_us, 0.0, manifests.BROKEN, size_bytes, None)
    began_us, duration_s = manifest.start_epoch_us, manifest.duration_s
    ended = "" if manifest.ended == events.STOPPED else manifest.ended
    row = SessionSummary(name, str(folder), began_us, duration_s, manifest.state, size_bytes, None, ended=ended)
    if manifest.state != manifests.RECORDING:
        return with_counters(row, manifest.counters)
    # Its manifest is of a minute ago, or of its first moment.
    state = manifests.RECORDING if is_locked(folder / LOG_FILE) else manifests.BROKEN  # whoever recorded it is gone
    with suppress(OSError):
        duration_s = max(duration_s, (folder / LOG_FILE).stat().st_mtime - began_us / 1e6)
    return msgspec.structs.replace(row, state=state, duration_s=duration_s)


def with_counters(row: SessionSummary, counters: Mapping[str, StreamCounters]) -> SessionSummary:
    """Return a row of the list with what the streams of its session have counted."""
    log = counters.get(LOG_STREAM)
    return msgspec.structs.replace(
        row,
        messages=log.written if log else 0,
        gaps=sum(stream.gaps for stream in counters.values()),
        dropped=sum(stream.dropped for stream in counters.values()),
    )


def _size_of(folder: Path) -> int:
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:  # it may be removed at this moment
        for entry in entries:
            with suppress(FileNotFoundError):  # a file that gets its last name at this moment
                if entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
    return total
