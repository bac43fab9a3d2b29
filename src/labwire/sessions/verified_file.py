"""``verified.json``: what the last check of a session found, and of which files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec

from labwire.operations.session_check import Verified
from labwire.sessions.files import replace_file

FILE_NAME = "verified.json"
_MAX_BYTES = 64 << 20

Fingerprint: TypeAlias = dict[str, tuple[int, int]]
"""Path of each file in the session -> its size in bytes, and when it was changed last, nanoseconds since 1970."""


class VerifiedFile(msgspec.Struct, frozen=True):
    """The content of ``verified.json``."""

    verified: Verified
    fingerprint: Fingerprint
    """The files as they were when the check began: one that has changed since is not verified."""


def fingerprint_of(folder: Path) -> Fingerprint:
    """Return sizes and times of all files in a session's folder."""
    found: Fingerprint = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != FILE_NAME:
            status = path.stat()
            found[path.relative_to(folder).as_posix()] = status.st_size, status.st_mtime_ns
    return found


def write(folder: Path, verified: Verified, fingerprint: Fingerprint) -> None:
    """Keep what a check found; where it cannot be written, the session stays unverified."""
    content = msgspec.json.encode(VerifiedFile(verified, fingerprint))
    with suppress(OSError):
        replace_file(folder / FILE_NAME, msgspec.json.format(content, indent=2) + b"\n")


def read(folder: Path) -> Verified | None:
    """Return what the last check found; None if there was none, or a file has changed since."""
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        kept = msgspec.json.decode(path.read_bytes(), type=VerifiedFile)
        return kept.verified if kept.fingerprint == fingerprint_of(folder) else None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
