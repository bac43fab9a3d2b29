"""Frames of the live WebSocket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError
from labwire.web.live_frame import Tag, decode_frame, encode_frame


def test_golden_bytes() -> None:
    frame = encode_frame(Tag.PICTURE, {"topic": "frame.w"}, [b"\xff\xd8", b"\xff\xd9"])
    assert frame == b'\x03\x01\x00\x00\x13\x00\x00\x00{"topic":"frame.w"}' + bytes(5) + b"\xff\xd8\xff\xd9"


@given(st.sampled_from(Tag), st.dictionaries(st.text(max_size=5), st.integers(-9, 9), max_size=5), st.binary())
def test_round_trip(tag: Tag, header: dict[str, int], body: bytes) -> None:
    data = encode_frame(tag, header, [body])
    frame = decode_frame(data)
    assert (frame.tag, frame.header, bytes(frame.body)) == (tag, header, body)
    assert (len(data) - len(body)) % 8 == 0, "numbers in the body can be read where they stand"


@given(st.binary(max_size=60))
def test_anything_else_is_refused(data: bytes) -> None:
    try:
        decode_frame(data)
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "data", [b"", b"\x03\x01\x00\x00\xff\xff\xff\xff{}", b"\x09\x01\x00\x00\x02\x00\x00\x00{}" + bytes(6)]
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_frame(data)
