"""The last line of ``physiology_server``: what came, what was written, and what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labwire.actors.physiology import PhysiologyCounters
    from labwire.file_backend.backend import FileBackendCounters
    from labwire.sources.feed import FeedCounters


def summary(read: FeedCounters, written: FileBackendCounters, measured: PhysiologyCounters) -> tuple[str, str]:
    """Return what there is, and what was lost on the way; the second is empty if nothing was."""
    streams, frames = (written.core_metrics, written.edge_metrics, written.status), written.frames
    losses = {
        "pictures broken": read.malformed + measured.malformed,
        "pictures dropped": read.dropped + measured.dropped,
        "frames not written": frames.dropped + frames.failed + frames.held_back,
        "lines not written": written.lines.dropped + sum(stream.dropped for stream in streams),
        "timestamps raised": written.core_metrics.moved_timestamps + written.edge_metrics.moved_timestamps,
    }
    there = (
        f"{measured.received} pictures, {written.core_metrics.written} core metrics, "
        f"{written.edge_metrics.written} edge metrics, {written.status.written} statuses"
    )
    return there, ", ".join(f"{what}: {count}" for what, count in losses.items() if count)
