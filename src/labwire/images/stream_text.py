"""What the sending side of an image stream tells, in words."""

from __future__ import annotations

from typing import Any


def stream_event_text(kind: str, data: dict[str, Any]) -> str:
    """Return an event of a pusher for a person.

    Args:
        kind: As `labwire.images.pusher.OnEvent` has it.
        data: What belongs to it.
    """
    match kind:
        case "writer_connected":
            return f"writer {data['writer']} is connected"
        case "writer_lost" | "writer_refused":
            return f"{kind.replace('_', ' ')}: {data['reason']}"
        case "image_failed" if "writer" in data:
            more = ", and no other image of this run" if data["fatal"] else ""
            return f"image {data['image_number']} is not stored{more}: the end of the run tells why"
        case _:
            return f"{kind.replace('_', ' ')}: {' '.join(f'{key}={value}' for key, value in data.items())}"
