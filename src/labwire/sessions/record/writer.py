"""The thread that turns waiting messages into files: the log first, then every view of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from labwire.errors import DeviceError, ProtocolError
from labwire.operations.recordable import SessionStart
from labwire.sessions.pictures.video import PictureVideos
from labwire.sessions.record.message_queue import Item, MessageQueue
from labwire.sessions.sink import ClockChange, Received, Sink
from labwire.wire.bus_message import peek_header

_STOP_WITHIN_S = 60.0
_FLUSH_EVERY = 2000  # messages: after a stall, what was waiting is safe piece by piece


class SessionWriter:
    """Feed the sinks of one session from its queue, on a thread of its own.

    Args:
        queue: Where the messages wait.
        sinks: By stream, in the order in which they are fed. The first is the truth: if it fails, all are fed no more.
        videos: Takes the pictures out of the messages; None records none.
        session: The session.
        pause_s: How long a batch may gather before it is written.
        on_failure: Called on the writer's thread with the stream and the reason when a sink fails; it is not fed again.
    """

    def __init__(
        self,
        queue: MessageQueue,
        sinks: Mapping[str, Sink],
        videos: PictureVideos | None,
        session: SessionStart,
        *,
        pause_s: float,
        on_failure: Callable[[str, Exception], None],
    ) -> None:
        self._queue = queue
        self._sinks = dict(sinks)
        self._truth = next(iter(sinks))
        self._videos = videos
        self._start_s, self._start_ns = session.start_monotonic_s, session.start_epoch_us * 1000
        self._pause_s = pause_s
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._run, name="labwire-recorder", daemon=True)

    def start(self) -> None:
        """Write from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Wait until the closed queue is drained.

        Raises:
            DeviceError: The disk does not answer.
        """
        if self._thread.ident is None:
            return
        self._thread.join(_STOP_WITHIN_S)
        if self._thread.is_alive():
            raise DeviceError(
                f"the disk has not answered for {_STOP_WITHIN_S:g} s: {self._queue.waiting} messages wait"
            )

    def _run(self) -> None:
        while items := self._queue.take_all():
            for start in range(0, len(items), _FLUSH_EVERY):
                self._write(items[start : start + _FLUSH_EVERY])
                self._each(lambda sink: sink.flush())
            self._queue.linger(self._pause_s)

    def _write(self, items: list[Item]) -> None:
        for number, (content, monotonic_s) in enumerate(items):
            if isinstance(content, ClockChange):
                self._change_clock(content)
                continue
            if self._truth not in self._sinks:
                self._queue.fail(sum(not isinstance(item[0], ClockChange) for item in items[number:]))
                return
            try:
                message = self._receive(content, monotonic_s)
            except Exception as error:
                self._sinks[self._truth].count_lost(error)
                continue
            for stream, sink in self._sinks.items():
                try:
                    sink.append(message)
                except OSError as error:
                    self._fail(stream, error)
                except Exception as error:  # one message must not end the recording
                    sink.count_lost(error)

    def _receive(self, parts: Sequence[bytes], monotonic_s: float) -> Received:
        videos, header, picture = self._videos, None, None
        if len(parts) > 1:
            try:
                header = peek_header(parts[1])
            except ProtocolError:
                pass  # the log keeps it byte for byte and counts it
        if videos is not None and videos.is_picture(parts[0]):
            picture = videos.take(parts, monotonic_s)
        log_time_ns = self._start_ns + round((monotonic_s - self._start_s) * 1e9)
        return Received(parts, monotonic_s, max(0, log_time_ns), header, picture)

    def _change_clock(self, change: ClockChange) -> None:
        if self._videos is not None:
            self._videos.change_clock(change)
        self._each(lambda sink: sink.change_clock(change))

    def _each(self, act: Callable[[Sink], None]) -> None:
        for stream, sink in self._sinks.items():
            try:
                act(sink)
            except Exception as error:
                self._fail(stream, error)

    def _fail(self, stream: str, error: Exception) -> None:
        """Feed a sink no more. Without the truth there are no views of it either: they would tell more than it does."""
        kept = {} if stream == self._truth else self._sinks
        self._sinks = {name: sink for name, sink in kept.items() if name != stream}
        self._on_failure(stream, error)
