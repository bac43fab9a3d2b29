"""What happened to the files of a folder, in words for a log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def event_text(kind: str, data: Mapping[str, Any]) -> str:
    """Return an event of the file backend as a sentence; see `FileBackend` for the kinds and their data."""
    name = Path(data.get("file", "")).name
    match kind:
        case "written":
            return f"{name} is there"
        case "volume":
            return f"frames without a limit: {data['bytes_per_hour'] / 1e9:.1f} GB per hour"
        case "failed":
            return f"{name} cannot be written: {data['reason']}"
        case "recovered":
            lost = f"{data['dropped']} lines" if "dropped" in data else f"{data['failed']} frames"
            return f"{name} can be written again; {lost} were lost so far"
        case "repaired":
            return f"{name} ended in a line without its end: {data['cut_bytes']} bytes were cut off"
        case "rotated":
            return f"{name} was renamed, removed or cut by somebody, and is begun anew"
        case "lock_conflict":
            who = "somebody" if data["pid"] is None else f"process {data['pid']}"
            return f"{name} is locked by {who}"
        case "lock_free":
            return f"{name} is locked by nobody else any more"
        case _:
            return f"{kind}: {dict(data)}"
