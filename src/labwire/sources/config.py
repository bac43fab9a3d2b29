"""What a rig file says of cameras, and of sources of data."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from labwire.picture import JPEG_QUALITY, PictureFormat
from labwire.strict import Strict

MAX_SIDE_PX = 16384
MAX_FPS = 1000
URL_STARTS = ("rtsp://", "rtsps://", "http://", "https://")
_WHERE_FROM = ("video", "camera", "url", "demo")
PUPIL_TOPICS = ("pupil.", "gaze", "fixations", "blinks", "surfaces.", "head_pose", "annotation", "frame.", "notify.")
"""What Pupil Core publishes and other programs may want; not its log."""
_ONLY_CAMERA = ("width_px", "height_px", "fps", "codec")

Side: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE_PX)]
PicturePolicy: TypeAlias = Literal["block", "drop_new", "drop_old", "conflate"]
"""As `labwire.bounded.Policy`, without ``fail``: a camera has nobody to whom it could fail."""


class CameraConfig(Strict, kw_only=True):
    """One table ``[cameras.NAME]``: a camera, a video or the demo's clip, shown on the bus as ``frame.NAME``."""

    video: str | None = None
    """Path of a video file, or of a folder of images, played at its own pace. One of `video`, `camera`, `url` and
    `demo` must be given."""
    video_times: str | None = None
    """Path of a file with the time of each picture of the video in milliseconds, one a line."""
    url: str | None = None
    """A network camera: rtsp://... or http://... (Motion JPEG). User and password may stand in it."""
    camera: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    """Number of a camera: 0 is /dev/video0."""
    demo: bool = False
    """Play the demo's clip: a slow pan over a real photograph, made at first start."""
    width_px: Side | None = None
    """Width asked of a camera, in pixels; it takes the nearest size it has. Default: the camera's own."""
    height_px: Side | None = None
    """Height asked of a camera, in pixels; goes with `width_px`."""
    fps: Annotated[float, msgspec.Meta(gt=0, le=MAX_FPS)] | None = None
    """Pictures per second asked of a camera. Default: the camera's own."""
    codec: Literal["MJPG", "UYVY", "YUYV"] | None = None
    """What a camera is asked to send. Default: MJPG, which is passed on as it comes."""
    lock_exposure: bool = False
    """Keep a camera's exposure once it has settled, where the camera can: good for vital signs."""
    realtime: bool = True
    """Play a video at its own pace; false: as fast as it is read, with the timestamps it would have had."""
    loop: bool = True
    """Begin a video again at its end; index and timestamps keep rising."""
    format: PictureFormat = "jpeg"
    """Format on the bus until `frame_publishing.set_format` asks for another: jpeg, bgr or gray."""
    jpeg_quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = JPEG_QUALITY
    """Quality of JPEG made here, 1 to 100. JPEG that a camera or a file delivers is passed as it came."""
    queue_depth: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 4
    """Most pictures that wait between the camera and the bus."""
    queue_policy: PicturePolicy = "drop_old"
    """What happens when that many wait: block, drop_new, drop_old or conflate (only the newest waits)."""

    def __post_init__(self) -> None:
        given = [key for key in _WHERE_FROM if getattr(self, key) is not None and getattr(self, key) is not False]
        if len(given) != 1:
            found = f"this one has {' and '.join(given)}" if given else "this one has none"
            some = '`video = "FILE"`, `camera = 0`, `url = "rtsp://..."`, `demo = true`'
            raise ValueError(f"a camera needs exactly one of {some}; {found}")
        if self.url is not None and not self.url.startswith(URL_STARTS):
            raise ValueError(f"url begins with one of {', '.join(URL_STARTS)}")
        if self.video_times is not None and self.video is None:
            raise ValueError("video_times goes with video")
        if self.camera is None and (unused := [key for key in _ONLY_CAMERA if getattr(self, key) is not None]):
            raise ValueError(f"{', '.join(unused)} can only be asked of a camera; a video has its own")
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("width_px and height_px go together: cameras have sizes, not sides")


class SimulatedEyesConfig(Strict, kw_only=True, tag_field="kind", tag="simulated_eyes"):
    """One table ``[sources.NAME]`` with ``kind = "simulated_eyes"``: pupil and gaze data marked as simulated."""

    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=MAX_FPS)] = 120.0
    """Samples per second of each eye."""
    seed: int = 1
    """The same seed gives the same eyes."""
    eyes: tuple[int, ...] = (0, 1)
    """Which eyes: 0 is the right, 1 the left."""
    gaze: bool = True
    """Emit gaze data as well."""

    def __post_init__(self) -> None:
        if not self.eyes or not set(self.eyes) <= {0, 1} or len(set(self.eyes)) != len(self.eyes):
            raise ValueError(f"eyes is [0], [1] or [0, 1], not {list(self.eyes)}")


class PupilConfig(Strict, kw_only=True, tag_field="kind", tag="pupil"):
    """One table ``[sources.NAME]`` with ``kind = "pupil"``: joins Pupil Core, or another rig, here or elsewhere.

    What it publishes appears on this bus, with its times moved to rig time. A lost network is a gap, not an end.
    """

    host: str = "127.0.0.1"
    """Computer that it runs on: its name or address."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 50020
    """Port of its Remote."""
    topics: tuple[str, ...] = PUPIL_TOPICS
    """First bytes of the topics to take over. Commands among its notifications are never taken over."""
    relay: bool = False
    """Pass on R, r, C and c: recordings and calibrations that are started and stopped here are there too."""
    correct_time: bool = True
    """Move times to rig time. False leaves them as they are; the offset is on the bus all the same."""
    frames: Literal["jpeg", "yuv", "bgr", "gray"] | None = None
    """Ask for pictures in this format. Default: leave it to the settings there."""


class LslConfig(Strict, kw_only=True, tag_field="kind", tag="lsl"):
    """One table ``[sources.NAME]`` with ``kind = "lsl"``: a stream of the Lab Streaming Layer, as ``lsl.NAME``.

    The first stream that fits is taken. One that goes away is looked for until it is back.
    """

    stream: str = ""
    """Name of the stream; empty means any."""
    type: str = ""
    """Its content type, as "EEG"; empty means any."""
    source_id: str = ""
    """Its source id; empty means any."""
    max_buffered_s: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 10
    """How much of the stream may wait, in seconds; older samples are dropped."""

    def __post_init__(self) -> None:
        if not (self.stream or self.type or self.source_id):
            raise ValueError("say which stream: one of `stream`, `type` and `source_id` must be given")


SourceConfig: TypeAlias = SimulatedEyesConfig | PupilConfig | LslConfig
"""What may stand in ``[sources.NAME]``: a union by ``kind``."""
