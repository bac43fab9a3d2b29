"""The pictures of a video file, once from start to end; no pace, no loop."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self, TypeAlias, cast

from labwire.errors import DeviceError, LabwireError, needs_extra
from labwire.picture import PictureFormat, check_jpeg, picture_of
from labwire.sources.picture_source import SourceDescription

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from labwire.picture import Pixels

    VideoPacket: TypeAlias = Packet[VideoStream]

_TEXT_CODECS = frozenset({"ansi", "bintext", "xbin", "idf"})  # ffmpeg plays any .txt as the screen of a terminal
_DEFAULT_FPS = Fraction(25)  # for files that do not tell; ffmpeg's own default


class FilePicture(NamedTuple):
    """One picture of a video file."""

    media_s: float
    """Its time in seconds, counted from the first picture; always above that of the one before."""
    width: int
    height: int
    format: PictureFormat
    data: bytes | memoryview
    epoch_us: int | None = None
    """Its moment of capture in microseconds since 1970, where the file knows it."""


class VideoFile:
    """The pictures of a video file, in order.

    >>> with VideoFile(Path("clip.mp4")) as file:  # doctest: +SKIP
    ...     for picture in file:
    ...         print(picture.media_s)

    Motion JPEG is passed on as it stands in the file; other codecs are decoded to bgr. What is broken is counted and
    left out.

    Raises:
        DeviceError: There is no such file, it is no video, or it has not one picture.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: Path) -> None:
        with needs_extra("camera"):
            from av.error import FFmpegError
        self._ffmpeg_error: type[Exception] = FFmpegError
        self._path = path
        self.malformed = 0
        """Pictures that could not be read, so far."""
        self._first_s: float | None = None
        self._last_s: float | None = None
        with ExitStack() as on_error:
            self._container = _opened(path)
            on_error.callback(self._container.close)
            self._stream = self._video_stream()
            self._walk = self._pictures()
            self._ahead = next(self._walk, None)
            if self._ahead is None:
                raise DeviceError(
                    f"{path} has no picture that can be read ({self.malformed} are broken); is the file whole?",
                    path=str(path),
                )
            self.description = self._describe(self._ahead)
            on_error.pop_all()

    @property
    def frame_s(self) -> float:
        """Time from a picture to the next as the file's rate has it, in seconds."""
        return float(1 / (self._stream.average_rate or self._stream.guessed_rate or _DEFAULT_FPS))

    def __iter__(self) -> Iterator[FilePicture]:
        return self

    def __next__(self) -> FilePicture:
        taken, self._ahead = self._ahead, None
        return taken or next(self._walk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        self._walk.close()
        self._container.close()

    def _video_stream(self) -> VideoStream:
        stream = next(iter(self._container.streams.video), None)
        if stream is None or stream.codec_context.name in _TEXT_CODECS:
            raise DeviceError(
                f"{self._path} holds no video; give a video file (mp4, mkv, avi, ...)", path=str(self._path)
            )
        stream.thread_type = "AUTO"
        return stream

    def _describe(self, first: FilePicture) -> SourceDescription:
        return SourceDescription(
            kind="video",
            name=str(self._path),
            width=first.width,
            height=first.height,
            fps=1 / self.frame_s,
            codec=self._stream.codec_context.name,
            as_it_came=first.format == "jpeg",
        )

    def _pictures(self) -> Generator[FilePicture]:
        as_it_came = None if self._stream.codec_context.name == "mjpeg" else False
        packets = self._container.demux(self._stream)
        while (packet := self._next_of(packets)) is not None:
            if as_it_came is None and packet.size:
                as_it_came = _is_jpeg(bytes(packet))  # some call their own variants of it Motion JPEG
            if not as_it_came:
                yield from self._decoded(packet)
            elif packet.size and (taken := self._passed_on(packet)):
                yield taken

    def _next_of(self, packets: Iterator[VideoPacket]) -> VideoPacket | None:
        try:
            return next(packets, None)
        except self._ffmpeg_error:
            self.malformed += 1  # the file is cut off here
            return None

    def _passed_on(self, packet: VideoPacket) -> FilePicture | None:
        data = bytes(packet)
        try:
            width, height = check_jpeg(data)
        except LabwireError:
            self.malformed += 1
            return None
        return FilePicture(self._rising(packet.pts, packet.time_base), width, height, "jpeg", data)

    def _decoded(self, packet: VideoPacket) -> Iterator[FilePicture]:
        try:
            frames = packet.decode()
        except self._ffmpeg_error:
            self.malformed += 1
            return
        for frame in frames:
            made = picture_of(cast("Pixels", frame.to_ndarray(format="bgr24")), index=0, monotonic_s=0, epoch_us=0)
            yield FilePicture(self._rising(frame.pts, frame.time_base), made.width, made.height, made.format, made.data)

    def _rising(self, pts: int | None, time_base: Fraction | None) -> float:
        # Files without timestamps, or with some that go back, get the time that their rate says.
        by_rate = 0.0 if self._last_s is None else self._last_s + self.frame_s
        if pts is None or time_base is None:
            media_s = by_rate
        else:
            at_s = float(pts * time_base)
            if self._first_s is None:
                self._first_s = at_s
            media_s = at_s - self._first_s
            if self._last_s is not None and media_s <= self._last_s:
                media_s = by_rate
        self._last_s = media_s
        return media_s


def _opened(path: Path) -> InputContainer:
    import av
    from av.error import FFmpegError

    if not path.exists():
        raise DeviceError(f"there is no file {path} (seen from {Path.cwd()})", path=str(path))
    if not path.is_file():
        raise DeviceError(f"{path} is not a file; give the path of a video file, or of a folder", path=str(path))
    try:
        return av.open(str(path))
    except (FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DeviceError(
            f"{path} cannot be read as a video ({reason}); give a video file (mp4, mkv, avi, ...)", path=str(path)
        ) from error


def _is_jpeg(data: bytes) -> bool:
    try:
        check_jpeg(data)
    except LabwireError:
        return False
    return True
