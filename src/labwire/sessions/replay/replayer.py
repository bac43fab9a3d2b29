"""Plays a recording: each message at its time, with pause, seek and speed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from labwire.clock import monotonic_s
from labwire.errors import LabwireError, UsageError
from labwire.operations.replay import ENDED, PAUSED, PLAYING, ReplayStatus
from labwire.sessions.replay.replay_source import ReplaySource, Timed

MIN_SPEED, MAX_SPEED = 0.01, 1000.0
_AHEAD = 512  # messages that are read before they are due
_AHEAD_BYTES = 32 << 20
_READ_BEFORE_S = 0.002  # with less time than this to the next message, nothing more is read
_WAIT_S = 0.1  # longest wait, so that an end is noticed
_LATENESSES = 5000
_CLOCK_EVERY_S = 1.0


class Replayer:
    """Play a recording on a thread of its own.

    All methods may be called from any thread. Messages go out in their order, none is left out; those that could not go
    in time, because the computer was busy, go as fast as they can.

    >>> replayer = Replayer(source, "recordings/pilot/000", send=publisher.forward)  # doctest: +SKIP
    >>> replayer.start(); replayer.seek(12.0); replayer.pause()  # doctest: +SKIP

    Args:
        source: The recording; it is closed at the end.
        name: What the status calls it.
        send: Puts the parts of a message on the bus; False if it was lost.
        set_clock: Told each second, and after each jump, what rig time was in the recording; None leaves it alone.
        on_change: Called when the state has changed; must not block.
        on_trouble: Called with a text when the recording cannot be read on; the replay is paused there.
        speed: 2 is twice as fast.
        from_s: Where it begins, and where a loop begins anew.
        loop: Begin anew at the end.
    """

    def __init__(
        self,
        source: ReplaySource,
        name: str,
        *,
        send: Callable[[tuple[bytes, ...]], bool],
        set_clock: Callable[[float], None] | None = None,
        on_change: Callable[[ReplayStatus], None] = lambda status: None,
        on_trouble: Callable[[str], None] = lambda text: None,
        speed: float = 1.0,
        from_s: float = 0.0,
        loop: bool = False,
    ) -> None:
        self._source, self._name = source, name
        self._send, self._set_clock = send, set_clock
        self._on_change, self._on_trouble = on_change, on_trouble
        self._speed = _checked_speed(speed)
        self._from_s, self._loop = self._checked_time(from_s), loop
        self._wake = threading.Condition()
        self._state = PLAYING
        self._closing = False
        self._seek_to: float | None = self._from_s
        self._time_s = self._from_s
        self._anchor = (0.0, 0.0)  # monotonic time, and where the replay was then
        self._ahead: deque[Timed] = deque()
        self._ahead_bytes = 0
        self._messages: Iterator[Timed] = iter(())
        self._sent = self._lost = self._loops = 0
        self._late_us: deque[float] = deque(maxlen=_LATENESSES)
        self._clock_due_s = 0.0
        self._thread = threading.Thread(target=self._run, name="labwire-replay", daemon=True)

    # --- what others ask

    def start(self) -> None:
        """Play from now on."""
        self._thread.start()

    def status(self) -> ReplayStatus:
        """Tell where the replay is, and how late the last messages were."""
        late = sorted(self._late_us)
        return ReplayStatus(
            session=self._name,
            state=self._state,
            time_s=self._now_s(),
            duration_s=self._source.duration_s,
            speed=self._speed,
            loops=self._loops,
            messages=self._sent,
            lost=self._lost + self._source.missing_pictures,
            late_median_us=late[len(late) // 2] if late else None,
            late_p99_us=late[len(late) * 99 // 100] if late else None,
            late_max_us=late[-1] if late else None,
        )

    def pause(self) -> ReplayStatus:
        """Stop here."""
        return self._change(lambda: self._stand_still(PAUSED))

    def resume(self) -> ReplayStatus:
        """Go on; from the beginning if it has ended."""

        def change() -> None:
            at_the_end = self._state != PLAYING and self._time_s >= self._source.duration_s
            if at_the_end and self._seek_to is None:
                self._seek_to = self._from_s
            self._go_on()

        return self._change(change)

    def seek(self, time_s: float) -> ReplayStatus:
        """Go on from another moment; a paused replay stays paused there.

        Raises:
            UsageError: It is outside the recording.
        """
        wanted = self._checked_time(time_s)

        def change() -> None:
            self._seek_to = self._time_s = wanted
            self._anchor = (monotonic_s(), wanted)
            if self._state == ENDED:
                self._go_on()

        return self._change(change)

    def set_speed(self, factor: float) -> ReplayStatus:
        """Go on faster or slower.

        Raises:
            UsageError: It is not between `MIN_SPEED` and `MAX_SPEED`.
        """
        wanted = _checked_speed(factor)

        def change() -> None:
            self._anchor = (monotonic_s(), self._now_s())
            self._speed, self._clock_due_s = wanted, 0.0

        return self._change(change)

    def close(self) -> None:
        """End the replay and close the recording. Safe to call twice."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._source.close()

    def _change(self, change: Callable[[], object]) -> ReplayStatus:
        with self._wake:
            change()
            self._wake.notify_all()
            status = self.status()
        self._on_change(status)
        return status

    def _go_on(self) -> None:
        if self._state != PLAYING:
            self._state = PLAYING
            self._anchor, self._clock_due_s = (monotonic_s(), self._time_s), 0.0

    def _stand_still(self, state: str) -> None:
        self._time_s, self._state = self._now_s(), state

    def _checked_time(self, time_s: float) -> float:
        if not 0.0 <= time_s <= self._source.duration_s:
            raise UsageError(
                f"{time_s} s is not in the recording, which is {self._source.duration_s:.3f} s long", time_s=time_s
            )
        return time_s

    def _now_s(self) -> float:
        if self._state != PLAYING or self._seek_to is not None:
            return self._time_s
        then_s, time_s = self._anchor
        return min(time_s + (monotonic_s() - then_s) * self._speed, self._source.duration_s)

    # --- the replay's own thread

    def _run(self) -> None:
        with suppress(_ClosedError):
            while True:
                try:
                    self._play_one()
                except (LabwireError, OSError, ValueError) as error:
                    with self._wake:
                        self._stand_still(PAUSED)
                    self._on_trouble(f"the recording cannot be read on at {self._time_s:.3f} s: {error}")
                    self._on_change(self.status())

    def _play_one(self) -> None:
        with self._wake:
            while self._state != PLAYING and not self._closing:
                self._wake.wait()
            self._check_open()
            self._take_seek()
            self._tell_clock()
        self._read_ahead(1)
        if not self._ahead:
            self._at_the_end()
            return
        message = self._ahead[0]
        due_s = self._wait_for(message)
        if due_s is None:  # somebody changed something: look again
            return
        self._ahead.popleft()
        self._ahead_bytes -= sum(map(len, message.parts))
        self._late_us.append((monotonic_s() - due_s) * 1e6)
        self._time_s = message.time_s
        self._sent += 1
        self._lost += not self._send(message.parts)

    def _take_seek(self) -> None:
        """Begin anew where somebody wants to be."""
        wanted, self._seek_to = self._seek_to, None
        if wanted is not None:
            self._messages = self._source.messages(wanted)
            self._ahead.clear()
            self._ahead_bytes = 0
            self._time_s, self._clock_due_s = wanted, 0.0
            self._read_ahead(1)  # opening takes time that must not make the first messages late
            self._anchor = (monotonic_s(), wanted)

    def _read_ahead(self, count: int) -> None:
        while len(self._ahead) < count and (message := next(self._messages, None)) is not None:
            self._ahead.append(message)
            self._ahead_bytes += sum(map(len, message.parts))

    def _wait_for(self, message: Timed) -> float | None:
        """Wait until a message is due and return when that was; None if something else must be looked at first."""
        while True:
            then_s, time_s = self._anchor
            due_s = then_s + (message.time_s - time_s) / self._speed
            left_s = due_s - monotonic_s()
            if left_s <= 0:
                return due_s
            if left_s > _READ_BEFORE_S and len(self._ahead) < _AHEAD and self._ahead_bytes < _AHEAD_BYTES:
                before = len(self._ahead)
                self._read_ahead(before + 1)
                if len(self._ahead) > before:
                    continue
            with self._wake:
                self._check_open()
                if self._state != PLAYING or self._seek_to is not None or self._anchor != (then_s, time_s):
                    return None
                self._wake.wait(min(left_s, _WAIT_S))
                self._tell_clock()
                if self._state != PLAYING or self._seek_to is not None:
                    return None

    def _at_the_end(self) -> None:
        """Wait for what is left of the recording behind its last message, then begin anew or stand still."""
        last = Timed(self._source.duration_s, ())
        if self._wait_for(last) is None:
            return
        with self._wake:
            if self._seek_to is not None:
                return
            if self._loop:
                self._loops += 1
                self._seek_to = self._from_s
            else:
                self._stand_still(ENDED)
        self._on_change(self.status())

    def _tell_clock(self) -> None:
        """Set rig time if it is time to: at the start, after each jump, and again and again at another speed."""
        now_s = monotonic_s()
        if self._set_clock is None or now_s < self._clock_due_s:
            return
        self._clock_due_s = now_s + _CLOCK_EVERY_S
        self._set_clock(self._source.rig_time_s(self._now_s()))

    def _check_open(self) -> None:
        if self._closing:
            raise _ClosedError


class _ClosedError(Exception):
    """The replay was closed: its thread ends."""


def _checked_speed(factor: Any) -> float:
    if not isinstance(factor, (int, float)) or not MIN_SPEED <= factor <= MAX_SPEED:
        raise UsageError(f"a replay's speed is {MIN_SPEED} to {MAX_SPEED:g}, not {factor!r}")
    return float(factor)
