"""Sessions to look into: what is in one, when what came, a field over time, the picture of a moment, its files."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Mapping
from pathlib import Path

import msgspec

from labwire.client.rig import Rig
from labwire.errors import NotFoundError, QueueFullError, UsageError
from labwire.sessions.reading.overview import Overview
from labwire.sessions.reading.session_reader import Session, open_session
from labwire.web.answer import Answer, answer
from labwire.web.session_work import SessionOrder, look_through, look_through_apart

LONG_MESSAGES = 50_000
"""From here on a log is read by a process of its own: it would hold up the live path for longer than that takes."""
WHAT = ("overview", "activity", "fields", "series", "picture", "file")
MAX_READERS = 4
"""Requests at a time that read a whole log."""
_KNOWN_S = 5.0
_JPEG = "image/jpeg"
_BYTES = "application/octet-stream"


class SessionView(msgspec.Struct, frozen=True):
    """A session, as the page shows it."""

    overview: Overview
    pictures: dict[str, int]
    """Pictures by topic."""
    size_bytes: dict[str, int]
    """Of each file."""


class SessionFiles:
    """Reads the sessions of the rig's recorder, where they are on this computer.

    Args:
        rig: The rig, which knows where they are.
        long_messages: See `LONG_MESSAGES`.
    """

    def __init__(self, rig: Rig, long_messages: int = LONG_MESSAGES) -> None:
        self._rig, self._long_messages = rig, long_messages
        self._lock = threading.Lock()
        self._readers = threading.Semaphore(MAX_READERS)
        self._paths: dict[str, Path] = {}
        self._asked_s = 0.0
        self._open: tuple[Path, Session] | None = None  # the one that is looked at

    def handle(self, what: str, query: Mapping[str, str]) -> Answer:
        """Answer ``/api/session/<what>``.

        Raises:
            NotFoundError: There is no such session, topic or file.
            UsageError: The query makes no sense.
            TooLargeError: The session is too long to be read as a whole.
            QueueFullError: Too many are read already.
        """
        if what not in WHAT:
            raise NotFoundError(f"nothing is at /api/session/{what[:40]}; there are: {', '.join(WHAT)}")
        given = dict(query)
        folder = self.folder_of(given.pop("session", ""))
        match what, sorted(given):
            case "activity", []:
                return self._look_through(SessionOrder(str(folder)))
            case "fields", ["topic"]:
                return self._look_through(SessionOrder(str(folder), given["topic"]))
            case "series", ["field", "topic"]:
                return self._look_through(SessionOrder(str(folder), given["topic"], given["field"]))
            case "overview", []:
                with self._lock, self._opened(folder) as session:
                    return answer(_view(session))
            case "picture", ["time_s", "topic"]:
                with self._lock, self._opened(folder) as session:
                    return _picture(session, given["topic"], given["time_s"])
            case "file", ["name"]:
                with self._lock, self._opened(folder) as session:
                    return _file(session, given["name"])
            case _:
                raise UsageError(f"/api/session/{what[:40]} does not take {', '.join(sorted(given)) or 'nothing'}")

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            if self._open:
                self._open[1].close()
            self._open = None

    def folder_of(self, name: str) -> Path:
        """Return where a session is.

        Raises:
            NotFoundError: There is none of that name, or not on this computer.
        """
        now_s = time.monotonic()
        if name not in self._paths or now_s - self._asked_s > _KNOWN_S:
            self._paths = {row.name: Path(row.path) for row in self._rig.record.list()}
            self._asked_s = now_s
        path = self._paths.get(name)
        if path is None:
            raise NotFoundError(f"there is no session {name[:80]!r}")
        if not path.is_dir():
            raise NotFoundError(f"the files of {name} are not on this computer: {path}")
        return path

    def _look_through(self, order: SessionOrder) -> Answer:
        """Read a whole log, which may take long: pictures of it are to be had meanwhile."""
        if not self._readers.acquire(blocking=False):
            raise QueueFullError(f"{MAX_READERS} sessions are being looked through already: try again in a moment")
        try:
            with open_session(Path(order.folder)) as session:
                if sum(session.topics.values()) < self._long_messages:
                    return answer(look_through(session, order))
            return Answer(200, look_through_apart(order))
        finally:
            self._readers.release()

    @contextlib.contextmanager
    def _opened(self, folder: Path) -> Generator[Session]:
        known = self._open
        if known and known[0] == folder and known[1].manifest.state != "recording":
            yield known[1]
            return
        self._open = None  # what comes may not open
        if known:
            known[1].close()
        self._open = (folder, open_session(folder))
        yield self._open[1]


def _view(session: Session) -> SessionView:
    overview = session.overview
    sizes: dict[str, int] = {}
    for name in overview.files:
        with contextlib.suppress(OSError):  # it has gone meanwhile
            sizes[name] = (session.path / name).stat().st_size
    return SessionView(overview, {topic: len(pictures) for topic, pictures in session.pictures.items()}, sizes)


def _picture(session: Session, topic: str, time_text: str) -> Answer:
    pictures = session.pictures.get(topic)
    if not pictures:
        raise NotFoundError(f"this session has no pictures of {topic[:80]!r}")
    try:
        time_s = float(time_text)
    except ValueError:
        raise UsageError(f"time_s must be a number, not {time_text[:40]!r}") from None
    picture = pictures.at(time_s)
    about = {"X-Labwire-Time": f"{picture.time_s:.6f}", "Cache-Control": "no-store"}
    return Answer(200, picture.jpeg, _JPEG, about)


def _file(session: Session, name: str) -> Answer:
    if name not in session.overview.files:  # only what is there: no way leads out of the folder
        raise NotFoundError(f"this session has no file {name[:80]!r}")
    path = (session.path / name).resolve()
    if not path.is_relative_to(session.path.resolve()):
        raise NotFoundError(f"{name[:80]!r} leads out of the session's folder")
    return Answer(200, b"", _BYTES, file=str(path))
