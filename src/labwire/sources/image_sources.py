"""From a table of the rig file to a source of detector images."""

from __future__ import annotations

from typing import assert_never

from labwire.sources.detector_config import ImageSourceConfig, ReplayConfig, SimulatedDetectorConfig
from labwire.sources.image_source import ImageSource
from labwire.wire.image_fields import DEFAULT_CHANNEL


def image_source_of(config: ImageSourceConfig, channel: str = DEFAULT_CHANNEL) -> ImageSource:
    """Open a source.

    Args:
        config: Which.
        channel: Name of the channel in START.

    Raises:
        DeviceError: Its file cannot be read.
        NotFoundError: There are no images in it.
        MissingExtraError: A package is not installed.
    """
    match config:
        case SimulatedDetectorConfig():
            from labwire.sources.detector import SimulatedDetector

            return SimulatedDetector(config, channel)
        case ReplayConfig():
            from labwire.sources.replay import ReplayedDetector

            return ReplayedDetector(config, channel)
        case _:
            assert_never(config)
