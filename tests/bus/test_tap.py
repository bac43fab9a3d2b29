"""The tap: hears everything as a subscriber of libzmq does, and says when it cannot."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from labwire.bus.tap import Tap
from labwire.errors import PeerGoneError, ProtocolError
from labwire.wire.zmtp import Heard
from tests.bus.fake_hub import LIMIT_S, SubscriberSide, own_context, wait_until
from tests.bus.hub_parts import in_background, running_hub


@pytest.fixture
def side() -> Iterator[SubscriberSide]:
    with own_context() as context:
        yield SubscriberSide(context)


def drain_until(tap: Tap, heard: list[Heard], count: int) -> None:
    while len(heard) < count:
        assert tap.wait(LIMIT_S), f"{len(heard)} of {count} messages came"
        tap.drain()


def test_it_hears_everything_in_order(side: SubscriberSide) -> None:
    heard: list[Heard] = []
    with closing(Tap(side.sub_url, heard.append)) as tap:
        assert side.subscription() == b"\x01"
        for number in range(5000):
            side.send(f"data.{number}", {"n": number}, bytes(number % 700))
        drain_until(tap, heard, 5000)
        assert [message.topic for message in heard] == [f"data.{number}".encode() for number in range(5000)]
        assert heard[258].payload == b"\x81\xa1n\xcd\x01\x02"
        assert heard[258].size_bytes == len("data.258") + 6 + 258
        assert not tap.wait(0)
        tap.drain()
        assert len(heard) == 5000


def test_pictures_pass_and_are_only_counted(side: SubscriberSide) -> None:
    heard: list[Heard] = []
    with closing(Tap(side.sub_url, heard.append)) as tap:
        side.subscription()
        for _ in range(5):
            side.send("frame.world", {}, bytes(6_000_000))
        side.send("end")
        drain_until(tap, heard, 6)
        assert [message.size_bytes for message in heard] == [*[11 + 1 + 6_000_000] * 5, 3]
        assert heard[-1].payload is None


def test_a_real_hub_lets_it_in_every_time() -> None:
    with running_hub() as hub:
        before = hub.inlet.entry.readers_connected
        for _ in range(30):
            heard: list[Heard] = []
            with closing(Tap(hub.wiring.sub_url, heard.append)) as tap:
                while b"probe" not in [message.topic for message in heard]:
                    hub.ask(b"probe", b"\x80")
                    if tap.wait(0.01):
                        tap.drain()
        wait_until(lambda: hub.ask(b"v") and hub.inlet.entry.readers_connected == before, "all of them have gone")


def test_the_end_of_the_bus_is_told(side: SubscriberSide) -> None:
    heard: list[Heard] = []
    with closing(Tap(side.sub_url, heard.append)) as tap:
        side.subscription()
        side.socket.close()
        assert tap.wait(LIMIT_S)
        with pytest.raises(PeerGoneError, match="closed the connection"):
            tap.drain()
    tap.close()
    assert heard == []


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(PeerGoneError, match=f"no bus answers at tcp://127.0.0.1:{port}"):
        Tap(f"tcp://127.0.0.1:{port}", print)


def test_somebody_who_does_not_answer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(PeerGoneError, match="did not let us in: timed out"),
    ):
        Tap(f"tcp://127.0.0.1:{server.getsockname()[1]}", print, limit_s=0.05)


def test_somebody_who_is_no_bus() -> None:
    def serve(_stop: threading.Event, server: socket.socket) -> None:
        with server.accept()[0] as peer:
            peer.sendall(b"220 mail.example.org ESMTP".ljust(64))
            while peer.recv(100):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server, in_background(serve, server):
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ProtocolError, match="no ZMTP 3 greeting"):
            Tap(url, print)
