"""Open a session in Python: tables by topic, pictures by time, images of detectors, marks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

from labwire.errors import NotFoundError
from labwire.sessions.log.log_reader import LogReader
from labwire.sessions.manifest import Manifest, read_manifest
from labwire.sessions.pictures.video_reader import RecordedPictures, videos_of
from labwire.sessions.reading.hdf5_images import RecordedImages, images_in
from labwire.sessions.reading.overview import MarkRow, Overview, marks_of, overview_of
from labwire.sessions.reading.picture_join import PictureJoin
from labwire.sessions.reading.tables import Table, payload_of, times_of
from labwire.sessions.reading.time_axis import TimeAxis
from labwire.sessions.verified_file import read as read_verified


class SessionMessage(NamedTuple):
    """One message of a session."""

    time_s: float
    """When it was measured, in seconds since the start; the same as `arrival_s` where its payload does not tell."""
    arrival_s: float
    """When the recorder got it."""
    topic: str
    payload: dict[Any, Any]
    raw: tuple[bytes, ...]
    """Raw parts behind the payload."""


def open_session(path: str | os.PathLike[str]) -> Session:
    """Open a session: its folder, or any file in it. One that was cut off, or is being recorded, opens as well.

    Raises:
        NotFoundError: It is no session.
        ProtocolError: Its files are of a later version of labwire, or damaged.
    """
    folder = Path(path)
    return Session(folder.parent if folder.is_file() else folder)


class Session:
    """A session that is open for reading; a context manager.

    >>> with labwire.open_session("recordings/pilot/000") as session:  # doctest: +SKIP
    ...     session["pupil.0.3d"].to_pandas()
    ...     session.pictures["frame.world"].at(12.5).pixels()

    What is read is read when it is asked for. Times are seconds since the start of the session, on one axis for
    everything, whatever was done to the clocks meanwhile.

    Args:
        folder: Of the session.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder.absolute()
        self.manifest: Manifest = read_manifest(self.path)
        """The content of ``session.json``."""
        self.axis = TimeAxis.of(self.manifest)
        self._log = LogReader.open(self.path)
        self._opened: list[RecordedPictures | RecordedImages] = []

    @property
    def name(self) -> str:
        """Session name, without the running number."""
        return self.manifest.name

    @property
    def topics(self) -> dict[str, int]:
        """Messages by topic."""
        return dict(sorted(self._log.topics.items()))

    @cached_property
    def overview(self) -> Overview:
        """What is in the session, at a glance."""
        return overview_of(self.path)

    @property
    def duration_s(self) -> float:
        """Seconds from its start to its end."""
        return self.overview.duration_s

    @property
    def verified(self) -> bool:
        """Whether a check has found every file whole, and none has changed since."""
        found = read_verified(self.path)
        return found is not None and found.whole

    def __getitem__(self, topic: str) -> Table:
        if topic not in self.topics:
            raise NotFoundError(f"{self.path} has no topic {topic!r}; it has {', '.join(self.topics)}", topic=topic)
        return Table(self._log, self.axis, topic)

    def __iter__(self) -> Iterator[str]:
        return iter(self.topics)

    def __contains__(self, topic: object) -> bool:
        return topic in self.topics

    def tables(self, prefix: str = "") -> dict[str, Table]:
        """Return the tables of all topics that begin with a prefix."""
        return {topic: self[topic] for topic in self.topics if topic.startswith(prefix)}

    @cached_property
    def marks(self) -> list[MarkRow]:
        """The marks that were put while it was recorded."""
        return list(marks_of(self._log, self.axis))

    @cached_property
    def pictures(self) -> Mapping[str, RecordedPictures]:
        """The pictures of each camera, by topic."""
        found = {topic: RecordedPictures(topic, paths) for topic, paths in videos_of(self.path, self.manifest)}
        self._opened += found.values()
        return found

    @cached_property
    def images(self) -> Mapping[str, RecordedImages]:
        """Stacks of images in HDF5 files of the session, by the file's path in its folder.

        Raises:
            MissingExtraError: h5py is not installed.
        """
        found = images_in(self.path)
        self._opened += found.values()
        return found

    def messages(
        self, *prefixes: str, from_s: float = 0.0, to_s: float = float("inf"), pictures: bool = False
    ) -> Iterator[SessionMessage]:
        """Yield the messages whose payload is a map, in the order in which they came.

        Args:
            prefixes: Of the topics; none means all.
            from_s: Arrival of the first, in seconds since the start.
            to_s: Messages that came from here on are left out.
            pictures: Bring the pictures, which stand in videos, back as raw parts.
        """
        join = PictureJoin(self.pictures if pictures else {})
        join.seek(from_s)
        chosen = self._log.messages(
            prefixes=prefixes or ("",), start_ns=self.axis.log_time_ns(from_s), end_ns=self.axis.log_time_ns(to_s)
        )
        for message in chosen:
            payload = payload_of(message)
            if payload is not None:
                topic, _, *raw = join.complete(message).parts
                times = times_of(message, payload, self.axis)
                yield SessionMessage(*times, topic.decode("utf-8", "backslashreplace"), payload, tuple(raw))

    def close(self) -> None:
        """Let go of all files. Safe to call twice."""
        self._log.close()
        for one in self._opened:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<session {self.name!r} in {self.path}: {self.duration_s:.1f} s, {len(self.topics)} topics>"

    def _repr_html_(self) -> str:
        from labwire.sessions.reading.session_html import session_html

        return session_html(self)
