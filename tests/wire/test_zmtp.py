"""The listening end of ZMTP: what libzmq sends, in any pieces, and what nobody should send."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError
from labwire.wire.zmtp import Heard, Listener

VECTORS: list[dict[str, Any]] = [
    json.loads(line) for line in (Path(__file__).parents[1] / "vectors" / "zmtp.jsonl").read_text().splitlines()
]
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04XPUB"
LIMIT_BYTES = 20


def frame(body: bytes, *, more: bool, long: bool = False) -> bytes:
    """Encode a frame in one of the two ways."""
    if long or len(body) > 255:
        return bytes((2 + more,)) + len(body).to_bytes(8, "big") + body
    return bytes((0 + more, len(body))) + body


def stream(messages: list[list[tuple[bytes, bool]]]) -> bytes:
    """Encode messages of parts, each with whether it is to be sent in the long form."""
    frames = [
        frame(part, more=number < len(parts) - 1, long=long)
        for parts in messages
        for number, (part, long) in enumerate(parts)
    ]
    return b"".join(frames)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(borders)]


def entered(max_part_bytes: int = LIMIT_BYTES) -> Listener:
    listener = Listener(max_part_bytes)
    assert listener.receive(GREETING + READY) == []
    return listener


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["source"])
@pytest.mark.parametrize("piece_bytes", [1, 7, 64, 100_000])
def test_what_libzmq_sends(vector: dict[str, Any], piece_bytes: int) -> None:
    listener, data = Listener(), bytes.fromhex(vector["bytes"])
    heard = [
        message
        for start in range(0, len(data), piece_bytes)
        for message in listener.receive(data[start : start + piece_bytes])
    ]
    expected = [
        Heard(bytes.fromhex(topic), None if payload is None else bytes.fromhex(payload), size_bytes)
        for topic, payload, size_bytes in vector["heard"]
    ]
    assert heard == expected


def test_each_step_waits_for_the_other_side() -> None:
    listener = Listener()
    greeting = listener.take_outgoing()
    assert (len(greeting), greeting[:1], greeting[10:12], greeting[12:16]) == (64, b"\xff", b"\x03\x00", b"NULL")
    assert listener.receive(GREETING[:-1]) == []
    assert listener.take_outgoing() == b""
    listener.receive(GREETING[-1:])
    assert listener.take_outgoing() == b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
    assert not listener.ready
    listener.receive(READY)
    assert listener.ready
    # Before READY, libzmq cuts whoever subscribes: it takes the message for a command.
    assert listener.take_outgoing() == b"\x00\x01\x01"


PARTS = st.lists(st.tuples(st.binary(max_size=3 * LIMIT_BYTES), st.booleans()), min_size=1, max_size=4)


@given(st.lists(PARTS, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_pieces_give_the_same_messages(messages: list[list[tuple[bytes, bool]]], cuts: list[int]) -> None:
    listener = Listener(LIMIT_BYTES)
    heard: list[Heard] = []
    for piece in pieces(GREETING + READY + stream(messages), cuts):
        heard += listener.receive(piece)
    assert heard == [
        Heard(
            parts[0][0][:LIMIT_BYTES],
            parts[1][0][:LIMIT_BYTES] if len(parts) > 1 else None,
            sum(len(part) for part, _ in parts),
        )
        for parts in messages
    ]


def test_what_is_not_looked_at_takes_no_memory() -> None:
    listener = entered()
    head = frame(b"frame.world", more=True) + frame(b"\x80", more=True)
    assert listener.receive(head + b"\x02" + (2**40).to_bytes(8, "big")) == [Heard(b"frame.world", b"\x80", 12 + 2**40)]
    for _ in range(1000):
        assert listener.receive(bytes(1_000_000)) == []
    assert not listener._kept


def test_commands_between_messages_are_passed_over() -> None:
    listener = entered()
    ping = b"\x04\x07\x04PING\x00\x00"
    data = frame(b"a", more=True) + ping + frame(b"b", more=False)
    assert listener.receive(data) == [Heard(b"a", b"b", 2)]
    assert listener.ready


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        (b"HTTP/1.1 400 Bad Request".ljust(64), "no ZMTP 3 greeting: 485454"),
        (GREETING.replace(b"\x7f\x03", b"\x7f\x01"), "no ZMTP 3 greeting"),
        (GREETING.replace(b"NULL\0", b"CURVE"), "demands the mechanism b'CURVE"),
    ],
)
def test_who_is_no_bus_is_told_so(greeting: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        Listener().receive(greeting)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x04\x0e\x05ERROR\x07go away", "refuses the connection: go away"),
        (b"\x08\x01x", "flags 0x08"),
        (b"\x05\x01x", "flags 0x05"),
        (b"\x02" + b"\xff" * 8, "more than ZMTP allows"),
    ],
)
def test_what_zmtp_does_not_know_ends_the_connection(data: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        entered().receive(data)
    half = entered()
    half.receive(frame(b"a", more=True) + frame(b"b", more=True))
    with pytest.raises(ProtocolError, match=why):
        half.receive(data)


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_garbage_is_heard_or_refused(chunks: list[bytes]) -> None:
    listener = entered()
    for chunk in chunks:
        try:
            listener.receive(chunk)
        except ProtocolError:
            return
