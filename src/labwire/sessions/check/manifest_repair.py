"""A session's manifest from its log: what a repair goes by when ``session.json`` is missing or broken."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from labwire.operations.recordable import SessionStart
from labwire.sessions.log.bus_log import CLOCK_NOTE, SESSION_NOTE
from labwire.sessions.manifest import Manifest, manifest_of
from labwire.sessions.sink import ClockChange

Notes = Sequence[tuple[str, dict[str, str]]]
"""Name and content of the metadata records of a log."""


def manifest_from_log(notes: Notes, folder: Path) -> Manifest:
    """Return the manifest of the session that a log tells of; without such a note, what the folder tells."""
    for name, note in notes:
        if name == SESSION_NOTE:
            try:
                return manifest_of(msgspec.convert(note, SessionStart, strict=False), {})
            except msgspec.ValidationError:
                break
    start_us = int(folder.stat().st_mtime * 1e6)
    return manifest_of(SessionStart(str(folder), folder.parent.name, str(uuid.uuid4()), 0.0, 0.0, start_us), {})


def clock_changes_from_log(notes: Notes) -> list[ClockChange]:
    """Return the jumps of rig time that a log tells of."""
    changes: list[ClockChange] = []
    for name, note in notes:
        if name == CLOCK_NOTE:
            try:
                changes.append(msgspec.convert(note, ClockChange, strict=False))
            except msgspec.ValidationError:
                continue
    return changes
