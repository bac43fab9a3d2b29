"""Read pictures out of the videos of a session: one by number, or the one at a moment; nothing is decoded unasked."""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

from labwire.errors import NotFoundError, ProtocolError
from labwire.picture import check_jpeg, decode_jpeg
from labwire.sessions.manifest import Manifest
from labwire.sessions.pictures import video
from labwire.sessions.pictures.mp4_format import FRAGMENT_HEAD_BYTES, TIME_BASE_HZ, is_ours, walk_fragments
from labwire.sessions.player.timestamps import SUFFIX as TIMESTAMPS_SUFFIX
from labwire.sessions.player.timestamps import read_timestamps

if TYPE_CHECKING:
    from labwire.picture import Pixels


class RecordedPicture(NamedTuple):
    """One picture of a session."""

    number: int
    """In its video, from 0."""
    time_s: float
    """Since the start of the session."""
    timestamp: float
    """As its sender gave it: rig time, seconds."""
    jpeg: bytes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return check_jpeg(self.jpeg)

    def pixels(self, *, gray: bool = False) -> Pixels:
        """Decode it: uint8, (height, width, 3) as blue, green, red, or (height, width) if `gray`."""
        return decode_jpeg(self.jpeg, gray=gray)

    def __repr__(self) -> str:
        return f"<picture {self.number} at {self.time_s:.3f} s, {len(self.jpeg)} bytes>"

    def _repr_jpeg_(self) -> bytes:
        return self.jpeg


class RecordedPictures(Sequence[RecordedPicture]):
    """The pictures of one camera, in order; each is read when it is asked for.

    >>> pictures = session.pictures["world"]  # doctest: +SKIP
    >>> pictures[0].pixels().shape, pictures.at(12.5).number, len(pictures.between(2.0, 3.0))  # doctest: +SKIP

    Args:
        topic: Under which they were on the bus.
        paths: Its videos; a change of size began another one.

    Raises:
        ProtocolError: A video was not written by labwire.
    """

    def __init__(self, topic: str, paths: Sequence[Path]) -> None:
        self.topic = topic
        self._files: list[Any] = []
        self._first: list[int] = []  # number of the first picture of each file
        self._offsets, self._ends, self._pts = array("Q"), array("Q"), array("Q")
        self.timestamps = array("d")
        """Rig time of each picture, seconds."""
        try:
            for path in paths:
                self._add(path)
        except BaseException:
            self.close()
            raise

    def _add(self, path: Path) -> None:
        file = path.open("rb", buffering=0)
        self._files.append(file)
        self._first.append(len(self._pts))
        if not is_ours(file.fileno()):
            raise ProtocolError(f"{path} was not written by labwire: use a video player", path=str(path))
        for fragment, end in walk_fragments(file.fileno()):
            self._offsets.append(fragment.offset)
            self._ends.append(end)
            self._pts.append(fragment.pts)
        missing = len(self._pts) - len(self.timestamps)
        try:
            stamps = read_timestamps(path.with_name(path.stem + TIMESTAMPS_SUFFIX))[:missing]
        except (OSError, ValueError):
            stamps = array("d")
        self.timestamps.extend(stamps)
        self.timestamps.extend(array("d", [float("nan")] * (len(self._pts) - len(self.timestamps))))

    def __len__(self) -> int:
        return len(self._pts)

    @overload
    def __getitem__(self, index: int) -> RecordedPicture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedPicture]: ...
    def __getitem__(self, index: int | slice) -> RecordedPicture | Sequence[RecordedPicture]:
        if isinstance(index, slice):
            return _Slice(self, range(len(self))[index])
        number = range(len(self))[index]
        return RecordedPicture(number, self.time_of(number), self.timestamps[number], self.jpeg(number))

    def jpeg(self, number: int) -> bytes:
        """Read one picture's JPEG."""
        file = self._files[bisect.bisect_right(self._first, number) - 1]
        start = self._offsets[number] + FRAGMENT_HEAD_BYTES
        file.seek(start)
        return file.read(self._ends[number] - start)

    def time_of(self, number: int) -> float:
        """Return when a picture was taken, in seconds since the start of the session."""
        return self._pts[number] / TIME_BASE_HZ

    @property
    def times(self) -> array[float]:
        """When each was taken, in seconds since the start of the session."""
        return array("d", (pts / TIME_BASE_HZ for pts in self._pts))

    def number_at(self, time_s: float) -> int:
        """Return how many pictures were taken before a moment."""
        return bisect.bisect_left(self._pts, max(0, round(time_s * TIME_BASE_HZ)))

    def at(self, time_s: float) -> RecordedPicture:
        """Return the picture nearest to a moment, given in seconds since the start of the session.

        Raises:
            NotFoundError: There is no picture at all.
        """
        if not self._pts:
            raise NotFoundError(f"{self.topic} has no picture")
        behind = min(self.number_at(time_s), len(self) - 1)
        before = max(0, behind - 1)
        nearer = before if time_s - self.time_of(before) < self.time_of(behind) - time_s else behind
        return self[nearer]

    def between(self, from_s: float, to_s: float) -> Sequence[RecordedPicture]:
        """Return the pictures from one moment up to another; each is read when it is looked at."""
        return self[self.number_at(from_s) : self.number_at(to_s)]

    def close(self) -> None:
        """Let go of the files. Safe to call twice."""
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{len(self)} pictures of {self.topic}>"


class _Slice(Sequence[RecordedPicture]):
    def __init__(self, pictures: RecordedPictures, numbers: range) -> None:
        self._pictures, self._numbers = pictures, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> RecordedPicture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedPicture]: ...
    def __getitem__(self, index: int | slice) -> RecordedPicture | Sequence[RecordedPicture]:
        if isinstance(index, slice):
            return _Slice(self._pictures, self._numbers[index])
        return self._pictures[self._numbers[index]]


def videos_of(folder: Path, manifest: Manifest) -> Iterator[tuple[str, list[Path]]]:
    """Yield the topics of pictures in a session, each with its videos that are there.

    What the manifest does not tell, because it was written last before the video began, the names of the files do:
    ``world.mp4`` is ``frame.world``.
    """
    described = manifest.streams.get(video.STREAM)
    topics: dict[str, dict[str, Any]] = described.about.get("topics", {}) if described else {}
    names = {topic: str(about.get("file", "")).removesuffix(".mp4") for topic, about in topics.items()}
    paths = sorted(folder.glob("*.mp4"))
    for path in paths:
        base = _first_piece(path, paths)
        if base == path.stem and base not in names.values():
            names[_topic_of(base)] = base
    for topic, base in names.items():
        pieces = [path for path in paths if _first_piece(path, paths) == base]
        if pieces:
            yield topic, pieces


def _first_piece(path: Path, paths: Sequence[Path]) -> str:
    base, _, number = path.stem.rpartition("_")
    is_piece = len(number) == 3 and number.isdecimal() and path.with_name(f"{base}.mp4") in paths
    return base if is_piece else path.stem


def _topic_of(base: str) -> str:
    return f"frame.eye.{base[3:]}" if base.startswith("eye") and base[3:].isdecimal() else f"frame.{base}"
