"""Who may connect: inside the list nothing special is needed, outside nothing goes in or out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import zmq

from labwire.bus.access import LOOPBACK, AccessGuard, parse_networks
from labwire.bus.backbone import bind
from tests.bus.fake_hub import LIMIT_S, own_context, wait_until

SILENCE_MS = 300
"""How long a test listens for what must not come."""


@pytest.mark.parametrize(
    ("allow", "inside", "outside"),
    [
        ((), ["127.0.0.1", "127.9.9.9", "::1"], ["192.168.1.5", "10.0.0.1", "0.0.0.0", "::2"]),
        (("192.168.1.0/24",), ["192.168.1.0", "192.168.1.255"], ["192.168.2.1", "192.168.0.255"]),
        (("192.168.1.77/24",), ["192.168.1.5"], ["192.168.2.77"]),
        (("10.1.2.3",), ["10.1.2.3"], ["10.1.2.4"]),
        (("fd00::/8", "172.16.0.0/12"), ["fd00::7", "172.31.255.255"], ["fe80::1", "172.32.0.0"]),
        (("0.0.0.0/0",), ["8.8.8.8"], ["2001:db8::1"]),
    ],
)
def test_addresses(allow: Sequence[str], inside: list[str], outside: list[str]) -> None:
    with guarded(zmq.REP, allow) as (_, _, guard, _):
        assert [address for address in inside if not guard.allows(address)] == []
        assert [address for address in outside if guard.allows(address)] == []
        assert not guard.allows("")
        assert not guard.allows("localhost")
        assert not guard.allows("192.168.1.5:80")


def test_a_list_that_makes_no_sense() -> None:
    with pytest.raises(ValueError, match=r"300\.1\.1\.1"):
        parse_networks(["300.1.1.1/24"])


@contextmanager
def guarded(
    kind: int,
    allow: Sequence[str],
    *,
    always: Sequence[str] = LOOPBACK,
    host: str = "127.0.0.1",
    on_refused: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[zmq.Socket[Any], int, AccessGuard, list[str]]]:
    strangers: list[str] = []

    def refused(address: str) -> None:
        strangers.append(address)
        on_refused(address)

    context = zmq.Context()
    guard = AccessGuard(context, allow, refused, always=always)
    socket = context.socket(kind)
    try:
        port = bind(socket, host, 0, "[test] port")
        yield socket, port, guard, strangers
    finally:
        socket.close(linger=0)
        context.term()
        guard.join()


PAIRS = [
    pytest.param(zmq.REP, zmq.REQ, id="Remote"),
    pytest.param(zmq.PULL, zmq.PUSH, id="push port"),
    pytest.param(zmq.XSUB, zmq.PUB, id="pub port"),
    pytest.param(zmq.XPUB, zmq.SUB, id="sub port"),
    pytest.param(zmq.ROUTER, zmq.DEALER, id="RPC port"),
]


def connect(context: zmq.Context[Any], kind: int, port: int, source: str) -> zmq.Socket[Any]:
    socket = context.socket(kind)
    socket.linger = 0
    if kind == zmq.SUB:
        socket.subscribe(b"")
    socket.connect(f"tcp://{source};127.0.0.1:{port}")
    return socket


def passes(listener: zmq.Socket[Any], peer: zmq.Socket[Any], limit_ms: int) -> bool:
    """Tell whether a message gets from the peer to the listener, or for the sub port the subscription."""
    if listener.type == zmq.XSUB:
        listener.send(b"\x01")
    if peer.type == zmq.SUB:
        return bool(listener.poll(limit_ms))
    waited_ms = 0
    while waited_ms < limit_ms:
        try:
            peer.send(b"hello", zmq.NOBLOCK)
        except zmq.ZMQError:
            pass
        if listener.poll(20):
            return True
        waited_ms += 20
    return False


@pytest.mark.parametrize(("kind", "peer_kind"), PAIRS)
def test_a_stranger_is_refused_and_an_unmodified_client_inside_the_list_is_not(kind: int, peer_kind: int) -> None:
    # Linux answers on all of 127.0.0.0/8, so that a stranger can stand on this computer.
    with guarded(kind, ["127.0.0.1"], always=()) as (listener, port, guard, strangers), own_context() as context:
        stranger = connect(context, peer_kind, port, "127.0.0.2:0")
        assert not passes(listener, stranger, SILENCE_MS)
        wait_until(lambda: guard.refused, "a refusal")
        assert set(strangers) == {"127.0.0.2"}
        friend = connect(context, peer_kind, port, "127.0.0.1:0")
        assert passes(listener, friend, int(LIMIT_S * 1000))
        assert set(strangers) == {"127.0.0.2"}


def test_a_report_that_fails_does_not_end_the_guard() -> None:
    def fail(address: str) -> None:
        raise RuntimeError(address)

    with (
        guarded(zmq.REP, ["127.0.0.1"], always=(), on_refused=fail) as (listener, port, guard, _),
        own_context() as peers,
    ):
        connect(peers, zmq.REQ, port, "127.0.0.2:0").send(b"x")
        wait_until(lambda: guard.refused, "a refusal")
        assert passes(listener, connect(peers, zmq.REQ, port, "127.0.0.1:0"), int(LIMIT_S * 1000))


# --- between two network namespaces, as between two computers

_PEER = """
import sys, zmq
socket = zmq.Context().socket(zmq.REQ)
socket.linger = 0
socket.connect(sys.argv[1])
socket.send(b"hello")
poller = zmq.Poller()
poller.register(socket, zmq.POLLIN)
poller.register(0, zmq.POLLIN)  # its end: nobody will answer
print(socket in dict(poller.poll()) and socket.recv().decode())
"""


@pytest.fixture
def other_computer() -> Iterator[tuple[list[str], str]]:
    """A network namespace that is linked to ours: the command to run in it, and our address as it sees it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 to make a network namespace")
    number = os.getpid() % 250 + 1
    name, ours, theirs = f"labwire-test-{os.getpid()}", f"lwa{os.getpid() % 10**6}", f"lwb{os.getpid() % 10**6}"
    inside = ["ip", "netns", "exec", name]
    try:
        for command in (
            ["ip", "netns", "add", name],
            ["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs],
            ["ip", "link", "set", theirs, "netns", name],
            ["ip", "address", "add", f"10.213.{number}.1/24", "dev", ours],
            ["ip", "link", "set", ours, "up"],
            [*inside, "ip", "address", "add", f"10.213.{number}.2/24", "dev", theirs],
            [*inside, "ip", "link", "set", theirs, "up"],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")
        yield inside, f"10.213.{number}.1"
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", ours], capture_output=True, check=False)


def test_another_computer(other_computer: tuple[list[str], str]) -> None:
    inside, address = other_computer
    network = address.rpartition(".")[0]

    def ask(allow: Sequence[str], *, is_friend: bool) -> tuple[str, list[str]]:
        with guarded(zmq.REP, allow, host="0.0.0.0") as (listener, port, guard, strangers):
            command = [*inside, sys.executable, "-c", _PEER, f"tcp://{address}:{port}"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
                if is_friend:
                    assert listener.poll(int(LIMIT_S * 1000))
                    listener.send(listener.recv() + b" to you")
                    assert peer.stdout
                    return peer.stdout.readline().strip(), strangers
                wait_until(lambda: guard.refused, "a refusal")
                assert not listener.poll(SILENCE_MS)
                return peer.communicate()[0].strip(), strangers

    assert ask([f"{network}.0/24"], is_friend=True) == ("hello to you", [])
    answer, strangers = ask(["192.168.0.0/16"], is_friend=False)
    assert answer == "False"
    assert set(strangers) == {f"{network}.2"}
