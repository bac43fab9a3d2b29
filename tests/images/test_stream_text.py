from __future__ import annotations

from typing import Any

import pytest

from labwire.images.stream_text import stream_event_text


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("writer_connected", {"writer": "10.0.0.5:41234"}, "writer 10.0.0.5:41234 is connected"),
        (
            "writer_connected",
            {"socket_number": 1, "address": "tcp://10.0.0.1:9001"},
            "a writer is connected to tcp://10.0.0.1:9001",
        ),
        ("writer_lost", {"socket_number": 1, "address": "ipc:///x"}, "the writer at ipc:///x is gone"),
        ("writer_lost", {"writer": "w", "reason": "w closed the connection"}, "writer lost: w closed the connection"),
        ("writer_refused", {"writer": "w", "reason": "2 are here"}, "writer refused: 2 are here"),
        (
            "image_failed",
            {"writer": "w", "image_number": 7, "reason": "full", "fatal": True},
            "image 7 is not stored, and no other image of this run: the end of the run tells why",
        ),
        ("image_failed", {"image_number": 7, "reason": "full"}, "image failed: image_number=7 reason=full"),
        ("writer_connected", {}, "writer connected: "),
        ("what_comes_later", {"count": 3}, "what comes later: count=3"),
    ],
)
def test_events_in_words(kind: str, data: dict[str, Any], said: str) -> None:
    assert stream_event_text(kind, data) == said
