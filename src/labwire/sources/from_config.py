"""From a table of the rig file to a source that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labwire.clock import EpochAnchor
from labwire.errors import ConfigError
from labwire.sources.camera import CameraSource
from labwire.sources.config import CameraConfig
from labwire.sources.demo_clip import demo_clip
from labwire.sources.feed import PictureFeed
from labwire.sources.picture_source import PictureSource
from labwire.sources.stream import StreamSource
from labwire.sources.video import VideoSource


def picture_source_of(
    config: CameraConfig,
    *,
    anchor: EpochAnchor | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> PictureSource:
    """Make the source that a table ``[cameras.NAME]`` asks for; it is not opened yet.

    Args:
        config: The table.
        anchor: Turns moments of capture into microseconds since the epoch.
        on_progress: Called with 0 to 1 while the demo's clip is made, which takes a few seconds at first start.

    Raises:
        MissingExtraError: What the demo's clip is made with is not installed.
        DeviceError: The demo's clip cannot be written.
    """
    if config.camera is not None:
        return CameraSource(
            config.camera,
            width_px=config.width_px,
            height_px=config.height_px,
            fps=config.fps,
            codec=config.codec or "MJPG",
            lock_exposure=config.lock_exposure,
            anchor=anchor,
        )
    if config.url is not None:
        return StreamSource(config.url, anchor=anchor)
    path = demo_clip(on_progress) if config.demo else config.video
    if path is None:
        raise ConfigError("a camera needs one of video, camera, url and demo")
    return VideoSource(path, realtime=config.realtime, loop=config.loop, times=config.video_times, anchor=anchor)


def picture_feed_of(
    config: CameraConfig,
    source: PictureSource,
    on_event: Callable[[str, dict[str, Any]], None] | None = None,
) -> PictureFeed:
    """Make the feed that a table ``[cameras.NAME]`` asks for; it is not started yet. See `PictureFeed`."""
    return PictureFeed(
        source,
        depth=config.queue_depth,
        policy=config.queue_policy,
        format=config.format,
        quality=config.jpeg_quality,
        once=isinstance(source, VideoSource) and not config.loop,
        on_event=on_event,
    )
