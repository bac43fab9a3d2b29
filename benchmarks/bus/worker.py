"""Sends or receives as told, in a process of its own: ``python -m benchmarks.bus.worker``, orders in JSON lines.

``zmq`` is pyzmq with the msgpack package, driven the way Pupil's own message classes drive them: the topic by
send_string and recv_string, each further part by a receive of its own while there is more, `packb` and `loads`.
``labwire`` is the client's own publisher and subscription.

A sender and its receivers share a board: one counter per receiver. The sender keeps at most `WINDOW` messages ahead of
the slowest, so that nothing is dropped on any road; the counts prove it. That is far below the 1,000 that a queue of
libzmq holds, because the far end gives back room only in halves of a queue, and the near end looks for it only once a
millisecond.
"""

from __future__ import annotations

import json
import mmap
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import zmq

from benchmarks.bus.datum import TOPIC, Datum, make_datum

WINDOW = 256
STEP = 32  # messages between two looks at the board
WARM = "warm." + TOPIC
PREFIXES = (TOPIC, WARM)
_CLOSED_S = 0.0001
_NOT_READY = -1


class Board:
    """Counters in memory that sender and receivers share."""

    SLOTS = 8

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), self.SLOTS * 8)).cast("q")

    @staticmethod
    def create(path: Path) -> None:
        """Make a board on which nobody is ready."""
        path.write_bytes(_NOT_READY.to_bytes(8, sys.byteorder, signed=True) * Board.SLOTS)

    def slowest(self, receivers: int) -> int:
        """Return what the slowest of the first receivers has."""
        return min(self._counts[:receivers])

    def counts(self) -> list[int]:
        """Return what each receiver has; -1 if it was not ready."""
        return self._counts.tolist()

    def write(self, slot: int, count: int) -> None:
        """Say how many messages a receiver has."""
        self._counts[slot] = count


# --- sending


def _pupil_sender(socket: zmq.Socket[Any]) -> Callable[[str, dict[str, Any]], None]:
    def send(topic: str, payload: dict[str, Any]) -> None:
        body: bytes = msgpack.packb(payload, use_bin_type=True)  # pyright: ignore[reportAssignmentType]
        socket.send_string(topic, flags=zmq.SNDMORE)
        socket.send(body)

    return send


class Sender:
    """Sends data over one road."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.url: str = order["url"]
        if order["api"] == "labwire":
            from labwire.bus.publisher import Publisher

            self._publisher = Publisher(self.url)
            self._publisher.wait_connected(5.0)
            self._send: Callable[[str, dict[str, Any]], object] = self._publisher.publish
            self.close: Callable[[], object] = self._publisher.close
        else:
            self._context: zmq.Context[Any] = zmq.Context()
            socket = self._context.socket(zmq.PUB)
            socket.set_hwm(0)
            if order["bind"]:
                self.url = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
            else:
                socket.connect(self.url)
            self._send = _pupil_sender(socket)
            self.close = self._context.destroy

    def warm_up(self, board: Board, receivers: int) -> None:
        """Send until every receiver has had a message."""
        while board.slowest(receivers) < 0:
            self._send(WARM, make_datum())
            time.sleep(0.005)

    def send(self, count: int, board: Board, receivers: int) -> float:
        """Send as fast as the receivers take it; return when the first message was sent."""
        send, payload = self._send, make_datum()
        start_s = time.monotonic()
        for number in range(count):
            if not number % STEP:
                _wait_for_room(number, board, receivers)
            payload["timestamp"] = start_s + number
            send(TOPIC, payload)
        return start_s

    def pace(self, rate_hz: float, count: int, board: Board, receivers: int) -> None:
        """Send at a rate, in bursts of a millisecond's worth."""
        burst = max(1, round(rate_hz / 1000))
        payload, next_s = make_datum(), time.monotonic()
        for number in range(count):
            self._send(TOPIC, payload)
            if (number + 1) % burst == 0:
                next_s += burst / rate_hz
                time.sleep(max(0.0, next_s - time.monotonic()))
                _wait_for_room(number, board, receivers)  # who is late must not make up for it at once


def _wait_for_room(number: int, board: Board, receivers: int) -> None:
    while number - board.slowest(receivers) > WINDOW:
        time.sleep(_CLOSED_S)


# --- receiving: each yields topics; what is done with the payload is the cost that is measured


def _receive_as_pupil(url: str) -> Iterator[str]:
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.set_hwm(0)
    for prefix in PREFIXES:
        socket.subscribe(prefix)
    socket.connect(url)

    def remaining() -> Iterator[bytes]:
        while socket.get(zmq.RCVMORE):
            yield socket.recv()

    try:
        while True:
            topic = socket.recv_string()
            body, *_raw = remaining()
            msgpack.loads(body)
            yield topic
    finally:
        socket.close()


def _receive_bare(url: str) -> Iterator[str]:
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.set_hwm(0)
    for prefix in PREFIXES:
        socket.subscribe(prefix)
    socket.connect(url)
    try:
        while True:
            yield socket.recv_multipart()[0].decode()
    finally:
        socket.close()


def _receive_decoded(url: str) -> Iterator[str]:
    from labwire.bus.subscription import Subscription

    with Subscription(url, PREFIXES) as subscription:
        for topic, _payload, _raw in subscription:
            yield topic


def _receive_typed(url: str) -> Iterator[str]:
    from labwire.bus.subscription import Subscription

    with Subscription(url, PREFIXES, typed=Datum) as subscription:
        for topic, _payload, _raw in subscription:
            yield topic


def _receive_undecoded(url: str) -> Iterator[str]:
    from labwire.bus.subscription import Subscription

    with Subscription(url, PREFIXES, decode=False) as subscription:
        for parts in subscription:
            yield parts[0].decode()


RECEIVE: dict[str, Callable[[str], Iterator[str]]] = {
    "pupil": _receive_as_pupil,
    "bare": _receive_bare,
    "decoded": _receive_decoded,
    "typed": _receive_typed,
    "undecoded": _receive_undecoded,
}


def receive(how: str, url: str, count: int, board: Board, slot: int) -> float:
    """Receive so many messages; return when the last one was there."""
    topics = RECEIVE[how](url)
    for topic in topics:
        if topic == TOPIC:
            break
        board.write(slot, 0)
    number = 1
    while number < count:
        for _ in range(min(STEP, count - number)):
            next(topics)
            number += 1
        board.write(slot, number)
    end_s = time.monotonic()
    topics.close()  # pyright: ignore[reportAttributeAccessIssue]
    return end_s


def _serve() -> None:
    sender: Sender | None = None
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any] = {}
        match order["do"]:
            case "open":
                sender = Sender(order)
                answer["url"] = sender.url
            case "receive":
                board = Board(order["board"])
                answer["end_s"] = receive(order["how"], order["url"], order["count"], board, order["slot"])
            case "warm up":
                assert sender
                sender.warm_up(Board(order["board"]), order["receivers"])
            case "send":
                assert sender
                answer["start_s"] = sender.send(order["count"], Board(order["board"]), order["receivers"])
            case "pace":
                assert sender
                sender.pace(order["rate_hz"], order["count"], Board(order["board"]), order["receivers"])
            case "close":
                assert sender
                sender.close()
                sender = None
            case other:
                raise ValueError(other)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
