"""The line that shows at a terminal what is measured at the moment."""

from __future__ import annotations

import shutil
import sys
import threading
from collections import deque
from pathlib import Path

from labwire.vitals.metrics import CoreMetrics, Measure, VitalsEvent

_OLD_US = 3_000_000
_RATE_FROM = 40  # pictures
_CLEAR = "\r\x1b[K"


class VitalsLine:
    """Collects what the line shows; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._core: CoreMetrics | None = None
        self._status = "starting"
        self._now_us = 0
        self._times_us: deque[int] = deque(maxlen=_RATE_FROM)

    def take(self, event: VitalsEvent) -> None:
        """Take what is measured."""
        if isinstance(event, CoreMetrics):
            with self._lock:
                self._core = event

    def take_status(self, message: str) -> None:
        """Take the newest status."""
        with self._lock:
            self._status = message

    def count(self, epoch_us: int) -> None:
        """Take it that a picture of this time came."""
        with self._lock:
            self._times_us.append(epoch_us)
            self._now_us = epoch_us

    def text(self) -> str:
        """Return the line."""
        with self._lock:
            core = self._core
            if core is not None and self._now_us - core.timestamp_us > _OLD_US:
                core = None  # a value that is not renewed holds no more
            parts = [
                f"pulse {_shown(core and core.pulse, 'bpm')}",
                f"breathing {_shown(core and core.breathing, '/min')}",
                f"{self._fps():.0f} fps",
            ]
            status = self._status
        return "  " + " │ ".join([*parts, self._disk(), status])  # its hint ends where the terminal does

    def _fps(self) -> float:
        times_us = self._times_us
        span_us = times_us[-1] - times_us[0] if times_us else 0
        return (len(times_us) - 1) * 1e6 / span_us if span_us else 0.0

    def _disk(self) -> str:
        try:
            return f"disk {shutil.disk_usage(self._folder).free / 1e9:.0f} GB"
        except OSError:
            return "disk ?"


def show_line(text: str) -> None:
    """Show the line on standard error, in the place of the one before; an empty text removes it."""
    width = shutil.get_terminal_size().columns
    sys.stderr.write(f"{_CLEAR}{text[: width - 1]}")
    sys.stderr.flush()


def _shown(measure: Measure | None, unit: str) -> str:
    return "—" if measure is None else f"{measure.value:.1f} {unit} ({measure.confidence:.2f})"
