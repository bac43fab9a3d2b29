"""Bytes to frames and frames to bytes: any chunking gives the same, nothing is copied, nothing is taken unasked."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labwire.errors import ProtocolError, StateError, TooLargeError, UsageError
from labwire.wire.tcp_frame import HEADER_BYTES, FrameHeader, FrameType, encode_header
from labwire.wire.tcp_stream import Frame, FrameReader, Outbox

bodies = st.lists(st.tuples(st.sampled_from([*FrameType, 8]), st.binary(max_size=200), st.booleans()), max_size=8)
chunks = st.lists(st.integers(1, 300), min_size=1, max_size=40)


def frame_bytes(kind: int, body: bytes, number: int = 0) -> bytes:
    return encode_header(FrameHeader(kind, number, len(body))) + body


def cut(data: bytes, sizes: list[int]) -> Iterable[bytes]:
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1


def plain(frame: Frame) -> tuple[int, int, bytes | None]:
    return frame.header.type, frame.header.image_number, None if frame.payload is None else bytes(frame.payload)


@given(bodies, chunks)
def test_any_chunking_gives_the_same_frames(frames: list[tuple[int, bytes, bool]], sizes: list[int]) -> None:
    wanted = {number for number, (_, _, want) in enumerate(frames) if want}
    data = b"".join(frame_bytes(kind, body, number) for number, (kind, body, _) in enumerate(frames))
    expected = [(kind, number, body if want else None) for number, (kind, body, want) in enumerate(frames)]

    fed = FrameReader(lambda header: header.image_number in wanted)
    assert [plain(frame) for chunk in cut(data, sizes) for frame in fed.feed(chunk)] == expected
    assert not fed.in_frame

    filled = FrameReader(lambda header: header.image_number in wanted)
    got: list[Frame] = []
    at = turn = 0
    while at < len(data):
        room = filled.next_buffer()
        assert room is not None
        assert len(room)
        count = min(len(room), sizes[turn % len(sizes)], len(data) - at)
        room[:count] = data[at : at + count]
        frame = filled.received(count)
        got += [] if frame is None else [frame]
        at, turn = at + count, turn + 1
    assert [plain(frame) for frame in got] == expected


def test_a_payload_arrives_in_the_buffer_that_was_given_for_it() -> None:
    pool = bytearray(100)
    reader = FrameReader(lambda _: True, lambda size: memoryview(pool)[:size])
    (frame,) = reader.feed(frame_bytes(2, b"pixels"))
    assert frame.payload is not None
    assert frame.payload == b"pixels"
    pool[0] = ord("P")
    assert frame.payload == b"Pixels"


def test_no_memory_is_taken_before_the_header_was_judged_nor_for_what_is_skipped() -> None:
    asked: list[int] = []

    def allocate(size: int) -> bytearray:
        asked.append(size)
        return bytearray(size)

    def judge(header: FrameHeader) -> bool:
        if header.payload_size > 1000:
            raise TooLargeError("too large")
        return header.type == FrameType.DATA

    reader = FrameReader(judge, allocate)
    frames = list(reader.feed(frame_bytes(4, bytes(1000)) + frame_bytes(2, bytes(900)) + frame_bytes(2, b"")))
    assert [frame.payload is None for frame in frames] == [True, False, False]
    assert asked == [900]
    with pytest.raises(TooLargeError):
        list(reader.feed(encode_header(FrameHeader(FrameType.DATA, payload_size=1 << 60))))
    assert asked == [900]


def test_a_skipped_payload_of_any_size_needs_little_room() -> None:
    size = 1 << 40
    reader = FrameReader(lambda _: False)
    assert list(reader.feed(encode_header(FrameHeader(8, payload_size=size)))) == []
    room = reader.next_buffer()
    assert room is not None
    assert len(room) == 64 << 10
    assert reader.received(len(room)) is None
    assert reader.in_frame


def test_without_a_buffer_the_reader_waits() -> None:
    spare: list[bytearray] = []
    reader = FrameReader(lambda _: True, lambda _: spare.pop() if spare else None)
    head = reader.next_buffer()
    assert head is not None
    head[:] = encode_header(FrameHeader(FrameType.DATA, payload_size=3))
    assert reader.received(HEADER_BYTES) is None
    assert reader.next_buffer() is None
    with pytest.raises(StateError, match="use next_buffer"):
        list(reader.feed(b"abc"))
    spare.append(bytearray(10))
    room = reader.next_buffer()
    assert room is not None
    room[:] = b"abc"
    frame = reader.received(3)
    assert frame is not None
    assert frame.payload == b"abc"


def test_a_buffer_that_is_too_small_is_refused() -> None:
    reader = FrameReader(lambda _: True, lambda size: bytearray(size - 1))
    with pytest.raises(UsageError, match="a buffer of 4 bytes for 5"):
        list(reader.feed(frame_bytes(2, b"abcde")))


def test_each_header_is_judged_after_the_frame_before_it() -> None:
    happened: list[str] = []
    reader = FrameReader(lambda header: bool(happened.append(f"judge {header.image_number}")) or True)
    data = frame_bytes(7, b"", 1) + frame_bytes(7, b"", 2)
    happened.extend(f"frame {frame.header.image_number}" for frame in reader.feed(data))
    assert happened == ["judge 1", "frame 1", "judge 2", "frame 2"]


def test_garbage_is_a_protocol_error_in_both_ways_of_reading() -> None:
    with pytest.raises(ProtocolError):
        list(FrameReader(lambda _: True).feed(b"x" * 64))
    reader = FrameReader(lambda _: True)
    room = reader.next_buffer()
    assert room is not None
    room[:] = b"x" * 64
    with pytest.raises(ProtocolError):
        reader.received(64)


# --- the way out


def drain(outbox: Outbox, sizes: list[int]) -> bytes:
    out, turn = b"", 0
    while outbox.unsent_bytes:
        parts = outbox.gather()
        assert parts
        data = b"".join(parts)
        count = min(len(data), sizes[turn % len(sizes)])
        out += data[:count]
        outbox.sent(count)
        turn += 1
    assert outbox.gather() == []
    return out


@given(st.lists(st.lists(st.binary(max_size=90), max_size=5), max_size=8), chunks)
def test_what_goes_out_is_header_and_payload_however_little_the_socket_takes(
    payloads: list[list[bytes]], sizes: list[int]
) -> None:
    outbox = Outbox()
    expected = b""
    for number, parts in enumerate(payloads):
        body = b"".join(parts)
        assert outbox.put(FrameHeader(2, number), parts) == len(body)
        expected += frame_bytes(2, body, number)
    assert outbox.unsent_bytes == len(expected)
    assert drain(outbox, sizes) == expected


def test_pixels_go_out_as_they_are() -> None:
    pixels = np.arange(6, dtype="<u2").reshape(2, 3)
    outbox = Outbox()
    outbox.put(FrameHeader(2), [b"head", pixels.data, bytearray(b"tail"), b""])
    parts = outbox.gather()
    assert [len(part) for part in parts] == [HEADER_BYTES, 4, 12, 4]
    pixels[0, 0] = 0xFFFF
    assert bytes(parts[2][:2]) == b"\xff\xff"
    assert Outbox().put(FrameHeader(2), np.zeros((5, 7), "u1").data) == 35


def test_pixels_that_are_not_contiguous_are_refused() -> None:
    pixels = np.zeros((4, 4), "<u2")[:, ::2]
    with pytest.raises(UsageError, match=r"shape \(4, 2\) is not C-contiguous"):
        Outbox().put(FrameHeader(2), [pixels.data])


def test_many_parts_go_out_in_several_writes() -> None:
    outbox = Outbox()
    outbox.put(FrameHeader(2), [b"x"] * 1000)
    assert len(outbox.gather()) == 64
    assert drain(outbox, [1 << 20]) == frame_bytes(2, b"x" * 1000)
    for number in range(100):
        outbox.put(FrameHeader(7, number))
    assert len(outbox.gather()) == 64
    assert drain(outbox, [1 << 20]) == b"".join(frame_bytes(7, b"", number) for number in range(100))


def test_what_may_be_on_its_way_is_not_taken_back() -> None:
    outbox = Outbox()
    outbox.put(FrameHeader(2))
    assert outbox.take_back() == 1
    for number in range(4):
        outbox.put(FrameHeader(2, number), b"12345")
    outbox.gather()
    assert outbox.take_back() == 0  # a write may be sending all of them right now
    outbox.sent(69 + 10)  # the first is out, the second has begun
    assert outbox.take_back() == 2
    assert outbox.unsent_bytes == 59
    assert drain(outbox, [7]) == frame_bytes(2, b"12345", 1)[10:]
    outbox.put(FrameHeader(2, 8))
    before = outbox.put_count
    outbox.put(FrameHeader(2, 9))
    outbox.put(FrameHeader(2, 10))
    assert outbox.take_back(before) == 2
    assert outbox.take_back(before) == 0
    assert drain(outbox, [100]) == frame_bytes(2, b"", 8)
    outbox.put(FrameHeader(2, 9))
    outbox.gather()
    outbox.sent(0)
    assert outbox.take_back() == 1
    assert outbox.unsent_bytes == 0


@pytest.mark.parametrize("count", [-1, 65])
def test_no_more_is_sent_than_there_was(count: int) -> None:
    outbox = Outbox()
    outbox.put(FrameHeader(7))
    with pytest.raises(UsageError, match=f"{count} bytes sent, and only 64"):
        outbox.sent(count)
