"""A thread that reads a source and hands its pictures over through a bounded queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec

from labwire.bounded import BoundedQueue
from labwire.errors import LabwireError, UsageError
from labwire.picture import FORMATS, JPEG_QUALITY, Picture, to_format
from labwire.sources.config import PicturePolicy
from labwire.sources.picture_source import PictureSource

_log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 8.0
_CLOSE_S = 5.0
_DEPTH_BYTES = 64 << 20


class FeedCounters(msgspec.Struct, frozen=True):
    """What a feed has counted since it was made."""

    read: int
    """Pictures that the source delivered."""
    dropped: int
    """Pictures that were never handed over, because a queue was full: the feed's, or one inside the source."""
    malformed: int
    """Pictures that came from the source and could not be read or converted."""
    failures: int
    """How often the source failed and was opened again."""


class PictureFeed:
    """Read a source in a thread of its own.

    >>> with PictureFeed(source) as feed:  # doctest: +SKIP
    ...     for picture in feed:
    ...         print(picture.index)

    A source that fails is opened again, after 0.5 s, 1 s, 2 s, ... 8 s; it never ends the thread. Only a video that is
    played once is not: it would begin anew, and its pictures come twice.

    Args:
        source: What to read; the feed opens and closes it.
        depth: Most pictures that wait; fewer if they have more than 64 MiB together.
        policy: What happens when that many wait.
        format: ``jpeg``, ``bgr`` or ``gray``: pictures are handed over in this format; see `set_format`.
        quality: Quality of JPEG that is made here.
        once: A source that fails is given up.
        on_event: Called in the feed's thread with a kind and its data: ``opened`` (the source's description),
            ``failed`` (``reason``, ``retry_in_s``, which is None for what is given up), ``ended`` (nothing: the source
            has no more pictures).
        first_retry_s: First pause before a failed source is opened again; it doubles up to 16 times this.
    """

    def __init__(
        self,
        source: PictureSource,
        *,
        depth: int = 4,
        policy: PicturePolicy = "drop_old",
        format: str = "jpeg",  # noqa: A002  the word of the bus
        quality: int = JPEG_QUALITY,
        once: bool = False,
        on_event: Callable[[str, dict[str, Any]], None] | None = None,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self._source = source
        self._queue = BoundedQueue[Picture](
            depth, policy, depth_bytes=_DEPTH_BYTES, size_of=lambda picture: len(picture.data)
        )
        self._quality, self._once = quality, once
        self._on_event = on_event
        self._first_retry_s = self._retry_s = first_retry_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="labwire-pictures", daemon=True)
        self._read = self._malformed = self._failures = 0
        self._left_out = 0  # by the source, as its indices tell
        self._next_index: int | None = None
        self.set_format(format)

    def start(self) -> Self:
        """Start reading."""
        self._thread.start()
        return self

    def get(self, timeout_s: float | None = None) -> Picture:
        """Take the oldest waiting picture, waiting for one if need be.

        Args:
            timeout_s: How long to wait; None means until there is one.

        Raises:
            DeadlineError: Nothing came within `timeout_s`.
            StateError: The source has ended, or the feed was closed, and nothing waits.
        """
        return self._queue.get(timeout_s)

    def __iter__(self) -> Iterator[Picture]:
        return iter(self._queue)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def format(self) -> str:
        """Format in which pictures are handed over."""
        return self._format

    def set_format(self, to: str) -> None:
        """Hand over pictures in another format from now on.

        Raises:
            UsageError: No such format; the format stays as it was.
        """
        if to not in FORMATS:
            raise UsageError(f"{to!r} is not a picture format: use one of {', '.join(FORMATS)}", format=to)
        self._format = to

    def counters(self) -> FeedCounters:
        """Tell what has been counted."""
        return FeedCounters(
            read=self._read,
            dropped=self._queue.statistics().dropped + self._left_out,
            malformed=self._malformed + self._source.malformed,
            failures=self._failures,
        )

    def close(self) -> None:
        """Stop reading and close the source; what waits can still be taken. Safe to call twice."""
        self._stopping.set()
        self._queue.close()
        self._source.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._source.open()
                    if self._read_all():
                        return
                except LabwireError as error:
                    self._back_off(error.message)
                except Exception as error:  # a source is foreign code: it must not end the thread
                    _log.exception("reading %s failed in a way that was not foreseen", self._source.describe().name)
                    self._back_off(f"{type(error).__name__}: {error}")
        finally:
            self._queue.close()
            self._source.close()

    def _read_all(self) -> bool:
        # Returns True when there is nothing more to do.
        if self._stopping.is_set():
            return True
        self._report("opened", msgspec.to_builtins(self._source.describe()))
        while (picture := self._source.read()) is not None:
            self._retry_s = self._first_retry_s
            self._read += 1
            self._left_out += 0 if self._next_index is None else max(0, picture.index - self._next_index)
            self._next_index = picture.index + 1
            try:
                converted = to_format(picture, self._format, self._quality)
            except LabwireError:
                self._malformed += 1
                continue
            self._queue.put(converted)
        if not self._stopping.is_set():
            self._report("ended", {})
        return True

    def _back_off(self, reason: str) -> None:
        self._source.close()
        self._failures += 1
        if self._stopping.is_set():
            return
        if self._once:
            self._stopping.set()
            self._report("failed", {"reason": reason, "retry_in_s": None})
            return
        self._report("failed", {"reason": reason, "retry_in_s": self._retry_s})
        self._stopping.wait(self._retry_s)
        self._retry_s = min(2 * self._retry_s, 16 * self._first_retry_s)

    def _report(self, kind: str, data: dict[str, Any]) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(kind, data)
        except Exception:  # nor must a listener
            _log.exception("telling of %s %r failed", kind, data)
