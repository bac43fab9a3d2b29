"""A rig, or Pupil Core, that another rig stays joined to: found, lost, found again; its clock is measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from labwire.bus.subscription import Subscription
from labwire.client.rig import Rig, connect
from labwire.clock_offset import ClockOffset
from labwire.errors import DeadlineError, LabwireError, PeerGoneError
from labwire.wire.bus_message import BusMessage

MEASURE_EVERY_S = 2.0
ROUND_TRIPS = 5
ANSWER_LIMIT_S = 2.0
RETRY_S = 0.5
_SLICE_S = 0.1


class JoinedEvents(NamedTuple):
    """What is heard; called on the thread of the joined rig."""

    message: Callable[[BusMessage], None]
    found: Callable[[Rig, float], None]
    """It is there, after so many seconds without it (0 at first); asks may be made of it here."""
    lost: Callable[[str], None]
    """It is gone, and why; it is looked for until it is back."""
    measured: Callable[[ClockOffset], None]
    """How far its clock is from the monotonic clock here."""


class JoinedRig:
    """Stays joined to a rig until it is closed. Nothing that happens to the other one ends it.

    A rig that neither answers nor says anything for `ANSWER_LIMIT_S` is lost: a network that broke tells nobody.

    Args:
        host: Computer that it runs on.
        port: Port of its Remote.
        topics: First bytes of the topics to hear.
        events: Hears what happens.
    """

    def __init__(self, host: str, port: int, topics: Sequence[str], events: JoinedEvents) -> None:
        self._host, self._port, self._topics, self._events = host, port, topics, events
        self._rig: Rig | None = None
        self._end = threading.Event()
        self._lost_s: float | None = None
        self._measure_s = 0.0
        self._told = ""
        self.received = 0
        """Messages so far."""
        self.malformed = 0
        """Messages that could not be read."""
        self._thread = threading.Thread(target=self._run, name=f"joined to {host}:{port}", daemon=True)

    def start(self) -> None:
        """Begin to look for it."""
        self._thread.start()

    def close(self) -> None:
        """Leave it. Safe to call twice."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def connected(self) -> bool:
        """Whether it is there."""
        return self._rig is not None

    def request(self, command: str) -> str:
        """Send a command to its Remote and return the reply; from any thread.

        Raises:
            PeerGoneError: It is not there.
            DeadlineError: It does not answer in time.
        """
        rig = self._rig
        if rig is None:
            raise PeerGoneError(f"nobody answers at {self._host}:{self._port}")
        return rig.request(command)

    def measure_soon(self) -> None:
        """Measure its clock again with the next message: it may have been set."""
        self._measure_s = min(self._measure_s, time.monotonic() + _SLICE_S)

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                with connect(self._host, self._port, timeout_s=ANSWER_LIMIT_S) as rig:
                    self._stay(rig)
            except LabwireError as error:
                self._lose(error.message)
            finally:
                self._rig = None
            self._end.wait(RETRY_S)

    def _stay(self, rig: Rig) -> None:
        with rig.subscribe(*self._topics, count_gaps=False) as subscription:
            self._measure(rig)
            self._rig = rig
            gap_s = 0.0 if self._lost_s is None else time.monotonic() - self._lost_s
            self._lost_s, self._told = None, ""
            self._events.found(rig, gap_s)
            heard_s = time.monotonic()
            while not self._end.is_set():
                if self._hear(subscription):
                    heard_s = time.monotonic()
                if time.monotonic() >= self._measure_s:
                    try:
                        self._measure(rig)
                    except (DeadlineError, PeerGoneError):
                        if time.monotonic() - heard_s > ANSWER_LIMIT_S:  # its Remote may only be busy
                            while self._hear(subscription, 0):
                                pass
                            raise

    def _hear(self, subscription: Subscription[BusMessage], timeout_s: float = _SLICE_S) -> bool:
        try:
            message = subscription.recv(timeout_s)
        except DeadlineError:
            self.malformed = subscription.statistics().malformed
            return False
        self.received += 1
        self._events.message(message)
        return True

    def _measure(self, rig: Rig) -> None:
        self._measure_s = time.monotonic() + MEASURE_EVERY_S
        self._events.measured(rig.clock_offset(ROUND_TRIPS))

    def _lose(self, why: str) -> None:
        if self._lost_s is None or why != self._told:
            first, self._told = self._lost_s is None, why
            self._lost_s = self._lost_s or time.monotonic()
            if first:
                self._events.lost(why)
