"""What ``labwire write`` says to a person."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from labwire.cli.units import size

if TYPE_CHECKING:
    from labwire.images.writer import WriterStatistics

_SHOWN_NUMBERS = 10
_RATE_OVER_S = 2.0
_USUAL_COLUMNS = 80


def told(kind: str, data: dict[str, Any]) -> str:
    """Return an event of a writer in words."""
    source = data.get("source", "")
    match kind:
        case "connected":
            return f"connected to {source}"
        case "connection_lost":
            return f"{source}: {data['reason']}; connecting again"
        case "not_connected":
            then = "given up" if data["retry_in_s"] is None else "trying until it answers"
            return f"{source}: {data['reason']}; {then}"
        case "run_started":
            images = f"{data['images']} images" if data["images"] else "images"
            return f"{_run(data)} from {source}: {images} to {data['folder']}/{data['file_prefix']}_..."
        case "run_refused":
            return f"run {data['run_number']} from {source} is refused: {data['error']}"
        case "run_finished":
            return _finished(data)
        case "image_failed":
            number = "" if data["image_number"] is None else f" {data['image_number']}"
            return f"image{number} from {source} is not stored: {data['error']}"
        case _:
            begin = "" if kind == "files_left" else f"{source}: {kind.replace('_', ' ')}: "
            return f"{begin}{data.get('error', '')}"


def _run(data: dict[str, Any]) -> str:
    socket = f", socket {data['socket_number']}" if data["socket_number"] else ""
    return f"run {data['run_number']} ({data['run_name']}{socket})"


_ENDED = {
    "cancelled": "taken back by the detector",
    "lost": "cut off",
    "stopped": "stopped here",
    "failed": "given up",
}


def _finished(data: dict[str, Any]) -> str:
    files = len(data["files"])
    where = f" in {files} file{'' if files == 1 else 's'}" if files else ""
    rate = ""
    if data["duration_s"] > 0 and data["images"]:
        rate = f", {data['images'] / data['duration_s']:.0f} images/s"
        if data["stored_bytes"]:
            rate += f", {size(data['stored_bytes'] / data['duration_s'])}/s"
    ended = f"; {_ENDED[data['ended']]}" if data["ended"] in _ENDED else ""
    text = f"{_run(data)}: {data['images']} images{where}{rate}{ended}"
    lost = [f"{data[word]} {word}" for word in ("failed", "missing") if data[word]]
    if lost:
        text += f"; {', '.join(lost)}"
    if numbers := data["missing_images"]:
        text += f": {_numbers(numbers, data['missing'] + data['failed'])}"
    if data["error"]:
        text += f"; {data['error']}"
    return text + (f"\n  {data['master_file']}" if data["master_file"] else "")


def _numbers(numbers: Sequence[int], total: int) -> str:
    """Return numbers as ranges: ``3, 7 to 12, ...``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = [f"{first}" if first == last else f"{first} to {last}" for first, last in ranges[:_SHOWN_NUMBERS]]
    more = len(ranges) > _SHOWN_NUMBERS or total > len(numbers)
    return ", ".join(shown) + (", ..." if more else "")


class Line:
    """One line on a terminal that is written again and again.

    Args:
        stream: The terminal; None: nothing is shown.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._shown = False
        self._past: list[tuple[float, int, int]] = []

    def show(self, statistics: Sequence[WriterStatistics]) -> None:
        """Show how fast images come in, how many wait, and how many were lost."""
        if self._stream is None:
            return
        now_s = time.monotonic()
        images = sum(one.images for one in statistics)
        image_bytes = sum(one.image_bytes for one in statistics)
        self._past.append((now_s, images, image_bytes))
        while now_s - self._past[0][0] > _RATE_OVER_S and len(self._past) > 2:
            self._past.pop(0)
        then_s, before, bytes_before = self._past[0]
        passed_s = max(now_s - then_s, 1e-3)
        rate, bytes_rate = (images - before) / passed_s, (image_bytes - bytes_before) / passed_s
        text = f"{rate:.0f} images/s, {size(bytes_rate)}/s, {_standing(statistics)}"
        self._stream.write(f"\r\x1b[K{text[: _columns(self._stream) - 1]}")
        self._stream.flush()
        self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._stream is not None and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False


def _standing(statistics: Sequence[WriterStatistics]) -> str:
    connected, connections = sum(one.connected for one in statistics), sum(one.connections for one in statistics)
    waiting, lag_s = sum(one.waiting_images for one in statistics), max(one.lag_s for one in statistics)
    missing, stray = sum(one.missing for one in statistics), sum(one.stray for one in statistics)
    parts = [
        f"{waiting} waiting",
        f"lag {lag_s * 1e3:.0f} ms",
        f"{sum(one.images for one in statistics)} stored",
        f"{sum(one.failed for one in statistics)} failed",
        f"{missing} missing" if missing else "",
        f"{stray} stray" if stray else "",
        f"{connected} of {connections} connected" if connected < connections else "",
    ]
    return ", ".join(filter(None, parts))


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS
