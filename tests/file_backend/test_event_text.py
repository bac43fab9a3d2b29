"""Every event of the file backend has words."""

from __future__ import annotations

from typing import Any

import pytest

from labwire.file_backend.event_text import event_text

FILE = "/data/out/status.jsonl"


@pytest.mark.parametrize(
    ("kind", "data", "told"),
    [
        ("written", {"file": "/data/out/latest.jpg"}, "latest.jpg is there"),
        ("volume", {"bytes_per_hour": 6_640_000_000}, "frames without a limit: 6.6 GB per hour"),
        ("failed", {"file": FILE, "reason": "No space", "errno": 28}, "status.jsonl cannot be written: No space"),
        ("recovered", {"file": FILE, "dropped": 3}, "status.jsonl can be written again; 3 lines were lost so far"),
        ("recovered", {"file": FILE, "failed": 3}, "status.jsonl can be written again; 3 frames were lost so far"),
        (
            "repaired",
            {"file": FILE, "cut_bytes": 9},
            "status.jsonl ended in a line without its end: 9 bytes of it were cut off",
        ),
        ("rotated", {"file": FILE}, "status.jsonl was renamed, removed or cut by somebody, and is begun anew"),
        ("lock_conflict", {"file": FILE, "pid": 47}, "status.jsonl is locked by process 47"),
        ("lock_conflict", {"file": FILE, "pid": None}, "status.jsonl is locked by somebody"),
        ("lock_free", {"file": FILE}, "status.jsonl is locked by nobody else any more"),
        ("new", {"more": 1}, "new: {'more': 1}"),
    ],
)
def test_words_of_an_event(kind: str, data: dict[str, Any], told: str) -> None:
    assert event_text(kind, data) == told
