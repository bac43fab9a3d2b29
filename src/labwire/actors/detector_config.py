"""One table ``[detectors.NAME]`` of a rig file: where images come from, and where they go."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from labwire.images.stream_config import MessageConfig, MetadataConfig, PreviewConfig, PusherConfig, TcpStreamConfig
from labwire.sources.detector_config import ReplayConfig, SimulatedDetectorConfig
from labwire.strict import Strict


class CameraImagesConfig(Strict, tag_field="kind", tag="camera"):
    """The pictures of a camera of the rig, in gray, as images."""

    camera: str
    """Name of the camera: the table `[cameras.NAME]`."""


DetectorSourceConfig: TypeAlias = SimulatedDetectorConfig | ReplayConfig | CameraImagesConfig
"""What may stand in ``[detectors.NAME.source]``: a union by ``kind``."""


class DetectorConfig(Strict, kw_only=True):
    """One table ``[detectors.NAME]``: a detector that streams its images to writers."""

    source: DetectorSourceConfig = SimulatedDetectorConfig()
    """Where the images come from."""
    stream: PusherConfig = TcpStreamConfig()
    """Where the images go."""
    preview: PreviewConfig | None = None
    """The preview stream; not set: none."""
    metadata: MetadataConfig | None = None
    """The metadata stream; not set: none."""
    messages: MessageConfig = MessageConfig()
    """How messages are written."""
    broker: str | None = None
    """A broker's JSON file that says where images go, instead of `stream`, `preview` and `metadata`."""
    images: Annotated[int, msgspec.Meta(ge=0, le=1 << 32)] = 100
    """Images of a run, unless its start says otherwise."""
    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    """Images per second; not set: as fast as they are taken, or as the camera gives them."""
    file_prefix: str = ""
    """Folder and beginning of the names of the files; empty: runs are shown, not stored, unless their start names
    one."""
    images_per_file: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Images of each file, and so how they are split between writers; not set: all in one."""
    run_on_record: bool = False
    """Start a run with each session that is recorded, named as the session, and end it with the session."""
