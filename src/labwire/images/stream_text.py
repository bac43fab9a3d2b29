"""What the sending side of an image stream tells, in words."""

from __future__ import annotations

from typing import Any


def stream_event_text(kind: str, data: dict[str, Any]) -> str:
    """Return an event of a pusher for a person; one that has no words of its own is told as it is.

    Args:
        kind: As `labwire.images.pusher.OnEvent` has it.
        data: What belongs to it.
    """
    told = kind.replace("_", " ")
    match kind, data:
        case "writer_connected", {"writer": writer}:
            return f"writer {writer} is connected"
        case "writer_connected", {"address": address}:
            return f"a writer is connected to {address}"
        case "writer_lost", {"address": address}:
            return f"the writer at {address} is gone"
        case (("writer_lost" | "writer_refused"), {"reason": reason}):
            return f"{told}: {reason}"
        case "image_failed", {"image_number": number, "fatal": fatal}:
            more = ", and no other image of this run" if fatal else ""
            return f"image {number} is not stored{more}: the end of the run tells why"
        case _:
            return f"{told}: {' '.join(f'{key}={value}' for key, value in data.items())}"
