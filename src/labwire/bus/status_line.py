"""The one line that shows a rig at work: rates, drops, what is being recorded, how long the disk lasts."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import PurePath
from typing import Any

from labwire.operations.bus import BusStats

_SHOWN_GROUPS = 5
_HIDDEN = ("bus.", "camera.", "notify.", "logging.", "recorder.", "delayed_notify.")


class StatusLine:
    """Collects what the line shows, from statistics and notifications."""

    def __init__(self) -> None:
        self.recorder: dict[Any, Any] = {}
        """Newest ``recorder.state``."""
        self._recording = ""

    def notice(self, notification: dict[Any, Any]) -> None:
        """Take a notification that changes what is shown."""
        if notification["subject"] == "recording.started":
            path = PurePath(str(notification.get("rec_path", "")))
            self._recording = "/".join(path.parts[-2:])
        elif notification["subject"] in {"recording.stopped", "recording.failed"}:
            self._recording = ""

    def text(self, stats: BusStats) -> str:
        """Return the line."""
        groups: dict[str, float] = defaultdict(float)
        for row in stats.topics:
            if row.messages_hz and not row.topic.startswith(_HIDDEN):
                groups[_group(row.topic)] += row.messages_hz
        busiest = sorted(groups.items(), key=lambda item: -item[1])[:_SHOWN_GROUPS]
        rates = " · ".join(f"{name} {rate:.0f}/s" for name, rate in busiest) or "quiet"
        missed = sum(gap.missed for gap in stats.gaps)
        losses = [f"missed {missed}", f"cut {stats.slow_subscribers_cut}"]
        traffic = [rates, f"{stats.bytes_hz / 1e6:.1f} MB/s"]
        session = self._recording_and_disk()
        # What matters most comes first: a narrow terminal cuts the end.
        return "  " + " │ ".join([*session, *losses, *traffic] if self._recording else [*traffic, *losses, *session])

    def _recording_and_disk(self) -> list[str]:
        state, parts = self.recorder, list[str]()
        if self._recording:
            duration_s = _number(state.get("duration_s"))
            dropped = int(_number(state.get("dropped")))
            drops = f", {dropped} DROPPED" if dropped else ""
            clock = f"{int(duration_s // 60)}:{int(duration_s % 60):02d}"
            parts.append(f"● {self._recording} {clock}, {_number(state.get('written_bytes')) / 1e6:.0f} MB{drops}")
        if free_bytes := _number(state.get("free_bytes")):
            hours = _number(state.get("disk_hours"))
            parts.append(f"disk {free_bytes / 1e9:.0f} GB" + (f" = {hours:.0f} h" if hours else ""))
        return parts


def _group(topic: str) -> str:
    first, _, rest = topic.partition(".")
    return rest if first == "frame" and rest else first


def _number(value: object) -> float:
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
    return number if math.isfinite(number) else 0.0
