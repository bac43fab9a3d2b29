"""What can be replayed: messages in the order and at the times at which they came."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from labwire.errors import NotFoundError
from labwire.sessions import manifest
from labwire.sessions.log import bus_log
from labwire.sessions.log.log_reader import LogReader, Prefixes
from labwire.sessions.pictures.video_reader import RecordedPictures, videos_of
from labwire.sessions.player import player_format
from labwire.sessions.reading.overview import overview_of
from labwire.sessions.reading.picture_join import PictureJoin
from labwire.sessions.reading.time_axis import TimeAxis


class Timed(NamedTuple):
    """One message and when it is due."""

    time_s: float
    """Seconds since the start of the session."""
    parts: tuple[bytes, ...]


class ReplaySource(ABC):
    """A recording that can be replayed, from any moment.

    Attributes:
        duration_s: How long it is.
        missing_pictures: Pictures that were announced and are in no video, so far.
    """

    duration_s: float
    missing_pictures: int = 0

    @abstractmethod
    def messages(self, from_s: float) -> Iterator[Timed]:
        """Yield the messages from a moment on; their times never go back."""

    @abstractmethod
    def rig_time_s(self, time_s: float) -> float:
        """Return what the rig's clock showed at a moment."""

    @abstractmethod
    def close(self) -> None:
        """Let go of all files."""


def open_source(folder: Path, *, topics: Prefixes = ("",), exclude: Prefixes = ()) -> ReplaySource:
    """Open a session, or a recording that Pupil Player opens.

    Args:
        folder: Of the recording.
        topics: Prefixes of the topics to replay.
        exclude: Prefixes of topics to leave out; they win.

    Raises:
        NotFoundError: It is neither.
        ProtocolError: Its files are damaged, or of a later version.
    """
    if (folder / bus_log.FILE_NAME).is_file() and (folder / manifest.FILE_NAME).is_file():
        return SessionSource(folder, topics, exclude)
    if (folder / player_format.INFO_FILE).is_file():
        from labwire.sessions.replay.player_source import PlayerSource

        return PlayerSource(folder, topics, exclude)
    raise NotFoundError(
        f"{folder} is no recording: it has neither {manifest.FILE_NAME} and {bus_log.FILE_NAME} "
        f"nor {player_format.INFO_FILE}",
        path=str(folder),
    )


class SessionSource(ReplaySource):
    """A session of labwire: byte for byte as it was on the bus, pictures included."""

    def __init__(self, folder: Path, topics: Prefixes, exclude: Prefixes) -> None:
        self._manifest = manifest.read_manifest(folder)
        self._axis = TimeAxis.of(self._manifest)
        self._topics, self._exclude = topics, tuple(prefix.encode() for prefix in exclude)
        self.duration_s = overview_of(folder).duration_s
        self._videos: dict[str, RecordedPictures] = {}
        self._log = LogReader.open(folder)
        try:
            for topic, paths in videos_of(folder, self._manifest):
                self._videos[topic] = RecordedPictures(topic, paths)
        except BaseException:
            self.close()
            raise

    def messages(self, from_s: float) -> Iterator[Timed]:
        """Yield the messages that came from a moment on."""
        join = PictureJoin(self._videos)
        join.seek(from_s)
        start_ns = self._axis.log_time_ns(from_s) if from_s > 0 else 0
        latest_s = from_s
        for message in self._log.messages(prefixes=self._topics, start_ns=start_ns):
            if self._exclude and message.parts[0].startswith(self._exclude):
                continue
            missing = join.missing
            parts = join.complete(message).parts
            self.missing_pictures += join.missing - missing
            latest_s = max(latest_s, self._axis.of_arrival(message.log_time_ns))
            yield Timed(latest_s, parts)

    def rig_time_s(self, time_s: float) -> float:
        """Return what the rig's clock showed at a moment, with what `T` had done to it by then."""
        moment_s = self._manifest.start_monotonic_s + time_s
        offset_s = self._manifest.start_rig_time_s - self._manifest.start_monotonic_s
        for change in self._manifest.clock_changes:
            if change.monotonic_s <= moment_s:
                offset_s = change.offset_after_s
        return moment_s + offset_s

    def close(self) -> None:
        """Let go of all files. Safe to call twice."""
        self._log.close()
        for pictures in self._videos.values():
            pictures.close()
