"""Replay a recording that Pupil Player opens: Pupil Core's own, or any other in that format.

Source: the recordings of Pupil Core: data in ``.pldata``, videos with a timestamp for each picture, both in Pupil time.
When a message came was not recorded, so each is due at its timestamp.
"""

from __future__ import annotations

import heapq
import json
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from labwire.errors import ProtocolError
from labwire.sessions.log.log_reader import Prefixes
from labwire.sessions.player.player_format import INFO_FILE
from labwire.sessions.player.pldata import read_records
from labwire.sessions.player.timestamps import SUFFIX, read_timestamps
from labwire.sessions.replay.player_video import pictures_from
from labwire.sessions.replay.replay_source import ReplaySource, Timed

_VIDEO = re.compile(r"(world|eye[01])(?:_\d+)?\.mp4")
_TOPICS = {"world": "frame.world", "eye0": "frame.eye.0", "eye1": "frame.eye.1"}
_NESTED_MAP = 13
"""MessagePack extension of maps within a datum. Source: Pupil Core packs them so in files, never on the bus."""


class PlayerSource(ReplaySource):
    """A recording in Pupil Player's format.

    Args:
        folder: Of the recording.
        topics: Prefixes of the topics to replay.
        exclude: Prefixes of topics to leave out; they win.

    Raises:
        ProtocolError: Its ``info.player.json`` cannot be read.
    """

    def __init__(self, folder: Path, topics: Prefixes, exclude: Prefixes) -> None:
        self._folder = folder
        self._topics, self._exclude = tuple(topics), tuple(exclude)
        try:
            info = json.loads((folder / INFO_FILE).read_bytes())
            self._start_s, self.duration_s = float(info["start_time_synced_s"]), float(info["duration_s"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"{folder / INFO_FILE} cannot be read: {error}", path=str(folder)) from error
        for path in folder.glob(f"*{SUFFIX}"):
            with suppress(ValueError, OSError, IndexError):
                stamps = read_timestamps(path)
                if len(stamps):
                    self.duration_s = max(self.duration_s, max(stamps) - self._start_s)

    def messages(self, from_s: float) -> Iterator[Timed]:
        """Yield data and pictures from a moment on, in the order of their timestamps.

        From the beginning, those stamped earlier than the start are among them, too.
        """
        parts = [
            *(self._data(path, from_s) for path in sorted(self._folder.glob("*.pldata"))),
            *(self._pictures(path, from_s) for path in sorted(self._folder.glob("*.mp4")) if self._is_wanted(path)),
        ]
        latest_s = from_s
        for time_s, message in heapq.merge(*parts, key=lambda timed: timed.time_s):
            latest_s = max(latest_s, time_s)
            yield Timed(latest_s, message)

    def rig_time_s(self, time_s: float) -> float:
        """Return what Pupil time was at a moment."""
        return self._start_s + time_s

    def close(self) -> None:
        """Do nothing: files are open only while they are read."""

    def _selects(self, topic: str) -> bool:
        return topic.startswith(self._topics) and not (self._exclude and topic.startswith(self._exclude))

    def _is_wanted(self, path: Path) -> bool:
        match = _VIDEO.fullmatch(path.name)
        return match is not None and self._selects(_TOPICS[match[1]])

    def _data(self, path: Path, from_s: float) -> Iterator[Timed]:
        if not path.stat().st_size:
            return
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for record in read_records(data):
                time_s = record.timestamp - self._start_s
                topic = data[record.topic_at : record.topic_at + record.topic_bytes]
                if (from_s <= 0 or time_s >= from_s) and self._selects(topic.decode("utf-8", "replace")):
                    yield Timed(time_s, (topic, _as_on_the_bus(data[record.payload_at : record.end])))

    def _pictures(self, path: Path, from_s: float) -> Iterator[Timed]:
        match = _VIDEO.fullmatch(path.name)
        assert match
        topic = _TOPICS[match[1]]
        try:
            stamps = read_timestamps(path.with_name(path.stem + SUFFIX))
        except (OSError, ValueError):
            return  # without timestamps nobody can say when a picture is due
        late = (number for number, stamp in enumerate(stamps) if from_s <= 0 or stamp - self._start_s >= from_s)
        first = next(late, len(stamps))
        for number, jpeg, width, height in pictures_from(path, first):
            if number >= len(stamps):
                return
            payload = {
                "topic": topic,
                "width": width,
                "height": height,
                "index": number,
                "timestamp": stamps[number],
                "format": "jpeg",
            }
            yield Timed(stamps[number] - self._start_s, (topic.encode(), msgspec.msgpack.encode(payload), jpeg))


def _as_on_the_bus(payload: bytes) -> bytes:
    """Return a datum as it was on the bus: maps that were packed by themselves are put in their places again."""
    found = False

    def unpack(code: int, data: memoryview) -> Any:
        nonlocal found
        if code != _NESTED_MAP:
            return msgspec.msgpack.Ext(code, bytes(data))
        found = True
        return msgspec.msgpack.decode(data, ext_hook=unpack)

    try:
        datum = msgspec.msgpack.decode(payload, ext_hook=unpack)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return payload
    return msgspec.msgpack.encode(datum) if found else payload
