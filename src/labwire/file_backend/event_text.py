"""What happened to the files of a folder, in words for a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_WORDS: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "written": lambda name, data: f"{name} is there",
    "volume": lambda name, data: f"frames without a limit: {data['bytes_per_hour'] / 1e9:.1f} GB per hour",
    "failed": lambda name, data: f"{name} cannot be written: {data['reason']}",
    "recovered": lambda name, data: f"{name} can be written again; {_lost(data)} were lost so far",
    "repaired": lambda name, data: (
        f"{name} ended in a line without its end: {data['cut_bytes']} bytes of it were cut off"
    ),
    "rotated": lambda name, data: f"{name} was renamed, removed or cut by somebody, and is begun anew",
    "lock_conflict": lambda name, data: f"{name} is locked by {_who(data)}",
    "lock_free": lambda name, data: f"{name} is locked by nobody else any more",
}


def event_text(kind: str, data: Mapping[str, Any]) -> str:
    """Return an event of the file backend as a sentence; see `FileBackend` for the kinds and their data."""
    words = _WORDS.get(kind)
    return words(Path(data.get("file", "")).name, data) if words else f"{kind}: {dict(data)}"


def _lost(data: Mapping[str, Any]) -> str:
    return f"{data['dropped']} lines" if "dropped" in data else f"{data['failed']} frames"


def _who(data: Mapping[str, Any]) -> str:
    return "somebody" if data["pid"] is None else f"process {data['pid']}"
