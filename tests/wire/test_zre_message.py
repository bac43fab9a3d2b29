"""ZRE: bytes to messages and back, and whatever else comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError
from labwire.wire.zre_message import (
    Beacon,
    Kind,
    ZreMessage,
    decode_beacon,
    decode_zre,
    encode_beacon,
    encode_zre,
)

short = st.text(max_size=60)
sequences = st.integers(0, 65535)


def test_golden_bytes() -> None:
    uuid = bytes(range(16))
    assert encode_beacon(Beacon(uuid, 0x1234)) == b"ZRE\x01" + uuid + b"\x12\x34"
    hello = ZreMessage(
        kind=Kind.HELLO, sequence=1, endpoint="tcp://a:1", groups=["g"], status=2, name="n", headers={"k": "v"}
    )
    expected = (
        b"\xaa\xa1\x01\x02\x00\x01"
        b"\x09tcp://a:1"
        b"\x00\x00\x00\x01\x00\x00\x00\x01g"
        b"\x02\x01n"
        b"\x00\x00\x00\x01\x01k\x00\x00\x00\x01v"
    )
    assert encode_zre(hello) == [expected]
    shout = ZreMessage(kind=Kind.SHOUT, sequence=258, group="g", content=[b"1.5", b"80"])
    assert encode_zre(shout) == [b"\xaa\xa1\x03\x02\x01\x02\x01g", b"1.5", b"80"]


@given(
    sequences,
    short,
    st.lists(st.text(max_size=300), max_size=5),
    short,
    st.dictionaries(short, st.text(max_size=300), max_size=3),
)
def test_hello_comes_back(sequence: int, endpoint: str, groups: list[str], name: str, headers: dict[str, str]) -> None:
    hello = ZreMessage(
        kind=Kind.HELLO, sequence=sequence, endpoint=endpoint, groups=groups, name=name, status=7, headers=headers
    )
    assert decode_zre(encode_zre(hello)) == hello


@given(st.sampled_from([Kind.SHOUT, Kind.JOIN, Kind.LEAVE, Kind.PING, Kind.WHISPER]), sequences, short)
def test_others_come_back(kind: Kind, sequence: int, group: str) -> None:
    has_group, has_content = kind in {Kind.SHOUT, Kind.JOIN, Kind.LEAVE}, kind in {Kind.SHOUT, Kind.WHISPER}
    message = ZreMessage(
        kind=kind,
        sequence=sequence,
        group=group if has_group else "",
        status=3 if kind in {Kind.JOIN, Kind.LEAVE} else 0,
        content=[b"x", b""] if has_content else [],
    )
    assert decode_zre(encode_zre(message)) == message


@given(st.lists(st.binary(max_size=80), max_size=3))
def test_whatever_comes_is_read_or_refused(frames: list[bytes]) -> None:
    for attempt in (frames, [b"\xaa\xa1\x01\x02\x00\x01" + b"".join(frames)]):
        try:
            decode_zre(attempt)
        except ProtocolError:
            pass
    assert decode_beacon(b"".join(frames)) is None or len(b"".join(frames)) == 22


def test_every_cut_of_a_hello_is_refused() -> None:
    (frame,) = encode_zre(ZreMessage(kind=Kind.HELLO, endpoint="tcp://a:1", groups=["g"], name="n", headers={"k": "v"}))
    for size in range(len(frame)):
        with pytest.raises(ProtocolError):
            decode_zre([frame[:size]])


def test_a_hello_with_a_million_groups_takes_no_memory() -> None:
    with pytest.raises(ProtocolError, match="limit"):
        decode_zre([b"\xaa\xa1\x01\x02\x00\x01\x00\x00\x0f\xff\xff"])
