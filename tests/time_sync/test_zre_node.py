"""ZRE nodes find each other on this computer; Pyre's nodes too, where they are installed and the network lets them."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from labwire.errors import ResourceError, UsageError
from labwire.testing.processes import running_process
from labwire.testing.waiting import wait_until
from labwire.time_sync.interfaces import BeaconRoad, address_towards, beacon_roads
from labwire.time_sync.zre_node import NodeEvent, ZreNode

GROUP = "default-time_sync-v1"


@pytest.fixture
def port() -> int:
    """A port for beacons that no other node uses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Heard:
    def __init__(self) -> None:
        self.events: list[NodeEvent] = []

    def __call__(self, event: NodeEvent) -> None:
        self.events.append(event)

    def wait_for(self, what: str, name: str) -> NodeEvent:
        def found() -> list[NodeEvent]:
            return [event for event in list(self.events) if (event.what, event.name) == (what, name)]

        wait_until(found, f"{what} by {name}")
        return found()[-1]


@contextlib.contextmanager
def pair(port: int) -> Iterator[tuple[ZreNode, Heard, ZreNode, Heard]]:
    a_heard, b_heard = Heard(), Heard()
    with (
        ZreNode("a", [GROUP], a_heard, beacon_port=port) as a,
        ZreNode("b", [GROUP, "other"], b_heard, beacon_port=port) as b,
    ):
        a_heard.wait_for("joined", "b")
        b_heard.wait_for("joined", "a")
        yield a, a_heard, b, b_heard


def test_nodes_find_each_other_and_shout(port: int) -> None:
    with pair(port) as (a, a_heard, b, b_heard):
        a.shout(GROUP, [b"4.5", b"80"])
        shouted = b_heard.wait_for("shouted", "a")
        assert (shouted.uuid, shouted.address, shouted.group) == (a.uuid, "127.0.0.1", GROUP)
        assert list(shouted.content) == [b"4.5", b"80"]
        b.shout("other", [b"nobody hears this"])
        b.shout(GROUP, [b"x"])
        assert a_heard.wait_for("shouted", "b").content == [b"x"]
        with pytest.raises(UsageError):
            a.shout("other", [])
        b.close()
        assert a_heard.wait_for("gone", "b").uuid == b.uuid
        assert (a.malformed, b.malformed) == (0, 0)


def test_strangers_are_not_met(port: int) -> None:
    heard = Heard()
    with (
        ZreNode("shy", [GROUP], heard, beacon_port=port, allows=lambda _: False),
        ZreNode("open", [GROUP], heard, beacon_port=port) as other,
    ):
        time.sleep(0.3)  # nothing is to happen
        other.shout(GROUP, [b"x"])
    assert heard.events == []


def test_garbage_is_counted_and_ends_nothing(port: int) -> None:
    with pair(port) as (a, a_heard, b, _):
        context: zmq.Context[Any] = zmq.Context()
        with context, context.socket(zmq.DEALER) as stranger:
            stranger.linger = 0
            stranger.setsockopt(zmq.IDENTITY, b"\x01" + bytes(16))
            stranger.connect(f"tcp://127.0.0.1:{a.port}")
            for frames in ([b"hello"], [b""], [b"\xaa\xa1\x03\x02\x00\x01\x01g", b"x"], [b"\xaa\xa1\x09\x02\x00\x01"]):
                stranger.send_multipart(frames)
            wait_until(lambda: a.malformed >= 4, "four malformed messages")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            mouth.bind(("127.0.0.1", 0))
            for data in (b"", b"ZRE\x01", b"ZRE\x02" + bytes(18), bytes(64), bytes(1000)):
                mouth.sendto(data, ("127.255.255.255", port))
        b.shout(GROUP, [b"still here"])
        assert a_heard.wait_for("shouted", "b").content == [b"still here"]


def test_a_callback_that_fails_ends_nothing(port: int, caplog: pytest.LogCaptureFixture) -> None:
    b_heard = Heard()

    def fail(_: NodeEvent) -> None:
        raise RuntimeError("mine")

    with ZreNode("a", [GROUP], fail, beacon_port=port) as a, ZreNode("b", [GROUP], b_heard, beacon_port=port):
        b_heard.wait_for("joined", "a")
        a.shout(GROUP, [b"x"])
        b_heard.wait_for("shouted", "a")
    assert "mine" in caplog.text


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.255.255.255", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ResourceError, match=str(port)):
            ZreNode("a", [], Heard(), beacon_port=port)
    assert not [thread for thread in threading.enumerate() if thread.name == "ZRE a"]


def test_where_beacons_go() -> None:
    assert beacon_roads("127.0.0.1") == [BeaconRoad("127.0.0.1", "127.255.255.255")]
    assert beacon_roads("203.0.113.9") == [BeaconRoad("203.0.113.9", "255.255.255.255")]
    assert beacon_roads("0.0.0.0")
    assert address_towards("127.0.0.1") == "127.0.0.1"


FOREIGN = """
import sys
from pyre import Pyre

node = Pyre("foreign")
node.start()
node.join(sys.argv[1])
while True:
    event = node.recv()
    if event[0] == b"JOIN":
        node.shout(sys.argv[1], b"6.5")
    print(*(part.decode("latin-1") for part in [event[0], *event[2:]]), flush=True)
"""


@pytest.mark.skipif(not importlib.util.find_spec("pyre"), reason="zeromq-pyre is not installed")
def test_pyre_is_understood_and_understands() -> None:
    if all(road.own == "0.0.0.0" for road in beacon_roads("0.0.0.0")):
        pytest.skip("Pyre needs a network besides the loopback")
    heard, group = Heard(), f"test-{time.monotonic_ns()}"
    # In a process of its own: it leaves sockets and threads behind.
    with running_process([sys.executable, "-c", FOREIGN, group]) as foreign:
        assert foreign.stdout
        with ZreNode("ours", [group], heard, listen="0.0.0.0") as node:
            try:
                heard.wait_for("joined", "foreign")
            except AssertionError:
                pytest.skip("this network carries no broadcasts")
            assert heard.wait_for("shouted", "foreign").content == [b"6.5"]
            node.shout(group, [b"4.5", b"80"])
            lines = iter(foreign.stdout.readline, b"")
            assert f"JOIN ours {group}\n".encode() in lines
            assert f"SHOUT ours {group} 4.5 80\n".encode() in lines
            assert node.malformed == 0
        assert b"EXIT ours\n" in lines, "our goodbye"


def test_an_address_of_another_computer_is_told(port: int) -> None:
    with pytest.raises(ResourceError, match=r"203\.0\.113\.9"):
        ZreNode("a", [], Heard(), listen="203.0.113.9", beacon_port=port)


def test_nothing_stays_open_where_one_network_is_down(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    up, down = BeaconRoad("127.0.0.1", "127.255.255.255"), BeaconRoad("203.0.113.9", "203.0.113.255")
    monkeypatch.setattr("labwire.time_sync.zre_node.beacon_roads", lambda _: [up, down])
    with pytest.raises(ResourceError, match=str(port)):
        ZreNode("a", [], Heard(), beacon_port=port)
