"""What the torture of the queues stands on: victims in C, and a small server with callers and a supervisor."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from labwire.errors import LabwireError, PeerGoneError, QueueFullError
from labwire.instruments.queues.build import SOURCES
from labwire.instruments.queues.contract import QueuePair
from labwire.wire.instrument_message import (
    Command,
    Message,
    MessageType,
    decode_message,
    encode_message,
    encode_payload,
)
from tests.interop.peers import built

JOIN_S = 20.0
"""A thread that has not ended by then counts as lost."""


def queue_victim() -> Path:
    """Return the program `queue_victim`; its modes stand at the top of queue_victim.c."""
    files = [SOURCES / name for name in ("boost_queue.c", "checks.c", "condition.c", "robust_lock.c")]
    headers = tuple(sorted(SOURCES.glob("*.h")))
    late = "-Wl,--wrap=pthread_create,--wrap=pthread_cond_broadcast"
    command = f"cc -std=gnu11 -O2 -Wall -Wextra -I{SOURCES} {late}"
    return built(command, Path(__file__).with_name("queue_victim.c"), *files, watched=headers)


@contextmanager
def victim(*args: str, wait_ready: bool = True) -> Iterator[subprocess.Popen[str]]:
    """Run a victim; with its first line it says that it is where it is to be killed."""
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True) as process:
        try:
            if wait_ready:
                assert process.stdout
                assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    """Kill it as the system does when it runs out of memory, and see it gone."""
    process.send_signal(signal.SIGKILL)
    process.wait(JOIN_S)


class SmallServer:
    """Calls an echoing worker from many threads, until it dies; counts how the calls ended."""

    def __init__(self, pair: QueuePair, process: subprocess.Popen[str], callers: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.first_answer = threading.Event()
        self._pair = pair
        self._process = process
        self._lock = threading.Lock()
        self._pending: dict[int, SimpleQueue[Message | None]] = {}
        self._is_dead = False
        self._next = 0
        targets = [self._receive, self._supervise, *[self._call_on] * callers]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def _supervise(self) -> None:
        fd = os.pidfd_open(self._process.pid)
        try:
            select.select([fd], [], [])
        finally:
            os.close(fd)
        with self._lock:
            self._is_dead = True
            pending, self._pending = self._pending, {}
        for answer in pending.values():
            answer.put(None)
        self._pair.responses.wake()

    def _receive(self) -> None:
        try:
            while not self._is_dead:
                if data := self._pair.responses.receive(1.0):
                    self._answer(decode_message(data))
        except PeerGoneError:
            self.outcomes["receiver told"] += 1

    def _answer(self, message: Message) -> None:
        if message.type is MessageType.HEARTBEAT:
            return
        with self._lock:
            answer = self._pending.pop(message.id, None)
        if answer:
            answer.put(message)

    def _call_on(self) -> None:
        while not self._is_dead:
            try:
                self.outcomes[self._call()] += 1
            except PeerGoneError:
                self.outcomes["queue broken"] += 1
                return
            except QueueFullError:
                self.outcomes["queue full"] += 1
            except LabwireError as error:
                self.outcomes[repr(error)] += 1
                return

    def _call(self) -> str:
        answer: SimpleQueue[Message | None] = SimpleQueue()
        with self._lock:
            if self._is_dead:
                return "refused"
            self._next += 1
            number = self._next
            self._pending[number] = answer
        payload = encode_payload(Command(id=f"T-{number}", verb="ECHO", params={"x": [number] * (number % 50)}))
        self._pair.requests.send(encode_message(Message(MessageType.COMMAND, number, payload)), 0.2)
        message = answer.get()
        if message is None:
            return "worker died"
        self.first_answer.set()
        echoed = message.payload == payload  # a victim in C sends it back, one in C++ makes a response of it
        return (
            "good"
            if echoed or f'"x":{[number] * (number % 50)}'.replace(" ", "").encode() in message.payload
            else "wrong"
        )

    def lost(self) -> list[str]:
        """Wait for all threads to end; return those that did not."""
        for thread in self._threads:
            thread.join(JOIN_S)
        return [thread.name for thread in self._threads if thread.is_alive()]


def kill_under_load(pair: QueuePair, process: subprocess.Popen[str], rng: random.Random) -> Counter[str]:
    """Let callers at a worker, kill it at a random moment, and return how the calls ended; nothing may hang."""
    server = SmallServer(pair, process, callers=3)
    try:
        assert server.first_answer.wait(JOIN_S)
        threading.Event().wait(rng.random() * 0.004)
    finally:
        kill(process)
        lost = server.lost()
    assert not lost, f"lost: {lost}; {dict(server.outcomes)}"
    return server.outcomes
