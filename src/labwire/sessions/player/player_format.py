"""The view of a session that Pupil Player opens: ``.pldata`` files and ``info.player.json``.

Its rules, each measured on the real Player: only data with a numeric ``timestamp`` may stand in a ``.pldata`` file (one
without makes the file unreadable when the timestamps are missing); ``_timestamps.npy`` of data must agree with it in
length, so it appears at stop only; ``info.player.json`` stands there from the first second. Without ``.npy`` the Player
takes the timestamps from the data, so a killed session opens even before it is repaired.
"""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path

from labwire.errors import DeviceError, StateError
from labwire.operations.recordable import SessionStart, StreamCounters, StreamDescription
from labwire.sessions.file_names import VIDEO_NAMES, FileNames
from labwire.sessions.files import append_whole, replace_file
from labwire.sessions.player.pldata import encode_record_head, encode_topic
from labwire.sessions.player.pldata_repair import repair_pldata
from labwire.sessions.player.timestamps import SUFFIX as TIMESTAMPS_SUFFIX
from labwire.sessions.player.timestamps import TimestampFile
from labwire.sessions.sink import Counts, Received, Sink
from labwire.version import __version__

STREAM = "player"
INFO_FILE = "info.player.json"
USER_FILE = "user_info.csv"
ALWAYS_THERE = "notify"
"""The Player reads notify.pldata without asking whether it exists."""

# Whose conventions the folder follows; a reader may look at this before it looks at the data. Who wrote it really
# stands in system_info.
_SOFTWARE, _SOFTWARE_VERSION = "Pupil Capture", "3.5.1"
_META_VERSION, _MIN_PLAYER_VERSION = "2.3", "2.0"

_MAX_FILES = 64  # each takes two descriptors; a rig has about ten first topic parts
_MAX_TOPICS = 10_000


def encode_info(session: SessionStart, duration_s: float) -> bytes:
    """Encode ``info.player.json``; times are floats even when they are whole, as the Player demands."""
    info = {
        "meta_version": _META_VERSION,
        "min_player_version": _MIN_PLAYER_VERSION,
        "recording_uuid": session.uuid,
        "start_time_system_s": float(session.start_epoch_us) / 1e6,
        "start_time_synced_s": float(session.start_rig_time_s),
        "duration_s": float(duration_s),
        "recording_software_name": _SOFTWARE,
        "recording_software_version": _SOFTWARE_VERSION,
        "recording_name": session.name,
        "system_info": f"labwire {__version__}, {platform.platform(terse=True)}",
    }
    return json.dumps(info, sort_keys=True, indent=4).encode()


def recorded_duration_s(path: Path) -> float | None:
    """Return the duration that an ``info.player.json`` tells; None if it is missing or broken."""
    try:
        info: object = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    duration_s: object = info.get("duration_s") if isinstance(info, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return duration_s if isinstance(duration_s, float) else None


class PldataFile:
    """One ``.pldata`` file and the timestamps that will stand beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.pldata"
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        try:
            self._timestamps = TimestampFile(folder / f"{name}{TIMESTAMPS_SUFFIX}", ready=False)
        except OSError:
            os.close(self._fd)
            raise
        self._waiting = bytearray()
        self._end = 0
        self.count = 0
        """Data taken so far."""

    def append(self, topic: bytes, payload: bytes, timestamp: float) -> None:
        """Take one datum.

        Args:
            topic: Encoded by `encode_topic`.
            payload: MessagePack of the datum.
            timestamp: Its timestamp, in seconds.
        """
        waiting = self._waiting
        waiting += topic
        waiting += encode_record_head(len(payload))
        waiting += payload
        self._timestamps.append(timestamp)
        self.count += 1

    def flush(self) -> int:
        """Hand everything to the operating system; return the bytes of data."""
        size = len(self._waiting)
        if size:
            self._end = append_whole(self._fd, self._waiting, self._end)
            self._waiting.clear()
            self._timestamps.flush()
        return size

    def close(self) -> None:
        """Flush, close, and let the timestamps appear."""
        try:
            self.flush()
            self._timestamps.close()
        except OSError:
            self._timestamps.abandon()
            raise
        finally:
            os.close(self._fd)


class PlayerFolder(Sink):
    """Write the Player's view of a session.

    Args:
        names: Base names taken in the session's folder.
        pictures: Prefixes of picture topics; a picture is no datum.
    """

    def __init__(self, names: FileNames, *, pictures: tuple[bytes, ...] = (b"frame.",)) -> None:
        super().__init__()
        self._names = names
        self._pictures = pictures
        self._session: SessionStart | None = None
        self._files: dict[str, PldataFile] = {}
        self._file_names: list[str] = []
        self._topics: dict[bytes, tuple[PldataFile, bytes] | None] = {}
        self._running = False

    def prepare(self, session: SessionStart) -> StreamDescription:
        """Write ``info.player.json`` and ``user_info.csv``, and open ``notify.pldata``."""
        if self._session is not None:
            raise StateError("the Player folder is open already")
        folder = Path(session.path)
        try:
            replace_file(folder / INFO_FILE, encode_info(session, 0.0))
            name = session.name.replace("\\", "\\\\").replace(",", "\\,")
            replace_file(folder / USER_FILE, f"name,{name}\n".encode("utf-8", "backslashreplace"))
            self._files, self._file_names = {}, [INFO_FILE, USER_FILE]
            self._add_file(folder, ALWAYS_THERE)
        except OSError as error:
            raise DeviceError(f"cannot write the Player's files in {folder}: {error.strerror}") from error
        self._session, self._topics, self._counts = session, {}, Counts()
        return self.describe()

    def start(self) -> None:
        """Take messages from now on."""
        if self._session is None:
            raise StateError("the Player folder is not prepared")
        self._running = True

    def append(self, message: Received) -> None:
        """Take a message if it is a datum: a MessagePack map with a finite timestamp, not a picture."""
        header = message.header
        if not self._running or header is None or header.timestamp is None or not math.isfinite(header.timestamp):
            return
        topic = message.parts[0]
        try:
            file = self._topics[topic]
        except KeyError:
            file = self._find_file(topic)
        if file is None:
            return
        self._counts.received += 1
        file[0].append(file[1], message.parts[1], header.timestamp)
        self._counts.written += 1

    def _find_file(self, topic: bytes) -> tuple[PldataFile, bytes] | None:
        """Return the topic's file and encoded topic; None if the Player's format has no place for it."""
        found: tuple[PldataFile, bytes] | None = None
        if not topic.startswith(self._pictures) and self._session is not None:
            try:
                first_part = topic.decode().partition(".")[0]
            except UnicodeDecodeError:
                first_part = None
                self._counts.malformed += 1
                self.reasons["malformed"] = f"topic {topic[:80]!r} is not UTF-8: it stands in the log only"
            if first_part is not None and (file := self._open_file(first_part)):
                found = file, encode_topic(topic)
        if len(self._topics) < _MAX_TOPICS:
            self._topics[topic] = found
        return found

    def _open_file(self, first_part: str) -> PldataFile | None:
        file = self._files.get(first_part)
        if file is None and self._session is not None:
            if len(self._files) >= _MAX_FILES:
                self._counts.dropped += 1
                self.reasons["dropped"] = (
                    f"more than {_MAX_FILES} kinds of data: {first_part[:40]!r} is in the log only"
                )
                return None
            file = self._add_file(Path(self._session.path), first_part)
        return file

    def _add_file(self, folder: Path, first_part: str) -> PldataFile:
        file = PldataFile(folder, self._names.claim(first_part, reserved=VIDEO_NAMES))
        self._files[first_part] = file
        self._file_names.append(file.path.name)
        return file

    def flush(self) -> None:
        """Hand everything to the operating system."""
        for file in self._files.values():
            self._counts.written_bytes += file.flush()

    def write_duration(self, duration_s: float) -> None:
        """Bring ``info.player.json`` up to date."""
        if self._session is not None:
            replace_file(Path(self._session.path, INFO_FILE), encode_info(self._session, duration_s))

    def stop(self) -> StreamCounters:
        """Close the files and let their timestamps appear; a file that cannot be closed is mended.

        Raises:
            DeviceError: The disk takes no more; the session has to be repaired once there is room.
        """
        self._running, self._session = False, None
        files, self._files, self._topics = list(self._files.values()), {}, {}
        errors: list[str] = []
        for file in files:
            try:
                lost = _close(file)
            except OSError as error:
                errors.append(f"{file.path.name}: {error.strerror}")
            else:
                self._counts.written -= lost
                self._counts.dropped += lost
        if errors:
            raise DeviceError(f"cannot finish, repair the session once there is room: {'; '.join(errors)}")
        return self.counters()

    def describe(self) -> StreamDescription:
        """Tell what is written and where."""
        return StreamDescription(STREAM, list(self._file_names), about={"format": f"Pupil Player {_META_VERSION}"})


def _close(file: PldataFile) -> int:
    """Close a file, mending it if need be; return how many data were lost."""
    try:
        file.close()
    except OSError:
        return file.count - repair_pldata(file.path).count
    return 0
