"""The everything-rig at work: instruments under load, somebody who hears all, parts that are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import zmq

from labwire.client import Rig
from labwire.errors import LabwireError
from labwire.operations.actors import Actors
from labwire.operations.detectors import Detectors
from labwire.testing import wait_until
from labwire.wire.bus_message import encode_payload

_PERIOD_S = 1 / 50


@dataclass
class Ear:
    """Hears every message of a bus, on a thread of its own, and keeps what tells them apart.

    A bus gives all its readers the messages in one order, so what a recorder got is a stretch of what this one got.
    """

    sub_url: str
    deaf_to: tuple[bytes, ...] = ()
    """Prefixes of topics that are not kept."""
    messages: list[int] = field(default_factory=list)
    """Of each message, in order: checksum of topic and payload."""
    heard_s: list[float] = field(default_factory=list)
    """When; monotonic clock."""
    raw: dict[int, int] = field(default_factory=dict)
    """Checksums of raw parts, by that of topic and payload."""

    @contextlib.contextmanager
    def listening(self) -> Generator[Ear]:
        """Hear from now on, to the end of a block."""
        ending, context = threading.Event(), zmq.Context[Any]()
        sub = context.socket(zmq.SUB)
        sub.rcvhwm = sub.linger = 0
        sub.subscribe("")
        sub.connect(self.sub_url)
        thread = threading.Thread(target=self._hear, args=(sub, ending))
        thread.start()
        try:
            yield self
        finally:
            ending.set()
            thread.join()
            sub.close()
            context.term()

    def _hear(self, sub: zmq.Socket[Any], ending: threading.Event) -> None:
        while not ending.is_set():
            if sub.poll(100):
                parts = sub.recv_multipart()
                if self.deaf_to and parts[0].startswith(self.deaf_to):
                    continue
                self.messages.append(checksum(parts))
                self.heard_s.append(time.monotonic())
                if len(parts) > 2:
                    self.raw[self.messages[-1]] = hash(parts[2])

    def wait_for(self, topic: str) -> int:
        """Wait until a message without content was heard on a topic; return its place."""
        wanted = checksum([topic.encode(), encode_payload({})])
        wait_until(lambda: wanted in self.messages, topic, limit_s=60)
        return self.messages.index(wanted)

    def stretch(self, messages: Sequence[Sequence[bytes]]) -> tuple[int, int]:
        """Return where in all that was heard these messages are: exactly these, in this order, none between them.

        Raises:
            AssertionError: They are nowhere.
        """
        wanted = [checksum(parts) for parts in messages]
        at = best = begin = -1
        while wanted and (at := _index(self.messages, wanted[0], at + 1)) >= 0:
            same = _same(self.messages[at:], wanted)
            if same == len(wanted):
                return at, at + same
            best, begin = max((best, begin), (same, at))
        raise AssertionError(
            f"{len(wanted)} messages; the first {best} are on the bus from {begin} on; the next is "
            f"{messages[best][:2] if wanted else None}"
        )


def checksum(parts: Sequence[bytes]) -> int:
    """Tell a message by its topic and its payload, in 64 bits: with 32, two of half a million are often alike."""
    return hash(tuple(parts[:2]))


def _index(messages: list[int], wanted: int, begin: int) -> int:
    try:
        return messages.index(wanted, begin)
    except ValueError:
        return -1


def _same(these: Sequence[int], those: Sequence[int]) -> int:
    """Return how many are alike before the first that differs."""
    pairs = enumerate(zip(these, those, strict=False))
    return next((number for number, (this, that) in pairs if this != that), min(len(these), len(those)))


@dataclass
class Load:
    """Sends an instrument 50 commands a second, and keeps which of them it answered."""

    rig: Rig
    instrument: str
    verb: str
    params: dict[str, Any]
    answered: dict[str, float] = field(default_factory=dict)
    """By id of the command: when its answer was there."""
    failed: int = 0

    @contextlib.contextmanager
    def going_on(self) -> Generator[Load]:
        """Send until the end of a block."""
        ending = threading.Event()
        thread = threading.Thread(target=self._send, args=(ending,))
        thread.start()
        try:
            yield self
        finally:
            ending.set()
            thread.join()

    def _send(self, ending: threading.Event) -> None:
        instrument, due_s = self.rig.instruments[self.instrument], time.monotonic()
        while not ending.is_set():
            try:
                self.answered[instrument.execute(self.verb, self.params).command_id] = time.monotonic()
            except LabwireError:  # its worker is dead, and another one starts
                self.failed += 1
            due_s = max(due_s + _PERIOD_S, time.monotonic() - 1)
            ending.wait(due_s - time.monotonic())


class Victims:
    """Kills parts of a rig, and waits until they are back."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.recorder_died_s: list[float] = []
        """When; monotonic clock."""

    def worker(self, name: str) -> None:
        """Kill the worker of an instrument."""
        status = self._rig.instruments[name].status
        assert status.pid
        os.kill(status.pid, signal.SIGKILL)
        wait_until(lambda: self._is_back(name, status.incarnation), f"another worker of {name}")

    def _is_back(self, name: str, incarnation: int) -> bool:
        status = self._rig.instruments[name].status
        return status.incarnation > incarnation and status.state in {"ready", "busy"}

    def actor(self, name: str) -> None:
        """Kill an actor."""
        found = self._actor(name)
        assert found.pid
        os.kill(found.pid, signal.SIGKILL)
        wait_until(
            lambda: self._actor(name).restarts > found.restarts and self._actor(name).state == "running",
            f"another {name}",
            limit_s=60,
        )

    def recorder(self) -> str:
        """Kill the recorder in the middle of a session; return the folder of the session in which it goes on."""
        with self._rig.subscribe("notify.recording.started") as started:
            self.recorder_died_s.append(time.monotonic())
            self.actor("recorder")
            return started.recv(timeout_s=60).payload["rec_path"]

    def _actor(self, name: str) -> Any:
        return next(one for one in self._rig.service(Actors).list() if one.name == name)


def wait_for_writers(rig: Rig, detector: str, count: int) -> None:
    """Wait until so many writers are ready for the next run."""
    wait_until(lambda: rig.service(Detectors).status(detector).writers == count, f"{count} writers", limit_s=60)
