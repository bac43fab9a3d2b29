"""Where ``physiology_server`` takes its pictures from, by its flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from labwire.cli.server_flags import Value, value_of
from labwire.clock import EpochAnchor

if TYPE_CHECKING:
    from labwire.sources.picture_source import PictureSource


def is_video(given: dict[str, Value]) -> bool:
    """Tell whether a file or folder is asked for, which has an end and a time of its own."""
    path: str | None = value_of(given, "input_video_path")
    return bool(path) and not _is_url(path)


def source_of(given: dict[str, Value], anchor: EpochAnchor) -> PictureSource:
    """Make the source that the flags ask for; it is not opened yet.

    Args:
        given: The flags.
        anchor: Turns moments of capture into microseconds since the epoch.
    """
    from labwire.sources.camera import CameraSource
    from labwire.sources.stream import StreamSource
    from labwire.sources.video import VideoSource

    def flag(name: str) -> Any:
        return value_of(given, name)

    path: str | None = flag("input_video_path")
    if path and _is_url(path):
        return StreamSource(path, anchor=anchor)
    if path:
        times: str | None = flag("input_video_time_path")
        return VideoSource(Path(path).expanduser(), realtime=flag("realtime"), loop=False, times=times, anchor=anchor)
    return CameraSource(
        flag("camera_device_index"),
        width_px=flag("capture_width_px"),
        height_px=flag("capture_height_px"),
        codec=flag("codec"),
        lock_exposure=flag("auto_lock"),
        anchor=anchor,
    )


def _is_url(text: str) -> bool:
    from labwire.sources.stream import SCHEMES

    return urlsplit(text).scheme in SCHEMES
