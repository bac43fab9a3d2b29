"""The pictures of a session as videos: one per topic, written by a thread of its own."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from pathlib import Path

from labwire.bounded import BoundedQueue
from labwire.errors import DeviceError, StateError
from labwire.operations.recordable import SessionStart, StreamCounters, StreamDescription
from labwire.sessions.file_names import FileNames
from labwire.sessions.pictures.picture_message import BadPictureError, PictureMessage, read_picture
from labwire.sessions.pictures.picture_times import PictureTimes
from labwire.sessions.pictures.video_stream import VideoStream, video_name
from labwire.sessions.sink import ClockChange, Counts, LocalRecordable

STREAM = "pictures"
_MAX_STREAMS = 32
_MAX_WAITING = 10_000  # pictures; their bytes are the bound that matters
_STOP_WITHIN_S = 60.0


class PictureVideos(LocalRecordable):
    """Write the pictures of chosen topics as videos.

    What cannot be taken is refused, not lost: the caller then keeps the raw part in the log. Refused are messages that
    are no whole picture, pictures beyond the queue's bound, and raw pictures when nothing is installed to encode them.

    Args:
        names: Base names taken in the session's folder.
        prefixes: Prefixes of picture topics; the rest of the topic names the file.
        queue_bytes: Bytes of pictures that may wait for the disk.
    """

    def __init__(self, names: FileNames, *, prefixes: tuple[bytes, ...], queue_bytes: int) -> None:
        super().__init__()
        self._names = names
        self._prefixes = tuple(sorted(prefixes, key=len, reverse=True))
        self._queue_bytes = queue_bytes
        self._can_encode = importlib.util.find_spec("av") is not None
        self._session: SessionStart | None = None
        self._streams: dict[bytes, VideoStream] = {}
        self._waiting = self._make_queue()
        self._thread: threading.Thread | None = None
        self.failure: OSError | None = None
        """Why the videos ended early: the disk is full or fails."""

    def prepare(self, session: SessionStart) -> StreamDescription:
        """Get ready; a file appears with the first picture of its topic."""
        if self._session is not None:
            raise StateError("the videos are open already")
        self._session, self._streams, self._counts = session, {}, Counts()
        self._times = PictureTimes(session.start_rig_time_s, session.start_monotonic_s)
        self._offset_at_start_s = session.start_rig_time_s - session.start_monotonic_s
        self._waiting, self.failure = self._make_queue(), None
        return self.describe()

    def _make_queue(self) -> BoundedQueue[PictureMessage]:
        return BoundedQueue(
            _MAX_WAITING, "drop_new", depth_bytes=self._queue_bytes, size_of=lambda picture: len(picture.data)
        )

    def start(self) -> None:
        """Take pictures from now on."""
        if self._session is None or self._thread is not None:
            raise StateError("the videos are not prepared, or started already")
        self._thread = threading.Thread(target=self._run, name="labwire-pictures", daemon=True)
        self._thread.start()

    def is_picture(self, topic: bytes) -> bool:
        """Tell whether a topic's pictures are to become a video."""
        return topic.startswith(self._prefixes)

    def take(self, parts: Sequence[bytes], monotonic_s: float) -> PictureMessage | None:
        """Take the picture of a message; None if it must stay in the log.

        Only the recorder's writer thread may call this.
        """
        self._counts.received += 1
        try:
            picture = read_picture(parts, monotonic_s)
        except BadPictureError as error:
            self._counts.malformed += 1
            self.reasons["malformed"] = f"{parts[0][:80]!r}: {error}; it stays in the log"
            return None
        if reason := self._refuse(picture) or self._enqueue(picture):
            self._counts.dropped += 1
            self.reasons["dropped"] = f"{picture.topic[:80]!r}: {reason}; it stays in the log"
            return None
        return picture

    def _enqueue(self, picture: PictureMessage) -> str:
        return "" if self._waiting.put(picture) else f"{self._queue_bytes} bytes of pictures wait for the disk already"

    def _refuse(self, picture: PictureMessage) -> str:
        """Return why a picture cannot be taken; empty if it can."""
        if self._thread is None or self._session is None or self.failure is not None:
            return "the videos are closed"
        if picture.format != "jpeg" and not self._can_encode:
            return "raw pictures need PyAV to become a video: pip install 'labwire[record]'"
        stream = self._streams.get(picture.topic)
        if stream is None:
            if len(self._streams) >= _MAX_STREAMS:
                return f"more than {_MAX_STREAMS} topics with pictures"
            name = video_name(picture.topic, self._prefixes, self._names)
            stream = VideoStream(Path(self._session.path), name, self._names, self._times)
            self._streams[picture.topic] = stream
        return stream.refuse(picture)

    def change_clock(self, change: ClockChange) -> None:
        """Learn of a jump of rig time, so that the videos do not jump with it."""
        self._times.add_shift(change.offset_after_s - self._offset_at_start_s)

    def _run(self) -> None:
        for picture in self._waiting:
            self._write(picture)

    def _write(self, picture: PictureMessage) -> None:
        try:
            if self.failure is not None:
                raise self.failure
            self._counts.written_bytes += self._streams[picture.topic].write(picture)
            self._counts.written += 1
        except Exception as error:  # one picture that cannot be encoded must not end the thread
            self._counts.dropped += 1
            self.reasons["dropped"] = f"{picture.topic[:80]!r}: {error}"
            if isinstance(error, OSError):
                self.failure = error

    def stop(self) -> StreamCounters:
        """Write what waits and close the files.

        Raises:
            DeviceError: The disk takes no more, or not in time; the session has to be repaired.
        """
        thread, self._thread = self._thread, None
        self._waiting.close()
        if thread is not None:
            thread.join(_STOP_WITHIN_S)
            if thread.is_alive():
                raise DeviceError(
                    f"the videos could not be written within {_STOP_WITHIN_S:g} s: the disk does not answer"
                )
        self._session = None
        self._close_files()
        return self.counters()

    def _close_files(self) -> None:
        errors: list[str] = []
        for stream in self._streams.values():
            try:
                stream.close()
            except OSError as error:
                errors.append(f"{stream.name}: {error.strerror}")
        if errors:
            raise DeviceError(f"videos could not be closed, repair the session once there is room: {'; '.join(errors)}")

    def describe(self) -> StreamDescription:
        """Tell what is written and where."""
        streams = dict(self._streams)
        files = [name for stream in streams.values() for name in stream.files]
        about = {topic.decode("utf-8", "backslashreplace"): stream.about() for topic, stream in streams.items()}
        return StreamDescription(STREAM, files, about={"format": "fragmented MP4, JPEG", "topics": about})
