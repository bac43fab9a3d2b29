"""A reader that stalls is cut, costs the hub no memory, comes back to fresh data; healthy readers lose nothing."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.bus.fake_hub import own_context, wait_until
from tests.bus.hub_parts import in_background, running_hub
from tests.packing import unpack
from tests.rig_fixture import running_rig

RATE_HZ = 480
BURST = 1000
_NUMBER = struct.Struct("<Q")


class Sender:
    """Publishes numbered messages at a steady rate, with a burst now and then."""

    def __init__(self, pub_port: int, context: zmq.Context[Any], size_bytes: int, *, burst_every: int = 0) -> None:
        self.sent = 0
        self._size_bytes, self._burst_every = size_bytes, burst_every
        self._socket = context.socket(zmq.PUB)
        self._socket.sndhwm = 0
        self._socket.linger = 0
        self._socket.connect(f"tcp://127.0.0.1:{pub_port}")

    def run(self, stop: threading.Event) -> None:
        began_s, turn = time.monotonic(), 0
        while not stop.wait(max(0.0, began_s + turn / RATE_HZ - time.monotonic())):
            turn += 1
            bursts = self._burst_every and turn % self._burst_every == 0
            for _ in range(BURST if bursts else 1):
                self.send()

    def send(self) -> None:
        self._socket.send_multipart([b"data", b"\x80", _NUMBER.pack(self.sent) + bytes(self._size_bytes)])
        self.sent += 1


class Reader:
    """A healthy reader: drains without end and knows what it missed.

    Its queue has no bound: that this thread is behind on a busy machine is not what makes a reader unhealthy.
    """

    def __init__(self, sub_port: int, context: zmq.Context[Any]) -> None:
        self.missed: list[tuple[int, int]] = []
        self.last = -1
        self.others: list[tuple[str, dict[str, Any]]] = []
        self._socket = context.socket(zmq.SUB)
        self._socket.linger = self._socket.rcvhwm = 0
        self._socket.subscribe(b"data")
        self._socket.subscribe(b"bus.s")
        self._socket.connect(f"tcp://127.0.0.1:{sub_port}")

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            while self._socket.poll(20):
                topic, payload, *raw = self._socket.recv_multipart()
                if topic != b"data":
                    self.others.append((topic.decode(), unpack(payload)))
                    continue
                number = number_in(raw)
                if self.last >= 0 and number != self.last + 1:
                    self.missed.append((self.last, number))
                self.last = number

    def about(self, topic: str) -> list[dict[str, Any]]:
        """Return what it read on another topic."""
        return [payload for other, payload in self.others if other == topic]


def number_in(raw: list[bytes]) -> int:
    return _NUMBER.unpack_from(raw[0])[0]


def stalled(sub_port: int, context: zmq.Context[Any], *, rcvhwm: int = 1000, rcvbuf: int = -1) -> zmq.Socket[Any]:
    """Subscribe and never read."""
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    socket.rcvhwm, socket.rcvbuf = rcvhwm, rcvbuf
    socket.subscribe(b"data")
    socket.connect(f"tcp://127.0.0.1:{sub_port}")
    return socket


@contextmanager
def traffic(pub_port: int, sub_port: int, size_bytes: int, *, burst_every: int = 0) -> Iterator[tuple[Sender, Reader]]:
    """Send, and read as one should, until the block ends; the healthy reader missed nothing."""
    with own_context() as context:
        sender = Sender(pub_port, context, size_bytes, burst_every=burst_every)
        reader = Reader(sub_port, context)
        with in_background(reader.run):
            while reader.last < 0:
                sender.send()
                time.sleep(0.002)  # until both are connected: the pace of asking, not a wait for a result
            with in_background(sender.run):
                yield sender, reader
            wait_until(lambda: reader.last == sender.sent - 1, "the healthy reader's last message")
        assert reader.missed == [], "a healthy reader missed messages"


def test_it_is_cut_and_comes_back_to_fresh_data(soak: Callable[[int, int], int]) -> None:
    # Full size: the defaults, at the rate and size of a pair of eyes, for 25 s. In short: a smaller queue at the
    # reader, larger messages and a shorter patience, so that all of it takes some seconds.
    full = bool(soak(0, 1))
    size_bytes, hwm, rcvbuf = (550, 1000, -1) if full else (20_000, 50, 4096)
    with running_hub(slow_subscriber_s=2.0 if full else 1.0) as hub, own_context() as context:
        ports = hub.backbone.pub_port, hub.backbone.sub_port
        with traffic(*ports, size_bytes, burst_every=RATE_HZ) as (sender, _):
            healthy = hub.inlet.entry.readers_connected
            behind = stalled(hub.backbone.sub_port, context, rcvhwm=hwm, rcvbuf=rcvbuf)
            wait_until(lambda: hub.inlet.entry.readers_connected == healthy + 1, "the reader")
            stalled_s = time.monotonic()
            wait_until(lambda: hub.inlet.entry.readers_connected == healthy, "the cut")
            print(f"cut after {time.monotonic() - stalled_s:.2f} s")
            time.sleep(soak(0, 20))  # it goes on standing still: there is nothing to wait for
            resumed_at = sender.sent
            stale = [number_in(behind.recv_multipart()[2:])]
            while (number := number_in(behind.recv_multipart()[2:])) == stale[-1] + 1:
                stale.append(number)
            print(f"{len(stale)} stale messages ({len(stale) / RATE_HZ:.2f} s), then {number} of {resumed_at} sent")
            assert len(stale) < (4 * RATE_HZ if full else 4 * hwm), "old data that it has to wade through"
            assert number >= resumed_at, "after that, only what was sent since it resumed"
            for expected in range(number + 1, number + 500):
                assert number_in(behind.recv_multipart()[2:]) == expected, "from now on it misses nothing"


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.timeout(120)
def test_the_cut_is_published_and_counted_and_its_memory_is_free_again(tmp_path: Path) -> None:
    rig_file = "name = 'slow'\n[bus]\nslow_subscriber_s = 1.0\n"
    with running_rig(tmp_path, rig_file) as rig, own_context() as context:
        pid = rig.ready.pid
        with traffic(rig.ready.pub_port, rig.ready.sub_port, 50_000) as (_, reader):
            before = resident_bytes(pid)
            most = [stall_until_cut(rig.ready.sub_port, context, reader, pid) - before for _ in range(3)]
            print(f"hub: {before / 1e6:.0f} MB before, and at most {[f'{extra / 1e6:.0f} MB' for extra in most]} more")
            assert max(most) > 5e6, "a stall that costs nothing shows nothing"
            published = reader.about("bus.slow_subscriber")
            assert [cut["cut_total"] for cut in published] == [1, 2, 3]
            for cut in published:
                assert cut["peer"].startswith("127.0.0.1:")
                assert cut["bytes_behind"] > 0
            wait_until(lambda: reader.about("bus.stats")[-1]["slow_subscribers_cut"] == 3, "the cuts in bus.stats")
            # What a stall costs is given back: after three of them there is less than the largest took.
            wait_until(lambda: resident_bytes(pid) - before < 0.7 * max(most), "memory of the cut readers")
        wait_until(lambda: "cut the reader 127.0.0.1:" in Path(rig.ready.log_file).read_text(), "the cut in the log")


def stall_until_cut(sub_port: int, context: zmq.Context[Any], reader: Reader, pid: int) -> int:
    """Stall until the cut is published; return the most memory that the hub held meanwhile, in bytes."""
    known, most = len(reader.about("bus.slow_subscriber")), 0
    behind = stalled(sub_port, context, rcvhwm=1, rcvbuf=4096)

    def is_cut() -> bool:
        nonlocal most
        most = max(most, resident_bytes(pid))
        return len(reader.about("bus.slow_subscriber")) > known

    wait_until(is_cut, "bus.slow_subscriber")
    behind.close()
    return most


def test_bytes_behind_are_shown_while_it_stalls(tmp_path: Path) -> None:
    with (
        running_rig(tmp_path, "name = 'slow'\n") as rig,
        own_context() as context,
        traffic(rig.ready.pub_port, rig.ready.sub_port, 50_000) as (_, reader),
    ):
        stalled(rig.ready.sub_port, context, rcvhwm=1, rcvbuf=4096)

        def behind() -> bool:
            rows = [row for stats in reader.about("bus.stats") for row in stats["readers"]]
            return any(row["bytes_behind"] > 0 and row["behind_s"] > 0 for row in rows)

        wait_until(behind, "a reader that is behind in bus.stats")
        shown = reader.about("bus.stats")[-1]["foreign_readers"]
        assert "not observable" in shown, "what cannot be known is not said to be fine"
