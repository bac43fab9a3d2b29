"""What the tests of the worker share: queues in memory, a worker on a thread, a worker in a process."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import IO, Any

import msgspec

from labwire.errors import PeerGoneError, QueueFullError
from labwire.instruments.config import QueueKind
from labwire.instruments.driver import Driver, make_driver
from labwire.instruments.queues.contract import DEPTH, SEND_TIMEOUT_S, MessageQueue, QueuePair, QueueState
from labwire.instruments.queues.open import create_pair
from labwire.instruments.worker.spec import WorkerSpec
from labwire.instruments.worker.worker import Worker
from labwire.testing.processes import end_by_force
from labwire.wire.instrument_extras import Feature, decode_responses, encode_batch, pack_payload, unpack_payload
from labwire.wire.instrument_message import (
    PROFILES,
    SPEC,
    Command,
    CommandResponse,
    Message,
    MessageType,
    Profile,
    decode_error,
    decode_message,
    encode_message,
    encode_payload,
)

LIMIT_S = 20.0
NAME = f"DMM{os.getpid()}"
"""Of instruments whose queues have names: runs of the tests beside each other do not meet."""
ALL = tuple(Feature)
SIMULATED = "labwire.instruments.drivers.simulated:"


class MemoryQueue(MessageQueue):
    """A queue between threads; kind ``boost`` orders by priority, kind ``socket`` does not."""

    def __init__(self, kind: str, depth: int = DEPTH) -> None:
        self.name, self.kind, self.depth = f"memory {kind}", kind, depth
        self._items: list[tuple[int, int, bytes]] = []
        self._count = itertools.count()
        self._wakes = 0
        self._closed = False
        self._changed = threading.Condition()

    def send(self, message: bytes, timeout_s: float = SEND_TIMEOUT_S, priority: int = 0) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or len(self._items) < self.depth, timeout_s):
                raise QueueFullError("full")
            if self._closed:
                raise PeerGoneError("closed")
            order = -priority if self.kind == "boost" else 0
            heapq.heappush(self._items, (order, next(self._count), message))
            self._changed.notify_all()

    def receive(self, timeout_s: float) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items or self._wakes, timeout_s)
            if self._items:
                self._changed.notify_all()
                return heapq.heappop(self._items)[2]
            if self._closed:
                raise PeerGoneError("closed")
            self._wakes = max(0, self._wakes - 1)
            return None

    def wake(self) -> None:
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def state(self) -> QueueState:
        return QueueState(self.name, self.kind, self.depth, len(self._items))

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class MemoryPair(QueuePair):
    """A pair of queues in memory."""

    def __init__(self, kind: str = "socket", depth: int = DEPTH) -> None:
        self.requests, self.responses = MemoryQueue(kind, depth), MemoryQueue(kind, depth)

    def close(self) -> None:
        self.requests.close()
        self.responses.close()


class Peer:
    """The server's end of a worker's queues, as bare as it can be."""

    def __init__(self, pair: QueuePair, name: str = "DMM1", profile: Profile = SPEC) -> None:
        self.pair, self.name, self.profile = pair, name, profile
        self.heartbeats = 0
        self._counter = itertools.count(1)
        self._read: list[tuple[Message, Any]] = []

    def send_raw(self, data: bytes, priority: int = 0) -> None:
        self.pair.requests.send(data, LIMIT_S, priority)

    def send(self, kind: MessageType, payload: bytes = b"", header_id: int = 0, priority: int = 0) -> None:
        self.send_raw(encode_message(Message(kind, header_id, payload), self.profile), priority)

    def command(self, verb: str, params: Mapping[str, Any] | None = None, **keys: Any) -> int:
        number = next(self._counter)
        command = Command(
            id=f"{self.name}-{number}", instrument_name=self.name, verb=verb, params=dict(params or {}), **keys
        )
        self.send(MessageType.COMMAND, encode_payload(command), number, command.priority)
        return number

    def batch(self, commands: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[int, list[str]]:
        header_id, ids, payloads = 0, [], []
        for verb, params in commands:
            number = next(self._counter)
            header_id = header_id or number
            ids.append(f"{self.name}-{number}")
            payloads.append(encode_payload(Command(id=ids[-1], verb=verb, params=dict(params))))
        payload = pack_payload(encode_batch(payloads), self.profile.payload_bytes, compress=True)
        self.send(MessageType.COMMAND, payload, header_id)
        return header_id, ids

    def control(self, verb: str, **params: Any) -> None:
        self.send(
            MessageType.COMMAND, encode_payload(Command(verb=verb, expects_response=False, params=params)), 0, 1000
        )

    def receive(self, timeout_s: float = LIMIT_S) -> Message:
        """Return the next message that is no heartbeat."""
        until = time.monotonic() + timeout_s
        while True:
            data = self.pair.responses.receive(max(0.0, until - time.monotonic()))
            if data is None:
                if time.monotonic() < until:
                    continue
                raise TimeoutError(f"nothing from the worker within {timeout_s} s")
            message = decode_message(data, self.profile)
            if message.type is not MessageType.HEARTBEAT:
                return message
            self.heartbeats += 1

    def response(self, timeout_s: float = LIMIT_S) -> CommandResponse:
        """Return the next response; responses that came together are handed out one by one."""
        while not self._read:
            message = self.receive(timeout_s)
            assert message.type is MessageType.RESPONSE, (message, decode_error(message.payload))
            self._read = [(message, one) for one in decode_responses(unpack_payload(message.payload))]
        message, response = self._read.pop(0)
        return response

    def call(self, verb: str, params: Mapping[str, Any] | None = None, **keys: Any) -> CommandResponse:
        number = self.command(verb, params, **keys)
        response = self.response()
        assert response.command_id == f"{self.name}-{number}"
        return response

    def wait_for_heartbeats(self, count: int) -> None:
        until = time.monotonic() + LIMIT_S
        while self.heartbeats < count and time.monotonic() < until:
            data = self.pair.responses.receive(0.1)
            if data is not None:
                message = decode_message(data, self.profile)
                assert message.type is MessageType.HEARTBEAT, message
                self.heartbeats += 1
        assert self.heartbeats >= count

    def shut_down(self) -> None:
        self.send(MessageType.SHUTDOWN, priority=1000)


def spec_of(driver: str = "", **keys: Any) -> WorkerSpec:
    return WorkerSpec(**{"name": "DMM1", "driver": driver, "features": list(ALL), **keys})


@contextlib.contextmanager
def worker_thread(
    driver: type[Driver],
    *,
    kind: str = "socket",
    pair: QueuePair | None = None,
    options: Mapping[str, Any] | None = None,
    depth: int = DEPTH,
    **keys: Any,
) -> Generator[Peer]:
    """A worker on a thread of this process, on queues in memory."""
    spec = spec_of(**keys)
    pair = pair or MemoryPair(kind, depth)
    worker = Worker(spec, pair, make_driver(driver, options or {}, spec.name))
    thread = threading.Thread(target=worker.serve, name="worker")
    thread.start()
    peer = Peer(pair, spec.name, PROFILES[spec.profile])
    try:
        peer.wait_for_heartbeats(1)
        yield peer
    finally:
        pair.close()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


class Process:
    """A worker's process and the server's end of its queues."""

    def __init__(self, process: subprocess.Popen[bytes], pair: QueuePair, spec: WorkerSpec, stderr: IO[bytes]) -> None:
        self.process, self.pair, self.spec = process, pair, spec
        self._stderr = stderr
        self.peer = Peer(pair, spec.name, PROFILES[spec.profile])

    def end(self) -> int:
        """Send SHUTDOWN and wait for the exit."""
        self.peer.shut_down()
        return self.process.wait(LIMIT_S)

    def log_lines(self) -> list[Any]:
        """Return what it has written to standard error; lines that are no JSON come as text."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        return [json.loads(line) if line.startswith("{") else line for line in lines]


@contextlib.contextmanager
def worker_process(driver: str, queue: QueueKind = "socket", *, wait: bool = True, **keys: Any) -> Generator[Process]:
    """A worker in a process of its own, ready unless `wait` is false."""
    spec = spec_of(driver, queue=queue, **{"name": NAME, **keys})
    with create_pair(queue, spec.name, PROFILES[spec.profile]) as pair, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "labwire.instruments.worker.process"],
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            pass_fds=() if pair.worker_fd is None else (pair.worker_fd,),
            start_new_session=True,
        )
        try:
            assert process.stdin
            spec = msgspec.structs.replace(spec, socket_fd=pair.worker_fd)
            process.stdin.write(msgspec.json.encode(spec) + b"\n")
            process.stdin.flush()
            pair.release_worker_fd()
            worker = Process(process, pair, spec, stderr)
            if wait:
                worker.peer.wait_for_heartbeats(1)
            yield worker
        finally:
            end_by_force(process)


def wait_until(condition: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain: {what}"
        time.sleep(0.005)
