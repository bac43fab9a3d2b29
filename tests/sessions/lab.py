from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labwire.clock import RigClock
from labwire.operations.recordable import Recordable
from labwire.sessions.config import RecorderConfig
from labwire.sessions.record.recording import SessionRecorder, State

PLENTY = 1 << 50


class Lab:
    """A recorder with a disk and a clock that the test controls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free_bytes = PLENTY
        self.events: list[tuple[str, dict[str, object]]] = []
        self.others: dict[str, Recordable] = {}
        self.clock = RigClock.create()
        self.clock.set_now(1000.0)
        self.recorders: list[SessionRecorder] = []

    def recorder(self, **config: Any) -> SessionRecorder:
        recorder = SessionRecorder(
            RecorderConfig(root=str(self.root), **{"sync_s": 0.0, "flush_s": 0.02, **config}),
            self.clock,
            recordables=lambda: self.others,
            rig={"name": "test rig"},
            on_event=lambda kind, data: self.events.append((kind, data)),
            free_bytes=lambda path: self.free_bytes,
        )
        self.recorders.append(recorder)
        return recorder

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def close(self) -> None:
        for recorder in self.recorders:
            if recorder.state is State.RECORDING:
                recorder.stop()
        self.clock.close()


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "session.json").read_text())
